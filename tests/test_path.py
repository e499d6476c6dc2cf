"""The second moment layer by layer and its fixed points, against iteration one layer at a time."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_meanfield import ACTS, field

from snn_cli import simulate
from snn_cli.activations import find
from snn_cli.activations.family import Baseline
from snn_cli.errors import CannotCompute
from snn_cli.propagation.meanfield import MeanField
from snn_cli.propagation.path import FARTHEST, SecondMoment

CASES = [
    ("selu", 1.0, 0.0),
    ("lselu", 1.0, 0.0),
    ("tanh", 2.25, 0.0),
    ("tanh", 0.8, 0.0),
    ("tanh", 1.3, 0.1),
    ("erf", 9.0, 0.04),
    ("gelu", 1.0, 0.0),
    ("gelu", 2.5, 0.2),
    ("silu", 4.0, 0.0),
    ("elu", 1.2, 0.1),
    ("relu", 2.0, 0.0),
    ("relu", 2.3, 0.1),
    ("relu", 1.0, 0.3),
    ("linear", 1.1, 0.0),
]


def iterate(f, q, depth):
    found = [q]
    for _ in range(depth):
        found.append(float(f.second_moment_map(np.array([found[-1]]))[0][0]))
    return np.array(found)


@pytest.mark.parametrize(("act", "w", "b"), CASES)
@pytest.mark.parametrize("q0", [1e-30, 1e-3, 1.0, 2.0, 300.0, 1e30])
def test_path_is_iteration(act, w, b, q0):
    """A tolerance in proportion to ``q``; near a fixed point that repels, rounding grows as gamma to the depth."""
    f = field(act, w, b)
    depth = 120
    path = SecondMoment(f).path(q0, depth)
    found, expected = path.at(np.arange(depth + 1)), iterate(f, q0, depth)
    assert found == pytest.approx(expected, rel=1e-11)
    assert path.distinct <= depth
    assert SecondMoment(f).path(q0, 0).at(np.arange(1)) == [q0]


def test_selu():
    second = SecondMoment(field("selu"))
    stable = [point for point in second.fixed_points if point.stable]
    assert [point.q for point in stable] == pytest.approx([1.0], rel=1e-14)
    assert stable[0].gamma == pytest.approx(0.7826478832, abs=1e-10)
    assert stable[0].depth_scale == pytest.approx(-1 / math.log(0.7826478832), rel=1e-9)
    assert second.fixed_points[0].q == 0
    assert not second.fixed_points[0].stable


def test_tanh():
    """Disorder at ``sigma_w = 1.5``: 0 repels with ``sigma_w^2``; below 1 it is all there is."""
    zero, point = SecondMoment(field("tanh", 2.25)).fixed_points
    assert (zero.q, zero.stable) == (0, False)
    assert zero.gamma == pytest.approx(2.25, rel=1e-12)
    assert point.q == pytest.approx(iterate(field("tanh", 2.25), 1.0, 300)[-1], rel=1e-13)
    assert point.stable
    only = SecondMoment(field("tanh", 0.81)).fixed_points
    assert [p.q for p in only] == [0]
    assert only[0].stable


@pytest.mark.parametrize("act", ["relu", "leaky_relu", "linear"])
def test_every_second_moment_is_fixed(act):
    second = float(field(act).moments(np.array([1.0])).second[0])
    path = SecondMoment(field(act, 1 / second))
    assert path.degenerate
    assert path.fixed_points == ()
    assert path.reached(7.0).q == 7
    assert path.path(7.0, 50).at(np.arange(51)) == pytest.approx([7.0] * 51, rel=1e-15)


def test_gelu_has_a_fixed_point_that_repels():
    """Between 0, which attracts, and infinity; iterates from either side of it part."""
    second = SecondMoment(field("gelu", 2.2))
    unstable = [p for p in second.fixed_points if p.q and not p.stable]
    assert len(unstable) == 1
    q = unstable[0].q
    assert unstable[0].gamma > 1
    assert unstable[0].depth_scale is None
    assert float(second.field.second_moment_map(np.array([q]))[0][0]) == pytest.approx(q, rel=1e-14)
    assert second.reached(q * 0.99).q == 0
    assert second.reached(q * 1.01) is None
    assert second.path(q * 0.99, 2000).at(np.array([2000]))[0] < 1e-3 * q
    assert second.path(q * 1.01, 2000).at(np.array([2000]))[0] > 1e3 * q


@pytest.mark.parametrize(("act", "w"), [("relu", 4.0), ("elu", 4.0), ("relu", 0.5), ("tanh", 0.25), ("silu", 1.0)])
def test_overflow_and_underflow(act, w):
    """A path that leaves the doubles is a power law at the end, and its layers are counted, not followed."""
    second = SecondMoment(field(act, w))
    path = second.path(1.0, 10**9)
    assert path.distinct < 2000
    expected = iterate(second.field, 1.0, 150)
    assert path.at(np.arange(151)) == pytest.approx(expected, rel=1e-11)
    assert path.at(np.array([10**9]))[0] in (0, math.inf)


@pytest.mark.parametrize("q0", ["1e-30", "1e-8", 2, "1e8", "1e30"])
def test_huge_depth(q0):
    record = simulate("lselu", "0.03", depth=10**9, q0=q0, profile=False)
    assert record.fixed_point.q == 1
    assert record.gradient.log_growth == pytest.approx(1e9 * math.log1p(0.03), rel=1e-5)


@pytest.mark.parametrize(("act", "b"), [("tanh", 0.0), ("elu", 0.0), ("linear", 0.01)])
def test_what_never_settles_is_refused_before_it_is_computed(act, b, monkeypatch):
    def computed(*_):
        raise AssertionError("layers are computed")

    monkeypatch.setattr(SecondMoment, "_chunk", computed)
    with pytest.raises(CannotCompute, match="never settles") as error:
        SecondMoment(field(act, 1.0, b)).path(1.0, 10**18)
    assert error.value.hint == f"--depth {FARTHEST}"


@pytest.mark.parametrize("w", [0.998, 1.0005])
def test_what_settles_late_is_not_refused(w):
    """tanh with weights a hair off 1: after tens of thousands of layers q has left the scale, or stays."""
    path = SecondMoment(field("tanh", w)).path(1.0, 10**18)
    assert 10_000 < path.distinct < FARTHEST
    assert path.ratio == pytest.approx(min(w, 1.0), rel=1e-9)


@given(act=st.sampled_from(ACTS), w=st.floats(-1.5, 1.5), b=st.floats(0, 2), q=st.floats(-3, 3), gap=st.floats(1, 10))
def test_paths_are_ordered(act, w, b, q, gap):
    """Finite, positive, monotone towards the fixed point they reach, and in the order in which they started."""
    second = SecondMoment(field(act, 10**w, b))
    low, high = (second.path(start, 12).at(np.arange(13)) for start in (10**q, 10**q * gap))
    assert (low <= high * (1 + 1e-11)).all()
    assert (np.isfinite(low) & (low > 0)).all()
    steps = np.diff(low) / low[1:]
    assert (steps >= -1e-11).all() or (steps <= 1e-11).all()
    end = second.reached(10**q)
    if end is not None:
        assert abs(low[-1] - end.q) <= abs(low[0] - end.q) * (1 + 1e-9) + 1e-11 * low[-1]


def bell(power, w):
    """``x^power exp(-x^2)``, whose V is a power of q and of ``1 + 4 q``: it falls from somewhere on."""
    f = Baseline(
        "bell",
        "bell",
        None,
        lambda np, x, _p: x**power * np.exp(-np.minimum(x * x, 800)),
        lambda np, x, _p: (power * x ** max(power - 1, 0) - 2 * x ** (power + 1)) * np.exp(-np.minimum(x * x, 800)),
    )
    return SecondMoment(MeanField(f, {}, w))


def test_v_that_falls():
    """``V = w q (1 + 4 q)^(-3/2)`` and ``w (1 + 4 q)^(-1/2)``, from either side, far and near."""
    second = bell(1, 9.0)
    assert not second.monotone
    zero, point = second.fixed_points
    assert (zero.q, zero.stable) == (0, False)
    expected = (9 ** (2 / 3) - 1) / 4
    assert point.q == pytest.approx(expected, rel=1e-14)
    assert point.gamma == pytest.approx(1 - 6 * expected / (1 + 4 * expected), rel=1e-12)
    for q0 in (1e-20, 0.1, 1.0, 30.0, 1e20):
        assert second.reached(q0) == point
        found = second.path(q0, 60).at(np.arange(61))
        assert found == pytest.approx(iterate(second.field, q0, 60), rel=1e-11)
    assert second.basin(point) == (None, None)
    (only,) = bell(0, 400.0).fixed_points
    assert only.gamma == pytest.approx(-2 * only.q / (1 + 4 * only.q), rel=1e-12)
    assert bell(0, 400.0).reached(1e-9) == only


def test_the_basin_where_v_falls_below_a_fixed_point_that_repels():
    """``V = 3 w q^2 (1 + 4 q)^(-5/2)`` sends large q below the point that repels, and on to 0."""
    second = bell(2, 12.0)
    zero, repels, attracts = second.fixed_points
    assert (zero.stable, repels.stable, attracts.stable) == (True, False, True)
    low, high = second.basin(attracts)
    assert low == pytest.approx(repels.q, rel=1e-12)
    with mpmath.workdps(30):
        edge = mpmath.findroot(lambda q: 36 * q * q / (1 + 4 * q) ** 2.5 - repels.q, 1000.0)
    assert high == pytest.approx(float(edge), rel=1e-10)
    assert second.reached(high * 0.999) == attracts
    assert second.reached(high * 1.001) == zero
    assert second.path(high * 1.001, 3000).at(np.array([3000]))[0] < 1e-20


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_no_two_second_moments_change_places(power):
    """``sqrt(q) V(q)`` rises, so that there are no cycles."""
    t, value, _ = bell(power, 5.0)._scan
    assert (np.diff(value) > -0.5 * np.diff(t) - 1e-12).all()


def test_zero_is_a_fixed_point_of_what_vanishes_there():
    assert all(point.q for point in SecondMoment(field("softplus")).fixed_points)
    assert SecondMoment(field("softplus", centralized=True)).fixed_points[0].q == 0
    assert SecondMoment(field("softplus", centralized=True)).fixed_points[0].gamma == pytest.approx(0.25, rel=1e-9)
    params = {"a": 1.0, "b": 1.0, "c": 0.5, "d": 0.0}
    assert all(point.q for point in SecondMoment(MeanField(find("tanh", params), params, 2.0)).fixed_points)
    params["d"] = -math.tanh(0.5)
    assert SecondMoment(MeanField(find("tanh", params), params, 2.0)).fixed_points[0].q == 0
