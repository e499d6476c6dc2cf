"""Mish: x tanh(softplus(x))."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Baseline, Values

if TYPE_CHECKING:
    from collections.abc import Mapping

_FAR = 1e3
"""Where both tails are reached to the last digit; infinities count as this far out."""


def _parts(np: Any, x: Any) -> tuple[Any, Any]:
    """``t = tanh(log(1 + e^x))`` and its derivative, by ``e^-|x|``: ``t = (u^2 + 2u)/(u^2 + 2u + 2)``, ``u = e^x``."""
    decay = np.exp(-np.abs(x))
    above = 1 + 2 * decay
    low, high = decay * (decay + 2), above + 2 * decay * decay
    t = np.where(x > 0, above / high, low / (low + 2))
    slope = np.where(x > 0, 4 * decay * decay * (1 + decay) / (high * high), 4 * decay * (decay + 1) / (low + 2) ** 2)
    return t, slope


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return np.maximum(x, -_FAR) * _parts(np, x)[0]


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    t, slope = _parts(np, x)
    return t + np.clip(x, -_FAR, _FAR) * slope


def precise(mp: Any, x: Any, p: Values) -> tuple[Any, Any]:
    u = mp.exp(x)
    n = u * (u + 2)
    t = n / (n + 2)
    return x * t, t + 4 * x * u * (u + 1) / (n + 2) ** 2


BASELINE = Baseline("mish", "x*tanh(log(1 + exp(x)))", None, function, derivative, precise=precise, unit_scale=True)
