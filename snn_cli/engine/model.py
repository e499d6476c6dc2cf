"""A user's own model: what every layer does to the signal and to the gradient, and nothing left changed."""

from __future__ import annotations

import math
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli.engine import device as devices
from snn_cli.engine.refusal import first_line, refused
from snn_cli.errors import CannotCompute, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from torch import nn

_SMALL, _LARGE = 1e-15, 1e15  # norms whose squares are far from the ends of float32


class LayerNorms(NamedTuple):
    """One call of a layer. Squared norms are of the whole batch, divided by the number of samples.

    ``q``, ``mean``: second moment and mean of the output; ``gradient``: squared norm with respect to the output;
    ``gradient_in``: with respect to the input, through this layer alone. None where no gradient comes by.
    """

    name: str
    call: int
    kind: str
    fan_in: int | None
    units: int
    q: float
    mean: float
    gradient: float | None
    gradient_in: float | None


class Measurement(NamedTuple):
    """Layers in the order of the forward pass, and the squared norms at both ends of the model."""

    layers: tuple[LayerNorms, ...]
    gradient_out: float
    gradient_in: float | None


def leaves(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules that do something themselves: those without children, and known ones whatever is attached to them."""
    import torch

    whole = (torch.nn.modules.conv._ConvNd, torch.nn.Linear, torch.nn.MultiheadAttention, torch.nn.RNNBase)
    seen: set[int] = set()

    def walk(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        if id(module) in seen:
            return
        seen.add(id(module))
        children = [(key, child) for key, child in module.named_children() if key != "parametrizations"]
        if not children or isinstance(module, whole):
            yield name, module
            return
        for key, child in children:
            yield from walk(f"{name}.{key}" if name else key, child)

    yield from walk("", model)


def fan_in(module: nn.Module) -> int | None:
    """Inputs that an output has weights for; for a transposed convolution their mean far from the border."""
    import torch

    if isinstance(module, torch.nn.modules.conv._ConvTransposeNd):
        taps = math.prod(module.kernel_size) / math.prod(module.stride)
        return max(1, round(module.in_channels // module.groups * taps))
    if isinstance(module, torch.nn.modules.conv._ConvNd):
        return module.in_channels // module.groups * math.prod(module.kernel_size)
    if isinstance(module, torch.nn.Linear):
        return module.in_features
    if isinstance(module, torch.nn.Bilinear):
        return module.in1_features * module.in2_features
    return None


def tensors(value: Any) -> list[torch.Tensor]:
    """The tensors in nested tuples, lists, dictionaries and dataclasses, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for part in value.values() for tensor in tensors(part)]
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in tensors(part)]
    if hasattr(value, "__dataclass_fields__"):
        return [tensor for name in value.__dataclass_fields__ for tensor in tensors(getattr(value, name))]
    return []


def replaced(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same nest of tuples, lists and dictionaries with every tensor changed."""
    import torch

    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: replaced(part, change) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [replaced(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Leave the model bit for bit as it was, whatever its forward pass does to itself, and all random states."""
    import torch

    state = [*model.parameters(), *model.buffers()]
    if any(isinstance(tensor, (torch.nn.UninitializedParameter, torch.nn.UninitializedBuffer)) for tensor in state):
        raise InputError("the model has lazy layers that have seen no data yet", "model(batch), once, before")
    copies = [(tensor, tensor._version, tensor.detach().clone()) for tensor in state]
    attributes = [
        (module, dict(vars(module)), dict(module._parameters), dict(module._buffers)) for module in model.modules()
    ]
    cuda = sorted({tensor.device.index or 0 for tensor in state if tensor.device.type == "cuda"})
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=cuda):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            for module, own, parameters, buffers in attributes:
                vars(module).clear()
                vars(module).update(own)
                module._parameters.clear()
                module._parameters.update(parameters)
                module._buffers.clear()
                module._buffers.update(buffers)
            with torch.no_grad():
                for tensor, version, copy in copies:
                    if tensor._version != version:
                        tensor.copy_(copy)


def measure_model(model: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], seed: int) -> Measurement:
    """One pass forward on the samples, and one back from a gradient ``N(0, I)`` at everything the model returns.

    The first dimension of the first tensor counts the samples. Raises CannotCompute where the model raises, or where
    no gradient reaches what it returns.
    """
    import torch

    given = tensors((arguments, named))
    samples = given[0].shape[0] if given and given[0].dim() else 1
    with untouched(model), torch.enable_grad(), torch.inference_mode(False):
        roots: list[torch.Tensor] = []

        def root(tensor: torch.Tensor) -> torch.Tensor:
            if not tensor.is_floating_point():
                return tensor
            roots.append(tensor.detach().clone().requires_grad_())
            return roots[-1].clone()  # the model may write into its input

        watch = _Watch(model)
        with watch:
            arguments, named = replaced(arguments, root), replaced(named, root)
            returned = tensors(call(model, arguments, named))
        ends = _ends(returned)
        generator = torch.Generator(device="cpu").manual_seed(seed)
        gradients = [
            torch.randn(end.shape, generator=generator, dtype=torch.float32).to(end.device, end.dtype) for end in ends
        ]
        sources = roots or [*watch.roots, *(p for p in model.parameters() if p.requires_grad)]
        if not sources:
            raise CannotCompute("nothing in the model takes a gradient", "parameter.requires_grad_(True)")
        try:
            found = torch.autograd.grad(ends, sources, gradients, allow_unused=True)
        except RuntimeError as error:
            raise CannotCompute(f"the backward pass raises: {first_line(error)}", None) from None
        at_input = [norm(g) for g in found if g is not None] if roots else []
        return Measurement(
            watch.layers(samples),
            sum(float(norm(g)) ** 2 for g in gradients) / samples,
            sum(float(g) ** 2 for g in at_input) / samples if at_input else None,
        )


