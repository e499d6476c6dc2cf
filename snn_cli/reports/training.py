"""Trainings for people, and as CSV."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snn_cli.records import Note
from snn_cli.reports.csv import Lines
from snn_cli.reports.layout import Column, Listing, bold, joined, sentences, table, wrapped
from snn_cli.reports.notes import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.records import Training

_SENTENCES = {
    Note.DIVERGED: "{variant}: {diverged} of {seeds} runs diverged, and count with the accuracy of guessing.",
    Note.RATE_AT_END: "{variant}: the best learning rate, {rate}, is at an end of those tried; --lr takes others.",
    Note.ONE_SEED: "One seed has no deviation: --seeds 5 would give one.",
}
_HEADINGS = ("variant", "accuracy", "sd", "against {}", "se", "loss", "log growth, start", "end", "lr", "seconds")


def head(record: Training) -> str:
    """What all variants share."""
    width = "" if record.fan_in is None else f", fan-in {record.fan_in}"
    return (
        f"{record.data}: {record.architecture}, depth {record.depth}{width}, {record.epochs} epochs, batch "
        f"{record.batch}, {record.seeds} seed{'s' if record.seeds != 1 else ''} from {record.seed}, {record.precision} "
        f"on {record.device}"
    )


class Table:
    """Rows as they come, under one heading; ``conclusion`` ends it.

    names: the variants that will come. width: columns of the terminal; None for no limit, and every digit. shorten:
    four significant digits in sentences. color: bold heading.
    """

    def __init__(
        self, names: Sequence[str] = (), *, width: int | None = None, shorten: bool = False, color: bool = False
    ) -> None:
        self._names, self._width, self._shorten, self._color = names, width, shorten, color
        self._fitted: Listing | None = None
        self._records: list[Training] = []

    def __call__(self, record: Training) -> str:
        """The row of a record, after the heading where it is the first."""
        lines = []
        headings = [text.format(record.variant) for text in _HEADINGS]
        if not self._records:
            lines += [*(bold(line, self._color) for line in wrapped(head(record), self._width)), ""]
            if self._width is not None:
                first = Column(headings[0], max(map(len, (record.variant, *self._names))))
                self._fitted = Listing([first, *map(Column, headings[1:])], self._width)
            else:
                lines.append(self._row(headings))
        self._records.append(record)
        off = record.difference
        over, error = (None, None) if off is None else (off.mean, off.se)
        values = (
            record.accuracy.mean, record.accuracy.sd, over, error, record.loss, record.gradient.start,
            record.gradient.end, record.learning_rate, record.seconds,
        )  # fmt: skip
        if self._fitted is not None:
            lines.append(self._fitted([record.variant, *map(self._fitted.number, values)]))
        else:
            lines.append(self._row([record.variant, *(number(value, self._shorten) for value in values)]))
        return "\n".join(lines)

    def _row(self, cells: Sequence[str]) -> str:
        first, *rest = cells
        return f"{first:<28}" + " ".join(f"{cell:<22}" for cell in rest).rstrip()

    def conclusion(self) -> str:
        """What it says, in sentences, and what to know about it."""
        found = []
        if len(self._records) > 1:
            best = max(self._records, key=lambda record: record.accuracy.mean)
            found.append(_best(best, self._records[0], self._shorten))
        for record in self._records:
            for note in record.notes:
                rate = repr(record.learning_rate)
                text = _SENTENCES[note].format(
                    variant=record.variant, diverged=record.diverged, seeds=record.seeds, rate=rate
                )
                found.append(f"note: {text}")
        found = list(dict.fromkeys(found))
        return joined([*_tried(self._records, self._width), sentences(found, self._width)])


def _tried(records: Sequence[Training], width: int | None) -> list[list[str]]:
    """The grid: what each learning rate gave on the validation images."""
    rates = sorted({each.learning_rate for record in records for each in record.tried})
    if not rates:
        return []
    rows = [["", *map(repr, rates)]]
    for record in records:
        of = {each.learning_rate: "diverged" if each.diverged else f"{each.accuracy:.4f}" for each in record.tried}
        cells = [of.get(rate, "") + "*" * (rate == record.learning_rate) for rate in rates]
        rows.append([record.variant, *cells])
    if width is None:
        grids = [[f"{name:<28}" + " ".join(f"{cell:<10}" for cell in cells) for name, *cells in rows]]
    else:
        grids = table(rows, width)
    grids[0] = [*wrapped("accuracy on validation images, by learning rate", width), *grids[0]]
    grids[-1] = [*grids[-1], "* the one that was used"]
    return grids


def _best(best: Training, baseline: Training, shorten: bool) -> str:
    if best is baseline or best.difference is None:
        return f"{baseline.variant} is ahead: nothing is better than the baseline here."
    off = best.difference
    se = "" if off.se is None else f" +- {number(off.se, shorten, 2)}"
    if off.se is None:
        end = ": one seed, so there is no saying how much of it is chance."
    elif off.mean > 2 * off.se:
        end = "."
    else:
        end = ": within twice its standard error, so not decided by these seeds."
    return f"{best.variant} is ahead, by an accuracy of {number(off.mean, shorten, 3)}{se} over {off.baseline}{end}"


class Rows:
    """CSV rows: one a variant; the first comes with the header."""

    def __init__(self) -> None:
        self._lines = Lines()

    def __call__(self, record: Training) -> str:
        return self._lines([_cells(record)])


def _cells(record: Training) -> dict[str, Any]:
    off = record.difference
    names = (
        "variant", "act", "epsilon", "data", "architecture", "depth", "fan_in", "batch", "epochs", "seeds", "seed",
        "learning_rate",
    )  # fmt: skip
    return {
        **{name: getattr(record, name) for name in names},
        "accuracy": record.accuracy.mean,
        "accuracy_sd": record.accuracy.sd,
        "baseline": None if off is None else off.baseline,
        "difference": None if off is None else off.mean,
        "difference_se": None if off is None else off.se,
        "loss": record.loss,
        "train_loss": record.train_loss,
        "gradient_start": record.gradient.start,
        "gradient_end": record.gradient.end,
        "diverged": record.diverged,
        "parameters": record.parameters,
        "seconds": record.seconds,
        "notes": " ".join(note.value for note in record.notes),
    }


def left(seconds: float) -> str:
    """Time that is left, to the second or minute."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes}:{rest:02d}"
