"""Torch modules for networks without normalization layers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from snn_cli.errors import MissingExtra

if TYPE_CHECKING:
    from snn_cli.nn.activation import DSELU, LSELU, SELU, SSELU, dselu, lselu, sselu
    from snn_cli.nn.centralization import CentralizedActivation, WeightCentralization, centralize, centralize_
    from snn_cli.nn.conversion import Conversion, convert
    from snn_cli.nn.dropout import SelfNormalizingDropout
    from snn_cli.nn.fan import fan_in
    from snn_cli.nn.init import self_normalizing_init_
    from snn_cli.nn.mixup import Mixup, ScaledMixup

_PUBLIC = {
    "CentralizedActivation": "centralization",
    "Conversion": "conversion",
    "DSELU": "activation",
    "LSELU": "activation",
    "Mixup": "mixup",
    "SELU": "activation",
    "SSELU": "activation",
    "ScaledMixup": "mixup",
    "SelfNormalizingDropout": "dropout",
    "WeightCentralization": "centralization",
    "centralize": "centralization",
    "centralize_": "centralization",
    "convert": "conversion",
    "dselu": "activation",
    "fan_in": "fan",
    "lselu": "activation",
    "self_normalizing_init_": "init",
    "sselu": "activation",
}

__all__ = [
    "DSELU",
    "LSELU",
    "SELU",
    "SSELU",
    "CentralizedActivation",
    "Conversion",
    "Mixup",
    "ScaledMixup",
    "SelfNormalizingDropout",
    "WeightCentralization",
    "centralize",
    "centralize_",
    "convert",
    "dselu",
    "fan_in",
    "lselu",
    "self_normalizing_init_",
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
