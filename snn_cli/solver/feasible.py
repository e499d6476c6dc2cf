"""The epsilons that a family has a solution for, and what to say of one that it has not."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from snn_cli.arithmetic.multiprecision import Multiprecision, fraction
from snn_cli.errors import NoSolution
from snn_cli.exact import decimal_string, nearest_double
from snn_cli.problem import MARGIN, guard_bits

if TYPE_CHECKING:
    from snn_cli.activations.family import Interval
    from snn_cli.problem import Problem


class Feasible(NamedTuple):
    """The feasible range of epsilon: ends as rationals close to the exact values, and as records hold them."""

    exact: tuple[Fraction, Fraction | None]
    open: tuple[bool, bool]

    @property
    def doubles(self) -> tuple[float, float | None]:
        lo, hi = self.exact
        return nearest_double(lo), None if hi is None else nearest_double(hi)

    def __str__(self) -> str:
        lo, hi = self.doubles
        left = f"{repr(lo).removesuffix('.0')} {'<' if self.open[0] else '<='} epsilon"
        return left if hi is None else f"{left} {'<' if self.open[1] else '<='} {hi!r}"


def _interval(problem: Problem, lam: Fraction | None, bits: int = 53 + MARGIN) -> Interval | None:
    """The feasible range of epsilon with that lambda, to ``bits`` bits."""
    guard = guard_bits(problem.epsilon if isinstance(problem.epsilon, Fraction) else None, lam)
    ar = Multiprecision(bits + guard)  # by default the precision of the first evaluation: one context serves both
    return problem.family.feasible(ar, problem.closure, None if lam is None else ar.number(lam))


def feasible_range(problem: Problem) -> Feasible:
    """The feasible range, at rising precision until the doubles of its ends, and epsilon's side of them, are decided.

    Raises NoSolution where there is none for any epsilon.
    """
    bits = 53 + MARGIN
    interval = _interval(problem, problem.lam)
    if interval is None:
        option = f"--{problem.closure.replace('_', '-')}"
        raise NoSolution(
            f"{problem.family.name} has no solution for any epsilon with {option} {_shown(problem.lam)}: "
            "E[f^2] = 1 needs lambda below sqrt(2) = 1.4142135623730951",
            _smaller(problem),
        )
    least = problem.least
    while True:
        lo = fraction(interval.lo)
        hi = None if interval.hi is None else fraction(interval.hi)
        ends = [lo] if hi is None else [lo, hi]
        if all(_end_decided(end, abs(end) / (1 << bits), problem.epsilon, least) for end in ends):
            return Feasible((lo, hi), (interval.lo_open, interval.hi_open))
        bits *= 2
        interval = _interval(problem, problem.lam, bits)
        assert interval is not None


def _end_decided(end: Fraction, error: Fraction, epsilon: Fraction | str, least: Fraction) -> bool:
    """Whether an end known to ``error`` has its double, and lies on its side of epsilon, or is as good as epsilon."""
    if isinstance(epsilon, Fraction) and least < error and abs(epsilon - end) <= 2 * error:
        return False
    return nearest_double(end - error) == nearest_double(end + error) or error < least


def stands_for_end(problem: Problem, feasible: Feasible) -> bool:
    """Whether epsilon stands for the closed upper end: it lies above, but rounds to the same double.

    Raises NoSolution where epsilon is outside the feasible range.
    """
    epsilon = problem.epsilon
    assert isinstance(epsilon, Fraction)
    lo, hi = feasible.exact
    below = epsilon < lo or (epsilon == lo and feasible.open[0])
    above = hi is not None and (epsilon > hi or (epsilon == hi and feasible.open[1]))
    if not below and not above:
        return False
    if above and hi is not None and not feasible.open[1] and nearest_double(epsilon) == nearest_double(hi):
        return True
    closure = {
        "lambda_min": f" with lambda >= {_shown(problem.lam)}",
        "lambda": f" with lambda = {_shown(problem.lam)}",
        "zero_mean": " with zero mean",
    }.get(problem.closure, "")
    raise NoSolution(
        f"{problem.family.name} has no solution at epsilon = {_shown(epsilon)}{closure}; it has one for {feasible}",
        _advice(problem, epsilon, feasible),
        feasible.doubles,
    )


def _advice(problem: Problem, epsilon: Fraction, feasible: Feasible) -> str:
    lo, hi = feasible.exact
    if hi is None or epsilon <= lo:
        return "--epsilon 0.001"
    advice = f"--epsilon {decimal_string(hi, 4, 'ROUND_FLOOR')}"
    if problem.lam is None:
        return advice
    lam = _reaching(problem, problem.lam / 2)
    return advice if lam is None else f"{advice}, or --{problem.closure.replace('_', '-')} {_shown(lam)}"


def _smaller(problem: Problem) -> str:
    """What to type instead of a lambda that is too large at any epsilon."""
    lam = _reaching(problem, Fraction(1))
    option = f"--{problem.closure.replace('_', '-')}"
    return f"{option} 1 --epsilon 0.03" if lam is None else f"{option} {_shown(lam)}"


def _reaching(problem: Problem, lam: Fraction) -> Fraction | None:
    """Of ``lam, lam/2, lam/4 ...`` the first with which the problem's epsilon is inside the feasible range."""
    epsilon = problem.epsilon
    for halvings in range(11):
        interval = _interval(problem, lam / (1 << halvings))
        if interval is None:
            continue
        if not isinstance(epsilon, Fraction):
            return lam / (1 << halvings)
        above = epsilon > fraction(interval.lo) or (epsilon == fraction(interval.lo) and not interval.lo_open)
        if above and (interval.hi is None or fraction(interval.hi) > epsilon):
            return lam / (1 << halvings)
    return None


def _shown(x: Fraction | None) -> str:
    return repr(nearest_double(x or Fraction(0))).removesuffix(".0")
