"""Weights and activations less their mean: what keeps a common mean of the weights from growing a mean of the signal.

With rows of mean 0 the mean of ``f`` over units does not reach the next layer, and the second-moment map becomes
``V_c(q) = sigma_w^2 (E[f^2] - E[f]^2)``. Source: theory, section 6.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from snn_cli.errors import InputError
from snn_cli.nn.fan import Geometry, geometry, require_real, stored_weight, weight_layers
from snn_cli.nn.moments import activation_moments, number

Module = TypeVar("Module", bound=nn.Module)

KEEP = ("weights", "preactivations")
"""What the rescaling after centralization keeps."""


def centralized(weight: Tensor, layer: Geometry | None = None, gain: float = 1.0) -> Tensor:
    """The weight less its mean over the fan-in of each output, rescaled to each output's second moment; times gain.

    weight
        As a layer stores it, in which ``layer`` says what an output sums; None: what follows the first dimension.

    An output whose weights are all equal has nothing left, and becomes 0. Idempotent for a gain of 1. Computed in 32
    bits at least: squares of float16 overflow.
    """
    kind = weight.dtype
    weight = weight.to(torch.promote_types(kind, torch.float32))
    parts = weight.reshape(1, weight.shape[0], 1, -1) if layer is None else layer.spread(weight)
    phases = None if layer is None or not any(layer.phases) else layer.phases
    if phases is None:
        found = _less_mean(parts.flatten(2)).reshape(parts.shape)
    else:  # each kind of output positions sums taps of its own
        number = torch.tensor(phases, device=weight.device)
        found = torch.empty_like(parts)
        for phase in range(max(phases) + 1):
            taps = (number == phase).nonzero().flatten()
            chosen = parts.index_select(3, taps)
            found = found.index_copy(3, taps, _less_mean(chosen.flatten(2)).reshape(chosen.shape))
    if gain != 1.0:
        found = found * gain
    return (found.reshape(weight.shape) if layer is None else layer.gather(found, weight.shape)).to(kind)


def _less_mean(rows: Tensor) -> Tensor:
    """Rows (last dimension) less their mean, each scaled back to the norm that it had."""
    left = rows - rows.mean(-1, keepdim=True)
    square = (left * left).sum(-1, keepdim=True)
    before = (rows * rows).sum(-1, keepdim=True)
    nothing = square <= torch.finfo(rows.dtype).eps ** 2 * rows.shape[-1] * before  # rounding of equal weights
    ratio = torch.where(nothing, 0.0, before / torch.where(nothing, 1.0, square))
    return left * torch.where(nothing, 0.0, torch.where(nothing, 1.0, ratio).sqrt())


class WeightCentralization(nn.Module):
    """Parametrization of a weight: each output's weights less their mean, rescaled.

    ``parametrize.register_parametrization(layer, "weight", WeightCentralization(layer))``, or ``centralize(model)`` for
    all layers. Shape ``(...)`` to the same shape. The common mean of the weights stays 0 in training, and their scale
    is that of the stored weight.

    layer
        The layer whose weight it is, so that grouped and transposed convolutions are read as they are. None: every
        entry of the first dimension is an output, which holds for all layers but the transposed.
    keep
        ``weights``: each output's second moment of weights. A layer after ``f`` then has pre-activations of second
        moment ``Var f(z)`` instead of ``E[f(z)^2]``: nothing changes where ``E[f] = 0``.
        ``preactivations``: that of the pre-activations, by the factor ``sqrt(E[f^2] / Var f)`` on the weights; the
        backward gain rises by the square of that.
    act
        With ``preactivations``: the activation before the layer, a module, a function of tensors or a Solution.

    Source: theory, section 6. Raises InputError for another ``keep``, one without the ``act`` that it needs, a layer
    that has no fan-in or one of 1, of which nothing would be left, and a weight of a non-floating type.
    """

    def __init__(self, layer: nn.Module | None = None, *, keep: str = "weights", act: Any = None) -> None:
        super().__init__()
        self.layer = None if layer is None else _geometry(layer)
        self.keep = keep
        self.gain = _gain(keep, act)

    def forward(self, weight: Tensor) -> Tensor:
        if not weight.is_floating_point():
            raise InputError(f"the weight must be of a real floating-point type, not {weight.dtype}", "weight.float()")
        if self.layer is None:
            if weight.dim() < 2 or weight[0].numel() < 2:
                raise _too_few(f"a weight of shape {tuple(weight.shape)}", 1)
        elif weight.numel() != self.layer.groups * self.layer.outputs * self.layer.inputs * self.layer.taps:
            raise InputError(f"a weight of shape {tuple(weight.shape)} is not that of the layer", "give its own layer")
        return centralized(weight, self.layer, self.gain)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What to store: the weight as it is."""
        return weight

    def extra_repr(self) -> str:
        return f"keep={self.keep}" + (f", gain={self.gain:.6g}" if self.gain != 1 else "")


