"""Activations that the user writes as a formula: parsed, never evaluated by Python."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.activations.expression import tree
from snn_cli.activations.expression.evaluate import arrays, constants, precise
from snn_cli.activations.expression.grammar import parse
from snn_cli.activations.expression.kinks import points, turning
from snn_cli.activations.family import Baseline, Values

if TYPE_CHECKING:
    from collections.abc import Mapping


class Expression(NamedTuple):
    """A formula: ``name`` as in records, its tree, that of its derivative, and its parameters."""

    name: str
    root: tree.Node
    slope: tree.Node
    parameters: tuple[str, ...]
    columns: tuple[int, ...]


@lru_cache(maxsize=256)
def read(text: str) -> Expression:
    """Raises InputError, which names the column, for what is not in the grammar."""
    found = parse(text)
    return Expression(found.name, found.root, tree.derivative(found.root), found.parameters, found.columns)


@lru_cache(maxsize=256)
def baseline(text: str) -> Baseline:
    """An expression as the rest of the program takes activations. Raises as `read`."""
    found = read(text)
    roots = found.root, found.slope
    nodes = turning(found.root)

    def exactly(mp: Any, x: Any, params: Values) -> tuple[Any, Any]:
        value, slope = precise(roots, mp, x, params)
        return value, slope

    def narrow(params: Values) -> tuple[tuple[float, float], ...]:
        from snn_cli.activations.expression.features import features

        return features(found.root, {name: float(value) for name, value in params.items()})

    def check(params: Mapping[str, float]) -> None:
        from snn_cli.activations.expression import validity

        validity.check(found.name, found.root, tuple(params.items()))

    return Baseline(
        name=found.name,
        formula=found.name,
        shape=None,
        function=arrays(found.root),
        derivative=arrays(found.slope),
        parameters=found.parameters,
        precise=exactly,
        kinks=lambda mp, params: points(mp, nodes, params),
        bending=frozenset().union(*(node.free for node in nodes)) - {"x"},
        narrow=narrow,
        check=check,
    )


def values(found: Expression, params: Mapping[str, float]) -> dict[tree.Node, Any]:
    """What in f and f' does not depend on x, in doubles."""
    return constants((found.root, found.slope), params)
