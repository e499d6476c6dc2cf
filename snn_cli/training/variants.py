"""What is compared: an activation, and what is done to the network besides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli import activations
from snn_cli.errors import InputError, nearest
from snn_cli.simulation import given_activation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snn_cli.exact import Number

SUFFIXES = ("bn", "mixup", "scaled-mixup", "centralize", "centralize-activation", "trainable")
"""What may follow an activation after ``+``."""

TRAINABLE = ("lselu", "sselu", "dselu", "selu")


class Variant(NamedTuple):
    """``relu+bn`` or ``sselu+mixup+centralize``, read; ``params`` are of an expression."""

    name: str
    act: str
    bn: bool = False
    mixup: bool = False
    scaled_mixup: bool = False
    centralize: bool = False
    centralize_activation: bool = False
    trainable: bool = False
    params: tuple[tuple[str, float], ...] = ()


def parse(text: str) -> Variant:
    """Raises InputError for an activation or suffix that is none or given twice, and two that exclude each other."""
    act, *suffixes = (part.strip() for part in str(text).strip().split("+"))
    known = (*activations.SOLVABLE, *activations.BASELINES)
    installed = activations.is_bare(act)
    if installed:
        activations.find(act)
    elif act not in known:
        raise InputError(f"--act {text!r}: {act!r} is none of {', '.join(known)}", "--act relu+bn,selu,lselu,sselu")
    for suffix in suffixes:
        if suffix not in SUFFIXES:
            near = nearest(suffix, SUFFIXES, "bn")
            raise InputError(f"--act {text}: {suffix!r} is none of {', '.join(SUFFIXES)}", f"--act {act}+{near}")
    if len(set(suffixes)) < len(suffixes):
        raise InputError(f"--act {text}: a suffix is given twice", f"--act {'+'.join([act, *dict.fromkeys(suffixes)])}")
    if {"mixup", "scaled-mixup"} <= set(suffixes):
        raise InputError(f"--act {text}: inputs are mixed in one way", f"--act {act}+mixup")
    if "trainable" in suffixes and act not in TRAINABLE:
        raise InputError(f"--act {text}: {act} has no lambda to train", "--act lselu+trainable")
    if "bn" in suffixes and "centralize-activation" in suffixes:
        raise InputError(f"--act {text}: batch normalization takes the mean out already", f"--act {act}+bn")
    ordered = [suffix for suffix in SUFFIXES if suffix in suffixes]
    chosen: dict[str, Any] = {suffix.replace("-", "_"): True for suffix in ordered}
    return Variant("+".join([act, *ordered]), act, **chosen)


def expression_parameters(text: str) -> tuple[str, ...]:
    """Names that an expression needs values for. Raises InputError for what is none."""
    from snn_cli.activations import expression

    return expression.read(text).parameters


def of_expression(text: str, values: Mapping[str, Number] | None = None) -> Variant:
    """A variant whose activation is an expression; its parameters are a part of its name.

    Raises InputError for what is no expression, or no activation with those values.
    """
    record = activations.of_expression(text, values)
    found = given_activation(record)
    return Variant(
        ", ".join([found.act, *(f"{name} = {value!r}" for name, value in found.params)]), found.act, params=found.params
    )