def centralize(model: Module, *, keep: str = "weights", act: Any = None) -> Module:
    """Register ``WeightCentralization`` on every weight layer of a model; returns the model.

    Layers with a fan-in of 1 (in part of their positions, for a transposed convolution), layers that have it already,
    and what is inside torch's attention, transformer and recurrent modules stay as they are. With ``preactivations``
    every layer is taken to stand after ``act``: for the first, which sees the data, remove it where that is not so.

    Arguments, source and errors as for ``WeightCentralization``; InputError also where no layer is left.
    Parameters stay the same objects: an optimizer made before goes on.
    """
    gain = _gain(keep, act)
    layers = _centralizable(model)
    for layer, shape in layers:
        if parametrize.is_parametrized(layer, "weight"):
            chain: Any = layer.parametrizations
            if any(isinstance(part, WeightCentralization) for part in chain["weight"]):
                continue
        part = WeightCentralization()
        part.layer, part.keep, part.gain = shape, keep, gain
        parametrize.register_parametrization(layer, "weight", part)
    return model


@torch.no_grad()
def centralize_(model: Module, *, keep: str = "weights", act: Any = None) -> Module:
    """The same on the stored weights, in place; returns the model. No parametrization, no cost in the forward pass.

    After each step of an optimizer: ``optimizer.register_step_post_hook(lambda *_: centralize_(model))``, a projection
    that keeps each output's norm. ``preactivations`` multiplies by its factor at each call: use it once, after the
    initialization, and ``weights`` after steps. Frozen and parametrized weights stay as they are; shared ones are
    centralized once.

    Arguments, source and errors as for ``centralize``.
    """
    gain = _gain(keep, act)
    seen: set[int] = set()
    for layer, shape in _centralizable(model):
        weight = stored_weight(layer)
        if weight is None or id(weight) in seen or not weight.requires_grad:
            continue
        if not parametrize.is_parametrized(layer, "weight"):
            seen.add(id(weight))
            weight.copy_(centralized(weight, shape, gain))
    return model


