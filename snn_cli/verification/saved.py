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
    for name, value in signature.items():
        if lines[0].get(name) != value:
            raise InputError(
                f"--resume {path} is another run: its {name} is {lines[0].get(name)!r}, not {value!r}",
                f"--save {path}.new",
            )
    if lines[0].get("count") != len(lines) - 1:
        raise InputError(
            f"--resume {path} is cut short: {len(lines) - 1} networks of {lines[0].get('count')}", f"--save {path}.new"
        )
    try:
        return _trials(lines[1:], signature)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"--resume {path} is malformed: {error}", f"--save {path}.new") from None


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
