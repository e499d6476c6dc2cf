"""Lists and ranges."""

# ruff: noqa: RUF001 - digits of other scripts

from __future__ import annotations

import itertools
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_cli import InputError
from snn_cli.cli.sweep import MAX_POINTS, numbers


def test_lists_and_ranges():
    assert numbers("0.01, 0.03", "--epsilon") == [Fraction(1, 100), Fraction(3, 100)]
    assert numbers("0:1:5", "--epsilon") == [Fraction(i, 4) for i in range(5)]
    assert numbers("0.001:0.1:3:log", "--epsilon") == [Fraction(1, 1000), Fraction(1, 100), Fraction(1, 10)]
    assert numbers("10:1000:20", "--depth", integer=True)[:3] == [10, 62, 114]
    assert numbers("1:4:20", "--depth", integer=True) == [1, 2, 3, 4]
    assert numbers("auto,0.1:0.3:3", "--epsilon", words=("auto",)) == ["auto", *(Fraction(i, 10) for i in (1, 2, 3))]
    assert numbers("64,256:1024:2", "--fanin", integer=True) == [64, 256, 1024]


@given(st.floats(1e-12, 1e5), st.floats(1.0001, 1e6), st.integers(2, 60), st.booleans())
def test_ranges_are_even_and_end_where_they_say(start, factor, count, log):
    start, stop = Fraction(repr(start)), Fraction(repr(start * factor))
    values = numbers(f"{float(start)!r}:{float(stop)!r}:{count}" + (":log" if log else ""), "--epsilon")
    assert (values[0], values[-1], len(values)) == (start, stop, count)
    assert all(a < b for a, b in itertools.pairwise(values))
    with mpmath.workdps(40):
        for i, value in enumerate(values):
            t = mpmath.mpf(i) / (count - 1)
            low, high = (mpmath.mpf(x.numerator) / x.denominator for x in (start, stop))
            exact = low ** (1 - t) * high**t if log else low + (high - low) * t
            assert (
                abs(mpmath.mpf(value.numerator) / value.denominator / exact - 1) < 2.3e-16
            )  # half an ulp, and the repr's own
            assert Fraction(repr(float(value))) == value  # the decimal that the record prints


@pytest.mark.parametrize(
    "text",
    ["", ",", "0.1,", "1:2", "1:2:3:4", "1:2:3:lin", "2:1:5", "1:1:5", "1:2:1", "1:2:0", "1:2:-3", "1:2:1.5",
     "0:1:5:log", "-1:1:5:log", "a:b:c", "nan", "inf", "1:inf:3", "0x10", "1e400", "auto",
     "1:2:1000000000", "1;2", "1:2:100001"],
)  # fmt: skip
def test_no_list_and_no_range(text):
    with pytest.raises(InputError):
        numbers(text, "--epsilon")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e30", "0:10:5", "x", "1e400", "nan"])
def test_integers(text):
    with pytest.raises(InputError):
        numbers(text, "--depth", integer=True)
    assert numbers("1e3,20.0", "--depth", integer=True) == [1000, 20]


@pytest.mark.parametrize("text", ["１", "٣", "1_000", "0:1_0:3", "0:1:１0"])
def test_only_plain_digits_are_numbers(text):
    for integer in (False, True):
        with pytest.raises(InputError):
            numbers(text, "--depth", integer=integer)


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize(
    "text",
    ["", "1:2", "2:1:5", "1:2:0", "1:2:1", "1:2:-3", "1:2:x", "1:2:1e9", "0:1:5:log"],
)
def test_hints_are_ranges_that_can_be_typed(text, integer):
    with pytest.raises(InputError) as caught:
        numbers(text, "--depth", integer=integer)
    option, value = caught.value.hint.split(" ")
    assert option == "--depth"
    assert len(numbers(value, option, integer=integer)) > 1


def test_the_least_count_is_the_same_in_every_message():
    for text in ("0:1:0", "0:1:1"):
        with pytest.raises(InputError, match=f"from 2 to {MAX_POINTS}"):
            numbers(text, "--epsilon")


def test_many_points_are_refused_before_they_are_made():
    with pytest.raises(InputError, match=str(MAX_POINTS)):
        numbers(",".join(["1:2:5", "1:2:99999"]), "--epsilon")
