"""The record of a measurement: what was measured beside what theory says of it, and the verdict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli import prediction
from snn_cli.engine.measure import Trials, broken
from snn_cli.exact import nearest_double, rational
from snn_cli.prediction import Predicted
from snn_cli.records import Estimates, Measured, Note, Params, Verification
from snn_cli.verification.statistics import column, error_of, over_networks, squared_mean, value
from snn_cli.verification.verdict import verdict

if TYPE_CHECKING:
    from snn_cli.records import Propagation, Verdict
    from snn_cli.verification.networks import Run
    from snn_cli.verification.request import Request


class Session(NamedTuple):
    """How the networks were run: where, whether all of them, for how long, and in how much memory."""

    device: str
    complete: bool
    seconds: float
    peak_memory: int


def judge(
    theory: Propagation, run: Run, request: Request, found: Trials, session: Session, profile: bool
) -> Verification:
    """``theory``: the record of `simulate`."""
    count = len(found.number)
    lost = broken(found) if count else None
    predicted = prediction.predict(request.theory, theory, request.stages, request.batch)
    conclusion = verdict(found, predicted, request, lost is not None)
    notes = _notes(theory, predicted, request, found, conclusion, lost is not None, session.complete)
    return Verification(
        act=theory.act,
        epsilon=theory.epsilon,
        params=Params(dict(theory.params)),
        depth=theory.depth,
        fan_in=theory.fan_in,
        architecture=request.architecture,
        weights=theory.weights,
        sigma_w=theory.sigma_w,
        sigma_b=theory.sigma_b,
        widths=None if request.stages is not None else theory.widths,
        q0=theory.q0,
        batch=request.batch,
        trials=count,
        device=session.device,
        dtype=request.dtype,
        seed=request.seed,
        measured=_estimates(found, predicted),
        theory=_predicted(predicted),
        verdict=conclusion,
        broken_layer=None if lost is None else lost[0],
        broken_trial=None if lost is None else lost[1],
        notes=notes,
        profile=_profile(found, predicted) if profile else None,
        seconds=session.seconds,
        networks_per_second=count / session.seconds if session.seconds else 0.0,
        peak_memory=session.peak_memory,
        **_extras(theory, request, run.architecture.means),
    )


def _notes(
    theory: Propagation,
    predicted: Predicted,
    request: Request,
    found: Trials,
    conclusion: Verdict,
    lost: bool,
    complete: bool,
) -> tuple[Note, ...]:
    notes = prediction.notes(theory, predicted, request.stages is not None)
    if not complete:
        notes.append(Note.PARTIAL)
    if len(found.number) == 1:
        notes.append(Note.ONE_TRIAL)
    if lost:
        notes.append(Note.BROKEN)
    elif not predicted.finite and not predicted.notes:
        notes.append(Note.NO_FINITE_THEORY)
    if conclusion.trials_to_decide is not None:
        notes.append(Note.TOO_FEW_TRIALS)
    return tuple(dict.fromkeys(notes))


def _extras(theory: Propagation, request: Request, measured: bool) -> dict[str, Any]:
    """The fields of a record that say something of this run only."""
    found: dict[str, Any] = {}
    if request.stages is not None:
        found.update((name, int(request.shape[name])) for name in ("channels", "kernel") if name in request.shape)
        found["image"] = request.stages[0].size
        found["padding"] = "circular" if request.stages[0].circular else "zeros"
        if "width_multiplier" in request.shape:
            found["width_multiplier"] = nearest_double(
                rational(request.shape["width_multiplier"], "--width-multiplier")
            )
    if measured:
        found.update(
            (name, getattr(theory, name))
            for name in ("weight_mean", "centralize", "centralize_activation", "mixup", "scaled_mixup")
        )
    return found


def _window(predicted: Predicted) -> tuple[int, int]:
    """First and last layer of the middle half."""
    depth = len(predicted.q) - 1
    return depth // 4, depth - depth // 4


def _predicted(predicted: Predicted) -> Estimates:
    first, last = _window(predicted)
    inside = slice(first, last + 1)
    with np.errstate(all="ignore"):
        shared = predicted.q_sd**2 - predicted.unit_share * predicted.infinite_q**2
    return Estimates(
        value((predicted.log_gradient[first] - predicted.log_gradient[last]) / (last - first)),
        None,
        value(predicted.log_gradient[0]),
        None,
        predicted.log_growth_sd,
        value(np.mean((predicted.q - predicted.infinite_q)[inside])),
        value(np.mean(shared[inside])),
    )


def _estimates(found: Trials, predicted: Predicted) -> Estimates:
    if not len(found.number):
        return Estimates(None, None, None, None, None, None, None)
    first, last = _window(predicted)
    inside = slice(first, last + 1)
    with np.errstate(all="ignore"):
        drift = (found.log_gradient[:, first] - found.log_gradient[:, last]) / (last - first)
        growth = found.log_gradient[:, 0]
        spread = found.log_gradient_square[:, 0].mean() - squared_mean(growth)
        q, square = found.second_moment.mean(axis=0), squared_mean(found.second_moment)
        shared = found.second_moment_square.mean(axis=0) - square - predicted.unit_share * square
        return Estimates(
            value(drift.mean()),
            error_of(drift),
            value(growth.mean()),
            error_of(growth),
            value(math.sqrt(spread)) if spread >= 0 else None,
            value((q - predicted.infinite_q)[inside].mean()),
            value(shared[inside].mean()),
        )


def _profile(found: Trials, predicted: Predicted) -> Measured:
    layers = len(predicted.q)
    q, q_error = over_networks(found.second_moment, layers)
    gradient, gradient_error = over_networks(found.log_gradient, layers)
    with np.errstate(all="ignore"):
        z = (gradient - predicted.log_gradient) / gradient_error
    extra = {}
    if found.mean.shape[1]:
        mean, mean_error = over_networks(found.mean, layers)
        extra = {"mean": column(mean), "mean_se": column(mean_error), "mean_theory": column(predicted.mean)}
    return Measured(
        tuple(range(layers)),
        column(q),
        column(q_error),
        column(predicted.q),
        column(gradient),
        column(gradient_error),
        column(predicted.log_gradient),
        column(z),
        **extra,
    )
