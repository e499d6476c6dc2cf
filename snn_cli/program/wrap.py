"""Any activation made self-normalizing: ``F(x) = a f(b x + c) + d`` with the smallest gamma.

With ``g(z) = f(b z + c)`` the second condition gives ``a^2 = (1 + epsilon)/E[g'^2]`` and the first one, with
``m = E[F]``, ``a^2 Var g + m^2 = 1``: there is a solution at ``(b, c)`` where ``(1 + epsilon) Var g <= E[g'^2]``. Then
``gamma = a^2 E[z (g - E g) g'] + m a E[z g']``, where the sign of m is the one that makes the second term negative, and
``d = m - a E g``. Signs of a and b are conventions: ``-F``, and ``F`` of ``-z``, meet the same conditions.

So it is a search in the plane of b and c. What ends there is stationary under its active bounds, and is found again by
Newton's method, as precisely as asked, on ``(b, c, m)``. A derivative of ``E[h(b z + c) p(z)]`` by b or c goes over to
the density, and to the polynomial p: kinks of f do not matter, and moments of f and f' alone give the Hessian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.arithmetic.multiprecision import context
from snn_cli.errors import CannotCompute
from snn_cli.program.bounds import Bound, limits
from snn_cli.program.jets import Jet
from snn_cli.program.kkt import Point, newton
from snn_cli.program.quadrature import Quadrature

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snn_cli.activations.family import Baseline
    from snn_cli.program.landscape import Landscape, Moments
    from snn_cli.program.quadrature import Sums

SCALE = 32
"""The search goes over ``1/SCALE <= b <= SCALE``."""

SHIFT = 6
"""and ``|c| <= SHIFT max(1, b)``: f is seen as far out as six deviations of the input, or of x."""

AMPLITUDE = 10**6
"""and ``a <= AMPLITUDE``: where f hardly varies, so large a factor would only enlarge rounding errors."""

BOX = (
    Bound("a", "<=", Fraction(AMPLITUDE), chosen=False),
    Bound("b", ">=", Fraction(1, SCALE), chosen=False),
    Bound("b", "<=", Fraction(SCALE), chosen=False),
)

_N = 3  # unknowns: b, c, m
_OCTAVES = 0.5
_SHIFTS = (*(0.25 * k for k in range(9)), 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0)
_FINEST = 2e-6  # of the lattice's spacing
_NEWTON = (2.0**-2, 2.0**-5, 2.0**-8)  # of it: where Newton's method is tried
_NEWTON_STEPS = 12
_MOVES = 150
_NEAR = 1e-6
"""Difference of two gammas in doubles up to which both are polished and compared again."""

_STARTS = 6


class Cone(NamedTuple):
    """The end of the box for c that moves with b: ``c <= side SHIFT max(1, b)``, or ``>=`` where side is -1."""

    side: int
    chosen: bool = False

    @property
    def relation(self) -> str:
        return "<=" if self.side > 0 else ">="

    def __str__(self) -> str:
        return f"c{self.relation}{self.side * SHIFT}*max(1,b)"


def _moved(end: Bound, low: Fraction | None, high: Fraction | None) -> Bound:
    if low is not None and low >= end.value and end.relation == "<=":
        return end._replace(value=low * SCALE)
    if high is not None and high <= end.value and end.relation == ">=":
        return end._replace(value=high / SCALE)
    return end


@dataclass(frozen=True)
class Problem:
    """What is asked of a baseline, in exact numbers.

    bounds
        Of the user.
    fixed
        Bounds that the program puts in the place of all others on a parameter that is redundant.
    """

    baseline: Baseline
    epsilon: Fraction
    zero_mean: bool
    bounds: tuple[Bound, ...]
    fixed: tuple[Bound, ...] = ()

    @cached_property
    def limits(self) -> tuple[Bound | Cone, ...]:
        """All bounds: those of the user, and of the box where the user has given none on that side.

        A lower bound on a or b that is not positive says no more than the convention; beyond an end of the box, the
        box moves by its own width.
        """
        fixed = {bound.name for bound in self.fixed}
        own = (bound for bound in self.bounds if bound.name not in fixed)
        given = tuple(
            bound for bound in (*own, *self.fixed) if bound.name in "cd" or bound.relation != ">=" or bound.value > 0
        )
        taken = {(bound.name, side) for bound in given for side in ("<=", ">=") if bound.relation in (side, "=")}
        box: list[Bound | Cone] = [
            _moved(bound, *limits(given, bound.name)) for bound in BOX if (bound.name, bound.relation) not in taken
        ]
        box += [cone for cone in (Cone(-1), Cone(1)) if ("c", cone.relation) not in taken]
        return (*given, *box)

    def range(self, name: str, b: float = 1.0) -> tuple[float, float]:
        """The least and the largest value of a parameter, in doubles; those of c depend on b."""
        low, high = -math.inf, math.inf
        for bound in self.limits:
            if isinstance(bound, Cone):
                if name == "c":
                    reach = SHIFT * max(1.0, b)
                    low, high = (low, reach) if bound.side > 0 else (-reach, high)
            elif bound.name == name:
                low = bound.number if bound.relation != "<=" else low
                high = bound.number if bound.relation != ">=" else high
        return low, high

    @property
    def plain(self) -> bool:
        """Whether only b and c are bounded, so that gamma is an explicit function in the plane."""
        return not self.zero_mean and not any(bound.name in ("a", "d") for bound in self.bounds)


# --- The functions of the program as jets in b, c and m ---------------------------------------------------------------


def _up(p: Sequence[int]) -> list[int]:
    """``z p - p'``: what ``b d/dc`` makes of the polynomial p under the expectation."""
    up = [0, *p]
    for k in range(1, len(p)):
        up[k - 1] -= k * p[k]
    return up


