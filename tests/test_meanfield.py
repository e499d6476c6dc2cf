"""Moments over ``x = sqrt(q) z`` at any second moment, against quadrature of the activation itself at 30 digits."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from conftest import FORMULAS
from hypothesis import assume, example, given
from hypothesis import strategies as st
from mpmath.calculus.quadrature import GaussLegendre

from snn_cli import solve
from snn_cli.activations import BASELINES, find
from snn_cli.propagation.meanfield import MeanField
from snn_cli.propagation.quadrature import rule, shifted_rule
from snn_cli.propagation.resolution import resolve

DIGITS = 32


def _erf_slope(x):
    return 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x)


def _sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def _softplus(x):
    return max(x, 0) + mpmath.log1p(mpmath.exp(-abs(x)))


def _mish_slope(x):
    return mpmath.tanh(_softplus(x)) + x * mpmath.sech(_softplus(x)) ** 2 * _sigmoid(x)


DEFINITIONS = {
    "relu": (lambda x: max(x, 0), lambda x: mpmath.mpf(x > 0)),
    "leaky_relu": (lambda x: x if x > 0 else x / 100, lambda x: mpmath.mpf(1) if x > 0 else mpmath.mpf(1) / 100),
    "tanh": (mpmath.tanh, lambda x: mpmath.sech(x) ** 2),
    "erf": (mpmath.erf, _erf_slope),
    "gelu": (lambda x: x * mpmath.ncdf(x), lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x)),
    "silu": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x))),
    "elu": (lambda x: x if x > 0 else mpmath.expm1(x), lambda x: mpmath.mpf(1) if x > 0 else mpmath.exp(x)),
    "linear": (lambda x: x, lambda _: mpmath.mpf(1)),
    "mish": (lambda x: x * mpmath.tanh(_softplus(x)), _mish_slope),
    "softplus": (lambda x: _softplus(x), lambda x: _sigmoid(x)),
    "hardswish": (
        lambda x: x if x > 3 else mpmath.mpf(0) if x < -3 else x * (x + 3) / 6,
        lambda x: mpmath.mpf(1) if x > 3 else mpmath.mpf(0) if x < -3 else (2 * x + 3) / 6,
    ),
}
SOLVED = {
    "selu": solve("selu"),
    "lselu": solve("lselu", "0.03"),
    "sselu": solve("sselu", "0.03"),
    "dselu": solve("dselu", "0.03"),
}
ACTS = (*DEFINITIONS, *SOLVED)
SECOND_MOMENTS = (1e-4, 1.0, 30.0, 1e4)


def definition(act):
    """``f`` and ``f'`` in mpmath."""
    if act in DEFINITIONS:
        return DEFINITIONS[act]
    left, slope = FORMULAS[act]
    p = {name: mpmath.mpf(value) for name, value in SOLVED[act].params.items()}
    return (
        lambda x: p["lambda"] * x if x > 0 else left(x, p),
        lambda x: p["lambda"] if x > 0 else slope(x, p),
    )


def field(act, variance_w=1.0, variance_b=0.0, centralized=False):
    params = SOLVED[act].params if act in SOLVED else {}
    return MeanField(find(act), params, variance_w, variance_b, centralized)


@lru_cache(maxsize=8)
def half_line(q):
    """Gauss-Legendre nodes for ``z > 0``: panels on the scale of the activation up to x = 12, then doubling, or 1.5."""
    root = mpmath.sqrt(q)
    x = [mpmath.mpf(n) / 2 for n in (0, 1, 2, 4, 6, 9, 12, 15, 18, 21, 24)]
    while x[-1] < 14 * root:
        x.append(2 * x[-1])
    ends = {y / root for y in x if y < 13.5 * root} | {mpmath.mpf(3) / 2 * n for n in range(10)}
    nodes = GaussLegendre(mpmath.mp).calc_nodes(4, mpmath.mp.prec)
    found = []
    for a, b in pairwise(sorted(ends)):
        for node, weight in nodes:
            z = (a + b) / 2 + (b - a) / 2 * node
            found.append((z, weight * (b - a) / 2 * mpmath.npdf(z)))
    return found


