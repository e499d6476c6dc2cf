"""An explanation as a LaTeX document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sympy.printing.latex import LatexPrinter

from snn_cli.explanation.page import Form, Ordered, Page, broken, signed

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import Value
    from snn_cli.explanation.program import Program

LATEX_WIDTH = 66
"""Columns of an equation's ASCII form from which LaTeX breaks the line: about what fits a page at 10 points."""


class _Tex(Ordered, LatexPrinter):  # type: ignore[misc]
    """Expressions in LaTeX, with a name or a number for each symbol."""


class LatexPage(Page):
    """A LaTeX document."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        names = {symbol: _tex(name) for symbol, name in self.names.items()}
        numbers = {symbol: _tex(number) for symbol, number in self.numbers.items()}
        self._tex = _Tex({"symbol_names": names}), _Tex({"symbol_names": numbers, "mul_symbol": "times"})
        self.rows: list[str] = []

    def written(self, formula: str, expression: Value) -> str | Form:  # noqa: ARG002
        return Form(expression)

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

    def equation(self, name: str, *steps: str | Form, condition: str | None = None) -> None:
        chains = [self._step(step) for step in steps]
        widths = [sum(map(len, self.ascii_terms(step))) if isinstance(step, Form) else len(step) for step in steps]
        separator = " = " if len(name) + sum(widths) <= LATEX_WIDTH else " \\\\\n&= "
        ending = rf" && \text{{for }} {_tex(condition)}" if condition else ""
        self.rows.append(f"{_tex(name)} &= {separator.join(chains)}{ending}")

    def _step(self, step: str | Form) -> str:
        """One step, over several lines where it is long."""
        if isinstance(step, str):
            return _tex(step)
        ascii_terms = self.ascii_terms(step)
        with_roots = any("sqrt" in term for term in ascii_terms)  # whose parentheses may open and close on two lines
        if step.filled and not with_roots:
            lines = [
                _tex(re.sub("^ +", r"\\quad ", line), product=r" \times ")
                for line in broken(signed(ascii_terms), LATEX_WIDTH)
            ]
        else:
            lines = self._whole_terms(step, ascii_terms)
        return (r" \\" + "\n" + r"&\qquad {} ").join(lines)

    def _whole_terms(self, step: Form, ascii_terms: list[str]) -> list[str]:
        """Lines that are broken between terms alone; the width is that of their ASCII form."""
        printer, expression = self._tex[step.filled], step.expression
        terms = printer._as_ordered_terms(expression) if expression.is_Add else [expression]
        lines: list[str] = []
        width = LATEX_WIDTH
        for term, ascii_term in zip(signed([printer.doprint(t) for t in terms]), ascii_terms, strict=True):
            width += len(ascii_term) + 3
            if width > LATEX_WIDTH:
                lines.append(term)
                width = len(ascii_term)
            else:
                lines[-1] += f" {term}"
        return lines

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
