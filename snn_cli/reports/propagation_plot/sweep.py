"""Figures of the typical growth of the gradient, over the option that varies or a row for each record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.errors import InputError
from snn_cli.reports.plot import WIDTH
from snn_cli.reports.propagation_plot import drawing, settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snn_cli.records import Propagation


_CATEGORIES = ("act", "widths", "weights", "centralize", "centralize_activation")
_SOURCES = (
    # what follows from something else comes after it: depth and fan-in may choose epsilon, mixing makes q0
    "depth", "fan_in", "weight_mean", "sigma_b", "mixup", "scaled_mixup", "c0", "q0", "epsilon", "lambda", "sigma_w",
    "alpha", "beta",
)  # fmt: skip


class _Series(NamedTuple):
    """Records along the option that varies (``x``), or with no value of it (``x`` empty)."""

    label: str
    x: list[float]
    records: list[Propagation]


def figure(records: Sequence[Propagation]) -> Any:
    if all(record.gradient.log_growth is None for record in records):
        raise InputError("--plot has nothing to draw: the growth of the gradient is not finite", settings.ALL_LAYERS)
    name, series = _grouped(settings.set_by_fan_in(records))
    return _rows(records) if name is None else _growth(name, series)


def _sources(records: Sequence[Propagation]) -> list[str]:
    """Settings that tell the records apart, without those that follow from others."""
    kept = [name for name in _CATEGORIES if settings.distinct(records, name) > 1]
    for name in _SOURCES:
        if not settings.follows(settings.SETTINGS[name].of, records, kept):
            kept.append(name)
    return kept


def _grouped(records: Sequence[Propagation]) -> tuple[str | None, list[_Series]]:
    """What the figure goes over, None where nothing varies; and its lines."""
    sources = _sources(records)
    by_act: dict[str, list[Propagation]] = {}
    for record in records:
        by_act.setdefault(record.act, []).append(record)

    def count(name: str) -> int:
        found = [{settings.SETTINGS[name].of(record) for record in group} for group in by_act.values()]
        return max(len({x for x in values if x is not None and math.isfinite(x)}) for values in found)

    counts = {name: count(name) for name in sources if settings.SETTINGS[name].axis}
    name = max(counts, key=lambda each: counts[each], default=None)
    if name is None or counts[name] < 2:
        return None, []
    others = [each for each in sources if each != name]
    groups: dict[tuple[Any, ...], dict[float, Propagation]] = {}
    for record in records:
        x = settings.SETTINGS[name].of(record)
        known = x is not None and math.isfinite(x)
        groups.setdefault(settings.key(record, others), {})[x if known else drawing.NAN] = record
    lines: list[tuple[list[float], list[Propagation]]] = []
    for points in groups.values():
        xs = sorted(x for x in points if not math.isnan(x))
        if xs:
            lines.append((xs, [points[x] for x in xs]))
        lines += [([], [record]) for x, record in points.items() if math.isnan(x)]
    heads = [found[0] for _, found in lines]
    constant = [each for each in ("epsilon", "fan_in") if each != name and settings.distinct(records, each) == 1]
    labels = settings.labels(
        heads,
        [
            each
            for each in settings.SETTINGS
            if each in others or each in constant or (each in settings.REMEDIES and each != name)
        ],
    )
    series = []
    for label, (xs, found) in zip(labels, lines, strict=True):
        missing = settings.SETTINGS[name].words(settings.SETTINGS[name].of(found[0])) if not xs else None
        series.append(_Series(f"{label}, {missing}" if missing else label, xs, found))
    return name, series


def _band_of(records: Iterable[Propagation]) -> tuple[list[float], list[float]]:
    growth = [drawing.decimal(record.gradient.log_growth) for record in records]
    return growth, [drawing.decimal(record.gradient.log_growth_sd) for record in records]


def _growth(name: str, series: Sequence[_Series]) -> Any:
    """The growth over the setting of that name, a line for each series."""
    from matplotlib.figure import Figure

    pens = drawing.pens(len(series))
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    logarithmic = _abscissa(axes, settings.SETTINGS[name], [x for each in series for x in each.x])
    bands = [_band_of(each.records) for each in series]
    extra, values = drawing.corridors(axes, [settings.allowed(record) for each in series for record in each.records])
    if any(map(math.isfinite, (sd for _, sds in bands for sd in sds))):
        extra = [drawing.band_handle(), *extra]
    widths = drawing.nested([[*each.x, *ys] for each, (ys, _) in zip(series, bands, strict=True)])
    for each, (ys, sds), pen, width in zip(series, bands, pens, widths, strict=True):
        low, high = [a - b for a, b in zip(ys, sds, strict=True)], [a + b for a, b in zip(ys, sds, strict=True)]
        values += ys + low + high
        places = [math.log10(x) for x in each.x] if logarithmic else each.x
        if not places:
            _across(axes, ys[0], low[0], high[0], pen, width)
        elif len(places) == 1:
            bar = None if math.isnan(sds[0]) else sds[0]
            axes.errorbar(places, ys, yerr=bar, color=pen.color, marker=pen.marker, linestyle="none", capsize=3)
        else:
            if any(map(math.isfinite, sds)):
                drawing.band(axes, places, low, high, pen, len(series))
            drawing.line(axes, places, ys, pen, width, dots=True)
    axes.set_title("typical growth of the squared gradient norm, from the last layer to the input", loc="left")
    axes.set_ylabel("log₁₀ |g[0]|² / |g[L]|²")
    axes.set_ylim(*drawing.limits([*values, 0.0], 0.1))
    drawing.linear_ticks(axes.yaxis)
    samples = [
        drawing.sample(pen, line=len(each.x) != 1, dots=0 < len(each.x) <= drawing.MOST_MARKERS)
        for each, pen in zip(series, pens, strict=True)
    ]
    drawing.legend(figure, [each.label for each in series], samples, extra)
    return figure


def _abscissa(axes: Any, setting: settings.Setting, xs: Sequence[float]) -> bool:
    """The axis of what varies; whether it is logarithmic."""
    logarithmic = drawing.span(min(xs), max(xs))
    ends = drawing.limits([math.log10(x) for x in xs] if logarithmic else xs, 0.0, 0.03)
    axes.set_xlim(*ends)
    if logarithmic:
        drawing.log_ticks(axes.xaxis, *ends, xs if setting.integer else (), most=9)
    else:
        drawing.linear_ticks(axes.xaxis, integer=setting.integer, most=9)
    axes.set_xlabel(setting.axis)
    return logarithmic


def _across(axes: Any, y: float, low: float, high: float, pen: drawing.Pen, width: float) -> None:
    """A record that has no value of what varies: a line through the whole panel."""
    if math.isfinite(y):
        axes.axhline(y, color=pen.color, linestyle=pen.dashes, linewidth=width)
    if math.isfinite(low):
        axes.axhspan(low, high, color=pen.color, alpha=0.08, linewidth=0)


def _rows(records: Sequence[Propagation]) -> Any:
    """Where no option varies, a row for each record."""
    from matplotlib.figure import Figure

    distinct = list({settings.key(record, settings.SETTINGS): record for record in records}.values())
    figure = Figure(figsize=(WIDTH, 1.1 + 0.26 * len(distinct)), layout="constrained")
    axes = figure.subplots()
    growth, sds = _band_of(distinct)
    rows = range(len(distinct))
    for y, x, sd, pen in zip(rows, growth, sds, drawing.pens(len(distinct)), strict=True):
        bar = None if math.isnan(sd) else sd
        axes.errorbar([x], [y], xerr=bar, color=pen.color, marker=pen.marker, linestyle="none", capsize=3)
        if math.isnan(x):
            axes.annotate("not finite", (0.5, y), xycoords=("axes fraction", "data"), va="center", color="0.35")
    factors = sorted({r.budget.max_growth for r in distinct if r.budget is not None})
    places = [sign * math.log10(factor) for factor in factors for sign in (-1, 1)]
    for place in places:
        axes.axvline(place, **drawing.CORRIDOR)
    ends = [x + sign * (0 if math.isnan(sd) else sd) for x, sd in zip(growth, sds, strict=True) for sign in (-1, 1)]
    axes.set_xlim(*drawing.limits([*ends, *places, 0.0], 0.1))
    axes.set_ylim(len(distinct) - 0.4, -0.6)
    axes.set_yticks(list(rows), [drawing.wrapped(label, 40) for label in settings.labels(distinct)])
    axes.grid(visible=False, axis="y")
    drawing.linear_ticks(axes.xaxis, most=9)
    axes.set_title("typical growth of the squared gradient norm, ± one deviation over networks", loc="left")
    words = f"   (thin lines: allowed, a factor of {', '.join(map(drawing.number, factors[:4]))})" if factors else ""
    axes.set_xlabel(f"log₁₀ |g[0]|² / |g[L]|²{words}")
    return figure
