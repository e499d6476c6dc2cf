"""Activations of installed code, ``torch:package.module:Name``: measured through their forward and autograd.

The name is a class (an instance without arguments is made), a module, or a function of a tensor. Values and derivatives
are those that torch computes, in float64; kinks are found by bisection on the derivatives.
"""

from __future__ import annotations

import copy
import importlib
import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_cli.activations.family import Baseline, Values
from snn_cli.engine.device import require_torch
from snn_cli.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_EXAMPLE = "--act torch:torch.nn:Mish"
_REACH = 1e3
_SHOWN = 1e-7
"""Relative size from which a jump of f' or f'' is a kink, and one of f an error; less is rounding."""


@lru_cache(maxsize=64)
def baseline(name: str) -> Baseline:
    """The activation as the rest of the program takes it.

    Raises InputError for a name that is not there, code that raises, and what is not a real, continuous function of
    each element alone, in float64; MissingExtra without torch.
    """
    code = _Code(name)
    code.check()

    def function(_np: Any, x: Any, _p: Mapping[str, float]) -> Any:
        return code.values(x)[0]

    def derivative(_np: Any, x: Any, _p: Mapping[str, float]) -> Any:
        return code.values(x)[1]

    @lru_cache(maxsize=1)
    def found() -> tuple[float, ...]:
        return code.kinks()

    def kinks(mp: Any, _p: Values) -> tuple[Any, ...]:
        return found() if mp is None else tuple(map(mp.mpf, found()))

    return Baseline(name, f"{name.partition(':')[2]}, measured", None, function, derivative, kinks=kinks)


