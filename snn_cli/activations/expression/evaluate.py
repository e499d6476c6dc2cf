"""Trees as numbers: one walk, in whatever library has the functions.

A library is an object with a method for each op of `tree`; `Arrays` is that of numpy, `Precise` that of mpmath, and
the engine has one of torch. Branches that are not taken are computed too and dropped: nothing of them stays.
"""

from __future__ import annotations

from functools import cache, lru_cache, reduce
from typing import TYPE_CHECKING, Any

from snn_cli.activations.expression import tree
from snn_cli.activations.expression.grammar import double

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction

_FALLBACKS = 4096
"""Points of an array for which mpmath is asked."""


def evaluate(
    roots: Sequence[tree.Node],
    lib: Any,
    x: Any,
    params: Mapping[str, Any],
    known: Mapping[tree.Node, Any] | None = None,
) -> list[Any]:
    """Values of all roots at x; what they share is computed once, and what is ``known`` not at all."""
    values: dict[tree.Node, Any] = dict(known or {})
    for at in _order(tuple(roots)):
        op = at.op
        if at in values:
            continue
        if op == "number":
            values[at] = lib.number(at.value)
        elif op == "name":
            values[at] = x if at is tree.X else params[at.value]
        elif op == "pow" and at.args[1].op == "number" and at.args[1].value.denominator == 1:
            values[at] = lib.integer_power(values[at.args[0]], int(at.args[1].value))
        elif op == "add":
            values[at] = reduce(lib.add, [values[arg] for arg in at.args])
        elif op == "mul":
            values[at] = reduce(lib.mul, [values[arg] for arg in at.args])
        else:
            values[at] = getattr(lib, METHODS.get(op, op))(*(values[arg] for arg in at.args))
    return [values[root] for root in roots]


@lru_cache(maxsize=512)
def _order(roots: tuple[tree.Node, ...]) -> tuple[tree.Node, ...]:
    return tuple(tree.walk(*roots))


METHODS = {"and": "both", "or": "either", "not": "negation", "abs": "absolute", "min": "least", "max": "largest",
           "true": "true", "false": "false", "pow": "power"}  # fmt: skip
"""Names of methods where that of the op is taken."""


class Operators:
    """What Python's operators do for arrays of every library."""

    def number(self, x: Fraction) -> Any:
        return double(x)

    def pi(self) -> Any:
        return 3.141592653589793

    def e(self) -> Any:
        return 2.718281828459045

    def true(self) -> Any:
        return True

    def false(self) -> Any:
        return False

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def mul(self, a: Any, b: Any) -> Any:
        return a * b

    def neg(self, a: Any) -> Any:
        return -a

    def lt(self, a: Any, b: Any) -> Any:
        return a < b

    def le(self, a: Any, b: Any) -> Any:
        return a <= b

    def gt(self, a: Any, b: Any) -> Any:
        return a > b

    def ge(self, a: Any, b: Any) -> Any:
        return a >= b

    def eq(self, a: Any, b: Any) -> Any:
        return a == b

    def ne(self, a: Any, b: Any) -> Any:
        return a != b


class Arrays(Operators):
    """numpy and scipy, in doubles."""

    def __init__(self, np: Any) -> None:
        from scipy import special

        self._np = np
        self.exp, self.expm1, self.log, self.log1p, self.sqrt = np.exp, np.expm1, np.log, np.log1p, np.sqrt
        self.tanh, self.sin, self.cos, self.absolute = np.tanh, np.sin, np.cos, np.abs
        self.erf, self.erfc, self.sigmoid = special.erf, special.erfc, special.expit
        self.least, self.largest, self.where = np.minimum, np.maximum, np.where
        self.both, self.either, self.negation = np.logical_and, np.logical_or, np.logical_not

    def div(self, a: Any, b: Any) -> Any:
        return self._np.divide(a, b)

    def softplus(self, u: Any) -> Any:
        return self._np.logaddexp(0.0, u)

    def power(self, a: Any, b: Any) -> Any:
        return self._np.power(a, b)

    def integer_power(self, a: Any, n: int) -> Any:
        return a * a if n == 2 else self._np.power(self._np.asarray(a, dtype=float), float(n))


