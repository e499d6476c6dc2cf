"""The record of a variant: what its runs gave, and how far they are from those of the baseline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli.records import Accuracy, Curve, Difference, Growth, Note, Params, Training, Tried

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.records import Solution
    from snn_cli.training.loop import Run
    from snn_cli.training.plan import Plan
    from snn_cli.training.variants import Variant


class Done(NamedTuple):
    """A variant with its runs at the learning rate ``rate``, which was chosen from those that were tried."""

    variant: Variant
    solution: Solution | None
    rate: float
    tried: list[Tried]
    runs: list[Run]
    parameters: int
    seconds: float


def record(plan: Plan, done: Done, baseline: Training | None, device: str, profile: bool) -> Training:
    """``profile``: whether it holds every epoch."""
    variant, solution, runs = done.variant, done.solution, done.runs
    params = dict(variant.params) if solution is None else dict(solution.params)
    accuracies = np.array([run.accuracy for run in runs])
    diverged = sum(run.diverged for run in runs)
    return Training(
        variant=variant.name,
        act=variant.act,
        epsilon=None if solution is None else solution.epsilon,
        params=Params(params),
        data=plan.data,
        architecture=plan.architecture,
        depth=plan.depth,
        fan_in=plan.width if plan.architecture == "mlp" else None,
        batch=plan.batch,
        epochs=plan.epochs,
        seeds=len(runs),
        seed=plan.seed,
        learning_rate=done.rate,
        tried=tuple(done.tried),
        accuracy=Accuracy(
            float(accuracies.mean()),
            float(accuracies.std(ddof=1)) if len(runs) > 1 else None,
            tuple(accuracies.tolist()),
        ),
        loss=_mean(run.loss for run in runs),
        train_loss=_mean(run.train_loss for run in runs),
        gradient=Growth(_mean(run.gradient[0] for run in runs), _mean(run.gradient[1] for run in runs)),
        difference=None if baseline is None else _difference(accuracies, baseline),
        diverged=diverged,
        parameters=done.parameters,
        weights=plan.weights,
        device=device,
        precision=plan.precision,
        notes=_notes(done, diverged),
        profile=_curve(runs) if profile else None,
        seconds=done.seconds,
    )


def _notes(done: Done, diverged: int) -> tuple[Note, ...]:
    notes = []
    if diverged:
        notes.append(Note.DIVERGED)
    if done.tried and done.rate in (done.tried[0].learning_rate, done.tried[-1].learning_rate):
        notes.append(Note.RATE_AT_END)
    if len(done.runs) == 1:
        notes.append(Note.ONE_SEED)
    return tuple(notes)


def _difference(accuracies: Any, baseline: Training) -> Difference:
    """Seed by seed."""
    off = accuracies - np.array(baseline.accuracy.runs)
    return Difference(baseline.variant, float(off.mean()), _error(off))


def _curve(runs: Sequence[Run]) -> Curve:
    epochs = range(max(len(run.epochs) for run in runs))
    rows = [[run.epochs[i] for run in runs if len(run.epochs) > i] for i in epochs]
    return Curve(
        tuple(epochs),
        tuple(_mean(epoch.loss for epoch in row) for row in rows),
        tuple(_mean(epoch.accuracy for epoch in row) for row in rows),
    )


def _mean(values: Any) -> float | None:
    """Of those that are finite."""
    kept = [value for value in values if math.isfinite(value)]
    return math.fsum(kept) / len(kept) if kept else None


def _error(values: Any) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