@lru_cache(maxsize=8)
def values(act, q):
    """Columns ``z^2``, weight, ``f`` and ``f'`` at all nodes."""
    f, df = definition(act)
    root = mpmath.sqrt(q)
    return tuple(zip(*((z * z, w, f(x), df(x)) for z, w in half_line(q) for x in (root * z, -root * z)), strict=True))


def product(a, b):
    return [x * y for x, y in zip(a, b, strict=True)]


def reference(act, q, centralized=False):
    """The fields of LayerMoments at one q; slopes by Hermite polynomials, of f itself and not of its derivatives."""
    with mpmath.workdps(DIGITS):
        z2, w, f, df = values(act, mpmath.mpf(q))
        he2 = [(x - 1) / 2 for x in z2]
        he4 = [(x * x - 6 * x + 3) / 4 for x in z2]
        wf = product(w, f)
        mean, mean_scale_slope, mean_curvature = mpmath.fsum(wf), mpmath.fdot(wf, he2), mpmath.fdot(wf, he4)
        y2 = [(x - mean) ** 2 for x in f] if centralized else product(f, f)
        dy2 = product(df, df)
        wy2, wdy2 = product(w, y2), product(w, dy2)
        total = {
            "second": mpmath.fsum(wy2),
            "second_slope": mpmath.fdot(wy2, he2),
            "second_curvature": mpmath.fdot(wy2, he4),
            "fourth": mpmath.fdot(wy2, y2),
            "gain": mpmath.fsum(wdy2),
            "gain_slope": mpmath.fdot(wdy2, he2),
            "gain_curvature": mpmath.fdot(wdy2, he4),
            "gain_fourth": mpmath.fdot(wdy2, dy2),
            "mean_slope": mpmath.fdot(w, df),
            "mixed": mpmath.fdot(wy2, dy2),
            "along": mpmath.fdot(wdy2, z2),
        }
        if centralized:  # E[(f - m)^2] = E[f^2] - m^2 with m = m(q); above m stands still
            total["second_curvature"] += 2 * mean * mean_curvature
            total["second_curvature"] -= 2 * (mean_scale_slope**2 + mean * mean_curvature)
        return {"mean": mean, "mean_scale_slope": mean_scale_slope, **total}


SCALE = {
    "mean": lambda m: mpmath.sqrt(m["second"] + m["mean"] ** 2),
    "mean_scale_slope": lambda m: mpmath.sqrt(m["second"] + m["mean"] ** 2),
    "second_slope": lambda m: m["second"],
    "second_curvature": lambda m: m["second"],
    "gain_slope": lambda m: m["gain"],
    "gain_curvature": lambda m: m["gain"],
    "along": lambda m: m["gain"],
}
"""What a number that may vanish is small against; the others are positive and held to relative accuracy."""


@pytest.mark.parametrize("act", ACTS)
def test_moments(act):
    """Twelve digits at every q; all in one call, so that arrays of q of very different size are covered."""
    plain, centred = (field(act, centralized=c).moments(np.array(SECOND_MOMENTS)) for c in (False, True))
    cases = [(i, q, False) for i, q in enumerate(SECOND_MOMENTS)]
    for i, q, centralized in [*cases, (1, 1.0, True), (2, 30.0, True)]:
        expected = reference(act, q, centralized)
        found = centred if centralized else plain
        assert found.q[i] == q
        for name, value in expected.items():
            scale = SCALE.get(name, lambda m, name=name: abs(m[name]))(expected)
            if act == "linear" and centralized and name in ("mean", "mean_scale_slope"):
                scale = mpmath.mpf(1)
            error = abs(mpmath.mpf(float(getattr(found, name)[i])) - value)
            assert error <= 1e-12 * scale, (name, q, float(error / scale))


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("centralized", [False, True])
def test_slopes_are_derivatives(act, centralized):
    """Of V and of chi, by differences; independent of how kinks enter them."""
    h = 1e-4
    for q in (0.02, 1.0, 7.0):
        up, here, down = (field(act, 1.5, 0.2, centralized).moments(np.array([q * (1 + s)])) for s in (h, 0, -h))
        for name in ("second", "gain", "mean"):
            a, b, c = (float(getattr(m, name)[0]) for m in (up, here, down))
            slope = {"second": "second_slope", "gain": "gain_slope", "mean": "mean_scale_slope"}[name]
            scale = abs(b) + abs(float(here.second[0])) ** 0.5
            assert (a - c) / (2 * h) == pytest.approx(float(getattr(here, slope)[0]), abs=1e-7 * scale)
            if name != "mean":
                curvature = float(getattr(here, name + "_curvature")[0])
                assert (a - 2 * b + c) / h**2 == pytest.approx(curvature, abs=2e-6 * scale)


