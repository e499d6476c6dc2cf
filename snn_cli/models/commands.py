"""The ways in: a live model or one named by its path, measured or predicted."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from snn_cli.engine import device as devices
from snn_cli.exact import Number, budget_of, seed_of
from snn_cli.models.case import built, derived, measure, of_batch
from snn_cli.models.case import graph as graph_of
from snn_cli.models.report import Trials, report
from snn_cli.models.request import check
from snn_cli.models.theory import prediction, trace

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from snn_cli.engine.model import Measurement
    from snn_cli.models.case import Case
    from snn_cli.models.theory import Theory
    from snn_cli.records import ModelPrediction, ModelReport


def verify_model(
    model: torch.nn.Module,
    batch: Any,
    *,
    max_growth: Number | None = None,
    seed: int | str = 0,
    theory: bool = True,
) -> ModelReport:
    """Measure a live model with the user's own batch, layer by layer, and leave it bit for bit as it was.

    model
        Any ``torch.nn.Module``, in whatever mode, on whatever device it is.
    batch
        What it is called with: a tensor, a tuple or list of positional arguments, or a dictionary of named ones. The
        first dimension of the first tensor counts the samples.
    max_growth
        Factor that the squared gradient may grow or shrink by on its way back to the input. It is about what repeats
        with depth: average pooling over n positions that every path passes divides the squared gradient by n, once and
        whatever the weights, and is not counted (``averaged`` in the report).
    seed
        Of the random gradient ``N(0, I)`` at what the model returns.
    theory
        Whether every layer is held against what random weights of its moments would do.

    Squared gradients are norms of a sample's, averaged over the batch; q and mean are over units and samples. Weights,
    buffers, gradients, hooks, mode and random states are afterwards what they were.

    Raises InputError for what is no model, no batch, or a ``max_growth`` below 1, CannotCompute where it raises or no
    gradient comes through, MissingExtra without torch. Source: autograd measures; what it is held against is theory,
    sections 1, 4, 5 and 7.
    """
    started = time.perf_counter()
    devices.require_torch()
    factor, number = budget_of(max_growth), seed_of(seed)
    case = of_batch(model, batch)
    measured = [measure(case, number)]
    theories = [trace(case)] if theory else []
    graph = theories[0].graph if theories else graph_of(case) if factor is not None else None
    first = next(case.model.parameters())
    return report(
        Trials(
            model=type(case.model).__name__,
            case=case,
            measured=measured,
            theories=theories,
            graph=graph,
            device=str(first.device),
            dtype=str(first.dtype).removeprefix("torch."),
            seed=number,
            weights="live",
            factor=factor,
            rebuilt=False,
            seconds=time.perf_counter() - started,
        )
    )


def simulate_model(model: torch.nn.Module, batch: Any) -> ModelPrediction:
    """Predict every layer of a live model from the moments of its weights, without a backward pass.

    Arguments as for `verify_model`. Layers are read from a forward pass; what theory cannot follow is named in
    ``unfollowed``, and predicted up to there.

    Raises InputError for what is no model or no batch, CannotCompute where the model raises on it, MissingExtra without
    torch. Source: theory, sections 1, 4, 5 and 7; branches by the addition rule of block dynamical isometry.
    """
    devices.require_torch()
    return prediction(of_batch(model, batch))


def verify_path(
    model: str | Callable[[], Any],
    input: str | None = None,  # noqa: A002
    *,
    batch: int | str | None = None,
    trials: int | str | None = None,
    seed: int | str = 0,
    device: str = "cpu",
    dtype: str = "float32",
    max_growth: Number | None = None,
    weights_from: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ModelReport:
    """Build the model ``trials`` times, and measure it on samples ``N(0, 1)`` of the shape ``input``.

    model
        ``package.module:callable`` (the current directory counts), or the callable: it takes nothing and returns the
        model.
    input
        Shape of one sample, such as ``3x64x64``; several inputs with commas; ``16@1000`` are whole numbers below 1000.
    weights_from
        A safetensors file with the weights: then each trial has the same, and samples of its own.

    Raises as `verify_model`, and InputError for a path or a shape that is none.
    """
    started = time.perf_counter()
    request = check(
        model, input, batch=batch, trials=trials, seed=seed, device=device, dtype=dtype, max_growth=max_growth
    )
    place = devices.resolve(device)
    case: Case | None = None
    measured: list[Measurement] = []
    theories: list[Theory] = []
    same = weights_from is not None
    for trial in range(request.trials):
        before, case = case, built(request, trial, place, weights_from)
        same = same or (before is not None and case.model is before.model)
        measured.append(measure(case, derived(request.seed, trial, "gradient")))
        theories.append(trace(case))
        if progress is not None:
            progress(trial + 1, request.trials)
    assert case is not None
    return report(
        Trials(
            model=request.name,
            case=case,
            measured=measured,
            theories=theories,
            graph=theories[0].graph,
            device=str(place),
            dtype=dtype,
            seed=request.seed,
            weights="as built" if weights_from is None else os.path.basename(weights_from),
            factor=request.factor,
            rebuilt=not same,
            seconds=time.perf_counter() - started,
        )
    )


def simulate_path(
    model: str | Callable[[], Any],
    input: str | None = None,  # noqa: A002
    *,
    seed: int | str = 0,
    weights_from: str | None = None,
) -> ModelPrediction:
    """`simulate_model` of a model built once, on samples ``N(0, 1)`` of the shape ``input``; as for `verify_path`."""
    request = check(model, input, trials=1, seed=seed)
    found = prediction(built(request, 0, devices.resolve("cpu"), weights_from))
    return replace(found, model=request.name)
