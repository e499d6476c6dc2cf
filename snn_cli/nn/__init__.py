"""Torch modules for networks without normalization layers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from snn_cli.errors import MissingExtra

if TYPE_CHECKING:
    from snn_cli.nn.activation import DSELU, LSELU, SELU, SSELU, dselu, lselu, sselu

_PUBLIC = {
    "DSELU": "activation",
    "LSELU": "activation",
    "SELU": "activation",
    "SSELU": "activation",
    "dselu": "activation",
    "lselu": "activation",
    "sselu": "activation",
}

__all__ = [
    "DSELU",
    "LSELU",
    "SELU",
    "SSELU",
    "dselu",
    "lselu",
    "sselu",
]


def __getattr__(name: str) -> Any:
    """Public names are loaded when first used. Raises MissingExtra where torch is not installed."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'snn_cli.nn' has no attribute {name!r}")
    try:
        module = import_module(f"snn_cli.nn.{_PUBLIC[name]}")
    except ModuleNotFoundError as error:
        if error.name == "torch":
            raise MissingExtra("snn_cli.nn", "torch", "torch") from None
        raise
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
