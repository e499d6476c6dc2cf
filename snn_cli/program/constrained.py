"""The wrap program in doubles where gamma is no longer an explicit function of b and c: bounds on a or d, or zero mean.

Sequential quadratic programming (SciPy's SLSQP, Kraft 1988) on ``(log b, c, m)`` from many places of the lattice, with
exact gradients.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.program.bounds import Bound
from snn_cli.program.jets import Jet
from snn_cli.program.wrap import AMPLITUDE, Start, functions, jets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snn_cli.program.wrap import Cone, Search

_MOST = 12  # starts
_MEANS = (-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9)
_HOLDS = 1e-7
_NEAR = 1e-5
"""Difference of two minima up to which both are kept, to be compared with more digits."""

_SLACK = 1e-6  # up to which a bound counts as active


class _Functions(NamedTuple):
    """Jets by name: ``a, d, m``, the objective, and ``sphere``, absent where it holds identically."""

    objective: Jet
    found: dict[str, Jet]


class Constrained:
    """A search with bounds on a and d, or with zero mean."""

    def __init__(self, search: Search) -> None:
        self.search, self.problem = search, search.problem
        self.inner = [bound for bound in self.problem.limits if isinstance(bound, Bound) and bound.name in "ad"]

    def starts(self) -> list[Start]:
        """Local minima of gamma, the smallest first."""
        return self._solved(self._gamma, self._rank_gamma())

    def ends(self) -> tuple[float, float] | None:
        """The range of epsilon for which the bounds leave a solution, to about 1e-9; None where there is none."""
        low = self._solved(lambda x: self._gain(x, 1), self._rank_gain(1))
        high = self._solved(lambda x: self._gain(x, -1), self._rank_gain(-1))
        if not low or not high:
            return None
        return low[0].gamma - 1, -high[0].gamma - 1

    # The functions, with epsilon given and with epsilon as what is left free.

    def _gamma(self, x: Sequence[float]) -> _Functions:
        sums = self.search.landscape.sums(math.exp(x[0]), x[1])
        found = functions(sums, (math.exp(x[0]), x[1], x[2]), self.search.epsilon, math.sqrt)
        return _Functions(found["gamma"], found)

    def _gain(self, x: Sequence[float], sign: int) -> _Functions:
        """``(1 - m^2) E[g'^2]/Var g``, with ``a = sqrt((1 - m^2)/Var g)``."""
        b = math.exp(x[0])
        found = jets(self.search.landscape.sums(b, x[1]), (b, x[1], x[2]), 0.0)
        m = Jet.variable(x[2], 2, 3)
        square = (m * m * -1 + 1) / found.variance
        a = square.sqrt(math.sqrt(max(square.value, 1e-300)))
        return _Functions(
            (square / found.amplitude2) * sign,
            {"a": a, "d": m - a * found.mean, "m": m},
        )

    # Where to start: lattice points by objective plus what they violate.

    def _rank_gamma(self) -> list[tuple[float, float, float, float]]:
        import numpy as np

        ranked = []
        for b, c, found in self.search.lattice:
            with np.errstate(all="ignore"):
                a = np.sqrt((1 + self.search.epsilon) / found.gain)
                rest = 1 - a * a * found.variance
                for m in (
                    (0 * a,)
                    if self.problem.zero_mean
                    else (np.sqrt(np.maximum(rest, 0)), -np.sqrt(np.maximum(rest, 0)))
                ):
                    excess = np.abs(rest) if self.problem.zero_mean else np.maximum(-rest, 0)
                    excess = excess + self._violation(a, m - a * found.mean)
                    gamma = a * a * found.pull + m * a * found.tilt
                    ranked += self._rows(gamma + 4 * excess, b, c, m)
        return sorted(ranked)

    def _rank_gain(self, sign: int) -> list[tuple[float, float, float, float]]:
        import numpy as np

        ranked = []
        for b, c, found in self.search.lattice:
            for mean in (0.0,) if self.problem.zero_mean else _MEANS:
                with np.errstate(all="ignore"):
                    a = np.sqrt((1 - mean * mean) / found.variance)
                    value = sign * np.log(a * a * found.gain)
                    excess = self._violation(a, mean - a * found.mean)
                    ranked += self._rows(value + 8 * excess, b, c, mean + 0 * a)
        return sorted(ranked)

    def _violation(self, a: Any, d: Any) -> Any:
        import numpy as np

        total = np.maximum(np.log(a / AMPLITUDE), 0)
        for bound in self.inner:
            value, scale = (a, max(1.0, abs(bound.number))) if bound.name == "a" else (d, max(1.0, abs(bound.number)))
            short = (bound.number - value) / scale
            total = total + (
                np.abs(short) if bound.relation == "=" else np.maximum(short if bound.relation == ">=" else -short, 0)
            )
        return total

    @staticmethod
    def _rows(rank: Any, b: float, c: Any, m: Any) -> list[tuple[float, float, float, float]]:
        """Local minima along c of one row of the lattice."""
        import numpy as np

        rank = np.where(np.isfinite(rank), rank, np.inf)
        padded = np.concatenate([[np.inf], rank, [np.inf]])
        local = np.isfinite(rank) & (rank <= padded[:-2]) & (rank <= padded[2:])
        return [(float(rank[j]), b, float(c[j]), float(m[j])) for j in np.flatnonzero(local)]

    # The descents.

    def _solved(
        self, evaluate: Callable[[Sequence[float]], _Functions], ranked: list[tuple[float, float, float, float]]
    ) -> list[Start]:
        found: list[Start] = []
        for _, b, c, m in ranked[:_MOST]:
            start = self._descend(evaluate, b, c, m)
            if start is not None and all(_apart(start.x, other.x) for other in found):
                found.append(start)
        found.sort(key=lambda start: start.gamma)
        return [start for start in found if start.gamma - found[0].gamma < _NEAR]

    def _descend(self, evaluate: Callable[[Sequence[float]], _Functions], b: float, c: float, m: float) -> Start | None:
        import numpy as np
        from scipy.optimize import minimize

        at = _remembered(evaluate)
        limit = 0.0 if self.problem.zero_mean else 0.999999
        start = np.array([math.log(b), c, min(max(m, -limit), limit)])
        with np.errstate(all="ignore"):
            try:
                given = self._constraints(at(np.array([math.log(b), c, m])))
                constraints = [_constraint(kind, of, at) for kind, of in given]
                done = minimize(
                    lambda x: float(at(x).objective.value),
                    start,
                    jac=lambda x: _gradient(at(x).objective, x),
                    method="SLSQP",
                    bounds=[*self._box(), (-limit, limit)],
                    constraints=constraints,
                    options={"maxiter": 200, "ftol": 1e-14},
                )
            except (ValueError, ZeroDivisionError, OverflowError):
                return None
        x = done.x
        if not np.isfinite(x).all() or not all(_holds(constraint, x) for constraint in constraints):
            return None
        b, c, m = math.exp(x[0]), float(x[1]), float(x[2])
        return Start(float(at(x).objective.value), (b, c, m), self._active(at(x).found, b, c))

    def _box(self) -> list[tuple[float, float]]:
        """Bounds of log b, and those of c at the largest b."""
        low, high = self.problem.range("b")
        edge = self.problem.range("c", high)
        widest = max(abs(end) if math.isfinite(end) else 0.0 for end in edge)
        return [(math.log(low), math.log(high)), (max(edge[0], -widest), min(edge[1], widest))]

    def _constraints(self, functions: _Functions) -> list[tuple[str, Callable[[dict[str, Jet], Any], Jet]]]:
        """``(kind, function)``: 0 where it holds, or positive."""
        made: list[tuple[str, Callable[[dict[str, Jet], Any], Jet]]] = []
        if "sphere" in functions.found:
            made.append(("eq", lambda found, _x: found["sphere"]))
        for bound in self.inner:
            made.append(("eq" if bound.relation == "=" else "ineq", partial(_slack, bound)))
        for limit in self.problem.limits:
            if not isinstance(limit, Bound):
                made.append(("ineq", partial(_cone, limit)))
        return made

    def _active(self, found: dict[str, Jet], b: float, c: float) -> tuple[Bound | Cone, ...]:
        active: list[Bound | Cone] = []
        for bound in self.problem.limits:
            if isinstance(bound, Bound):
                here = {"b": b, "c": c}.get(bound.name)
                here = found[bound.name].value if here is None else here
                if bound.relation == "=" or abs(here - bound.number) <= _SLACK * max(1.0, abs(bound.number)):
                    active.append(bound)
            elif abs(c - (end := self.problem.range("c", b)[bound.side > 0])) <= _SLACK * abs(end):
                active.append(bound)
        return tuple(active)


def _remembered(evaluate: Callable[[Sequence[float]], _Functions]) -> Callable[[Any], _Functions]:
    """The last few values are kept: objective, constraints and their gradients are asked for at the same points."""
    cache: dict[tuple[float, ...], _Functions] = {}

    def at(x: Any) -> _Functions:
        key = tuple(map(float, x))
        if key not in cache:
            if len(cache) > 8:
                cache.clear()
            cache[key] = evaluate(key)
        return cache[key]

    return at


def _gradient(jet: Jet, x: Any) -> Any:
    """By ``(log b, c, m)``."""
    import numpy as np

    return np.array([jet.gradient[0] * math.exp(x[0]), jet.gradient[1], jet.gradient[2]], float)


def _constraint(kind: str, of: Callable[[dict[str, Jet], Any], Jet], at: Callable[[Any], _Functions]) -> dict[str, Any]:
    """As SciPy takes it."""
    return {
        "type": kind,
        "fun": lambda x: float(of(at(x).found, x).value),
        "jac": lambda x: _gradient(of(at(x).found, x), x),
    }


def _holds(constraint: dict[str, Any], x: Any) -> bool:
    here = constraint["fun"](x)
    return not (here < -_HOLDS or (constraint["type"] == "eq" and abs(here) > _HOLDS))


def _slack(bound: Bound, found: dict[str, Jet], _x: Any) -> Jet:
    """How far a parameter is inside its bound, relative to its size."""
    scale = max(1.0, abs(bound.number)) * (-1 if bound.relation == "<=" else 1)
    return (found[bound.name] - bound.number) * (1 / scale)


def _cone(cone: Cone, _found: dict[str, Jet], x: Any) -> Jet:
    """``6 max(1, b) -+ c``, smoothly enough: the corner at b = 1 is of measure zero."""
    from snn_cli.program.wrap import SHIFT

    b = math.exp(float(x[0]))
    scale = Jet.variable(b, 0, 3) if b > 1 else Jet.constant(1.0, 3)
    return scale * SHIFT - Jet.variable(float(x[1]), 1, 3) * cone.side


def _apart(x: tuple[float, float, float], y: tuple[float, float, float]) -> bool:
    return abs(x[0] / y[0] - 1) + abs(x[1] - y[1]) / max(1, abs(y[1])) + abs(x[2] - y[2]) > 1e-4
