"""Panels on which an activation is a polynomial to all digits that quadrature of a double can use.

A function with kinks anywhere, that changes on any scale, is looked at once, in x: on octaves from 0 outwards, split
at its kinks and bisected until f and f' are resolved by the nodes of a panel. A panel that no bisection resolves ends
in a kink that nobody has named, which thereby is found. For ``E[g(f(m + s z))]`` the ends of these panels, carried
over to z, join those of the normal density (`Resolution.rule`).

What oscillates to infinity cannot be resolved that far: `Resolution.reach` is where the work ends.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli.propagation.quadrature import EDGE, NODES, NORMAL_PANEL, legendre

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from snn_cli.activations.family import Baseline, Family

    Array = NDArray[np.float64]

FARTHEST = 104
"""Octaves up to ``2^104``, which is beyond ``EDGE sqrt(q)`` for every second moment that is evaluated."""

FAST_EDGE = 38.0
"""The edge of the density for what grows as an exponential: the last place where a double holds it."""

_RESOLVED = 1e-11
"""Size of the last Legendre coefficients, relative to the panel: the error of a Gauss rule is its square."""

_ROUNDING = 1e-15
"""The same relative to the largest value from 0 to here: rounding, and tails of no weight."""

_MISSED = 1e3  # of interpolation near the ends, times what the coefficients may be
_TAIL = 4
_ACROSS = np.array([-3.3, -2.1, -1.45, -0.95, -0.55, -0.21, 0.0, 0.17, 0.6, 1.05, 1.55, 2.3, 3.1])
_GRADES = np.array([-8.0, -4, -2, -1, -0.5, 0, 0.5, 1, 2, 4, 8])
"""Where a narrow feature is compared with what the nodes show, and where panels end if they miss it, in widths."""

_EPS = 4 * float(np.finfo(float).eps)
_MOST = 512  # panels an octave, on both sides together
_MOST_KINKS = 64
_NARROWEST = 2.0**-44
_ROUNDS = 3
_LARGEST = 1e75  # of f and f', whose fourth powers are integrated
_STEEP = 1e6
_JUMP = 1e-9
_JUMPS_WITHIN = 1e6
_FAST = 2.0**12  # growth over the last octave from which a function is no power
_FAST_EXPONENT = 7.0  # of f at one deviation: that of f^4 has its peak inside the edge


@cache
def _coefficients() -> Array:
    """Legendre coefficients of a function from its values at the nodes."""
    nodes, weights = legendre(NODES)
    return np.asarray((np.arange(NODES) + 0.5) * np.polynomial.legendre.legvander(nodes, NODES - 1) * weights[:, None])


@cache
def tail_matrix() -> Array:
    """The last Legendre coefficients of a function from its values at the nodes."""
    return np.ascontiguousarray(_coefficients()[:, -_TAIL:])


@cache
def _near_ends() -> tuple[Array, Array]:
    """Points nearer to the ends of ``[-1, 1]`` than any node, and the interpolation of a function there."""
    away = 2.0 ** -np.array([8.0, 11, 15, 19, 24, 29])
    points = np.concatenate([-1 + away, 1 - away])
    return points, _coefficients() @ np.polynomial.legendre.legvander(points, NODES - 1).T


class Resolution(NamedTuple):
    """Where f is analytic and resolved.

    ends
        Of the panels, in x, in rising order.
    kinks
        Those that were given, and those that were found.
    reach
        Size of x up to which the panels go: as far as any double in use, or to where f overflows or oscillates.
    largest
        The second moment up to which moments are those of the function itself.
    jumps
        Whether f itself jumps.
    steep
        Whether f' is unbounded at a point, so that ``E[f'^2]`` or ``E[f'^4]`` need not exist.
    edge
        Of the normal density.
    finest
        Smallest distance from 0 on which f changes.
    hidden
        Narrow features beyond the reach, and the size of f' there.
    """

    ends: Array
    kinks: tuple[float, ...]
    reach: float
    largest: float
    jumps: bool
    steep: bool
    edge: float
    finest: float
    hidden: tuple[tuple[float, float], ...] = ()

    def rule(self, mean: Any, deviation: Any) -> tuple[Array, Array]:
        """Nodes z and weights, density included, of ``E[g(mean + deviation z)]``, for arrays: along a further axis."""
        mean, deviation = np.asarray(mean, dtype=np.float64), np.asarray(deviation, dtype=np.float64)
        span = self.edge * deviation
        ends = self.ends[(self.ends > (mean - span).min()) & (self.ends < (mean + span).max())]
        cuts = np.clip((ends - mean[..., None]) / deviation[..., None], -self.edge, self.edge)
        fixed = np.broadcast_to(normal_ends(self.edge), (*cuts.shape[:-1], len(normal_ends(self.edge))))
        cuts = np.sort(np.concatenate([fixed, cuts], axis=-1), axis=-1)
        nodes, weights = legendre(NODES)
        half = np.diff(cuts)[..., None] / 2
        z = ((cuts[..., 1:] + cuts[..., :-1])[..., None] / 2 + half * nodes).reshape(*cuts.shape[:-1], -1)
        weights = (half * weights).reshape(z.shape) * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return z, weights


@cache
def normal_ends(edge: float) -> Array:
    """Ends of the panels on which the density is resolved."""
    count = math.ceil(edge / NORMAL_PANEL)
    return np.clip(np.arange(-count, count + 1) * NORMAL_PANEL, -edge, edge)


@lru_cache(maxsize=64)
def resolved(activation: Family | Baseline, params: tuple[tuple[str, float], ...]) -> Resolution:
    """The resolution of an activation with the values of its parameters."""
    values = dict(params)
    given = [float(at) for at in getattr(activation, "kinks", lambda *_: ())(None, values)]
    narrow = getattr(activation, "narrow", lambda *_: ())(values)
    return resolve(
        lambda x: activation.function(np, x, values), lambda x: activation.derivative(np, x, values), given, narrow
    )


@np.errstate(all="ignore")
def resolve(
    f: Callable[[Array], Array],
    df: Callable[[Array], Array],
    kinks: Sequence[float] = (),
    narrow: Sequence[tuple[float, float]] = (),
) -> Resolution:
    """The resolution of f with the derivative df, both on arrays. Held by test_resolution.py.

    Panels end around the narrow features, given as centres and widths, that their nodes would miss.
    """
    given = sorted(float(k) for k in kinks if math.isfinite(k))
    look, known = _looked(f, df, given, ())
    cuts = look.missed(narrow)
    if cuts:
        closer, found = _looked(f, df, given, cuts)
        if closer.reach >= look.reach:
            look, known = closer, found
    hidden = [(at, float(np.abs(np.asarray(df(np.array([at])))).max())) for at, _ in narrow if abs(at) > look.reach]
    return _resolution(f, df, known, look)._replace(hidden=tuple(hidden))


def _looked(
    f: Callable[[Array], Array], df: Callable[[Array], Array], known: list[float], cuts: Sequence[float]
) -> tuple[_Look, list[float]]:
    """The last look, and all kinks that are known after it."""
    for _ in range(_ROUNDS):
        look = _Look(f, df, known, 0, cuts)
        if not look.reach:
            look = _Look(f, df, known, -40, cuts)
        new: list[float] = []
        for at in look.found:
            if all(abs(at - k) > 8 * _NARROWEST * abs(at) for k in (*known, *new)):
                new.append(at)
        if not new or len(new) > _MOST_KINKS:
            break
        known = sorted([*known, *new])
    return look, known


def _resolution(
    f: Callable[[Array], Array], df: Callable[[Array], Array], known: list[float], look: _Look
) -> Resolution:
    reach = look.reach or 2.0**-40
    ends = look.merged()
    near = [float(end) for end in ends[1:-1] if abs(end) <= _JUMPS_WITHIN]
    jumps = any(_jumps(f, df, end) for end in {*known, *near})
    outer = np.abs(np.asarray(f(np.array([-reach, -reach / 2, reach / 2, reach]))))
    fast = max(outer[0] / outer[1] if outer[1] else 0.0, outer[3] / outer[2] if outer[2] else 0.0)
    largest, edge = (reach / EDGE) ** 2, EDGE
    if fast > _FAST:
        rate = math.log(fast) / (reach / 2)
        largest, edge = min((reach / FAST_EDGE) ** 2, (_FAST_EXPONENT / rate) ** 2), FAST_EDGE
    inner = np.abs(ends[ends != 0])
    return Resolution(
        ends, tuple(known), reach, largest, jumps, look.steep, edge, float(inner.min()) if len(inner) else 1.0
    )


class _Look:
    """One look at a function whose kinks count as known: its panels, and kinks that come to light."""

    def __init__(
        self,
        f: Callable[[Array], Array],
        df: Callable[[Array], Array],
        kinks: Sequence[float],
        first: int,
        cuts: Sequence[float] = (),
    ):
        self._f, self._df, self._kinks = f, df, kinks
        self._splits = sorted({*kinks, *cuts})
        self.found: list[float] = []
        self.steep = False
        self.reach = 0.0
        edges = np.concatenate([[0.0], 2.0 ** np.arange(first, FARTHEST + 1)])
        starts = [self._pieces(a, b) for a, b in pairwise(edges)]
        counts = [len(a) for a, _ in starts]
        a, b = np.concatenate([x for x, _ in starts]), np.concatenate([y for _, y in starts])
        sizes = self._sizes(a, b)
        first_of = np.concatenate([[0], np.cumsum(counts)[:-1]])
        by_octave = [np.fmax.reduceat(np.where(size <= _LARGEST, size, 0.0), first_of) for size in sizes]
        references = [np.fmax.accumulate(size) for size in by_octave]
        good = self._good(a, b, *(np.repeat(r, counts) for r in references))
        panels: list[tuple[Array, Array]] = []
        for octave, (start, count) in enumerate(zip(first_of, counts, strict=True)):
            part = slice(start, start + count)
            if good[part].all():
                panels.append((a[part], b[part]))
            else:
                found = self._bisected(a[part], b[part], *(float(r[octave]) for r in references))
                if found is None:
                    break
                panels.append(found)
            self.reach = float(edges[octave + 1])
        self._a = np.concatenate([x for x, _ in panels]) if panels else np.array([-(2.0**-40), 0.0])
        self._b = np.concatenate([y for _, y in panels]) if panels else np.array([0.0, 2.0**-40])

    def _pieces(self, inner: float, outer: float) -> tuple[Array, Array]:
        """Both sides of an octave, split at kinks."""
        ends = [[lo, *(k for k in self._splits if lo < k < hi), hi] for lo, hi in ((-outer, -inner), (inner, outer))]
        return np.array([x for e in ends for x in e[:-1]]), np.array([x for e in ends for x in e[1:]])

    def _nodes(self, a: Array, b: Array) -> Array:
        return (a + b)[:, None] / 2 + (b - a)[:, None] / 2 * legendre(NODES)[0]

    def _sizes(self, a: Array, b: Array) -> tuple[Array, Array]:
        x = self._nodes(a, b)
        self._seen = x, np.asarray(self._f(x)), np.asarray(self._df(x))
        return np.abs(self._seen[1]).max(1), np.abs(self._seen[2]).max(1)

    def _misses(self, a: Array, b: Array) -> tuple[Array, Array]:
        """How far f and f' are from their interpolation near the ends, where a kink may hide from the nodes."""
        points, matrix = _near_ends()
        half = (b - a)[:, None] / 2
        x = (a + b)[:, None] / 2 + half * points
        apart = half * (1 - np.abs(points)) > 64 * np.finfo(float).eps * np.maximum(np.abs(a), np.abs(b))[:, None]
        found = [
            np.where(apart, np.abs(np.asarray(g(x)) - seen @ matrix), 0.0).max(1)
            for g, seen in zip((self._f, self._df), self._seen[1:], strict=True)
        ]
        return found[0], found[1]

    def _good(self, a: Array, b: Array, f_scale: Any, df_scale: Any) -> NDArray[np.bool_]:
        """Which of the panels that were looked at last are resolved."""
        good = np.ones(len(a), dtype=bool)
        _, f, df = self._seen
        rounding = _EPS * np.maximum(np.abs(a), np.abs(b))  # of x, as it shows in f and in f'
        shows = rounding * np.abs(df).max(1), rounding * np.ptp(df, axis=1) / (b - a)
        for values, scale, noise, miss in zip((f, df), (f_scale, df_scale), shows, self._misses(a, b), strict=True):
            size = np.abs(values).max(1)
            tail = np.abs(values @ tail_matrix()).max(1)
            allowed = np.maximum(_RESOLVED * size, _ROUNDING * scale) + noise
            good &= (size <= _LARGEST) & (tail <= allowed) & (miss <= _MISSED * allowed)
        return good

    def _bisected(self, a: Array, b: Array, f_scale: float, df_scale: float) -> tuple[Array, Array] | None:
        """Panels of one octave; None where they would be too many."""
        lefts, rights, total = [], [], 0
        while len(a):
            sizes = self._sizes(a, b)
            if not (sizes[0] <= _LARGEST).all():
                return None
            good = self._good(a, b, f_scale, df_scale)
            outer = np.maximum(np.abs(a), np.abs(b))
            narrow = ~good & (b - a <= np.where((a == 0) | (b == 0), 2.0**-FARTHEST, _NARROWEST * outer))
            for left, right, slope in zip(a[narrow], b[narrow], sizes[1][narrow], strict=True):
                self.found.append(_simplest(left, right))
                self.steep |= not slope <= _STEEP * (1 + df_scale if math.isfinite(df_scale) else 1)
            done = good | narrow
            lefts.append(a[done])
            rights.append(b[done])
            a, b = a[~done], b[~done]
            middle = (a + b) / 2
            a, b = np.concatenate([a, middle]), np.concatenate([middle, b])
            total += len(a)
            if total > _MOST:
                return None
        return np.concatenate(lefts), np.concatenate(rights)

    def missed(self, narrow: Sequence[tuple[float, float]]) -> list[float]:
        """Ends of panels around the features that lie beyond, or where f or f' is not what the nodes interpolate."""
        order = np.argsort(self._a)
        left, right = self._a[order], self._b[order]
        cuts: list[float] = []
        for centre, width in narrow:
            x = centre + width * _ACROSS
            if np.abs(x).max() >= self.reach or self._differs(x, left, right, width):
                cuts.extend(float(at) for at in centre + width * _GRADES)
        return cuts

    def _differs(self, x: Array, left: Array, right: Array, width: float) -> bool:
        at = np.clip(np.searchsorted(left, x, side="right") - 1, 0, len(left) - 1)
        a, b = left[at], right[at]
        matrix = np.polynomial.legendre.legvander(np.clip((2 * x - a - b) / (b - a), -1, 1), NODES - 1)
        nodes, slopes = self._nodes(a, b), np.asarray(self._df(x))
        rounding = _EPS * np.abs(x)
        for g, noise in ((self._f, rounding * np.abs(slopes)), (self._df, rounding * np.ptp(slopes) / width)):
            values = np.asarray(g(nodes))
            shown = ((values @ _coefficients()) * matrix).sum(1)
            allowed = _MISSED * (_RESOLVED * np.abs(values).max(1) + noise)
            if not (np.abs(np.asarray(g(x)) - shown) <= allowed).all():
                return True
        return False

    def merged(self) -> Array:
        """Ends of the panels; neighbours on one line, or with tails of no weight, count as one."""
        order = np.argsort(self._a)
        a, b = self._a[order], self._b[order]
        x = self._nodes(a, b)
        f, df = np.asarray(self._f(x)), np.asarray(self._df(x))
        low, high = df.min(1), df.max(1)
        steps = np.abs(f[1:, 0] - f[:-1, -1] - df[1:, 0] * (x[1:, 0] - x[:-1, -1]))  # over ends, on one line
        sizes = np.abs(f[1:, 0]) + np.abs(f[:-1, -1]) + np.abs(df[1:, 0]) * (x[1:, 0] - x[:-1, -1])
        size = np.fmax(np.abs(low), np.abs(high))
        inwards = np.argsort(np.minimum(np.abs(a), np.abs(b)), kind="stable")
        scale = np.empty_like(size)  # the largest slope from 0 to here
        scale[inwards] = np.fmax.accumulate(size[inwards])
        kinks = set(self._kinks)
        ends = [float(a[0])]
        for i in range(1, len(a)):
            least, most = min(low[i - 1], low[i]), max(high[i - 1], high[i])
            flat = most - least <= 1e-15 * max(abs(least), abs(most)) + 1e-18 * min(scale[i - 1], scale[i])
            if not flat or steps[i - 1] > 1e-13 * sizes[i - 1] or float(a[i]) in kinks:
                ends.append(float(a[i]))
        return np.array([*ends, float(b[-1])])


def _jumps(f: Callable[[Array], Array], df: Callable[[Array], Array], at: float) -> bool:
    """Whether f changes over a kink by more than its slopes explain."""
    step = max(abs(at), 1e-20) * 1e-13
    sides = np.array([at - step, at + step])
    low, high = np.asarray(f(sides))
    explained = 1e3 * step * np.abs(np.asarray(df(sides))).max()
    around = np.abs(np.asarray(f(at + max(abs(at), 1.0) * np.array([-0.1, 0.1])))).max()
    return bool(abs(high - low) > explained + _JUMP * (around + max(abs(low), abs(high))))


def _simplest(left: float, right: float) -> float:
    """The number of fewest decimals in a narrow panel."""
    middle = (left + right) / 2
    margin = right - left
    for digits in range(13):
        candidate = round(float(middle), digits)
        if left - margin <= candidate <= right + margin:
            return candidate + 0.0
    return float(middle)
