"""Gaussian expectations by Gauss-Legendre panels, for functions that are analytic on each side of 0.

They change on a scale of 1, at any second moment: the panels follow the scale of the normal density and that of the
activation, whichever is finer. Nothing is cut off that a double shows. Of kinks elsewhere and of other scales:
`resolution`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

EDGE = 13.5
"""Where the normal density, 1e-40 there, is cut off."""

NODES = 20
"""Nodes a panel: with a pole (tanh, at distance pi/2) one and a half panel lengths away the error is below 1e-16."""

NORMAL_PANEL = 1.5
"""Panels on which the density is resolved."""

_ACTIVATION_PANELS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 40.0)


@cache
def legendre(n: int) -> tuple[Array, Array]:
    """Nodes and weights of Gauss-Legendre on ``[-1, 1]``."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return nodes, weights


def panels(ends: Array, n: int = NODES) -> tuple[Array, Array]:
    """Nodes and weights, of shape (n * panels,), of Gauss-Legendre on each panel between ``ends``."""
    nodes, weights = legendre(n)
    half = np.diff(ends) / 2
    middle = (ends[1:] + ends[:-1]) / 2
    return (middle[:, None] + half[:, None] * nodes).ravel(), (half[:, None] * weights).ravel()


def breakpoints(scale: float, edge: float = EDGE) -> Array:
    """Ends of the panels on ``[0, edge]`` for ``f(scale z)``."""
    ends = {*np.arange(0.0, edge, NORMAL_PANEL), edge}
    if scale > 1:
        ends.update(x / scale for x in _ACTIVATION_PANELS if x / scale < edge)
    return np.array(sorted(ends))


@cache
def _half_line(octave: int) -> tuple[Array, Array]:
    z, weights = panels(breakpoints(2.0**octave))
    return z, weights * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


def rule(scale: float) -> tuple[Array, Array]:
    """Nodes z and weights, density included, for ``E[g(scale z)]``; 0 is the end of a panel."""
    octave = 0 if scale <= 1 else int(np.ceil(np.log2(scale)))
    z, weights = _half_line(octave)
    return np.concatenate([-z[::-1], z]), np.concatenate([weights[::-1], weights])


def shifted_rule(kink: float, scale: float) -> tuple[Array, Array]:
    """The same with the kink at ``z = kink``: for ``E[g(m + scale z)]``, ``kink = -m/scale``."""
    kink = min(max(kink, -2 * EDGE), 2 * EDGE)  # further out it does not matter where
    left = kink - breakpoints(scale, EDGE + abs(kink))[::-1] if kink > -EDGE else np.empty(0)
    right = kink + breakpoints(scale, EDGE + abs(kink)) if kink < EDGE else np.empty(0)
    ends = np.unique(np.clip(np.concatenate([left, right]), -EDGE, EDGE))
    z, weights = panels(ends)
    return z, weights * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


def shifted_rules(mean: Any, deviation: Any) -> tuple[Array, Array]:
    """Nodes z and weights of ``E[g(mean + deviation z)]``, for arrays of both, along a further axis."""
    mean, deviation = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), np.asarray(deviation, dtype=np.float64))
    kink = np.clip(-mean / deviation, -EDGE, EDGE)[..., None]
    t, w = _side()
    left, right = EDGE + kink, EDGE - kink
    z = np.concatenate([kink - left * t, kink + right * t], axis=-1)
    weights = np.concatenate([left * w, right * w], axis=-1) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return z, weights


@cache
def _side() -> tuple[Array, Array]:
    """Nodes and weights on ``[0, 1]``, panels narrowing towards 0."""
    ends = {*np.linspace(0, 1, 19), *(2.0 ** -np.arange(5, 14))}
    return panels(np.array(sorted(ends)), 16)
