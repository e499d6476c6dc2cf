"""The records of a user's own model: what was predicted for every layer, and what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from snn_cli.records.solution import VERSION, Note


class ModelLayer(NamedTuple):
    """One call of a layer, in the order of the forward pass.

    name, kind, fan_in
        Name in the model (``#2`` is its second call), class, and inputs that an output has weights for.
    q, mean
        Second moment and mean of its output.
    gradient, growth
        Squared norm of the gradient with respect to its output, per sample; and of the gradient across the layer, input
        over output. Geometric means over networks.
    q_theory, mean_theory, gradient_theory, growth_theory
        What random weights with these moments would do.
    q_allowed, growth_allowed, gradient_allowed
        Factors by which these may differ from that: four deviations at this width, and what the theory assumes.
        ``expected``: whether q and growth do not; None behind what theory cannot follow.
    gain, gain_kept
        ``sqrt(fan_in E[w^2])``, and the one that keeps ``q = 1`` after the activation before the layer.
    weight_mean, weight_mean_tolerance
        Common mean of the weights in units of their deviation, and the one from which a mean of the signal grows.
    averaged
        Positions averaged by pooling that every path from here to what the model returns passes. It divides the squared
        gradient by as many, once, whatever the weights: a budget does not count it.
    """

    name: str
    kind: str
    fan_in: int | None
    q: float | None
    mean: float | None
    gradient: float | None
    growth: float | None
    q_theory: float | None = None
    mean_theory: float | None = None
    gradient_theory: float | None = None
    growth_theory: float | None = None
    q_allowed: float | None = None
    growth_allowed: float | None = None
    gradient_allowed: float | None = None
    expected: bool | None = None
    gain: float | None = None
    gain_kept: float | None = None
    weight_mean: float | None = None
    weight_mean_tolerance: float | None = None
    averaged: int | None = None


class Advice(NamedTuple):
    """One finding: a code, the layer, the number behind it, what it is held against, and what to type.

    Codes: ``violation`` and ``broken``, where it happens; ``gain`` (of the weights), ``activation``, ``sum`` (of
    branches), ``normalization`` and ``pooling``, why; ``weight-mean``, ``fan-in``, ``unexpected-q`` and
    ``unexpected-growth``, what else there is; ``fine`` and ``no-budget``, where there is nothing.
    """

    code: str
    layer: str | None
    value: float | None
    limit: float | None
    do: str | None


class ModelEstimates(NamedTuple):
    """``log(|dLoss/dinput|^2 / |dLoss/doutput|^2)``, its standard error, and its share a weight layer."""

    drift: float | None
    drift_se: float | None
    log_growth: float | None
    log_growth_se: float | None
    log_growth_sd: float | None


class ModelVerdict(NamedTuple):
    """``agrees``: every layer is within what theory allows; ``within_budget``: the mean of ``|log growth|``
    is, but for the pooling that ``averaged`` counts."""

    agrees: bool | None
    within_budget: bool | None
    max_growth: float | None


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What was measured in a model, what theory says of it, and what to do.

    ``gradient_out``: squared norm, per sample, of the random gradient at what the model returns.
    ``first_violation``: the layer across which, coming from the output, the gradient first leaves ``max_growth``, of
    those that all paths pass; of any, where none of these is and the whole model is outside. ``violation_at``: on which
    side, ``input`` or ``output``; ``violation_in_branch``: whether a path goes around it.
    ``averaged``: positions averaged by pooling that every path from the input passes, not counted against the budget.
    ``broken_layer``: the first layer whose output is not finite, by number. ``unfollowed``: what theory could not
    follow. ``left_out``: what the measurement could not see. ``advice``: at most five findings.
    """

    model: str
    depth: int
    batch: int
    trials: int
    device: str
    dtype: str
    seed: int
    weights: str
    measured: ModelEstimates
    theory: ModelEstimates
    verdict: ModelVerdict
    gradient_out: float | None
    first_violation: str | None
    violation_at: str | None
    violation_in_branch: bool | None
    averaged: int | None
    broken_layer: int | None
    layers: tuple[ModelLayer, ...]
    unfollowed: tuple[str, ...]
    left_out: tuple[str, ...]
    advice: tuple[Advice, ...]
    notes: tuple[Note, ...]
    seconds: float
    networks_per_second: float
    peak_memory: int

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types; the fields of every verification first."""
        data = _head("verification", self.depth)
        for name in self.__dataclass_fields__:
            data[name] = getattr(self, name)
        for name in ("measured", "theory", "verdict"):
            data[name] = getattr(self, name)._asdict()
        for name in ("layers", "advice"):
            data[name] = [_finite(part._asdict()) for part in getattr(self, name)]
        for name in ("unfollowed", "left_out"):
            data[name] = list(getattr(self, name))
        data["notes"] = [note.value for note in self.notes]
        return data


@dataclass(frozen=True, slots=True)
class ModelPrediction:
    """What theory says of a model: the layers have no measurement in them, ``q, mean, gradient, growth`` are predicted.

    ``gradient_out``: squared norm, per sample, of the gradient ``N(0, I)`` at what the model returns: its size.
    ``unfollowed``: operations that theory cannot follow; up to there, and from a normalization on, it can.
    """

    model: str
    depth: int
    gradient: ModelEstimates
    gradient_out: float | None
    layers: tuple[ModelLayer, ...]
    unfollowed: tuple[str, ...]
    notes: tuple[Note, ...]

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, ``kind`` and ``version`` first."""
        data = _head("propagation", self.depth) | {
            "model": self.model,
            "gradient": {
                "log_growth": self.gradient.log_growth,
                "log_growth_sd": self.gradient.log_growth_sd,
                "typical_factor": _exponential(self.gradient.log_growth),
            },
            "gradient_out": self.gradient_out,
            "unfollowed": list(self.unfollowed),
            "notes": [note.value for note in self.notes],
        }
        measured_only = ("q_theory", "mean_theory", "gradient_theory", "growth_theory", "expected")
        data["layers"] = [
            _finite({name: value for name, value in layer._asdict().items() if name not in measured_only})
            for layer in self.layers
        ]
        return data


def _head(kind: str, depth: int) -> dict[str, Any]:
    """The fields that every record of that kind begins with; a model has no one activation and no one width."""
    return {
        "kind": kind,
        "version": VERSION,
        "act": None,
        "epsilon": None,
        "params": None,
        "depth": depth,
        "fan_in": None,
        "architecture": "model",
    }


def _finite(data: dict[str, Any]) -> dict[str, Any]:
    """None for what is not finite, as JSON has no number for it."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in data.items()
    }


def _exponential(x: float | None) -> float | None:
    return math.exp(x) if x is not None and x < 709 else None
