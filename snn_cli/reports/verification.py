"""Verifications for people, and as CSV."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snn_cli.records import Note
from snn_cli.reports.csv import Lines
from snn_cli.reports.layout import DIGITS, bold, joined, sentences, wrapped
from snn_cli.reports.layout import table as table_of
from snn_cli.reports.notes import called, factor, number
from snn_cli.reports.propagation_notes import SHARED
from snn_cli.reports.propagation_table import Band, chart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snn_cli.records import Measured, Verification

_ROWS = (
    ("drift per layer (log)", "drift", "drift_se"),
    ("log growth, last to first", "log_growth", "log_growth_se"),
    ("  of one input +-", "log_growth_sd", None),
    ("q, deviation", "q_mean", None),
    ("q, variance", "q_variance", None),
)

_SENTENCES = SHARED | {
    Note.NO_FINITE_THEORY: "There is no theory of this network at its fan-in: what stands beside it is infinite width.",
    Note.FINITE_CHANNELS: (
        "Theory: infinite width and the first order in 1/channels, noise averaged over the positions too; allowed is "
        "the next order, 4/channels^2 a layer."
    ),
    Note.BORDERS_APPROXIMATE: (
        "Theory: infinite width position by position, borders and strides counted, and the first order in 1/channels "
        "on average over positions; that order is allowed once more, and 4/channels^2 a layer."
    ),
    Note.POSITIONS_ALONE: (
        "No position sees another: each is an input of its own to a perceptron of as many units as there are channels. "
        "The logarithm of the gradient over all of them lies between that of one and that plus half its variance: "
        "theory is the middle, and is allowed to be off by half the difference."
    ),
    Note.INFINITE_WIDTH_COMPARED: (
        "Theory is that of infinite width, and is allowed what the size does to a perceptron of as many units as there "
        "are channels."
    ),
    Note.MEAN_ADDED: (
        "What the mean of the weights does is taken from infinite width, and allowed once more, with the fluctuations "
        "of the mean of f."
    ),
    Note.THEORY_VOID: "With this mean in the weights there is no typical network: theory has nothing to say.",
    Note.CENTRALIZATION_SHIFTS: (
        "Centralization removes the mean of f from the second moment: q does not settle at 1. Solve with --zero-mean."
    ),
    Note.EXPANSION_FAILS: "The expansion in 1/fan-in breaks down at this fan-in.",
    Note.ONE_TRIAL: "One network has no standard error: --trials 32 would give one.",
    Note.BROKEN: "A number stopped being finite at layer {broken_layer}, in network {broken_trial}.",
    Note.PARTIAL: "Interrupted: these are the networks that were finished by then.",
    Note.TOO_FEW_TRIALS: (
        "These networks cannot tell the prediction at this fan-in from that of infinite width; --trials {needed} would."
    ),
    Note.FINITE_WIDTH_EXTRAPOLATED: "q fluctuates by more than half of itself: theory is stretched at this fan-in.",
    Note.NO_FIXED_POINT: "Theory: q grows without end.",
    Note.VANISHES: "Theory: q shrinks to 0.",
    Note.OVERFLOW: "Theory: q overflows on the way.",
    Note.UNDERFLOW: "Theory: q underflows on the way.",
}


def table(record: Verification, *, width: int | None = None, shorten: bool = False, color: bool = False) -> str:
    """Measurement beside theory, the verdict, and charts where the record holds every layer.

    width
        Columns to fit into; None for no limit.
    shorten
        Six significant digits, for a terminal; else every digit.
    color
        Headings in bold.
    """
    rows = _facts(record, shorten)
    if width is None:
        tables = [[f"{text:<27}" + " ".join(f"{cell:<24}" for cell in cells) for text, *cells in rows]]
    else:
        tables = table_of(rows, width)
    charts = [] if record.profile is None else _charts(record.profile, width)
    said = [*_verdict(record, shorten), *(f"note: {text}" for text in _notes(record))]
    return joined(
        [[bold(line, color) for line in wrapped(_head(record), width)], *tables, *charts, sentences(said, width)]
    )


def _facts(record: Verification, shorten: bool) -> list[list[str]]:
    """A heading and rows: what was measured, its standard error, and theory."""
    found: list[tuple[str, Sequence[float | None]]] = []
    for text, name, error in _ROWS:
        values = [
            getattr(record.measured, name),
            None if error is None else getattr(record.measured, error),
            getattr(record.theory, name),
        ]
        if any(value is not None for value in values):
            found.append((text, values))
    last = _last_mean(record)
    if last is not None:
        found.append(("mean of the last layer", last))
    cells = [[text, *(number(value, shorten, DIGITS) for value in values)] for text, values in found]
    return [["", "measured", "+-", "theory"], *cells]


def _last_mean(record: Verification) -> tuple[float | None, ...] | None:
    """Measured, standard error and theory, of the pre-activations over units."""
    profile = record.profile
    if profile is None or profile.mean is None or profile.mean_se is None or profile.mean_theory is None:
        return None
    return profile.mean[-1], profile.mean_se[-1], profile.mean_theory[-1]


def _head(record: Verification) -> str:
    epsilon = "" if record.epsilon is None else f" epsilon {record.epsilon!r}"
    remedies = "".join(f", {text}" for text in _remedies(record))
    act = called(record.act, record.params)
    return (
        f"{act}{epsilon}, {_shape(record)}, {record.weights} weights{remedies}, {record.trials} networks of "
        f"{record.batch} inputs, {record.dtype} on {record.device}, seed {record.seed}"
    )


def _shape(record: Verification) -> str:
    if record.image is None:
        size = (
            f"fan-in {record.fan_in}" if record.fan_in else f"widths from {record.widths[0]}" if record.widths else ""
        )
        return f"depth {record.depth}, {size}"
    image = f"images {record.image} x {record.image}"
    if record.channels is None:
        return f"{record.architecture}, width multiplier {record.width_multiplier!r}, {image}"
    return (
        f"{record.architecture}, depth {record.depth}, {record.channels} channels, kernel {record.kernel}, {image}, "
        f"padding {record.padding}"
    )


def _remedies(record: Verification) -> Iterator[str]:
    if record.weight_mean:
        yield f"weight mean {record.weight_mean!r}"
    if record.centralize:
        yield "weights centralized"
    if record.centralize_activation:
        yield "activations centralized"
    for name in ("mixup", "scaled_mixup"):
        if getattr(record, name):
            yield f"{name.replace('_', ' ')} {getattr(record, name)!r}"


def _charts(profile: Measured, width: int | None) -> list[list[str]]:
    unit = 1 / math.log(10)
    gradient = [
        _scaled(profile.log_gradient_theory, None, unit),
        _scaled(profile.log_gradient, profile.log_gradient_se, unit),
    ]
    moment = [_scaled(profile.q_theory, None, 1.0), _scaled(profile.q, profile.q_se, 1.0)]
    left = chart("log10 |gradient|^2, relative to the last layer", gradient, "-*")
    right = chart("second moment q", moment, "-*")
    means = []
    if profile.mean is not None and profile.mean_theory is not None:
        bands = [_scaled(profile.mean_theory, None, 1.0), _scaled(profile.mean, profile.mean_se, 1.0)]
        means = chart("mean of the pre-activations over units", bands, "-*")
    caption = f"* measured, - theory, . one standard error; over layers 0 to {profile.layer[-1]}"
    column = max(map(len, left)) + 3
    if width is None or column + max(map(len, right)) <= width:
        return [[*(f"{a:<{column}}{b}" for a, b in zip(left, right, strict=True)), *means, caption]]
    return [] if max(map(len, left)) > width else [left, [*right, *means, *wrapped(caption, width)]]


def _scaled(means: Sequence[float | None], errors: Sequence[float | None] | None, unit: float) -> Band:
    band: Band = []
    for i, mean in enumerate(means):
        error = (errors[i] if errors else 0.0) or 0.0
        band.append(None if mean is None else (mean * unit, (mean - error) * unit, (mean + error) * unit))
    return band


def _verdict(record: Verification, shorten: bool) -> list[str]:
    verdict = record.verdict
    found = []
    if verdict.agrees is None:
        found.append(
            "Theory is not tested: "
            + ("one network is not enough." if record.trials < 2 else "there is none at this fan-in.")
        )
    elif verdict.p_value is not None:
        word = "agrees with" if verdict.agrees else "REJECTS"
        layers = "one layer" if verdict.components == 1 else f"{verdict.components} layers"
        found.append(
            f"The measurement {word} theory: p = {number(verdict.p_value, shorten)} at the level "
            f"{number(verdict.level, shorten)}, over {layers}; theory is allowed "
            f"{number(verdict.allowance, shorten)} in the log growth."
        )
    else:
        found.append("The verdict is no: the networks do not stay finite.")
    growth = record.measured.log_growth
    if verdict.max_growth is not None:
        word = "stays within" if verdict.within_budget else "LEAVES"
        found.append(
            f"The squared gradient {word} the factor of {number(verdict.max_growth, True)}: "
            f"typically x {factor(growth, shorten, 4)}."
        )
    return found


def _notes(record: Verification) -> list[str]:
    return [
        _SENTENCES[note].format(
            broken_layer=record.broken_layer,
            broken_trial=record.broken_trial,
            needed=record.verdict.trials_to_decide,
        )
        for note in record.notes
        if note in _SENTENCES
    ]


class Rows:
    """CSV rows of verifications: one a layer, or one a record without profiles; the first comes with the header."""

    def __init__(self, profile: bool) -> None:
        self._profile = profile
        self._lines = Lines()

    def __call__(self, record: Verification) -> str:
        return self._lines(_layers(record) if self._profile else [_summary(record)])


_SETTINGS = (
    "act", "epsilon", "depth", "fan_in", "architecture", "weights", "sigma_w", "sigma_b", "q0", "batch", "trials",
    "device", "dtype", "seed",
)  # fmt: skip


def _settings(record: Verification) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _SETTINGS} | record.extras()


def _layers(record: Verification) -> Iterator[dict[str, Any]]:
    assert record.profile is not None
    columns = record.profile._asdict()
    for i in range(len(record.profile.layer)):
        yield {**_settings(record), **{name: values[i] for name, values in columns.items() if values is not None}}


def _summary(record: Verification) -> dict[str, Any]:
    cells = _settings(record)
    for part in ("measured", "theory"):
        cells.update((f"{part}_{name}", value) for name, value in getattr(record, part)._asdict().items())
    cells.update((f"verdict_{name}", value) for name, value in record.verdict._asdict().items())
    cells["broken_layer"] = record.broken_layer
    cells["notes"] = " ".join(note.value for note in record.notes)
    return cells
