"""The covariance map: how the correlation of two inputs changes from layer to layer, at infinite width.

With ``x = sqrt(q) r cos(t)`` and ``y = sqrt(q) r cos(t - theta)``, r and t the polar coordinates of a standard normal
pair, x and y have the correlation ``c = cos(theta)``. The kinks of f at ``x = 0`` and ``y = 0`` are then rays, between
which the integrand is analytic; near ``c = 1`` only a sector narrows, and nothing else changes. What is integrated is
``E[(f(x) - f(y))^2]/2 = V - C`` and ``E[(f(x) + f(y))^2]/2 = V + C``, so that the angle, ``tan(theta'/2)^2 =
(V - C)/(V + C)``, stays exact where a correlation would round to 1.

Activations with kinks elsewhere, or that change on another scale, have no such rays. For them the plane is that of
``x + y`` and ``x - y``: on every line of one of them the panels end where x or y comes to the end of a panel of f,
however near these are to each other, and across the lines where two kinks meet. Where f is analytic throughout and on
no fine scale, the trapezoidal rule on a grid does the same sooner.
"""

from __future__ import annotations

import math
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snn_cli.propagation import quadrature
from snn_cli.propagation.meanfield import GAUSS, SAME, SMALLEST, MeanField
from snn_cli.propagation.resolution import tail_matrix

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from snn_cli.propagation.resolution import Resolution

    Array = NDArray[np.float64]

_RADIUS = 10.5  # r e^(-r^2/2) is 1e-23 there
_RADIAL_PANEL = 2.7
_NODES = 16
_CHEBYSHEV = (48, 96, 192)
_OUTER_PANEL = 2.1
_PLANE_EDGE = 10.5  # the density is 1e-24 there
_OUTER_MOST = 64  # panels that are halved at once
_ROUNDING = 1e-13
_CLOSE = 1e-3  # of a panel
_OUTER_TAIL = 1e-9  # the error of a Gauss rule is its square
_NO_WEIGHT = 1e-16
_THINNEST = 1e-12
_MOST_ENDS = 240
_STEPS = (0.4, 0.2, 0.1, 0.05)
_AS_GOOD = 4e-15
_DIRECTLY = 64
_AT_ONCE = 400_000
_TAIL = 3e-14
_ROOT_STEPS = 100
_NARROWEST = 1e-7  # share of a sector: what f does nearer to a ray has no weight
_FAR = 1e32  # second moment from which what is not homogeneous of f is below a rounding
_RIGHT_ANGLE = 1e-13  # up to which inputs at right angles stay there: E[f] = 0


class CorrelationFixedPoint(NamedTuple):
    """Correlation that is kept, the slope of the map there, and layers in which a deviation falls by e."""

    fixed_point: float
    slope: float

    @property
    def depth_scale(self) -> float | None:
        if not abs(self.slope) < 1 - SAME:
            return None
        return -1 / math.log(abs(self.slope)) if self.slope else 0.0


