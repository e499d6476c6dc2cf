"""The networks that are trained: plain stacks, after every weight layer an activation and perhaps normalization."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_cli import activations, architectures
from snn_cli.engine import imported
from snn_cli.engine.elementwise import formula
from snn_cli.errors import InputError
from snn_cli.nn import DSELU, LSELU, SELU, SSELU, CentralizedActivation, centralize_, self_normalizing_init_
from snn_cli.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snn_cli.records import Solution
    from snn_cli.training.variants import Variant

_MODULES: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "hardswish": nn.Hardswish,
    "linear": nn.Identity,
}
_FAMILIES: dict[str, Callable[..., nn.Module]] = {"selu": SELU, "dselu": DSELU, "lselu": LSELU, "sselu": SSELU}


class Erf(nn.Module):
    """``erf(x)``."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.erf(x)


class _Applied(torch.autograd.Function):
    """A formula with the derivative that it has, kept from the forward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, both: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        value, slope = both(x)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope, None


class Formula(nn.Module):
    """An expression, elementwise, with its parameters fixed."""

    def __init__(self, act: str, params: Mapping[str, float]) -> None:
        super().__init__()
        self._both = formula(act, params)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Applied.apply(x, self._both)  # type: ignore[no-untyped-call]
        return out


class Design(NamedTuple):
    """What to build, for images of ``shape`` (channels, height, width) and so many classes.

    ``depth``: layers with an activation, ``width``: units, or channels at full resolution; MobileNet has its own.
    """

    architecture: str
    depth: int
    width: int
    multiplier: Any
    weights: str
    shape: tuple[int, int, int]
    classes: int


class Plain(nn.Module):
    """A stack of blocks, then a linear layer; ``weighted`` are the weight layers of the blocks."""

    def __init__(self, blocks: list[nn.Module], weighted: list[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.head = head
        self.weighted = weighted[:]  # a list of modules that are registered in blocks

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        if x.dim() > 2:
            x = x.mean((2, 3))
        out: Tensor = self.head(x)
        return out


def build(design: Design, variant: Variant, solution: Solution | None, generator: torch.Generator) -> Plain:
    """A network with fresh weights.

    Weights have mean 0 and the deviation ``sigma_w / sqrt(fan-in)``, biases are 0: sigma_w is 1 for what is solved, and
    for baselines the gain with which a second moment of 1 stays (``sqrt(2)`` for relu, He); the last layer has 1.
    Raises InputError for images that are too small for the architecture.
    """
    sizes = _layers(design)
    blocks: list[nn.Module] = [nn.Flatten()] if design.architecture == "mlp" else []
    for layer in sizes:
        kind = nn.BatchNorm1d if isinstance(layer, nn.Linear) else nn.BatchNorm2d
        normalized = [kind(_outputs(layer))]
        blocks += [layer, *(normalized if variant.bn else []), activation(variant, solution)]
    head = nn.Linear(_outputs(sizes[-1]), design.classes)
    net = Plain(blocks, [*sizes], head)
    gain = sigma_w(variant.act, variant.params)
    for number, layer in enumerate(sizes):
        self_normalizing_init_(layer, design.weights, gain if number else 1.0, generator)
    self_normalizing_init_(head, design.weights if design.architecture == "mlp" else "gaussian", 1.0, generator)
    if variant.centralize:
        centralized(net)
    return net


def _outputs(layer: nn.Linear | nn.Conv2d) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def centralized(net: Plain) -> None:
    """Weights between activations less their mean over the fan-in, at their norm; not those that see the data."""
    for layer in (*net.weighted[1:], net.head):
        centralize_(layer)


def activation(variant: Variant, solution: Solution | None) -> nn.Module:
    """The module of a variant's activation."""
    if variant.act in _FAMILIES:
        own: dict[str, Any] = {} if variant.act == "selu" else {"solution": solution}
        found = _FAMILIES[variant.act](trainable=variant.trainable, **own)
    elif variant.act in _MODULES or variant.act == "erf":
        found = _MODULES[variant.act]() if variant.act in _MODULES else Erf()
    elif activations.is_expression(variant.act):
        found = Formula(variant.act, dict(variant.params))
    else:
        found = imported.module(variant.act)
    return CentralizedActivation(found) if variant.centralize_activation else found


def sigma_w(act: str, params: tuple[tuple[str, float], ...] = ()) -> float:
    """The deviation of the weights, in ``1/sqrt(fan-in)``, with which a second moment of 1 stays."""
    if act in activations.SOLVABLE or act == "linear":
        return 1.0
    given: dict[str, Any] = {"params": {"act": act, "params": dict(params)}} if params else {"act": act}
    return float(simulate(**given, depth=1, sigma_w="he", profile=False).sigma_w)


def _layers(design: Design) -> list[nn.Linear | nn.Conv2d]:
    channels, height, width = design.shape
    if design.architecture == "mlp":
        sizes = [channels * height * width, *[design.width] * design.depth]
        return [nn.Linear(n, m) for n, m in pairwise(sizes)]
    if design.architecture == "conv":
        return _stack(design)
    if height != width:
        raise InputError(f"{design.architecture} takes square images, not {height} x {width}", "--image 64")
    build = architectures.get(design.architecture).build
    assert build is not None
    stages = build(1, image=height, width_multiplier=design.multiplier)[:-1]
    inputs = [channels, *(stage.channels for stage in stages)]
    return [nn.Conv2d(n, stage.channels, 3, stage.stride, 1) for n, stage in zip(inputs, stages, strict=False)]


def _stack(design: Design) -> list[nn.Linear | nn.Conv2d]:
    """Convolutions of 3 x 3 in three parts: the last two begin with a stride of 2 and have twice the channels each."""
    channels, height, width = design.shape
    parts = 1 + min(2, max(0, int(math.log2(max(1, min(height, width) // 4)))), design.depth - 1)
    layers: list[nn.Linear | nn.Conv2d] = []
    for number in range(design.depth):
        part = number * parts // design.depth
        first = bool(part) and (number - 1) * parts // design.depth < part
        outputs = design.width * 2**part
        layers.append(nn.Conv2d(channels, outputs, 3, 2 if first else 1, 1))
        channels = outputs
    return layers


def growth(net: Plain, x: Tensor, target: Tensor) -> float:
    """Mean over the batch of ``log(|g[1]|^2 / |g[L]|^2)``, nan where it is not finite.

    Gradients are of the loss, with respect to what the first weight layer gives, and the last before the head. The
    network is left as it was: parameters' gradients, running statistics and mode.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _args: Any, out: Tensor) -> None:
        kept.append(out)

    buffers = {name: value.clone() for name, value in net.named_buffers()}
    mode = net.training
    hooks = [net.weighted[i].register_forward_hook(keep) for i in (0, -1)]
    try:
        net.train()
        loss = nn.functional.cross_entropy(net(x).float(), target, reduction="sum")
        first, last = torch.autograd.grad(loss, [kept[0], kept[-1]])
    finally:
        for hook in hooks:
            hook.remove()
        net.train(mode)
        with torch.no_grad():
            for name, value in net.named_buffers():
                value.copy_(buffers[name])
    norms = [g.cpu().double().flatten(1).square().sum(1) for g in (first, last)]
    found = (norms[0].log() - norms[1].log()).mean().item()
    return found if math.isfinite(found) else math.nan
