"""What a model does to a sample, as plain data: the engine writes it down, the theory reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


class Node(NamedTuple):
    """One operation: values by number in, values by number out.

    kind
        ``input`` a tensor that the user gives; ``constant`` one of the model's own; ``weight`` random weights;
        ``activation`` an elementwise function; ``norm``; ``add``; ``multiply``; ``scale`` and ``shift`` by a number;
        ``concatenate``; ``average`` and ``maximum``, pooling; ``repeat`` the same units again; ``pass`` the same units
        in another shape, or a part of them; ``dropout``; ``unknown``.
    name, call
        Name of the module and which call of it this is, from 0; -1 for an operation outside a module.
    label
        What it is called in the model: the module's class, or the function.
    inputs, outputs
        Numbers of values.
    sizes
        Elements per sample of each output.
    data
        What the kind needs; see `Weight`, `Norm`, and the functions that read it.
    """

    kind: str
    name: str
    call: int
    label: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sizes: tuple[int, ...]
    data: Any = None


class Weight(NamedTuple):
    """Weights of a layer as they are.

    ``connections``: inputs of an output, on average over the outputs; ``border``: the share of them that zero padding
    takes away;
    ``independent``: the least number of inputs with weights of their own that share no position, such as channels;
    ``channels``: outputs with weights of their own; then the moments of weights and biases.
    """

    connections: float
    independent: int
    channels: int
    mean: float
    second_moment: float
    bias_mean: float = 0.0
    bias_second_moment: float = 0.0
    border: float = 0.0


class Norm(NamedTuple):
    """A normalization ``w (x - mean)/deviation + b``.

    ``over``: ``sample`` (layer, group, instance norm), ``batch``, ``root`` (no mean is taken out) or ``fixed``
    (constants: then ``w`` and ``b`` include them). Means and second moments of w and b over units.
    """

    over: str
    weight_mean: float
    weight_second_moment: float
    bias_mean: float
    bias_second_moment: float
    eps: float


class Function(NamedTuple):
    """An elementwise function: ``evaluate(x) -> (f(x), f'(x))`` on arrays."""

    evaluate: Callable[[Array], tuple[Array, Array]]


class Graph(NamedTuple):
    """Operations in the order of the forward pass; ``outputs`` are the values that the model returns."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
