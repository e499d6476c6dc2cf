"""The second moment, layer by layer, and its fixed points, at infinite width.

V need not rise with q: tanh of an offset, or ``x exp(-x^2)``. But ``sqrt(q) V(q)`` does, the density of
``x = sqrt(q) z`` times ``sqrt(q)`` rising everywhere (and ``q V(q)`` where f is centralized: the same for a pair). So V
has in logarithms a slope above -1, no two second moments change places, and iterates tend to a fixed point, to 0 or to
infinity, never to a cycle: what a continuous map without points of period 2 does (Coppel, 1955).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli.errors import CannotCompute
from snn_cli.propagation.meanfield import FAR_SCAN, LARGEST, SAME, SCAN, SMALLEST, MeanField

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snn_cli.activations.family import Baseline, Family

    Array = NDArray[np.float64]

FARTHEST = 1_000_000
"""Layers that are computed one by one, where q never settles: tanh's falls as one over the depth."""

_NEWTON_STEPS = 60
_CONVERGED = 1e-9  # corrections from which Newton's method is sure to be in its last steps
_FOLLOWED, _GUESSED = 256, 20000
_MOVING = 1e-9  # of log q in a layer
_BISECTIONS = 46
_NEAR = 1e-3  # of a fixed point that attracts
_CHUNKS = (192, 4096)  # layers corrected at once, at first and at most


class FixedPoint(NamedTuple):
    """``V(q) = q``, with ``gamma = V'(q)``; it attracts where ``|gamma| < 1``."""

    q: float
    gamma: float

    @property
    def stable(self) -> bool:
        """Whether iterates nearby come back."""
        return bool(abs(self.gamma) < 1 - SAME)

    @property
    def depth_scale(self) -> float | None:
        """``-1 / log |gamma|``: layers in which a deviation falls by e; None where it does not fall."""
        return _depth_scale(self.gamma) if self.stable else None


def _depth_scale(slope: float) -> float:
    return -1 / math.log(abs(slope)) if slope else 0.0


class Path(NamedTuple):
    """``q[l] = q[min(l, K)] ratio^(l - K)``: after the K layers that differ, q is multiplied by a constant each layer.

    The ratio is 1 where q has settled, and the constant slope of V where it runs off to 0 or infinity.
    """

    q: Array
    ratio: float

    @property
    def distinct(self) -> int:
        """K: from this layer on all layers are alike, but for the scale of q."""
        return len(self.q) - 1

    def at(self, layers: NDArray[Any]) -> Array:
        """The second moment at an array of layers; inf where a double overflows."""
        last = self.distinct
        beyond = np.maximum(layers - last, 0)
        with np.errstate(over="ignore", under="ignore"):
            scale = np.exp(beyond * math.log(self.ratio)) if self.ratio != 1 else 1.0
            return np.asarray(self.q[np.minimum(layers, last)] * scale)


def _too_many(depth: int) -> CannotCompute:
    return CannotCompute(
        f"q never settles, and every one of {depth} layers would have to be computed; at most {FARTHEST} are",
        f"--depth {FARTHEST}",
    )


_MOST = 256
_known: dict[Any, SecondMoment] = {}


def second_moment(
    activation: Family | Baseline,
    params: tuple[tuple[str, float], ...],
    variance_w: float,
    variance_b: float,
    centralized: bool = False,
) -> SecondMoment:
    """One for all that ask for the same: what it finds out about V, it keeps."""
    key = id(activation), params, variance_w, variance_b, centralized  # the activation lives as long as what is kept
    if key not in _known:
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = SecondMoment(MeanField(activation, dict(params), variance_w, variance_b, centralized))
    return _known[key]


