"""Trainings for people, and as CSV."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any

from snn_cli.records import Note
from snn_cli.reports.propagation_notes import number
from snn_cli.reports.propagation_table import bold, wrapped

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

    width: columns to fit sentences into; None for no limit. shorten: four significant digits. color: bold heading.
    """

    def __init__(self, *, width: int | None = None, shorten: bool = False, color: bool = False) -> None:
        self._width, self._shorten, self._color = width, shorten, color
        self._cell = 11 if shorten else 22
        self._records: list[Training] = []

    def __call__(self, record: Training) -> str:
        """The row of a record, after the heading where it is the first."""
        lines = []
        if not self._records:
            lines += [*(bold(line, self._color) for line in wrapped(head(record), self._width)), ""]
            lines.append(self._row([text.format(record.variant) for text in _HEADINGS]))
        self._records.append(record)
        off = record.difference
        over, error = (None, None) if off is None else (off.mean, off.se)
        values = (
            record.accuracy.mean, record.accuracy.sd, over, error, record.loss, record.gradient.start,
            record.gradient.end, record.learning_rate, record.seconds,
        )  # fmt: skip
        lines.append(self._row([record.variant, *(number(value, self._shorten, 4) for value in values)]))
        return "\n".join(lines)

    def _row(self, cells: Sequence[str]) -> str:
        first, *rest = cells
        return f"{first:<28}" + " ".join(f"{cell:<{self._cell}}" for cell in rest).rstrip()

    def conclusion(self) -> str:
        """What it says, in sentences, and what to know about it."""
        tried = _tried(self._records)
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
        sentences = "\n".join(line for text in found for line in wrapped(text, self._width))
        return "\n\n".join(part for part in (tried, sentences) if part)


def _tried(records: Sequence[Training]) -> str:
    """The grid: what each learning rate gave on the validation images."""
    rates = sorted({each.learning_rate for record in records for each in record.tried})
    if not rates:
        return ""
    lines = ["accuracy on validation images, by learning rate"]
    lines.append(f"{'':<28}" + " ".join(f"{rate!r:<10}" for rate in rates).rstrip())
    for record in records:
        of = {each.learning_rate: "diverged" if each.diverged else f"{each.accuracy:.4f}" for each in record.tried}
        cells = [of.get(rate, "") + "*" * (rate == record.learning_rate) for rate in rates]
        lines.append(f"{record.variant:<28}" + " ".join(f"{cell:<10}" for cell in cells).rstrip())
    lines.append("* the one that was used")
    return "\n".join(lines)


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
        self._started = False

    def __call__(self, record: Training) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        cells = _cells(record)
        if not self._started:
            writer.writerow(cells)
            self._started = True
        writer.writerow(["" if x is None else repr(x) if isinstance(x, float) else x for x in cells.values()])
        return text.getvalue()


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
