"""A solution in words and formulas: the program with its numbers filled in, and how to check it by hand.

Everything comes from the record and from what its family says of itself: its formulas, its conditions, and its shape
evaluated in symbols, from which the closed forms of all moments follow. ``explain`` writes the sections on a page;
the page knows how text and LaTeX look.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import sympy
from sympy.printing.latex import LatexPrinter
from sympy.printing.str import StrPrinter

from snn_cli import activations
from snn_cli.arithmetic.multiprecision import Multiprecision
from snn_cli.arithmetic.symbolic import NoClosedForm, Symbolic
from snn_cli.errors import InputError

if TYPE_CHECKING:
    from snn_cli.activations.family import Family
    from snn_cli.arithmetic.protocol import Value
    from snn_cli.gaussian import Branch
    from snn_cli.records import Solution

WIDTH = 100
"""Columns of the text style, unless told otherwise. Numbers are never broken."""

LATEX_WIDTH = 66
"""Columns of an equation's ASCII form from which LaTeX breaks the line: about what fits a page at 10 points."""

LARGE_FRACTION = 20
"""Operations from which a fraction is shown as ``N/D`` with both written out below."""

CHECK_DIGITS = 30
"""Digits that the program to check by hand prints."""

AGREES = 1e-12
"""Relative difference up to which two numbers are said to agree: doubles, and a few thousand roundings."""

_NAMES = {"mean": "E[f]", "second_moment": "E[f^2]", "chi": "E[f'^2]", "gamma": "gamma"}
_TARGETS = {"mean": "0", "second_moment": "1", "chi": "1 + epsilon"}


def explain(solution: Solution, style: str = "text", *, width: int = WIDTH) -> str:
    """The definition, the program, closed forms, the multiplier and a check by hand, with the numbers of ``solution``.

    style
        ``"text"``: plain ASCII. ``"latex"``: a whole document (article, amsmath, geometry), for pdflatex as it is.
    width
        Columns of the text style.

    Numbers are evaluated from the doubles of the record in as many digits as cancellation takes, then shown as the
    nearest double. Raises InputError for another style, and for a record whose closure or parameters are not those of
    its family. Held by test_explain.py against quadrature.
    """
    if solution.act in activations.BASELINES or activations.is_expression(solution.act):
        return _in_words(solution, style, width)
    pages: dict[str, Callable[[_Program], _Page]] = {"text": lambda p: _TextPage(p, width), "latex": _LatexPage}
    if style not in pages:
        raise InputError(f"the style is {style!r}; it must be one of {', '.join(pages)}", "--explain=latex")
    program = _Program.of(activations.get(solution.act), solution)
    page = pages[style](program)
    page.title(f"{solution.act} at `epsilon = {solution.epsilon!r}`: the program and its solution")
    _definition(page, program)
    _closed_forms(page, program)
    _solution(page, program)
    if solution.closure == "lambda_min":
        _multiplier(page, program)
    _check(page, program)
    return page.text()


@dataclass(frozen=True, slots=True)
class _Program:
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
    def of(cls, family: Family, solution: Solution) -> _Program:
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
        return _number(self.value(expression))

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


def _number(x: Value) -> str:
    """The nearest double where it is a normal one, else 17 significant digits."""
    nearest = float(x)
    if not x or (math.isfinite(nearest) and abs(nearest) > 1e-300):
        return repr(nearest)
    return str(x.context.nstr(x, 17))


@dataclass(frozen=True, slots=True)
class _Form:
    """An expression in a chain of equations: in symbols, or ``filled`` with their values."""

    expression: Value
    filled: bool = False


# The sections. Text is prose in which backticks enclose mathematics, itself ASCII; so are names and steps of equations.


def _definition(page: _Page, program: _Program) -> None:
    family, solution = program.family, program.solution
    page.heading("Definition and program")
    negative, positive = program.f
    page.equation("f(x)", page.written(family.positive, positive), condition="x > 0")
    page.equation("f(x)", page.written(family.negative, negative), condition="x < 0")
    negative, positive = program.df
    page.equation("f'(x)", _Form(positive), condition="x > 0")
    page.equation("f'(x)", _Form(negative), condition="x < 0")
    page.say(
        "`E` is the expectation over a standard normal `z`. `gamma = E[z f f']` is the factor by which each "
        "layer multiplies a small deviation of the second moment from 1: it dies out where `gamma < 1`."
    )
    conditions = [f"{_NAMES[name]} = {_TARGETS[name]}" for name in program.conditions]
    relation = {"lambda_min": ">=", "lambda": "="}.get(solution.closure)
    if relation:
        conditions.append(f"lambda {relation} {solution.params['lambda']!r}")
    unknowns = _listing(family.parameters)
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


