"""The program for an activation with free parameters of its own, whatever its formula.

Minimise gamma subject to ``E[f^2] = 1``, ``E[f'^2] = 1 + epsilon`` where epsilon is given, ``E[f] = 0`` with zero mean,
and bounds; with as many conditions as parameters it is the root with the smallest gamma. Moments are a black box here.
In doubles: down along the solutions of the conditions from many starts, signs and magnitudes. Then Newton's method on
the conditions of Karush, Kuhn and Tucker in mpmath, with derivatives by differences at up to three times the precision,
because a kink may move with a parameter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement, product
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.arithmetic.multiprecision import context, fraction
from snn_cli.errors import CannotCompute, NoSolution
from snn_cli.program.bounds import Bound
from snn_cli.program.jets import Jet
from snn_cli.program.kkt import Point, kkt_matrix, newton
from snn_cli.program.quadrature import Quadrature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snn_cli.activations.family import Baseline
    from snn_cli.program.quadrature import Sums

_BREAKS = (0.0, 1 / 64, 1 / 16, 0.25, 0.5, 1.0, 1.75, 2.5, 3.5, 4.5, 6.0, 8.0, 10.0, 12.0)
_NODES = 16
_MAGNITUDES = (1.0, 0.25, 4.0, 0.5, 2.0, 1 / 16, 16.0, 0.125, 8.0)
_MOST_STARTS = 3000  # that are looked at
_DESCENTS = 20  # that are followed
_STEP = 1e-5  # relative, of differences in doubles
_HOLDS = 1e-7
_SLACK = 1e-6
_NEAR = 1e-5
_FARTHEST = 1e9
_ROUGH_BITS = 44
_CHORDS = 60
_STEADY = 3
_FALLS = 5
_DOWN = 100
_CORRECTIONS = 15
_EXTREME = 1e3
_LOST = 1e5
_OTHERS = (0.03, 0.3, 0.003, 3.0)
_SEEN = 18  # bits of a parameter that the search gives
GUARD = 40

BUDGET = 1000
"""Evaluations of the activation, for each bit of the precision, after which the search for an optimum is given up."""

_LEAST = 1e-7
"""Lower ends below this are taken as 0: the search is that exact."""

_FOLLOWED = 80
_ANY_SIZE = 1e3
"""Upper ends above this are taken as none."""


@dataclass(frozen=True)
class Program:
    """What is asked, in exact numbers.

    free
        The parameters to solve for; ``settings`` are the values of the others.
    epsilon
        None where it is the activation's own.
    """

    baseline: Baseline
    free: tuple[str, ...]
    settings: tuple[tuple[str, Fraction], ...]
    epsilon: Fraction | None
    zero_mean: bool
    bounds: tuple[Bound, ...] = ()

    @property
    def conditions(self) -> tuple[str, ...]:
        names = ("second_moment", *(("chi",) if self.epsilon is not None else ()))
        return (*names, "mean") if self.zero_mean else names

    @property
    def targets(self) -> tuple[Fraction, ...]:
        known = {"second_moment": Fraction(1), "chi": 1 + (self.epsilon or Fraction(0)), "mean": Fraction(0)}
        return tuple(known[name] for name in self.conditions)

    def range(self, name: str) -> tuple[float, float]:
        low, high = -_FARTHEST, _FARTHEST
        for bound in self.bounds:
            if bound.name == name:
                low = bound.number if bound.relation != "<=" else low
                high = bound.number if bound.relation != ">=" else high
        return low, high


class OutOfBudget(CannotCompute):
    """The activation has been evaluated as often as it may be."""


class Start(NamedTuple):
    """A stationary point in doubles: gamma, the mean, the free parameters and the bounds that hold with equality."""

    gamma: float
    mean: float
    x: tuple[float, ...]
    active: tuple[Bound, ...]


# --- The search in doubles ----------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _rule(kinks: tuple[float, ...]) -> tuple[Any, Any]:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    end = _BREAKS[-1]
    ends = np.unique([*(-x for x in _BREAKS), *_BREAKS, *(k for k in kinks if -end < k < end)])
    half = np.diff(ends)[:, None] / 2
    z = ((ends[1:] + ends[:-1]) / 2)[:, None] + half * nodes
    density = half * weights * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return z.ravel(), (density / density.sum()).ravel()


NAMES = ("gamma", "second_moment", "chi", "mean")


class Search:
    """Moments of the activation in doubles, as functions of its free parameters."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.known = {name: float(value) for name, value in program.settings}
        self._seen: dict[tuple[float, ...], Any] = {}
        self.seen: list[Any] = []
        self._kinks: list[tuple[float, ...]] = []

    def moments(self, x: Sequence[float]) -> Any:
        """``gamma, E[f^2], E[f'^2], E[f]``; nan where they are not finite."""
        import numpy as np

        key = tuple(map(float, x))
        if key in self._seen:
            return self._seen[key]
        params = self.known | dict(zip(self.program.free, key, strict=True))
        baseline = self.program.baseline
        z, w = _rule(self._kinks_at(params))
        with np.errstate(all="ignore"):
            f = np.broadcast_to(np.asarray(baseline.function(np, z, params), float), z.shape)
            df = np.broadcast_to(np.asarray(baseline.derivative(np, z, params), float), z.shape)
            found = np.array([w @ (z * f * df), w @ (f * f), w @ (df * df), w @ f])
        if len(self._seen) > 5000:
            self._seen.clear()
        self._seen[key] = found
        return found

    def _together(self, points: Any) -> Any:
        """The moments at several points, a row each; in one evaluation where the kinks stay."""
        import numpy as np

        if not self._kinks_stay:
            return np.array([self.moments(x) for x in points])
        baseline = self.program.baseline
        params: dict[str, Any] = {**self.known, **dict(zip(self.program.free, points.T[:, :, None], strict=True))}
        z, w = _rule(self._kinks[0])
        with np.errstate(all="ignore"):
            shape = (len(points), len(z))
            f = np.broadcast_to(np.asarray(baseline.function(np, z, params), float), shape)
            df = np.broadcast_to(np.asarray(baseline.derivative(np, z, params), float), shape)
            return np.stack([(z * f * df) @ w, (f * f) @ w, (df * df) @ w, f @ w], axis=-1)

    @property
    def _kinks_stay(self) -> bool:
        return len(self._kinks) == _STEADY and len(set(self._kinks)) == 1

    def _kinks_at(self, params: Mapping[str, float]) -> tuple[float, ...]:
        """Where the kinks are; those that have been the same at three places stay there."""
        if self._kinks_stay:
            return self._kinks[0]
        found = tuple(float(k) for k in self.program.baseline.kinks(None, dict(params)))
        if len(self._kinks) < _STEADY:
            self._kinks.append(found)
        return found

    def least_slope(self, x: Sequence[float]) -> float:
        """The infimum of f' where nearly all inputs are."""
        import numpy as np

        params = self.known | dict(zip(self.program.free, map(float, x), strict=True))
        z = np.concatenate([_rule(self._kinks_at(params))[0], [-30.0, -20.0, 20.0, 30.0]])
        with np.errstate(all="ignore"):
            return float(np.min(self.program.baseline.derivative(np, z, params)))

    def jacobian(self, x: Sequence[float]) -> Any:
        """Of the moments by the parameters: rows as in ``NAMES``, by central differences."""
        import numpy as np

        here = np.array(x, float)
        steps = np.diag(_STEP * np.maximum(np.abs(here), 1e-4))
        up, down = here + steps, here - steps
        found = self._together(np.concatenate([up, down]))
        n = len(here)
        return ((found[:n] - found[n:]) / (np.diag(up) - np.diag(down))[:, None]).T

    def starts(self) -> list[tuple[float, ...]]:
        """Signs and magnitudes of every parameter, within the bounds; the most promising first, and far apart."""
        import numpy as np

        program = self.program
        count = max(2, int(_MOST_STARTS ** (1 / len(program.free)) / 2))
        axes = []
        for name in program.free:
            low, high = program.range(name)
            values = [sign * m for m in _MAGNITUDES[:count] for sign in (1, -1)]
            inside = [v for v in values if low <= v <= high]
            inside += [v for v in (low, high) if abs(v) < _FARTHEST] + [(low + high) / 2] * (high - low < 1)
            if low > -_FARTHEST and not any(v > low for v in inside):
                inside += [v for v in (low + 1, low + abs(low)) if v <= high]
            axes.append(list(dict.fromkeys(inside)))
        targets = np.array([float(t) for t in program.targets])
        rows = [NAMES.index(name) for name in program.conditions]
        ranked = []
        self.seen = []
        for x in product(*axes):
            found = self.moments(x)
            if np.isfinite(found).all():
                self.seen.append(found)
                short = np.abs(np.log(np.maximum(found[1], 1e-300))) if "second_moment" in program.conditions else 0
                excess = short + np.abs(found[rows] - targets).sum() / (1 + np.abs(found[rows]).sum())
                ranked.append((float(excess), x))
        ranked.sort()
        chosen: list[tuple[float, ...]] = []
        for _, x in ranked:  # one of each pattern of signs first, then the rest by rank
            if all(_signs(x) != _signs(other) for other in chosen):
                chosen.append(x)
        chosen = chosen[: 2 * _DESCENTS // 3]
        chosen += [x for _, x in ranked if x not in chosen][: _DESCENTS - len(chosen)]
        return chosen

    def minima(self) -> list[Start]:
        """Stationary points, the smallest gamma first."""
        found: list[Start] = []
        for x in self.starts():
            start = self.descend(x)
            if start is not None and all(_apart(start.x, other.x) for other in found):
                found.append(start)
        return sorted(found, key=lambda start: (round(start.gamma, 5), sum(v < 0 for v in start.x), start.gamma))

    def descend(
        self, x: Sequence[float], fixed: Mapping[str, float] | None = None, roots: bool = False
    ) -> Start | None:
        """A minimum of gamma under the conditions and bounds, with some parameters ``fixed``; with ``roots`` any point.

        Steps down along the solutions of the conditions, each corrected back to them; None where there are none near.
        """
        import numpy as np

        names = self.program.free
        ends = [(fixed[n], fixed[n]) if fixed and n in fixed else self.program.range(n) for n in names]
        low, high = (np.array(side) for side in zip(*ends, strict=True))
        with np.errstate(all="ignore"):
            here = self._corrected(np.clip(np.array(x, float), low, high), low, high)
            if here is None:
                return None
            size = 0.1
            for _ in range(0 if roots or len(names) == len(self._rows) else _DOWN):
                scale = np.maximum(np.abs(here), 0.1)
                step = self._downhill(here, scale, low, high)
                length = float(np.abs(step).max())
                if not length > 1e-9:
                    break
                if np.abs(here).max() > _LOST or (here == 0).any():
                    break
                there = self._corrected(np.clip(here + min(size, size / length) * scale * step, low, high), low, high)
                if there is not None and self.moments(there)[0] < self.moments(here)[0]:
                    here, size = there, size * 2
                else:
                    size /= 4
                if size * min(1, length) < 1e-8:
                    break
        found = self.moments(here)
        at = tuple(map(float, here))
        return Start(float(found[0]), float(found[3]), at, self._active(at))

    @cached_property
    def _rows(self) -> list[int]:
        return [NAMES.index(name) for name in self.program.conditions]

    @cached_property
    def _targets(self) -> Any:
        import numpy as np

        return np.array([float(target) for target in self.program.targets])

    def _corrected(self, x: Any, low: Any, high: Any) -> Any:
        """The nearest point at which the conditions hold, by Newton's method of least norm; None where it is lost."""
        import numpy as np

        short = self.moments(x)[self._rows] - self._targets
        if not np.isfinite(short).all():
            return None
        for _ in range(_CORRECTIONS):
            size = float(np.abs(short).max())
            if size < 1e-11:
                return x
            scale = np.maximum(np.abs(x), 0.1)
            matrix = self.jacobian(x)[self._rows] * scale
            open_ = (low < high) & np.isfinite(matrix).all(axis=0)
            for _ in range(len(x)):  # what would leave its bounds stays on them
                if not open_.any():
                    return None
                change = np.zeros(len(x))
                change[open_] = -np.linalg.lstsq(matrix[:, open_], short, rcond=1e-13)[0]
                out = open_ & (((x <= low) & (change < 0)) | ((x >= high) & (change > 0)))
                if not out.any():
                    break
                open_ &= ~out
            part = min(1.0, 1.0 / max(float(np.abs(change).max()), 1e-300))
            while part > 1e-4:
                there = np.clip(x + part * scale * change, low, high)
                left = self.moments(there)[self._rows] - self._targets
                if np.isfinite(left).all() and np.abs(left).max() < size:
                    break
                part /= 3
            else:
                return x if size < _HOLDS else None
            x, short = there, left
        return x if float(np.abs(short).max()) < _HOLDS else None

    def _downhill(self, x: Any, scale: Any, low: Any, high: Any) -> Any:
        """Less the gradient of gamma along the conditions and the bounds, in units of ``scale``."""
        import numpy as np

        jacobian = self.jacobian(x) * scale
        open_ = low < high
        for _ in range(len(x) + 1):
            step = np.zeros(len(x))
            matrix, gradient = jacobian[self._rows][:, open_], jacobian[0, open_]
            if not np.isfinite(matrix).all() or not np.isfinite(gradient).all() or not open_.any():
                return step
            kept = np.linalg.lstsq(matrix.T, gradient, rcond=None)[0]
            step[open_] = -(gradient - matrix.T @ kept)
            out = open_ & (((x <= low) & (step < 0)) | ((x >= high) & (step > 0)))
            if not out.any():
                return step
            open_ = open_ & ~out
        return step

    def _active(self, x: Sequence[float]) -> tuple[Bound, ...]:
        here = dict(zip(self.program.free, x, strict=True))
        return tuple(
            bound
            for bound in self.program.bounds
            if bound.relation != "=" and abs(here[bound.name] - bound.number) <= _SLACK * max(1.0, abs(bound.number))
        )

    def at_epsilon(self, epsilon: float, x: Sequence[float]) -> tuple[float, ...] | None:
        """Any parameters near x that meet the conditions with another epsilon."""
        other = Search(replace(self.program, epsilon=Fraction(epsilon)))
        other._seen, other._kinks = self._seen, self._kinks
        found = other.descend(x, roots=True)
        return None if found is None else found.x

    def falling(self, start: Start | None) -> tuple[str, str, list[tuple[float, float]]] | None:
        """A parameter with which gamma falls for ever: its name, where it goes, and gamma on the way from ``start``."""
        for towards, factor in (("0", 0.25), ("infinity", 4.0)):
            for i, name in enumerate(self.program.free):
                first = start or self._fixed(name, 1.0) or self._fixed(name, 0.25)
                if first is None or not first.x[i]:
                    continue
                path = [(first.x[i], first.gamma)]
                x: Sequence[float] = first.x
                for _ in range(_FALLS):
                    value = path[-1][0] * factor
                    low, high = self.program.range(name)
                    if not low <= value <= high:
                        break
                    moved = self.descend(x, {name: value})
                    if moved is None or moved.gamma >= path[-1][1] - 1e-9:
                        break
                    x = moved.x
                    path.append((value, moved.gamma))
                else:
                    return name, towards if first.x[i] > 0 or towards == "0" else "-infinity", path
        return None

    def _fixed(self, name: str, value: float) -> Start | None:
        """The smallest gamma with one parameter fixed."""
        found = [s for x in self.starts()[:_FALLS] if (s := self.descend(x, {name: value})) is not None]
        return min(found, key=lambda s: s.gamma, default=None)


def _signs(x: Sequence[float]) -> tuple[bool, ...]:
    return tuple(v > 0 for v in x)


def _apart(x: Sequence[float], y: Sequence[float]) -> bool:
    return max(abs(a - b) / max(1e-3, abs(b)) for a, b in zip(x, y, strict=True)) > 1e-4


# --- The optimum, as precisely as asked -------------------------------------------------------------------------------


class Optimum:
    """Moments and their derivatives at any precision."""

    def __init__(self, program: Program, budget: float = math.inf) -> None:
        self.program = program
        self._quadrature: Quadrature | None = None
        self.spent, self.budget = 0, budget

    def _spend(self) -> None:
        """Raises OutOfBudget where the activation has been evaluated as often as it may be."""
        self.spent += 1
        if self.spent > self.budget:
            raise OutOfBudget(
                f"the search was given up: {self.spent - 1} evaluations of the activation did not settle the optimum",
                f"fix a parameter: --set {self.program.free[0]}=1, or --bound '{self.program.free[0]}=1'",
            )

    def sums(self, mp: Any, x: Sequence[Any]) -> Sums:
        program, baseline = self.program, self.program.baseline
        params = {name: mp.mpf(v.numerator) / v.denominator for name, v in program.settings}
        params |= {name: mp.mpf(v) for name, v in zip(program.free, x, strict=True)}
        precise = baseline.precise
        assert precise is not None

        def at(mp: Any, z: Any) -> tuple[Any, Any]:
            self._spend()
            return precise(mp, z, params)

        self._quadrature = Quadrature(at, lambda mp: baseline.kinks(mp, params), self._quadrature)
        return self._quadrature.sums(mp, mp.mpf(1), mp.mpf(0))

    def moments(self, mp: Any, x: Sequence[Any]) -> dict[str, Any]:
        sums = self.sums(mp, x)
        return {
            "gamma": (sums.square[2] - sums.square[0]) / 2,
            "second_moment": sums.square[0],
            "chi": sums.slope[0],
            "mean": sums.value[0],
            "kappa": sums.fourth / sums.slope[0] ** 2,
            "mean_slope": sums.value[1],
        }

    def jets(self, mp: Any, x: Sequence[Any], curved: bool) -> dict[str, Jet]:
        """The moments with gradient and, where ``curved``, Hessian: forward differences whose error is the last bit."""
        n, precision = len(x), mp.prec
        try:
            mp.prec = (3 if curved else 2) * precision + 20
            steps = [mp.ldexp(1, max(mp.mag(v), -20) - precision) for v in x]

            def at(*moved: int) -> dict[str, Any]:
                point = list(x)
                for i in moved:
                    point[i] = point[i] + steps[i]
                return self.moments(mp, point)

            centre = at()
            first = [at(i) for i in range(n)]
            second = {pair: at(*pair) for pair in combinations_with_replacement(range(n), 2)} if curved else {}
            made = {}
            for name in NAMES:
                gradient = [(first[i][name] - centre[name]) / steps[i] for i in range(n)]
                hessian = [[mp.mpf(0)] * (i + 1) for i in range(n)]
                for (j, i), there in second.items():
                    change = there[name] - first[i][name] - first[j][name] + centre[name]
                    hessian[i][j] = change / (steps[i] * steps[j])
                for i in range(n if curved else 0):  # from forward to central, as far as the Hessian tells
                    gradient[i] = gradient[i] - hessian[i][i] * steps[i] / 2
                made[name] = Jet(centre[name], gradient, hessian)
        finally:
            mp.prec = precision
        return made

    def polish(self, start: Point, active: Sequence[Bound], precision: int) -> Point:
        """Newton's method to some 40 bits; then with the matrix kept, each step of which gains as many."""
        mp, rough = context(precision), context(_ROUGH_BITS + GUARD)
        point = newton(
            rough,
            lambda x: self._program(rough, x, active, True),
            Point([rough.mpf(v) for v in start.x], []),
            _SEEN,
            _ROUGH_BITS + GUARD,
            GUARD,
        )
        objective, constraints = self._program(rough, point.x, active, True)
        matrix = kkt_matrix(rough, objective, constraints, point.multipliers)
        x = [mp.mpf(v) for v in point.x]
        mus = [mp.mpf(mu) for mu in point.multipliers]
        n = len(x)
        for _ in range(_CHORDS):
            objective, constraints = self._program(mp, x, active, False)
            residual = rough.matrix(n + len(mus), 1)
            for i in range(n):
                pull = sum((mu * h.gradient[i] for mu, h in zip(mus, constraints, strict=True)), mp.mpf(0))
                residual[i] = rough.mpf(pull - objective.gradient[i])
            for i, h in enumerate(constraints):
                residual[n + i] = rough.mpf(-h.value)
            change = rough.lu_solve(matrix, residual)
            x = [v + mp.mpf(change[i]) for i, v in enumerate(x)]
            mus = [mu + mp.mpf(change[n + i]) for i, mu in enumerate(mus)]
            if (
                max(rough.mag(change[i]) - max(mp.mag(v), 0) for i, v in enumerate(x))
                < -(precision - GUARD // 2) // 2 - 12
            ):
                return Point(x, mus)
        raise CannotCompute("the optimum could not be polished", "--bound on one of the parameters")

    def _program(self, mp: Any, x: list[Any], active: Sequence[Bound], second: bool) -> tuple[Jet, list[Jet]]:
        """Gamma, and the conditions and active bounds, zero where they hold."""
        program, free = self.program, self.program.free
        curved = second and len(free) > len(program.conditions) + len(active)
        found = self.jets(mp, x, curved)
        constraints = [
            found[name] - mp.mpf(target.numerator) / target.denominator
            for name, target in zip(program.conditions, program.targets, strict=True)
        ]
        for bound in active:
            i = free.index(bound.name)
            constraints.append(
                Jet.variable(x[i], i, len(free)) - mp.mpf(bound.value.numerator) / bound.value.denominator
            )
        return found["gamma"], constraints


class Found(NamedTuple):
    """The optimum: parameters and moments by name as rationals, active bounds with their multipliers, ties."""

    values: dict[str, Fraction]
    active: tuple[Bound, ...]
    multipliers: tuple[Fraction, ...]
    tied: bool
    precision: int


def solve(search: Search, digits: int | None) -> Found:
    """The stationary point with the smallest gamma, of those the search finds; of equal ones the smaller ``|E[f]|``.

    Raises NoSolution where the conditions cannot be met or gamma has no smallest value, CannotCompute where the
    optimum cannot be found precisely.
    """
    program = search.program
    minima = search.minima()
    if not minima:
        raise unsolved(search)
    freedom = len(program.free) - len(program.conditions)
    best = minima[0]
    if freedom > len(best.active):  # else bounds and conditions leave no freedom
        extreme = max(map(abs, best.x)) > _EXTREME or min(map(abs, best.x)) < 1 / _EXTREME
        fall = search.falling(None if extreme else best)
        if fall is not None:
            return _at_zero(search, fall, digits)
    equal = _unlike([start for start in minima if start.gamma - best.gamma < _NEAR])
    bits = 53 if digits is None else max(53, digits * 3322 // 1000 + 4)
    precision = bits + 24 + GUARD
    polished: list[tuple[Any, Any, Start, Point]] = []
    failed: CannotCompute | None = None
    optimum = Optimum(program, BUDGET * precision)
    mp = context(precision)
    for start in equal[:4]:
        try:
            active, point = start.active, Point([mp.mpf(v) for v in start.x], [])
            while True:
                point = optimum.polish(point, active, precision)
                wrong = _wrong(active, point)
                if wrong is None:
                    break
                active = tuple(bound for bound in active if bound is not wrong)
            polished.append((point, optimum.moments(mp, point.x), start._replace(active=active), point))
        except OutOfBudget:
            raise
        except CannotCompute as error:
            failed = error
    if not polished:
        fall = search.falling(best) if freedom else None
        if fall is not None:
            return _at_zero(search, fall, digits)
        raise failed or unsolved(search)
    least = min(found["gamma"] for _, found, _, _ in polished)
    close = [each for each in polished if each[1]["gamma"] - least < mp.mpf(2) ** -40]
    point, found, start, _ = min(
        close, key=lambda each: (round(abs(float(each[1]["mean"])), 12), [-float(v) for v in each[0].x])
    )
    values = {name: fraction(value) for name, value in found.items()}
    values |= {name: fraction(value) for name, value in zip(program.free, point.x, strict=True)}
    values |= dict(zip(program.conditions, program.targets, strict=True))
    values |= {bound.name: bound.value for bound in start.active}
    values = {name: Fraction(0) if abs(v) < Fraction(1, 1 << (bits + 24)) else v for name, v in values.items()}
    count = len(start.active)
    return Found(
        values,
        start.active,
        tuple(fraction(mu) for mu in point.multipliers[len(point.multipliers) - count :]),
        len(close) > 1 or len([s for s in minima if s.gamma - best.gamma < _NEAR]) > len(equal),
        precision,
    )


def _unlike(starts: Sequence[Start]) -> list[Start]:
    """Of mirror images, with the same gamma and size of the mean, the one with the larger parameters."""
    chosen: dict[float, Start] = {}
    for start in sorted(starts, key=lambda start: [-v for v in start.x]):
        chosen.setdefault(round(abs(start.mean), 5), start)
    return sorted(chosen.values(), key=lambda start: abs(start.mean))


def _wrong(active: Sequence[Bound], point: Point) -> Bound | None:
    for bound, mu in zip(active, point.multipliers[len(point.multipliers) - len(active) :], strict=True):
        if (bound.relation == ">=" and mu < 0) or (bound.relation == "<=" and mu > 0):
            return bound
    return None


def _at_zero(search: Search, fall: tuple[str, str, list[tuple[float, float]]], digits: int | None) -> Found:
    """Where gamma falls on the way to 0 of a parameter, and is least there: the optimum with that parameter 0.

    Raises NoSolution where gamma has no smallest value.
    """
    program = search.program
    name, towards, path = fall
    low, high = program.range(name)
    if towards != "0" or not low <= 0 <= high:
        raise _falls(fall)
    rest = replace(
        program,
        free=tuple(other for other in program.free if other != name),
        settings=(*program.settings, (name, Fraction(0))),
        bounds=tuple(bound for bound in program.bounds if bound.name != name),
    )
    try:
        found = solve(Search(rest), digits)
    except (NoSolution, CannotCompute):
        raise _falls(fall) from None
    if found.values["gamma"] > path[-1][1] + 1e-9:
        raise _falls(fall)
    return found._replace(values=found.values | {name: Fraction(0)})


def _falls(fall: tuple[str, str, list[tuple[float, float]]]) -> NoSolution:
    name, towards, path = fall
    shown = ", ".join(f"{gamma:.6g} at {name} = {value:.3g}" for value, gamma in (path[0], path[2], path[-1]))
    side = "<=" if towards == "infinity" or (towards == "0" and path[0][0] < 0) else ">="
    value = path[0][0]
    near = 1 if towards == "0" else float(f"{abs(value):.1g}")
    return NoSolution(
        f"gamma keeps falling as {name} goes to {towards}, and has no smallest value: {shown}",
        f"--bound '{name}{side}{math.copysign(near, value):g}'",
    )


def unsolved(search: Search) -> NoSolution:
    """Why there is no solution: where gamma falls for ever, else which condition fails."""
    program = search.program
    if len(program.free) > len(program.conditions):
        fall = search.falling(None)
        if fall is not None:
            return _falls(fall)
    if not search.seen:
        return NoSolution(
            "no solution: the expectations over a normal input are finite nowhere in the search",
            "an expression that grows less",
        )
    words = {
        "second_moment": "E[f^2] = 1",
        "chi": f"E[f'^2] = {float(1 + (program.epsilon or 0))!r}",
        "mean": "E[f] = 0",
    }
    for name, target in zip(program.conditions, program.targets, strict=True):
        values = [float(found[NAMES.index(name)]) for found in search.seen]
        if not min(values) <= float(target) <= max(values):
            return NoSolution(
                f"no solution: {words[name]} is not met anywhere; where the search looked it is between "
                f"{min(values):.6g} and {max(values):.6g}",
                "another --bound, or more --free parameters",
            )
    sizes = f"{min(_MAGNITUDES):g} to {max(_MAGNITUDES):g}"
    searched = f"the search went over {', '.join(program.free)} of both signs from {sizes}"
    if program.epsilon is not None:
        ends = _somewhere(search)
        if ends is not None:
            others = " and ".join((*(words[n] for n in program.conditions if n != "chi"), *map(str, program.bounds)))
            side = f"up to {ends[1]:.7g}" if ends[1] is not None else "of any size"
            return NoSolution(
                f"no solution at epsilon = {float(program.epsilon)!r}: with {others} there is one from "
                f"{ends[0]:.7g} {side}; {searched}",
                f"--epsilon {float(f'{(ends[0] + (ends[1] or 1)) / 2:.2g}')!r}",
                ends,
            )
    named = " and ".join(words[name] for name in program.conditions)
    return NoSolution(
        f"no solution: {named} hold nowhere together; {searched}",
        "another --epsilon or --bound, or more --free parameters",
    )


def _somewhere(search: Search) -> tuple[float, float | None] | None:
    """The range of epsilon from the first of a few others that has a solution."""
    for epsilon in _OTHERS:
        other = Search(replace(search.program, epsilon=Fraction(epsilon)))
        for x in other.starts()[:_FALLS]:
            found = other.descend(x, roots=True)
            if found is not None:
                return epsilon_range(other, found.x)
    return None


def epsilon_range(search: Search, x: Sequence[float]) -> tuple[float, float | None]:
    """The epsilons up to which a solution can be followed from ``x``, to about 1e-6; None for no upper end."""
    assert search.program.epsilon is not None
    epsilon = float(search.program.epsilon)
    low = _followed(search, x, epsilon, 0.25, _LEAST)
    high = _followed(search, x, max(epsilon, _LEAST), 2.0, _ANY_SIZE)
    return 0.0 if low <= 100 * _LEAST else low, None if high >= _ANY_SIZE else high


def _followed(search: Search, x: Sequence[float], epsilon: float, factor: float, end: float) -> float:
    """The last epsilon with a solution on the way to ``end`` by ``factor``; then by halves of the last step."""
    x = tuple(x)
    for _ in range(_FOLLOWED):
        following = max(epsilon * factor, end) if factor < 1 else min(epsilon * factor, end)
        found = search.at_epsilon(following, x)
        if found is None:
            factor = math.sqrt(factor)
            if abs(factor - 1) < 1e-7:
                return epsilon
            continue
        x, epsilon = found, following
        if epsilon == end:
            return end
    return epsilon
