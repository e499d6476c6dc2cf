"""The docstrings of this project as reStructuredText.

They are plain text: a sentence, paragraphs, ``name, name`` with an indented text for arguments and fields, formulas
indented after an empty line, and code between double or single backquotes. Nothing in them is markup by intention but
backquotes and ``*stress*``, so all else is escaped.
"""

from __future__ import annotations

import re
from textwrap import dedent
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_CODE_OR_STRESS = re.compile(r"``(.+?)``|`([^`]+)`|(?<![\w*])\*(\w[\w ]*)\*(?![\w*])", re.DOTALL)
_MARKUP = re.compile(r"[\\*|`]|_(?=\W|$)|(?<!\w)_")
_NAME = re.compile(r"\w+$")


class Block(NamedTuple):
    """A piece of a docstring; ``kind`` is ``text``, ``code`` or ``item``, and ``names`` are those of an item."""

    kind: str
    text: str
    names: tuple[str, ...] = ()


def read(docstring: str) -> list[Block]:
    """The pieces of a docstring without common indentation, in order."""
    blocks: list[Block] = []
    lines = docstring.strip("\n").splitlines()
    at = 0
    while at < len(lines):
        start = at
        if not lines[at].strip():
            at += 1
        elif lines[at].startswith(" "):
            at = _end(lines, at, lambda line: line.startswith(" ") or not line.strip())
            blocks.append(Block("code", _dedented(lines[start:at])))
        elif at + 1 < len(lines) and lines[at + 1].startswith(" "):
            at = _end(lines, at + 1, lambda line: line.startswith(" "))
            names = tuple(part.strip() for part in lines[start].split(","))
            blocks.append(Block("item", _dedented(lines[start + 1 : at]), names))
        else:
            at += 1
            while at < len(lines) and lines[at].strip() and not _begins_item(lines, at):
                at += 1
            blocks.append(Block("text", "\n".join(lines[start:at])))
    return blocks


def _begins_item(lines: list[str], at: int) -> bool:
    return at + 1 < len(lines) and lines[at + 1].startswith(" ") and not lines[at].startswith(" ")


def _end(lines: list[str], at: int, belongs: Callable[[str], bool]) -> int:
    while at < len(lines) and belongs(lines[at]):
        at += 1
    return at


def _dedented(lines: list[str]) -> str:
    return dedent("\n".join(lines)).strip("\n")


def inline(text: str) -> str:
    """Running text: code stays code, stress stays stress, and no other character is markup."""
    parts: list[str] = []
    last = 0
    for match in _CODE_OR_STRESS.finditer(text):
        parts.append(_escaped(text[last : match.start()]))
        code = match[1] or match[2]
        shown = f"*{match[3]}*" if match[3] else f"``{' '.join(code.split())}``"
        before = text[match.start() - 1 : match.start()]
        after = text[match.end() : match.end() + 1]
        parts.append(("\\ " if before.isalnum() else "") + shown + ("\\ " if after.isalnum() else ""))
        last = match.end()
    parts.append(_escaped(text[last:]))
    return "".join(parts)


def _escaped(text: str) -> str:
    return _MARKUP.sub(lambda match: "\\" + match[0], text)


def names(parts: tuple[str, ...]) -> str:
    """Names of arguments or fields; anything else that begins an item is text."""
    if all(_NAME.match(part) for part in parts):
        return ", ".join(f"``{part}``" for part in parts)
    return inline(", ".join(parts))


def lines(block: Block) -> list[str]:
    """A piece as lines of reStructuredText, an empty one last."""
    if block.kind == "text":
        return [*inline(block.text).splitlines(), ""]
    if block.kind == "code":
        return ["::", "", *(f"    {line}" for line in block.text.splitlines()), ""]
    return [names(block.names), *(f"    {line}" for line in inline(block.text).splitlines()), ""]


def rest(docstring: str) -> list[str]:
    """A whole docstring as lines of reStructuredText."""
    return [line for block in read(docstring) for line in lines(block)]
