"""The covariance map against the arc-cosine and the arcsine kernel and against quadrature over the plane."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mpmath.calculus.quadrature import GaussLegendre

from snn_cli import simulate, solve
from snn_cli.activations import find
from snn_cli.propagation.correlation import Correlation
from snn_cli.propagation.meanfield import MeanField
from snn_cli.propagation.path import SecondMoment

ANGLES = [math.pi, 3.0, 2.0, math.pi / 2, 1.0, 0.1, 1e-3, 1e-6, 1e-9, 1e-12]


def field(act, variance_w=1.0, variance_b=0.0, centralized=False, epsilon="0.03"):
    params = solve(act, epsilon).params if act in ("lselu", "sselu", "dselu") else {}
    params = solve("selu").params if act == "selu" else params
    return MeanField(find(act), params, variance_w, variance_b, centralized)


@pytest.mark.parametrize("theta", ANGLES)
@pytest.mark.parametrize("q", [1e-20, 0.4, 1.0, 1e6])
def test_relu_is_the_arc_cosine_kernel(theta, q):
    """Cho and Saul (2009), orders 1 and 0; ``V - C`` keeps its digits where C rounds to V."""
    minus, plus, product = Correlation(field("relu")).covariances(q, theta)
    with mpmath.workdps(50):
        t = mpmath.mpf(theta)
        kernel = (mpmath.sin(t) + (mpmath.pi - t) * mpmath.cos(t)) / (2 * mpmath.pi)
        slope = (mpmath.pi - t) / (2 * mpmath.pi)
        expected = [float(q * (mpmath.mpf(1) / 2 + side * kernel)) for side in (-1, 1)]
    assert minus == pytest.approx(expected[0], rel=1e-12)
    assert plus == pytest.approx(expected[1], rel=1e-13)
    assert product == pytest.approx(float(slope), rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("theta", ANGLES)
@pytest.mark.parametrize("q", [1e-8, 0.4, 1.0, 30.0, 1e4])
def test_erf_is_the_arcsine_kernel(theta, q):
    """Williams (1997)."""
    minus, plus, product = Correlation(field("erf")).covariances(q, theta)
    with mpmath.workdps(50):
        c, q = mpmath.cos(mpmath.mpf(theta)), mpmath.mpf(q)
        second, kernel = (2 / mpmath.pi * mpmath.asin(2 * q * each / (1 + 2 * q)) for each in (1, c))
        slope = 4 / mpmath.pi / mpmath.sqrt((1 + 2 * q) ** 2 - 4 * q * q * c * c)
        expected = float(second - kernel), float(second + kernel), float(slope)
    assert minus == pytest.approx(expected[0], rel=1e-12)
    assert plus == pytest.approx(expected[1], rel=1e-12, abs=3e-13 * float(second))
    assert product == pytest.approx(expected[2], rel=1e-12)


@cache
def plane_rule(root):
    """Nodes and weights for ``z > 0`` in long double: panels that follow the kink, the activation and the density."""
    with mpmath.workdps(30):
        cuts = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 12.0, 20.0)
        ends = sorted({n * 1.25 for n in range(9)} | {x / root for x in cuts if x < 10 * root})
        nodes = GaussLegendre(mpmath.mp).calc_nodes(4, mpmath.mp.prec)
        found = [
            (mpmath.mpf(a + b) / 2 + mpmath.mpf(b - a) / 2 * x, w * mpmath.mpf(b - a) / 2)
            for a, b in pairwise(ends)
            for x, w in nodes
        ]
        rows = [(z, w * mpmath.npdf(z)) for z, w in found]
        return tuple(
            np.array([np.longdouble(mpmath.nstr(v, 25)) for v in column]) for column in zip(*rows, strict=True)
        )


def plane(f, q, theta):
    """``V - C`` and ``V + C`` by quadrant, in x and y themselves, with the density of the pair."""
    root, one = np.sqrt(np.longdouble(q)), np.longdouble(1)
    t, w = plane_rule(max(1.0, math.sqrt(q)))
    c, s = np.cos(one * theta), np.sin(one * theta)
    minus = plus = np.longdouble(0)
    for a in (-1, 1):
        for b in (-1, 1):
            x, y = (a * t)[:, None], (b * t)[None, :]
            # the density of (x, y) over that of two independent ones
            ratio = np.exp(-(c * c * (x * x + y * y) - 2 * c * x * y) / (2 * s * s)) / s
            weight = w[:, None] * w[None, :] * ratio
            fx, fy = f(root * x), f(root * y)
            minus += (weight * (fx - fy) ** 2).sum() / 2
            plus += (weight * (fx + fy) ** 2).sum() / 2
    return float(minus), float(plus)


@pytest.mark.parametrize("act", ["lselu", "tanh", "silu", "leaky_relu", "elu"])
@pytest.mark.parametrize("q", [0.3, 6.0])
def test_quadrature_over_the_plane(act, q):
    f = field(act)
    for theta in (2.3, 0.9):
        minus, plus, _ = Correlation(f).covariances(q, theta)
        expected = plane(f.f, q, theta)
        assert minus == pytest.approx(expected[0], rel=1e-12)
        assert plus == pytest.approx(expected[1], rel=1e-12)


@pytest.mark.parametrize("act", ["lselu", "tanh"])
def test_one_covariance_at_thirty_digits(act):
    """By Mehler's formula: ``C(c) = sum a_n^2 c^n / n!`` with ``a_n = E[f He_n]``, one quadrature at 30 digits each."""
    f, count, c = field(act), 40, 0.3
    with mpmath.workdps(32):
        if act == "tanh":
            values = mpmath.tanh
        else:
            p = {name: mpmath.mpf(value) for name, value in f.params.items()}

            def values(x):
                left = p["alpha"] * mpmath.expm1(x) + p["beta"] * x
                return p["lambda"] * (x if x > 0 else left)

        nodes = GaussLegendre(mpmath.mp).calc_nodes(4, mpmath.mp.prec)
        total = [mpmath.mpf(0)] * count
        for a in [mpmath.mpf(k) for k in range(-13, 13)]:
            for node, weight in nodes:
                z = a + (1 + node) / 2
                value = weight / 2 * values(z) * mpmath.npdf(z)
                before, here = mpmath.mpf(0), mpmath.mpf(1)
                for n in range(count):
                    total[n] += value * here
                    before, here = here, (z * here - mpmath.sqrt(n) * before) / mpmath.sqrt(n + 1)
        second = mpmath.quad(lambda z: values(z) ** 2 * mpmath.npdf(z), [-14, -6, -2, 0, 2, 6, 14])
        covariance = mpmath.fsum(a * a * mpmath.mpf(c) ** n for n, a in enumerate(total))
        expected = float(second - covariance), float(second + covariance)
    minus, plus, _ = Correlation(f).covariances(1.0, math.acos(c))
    assert minus == pytest.approx(expected[0], rel=2e-14)
    assert plus == pytest.approx(expected[1], rel=2e-14)


