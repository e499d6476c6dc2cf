"""Lists and ranges: ``0.01,0.03``, ``START:STOP:COUNT`` and ``START:STOP:COUNT:log``."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any

from snn_cli.errors import InputError
from snn_cli.exact import nearest_double, positive_integer, rational

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_POINTS = 100_000
"""Most solutions that one command computes."""

INTEGERS = ("depth", "fanin")
"""Swept options that take whole numbers."""

_LOG_DIGITS = 40


def spelled(name: str) -> str:
    """The option as it is typed, of its name in Python."""
    return {"lam": "--lambda"}.get(name, f"--{name.replace('_', '-')}")


def combinations(axes: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values of several options, in the order written. Raises InputError for too many."""
    total = 1
    for values in axes.values():
        total *= len(values)
    if total > MAX_POINTS:
        largest = max(axes, key=lambda name: len(axes[name]))
        raise InputError(
            f"the sweep has {total} combinations; at most {MAX_POINTS} are computed",
            example(spelled(largest), integer=largest in INTEGERS),
        )
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def numbers(text: str, option: str, *, integer: bool = False, words: Sequence[str] = ()) -> list[Fraction | int | str]:
    """The values of a swept option, exact.

    A point inside a range is the decimal that its record prints, so a single call with that decimal gives the same
    record. Integer options round a range to integers and drop repeats. ``words`` are allowed as they stand.

    Raises InputError for what is no list or range of numbers, a reversed or empty range, or too many points.
    """
    values: list[Fraction | int | str] = []
    for item in text.split(","):
        item = item.strip()
        if not item:
            raise InputError(f"{option} has an empty value in {text!r}", example(option, integer))
        if item in words:
            values.append(item)
        elif ":" in item:
            values.extend(_range(item, option, integer))
        else:
            values.append(positive_integer(item, option) if integer else rational(item, option))
        if len(values) > MAX_POINTS:
            raise _too_many(option, integer)
    return values


def _range(item: str, option: str, integer: bool) -> list[Fraction | int | str]:
    parts = [part.strip() for part in item.split(":")]
    log = len(parts) == 4 and parts[3] == "log"
    if len(parts) != 3 and not log:
        raise InputError(
            f"{option} has {item!r}; a range is START:STOP:COUNT or START:STOP:COUNT:log",
            example(option, integer),
        )
    start, stop = rational(parts[0], option), rational(parts[1], option)
    count = _count(parts[2], item, option, integer)
    if start >= stop:
        raise InputError(f"{option} has {item!r}; START must be below STOP", example(option, integer))
    if log and start <= 0:
        raise InputError(f"{option} has {item!r}; a logarithmic range starts above 0", example(option, integer))
    inner = _geometric(start, stop, count) if log else _even(start, stop, count)
    if not integer:
        return [start, *(Fraction(repr(nearest_double(x))) for x in inner), stop]
    whole = [start, *inner, stop]
    return list(dict.fromkeys(positive_integer(str(round(x)), option) for x in whole))


def _count(text: str, item: str, option: str, integer: bool) -> int:
    try:
        count = positive_integer(text, option)
    except InputError:
        count = 0
    if count < 2:
        raise InputError(
            f"{option} has {item!r}; COUNT must be a whole number from 2 to {MAX_POINTS}", example(option, integer)
        )
    if count > MAX_POINTS:
        raise _too_many(option, integer)
    return count


def _even(start: Fraction, stop: Fraction, count: int) -> list[Fraction]:
    return [start + (stop - start) * i / (count - 1) for i in range(1, count - 1)]


def _geometric(start: Fraction, stop: Fraction, count: int) -> list[Fraction]:
    from decimal import Context, Decimal

    context = Context(prec=_LOG_DIGITS)
    low, high = (context.ln(context.divide(Decimal(x.numerator), Decimal(x.denominator))) for x in (start, stop))
    step = context.divide(context.subtract(high, low), Decimal(count - 1))
    return [Fraction(context.exp(context.add(low, context.multiply(step, Decimal(i))))) for i in range(1, count - 1)]


def example(option: str, integer: bool = False) -> str:
    """A range that can be typed as it stands."""
    return f"{option} {'10:1000:20' if integer else '0.001:0.1:40:log'}"


def _too_many(option: str, integer: bool) -> InputError:
    return InputError(f"{option} asks for more than {MAX_POINTS} values", example(option, integer))
