"""A solution in words and formulas: the program with its numbers filled in, and how to check it by hand.

Everything comes from the record and from what its family says of itself: its formulas, its conditions, and its shape
evaluated in symbols, from which the closed forms of all moments follow. ``explain`` writes the sections on a page;
the page knows how text and LaTeX look.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from snn_cli import activations
from snn_cli.errors import InputError
from snn_cli.explanation import sections
from snn_cli.explanation.pages import LatexPage, TextPage
from snn_cli.explanation.symbols import Program
from snn_cli.explanation.words import in_words

if TYPE_CHECKING:
    from snn_cli.explanation.pages import Page
    from snn_cli.records import Solution

__all__ = ["WIDTH", "explain"]

WIDTH = 100
"""Columns of the text style, unless told otherwise. Numbers are never broken."""


def explain(solution: Solution, style: str = "text", *, width: int = WIDTH) -> str:
    """The definition, the program, closed forms, the multiplier and a check by hand, with the numbers of ``solution``.

    style
        ``"text"``: plain ASCII. ``"latex"``: a whole document (article, amsmath, geometry), for pdflatex as it is.
    width
        Columns of the text style.

    Numbers are evaluated from the doubles of the record in as many digits as cancellation takes, then shown as the
    nearest double. Raises InputError for another style, and for a record whose closure or parameters are not those of
    its family. Held by test_explanation.py against quadrature.
    """
    if solution.act in activations.BASELINES or activations.is_expression(solution.act):
        return in_words(solution, style, width)
    pages: dict[str, Callable[[Program], Page]] = {"text": lambda p: TextPage(p, width), "latex": LatexPage}
    if style not in pages:
        raise InputError(f"the style is {style!r}; it must be one of {', '.join(pages)}", "--explain=latex")
    program = Program.of(activations.get(solution.act), solution)
    page = pages[style](program)
    page.title(f"{solution.act} at `epsilon = {solution.epsilon!r}`: the program and its solution")
    sections.definition(page, program)
    sections.closed_forms(page, program)
    sections.the_solution(page, program)
    if solution.closure == "lambda_min":
        sections.multiplier(page, program)
    sections.check(page, program)
    return page.text()
