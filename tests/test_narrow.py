"""Expressions that change on a narrow scale away from 0: moments against mpmath's quadrature around the feature."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from snn_cli import analyze, simulate
from snn_cli.activations import expression
from snn_cli.propagation.meanfield import MeanField
from snn_cli.propagation.resolution import resolve, resolved

MP = mpmath.MPContext()
MP.dps = 30

FORMS = {
    "x+exp(-({k}*(x-({c})))**2)": lambda u, k: (MP.exp(-u * u), -2 * k * u * MP.exp(-u * u), 1),
    "tanh(x)+1/(1+({k}*(x-({c})))**2)": lambda u, k: (1 / (1 + u * u), -2 * k * u / (1 + u * u) ** 2, None),
    "erf({k}*(x-({c})))": lambda u, k: (MP.erf(u), 2 * k * MP.exp(-u * u) / MP.sqrt(MP.pi), 0),
}
PLACES = [(k, c) for k in (10, 40, 300) for c in ("1.7", "-1.7", "2.37")]


def exactly(form, k, c):
    """``E[f^2]``, ``E[f'^2]`` and ``E[z f f']``."""

    def values(z):
        bump, slope, line = FORMS[form](k * (z - MP.mpf(c)), k)
        if line is None:
            return MP.tanh(z) + bump, MP.sech(z) ** 2 + slope
        return line * z + bump, line + slope

    cuts = [MP.mpf(c) + MP.mpf(t) / k for t in (-100, -30, -10, -6, -3, -1, 0, 1, 3, 6, 10, 30, 100)]
    ends = [-14, *sorted({*(MP.mpf(i) for i in range(-12, 13, 3)), *(cut for cut in cuts if -13 < cut < 13)}), 14]
    terms = (lambda f, _df, _z: f * f, lambda _f, df, _z: df * df, lambda f, df, z: z * f * df)
    return [float(MP.quad(lambda z, t=term: t(*values(z), z) * MP.npdf(z), ends, maxdegree=4)) for term in terms]


@pytest.mark.parametrize(
    ("form", "k", "c"), [(form, *place) for i, form in enumerate(FORMS) for place in (PLACES[i::3] if i else PLACES)]
)
def test_moments_hold_a_narrow_feature(form, k, c):
    text = form.format(k=k, c=c)
    found = MeanField(expression.baseline(text), {}).moments(np.array([1.0]))
    expected = exactly(form, k, c)
    assert [float(m[0]) for m in (found.second, found.gain, found.second_slope)] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("k", "c"), [(10, "1.7"), (40, "-1.7"), (300, "2.37")])
def test_analyze_and_simulate_print_them(k, c):
    form = next(iter(FORMS))
    second, chi, gamma = exactly(form, k, c)
    record = analyze(expr=form.format(k=k, c=c))
    assert [record.second_moment, record.chi, record.gamma] == pytest.approx([second, chi, gamma], rel=1e-10)
    profile = simulate(expr=form.format(k=k, c=c), depth=2).profile
    assert profile.q[1] == pytest.approx(second, rel=1e-10)


def test_a_multiplied_out_square_is_found_where_it_turns():
    text = "x+exp(-1600*x**2+5440*x-4624)"  # -(40 (x - 1.7))^2
    found = MeanField(expression.baseline(text), {}).moments(np.array([1.0]))
    expected = exactly(next(iter(FORMS)), 40, "1.7")[:2]
    assert [float(found.second[0]), float(found.gain[0])] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("k", "chi"), [(3000, 891.94664), (100000, None)])
def test_a_step_of_any_steepness_is_seen(k, chi):
    f = "erf" if chi else "tanh"
    c = MP.mpf("1.234")
    slope = (lambda u: 4 / MP.pi * MP.exp(-2 * u * u)) if chi else (lambda u: MP.sech(u) ** 4)
    expected = k * MP.quad(lambda u: slope(u) * MP.npdf(c + u / k), [-60, -20, -6, -2, 0, 2, 6, 20, 60])
    assert chi is None or float(expected) == pytest.approx(chi, rel=1e-5)
    found = MeanField(expression.baseline(f"{f}({k}*(x-1.234))"), {}).moments(np.array([1.0]))
    assert float(found.gain[0]) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(
    "text", ["x*sigmoid(2*x)", "tanh(3*(x-1.5))", "x+0.3*exp(-(x-1)**2)", "tanh(4*(x-2))+x", "sin(x)+x", "erf(10*x)"]
)
def test_what_the_panels_saw_keeps_them(text):
    f = expression.baseline(text)
    plain = resolve(lambda x: f.function(np, x, {}), lambda x: f.derivative(np, x, {}))
    assert np.array_equal(resolved(f, ()).ends, plain.ends)


def test_a_line_with_a_narrow_bump_is_no_line():
    assert MeanField(expression.baseline("x+exp(-(40*(x-1.7))**2)"), {}).resolution is not None
    assert MeanField(expression.baseline("x+0*exp(-(40*(x-1.7))**2)"), {}).resolution is None


def test_what_changes_only_beyond_the_reach_is_not_seen():
    field = MeanField(expression.baseline("erf(3000*(x-1.234))"), {})
    field.resolution = resolved(field.activation, ())._replace(largest=1e-3, hidden=((1.234, 3385.0),))
    assert not field.seen(np.array([1.0]))
    assert field.seen(np.array([1e-4]))
