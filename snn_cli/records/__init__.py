"""Frozen records: what every public function returns, and what table, JSON and CSV are made from."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snn_cli.records.analysis import Analysis, Blocks, Conditions, Mended
    from snn_cli.records.conversion import Conversion, Left, Removed, Replaced
    from snn_cli.records.export import Export
    from snn_cli.records.model import (
        Advice,
        ModelEstimates,
        ModelLayer,
        ModelPrediction,
        ModelReport,
        ModelVerdict,
    )
    from snn_cli.records.propagation import (
        Budget,
        Covariance,
        Finite,
        FixedPoint,
        Gradient,
        Isometry,
        MeanPath,
        MeanState,
        Profile,
        Propagation,
    )
    from snn_cli.records.solution import VERSION, Note, Params, Solution
    from snn_cli.records.training import Accuracy, Curve, Difference, Growth, Training, Tried
    from snn_cli.records.verification import Estimates, Measured, Verdict, Verification

_MODULES = {
    "analysis": ("Analysis", "Blocks", "Conditions", "Mended"),
    "solution": ("VERSION", "Note", "Params", "Solution"),
    "propagation": (
        "Budget",
        "Covariance",
        "Finite",
        "FixedPoint",
        "Gradient",
        "Isometry",
        "MeanPath",
        "MeanState",
        "Profile",
        "Propagation",
    ),
    "model": ("Advice", "ModelEstimates", "ModelLayer", "ModelPrediction", "ModelReport", "ModelVerdict"),
    "export": ("Export",),
    "conversion": ("Conversion", "Left", "Removed", "Replaced"),
    "training": ("Accuracy", "Curve", "Difference", "Growth", "Training", "Tried"),
    "verification": ("Estimates", "Measured", "Verdict", "Verification"),
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "VERSION",
    "Accuracy",
    "Advice",
    "Analysis",
    "Blocks",
    "Budget",
    "Conditions",
    "Conversion",
    "Covariance",
    "Curve",
    "Difference",
    "Estimates",
    "Export",
    "Finite",
    "FixedPoint",
    "Gradient",
    "Growth",
    "Isometry",
    "Left",
    "MeanPath",
    "MeanState",
    "Measured",
    "Mended",
    "ModelEstimates",
    "ModelLayer",
    "ModelPrediction",
    "ModelReport",
    "ModelVerdict",
    "Note",
    "Params",
    "Profile",
    "Propagation",
    "Removed",
    "Replaced",
    "Solution",
    "Training",
    "Tried",
    "Verdict",
    "Verification",
]


def __getattr__(name: str) -> Any:
    """Each record is loaded when first used: a command pays for its own only."""
    if name in _WHERE:
        value = globals()[name] = getattr(import_module(f"snn_cli.records.{_WHERE[name]}"), name)
        return value
    raise AttributeError(f"module 'snn_cli.records' has no attribute {name!r}")
