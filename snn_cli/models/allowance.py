"""How far a layer may be off what is predicted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snn_cli.propagation.model import Step

DEVIATIONS = 4.0
"""Deviations at its width by which a layer may be off before it is called unexpected."""

LEAST = 0.02
"""What every prediction is allowed to be off by at least, as a logarithm: terms of second order in 1/fan-in."""


def allowed(variance: float, assumed: float, slack: float, trials: int) -> float:
    """A factor: deviations of the mean over networks, the shift of a mean of logarithms, and what was assumed."""
    log = DEVIATIONS * math.sqrt(variance / trials + assumed) + variance + slack + LEAST
    return math.exp(min(log, 700.0))


def of_growth(step: Step, trials: int) -> float | None:
    """Of the growth across a layer."""
    if step.growth is None:
        return None
    return allowed(step.growth_variance, step.growth_assumed, step.growth_slack, trials)


def of_gradient(step: Step, trials: int) -> float | None:
    """Of the gradient at a layer."""
    if step.gradient is None:
        return None
    return allowed(step.gradient_variance, step.gradient_assumed, step.gradient_slack, trials)


def near(value: float | None, other: float, allowed: float) -> bool:
    """Whether the two differ by a factor that is allowed."""
    if value is None:
        return False
    if value <= 0 or other <= 0:
        return value == other
    return abs(math.log(value / other)) <= math.log(allowed)
