"""Why a model raises on what it is given: which layer refused, what came in, and what to type instead."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.errors import CannotCompute

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import nn

_ANY_SHAPE = "--input with the shape of one sample, such as --input 3x64x64"


class _Refusal(NamedTuple):
    """The innermost module whose forward pass was running, by its name in the model, and the tensors given to it."""

    name: str
    module: nn.Module
    given: tuple[torch.Tensor, ...]


def refused(
    model: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], given: Sequence[torch.Tensor], error: Exception
) -> CannotCompute:
    """The error for ``error``, which the model raised on these arguments; ``given`` are the tensors in them."""
    several = f"inputs of shapes {_shapes(given)}" if len(given) > 1 else f"an input of shape {_shapes(given)}"
    said = f"{type(error).__name__}: {first_line(error)}"
    what = f"the model raises on {several}, the batch first"
    if not named and all(argument is tensor for argument, tensor in zip(arguments, given, strict=False)):
        takes = _takes(model)
        if takes is not None and not takes[0] <= len(arguments) <= takes[1]:
            number = f"{takes[0]}" if takes[0] == takes[1] else f"{takes[0]} to {takes[1]}"
            text = f"the model takes {number} {'input' if takes == (1, 1) else 'inputs'}, and is given {len(arguments)}"
            shapes = f"shape{'s' if len(given) > 1 else ''} {_shapes(given)}"
            return CannotCompute(f"{text}, of {shapes}, the batch first", _of_number(given, takes))
    found = _refusal(model, error)
    if found is None or not found.given:
        return CannotCompute(f"{what}: {said}", _ANY_SHAPE)
    hint = _ANY_SHAPE
    if not named and len(given) == 1:
        seen = found.given[0].shape == given[0].shape
        hint = (_of_layer if seen else _of_image)(found.module, given[0], found.given[0]) or hint
    where = f"{found.name or 'its own forward'} ({type(found.module).__name__}{_wants(found.module)})"
    return CannotCompute(f"{what}; {where} refuses what comes in, {_shapes(found.given)}: {said}", hint)


def first_line(error: BaseException) -> str:
    """Of its message, or its name where it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _shapes(given: Sequence[torch.Tensor]) -> str:
    return ", ".join("x".join(map(str, tensor.shape)) or "scalar" for tensor in given)


def _takes(model: nn.Module) -> tuple[int, float] | None:
    """The fewest and the most positional arguments of its forward pass; None where that cannot be known."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    most = float("inf") if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(positional)
    return sum(p.default is p.empty for p in positional), most


def _of_number(given: Sequence[torch.Tensor], takes: tuple[int, float]) -> str:
    """Of too many inputs one, with all their sizes, since a comma separates inputs; of too few as many as it takes."""
    if len(given) > takes[1]:
        return f"--input {_sample([size for tensor in given for size in tensor.shape[1:]])}"
    samples = [_sample(tensor.shape[1:]) for tensor in given]
    return f"--input {','.join([*samples, *samples[-1:] * (takes[0] - len(samples))])}"


def _sample(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes)) or "1"


def _refusal(model: nn.Module, error: BaseException) -> _Refusal | None:
    """From the frames that the error came through: code of torch's own that is compiled leaves none."""
    names = {id(module): name for name, module in model.named_modules()}
    found, at = None, error.__traceback__
    while at is not None:
        frame = at.tb_frame
        module = frame.f_locals.get("self")
        if frame.f_code.co_name == "forward" and id(module) in names:
            arguments = frame.f_code.co_varnames[1 : frame.f_code.co_argcount]
            given = tuple(value for value in map(frame.f_locals.get, arguments) if hasattr(value, "shape"))
            found = _Refusal(names[id(module)], module, given)  # type: ignore[arg-type]
        at = at.tb_next
    return found


def _wants(module: nn.Module) -> str:
    for name, unit in (("in_features", "features"), ("in_channels", "channels")):
        if isinstance(count := getattr(module, name, None), int):
            return f" of {count} {unit}"
    return ""


def _of_image(module: nn.Module, given: torch.Tensor, seen: torch.Tensor) -> str | None:
    """The image whose pixels are more or fewer by the factor by which a linear layer wants more or fewer features."""
    import torch

    if not isinstance(module, torch.nn.Linear) or given.dim() != 4 or not seen.dim():
        return None
    channels, *sides = given.shape[1:]
    scaled = [math.isqrt(side * side * module.in_features // seen.shape[-1]) for side in sides]
    exact = all(new**2 * seen.shape[-1] == old**2 * module.in_features for new, old in zip(scaled, sides, strict=True))
    return f"--input {_sample([channels, *scaled])}" if exact else None


def _of_layer(module: nn.Module, given: torch.Tensor, _: torch.Tensor) -> str | None:
    """A shape that suits a layer which sees the model's own input; None for a layer of another kind."""
    import torch

    sizes = list(given.shape[1:])
    if isinstance(module, torch.nn.Linear):
        return f"--input {_sample([*sizes[:-1], module.in_features])}"
    if isinstance(module, torch.nn.modules.conv._ConvNd):
        dimensions = len(module.kernel_size)
        if len(sizes) == dimensions + 1 and sizes[-1] == module.in_channels:  # channels last
            return f"--input {_sample([module.in_channels, *sizes[:-1]])}"
        side = max([*sizes[-dimensions:], *module.kernel_size])
        sides = sizes[1:] if len(sizes) == dimensions + 1 else [side] * dimensions
        return f"--input {_sample([module.in_channels, *sides])}"
    if isinstance(module, torch.nn.Embedding) and given.is_floating_point():
        return f"--input {_sample(sizes)}@{module.num_embeddings}"
    return None
