"""The moments of ``f(b z + c)`` in doubles, over many b and c at once: where to look for an optimum.

Gauss-Legendre panels in ``x = b z + c``, split at the kinks and refined where f itself asks for it, so that f is
evaluated once for all c of one b.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli.program.quadrature import POWERS, SLOPE_POWERS, Sums

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

NODES = 16
EDGE = 12.0
"""Deviations of z to which the panels reach: less than 1e-32 is beyond."""

FARTHEST = 32.0 * (6 + EDGE)
"""Largest ``|x|`` that the searched box can reach."""

_LADDER = (0.0, 0.5, 1.0, 2.0, 3.0, 4.5, 7.0, 11.0, 18.0, 30.0, 60.0, 150.0, FARTHEST)
_CUT_OFF = 1e-14
"""Share of the variance that may come from the last node: more, and f goes on to count beyond the panels."""

_TOLERANCE = 1e-11
_MISSED = 1e-3
_DEEPEST = 12
_MOST_PANELS = 4096


class Moments(NamedTuple):
    """Of ``g(z) = f(b z + c)``: ``E g``, ``Var g``, ``D = E[g'^2]``, ``P = E[z (g - E g) g']``, ``T = E[z g']``."""

    mean: Any
    variance: Any
    gain: Any
    pull: Any
    tilt: Any


class Landscape:
    """An activation ``f, f'`` on numpy arrays, with panels that suit it."""

    def __init__(
        self, function: Callable[[Array], Array], derivative: Callable[[Array], Array], kinks: Sequence[float] = ()
    ) -> None:
        self.function, self.derivative = function, derivative
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        self._nodes, self._weights = nodes, weights
        self.breaks = self._refined(np.unique([*(-x for x in _LADDER), *_LADDER, *kinks]))

    def _values(self, left: Array, right: Array) -> tuple[Array, Array, Array, Array]:
        """x, its weights, f and f' on the panels, each of shape (panels, nodes)."""
        half = (right - left) / 2
        x = ((right + left) / 2)[:, None] + half[:, None] * self._nodes
        with np.errstate(all="ignore"):
            f = np.broadcast_to(np.asarray(self.function(x), float), x.shape)
            df = np.broadcast_to(np.asarray(self.derivative(x), float), x.shape)
        return x, half[:, None] * self._weights, f, df

    def _refined(self, ends: Array) -> Array:
        """Panels halved until the integrals of ``f^2`` and ``f'^2`` over them and over their halves agree."""
        done: list[float] = [float(ends[0])]
        left, right = ends[:-1], ends[1:]
        kept = []
        for _ in range(_DEEPEST):
            middle = (left + right) / 2
            whole, parts = self._integrals(left, right), self._integrals(left, middle)
            parts = parts + self._integrals(middle, right)
            size = self._integrals(left, right, absolute=True) + 1e-300
            with np.errstate(invalid="ignore"):
                bad = (np.abs(whole - parts) > _TOLERANCE * size).any(axis=0)
            kept.append(right[~bad])
            left, middle, right = left[bad], middle[bad], right[bad]
            left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
            if not len(left) or sum(map(len, kept)) + len(left) > _MOST_PANELS:
                break
        done.extend(np.concatenate([*kept, right]))
        return np.unique(done)

    def _integrals(self, left: Array, right: Array, absolute: bool = False) -> Array:
        _x, weights, f, df = self._values(left, right)
        with np.errstate(all="ignore"):
            terms = (np.abs(f), df * df) if absolute else (f, df * df)
            return np.array([(weights * term).sum(axis=1) for term in terms])

    def at(self, b: float, c: Any) -> Moments:
        """Moments at one b and an array of c."""
        z, density, f, df = self.nodes(b, np.asarray(c, float)[:, None])
        with np.errstate(all="ignore"):
            mean = density @ f
            edges = np.abs(density[:, [0, -1]] * f[[0, -1]] ** 2).max(axis=1)
            centred = f - mean[:, None]
            weighted = density * centred
            tilting = weighted * (z * z - 1)
            variance = (weighted * centred).sum(axis=1)
            variance[edges > _CUT_OFF * variance] = np.nan
            return Moments(
                mean=mean,
                variance=variance,
                gain=b * b * (density @ (df * df)),
                pull=(tilting * centred).sum(axis=1) / 2,
                tilt=tilting.sum(axis=1),
            )

    def nodes(self, b: float, c: Any) -> tuple[Array, Array, Array, Array]:
        """Nodes z and weights, density included, for every c, with f and f' at ``x = b z + c``."""
        low, high = float(np.min(c)) - EDGE * b, float(np.max(c)) + EDGE * b
        count = max(2, int((high - low) / (1.5 * b)) + 1)
        inner = self.breaks[(self.breaks > low) & (self.breaks < high)]
        ends = np.unique(np.concatenate([np.linspace(low, high, count), inner]))
        x, weights, f, df = (array.ravel() for array in self._values(ends[:-1], ends[1:]))
        z = (x - c) / b
        density = np.exp(-z * z / 2) * (weights / (b * np.sqrt(2 * np.pi)))
        return z, density / density.sum(axis=-1, keepdims=True), f, df

    def sums(self, b: float, c: float) -> Sums:
        """What ``quadrature.Quadrature.sums`` gives, in doubles."""
        z, density, f, df = self.nodes(b, c)
        powers = z ** np.arange(POWERS)[:, None]
        with np.errstate(all="ignore"):
            value, square, slope = (powers @ (density * g) for g in (f, f * f, df * df))
            fourth = density @ df**4
        return Sums(tuple(value), tuple(square), tuple(slope[:SLOPE_POWERS]), fourth)

    @property
    def sees(self) -> bool:
        """Whether f changes over the panels of the middle as f' says: not by a step, nor by less than its rounding."""
        inside = self.breaks[np.abs(self.breaks) <= EDGE]
        _x, weights, _f, df = self._values(inside[:-1], inside[1:])
        with np.errstate(all="ignore"):
            change = np.diff(np.broadcast_to(np.asarray(self.function(inside), float), inside.shape))
            missed = np.abs(change - (weights * df).sum(axis=1))
            return bool((missed <= _MISSED * np.abs(change).sum()).all())

    def least_slope(self) -> float:
        """The infimum of f' over the panels of the middle, where nearly all inputs are."""
        inside = self.breaks[np.abs(self.breaks) <= 60]
        _x, _, _, df = self._values(inside[:-1], inside[1:])
        return float(df.min())
