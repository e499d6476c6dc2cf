"""The sections of an explanation: definition, closed forms, solution, multiplier and a check by hand.

Text is prose in which backticks enclose mathematics, itself ASCII; so are names and steps of equations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import sympy

from snn_cli.arithmetic.symbolic import NoClosedForm
from snn_cli.explanation.pages import Ascii
from snn_cli.explanation.symbols import NAMES, TARGETS, Form, printed, with_signs

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import Value
    from snn_cli.explanation.pages import Page
    from snn_cli.explanation.symbols import Program
    from snn_cli.records import Solution

LARGE_FRACTION = 20
"""Operations from which a fraction is shown as ``N/D`` with both written out below."""

CHECK_DIGITS = 30
"""Digits that the program to check by hand prints."""

AGREES = 1e-12
"""Relative difference up to which two numbers are said to agree: doubles, and a few thousand roundings."""


def definition(page: Page, program: Program) -> None:
    family, solution = program.family, program.solution
    page.heading("Definition and program")
    negative, positive = program.f
    page.equation("f(x)", page.written(family.positive, positive), condition="x > 0")
    page.equation("f(x)", page.written(family.negative, negative), condition="x < 0")
    negative, positive = program.df
    page.equation("f'(x)", Form(positive), condition="x > 0")
    page.equation("f'(x)", Form(negative), condition="x < 0")
    page.say(
        "`E` is the expectation over a standard normal `z`. `gamma = E[z f f']` is the factor by which each "
        "layer multiplies a small deviation of the second moment from 1: it dies out where `gamma < 1`."
    )
    conditions = [f"{NAMES[name]} = {TARGETS[name]}" for name in program.conditions]
    relation = {"lambda_min": ">=", "lambda": "="}.get(solution.closure)
    if relation:
        conditions.append(f"lambda {relation} {solution.params['lambda']!r}")
    unknowns = listing(family.parameters)
    if solution.closure == "lambda_min":
        page.say(f"The program, over {unknowns}:")
        page.table([("minimise", "gamma"), *_labelled("subject to", conditions)])
    else:
        page.say(f"The program, for {unknowns}:")
        page.table(_labelled("solve", conditions))
        page.say(
            "As many equations as unknowns: no freedom is left in which to minimise `gamma`. Of several solutions with "
            "`alpha >= 0` the one with the smallest `gamma` is taken, then that with the smallest `|E[f]|`."
        )
    page.say(f"{_epsilon(program)}{_feasible(solution)}")


def _feasible(solution: Solution) -> str:
    lo, hi = solution.feasible_epsilon
    if lo == hi:
        return ""
    left, right = ("<" if is_open else "<=" for is_open in solution.feasible_open)
    return f" The conditions have a solution for `{lo!r} {left} epsilon{'' if hi is None else f' {right} {hi!r}'}`."


def _labelled(label: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(label if i == 0 else "", line) for i, line in enumerate(lines)]


def _epsilon(program: Program) -> str:
    epsilon, depth = program.solution.epsilon, program.solution.depth
    if "chi" not in program.conditions:
        return f"`epsilon = {epsilon!r}` is the family's own: it is `E[f'^2] - 1` at the solution."
    if depth is None or epsilon != 1 / depth:
        return (
            f"Here `epsilon = {epsilon!r}`: each layer multiplies the expected squared gradient norm by `1 + epsilon`."
        )
    decimal = Fraction(repr(epsilon)) == Fraction(1, depth)
    context = program.digits.context
    growth = context.exp(depth * context.log1p(context.mpf(1) / depth))
    return (
        f"Here `epsilon = 1/{depth}`, one over the depth, {'that is' if decimal else 'about'} `{epsilon!r}`: over "
        f"{depth} layers the expected squared gradient norm grows by `(1 + epsilon)^{depth} = {printed(growth)}`, "
        "which stays below `e`."
    )


def closed_forms(page: Page, program: Program) -> None:
    ar = program.ar
    rate = page.ascii(program.rate)
    page.heading("Closed forms")
    page.say(
        "On the negative half-line every moment comes down to those of an exponential with the rate "
        f"`s = {rate}{'' if program.rate.is_Rational else f' = {program.shown(program.rate)}'}`:"
    )
    page.equation("dk", "E[e^(k s z); z < 0]", "e^(k^2 s^2/2) Phi(-k s)", "e^(k^2 s^2/2) erfc(k s/sqrt(2))/2")
    page.say("and by parts to")
    page.equation("E[z e^(k s z); z < 0]", "k s dk - phi0", condition="k > 0, phi0 = 1/sqrt(2 pi)")
    page.equation("E[1; z < 0]", "E[z^2; z < 0]", "E[z^2; z > 0]", "1/2")
    page.equation("E[z; z < 0]", "-E[z; z > 0]", "-phi0")
    page.say("The constants are")
    page.equation("phi0", "1/sqrt(2 pi)", program.shown(ar.density))
    for constant in sorted(ar.tails, key=str):
        s = ar.tails[constant]
        page.equation(
            str(constant), f"{_exponential(page.ascii(s**2 / 2))} Phi({page.ascii(-s)})", program.shown(constant)
        )
    page.say("The moments, in symbols and with the numbers of this solution:")
    for name, moment in program.moments.items():
        _evaluated(page, program, NAMES[name], moment)
    page.say("The two conditions on second moments differ by")
    difference = program.collect(program.moments["chi"] - program.moments["second_moment"])
    _evaluated(page, program, "E[f'^2] - E[f^2]", difference)
    page.say(
        "which is `epsilon`, up to the rounding of the parameters to doubles. All numbers of this section are those of "
        "the rounded parameters: the last digits may differ from the exact solution's, below. They are computed in "
        f"{program.digits.precision * 3 // 10} digits: where terms nearly cancel, the printed ones are too few to "
        "repeat it."
    )


def _exponential(exponent: str) -> str:
    return f"e^{exponent}" if exponent.isalnum() else f"e^({exponent})"


def _evaluated(page: Page, program: Program, name: str, expression: Value) -> None:
    filled = [Form(expression, filled=True)] if expression.free_symbols else []
    page.equation(name, Form(expression), *filled, program.shown(expression))


def the_solution(page: Page, program: Program) -> None:
    solution = program.solution
    page.heading("The solution")
    forms = _parameter_forms(program)
    if forms is None:
        page.say("The conditions come down to one scalar equation without a closed form. Its solution, as doubles:")
    else:
        page.say("From the conditions in closed form, rounded to doubles:")
    for name, number in solution.params.items():
        form = (forms or {}).get(name)
        page.equation(name, *([] if form is None else [Form(form), Form(form, filled=True)]), repr(number))
    page.say("The moments of the exact solution, rounded:")
    for name in NAMES:
        page.equation(NAMES[name], repr(getattr(solution, name)))
    page.say("The residuals, which the rounded parameters leave:")
    page.equation("E[f^2] - 1", repr(solution.residuals["second_moment"]))
    page.equation("E[f'^2] - (1 + epsilon)", repr(solution.residuals["chi"]))
    page.say(
        f"{'Self-normalizing: `gamma < 1`' if solution.self_normalizing else 'Not self-normalizing: `gamma >= 1`'}. "
        + ("Monotone." if solution.monotone else "Not monotone: on the far left `f` falls as `x` grows.")
    )


def _parameter_forms(program: Program) -> dict[str, Value] | None:
    """Closed forms of the parameters that the conditions determine, on the branch that was chosen.

    None where the family solves a scalar equation numerically.
    """
    family, solution, ar = program.family, program.solution, program.ar
    lam = program.symbols["lambda"] if solution.closure in ("lambda", "lambda_min") else None
    try:
        candidates = family.candidates(ar, solution.closure, program.epsilon, lam)
    except NoClosedForm:
        return None

    def distance(candidate: dict[str, Value]) -> Value:
        return max(abs(program.value(form - program.symbols[name])) for name, form in candidate.items())

    chosen = min(candidates, key=distance)
    return {name: sympy.expand_mul(form, deep=False) for name, form in chosen.items() if form != lam}


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
        page.equation(f"d gamma/d {name}", program.shown(target[row]), " ".join(with_signs(terms)))
    _balance(page, program, matrix, target, mus)
    page.say(_meaning(program.solution.multiplier))


def _balance(page: Page, program: Program, matrix: Value, target: Value, mus: list[str]) -> None:
    """The solution of those equations by Cramer's rule; that of ``nu`` with its closed form, which may outlive them."""
    record = program.solution.multiplier
    determinant = matrix.det(method="berkowitz")
    tops = []
    for column in range(matrix.cols):
        replaced = matrix.copy()
        replaced[:, column] = target
        tops.append(replaced.det(method="berkowitz"))
    nu = _positive(sympy.factor(sympy.cancel(tops[-1] / determinant)))
    numerator, denominator = sympy.fraction(nu)
    top, bottom = program.value(numerator), program.value(denominator)

    if record is None:
        page.say("For `nu` they give")
    elif _vanishes(program, matrix, determinant):
        page.say(
            "These equations are singular: the gradients of the conditions are parallel here, and no finite "
            f"{listing(mus)} solve them. What is left of `nu` is its closed form:"
        )
    else:
        page.say("Their solution is")
        for mu, minor in zip(mus, tops, strict=False):
            page.equation(mu, printed(program.value(minor) / program.value(determinant)))
    finite = record is not None and bool(bottom)
    number = [printed(top / bottom)] if finite else []
    if nu.count_ops() > LARGE_FRACTION:
        page.equation("nu", "N/D", *number)
        _evaluated(page, program, "N", program.collect(numerator))
        _evaluated(page, program, "D", program.collect(denominator))
    else:
        page.equation("nu", Form(nu), *([Form(nu, filled=True)] if finite else []), *number)
    if record is None or not finite:
        return
    difference = abs(float(top / bottom - program.digits.number(Fraction(record))))
    relative = difference / abs(record) if record else difference
    if not relative:
        verdict = "they are equal."
    elif relative <= AGREES:
        verdict = f"they agree, with a relative difference of `{relative:.1e}`."
    else:
        verdict = (
            f"the relative difference is `{relative:.1e}`, because `nu` depends strongly on the last digits of the "
            "rounded parameters."
        )
    page.say(f"The record holds `{record!r}`, the derivative along the exact solutions: {verdict}")


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