class Correlation:
    """The map of the angle ``theta = acos(c)`` between two inputs of the same second moment."""

    def __init__(self, field: MeanField) -> None:
        self.field = field
        self._scale = 1.0
        self._steps: dict[float, float | None] = {}

    def covariances(self, q: float, theta: float) -> tuple[float, float, float]:
        """``V - C``, ``V + C`` and ``E[f'(x) f'(y)]`` of the activation, without weights and biases.

        ``q > 0``; theta in ``[0, pi]``. Held by test_correlation.py against the arc-cosine and the arcsine kernel and
        against quadrature at 30 digits.
        """
        root = math.sqrt(min(max(q, SMALLEST), self.field.largest))
        if self.field.resolution is not None:
            step = self._step_of(root)
            if step is not None:
                return self._on_a_grid(self.field.resolution, root, theta, step)
            return self._over_the_plane(self.field.resolution, root, theta)
        radius, radial = _radial(root * self.field.steepness)
        angle, angular = _angles(theta, root * self.field.steepness)
        x = root * radius * np.cos(angle)[:, None]
        y = root * radius * np.cos(angle - theta)[:, None]
        fx, fy = self.field.change(x), self.field.change(y)
        minus = angular @ ((fx - fy) ** 2 @ radial)
        plus = angular @ ((fx + fy + self._offset) ** 2 @ radial)
        product = angular @ ((self.field.df(x) * self.field.df(y)) @ radial)
        if self.field.centralized:
            mean = angular @ (fx @ radial + fy @ radial) / 2
            plus = plus - 4 * mean * mean
        return float(minus) / 2, float(plus) / 2, float(product)

    def tractable(self, q: float) -> bool:
        """Whether f has few enough panels within reach of this second moment: what oscillates has more and more."""
        if self.field.resolution is None:
            return True
        reach = _PLANE_EDGE * math.sqrt(min(q, self.field.largest))
        return int((np.abs(self.field.resolution.ends) < reach).sum()) <= _MOST_ENDS

    @property
    def _offset(self) -> float:
        """What is left out of ``f(x) + f(y)`` by taking f less f(0): nothing where the mean goes anyway."""
        return 0.0 if self.field.centralized else 2 * self.field.at_zero

    @staticmethod
    def _edge(resolution: Resolution) -> float:
        """Where the density of the pair is cut off: further out where f grows as fast as it falls."""
        return _PLANE_EDGE if resolution.edge == quadrature.EDGE else resolution.edge

    def _step_of(self, root: float) -> float | None:
        """Step of the trapezoidal rule that gives ``E[f^2]`` and ``E[f'^2]`` of an analytic f; None if none does."""
        resolution = self.field.resolution
        assert resolution is not None
        if resolution.kinks or resolution.jumps:
            return None
        edge = self._edge(resolution)
        if root not in self._steps:
            m = self.field.moments(np.array([root * root]))
            found = None
            for step in _STEPS:
                z = np.asarray(
                    step * np.arange(-math.floor(edge / step), math.floor(edge / step) + 1),
                    dtype=np.float64,
                )
                density = step * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
                f, df = self.field.change(root * z), self.field.df(root * z)
                right = float(m.second[0]), float(m.gain[0])
                f = f - density @ f if self.field.centralized else f + self.field.at_zero
                if all(
                    abs(float(density @ (g * g)) - value) <= _AS_GOOD * value
                    for g, value in zip((f, df), right, strict=True)
                ):
                    found = step
                    break
            self._steps[root] = found
        return self._steps[root]

    def _on_a_grid(self, resolution: Resolution, root: float, theta: float, step: float) -> tuple[float, float, float]:
        """The trapezoidal rule in both variables: where it resolves f on a line it does so along every other."""
        count = math.floor(self._edge(resolution) / step)
        u, v = step * np.arange(-count, count + 1), step * np.arange(count + 1)[:, None]
        half = 2 * step * np.exp(-v * v / 2) / math.sqrt(2 * math.pi)  # v and -v exchange x and y
        half[0] /= 2
        along, across = math.cos(theta / 2) * u, math.sin(theta / 2) * v
        weights = half * (step * np.exp(-u * u / 2) / math.sqrt(2 * math.pi))
        x, y = root * (along + across), root * (along - across)
        fx, fy = self.field.change(x), self.field.change(y)
        apart = self._apart(resolution, x, y, np.broadcast_to(2 * root * across, x.shape), fx - fy)
        minus, plus = float((weights * apart**2).sum()), float((weights * (fx + fy + self._offset) ** 2).sum())
        if self.field.centralized:
            plus -= float((weights * (fx + fy)).sum()) ** 2
        return minus / 2, plus / 2, float((weights * self.field.df(x) * self.field.df(y)).sum())

    def _over_the_plane(self, resolution: Resolution, root: float, theta: float) -> tuple[float, float, float]:
        """The same for an activation with kinks anywhere.

        ``x, y = root (large w +- small t)``, or for obtuse angles ``root (small t +- large w)``, w and t being normal
        and independent: exchange of x and y is a change of the sign of t, or of w.
        """
        large, small = math.cos(theta / 2), math.sin(theta / 2)
        obtuse = small > large
        if obtuse:
            large, small = small, large
        kinks = np.array(resolution.kinks)
        meetings = (kinks[:, None] + kinks if obtuse else np.abs(kinks[:, None] - kinks)).ravel() / (2 * root)
        edge = self._edge(resolution)
        cuts = meetings[np.abs(meetings) < edge * small] / small if small else meetings[:0]
        first = -edge if obtuse else 0.0
        ends = np.unique(np.concatenate([np.arange(first, edge, _OUTER_PANEL), [0.0, edge], cuts]))
        a, b = ends[:-1], ends[1:]
        nodes, weights = quadrature.legendre(quadrature.NODES)
        total, size = np.zeros(4), np.zeros(4)
        while len(a):
            half = (b - a) / 2
            t = (a + b)[:, None] / 2 + half[:, None] * nodes
            density = np.exp(-t * t / 2) / math.sqrt(2 * math.pi)
            lines = self._lines(resolution, edge, root, t.ravel(), large, small, obtuse)
            lines = lines.reshape(4, *t.shape) * density
            panels = lines @ weights * half
            size = np.maximum(size, np.abs(panels).sum(1))
            tails = np.abs(lines @ tail_matrix()).max(2)
            largest = np.abs(lines).max(2)
            both = largest[0] + largest[1]  # of what cancels in V - C and in the mean, up to rounding
            rounding = _ROUNDING * np.array([
                np.sqrt(largest[0] * both), np.sqrt(largest[1] * both), largest[2] + size[2], np.sqrt(both) + both
            ])  # fmt: skip
            fine = tails <= _OUTER_TAIL * largest + rounding
            fine |= largest * (b - a) <= _NO_WEIGHT * size[:, None]
            done = fine.all(0) | (b - a <= _THINNEST)
            if done.sum() < len(a) - _OUTER_MOST:  # too many to halve: noise, or what oscillates
                done[:] = True
            total += panels[:, done].sum(1)
            a, b = a[~done], b[~done]
            middle = (a + b) / 2
            a, b = np.concatenate([a, middle]), np.concatenate([middle, b])
        minus, plus, product, mean = (total * 2).tolist()  # both signs of t, or of w
        if self.field.centralized:
            plus = plus - mean * mean
        return minus / 2, plus / 2, product

    def _lines(
        self, resolution: Resolution, edge: float, root: float, t: Array, large: float, small: float, obtuse: bool
    ) -> Array:
        """``E[(f(x) - f(y))^2], E[(f(x) + f(y))^2], E[f'(x) f'(y)], E[f(x) + f(y)]`` along lines of equal t."""
        inside = resolution.ends[np.abs(resolution.ends) < 1.5 * edge * root] / root
        shift = small * t[:, None]
        cuts = [(inside - shift) / large, (shift - inside if obtuse else inside + shift) / large]
        first = 0.0 if obtuse else -edge
        fixed = np.linspace(first, edge, math.ceil((edge - first) / _OUTER_PANEL) + 1)
        found = np.empty((4, len(t)))
        nodes, weights = quadrature.legendre(quadrature.NODES)
        rows = max(1, _AT_ONCE // ((len(fixed) + 2 * len(inside)) * len(nodes)))
        for start in range(0, len(t), rows):
            part = slice(start, start + rows)
            ends = np.concatenate(
                [np.broadcast_to(fixed, (len(t[part]), len(fixed))), *(c[part] for c in cuts)], axis=1
            )
            ends = np.sort(np.clip(ends, first, edge), axis=1)
            half = np.diff(ends)[..., None] / 2
            w = ((ends[:, 1:] + ends[:, :-1])[..., None] / 2 + half * nodes).reshape(len(ends), -1)
            density = (half * weights).reshape(w.shape) * np.exp(-w * w / 2) / math.sqrt(2 * math.pi)
            x = root * (large * w + shift[part])
            y = root * ((shift[part] - large * w) if obtuse else (large * w - shift[part]))
            fx, fy = self.field.change(x), self.field.change(y)
            apart = self._apart(resolution, x, y, 2 * root * shift[part], fx - fy) if not obtuse else fx - fy
            values = (
                apart**2, (fx + fy + self._offset) ** 2, self.field.df(x) * self.field.df(y), fx + fy
            )  # fmt: skip
            for row, value in zip(found, values, strict=True):
                row[part] = np.einsum("ij,ij->i", value, density)
        return found

    def _apart(self, resolution: Resolution, x: Array, y: Array, between: Array, direct: Array) -> Array:
        """``f(x) - f(y)``; where x and y are close, on one side of all kinks, the integral of f' from y to x."""
        widths = np.diff(resolution.ends)
        if not np.abs(between).max() < _CLOSE * min(1.0, float(widths.min())):
            return direct
        kinks = np.array(resolution.kinks)
        near = np.searchsorted(kinks, x) == np.searchsorted(kinks, y)
        slope = sum(w * self.field.df(y + t * between) for t, w in GAUSS)
        return np.where(near, between * slope, direct)

    @cached_property
    def odd(self) -> bool:
        """Whether ``f(-x) = -f(x)``: then ``V + C`` vanishes at opposite inputs as ``V - C`` does at equal ones."""
        x = np.geomspace(1e-6, 1e6, 97)
        f = self.field.f(x)
        return bool((np.abs(self.field.f(-x) + f) <= 4 * np.finfo(float).eps * np.abs(f)).all())

    def following(self, q: float, theta: float) -> float:
        """The angle behind a layer whose pre-activations have the second moment q and the angle theta."""
        if theta == 0 or (theta == math.pi and self.odd and not self.field.variance_b):
            return theta
        minus, plus, _ = self.covariances(q, theta)
        return self.angle(minus, plus)

    def angle(self, minus: float, plus: float) -> float:
        """The angle behind a layer, from ``V - C`` and ``V + C`` of the activation."""
        weight, bias = self.field.variance_w, self.field.variance_b
        return 2 * math.atan2(math.sqrt(weight * minus), math.sqrt(weight * max(plus, 0.0) + 2 * bias))

    def path(self, q: Array, repeated: int, theta: float) -> Array:
        """Angles at layers ``0 ... len(q) - 1 + repeated``; the last q is that of all layers that follow.

        Where it repeats the map is the same at each layer, and is interpolated in the angle, to 1e-14.
        """
        far = np.flatnonzero(q > _FAR)
        if len(far) and far[0] < len(q) - 1:  # beyond, the map no longer changes with q
            repeated += len(q) - 1 - int(far[0])
            q = q[: far[0] + 1]
        angles = [theta]
        for each in q[: len(q) if repeated else len(q) - 1]:
            angles.append(self.following(float(each), angles[-1]))
        if repeated > 1:
            last, still = float(q[-1]), 0.0
            step: Callable[[float], float] = _Interpolated(self, last)
            if self.field.resolution is not None:
                still = SAME
                if repeated <= _DIRECTLY:
                    step = partial(self.following, last)
            for done in range(repeated - 1):
                angles.append(step(angles[-1]))
                if abs(angles[-1] - angles[-2]) <= still * angles[-1]:
                    angles += [angles[-1]] * (repeated - 2 - done)
                    break
        return np.array(angles)

    def fixed_point(self, q: float, second: float, gain: float) -> CorrelationFixedPoint:
        """The stable fixed point in ``c``, at a fixed point q of the second moment.

        It is 1 where the slope there, chi, is at most 1. ``second`` is V(q), which is q up to a rounding, and ``gain``
        is ``E[f'^2]`` at q.
        """
        self._scale = self.field.variance_w * q / second
        chi = self._scale * gain
        if chi <= 1 + SAME or self.field.homogeneous:
            return CorrelationFixedPoint(1.0, chi)
        lo, hi = 0.0, math.pi / 2
        following, slope, angular = self._step(q, hi)
        if abs(following - hi) <= _RIGHT_ANGLE:
            return CorrelationFixedPoint(0.0, slope)
        while following > hi and hi < math.pi - 1e-9:  # negative correlations are kept: look further
            lo, hi = hi, (hi + math.pi) / 2
            following, slope, angular = self._step(q, hi)
        theta = hi
        for _ in range(_ROOT_STEPS):
            excess = following - theta
            lo, hi = (theta, hi) if excess > 0 else (lo, theta)
            step = theta - excess / (angular - 1) if angular != 1 else lo
            step = step if lo < step < hi else (lo + hi) / 2
            if abs(step - theta) <= SAME * theta:
                break
            theta = step
            following, slope, angular = self._step(q, theta)
        return CorrelationFixedPoint(math.cos(theta), slope)

    def _step(self, q: float, theta: float) -> tuple[float, float, float]:
        """The angle behind a layer, ``dc'/dc = sigma_w^2 E[f'(x) f'(y)] q / V``, and the slope in the angle."""
        minus, plus, product = self.covariances(q, theta)
        following = self.angle(minus, plus)
        slope = self._scale * product
        return following, slope, slope * math.sin(theta) / math.sin(following) if math.sin(following) else 0.0


class _Interpolated:
    """The map at one q, from Chebyshev series in theta on ``[0, pi]``.

    Of ``(V - C)/(1 - c)`` and ``V + C``, or ``(V + C)/(1 + c)`` for odd f: both are analytic there, kinks or not, and
    neither has a root of its argument nearby, as the angle itself has where f is nearly odd.
    """

    def __init__(self, correlation: Correlation, q: float) -> None:
        self._correlation, self._q = correlation, q

    @cached_property
    def _coefficients(self) -> list[tuple[float, float]] | None:
        """Of both series, as long as they need to be; None where the longest is not enough."""
        for n in _CHEBYSHEV:
            nodes = (np.arange(n) + 0.5) * math.pi / n
            theta = (1 + np.cos(nodes)) * math.pi / 2
            pairs = np.array([self._correlation.covariances(self._q, float(t))[:2] for t in theta])
            pairs[:, 0] /= 2 * np.sin(theta / 2) ** 2
            if self._correlation.odd:
                pairs[:, 1] /= 2 * np.cos(theta / 2) ** 2
            coefficients = 2 / n * np.cos(np.outer(np.arange(n), nodes)) @ pairs
            coefficients[0] /= 2
            size = np.abs(coefficients)
            if (size[-n // 8 :].max(axis=0) <= _TAIL * size.max(axis=0)).all():
                return [(float(a), float(b)) for a, b in coefficients]
        return None

    def __call__(self, theta: float) -> float:
        coefficients = self._coefficients
        if coefficients is None or theta == math.pi:
            return self._correlation.following(self._q, theta)
        u = 2 * theta / math.pi - 1
        a1 = a2 = b1 = b2 = 0.0
        for a, b in coefficients[:0:-1]:
            a1, a2 = 2 * u * a1 - a2 + a, a1
            b1, b2 = 2 * u * b1 - b2 + b, b1
        ratio, plus = u * a1 - a2 + coefficients[0][0], u * b1 - b2 + coefficients[0][1]
        if self._correlation.odd:
            plus *= 2 * math.cos(theta / 2) ** 2
        return self._correlation.angle(ratio * 2 * math.sin(theta / 2) ** 2, plus)


def _radial(root: float) -> tuple[Array, Array]:
    """Nodes r and weights of ``E[g(r)]`` for the Rayleigh distribution."""
    ends = {*np.arange(0.0, _RADIUS, _RADIAL_PANEL if root <= 1 else _RADIAL_PANEL / min(root, 2)), _RADIUS}
    if root > 2:
        ends.update(x / root for x in 2.0 ** np.arange(-1, 7) if x / root < _RADIUS)
    r, weights = quadrature.panels(np.unique(list(ends)), _NODES)
    return r, weights * r * np.exp(-r * r / 2)


def _angles(theta: float, root: float) -> tuple[Array, Array]:
    """Nodes t and weights of the mean over a circle, for integrands that do not change under exchange of x and y.

    Half the circle, from ``theta/2``, in three sectors: both positive, x negative, both negative. Panels narrow towards
    the rays where x or y is 0, on the scale on which f changes.
    """
    ends: list[float] = []
    rays = (theta / 2, math.pi / 2, math.pi / 2 + theta, math.pi + theta / 2)
    for a, b in pairwise(rays):
        width = b - a
        if width <= 0:
            continue
        cuts = {0.0, 0.5, 1.0}
        fraction = 0.25
        while 4 * fraction * width * root > 3 and fraction > _NARROWEST:
            cuts |= {fraction, 1 - fraction}
            fraction /= 2
        ends += [a + width * cut for cut in sorted(cuts)]
    nodes, weights = quadrature.panels(np.unique(np.array(ends)), _NODES)
    return nodes, weights / math.pi
