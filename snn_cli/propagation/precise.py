"""Moments of an activation in multiprecision, for records that hold the nearest doubles of them.

Between kinks everything is analytic. Over the whole line the trapezoidal rule, and between kinks that of Takahasi and
Mori (1974, double exponential), gain digits in proportion to their nodes: when halving the step changes nothing but the
second half of the digits, what is left is below the last one.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from snn_cli.gaussian import Moments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from snn_cli.activations.family import Baseline

BITS = 85
"""Of the arithmetic: sums of some hundred terms keep the 53 of a double, and what cancels between them."""

_EDGES = (11, 24)  # e^(-z^2/2) is 5e-27 at the first; further where f grows so fast that this has weight
_NO_WEIGHT = 1e-19  # of the first and the last node
_FAR = 9  # kinks from which on have no weight
_HALVED = 1e-9
_FIRST, _FINEST = 1, 6  # powers of 2 in a unit of the variable
_LAST = 3.5  # of the double exponential variable: the weight is 1e-21 there


def moments(activation: Baseline, params: Mapping[str, float]) -> Moments | None:
    """At ``q = 1``, as numbers of mpmath; None where f is not known in mpmath, or changes on too fine a scale.

    Held by test_analyze.py against mpmath's own quadrature.
    """
    if activation.precise is None:
        return None
    mp = _context()
    values = {name: mp.mpf(value) for name, value in params.items()}
    kinks = [at for at in activation.kinks(mp, values) if abs(at) < _FAR]
    for edge in _EDGES:
        found, complete = _within(activation.precise, values, kinks, edge)
        if complete:
            return found
    return None


def _within(precise: Any, values: Mapping[str, Any], kinks: list[Any], edge: int) -> tuple[Moments | None, bool]:
    """Between ``-edge`` and ``edge``, None where that does not settle; and whether what is outside has no weight."""
    mp = _context()
    before, total, size = None, [mp.zero] * 6, []
    for level in range(_FIRST, _FINEST + 1):
        total = [x / 2 for x in total]
        for z, weight in _nodes(kinks, level, edge):
            for i, term in enumerate(_terms(precise, values, z, weight)):
                total[i] += term
        size = [abs(total[0]) + mp.sqrt(total[1]), total[1], total[2], total[1] + total[2], total[4], mp.sqrt(total[2])]
        if before and all(abs(x - y) <= _HALVED * s for x, y, s in zip(before, total, size, strict=True)):
            break
        before = total
    else:
        before = None
    for side in (-edge, edge):
        outside = _terms(precise, values, mp.mpf(side), mp.npdf(side))
        if any(abs(term) > _NO_WEIGHT * s for term, s in zip(outside, size, strict=True)):
            return None, False
    if before is None:
        return None, True
    mean, second, chi, gamma, fourth, slope = (
        x if abs(x) > s * mp.mpf(2) ** (16 - BITS) else mp.zero for x, s in zip(total, size, strict=True)
    )  # what is left where everything cancels is rounding
    return Moments(mean, second, chi, gamma, fourth / (chi * chi) if chi else mp.nan, slope), True


def _terms(precise: Any, values: Mapping[str, Any], z: Any, weight: Any) -> tuple[Any, ...]:
    """``f, f^2, f'^2, z f f', f'^4, f'`` at a node, times its weight."""
    f, df = precise(_context(), z, values)
    square = df * df
    f_weight, df_weight = f * weight, square * weight
    return f_weight, f * f_weight, df_weight, z * df * f_weight, square * df_weight, df * weight


@cache
def _context() -> Any:
    from mpmath import MPContext

    mp = MPContext()
    mp.prec = BITS
    return mp


def _nodes(kinks: list[Any], level: int, edge: int) -> Iterator[tuple[Any, Any]]:
    """Nodes that this level adds, and weights with the density; those of the levels before count half."""
    if not kinks:
        yield from _line(level, edge)
        return
    mp = _context()
    scale = 1 / mp.sqrt(2 * mp.pi)
    for a, b in pairwise([-mp.mpf(edge), *kinks, mp.mpf(edge)]):
        middle, half = (a + b) / 2, (b - a) / 2
        for t, weight in _interval(level):
            z = middle + half * t
            yield z, half * weight * scale * mp.exp(-z * z / 2)


def _new(level: int, last: float) -> range:
    """Multiples of the step ``2^-level`` up to ``last`` that the level before does not have."""
    count = int(last * 2**level)
    return range(-count, count + 1) if level == _FIRST else range(-(count - 1 + count % 2), count + 1, 2)


@cache
def _line(level: int, edge: int) -> tuple[tuple[Any, Any], ...]:
    mp = _context()
    step = mp.mpf(2) ** -level
    scale = step / mp.sqrt(2 * mp.pi)
    return tuple((k * step, scale * mp.exp(-((k * step) ** 2) / 2)) for k in _new(level, edge))


@cache
def _interval(level: int) -> tuple[tuple[Any, Any], ...]:
    """On ``[-1, 1]``: ``tanh(pi/2 sinh t)`` at multiples of the step."""
    mp = _context()
    step = mp.mpf(2) ** -level
    found = []
    for k in _new(level, _LAST):
        e = mp.exp(k * step)
        inner = mp.exp(mp.pi / 2 * (e - 1 / e))  # e^(2 u), u = pi/2 sinh t
        found.append((1 - 2 / (inner + 1), step * mp.pi * (e + 1 / e) * inner / (inner + 1) ** 2))
    return tuple(found)
