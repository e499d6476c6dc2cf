"""Columns over the layers, with their bands, as curves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.reports.propagation_plot import drawing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Column = Sequence[float | None]


MOST_POINTS = 1500
"""Layers of a profile that are drawn, at most; more would not show, and make large files."""

THIN: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (4, 2.5))}


class Curve(NamedTuple):
    """A column over layers, with a band about it, and what infinite width says where that is something else.

    A band ends at ``floor``: its lower edge is there or, where it cannot be drawn, below.
    """

    x: list[float]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None
    infinite: list[float] | None = None
    floor: float = -math.inf


def finite(curve: Curve) -> bool:
    return any(map(math.isfinite, curve.y))


def kept(*columns: Column | None) -> list[int]:
    """Layers to draw: all, or of very many those evenly spread, those near the ends, and where a column breaks off."""
    given = [column for column in columns if column is not None]
    last = len(given[0]) - 1
    if last < MOST_POINTS:
        return list(range(last + 1))
    half = MOST_POINTS // 2
    kept = {round(last * i / half) for i in range(half + 1)}
    near = {math.floor(last ** (i / 200)) for i in range(201)}
    kept |= near | {last - i for i in near} | {0, last}
    for column in given:
        breaks = [i for i in range(last) if (column[i] is None) != (column[i + 1] is None)]
        kept |= {i + k for i in breaks[:100] for k in (0, 1)}
    return sorted(kept)


def column(column: Column | None, kept: Sequence[int]) -> list[float]:
    return [drawing.NAN if column is None or (value := column[i]) is None else value for i in kept]


def values(curves: Iterable[Curve]) -> list[float]:
    columns = (column for curve in curves for column in (curve.y, curve.low, curve.high, curve.infinite))
    return [value for column in columns if column is not None for value in column if math.isfinite(value)]


def draw(axes: Any, curves: Sequence[Curve], pens: Sequence[drawing.Pen]) -> None:
    for curve, pen, width in zip(curves, pens, drawing.nested([curve.y for curve in curves]), strict=True):
        if curve.low is not None and curve.high is not None:
            drawing.band(axes, curve.x, curve.low, curve.high, pen, len(curves), curve.floor)
        if curve.infinite is not None:
            axes.plot(curve.x, curve.infinite, color=pen.color, zorder=1.4, **THIN)
        drawing.line(axes, curve.x, curve.y, pen, width)
    if not any(map(finite, curves)):
        axes.text(0.5, 0.5, "not finite", transform=axes.transAxes, ha="center", va="center", color="0.35")
        axes.set_yticks([])


def logs(curve: Curve) -> Curve:
    def logs(column: list[float] | None) -> list[float] | None:
        return None if column is None else [drawing.log10(value) for value in column]

    return Curve(curve.x, logs(curve.y) or [], logs(curve.low), logs(curve.high), logs(curve.infinite))


def ending(curve: Curve, floor: float) -> Curve:
    """The curve with a band that goes down to the floor where its lower edge, near 0, is below or has no logarithm."""
    if curve.low is None or curve.high is None:
        return curve
    low = [
        drawing.NAN if math.isnan(high) else floor if math.isnan(low) else max(low, floor)
        for low, high in zip(curve.low, curve.high, strict=True)
    ]
    return curve._replace(low=low, floor=floor)
