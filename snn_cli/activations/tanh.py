"""Hyperbolic tangent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Baseline, Values

if TYPE_CHECKING:
    from collections.abc import Mapping


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return np.tanh(x)


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    decay = np.exp(-2 * np.abs(x))
    return 4 * decay / (1 + decay) ** 2


def precise(mp: Any, x: Any, p: Values) -> tuple[Any, Any]:
    value = mp.tanh(x)
    return value, mp.sech(x) ** 2


BASELINE = Baseline("tanh", "tanh(x)", None, function, derivative, precise=precise, unit_scale=True)
