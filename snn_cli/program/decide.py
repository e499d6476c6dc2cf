"""As many bits as it takes to round every number correctly: Ziv's strategy on what an optimum gives."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.arithmetic.multiprecision import fraction
from snn_cli.errors import CannotCompute
from snn_cli.exact import same_rounding, significant_bits
from snn_cli.problem import MARGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_RISES = 6


class Decided(NamedTuple):
    """Rationals that round like the exact values, and the precision in bits that told."""

    values: dict[str, Fraction]
    precision: int


def decide(
    evaluate: Callable[[int], Mapping[str, Any]], exact: Mapping[str, Fraction], digits: int | None, guard: int
) -> Decided:
    """Every value of ``evaluate(precision)``, rounded as the exact one would be to doubles and to ``digits`` digits.

    Two precisions give each value and a bound on its error; the precision rises until no rounding depends on it. A
    value that falls with the precision, to below what guard bits could leave, is zero by a symmetry. What is known
    exactly is taken as it is. Raises CannotCompute where a rounding stays open.
    """
    precision = significant_bits(digits) + guard + MARGIN
    previous = evaluate(precision)
    for _ in range(_RISES):
        precision += 64
        current = evaluate(precision)
        values = _rounded(current, previous, exact, digits, precision - guard)
        if values is not None:
            return Decided(values, precision)
        previous = current
        precision = precision * 3 // 2
    raise CannotCompute("the digits asked for could not be decided", "--digits 50")


def _rounded(
    current: Mapping[str, Any],
    previous: Mapping[str, Any],
    exact: Mapping[str, Fraction],
    digits: int | None,
    bits: int,
) -> dict[str, Fraction] | None:
    values = {}
    for name, value in current.items():
        if name in exact:
            values[name] = exact[name]
            continue
        here, before = fraction(value), fraction(previous[name])
        error = max(abs(here - before), abs(here) / (1 << bits))
        if max(abs(here), abs(before)) < Fraction(1, 1 << (3 * (bits - 64)) // 4):
            values[name] = Fraction(0)
        elif same_rounding(here - error, here + error, digits):
            values[name] = here
        else:
            return None
    return values