class Precise(Operators):
    """Numbers of an mpmath context, real ones: what is not real, or has no limit, is nan."""

    def __init__(self, mp: Any) -> None:
        self._mp = mp

    def number(self, x: Fraction) -> Any:
        return self._mp.mpf(x.numerator) / x.denominator

    def pi(self) -> Any:
        return +self._mp.pi

    def e(self) -> Any:
        return +self._mp.e

    def div(self, a: Any, b: Any) -> Any:
        return self._mp.nan if b == 0 else self._mp.mpf(a) / b

    def exp(self, u: Any) -> Any:
        if self._mp.mag(u) > ENDLESS:
            return self._mp.inf if u > 0 else self._mp.mpf(0)
        return self._mp.exp(u)

    def expm1(self, u: Any) -> Any:
        mp = self._mp
        size = mp.mag(u)
        if size > mp.mag(mp.prec) + 2:
            return self.exp(u) if u > 0 else mp.mpf(-1)
        if not -mp.prec < size < 8:
            return mp.expm1(u)
        precision = mp.prec
        try:
            mp.prec += 8 - size  # bits that cancel
            found = mp.exp(u) - 1
        finally:
            mp.prec = precision
        return +found

    def log(self, u: Any) -> Any:
        if u <= 0:
            return self._mp.nan if u < 0 else -self._mp.inf
        return self._mp.log(u)

    def log1p(self, u: Any) -> Any:
        if u <= -1:
            return self._mp.nan if u < -1 else -self._mp.inf
        return self._mp.inf if u == self._mp.inf else self._mp.log1p(u)

    def sqrt(self, u: Any) -> Any:
        return self._mp.nan if u < 0 else self._mp.sqrt(u)

    def erf(self, u: Any) -> Any:
        return self._mp.sign(u) if abs(u) > _HUGE else self._mp.erf(u)

    def erfc(self, u: Any) -> Any:
        return 1 - self._mp.sign(u) if abs(u) > _HUGE else self._mp.erfc(u)

    def tanh(self, u: Any) -> Any:
        return self._mp.sign(u) if abs(u) > _HUGE else self._mp.tanh(u)

    def sigmoid(self, u: Any) -> Any:
        grown = self.exp(-abs(u))
        return (1 if u >= 0 else grown) / (1 + grown)

    def softplus(self, u: Any) -> Any:
        return max(u, self._mp.mpf(0)) + self._mp.log1p(self.exp(-abs(u))) if u == u else u

    def sin(self, u: Any) -> Any:
        return self._mp.nan if self._mp.mag(u) > ENDLESS else self._mp.sin(u)

    def cos(self, u: Any) -> Any:
        return self._mp.nan if self._mp.mag(u) > ENDLESS else self._mp.cos(u)

    def absolute(self, u: Any) -> Any:
        return abs(u)

    def least(self, a: Any, b: Any) -> Any:
        return self._either_nan(a, b) or min(a, b)

    def largest(self, a: Any, b: Any) -> Any:
        return self._either_nan(a, b) or max(a, b)

    def _either_nan(self, a: Any, b: Any) -> Any:
        return self._mp.nan if self._mp.isnan(a) or self._mp.isnan(b) else None

    def where(self, condition: bool, a: Any, b: Any) -> Any:
        return a if condition else b

    def both(self, a: bool, b: bool) -> bool:
        return a and b

    def either(self, a: bool, b: bool) -> bool:
        return a or b

    def negation(self, a: bool) -> bool:
        return not a

    def integer_power(self, a: Any, n: int) -> Any:
        return self._mp.nan if a == 0 and n < 0 else self._mp.mpf(a) ** n

    def power(self, a: Any, b: Any) -> Any:
        mp = self._mp
        if mp.isnan(a) or mp.isnan(b):
            return mp.nan
        if mp.isint(b) and abs(b) < 1000:
            return self.integer_power(a, int(b))
        if a <= 0:
            return mp.mpf(0) if a == 0 and b > 0 else mp.nan
        return self.exp(b * self.log(a))


