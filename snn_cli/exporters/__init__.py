"""The registry of exporters: an activation as code that stands alone."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from snn_cli.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from snn_cli.exporters.formula import Formula
    from snn_cli.exporters.program import Program


class Exporter(NamedTuple):
    """``suffix`` of its files, the code of a formula, and that of a program: an expression, or a wrapped baseline."""

    suffix: str
    code: Callable[[Formula], str]
    program: Callable[[Program], str]


EXPORTERS = {
    "pytorch": "snn_cli.exporters.pytorch",
    "jax": "snn_cli.exporters.jax",
    "flax": "snn_cli.exporters.flax",
    "keras": "snn_cli.exporters.keras",
    "numpy": "snn_cli.exporters.numpy",
    "c": "snn_cli.exporters.c",
    "onnx": "snn_cli.exporters.onnx",
    "latex": "snn_cli.exporters.latex",
    "json": "snn_cli.exporters.json",
}
"""Name, as ``--to`` takes it -> module that defines ``EXPORTER``; loaded when asked for."""


def get(name: str) -> Exporter:
    """The exporter of that name. Raises InputError, with the nearest name, for one that is not in the registry."""
    if name in EXPORTERS:
        exporter: Exporter = import_module(EXPORTERS[name]).EXPORTER
        return exporter
    near = nearest(str(name).lower(), EXPORTERS, "pytorch", cutoff=0.4)
    raise InputError(f"--to {name} is none of {', '.join(EXPORTERS)}", f"--to {near}")
