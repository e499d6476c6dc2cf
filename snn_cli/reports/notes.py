"""Notes in words, and the sentences that say what a solution means."""

from __future__ import annotations

import math
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import TYPE_CHECKING

from snn_cli.activations import SOLVABLE
from snn_cli.records import Note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snn_cli.records import Solution


_EXACT = Context(prec=150, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
"""Digits for ``1 + epsilon`` with any epsilon that is not zero, and for its power to any depth."""


def sentence(note: Note, solution: Solution, shorten: bool = False) -> str:
    """What a note means for this solution.

    shorten
        Four digits of the multiplier, for a terminal. A bound is never shortened: that would be another bound.
    """
    multiplier = solution.multiplier
    rate = "" if multiplier is None else f"{multiplier:.4g}" if shorten else repr(multiplier)
    sentences = _SENTENCES if "lambda" in solution.params else _SENTENCES | _GENERAL
    return sentences[note].format(
        lam=repr(solution.params.get("lambda")).removesuffix(".0"),
        bounds=" and ".join(solution.active_bounds),
        slope=f", by {rate} per unit of it" if rate else "",
        multiplier="without bound" if multiplier is None else f"by {rate} per unit",
        epsilon=repr(solution.epsilon),
        fan_in=solution.fan_in,
        gamma=repr(solution.gamma),
    )


_SENTENCES = {
    Note.LAMBDA_BOUND_ACTIVE: "The bound lambda >= {lam} is active: lowering it would lower gamma, {multiplier}.",
    Note.NOT_MONOTONE: "Not monotone: on the far left f falls as x grows.",
    Note.NEARLY_LINEAR: "Nearly linear: less than 0.1% of E[f^2] comes from the nonlinear part of f.",
    Note.NOT_SELF_NORMALIZING: "Not self-normalizing: gamma = {gamma} is not below 1.",
    Note.EPSILON_FIXED: "The epsilon of this family is its own, {epsilon}; the one asked for is ignored.",
    Note.EPSILON_AT_END: "This epsilon is the closed end of the feasible range, to double precision; solved there.",
    Note.FINITE_WIDTH_EXTRAPOLATED: (
        "At fan-in {fan_in} the expansion in 1/fan-in behind auto is stretched: take this epsilon as a rough guide."
    ),
}


_GENERAL = {
    Note.BOUND_ACTIVE: "The bound {bounds} is active: without it gamma would be smaller{slope}.",
    Note.SEARCH_EDGE: (
        "The smallest gamma lies at the edge of what was searched, {bounds}{slope}: set --bound to move that edge."
    ),
    Note.SCALE_REDUNDANT: "Scaling the input of f does what a and d do, so b is a matter of choice: 1, if it may be.",
    Note.SHIFT_REDUNDANT: "Shifting the input of f does what a and d do, so c is a matter of choice: 0, if it may be.",
    Note.MIRRORED: "One of two mirror images with the same gamma: that with the larger c.",
    Note.TIED: (
        "Several sets of parameters have this gamma: of these the one with the smaller |E[f]|, then the larger ones."
    ),
    Note.FEASIBLE_SEARCHED: "The range of epsilon is what the search saw; it may be wider.",
    Note.GAMMA_NEGATIVE: "gamma is negative: a second moment off 1 comes back from the other side, layer by layer.",
    Note.NOT_MONOTONE: "Not monotone: f falls somewhere as x grows.",
    Note.NOT_SELF_NORMALIZING: "Not self-normalizing: gamma = {gamma} is not between -1 and 1.",
}


def strength(solution: Solution, shorten: bool = False) -> str:
    """What gamma means, in a sentence."""
    if not solution.self_normalizing:
        side = "below 1" if solution.gamma >= 1 else "above -1"
        return f"gamma is not {side}: a second moment off 1 does not come back."
    gamma = abs(Decimal(repr(solution.gamma)))
    if gamma == 1:
        return "A second moment off 1 comes back, but so slowly that gamma is 1 to double precision."
    if not gamma:
        return "A second moment off 1 comes back, to first order within one layer."
    half = _EXACT.divide(_EXACT.ln(Decimal("0.5")), _EXACT.ln(gamma))
    return f"A second moment off 1 comes back: half of the deviation is gone after {_number(half, 3, shorten)} layers."


def over_depth(solution: Solution, depths: Sequence[int], shorten: bool = False) -> list[tuple[str, list[str]]]:
    """What the moments do over so many layers, at infinite width: rows of a label and a factor per depth.

    Computed from the record's epsilon and gamma, and shown as doubles; as longer decimals where a double ends.
    """
    growth = _EXACT.add(1, Decimal(repr(solution.epsilon)))
    gamma = Decimal(repr(solution.gamma))
    return [
        (label, [f"x {_number(_EXACT.power(base, depth), 4, shorten)}" for depth in depths])
        for label, base in (("squared gradient norm", growth), ("deviation of q from 1", gamma))
    ]


def _number(x: Decimal, digits: int, shorten: bool) -> str:
    """As a double is printed, with every digit or to ``digits``; beyond the range of doubles in the same way."""
    if not x or (x.is_finite() and -300 < x.adjusted() < 300):
        return f"{float(x):.{digits}g}" if shorten else repr(float(x))
    return f"{x:.{digits - 1 if shorten else 16}e}"


def called(act: str, params: Mapping[str, float], shorten: bool = False) -> str:
    """The activation for a heading: an expression and a wrapped baseline with the values of their parameters."""
    if not params or act in SOLVABLE:
        return act
    values = [f"{name} = {f'{value:.6g}' if shorten else repr(value)}" for name, value in params.items()]
    return ", ".join([act, *values])


def assigned(params: Mapping[str, float]) -> str:
    """Parameters in one cell of CSV."""
    return " ".join(f"{name}={value!r}" for name, value in params.items())


def number(x: float | None, shorten: bool = False, digits: int = 4) -> str:
    """With every digit, or to a few; a dash where there is none."""
    if x is None or not math.isfinite(x):
        return "-"
    if isinstance(x, int):
        return str(x)
    return f"{x:.{digits}g}" if shorten else repr(x)


def factor(log: float | None, shorten: bool = False, digits: int = 4) -> str:
    """``e^log`` as a decimal, also where a double overflows."""
    if log is None:
        return "-"
    if abs(log) < 700:
        return number(math.exp(log), shorten, digits)
    exponent = math.floor(log / math.log(10))
    mantissa = math.exp(log - exponent * math.log(10))
    return f"{mantissa:.{digits - 1}f}e{exponent:+d}" if shorten else f"{mantissa!r}e{exponent:+d}"
