"""Mean-field propagation: what a layer of infinite width does to the second moment, and to the gradient.

Layer ``x[l+1] = W f(x[l]) + b`` with ``W_ij ~ N(0, sigma_w^2 / fan_in)``, ``b_i ~ N(0, sigma_b^2)``; q is the second
moment of the pre-activations. Sources: Poole et al. (2016), Schoenholz et al. (2017), section 3.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli.arithmetic.arrays import Arrays
from snn_cli.propagation import quadrature
from snn_cli.propagation.resolution import resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from snn_cli.activations.family import Baseline, Family
    from snn_cli.gaussian import Piecewise
    from snn_cli.propagation.resolution import Resolution

    Array = NDArray[np.float64]

SMALLEST, LARGEST = 1e-60, 1e60
"""Second moments between which moments are evaluated, or less (`MeanField.largest`). Beyond, V counts as a power of q,
which it is to all digits of a double for every activation with a line or a constant at either end, and what is scaled
by q stays as it is."""

SCAN = (1e-8, 1e8, 161)
"""Second moments, evenly spaced in the logarithm, between which fixed points are looked for closely."""

FAR_SCAN = (1e-32, 1e32, 49)
"""The same further out, on either side: the ends, and points beyond each end of the close scan."""

_AT_ONCE = 400_000  # nodes
_NEARLY = 1e-6
_UNSEEN = 1e-3  # of the root mean square of f

GAUSS: tuple[tuple[float, float], ...] = (
    (0.5 - math.sqrt(0.15), 5 / 18),
    (0.5, 4 / 9),
    (0.5 + math.sqrt(0.15), 5 / 18),
)
"""Nodes and weights on ``[0, 1]``, for integrals of f' over so short a way that differences of f would cancel."""

_OF_SLOPES = ("gain", "gain_slope", "gain_curvature", "gain_fourth", "mixed", "along")

_BENT = 1e-12
_IN_FEATURE = (-1.3, -0.6, -0.2, 0.0, 0.3, 0.7, 1.5)
"""What is off a line, relative; and where a narrow feature shows, times its width."""

SAME = 8 * np.finfo(float).eps
"""Relative difference up to which two second moments count as equal: the rounding of one evaluation."""


def _row_sums(values: Array, weights: Array) -> Array:
    return np.asarray(np.einsum("ij,ij->i", values, weights))


DEAD = 1e-140
"""What ``E[f^2]`` and ``E[f'^2]`` count as where they are less, as those of an f that is 0 around 0 soon are: squares
and ratios of it are doubles still."""


_MOST = 690.0
"""Logarithm of the largest V that is extrapolated: it is beyond all that is followed."""


class LayerMoments(NamedTuple):
    """Expectations over ``x = sqrt(q) z`` for an array of second moments q, each an array of the same shape.

    ``f`` and its derivative ``f'`` with respect to x; the slopes are ``q d/dq`` and ``q^2 d^2/dq^2``. Where f is
    centralized it stands for ``f - E[f]`` throughout, the mean being that at each q.
    """

    q: Any
    mean: Any  # E[f], also where f is centralized
    mean_scale_slope: Any  # q d/dq E[f]
    second: Any  # E[f^2]
    second_slope: Any
    second_curvature: Any
    fourth: Any  # E[f^4]
    gain: Any  # E[f'^2]
    gain_slope: Any
    gain_curvature: Any
    gain_fourth: Any  # E[f'^4]
    mean_slope: Any  # E[f']
    mixed: Any  # E[f^2 f'^2]
    along: Any  # E[z^2 f'^2]


def _alive(m: LayerMoments) -> LayerMoments:
    """The moments, of which none is less than `DEAD`: below, f or its slope is a constant of that size."""
    still, flat = m.second < DEAD, m.gain < DEAD
    if not (still.any() or flat.any()):
        return m
    second, gain = np.where(still, DEAD, m.second), np.where(flat, DEAD, m.gain)
    either, zero = still | flat, np.zeros_like(second)
    return m._replace(
        mean=np.where(still, zero, m.mean),
        mean_scale_slope=np.where(either, zero, m.mean_scale_slope),
        second=second,
        second_slope=np.where(either, zero, m.second_slope),
        second_curvature=np.where(either, zero, m.second_curvature),
        fourth=np.where(still, second**2, m.fourth),
        gain=gain,
        gain_slope=np.where(flat, zero, m.gain_slope),
        gain_curvature=np.where(flat, zero, m.gain_curvature),
        gain_fourth=np.where(flat, gain**2, m.gain_fourth),
        mixed=np.where(either, second * gain, m.mixed),
        along=np.where(flat, gain, m.along),
    )


