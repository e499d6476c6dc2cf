"""Text laid out for people: sentences, columns and blocks, whole in a pipe and fitted to a terminal.

On a terminal nothing is left out and no number is broken. A table that is too wide goes on below, block by block, each
with the names of its rows; where one column is too wide already, each row is a paragraph.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DIGITS = 6
"""Significant digits of a number in a table on a terminal, where they fit."""

FEWEST = 3
"""Digits with which a row that is printed as it comes is still put into columns."""

_EXTRA = 6  # what a number takes besides its digits: -1.2e-34


def bold(text: str, color: bool) -> str:
    """A heading."""
    return f"\x1b[1m{text}\x1b[0m" if color else text


def joined(blocks: Iterable[Iterable[str]]) -> str:
    """Blocks of lines, with an empty line between one and the next; an empty block is none."""
    return "\n\n".join("\n".join(line.rstrip() for line in lines) for lines in map(list, blocks) if lines)


def wrapped(text: str, width: int | None) -> list[str]:
    """A sentence, over as many lines as it takes; numbers stay whole."""
    if width is None or len(text) <= width:
        return [text]
    from textwrap import wrap

    return wrap(text.strip(), width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def sentences(texts: Iterable[str], width: int | None) -> list[str]:
    """Each wrapped, one below the other."""
    return [line for text in texts for line in wrapped(text, width)]


def flowing(items: Sequence[str], width: int, gap: int = 1) -> list[str]:
    """Items one after the other, each whole; what goes over to another line is indented by two more."""
    lines = [*items[:1]]
    for item in items[1:]:
        if len(lines[-1]) + gap + len(item) <= width:
            lines[-1] += " " * gap + item
        else:
            indent = len(items[0]) - len(items[0].lstrip()) + 2
            lines.append(" " * indent + item)
    return lines


def columns(rows: Sequence[Sequence[str]], width: int | None, gap: int = 1) -> list[str]:
    """Cells below each other; where a row is too long for that, one after the other."""
    lines = _aligned(rows, _sizes(rows), gap)
    if width is None or max(map(len, lines)) <= width:
        return lines
    return [line for row in rows for line in flowing([c.rstrip() for c in row if c], width)]


def table(rows: Sequence[Sequence[str]], width: int | None, gap: int = 2) -> list[list[str]]:
    """A heading and rows that begin with their names, as blocks of lines that fit the width."""
    sizes = _sizes(rows)
    if width is None or sum(sizes) + gap * (len(sizes) - 1) <= width:
        return [_aligned(rows, sizes, gap)]
    if sizes[0] + gap + max(sizes[1:]) > width:
        return [_paragraphs(rows, width, gap)]
    blocks: list[list[int]] = []
    room = 0
    for i in range(1, len(sizes)):
        if not blocks or room < gap + sizes[i]:
            blocks.append([0])
            room = width - sizes[0]
        blocks[-1].append(i)
        room -= gap + sizes[i]
    return [_aligned([[row[i] for i in block] for row in rows], [sizes[i] for i in block], gap) for block in blocks]


def _sizes(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _aligned(rows: Sequence[Sequence[str]], sizes: Sequence[int], gap: int) -> list[str]:
    between = " " * gap
    return [between.join(f"{c:<{size}}" for c, size in zip(row, sizes, strict=True)).rstrip() for row in rows]


def _paragraphs(rows: Sequence[Sequence[str]], width: int, gap: int) -> list[str]:
    """The heading's words before each cell."""
    head, *rest = rows
    lines = []
    for name, *cells in rest:
        pairs = [f"{word} {cell}".strip() for word, cell in zip(head[1:], cells, strict=True) if cell]
        lines += flowing([name, *pairs], width, gap)
    return lines


def numbered(names: Sequence[str], room: int, width: int | None) -> tuple[list[str], list[str]]:
    """Names for a table that has so much room for each: where one is longer they are numbers, and the legend's lines
    say of what."""
    if not names or max(map(len, names)) <= room:
        return list(names), []
    numbers = [f"[{i}]" for i in range(1, len(names) + 1)]
    return numbers, sentences([f"{i} {text}" for i, text in zip(numbers, names, strict=True)], width)


class Column(NamedTuple):
    """Of a listing: its heading, and the most characters that its words take; None for numbers."""

    name: str
    size: int | None = None


class Listing:
    """Rows that are printed as they come, fitted to a terminal of so many columns.

    Numbers get as many digits as fit, six at most; where three are too many, each row is a paragraph. Notes stand
    behind a row, or below where they do not fit.
    """

    def __init__(self, heads: Sequence[Column], width: int, color: bool = False, *, notes: bool = False) -> None:
        self._heads, self._width, self._color, self._notes = heads, width, color, notes
        room = width - (len(heads) - 1)  # a space between one and the next
        fitting = [digits for digits in range(FEWEST, DIGITS + 1) if sum(self._cells(digits)) <= room]
        self.digits = max(fitting, default=0)
        self._started = False

    def _cells(self, digits: int) -> list[int]:
        sizes = [digits + _EXTRA if head.size is None else head.size for head in self._heads]
        return [max(size, len(head.name)) for size, head in zip(sizes, self._heads, strict=True)]

    def number(self, value: float | None) -> str:
        """To the digits that fit; a dash where there is none."""
        if value is None or not math.isfinite(value):
            return "-"
        return f"{value:.{self.digits or DIGITS}g}"

    def __call__(self, cells: Sequence[str], notes: Sequence[str] = ()) -> str:
        """The row, after the heading where it is the first."""
        if not self.digits:
            pairs = [f"{head.name} {cell}" for head, cell in zip(self._heads[1:], cells[1:], strict=True)]
            return "\n".join(flowing([cells[0], *pairs, *notes], self._width, gap=2))
        lines = self._row(cells, notes)
        if not self._started:
            self._started = True
            head = self._row([head.name for head in self._heads], ["notes"] if self._notes else [])[0]
            lines = [bold(head, self._color), *lines]
        return "\n".join(lines)

    def _row(self, cells: Sequence[str], notes: Sequence[str]) -> list[str]:
        line = " ".join(f"{cell:<{size}}" for cell, size in zip(cells, self._cells(self.digits), strict=True))
        whole = f"{line} {' '.join(notes)}".rstrip()
        if len(whole) <= self._width:
            return [whole]
        return [line.rstrip(), *("  " + text for text in flowing(notes, self._width - 2))]
