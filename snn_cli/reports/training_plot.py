"""Figures of trainings: the loss over the epochs, and the accuracy of every run beside its variant's mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.errors import InputError
from snn_cli.reports.plot import WIDTH, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.records import Training


def trainings(records: Sequence[Training], path: str, *, force: bool = True) -> None:
    """Draw trainings into a file, all of it or nothing: it is written under another name and then renamed.

    force
        Replace a file that has appeared since ``plot.check``.

    Raises InputError where the file cannot be written, MissingExtra without matplotlib.
    """
    if not records:
        raise InputError("--plot has nothing to draw", "snn train --plot figure.svg")
    write(lambda: _figure(records), path, force=force)


def _figure(records: Sequence[Training]) -> Any:
    from matplotlib.figure import Figure

    count = len(records)
    figure = Figure(figsize=(WIDTH, 2.6 + 0.26 * count), layout="constrained")
    curves, bars = figure.subplots(1, 2, width_ratios=[1.1, 1])
    for i, record in enumerate(records):
        color = f"C{i % 10}"
        if record.profile is not None:
            known = [
                (e + 1, v) for e, v in zip(record.profile.epoch, record.profile.loss, strict=True) if v is not None
            ]
            curves.plot([e for e, _ in known], [v for _, v in known], color=color, label=record.variant)
        place = count - 1 - i
        sd = record.accuracy.sd or 0.0
        bars.barh(place, record.accuracy.mean, xerr=sd, color=color, alpha=0.35, height=0.6, capsize=2)
        runs = record.accuracy.runs
        bars.plot(runs, [place] * len(runs), "o", color=color, markersize=3.5, markerfacecolor="white")
    curves.set_title("loss of the training batches", loc="left")
    curves.set_xlabel("epoch")
    curves.set_ylabel("cross-entropy")
    curves.set_yscale("log")
    bars.set_title("accuracy on test images: runs, mean, deviation", loc="left")
    bars.set_yticks(range(count), [record.variant for record in reversed(records)])
    bars.set_xlim(0, 1)
    bars.set_xlabel("accuracy")
    if count > 1:
        curves.legend(fontsize="small")
    return figure
