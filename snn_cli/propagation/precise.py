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

_EDGE = 11  # e^(-z^2/2) is 5e-27 there
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
    before = total = None
    for level in range(_FIRST, _FINEST + 1):
        total = [x / 2 for x in total] if total else [mp.zero] * 6
        for z, weight in _nodes(kinks, level):
            f, df = activation.precise(mp, z, values)
            square = df * df
            f_weight, df_weight = f * weight, square * weight
            terms = f_weight, f * f_weight, df_weight, z * df * f_weight, square * df_weight, df * weight
            for i, term in enumerate(terms):
                total[i] += term
        size = [abs(total[0]) + mp.sqrt(total[1]), total[1], total[2], total[1] + total[2], total[4], mp.sqrt(total[2])]
        if before and all(abs(x - y) <= _HALVED * s for x, y, s in zip(before, total, size, strict=True)):
            mean, second, chi, gamma, fourth, slope = (
                x if abs(x) > s * mp.mpf(2) ** (16 - BITS) else mp.zero for x, s in zip(total, size, strict=True)
            )  # what is left where everything cancels is rounding
            return Moments(mean, second, chi, gamma, fourth / (chi * chi) if chi else mp.nan, slope)
        before = total
    return None


@cache
def _context() -> Any:
    from mpmath import MPContext

    mp = MPContext()
    mp.prec = BITS
    return mp


def _nodes(kinks: list[Any], level: int) -> Iterator[tuple[Any, Any]]:
    """Nodes that this level adds, and weights with the density; those of the levels before count half."""
    if not kinks:
        yield from _line(level)
        return
    mp = _context()
    scale = 1 / mp.sqrt(2 * mp.pi)
    for a, b in pairwise([-mp.mpf(_EDGE), *kinks, mp.mpf(_EDGE)]):
        middle, half = (a + b) / 2, (b - a) / 2
        for t, weight in _interval(level):
            z = middle + half * t
            yield z, half * weight * scale * mp.exp(-z * z / 2)


def _new(level: int, last: float) -> range:
    """Multiples of the step ``2^-level`` up to ``last`` that the level before does not have."""
    count = int(last * 2**level)
    return range(-count, count + 1) if level == _FIRST else range(-(count - 1 + count % 2), count + 1, 2)


@cache
def _line(level: int) -> tuple[tuple[Any, Any], ...]:
    mp = _context()
    step = mp.mpf(2) ** -level
    scale = step / mp.sqrt(2 * mp.pi)
    return tuple((k * step, scale * mp.exp(-((k * step) ** 2) / 2)) for k in _new(level, _EDGE))


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
