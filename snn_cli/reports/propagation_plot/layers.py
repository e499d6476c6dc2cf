"""Figures layer by layer: the gradient, the second moment and the correlation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snn_cli.errors import InputError
from snn_cli.reports.plot import WIDE, WIDTH
from snn_cli.reports.propagation_plot import drawing, profiles, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.records import Propagation


def figure(records: Sequence[Propagation]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    gradients, moments = [_gradient(r) for r in records], [_second_moment(r) for r in records]
    correlations = [_correlation(r) for r in records]
    if not any(map(profiles.finite, gradients + moments)):
        raise InputError("--plot has nothing to draw: no layer of the profile is finite", settings.ALL_LAYERS)
    panels = 2 + any(map(profiles.finite, correlations))
    pens = drawing.pens(len(records))
    figure = Figure(figsize=(WIDTH, 0.5 + (2.25 if panels == 2 else 1.9) * panels), layout="constrained")
    grid = figure.subplots(panels, 1, sharex=True)
    _gradient_panel(grid[0], gradients, pens, corridor := drawing.corridors(grid[0], map(settings.allowed, records)))
    _moment_panel(grid[1], moments, pens)
    if panels == 3:
        _correlation_panel(grid[2], correlations, pens)
    deepest = max(record.depth for record in records)
    grid[-1].set_xlabel("layer   (0: the input)")
    grid[-1].set_xlim(-0.01 * deepest, 1.01 * deepest)
    drawing.linear_ticks(grid[-1].xaxis, integer=True, most=10)
    extra = []
    if any(curve.low is not None for curve in gradients + moments):
        extra.append(drawing.band_handle())
    if any(curve.infinite is not None for curve in moments):
        extra.append(Line2D([], [], color="0.35", label="q at infinite width", **profiles.THIN))
    drawing.legend(figure, settings.labels(records), [drawing.sample(pen) for pen in pens], extra + corridor[0])
    figure.align_ylabels(grid)
    return figure


def _gradient(record: Propagation) -> profiles.Curve:
    profile = record.profile
    assert profile is not None
    kept = profiles.kept(profile.log_gradient, profile.log_gradient_sd)
    x = [float(profile.layer[i]) for i in kept]
    y = [value / drawing.LN10 for value in profiles.column(profile.log_gradient, kept)]
    if profile.log_gradient_sd is None:
        return profiles.Curve(x, y)
    sd = [value / drawing.LN10 for value in profiles.column(profile.log_gradient_sd, kept)]
    return profiles.Curve(
        x, y, [a - b for a, b in zip(y, sd, strict=True)], [a + b for a, b in zip(y, sd, strict=True)]
    )


def _second_moment(record: Propagation) -> profiles.Curve:
    profile = record.profile
    assert profile is not None
    kept = profiles.kept(profile.q, profile.q_mean, profile.q_sd)
    x, q = [float(profile.layer[i]) for i in kept], profiles.column(profile.q, kept)
    if profile.q_mean is None:
        return profiles.Curve(x, q)
    y = profiles.column(profile.q_mean, kept)
    if profile.q_sd is None:
        return profiles.Curve(x, y, infinite=q)
    sd = profiles.column(profile.q_sd, kept)
    low, high = [max(a - b, 0.0) for a, b in zip(y, sd, strict=True)], [a + b for a, b in zip(y, sd, strict=True)]
    return profiles.Curve(x, y, low, high, q, 0.0)


def _correlation(record: Propagation) -> profiles.Curve:
    profile = record.profile
    assert profile is not None
    kept = profiles.kept(profile.log_gradient, profile.correlation)
    return profiles.Curve([float(profile.layer[i]) for i in kept], profiles.column(profile.correlation, kept))


def _gradient_panel(
    axes: Any, curves: Sequence[profiles.Curve], pens: Sequence[drawing.Pen], corridor: tuple[list[Any], list[float]]
) -> None:
    axes.set_title("squared norm of the gradient, relative to the last layer", loc="left")
    axes.set_ylabel("log₁₀ |g[l]|² / |g[L]|²")
    axes.set_ylim(*drawing.limits([*profiles.values(curves), *corridor[1], 0.0], 0.1))
    drawing.linear_ticks(axes.yaxis)
    profiles.draw(axes, curves, pens)


def _moment_panel(axes: Any, curves: Sequence[profiles.Curve], pens: Sequence[drawing.Pen]) -> None:
    axes.set_title("second moment of the pre-activations", loc="left")
    axes.set_ylabel("q[l]")
    lines = [v for c in curves for ys in (c.y, c.infinite) for v in ys or () if 0 < v < math.inf]
    low, high = min(lines, default=1.0), max(lines, default=1.0)
    top = max((v for v in profiles.values(curves) if v > 0), default=1.0)
    if top <= WIDE * low and 1e-4 <= high <= 1e5:
        values = profiles.values(curves)
        bottom, top = drawing.limits(values, 0.1 * max(map(abs, values), default=1.0))
        axes.set_ylim(0.0 if min(values, default=0.0) >= 0 and bottom < 0 else bottom, top)
        drawing.linear_ticks(axes.yaxis)
        profiles.draw(axes, curves, pens)
        return
    logs = [profiles.logs(curve) for curve in curves]
    ends = drawing.limits([max(v, drawing.log10(low) - 1) for v in profiles.values(logs)], 1.0)
    axes.set_ylim(*ends)
    drawing.log_ticks(axes.yaxis, *ends)
    profiles.draw(axes, [profiles.ending(curve, ends[0]) for curve in logs], pens)


def _correlation_panel(axes: Any, curves: Sequence[profiles.Curve], pens: Sequence[drawing.Pen]) -> None:
    axes.set_title("correlation of two inputs, at infinite width", loc="left")
    axes.set_ylabel("c[l]")
    axes.set_ylim(*drawing.limits(profiles.values(curves), 0.1))
    drawing.linear_ticks(axes.yaxis)
    profiles.draw(axes, curves, pens)
