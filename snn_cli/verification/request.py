"""What is asked of a verification, each value inside its domain."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli import architectures, ensembles
from snn_cli.engine import device as devices
from snn_cli.errors import InputError
from snn_cli.exact import Number, budget_of, nearest_double, positive_integer, rational, seed_of
from snn_cli.files import taken
from snn_cli.simulation import check as check_theory
from snn_cli.simulation.source import field_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snn_cli.architectures import Kind, Stage

DEFAULT_ACT, DEFAULT_EPSILON = "lselu", "0.03"
_NEW = "run.jsonl"

DEFAULTS: dict[str, Any] = {
    "architecture": "mlp",
    "channels": None,
    "kernel": None,
    "image": None,
    "padding": None,
    "width_multiplier": None,
    "batch": None,
    "trials": None,
    "seed": 0,
    "device": "cpu",
    "dtype": "float32",
    "threads": None,
    "memory": None,
    "level": "0.001",
    "max_growth": None,
    "save": None,
    "resume": None,
}
"""Of the options of `verify` that are not those of `simulate`; test_verify.py holds them against its signature."""

_SHAPE = ("channels", "kernel", "image", "padding", "width_multiplier")


class Request(NamedTuple):
    """The options, each inside its domain; ``theory``: those of `simulate`, ``shape``: those of the architecture."""

    theory: dict[str, Any]
    batch: int
    trials: int
    seed: int
    dtype: str
    threads: int | None
    memory: int | None
    level: float
    max_growth: float | None
    architecture: str
    shape: dict[str, Any]
    stages: tuple[Stage, ...] | None
    q0: float


def check(act: str | None = None, epsilon: Number | None = None, **options: Any) -> Request:
    """The arguments of `verify`, checked; nothing is run. Raises InputError as it does."""
    given = {name: options.pop(name, default) for name, default in DEFAULTS.items()}
    kind = architectures.get(given["architecture"])
    devices.check_names(given["device"], given["dtype"])
    shape = architectures.options(
        given["architecture"],
        {name: options.get(name) for name in ("depth", "fanin", "widths")} | {name: given[name] for name in _SHAPE},
    )
    theory = _theory({**options, "act": act, "epsilon": epsilon, "c0": 0}, kind)
    stages = None
    if kind.build is not None:
        stages = _stages(kind.build, shape, theory)
    elif theory.get("widths") is None and theory.get("fanin") is None and _recorded(theory, "fan_in") is None:
        theory["fanin"] = shape["fanin"]
    check_theory(**theory)
    level, factor = _level(given["level"]), budget_of(given["max_growth"])
    _check_files(given["save"], given["resume"])
    batch, trials, threads, memory = (given[name] for name in ("batch", "trials", "threads", "memory"))
    return Request(
        theory=theory,
        batch=kind.batch if batch is None else positive_integer(batch, "--batch"),
        trials=kind.trials if trials is None else positive_integer(trials, "--trials"),
        seed=seed_of(given["seed"]),
        dtype=given["dtype"],
        threads=None if threads is None else positive_integer(threads, "--threads"),
        memory=None if memory is None else _bytes(memory),
        level=level,
        max_growth=factor,
        architecture=given["architecture"],
        shape=shape,
        stages=stages,
        q0=nearest_double(rational(theory.get("q0", 1), "--q0")),
    )


def _theory(options: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """Options of `simulate`, with what stands for an activation and a depth that are not given."""
    if options["act"] is None and options.get("params") is None:
        options["act"] = DEFAULT_ACT
        if options["epsilon"] is None and options.get("depth") is None:
            options["epsilon"] = DEFAULT_EPSILON
    sized = options.get("widths") is not None or options.get("depth") is not None
    if not sized and kind.depth and _recorded(options, "depth") is None:
        options["depth"] = kind.depth
    return options


def _stages(
    build: Callable[..., tuple[Stage, ...]], shape: dict[str, Any], theory: dict[str, Any]
) -> tuple[Stage, ...]:
    """Layers of a convolutional network; ``theory`` gets the fan-in of its filters, or of each where they differ."""
    if str(theory["epsilon"]).strip() == "auto":
        raise InputError(
            "--epsilon auto is for the fan-in of a perceptron, where positions are alike", "--epsilon 0.01"
        )
    layers = theory.get("depth") or _recorded(theory, "depth")
    stages = build(1 if layers is None else positive_integer(layers, "--depth"), **shape)
    delta = ensembles.get(theory.get("weights", "gaussian")).orthogonal
    fan_ins = [stage.inputs if delta or stage.pooled else stage.fan_in for stage in stages]
    if len(set(fan_ins)) == 1:
        theory["fanin"] = fan_ins[0]
    else:
        theory["widths"] = [*fan_ins, stages[-1].channels]
    return stages


def _recorded(theory: Mapping[str, Any], name: str) -> Any:
    """What the record of an activation says; None without one."""
    return field_of(theory.get("params"), name)


def _level(level: Number) -> float:
    alpha = rational(level, "--level")
    if not 0 < alpha < 1:
        raise InputError(f"--level is {level}; a level is between 0 and 1", "--level 0.001")
    return nearest_double(alpha)


def _check_files(save: str | None, resume: str | None) -> None:
    if save is not None and taken(save):
        hint = f"--save {_NEW}" if os.path.isdir(save) else f"--resume {save}"
        raise InputError(f"--save {save} exists, and is not overwritten", hint)
    if save is not None and not os.access(os.path.dirname(os.path.abspath(save)), os.W_OK):
        raise InputError(f"--save {save} is in a folder that is not there or cannot be written to", f"--save {_NEW}")
    if resume is not None and not os.path.isfile(resume):
        begun = _NEW if os.path.exists(resume) else resume
        raise InputError(f"--resume {resume} is no file", f"--save {begun}")


def _bytes(memory: int | str) -> int:
    text = str(memory).strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B?|B)?", text, re.IGNORECASE | re.ASCII)
    if match is None:
        raise InputError(f"--memory is {memory}; it takes bytes, or a size such as 512MiB or 4GiB", "--memory 4GiB")
    unit = (match[2] or "B").upper()
    base = 1024 if "I" in unit else 1000
    exactly = float(match[1]) * base ** "BKMGT".index(unit[0])
    if exactly == math.inf:
        raise InputError("--memory is larger than any memory", "--memory 4GiB")
    size = int(exactly)
    if size < 1:
        raise InputError("--memory must be above 0", "--memory 4GiB")
    return size
