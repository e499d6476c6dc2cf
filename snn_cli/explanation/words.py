"""Solutions that have no closed form: the program in words, and a check by quadrature."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from snn_cli import activations
from snn_cli.errors import InputError
from snn_cli.explanation.by_hand import formula_check
from snn_cli.explanation.page import paragraph
from snn_cli.explanation.program import NAMES

if TYPE_CHECKING:
    from snn_cli.records import Solution


def in_words(solution: Solution, style: str, width: int) -> str:
    """Raises InputError for LaTeX."""
    if style != "text":
        raise InputError(f"{solution.act} is solved without closed forms, and is explained as text alone", "--explain")
    title = f"`{solution.act}` at `epsilon = {solution.epsilon!r}`: the program and its solution"
    heading = paragraph(title, width)
    lines = [*heading, "=" * max(map(len, heading))]
    for text in _paragraphs(solution):
        lines += ["", *paragraph(text, width)]
    lines += [
        "",
        *(f"  {NAMES[name]:<8} = {getattr(solution, name)!r}" for name in NAMES),
        "",
        "Check by hand, by quadrature of F itself:",
        "",
        textwrap.indent(formula_check(solution), "    "),
    ]
    return "\n".join(lines) + "\n"


def _paragraphs(solution: Solution) -> list[str]:
    """Backticks enclose mathematics."""
    wrapped = solution.act in activations.BASELINES
    conditions = ["E[F^2] = 1", f"E[F'^2] = 1 + {solution.epsilon!r}"]
    conditions += ["E[F] = 0"] if solution.closure == "zero_mean" else []
    conditions += solution.active_bounds
    shown = ", ".join(f"`{name} = {value!r}`" for name, value in solution.params.items())
    paragraphs = [
        f"`F(x) = a f(b x + c) + d`, `f = {solution.act}`" if wrapped else f"`F(x) = {solution.act}`",
        f"Over {', '.join(solution.params)}: minimise `gamma = E[z F F']` subject to "
        f"{', '.join(f'`{condition}`' for condition in conditions)}, `E` being the expectation over a standard normal "
        "`z`. `gamma` is the factor by which each layer multiplies a small deviation of the second moment from 1.",
    ]
    if set(solution.params) == set("abcd"):
        paragraphs.append(
            "With `g(z) = f(b z + c)` the second condition gives `a^2 = (1 + epsilon)/E[g'^2]`, and the first one, "
            "with `m = E[F]`, `m^2 = 1 - a^2 Var g`: there is a solution at `(b, c)` where `(1 + epsilon) Var g <= "
            "E[g'^2]`. Then `gamma = a^2 E[z (g - E g) g'] + m a E[z g']`, smallest where `m` has the sign that makes "
            "its second term negative, and `d = m - a E g`. What is left is a minimum in the plane of `b` and `c`, "
            "found from a lattice of starts and polished by Newton's method; derivatives by `b` and `c` are "
            "expectations with polynomials of `z`."
        )
    paragraphs.append(f"The solution: {shown}.")
    if solution.multiplier is not None:
        paragraphs.append(
            f"The bound `{solution.active_bounds[0]}` is active; the derivative of the smallest `gamma` by it is "
            f"`{solution.multiplier!r}`."
        )
    return paragraphs
