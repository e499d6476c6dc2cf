"""Gaussian expectations of any activation at any precision.

Where f is analytic on the whole line: the trapezoidal rule, whose error falls geometrically with the number of nodes
(Trefethen and Weideman 2014); in ``t``, ``b z + c = sinh t``, where b is large and f lives in a corner of the line.
Where f has kinks: the double exponential rules of Takahasi and Mori (1974), on each piece. The step is refined until
the rule with every second node agrees to more than half the digits: a rule's error is about squared when its step is
halved, so the rest is right to all of them.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from mpmath.libmp import from_man_exp, to_fixed

from snn_cli.errors import CannotCompute

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AGREE = 0.55
"""Share of the bits to which a rule and its half must agree."""

FINER = 1.5
"""Factor between one step that is tried and the next."""

MAX_NODES = 200
"""Nodes a bit of precision; more, and f varies too fast."""

MAX_REACH = 12.0
"""Times the reach of the density alone, for an f that grows like an exponential of many times its input."""

WIDE = 2
"""b from which f, as a function of z, is taken to live in a corner of the line."""

POWERS = 7  # of z in the moments of f and f^2
SLOPE_POWERS = 5  # of f'^2


class Rule(NamedTuple):
    """Nodes ``z`` and weights with the density; ``even`` nodes with twice their weight are the rule of half as many."""

    z: tuple[Any, ...]
    weight: tuple[Any, ...]
    even: tuple[bool, ...]


def reach(precision: int) -> float:
    """Where the density, and a power or exponential times it, is below the last bit."""
    return math.sqrt(2 * math.log(2) * (precision + 20)) + 2


@lru_cache(maxsize=24)
def _trapezoidal(mp: Any, precision: int, step: float, end: float) -> Rule:  # noqa: ARG001
    """Nodes ``j step``; ``precision`` is in the key because a context can change its own."""
    n = int(end / step) + 1
    h = mp.mpf(step)
    scale = h / mp.sqrt(2 * mp.pi)
    z = [h * j for j in range(-n, n + 1)]
    half = [scale * mp.exp(-x * x / 2) for x in z[n:]]
    weight = [*half[:0:-1], *half]
    return Rule(tuple(z), tuple(weight), tuple(j % 2 == 0 for j in range(-n, n + 1)))


@lru_cache(maxsize=24)
def _tanh_sinh(mp: Any, precision: int, step: float) -> tuple[tuple[Any, Any, bool], ...]:
    """Nodes ``(1 - t, weight, even)`` on [-1, 1] for ``t >= 0``: the complement keeps its digits at the end."""
    h = mp.mpf(step)
    quarter = mp.pi / 2
    nodes = []
    for j in range(10**7):
        e = mp.exp(h * j)
        sinh, cosh = quarter * (e - 1 / e) / 2, quarter * (e + 1 / e) / 2
        q = mp.exp(-2 * sinh)
        complement = 2 * q / (1 + q)
        weight = h * cosh * 4 * q / (1 + q) ** 2
        nodes.append((complement, weight, j % 2 == 0))
        if weight < mp.ldexp(1, -precision - 20):
            break
    return tuple(nodes)


@lru_cache(maxsize=24)
def _half_infinite(mp: Any, precision: int, step: float, end: float) -> tuple[tuple[Any, Any, bool], ...]:
    """Nodes ``u = exp(t - exp(-t))`` with ``du`` on ``(0, oo)``, for what falls like a normal density far out."""
    h = mp.mpf(step)
    first = -int(math.log((precision + 30) * math.log(2)) / step) - 1
    last = int(math.log(512 * end) / step) + 1
    nodes = []
    for j in range(first, last + 1):
        t = h * j
        e = mp.exp(-t)
        u = mp.exp(t - e)
        nodes.append((u, h * u * (1 + e), j % 2 == 0))
    return tuple(nodes)


class _Nodes:
    """A rule in the making; the density comes with every node."""

    def __init__(self, mp: Any) -> None:
        self.mp = mp
        self.root = 1 / mp.sqrt(2 * mp.pi)
        self.z: list[Any] = []
        self.weight: list[Any] = []
        self.even: list[bool] = []

    def add(self, z: Any, weight: Any, even: bool) -> None:
        self.z.append(z)
        self.weight.append(weight * self.root * self.mp.exp(-z * z / 2))
        self.even.append(even)

    def rule(self) -> Rule:
        return Rule(tuple(self.z), tuple(self.weight), tuple(self.even))


def _around(mp: Any, step: float, end: float, b: Any, c: Any) -> Rule:
    """The trapezoidal rule in t, ``b z + c = sinh t``."""
    nodes = _Nodes(mp)
    h = mp.mpf(step)
    low, high = (math.asinh(float(c + b * x)) for x in (-end, end))
    for j in range(math.floor(low / step), math.ceil(high / step) + 1):
        e = mp.exp(h * j)
        nodes.add(((e - 1 / e) / 2 - c) / b, h * (e + 1 / e) / 2 / b, j % 2 == 0)
    return nodes.rule()


@lru_cache(maxsize=8)
def _pieces(mp: Any, precision: int, step: float, end: float, b: Any, cuts: tuple[Any, ...]) -> Rule:
    """Double exponential rules on every piece between the cuts, and on either side of them."""
    nodes = _Nodes(mp)
    scale = min(1, 1 / b)
    for cut, side in ((cuts[0], -1), (cuts[-1], 1)):
        for u, du, even in _half_infinite(mp, precision, step, end):
            z = cut + side * scale * u
            if abs(z) > end and side * z > 0:
                break
            nodes.add(z, scale * du, even)
    for left, right in itertools.pairwise(cuts):
        half = (right - left) / 2
        for complement, w, even in _tanh_sinh(mp, precision, step):
            gap = half * complement
            for z in (left + gap, right - gap) if complement != 1 else (left + half,):
                nodes.add(z, half * w, even)
    return nodes.rule()


class Sums(NamedTuple):
    """``E[g z^k]``, ``E[g^2 z^k]`` and ``E[s^2 z^k]`` for ``g = f(b z + c)`` and ``s = f'(b z + c)``; ``E[s^4]``."""

    value: tuple[Any, ...]
    square: tuple[Any, ...]
    slope: tuple[Any, ...]
    fourth: Any


