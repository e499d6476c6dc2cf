"""What the records of a wrapped activation and of an expression have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snn_cli.exact import decimal_string
from snn_cli.problem import NEARLY_LINEAR
from snn_cli.records import Note
from snn_cli.records.solution import MOMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction


def common_notes(doubles: dict[str, float], monotone: bool) -> list[Note]:
    gamma = doubles["gamma"]
    facts = {
        Note.NOT_MONOTONE: not monotone,
        Note.NEARLY_LINEAR: 1 - doubles["mean"] ** 2 - doubles["mean_slope"] ** 2 < NEARLY_LINEAR,
        Note.GAMMA_NEGATIVE: gamma < 0,
        Note.NOT_SELF_NORMALIZING: not -1 < gamma < 1,
    }
    return [note for note, holds in facts.items() if holds]


def decimals(names: Sequence[str], values: dict[str, Fraction], digits: int) -> tuple[tuple[str, str], ...]:
    return tuple((name, decimal_string(values[name], digits)) for name in (*names, *MOMENTS))
