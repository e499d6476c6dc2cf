"""A model and what it is given: built from a request, or the user's own; and its measurement."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.engine import device as devices
from snn_cli.errors import InputError, MissingExtra
from snn_cli.models.loading import first_line

if TYPE_CHECKING:
    import torch

    from snn_cli.engine.model import Measurement
    from snn_cli.graph import Graph
    from snn_cli.models.request import Request


class Case(NamedTuple):
    """A model and what is given to it."""

    model: Any
    arguments: tuple[Any, ...]
    named: dict[str, Any]


def of_batch(model: Any, batch: Any) -> Case:
    """A live model and what it is called with. Raises InputError for what is no model, or no batch."""
    from snn_cli.engine.model import require_module, tensors

    require_module(model, "the model")
    if isinstance(batch, dict):
        case = Case(model, (), dict(batch))
    elif isinstance(batch, (tuple, list)) and not hasattr(batch, "_fields"):
        case = Case(model, tuple(batch), {})
    else:
        case = Case(model, (batch,), {})
    given = tensors((case.arguments, case.named))
    if not given:
        raise InputError(
            "the batch holds no tensor; it is a tensor, a tuple of arguments, or a dictionary of named ones", None
        )
    if not given[0].numel():
        raise InputError("the batch holds no sample", None)
    return case


def built(request: Request, trial: int, place: torch.device, weights_from: str | None) -> Case:
    """The model of a trial on a device, with weights and inputs from the seeds of that trial."""
    torch = devices.require_torch()
    from snn_cli.engine.model import require_module

    kind = getattr(torch, request.dtype)
    with torch.random.fork_rng(devices=[place.index or 0] if place.type == "cuda" else []):
        torch.manual_seed(derived(request.seed, trial, "weights"))
        model = require_module(request.make(), request.name)
    model.to(place)
    if kind is not torch.float32:
        model.to(kind)
    if weights_from is not None:
        _load_weights(model, weights_from)
    generator = torch.Generator().manual_seed(derived(request.seed, trial, "inputs"))
    given = []
    for shape, bound in request.inputs:
        size = (request.batch, *shape)
        if bound is None:
            given.append(torch.randn(size, generator=generator).to(place, kind))
        else:
            given.append(torch.randint(bound, size, generator=generator).to(place))
    return Case(model, tuple(given), {})


def _load_weights(model: Any, path: str) -> None:
    """Raises InputError for a file that is none, or does not fit."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise MissingExtra("reading weights from a file", "safetensors", "weights") from None
    if not os.path.isfile(path):
        raise InputError(f"--weights-from {path} is no file", "--weights-from model.safetensors")
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"--weights-from {path} is not a safetensors file: {first_line(error)}",
            "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')",
        ) from None
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        lines = [text.strip() for text in str(error).splitlines()[1:]] or [first_line(error)]
        raise InputError(f"--weights-from {path} does not fit the model: {lines[0]}", None) from None
    if missing or unexpected:
        parts = [f"it lacks {missing[0]}"] if missing else []
        parts += [f"the model has no {unexpected[0]}"] if unexpected else []
        raise InputError(
            f"--weights-from {path} does not fit the model: {' and '.join(parts)} "
            f"({len(missing)} missing, {len(unexpected)} unexpected)",
            None,
        )


def derived(seed: int, trial: int, what: str) -> int:
    """A seed of its own for each trial and purpose."""
    digest = hashlib.blake2b(f"{seed}:{trial}:{what}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def measure(case: Case, seed: int) -> Measurement:
    from snn_cli.engine.model import measure_model

    return measure_model(case.model, case.arguments, case.named, seed)


def graph(case: Case) -> Graph:
    from snn_cli.engine.trace import trace

    return trace(case.model, case.arguments, case.named)
