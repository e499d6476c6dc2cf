"""Figures of verifications: what was measured at every layer, with its errors, over what theory predicts.

Large and small quantities are drawn as their decimal logarithms on linear axes, so that no scale can overflow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.errors import InputError
from snn_cli.reports.plot import WIDE, WIDTH, write
from snn_cli.reports.propagation_plot import drawing, profiles, settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snn_cli.records import Measured, Verification

    Column = Sequence[float | None]

BAND = 2.0
"""Standard errors on either side of theory that the band shows."""

LEVELS = (2.0, 4.0)
"""Where the panel of z has lines: one layer in twenty is beyond the first by chance, next to none beyond the second."""

MOST_Z = 6
"""Records up to which there is a panel of z: more lines across each other cannot be followed."""

_SETTINGS = (
    "act", "epsilon", "fan_in", "weights", "sigma_w", "widths", "depth", "sigma_b", "q0", "lambda", "alpha", "beta",
)  # fmt: skip
_RUN = (
    ("trials", "{} networks"),
    ("batch", "batch {}"),
    ("dtype", "{}"),
    ("device", "on {}"),
    ("seed", "seed {}"),
)
"""What else may tell two records apart, and its words."""

_LEVEL: dict[str, Any] = {"color": "0.45", "linewidth": 0.8, "zorder": 1.1}
_POINT: dict[str, Any] = {
    "linestyle": "none", "markersize": 4, "markerfacecolor": "white", "markeredgewidth": 0.9, "elinewidth": 0.9,
    "capsize": 1.8, "capthick": 0.9,
}  # fmt: skip
_AGAIN = "snn verify --plot figure.svg"


def verifications(records: Sequence[Verification], path: str, *, force: bool = True) -> None:
    """Draw verifications into a file, all of it or nothing: it is written under another name and then renamed.

    Panels over the layers: the squared norm of the gradient and the second moment, means over networks as points with
    a bar of one standard error, over the line and the band that theory predicts; and z, the distance of the first
    from theory in standard errors, unless there are too many records to tell apart.

    force
        Replace a file that has appeared since ``plot.check``.

    Raises InputError where there is nothing to draw or the file cannot be written, MissingExtra without matplotlib.
    """
    write(lambda: _figure(records), path, force=force)


class _Pair(NamedTuple):
    """A quantity over the layers: theory with its band, and chosen layers of the measurement with their errors."""

    theory: profiles.Curve
    measured: profiles.Curve


def _figure(records: Sequence[Verification]) -> Any:
    from matplotlib.figure import Figure

    shown = [(record, record.profile) for record in records if record.profile is not None]
    count = len(shown)
    gradients = [_gradient(profile, i, count) for i, (_, profile) in enumerate(shown)]
    moments = [_second_moment(profile, i, count) for i, (_, profile) in enumerate(shown)]
    if not profiles.values([curve for pair in gradients + moments for curve in pair]):
        raise InputError("--plot has nothing to draw: there is no record whose layers are finite", _AGAIN)
    scores = [_scores(profile) for _, profile in shown]
    with_z = count <= MOST_Z and bool(profiles.values(scores))
    pens = drawing.pens(count)
    heights = [2.35, 1.95, 1.15][: 2 + with_z]
    figure = Figure(figsize=(WIDTH, 0.6 + sum(heights)), layout="constrained")
    grid = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    chosen = [record for record, _ in shown]
    corridor, places = drawing.corridors(grid[0], [record.verdict.max_growth for record in chosen])
    _gradient_panel(grid[0], gradients, pens, places)
    _moment_panel(grid[1], moments, pens)
    if with_z:
        _score_panel(grid[2], scores, pens)
    deepest = max(record.depth for record in chosen)
    grid[-1].set_xlabel("layer   (0: the input)")
    grid[-1].set_xlim(-0.015 * deepest, 1.015 * deepest)
    drawing.linear_ticks(grid[-1].xaxis, integer=True, most=10)
    pairs = gradients + moments
    drawing.legend(figure, _names(chosen), [_sample(pen) for pen in pens], [*_key(grid[0], pairs), *corridor])
    figure.align_ylabels(grid)
    return figure


def _names(records: Sequence[Verification]) -> list[str]:
    """The settings that differ, then what else of the run does; and the outcome of the test."""
    some: Any = records  # the settings are those of a propagation that a verification has too
    labels = settings.labels(some, _SETTINGS)
    if len(records) == 1:
        labels = [f"{labels[0]}, {records[0].trials} network{'s' if records[0].trials != 1 else ''}"]
    else:
        for name, words in _RUN:
            if len({getattr(record, name) for record in records}) > 1:
                labels = [
                    f"{label}, {words.format(getattr(record, name))}"
                    for label, record in zip(labels, records, strict=True)
                ]
    return [
        ", ".join([label, *_outcome(record)]) for label, record in zip(labels, records, strict=True)
    ]  # the legend breaks after commas


def _outcome(record: Verification) -> list[str]:
    if record.broken_layer is not None:
        return [f"not finite at layer {record.broken_layer}"]
    p = record.verdict.p_value
    if p is None:
        return []
    words = f"p = {drawing.number(float(f'{p:.2g}'))}" if p >= 1e-6 else f"p < {drawing.number(1e-6)}"
    return [words, *(["theory rejected"] if record.verdict.agrees is False else [])]


# The columns


def _pair(x: Column, errors: Column, theory: Column, places: Sequence[int], unit: float, floor: float) -> _Pair:
    """Theory at the layers that a line needs, and the measurement at the places of its marks."""

    def band(column: Column, kept: Sequence[int], width: float) -> profiles.Curve:
        ys, sds = profiles.column(column, kept), profiles.column(errors, kept)
        xs = [float(i) for i in kept]
        if not any(math.isfinite(sd) for sd in sds):
            return profiles.Curve(xs, [y / unit for y in ys])
        # at a layer where there is a value, but no error, the band has no width
        reach = [width * sd if math.isfinite(sd) else 0.0 for sd in sds]
        low = [max(y - r, floor) for y, r in zip(ys, reach, strict=True)]
        high = [y + r for y, r in zip(ys, reach, strict=True)]
        mean, lower, upper = ([value / unit for value in column] for column in (ys, low, high))
        return profiles.Curve(xs, mean, lower, upper, floor=floor)

    return _Pair(band(theory, profiles.kept(theory, errors), BAND), band(x, places, 1.0))


def _gradient(profile: Measured, index: int, total: int) -> _Pair:
    places = _places(profile.log_gradient, index, total)
    columns = (profile.log_gradient, profile.log_gradient_se, profile.log_gradient_theory)
    return _pair(*columns, places, drawing.LN10, -math.inf)


def _second_moment(profile: Measured, index: int, total: int) -> _Pair:
    return _pair(profile.q, profile.q_se, profile.q_theory, _places(profile.q, index, total), 1.0, 0.0)


def _scores(profile: Measured) -> profiles.Curve:
    kept = profiles.kept(profile.z)
    return profiles.Curve([float(i) for i in kept], profiles.column(profile.z, kept))


def _places(column: Column, index: int, total: int) -> list[int]:
    """Layers that get a mark: all, or evenly spread ones, between those of the other records, and both ends."""
    last = len(column) - 1
    most = max(8, min(drawing.MOST_MARKERS, 2 * drawing.MOST_MARKERS // max(1, total)))
    step = max(1, math.ceil(last / most))
    chosen = {0, last, *range(index * step // total, last + 1, step)}
    return sorted(i for i in chosen if column[i] is not None)


# The panels


def _gradient_panel(axes: Any, pairs: Sequence[_Pair], pens: Sequence[drawing.Pen], places: Sequence[float]) -> None:
    axes.set_title("squared norm of the gradient, relative to the last layer", loc="left")
    axes.set_ylabel("log₁₀ |g[l]|² / |g[L]|²")
    axes.set_ylim(*drawing.limits([*_both(pairs), *places, 0.0], 0.1))
    drawing.linear_ticks(axes.yaxis)
    _draw(axes, pairs, pens)


def _moment_panel(axes: Any, pairs: Sequence[_Pair], pens: Sequence[drawing.Pen]) -> None:
    """Over a linear axis, or over a logarithmic one where the values differ by much."""
    axes.set_title("second moment of the pre-activations", loc="left")
    axes.set_ylabel("q[l]")
    lines = [y for pair in pairs for curve in pair for y in curve.y if 0 < y < math.inf]
    low, high = min(lines, default=1.0), max(lines, default=1.0)
    values = _both(pairs)
    if max(values, default=1.0) <= WIDE * low and 1e-4 <= high <= 1e5:
        axes.set_ylim(*drawing.limits(values, 0.1 * max(map(abs, values), default=1.0)))
        drawing.linear_ticks(axes.yaxis)
        _draw(axes, pairs, pens)
        return
    # without bands: one that reaches 0 would go down to the axis and hide all else
    bare = [profiles.Curve(pair.theory.x, profiles.logs(pair.theory).y) for pair in pairs]
    logs = [_Pair(theory, profiles.logs(pair.measured)) for theory, pair in zip(bare, pairs, strict=True)]
    ends = drawing.limits([max(v, drawing.log10(low) - 1) for v in _both(logs)], 1.0)
    axes.set_ylim(*ends)
    drawing.log_ticks(axes.yaxis, *ends)
    _draw(axes, [_Pair(pair.theory, profiles.ending(pair.measured, ends[0])) for pair in logs], pens)


def _score_panel(axes: Any, scores: Sequence[profiles.Curve], pens: Sequence[drawing.Pen]) -> None:
    axes.set_title("distance of the gradient from theory, in standard errors", loc="left")
    axes.set_ylabel("z[l]")
    axes.set_ylim(*drawing.limits([*profiles.values(scores), *LEVELS, *(-z for z in LEVELS)], 0.0, 0.08))
    farthest = max(map(abs, axes.get_ylim()))
    if farthest < 9:
        even = [z for z in range(-8, 9, 2) if axes.get_ylim()[0] <= z <= axes.get_ylim()[1]]
        axes.set_yticks(even, [drawing.number(z) for z in even])
    else:
        drawing.linear_ticks(axes.yaxis, most=5)
    axes.grid(visible=False, axis="y")
    axes.axhline(0, color="0.7", linewidth=0.6, zorder=1)
    for z, dashes in zip(LEVELS, ((0, (1, 1.5)), (0, (4, 2.5))), strict=True):
        for sign in (-1, 1):
            axes.axhline(sign * z, linestyle=dashes, **_LEVEL)
    for curve, pen in zip(scores, pens, strict=True):
        drawing.line(axes, curve.x, curve.y, pen, 1.2)


def _both(pairs: Iterable[_Pair]) -> list[float]:
    return profiles.values([curve for pair in pairs for curve in pair])


def _draw(axes: Any, pairs: Sequence[_Pair], pens: Sequence[drawing.Pen]) -> None:
    if not _both(pairs):
        axes.text(0.5, 0.5, "not finite", transform=axes.transAxes, ha="center", va="center", color="0.35")
        axes.set_yticks([])
        return
    theories = [pair.theory for pair in pairs]
    if profiles.values(theories):
        profiles.draw(axes, theories, pens)
    for (_, points), pen in zip(pairs, pens, strict=True):
        bars = None
        if points.low is not None and points.high is not None:
            bars = [_lengths(points.y, points.low), _lengths(points.high, points.y)]
        axes.errorbar(points.x, points.y, yerr=bars, color=pen.color, marker=pen.marker, zorder=3, **_POINT)


def _lengths(over: Sequence[float], under: Sequence[float]) -> list[float]:
    return [max(a - b, 0.0) if math.isfinite(a - b) else drawing.NAN for a, b in zip(over, under, strict=True)]


# The legend


def _sample(pen: drawing.Pen) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=pen.color, linestyle=pen.dashes, marker=pen.marker, markersize=4, markerfacecolor="white",
        markeredgewidth=0.9,
    )  # fmt: skip


def _key(axes: Any, pairs: Sequence[_Pair]) -> list[Any]:
    """What points, lines and bands are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    barred = any(pair.measured.low is not None for pair in pairs)
    words = "measured, ± one standard error" if barred else "measured"
    found: list[Any] = []
    if profiles.values([pair.measured for pair in pairs]):
        bars: list[float] | None = [] if barred else None
        found.append(axes.errorbar([], [], yerr=bars, color="0.35", marker="o", label=words, **_POINT))
    if profiles.values([pair.theory for pair in pairs]):
        found.append(Line2D([], [], color="0.35", label="theory"))
        if any(pair.theory.low is not None for pair in pairs):
            label = f"theory ± {drawing.number(BAND)} standard errors"
            found.append(Patch(facecolor="0.45", alpha=0.35, edgecolor="0.45", label=label))
    return found
