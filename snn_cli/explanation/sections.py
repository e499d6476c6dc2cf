"""The sections of an explanation: definition, closed forms, solution, and a check by hand.

Text is prose in which backticks enclose mathematics, itself ASCII; so are names and steps of equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import sympy

from snn_cli.arithmetic.symbolic import NoClosedForm
from snn_cli.explanation.by_hand import CHECK_DIGITS, family_check
from snn_cli.explanation.page import Form
from snn_cli.explanation.program import NAMES, printed

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import Value
    from snn_cli.explanation.page import Page
    from snn_cli.explanation.program import Program
    from snn_cli.records import Solution

_TARGETS = {"mean": "0", "second_moment": "1", "chi": "1 + epsilon"}


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
    conditions = [f"{NAMES[name]} = {_TARGETS[name]}" for name in program.conditions]
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
        evaluated(page, program, NAMES[name], moment)
    page.say("The two conditions on second moments differ by")
    difference = program.collect(program.moments["chi"] - program.moments["second_moment"])
    evaluated(page, program, "E[f'^2] - E[f^2]", difference)
    page.say(
        "which is `epsilon`, up to the rounding of the parameters to doubles. All numbers of this section are those of "
        "the rounded parameters: the last digits may differ from the exact solution's, below. They are computed in "
        f"{program.digits.precision * 3 // 10} digits: where terms nearly cancel, the printed ones are too few to "
        "repeat it."
    )


def _exponential(exponent: str) -> str:
    return f"e^{exponent}" if exponent.isalnum() else f"e^({exponent})"


def evaluated(page: Page, program: Program, name: str, expression: Value) -> None:
    filled = [Form(expression, filled=True)] if expression.free_symbols else []
    page.equation(name, Form(expression), *filled, program.shown(expression))


def solved(page: Page, program: Program) -> None:
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


def check(page: Page, program: Program) -> None:
    page.heading("Check by hand")
    page.say(
        "This program integrates `f` over both half-lines and uses none of the closed forms. It needs only mpmath, and "
        f"prints {CHECK_DIGITS} digits of what the rounded parameters give:"
    )
    page.code(family_check(program))
    page.say(
        f"Expect {', '.join(f'`{NAMES[name]} = {getattr(program.solution, name)!r}`' for name in NAMES)} "
        "up to the rounding of the parameters."
    )


def listing(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