def _scaling(p: Sequence[int]) -> list[int]:
    """``z (z p - p') - p``: what ``b d/db`` makes of it."""
    scaled = [0, *_up(p)]
    for k, x in enumerate(p):
        scaled[k] -= x
    return scaled


class _Polynomials(NamedTuple):
    p: list[int]
    c: list[int]
    b: list[int]
    cc: list[int]
    bc: list[int]
    bb: list[int]

    @classmethod
    def of(cls, p: list[int]) -> _Polynomials:
        c, b = _up(p), _scaling(p)
        return cls(p, c, b, _up(c), _scaling(c), _scaling(b))


_ONE, _TILT = _Polynomials.of([1]), _Polynomials.of([-1, 0, 1])


def _expectation(moments: Sequence[Any], of: _Polynomials, b: Any) -> Jet:
    """``E[h(b z + c) p(z)]`` as a jet, from ``E[h z^k]``."""

    def e(p: list[int]) -> Any:
        total = moments[0] * p[0]
        for k in range(1, len(p)):
            if p[k]:
                total = total + moments[k] * p[k]
        return total

    value, c, scaled = e(of.p), e(of.c), e(of.b)
    zero = value * 0
    square = b * b
    return Jet(
        value,
        [scaled / b, c / b, zero],
        [[(e(of.bb) - scaled) / square], [(e(of.bc) - c) / square, e(of.cc) / square], [zero, zero, zero]],
    )


class _Jets(NamedTuple):
    mean: Jet
    tilt: Jet
    variance: Jet
    pull: Jet
    amplitude2: Jet


def jets(sums: Sums, x: Sequence[Any], epsilon: Any) -> _Jets:
    """``E g, E[z g'], Var g, E[z (g - E g) g']`` and ``a^2`` at ``x = (b, c, m)``."""
    b = x[0]
    mean, tilt = _expectation(sums.value, _ONE, b), _expectation(sums.value, _TILT, b)
    square, pull = _expectation(sums.square, _ONE, b), _expectation(sums.square, _TILT, b) / 2
    slope = _expectation(sums.slope, _ONE, b)
    scale = Jet.variable(b, 0, _N)
    return _Jets(
        mean=mean,
        tilt=tilt,
        variance=square - mean * mean,
        pull=pull - mean * tilt,
        amplitude2=(scale * scale * slope).reciprocal() * (1 + epsilon),
    )


def functions(sums: Sums, x: Sequence[Any], epsilon: Any, sqrt: Callable[[Any], Any]) -> dict[str, Jet]:
    """``a, b, c, d, m``, ``gamma`` and ``sphere``, zero where the first condition holds, at ``x = (b, c, m)``."""
    b, c, m = (Jet.variable(value, i, _N) for i, value in enumerate(x))
    found = jets(sums, x, epsilon)
    a2 = found.amplitude2
    a = a2.sqrt(sqrt(a2.value))
    return {
        "a": a,
        "b": b,
        "c": c,
        "d": m - a * found.mean,
        "m": m,
        "gamma": a2 * found.pull + m * a * found.tilt,
        "sphere": a2 * found.variance + m * m - 1,
    }


