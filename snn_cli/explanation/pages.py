"""What the sections of an explanation are written on: plain text, or a LaTeX document."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from sympy.printing.latex import LatexPrinter
from sympy.printing.str import StrPrinter

from snn_cli.explanation.symbols import Form, printed, with_signs

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import Value
    from snn_cli.explanation.symbols import Program

LATEX_WIDTH = 66
"""Columns of an equation's ASCII form from which LaTeX breaks the line: about what fits a page at 10 points."""


class _Ordered:
    """Sums in the order of rising powers, positive terms first."""

    def _as_ordered_terms(self, expr: Value, order: str | None = None) -> list[Value]:
        ordered = expr.as_ordered_terms(order=order or "rev-lex")
        return sorted(ordered, key=lambda term: bool(term.could_extract_minus_sign()))


class Ascii(_Ordered, StrPrinter):  # type: ignore[misc]
    """Expressions as Python writes them, with a name or a number for each symbol."""

    def __init__(self, names: dict[Value, str]) -> None:
        super().__init__()
        self.names = names

    def _print_Symbol(self, expr: Value) -> str:  # noqa: N802
        return self.names.get(expr, str(expr.name))


class _Tex(_Ordered, LatexPrinter):  # type: ignore[misc]
    """Expressions in LaTeX, with a name or a number for each symbol."""


class Page:
    """What the sections are written on."""

    def __init__(self, program: Program) -> None:
        numbers = {symbol: printed(value) for symbol, value in program.values.items()}
        self.numbers = {symbol: f"({n})" if "-" in n or "e" in n else n for symbol, n in numbers.items()}
        self.names = program.names
        self._ascii = Ascii(self.names), Ascii(self.numbers)
        self.lines: list[str] = []

    def ascii(self, expression: Value, filled: bool = False) -> str:
        """A closed form as mathematics in ASCII."""
        return str(self._ascii[filled].doprint(expression)).replace("**", "^")

    def ascii_terms(self, form: Form) -> list[str]:
        """Its terms, if it is a sum, else itself."""
        printer = self._ascii[form.filled]
        if not form.expression.is_Add:
            return [self.ascii(form.expression, form.filled)]
        return [self.ascii(term, form.filled) for term in printer._as_ordered_terms(form.expression)]

    def written(self, formula: str, expression: Value) -> str | Form:
        """A formula that exists both as text and as an expression, whichever suits the page."""
        raise NotImplementedError

    def title(self, text: str) -> None:
        raise NotImplementedError

    def heading(self, text: str) -> None:
        raise NotImplementedError

    def say(self, text: str) -> None:
        """A paragraph; backticks enclose mathematics."""
        raise NotImplementedError

    def equation(self, name: str, *steps: str | Form, condition: str | None = None) -> None:
        """``name = step = step ...``."""
        raise NotImplementedError

    def table(self, rows: list[tuple[str, str]]) -> None:
        """Words, then mathematics."""
        raise NotImplementedError

    def code(self, text: str) -> None:
        raise NotImplementedError

    def text(self) -> str:
        raise NotImplementedError


class TextPage(Page):
    """Plain ASCII."""

    def __init__(self, program: Program, width: int) -> None:
        super().__init__(program)
        self.width = width
        self.sections = 0
        self.rows: list[tuple[str, list[list[str]], str | None]] = []

    def written(self, formula: str, expression: Value) -> str | Form:  # noqa: ARG002
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

    def equation(self, name: str, *steps: str | Form, condition: str | None = None) -> None:
        sums = [[step] if isinstance(step, str) else self.ascii_terms(step) for step in steps]
        self.rows.append((name, [with_signs(terms) for terms in sums], condition))

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
        chains = [self._broken(step) for step in steps]
        widths = [sum(map(len, self.ascii_terms(step))) if isinstance(step, Form) else len(step) for step in steps]
        separator = " = " if len(name) + sum(widths) <= LATEX_WIDTH else " \\\\\n&= "
        ending = rf" && \text{{for }} {_tex(condition)}" if condition else ""
        self.rows.append(f"{_tex(name)} &= {separator.join(chains)}{ending}")

    def _broken(self, step: str | Form) -> str:
        """One step, over several lines where it is long."""
        if isinstance(step, str):
            return _tex(step)
        ascii_terms = self.ascii_terms(step)
        if step.filled and not any(
            "sqrt" in term for term in ascii_terms
        ):  # parentheses may open and close on two lines
            lines = [
                _tex(re.sub("^ +", r"\\quad ", line), product=r" \times ")
                for line in _broken(with_signs(ascii_terms), LATEX_WIDTH)
            ]
        else:
            printer, expression = self._tex[step.filled], step.expression
            terms = printer._as_ordered_terms(expression) if expression.is_Add else [expression]
            lines, width = [], LATEX_WIDTH
            for term, ascii_term in zip(with_signs([printer.doprint(t) for t in terms]), ascii_terms, strict=True):
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