def module(name: str) -> Any:
    """A torch module of one's own, with parameters of its own where it has any."""
    torch = require_torch()
    made = _made(name)
    if isinstance(made, torch.nn.Module):
        return copy.deepcopy(made)

    class Function(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return made(x)

    return Function()


def function(name: str) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """``x -> (f(x), f'(x))`` by autograd, in the precision of x."""
    return _Code(name).tensors


class _Code:
    """A callable of the user's, called with care."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._torch = require_torch()
        self._made = _made(name)
        self._kept: dict[tuple[Any, str], Any] = {}

    def tensors(self, x: Any) -> tuple[Any, Any]:
        """f and f' at a tensor."""
        torch = self._torch
        call = self._for(x)
        with torch.inference_mode(False), torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            value = self._call(call, leaf)
            if not isinstance(value, torch.Tensor) or value.shape != x.shape:
                shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
                raise self._error(f"gives {shape} for a tensor of shape {tuple(x.shape)}: it is not elementwise")
            if value.dtype != x.dtype:
                raise self._error(f"gives {value.dtype} for {x.dtype}; it is measured in float64")
            if not value.requires_grad:
                raise self._error("cuts the gradient off: what it gives does not depend on x for autograd")
            (slope,) = self._call(lambda y: torch.autograd.grad(y.sum(), leaf, allow_unused=True), value)
        return value.detach(), torch.zeros_like(x) if slope is None else slope

    def values(self, x: Any) -> tuple[Array, Array]:
        """f and f' at an array of doubles."""
        x = np.asarray(x, dtype=np.float64)
        value, slope = self.tensors(self._torch.from_numpy(np.ascontiguousarray(x)))
        return value.numpy().reshape(x.shape), slope.numpy().reshape(x.shape)

    def check(self) -> None:
        """Raises InputError where it is no function of each element alone, not real, or with a jump."""
        rng = np.random.default_rng(0)
        x = np.concatenate([rng.standard_normal(56), [-8.0, -1.0, 0.0, 1e-3, 0.5, 2.0, 6.0, 8.0]])
        value, slope = self.values(x)
        order = rng.permutation(len(x))
        turned, turned_slope = self.values(x[order].reshape(8, 8))
        alone = np.concatenate([self.values(x[i : i + 1])[0] for i in range(0, len(x), 7)])
        same: Any = {"rtol": 1e-12, "atol": 1e-300, "equal_nan": True}
        if not (
            np.allclose(turned.ravel(), value[order], **same)
            and np.allclose(turned_slope.ravel(), slope[order], **same)
            and np.allclose(alone, value[::7], **same)
        ):
            raise self._error("is not elementwise: what it gives for a number depends on others, or on chance")
        if not (np.isfinite(value).all() and np.isfinite(slope).all()):
            at = x[~(np.isfinite(value) & np.isfinite(slope))][0]
            raise self._error(f"is not finite, or its derivative is not, at x = {at:.6g}")
        for at in self._jumps(0):
            raise self._error(f"jumps at x = {at:.8g}, so that E[f'^2] does not exist")

    def kinks(self) -> tuple[float, ...]:
        """Where f' jumps, or f'' where torch differentiates twice."""
        found = sorted({*self._jumps(1), *self._jumps(2)})
        apart: list[float] = []
        for at in found:
            if not apart or abs(at - apart[-1]) > 1e-6 * max(1.0, abs(at)):
                apart.append(at)
        return tuple(0.0 if abs(at) < 1e-12 else at for at in apart)

    def _jumps(self, order: int) -> list[float]:
        """Intervals of a graded grid, each halved towards its larger change; what is left of a jump is all of it."""
        side = np.geomspace(1e-3, _REACH, 1201)
        grid = np.unique(np.concatenate([-side, side, np.arange(-16.03, 16.1, 0.0625)]))
        lo, hi = grid[:-1], grid[1:]
        at_lo, at_hi = self._derivative(order, lo), self._derivative(order, hi)
        if at_lo is None or at_hi is None:
            return []
        size = float(np.median(np.abs(at_lo))) + 1e-3
        with np.errstate(all="ignore"):
            for _ in range(60):
                kept = np.abs(at_hi - at_lo) > _SHOWN * np.maximum(size, np.abs(at_lo))
                lo, hi, at_lo, at_hi = lo[kept], hi[kept], at_lo[kept], at_hi[kept]
                middle = (lo + hi) / 2
                if not len(lo) or not ((middle > lo) & (middle < hi)).any():
                    break
                at = self._derivative(order, middle)
                assert at is not None
                left = np.abs(at - at_lo) > np.abs(at_hi - at)
                lo, at_lo = np.where(left, lo, middle), np.where(left, at_lo, at)
                hi, at_hi = np.where(left, middle, hi), np.where(left, at, at_hi)
        return [min(map(float, ends), key=lambda end: len(repr(end))) for ends in zip(lo, hi, strict=True)]

    def _derivative(self, order: int, x: Array) -> Array | None:
        """Of that order; the second is None where torch has none."""
        if order < 2:
            return self.values(x)[order]
        torch = self._torch
        leaf = torch.from_numpy(x.copy()).requires_grad_()
        try:
            value = self._for(leaf)(leaf)
            (slope,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
            if not slope.requires_grad:
                return np.zeros_like(x)
            (second,) = torch.autograd.grad(slope.sum(), leaf, allow_unused=True)
        except Exception:  # of the user's own backward, which need not be differentiable
            return None
        return np.zeros_like(x) if second is None else np.array(second.numpy())

    def _for(self, x: Any) -> Callable[[Any], Any]:
        """The module in the precision and at the place of x."""
        torch = self._torch
        if not isinstance(self._made, torch.nn.Module):
            found: Callable[[Any], Any] = self._made
            return found
        key = x.dtype, str(x.device)
        if key not in self._kept:
            self._kept[key] = copy.deepcopy(self._made).to(device=x.device, dtype=x.dtype).eval()
        kept: Callable[[Any], Any] = self._kept[key]
        return kept

    def _call(self, function: Callable[[Any], Any], x: Any) -> Any:
        try:
            return function(x)
        except Exception as error:
            raise self._error(f"raises {type(error).__name__}: {_line(error)}") from None

    def _error(self, what: str) -> InputError:
        return InputError(f"{self._name} {what}", _EXAMPLE)


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else "without a message"


@lru_cache(maxsize=64)
def _made(name: str) -> Any:
    """What the name is: an instance of a class, a module, or a function; the current directory is importable."""
    torch = require_torch()
    _, _, path = name.partition(":")
    module_name, colon, attribute = path.partition(":")
    if not (colon and module_name and attribute):
        raise InputError(f"{name} is no activation of installed code: it is torch:package.module:Name", _EXAMPLE)
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise InputError(
                f"{name}: there is no module {error.name} here or among the installed ones", _EXAMPLE
            ) from None
        raise InputError(f"{name}: {module_name} imports {error.name}, which is not there", None) from None
    except Exception as error:
        raise InputError(f"{name}: importing {module_name} raises {type(error).__name__}: {_line(error)}") from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = nearest(part, [n for n in dir(found) if not n.startswith("_")])
            raise InputError(
                f"{name}: {module_name} has no {part}", f"--act torch:{module_name}:{near}" if near else _EXAMPLE
            )
        found = getattr(found, part)
    if isinstance(found, type):
        if not issubclass(found, torch.nn.Module):
            raise InputError(f"{name} is a class, and no torch.nn.Module", _EXAMPLE)
        try:
            return found()
        except Exception as error:
            raise InputError(
                f"{name} cannot be made without arguments: {type(error).__name__}: {_line(error)}",
                "a function of a tensor, or a class whose arguments have defaults",
            ) from None
    if not callable(found):
        raise InputError(f"{name} is a {type(found).__name__}, no function of a tensor", _EXAMPLE)
    return found
