"""A problem evaluated at rising precision until every digit that is printed, and every sign, is decided."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from snn_cli.arithmetic.multiprecision import Multiprecision, fraction
from snn_cli.errors import CannotCompute
from snn_cli.exact import decimal_string, same_rounding, significant_bits
from snn_cli.gaussian import moments
from snn_cli.problem import LARGE_FLUCTUATION, MARGIN, guard_bits
from snn_cli.records.solution import MOMENTS
from snn_cli.solver import branches

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import SolvingArithmetic, Value
    from snn_cli.problem import Problem


class State(NamedTuple):
    """One evaluation of a problem: what is printed, and numbers of which only the sign is asked, at some precision."""

    values: dict[str, Value]
    signed: dict[str, Value]
    nonlinearity: float


class Evaluation:
    """A problem evaluated at rising precision until every value is decided.

    ``index`` is the family's candidate that the theory's rule chooses, ``precision`` and ``state`` the last ones,
    ``signs`` the decided signs of what ``state`` has as ``signed``.
    """

    def __init__(self, problem: Problem, end: Fraction | None = None) -> None:
        self.problem = problem
        self.index: int | None = None
        self.start: Value | None = None
        if problem.epsilon == "auto":
            assert problem.fan_in is not None
            self.guard = guard_bits(Fraction(1, problem.fan_in), problem.lam) + 64
            self.index, self.start = branches.drift_root(problem, self.guard)
        elif isinstance(problem.epsilon, Fraction):
            self.guard = guard_bits(problem.epsilon, problem.lam, end and 1 - problem.epsilon / end)
        else:
            self.guard = guard_bits(None, problem.lam)
        self.ar: Multiprecision | None = None
        self.precision = 0
        self.state: State
        self.signs: dict[str, int]

    @property
    def monotone(self) -> bool:
        """``f' >= 0`` everywhere."""
        return self.signs["least_slope"] >= 0

    @property
    def self_normalizing(self) -> bool:
        """``gamma < 1``."""
        return self.signs["attraction"] > 0

    def evaluate(self, precision: int) -> State:
        """Everything that is printed, at a precision in bits."""
        problem, family = self.problem, self.problem.family
        ar = self.ar = Multiprecision(precision, self.guard, self.ar)
        epsilon = self._epsilon()
        candidates = branches.candidates(ar, problem, epsilon)
        if self.index is None:
            self.index = branches.choose(ar, family, candidates)
        params = candidates[self.index]
        found = moments(family.shape(ar, params))
        values = dict(params)
        values.update((name, getattr(found, name)) for name in MOMENTS)
        values["epsilon"] = epsilon
        if problem.closure == "lambda_min" and problem.epsilon != "end":  # there the slope is infinite
            values["multiplier"] = branches.multiplier(ar, problem, self.index, epsilon)
        return State(
            values=values,
            signed={"least_slope": family.least_slope(ar, params), "attraction": 1 - found.gamma},
            nonlinearity=float(found.second_moment - found.mean**2 - found.mean_slope**2),
        )

    def _epsilon(self) -> Value:
        ar, problem = self.ar, self.problem
        assert ar is not None
        if isinstance(problem.epsilon, Fraction):
            return ar.number(problem.epsilon)
        if problem.epsilon == "auto":
            return ar.exp(ar.root(self._drift, lambda a: a.log(self.start)))
        interval = problem.family.feasible(ar, problem.closure, problem.lam_in(ar))
        assert interval is not None
        return interval.hi

    def _drift(self, ar: SolvingArithmetic, log_epsilon: Value) -> Value:
        return branches.drift(ar, self.problem, self.index or 0, ar.exp(log_epsilon))

    def decide(self, digits: int | None) -> dict[str, Fraction]:
        """Rationals that round to the same doubles, and decimals of ``digits`` digits, as the exact values.

        Two precisions give each value and a bound on its error; the precision rises until no rounding, and no sign,
        depends on it (Ziv's strategy). What is known exactly is taken as it is.
        """
        wanted = significant_bits(digits)
        precision = wanted + self.guard + MARGIN
        least = self.problem.least
        highest = 32 * precision + 4 * least.denominator.bit_length()
        previous = self.evaluate(precision)
        while precision < highest:
            precision += 64
            current = self.evaluate(precision)
            self.state, self.precision = current, precision
            try:
                values = self._values(current, previous, digits, least)
            except OverflowError:
                raise CannotCompute("the solution has a number too large for a double", "--epsilon 0.03") from None
            if values is not None:
                return values
            previous = current
            precision = precision * 3 // 2
        raise CannotCompute("the digits asked for could not be decided", "--digits 50")

    def _values(
        self, current: State, previous: State, digits: int | None, least: Fraction
    ) -> dict[str, Fraction] | None:
        """What ``current`` has, less what is zero; None where rounding it could depend on its errors."""
        exact = self.problem.exact_values()
        unit = Fraction(1, 1 << self.precision - self.guard)
        values = {}
        for name, value in current.values.items():
            if name in exact:
                values[name] = exact[name]
                continue
            here, error = self._error(value, previous.values[name])
            if abs(here) >= least and same_rounding(here - error, here + error, digits):
                values[name] = here
            elif max(abs(here), unit) + error < least:  # a 0 may be two numbers that differ by less than a unit
                values[name] = Fraction(0)
            else:
                return None
        self.signs = {}
        for name, value in current.signed.items():
            here, error = self._error(value, previous.signed[name])
            if abs(here) >= max(error, least):
                self.signs[name] = 1 if here > 0 else -1
            elif abs(here) + error < least:
                self.signs[name] = 0
            else:
                return None
        return values

    def _error(self, value: Value, before: Value) -> tuple[Fraction, Fraction]:
        """The rational value and a bound on its error: the last change, but no less than the guard bits leave."""
        here = fraction(value)
        return here, max(abs(here - fraction(before)), abs(here) / (1 << self.precision - self.guard))

    def decimals(self, values: dict[str, Fraction], digits: int) -> tuple[tuple[str, str], ...]:
        names = (*self.problem.family.parameters, *MOMENTS)
        if "epsilon" not in self.problem.exact_values():
            names = (*names, "epsilon")
        return tuple((name, decimal_string(values[name], digits)) for name in names)

    def residuals(self, params: dict[str, float]) -> dict[str, float]:
        """``E[f^2] - 1`` and ``E[f'^2] - (1 + epsilon)`` of the doubles, at the final precision."""
        ar = Multiprecision(self.precision, self.guard)
        found = moments(self.problem.family.shape(ar, {k: ar.number(Fraction(v)) for k, v in params.items()}))
        return {
            "second_moment": float(found.second_moment - 1),
            "chi": float(found.chi - 1 - self.state.values["epsilon"]),
        }

    def extrapolated(self) -> bool:
        """Whether the expansion behind ``auto`` is stretched at the problem's fan-in.

        It is when the correction to its wide-layer limit ``epsilon N = 1`` is as large as the limit itself, or when the
        stationary second moment strays from 1 by half.
        """
        from snn_cli.propagation.finite_width import gradient_drift

        fan_in, family, values = self.problem.fan_in, self.problem.family, self.state.values
        assert fan_in is not None
        ar = Multiprecision(self.precision, self.guard)
        shape = family.shape(ar, {p: values[p] for p in family.parameters})
        spread = gradient_drift(ar, shape, fan_in).q_variance
        return bool(values["epsilon"] * fan_in > 2 or spread > LARGE_FLUCTUATION)
