"""Expressions in sympy: for articles, and to check derivatives by another hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.expression import tree
from snn_cli.activations.expression.grammar import parse

if TYPE_CHECKING:
    from collections.abc import Mapping


def symbolic(root: tree.Node) -> Any:
    """The tree as on paper: ``expm1(u)`` is ``exp(u) - 1``, and a condition makes a piecewise function."""
    import sympy

    made: dict[tree.Node, Any] = {}
    simple = {
        "exp": sympy.exp, "log": sympy.log, "sqrt": sympy.sqrt, "erf": sympy.erf, "erfc": sympy.erfc,
        "tanh": sympy.tanh, "sin": sympy.sin, "cos": sympy.cos, "abs": sympy.Abs, "min": sympy.Min, "max": sympy.Max,
        "expm1": lambda u: sympy.exp(u) - 1, "log1p": lambda u: sympy.log(1 + u),
        "sigmoid": lambda u: 1 / (1 + sympy.exp(-u)), "softplus": lambda u: sympy.log(1 + sympy.exp(u)),
        "lt": sympy.Lt, "le": sympy.Le, "gt": sympy.Gt, "ge": sympy.Ge, "eq": sympy.Eq, "ne": sympy.Ne,
        "and": sympy.And, "or": sympy.Or, "not": sympy.Not, "neg": lambda u: -u, "div": lambda a, b: a / b,
        "pow": lambda a, b: a**b, "add": sympy.Add, "mul": sympy.Mul, "pi": lambda: sympy.pi, "e": lambda: sympy.E,
        "true": lambda: sympy.true, "false": lambda: sympy.false,
        "where": lambda condition, a, b: sympy.Piecewise((a, condition), (b, True)),
    }  # fmt: skip
    for at in tree.walk(root):
        if at.op == "number":
            made[at] = sympy.Rational(at.value.numerator, at.value.denominator)
        elif at.op == "name":
            made[at] = sympy.Symbol(at.value, real=True)
        else:
            made[at] = simple[at.op](*(made[arg] for arg in at.args))
    return made[root]


def latex(text: str, letters: Mapping[str, str]) -> str:
    """An expression for amsmath, its parameters in their letters."""
    import sympy

    names = {sympy.Symbol(name, real=True): shown for name, shown in letters.items()}
    shown: str = sympy.latex(symbolic(parse(text).root), symbol_names=names)
    return shown
