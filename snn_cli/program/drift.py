"""The epsilon of a wrapped activation at which the typical gradient is preserved: zero drift at a fan-in."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from snn_cli.errors import NoSolution
from snn_cli.program.wrap import Search, starts
from snn_cli.propagation.finite_width import DriftMoments, GradientDrift, drift_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.program.wrap import Optimum

_FACTOR = 1.6
_STEPS = 24
_TOLERANCE = 1e-9


def terms(z: Any, f: Any, df: Any) -> tuple[Any, ...]:
    """The integrands of ``DriftMoments``: derivatives by q are expectations with Hermite polynomials."""
    f2, df2, z2 = f * f, df * df, z * z
    first, second = (z2 - 1) / 2, (z2 * z2 - 6 * z2 + 3) / 4
    return f2, f2 * first, f2 * second, df2, df2 * first, df2 * second, df2 * df2, f2 * f2, f2 * df2, df2 * z2


def at(mp: Any, optimum: Optimum, params: Sequence[Any], fan_in: int) -> GradientDrift:
    """The drift at ``params = (a, b, c, d)``, at the precision of mp."""
    a, b, c, d = params
    found = optimum.quadrature.expect(mp, b, c, lambda z, f, df: terms(z, a * f + d, a * b * df))
    m = DriftMoments(*found)
    return drift_of(mp.log(m.chi), m, fan_in)


def rough(search: Search, epsilon: float, fan_in: int) -> float | None:
    """The drift of the optimum at an epsilon in doubles; None where there is no optimum."""
    import numpy as np

    other = Search(replace(search.problem, epsilon=Fraction(epsilon)), search.landscape)
    if "lattice" in search.__dict__:
        other.__dict__["lattice"] = search.lattice
    found = starts(other)
    if not found:
        return None
    b, c, m = found[0].x
    z, density, f, df = search.landscape.nodes(b, c)
    a = math.sqrt((1 + epsilon) / (b * b * float(density @ (df * df))))
    value = a * f + m - a * float(density @ f)
    moments = DriftMoments(*(float(density @ np.asarray(term)) for term in terms(z, value, a * b * df)))
    return float(drift_of(math.log(moments.chi), moments, fan_in).drift)


def root(search: Search, fan_in: int) -> float:
    """An epsilon of zero drift to about 1e-9: bracketed from ``1/N`` on, then by the secant within the bracket.

    Raises NoSolution where the drift does not change sign.
    """
    low = high = 1 / fan_in
    below = above = rough(search, low, fan_in)
    for _ in range(_STEPS):
        if below is not None and below <= 0:
            break
        high, above = low, below
        low /= _FACTOR
        below = rough(search, low, fan_in)
    for _ in range(_STEPS):
        if above is None or above > 0:
            break
        low, below = high, above
        high *= _FACTOR
        above = rough(search, high, fan_in)
    if below is None or above is None or below > 0 or above <= 0:
        raise NoSolution(
            f"no epsilon makes the drift of {search.problem.baseline.name} zero at fan-in {fan_in}",
            "--fanin 1024, or --epsilon 0.02",
        )
    for _ in range(60):
        if high - low < _TOLERANCE * high:
            break
        share = below / (below - above)
        middle = low + min(max(share, 0.05), 0.95) * (high - low)
        value = rough(search, middle, fan_in)
        if value is None:
            break
        if value > 0:
            high, above = middle, value
        else:
            low, below = middle, value
        if abs(value) < 1e-13:
            return middle
    return (low + high) / 2
