"""A figure of a user's own model: the gradient and the second moment, layer by layer, over what theory allows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snn_cli.errors import InputError
from snn_cli.reports.plot import WIDTH, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.records import ModelReport

_MOST_NAMES = 40
_BAND: dict[str, Any] = {"alpha": 0.16, "linewidth": 0}
_BUDGET: dict[str, Any] = {"color": "0.45", "linewidth": 0.8, "linestyle": "--", "zorder": 1.1}


def layers(record: ModelReport, path: str, *, force: bool = True) -> None:
    """Draw a report into a file, all of it or nothing.

    Over the layers in the order of the forward pass: the squared gradient with respect to their output, relative to
    that at the model's output, and the second moment of their output; points as measured, a line and a band as theory
    predicts and allows.

    force
        Replace a file that has appeared since ``plot.check``.

    Raises InputError where there is nothing to draw or the file cannot be written, MissingExtra without matplotlib.
    """
    write(lambda: _figure(record), path, force=force)


def _log10(x: float | None) -> float:
    return math.log10(x) if x is not None and x > 0 and math.isfinite(x) else math.nan


def _figure(record: ModelReport) -> Any:
    from matplotlib.figure import Figure

    out = record.gradient_out or math.nan
    gradient = [_log10(None if x.gradient is None else x.gradient / out) for x in record.layers]
    if not any(math.isfinite(x) for x in gradient):
        raise InputError("--plot has nothing to draw: no gradient is finite", "a table, without --plot")
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    places = list(range(len(record.layers)))
    _panel(
        upper,
        places,
        gradient,
        [_log10(None if x.gradient_theory is None else x.gradient_theory / out) for x in record.layers],
        [_log10(x.gradient_allowed) for x in record.layers],
    )
    factor = record.verdict.max_growth
    if factor is not None:
        for sign in (-1, 1):
            upper.axhline(sign * math.log10(factor), **_BUDGET)
    upper.set_ylabel("log10 |gradient|$^2$")
    _panel(
        lower,
        places,
        [_log10(x.q) for x in record.layers],
        [_log10(x.q_theory) for x in record.layers],
        [_log10(x.q_allowed) for x in record.layers],
    )
    lower.set_ylabel("log10 q")
    step = max(1, -(-len(places) // _MOST_NAMES))
    lower.set_xticks(places[::step], [x.name for x in record.layers[::step]], rotation=90, fontsize=6)
    upper.legend(loc="best")
    upper.set_title(f"{record.model}, {record.depth} weight layers", loc="left")
    return figure


def _panel(
    axes: Any, places: Sequence[int], values: Sequence[float], theory: Sequence[float], allowed: Sequence[float]
) -> None:
    (line,) = axes.plot(places, theory, linewidth=1.2, label="theory, and what it allows")
    low = [t - a for t, a in zip(theory, allowed, strict=True)]
    high = [t + a for t, a in zip(theory, allowed, strict=True)]
    axes.fill_between(places, low, high, color=line.get_color(), **_BAND)
    axes.plot(places, values, "o", markersize=3.5, color="black", label="measured")
    shown = [x for x in (*values, *theory) if math.isfinite(x)]
    margin = 0.1 * (max(shown) - min(shown)) + 0.3 if shown else 1.0
    if shown:
        axes.set_ylim(min(shown) - margin, max(shown) + margin)
