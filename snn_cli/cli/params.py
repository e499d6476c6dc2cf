"""``--params FILE``: activations from records, a JSON object a line."""

from __future__ import annotations

import json
import sys
from typing import Any

from snn_cli.errors import InputError

KINDS = (None, "solution", "propagation", "verification", "analysis")
"""Records that name an activation."""

LARGEST = 64 * 1024 * 1024  # bytes

LONGEST = 640
"""Digits of an integer: Python reads as many in every setting, and none that is of use has more."""

_HINT = "snn solve --act lselu --epsilon 0.03 --json > lselu.json"


def read(path: str) -> list[dict[str, Any]]:
    """The records in a file, or on standard input for ``-``: JSON Lines, or one JSON object over several lines.

    Raises InputError for what cannot be read, is empty, no JSON, or holds no activation.
    """
    shown = "standard input" if path == "-" else path
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(LARGEST + 1) if sys.stdin is not None else b""
        else:
            with open(path, "rb") as file:
                raw = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"--params {shown} cannot be read: {error.strerror or error}", _HINT) from None
    except ValueError:
        raise InputError(f"--params {shown!r} is no name of a file", _HINT) from None
    if len(raw) > LARGEST:
        raise InputError(f"--params {shown} is larger than {LARGEST // 1024**2} MiB", _HINT)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"--params {shown} is not text in UTF-8", _HINT) from None
    if not text.strip():
        raise InputError(f"--params {shown} is empty; it takes a record with an activation a line", _HINT)
    return [_record(item, shown) for item in _items(text, shown)]


class _TooLong(ValueError):
    """An integer has more than `LONGEST` digits."""


def _items(text: str, shown: str) -> list[Any]:
    try:
        return [_parse(text)]
    except _TooLong as error:
        raise InputError(f"--params {shown} has {error}", _HINT) from None
    except ValueError:
        pass
    items = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                items.append(_parse(line))
            except _TooLong as error:
                raise InputError(f"--params {shown}, line {number}, has {error}", _HINT) from None
            except ValueError as error:
                raise InputError(f"--params {shown}, line {number}, is not JSON: {error}", _HINT) from None
    return items


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_constant, parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _integer(text: str) -> int:
    if (digits := len(text.lstrip("-"))) > LONGEST:
        raise _TooLong(f"an integer of {digits} digits; at most {LONGEST} are read")
    return int(text)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _record(item: Any, shown: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise InputError(f"--params {shown} holds {type(item).__name__}, not a record with an activation", _HINT)
    kind = item.get("kind")
    if kind not in KINDS:
        raise InputError(f"--params {shown} holds a record of kind {kind!r}, which has no activation", _HINT)
    if "version" in item and item["version"] != 1:
        raise InputError(f"--params {shown} has a record of version {item['version']!r}; this program reads 1", _HINT)
    return item
