"""What theory says of a model: its operations, and a prediction for each of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.models import allowance
from snn_cli.models.case import graph as graph_of
from snn_cli.models.seen import geometric
from snn_cli.propagation.model import function_moments, propagate
from snn_cli.propagation.paths import Averages, Readers, resting
from snn_cli.propagation.sums import sums
from snn_cli.records import ModelEstimates, ModelLayer, ModelPrediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.graph import Graph, Node
    from snn_cli.models.case import Case
    from snn_cli.propagation.model import Step
    from snn_cli.propagation.sums import Sum


class Theory(NamedTuple):
    """A traced model and what is predicted for each of its operations."""

    graph: Graph
    steps: list[Step]


class Predicted(NamedTuple):
    """One operation, and what is predicted of it."""

    node: Node
    step: Step


class Call(NamedTuple):
    """Where one call of a layer is in the model.

    ``number``, ``kind``: of its operation; ``averaged``, ``averaged_in``: positions that pooling on every path averages
    behind its output and behind its input; ``rests``: whether what theory cannot follow feeds it; ``normalized``:
    whether all that reads it is normalization. ``numbers``: of weights that it has.
    """

    number: int | None = None
    kind: str | None = None
    averaged: int = 1
    averaged_in: int = 1
    rests: bool = False
    normalized: bool = False
    numbers: float = math.inf


def trace(case: Case) -> Theory:
    """By a forward pass."""
    graph = graph_of(case)
    return Theory(graph, propagate(graph))


def prediction(case: Case) -> ModelPrediction:
    """The record of a model that nothing is measured of."""
    from snn_cli.engine.model import fan_in

    theory = trace(case)
    places = calls(theory.graph)
    modules = dict(case.model.named_modules())
    layers = []
    for (name, number), (node, step) in _by_call(theory).items():
        state = step.state
        layers.append(
            ModelLayer(
                name=label(name, number),
                kind=node.label,
                fan_in=fan_in(modules[name]) if name in modules else None,
                q=None if state is None else state.q,
                mean=None if state is None else state.mean,
                gradient=step.gradient,
                growth=step.growth,
                q_allowed=None if state is None else allowance.allowed(state.variance, state.assumed, state.slack, 1),
                growth_allowed=allowance.of_growth(step, 1),
                gradient_allowed=allowance.of_gradient(step, 1),
                averaged=places[(name, number)].averaged,
                **weights(node, step),
            )
        )
    growth, deviation = _ends(theory)
    depth = weight_layers(theory.graph)
    return ModelPrediction(
        model=type(case.model).__name__,
        depth=depth,
        gradient=estimates(growth, None, deviation if growth is not None else None, depth),
        gradient_out=float(_returned(theory.graph)) or None,
        layers=tuple(layers),
        unfollowed=unfollowed(theory.graph),
        notes=(),
    )


def _by_call(theory: Theory) -> dict[tuple[str, int], Predicted]:
    """By the name of a layer and the number of its call."""
    return {
        (node.name, node.call): Predicted(node, step)
        for node, step in zip(theory.graph.nodes, theory.steps, strict=True)
        if node.call >= 0
    }


def calls(graph: Graph | None) -> dict[tuple[str, int], Call]:
    """By the name of a layer and the number of its call."""
    if graph is None:
        return {}
    averages, unsure, readers = Averages(graph), resting(graph), Readers(graph)
    return {
        (node.name, node.call): Call(
            number,
            node.kind,
            *averages.across(number),
            rests=number in unsure,
            normalized=readers.normalize(node.outputs[0]),
            numbers=node.data.connections * node.data.channels if node.kind == "weight" else math.inf,
        )
        for number, node in enumerate(graph.nodes)
        if node.call >= 0
    }


def sums_of(theory: Theory | None) -> list[Sum]:
    """None without a theory."""
    if theory is None:
        return []
    states = zip(theory.graph.nodes, theory.steps, strict=True)
    return sums(theory.graph, {node.outputs[0]: step.state.q for node, step in states if step.state is not None})


class Mended(NamedTuple):
    """An activation for ``N(0, 1)``, with weights behind it whose gain keeps ``q = 1``.

    ``growth``: by what the squared gradient changes across both, ``E[f'^2] / E[f^2]``; ``strength``: what is left of a
    deviation of ``log q`` from 0. Theory, section 4. ``function``: its name where it is called as one.
    """

    growth: float
    strength: float
    function: str | None


def mended(theory: Theory | None) -> dict[int, Mended]:
    """By the number of the operation; gates are left out."""
    if theory is None:
        return {}
    readers = Readers(theory.graph)
    nodes = {
        number: node
        for number, node in enumerate(theory.graph.nodes)
        if node.kind == "activation" and not readers.multiply(node.outputs[0])
    }
    moments = {function: function_moments(function, 0.0, 1.0) for function in {node.data for node in nodes.values()}}
    found = {}
    for number, node in nodes.items():
        m = moments[node.data]
        if m.second_moment > 0 and m.chi > 0:
            name = None if node.call >= 0 else node.label.strip("_")
            found[number] = Mended(m.chi / m.second_moment, m.strength, name)
    return found


def predictions(theories: Sequence[Theory]) -> dict[tuple[str, int], Predicted]:
    """Of every call: the steps of the first network, with geometric means of q and of the gradients over all."""
    each = [_by_call(theory) for theory in theories]
    found = {}
    for key, (node, step) in (each[0] if each else {}).items():
        others = [steps[key].step for steps in each if key in steps]
        state = step.state
        states = [other.state for other in others if other.state is not None]
        if state is not None and len(states) == len(each):
            mean = sum(s.mean for s in states) / len(states)
            state = state._replace(q=geometric([s.q for s in states]) or state.q, mean=mean)
        gradient, growth = (geometric([getattr(s, name) for s in others]) for name in ("gradient", "growth"))
        found[key] = Predicted(node, step._replace(state=state, gradient=gradient, growth=growth))
    return found


def _ends(theory: Theory) -> tuple[float | None, float]:
    """Predicted log growth from what the model returns to its inputs, and its deviation."""
    graph = theory.graph
    inputs = [step for node, step in zip(graph.nodes, theory.steps, strict=True) if node.kind == "input"]
    returned = _returned(graph)
    known = [step.gradient for step in inputs if step.gradient is not None]
    if not inputs or len(known) < len(inputs) or not returned or not sum(known) > 0:
        return None, 0.0
    return math.log(sum(known) / returned), math.sqrt(max(step.gradient_variance for step in inputs))


def mean_ends(theories: Sequence[Theory]) -> tuple[float | None, float]:
    """Log growth over the whole model, the mean over networks, and its deviation; None where one has none."""
    ends = [_ends(theory) for theory in theories]
    growths = [growth for growth, _ in ends if growth is not None]
    if not growths or len(growths) < len(ends):
        return None, 0.0
    return sum(growths) / len(growths), max(deviation for _, deviation in ends)


def _returned(graph: Graph) -> int:
    """Elements per sample of what the model returns."""
    sizes = {out: size for node in graph.nodes for out, size in zip(node.outputs, node.sizes, strict=True)}
    return sum(sizes.get(out, 0) for out in graph.outputs)


def unfollowed(graph: Graph) -> tuple[str, ...]:
    """Operations that theory cannot follow, in words."""
    names = [
        f"{node.name} ({node.label})" if node.name else node.label for node in graph.nodes if node.kind == "unknown"
    ]
    return tuple(dict.fromkeys(names))


def weight_layers(graph: Graph) -> int:
    """How many there are."""
    return sum(node.kind == "weight" for node in graph.nodes)


def label(name: str, number: int) -> str:
    """A layer's name in a record; its second call is ``#2``."""
    return (name or "(model)") + (f"#{number + 1}" if number else "")


def weights(node: Node, step: Step) -> dict[str, Any]:
    """The fields of a layer's record that are about its weights."""
    if node.kind != "weight":
        return {}
    w = node.data
    spread = w.second_moment - w.mean**2
    return {
        "gain": math.sqrt(w.connections * max(0.0, w.second_moment)),
        "gain_kept": step.keeps,
        "weight_mean": w.mean / math.sqrt(spread) if spread > 0 else None,
        "weight_mean_tolerance": step.tolerance,
    }


def estimates(growth: float | None, error: float | None, deviation: float | None, depth: int) -> ModelEstimates:
    """Of a log growth over so many layers, its error, and its deviation for one network."""
    share = None if growth is None or not depth else growth / depth
    return ModelEstimates(share, None if error is None or not depth else error / depth, growth, error, deviation)
