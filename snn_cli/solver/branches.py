"""The candidates of a family at an epsilon: which of them is the solution, and the epsilon that ``auto`` asks for."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from snn_cli.arithmetic.dual import DualArithmetic
from snn_cli.arithmetic.multiprecision import Multiprecision, NoConvergence
from snn_cli.errors import CannotCompute, NoSolution
from snn_cli.solver.feasible import feasible_range

if TYPE_CHECKING:
    from snn_cli.activations.family import Family, Values
    from snn_cli.arithmetic.protocol import SolvingArithmetic, Value
    from snn_cli.problem import Problem

_AUTO_FACTOR = Fraction(5, 4)
_AUTO_LOW = Fraction(1, 1000)  # of 1/N
_AUTO_END = 10**6


def candidates(ar: SolvingArithmetic, problem: Problem, epsilon: Value) -> list[Values]:
    try:
        return problem.family.candidates(ar, problem.closure, epsilon, problem.lam_in(ar))
    except NoConvergence:
        raise CannotCompute(
            f"the equations of {problem.family.name} could not be solved at this epsilon", "--epsilon 0.03"
        ) from None


def choose(ar: Multiprecision, family: Family, branches: list[Values]) -> int:
    """The theory's rule: of those with lambda > 0 and alpha >= 0 the smallest gamma, then the smallest ``|E[f]|``."""
    found = {}
    for index, params in enumerate(branches):
        if params["lambda"] > 0 and params["alpha"] >= 0:
            f = family.shape(ar, params)
            found[index] = ((f * f.derivative()).times_power(1).expectation(), abs(f.expectation()))
    limit = min(gamma for gamma, _ in found.values()) + ar.number(_negligible(ar.precision))
    return min((mean, index) for index, (gamma, mean) in found.items() if gamma <= limit)[1]


def multiplier(ar: Multiprecision, problem: Problem, index: int, epsilon: Value) -> Value:
    """``d gamma / d lambda`` along the solutions at that epsilon."""
    dual = DualArithmetic(ar, 1)
    lam = dual.variable(problem.lam_in(ar), 0)
    params = problem.family.candidates(dual, problem.closure, dual.constant(epsilon), lam)[index]
    f = problem.family.shape(dual, params)
    return (f * f.derivative()).times_power(1).expectation().gradient[0]


def drift(ar: Any, problem: Problem, index: int, epsilon: Value) -> Value:
    """Drift of the log squared gradient norm on one branch at that epsilon."""
    from snn_cli.propagation.finite_width import gradient_drift

    assert problem.fan_in is not None
    shape = problem.family.shape(ar, candidates(ar, problem, epsilon)[index])
    return gradient_drift(ar, shape, problem.fan_in).drift


def drift_root(problem: Problem, guard: int) -> tuple[int, Value]:
    """The branch, and a starting value for the epsilon of zero drift: near ``1/N``, its limit for wide layers.

    The drift rises through zero there: bracketed, then halved. Raises NoSolution where it does not change sign.
    """
    fan_in = problem.fan_in or 1
    ar = Multiprecision(guard + 64, guard)
    interval = problem.family.feasible(ar, problem.closure, problem.lam_in(ar))
    assert interval is not None
    end = ar.number(_AUTO_END) if interval.hi is None else interval.hi
    factor, lowest = ar.number(_AUTO_FACTOR), ar.number(_AUTO_LOW / fan_in)
    low = high = min(ar.number(Fraction(1, fan_in)), end / 2)
    index = choose(ar, problem.family, candidates(ar, problem, high))
    while drift(ar, problem, index, low) > 0:
        low, high = low / factor, low
        if low < lowest:
            raise _no_drift_root(problem)
    while drift(ar, problem, index, high) <= 0:
        low, high = high, min(high * factor, (high + end) / 2)
        if end - high < end / 1000:
            raise _no_drift_root(problem)
    for _ in range(4):
        middle = (low + high) / 2
        low, high = (low, middle) if drift(ar, problem, index, middle) > 0 else (middle, high)
    return index, (low + high) / 2


def _no_drift_root(problem: Problem) -> NoSolution:
    ends = feasible_range(problem)
    return NoSolution(
        f"no epsilon makes the drift of {problem.family.name} zero at fan-in {problem.fan_in}; "
        f"solutions exist for {ends}",
        "--fanin 64, or --epsilon 0.03",
        ends.doubles,
    )


def _negligible(precision: int) -> Fraction:
    """Below this two gammas differ by rounding error alone: the guard bits keep those of two branches apart."""
    return Fraction(1, 1 << (3 * precision) // 4)
