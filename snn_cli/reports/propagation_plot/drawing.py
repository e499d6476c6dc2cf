"""What the figures of networks share: pens, axes and legends."""

# ruff: noqa: RUF001 - the symbols of the theory are Greek

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.reports.plot import MOST_LABELS, WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


NAN = math.nan
_LARGEST_EXPONENT = 308.5
LN10 = math.log(10)
_LINE_WIDTH = 1.5

MOST_MARKERS = 30
"""Points of a line up to which each gets a marker."""

COLORS = ("#08306B", "#D55E00", "#56B4E9", "#111111", "#00664B", "#CC79A7")
"""Told apart by colour-blind readers, and each of another lightness: in grey they stay apart."""

_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.6)),
    (0, (5, 1.4, 1.2, 1.4)),
    (0, (1.2, 1.2)),
    (0, (7, 3)),
    (0, (1.2, 3)),
)
_MARKERS = ("o", "s", "^", "D", "v", "P")
CORRIDOR: dict[str, Any] = {"color": "0.35", "linewidth": 0.8, "linestyle": "-", "zorder": 1.5}


class Pen(NamedTuple):
    """How a line is drawn."""

    color: Any
    dashes: Any
    marker: str


def pens(total: int) -> list[Pen]:
    """For more lines than there are colours, a scale that darkens; dashes repeat."""
    if total <= len(COLORS):
        return [Pen(*each) for each in zip(COLORS, _DASHES, _MARKERS, strict=True)][:total]
    from matplotlib import colormaps

    scale, kinds = colormaps["viridis"], len(_DASHES)
    return [Pen(scale(0.85 * i / (total - 1)), _DASHES[i % kinds], _MARKERS[i % kinds]) for i in range(total)]


def line(axes: Any, xs: Sequence[float], ys: Sequence[float], pen: Pen, width: float, *, dots: bool = False) -> None:
    """A line broken where there is no value; a point without neighbours is a dot."""
    # wide lines lie under others, which are to be seen on them
    style = {"color": pen.color, "alpha": 1 if width <= _LINE_WIDTH else 0.45}
    axes.plot(xs, ys, linestyle=pen.dashes, linewidth=width, **style)
    if dots and len(xs) <= MOST_MARKERS:
        axes.plot(xs, ys, linestyle="none", marker=pen.marker, markersize=3 + width, **style)
        return
    known = [False, *map(math.isfinite, ys), False]
    alone = [i for i in range(len(ys)) if known[i : i + 3] == [False, True, False]]
    if alone:
        axes.plot([xs[i] for i in alone], [ys[i] for i in alone], color=pen.color, linestyle="none", marker=pen.marker)


def band(
    axes: Any,
    xs: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    pen: Pen,
    total: int,
    floor: float = -math.inf,
) -> None:
    """Paler where there are many, and edged, so that overlapping ones can be followed."""
    fill = 0.16 if total <= 3 else 0.08
    axes.fill_between(xs, low, high, color=pen.color, alpha=fill, linewidth=0, zorder=1.2)
    # where the lower edge has left the axis there is none
    for edge in ([y if y > floor else NAN for y in low], high):
        axes.plot(xs, edge, color=pen.color, linewidth=0.5, alpha=0.55, zorder=1.3)


def nested(lines: Sequence[Sequence[float]]) -> list[float]:
    """Widths of lines: of those that coincide, the first is the widest, so that each can be seen."""
    keys = [tuple(None if math.isnan(y) else float(f"{y:.6g}") for y in ys) for ys in lines]
    return [_LINE_WIDTH + 1.8 * min(4, keys[i + 1 :].count(key)) for i, key in enumerate(keys)]


