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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from snn_cli.activations.family import Baseline, Family
    from snn_cli.gaussian import Piecewise

    Array = NDArray[np.float64]

SMALLEST, LARGEST = 1e-60, 1e60
"""Second moments between which moments are evaluated. Beyond, every activation here is homogeneous of degree 0 or 1 to
all digits of a double, and what is scaled by q stays as it is."""

SCAN = (1e-8, 1e8, 161)
"""Second moments, evenly spaced in the logarithm, between which fixed points are looked for closely."""

FAR_SCAN = (1e-32, 1e32, 49)
"""The same further out, on either side: the ends, and points beyond each end of the close scan."""

SAME = 8 * np.finfo(float).eps
"""Relative difference up to which two second moments count as equal: the rounding of one evaluation."""


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
        inside = np.clip(q, SMALLEST, LARGEST)
        return self._by_shape(inside) if self._shape is not None else self._by_quadrature(inside)

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

    def _by_quadrature(self, q: Array) -> LayerMoments:
        flat = np.atleast_1d(q).ravel()
        columns = [np.empty_like(flat) for _ in LayerMoments._fields]
        scale = self.steepness * np.sqrt(flat)
        octave = np.ceil(np.log2(np.maximum(scale, 1.0)))  # a rule serves its own octave only
        groups = [np.flatnonzero(octave == each) for each in np.unique(octave)]
        for part in (part for group in groups for part in np.array_split(group, math.ceil(len(group) / 64))):
            z, weights = quadrature.rule(float(scale[part].max()))
            x = np.sqrt(flat[part])[:, None] * z
            f, df = self.f(x), self.df(x)
            mean, mean_scale_slope = f @ weights, (x * df) @ weights / 2
            if self.centralized:
                f = f - mean[:, None]
            f2, df2 = f * f, df * df
            # d/dq E[g(sqrt(q) z)] = E[g He_2(z)] / 2q and the second derivative E[g He_4(z)] / 4q^2; a constant in g
            # has no part in them and would only cancel
            he2 = (z * z - 1) / 2 * weights
            he4 = (z**4 - 6 * z * z + 3) / 4 * weights
            spread = df2 - self.df(np.zeros(1)) ** 2
            values = (
                flat[part],
                mean,
                mean_scale_slope,
                f2 @ weights,
                (x * f * df) @ weights,
                f2 @ he4 - (2 * mean_scale_slope**2 if self.centralized else 0),
                (f2 * f2) @ weights,
                df2 @ weights,
                spread @ he2,
                spread @ he4,
                (df2 * df2) @ weights,
                df @ weights,
                (f2 * df2) @ weights,
                df2 @ (z * z * weights),
            )
            for column, value in zip(columns, values, strict=True):
                column[part] = value
        return LayerMoments(*(column.reshape(q.shape) for column in columns))

    def second_moment_map(self, q: Any) -> tuple[Any, Any]:
        """``V(q)`` and ``q V'(q)`` for an array of q."""
        q = np.asarray(q, dtype=np.float64)
        inside = np.clip(q, SMALLEST, LARGEST)
        if self._shape is not None:
            f = self._shape.scaled(np.sqrt(inside))
            if self.centralized:
                f = f.plus(-f.expectation())
            f2 = f * f
            second, slope = f2.expectation(), f2.derivative().times_power(1).expectation() / 2
        else:
            m = self._by_quadrature(inside)
            second, slope = m.second, m.second_slope
        saturated = slope < second / 2  # V is homogeneous beyond: of degree 0 for tanh
        ratio = np.where((inside == q) | saturated, 1.0, q / inside)
        with np.errstate(over="ignore"):
            return (
                self.variance_w * second * ratio + self.variance_b,
                self.variance_w * slope * ratio,
            )
