"""sympy expressions as an arithmetic: a formula evaluated here returns its closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from fractions import Fraction

    from snn_cli.arithmetic.protocol import Arithmetic, Value


class NoClosedForm(ArithmeticError):
    """The value is the root of an equation that has no closed form."""


class Symbolic:
    """Exact expressions.

    named
        False: ``tail(s)`` is written out, ``e^(s^2/2) erfc(s / sqrt 2) / 2``, and ``phi(0)`` is ``1/sqrt(2 pi)``.
        True: both stand as positive symbols, ``phi0`` and, for ``tail(k rate)`` with a positive integer k, ``dk``;
        ``tails`` maps each symbol to its argument. Moments are then rational in the parameters and these constants,
        which keeps them short; ``diff`` and ``value`` know what the symbols stand for.
    """

    def __init__(self, named: bool = False) -> None:
        self.named = named
        self.density = sympy.Symbol("phi0", positive=True)
        self.tails: dict[Value, Value] = {}

    def number(self, x: int | Fraction) -> Value:
        return sympy.Rational(x.numerator, x.denominator)

    def exp(self, x: Value) -> Value:
        return sympy.exp(x)

    def log(self, x: Value) -> Value:
        return sympy.log(x)

    def sqrt(self, x: Value) -> Value:
        return sympy.sqrt(x)

    def phi0(self) -> Value:
        return self.density if self.named else 1 / sympy.sqrt(2 * sympy.pi)

    def tail(self, s: Value) -> Value:
        if not self.named:
            return sympy.exp(s * s / 2) * sympy.erfc(s / sympy.sqrt(2)) / 2
        for symbol, argument in self.tails.items():
            if argument == s:
                return symbol
        multiple, _ = s.as_coeff_Mul()
        symbol = sympy.Symbol(f"d{multiple}", positive=True)
        if symbol in self.tails or not (multiple.is_Integer and multiple > 0):
            symbol = sympy.Symbol(f"t{len(self.tails) + 1}", positive=True)
        self.tails[symbol] = s
        return symbol

    def root(
        self,
        residual: Callable[..., Value],  # noqa: ARG002
        start: Callable[[Arithmetic], Value],  # noqa: ARG002
        *args: Value,  # noqa: ARG002
    ) -> Value:
        """Raises NoClosedForm, always: the equations that families leave to a root are transcendental."""
        raise NoClosedForm("the equation has no closed form")

    def diff(self, expression: Value, variable: Value) -> Value:
        """The total derivative, through the named tails too: ``tail'(s) = s tail(s) - phi(0)``.

        Source: Stein's identity on the half-line. Held by test_symbolic.py against differences.
        """
        total = sympy.diff(expression, variable)
        for symbol, s in self.tails.items():
            total += sympy.diff(expression, symbol) * sympy.diff(s, variable) * (s * symbol - self.density)
        return total

    def value(self, expression: Value, ar: Arithmetic, values: Mapping[Value, Value]) -> Value:
        """A closed form in another arithmetic; ``values`` gives the free symbols that are not constants named here.

        Sums, products, and powers to multiples of 1/2. Raises NoClosedForm for any other function.
        """
        known = dict(values)

        def evaluate(e: Value) -> Value:
            if e.is_Symbol:
                if e not in known:
                    known[e] = ar.phi0() if e == self.density else ar.tail(evaluate(self.tails[e]))
                return known[e]
            if e.is_Rational:
                return ar.number(int(e.p)) / int(e.q)
            if e.is_Add:
                total = evaluate(e.args[0])
                for term in e.args[1:]:
                    total = total + evaluate(term)
                return total
            if e.is_Mul:
                product = evaluate(e.args[0])
                for factor in e.args[1:]:
                    product = product * evaluate(factor)
                return product
            if e.is_Pow and (2 * e.exp).is_Integer:
                base, twice = evaluate(e.base), int(2 * e.exp)
                if twice % 2:
                    base = ar.sqrt(base)
                else:
                    twice //= 2
                return base**twice if twice > 0 else 1 / base**-twice
            raise NoClosedForm(f"{e} is not algebraic")

        return evaluate(expression)
