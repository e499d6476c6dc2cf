"""The optimum as precisely as asked: Newton's method with derivatives by differences at a higher precision."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

from snn_cli.arithmetic.multiprecision import context
from snn_cli.errors import CannotCompute
from snn_cli.program.free.search import NAMES
from snn_cli.program.jets import Jet
from snn_cli.program.kkt import Point, kkt_matrix, newton, solved
from snn_cli.program.quadrature import Quadrature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.program.bounds import Bound
    from snn_cli.program.free.search import Program
    from snn_cli.program.quadrature import Sums

_ROUGH_BITS = 44
_CHORDS = 60
_SEEN = 18  # bits of a parameter that the search gives
GUARD = 40


class OutOfBudget(CannotCompute):
    """The activation has been evaluated as often as it may be."""


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
            change = solved(rough, matrix, residual)
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
