"""An f that is 0 around 0, or that grows as an exponential: numbers, or a plain error."""

from __future__ import annotations

import math

import mpmath
import pytest

from snn_cli import CannotCompute, analyze, simulate
from snn_cli.records import Note

ZONES = {
    "relu(x - 0.7)": lambda x: max(x - mpmath.mpf("0.7"), 0),
    "x - min(max(x, -0.5), 0.5)": lambda x: x - min(max(x, mpmath.mpf("-0.5")), mpmath.mpf("0.5")),
}


@pytest.mark.parametrize("expr", ZONES)
def test_moments_of_a_dead_zone(expr):
    record = analyze(expr=expr)
    with mpmath.workdps(25):
        ends = [-mpmath.inf, -4, -0.5, 0.5, mpmath.mpf("0.7"), 2, 4, mpmath.inf]
        second = mpmath.quad(lambda z: ZONES[expr](z) ** 2 * mpmath.npdf(z), ends)
    assert record.second_moment == pytest.approx(float(second), rel=1e-15)
    assert not record.self_normalizing


def test_a_signal_that_dies_is_said_to():
    record = simulate(expr="relu(x - 0.7)", depth=20, fanin=256)
    assert {Note.VANISHES, Note.UNDERFLOW} <= set(record.notes)
    assert record.fixed_point.q == 0
    assert record.gradient.log_growth < -1000
    alive = simulate(expr="relu(x - 0.7)", depth=20, sigma_w="he")
    assert alive.fixed_point.q == 1
    assert Note.UNDERFLOW not in alive.notes


@pytest.mark.parametrize(("rate", "exponent"), [("2", 2), ("0.5", 0.5)])
def test_exponentials(rate, exponent):
    record = analyze(expr=f"exp({rate}*x)")
    assert record.second_moment == pytest.approx(math.exp(2 * exponent**2), rel=1e-14)
    assert record.gamma == pytest.approx(2 * exponent**2 * math.exp(2 * exponent**2), rel=1e-14)


@pytest.mark.parametrize("expr", ["exp(3*x)/1000", "exp(x**2/5)", "exp(x**2)"])
def test_what_grows_too_fast_is_an_error(expr):
    with pytest.raises(CannotCompute, match="too fast"):
        analyze(expr=expr)