class SecondMoment:
    """Iterates of ``q[l+1] = V(q[l])`` and what they tend to."""

    def __init__(self, field: MeanField) -> None:
        self.field = field
        self._known: dict[float, tuple[float, float]] = {}

    def _at(self, q: float) -> tuple[float, float]:
        """``V(q)`` and ``V'(q)``."""
        if q not in self._known:
            value, slope = self.field.second_moment_map(np.array([q]))
            self._known[q] = float(value[0]), float(slope[0] / q)
        return self._known[q]

    @cached_property
    def _scan(self) -> tuple[list[float], list[float], list[float]]:
        """log q, log V and ``d log V / d log q`` on a grid."""
        lo, hi = math.log(SCAN[0]), math.log(SCAN[1])
        close = np.linspace(lo, hi, SCAN[2])
        close[SCAN[2] // 2] = 0.0
        below = np.linspace(math.log(FAR_SCAN[0]), lo, FAR_SCAN[2])
        above = np.linspace(hi, math.log(FAR_SCAN[1]), FAR_SCAN[2])
        t = np.concatenate([below[:-1], close, above[1:]])
        value, slope = self._log_map(t, rough=True)
        return t.tolist(), value.tolist(), slope.tolist()

    def _log_map(self, t: Array, rough: bool = False) -> tuple[Array, Array]:
        """``log V`` and ``d log V / d log q``, a power law beyond the second moments that can be evaluated."""
        inside = np.clip(t, math.log(SMALLEST), math.log(LARGEST))
        value, slope = self.field.second_moment_map(np.exp(inside), rough)
        with np.errstate(divide="ignore", invalid="ignore"):
            power = slope / value
            return np.log(value) + np.where(inside == t, 0.0, power * (t - inside)), power

    @cached_property
    def degenerate(self) -> bool:
        """Whether every second moment is a fixed point, as for ReLU with He weights and for a linear network."""
        t, value, _ = self._scan
        return all(abs(v - x) <= SAME for x, v in zip(t, value, strict=True))

    @cached_property
    def fixed_points(self) -> tuple[FixedPoint, ...]:
        """All between 1e-32 and 1e32, and 0 where V(0) = 0, in rising order; empty where every q is one."""
        if self.degenerate:
            return ()
        t, value, _ = (np.array(column) for column in self._scan)
        excess = value - t
        sign = np.where(np.abs(excess) <= SAME, 0, np.sign(excess))
        # far out an excess of nothing is the rounding of V(q) ~ q at 0 or at infinity
        roots = [float(x) for x in t[sign == 0] if math.log(SCAN[0]) < x < math.log(SCAN[1])]
        brackets = np.flatnonzero(sign[:-1] * sign[1:] < 0)
        if len(brackets):
            roots += self._refine(t[brackets], t[brackets + 1])
        found = []
        if self._keeps_zero:
            found.append(FixedPoint(0.0, self._at(SMALLEST)[1]))
        for root in sorted(roots):
            q = math.exp(root)
            found.append(FixedPoint(q, self._at(q)[1]))
        return tuple(found)

    @property
    def _keeps_zero(self) -> bool:
        """Whether ``V(0) = 0``, or so small that it cannot be told from it."""
        field = self.field
        if field.variance_b:
            return False
        return field.centralized or field.variance_w * field.at_zero**2 < FAR_SCAN[0]

    @cached_property
    def monotone(self) -> bool:
        """Whether V rises with q, as it does for every f that moves away from 0 on either side."""
        return all(not slope < -SAME for slope in self._scan[2])

    def _refine(self, lo: Array, hi: Array) -> list[float]:
        """Roots of ``log V - log q``, one a bracket, by Newton's method kept inside it."""
        left = np.sign(self._log_map(lo)[0] - lo)
        t = (lo + hi) / 2
        for _ in range(_NEWTON_STEPS):
            value, slope = self._log_map(t)
            excess = value - t
            inside = np.sign(excess) == left
            lo, hi = np.where(inside, t, lo), np.where(inside, hi, t)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = t - excess / (slope - 1)
            following = np.where((step > lo) & (step < hi), step, (lo + hi) / 2)
            following = np.where(np.abs(excess) <= np.finfo(float).eps, t, following)
            if np.array_equal(following, t):
                break
            t = following
        return [float(x) for x in t]

    def reached(self, q0: float) -> FixedPoint | None:
        """The fixed point that iterates from ``q0`` tend to; None where they run off to infinity.

        Where V rises they are monotone, and end at the next one.
        """
        value, slope = self._at(q0)
        here = FixedPoint(q0, slope)
        if self.degenerate:
            return here
        if abs(value / q0 - 1) <= SAME:
            return here
        if not self.monotone:
            return self._followed(q0)
        if value > q0:
            return next((point for point in self.fixed_points if point.q > q0), None)
        below = [point for point in self.fixed_points if point.q < q0]
        return below[-1] if below else None

    def basin(self, end: FixedPoint) -> tuple[float | None, float | None]:
        """Second moments around a fixed point that attracts from which iterates tend to it; None where there is no end.

        Where V does not leave the interval between the next fixed points on either side, that is it. Else V, falling,
        takes some of its second moments beyond: the ends are then bisected.
        """
        below = [point.q for point in self.fixed_points if point.q < end.q]
        above = [point.q for point in self.fixed_points if point.q > end.q]
        low, high = max(below, default=0.0), min(above, default=math.inf)
        t, value, _ = self._scan
        inside = [(x, v) for x, v in zip(t, value, strict=True) if low < math.exp(x) < high]
        if all(low <= math.exp(v) <= high for _, v in inside):
            return low or None, high if high < math.inf else None
        at = math.log(end.q)
        down = [x for x, _ in reversed(inside) if x < at]
        up = [x for x, _ in inside if x > at]
        far = high if high < math.inf else None
        return self._edge(end, down, low or None), self._edge(end, up, far)

    def _edge(self, end: FixedPoint, ways: list[float], last: float | None) -> float | None:
        """Where iterates no longer tend to ``end``, going outwards over logarithms of q; ``last`` where all do."""
        inner = math.log(end.q)
        for outer in ways:
            if self.reached(math.exp(outer)) != end:
                break
            inner = outer
        else:
            return last
        for _ in range(_BISECTIONS):
            middle = (inner + outer) / 2
            if self.reached(math.exp(middle)) == end:
                inner = middle
            else:
                outer = middle
        return math.exp((inner + outer) / 2)

    def _followed(self, q0: float) -> FixedPoint | None:
        """`reached` where V falls somewhere: layer by layer, and on the interpolated map where that takes long."""
        zero = next((point for point in self.fixed_points if not point.q), None)
        points = [point for point in self.fixed_points if point.q]
        q = q0
        for _ in range(_FOLLOWED):
            q = self._at(q)[0]
            near = [point for point in points if point.stable and abs(q / point.q - 1) <= _NEAR]
            if near or not FAR_SCAN[0] < q < FAR_SCAN[1]:
                return near[0] if near else zero if q <= FAR_SCAN[0] else None
        t = self._guess(math.log(q), _GUESSED)[-1]
        if not math.log(FAR_SCAN[0]) < t < math.log(FAR_SCAN[1]):
            return zero if t < 0 else None
        ends = [(abs(math.log(point.q) - t), point) for point in points] + ([(-t, zero)] if zero and t < 0 else [])
        return min(ends, key=lambda pair: pair[0])[1] if ends else None

    def path(self, q0: float, depth: int) -> Path:
        """The first ``depth`` iterates from ``q0``. Raises CannotCompute where they never settle and are too many."""
        value = self._at(q0)[0]
        if self.field.homogeneous and not self.field.variance_b:
            ratio = value / q0
            return Path(np.array([q0]), 1.0 if abs(ratio - 1) <= SAME else ratio)
        if abs(value / q0 - 1) <= SAME or not depth:
            return Path(np.array([q0]), 1.0)
        end = self.reached(q0)
        if depth > FARTHEST + _CHUNKS[1] and self._endless(q0):
            raise _too_many(depth)
        q = [np.array([q0])]
        done = 0
        while done < depth:
            chunk = self._chunk(float(q[-1][-1]), min(max(_CHUNKS[0], done), _CHUNKS[1], depth - done))
            stop, after = self._settled(float(q[-1][-1]), chunk, end)
            q.append(chunk[:stop])
            done += stop
            if after is not None:
                return Path(np.concatenate(q), after)
            if done >= FARTHEST and done < depth:
                raise _too_many(depth)
        return Path(np.concatenate(q), 1.0)

    def _endless(self, q0: float) -> bool:
        """Whether it is plain that q neither settles nor leaves the scale within the layers that are computed.

        By the interpolated map, and by V where that ends: a step there is a million times what counts as settled.
        """
        t = math.log(q0)
        for _ in range(FARTHEST // _GUESSED + 1):
            *_, before, t = self._guess(t, _GUESSED)
            if not math.log(FAR_SCAN[0]) < t < math.log(FAR_SCAN[1]) or abs(t - before) < _MOVING:
                return False
        q = math.exp(t)
        return abs(self._at(q)[0] / q - 1) > _MOVING

    def _settled(self, before: float, chunk: Array, end: FixedPoint | None) -> tuple[int, float | None]:
        """How many of the chunk differ, and the ratio from there on where q has settled or left the scale."""
        previous = np.concatenate([[before], chunk[:-1]])
        target = chunk[-1] if end is None else end.q
        still = np.abs(chunk - previous) <= 4 * np.finfo(float).eps * chunk
        near = still if end is None or not end.q else still & (np.abs(chunk - target) <= 1e-9 * target)
        if near.any():
            stop = int(np.argmax(near)) + 1
            if end is not None and end.q:
                chunk[stop - 1] = end.q
            return stop, 1.0
        gone = (chunk > LARGEST) | (chunk < SMALLEST)
        if gone.any():
            stop = int(np.argmax(gone)) + 1
            return stop, self._at(float(chunk[stop - 1]))[0] / float(chunk[stop - 1])
        return len(chunk), None

    def _chunk(self, q: float, count: int) -> Array:
        """``count`` iterates from q: guessed on the grid, then all corrected at once by Newton's method.

        The equations ``q[l+1] = V(q[l])`` are triangular, so that a correction costs one evaluation of V on the whole
        array and a linear recursion.
        """
        t = np.array(self._guess(math.log(q), count))
        start = np.array([math.log(q)])
        size = math.inf
        for _ in range(_NEWTON_STEPS):
            value, slope = self._log_map(np.concatenate([start, t[:-1]]))
            excess = value - t
            error = 0.0
            corrections = np.empty(count)
            for i, (a, b) in enumerate(zip(slope.tolist(), excess.tolist(), strict=True)):
                error = a * error + b
                corrections[i] = error
            before, size = size, float(np.abs(corrections).max())
            if size < _CONVERGED and (not size or size > before / 2):  # what is left is rounding
                break
            t = t + corrections
        with np.errstate(over="ignore", under="ignore"):
            iterates: Array = np.exp(t)
        return iterates

    def _guess(self, t: float, count: int) -> list[float]:
        """Iterates of the map interpolated on the grid: cubic between its points, a power law beyond."""
        grid, value, slope = self._scan
        last = len(grid) - 1
        found = []
        for _ in range(count):
            i = bisect_right(grid, t) - 1
            if i < 0 or i >= last:
                i = max(0, min(i, last))
                t = value[i] + slope[i] * (t - grid[i])
            else:
                step = grid[i + 1] - grid[i]
                u = (t - grid[i]) / step
                w = 1 - u
                t = (
                    value[i] * (1 + 2 * u) * w * w
                    + value[i + 1] * u * u * (3 - 2 * u)
                    + step * u * w * (slope[i] * w - slope[i + 1] * u)
                )
            found.append(t)
        return found