def _ends(returned: list[torch.Tensor]) -> list[torch.Tensor]:
    """Of what the model returns, where a gradient can begin. Raises CannotCompute where there is nothing."""
    ends = [tensor for tensor in returned if tensor.is_floating_point() and tensor.requires_grad]
    if ends:
        return ends
    if not returned:
        why = "it returns no tensor"
    elif any(tensor.is_floating_point() for tensor in returned):
        why = "it is computed without gradients"
    else:
        why = "it is not a tensor of floating-point numbers"
    raise CannotCompute(f"no gradient reaches what the model returns: {why}", "return the tensor of the last layer")


def call(model: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What the model returns. Raises CannotCompute where it raises."""
    import torch

    try:
        return model(*arguments, **named)
    except torch.OutOfMemoryError as error:
        raise CannotCompute(f"out of memory: {first_line(error)}", "--batch 1") from None
    except Exception as error:
        raise refused(model, arguments, named, tensors((arguments, named)), error) from error


def norm(tensor: torch.Tensor) -> torch.Tensor:
    """Euclidean norm of all elements: in float32 where that is safe and the processor is slow in float64."""
    import torch

    wide = torch.float64 if tensor.device.type != "mps" else torch.float32
    found: torch.Tensor
    if tensor.device.type == "cpu" and tensor.dtype is not torch.float64:
        found = torch.linalg.vector_norm(tensor, dtype=torch.float32)
        if _SMALL < float(found) < _LARGE:
            return found
    found = torch.linalg.vector_norm(tensor, dtype=wide)
    return found


class _Entry:
    """What the hooks of one call of a layer have seen."""

    __slots__ = ("call", "elements", "gradient", "gradient_in", "mean", "module", "name", "norm")

    def __init__(self, name: str, call: int, module: nn.Module) -> None:
        self.name, self.call, self.module = name, call, module
        self.elements = 0
        self.norm: torch.Tensor | None = None
        self.mean: torch.Tensor | None = None
        self.gradient: torch.Tensor | None = None
        self.gradient_in: list[torch.Tensor] = []


class _Watch:
    """Hooks on every leaf of a model, while it is entered."""

    def __init__(self, model: nn.Module) -> None:
        self._leaves = list(leaves(model))
        self._handles: list[Any] = []
        self._open: dict[int, list[_Entry]] = {}
        self._calls: dict[int, int] = {}
        self._entries: list[_Entry] = []
        self.roots: list[torch.Tensor] = []

    def __enter__(self) -> _Watch:
        for name, module in self._leaves:
            self._handles.append(module.register_forward_pre_hook(self._before(name), with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._after, with_kwargs=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _before(self, name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            count = self._calls[id(module)] = self._calls.get(id(module), -1) + 1
            entry = _Entry(name, count, module)
            self._open.setdefault(id(module), []).append(entry)
            in_place = getattr(module, "inplace", False)

            def look(tensor: torch.Tensor) -> torch.Tensor:
                if not tensor.requires_grad or not tensor.is_floating_point():
                    return tensor
                if not in_place:  # an alias: its gradient is what comes through this layer alone
                    tensor = tensor.view_as(tensor)
                tensor.register_hook(lambda gradient: entry.gradient_in.append(norm(gradient)))  # type: ignore[no-untyped-call]
                return tensor

            return replaced(arguments, look), replaced(named, look)

        return hook

    def _after(self, module: nn.Module, _: Any, __: Any, output: Any) -> None:
        entry = self._open[id(module)].pop()
        found = [tensor for tensor in tensors(output) if tensor.is_floating_point()]
        if not found:
            return
        first = found[0]
        if not first.requires_grad and first.is_leaf:  # nothing before it takes a gradient
            first.requires_grad_()
            self.roots.append(first)
        entry.elements = first.numel()
        seen = first.detach()
        entry.norm, entry.mean = norm(seen), seen.mean() if seen.numel() else seen.sum()
        if first.requires_grad:

            def keep(gradient: torch.Tensor) -> None:
                entry.gradient = norm(gradient)

            first.register_hook(keep)  # type: ignore[no-untyped-call]
        self._entries.append(entry)

    def layers(self, samples: int) -> tuple[LayerNorms, ...]:
        return tuple(
            LayerNorms(
                name=entry.name,
                call=entry.call,
                kind=type(entry.module).__name__,
                fan_in=fan_in(entry.module),
                units=entry.elements // samples,
                q=float(entry.norm or 0.0) ** 2 / entry.elements if entry.elements else math.nan,
                mean=float(entry.mean) if entry.mean is not None else math.nan,
                gradient=None if entry.gradient is None else float(entry.gradient) ** 2 / samples,
                gradient_in=sum(float(g) ** 2 for g in entry.gradient_in) / samples if entry.gradient_in else None,
            )
            for entry in self._entries
        )


def require_module(found: Any, path: str) -> nn.Module:
    """Raise InputError where it is no module, or has nothing that a gradient could be measured in."""
    torch = devices.require_torch()
    if not isinstance(found, torch.nn.Module):
        raise InputError(
            f"{path} gives a {type(found).__name__}, not a torch.nn.Module", "a function that returns the model"
        )
    parameters = list(found.parameters())
    if not parameters:
        raise InputError(f"{path} gives a {type(found).__name__} without parameters", None)
    if any(p.is_complex() for p in parameters):
        raise InputError(f"{path} has complex parameters; only real ones are measured", None)
    return found  # type: ignore[no-any-return]
