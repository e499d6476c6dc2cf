"""Depth-aware SELU: SELU's form, both parameters solved for the two moment conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snn_cli.activations import selu
from snn_cli.activations.family import Family, Interval, Values

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import Arithmetic, SolvingArithmetic, Value


def candidates(ar: SolvingArithmetic, closure: str, epsilon: Value, lam: Value) -> list[Values]:
    """``(lambda alpha)^2 = epsilon / (2 d1 - 1/2)``, then lambda from ``E[f'^2]``; both signs of alpha."""
    square = epsilon / (2 * ar.tail(ar.number(1)) - ar.number(1) / 2)
    lam = ar.sqrt(2 + 2 * epsilon - 2 * square * ar.tail(ar.number(2)))
    alpha = ar.sqrt(square) / lam
    return [{"lambda": lam, "alpha": alpha}, {"lambda": lam, "alpha": -alpha}]


def feasible(ar: Arithmetic, closure: str, lam: Value) -> Interval:
    """From ReLU at 0 up to where lambda would be 0 and alpha infinite."""
    d1, d2 = ar.tail(ar.number(1)), ar.tail(ar.number(2))
    return Interval(ar.number(0), 1 / (d2 / (2 * d1 - ar.number(1) / 2) - 1), hi_open=True)


FAMILY = Family(
    name="dselu",
    parameters=selu.FAMILY.parameters,
    positive=selu.FAMILY.positive,
    negative=selu.FAMILY.negative,
    closures={"none": ("second_moment", "chi")},
    shape=selu.shape,
    candidates=candidates,
    feasible=feasible,
    least_slope=selu.least_slope,
    function=selu.function,
    derivative=selu.derivative,
)
