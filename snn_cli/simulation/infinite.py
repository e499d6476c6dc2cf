"""The part of a simulation that knows no fan-in: the mean field of a network, layer by layer, and where it ends."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snn_cli import activations, ensembles
from snn_cli.errors import CannotCompute
from snn_cli.propagation import fluctuations as finite_theory
from snn_cli.propagation.correlation import Correlation
from snn_cli.propagation.meanfield import LARGEST, SAME, SMALLEST, LayerMoments, MeanField
from snn_cli.propagation.path import second_moment
from snn_cli.records import Covariance, FixedPoint
from snn_cli.simulation.source import Activation, out_of_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snn_cli.propagation.fluctuations import Fluctuations, Layer
    from snn_cli.propagation.path import FixedPoint as PathPoint
    from snn_cli.propagation.path import Path

    Array = NDArray[np.float64]

_CACHED = 256


class Network(NamedTuple):
    """What the infinite-width part depends on, all of it hashable."""

    activation: Activation
    variance_w: float
    variance_b: float
    centralized: bool
    q0: float
    depth: int


class Infinite(NamedTuple):
    """What is known at infinite width.

    path, moments, columns
        Second moments of the layers that differ, the moments of f there, and the coefficients that follow from them.
    q_end, ends, at_end
        The same at the fixed point that is reached, or where the path ends without one.
    limit
        ``"infinity"`` or ``"zero"`` where that is what the second moment tends to.
    """

    field: MeanField
    path: Path
    moments: LayerMoments
    columns: Layer
    q_end: float
    ends: LayerMoments
    at_end: Layer
    fixed_point: FixedPoint
    fixed_points: tuple[FixedPoint, ...]
    degenerate: bool
    limit: str | None

    @property
    def mean_slope(self) -> float:
        """``E[f']`` at the end."""
        return float(self.ends.mean_slope[0])

    @property
    def tractable(self) -> bool:
        """Whether correlations can be followed at every second moment on the way."""
        return Correlation(self.field).tractable(max(float(self.path.q.max()), self.q_end))

    def log_gain(self, depth: int) -> float:
        """Sum of ``log chi`` over the blocks."""
        gains = self.columns.log_gain
        distinct = min(depth, self.path.distinct)
        total = math.fsum(gains[:distinct])
        return total + (depth - distinct) * float(gains[-1]) if depth > distinct else total


@lru_cache(maxsize=_CACHED)
def mean_field(network: Network) -> Infinite:
    """Raises CannotCompute where the moments leave the range of doubles."""
    act, params = network.activation.act, network.activation.params
    f = activations.find(act, dict(params))
    second = second_moment(f, params, network.variance_w, network.variance_b, network.centralized)
    field, path, reached = second.field, second.path(network.q0, network.depth), second.reached(network.q0)
    moments = field.moments(path.q)
    if getattr(f, "precise", None) is not None and not field.seen(path.q[[0, -1]]):  # else f may jump
        raise CannotCompute(f"{act} changes too fast for its slope to be seen", "a smaller factor on x")
    columns = _with_epsilon(finite_theory.layers(field, moments), path.q, network)
    q_end = path.q[-1] if reached is None or not reached.q else reached.q
    q_end = float(min(max(q_end, SMALLEST), LARGEST))
    if q_end == path.q[-1]:
        ends = LayerMoments(*(column[-1:] for column in moments))
    else:
        ends = field.moments(np.array([q_end]))
    at_end = _with_epsilon(finite_theory.layers(field, ends), ends.q, network)
    if not all(np.isfinite(column).all() for column in (*columns, *at_end)):
        raise out_of_range(network.activation)
    return Infinite(
        field=field,
        path=path,
        moments=moments,
        columns=columns,
        q_end=q_end,
        ends=ends,
        at_end=finite_theory.Layer(*(float(column[0]) for column in at_end)),
        fixed_point=_fixed_point(reached, network),
        fixed_points=tuple(_fixed_point(point, network) for point in second.fixed_points),
        degenerate=second.degenerate,
        limit="infinity" if reached is None else "zero" if not reached.q else None,
    )


def _with_epsilon(columns: Layer, q: Array, network: Network) -> Layer:
    """``chi = 1 + epsilon`` is known better than it can be computed from rounded parameters, at ``q = 1``."""
    epsilon = network.activation.epsilon
    if epsilon is None or network.variance_w != 1:
        return columns
    exact = math.log1p(epsilon)
    known = (q == 1) & (np.abs(columns.log_gain - exact) <= SAME)
    return columns._replace(log_gain=np.where(known, exact, columns.log_gain))


def _fixed_point(point: PathPoint | None, network: Network) -> FixedPoint:
    """As the record has it; with the gamma of the solution, correctly rounded, where it is the one at hand."""
    if point is None:
        return FixedPoint(None, None, False, None)
    found = FixedPoint(point.q, point.gamma, point.stable, point.depth_scale)
    gamma = network.activation.gamma
    if point.q != 1 or network.variance_w != 1 or network.variance_b or network.centralized or gamma is None:
        return found
    close = abs(point.gamma - gamma) <= SAME * max(1.0, abs(gamma))
    return found._replace(gamma=gamma) if close else found


@lru_cache(maxsize=_CACHED)
def covariance(network: Network) -> Covariance:
    """Apart from the rest of `mean_field`: it takes most of the time, and a budget has no use for it."""
    infinite = mean_field(network)
    field, ends = infinite.field, infinite.ends
    if (infinite.limit is not None and not field.homogeneous) or not infinite.tractable:
        return Covariance(None, None, None)
    following = field.variance_w * float(ends.second[0]) + field.variance_b
    point = Correlation(field).fixed_point(infinite.q_end, following, float(ends.gain[0]))
    return Covariance(point.fixed_point, point.slope, point.depth_scale)


@lru_cache(maxsize=_CACHED)
def unit_fluctuations(network: Network, ensemble: str, profile: bool) -> Fluctuations:
    """First-order corrections of equal widths, times the fan-in."""
    return finite_theory.fluctuations(
        mean_field(network).columns, network.depth, None, ensembles.get(ensemble), profile
    )


@lru_cache(maxsize=_CACHED)
def angles(network: Network, angle: float) -> Array:
    """Between two inputs that have that angle at first, layer by layer."""
    infinite = mean_field(network)
    path = infinite.path
    distinct = min(path.distinct, network.depth)
    return Correlation(infinite.field).path(path.q[: distinct + 1], network.depth - distinct, angle)
