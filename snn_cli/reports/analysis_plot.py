"""Figures of analyses: the functions, their derivatives, and what a layer does to q and to the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snn_cli.errors import InputError
from snn_cli.reports.analysis import name
from snn_cli.reports.plot import WIDTH, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snn_cli.records import Analysis

    Curves = Callable[[Analysis, Any], tuple[Any, Any, Any, Any]]

_X = np.linspace(-5, 5, 1001)
_Q = np.geomspace(1e-2, 1e2, 161)


def analyses(records: Sequence[Analysis], path: str, curves: Curves, *, force: bool = True) -> None:
    """Draw analyses into a file, all of it or nothing: it is written under another name and then renamed.

    curves
        ``curves(record, (x, q))`` gives f and f' at x, V and chi at q, at the sigmas of the record.
    force
        Replace a file that has appeared since ``plot.check``.

    Raises InputError where the file cannot be written, MissingExtra without matplotlib.
    """
    if not records:
        raise InputError("--plot has nothing to draw", "snn analyze --act gelu --plot gelu.svg")
    write(lambda: _figure(records, curves), path, force=force)


def _figure(records: Sequence[Analysis], curves: Curves) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    (function, derivative), (forward, backward) = figure.subplots(2, 2)
    for i, record in enumerate(records):
        f, df, v, chi = curves(record, (_X, _Q))
        style = {"color": f"C{i % 10}", "label": name(record), "linestyle": "-" if i < 10 else "--"}
        function.plot(_X, f, **style)
        derivative.plot(_X, df, **style)
        forward.plot(_Q, v, **style)
        backward.plot(_Q, chi, **style)
    forward.plot(_Q, _Q, color="0.6", linewidth=0.8, linestyle=":")
    backward.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
    for axes, title in ((function, "f(x)"), (derivative, "f'(x)")):
        axes.set_title(title, loc="left")
        axes.set_xlabel("x")
    for axes, title in ((forward, "V(q): second moment behind a layer"), (backward, "chi(q): gain of the gradient")):
        axes.set_title(title, loc="left")
        axes.set_xscale("log")
        axes.set_xlabel("q")
    forward.set_yscale("log")
    if len(records) > 1:
        function.legend(fontsize="small", ncols=2 if len(records) > 5 else 1)
    return figure