class CentralizedActivation(nn.Module):
    """``f(x)`` less its mean over batch and units: one number, in evaluation the running mean.

    Any shape, to the same shape and type. In training the mean is that of the batch, and gradients flow through it.
    The second-moment map becomes ``V_c(q) = Var f(sqrt(q) z)``; the backward gain stays. What is taken out is common
    to the batch: where weights with a mean make that of each sample grow by itself, only centralized weights help.

    act
        The activation, a module or a function of tensors.
    momentum
        Share of the batch's mean in the new running mean, above 0 and at most 1; None: mean of all batches seen. The
        running mean starts at ``E[f(z)]``, so that evaluation before any training is right as well.
    rescale
        Multiply by ``sqrt(E[f^2] / Var f)``, so that a second moment of 1 stays a fixed point.

    Source: theory, section 6. Raises InputError for a momentum outside its range, an act that is no elementwise
    function with finite moments, and in training for fewer than two values.
    """

    running_mean: Tensor
    num_batches_tracked: Tensor

    def __init__(self, act: Any, *, momentum: float | None = 0.1, rescale: bool = False) -> None:
        super().__init__()
        if momentum is not None and not 0 < number(momentum) <= 1:
            raise InputError(f"momentum must be above 0 and at most 1, or None, not {momentum!r}", "momentum=0.1")
        self.act, found = activation_moments(act)
        self.momentum = None if momentum is None else float(momentum)
        if not isinstance(rescale, bool):
            raise InputError(f"rescale must be True or False, not {rescale!r}", "rescale=True")
        self.rescale = rescale
        self.gain = math.sqrt(found.second / found.variance) if rescale else 1.0
        self.register_buffer("running_mean", torch.tensor(found.mean, dtype=torch.float32))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    @torch.no_grad()
    def reset(self) -> None:
        """Read the activation anew, where it was replaced: the running mean is its ``E[f(z)]`` again.

        Raises InputError as the constructor.
        """
        found = activation_moments(self.act)[1]
        self.gain = math.sqrt(found.second / found.variance) if self.rescale else 1.0
        self.running_mean.fill_(found.mean)
        self.num_batches_tracked.zero_()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(x)
        if self.training:
            if y.numel() < 2:
                raise InputError(
                    f"the mean of {y.numel()} values is not a mean over batch and units; there must be two or more",
                    "a larger batch, or model.eval()",
                )
            wide = torch.promote_types(y.dtype, torch.float32)
            mean = y.mean(dtype=wide)
            with torch.no_grad():
                self.num_batches_tracked += 1
                share = 1.0 / self.num_batches_tracked if self.momentum is None else self.momentum
                self.running_mean += share * (mean.to(self.running_mean.dtype) - self.running_mean)
        else:
            mean = self.running_mean
        y = y - mean.to(y.dtype)
        return y if self.gain == 1.0 else y * self.gain

    def extra_repr(self) -> str:
        return f"momentum={self.momentum}" + (f", gain={self.gain:.6g}" if self.gain != 1 else "")


def _gain(keep: str, act: Any) -> float:
    if keep not in KEEP:
        raise InputError(f"keep must be {' or '.join(KEEP)}, not {keep!r}", 'keep="weights"')
    if keep == "weights":
        if act is not None:
            raise InputError("the weights' second moment does not depend on the activation", "leave out act")
        return 1.0
    if act is None:
        raise InputError(
            "to keep the pre-activations' second moment the activation before the layer must be known",
            'keep="preactivations", act=LSELU(epsilon=0.03)',
        )
    found = activation_moments(act)[1]
    return math.sqrt(found.second / found.variance)


def _least_terms(shape: Geometry) -> int:
    """Terms of the output that has the fewest."""
    return shape.inputs * min(shape.phases.count(phase) for phase in set(shape.phases))


def _geometry(layer: nn.Module) -> Geometry:
    shape = geometry(layer)
    require_real(layer)
    if _least_terms(shape) < 2:
        raise _too_few(str(layer), _least_terms(shape))
    return shape


def _too_few(what: str, terms: int) -> InputError:
    return InputError(
        f"{what} has outputs with a fan-in of {terms}: less its mean nothing is left of it; it must be at least 2",
        "leave this layer as it is",
    )


def _centralizable(model: nn.Module) -> list[tuple[nn.Module, Geometry]]:
    if not isinstance(model, nn.Module):
        raise InputError(f"there are no weights to centralize in {model!r}", "give a layer or a model")
    found = [(layer, geometry(layer)) for _, layer in weight_layers(model)]
    for layer, _ in found:
        require_real(layer)
    found = [(layer, shape) for layer, shape in found if _least_terms(shape) > 1]
    if not found:
        raise InputError(
            f"{type(model).__name__} holds no layer with a fan-in of at least 2", "give a model with weight layers"
        )
    return found