@pytest.mark.parametrize("act", ["lselu", "sselu", "selu", "tanh", "gelu", "silu", "elu", "leaky_relu"])
@pytest.mark.parametrize("q", [0.1, 1.0, 50.0])
def test_near_full_correlation(act, q):
    """``V - C = q (1 - c) (chi - O(theta))``: the leading term, down to 1e-12; kinks are of order theta."""
    f = field(act)
    gain = float(f.moments(np.array([q])).gain[0])
    for theta in (1e-12, 1e-9, 1e-7):
        minus, plus, product = Correlation(f).covariances(q, theta)
        leading = gain * q * 2 * math.sin(theta / 2) ** 2
        assert minus == pytest.approx(leading, rel=10 * theta * (1 + math.sqrt(q)) + 1e-12)
        assert product == pytest.approx(gain, rel=10 * theta * (1 + math.sqrt(q)) + 1e-12)
        assert plus == pytest.approx(2 * float(f.moments(np.array([q])).second[0]), rel=1e-12)


@pytest.mark.parametrize("act", ["lselu", "relu", "tanh", "gelu", "sselu"])
@pytest.mark.parametrize("q", [0.2, 3.0])
def test_the_ends(act, q):
    """``C(1) = V``; at -1 the mean of ``f(x) f(-x)``; at 0 ``E[f]^2`` with the slope ``E[f']^2``."""
    f = field(act)
    correlation, m = Correlation(f), f.moments(np.array([q]))
    minus, plus, product = correlation.covariances(q, 0.0)
    assert minus == 0
    assert plus == pytest.approx(2 * float(m.second[0]), rel=1e-13)
    assert product == pytest.approx(float(m.gain[0]), rel=1e-13)
    assert correlation.following(q, 0.0) == 0
    minus, plus, product = correlation.covariances(q, math.pi / 2)
    assert (plus - minus) / 2 == pytest.approx(float(m.mean[0]) ** 2, abs=1e-13 * plus)
    assert product == pytest.approx(float(m.mean_slope[0]) ** 2, rel=1e-13)
    z = np.linspace(-12, 12, 240_001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    x = math.sqrt(q) * z
    opposite = density @ (f.f(x) * f.f(-x))
    minus, plus, _ = correlation.covariances(q, math.pi)
    assert (plus - minus) / 2 == pytest.approx(opposite, abs=1e-9 * (minus + plus))


def test_centralized():
    """The covariance less ``E[f]^2``; at right angles nothing is left."""
    for act in ("relu", "selu", "gelu"):
        plain, centred = Correlation(field(act)), Correlation(field(act, centralized=True))
        mean = float(plain.field.moments(np.array([1.7])).mean[0])
        for theta in (0.3, math.pi / 2, 2.8):
            minus, plus, product = centred.covariances(1.7, theta)
            before = plain.covariances(1.7, theta)
            assert (minus, plus, product) == pytest.approx((before[0], before[1] - 2 * mean**2, before[2]), rel=1e-12)
        assert centred.following(1.7, math.pi / 2) == pytest.approx(math.pi / 2, abs=1e-13)


@pytest.mark.parametrize(
    ("act", "options"),
    [
        ("lselu", {}),
        ("selu", {}),
        ("relu", {"variance_w": 2.0}),
        ("tanh", {"variance_w": 2.25}),
        ("tanh", {"variance_w": 2.25, "variance_b": 0.05}),
        ("elu", {"variance_w": 1.5, "variance_b": 0.1}),
        ("erf", {"variance_w": 4.0, "variance_b": 0.2}),
        ("sselu", {"centralized": True}),
    ],
)
@pytest.mark.parametrize("theta", [math.pi, 3.1, math.pi / 2, 1.0, 1e-5])
def test_interpolated_path_is_the_direct_one(act, options, theta):
    correlation = Correlation(field(act, **options))
    q = np.array([SecondMoment(correlation.field).path(1.0, 4000).q[-1]])
    fast = correlation.path(q, 25, theta)
    direct = [theta]
    for _ in range(25):
        direct.append(correlation.following(float(q[0]), direct[-1]))
    assert fast.shape == (26,)
    assert fast == pytest.approx(direct, rel=1e-11, abs=1e-13)


def test_path_of_distinct_layers():
    """One map a layer while q changes; at ``repeated = 0`` the last q is not used."""
    correlation = Correlation(field("tanh", 1.5, 0.1))
    q = np.array([4.0, 1.0, 0.5, 0.4])
    direct = [1.2]
    for each in q:
        direct.append(correlation.following(float(each), direct[-1]))
    assert correlation.path(q, 0, 1.2).tolist() == direct[:4]
    assert correlation.path(q, 1, 1.2).tolist() == direct
    assert len(correlation.path(q, 1000, 0.0)) == 1004


@pytest.mark.parametrize("act", ["tanh", "erf", "linear"])
def test_odd_functions_keep_opposite_inputs_opposite(act):
    """Also where the map repels; near -1 the digits of ``1 + c`` are those of ``1 - c`` at the other end."""
    correlation = Correlation(field(act, 9.0))
    path = correlation.path(np.array([0.7, 3.0]), 400, math.pi)
    assert set(path) == {math.pi}
    near, far = (correlation.path(np.array([3.0]), 6, t) for t in (2.0**-30, math.pi - 2.0**-30))
    assert math.pi - far == pytest.approx(near, rel=1e-6)


def naive_fixed_point(correlation, q, steps=4000):
    theta = 1.0
    for _ in range(steps):
        before, theta = theta, correlation.following(q, theta)
        if abs(theta - before) < 1e-15:
            break
    return math.cos(theta)


@pytest.mark.parametrize(
    ("act", "options", "expected"),
    [
        ("tanh", {"variance_w": 2.25}, 0.0),
        ("erf", {"variance_w": 3.0}, 0.0),
        ("tanh", {"variance_w": 2.25, "variance_b": 0.05}, None),
        ("tanh", {"variance_w": 6.0, "variance_b": 0.3}, None),
        ("erf", {"variance_w": 2.0, "variance_b": 0.2}, None),
        ("lselu", {}, None),
        ("sselu", {}, None),
        ("selu", {}, 0.0),
        ("tanh", {"variance_w": 0.8, "variance_b": 0.3}, 1.0),
        ("relu", {"variance_w": 2.0}, 1.0),
        ("relu", {"variance_w": 1.5, "variance_b": 0.4}, 1.0),
        ("linear", {}, 1.0),
    ],
)
def test_fixed_points(act, options, expected):
    """Kept by the map, reached by iteration, with the slope that differences give."""
    correlation = Correlation(field(act, **options))
    path = SecondMoment(correlation.field)
    end = path.reached(1.0)
    q = end.q
    gain = float(correlation.field.moments(np.array([q])).gain[0])
    point = correlation.fixed_point(q, float(correlation.field.second_moment_map(np.array([q]))[0][0]), gain)
    if expected is not None:
        assert point.fixed_point == pytest.approx(expected, abs=1e-9)
    if point.fixed_point < 1:
        assert math.cos(correlation.following(q, math.acos(point.fixed_point))) == pytest.approx(
            point.fixed_point, abs=1e-13
        )
        assert naive_fixed_point(correlation, q) == pytest.approx(point.fixed_point, abs=1e-9)
        h = 1e-5
        around = [math.cos(correlation.following(q, math.acos(point.fixed_point + s * h))) for s in (1, -1)]
        assert (around[0] - around[1]) / (2 * h) == pytest.approx(point.slope, abs=1e-7)
    else:
        assert point.slope == pytest.approx(correlation.field.variance_w * gain, rel=1e-12)
    if abs(point.slope) < 1 - 1e-9:
        assert point.depth_scale == pytest.approx(
            -1 / math.log(abs(point.slope)) if point.slope > 1e-300 else 0.0, rel=1e-12
        )
    elif point.slope >= 1:
        assert point.depth_scale is None


def test_relu_path_of_the_record():
    """Fifty layers by the arc-cosine kernel at 40 digits; ``1 - c`` falls as ``9 pi^2 / (2 l^2)``."""
    found = simulate("relu", depth=50, sigma_w="he", c0="0.25").profile.correlation
    with mpmath.workdps(40):
        c = mpmath.mpf("0.25")
        for value in found:
            assert value == pytest.approx(float(c), abs=2e-14)
            t = mpmath.acos(c)
            c = (mpmath.sin(t) + (mpmath.pi - t) * c) / mpmath.pi


@pytest.mark.parametrize("c0", [1, -1])
@pytest.mark.parametrize("act", ["relu", "tanh", "lselu", "gelu", "silu"])
def test_identical_and_opposite_inputs(act, c0):
    options = {"epsilon": "0.03"} if act == "lselu" else {}
    found = simulate(act, depth=30, c0=c0, **options).profile.correlation
    assert found[0] == c0
    if c0 == 1:
        assert set(found) == {1.0}
    elif act == "tanh":
        assert found == pytest.approx([-1] * 31, abs=1e-12)
    else:
        assert all(-1 <= a <= b + 1e-13 <= 1 + 1e-13 for a, b in pairwise(found))
    if act == "relu" and c0 == -1:
        assert found[1] == pytest.approx(0, abs=1e-15)


@given(
    act=st.sampled_from(["lselu", "relu", "tanh", "gelu", "erf", "elu", "silu", "selu"]),
    log_q=st.floats(-12, 6),
    theta=st.floats(0, math.pi),
    share=st.floats(0, 1),
    bias=st.floats(0, 2),
    centralized=st.booleans(),
)
@example(act="relu", log_q=0.0, theta=math.pi, share=0.5, bias=0.0, centralized=False)
@example(act="tanh", log_q=-12.0, theta=math.pi, share=0.5, bias=0.0, centralized=True)
def test_correlations_stay_correlations(act, log_q, theta, share, bias, centralized):
    """``|c| <= 1``, ``V - C + V + C = 2 V``, and inputs that are more alike stay more alike."""
    correlation = Correlation(field(act, 1.3, bias, centralized))
    q = 10**log_q
    minus, plus, _ = correlation.covariances(q, theta)
    second = float(correlation.field.moments(np.array([q])).second[0])
    assert minus >= 0
    assert plus >= -1e-13 * second
    assert minus + plus == pytest.approx(2 * second, rel=1e-11)
    far, near = correlation.following(q, theta), correlation.following(q, share * theta)
    assert 0 <= near <= far * (1 + 1e-12) + 1e-14
    assert far <= math.pi


WRAPPED = {
    "erf": {"a": 1.0, "b": 3.0, "c": -2.0, "d": 0.0},
    "relu": {"a": 1.0, "b": 1.0, "c": -0.75, "d": 0.0},
    "hardswish": {"a": 1.5, "b": 2.0, "c": 0.5, "d": -0.25},
    "elu": {"a": 1.5, "b": -1.25, "c": 0.5, "d": 0.25},
}


def wrapped(act, **change):
    params = {**WRAPPED[act], **change}
    return MeanField(find(act, params), params)


def orthants(h):
    """``g(s)`` whose integral from 0 to r is ``P(u < h, v < h) - Phi(h)^2`` at the correlation r (Drezner, 1978)."""
    return lambda s: mpmath.exp(-h * h / (1 + s)) / mpmath.sqrt(1 - s * s) / (2 * mpmath.pi)


@pytest.mark.parametrize("theta", [3.0, 1.7, 1.0, 0.1, 1e-4, 1e-9])
@pytest.mark.parametrize(("q", "b"), [(0.4, 3.0), (1.0, 30.0), (50.0, 3.0)])
def test_erf_elsewhere_is_an_orthant(theta, q, b):
    """``erf(b x + c)``: twice the probability of an orthant, less one; to all digits next to full correlation."""
    f = wrapped("erf", b=b)
    minus, plus, product = Correlation(f).covariances(q, theta)
    with mpmath.workdps(40):
        share = 2 * mpmath.mpf(b) ** 2 * q / (1 + 2 * mpmath.mpf(b) ** 2 * q)
        h = mpmath.sqrt(2) * f.params["c"] / mpmath.sqrt(1 + 2 * mpmath.mpf(b) ** 2 * q)
        low, g = share * mpmath.cos(theta), orthants(h)
        expected = float(4 * mpmath.quad(g, [low, share]))
        below = mpmath.ncdf(h) ** 2
        both = 4 * (2 * below + mpmath.quad(g, [0, share]) + mpmath.quad(g, [0, low]))
        expected_plus = float(both - 8 * mpmath.ncdf(h) + 2)
    assert minus == pytest.approx(expected, rel=2e-12)
    assert plus == pytest.approx(expected_plus, rel=2e-12)
    gain = float(f.moments(np.array([q])).gain[0])
    assert 0 <= product <= gain * (1 + 1e-12)


@pytest.mark.parametrize("theta", [1.5, 1.0, 0.1, 1e-4, 1e-9])
@pytest.mark.parametrize("q", [0.1, 1.0, 50.0])
def test_relu_elsewhere(theta, q):
    """``dC/dc = q P(x > k, y > k)``: one integral, with a kink at 0.75."""
    f = wrapped("relu")
    minus, _, product = Correlation(f).covariances(q, theta)
    with mpmath.workdps(40):
        theta, h = mpmath.mpf(theta), -mpmath.mpf("0.75") / mpmath.sqrt(q)
        c, apart, g = mpmath.cos(theta), 2 * mpmath.sin(theta / 2) ** 2, orthants(h)
        half = mpmath.ncdf(h) ** 2
        inner = mpmath.quad(g, [0, c])
        # s = cos u from c to 1, where both the density and 1 - s would cancel
        outer = mpmath.quad(
            lambda u: mpmath.exp(-h * h / (1 + mpmath.cos(u))) / (2 * mpmath.pi) * 2 * mpmath.sin(u / 2) ** 2,
            [0, theta],
        )
        expected = float(q * (apart * (half + inner) + outer))
        slope = float(half + inner)
    assert minus == pytest.approx(expected, rel=2e-12)
    assert product == pytest.approx(slope, rel=2e-12)


@pytest.mark.parametrize("act", ["hardswish", "elu"])
@pytest.mark.parametrize("theta", [2.3, 0.9])
def test_over_the_plane_itself(act, theta):
    """Quadrature in x and y, with the density of the pair: kinks are parallel to the axes there."""
    f = wrapped(act)
    q, c, s = 1.7, math.cos(theta), math.sin(theta)
    kinks = [k / math.sqrt(q) for k in f.activation.kinks(None, f.params)]
    nodes, weights = np.polynomial.legendre.leggauss(40)
    ends = np.array(sorted({*np.arange(-10.5, 11, 1.5), *kinks}))
    half = np.diff(ends)[:, None] / 2
    z = ((ends[1:] + ends[:-1])[:, None] / 2 + half * nodes).ravel()
    w = (half * weights).ravel() * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    x, y = z[:, None], z[None, :]
    ratio = np.exp(-(c * c * (x * x + y * y) - 2 * c * x * y) / (2 * s * s)) / s
    weight = w[:, None] * w * ratio
    fx, dfx = f.f(math.sqrt(q) * z), f.df(math.sqrt(q) * z)
    minus, plus, product = Correlation(f).covariances(q, theta)
    assert minus == pytest.approx(float((weight * (fx[:, None] - fx) ** 2).sum()) / 2, rel=1e-12)
    assert plus == pytest.approx(float((weight * (fx[:, None] + fx) ** 2).sum()) / 2, rel=1e-12)
    assert product == pytest.approx(float((weight * dfx[:, None] * dfx).sum()), rel=1e-12)


@pytest.mark.parametrize("act", ["tanh", "gelu", "elu"])
@pytest.mark.parametrize("q", [1e-6, 1.0, 300.0])
def test_wrapped_at_zero_is_scaled(act, q):
    """``a f(b x)``: the panels of the plane against the rays of the plain activation."""
    params = {"a": 1.5, "b": 2.0, "c": 0.0, "d": 0.0}
    one, other = Correlation(MeanField(find(act, params), params)), Correlation(MeanField(find(act), {}))
    for theta in (math.pi - 1e-3, 2.2, 1.0, 1e-3):
        found, expected = one.covariances(q, theta), other.covariances(4 * q, theta)
        for value, right, scale in zip(found, expected, (2.25, 2.25, 9.0), strict=True):
            assert value == pytest.approx(scale * right, rel=2e-11, abs=1e-13 * scale * sum(expected[:2]))


@pytest.mark.parametrize("act", ["erf", "hardswish"])
def test_ends_and_fixed_points_elsewhere(act):
    """``C(1) = V``, ``C(0) = E[f]^2``; the fixed point is kept; a path over layers is iteration."""
    f = wrapped(act)
    f.variance_w = 1.5 / float(f.moments(np.array([1.0])).second[0])
    correlation, m = Correlation(f), f.moments(np.array([1.5]))
    minus, plus, product = correlation.covariances(1.5, 0.0)
    assert (minus, plus) == (0, pytest.approx(2 * float(m.second[0]), rel=1e-12))
    assert product == pytest.approx(float(m.gain[0]), rel=1e-12)
    minus, plus, product = correlation.covariances(1.5, math.pi / 2)
    assert (plus - minus) / 2 == pytest.approx(float(m.mean[0]) ** 2, abs=1e-12 * plus)
    assert product == pytest.approx(float(m.mean_slope[0]) ** 2, rel=1e-11)
    point = correlation.fixed_point(1.5, f.variance_w * float(m.second[0]), float(m.gain[0]))
    assert math.cos(correlation.following(1.5, math.acos(point.fixed_point))) == pytest.approx(
        point.fixed_point, abs=1e-12
    )


@pytest.mark.parametrize("act", ["tanh", "softplus", "mish"])
@pytest.mark.parametrize("centralized", [False, True])
def test_the_grid_is_the_plane(act, centralized):
    """Two rules that share no node, for analytic f."""
    params = {"a": 1.25, "b": 1.5, "c": 0.75, "d": 0.125}
    correlation = Correlation(MeanField(find(act, params), params, centralized=centralized))
    for q in (0.01, 1.0):
        root = math.sqrt(q)
        step = correlation._step_of(root)
        assert step is not None
        for theta in (1e-9, 0.3, 1.7, math.pi):
            resolution = correlation.field.resolution
            one = correlation._on_a_grid(resolution, root, theta, step)
            assert one == pytest.approx(correlation._over_the_plane(resolution, root, theta), rel=1e-12)
    assert Correlation(MeanField(find("erf", {**params, "b": 90.0}), {**params, "b": 90.0}))._step_of(1.0) is None
