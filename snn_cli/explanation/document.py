"""The whole explanation: its page, and its sections in their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from snn_cli import activations
from snn_cli.errors import InputError
from snn_cli.explanation.latex import LatexPage
from snn_cli.explanation.multiplier import multiplier
from snn_cli.explanation.page import Page, TextPage
from snn_cli.explanation.program import Program
from snn_cli.explanation.sections import check, closed_forms, definition, solved
from snn_cli.explanation.words import in_words

if TYPE_CHECKING:
    from snn_cli.records import Solution

WIDTH = 80
"""Columns of the text style, unless told otherwise. Numbers are never broken, nor mathematics in a sentence."""


def explain(solution: Solution, style: str = "text", *, width: int = WIDTH) -> str:
    """The definition, the program, closed forms, the multiplier and a check by hand, with the numbers of ``solution``.

    style
        ``"text"``: plain ASCII. ``"latex"``: a whole document (article, amsmath, geometry), for pdflatex as it is.
    width
        Columns of the text style.

    Numbers are evaluated from the doubles of the record in as many digits as cancellation takes, then shown as the
    nearest double. Raises InputError for another style, and for a record whose closure or parameters are not those of
    its family. Source: theory, sections 2 and 3; the multiplier from the conditions of Karush, Kuhn and Tucker. Held by
    test_explanation.py against quadrature.
    """
    if solution.act in activations.BASELINES or activations.is_expression(solution.act):
        return in_words(solution, style, width)
    pages: dict[str, Callable[[Program], Page]] = {"text": lambda p: TextPage(p, width), "latex": LatexPage}
    if style not in pages:
        raise InputError(f"the style is {style!r}; it must be one of {', '.join(pages)}", "--explain=latex")
    program = Program.of(activations.get(solution.act), solution)
    page = pages[style](program)
    page.title(f"{solution.act} at `epsilon = {solution.epsilon!r}`: the program and its solution")
    definition(page, program)
    closed_forms(page, program)
    solved(page, program)
    if solution.closure == "lambda_min":
        multiplier(page, program)
    check(page, program)
    return page.text()
