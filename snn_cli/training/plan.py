"""What is to be compared: the arguments of `train`, each inside its domain."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli import activations, architectures, ensembles
from snn_cli.engine import device as devices
from snn_cli.errors import InputError
from snn_cli.exact import Number, nearest_double, positive_integer, rational, seed_of
from snn_cli.solver import solve
from snn_cli.training.variants import Variant, expression_parameters, of_expression, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from snn_cli.data.split import Dataset
    from snn_cli.engine.distributed import Ranks
    from snn_cli.records import Solution

DEFAULT_ACT = "relu+bn,selu,lselu,sselu"
GRID = ("0.0003", "0.001", "0.003", "0.01", "0.03", "0.1")
"""Learning rates that ``auto`` tries."""

PRECISIONS = ("float32", "bfloat16", "float16")
_AUGMENTED = ("cifar10", "cifar100", "folder")
_DEFAULTS = {"mlp": (64, 128), "conv": (12, 32)}
"""Depth and width of the architectures that have no depth of their own."""


class Plan(NamedTuple):
    """The arguments of `train`, each inside its domain."""

    variants: tuple[Variant, ...]
    epsilon: Number | None
    closure: dict[str, Any]
    data: str
    image: int | None
    architecture: str
    depth: int
    width: int | None
    multiplier: Any
    weights: str
    epochs: int
    batch: int
    seeds: int
    seed: int
    rates: tuple[Fraction, ...]
    weight_decay: float
    mixup_alpha: float
    augment: bool
    precision: str
    compile: bool
    channels_last: bool
    threads: int | None
    checkpoint: str | None
    resume: str | None

    def signature(self, found: Dataset, ranks: Ranks) -> dict[str, Any]:
        """What a resumed comparison must share: all that decides a number; not which variants, nor how many seeds."""
        return {
            "data": self.data,
            "images": _fingerprint(found),
            "image": self.image,
            "architecture": self.architecture,
            "depth": self.depth,
            "width": self.width,
            "width_multiplier": str(self.multiplier),
            "epsilon": None if self.epsilon is None else str(self.epsilon),
            "closure": {name: str(value) for name, value in self.closure.items()},
            "weights": self.weights,
            "epochs": self.epochs,
            "batch": self.batch,
            "seed": self.seed,
            "weight_decay": self.weight_decay,
            "mixup_alpha": self.mixup_alpha,
            "augment": self.augment,
            "precision": self.precision,
            "compile": self.compile,
            "channels_last": self.channels_last,
            "threads": self.threads or 1,
            "device": ranks.device.type,
            "processes": ranks.world,
        }


def _fingerprint(found: Dataset) -> str:
    """How many images there are to train on and to test, and a checksum of their classes and moments."""
    parts = [found.train.labels.tobytes(), found.test.labels.tobytes(), repr((found.mean, found.deviation)).encode()]
    return f"{len(found.train.labels)} and {len(found.test.labels)}, {zlib.crc32(b''.join(parts)):08x}"


def check(given: Mapping[str, Any]) -> Plan:
    """``given``: all arguments of `train` by name. Nothing is read or run. Raises InputError as it does."""
    from snn_cli import data as sources

    variants = _variants(given["act"], given["expr"], given["set"])
    if len({variant.name for variant in variants}) < len(variants):
        raise InputError("a variant is named twice", f"--act {','.join(dict.fromkeys(v.name for v in variants))}")
    devices.check_names(given["device"], "float32")
    image = None if given["image"] is None else positive_integer(given["image"], "--image", 4096)
    sources.check(given["data"], given["data_dir"], image)
    architectures.get(given["architecture"])
    if given["precision"] not in PRECISIONS:
        raise InputError(f"--precision {given['precision']} is none of {', '.join(PRECISIONS)}", "--precision bfloat16")
    size = _size(given)
    ensembles.get(given["weights"])
    plan = Plan(
        variants=variants,
        epsilon=given["epsilon"],
        closure={name: given[name] for name in ("lam", "lambda_min", "zero_mean")},
        data=given["data"],
        image=image,
        architecture=given["architecture"],
        depth=size.depth,
        width=size.width,
        multiplier=size.multiplier,
        weights=given["weights"],
        epochs=positive_integer(given["epochs"], "--epochs", 10**6),
        batch=positive_integer(given["batch"], "--batch", 10**6),
        seeds=positive_integer(given["seeds"], "--seeds", 10**4),
        seed=seed_of(given["seed"], 31),
        rates=_rates(given["lr"]),
        weight_decay=_at_least_zero(given["weight_decay"], "--weight-decay"),
        mixup_alpha=_at_least_zero(given["mixup_alpha"], "--mixup-alpha"),
        augment=given["data"] in _AUGMENTED if given["augment"] is None else given["augment"],
        precision=given["precision"],
        compile=given["compile"],
        channels_last=given["channels_last"],
        threads=None if given["threads"] is None else positive_integer(given["threads"], "--threads", 10**4),
        checkpoint=given["checkpoint"],
        resume=given["resume"],
    )
    if not plan.mixup_alpha:
        raise InputError("--mixup-alpha must be above 0", "--mixup-alpha 0.2")
    _check_files(given["checkpoint"], given["resume"], given["metrics"])
    for variant in variants:
        solved(variant, plan)
    return plan


class _Size(NamedTuple):
    depth: int
    width: int | None
    multiplier: Fraction


def _size(given: Mapping[str, Any]) -> _Size:
    """Of the networks: each architecture has options of its own, and says nothing about the others."""
    architecture = given["architecture"]
    kind = architectures.get(architecture)
    own = _DEFAULTS.get(architecture)
    for name, mine in (("depth", own), ("fanin", own), ("width_multiplier", not own)):
        if given[name] is not None and not mine:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} says nothing about {architecture}", f"leave out {option}")
    multiplier = rational(1 if given["width_multiplier"] is None else given["width_multiplier"], "--width-multiplier")
    if own:
        depth = own[0] if given["depth"] is None else positive_integer(given["depth"], "--depth", 100_000)
        width = own[1] if given["fanin"] is None else positive_integer(given["fanin"], "--fanin", 1_000_000)
        return _Size(depth, width, multiplier)
    assert kind.build is not None
    return _Size(len(kind.build(1, image=64, width_multiplier=multiplier)) - 1, None, multiplier)


def _variants(
    act: str | Sequence[str] | None, expr: str | Sequence[str], values: Mapping[str, Number] | None
) -> tuple[Variant, ...]:
    """Named ones first; a value that no expression takes is an error."""
    formulas = [expr] if isinstance(expr, str) else list(expr)
    if act is None:
        act = () if formulas else DEFAULT_ACT
    names = act.split(",") if isinstance(act, str) else list(act)
    if not formulas:
        activations.with_expression(None, None, values)
    given = dict(values or {})
    needed = [(text, expression_parameters(text)) for text in formulas]
    known = {name for _, parameters in needed for name in parameters}
    found = [parse(name) for name in names]
    for text, parameters in needed:
        own = {name: value for name, value in given.items() if name in parameters or name not in known}
        found.append(of_expression(text, own))
    return tuple(found)


def _check_files(checkpoint: str | None, resume: str | None, metrics: str | None) -> None:
    if checkpoint is not None and resume is not None:
        raise InputError("--resume goes on in its own file; --checkpoint begins one", "leave out --checkpoint")
    if resume is not None and not os.path.isfile(resume):
        begun = "run.pt" if os.path.exists(resume) else resume
        raise InputError(f"--resume {resume} is no file", f"--checkpoint {begun}")
    for option, path in (("--checkpoint", checkpoint), ("--metrics", metrics)):
        if path is None:
            continue
        if os.path.exists(path) and not (option == "--metrics" and resume is not None):
            hint = f"{option} {path}.new"
            if option == "--checkpoint":
                hint = "--checkpoint run.pt" if os.path.isdir(path) else f"--resume {path}"
            raise InputError(f"{option} {path} exists, and is not overwritten", hint)
        if not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
            raise InputError(
                f"{option} {path} is in a folder that is not there or cannot be written to", f"{option} FILE"
            )


def _at_least_zero(value: Number, option: str) -> float:
    exact = rational(value, option)
    if not 0 <= exact <= 10**30:
        raise InputError(f"{option} is {value}; it must be at least 0 and at most 1e30", f"{option} 0.0001")
    return nearest_double(exact)


def _rates(lr: Number | Sequence[Number]) -> tuple[Fraction, ...]:
    given: Sequence[Any]
    if isinstance(lr, str):
        given = GRID if lr.strip() == "auto" else lr.split(",")
    else:
        given = lr if isinstance(lr, list | tuple) else [lr]
    rates = tuple(dict.fromkeys(rational(rate, "--lr") for rate in given))
    if not rates or min(rates) <= 0 or max(rates) > 10**30:  # in float32
        raise InputError("--lr must be above 0 and at most 1e30", "--lr auto")
    return rates


def solved(variant: Variant, plan: Plan) -> Solution | None:
    """Of a family; None for a baseline. A closure counts for the families that have the freedom for one."""
    if variant.act not in activations.SOLVABLE:
        return None
    if variant.act == "selu":
        return solve("selu")
    closure = plan.closure if variant.act in ("lselu", "sselu") else {}
    width = plan.width if str(plan.epsilon).strip() == "auto" else None
    return solve(variant.act, plan.epsilon, depth=plan.depth, fanin=width, **closure)
