"""SiLU, also called swish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Baseline, Values

if TYPE_CHECKING:
    from collections.abc import Mapping


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    from scipy.special import expit

    return x * expit(x)


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    from scipy.special import expit

    return expit(x) * (1 + x * expit(-x))


def precise(mp: Any, x: Any, p: Values) -> tuple[Any, Any]:
    share = 1 / (1 + mp.exp(-x))
    return x * share, share * (1 + x / (1 + mp.exp(x)))


BASELINE = Baseline("silu", "x/(1 + exp(-x))", None, function, derivative, precise=precise, unit_scale=True)