_CUT_OFF = Sums((), (), (), None)


class Quadrature:
    """Sums of one activation; remembers the step that was fine enough.

    precise(mp, x) -> (f, f')
        At a node.
    kinks
        ``kinks(mp)``: where f is not analytic.
    before
        That of an activation much like it, whose steps are fine enough here too.
    """

    def __init__(
        self,
        precise: Callable[[Any, Any], tuple[Any, Any]],
        kinks: Callable[[Any], Sequence[Any]],
        before: Quadrature | None = None,
    ) -> None:
        self.precise, self.kinks = precise, kinks
        self._levels: dict[int, int] = before._levels if before else {}
        self._widening: float = before._widening if before else 1.0

    def _rule(self, mp: Any, b: Any, c: Any, level: int) -> Rule:
        nats = (mp.prec + 20) * math.log(2)
        end = reach(mp.prec) * self._widening
        cuts = tuple(sorted(z for z in ((x - c) / b for x in self.kinks(mp)) if -end < z < end))
        finer = FINER**level
        if cuts:
            return _pieces(mp, mp.prec, 3 / math.log(nats + 20) ** 1.5 / finer, end, b, cuts)
        if b > WIDE:
            return _around(mp, math.pi**2 / nats / finer * 2, end, b, c)
        return _trapezoidal(mp, mp.prec, math.pi * math.sqrt(2 / nats) / finer, end)

    def sums(self, mp: Any, b: Any, c: Any, size: float = 1.0, steepness: float = 1.0) -> Sums:
        """Raises CannotCompute where no step is fine enough.

        size, steepness
            About the root mean square of f and f': what the fixed point of the summation is set by.
        """
        level = max((known for bits, known in self._levels.items() if bits <= mp.prec), default=0)
        while True:
            rule = self._rule(mp, b, c, level)
            if len(rule.z) > MAX_NODES * mp.prec or self._widening > MAX_REACH:
                raise CannotCompute(
                    "expectations over a normal input do not settle: f varies too fast, or grows too fast",
                    "an expression that is smoother, or a --bound",
                )
            found = self._sums(mp, b, c, rule, _exponent(size), _exponent(steepness))
            if found is _CUT_OFF:
                self._widening *= 1.3
                continue
            if found is not None:
                self._levels[mp.prec] = level
                return found
            level += 1

    def expect(self, mp: Any, b: Any, c: Any, terms: Callable[[Any, Any, Any], Sequence[Any]]) -> list[Any]:
        """``E[t]`` of every ``t`` in ``terms(z, f, f')``, by the rule that was fine enough for the sums."""
        self.sums(mp, b, c)
        rule = self._rule(mp, b, c, self._levels[mp.prec])
        rows = [
            [w * term for term in terms(z, *self.precise(mp, b * z + c))]
            for z, w in zip(rule.z, rule.weight, strict=True)
        ]
        return [mp.fsum(column) for column in zip(*rows, strict=True)]

    def _sums(self, mp: Any, b: Any, c: Any, rule: Rule, e: int, k: int) -> Sums | None:
        """None where the step is too coarse, ``_CUT_OFF`` where f goes on to count beyond the rule."""
        bits = mp.prec + 16
        groups = [[[0, 0] for _ in range(n)] for n in (POWERS, POWERS, SLOPE_POWERS, 1)]
        scales = (bits - e, bits - 2 * e, bits - 2 * k, bits - 4 * k)
        precise = self.precise
        for z, w, even in zip(*rule, strict=True):
            f, s = precise(mp, b * z + c)
            wf, ws = w * f, w * s * s
            node = to_fixed(z._mpf_, bits)
            for group, term, scale in zip(groups, (wf, wf * f, ws, ws * s * s), scales, strict=True):
                x = to_fixed(term._mpf_, scale)
                for sums in group:
                    sums[even] += x
                    x = x * node >> bits
        limit = 1 << int(bits * (1 - AGREE))
        for group in groups:
            largest = max(abs(odd + even) for odd, even in group) >> bits - 1
            if any(abs(even - odd) > limit * (largest + 1) for odd, even in group):
                return None
        squares = max(abs(odd + even) for odd, even in groups[1])
        for i in (rule.z.index(min(rule.z)), rule.z.index(max(rule.z))):
            f, _ = precise(mp, b * rule.z[i] + c)
            beyond = rule.weight[i] * f * f * rule.z[i] ** (POWERS - 1)
            if abs(to_fixed(beyond._mpf_, scales[1])) << mp.prec > squares << 8:
                return _CUT_OFF
        made = [
            tuple(mp.make_mpf(from_man_exp(odd + even, -scale, mp.prec, "n")) for odd, even in group)
            for group, scale in zip(groups, scales, strict=True)
        ]
        return Sums(made[0], made[1], made[2], made[3][0])


def _exponent(x: float) -> int:
    return math.frexp(x)[1] if x else 0