def _constraint(found: dict[str, Jet], bound: Bound | Cone, number: Callable[[Fraction], Any]) -> Jet:
    """Zero where the bound is active, in the units of the parameter."""
    if isinstance(bound, Bound):
        slack: Jet = found[bound.name] - number(bound.value)
        return slack
    edge = bound.side * SHIFT
    far: Jet = found["c"] - (found["b"] * edge if found["b"].value > 1 else edge)
    return far


# --- Where to look, in doubles ----------------------------------------------------------------------------------------


class Start(NamedTuple):
    """A place to start Newton's method from: gamma there, ``(b, c, m)`` and the bounds that seem active."""

    gamma: float
    x: tuple[float, float, float]
    active: tuple[Bound | Cone, ...]


class Objective(NamedTuple):
    """What is minimised in the plane: ``of(moments)`` with the mean that goes with it, ``jet(b, c)`` at one point."""

    of: Callable[[Moments], tuple[Any, Any]]
    jet: Callable[[float, float], Jet]


class Search:
    """The plane of b and c in doubles."""

    def __init__(self, problem: Problem, landscape: Landscape) -> None:
        self.problem, self.landscape = problem, landscape
        self.epsilon = float(problem.epsilon)

    @cached_property
    def highest(self) -> tuple[float, float, float]:
        """The largest ``E[g'^2]/Var g`` in the box, to about 1e-9, and where it is: ``1 + epsilon`` ends there."""
        found = self.minima(self.ratio)
        return (-found[0][0], *found[0][1:3]) if found else (-math.inf, 1.0, 0.0)

    @property
    def top(self) -> float:
        """The upper end of epsilon."""
        return self.highest[0] - 1

    @cached_property
    def bottom(self) -> float:
        """The smallest ``E[g'^2]/Var g - 1`` in the box: the lower end of epsilon with zero mean."""
        found = self.minima(
            Objective(lambda m: (-self._ratios(m)[0], self._ratios(m)[1]), lambda b, c: -self._ratio_jet(b, c))
        )
        return max(found[0][0] - 1, 0.0) if found else math.inf

    @property
    def gamma(self) -> Objective:
        return Objective(self._gammas, self._gamma_jet)

    @property
    def ratio(self) -> Objective:
        return Objective(self._ratios, self._ratio_jet)

    def _gammas(self, found: Moments) -> tuple[Any, Any]:
        """The smaller gamma at every c, infinite where there is none, and the mean that goes with it."""
        import numpy as np

        with np.errstate(all="ignore"):
            a2 = (1 + self.epsilon) / found.gain
            rest = 1 - a2 * found.variance
            mean = -np.copysign(np.sqrt(rest), found.tilt)
            gamma = a2 * found.pull + mean * np.sqrt(a2) * found.tilt
            return np.where((rest >= 0) & (a2 <= AMPLITUDE**2), gamma, np.inf), mean

    def _gamma_jet(self, b: float, c: float) -> Jet:
        found = jets(self.landscape.sums(b, c), (b, c, 0.0), self.epsilon)
        rest = found.amplitude2 * found.variance * -1 + 1
        if not rest.value > 0:
            return Jet.constant(math.inf, _N)
        mean = rest.sqrt(math.sqrt(rest.value)) * -math.copysign(1, found.tilt.value)
        a = found.amplitude2.sqrt(math.sqrt(found.amplitude2.value))
        return found.amplitude2 * found.pull + mean * a * found.tilt

    def _ratios(self, found: Moments) -> tuple[Any, Any]:
        """Less the largest ``1 + epsilon`` at every c, infinite where f hardly varies, and nothing else."""
        import numpy as np

        with np.errstate(all="ignore"):
            value = -found.gain / found.variance
            return np.where(found.variance * AMPLITUDE**2 >= 1, value, np.nan), value * 0

    def _ratio_jet(self, b: float, c: float) -> Jet:
        found = jets(self.landscape.sums(b, c), (b, c, 0.0), self.epsilon)
        return (found.amplitude2 * found.variance).reciprocal() * -(1 + self.epsilon)

    @cached_property
    def lattice(self) -> list[tuple[float, Any, Moments]]:
        """Every b with its values of c, half octaves and steps of a quarter near the middle, and the moments there."""
        import numpy as np

        low, high = self.problem.range("b")
        octaves = np.arange(math.ceil(math.log2(low) / _OCTAVES), math.floor(math.log2(high) / _OCTAVES) + 1)
        bs = np.unique([low, *np.exp2(octaves * _OCTAVES), high])
        made = []
        for b in bs[(bs >= low) & (bs <= high)]:
            left, right = self.problem.range("c", b)
            shifts = np.array([*(-s for s in _SHIFTS[:0:-1]), *_SHIFTS]) * max(1.0, b)
            if right - left < 1 or left > 0 or right < 0:
                shifts = np.concatenate([shifts, np.linspace(left, right, 17)])
            c = np.unique(np.clip(shifts, left, right))
            made.append((float(b), c, self.landscape.at(float(b), c)))
        return made

    def minima(self, objective: Objective) -> list[tuple[float, float, float, float]]:
        """Local minima in the box as ``(value, b, c, mean)``, the smallest first."""
        import numpy as np

        rows = [(b, c, *_finite(*objective.of(found))) for b, c, found in self.lattice]
        starts = []
        for i, (b, c, value, _) in enumerate(rows):
            for j in np.flatnonzero(np.isfinite(value)):
                around = [value[max(j - 1, 0) : j + 2]]
                for other in rows[max(i - 1, 0) : i] + rows[i + 1 : i + 2]:
                    near = np.searchsorted(other[1] / max(1, other[0]), c[j] / max(1, b))
                    around.append(other[2][max(near - 1, 0) : near + 2])
                if value[j] <= min(part.min() for part in around if len(part)):
                    starts.append((float(value[j]), b, float(c[j])))
        starts.sort()
        found = [self._descend(objective, *start) for start in starts[:_STARTS]]
        return sorted(found)

    def _descend(self, objective: Objective, value: float, b: float, c: float) -> tuple[float, float, float, float]:
        """From a lattice point down to a minimum: the best of eight neighbours, or half the step; then Newton."""
        import numpy as np

        low, high = self.problem.range("b")
        du = _OCTAVES / 2 if high > low else 0.0
        dc = 0.125 * max(1.0, b)
        mean = 0.0
        scale = 1.0
        moves = tries = 0
        while scale > _FINEST and moves < _MOVES:
            best = None
            for step in (-du, 0.0, du) if du else (0.0,):
                there = min(max(b * 2.0 ** (step * scale), low), high)
                left, right = self.problem.range("c", there)
                shifted = np.clip(np.array([c - dc * scale, c, c + dc * scale]), left, right)
                values, means = _finite(*objective.of(self.landscape.at(there, shifted)))
                j = int(np.argmin(values))
                if best is None or values[j] < best[0]:
                    best = (float(values[j]), there, float(shifted[j]), float(means[j]))
            assert best is not None
            moved = best[0] < value and (best[1], best[2]) != (b, c)
            if best[0] <= value:
                value, b, c, mean = best
            moves += 1
            if moved:  # along a ridge in ever longer steps
                scale = min(1.6 * scale, 2.0)
            else:
                scale /= 2 if scale <= 1 else scale
                if tries < len(_NEWTON) and scale <= _NEWTON[tries]:
                    tries += 1
                    found = self._newton(objective, value, b, c)
                    if found is not None:
                        return found
        return value, b, c, mean

    def _newton(
        self, objective: Objective, value: float, b: float, c: float
    ) -> tuple[float, float, float, float] | None:
        """Newton's method in the coordinates that are not at an end; None unless it settles at a minimum nearby."""
        import numpy as np

        edges = _edges(self.problem, b, c)
        free = [i for i, name in enumerate("bc") if not any(_of(bound) == name for bound in edges)]
        x = np.array([b, c])
        if any(isinstance(bound, Cone) for bound in edges) and 0 in free and b >= 1:
            return None  # b and c move together there
        reach = np.array([b / 4, 0.25 * max(1.0, b)])
        for _ in range(_NEWTON_STEPS if free else 0):
            jet = objective.jet(x[0], x[1])
            gradient = np.array([jet.gradient[i] for i in free])
            hessian = np.array([[jet.second(i, j) for j in free] for i in free])
            if not np.isfinite(hessian).all() or np.linalg.eigvalsh(hessian)[0] <= 0:
                return None
            change = np.zeros(2)
            change[free] = -np.linalg.solve(hessian, gradient)
            x = x + change
            if (np.abs(x - (b, c)) > reach).any() or not self._inside(x[0], x[1]):
                return None
            if (np.abs(change) <= 1e-7 * np.maximum(1, np.abs(x))).all():
                break
        else:
            if free:
                return None
        values, means = _finite(*objective.of(self.landscape.at(x[0], [x[1]])))
        if not values[0] <= value + 1e-13 * (1 + abs(value)):
            return None
        return float(values[0]), float(x[0]), float(x[1]), float(means[0])

    def _inside(self, b: float, c: float) -> bool:
        low, high = self.problem.range("b")
        left, right = self.problem.range("c", b)
        return low <= b <= high and left <= c <= right


