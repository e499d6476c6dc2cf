"""What is asked of a model of the user's own."""

from __future__ import annotations

import inspect
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.engine import device as devices
from snn_cli.errors import InputError
from snn_cli.exact import Number, budget_of, positive_integer, seed_of
from snn_cli.models import loading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_BATCH, DEFAULT_TRIALS = 8, 4


class Request(NamedTuple):
    """The options, each inside its domain; ``inputs``: shapes of one sample, as `parse_input` reads them."""

    name: str
    make: Callable[[], Any]
    inputs: tuple[tuple[tuple[int, ...], int | None], ...]
    batch: int
    trials: int
    seed: int
    dtype: str
    factor: float | None


def check(
    model: str | Callable[[], Any],
    shape: str | None,
    *,
    batch: int | str | None = None,
    trials: int | str | None = None,
    seed: int | str = 0,
    device: str = "cpu",
    dtype: str = "float32",
    max_growth: Number | None = None,
) -> Request:
    """The arguments of `verify_path`; the model's module is imported, and nothing is built. Raises as it does."""
    devices.check_names(device, dtype)
    if isinstance(model, str):
        loading.split(model)
    if shape is None:
        raise InputError("--model needs --input, the shape of one sample", "--input 3x64x64")
    inputs = parse_input(shape)
    samples = DEFAULT_BATCH if batch is None else positive_integer(batch, "--batch")
    networks = DEFAULT_TRIALS if trials is None else positive_integer(trials, "--trials")
    number, factor = seed_of(seed), budget_of(max_growth)
    devices.require_torch()
    if isinstance(model, str):
        name, make = model, loading.load(model)
    else:
        name, make = getattr(model, "__name__", type(model).__name__), loading.maker(model, "model")
    return Request(name, make, inputs, samples, networks, number, dtype, factor)


def parse_input(text: str) -> tuple[tuple[tuple[int, ...], int | None], ...]:
    """Shapes of one sample, and the bound of whole numbers or None for ``N(0, 1)``. Raises InputError."""
    found = []
    for part in str(text).split(","):
        match = re.fullmatch(r"\s*(\d+(?:[xX]\d+)*)\s*(?:@\s*(\d+))?\s*", part, re.ASCII)
        if match is None:
            raise InputError(
                f"--input is {text}; it takes the shape of one sample, such as 3x64x64, or 16@1000 for 16 whole "
                "numbers below 1000",
                "--input 3x64x64",
            )
        shape = tuple(int(n) for n in re.split("[xX]", match[1]))
        bound = None if match[2] is None else int(match[2])
        if 0 in shape or bound == 0:
            raise InputError(f"--input is {text}; every size must be at least 1", "--input 3x64x64")
        if math.prod(shape) > 10**10:
            raise InputError(f"--input is {text}; that is {math.prod(shape)} numbers a sample", "--input 3x64x64")
        found.append((shape, bound))
    return tuple(found)


def arguments(function: Callable[..., Any], given: Mapping[str, Any], of_models: Callable[..., Any]) -> dict[str, Any]:
    """Of ``given``, by name, what was given to ``function`` about a model, to be handed to ``of_models``.

    Raises InputError for what says nothing about a model, or without one.
    """
    if given["model"] is None:
        raise InputError("--input and --weights-from need --model", "--model mypackage.models:make_net --input 3x64x64")
    known = inspect.signature(of_models).parameters
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if given[name] is parameter.default or given[name] == parameter.default:
            continue
        if name not in known and name != "profile":
            raise InputError(f"{name} says nothing about a model: it is what it is", f"leave out {name}")
        found[name] = given[name]
    return {name: value for name, value in found.items() if name in known}
