"""Activations with kinks anywhere and on any scale: what is found of them, and their moments, against mpmath."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
from scipy.special import expit
from test_meanfield import SCALE

from snn_cli.activations import BASELINES, find
from snn_cli.activations.family import Baseline
from snn_cli.propagation.mean import shifted_moments
from snn_cli.propagation.meanfield import MeanField
from snn_cli.propagation.resolution import resolve, resolved

MP = mpmath.MPContext()
MP.dps = 30


class Case(NamedTuple):
    """f and f' on arrays and in mpmath, its kinks, and points between which mpmath's rule resolves it."""

    f: object
    df: object
    precise: object
    kinks: tuple = ()
    cuts: tuple = ()

    @property
    def baseline(self):
        return Baseline(
            "x", "x", None, lambda _np, x, _p: self.f(x), lambda _np, x, _p: self.df(x), kinks=lambda *_: self.kinks
        )


def _steep(x):
    t = MP.tanh(50 * (x - 1))
    return t, 50 * (1 - t * t)


def _sigmoid_linear(x):
    s, a = 1 / (1 + MP.exp(-1.702 * x)), MP.mpf(1.702)
    return x * s, s + a * x * s * (1 - s)


CASES = {
    "tanh(50(x - 1))": Case(
        lambda x: np.tanh(50 * (x - 1)),
        lambda x: 50 / np.cosh(np.clip(50 * (x - 1), -300, 300)) ** 2,
        _steep,
        cuts=tuple(1 + s * d for s in (-1, 1) for d in (0, 0.02, 0.05, 0.1, 0.2, 0.4, 1)),
    ),
    "x sigmoid(1.702 x)": Case(
        lambda x: x * expit(1.702 * x),
        lambda x: expit(1.702 * x) * (1 + 1.702 * x * expit(-1.702 * x)),
        _sigmoid_linear,
        cuts=(-40, -20, -10, -5, -2.5, 0, 2.5, 5, 10, 20, 40),
    ),
    "where(x > 1, x, x^2/2 + 1/2)": Case(
        lambda x: np.where(x > 1, x, x * x / 2 + 0.5),
        lambda x: np.where(x >= 1, 1.0, x),
        lambda x: (x, MP.one) if x >= 1 else (x * x / 2 + MP.mpf(1) / 2, x),
        kinks=(1,),
        cuts=(1,),
    ),
    "abs(x + 0.3), kink unnamed": Case(
        lambda x: np.abs(x + 0.3),
        lambda x: np.where(x < -0.3, -1.0, 1.0),
        lambda x: (abs(x + MP.mpf(0.3)), MP.one if x >= -MP.mpf(0.3) else -MP.one),
        cuts=(-0.3,),
    ),
    "x exp(-x^2)": Case(
        lambda x: x * np.exp(-x * x),
        lambda x: np.exp(-x * x) * (1 - 2 * x * x),
        lambda x: (x * MP.exp(-x * x), MP.exp(-x * x) * (1 - 2 * x * x)),
        cuts=(-12, -6, -3, -1.5, 0, 1.5, 3, 6, 12),
    ),
    "exp(x)": Case(np.exp, np.exp, lambda x: (MP.exp(x), MP.exp(x)), cuts=(0,)),
}


def reference(case, mean, q):
    """Moments of ``N(mean, q)`` by Gauss-Legendre at 30 digits."""
    root = MP.sqrt(MP.mpf(q))
    edge = 40 if "exp(x)" in CASES and case is CASES["exp(x)"] else 14
    cuts = {(MP.mpf(c) - mean) / root for c in case.cuts} | {MP.mpf(1.75) * n for n in range(-edge, edge + 1)}
    ends = sorted(c for c in cuts if abs(c) <= edge)
    sums = {}
    nodes = mpmath.calculus.quadrature.GaussLegendre(MP).calc_nodes(4, MP.prec)
    for a, b in pairwise(ends):
        for t, weight in nodes:
            z = (a + b) / 2 + (b - a) / 2 * t
            f, df = case.precise(mean + root * z)
            w = weight * (b - a) / 2 * MP.npdf(z)
            he2, he4 = (z * z - 1) / 2, (z**4 - 6 * z * z + 3) / 4
            for name, value in (
                ("mean", f), ("second", f * f), ("second_slope", f * f * he2), ("second_curvature", f * f * he4),
                ("fourth", f**4), ("gain", df * df), ("gain_slope", df * df * he2), ("gain_fourth", df**4),
                ("mean_slope", df), ("mixed", (f * df) ** 2), ("along", (z * df) ** 2),
            ):  # fmt: skip
                sums[name] = sums.get(name, MP.zero) + w * value
    return sums


@pytest.mark.parametrize("name", CASES)
def test_moments(name):
    case = CASES[name]
    field = MeanField(case.baseline, {})
    for q in (0.01, 1.0) if name == "exp(x)" else (0.01, 1.0, 300.0):
        found, expected = field.moments(np.array([q])), reference(case, MP.zero, q)
        for key, value in expected.items():
            scale = SCALE.get(key, lambda m, key=key: abs(m[key]))(expected) + (key == "mean_slope")
            assert abs(MP.mpf(float(getattr(found, key)[0])) - value) <= 1e-12 * scale, (key, q)
        value, slope = field.second_moment_map(np.array([q]))
        assert value[0] == pytest.approx(float(expected["second"]), rel=1e-13)
        assert slope[0] == pytest.approx(float(expected["second_slope"]), rel=1e-11, abs=1e-13 * value[0])


@pytest.mark.parametrize("name", ["tanh(50(x - 1))", "abs(x + 0.3), kink unnamed"])
def test_moments_about_a_mean(name):
    case = CASES[name]
    mean, deviation = np.array([[0.9], [-3.0]]), np.array([0.1, 2.0])
    found = shifted_moments(MeanField(case.baseline, {}), mean, deviation)
    for i in range(2):
        for j in range(2):
            expected = reference(case, MP.mpf(float(mean[i, 0])), MP.mpf(float(deviation[j])) ** 2)
            size = float(expected["second"])
            for column, key in zip(found, ("mean", "second", "mean_slope", "gain"), strict=False):
                value = float(expected[key])
                assert column[i, j] == pytest.approx(value, rel=1e-12, abs=1e-13 * (1 + size))
            assert found[4][i, j] == pytest.approx(2 * float(expected["second_slope"]), abs=1e-12 * size)


def test_wrapped_at_zero_is_scaled():
    """``a f(b x)`` at q is ``a`` times f at ``b^2 q``: other panels, the same numbers."""
    for act in ("tanh", "gelu", "mish", "elu", "relu", "hardswish", "softplus"):
        params = {"a": 1.5, "b": -2.25, "c": 0.0, "d": 0.0}
        wrapped, plain = MeanField(find(act, params), params), MeanField(find(act), {})
        q = np.geomspace(1e-6, 1e6, 7)
        a, b = wrapped.moments(q), plain.moments(q * 2.25**2)
        assert a.second == pytest.approx(1.5**2 * b.second, rel=1e-12)
        assert a.second_slope == pytest.approx(1.5**2 * b.second_slope, rel=1e-11)
        assert a.gain == pytest.approx((1.5 * 2.25) ** 2 * b.gain, rel=1e-12)
        assert a.fourth == pytest.approx(1.5**4 * b.fourth, rel=1e-12)
        assert a.gain_fourth == pytest.approx((1.5 * 2.25) ** 4 * b.gain_fourth, rel=1e-11)
    assert MeanField(find("relu", params), params).homogeneous


@pytest.mark.parametrize("act", [name for name in BASELINES if find(name).unit_scale])
def test_the_quick_rule_is_the_resolved_one(act):
    quick, slow = MeanField(find(act), {}), MeanField(find(act)._replace(unit_scale=False), {})
    assert (quick.resolution is None, slow.resolution is None) == (True, False)
    q = np.geomspace(1e-6, 1e6, 13)
    a, b = quick.moments(q), slow.moments(q)
    for name in ("second", "second_slope", "fourth", "gain", "gain_fourth", "mean_slope", "mixed", "along"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), rel=2e-12), name


def test_shifted_relu_in_closed_form():
    """``E[max(x - k, 0)^2]``: textbook integrals, out to where the kink has next to no weight."""
    for k in (-5.0, 0.3, 6.0):
        params = {"a": 1.0, "b": 1.0, "c": -k, "d": 0.0}
        found = MeanField(find("relu", params), params).moments(np.array([1.0]))
        with mpmath.workdps(30):
            above, density = mpmath.ncdf(-k), mpmath.npdf(k)
            assert found.mean[0] == pytest.approx(float(density - k * above), rel=1e-12)
            assert found.second[0] == pytest.approx(float((1 + k * k) * above - k * density), rel=1e-12)
            assert found.gain[0] == pytest.approx(float(above), rel=1e-12)


@pytest.mark.parametrize(("at", "expected"), [(1000.3, 1000.3), (-0.7, -0.7), (1e-3, 1e-3), (1.0, 1.0)])
def test_kinks_are_found(at, expected):
    found = resolve(lambda x: np.maximum(x - at, 0), lambda x: np.where(x >= at, 1.0, 0.0))
    assert list(found.kinks) == ([expected] if at not in (1.0,) else [])  # 1 is the end of a panel anyway
    assert at in found.ends
    assert not found.jumps


def test_what_jumps_is_steep_or_oscillates():
    jump = resolve(lambda x: np.sign(x - 0.3), lambda x: 0 * x)
    assert (jump.kinks, jump.jumps) == ((0.3,), True)
    root = resolve(lambda x: np.sqrt(np.abs(x)), lambda x: np.sign(x) / 2 / np.sqrt(np.abs(x)))
    assert root.steep
    sine = resolve(np.sin, np.cos)
    assert 100 < sine.reach < 1e5
    assert len(sine.ends) < 2000
    fine = resolve(lambda x: np.sin(1e6 * x), lambda x: 1e6 * np.cos(1e6 * x))
    assert 0 < fine.reach < 1


def test_the_sine():
    """``E[sin(x)^2] = (1 - e^(-2q))/2`` at every q: resolved to some hundreds, and beyond a power of q, which it is."""
    sine = Baseline("sin", "sin(x)", None, lambda _np, x, _p: np.sin(x), lambda _np, x, _p: np.cos(x))
    q = np.geomspace(1e-20, 1e20, 81)
    value, slope = MeanField(sine, {}).second_moment_map(q)
    assert value == pytest.approx(-np.expm1(-2 * q) / 2, rel=1e-12)
    assert slope == pytest.approx(q * np.exp(-2 * q), rel=1e-11, abs=1e-13)


def test_centralized_down_to_nothing():
    """``Var f(sqrt(q) z) = q f'(0)^2`` as q goes to 0, where ``f(0)`` is not 0; and the slope of a jump."""
    field = MeanField(find("softplus"), {}, centralized=True)
    q = np.array([1e-40, 1e-20, 1e-12])
    assert field.second_moment_map(q)[0] == pytest.approx(q / 4, rel=1e-10)
    sign = Baseline("sign", "sign", None, lambda _np, x, _p: np.where(x < 0.5, -1.0, 1.0), lambda _np, x, _p: 0 * x)
    m = MeanField(sign, {}).moments(np.array([1.0]))
    assert m.mean[0] == pytest.approx(float(1 - 2 * mpmath.ncdf(0.5)), rel=1e-13)
    assert m.mean_slope[0] == pytest.approx(2 * float(mpmath.npdf(0.5)), rel=1e-13)


def test_one_resolution_for_all():
    params = (("a", 1.0), ("b", 2.0), ("c", 0.5), ("d", 0.0))
    assert resolved(find("tanh", dict(params)), params) is resolved(find("tanh", dict(params)), params)
    assert math.isfinite(resolved(find("hardswish"), ()).reach)