def _epsilon(program: _Program) -> str:
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
        f"{depth} layers the expected squared gradient norm grows by `(1 + epsilon)^{depth} = {_number(growth)}`, "
        "which stays below `e`."
    )


def _closed_forms(page: _Page, program: _Program) -> None:
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
        _evaluated(page, program, _NAMES[name], moment)
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


def _evaluated(page: _Page, program: _Program, name: str, expression: Value) -> None:
    filled = [_Form(expression, filled=True)] if expression.free_symbols else []
    page.equation(name, _Form(expression), *filled, program.shown(expression))


def _solution(page: _Page, program: _Program) -> None:
    solution = program.solution
    page.heading("The solution")
    forms = _parameter_forms(program)
    if forms is None:
        page.say("The conditions come down to one scalar equation without a closed form. Its solution, as doubles:")
    else:
        page.say("From the conditions in closed form, rounded to doubles:")
    for name, number in solution.params.items():
        form = (forms or {}).get(name)
        page.equation(name, *([] if form is None else [_Form(form), _Form(form, filled=True)]), repr(number))
    page.say("The moments of the exact solution, rounded:")
    for name in _NAMES:
        page.equation(_NAMES[name], repr(getattr(solution, name)))
    page.say("The residuals, which the rounded parameters leave:")
    page.equation("E[f^2] - 1", repr(solution.residuals["second_moment"]))
    page.equation("E[f'^2] - (1 + epsilon)", repr(solution.residuals["chi"]))
    page.say(
        f"{'Self-normalizing: `gamma < 1`' if solution.self_normalizing else 'Not self-normalizing: `gamma >= 1`'}. "
        + ("Monotone." if solution.monotone else "Not monotone: on the far left `f` falls as `x` grows.")
    )


def _parameter_forms(program: _Program) -> dict[str, Value] | None:
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


def _multiplier(page: _Page, program: _Program) -> None:
    names = [_NAMES[name] for name in program.conditions]
    mus = [f"mu_{i}" for i, _ in enumerate(names, 1)]
    page.heading("The multiplier")
    page.say("At the optimum the gradients by the parameters balance (Karush, Kuhn and Tucker):")
    page.equation("grad gamma", " + ".join([*(f"{mu} grad {n}" for mu, n in zip(mus, names, strict=True)), "nu e"]))
    page.say(
        "where `e` is the unit vector of `lambda`. Along the solutions the conditions keep their values, so `nu` is "
        f"`d gamma/d lambda_min`, the multiplier of the bound. In the same way {_listing(mus)} are the derivatives of "
        f"the optimal `gamma` by the values asked of {_listing(names)}. In numbers, one equation a parameter:"
    )
    columns = [program.gradient(program.moments[name]) for name in program.conditions]
    columns.append([sympy.Integer(int(name == "lambda")) for name in program.symbols])
    target = sympy.Matrix(program.gradient(program.moments["gamma"]))
    matrix = sympy.Matrix(columns).T
    for row, name in enumerate(program.symbols):
        terms = [f"{program.shown(matrix[row, column])} {mu}" for column, mu in enumerate(mus)]
        terms += ["nu"] if name == "lambda" else []
        page.equation(f"d gamma/d {name}", program.shown(target[row]), " ".join(_signed(terms)))
    _balance(page, program, matrix, target, mus)
    page.say(_meaning(program.solution.multiplier))


def _balance(page: _Page, program: _Program, matrix: Value, target: Value, mus: list[str]) -> None:
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
            f"{_listing(mus)} solve them. What is left of `nu` is its closed form:"
        )
    else:
        page.say("Their solution is")
        for mu, minor in zip(mus, tops, strict=False):
            page.equation(mu, _number(program.value(minor) / program.value(determinant)))
    finite = record is not None and bool(bottom)
    number = [_number(top / bottom)] if finite else []
    if nu.count_ops() > LARGE_FRACTION:
        page.equation("nu", "N/D", *number)
        _evaluated(page, program, "N", program.collect(numerator))
        _evaluated(page, program, "D", program.collect(denominator))
    else:
        page.equation("nu", _Form(nu), *([_Form(nu, filled=True)] if finite else []), *number)
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


