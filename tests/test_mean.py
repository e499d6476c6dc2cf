"""Weights with a common mean: section 6, by quadrature, by the theory's numbers and by following paths."""

from __future__ import annotations

import math
from functools import cache

import mpmath
import numpy as np
import pytest
from test_fluctuations import functions
from test_meanfield import definition, field

from snn_cli import simulate
from snn_cli.propagation.mean import MeanMap, shifted_moments


@pytest.mark.parametrize("act", ["lselu", "relu", "tanh", "elu"])
@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (-0.7, 0.5), (3.0, 2.0), (-20.0, 1.5), (1e-3, 1e-3)])
def test_shifted_moments(act, mean, deviation):
    found = shifted_moments(field(act), mean, deviation)
    f, df, density = map(cache, (*definition(act), mpmath.npdf))  # the nodes of all five are the same
    with mpmath.workdps(20):
        m, s = mpmath.mpf(mean), mpmath.mpf(deviation)
        ends = sorted({*range(-12, 13, 2), *([float(-m / s)] if abs(m / s) < 12 else [])})
        values = []
        for g in (
            lambda z: f(m + s * z),
            lambda z: f(m + s * z) ** 2,
            lambda z: df(m + s * z),
            lambda z: df(m + s * z) ** 2,
            lambda z: f(m + s * z) ** 2 * (z * z - 1),
        ):
            values.append(float(mpmath.quad(lambda z, g=g: g(z) * density(z), ends, maxdegree=5)))
    for i, value in enumerate(values):
        scale = values[1] if i == 4 else math.sqrt(values[1]) if i == 0 else abs(value)
        assert float(found[i]) == pytest.approx(value, abs=1e-11 * scale + 1e-28)


def coupled(a, act="lselu", epsilon="0.03", **options):
    """With ``a = fan_in mu_w E[f']``, the slope at 0."""
    tolerance = simulate(act, epsilon, fanin=1024, depth=1).mean_path.weight_mean_tolerance
    return simulate(act, epsilon, fanin=1024, weight_mean=a * tolerance, **options)


def test_numbers_of_the_theory():
    """Mean field at layer 30 for ``a = 0.7`` and at layer 5 for ``a = 1.3``, last digit."""
    record = coupled(0.7, depth=30)
    assert abs(record.profile.unit_mean[30] + 0.0706) < 5e-5
    record = coupled(1.3, depth=5)
    assert abs(record.profile.unit_mean[5] + 0.344) < 5e-4
    assert abs(record.profile.unit_variance[5] - 1.026) < 5e-4
    assert record.mean_path.slope == pytest.approx(1.3, rel=1e-12)


def test_tolerance():
    """``1 / (sqrt(fan_in) E[f'])``, less where ``sigma_w`` is larger; for ReLU ``E[f'] = 1/2``."""
    for n in (16, 1024, 10**6):
        record = simulate("relu", fanin=n, sigma_w=2, depth=2)
        assert record.mean_path.weight_mean_tolerance == pytest.approx(1 / (2 * math.sqrt(n) * 0.5), rel=1e-13)
    assert simulate("relu", fanin=16, depth=2, centralize=True).mean_path.weight_mean_tolerance is None
    assert simulate("relu", depth=2).mean_path.weight_mean_tolerance is None


def test_real_networks_with_a_mean():
    """Units of wide layers against the map; without the mean of the weights it would be 0 and V."""
    n, depth, count = 1024, 6, 40
    record = coupled(0.7, depth=depth)
    f, _ = functions(record)
    rng = np.random.default_rng(4)
    mu = np.float32(record.weight_mean / math.sqrt(n))
    x = rng.standard_normal((count, n), dtype=np.float32)
    for _ in range(depth):  # given f(x), units behind Gaussian weights are independent
        y = f(x)
        x = mu * y.sum(1)[:, None] + np.sqrt((y * y).mean(1))[:, None] * rng.standard_normal((count, n)).astype("f")
    means = x.mean(1, dtype=float)
    error = means.std() / math.sqrt(count)
    assert abs(means.mean() - record.profile.unit_mean[depth]) < 4 * error
    assert abs(means.mean()) > 4 * error


@pytest.mark.parametrize("a", [0.3, 1.3])
def test_fixed_points_and_basin(a):
    """Each point is kept; the stable one is where paths from inside the basin end, and from outside they escape."""
    f = field("lselu")
    coupling = a / float(f.moments(np.array([1.0])).mean_slope[0])
    found = MeanMap(f, coupling)
    points = found.fixed_points()
    assert points
    for point in points:
        m, nu = found.following(point.mean, point.variance)
        assert float(m) == pytest.approx(point.mean, abs=1e-9 * (1 + abs(point.mean)))
        assert float(nu) == pytest.approx(point.variance, rel=1e-9)
        ends = []
        for start in (point.mean - 1e-4, point.mean + 1e-4):
            m, nu = start, point.variance
            for _ in range(60):
                m, nu = (float(value) for value in found.following(m, nu))
            ends.append(abs(m - point.mean))
        if abs(a - 1) > 0.05:
            assert (max(ends) < 1e-4) == point.stable
    edges = found.basin(1.0)
    for edge, sign in zip(edges, (-1, 1), strict=True):
        if edge is None:
            continue
        for factor, stays in ((0.999, True), (1.001, False)):
            m, nu = edge * factor if sign * edge > 0 else edge + sign * 1e-3 * (1 if not stays else -1), 1.0
            for _ in range(1500):
                m, nu = (float(value) for value in found.following(m, nu))
                if abs(m) > 1e6:
                    break
            assert (abs(m) < 1e6) == stays