_HUGE = 2**80
ENDLESS = 1100
"""Bits of an argument beyond which exponentials are infinite or 0, and sines and cosines not known."""


def precise(roots: Sequence[tree.Node], mp: Any, x: Any, params: Mapping[str, Any]) -> tuple[Any, ...]:
    """Values in an mpmath context; where ``inf - inf`` or ``0/0`` and the like say nothing, the limit from the right.

    At an infinity it is that of numbers as large as 1e120; nan where they too say nothing.
    """
    lib = Precise(mp)
    found = evaluate(roots, lib, x, params)
    if mp.isnan(x) or not any(map(mp.isnan, found)):
        return tuple(map(mp.mpf, found))
    precision = mp.prec
    with mp.workprec(4 * precision + 400):
        if mp.isinf(x):
            limits = [evaluate(roots, lib, mp.sign(x) * mp.mpf(10) ** digits, params) for digits in (20, 40, 60, 120)]
            near = [_limit(mp, values) for values in zip(*limits, strict=True)]
        else:
            step = mp.ldexp(max(abs(x), mp.ldexp(1, -precision)), -2 * precision)
            near = evaluate(roots, lib, x + step, params)
            near = [mp.nan if mp.isinf(v) else v for v in near]
    return tuple(+mp.mpf(b if mp.isnan(a) else a) for a, b in zip(found, near, strict=True))


def _limit(mp: Any, values: tuple[Any, ...]) -> Any:
    """Of values ever further out: two that agree; infinite where they grow."""
    known = [v for v in values if not mp.isnan(v)]
    if len(known) < 2:
        return mp.nan
    a, b = known[:2]
    if a == b or abs(b - a) <= mp.mpf(10) ** -8 * abs(a) or max(abs(a), abs(b)) < mp.mpf(10) ** -8:
        return b
    return mp.sign(b) * mp.inf if abs(b) > abs(a) else mp.mpf(0)


def constants(roots: Sequence[tree.Node], params: Mapping[str, float]) -> dict[tree.Node, Any]:
    """What does not depend on x, as doubles that were rounded once; conditions as truth values."""
    mp = context()
    found = [at for at in tree.walk(*roots) if not at.moves]
    exact = evaluate(found, Precise(mp), mp.nan, {name: mp.mpf(value) for name, value in params.items()})
    return {at: v if isinstance(v, bool) else float(v) for at, v in zip(found, exact, strict=True)}


@cache
def context() -> Any:
    """A context of mpmath with digits to spare for a double."""
    import mpmath

    mp = mpmath.MPContext()
    mp.prec = 100
    return mp


def arrays(root: tree.Node) -> Callable[[Any, Any, Mapping[str, float]], Any]:
    """``function(np, x, params)`` of a tree; where doubles overflow on the way, mpmath tells.

    Parameters are numbers, or columns: then there is a row for every set of them.
    """

    def function(np: Any, x: Any, params: Mapping[str, float]) -> Any:
        x = np.asarray(x, dtype=np.float64)
        with np.errstate(all="ignore"):
            (found,) = evaluate([root], Arrays(np), x, params)
        found = np.where(np.isnan(x), x, found)
        lost = np.isnan(found) & ~np.isnan(x)
        if lost.any() and found.shape != x.shape:  # a row for every set of parameters
            columns = {name: np.broadcast_to(value, (len(found), 1)) for name, value in params.items()}
            rows = ({name: float(column[i, 0]) for name, column in columns.items()} for i in range(len(found)))
            return np.stack([function(np, x, row) for row in rows])
        if lost.any():
            points, where = np.unique(x[lost], return_inverse=True)
            if len(points) <= _FALLBACKS:
                mp = context()
                exact = {name: mp.mpf(value) for name, value in params.items()}
                found[lost] = np.array([float(precise([root], mp, mp.mpf(point), exact)[0]) for point in points])[where]
        return found

    return function
