"""An explanation of a solution that has no closed form: the program in words, and a check by quadrature."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from snn_cli import activations
from snn_cli.errors import InputError
from snn_cli.explanation.sections import CHECK_DIGITS
from snn_cli.explanation.symbols import NAMES

if TYPE_CHECKING:
    from snn_cli.records import Solution

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


def in_words(solution: Solution, style: str, width: int) -> str:
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
    values = [f"  {NAMES[name]:<8} = {getattr(solution, name)!r}" for name in NAMES]
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
