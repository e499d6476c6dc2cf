"""Programs that check a solution by hand: they integrate the function itself and need only mpmath."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from snn_cli import activations
from snn_cli.explanation.page import Ascii

if TYPE_CHECKING:
    from snn_cli.explanation.program import Program
    from snn_cli.records import Solution

CHECK_DIGITS = 30
"""Digits that the program to check by hand prints."""

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


def family_check(program: Program) -> str:
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
        f"    # what the integral leaves out is below 10^-{digits}",
        f"    value = quad(lambda z: g(z)*npdf(z), [-{end}, 0, {end}])",
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


def formula_check(solution: Solution) -> str:
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
