"""The file of metrics: a JSON line an epoch."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING

from snn_cli.errors import CannotCompute, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.training.loop import Epoch


def append(path: str, epochs: Sequence[tuple[str, Epoch]]) -> None:
    """``epochs``: each with the name of its run. Raises CannotCompute where the file cannot be written."""
    lines = []
    for name, epoch in epochs:
        values = {key: _value(value) if isinstance(value, float) else value for key, value in epoch._asdict().items()}
        lines.append(json.dumps({"run": name, **values}, allow_nan=False) + "\n")
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(lines)
    except OSError as error:
        raise CannotCompute(f"{path} cannot be written: {error.strerror or error}", "--metrics FILE") from None


def complete(path: str, finished: Sequence[tuple[str, Epoch]]) -> None:
    """After a kill the last line may be cut short, or missing where the checkpoint already had its epoch."""
    if not os.path.exists(path):
        return
    try:
        with open(path, "r+b") as file:
            *lines, torn = file.read().split(b"\n")
            if torn:
                file.truncate(sum(len(line) + 1 for line in lines))
    except OSError as error:
        raise InputError(f"--metrics {path} cannot be read: {error.strerror or error}", "--metrics FILE") from None
    try:
        known = {(line["run"], line["epoch"]) for line in map(json.loads, lines)}
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"--metrics {path} holds something else, and is not added to", f"--metrics {path}.new"
        ) from None
    append(path, [each for each in finished if (each[0], each[1].epoch) not in known])


def _value(x: float) -> float | None:
    return x if math.isfinite(x) else None
