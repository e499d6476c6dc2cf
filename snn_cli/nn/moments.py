"""Moments of any elementwise function that runs on tensors, by quadrature."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_cli.errors import InputError
from snn_cli.records import Solution

Activation = Callable[[Tensor], Tensor]
"""A module or a function, from a tensor to one of the same shape, element by element."""

_ROUNDED = 1e-14  # a leak that is the rounding error of none, as of lSELU at SELU's own epsilon

_FAR = (-1e10, -1e12)  # an exponential has ended there, a line has not


class Moments(NamedTuple):
    """``E[f(z)]``, ``E[f(z)^2]`` over ``z ~ N(0,1)``, and ``f(-inf)``, None where that is not finite."""

    mean: float
    second: float
    tail: float | None

    @property
    def variance(self) -> float:
        """``Var f(z)``."""
        return self.second - self.mean * self.mean


@lru_cache(maxsize=1)
def _rule() -> tuple[Tensor, Tensor]:
    """Nodes on both half-lines and their Gaussian weights.

    Gauss-Legendre of 20 points on panels that are halved towards 0, where activations bend, and end at the whole and
    half numbers, where the others of torch do.
    """
    import numpy as np

    ends = [0.0, *(2.0**-k for k in range(24, 1, -1)), *(k / 2 for k in range(1, 27))]
    nodes, weights = np.polynomial.legendre.leggauss(20)
    x, w = [], []
    for a, b in pairwise(ends):
        at = (a + b) / 2 + (b - a) / 2 * nodes
        x.append(at)
        w.append(weights * (b - a) / 2 * np.exp(-at * at / 2) / math.sqrt(2 * math.pi))
    half, density = np.concatenate(x), np.concatenate(w)
    return torch.tensor(np.concatenate([half, -half])), torch.tensor(np.concatenate([density, density]))


def moments(activation: Activation) -> Moments:
    """Moments of an activation, as it is in evaluation, in double precision.

    Raises InputError where it is not an elementwise function with finite moments and some variance.
    """
    if not callable(activation) or isinstance(activation, type):
        raise InputError(
            f"the activation must be a module or a function of tensors, not {activation!r}", "LSELU(epsilon=0.03)"
        )
    f = activation
    if isinstance(activation, nn.Module):
        f = copy.deepcopy(activation).to("cpu", torch.float64).eval()
    z, w = _rule()
    try:
        with torch.no_grad():
            y, part = f(z.clone()), f(z[::3].clone())
            far = [float(value) for value in f(torch.tensor(_FAR, dtype=torch.float64))]
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{activation!r} does not act on a vector: {error}", "LSELU(epsilon=0.03)") from error
    if not isinstance(y, Tensor) or y.shape != z.shape or not torch.allclose(y[::3], part, rtol=1e-9, equal_nan=True):
        raise InputError(f"{activation!r} does not act element by element", "LSELU(epsilon=0.03)")
    mean, second = float((w * y).sum()), float((w * y * y).sum())
    if not math.isfinite(second) or second - mean * mean <= 1e-14 * second:
        raise InputError(f"{activation!r} has no finite variance above 0 at z ~ N(0,1)", "LSELU(epsilon=0.03)")
    bounded = math.isfinite(far[1]) and abs(far[0] - far[1]) <= 1e-9 * max(1.0, abs(far[1]))
    return Moments(mean, second, far[1] + 0.0 if bounded else None)


def activation_moments(act: Any) -> tuple[Activation, Moments]:
    """An activation that is given as a module, a function, a Solution or its dict, and its moments.

    Those of a solution are its own, exactly; a trained lambda counts with its value at this time. Raises InputError
    as ``moments``, and where there are several lambdas that are no longer alike.
    """
    from snn_cli.nn.activation import _SelfNormalizing, built

    if isinstance(act, (Solution, Mapping)):
        act = built(act)
    if not isinstance(act, _SelfNormalizing):
        return act, moments(act)
    params = act.solution.params
    scale = 1.0 if act.lam is None else _common(act.lam.detach()) / params["lambda"]
    if not scale:
        raise InputError(f"{act!r} has a lambda of 0, so no variance", "LSELU(epsilon=0.03)")
    tail = None if abs(act.slope) > _ROUNDED else -scale * params["lambda"] * params["alpha"]
    return act, Moments(scale * act.solution.mean, scale * scale * act.solution.second_moment, tail)


def _common(lam: Tensor) -> float:
    low, high = float(lam.amin()), float(lam.amax())
    if not (math.isfinite(low) and math.isclose(low, high, rel_tol=1e-6)):
        raise InputError(
            f"the trained lambdas are from {low:.6g} to {high:.6g}: moments of its own for each channel",
            "read the activation before it is trained",
        )
    return low


def number(value: Any) -> float:
    """A number of Python, numpy or torch as a double; nan for anything else, a truth value included."""
    if isinstance(value, (bool, str)):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return math.nan
