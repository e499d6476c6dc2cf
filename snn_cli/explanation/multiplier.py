"""The section about the multiplier: the conditions of Karush, Kuhn and Tucker, solved in symbols and in numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import sympy

from snn_cli.explanation.page import Form, signed
from snn_cli.explanation.program import NAMES, printed
from snn_cli.explanation.sections import evaluated, listing

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import Value
    from snn_cli.explanation.page import Page
    from snn_cli.explanation.program import Program

LARGE_FRACTION = 20
"""Operations from which a fraction is shown as ``N/D`` with both written out below."""

AGREES = 1e-12
"""Relative difference up to which two numbers are said to agree: doubles, and a few thousand roundings."""


def multiplier(page: Page, program: Program) -> None:
    names = [NAMES[name] for name in program.conditions]
    mus = [f"mu_{i}" for i, _ in enumerate(names, 1)]
    page.heading("The multiplier")
    page.say("At the optimum the gradients by the parameters balance (Karush, Kuhn and Tucker):")
    page.equation("grad gamma", " + ".join([*(f"{mu} grad {n}" for mu, n in zip(mus, names, strict=True)), "nu e"]))
    page.say(
        "where `e` is the unit vector of `lambda`. Along the solutions the conditions keep their values, so `nu` is "
        f"`d gamma/d lambda_min`, the multiplier of the bound. In the same way {listing(mus)} are the derivatives of "
        f"the optimal `gamma` by the values asked of {listing(names)}. In numbers, one equation a parameter:"
    )
    columns = [program.gradient(program.moments[name]) for name in program.conditions]
    columns.append([sympy.Integer(int(name == "lambda")) for name in program.symbols])
    target = sympy.Matrix(program.gradient(program.moments["gamma"]))
    matrix = sympy.Matrix(columns).T
    for row, name in enumerate(program.symbols):
        terms = [f"{program.shown(matrix[row, column])} {mu}" for column, mu in enumerate(mus)]
        terms += ["nu"] if name == "lambda" else []
        page.equation(f"d gamma/d {name}", program.shown(target[row]), " ".join(signed(terms)))
    _balance(page, program, matrix, target, mus)
    page.say(_meaning(program.solution.multiplier))


def _balance(page: Page, program: Program, matrix: Value, target: Value, mus: list[str]) -> None:
    """The solution of those equations by Cramer's rule; that of ``nu`` with its closed form, which may outlive them."""
    record = program.solution.multiplier
    determinant, tops = _cramer(matrix, target)
    if record is None:
        page.say("For `nu` they give")
    elif _vanishes(program, matrix, determinant):
        page.say(
            "These equations are singular: the gradients of the conditions are parallel here, and no finite "
            f"{listing(mus)} solve them. What is left of `nu` is its closed form:"
        )
    else:
        page.say("Their solution is")
        for mu, top in zip(mus, tops, strict=False):
            page.equation(mu, printed(program.value(top) / program.value(determinant)))
    nu = _positive(sympy.factor(sympy.cancel(tops[-1] / determinant)))
    numerator, denominator = sympy.fraction(nu)
    bottom = program.value(denominator)
    number = program.value(numerator) / bottom if record is not None and bottom else None
    last = [] if number is None else [printed(number)]
    if nu.count_ops() > LARGE_FRACTION:
        page.equation("nu", "N/D", *last)
        evaluated(page, program, "N", program.collect(numerator))
        evaluated(page, program, "D", program.collect(denominator))
    else:
        page.equation("nu", Form(nu), *([] if number is None else [Form(nu, filled=True)]), *last)
    if record is not None and number is not None:
        difference = abs(float(number - program.digits.number(Fraction(record))))
        page.say(
            f"The record holds `{record!r}`, the derivative along the exact solutions: "
            f"{_verdict(difference / abs(record) if record else difference)}"
        )


def _cramer(matrix: Value, target: Value) -> tuple[Value, list[Value]]:
    """The determinant, and for each unknown the determinant with ``target`` in the place of its column."""
    tops = []
    for column in range(matrix.cols):
        replaced = matrix.copy()
        replaced[:, column] = target
        tops.append(replaced.det(method="berkowitz"))
    return matrix.det(method="berkowitz"), tops


def _verdict(relative: float) -> str:
    """What a relative difference says of two numbers."""
    if not relative:
        return "they are equal."
    if relative <= AGREES:
        return f"they agree, with a relative difference of `{relative:.1e}`."
    return (
        f"the relative difference is `{relative:.1e}`, because `nu` depends strongly on the last digits of the "
        "rounded parameters."
    )


def _meaning(multiplier: float | None) -> str:
    if multiplier is None:
        return (
            "The denominator is zero here, so the multiplier is infinite: this is the closed end of the feasible "
            "range, where `lambda` is the largest that the conditions allow. `gamma` falls infinitely fast as the "
            "bound begins to be lowered."
        )
    if multiplier > 0:
        return (
            "It is positive, so the bound on `lambda` binds: lowering it would lower `gamma`, to first order by "
            f"`{multiplier!r}` per unit of `lambda`."
        )
    if multiplier == 0:
        return "It is zero: to first order `gamma` does not depend on the bound."
    return "It is negative: `gamma` would fall with a larger `lambda`, so the bound does not bind."


def _vanishes(program: Program, matrix: Value, determinant: Value) -> bool:
    """Whether a determinant is zero, to half the digits that are carried."""
    largest = max(abs(program.value(entry)) for entry in matrix)
    tolerance = program.digits.number(Fraction(1, 1 << program.digits.precision // 2))
    return bool(abs(program.value(determinant)) <= tolerance * largest**matrix.rows)


def _positive(expression: Value) -> Value:
    """``-a (b - c)/d`` as ``a (c - b)/d``: a leading sign goes into a sum of the numerator, where there is one."""
    numerator, denominator = sympy.fraction(expression)
    coefficient, factors = numerator.as_coeff_mul()
    if coefficient.is_negative:
        for i, factor in enumerate(factors):
            if factor.is_Add:
                opposite = sympy.Add(*(-term for term in factor.args))
                return sympy.Mul(-coefficient, *factors[:i], opposite, *factors[i + 1 :], 1 / denominator)
    return expression
