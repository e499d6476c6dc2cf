"""What a record holds: its fields, their types and what its docstring says of them; and what notes stand for."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import Any, NamedTuple, get_type_hints

import docstrings

import snn_cli.reports
from snn_cli.records import Note


class Field(NamedTuple):
    """Fields that the docstring describes together, or one that it does not."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    text: str


class Described(NamedTuple):
    """A record or a part of one: what it is in reStructuredText, its fields, and the parts in them."""

    name: str
    text: str
    fields: tuple[Field, ...]
    parts: tuple[type[Any], ...]


def described(record: type[Any]) -> Described:
    """Every field once, in the order of the docstring, then in that of the class."""
    types = {name: _shown(hint) for name, hint in record.__annotations__.items() if not name.startswith("_")}
    text: list[str] = []
    fields: list[Field] = []
    for block in docstrings.read(inspect.getdoc(record) or ""):
        if block.kind == "item" and set(block.names) <= set(types):
            kinds = tuple(dict.fromkeys(types[name] for name in block.names))
            fields.append(Field(block.names, kinds, docstrings.inline(block.text)))
        else:
            text += docstrings.lines(block)
    told = {name for field in fields for name in field.names}
    fields += [Field((name,), (kind,), "") for name, kind in types.items() if name not in told]
    return Described(record.__name__, "\n".join(text), tuple(fields), _parts(record))


def _shown(hint: Any) -> str:
    return hint if isinstance(hint, str) else getattr(hint, "__forward_arg__", None) or hint.__name__


def _parts(record: type[Any]) -> tuple[type[Any], ...]:
    """The named tuples that fields are made of, in order."""
    found: dict[type[Any], None] = {}

    def look(hint: Any) -> None:
        if isinstance(hint, type) and hasattr(hint, "_fields"):
            found[hint] = None
        for argument in getattr(hint, "__args__", ()):
            look(argument)

    for hint in get_type_hints(record).values():
        look(hint)
    return tuple(found)


def sentences() -> dict[Note, str]:
    """Of every note, one of the sentences that reports have for it, with the names of what is filled in."""
    found: dict[Note, str] = {}
    for module in sorted(pkgutil.iter_modules(snn_cli.reports.__path__), key=lambda module: (len(module.name), module)):
        if "plot" not in module.name:
            tables = import_module(f"snn_cli.reports.{module.name}")
            for note, text in (getattr(tables, "_GENERAL", {}) | getattr(tables, "_SENTENCES", {})).items():
                found.setdefault(note, text)
    return {note: found[note] for note in Note if note in found}
