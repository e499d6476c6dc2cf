"""Self-normalizing activations: solve their parameters, propagate moments, verify on real networks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snn_cli.analysis import analyze
    from snn_cli.errors import CannotCompute, InputError, MissingExtra, NoSolution, SnnError
    from snn_cli.explanation import explain
    from snn_cli.exportation import export
    from snn_cli.models import simulate_model, verify_model
    from snn_cli.records import (
        Analysis,
        Export,
        ModelPrediction,
        ModelReport,
        Note,
        Params,
        Propagation,
        Solution,
        Training,
        Verification,
    )
    from snn_cli.simulation import simulate
    from snn_cli.solver import solve
    from snn_cli.testing import assert_self_normalizing
    from snn_cli.training.compare import train
    from snn_cli.verification import verify

__version__ = "0.1.0"

_PUBLIC = {
    "analyze": "analysis",
    "Analysis": "records",
    "solve": "solver",
    "simulate": "simulation",
    "verify": "verification",
    "train": "training.compare",
    "explain": "explanation",
    "export": "exportation",
    "verify_model": "models",
    "simulate_model": "models",
    "assert_self_normalizing": "testing",
    "ModelReport": "records",
    "ModelPrediction": "records",
    "Solution": "records",
    "Propagation": "records",
    "Verification": "records",
    "Training": "records",
    "Export": "records",
    "Params": "records",
    "Note": "records",
    "SnnError": "errors",
    "InputError": "errors",
    "NoSolution": "errors",
    "CannotCompute": "errors",
    "MissingExtra": "errors",
}

__all__ = [
    "Analysis",
    "CannotCompute",
    "Export",
    "InputError",
    "MissingExtra",
    "ModelPrediction",
    "ModelReport",
    "NoSolution",
    "Note",
    "Params",
    "Propagation",
    "SnnError",
    "Solution",
    "Training",
    "Verification",
    "analyze",
    "assert_self_normalizing",
    "explain",
    "export",
    "simulate",
    "simulate_model",
    "solve",
    "train",
    "verify",
    "verify_model",
]


def __getattr__(name: str) -> Any:
    """Public names are loaded when first used: ``import snn_cli`` alone costs nothing."""
    if name in _PUBLIC:
        return getattr(import_module(f"snn_cli.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'snn_cli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
