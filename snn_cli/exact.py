"""Exact input and correctly rounded output."""

from __future__ import annotations

import operator
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import SupportsIndex

from snn_cli.errors import InputError

Number = int | float | str | Decimal | Fraction
"""A number as the user gives it: a float is its exact binary value, text is that exact decimal."""

LARGEST = 100
"""Numbers are zero or between ``1e-100`` and ``1e100`` in size: what follows from them then fits into a double."""

LARGEST_INTEGER = 10**18

_MAX_EXPONENT = 999999999999999999

_INSTEAD = {"--max-growth": "10", "--seed": "0", "--width-multiplier": "0.5", "--kernel": "3", "--image": "32"}
"""What a hint says of an option for which 0.03, or 100 of a whole number, is out of its own domain."""


def rational(value: Number, name: str) -> Fraction:
    """The exact value of a number. ``name`` is the option's, for messages.

    Raises InputError for what is not a finite number of a size that a double can hold, and for text with digits of
    other scripts or underscores, which Python would take.
    """
    number: Fraction | None = None
    if isinstance(value, bool) or (isinstance(value, str) and (not value.isascii() or "_" in value)):
        pass
    elif isinstance(value, Fraction | int):
        number = Fraction(value)
    elif isinstance(value, str | float | Decimal):
        text = value.strip() if isinstance(value, str) else value
        try:
            decimal = Decimal(text)
        except (InvalidOperation, ValueError):
            decimal = None
        if decimal is not None and decimal.is_finite():
            if decimal and abs(decimal.adjusted()) > LARGEST:
                raise _size(name)
            number = Fraction(decimal)
    else:  # numpy scalars and the like
        try:
            return rational(operator.index(value), name)
        except TypeError:
            try:
                return rational(float(value), name)
            except (TypeError, ValueError):
                number = None
    if number is None:
        raise InputError(f"{name} must be a finite number, not {value!r}", _instead(name, "0.03"))
    if number and not Fraction(1, 10**LARGEST) <= abs(number) <= 10**LARGEST:
        raise _size(name)
    return number


def _size(name: str) -> InputError:
    return InputError(f"{name} must be 0 or between 1e-{LARGEST} and 1e{LARGEST} in size", _instead(name, "0.03"))


def _instead(name: str, usual: str) -> str:
    return f"{name} {_INSTEAD.get(name, usual)}"


def seed_of(value: Number, bits: int = 63) -> int:
    """A whole number of so many bits, from 0. Raises InputError for anything else."""
    exact = rational(value, "--seed")
    if exact.denominator != 1 or not 0 <= exact < 2**bits:
        raise InputError(f"--seed is {value}; it must be a whole number from 0 to 2^{bits} - 1", "--seed 0")
    return int(exact)


def budget_of(max_growth: Number | None) -> float | None:
    """The factor that a gradient may change by. Raises InputError for one below 1."""
    if max_growth is None:
        return None
    factor = rational(max_growth, "--max-growth")
    if factor < 1:
        raise InputError("--max-growth must be at least 1", "--max-growth 10")
    return nearest_double(factor)


def positive_integer(
    value: SupportsIndex | str, name: str, most: int = LARGEST_INTEGER, example: str | None = None
) -> int:
    """An integer from 1 to ``most``. Raises InputError for anything else, a fraction included.

    ``example`` is what to type instead; if it is None, ``name 100`` or what suits the option better.
    """
    number: int | None
    if isinstance(value, str):
        try:
            exact = rational(value, name)
        except InputError:
            exact = Fraction(1, 2)
        number = int(exact) if exact.denominator == 1 else None
    elif isinstance(value, bool):
        number = None
    else:
        try:
            number = operator.index(value)
        except TypeError:
            number = None
    if number is None or not 1 <= number <= most:
        limit = f"{most:.0e}" if most == LARGEST_INTEGER else most
        raise InputError(
            f"{name} must be a whole number from 1 to {limit}, not {value!r}", example or _instead(name, "100")
        )
    return number


def shown(value: Number) -> str:
    """A number for a message, as it was typed: a Fraction that is a decimal as that decimal."""
    if not isinstance(value, Fraction):
        return str(value)
    context = Context(prec=3 * LARGEST)
    decimal = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    if Fraction(decimal) != value:
        return str(value)
    return f"{decimal:f}" if -7 < decimal.adjusted() < 17 else f"{decimal:e}"


def nearest_double(x: Fraction) -> float:
    """Correctly rounded, half to even: what Python's true division of integers guarantees."""
    return x.numerator / x.denominator


def significant_bits(digits: int | None) -> int:
    """Bits that a double and, if given, that many decimal digits take."""
    return 53 if digits is None else max(53, digits * 3322 // 1000 + 4)


def same_rounding(lo: Fraction, hi: Fraction, digits: int | None) -> bool:
    """Whether all between two numbers has the same nearest double and, if given, the same decimal digits."""
    if nearest_double(lo) != nearest_double(hi):
        return False
    return digits is None or decimal_string(lo, digits) == decimal_string(hi, digits)


def decimal_string(x: Fraction, digits: int, rounding: str = ROUND_HALF_EVEN) -> str:
    """``x`` to ``digits`` significant decimal digits, trailing zeros kept; correctly rounded in the given direction."""
    if not x:
        return "0"
    context = Context(prec=digits, rounding=rounding, Emax=_MAX_EXPONENT, Emin=-_MAX_EXPONENT)
    quotient = context.divide(Decimal(x.numerator), Decimal(x.denominator))
    missing = digits - len(quotient.as_tuple().digits)
    if missing > 0:  # an exact quotient comes without its trailing zeros
        quotient = quotient.quantize(Decimal(1).scaleb(quotient.adjusted() + 1 - digits), context=context)
    return f"{quotient:f}" if -7 < quotient.adjusted() < digits else f"{quotient:e}"


def decimal_bounds(lo: Fraction, hi: Fraction, digits: int) -> tuple[str, str]:
    """Decimal strings of about ``digits`` digits around ``[lo, hi]``, rounded outwards."""
    return decimal_string(lo, digits, ROUND_FLOOR), decimal_string(hi, digits, ROUND_CEILING)
