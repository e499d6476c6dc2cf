"""Notes of propagations in words, and the sentences that say what they mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from snn_cli.records import Note
from snn_cli.reports.notes import called, factor, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.records import Propagation

SURVIVES = 10.0
"""Factor within which a typical squared gradient is called kept, unless a budget says another."""

SHARED = {
    Note.EVERY_SECOND_MOMENT_FIXED: "Every second moment is a fixed point: nothing brings q back.",
    Note.CORRELATION_NOT_FOLLOWED: (
        "f changes too often within reach of these second moments for correlations to be followed."
    ),
    Note.EXTRAPOLATED_IN_Q: (
        "f overflows, or oscillates too fast to be resolved, at second moments on the way: there V is extrapolated "
        "as a power of q."
    ),
    Note.NEVER_SETTLES: "gamma is not below 1: the spread of q grows with every layer.",
    Note.OWN_MEANS_GROW: (
        "Centralized activations lose the mean that all inputs share; at this mean in the weights what an input has of "
        "its own still grows with every layer, and real networks run off. Centralize the weights instead."
    ),
}
"""Said in the same words of what was predicted and of what was measured."""

_SENTENCES = SHARED | {
    Note.NO_FIXED_POINT: "q grows without end: there is no fixed point above it.",
    Note.VANISHES: "q shrinks to 0: there is no fixed point below it.",
    Note.OVERFLOW: "q overflows on the way; gradients go on in logarithms.",
    Note.UNDERFLOW: (
        "q, or the gain of a layer, underflows to 0 on the way; gradients go on in logarithms, with a gain of 1e-140 a "
        "layer where it is less."
    ),
    Note.MEAN_ESCAPES: "With this mean in the weights q or the mean of the units runs off to infinity.",
    Note.BEYOND_TOLERANCE: (
        "The weights' mean is beyond the tolerance: a mean of the units grows, up or down by chance, and there is no "
        "typical gradient."
    ),
    Note.MEAN_NOT_COUNTED: (
        "With a mean in the weights the fixed point is that without it; the mean's own fixed points stand below. "
        "Gradients leave out the direction of the mean, and correlation and isometry are not modelled."
    ),
    Note.EXPANSION_FAILS: (
        "At this fan-in the expansion in 1/fan-in breaks down: what is printed is infinite width, and one network may "
        "be far from it."
    ),
    Note.FINITE_NOT_MODELLED: "No finite fan-in theory with these options: gradients are those of infinite width.",
    Note.FINITE_WIDTH_EXTRAPOLATED: (
        "The expansion in 1/fan-in is stretched at this fan-in: take what it adds as a rough guide."
    ),
    Note.TRUNCATION_LOSES_VARIANCE: (
        "Cut at 2 deviations, unrestored weights keep 77.4% of their variance: sigma_w is {sigma_w}."
    ),
    Note.CENTRALIZATION_SHIFTS: (
        "Centralization removes the mean of f from the second moment: the fixed point is q = {q}, not 1. "
        "Solve with --zero-mean, or take --sigma-w {restoring}."
    ),
}


def sentence(note: Note, record: Propagation, shorten: bool = False) -> str:
    """What a note means for this propagation."""
    return _SENTENCES[note].format(
        sigma_w=number(record.sigma_w, shorten),
        q=number(record.fixed_point.q, shorten),
        restoring=number(record.mean_path.restoring_sigma_w, shorten),
    )


def label(record: Propagation, records: Sequence[Propagation]) -> str:
    """A name by which a record can be told from the others."""
    parts = [called(record.act, record.params, shorten=True)]
    for name, text in (
        ("epsilon", "epsilon"),
        ("depth", "depth"),
        ("fan_in", "fan-in"),
        ("weights", ""),
        ("sigma_w", "sigma_w"),
        ("sigma_b", "sigma_b"),
        ("q0", "q0"),
        ("c0", "c0"),
        ("weight_mean", "weight mean"),
        ("mixup", "mixup"),
        ("scaled_mixup", "scaled mixup"),
        ("centralize", "centralized weights"),
        ("centralize_activation", "centralized activation"),
    ):
        if name in ("q0", "c0") and (record.mixup or record.scaled_mixup):
            continue  # they follow from the mixing
        mine = [getattr(other, name) for other in records if other.act == record.act]
        if len(set(mine)) > 1:
            value = getattr(record, name)
            shown = "" if value is True else number(value, True) if isinstance(value, float) else str(value)
            parts.append(f"{text} {shown}".strip())
    same = [other for other in records if other.act == record.act]
    if len({other.params["lambda"] for other in same if "lambda" in other.params}) > 1:
        parts.append(f"lambda {number(record.params['lambda'], True)}")
    if len({other.budget.max_growth for other in same if other.budget}) > 1 and record.budget:
        parts.append(f"within {number(record.budget.max_growth, True)}")
    return " ".join(parts)


def verdict(records: Sequence[Propagation], shorten: bool = False) -> list[str]:
    """Which of the networks keep their gradient, in a sentence or two."""
    limits = sorted({record.budget.max_growth if record.budget else SURVIVES for record in records})
    kept = [record for record in records if _kept(record)]
    lost = [record for record in records if not any(record is other for other in kept)]
    where = _where(records)
    bound = " or ".join(number(limit, True) for limit in limits)
    if len(records) > 8:
        share = f"{len(kept)} of {len(records)} networks"
        return [f"{where} typical squared gradient stays within a factor of {bound} for {share}."]
    sentences = []
    if kept:
        sentences.append(
            f"{where} typical squared gradient stays within a factor of {bound} for {_names(kept, records, shorten)}"
            + (f"; it does not for {_names(lost, records, shorten)}." if lost else ".")
        )
    else:
        sentences.append(
            f"{where} typical squared gradient leaves the factor of {bound} for {_names(lost, records, shorten)}."
        )
    spread = [record for record in records if record.gradient.log_growth_sd]
    if spread:
        parts = [
            f"{factor(record.gradient.log_growth_sd, shorten, 3)} for {label(record, records)}" for record in spread
        ]
        sentences.append("From one network to the next it varies by a factor of " + _list(parts) + " (one deviation).")
    sentences += [text for record in records for text in _budget(record, records, shorten)]
    return sentences


def _kept(record: Propagation) -> bool:
    limit = record.budget.max_growth if record.budget else SURVIVES
    growth = record.gradient.log_growth
    return growth is not None and abs(growth) <= math.log(limit)


def _where(records: Sequence[Propagation]) -> str:
    parts = []
    for name, text in (("depth", "depth"), ("fan_in", "fan-in")):
        values = {getattr(record, name) for record in records}
        if len(values) == 1 and None not in values:
            parts.append(f"{text} {values.pop()}")
    return f"At {' and '.join(parts)} the" if parts else "The"


def _names(chosen: Sequence[Propagation], records: Sequence[Propagation], shorten: bool) -> str:
    return _list(
        [f"{label(record, records)} (x {factor(record.gradient.log_growth, shorten, 3)})" for record in chosen]
    )


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _budget(record: Propagation, records: Sequence[Propagation], shorten: bool) -> list[str]:
    budget = record.budget
    if budget is None or budget.within:
        return []
    parts = []
    if budget.max_depth is not None:
        parts.append(f"up to depth {budget.max_depth}" if budget.max_depth else "at no depth")
    if budget.epsilon is not None:
        parts.append(f"at this depth with epsilon = {number(budget.epsilon, shorten)}")
    return [f"{label(record, records)} would stay inside {' or '.join(parts)}."] if parts else []