@pytest.mark.parametrize("q", [1e-30, 1e-4, 1.0, 77.0, 1e4, 1e30])
def test_erf_in_closed_form(q):
    """Williams (1997): the arcsine kernel."""
    m = field("erf").moments(np.array([q]))
    one = 1 + 2 * q
    expected = {
        "mean": 0,
        "second": 2 / math.pi * math.asin(2 * q / one),
        "second_slope": 4 * q / math.pi / (one * math.sqrt(1 + 4 * q)),
        "gain": 4 / math.pi / math.sqrt(1 + 4 * q),
        "gain_slope": -8 * q / math.pi / (1 + 4 * q) ** 1.5,
        "gain_fourth": 16 / math.pi**2 / math.sqrt(1 + 8 * q),
        "mean_slope": 2 / math.sqrt(math.pi) / math.sqrt(one),
        "along": 4 / math.pi / (1 + 4 * q) ** 1.5,
    }
    if q > 1e20:  # asin cancels in doubles
        expected["second"] = 1 - 4 / math.pi * math.atan(1 / math.sqrt(1 + 4 * q))
    for name, value in expected.items():
        assert float(getattr(m, name)[0]) == pytest.approx(value, rel=1e-12, abs=1e-15), name


def test_relu_in_closed_form():
    m = field("relu").moments(np.array([1e-30, 3.0, 1e30]))
    q = m.q
    for name, value in {
        "mean": np.sqrt(q / (2 * math.pi)),
        "second": q / 2,
        "second_slope": q / 2,
        "fourth": 1.5 * q * q,
        "gain": 0.5 + 0 * q,
        "gain_fourth": 0.5 + 0 * q,
        "mixed": q / 2,
        "along": 0.5 + 0 * q,
    }.items():
        assert getattr(m, name) == pytest.approx(value, rel=1e-14)
    assert np.abs(m.gain_slope).max() < 1e-15
    assert np.abs(m.second_curvature / q).max() < 1e-15


def test_the_rule_itself():
    """Even moments of the normal distribution, and a kink anywhere."""
    for scale in (0.1, 1, 5, 1e3):
        z, w = rule(scale)
        for power, expected in ((0, 1), (2, 1), (4, 3), (6, 15), (8, 105)):
            assert w @ z**power == pytest.approx(expected, rel=1e-13)
        assert w @ np.maximum(z, 0) == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-14)
    for kink in (-20.0, -13.4, -2.0, 0.0, 0.3, 13.4, 20.0):
        for scale in (0.5, 3.0, 50.0):
            z, w = shifted_rule(kink, scale)
            expected = float(mpmath.npdf(kink) - kink * mpmath.ncdf(-kink))  # E[max(z - kink, 0)]
            assert w @ np.maximum(z - kink, 0) == pytest.approx(expected, rel=1e-12, abs=1e-15)
            assert w.sum() == pytest.approx(1, rel=1e-13)


@pytest.mark.parametrize("act", ACTS)
def test_map_and_moments_agree(act):
    """``second_moment_map`` is the short way to two of the moments."""
    q = np.geomspace(1e-8, 1e8, 33)
    for centralized in (False, True):
        f = field(act, 1.7, 0.3, centralized)
        m = f.moments(q)
        value, slope = f.second_moment_map(q)
        assert value == pytest.approx(1.7 * m.second + 0.3, rel=1e-14)
        assert slope == pytest.approx(1.7 * m.second_slope, rel=1e-13, abs=1e-300)