def _finite(values: Any, means: Any) -> tuple[Any, Any]:
    """Infinite where there is no value."""
    import numpy as np

    return np.where(np.isfinite(values), values, np.inf), means


def _of(bound: Bound | Cone) -> str:
    return "c" if isinstance(bound, Cone) else bound.name


def _edges(problem: Problem, b: float, c: float) -> tuple[Bound | Cone, ...]:
    """Bounds on b and c that hold with equality, which clipping has made exact."""
    active: list[Bound | Cone] = []
    left, right = problem.range("c", b)
    for bound in problem.limits:
        if isinstance(bound, Cone) or bound.name == "c":
            if (bound.relation != "<=" and c == left) or (bound.relation != ">=" and c == right):
                active.append(bound)
        elif bound.name == "b" and b == bound.number:
            active.append(bound)
    return tuple(active)


def starts(search: Search) -> list[Start]:
    """Candidates for the optimum, the best first, all within a hair of it; none where there is no solution."""
    problem = search.problem
    found = [Start(g, (b, c, m), _edges(problem, b, c)) for g, b, c, m in search.minima(search.gamma) if g < math.inf]
    if not found and search.top >= search.epsilon:
        _, b, c = search.highest
        g, _ = search.gamma.of(search.landscape.at(b, [c]))
        if g[0] < math.inf:
            descended = search._descend(search.gamma, float(g[0]), b, c)
            found = [Start(descended[0], descended[1:], _edges(problem, *descended[1:3]))]
    distinct: list[Start] = []
    for start in found:
        if start.gamma - found[0].gamma > _NEAR:
            break
        near = (
            abs(start.x[0] / other.x[0] - 1) + abs(start.x[1] - other.x[1]) / max(1, abs(other.x[1])) < 1e-3
            for other in distinct
        )
        if not any(near):
            distinct.append(start)
    return distinct


