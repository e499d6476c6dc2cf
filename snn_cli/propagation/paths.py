"""Paths through a model from its inputs to what it returns: what all of them pass, and what one goes around."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snn_cli.graph import Graph


class Averages:
    """Average pooling that every path from a value to what the model returns passes.

    Over n positions without overlap it divides the squared norm of the gradient by n, whatever the weights are.
    """

    def __init__(self, graph: Graph) -> None:
        sizes = {out: size for node in graph.nodes for out, size in zip(node.outputs, node.sizes, strict=True)}
        self._positions = {
            number: node.data
            for number, node in enumerate(graph.nodes)
            if node.kind == "average" and all(sizes[i] >= node.data * node.sizes[0] for i in node.inputs)
        }
        self._graph = graph
        self._passed: dict[int, frozenset[int]] = dict.fromkeys(graph.outputs, frozenset())
        for number in reversed(range(len(graph.nodes))):
            node = graph.nodes[number]
            sides = [self._passed[out] for out in node.outputs if out in self._passed]
            if not sides:
                continue
            passed = frozenset.intersection(*sides) | self._positions.keys() & {number}
            for value in node.inputs:
                self._passed[value] = self._passed[value] & passed if value in self._passed else passed

    def behind(self, value: int) -> int:
        """Positions that they average, all together."""
        return math.prod(self._positions[number] for number in self._passed.get(value, ()))

    def across(self, number: int) -> tuple[int, int]:
        """Of one operation: positions averaged behind its output, and behind its input."""
        outputs = self._graph.nodes[number].outputs
        after = self.behind(outputs[0]) if outputs else 1
        return after, after * self._positions.get(number, 1)

    def of_inputs(self) -> int:
        """Positions averaged behind all of the model's inputs."""
        inputs = [out for node in self._graph.nodes if node.kind == "input" for out in node.outputs]
        passed = [self._passed[value] for value in inputs if value in self._passed]
        return math.prod(self._positions[number] for number in frozenset.intersection(*passed)) if passed else 1


def resting(graph: Graph) -> frozenset[int]:
    """Operations that something theory cannot follow feeds, at whatever distance."""
    values: set[int] = set()
    found = set()
    for number, node in enumerate(graph.nodes):
        if not values.isdisjoint(node.inputs):
            found.add(number)
            values.update(node.outputs)
        elif node.kind == "unknown":
            values.update(node.outputs)
    return frozenset(found)


class Readers:
    """What reads each value of a model; -1 is who called it."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = graph.nodes
        self._readers: dict[int, list[int]] = {}
        for number, node in enumerate(graph.nodes):
            for value in node.inputs:
                self._readers.setdefault(value, []).append(number)
        for value in graph.outputs:
            self._readers.setdefault(value, []).append(-1)

    def only(self, value: int) -> int | None:
        """The one operation that reads a value; None where there are others, or where it is returned."""
        readers = self._readers.get(value, [])
        return readers[0] if len(readers) == 1 and readers[0] >= 0 else None

    def multiply(self, value: int) -> bool:
        """Whether a value only weighs others, as a gate does."""
        readers = self._readers.get(value, [])
        return bool(readers) and all(number >= 0 and self._nodes[number].kind == "multiply" for number in readers)

    def normalize(self, value: int) -> bool:
        """Whether all that reads a value, scaled and in another shape too, is normalization."""
        readers = self._readers.get(value, [])
        return bool(readers) and all(number >= 0 and self._normalizes(number) for number in readers)

    def _normalizes(self, number: int) -> bool:
        node = self._nodes[number]
        return node.kind == "norm" or (node.kind in ("pass", "scale") and self.normalize(node.outputs[0]))


def weighed(graph: Graph) -> frozenset[int]:
    """Operations whose outputs weights alone read, as they are or in another shape."""
    read: dict[int, bool] = {}
    found = set()
    for number in reversed(range(len(graph.nodes))):
        node = graph.nodes[number]
        alone = bool(node.outputs) and all(read.get(out, False) for out in node.outputs)
        if alone and not set(graph.outputs).intersection(node.outputs):
            found.add(number)
        for value in node.inputs:
            only = node.kind == "weight" or (node.kind == "pass" and number in found)
            read[value] = read.get(value, True) and only
    return frozenset(found)


_SAME_UNITS = frozenset(["pass", "add", "scale", "shift", "concatenate", "average", "maximum", "repeat", "dropout"])


def rectified_again(graph: Graph) -> frozenset[int]:
    """Activations whose output reaches another one without weights in between, as along a residual stream.

    What the second lets through depends on what the first one did: gradients that come back are not independent of it.
    """
    reaches: set[int] = set()
    found = set()
    for number in reversed(range(len(graph.nodes))):
        node = graph.nodes[number]
        reached = not reaches.isdisjoint(node.outputs)
        if node.kind == "activation" and reached:
            found.add(number)
        if node.kind == "activation" or (reached and node.kind in _SAME_UNITS):
            reaches.update(node.inputs)
    return frozenset(found)


def in_branch(graph: Graph, number: int) -> bool:
    """Whether a path from the model's inputs to what it returns goes around an operation."""
    sources = [i for i, node in enumerate(graph.nodes) if node.kind == "input"]
    if not sources:  # whole numbers have no gradient: embeddings are where it ends
        sources = [i for i, node in enumerate(graph.nodes) if node.kind == "constant" and node.call >= 0]
    reached: set[int] = set()
    for i, node in enumerate(graph.nodes):
        if i != number and (i in sources or not reached.isdisjoint(node.inputs)):
            reached.update(node.outputs)
    return number not in sources and not reached.isdisjoint(graph.outputs)
