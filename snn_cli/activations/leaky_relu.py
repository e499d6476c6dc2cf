"""Leaky ReLU with the slope 0.01."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Baseline, Values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snn_cli.arithmetic.protocol import Arithmetic
    from snn_cli.gaussian import Piecewise


def shape(ar: Arithmetic, p: Values) -> Piecewise:
    from snn_cli.gaussian import Piecewise

    return Piecewise.of(ar, ar.number(1), {(1, 0): ar.number(1) / 100}, {(1, 0): ar.number(1)})


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return np.where(x > 0, x, x / 100)


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return np.where(x < 0, 0.01, 1 + 0 * np.sign(x))


def precise(mp: Any, x: Any, p: Values) -> tuple[Any, Any]:
    return (x, mp.mpf(1)) if x >= 0 else (x / 100, mp.mpf(1) / 100)


BASELINE = Baseline(
    "leaky_relu", "x for x > 0, 0.01*x else", shape, function, derivative, precise=precise, kinks=lambda mp, p: (0,)
)