# --- The optimum, as precisely as asked -------------------------------------------------------------------------------


class Optimum:
    """Stationary points of a problem, polished at any precision."""

    def __init__(self, problem: Problem, sizes: tuple[float, float]) -> None:
        self.problem = problem
        self.sizes = sizes
        precise = problem.baseline.precise
        assert precise is not None
        self.quadrature = Quadrature(lambda mp, x: precise(mp, x, {}), lambda mp: problem.baseline.kinks(mp, {}))

    def at(self, mp: Any, x: Sequence[Any]) -> tuple[Sums, dict[str, Jet]]:
        """Sums and functions at ``x = (b, c, m)``. Raises CannotCompute where f' is 0 at every node."""
        sums = self.quadrature.sums(mp, x[0], x[1], *self.sizes)
        try:
            return sums, functions(sums, x, _number(mp, self.problem.epsilon), mp.sqrt)
        except ZeroDivisionError:
            raise CannotCompute(
                f"{self.problem.baseline.name} changes too little, or on too small a part of the line, "
                "for its expectations to be computed",
                "a smaller factor on x, or a --bound",
            ) from None

    def polish(self, start: Point, active: Sequence[Bound | Cone], accuracy: int, precision: int, guard: int) -> Point:
        mp = context(precision)

        def evaluate(x: list[Any]) -> tuple[Jet, list[Jet]]:
            _, found = self.at(mp, x)
            constraints = [found["sphere"]]
            if self.problem.zero_mean:
                constraints.append(found["m"])
            constraints += [_constraint(found, bound, lambda v: _number(mp, v)) for bound in active]
            return found["gamma"], constraints

        return newton(mp, evaluate, start, accuracy, precision, guard)


def _number(mp: Any, x: Fraction) -> Any:
    return mp.mpf(x.numerator) / x.denominator
