"""SiLU, also called swish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Baseline

if TYPE_CHECKING:
    from collections.abc import Mapping


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    from scipy.special import expit

    return x * expit(x)


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    from scipy.special import expit

    return expit(x) * (1 + x * expit(-x))


BASELINE = Baseline("silu", "x/(1 + exp(-x))", None, function, derivative)
