"""Notes in words, and the sentences that say what a solution means."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from snn_cli.records import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.records import Solution


def sentence(note: Note, solution: Solution) -> str:
    """What a note means for this solution."""
    return _SENTENCES[note].format(
        lam=f"{solution.params['lambda']:g}",
        multiplier="without bound" if solution.multiplier is None else f"by {solution.multiplier:.4g} per unit",
        epsilon=repr(solution.epsilon),
        fan_in=solution.fan_in,
        gamma=f"{solution.gamma:.6g}",
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


def strength(solution: Solution) -> str:
    """What gamma means, in a sentence."""
    if not 0 < solution.gamma < 1:
        return "gamma is not below 1: a second moment off 1 does not come back."
    half = math.log(0.5) / math.log(solution.gamma)
    return f"A second moment off 1 comes back: half of the deviation is gone after {half:.3g} layers."


def over_depth(solution: Solution, depths: Sequence[int]) -> list[tuple[str, list[str]]]:
    """What the moments do over so many layers, at infinite width: rows of a label and a factor per depth."""
    return [
        ("squared gradient norm", [_factor(depth * math.log1p(solution.epsilon)) for depth in depths]),
        ("deviation of q from 1", [_factor(depth * math.log(solution.gamma)) for depth in depths]),
    ]


def _factor(exponent: float) -> str:
    """``e^exponent`` as a factor, also where a double overflows."""
    if abs(exponent) < 600:
        return f"x {math.exp(exponent):.4g}"
    return f"x 1e{exponent / math.log(10):+.1f}"
