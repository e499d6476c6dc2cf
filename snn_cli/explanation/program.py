"""A solution's program in symbols: its function, its moments and its numbers, each as an expression of sympy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import sympy

from snn_cli.arithmetic.multiprecision import Multiprecision
from snn_cli.arithmetic.symbolic import Symbolic
from snn_cli.errors import InputError

if TYPE_CHECKING:
    from snn_cli.activations.family import Family
    from snn_cli.arithmetic.protocol import Value
    from snn_cli.gaussian import Branch
    from snn_cli.records import Solution

NAMES = {"mean": "E[f]", "second_moment": "E[f^2]", "chi": "E[f'^2]", "gamma": "gamma"}
"""Names on paper."""


@dataclass(frozen=True, slots=True)
class Program:
    """A record, with its family in symbols.

    symbols, epsilon
        Parameter -> sympy symbol, and that of epsilon. sympy sorts by name: ``a0, a1, ...`` keep the family's order.
    f, df
        The negative and the positive branch, as expressions in ``x``.
    moments
        ``mean, second_moment, chi, gamma``: polynomials in the parameters and the named constants of ``ar``.
    digits, values
        An arithmetic precise enough for the cancellation that there is, and in it every symbol's value.
    """

    family: Family
    solution: Solution
    ar: Symbolic
    symbols: dict[str, Value]
    epsilon: Value
    rate: Value
    f: tuple[Value, Value]
    df: tuple[Value, Value]
    moments: dict[str, Value]
    digits: Multiprecision
    values: dict[Value, Value]

    @classmethod
    def of(cls, family: Family, solution: Solution) -> Program:
        """Raises InputError for a record that is not of this family."""
        if solution.closure not in family.closures:
            raise InputError(
                f"{family.name} has no closure {solution.closure!r}; it has {', '.join(family.closures)}",
                "snn solve --act lselu --epsilon 0.03 --json",
            )
        if set(solution.params) != set(family.parameters):
            raise InputError(
                f"the parameters of {family.name} are {', '.join(family.parameters)}, not {', '.join(solution.params)}",
                "snn solve --act lselu --epsilon 0.03 --json",
            )
        ar = Symbolic(named=True)
        symbols = {name: sympy.Symbol(f"a{i}", real=True) for i, name in enumerate(family.parameters)}
        epsilon = sympy.Symbol("epsilon")
        f = family.shape(ar, symbols)
        df = f.derivative()
        moments = {
            "mean": f.expectation(),
            "second_moment": (f * f).expectation(),
            "chi": (df * df).expectation(),
            "gamma": (f * df).times_power(1).expectation(),
        }
        digits = Multiprecision(_bits(solution))
        values = {symbol: digits.number(Fraction(solution.params[name])) for name, symbol in symbols.items()}
        values[epsilon] = digits.number(Fraction(solution.epsilon))
        values |= {constant: ar.value(constant, digits, values) for constant in (ar.density, *ar.tails)}
        return cls(
            family=family,
            solution=solution,
            ar=ar,
            symbols=symbols,
            epsilon=epsilon,
            rate=f.negative.moments.rate,
            f=(_formula(f.negative), _formula(f.positive)),
            df=(_formula(df.negative), _formula(df.positive)),
            moments={name: _collect(moment, symbols.values()) for name, moment in moments.items()},
            digits=digits,
            values=values,
        )

    @property
    def conditions(self) -> tuple[str, ...]:
        return self.family.closures[self.solution.closure]

    @property
    def names(self) -> dict[Value, str]:
        """Symbol -> its name on paper, in ASCII."""
        constants = {c: str(c) for c in (self.epsilon, self.ar.density, *self.ar.tails)}
        return {symbol: name for name, symbol in self.symbols.items()} | constants

    def value(self, expression: Value) -> Value:
        return self.ar.value(expression, self.digits, self.values)

    def shown(self, expression: Value) -> str:
        return printed(self.value(expression))

    def gradient(self, expression: Value) -> list[Value]:
        """Partial derivatives by the parameters, in the family's order."""
        return [self.ar.diff(expression, symbol) for symbol in self.symbols.values()]

    def collect(self, expression: Value) -> Value:
        return _collect(expression, self.symbols.values())


def _bits(solution: Solution) -> int:
    """Working precision: 77 digits, and sixteen times the magnitude of the parameters.

    What cancels are up to four powers of a parameter in a moment, twelve in a determinant of three gradients.
    """
    size = max((abs(math.frexp(x)[1]) for x in solution.params.values() if x), default=0)
    return 256 + 16 * size


def _formula(branch: Branch) -> Value:
    """One branch as an expression in ``x``."""
    x = sympy.Symbol("x", real=True)
    rate = branch.moments.rate
    return sympy.factor_terms(sum(c * x**n * sympy.exp(k * rate * x) for (n, k), c in branch.terms.items()))


def _collect(expression: Value, symbols: Any) -> Value:
    """A polynomial as a sum over the monomials in ``symbols``; anything else is only expanded."""
    symbols = tuple(symbols)
    expanded = sympy.expand(expression)
    try:
        terms = sympy.Poly(expanded, *symbols).terms()
    except sympy.PolynomialError:
        return expanded
    return sympy.Add(*(c * sympy.Mul(*(s**n for s, n in zip(symbols, powers, strict=True))) for powers, c in terms))


def printed(x: Value) -> str:
    """The nearest double where it is a normal one, else 17 significant digits."""
    nearest = float(x)
    if not x or (math.isfinite(nearest) and abs(nearest) > 1e-300):
        return repr(nearest)
    return str(x.context.nstr(x, 17))
