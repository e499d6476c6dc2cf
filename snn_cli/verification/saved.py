"""The file that keeps every network's numbers: a header line, which says what was run, then a line a network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_cli.engine.measure import Trials
from snn_cli.errors import CannotCompute, InputError
from snn_cli.files import whole

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT = ("second_moment", "second_moment_square", "log_gradient", "log_gradient_square")
"""What is kept of every network, an array over layers each."""


_OF_THE_FILE = ("kind", "version", "count")
_TYPED = ("act", "weights", "sigma_w", "sigma_b", "q0", "batch", "dtype", "seed", "device")


def write(path: str, signature: Mapping[str, Any], found: Trials) -> None:
    """Raises CannotCompute where the file cannot be written."""
    try:
        with whole(path) as file:
            file.write(json.dumps({"kind": "trials", "version": 1, "count": len(found.number), **signature}) + "\n")
            for i, number in enumerate(found.number.tolist()):
                row = {name: getattr(found, name)[i].tolist() for name in _columns(found)}
                file.write(json.dumps({"trial": number, **row}) + "\n")
    except OSError as error:
        raise CannotCompute(f"{path} cannot be written: {error.strerror or error}", "--save FILE") from None


def read(path: str, signature: Mapping[str, Any]) -> Trials:
    """Raises InputError for a file that is no such record, is cut short, or is of another run."""
    lines = _lines(path)
    _check_same(path, lines[0], signature)
    if lines[0].get("count") != len(lines) - 1:
        raise InputError(
            f"--resume {path} is cut short: {len(lines) - 1} networks of {lines[0].get('count')}", f"--save {path}.new"
        )
    try:
        return _trials(lines[1:], signature)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"--resume {path} is malformed: {error}", f"--save {path}.new") from None


def _check_same(path: str, kept: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise InputError where a header is of another run, with what is to be typed again."""
    names = [name for name in (*asked, *kept) if name not in _OF_THE_FILE and kept.get(name) != asked.get(name)]
    if not names:
        return
    theirs, ours = _typed(kept), _typed(asked)
    again = {name: value for name, value in theirs.items() if value is not None and value != ours[name]}
    if ("widths" in kept) != ("widths" in asked):  # another architecture
        again = {}
    what, its, other = names[0], repr(kept.get(names[0])), f", not {asked.get(names[0])!r}"
    if again:
        what = next(iter(again))
        its, other = str(again[what]), "" if ours[what] is None else f", not {ours[what]}"
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in again.items())
    raise InputError(
        f"--resume {path} is another run: its {what} is {its}{other}",
        f"repeat {options or 'the options of that run'}, or --save {path}.new",
    )


def _typed(header: Mapping[str, Any]) -> dict[str, Any]:
    """What of a header is typed as it stands there, by option; the depth first, which epsilon may depend on."""
    widths, stages = (x if isinstance(x := header.get(name), list) else [] for name in ("widths", "stages"))
    alike = bool(widths) and all(width == widths[0] for width in widths)
    return {
        "depth": len(widths) - 1 if alike else len(stages) or None,
        "fanin": widths[0] if alike else None,
        "widths": ",".join(map(str, widths)) if widths and not alike else None,
        **{name: header.get(name) for name in _TYPED},
    }


def _lines(path: str) -> list[Any]:
    """The first one a header."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--resume {path} cannot be read: {error}", f"--save {path}.new") from None
    if not lines or not isinstance(lines[0], dict) or lines[0].get("kind") != "trials" or lines[0].get("version") != 1:
        raise InputError(f"--resume {path} is no saved run", "snn verify --save FILE")
    return lines


def _trials(rows: list[Any], signature: Mapping[str, Any]) -> Trials:
    """Raises what rows that are none make Python and numpy raise."""
    layers = len(signature["widths"]) if "widths" in signature else len(signature["stages"]) + 1
    found = Trials.empty(layers - 1, bool(signature.get("means")))
    columns = {
        name: np.array([row[name] for row in rows], dtype=float).reshape(len(rows), layers) for name in _columns(found)
    }
    found = found._replace(number=np.array([row["trial"] for row in rows], dtype=np.int64), **columns)
    if not signature.get("means"):
        found = found._replace(mean=np.zeros((len(rows), 0)))
    if len(set(found.number.tolist())) < len(found.number) or not all(
        type(row["trial"]) is int and row["trial"] >= 0 for row in rows
    ):
        raise ValueError("the numbers of its networks are not distinct whole numbers")
    return found


def _columns(found: Trials) -> tuple[str, ...]:
    """With the mean over units, where it is measured."""
    return (*KEPT, "mean") if found.mean.shape[1] else KEPT
