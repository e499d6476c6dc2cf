"""What an explanation is written on: the page that every style has in common, and that of plain text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sympy.printing.str import StrPrinter

from snn_cli.explanation.program import printed

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import Value
    from snn_cli.explanation.program import Program


_UNBROKEN = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Form:
    """An expression in a chain of equations: in symbols, or ``filled`` with their values."""

    expression: Value
    filled: bool = False


class Ordered:
    """Sums in the order of rising powers, positive terms first."""

    def _as_ordered_terms(self, expr: Value, order: str | None = None) -> list[Value]:
        ordered = expr.as_ordered_terms(order=order or "rev-lex")
        return sorted(ordered, key=lambda term: bool(term.could_extract_minus_sign()))


class Ascii(Ordered, StrPrinter):  # type: ignore[misc]
    """Expressions as Python writes them, with a name or a number for each symbol."""

    def __init__(self, names: dict[Value, str]) -> None:
        super().__init__()
        self.names = names

    def _print_Symbol(self, expr: Value) -> str:  # noqa: N802
        return self.names.get(expr, str(expr.name))


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
        self.lines += ["", *paragraph(text, self.width), ""]

    def equation(self, name: str, *steps: str | Form, condition: str | None = None) -> None:
        sums = [[step] if isinstance(step, str) else self.ascii_terms(step) for step in steps]
        self.rows.append((name, [signed(terms) for terms in sums], condition))

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
                    first, *others = broken(terms, self.width - len(start) - 2)
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


def paragraph(text: str, width: int) -> list[str]:
    """Prose over several lines, without its backticks: what they enclose stays whole."""
    whole = re.sub("`(.*?)`", lambda match: match[1].replace(" ", _UNBROKEN), text)
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_UNBROKEN, " ") for line in lines]


def broken(terms: list[str], width: int) -> list[str]:
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


def signed(terms: Sequence[str]) -> list[str]:
    """Each term of a sum with its sign in front."""
    return [terms[0], *(f"- {term[1:].lstrip()}" if term.startswith("-") else f"+ {term}" for term in terms[1:])]
