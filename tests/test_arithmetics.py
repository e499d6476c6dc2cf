"""The moment formulas, in every arithmetic they can be evaluated in, against each other and against quadrature."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from conftest import quadrature
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp

from snn_cli import activations, solve
from snn_cli.arithmetic.arrays import Arrays
from snn_cli.arithmetic.dual import DualArithmetic
from snn_cli.arithmetic.multiprecision import Multiprecision, fraction
from snn_cli.gaussian import HalfLineMoments, moments

MOMENTS = ("mean", "second_moment", "chi", "gamma", "kappa", "mean_slope")

EXACT = Multiprecision(400)
"""120 digits, of which sSELU at epsilon = 1e-12 loses some 24 in f^2 and twice that in f^4."""

RANGES = {
    "lselu": [0.0, *np.geomspace(1e-12, 1.4, 40)],
    "sselu": list(np.geomspace(1e-12, 1e6, 54)),
    "dselu": [0.0, *np.geomspace(1e-12, 0.1597, 20)],
    "selu": [None],
}

ACCURACY = {
    # Relative, and relative to E[|f|] for the mean, in which the two sides all but cancel: it goes as sqrt(epsilon)
    # and is zero for SELU, while each side has the rounding errors of a number near 0.4.
    "mean": 1e-15,
    "second_moment": 1e-14,
    "chi": 1e-14,
    "gamma": 1e-14,
    # Far out on lSELU's range alpha = 7.8 and beta = -4.4 pull against each other, in f'^4 by a factor of 100.
    "kappa": 5e-14,
    "mean_slope": 1e-14,
}


@pytest.fixture(scope="module")
def solved():
    """Parameters, as doubles, over the whole range of epsilon: family -> parameter -> list."""
    table = {}
    for act, epsilons in RANGES.items():
        solutions = [solve(act, None if e is None else float(e)) for e in epsilons]
        table[act] = {name: [s.params[name] for s in solutions] for name in solutions[0].params}
    return table


def exactly(act, params, ar=EXACT):
    """The shape of an activation whose parameters are those doubles, exactly."""
    return activations.get(act).shape(ar, {name: ar.number(Fraction(float(x))) for name, x in params.items()})


def error(got, exact):
    return abs(EXACT.number(Fraction(float(got))) - exact)


def worst(got, exact, scale):
    """Largest error relative to ``scale``, and where it is."""
    errors = [float(error(g, e) / s) for g, e, s in zip(got, exact, scale, strict=True)]
    where = int(np.argmax(errors))
    return errors[where], where


@pytest.mark.parametrize("act", RANGES)
def test_arrays_over_the_whole_range(act, solved):
    params = solved[act]
    size = len(RANGES[act])
    found = moments(activations.get(act).shape(Arrays(), {name: np.array(x) for name, x in params.items()}))
    shapes = [exactly(act, {name: x[i] for name, x in params.items()}) for i in range(size)]
    reference = [moments(f) for f in shapes]
    for name in MOMENTS:
        got = np.broadcast_to(getattr(found, name), size)
        exact = [getattr(m, name) for m in reference]
        scale = exact
        if name == "mean":
            scale = [abs(f.negative.expectation()) + abs(f.positive.expectation()) for f in shapes]
        largest, where = worst(got, exact, scale)
        assert largest < ACCURACY[name], (name, RANGES[act][where], largest)


def test_terms_alone_would_cancel(solved):
    """The reason for sums of their own: term by term, ``E[f^2]`` of sSELU at 1e-12 loses all but five digits."""
    p = {name: x[0] for name, x in solved["sselu"].items()}
    amplitude, tail = p["lambda"] * p["alpha"], Arrays().tail
    naive = p["lambda"] ** 2 / 2 + amplitude**2 * (tail(2 * p["beta"]) - 2 * tail(p["beta"]) + 0.5)
    exact = moments(exactly("sselu", p)).second_moment
    assert float(error(naive, exact)) > 1e-6
    assert float(error(moments(activations.get("sselu").shape(Arrays(), p)).second_moment, exact)) < 1e-15


def test_arrays_broadcast_and_do_not_warn():
    def second_moment(lam, alpha, beta):
        f = activations.get("sselu").shape(Arrays(), {"lambda": lam, "alpha": alpha, "beta": beta})
        return (f * f).expectation()

    lam, alpha, beta = np.linspace(0.5, 1.3, 3), np.geomspace(1e-3, 1e7, 4), np.geomspace(1e-8, 1e7, 5)
    found = second_moment(lam[:, None], alpha, beta[:, None, None])
    assert found.shape == (5, 3, 4)
    assert np.isfinite(found).all()
    assert found[3, 1, 2] == second_moment(lam[1], alpha[2], beta[3])
    ar = Arrays()
    assert np.isnan(ar.sqrt(-1.0))
    assert np.isnan(ar.log(-1.0))
    assert ar.log(0.0) == -np.inf
    assert ar.exp(1e4) == np.inf
    assert ar.tail(-1e3) == np.inf
    nothing = activations.get("sselu").shape(ar, dict.fromkeys(("lambda", "alpha", "beta"), np.zeros(0)))
    assert moments(nothing).chi.shape == (0,)
    assert np.isnan(moments(activations.get("sselu").shape(ar, {"lambda": 1.0, "alpha": 1.0, "beta": np.nan})).gamma)


@given(
    st.floats(-9, 7.5).map(lambda x: 10**x),
    st.floats(0.1, 1.5),
    st.floats(-4, 4),
)
def test_fourth_powers_of_any_rate(rate, slope, line):
    """``E[f^4]`` and ``E[f^2 f'^2]`` of ``slope (e^(rate x) - 1)/rate + line x``: positive sums that cancel the most.

    Relative to the same sum with both parts of f positive, so that only the cancellation in the exponentials counts.
    """
    from snn_cli.activations.family import exponential_linear

    amplitude = slope / rate
    f = exponential_linear(Arrays(), np.float64(1), np.float64(amplitude), np.float64(rate), np.float64(line))

    def shape(sign):
        numbers = (EXACT.number(Fraction(x)) for x in (1.0, amplitude, rate, sign(line)))
        return exponential_linear(EXACT, *numbers)

    exact, scale = shape(float), shape(abs)
    for left, right in (
        (lambda g: g * g, lambda g: g * g),
        (lambda g: g * g, lambda g: g.derivative() * g.derivative()),
    ):
        got = (left(f) * right(f)).expectation()
        want, size = ((left(g) * right(g)).expectation() for g in (exact, scale))
        assert float(error(got, want) / size) < 1e-13


@given(st.floats(0.05, 3), st.floats(0.05, 3), st.floats(1e-3, 0.74))
def test_series_and_direct_sum_agree(a, b, rate):
    """The two ways to a sum, on a function without structure, where both are good."""
    terms = {(0, 2): np.float64(a), (1, 1): np.float64(b), (0, 0): np.float64(1)}
    series = Arrays().half_line_sum(terms, rate)
    direct = sum(c * Arrays().half_line_moment(n, k * rate) for (n, k), c in terms.items())
    assert series == pytest.approx(direct, rel=1e-13, abs=1e-14)


@pytest.mark.parametrize("n", [0, 1, 2, 4, 6])
def test_half_line_moments(n):
    """``M_n(s)`` in arrays and at high precision against quadrature of its definition."""
    points = [-8.0, -2.0, -0.3, 0.0, 1e-9, 0.01, 0.4, 0.999, 1.0, 1.001, 1.7, 4.0, 30.0, 4e3, 2e7]
    found = Arrays().half_line_moment(n, np.array(points))
    with mp.workdps(36):
        for s, value in zip(points, found, strict=True):
            unit = 1 / mp.mpf(s) if s >= 4 else mp.mpf(1)  # on which the integrand falls off
            ends = [0, -2, -8, -32, -130] if s >= 4 else [0, -2, -8, min(s, 0) - 16]
            integral = mp.quad(lambda t, u=unit, s=s: t**n * mp.exp(s * u * t - (u * t) ** 2 / 2), ends[::-1])
            want = unit ** (n + 1) * integral / mp.sqrt(2 * mp.pi)
            assert abs(mp.mpf(float(value)) / want - 1) < 1e-14, s
            high = HalfLineMoments(EXACT, EXACT.number(Fraction(s)))(n, 1)
            assert abs(mp.mpf(high) / want - 1) < mp.mpf(10) ** -30, s


POINTS = [("lselu", 1e-6), ("lselu", 0.03), ("lselu", 1.4), ("sselu", 1e-6), ("sselu", 0.03), ("sselu", 50.0)]
POINTS += [("dselu", 0.01), ("selu", None)]


@pytest.mark.parametrize(("act", "epsilon"), [POINTS[0], POINTS[2], POINTS[4], POINTS[7]])
def test_closed_forms_against_quadrature(act, epsilon):
    params = dict(solve(act, epsilon).params)
    found = moments(exactly(act, params))
    arrays = moments(activations.get(act).shape(Arrays(), params))
    with mp.workdps(36):
        for name, want in quadrature(act, params, 32).items():
            assert abs(mp.mpf(getattr(found, name)) - want) < mp.mpf(10) ** -30 * max(1, want), name
            assert abs(mp.mpf(float(getattr(arrays, name))) - want) < 1e-13 * max(1, want), name


@pytest.mark.parametrize(("act", "epsilon"), POINTS)
def test_balls_enclose(act, epsilon):
    flint = pytest.importorskip("flint")
    from snn_cli.arithmetic.balls import Balls, ends

    params = dict(solve(act, epsilon).params)
    exact = moments(exactly(act, params))
    with flint.ctx.workprec(200):
        found = moments(exactly(act, params, Balls()))
        for name in MOMENTS:
            low, high = ends(getattr(found, name))
            assert low <= fraction(getattr(exact, name)) <= high, name
            assert high - low < Fraction(1, 10**25), name


@given(st.sampled_from(POINTS), st.lists(st.integers(-16, 16), min_size=3, max_size=3))
def test_wide_balls_enclose_every_point(point, offsets):
    """Parameters known to 1e-6: the balls of the moments hold the moments of any parameters in there."""
    flint = pytest.importorskip("flint")
    from snn_cli.arithmetic.balls import Balls, ball, ends

    act, params = point[0], SOLVED[point]
    radius = Fraction(1, 10**6)
    inside = {
        name: Fraction(x) + radius * offset / 16 for (name, x), offset in zip(params.items(), offsets, strict=False)
    }
    exact = moments(activations.get(act).shape(EXACT, {name: EXACT.number(x) for name, x in inside.items()}))
    with flint.ctx.workprec(160):
        box = {name: ball(Fraction(x), radius) for name, x in params.items()}
        found = moments(activations.get(act).shape(Balls(), box))
        for name in MOMENTS:
            low, high = ends(getattr(found, name))
            assert low <= fraction(getattr(exact, name)) <= high, name


def test_ball_tail_across_its_switch():
    """The two formulas of the tail meet at 4; a ball that straddles it is served too."""
    flint = pytest.importorskip("flint")
    from snn_cli.arithmetic.balls import Balls, ball, ends

    with flint.ctx.workprec(160):
        for s in (Fraction(-3), Fraction(0), Fraction(4), Fraction(4) + Fraction(1, 10**20), Fraction(5 * 10**6)):
            low, high = ends(Balls().tail(ball(s, Fraction(1, 10**30))))
            assert low <= fraction(EXACT.tail(EXACT.number(s))) <= high


@pytest.mark.parametrize(("act", "epsilon"), POINTS)
def test_dual_gradients(act, epsilon):
    """Gradients of every moment in every parameter against numerical differentiation at high precision."""
    params = dict(solve(act, epsilon).params)
    values = [EXACT.number(Fraction(x)) for x in params.values()]
    dual = DualArithmetic(EXACT, len(values))
    found = moments(
        activations.get(act).shape(
            dual, {n: dual.variable(v, i) for i, (n, v) in enumerate(zip(params, values, strict=True))}
        )
    )
    exact = moments(exactly(act, params))
    for name in MOMENTS:
        assert abs(getattr(found, name).value - getattr(exact, name)) < EXACT.number(Fraction(1, 10**80))
        for i in range(len(values)):

            def along(t, i=i, name=name):
                moved = [t if j == i else v for j, v in enumerate(values)]
                return getattr(moments(activations.get(act).shape(EXACT, dict(zip(params, moved, strict=True)))), name)

            step = EXACT.number(Fraction(1, 10**30))
            slope = (along(values[i] + step) - along(values[i] - step)) / (2 * step)
            assert abs(getattr(found, name).gradient[i] - slope) < EXACT.number(Fraction(1, 10**30)), (name, i)


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "tail"])
@pytest.mark.parametrize("x", [Fraction(1, 10**6), Fraction(3, 7), Fraction(25)])
def test_dual_functions(name, x):
    dual = DualArithmetic(EXACT, 2)
    got = getattr(dual, name)(dual.variable(EXACT.number(x), 1))
    want = EXACT.context.diff(getattr(EXACT, name), EXACT.number(x), h=EXACT.number(Fraction(1, 10**50)))
    assert got.gradient[0] == 0
    assert abs(got.gradient[1] / want - 1) < EXACT.number(Fraction(1, 10**20))


def test_dual_root_follows_the_equation():
    """The solver's root for sSELU: beta, and its slope in epsilon and in lambda, against central differences."""
    family = activations.get("sselu")
    at = (Fraction(3, 100), Fraction(1))
    step = Fraction(1, 10**30)

    def beta(epsilon, lam):
        return family.candidates(EXACT, "lambda", EXACT.number(epsilon), EXACT.number(lam))[0]["beta"]

    dual = DualArithmetic(EXACT, 2)
    inputs = [dual.variable(EXACT.number(x), i) for i, x in enumerate(at)]
    found = family.candidates(dual, "lambda", *inputs)[0]["beta"]
    assert abs(found.value - beta(*at)) < EXACT.number(Fraction(1, 10**80))
    slopes = (
        (beta(at[0] + step, at[1]) - beta(at[0] - step, at[1])) / EXACT.number(2 * step),
        (beta(at[0], at[1] + step) - beta(at[0], at[1] - step)) / EXACT.number(2 * step),
    )
    for got, want in zip(found.gradient, slopes, strict=True):
        assert abs(got - want) < EXACT.number(Fraction(1, 10**40))


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.integers(0, 5))
def test_dual_rules(x, y, n):
    """Sum, product, quotient and power against the rules of calculus, in doubles."""

    class Doubles:
        def number(self, value):
            return float(value)

    dual = DualArithmetic(Doubles(), 2)
    a, b = dual.variable(x, 0), dual.variable(y, 1)
    cases = (
        (a + 2 * b - 1, (1, 2)),
        (3 - a, (-1, 0)),
        (a * b, (y, x)),
        (a / b, (1 / y, -x / y**2)),
        (2 / b, (0, -2 / y**2)),
        (a**n * b, (n * x ** (n - 1) * y if n else 0, x**n)),
    )
    for got, want in cases:
        assert got.gradient == pytest.approx(want, rel=1e-14)


SOLVED = {point: dict(solve(*point).params) for point in POINTS}


def test_roots_gain_digits_from_one_precision_to_the_next():
    """A root carried over is a start, not the limit: ``t^2 = 2`` at 100 bits, and on to 200 and 3000."""

    def residual(_ar, t):
        return t * t - 2

    before = None
    for precision in (100, 200, 300, 3000):
        before = ar = Multiprecision(precision, before=before)
        root = ar.root(residual, lambda a: a.number(1))
        with mp.workprec(3100):
            assert abs(mp.mpf(root) - mp.sqrt(2)) < mp.mpf(2) ** (8 - precision)