class MeanField:
    """An activation between layers of given weight and bias variances, at infinite width.

    activation, params
        From the registry, and the values of its parameters.
    variance_w, variance_b
        ``sigma_w^2`` and ``sigma_b^2``.
    centralized
        Whether the mean of f over units is removed: the map becomes ``sigma_w^2 Var f + sigma_b^2``.
    """

    def __init__(
        self,
        activation: Family | Baseline,
        params: Mapping[str, float],
        variance_w: float = 1.0,
        variance_b: float = 0.0,
        centralized: bool = False,
    ) -> None:
        self.activation = activation
        self.params = dict(params)
        self.variance_w = variance_w
        self.variance_b = variance_b
        self.centralized = centralized
        shape = activation.shape
        self._shape: Piecewise | None = None
        if shape is not None:
            self._shape = shape(Arrays(), {name: np.float64(value) for name, value in self.params.items()})
        elif not self._unit_scale:
            self._shape = self._rays()

    @property
    def _unit_scale(self) -> bool:
        return bool(getattr(self.activation, "unit_scale", False))

    def _rays(self) -> Piecewise | None:
        """The shape of what is a line through 0 on either side of it; None for anything else."""
        x = np.geomspace(1e-9, 1e9, 37)
        dense = np.geomspace(1e-4, 1e4, 1601)
        places: Any = getattr(self.activation, "narrow", lambda _: ())
        narrow = [at + width * t for at, width in places(self.params) for t in _IN_FEATURE]
        between = np.array([*-dense, *dense, *narrow])
        found = []
        for side in (-1.0, 1.0):
            slope = float(self.f(np.array([side]))[0]) * side
            if not (np.abs(self.f(side * x) - side * slope * x) <= 4 * np.finfo(float).eps * abs(slope) * x).all():
                return None
            x_side = between[between * side > 0]
            if not (np.abs(self.f(x_side) - side * slope * np.abs(x_side)) <= _BENT * abs(slope * x_side)).all():
                return None
            found.append(np.float64(slope))
        from snn_cli.gaussian import Piecewise

        return Piecewise.of(Arrays(), np.float64(1.0), {(1, 0): found[0]}, {(1, 0): found[1]})

    @cached_property
    def resolution(self) -> Resolution | None:
        """The panels of an activation that has neither closed forms nor the quick rule."""
        if self._shape is not None or self._unit_scale:
            return None
        return resolved(self.activation, tuple(self.params.items()))

    @cached_property
    def largest(self) -> float:
        """Second moment up to which moments are evaluated; beyond, V is taken as a power of q."""
        return LARGEST if self.resolution is None else min(LARGEST, self.resolution.largest)

    @cached_property
    def at_zero(self) -> float:
        """``f(0)``."""
        return float(self.f(np.zeros(1))[0])

    @cached_property
    def homogeneous(self) -> bool:
        """Whether ``f(a x) = a f(x)`` for ``a > 0``: then no moment depends on q but through its scale."""
        if self._shape is None:
            return False
        branches = (self._shape.negative, self._shape.positive)
        return all(key == (1, 0) or not c for branch in branches for key, c in branch.terms.items())

    @cached_property
    def steepness(self) -> float:
        """Inverse of the scale in x on which f changes, at least 1."""
        if self._shape is None:
            return 1.0
        branch = self._shape.negative
        return max(1.0, abs(float(branch.moments.rate))) if any(k for _, k in branch.terms) else 1.0

    def f(self, x: Any) -> Any:
        """The activation, elementwise."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return self.activation.function(np, x, self.params)

    def df(self, x: Any) -> Any:
        """Its derivative, elementwise."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return self.activation.derivative(np, x, self.params)

    def moments(self, q: Any) -> LayerMoments:
        """All expectations for an array of second moments ``q > 0``, of any shape."""
        q = np.asarray(q, dtype=np.float64)
        inside = np.clip(q, SMALLEST, self.largest)
        return _alive(self._by_shape(inside) if self._shape is not None else self._by_quadrature(inside))

    def _by_shape(self, q: Array) -> LayerMoments:
        assert self._shape is not None
        root = np.sqrt(q)
        f = self._shape.scaled(root)
        df = self._shape.derivative().scaled(root)
        mean = f.expectation()
        mean_scale_slope = f.derivative().times_power(1).expectation() / 2
        if self.centralized:
            f = f.plus(-mean)
        f2, df2 = f * f, df * df
        second_slope, second_curvature = f2.scale_slopes()
        if self.centralized:
            second_curvature = second_curvature - 2 * mean_scale_slope**2
        gain_slope, gain_curvature = df2.scale_slopes()
        found = LayerMoments(
            q,
            mean,
            mean_scale_slope,
            f2.expectation(),
            second_slope,
            second_curvature,
            (f2 * f2).expectation(),
            df2.expectation(),
            gain_slope,
            gain_curvature,
            (df2 * df2).expectation(),
            df.expectation(),
            (f2 * df2).expectation(),
            df2.times_power(2).expectation(),
        )
        return LayerMoments(*(np.broadcast_to(np.asarray(m, dtype=np.float64), q.shape) for m in found))

    def seen(self, q: Array) -> bool:
        """Whether the nodes see the slope where f changes: ``sqrt(q) E[f'] = E[z f]`` if f has no jumps (Stein).

        A step as narrow as that of ``erf(1e50 x)`` lies between them.
        """
        if self.resolution is None:
            return True
        inside = np.clip(q, SMALLEST, self.largest)
        if self._hides(q, inside):
            return False
        for part, z, weights, over in self._rules(inside):
            root = np.sqrt(inside[part])
            x = root[:, None] * z
            f = self.f(x)
            with np.errstate(all="ignore"):
                missed = np.abs(root * over(self.df(x), weights) - over(f, z * weights))
                if (missed > _UNSEEN * np.sqrt(over(f * f, weights))).any():
                    return False
        return True

    def _hides(self, q: Array, inside: Array) -> bool:
        """Whether f changes beyond the largest second moment, and not before."""
        assert self.resolution is not None
        beyond = q > inside
        if not beyond.any() or not self.resolution.hidden:
            return False
        far = quadrature.EDGE * math.sqrt(float(q.max()))
        steepest = max((slope for at, slope in self.resolution.hidden if abs(at) < far), default=0.0)
        return bool((np.sqrt(self.moments(inside[beyond]).gain) < _UNSEEN**2 * steepest).any())

    def _second(self, q: Array, rough: bool) -> tuple[Array, Array]:
        """``E[f^2]`` and ``q d/dq E[f^2]``, as `_by_quadrature` has them."""
        flat = np.atleast_1d(q).ravel()
        second, slope = np.empty_like(flat), np.empty_like(flat)
        jumps = self.resolution is not None and self.resolution.jumps
        for part, z, weights, over in self._rules(flat):
            x = np.sqrt(flat[part])[:, None] * z
            f = self._centred(x, self.f(x), weights, over)[1]
            f2 = f * f
            second[part] = over(f2, weights)
            by_density = rough or jumps
            slope[part] = over(f2, (z * z - 1) / 2 * weights) if by_density else over(x * f * self.df(x), weights)
        return second.reshape(q.shape), slope.reshape(q.shape)

    def _by_quadrature(self, q: Array) -> LayerMoments:
        flat = np.atleast_1d(q).ravel()
        columns = [np.empty_like(flat) for _ in LayerMoments._fields]
        jumps = self.resolution is not None and self.resolution.jumps
        for part, z, weights, over in self._rules(flat):
            x = np.sqrt(flat[part])[:, None] * z
            f, df = self.f(x), self.df(x)
            mean, f = self._centred(x, f, weights, over)
            mean_scale_slope = over(x * df, weights) / 2
            f2, df2 = f * f, df * df
            # d/dq E[g(sqrt(q) z)] = E[g He_2(z)] / 2q and the second derivative E[g He_4(z)] / 4q^2; a constant in g
            # has no part in them and would only cancel
            he2 = (z * z - 1) / 2 * weights
            he4 = (z**4 - 6 * z * z + 3) / 4 * weights
            start = float(self.df(np.zeros(1))[0])
            spread = df2 - (start * start if math.isfinite(start) else 0.0)
            second_slope, mean_slope = over(x * f * df, weights), over(df, weights)
            if jumps:  # where f itself jumps, f' does not hold all of it
                second_slope, mean_scale_slope = over(f2, he2), over(f, he2)
                mean_slope = over(f, z * weights) / np.sqrt(flat[part])
            values = (
                flat[part],
                mean,
                mean_scale_slope,
                over(f2, weights),
                second_slope,
                over(f2 - (0.0 if self.centralized else self.at_zero**2), he4)
                - (2 * mean_scale_slope**2 if self.centralized else 0),
                over(f2 * f2, weights),
                over(df2, weights),
                over(spread, he2),
                over(spread, he4),
                over(df2 * df2, weights),
                mean_slope,
                over(f2 * df2, weights),
                over(df2, z * z * weights),
            )
            for column, value in zip(columns, values, strict=True):
                column[part] = value
        if self.resolution is not None and self.resolution.steep:
            for name in _OF_SLOPES:
                columns[LayerMoments._fields.index(name)][:] = np.inf
        return LayerMoments(*(column.reshape(q.shape) for column in columns))

    def _rules(self, q: Array) -> Iterator[tuple[NDArray[np.intp], Array, Array, Callable[[Array, Array], Array]]]:
        """Indices of second moments, a rule for them, z and weights, and the sum over its nodes."""
        if self.resolution is None:
            scale = self.steepness * np.sqrt(q)
            octave = np.ceil(np.log2(np.maximum(scale, 1.0)))  # a rule serves its own octave only
            groups = [np.flatnonzero(octave == each) for each in np.unique(octave)]
            for part in (part for group in groups for part in np.array_split(group, math.ceil(len(group) / 64))):
                yield part, *quadrature.rule(float(scale[part].max())), np.matmul
            return
        order = np.argsort(q)
        many = math.ceil(len(q) * len(self.resolution.ends) * quadrature.NODES / _AT_ONCE)
        for part in np.array_split(order, min(len(q), max(many, math.ceil(len(q) / 32)))):
            yield part, *self.resolution.rule(0.0, np.sqrt(q[part])), _row_sums

    def rule(self, mean: Any, deviation: Any) -> tuple[Array, Array]:
        """Nodes z and weights of ``E[g(mean + deviation z)]`` for functions of f, for arrays along a further axis."""
        if self.resolution is None:
            return quadrature.shifted_rules(mean, deviation)
        return self.resolution.rule(mean, deviation)

    def change(self, x: Array, f: Array | None = None) -> Array:
        """``f(x) - f(0)``; near 0, where that cancels, the integral of f' by three nodes of Gauss."""
        f = self.f(x) if f is None else f
        if not self.at_zero:
            return f
        change: Array = f - self.at_zero
        near = np.abs(x) < 1e-3 * min(1.0, 1.0 if self.resolution is None else self.resolution.finest)
        if near.any():
            at = x[near]
            change[near] = at * sum(w * self.df(t * at) for t, w in GAUSS)
        return change

    def _centred(
        self, x: Array, f: Array, weights: Array, over: Callable[[Array, Array], Array]
    ) -> tuple[Array, Array]:
        """``E[f]``, and f, less its mean where it is centralized."""
        if not self.centralized:
            return over(f, weights), f
        if not self.at_zero:
            mean = over(f, weights)
            return mean, f - mean[:, None]
        change = self.change(x, f)
        mean = over(change, weights)
        return self.at_zero + mean, change - mean[:, None]

    def second_moment_map(self, q: Any, rough: bool = False) -> tuple[Any, Any]:
        """``V(q)`` and ``q V'(q)`` for an array of q; with ``rough`` the latter to a rounding of V, and without f'."""
        q = np.asarray(q, dtype=np.float64)
        inside = np.clip(q, SMALLEST, self.largest)
        if self._shape is not None:
            f = self._shape.scaled(np.sqrt(inside))
            if self.centralized:
                f = f.plus(-f.expectation())
            f2 = f * f
            second, slope = f2.expectation(), f2.derivative().times_power(1).expectation() / 2
        else:
            second, slope = self._second(inside, rough)
        dead = second < DEAD
        if dead.any():
            second, slope = np.where(dead, DEAD, second), np.where(dead, 0.0, slope)
        outside = inside != q
        ratio = np.ones_like(q)
        if outside.any():  # V is a power of q: of degree 0 for tanh, 1 for relu
            power = slope[outside] / second[outside]
            nearest = np.rint(2 * power) / 2
            power = np.where(np.abs(power - nearest) < _NEARLY, nearest, power)
            with np.errstate(all="ignore"):
                known = np.log(second[outside])
                exponent = power * np.log(q[outside] / inside[outside])
                exact = (q[outside] / inside[outside]) ** power
                # of what grows as an exponential the power is large: V stays a double
                ratio[outside] = np.where(exponent + known < _MOST, exact, np.exp(_MOST - known))
        with np.errstate(over="ignore"):
            return (
                self.variance_w * second * ratio + self.variance_b,
                self.variance_w * slope * ratio,
            )