def limits(values: Iterable[float], least: float, margin: float = 0.06) -> tuple[float, float]:
    """Ends of a linear axis about the values, ``least`` apart or more."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    spare = max(margin * (high - low), (least - (high - low)) / 2)
    return low - spare, high + spare


def linear_ticks(axis: Any, *, integer: bool = False, most: int = 6) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=integer))
    axis.set_major_formatter(FuncFormatter(lambda x, _: number(0.0 if abs(x) < 1e-12 else x)))


def log_ticks(axis: Any, low: float, high: float, values: Iterable[float] = (), *, most: int = 6) -> None:
    """Ticks for logarithms from low to high: at the values themselves where they are few, else at round numbers."""
    given = sorted({math.log10(value) for value in values})
    gaps = [b - a for a, b in pairwise(given)]
    minor: list[float] = []
    if given and len(given) <= 9 and min(gaps, default=1) > 0.07 * (high - low):
        ticks = [(x, number(10**x)) for x in given]
    else:
        first, last = math.floor(low), math.ceil(high)
        within = [k + math.log10(m) for k in range(first, last) for m in range(2, 10)] if last - first <= 12 else []
        decades = [k for k in range(first, last + 1) if low <= k <= high]
        if high - low < 2 or len(decades) < 2:
            factors = (1, 2, 5) if high - low > 0.5 else (1, 1.5, 2, 3, 4, 5, 7)
            exact = [(k, m) for k in range(first, last + 1) for m in factors]
            ticks = [(k + math.log10(m), _power(m, k)) for k, m in exact if low <= k + math.log10(m) <= high]
        else:
            step = _round_step((len(decades) - 1) / most)
            ticks = [(k, _power(1, k)) for k in decades if k % step == 0]
        minor = [x for x in within if low <= x <= high]
    axis.set_ticks([x for x, _ in ticks], [label for _, label in ticks])
    axis.set_ticks(minor, minor=True)
    axis.axes.tick_params(which="minor", length=2, color="0.6")


def _round_step(least: float) -> int:
    return next((step for step in (1, 2, 5, 10, 20, 50, 100, 200) if step >= least), 500)


def _power(factor: float, exponent: int) -> str:
    if -4 < exponent < 5:
        return number(factor * 10.0**exponent)
    power = rf"10^{{{exponent}}}"
    return rf"$\mathdefault{{{power}}}$" if factor == 1 else rf"$\mathdefault{{{factor:g}·{power}}}$"


def number(x: float) -> str:
    text = str(int(x)) if abs(x) < 1e7 and x == int(x) else f"{x:.5g}"
    return text.replace("-", "−")


def log10(value: float | None) -> float:
    if value is None or math.isnan(value) or value <= 0:
        return NAN
    return min(math.log10(value), _LARGEST_EXPONENT) if value < math.inf else _LARGEST_EXPONENT


def decimal(logarithm: float | None) -> float:
    """Of a natural logarithm."""
    return NAN if logarithm is None else logarithm / LN10


def span(low: float, high: float) -> bool:
    """Whether positive values from low to high are to have a logarithmic axis."""
    return 0 < 10 * low < high


def legend(figure: Any, labels: Sequence[str], handles: Sequence[Any], extra: Sequence[Any]) -> None:
    """Above the panels, in as many columns as fit; of very many lines, evenly spread ones are named."""
    step = max(1, -(-(len(labels) - 1) // (MOST_LABELS - 1)))
    named = [*range(0, len(labels) - 1, step), len(labels) - 1]
    for i in named:
        handles[i].set_label(wrapped(labels[i], 80))
    shown = [*(handles[i] for i in named), *extra]
    columns = next((n for n in (4, 3, 2) if n <= len(shown) and _legend_width(shown, n) <= WIDTH), 1)
    figure.legend(handles=shown, loc="outside upper left", ncols=columns, columnspacing=1.6)
    lines = sum(1 + handle.get_label().count("\n") for handle in shown)
    figure.set_figheight(figure.get_figheight() + 0.18 * -(-lines // columns) + 0.1)


def _legend_width(handles: Sequence[Any], columns: int) -> float:
    """Inches, about: matplotlib fills column after column, the first ones with one more where they differ."""
    size, more = divmod(len(handles), columns)
    starts = [k * size + min(k, more) for k in range(columns + 1)]
    lengths = [
        [len(line) for h in handles[i:j] for line in _plain(h.get_label()).split("\n")] for i, j in pairwise(starts)
    ]
    return sum(0.064 * max(column) + 0.72 for column in lengths)


def sample(pen: Pen, *, line: bool = True, dots: bool = False) -> Any:
    """What the legend shows of a line."""
    from matplotlib.lines import Line2D

    dashes: Any = pen.dashes if line else "none"
    marker = pen.marker if dots else None
    return Line2D([], [], color=pen.color, linestyle=dashes, marker=marker)


def wrapped(label: str, width: int) -> str:
    """Broken after commas only."""
    lines = [""]
    for part in label.split(", "):
        joined = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(_plain(joined)) <= width:
            lines[-1] = joined
        else:
            lines[-1] += ","
            lines.append(part)
    return "\n".join(lines)


def _plain(label: str) -> str:
    for words in (r"$\mathdefault{", "}$"):
        label = label.replace(words, "")
    return label


def corridors(axes: Any, asked: Iterable[float | None]) -> tuple[list[Any], list[float]]:
    """Lines between which the gradient was asked to stay: what the legend says of them, and where they are."""
    from matplotlib.lines import Line2D

    factors = sorted({factor for factor in asked if factor is not None})
    places = [sign * math.log10(factor) for factor in factors for sign in (-1, 1)]
    for y in places:
        axes.axhline(y, **CORRIDOR)
    if not factors:
        return [], []
    words = ", ".join(number(factor) for factor in factors[:4]) + (", …" if len(factors) > 4 else "")
    return [Line2D([], [], label=f"allowed: a factor of {words}, up or down", **CORRIDOR)], places


def band_handle(color: str = "0.45") -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=color, alpha=0.35, edgecolor=color, label="± one deviation over networks")