@pytest.mark.parametrize("act", ACTS)
def test_shapes(act):
    """Arrays of any shape give arrays of that shape, each element as on its own."""
    f = field(act)
    q = np.array([[0.5, 2.0, 1e30], [1e-3, 1e3, 4.0]])
    whole = f.moments(q)
    for name in whole._fields:
        column = getattr(whole, name)
        assert column.shape == q.shape, name
        one = float(getattr(f.moments(np.array([4.0])), name)[0])
        assert column[1, 2] == pytest.approx(one, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("act", ["relu", "tanh", "gelu", "selu", "elu", "linear"])
def test_beyond_the_scale(act):
    """Second moments that a double only just holds: V is homogeneous there, of degree 0 where f saturates."""
    f = field(act)
    value, _ = f.second_moment_map(np.array([1e-290, 1e-70, 1e70, 1e290]))
    small = f.df(np.array([-1e-9, 1e-9])) ** 2
    assert value[:2] == pytest.approx(small.mean() * np.array([1e-290, 1e-70]), rel=1e-6)
    large = 0.5 * sum(float(f.f(np.array([side]))[0] / 1e9) ** 2 for side in (-1e9, 1e9))
    expected = [1.0, 1.0] if act == "tanh" else [large * 1e70, large * 1e290]
    assert value[2:] == pytest.approx(expected, rel=1e-6)


q_values = st.floats(-30, 30).map(lambda x: 10**x)


@given(act=st.sampled_from(ACTS), q=q_values, factor=st.floats(1, 100), sigma=st.floats(-3, 3), b=st.floats(0, 5))
@example(act="gelu", q=1e-30, factor=1.0, sigma=0.0, b=0.0)
def test_the_map_is_finite_and_ordered(act, q, factor, sigma, b):
    """For any legal parameters: V rises with q, and nothing overflows."""
    f = field(act, 10**sigma, b * b)
    (low, high), slopes = f.second_moment_map(np.array([q, q * factor]))
    assert np.isfinite(slopes).all()
    assert 0 <= b * b <= low <= high * (1 + 1e-13) < math.inf
    m = f.moments(np.array([q, q * factor]))
    for name in m._fields:
        assert np.isfinite(getattr(m, name)).all(), name
    for a, square in (("mean", "second"), ("mean_slope", "gain"), ("second", "fourth"), ("gain", "gain_fourth")):
        assert (getattr(m, a) ** 2 <= getattr(m, square) * (1 + 1e-12)).all(), a
    assert (m.second <= m.mean**2 + q * factor * m.gain * (1 + 1e-9)).all()  # Gaussian Poincare


@given(
    act=st.sampled_from(["lselu", "sselu", "dselu", "selu"]),
    lam=st.floats(0.01, 10),
    alpha=st.floats(-20, 20),
    beta=st.floats(-3, 3),
    q=st.floats(-8, 8),
)
def test_any_parameters(act, lam, alpha, beta, q):
    """Parameters that solve nothing are legal in a record; compared with quadrature of the same function."""
    assume(act != "sselu" or beta > 0.01)
    assume(abs(alpha) > 1e-6)
    params = {"lambda": lam, "alpha": alpha} | ({"beta": beta} if act in ("lselu", "sselu") else {})
    f = MeanField(find(act), params)
    q = 10**q
    m = f.moments(np.array([q]))
    z, w = resolve(f.f, f.df, [0.0]).rule(0.0, math.sqrt(q))
    x = math.sqrt(q) * z
    assert float(m.second[0]) == pytest.approx(float(w @ f.f(x) ** 2), rel=1e-10)
    assert float(m.gain[0]) == pytest.approx(float(w @ f.df(x) ** 2), rel=1e-10)
    assert float(m.fourth[0]) == pytest.approx(float(w @ f.f(x) ** 4), rel=1e-10)


def test_every_baseline_is_here():
    assert set(DEFINITIONS) == set(BASELINES)
