"""Figures of the weight mean that is tolerated, over the fan-in."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.errors import InputError
from snn_cli.reports.plot import WIDTH
from snn_cli.reports.propagation_plot import drawing, settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snn_cli.records import Propagation


_ASKED: dict[str, Any] = {"color": "0.35", "linewidth": 1.0, "linestyle": (0, (8, 2, 1.2, 2)), "zorder": 1.5}
_DROP: dict[str, Any] = {"color": "0.35", "linewidth": 0.7, "linestyle": (0, (1, 1.5)), "zorder": 1.4}
_WITH_FAN_IN = "snn simulate --act lselu --epsilon 0.03 --fanin 64,256,1024 --plot-tolerance figure.svg"
_ALWAYS_SPLIT = ("act", *settings.REMEDIES)
_MAY_SPLIT = (
    # the tolerance seldom depends on them; the first are left out first
    "weight_mean", "weights", "alpha", "beta", "c0", "depth", "widths", "q0", "sigma_b", "lambda", "epsilon", "sigma_w",
)  # fmt: skip


class _Tolerance(NamedTuple):
    """Tolerance over the fan-in, as decimal logarithms; without one where the remedy leaves no mean."""

    label: str
    x: list[float]
    y: list[float]
    unlimited: bool


def _width(record: Propagation) -> int | None:
    return max(record.widths[:-1]) if record.widths else record.fan_in


def _unlimited(record: Propagation) -> bool:
    return (record.centralize or record.centralize_activation) and record.mean_path.weight_mean_tolerance is None


def lines_of(records: Sequence[Propagation]) -> list[_Tolerance]:
    """Records by what their tolerance depends on, each group over the fan-in."""

    def value(record: Propagation) -> Any:
        found = record.mean_path.weight_mean_tolerance
        return None if found is None else float(f"{found:.9g}")

    names = [*_ALWAYS_SPLIT, *_MAY_SPLIT]
    for name in _MAY_SPLIT:
        fewer = [each for each in names if each != name]
        if settings.follows(value, records, fewer, _width):
            names = fewer
    groups: dict[tuple[Any, ...], dict[int, Propagation]] = {}
    for record in records:
        size = _width(record)
        assert size is not None
        groups.setdefault(settings.key(record, names), {})[size] = record
    heads = [next(iter(points.values())) for points in groups.values()]
    shown = [
        name
        for name in settings.SETTINGS
        if name in _ALWAYS_SPLIT or (name in names and settings.distinct(heads, name) > 1)
    ]
    found = []
    for head, points in zip(heads, groups.values(), strict=True):
        ordered = [points[size] for size in sorted(points)]
        found.append(
            _Tolerance(
                settings.described(head, shown),
                [math.log10(size) for size in sorted(points)],
                [drawing.log10(record.mean_path.weight_mean_tolerance) for record in ordered],
                all(map(_unlimited, ordered)),
            )
        )
    return [line for line in found if line.unlimited or any(map(math.isfinite, line.y))]


def figure(records: Sequence[Propagation]) -> Any:
    """A line for each activation and remedy; rows at the top edge for those without a limit."""
    from matplotlib.figure import Figure

    records = [record for record in records if _width(record) is not None]
    lines = lines_of(settings.set_by_fan_in(records))
    if not lines:
        raise InputError("--plot-tolerance has nothing to draw: tolerances are those of a finite fan-in", _WITH_FAN_IN)
    asked = sorted({record.weight_mean for record in records if record.weight_mean}, key=abs)
    limited, free = [line for line in lines if not line.unlimited], [line for line in lines if line.unlimited]
    pens = drawing.pens(len(lines))
    figure = Figure(figsize=(WIDTH, 3.5 + 0.12 * min(len(free), 10)), layout="constrained")
    axes = figure.subplots()
    pen_of = {id(line): pen for line, pen in zip(lines, pens, strict=True)}
    row = min(0.1, 0.5 / max(1, len(free)))
    levels = [drawing.log10(abs(mean)) for mean in asked]
    crossings = [(x, level) for level in sorted(set(levels)) for line in limited for x in _crossings(line, level)]
    low, top = _ends(axes, lines, levels, crossings, row)
    for line, width in zip(limited, drawing.nested([[*line.x, *line.y] for line in limited]), strict=True):
        drawing.line(axes, line.x, line.y, pen_of[id(line)], width, dots=True)
    for k, line in enumerate(free):
        _no_limit(axes, line, pen_of[id(line)], 1 - row * (k + 0.75), row)
    for level in levels:
        axes.axhline(level, **_ASKED)
    _mark(axes, crossings, axes.get_xlim(), low)
    axes.set_xlabel(settings.SETTINGS["fan_in"].axis)
    drawing.log_ticks(axes.xaxis, *axes.get_xlim(), {_width(record) or 1 for record in records}, most=9)
    axes.set_ylabel("weight mean / weights' deviation")
    if limited or asked:
        drawing.log_ticks(axes.yaxis, low, top)
    else:
        axes.set_yticks([])
    axes.set_title("tolerance: the weight mean from which the mean is no longer attracted to 0", loc="left")
    drawing.legend(figure, [line.label for line in lines], list(map(_sample, lines, pens)), _asked(asked))
    return figure


def _ends(
    axes: Any,
    lines: Sequence[_Tolerance],
    levels: Sequence[float],
    crossings: Sequence[tuple[float, float]],
    row: float,
) -> tuple[float, float]:
    """Set the limits of the axes, with room for what is written at the crossings.

    Returns the lower end of the ordinate, and the upper one without the rows, of this height, of what has no limit.
    """
    limited = [line for line in lines if not line.unlimited]
    count = len(lines) - len(limited)
    low, top = drawing.limits([*(y for line in limited for y in line.y), *levels], 0.5, 0.08)
    if crossings:
        low = min(low, min(level for _, level in crossings) - 0.45 * (top - low))
    axes.set_xlim(*drawing.limits([x for line in lines for x in line.x], 0.6, 0.04))
    axes.set_ylim(low, top + (top - low) * row * count / (1 - row * count))
    return low, top


def _sample(line: _Tolerance, pen: drawing.Pen) -> Any:
    """What the legend shows of a line."""
    alone = len(line.x) == 1
    sample = drawing.sample(pen, line=not alone, dots=not line.unlimited and len(line.x) <= drawing.MOST_MARKERS)
    if line.unlimited and alone:
        sample.set_marker("^")
    return sample


def _asked(means: Sequence[float]) -> list[Any]:
    """What the legend says of the weight means asked for."""
    from matplotlib.lines import Line2D

    if not means:
        return []
    return [Line2D([], [], label=f"weight mean asked for: {', '.join(map(drawing.number, means))}", **_ASKED)]


def _crossings(line: _Tolerance, level: float) -> list[float]:
    """Where the line goes through the level; between fan-ins it is straight, as a power of the fan-in is."""
    found = []
    points = list(zip(line.x, line.y, strict=True))
    for (x, y), (u, v) in pairwise(points):
        if math.isfinite(y) and math.isfinite(v) and min(y, v) <= level < max(y, v):
            found.append(x + (level - y) / (v - y) * (u - x))
    return found


def _mark(axes: Any, crossings: Iterable[tuple[float, float]], across: tuple[float, float], low: float) -> None:
    """Drop lines from the crossings to the axis, and the fan-ins there; near ones share their words."""
    clusters: list[list[tuple[float, float]]] = []
    for x, level in sorted(crossings):
        axes.plot([x, x], [low, level], **_DROP)
        axes.plot([x], [level], marker="o", color="0.2", markerfacecolor="white", zorder=4)
        if clusters and x - clusters[-1][0][0] < 0.04 * (across[1] - across[0]):
            clusters[-1].append((x, level))
        else:
            clusters.append([(x, level)])
    for cluster in clusters:
        sizes = [drawing.number(round(10 ** cluster[i][0])) for i in (0, -1)]
        words = f"N ≈ {sizes[0]}" if sizes[0] == sizes[1] else f"N ≈ {sizes[0]} to {sizes[1]}"
        left = cluster[0][0] > across[0] + 0.06 * (across[1] - across[0])
        axes.annotate(
            words, (cluster[0 if left else -1][0], 0), xycoords=("data", "axes fraction"),
            xytext=(-2.5 if left else 2.5, 4), textcoords="offset points",
            rotation=90, ha="right" if left else "left", va="bottom", fontsize=8, color="0.2",
        )  # fmt: skip


def _no_limit(axes: Any, line: _Tolerance, pen: drawing.Pen, height: float, row: float) -> None:
    """A row at the top edge with arrows that leave the figure: no weight mean is too large."""
    kind = {"color": pen.color, "transform": axes.get_xaxis_transform()}
    axes.plot(line.x, [height] * len(line.x), linestyle=pen.dashes, **kind)
    ends = sorted({line.x[0], line.x[-1]})
    for x in ends:
        axes.annotate(
            "", (x, height + 0.62 * row), (x, height), xycoords=axes.get_xaxis_transform(),
            arrowprops={"arrowstyle": "-|>", "color": pen.color, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8},
        )  # fmt: skip
    aside = len(ends) == 1
    axes.annotate(
        f"no limit: {line.label}", (sum(ends) / len(ends), height), xycoords=axes.get_xaxis_transform(),
        xytext=(6 if aside else 0, 2.5), textcoords="offset points",
        ha="left" if aside else "center", va="bottom", fontsize=8, color=pen.color,
    )  # fmt: skip
