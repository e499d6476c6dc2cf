"""Sums of branches in a model, such as residual ones: what each does to the second moment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from snn_cli.propagation.paths import Readers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from snn_cli.graph import Graph, Node


_ALIKE = 0.25
"""Branches that add this share of the largest, each, count as alike: self-normalizing ones become so."""


class Sum(NamedTuple):
    """One sum, of three branches and more as well.

    number
        Of its operation, the last where there are several.
    name, call
        Of the last layer in front of it; ``normalized``: whether all that reads it is normalization.
    branches
        How many meet that the model computes from its input.
    growth
        What the second moments of its branches add up to, scaled as they are and as the sum is, over the largest of
        them before any scale. Where each branch keeps the norm of its gradient, it is also by what the squared gradient
        grows, which comes back by all of them.
    whole
        The same without any scale.
    """

    number: int
    name: str
    call: int
    normalized: bool
    branches: int
    growth: float
    whole: float


def remedy(branches: int, whole: float) -> str:
    """The sum that keeps the second moment, of branches that are alike or of one beside which others are smaller."""
    names = "x + y" if branches == 2 else "x + y + z" if branches == 3 else "x + y + ..."
    if 1 + _ALIKE * (branches - 1) < whole < branches * (1 + 1e-9):
        return f"({names}) / {branches}**0.5"
    divisor = f"{math.sqrt(whole):.3g}"
    return names if divisor == "1" else f"({names}) / {divisor}"


class _Branch(NamedTuple):
    """A value before its scale, that, and how often it is added."""

    value: int
    scale: float
    times: int = 1


class _Walk:
    """What made each value and what reads it."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.maker = {out: number for number, node in enumerate(graph.nodes) for out in node.outputs}
        self.readers = Readers(graph)

    def made_by(self, value: int) -> Node:
        return self.nodes[self.maker[value]]

    def branches(self, number: int, scale: float = 1.0, times: int = 1) -> Iterator[_Branch]:
        """What a sum adds, sums that nothing else reads taken apart; constants left out."""
        first, second = self.nodes[number].inputs
        factor = self.nodes[number].data
        for value, own, count in (
            (first, scale, times),
            (second, scale * factor, -times if factor < 0 else times),
        ):
            node = self.made_by(value)
            if node.kind == "add" and self.readers.only(value) is not None:
                yield from self.branches(self.maker[value], own, count)
            elif node.kind != "constant":
                yield self.unscaled(value, own)._replace(times=count)

    def unscaled(self, value: int, scale: float) -> _Branch:
        node = self.made_by(value)
        if self.scaled_sum(value):  # its scale counts there
            return _Branch(value, scale)
        if node.kind == "scale":
            return self.unscaled(node.inputs[0], scale * node.data)
        if node.kind == "pass":
            return self.unscaled(node.inputs[0], scale) if node.call < 0 else _Branch(value, scale)
        if node.kind == "multiply":
            for own, other in (node.inputs, node.inputs[::-1]):
                if self.made_by(own).kind == "constant":
                    return self.unscaled(other, scale * math.sqrt(self.made_by(own).data[1]))
        return _Branch(value, scale)

    def scaled_sum(self, value: int) -> bool:
        """Whether a value is a sum that nothing reads before it is scaled."""
        node = self.made_by(value)
        if node.kind not in ("scale", "pass") or node.call >= 0 or self.readers.only(node.inputs[0]) is None:
            return False
        return self.made_by(node.inputs[0]).kind == "add" or self.scaled_sum(node.inputs[0])

    def behind(self, value: int) -> float:
        """The square of the numbers that scale a value before anything else reads it."""
        reader = self.readers.only(value)
        if reader is None or self.nodes[reader].kind not in ("scale", "pass") or self.nodes[reader].call >= 0:
            return 1.0
        node = self.nodes[reader]
        return self.behind(node.outputs[0]) * (node.data**2 if node.kind == "scale" else 1.0)

    def layer_before(self, value: int) -> Node | None:
        """The last layer that a value comes from."""
        waiting, found = {self.maker[value]}, -1
        while waiting:
            number = max(waiting)
            waiting.remove(number)
            if self.nodes[number].call >= 0:
                found = max(found, number)
            else:
                waiting |= {self.maker[each] for each in self.nodes[number].inputs}
        return self.nodes[found] if found >= 0 else None


def sums(graph: Graph, q: Mapping[int, float] | None = None) -> list[Sum]:
    """The sums of two branches and more, in the order of the forward pass.

    ``q``: second moments of values; sums that it does not have all branches of are left out. None: 1, each.
    A constant, such as a position's embedding, is no branch.

    Source: the addition rule of block dynamical isometry (Chen et al., 2020): second moments of uncorrelated branches
    add up, and so do the squared gradients that come back by them.
    """
    walk = _Walk(graph)
    found = (_sum(walk, number, q) for number, node in enumerate(graph.nodes) if node.kind == "add")
    return [each for each in found if each is not None]


def _sum(walk: _Walk, number: int, q: Mapping[int, float] | None) -> Sum | None:
    value = walk.nodes[number].outputs[0]
    reader = walk.readers.only(value)
    layer = walk.layer_before(value)
    if layer is None or (reader is not None and walk.nodes[reader].kind == "add"):
        return None  # that is a part of the sum that reads it
    branches = _together(walk.branches(number))
    each = [1.0 if q is None else q.get(branch.value, 0.0) for branch in branches]
    scaled = sum(one * branch.scale**2 for one, branch in zip(each, branches, strict=True))
    if len(branches) < 2 or not min(each) > 0 or not scaled > 0:
        return None
    return Sum(
        number=number,
        name=layer.name,
        call=layer.call,
        normalized=walk.readers.normalize(value),
        branches=sum(abs(branch.times) for branch in branches),
        growth=walk.behind(value) * scaled / max(each),
        whole=sum(one * branch.times**2 for one, branch in zip(each, branches, strict=True)) / max(each),
    )


def _together(branches: Iterable[_Branch]) -> list[_Branch]:
    """Each value once: one that is added twice has four times its second moment, one that is taken out again none."""
    found: dict[int, _Branch] = {}
    for branch in branches:
        before = found.get(branch.value, _Branch(branch.value, 0.0, 0))
        found[branch.value] = _Branch(branch.value, before.scale + branch.scale, before.times + branch.times)
    return [branch for branch in found.values() if branch.times]
