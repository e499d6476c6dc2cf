"""What was measured of a model, held against what was predicted, layer by layer; and where it leaves the budget."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.engine import device as devices
from snn_cli.errors import CannotCompute
from snn_cli.models import allowance, theory
from snn_cli.models.advice import advice, farthest
from snn_cli.models.seen import Growth, geometric, growth, seen
from snn_cli.models.theory import Call, estimates, label
from snn_cli.propagation.paths import Averages, in_branch
from snn_cli.records import ModelLayer, ModelReport, ModelVerdict, Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snn_cli.engine.model import Measurement
    from snn_cli.graph import Graph
    from snn_cli.models.case import Case
    from snn_cli.models.seen import Seen
    from snn_cli.models.theory import Predicted, Theory

_IDLE = frozenset(["Identity", "Flatten", "Unflatten", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d"])


class Trials(NamedTuple):
    """Everything that a report is made of: one measurement a trial, and a theory where there is one.

    ``case``: of the last trial; ``factor``: of the budget; ``rebuilt``: whether each trial had weights of its own.
    """

    model: str
    case: Case
    measured: list[Measurement]
    theories: list[Theory]
    graph: Graph | None
    device: str
    dtype: str
    seed: int
    weights: str
    factor: float | None
    rebuilt: bool
    seconds: float


def report(trials: Trials) -> ModelReport:
    """Raises CannotCompute where the layers are not the same in every trial."""
    from snn_cli.engine.model import tensors

    measured, graph, count = trials.measured, trials.graph, len(trials.measured)
    _check_alike(measured)
    places = theory.calls(graph)
    calls = [places.get((row.name, row.call), Call()) for row in measured[0].layers]
    means = [seen(measured, i) for i in range(len(calls))]
    layers = _layers(trials, means, calls)
    depth = _depth(trials, layers)
    whole = growth(measured)
    averaged = None if graph is None else _averaged(measured[0], graph, calls)
    broken = next((i for i, one in enumerate(means) if one.q is None), None)
    verdict = _verdict(layers, whole, averaged, trials.factor)
    violation = None
    if trials.factor is not None:
        left = _leaving(measured, layers, means, calls, math.log(trials.factor))
        violation = _first(left, graph, calls, verdict)
    number = None if violation is None else calls[violation].number
    foretold, deviation = theory.mean_ends(trials.theories)
    first = tensors((trials.case.arguments, trials.case.named))[0]
    found = ModelReport(
        model=trials.model,
        depth=depth,
        batch=first.shape[0] if first.dim() else 1,
        trials=count,
        device=trials.device,
        dtype=trials.dtype,
        seed=trials.seed,
        weights=trials.weights,
        measured=estimates(whole.mean, whole.error, None, depth),
        theory=estimates(foretold, None, deviation if foretold is not None else None, depth),
        verdict=verdict,
        gradient_out=geometric([m.gradient_out for m in measured]),
        first_violation=None if violation is None else layers[violation].name,
        violation_at=None,
        violation_in_branch=None if number is None or graph is None else in_branch(graph, number),
        averaged=averaged,
        broken_layer=broken,
        layers=layers,
        unfollowed=() if not trials.theories else theory.unfollowed(trials.theories[0].graph),
        left_out=_left_out(trials.case.model, measured[0]),
        advice=(),
        notes=(*([Note.ONE_TRIAL] if count == 1 else []), *([Note.BROKEN] if broken is not None else [])),
        seconds=trials.seconds,
        networks_per_second=count / trials.seconds if trials.seconds else 0.0,
        peak_memory=devices.peak_memory(devices.require_torch().device(trials.device)),
    )
    if violation is not None:
        found = replace(found, violation_at=farthest(found, violation, calls)[0])
    return replace(found, advice=advice(found, violation, calls, next(iter(trials.theories), None)))


def _check_alike(measured: Sequence[Measurement]) -> None:
    shapes = [[(row.name, row.call, row.kind) for row in m.layers] for m in measured]
    if any(shape != shapes[0] for shape in shapes):
        raise CannotCompute("the model runs other layers each time it is built", "--trials 1")


def _depth(trials: Trials, layers: Sequence[ModelLayer]) -> int:
    """Layers with weights."""
    if trials.theories:
        return theory.weight_layers(trials.theories[0].graph)
    return sum(layer.fan_in is not None for layer in layers)


def _verdict(layers: Sequence[ModelLayer], whole: Growth, averaged: int | None, factor: float | None) -> ModelVerdict:
    expected = [layer.expected for layer in layers if layer.expected is not None]
    within = None
    if factor is not None:
        counted = [abs(each + math.log(averaged or 1)) for each in whole.known]
        within = whole.mean is not None and sum(counted) / len(counted) <= math.log(factor)
    return ModelVerdict(all(expected) if expected else None, within, factor)


def _layers(trials: Trials, means: Sequence[Seen], calls: Sequence[Call]) -> tuple[ModelLayer, ...]:
    predicted = theory.predictions(trials.theories)
    networks = len(trials.measured) if trials.rebuilt else 1
    layers = []
    for row, mean, call in zip(trials.measured[0].layers, means, calls, strict=True):
        layer = _layer(row, mean, predicted.get((row.name, row.call)), networks)
        layer = layer._replace(averaged=call.averaged if trials.graph is not None else None)
        layers.append(layer._replace(expected=None) if call.rests else layer)
    return tuple(layers)


def _layer(row: Any, mean: Seen, predicted: Predicted | None, networks: int) -> ModelLayer:
    plain = ModelLayer(label(row.name, row.call), row.kind, row.fan_in, mean.q, mean.mean, mean.gradient, mean.growth)
    if predicted is None:
        return plain
    node, step = predicted
    state = step.state
    plain = plain._replace(**theory.weights(node, step), growth_theory=step.growth, gradient_theory=step.gradient)
    plain = plain._replace(
        growth_allowed=allowance.of_growth(step, networks), gradient_allowed=allowance.of_gradient(step, networks)
    )
    expected = []
    if state is not None:
        units = 2 / state.independent(max(1, row.units))  # chance of the units themselves
        allowed = allowance.allowed(state.variance + units, state.assumed, state.slack, networks)
        plain = plain._replace(q_theory=state.q, mean_theory=state.mean, q_allowed=allowed)
        expected.append(allowance.near(mean.q, state.q, allowed))
    if plain.growth_allowed is not None and step.growth is not None and mean.growth is not None:
        expected.append(allowance.near(mean.growth, step.growth, plain.growth_allowed))
    return plain._replace(expected=all(expected) if expected else None)


def _averaged(m: Measurement, graph: Graph, calls: Sequence[Call]) -> int:
    """Positions averaged on the whole way that `seen.growth` is of."""
    if m.gradient_in is not None:
        return Averages(graph).of_inputs()
    return next((place.averaged for row, place in zip(m.layers, calls, strict=True) if row.gradient is not None), 1)


def _leaving(
    measured: Sequence[Measurement],
    layers: Sequence[ModelLayer],
    seen: Sequence[Seen],
    calls: Sequence[Call],
    limit: float,
) -> Iterator[int]:
    """Coming from the output, the layers on a side of which the gradient has left the budget.

    Average pooling that every path passes is not counted.
    """
    start = geometric([m.gradient_out for m in measured])
    for i in reversed(range(len(layers))):
        if layers[i].kind in _IDLE or (seen[i].gradient is None and seen[i].q is not None):
            continue
        out, into = seen[i].gradient, seen[i].gradient_in
        sides = [] if out is None else [out * calls[i].averaged]
        sides += [] if into is None else [into * calls[i].averaged_in]
        if not sides or not start or any(not x > 0 or abs(math.log(x / start)) > limit for x in sides):
            yield i


def _first(left: Iterator[int], graph: Graph | None, calls: Sequence[Call], verdict: ModelVerdict) -> int | None:
    """The first of the layers that all paths pass; of any layers, where the whole model is outside of the budget.

    Inside a branch there is a part of the gradient, as small as the branch is: what counts is what all paths bring.
    """
    inside = None
    for i in left:
        number = calls[i].number
        if graph is None or number is None or not in_branch(graph, number):
            return i
        inside = i if inside is None else inside
    return None if verdict.within_budget else inside


def _left_out(model: Any, m: Measurement) -> tuple[str, ...]:
    """What the measurement could not see, in words."""
    from snn_cli.engine.model import leaves

    found = []
    called = {row.name for row in m.layers}
    unused = [name for name, module in leaves(model) if name not in called and any(True for _ in module.parameters())]
    if unused:
        found.append(f"not called in the forward pass: {_some(unused)}")
    blind = [label(row.name, row.call) for row in m.layers if row.gradient is None]
    if blind:
        found.append(f"no gradient comes by: {_some(blind)}")
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    if frozen:
        found.append(f"frozen, but measured like the others: {_some(frozen)}")
    whole = [name for name, p in model.named_parameters() if not p.is_floating_point()]
    if whole:
        found.append(f"whole numbers, not weights: {_some(whole)}")
    training = [
        name for name, module in model.named_modules()
        if module.training and "BatchNorm" in type(module).__name__
    ]  # fmt: skip
    if training:
        found.append(f"normalized over this batch, as in training: {_some(training)}")
    return tuple(found)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
