"""Softplus: log(1 + e^x); torch's threshold, from which it takes x itself, only saves the exponential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Baseline, Values

if TYPE_CHECKING:
    from collections.abc import Mapping


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    from scipy.special import expit

    return expit(x)


def precise(mp: Any, x: Any, p: Values) -> tuple[Any, Any]:
    decay = mp.exp(-abs(x))
    share = 1 / (1 + decay)
    return max(x, 0) + mp.log1p(decay), share if x >= 0 else decay * share


BASELINE = Baseline("softplus", "log(1 + exp(x))", None, function, derivative, precise=precise, unit_scale=True)
