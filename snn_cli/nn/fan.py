"""Fan-in of torch layers: how many weighted terms an output sums, and which weights they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from snn_cli.errors import InputError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHT_LAYERS = (nn.Linear, nn.Bilinear, *CONVOLUTIONS, *TRANSPOSED)
"""Layers whose outputs are sums of ``weight`` times an input: those that have a fan-in."""

OPAQUE = (
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.Transformer,
    nn.TransformerEncoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoder,
    nn.TransformerDecoderLayer,
)
"""Modules whose forward pass reads the attributes of the modules inside: nothing in them is touched."""


class Geometry(NamedTuple):
    """Which entries of a layer's weight one output sums.

    fan_in
        Terms of an output away from the border, on average over positions.
    groups, inputs, outputs, taps
        The weight is ``groups`` matrices of ``outputs`` x ``inputs``, for each of the ``taps`` of the kernel.
    transposed
        The weight has the inputs first.
    phases
        For each tap the output positions that it reaches, by number: a transposed convolution of stride s has s^d
        kinds of positions, each with taps of its own. All 0 for other layers.
    """

    fan_in: float
    groups: int
    inputs: int
    outputs: int
    taps: int
    transposed: bool
    phases: tuple[int, ...]

    def spread(self, weight: Tensor) -> Tensor:
        """The weight as ``(groups, outputs, inputs, taps)``."""
        if self.transposed:
            return weight.reshape(self.groups, self.inputs, self.outputs, self.taps).transpose(1, 2)
        return weight.reshape(self.groups, self.outputs, self.inputs, self.taps)

    def gather(self, spread: Tensor, shape: torch.Size) -> Tensor:
        """Undo ``spread``."""
        return (spread.transpose(1, 2) if self.transposed else spread).reshape(shape)


def geometry(layer: nn.Module) -> Geometry:
    """How the outputs of a layer depend on its weight.

    Raises InputError for a module that is not one of ``WEIGHT_LAYERS``, one not yet initialized, or a fan-in of 0.
    """
    if not isinstance(layer, WEIGHT_LAYERS):
        raise InputError(
            f"{type(layer).__name__} has no fan-in; {', '.join(kind.__name__ for kind in WEIGHT_LAYERS)} have one",
            "give one of these layers, or a model that holds some",
        )
    if is_lazy(layer.weight):
        raise InputError(f"{type(layer).__name__} has no weight yet", "run one batch through the model first")
    if isinstance(layer, nn.Linear):
        found = Geometry(layer.in_features, 1, layer.in_features, layer.out_features, 1, False, (0,))
    elif isinstance(layer, nn.Bilinear):
        terms = layer.in1_features * layer.in2_features
        found = Geometry(terms, 1, terms, layer.out_features, 1, False, (0,))
    else:
        assert isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED))
        found = _convolution(layer)
    if found.fan_in == 0 or found.outputs == 0:
        raise InputError(
            f"{layer} has a fan-in of {found.fan_in:g} and {found.outputs} outputs; both must be above 0",
            "give it at least one input and one output feature",
        )
    return found


def _convolution(
    layer: nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d,
) -> Geometry:
    groups, taps = layer.groups, math.prod(layer.kernel_size)
    inputs, outputs = layer.in_channels // groups, layer.out_channels // groups
    if not isinstance(layer, TRANSPOSED):
        return Geometry(inputs * taps, groups, inputs, outputs, taps, False, (0,) * taps)
    # input i and tap k meet at output i stride + k dilation - padding: an output sees the taps of one residue
    residues = [
        tuple(k * d % s for k, d, s in zip(tap, layer.dilation, layer.stride, strict=True))
        for tap in product(*map(range, layer.kernel_size))
    ]
    number = {residue: i for i, residue in enumerate(sorted(set(residues)))}
    phases = tuple(number[residue] for residue in residues)
    terms, positions = inputs * taps, math.prod(layer.stride)
    fan_in = terms // positions if terms % positions == 0 else terms / positions
    return Geometry(fan_in, groups, inputs, outputs, taps, True, phases)


def fan_in(layer: nn.Module) -> float:
    """Number of weighted terms in one output of a layer, away from the border.

    Linear: its inputs; bilinear: products of inputs; convolution: inputs of a group times the taps of the kernel.
    Transposed convolution: that divided by the product of the strides, the average over output positions of the taps
    that reach them; where the stride does not divide the kernel, neighbouring positions have more and fewer.

    layer
        Linear, Bilinear, Conv1d to Conv3d or ConvTranspose1d to ConvTranspose3d.

    Source: what torch's layers sum; held by test_nn_init.py::test_fan_in_is_what_a_layer_of_ones_sums. Raises
    InputError for another module, one without weights yet, or a fan-in of 0.
    """
    return geometry(layer).fan_in


def require_real(layer: nn.Module) -> None:
    """Raises InputError where the weight is not of a real floating-point type."""
    dtype = layer.weight.dtype
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InputError(f"the weight of {layer} must be of a real floating type, not {dtype}", "dtype=torch.float32")


def weight_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every weight layer of a model, with its name, once; none inside ``OPAQUE`` modules."""
    inside: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(prefix) for prefix in inside):
            continue
        if isinstance(module, OPAQUE):
            inside.append(f"{name}." if name else "")
        elif isinstance(module, WEIGHT_LAYERS):
            yield name, module


def stored_weight(layer: nn.Module) -> Tensor | None:
    """The tensor behind a layer's weight, by which shared weights are known; None where a hook computes it."""
    if parametrize.is_parametrized(layer, "weight"):
        parametrizations: nn.ModuleDict = layer.parametrizations  # type: ignore[assignment]
        original = getattr(parametrizations["weight"], "original", None)
        return original if isinstance(original, Tensor) else layer.weight  # type: ignore[return-value]
    return layer._parameters.get("weight")
