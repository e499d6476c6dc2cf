"""What the trials of a model show, put together: means over networks, layer by layer and from end to end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.engine.model import Measurement


class Seen(NamedTuple):
    """One call of a layer over all trials: geometric means of what is positive."""

    q: float | None
    mean: float | None
    gradient: float | None
    gradient_in: float | None
    growth: float | None


def seen(measured: Sequence[Measurement], i: int) -> Seen:
    """Of the i-th call."""
    rows = [m.layers[i] for m in measured]
    growths = [
        None if row.gradient is None or row.gradient_in is None else _ratio(row.gradient_in, row.gradient)
        for row in rows
    ]
    return Seen(
        geometric([row.q for row in rows]),
        _finite(sum(row.mean for row in rows) / len(rows)),
        geometric([row.gradient for row in rows]),
        geometric([row.gradient_in for row in rows]),
        geometric(growths),
    )


class Growth(NamedTuple):
    """Log growth from end to end: of the trials that have one; the mean, where all have, and its error."""

    known: list[float]
    mean: float | None
    error: float | None


def growth(measured: Sequence[Measurement]) -> Growth:
    """From what the model returns to its input; where that takes no gradient, to the first layer that does."""
    growths = [_log_growth(m) for m in measured]
    known = [each for each in growths if each is not None]
    if not known or len(known) < len(growths):
        return Growth(known, None, None)
    mean, error = sum(known) / len(known), None
    if len(known) > 1:
        error = math.sqrt(sum((each - mean) ** 2 for each in known) / (len(known) - 1) / len(known))
    return Growth(known, mean, error)


def _log_growth(m: Measurement) -> float | None:
    last = m.gradient_in
    if last is None:
        last = next((row.gradient for row in m.layers if row.gradient is not None), None)
    if last is None or not last > 0 or not m.gradient_out > 0 or not math.isfinite(last):
        return None
    return math.log(last / m.gradient_out)


def geometric(values: Sequence[float | None]) -> float | None:
    """The geometric mean; None where one is missing, negative or not finite."""
    known = [x for x in values if x is not None]
    if len(known) < len(values) or not known:
        return None
    if not all(math.isfinite(x) and x >= 0 for x in known):
        return None
    if any(x == 0 for x in known):
        return 0.0
    return math.exp(sum(math.log(x) for x in known) / len(known))


def _ratio(a: float, b: float) -> float | None:
    return a / b if b else None


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None