def _vanishes(program: _Program, matrix: Value, determinant: Value) -> bool:
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


def _check(page: _Page, program: _Program) -> None:
    page.heading("Check by hand")
    page.say(
        "This program integrates `f` over both half-lines and uses none of the closed forms. It needs only mpmath, and "
        f"prints {CHECK_DIGITS} digits of what the rounded parameters give:"
    )
    page.code(_snippet(program))
    page.say(
        f"Expect {', '.join(f'`{_NAMES[name]} = {getattr(program.solution, name)!r}`' for name in _NAMES)} "
        "up to the rounding of the parameters."
    )


def _snippet(program: _Program) -> str:
    """A program that integrates f, f^2, f'^2 and z f f' of the record's parameters.

    It works in 20 digits more than it prints, and those that a large parameter costs: in ``alpha (e^(beta x) - 1)``
    they cancel where beta is small; where it is large they take the quadrature near enough to 0.
    """
    family, params = program.family, program.solution.params
    python = _Ascii({symbol: _identifier(name) for name, symbol in program.symbols.items()})
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


def _listing(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _signed(terms: Sequence[str]) -> list[str]:
    """Each term of a sum with its sign in front."""
    return [terms[0], *(f"- {term[1:].lstrip()}" if term.startswith("-") else f"+ {term}" for term in terms[1:])]


# Solutions that have no closed form: the program in words, and a check by quadrature.

_FORMULAS = {
    "relu": "x if x > 0 else mpf(0)",
    "leaky_relu": "x if x > 0 else x/100",
    "tanh": "tanh(x)",
    "erf": "erf(x)",
    "gelu": "x*erfc(-x/sqrt(2))/2",
    "silu": "x/(1 + exp(-x))",
    "mish": "x*tanh(log(1 + exp(x)))",
    "softplus": "log(1 + exp(x))",
    "hardswish": "x*min(max(x + 3, 0), 6)/6",
    "elu": "x if x > 0 else expm1(x)",
    "linear": "x",
}
"""What is wrapped, for mpmath."""


def _in_words(solution: Solution, style: str, width: int) -> str:
    """Raises InputError for LaTeX."""
    if style != "text":
        raise InputError(f"{solution.act} is solved without closed forms, and is explained as text alone", "--explain")
    wrapped = solution.act in activations.BASELINES
    function = "a f(b x + c) + d" if wrapped else solution.act
    heading = f"{solution.act} at epsilon = {solution.epsilon!r}: the program and its solution"
    conditions = ["E[F^2] = 1", f"E[F'^2] = 1 + {solution.epsilon!r}"]
    conditions += ["E[F] = 0"] if solution.closure == "zero_mean" else []
    conditions += list(solution.active_bounds)
    shown = ", ".join(f"{name} = {value!r}" for name, value in solution.params.items())
    values = [f"  {_NAMES[name]:<8} = {getattr(solution, name)!r}" for name in _NAMES]
    paragraphs = [
        f"F(x) = {function}" + (f", f = {solution.act}" if wrapped else ""),
        f"Over {', '.join(solution.params)}: minimise gamma = E[z F F'] subject to {', '.join(conditions)}, E being"
        " the expectation over a standard normal z. gamma is the factor by which each layer multiplies a small "
        "deviation of the second moment from 1.",
    ]
    if set(solution.params) == set("abcd"):
        paragraphs.append(
            "With g(z) = f(b z + c) the second condition gives a^2 = (1 + epsilon)/E[g'^2], and the first one, with "
            "m = E[F], m^2 = 1 - a^2 Var g: there is a solution at (b, c) where (1 + epsilon) Var g <= E[g'^2]. Then "
            "gamma = a^2 E[z (g - E g) g'] + m a E[z g'], smallest where m has the sign that makes its second term "
            "negative, and d = m - a E g. What is left is a minimum in the plane of b and c, found from a lattice of "
            "starts and polished by Newton's method; derivatives by b and c are expectations with polynomials of z."
        )
    paragraphs.append(f"The solution: {shown}.")
    if solution.multiplier is not None:
        paragraphs.append(
            f"The bound {solution.active_bounds[0]} is active; the derivative of the smallest gamma by it is "
            f"{solution.multiplier!r}."
        )
    lines = [heading, "=" * len(heading)]
    for text in paragraphs:
        lines += ["", *(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [text])]
    lines += [
        "",
        *values,
        "",
        "Check by hand, by quadrature of F itself:",
        "",
        textwrap.indent(_program_text(solution), "    "),
    ]
    return "\n".join(lines) + "\n"


def _program_text(solution: Solution) -> str:
    """A program that integrates F, F^2, F'^2 and z F F' with the record's parameters; it needs only mpmath."""
    inner = _FORMULAS.get(solution.act)
    kinks = activations.find(solution.act, solution.params).kinks(None, dict(solution.params))  # type: ignore[union-attr]
    ends = ", ".join(["-16", *(repr(float(k)) for k in kinks if abs(k) < 16), "16"])
    body = ["def F(x):", f"    return {solution.act}"]
    if inner is not None:
        body = ["def f(x):", f"    return {inner}", "", "def F(x):", "    return a*f(b*x + c) + d"]
    return "\n".join(
        [
            "from mpmath import *",
            "",
            f"mp.dps = {CHECK_DIGITS}",
            *(f"{name} = mpf({value!r})" for name, value in solution.params.items()),
            "def where(test, this, that): return this if test else that",
            "def sigmoid(x): return 1/(1 + exp(-x))",
            "def softplus(x): return log(1 + exp(x))",
            "",
            *body,
            "",
            "def show(name, g):",
            f'    print(name, "=", nstr(quad(lambda z: g(z)*npdf(z), [{ends}]), {CHECK_DIGITS // 2}))',
            "",
            'show("E[F]", F)',
            'show("E[F^2]", lambda z: F(z)**2)',
            'show("E[F\'^2]", lambda z: diff(F, z)**2)',
            'show("gamma", lambda z: (z**2 - 1)*F(z)**2/2)',
        ]
    )


# How it looks.


class _Ordered:
    """Sums in the order of rising powers, positive terms first."""

    def _as_ordered_terms(self, expr: Value, order: str | None = None) -> list[Value]:
        ordered = expr.as_ordered_terms(order=order or "rev-lex")
        return sorted(ordered, key=lambda term: bool(term.could_extract_minus_sign()))


class _Ascii(_Ordered, StrPrinter):  # type: ignore[misc]
    """Expressions as Python writes them, with a name or a number for each symbol."""

    def __init__(self, names: dict[Value, str]) -> None:
        super().__init__()
        self.names = names

    def _print_Symbol(self, expr: Value) -> str:  # noqa: N802
        return self.names.get(expr, str(expr.name))


class _Tex(_Ordered, LatexPrinter):  # type: ignore[misc]
    """Expressions in LaTeX, with a name or a number for each symbol."""


class _Page:
    """What the sections are written on."""

    def __init__(self, program: _Program) -> None:
        numbers = {symbol: _number(value) for symbol, value in program.values.items()}
        self.numbers = {symbol: f"({n})" if "-" in n or "e" in n else n for symbol, n in numbers.items()}
        self.names = program.names
        self._ascii = _Ascii(self.names), _Ascii(self.numbers)
        self.lines: list[str] = []

    def ascii(self, expression: Value, filled: bool = False) -> str:
        """A closed form as mathematics in ASCII."""
        return str(self._ascii[filled].doprint(expression)).replace("**", "^")

    def ascii_terms(self, form: _Form) -> list[str]:
        """Its terms, if it is a sum, else itself."""
        printer = self._ascii[form.filled]
        if not form.expression.is_Add:
            return [self.ascii(form.expression, form.filled)]
        return [self.ascii(term, form.filled) for term in printer._as_ordered_terms(form.expression)]

    def written(self, formula: str, expression: Value) -> str | _Form:
        """A formula that exists both as text and as an expression, whichever suits the page."""
        raise NotImplementedError

    def title(self, text: str) -> None:
        raise NotImplementedError

    def heading(self, text: str) -> None:
        raise NotImplementedError

    def say(self, text: str) -> None:
        """A paragraph; backticks enclose mathematics."""
        raise NotImplementedError

    def equation(self, name: str, *steps: str | _Form, condition: str | None = None) -> None:
        """``name = step = step ...``."""
        raise NotImplementedError

    def table(self, rows: list[tuple[str, str]]) -> None:
        """Words, then mathematics."""
        raise NotImplementedError

    def code(self, text: str) -> None:
        raise NotImplementedError

    def text(self) -> str:
        raise NotImplementedError


class _TextPage(_Page):
    """Plain ASCII."""

    def __init__(self, program: _Program, width: int) -> None:
        super().__init__(program)
        self.width = width
        self.sections = 0
        self.rows: list[tuple[str, list[list[str]], str | None]] = []

    def written(self, formula: str, expression: Value) -> str | _Form:  # noqa: ARG002
        return formula

    def title(self, text: str) -> None:
        plain = text.replace("`", "")
        self.lines += [plain, "=" * len(plain)]

    def heading(self, text: str) -> None:
        self._flush()
        self.sections += 1
        heading = f"{self.sections}. {text}"
        self.lines += ["", heading, "-" * len(heading)]

    def say(self, text: str) -> None:
        self._flush()
        plain = text.replace("`", "")
        self.lines += ["", *textwrap.wrap(plain, self.width, break_long_words=False, break_on_hyphens=False), ""]

    def equation(self, name: str, *steps: str | _Form, condition: str | None = None) -> None:
        sums = [[step] if isinstance(step, str) else self.ascii_terms(step) for step in steps]
        self.rows.append((name, [_signed(terms) for terms in sums], condition))

    def _flush(self) -> None:
        """The equations since the last paragraph, their signs below each other."""
        width = max((len(name) for name, *_ in self.rows), default=0)
        whole = [f"  {name:{width}} = {' = '.join(map(' '.join, sums))}" for name, sums, _ in self.rows]
        edge = max((len(line) for line, row in zip(whole, self.rows, strict=True) if row[2]), default=0)
        for line, (name, sums, condition) in zip(whole, self.rows, strict=True):
            if condition:
                self.lines.append(f"{line:{edge}}  for {condition}")
            elif len(line) <= self.width:
                self.lines.append(line)
            else:
                for i, terms in enumerate(sums):
                    start = f"  {'' if i else name:{width}} = "
                    first, *others = _broken(terms, self.width - len(start) - 2)
                    self.lines += [start + first, *(" " * (len(start) + 2) + other for other in others)]
        self.rows = []

    def table(self, rows: list[tuple[str, str]]) -> None:
        width = max(len(words) for words, _ in rows)
        self._flush()
        self.lines += [f"  {words:{width}}  {mathematics}" for words, mathematics in rows]

    def code(self, text: str) -> None:
        self._flush()
        self.lines += textwrap.indent(text, "    ").splitlines()

    def text(self) -> str:
        self._flush()
        return re.sub(r"\n{3,}", "\n\n", "\n".join(self.lines)).rstrip("\n") + "\n"


def _broken(terms: list[str], width: int) -> list[str]:
    """A sum over several lines: broken before a term, and in a term that is too long before signs and after factors."""
    lines: list[str] = []
    for term in terms:
        if lines and len(lines[-1]) + 1 + len(term) <= width:
            lines[-1] += f" {term}"
        elif len(term) <= width:
            lines.append(term)
        else:
            lines.append("")
            for part in re.split(r"(?= [+-] )", term):
                for piece in [part] if len(part) <= width - 2 else re.split(r"(?<=\*)", part):
                    if lines[-1] and len(lines[-1]) + len(piece) > width:
                        lines.append(f"  {piece.lstrip()}")
                    else:
                        lines[-1] += piece
    return lines


class _LatexPage(_Page):
    """A LaTeX document."""

    def __init__(self, program: _Program) -> None:
        super().__init__(program)
        names = {symbol: _tex(name) for symbol, name in self.names.items()}
        numbers = {symbol: _tex(number) for symbol, number in self.numbers.items()}
        self._tex = _Tex({"symbol_names": names}), _Tex({"symbol_names": numbers, "mul_symbol": "times"})
        self.rows: list[str] = []

    def written(self, formula: str, expression: Value) -> str | _Form:  # noqa: ARG002
        return _Form(expression)

    def title(self, text: str) -> None:
        self.lines += [
            r"\documentclass{article}",
            r"\usepackage{amsmath}",
            r"\usepackage[margin=2cm]{geometry}",
            r"\allowdisplaybreaks",
            r"\setlength{\parindent}{0pt}",
            r"\raggedright",
            r"\begin{document}",
            rf"\section*{{{_tex_prose(text)}}}",
        ]

    def heading(self, text: str) -> None:
        self._flush()
        self.lines += ["", rf"\section{{{_tex_words(text)}}}"]

    def say(self, text: str) -> None:
        self._flush()
        self.lines += ["", _tex_prose(text)]

    def equation(self, name: str, *steps: str | _Form, condition: str | None = None) -> None:
        chains = [self._broken(step) for step in steps]
        widths = [sum(map(len, self.ascii_terms(step))) if isinstance(step, _Form) else len(step) for step in steps]
        separator = " = " if len(name) + sum(widths) <= LATEX_WIDTH else " \\\\\n&= "
        ending = rf" && \text{{for }} {_tex(condition)}" if condition else ""
        self.rows.append(f"{_tex(name)} &= {separator.join(chains)}{ending}")

    def _broken(self, step: str | _Form) -> str:
        """One step, over several lines where it is long."""
        if isinstance(step, str):
            return _tex(step)
        ascii_terms = self.ascii_terms(step)
        if step.filled and not any(
            "sqrt" in term for term in ascii_terms
        ):  # parentheses may open and close on two lines
            lines = [
                _tex(re.sub("^ +", r"\\quad ", line), product=r" \times ")
                for line in _broken(_signed(ascii_terms), LATEX_WIDTH)
            ]
        else:
            printer, expression = self._tex[step.filled], step.expression
            terms = printer._as_ordered_terms(expression) if expression.is_Add else [expression]
            lines, width = [], LATEX_WIDTH
            for term, ascii_term in zip(_signed([printer.doprint(t) for t in terms]), ascii_terms, strict=True):
                width += len(ascii_term) + 3
                if width > LATEX_WIDTH:
                    lines.append(term)
                    width = len(ascii_term)
                else:
                    lines[-1] += f" {term}"
        return (r" \\" + "\n" + r"&\qquad {} ").join(lines)

    def table(self, rows: list[tuple[str, str]]) -> None:
        for words, mathematics in rows:
            self.rows.append(rf"\text{{{_tex_words(words)}}} &\quad {_tex(mathematics)}")

    def code(self, text: str) -> None:
        self._flush()
        self.lines += [r"{\footnotesize", r"\begin{verbatim}", *text.splitlines(), r"\end{verbatim}", "}"]

    def text(self) -> str:
        self._flush()
        return "\n".join([*self.lines, r"\end{document}", ""])

    def _flush(self) -> None:
        if self.rows:
            self.lines += [r"\begin{align*}", (r" \\" + "\n").join(self.rows), r"\end{align*}"]
            self.rows = []


_TEX_RULES = (
    (r"(\d(?:\.\d+)?)e([+-]?)0*(\d+)", lambda m: rf"{m[1]} \times 10^{{{m[2].replace('+', '')}{m[3]}}}"),
    (r"sqrt\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"\^\(([^()]*)\)", r"^{\1}"),
    (r"\^(\d+)", r"^{\1}"),
    (r"\bphi0\b", r"\\varphi_0"),
    (r"_min\b", r"_{\\min}"),
    (r"\b(alpha|beta|gamma|epsilon|lambda|mu|nu|Phi|pi)(?![a-z])", r"\\\1"),
    (r"\bd(\d+|k\b)", r"d_{\1}"),
    (r"\bE\b", r"\\operatorname{E}"),
    (r"\berfc\b", r"\\operatorname{erfc}"),
    (r"\bgrad\b", r"\\nabla"),
    (r">=", r"\\ge"),
    (r"<=", r"\\le"),
)
"""From mathematics in ASCII, as the sections use it, to LaTeX."""


def _tex(mathematics: str, product: str = " ") -> str:
    for pattern, replacement in _TEX_RULES:
        mathematics = re.sub(pattern, replacement, mathematics)
    return mathematics.replace("*", product)


def _tex_words(text: str) -> str:
    return re.sub(r"([_%&#$])", r"\\\1", text)


def _tex_prose(text: str) -> str:
    parts = text.split("`")
    return "".join(f"${_tex(part)}$" if i % 2 else _tex_words(part) for i, part in enumerate(parts))
