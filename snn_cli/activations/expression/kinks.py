"""Where an expression may have a kink: the points at which a condition, or the argument of min, max or abs, turns."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from snn_cli.activations.expression import tree
from snn_cli.activations.expression.evaluate import Arrays, Precise, evaluate
from snn_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MOST = 64
"""Kinks of an expression."""

_REACH = 1e6
_PRECISION = 120  # bits, for doubles
_PER_DECADE = 200


def turning(root: tree.Node) -> tuple[tree.Node, ...]:
    """What is 0 where the formula changes: both sides of a condition less each other, arguments of abs."""
    found: dict[tree.Node, None] = {}
    for at in tree.walk(root):
        if not at.moves:
            continue
        if at.op in tree.COMPARISONS or at.op in ("min", "max"):
            found[tree.add(at.args[0], tree.neg(at.args[1]))] = None
        elif at.op == "abs":
            found[at.args[0]] = None
    return tuple(at for at in found if at.moves)


def singular(root: tree.Node) -> tuple[tree.Node, ...]:
    """What is 0 where the formula is not analytic otherwise: denominators, arguments of roots and logarithms."""
    found: dict[tree.Node, None] = {}
    for at in tree.walk(root):
        u = at.args[-1] if at.op == "div" else at.args[0] if at.args else at
        integer = at.op == "pow" and at.args[1].op == "number" and at.args[1].value.denominator == 1
        if at.op in ("div", "sqrt", "log") or (at.op == "pow" and not (integer and at.args[1].value > 0)):
            found[u] = None
        elif at.op == "log1p":
            found[tree.add(u, tree.ONE)] = None
    return tuple(at for at in found if at.moves)


def points(mp: Any, nodes: tuple[tree.Node, ...], params: Mapping[str, Any]) -> tuple[Any, ...]:
    """All zeros of the nodes up to 1e6, in rising order, as numbers of the context; doubles if that is None.

    Those of a line are exact, wherever they are. Others are bracketed on a graded grid, and refined to the precision
    of the context. Raises InputError for more than 64 of them.
    """
    if mp is None:
        found = {float(at) for at in _points(_context(), nodes, params)}
        return tuple(sorted(found))
    return tuple(_points(mp, nodes, params))


@lru_cache(maxsize=1)
def _context() -> Any:
    import mpmath

    mp = mpmath.MPContext()
    mp.prec = _PRECISION
    return mp


def _points(mp: Any, nodes: tuple[tree.Node, ...], params: Mapping[str, Any]) -> list[Any]:
    exact = {name: mp.mpf(value) for name, value in params.items()}
    tolerance = mp.ldexp(1, -mp.prec // 2)
    found: list[Any] = []
    for at in nodes:
        for zero in _zeros(mp, at, exact):
            if not any(abs(zero - other) <= tolerance * abs(zero) for other in found):
                found.append(zero)
        if len(found) > MOST:
            raise _too_many()
    return sorted(found)


def _too_many() -> InputError:
    return InputError(
        f"the expression has more than {MOST} kinks, places where min, max, abs or a condition changes sides",
        "a formula with fewer of them, or tanh(x) in the place of sin(x)",
    )


@lru_cache(maxsize=256)
def slope_of(at: tree.Node) -> tree.Node:
    """The derivative, remembered."""
    return tree.derivative(at)


def _zeros(mp: Any, at: tree.Node, params: dict[str, Any]) -> Iterator[Any]:
    import numpy as np

    lib = Precise(mp)
    slope = slope_of(at)
    if not slope.moves:
        rise, start = evaluate([slope, at], lib, mp.mpf(0), params)
        if rise != 0 and not mp.isnan(start) and not mp.isinf(start / rise):
            yield -start / rise
        return

    def value(node: tree.Node, x: Any) -> Any:
        return evaluate([node], lib, x, params)[0]

    doubles = {name: float(v) for name, v in params.items()}
    x, (y, dy) = _sampled((at, slope), doubles)
    y_sign, dy_sign = np.sign(y), np.sign(dy)
    zero = y == 0
    isolated = zero & ~(np.append(zero[1:], True) & np.append(True, zero[:-1]))  # not where all of it is 0
    turns = (y_sign[1:] * y_sign[:-1] < 0).nonzero()[0]
    if max(len(turns), isolated.sum()) > MOST:
        raise _too_many()
    for i in isolated.nonzero()[0]:
        yield mp.mpf(float(x[i]))
    for i in turns:
        zero = _bisected(mp, lambda t: value(at, t), mp.mpf(float(x[i])), mp.mpf(float(x[i + 1])))
        if not abs(value(at, zero)) > 1:  # a pole turns the sign too, and is found as a zero of what it divides by
            yield zero
    touching: Any = (dy_sign[1:] * dy_sign[:-1] < 0) & (y_sign[1:] * y_sign[:-1] > 0)
    if touching.sum() > 8 * MOST:
        raise _too_many()
    for i in touching.nonzero()[0]:  # a zero where the sign stays
        least = _bisected(mp, lambda t: value(slope, t), mp.mpf(float(x[i])), mp.mpf(float(x[i + 1])))
        size = max(abs(float(y[i])), abs(float(y[i + 1])))
        if abs(value(at, least)) <= size * mp.ldexp(1, -mp.prec // 2):
            yield least


@lru_cache(maxsize=1)
def sampling_grid() -> Any:
    """Points from 1e-7 to 1e6 on either side, 200 a decade, and quarters up to 40."""
    import numpy as np

    side = np.geomspace(1e-7, _REACH, 13 * _PER_DECADE + 1)
    return np.unique(np.concatenate([-side, [0.0], side, np.arange(-40, 40.25, 0.25)]))


def _sampled(nodes: tuple[tree.Node, ...], params: dict[str, float]) -> tuple[Any, list[Any]]:
    import numpy as np

    x = sampling_grid()
    with np.errstate(all="ignore"):
        values = evaluate(nodes, Arrays(np), x, params)
    return x, [np.broadcast_to(np.asarray(v, dtype=float), x.shape) for v in values]


def _bisected(mp: Any, f: Callable[[Any], Any], lo: Any, hi: Any) -> Any:
    """A sign change between: secants, the value at an end that stays halved (Illinois), and some bisections."""
    at_lo, at_hi = f(lo), f(hi)
    last, side = lo, 0
    for step in range(1, 4 * mp.prec):
        if at_lo == 0 or at_hi == 0:
            return lo if at_lo == 0 else hi
        middle = (lo + hi) / 2
        if step % 8:
            guess = (lo * at_hi - hi * at_lo) / (at_hi - at_lo)
            middle = guess if lo < guess < hi else middle
        at = f(middle)
        if at == 0 or mp.isnan(at) or abs(middle - last) <= mp.ldexp(abs(middle), 2 - mp.prec):
            return middle
        last = middle
        if (at < 0) == (at_lo < 0):
            lo, at_lo = middle, at
            at_hi, side = (at_hi / 2 if side < 0 else at_hi), -1
        else:
            hi, at_hi = middle, at
            at_lo, side = (at_lo / 2 if side > 0 else at_lo), 1
    return (lo + hi) / 2