def check(page: Page, program: Program) -> None:
    page.heading("Check by hand")
    page.say(
        "This program integrates `f` over both half-lines and uses none of the closed forms. It needs only mpmath, and "
        f"prints {CHECK_DIGITS} digits of what the rounded parameters give:"
    )
    page.code(_snippet(program))
    page.say(
        f"Expect {', '.join(f'`{NAMES[name]} = {getattr(program.solution, name)!r}`' for name in NAMES)} "
        "up to the rounding of the parameters."
    )


def _snippet(program: Program) -> str:
    """A program that integrates f, f^2, f'^2 and z f f' of the record's parameters.

    It works in 20 digits more than it prints, and those that a large parameter costs: in ``alpha (e^(beta x) - 1)``
    they cancel where beta is small; where it is large they take the quadrature near enough to 0.
    """
    family, params = program.family, program.solution.params
    python = Ascii({symbol: _identifier(name) for name, symbol in program.symbols.items()})
    slope_negative, slope_positive = (python.doprint(branch) for branch in program.df)
    positive, negative = (
        re.sub(r"[A-Za-z_]\w*", lambda word: _identifier(word[0]), formula)
        for formula in (family.positive, family.negative)
    )
    formulas = f"{positive} {negative} {slope_positive} {slope_negative}"
    names = {"mp", "mpf", "npdf", "nstr", "quad"} | set(re.findall(r"([A-Za-z_]\w*)\(", formulas))
    digits = CHECK_DIGITS + 20 + max(math.ceil(math.log10(max(abs(x), 1))) for x in params.values())
    end = math.ceil(math.sqrt(2 * math.log(10) * digits)) + 2  # e^(-end^2/2) < 10^-digits, with f^2 too
    lines = [
        f"from mpmath import {', '.join(sorted(names))}",
        "",
        f"mp.dps = {digits}",
        *(f"{_identifier(name)} = mpf({value!r})" for name, value in params.items()),
        "",
        "def f(x):",
        f"    return {positive} if x > 0 else {negative}",
        "",
        "def df(x):",
        f"    return {slope_positive} if x > 0 else {slope_negative}",
        "",
        "def show(name, g):",
        f"    value = quad(lambda z: g(z)*npdf(z), [-{end}, 0, {end}])  # what is left out is below 10^-{digits}",
        f'    print(name, "=", nstr(value, {CHECK_DIGITS}))',
        "",
        'show("E[f]", f)',
        'show("E[f^2]", lambda z: f(z)**2)',
        'show("E[f\'^2]", lambda z: df(z)**2)',
        'show("gamma", lambda z: z*f(z)*df(z))',
    ]
    return "\n".join(lines)


def _identifier(name: str) -> str:
    """``lambda`` is a word of Python."""
    return "lam" if name == "lambda" else name


def listing(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
