"""The registry, and what it takes to add a family."""

from __future__ import annotations

import math
import sys
import types
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from snn_cli import InputError, activations, explain, solve
from snn_cli.activations import selu
from snn_cli.activations.family import Family, Interval, exponential_linear


@pytest.mark.parametrize("name", activations.SOLVABLE)
def test_families_are_consistent(name):
    family = activations.get(name)
    assert family.name == name
    assert family.parameters[0] == "lambda"
    for conditions in family.closures.values():
        assert set(conditions) <= {"mean", "second_moment", "chi"}
        assert len(conditions) >= 2


def test_the_nearest_name_is_suggested():
    with pytest.raises(InputError) as caught:
        activations.get("SSELU ")
    assert caught.value.hint == "--act sselu"
    with pytest.raises(InputError, match="relu has no parameters"):
        activations.get("relu")


def test_a_new_family_is_one_file_and_one_line(monkeypatch, call):
    """A cubed SELU tail, ``lambda alpha (e^(3x) - 1)``: solved, listed, drawn and explained without another change."""

    def shape(ar, p):
        return exponential_linear(ar, p["lambda"], p["lambda"] * p["alpha"], ar.number(3))

    def candidates(ar, _closure, epsilon, _lam):
        d3, d6 = ar.tail(ar.number(3)), ar.tail(ar.number(6))
        gap = 9 * d6 - (d6 - 2 * d3 + ar.number(1) / 2)  # E[f'^2] - E[f^2] = A^2 gap
        square = epsilon / gap
        scale = ar.sqrt(2 + 2 * epsilon - 18 * square * d6)
        return [{"lambda": scale, "alpha": ar.sqrt(square) / scale}]

    def feasible(ar, _closure, _lam):
        d3, d6 = ar.tail(ar.number(3)), ar.tail(ar.number(6))
        gap = 9 * d6 - (d6 - 2 * d3 + ar.number(1) / 2)
        return Interval(ar.number(0), 1 / (9 * d6 / gap - 1), hi_open=True)

    family = Family(
        name="cselu",
        parameters=("lambda", "alpha"),
        positive="lambda*x",
        negative="lambda*alpha*(exp(3*x) - 1)",
        closures={"none": ("second_moment", "chi")},
        shape=shape,
        candidates=candidates,
        feasible=feasible,
        least_slope=selu.least_slope,
        function=lambda np, x, p: p["lambda"] * np.where(x > 0, x, p["alpha"] * np.expm1(3 * np.minimum(x, 0))),
        derivative=selu.derivative,
    )
    module = types.ModuleType("cselu")
    module.FAMILY = family
    call("solve", "--help")  # the names in a page of help are those that there were when the command was loaded
    monkeypatch.setitem(sys.modules, "cselu", module)
    monkeypatch.setitem(activations.SOLVABLE, "cselu", "cselu")

    s = solve("cselu", Fraction(1, 50))
    assert (s.second_moment, s.chi) == (1.0, 1.02)
    assert abs(s.residuals["chi"]) < 1e-15
    assert s.self_normalizing
    assert "cselu" in call("solve", "--act", "cselu", "--epsilon", "0.02").out
    assert call("solve", "--act", "cselu,lselu", "--epsilon", "0.01,0.02", "--csv").code == 0
    assert call("solve", "--act", "cselu", "--epsilon", "5").code == 3
    assert "exp(3*x)" in explain(s)


FUNCTIONS = [
    ("selu", None),
    ("dselu", "0.1"),
    ("lselu", "0.03"),
    ("lselu", "0.2"),
    ("lselu", "1.4"),
    ("sselu", "1e-12"),
    ("sselu", "0.03"),
    ("sselu", "1e6"),
]


def exactly(solution, x):
    """f and f' at a double, and the sizes of the terms they are made of, in mpmath."""
    p = {name: mpmath.mpf(value) for name, value in solution.params.items()}
    lam, amplitude, x = p["lambda"], p["lambda"] * p["alpha"], mpmath.mpf(float(x))
    if x >= 0:
        return lam * x, lam, lam * x, lam
    rate = p["beta"] if solution.act == "sselu" else 1
    line = lam * p["beta"] if solution.act == "lselu" else 0
    curve, slope = amplitude * mpmath.expm1(rate * x), amplitude * rate * mpmath.exp(rate * x)
    steepest = slope if solution.act != "sselu" else amplitude * rate
    return curve + line * x, slope + line, abs(curve) + abs(line * x), steepest + abs(line)


@pytest.mark.parametrize(("act", "epsilon"), FUNCTIONS)
def test_functions_to_a_few_units_of_rounding(act, epsilon):
    """In doubles, relative to the terms: where lSELU crosses zero a second time they cancel."""
    s = solve(act, epsilon)
    rng = np.random.default_rng(6)
    points = np.concatenate([rng.uniform(-700, 700, 50), rng.uniform(-8, 3, 100), -(10 ** rng.uniform(-300, 2.8, 100))])
    f, df = s.function()(points), s.derivative()(points)
    with mpmath.workdps(40):
        for x, y, dy in zip(points, f, df, strict=True):
            exact, slope, size, steepest = exactly(s, x)
            assert abs(mpmath.mpf(float(y)) - exact) <= 4 * 2.0**-53 * size, x
            assert abs(mpmath.mpf(float(dy)) - slope) <= 4 * 2.0**-53 * steepest, x
            assert s.at(float(x)) == pytest.approx(float(y), rel=1e-12, abs=float(size) * 1e-15)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize(("act", "epsilon"), FUNCTIONS)
def test_shorter_floats_are_rounded_once(act, epsilon, kind):
    """Where alpha is beyond the range of float16 and where the terms cancel, too."""
    s = solve(act, epsilon)
    points = np.concatenate([-np.geomspace(1e-3, 60, 300), np.linspace(0, 60, 50)]).astype(kind)
    for callable_ in (s.function(), s.derivative()):
        values = callable_(points)
        assert values.dtype == kind
        np.testing.assert_array_equal(values, callable_(points.astype(float)).astype(kind))
        assert np.isfinite(values).all()


def test_the_second_zero_in_single_precision():
    s = solve("lselu", "0.2")
    x = np.float32(-4.6095747)
    with mpmath.workdps(40):
        exact, *_ = exactly(s, x)
        assert abs(mpmath.mpf(float(s.function()(x))) - exact) <= np.spacing(np.float32(0.0974)) / 2


@pytest.mark.parametrize(("act", "epsilon"), FUNCTIONS)
def test_special_points(act, epsilon):
    s = solve(act, epsilon)
    f, df = s.function(), s.derivative()
    for function in (f, s.at):
        assert [math.copysign(1, function(x)) for x in (-0.0, 0.0)] == [-1, 1]
        assert function(math.inf) == math.inf
        assert math.isnan(function(math.nan))
        left = -math.inf * s.params["beta"] if act == "lselu" else -s.params["lambda"] * s.params["alpha"]
        assert function(-math.inf) == left
    assert df(-0.0) == df(0.0) == df(math.inf) == s.params["lambda"]
    assert np.isnan(df(math.nan))
    assert f(3).dtype == f([1, -2]).dtype == np.float64
    assert f(np.zeros((2, 0, 3))).shape == (2, 0, 3)
