"""The registry of activation families."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from snn_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from snn_cli.activations.family import Baseline, Family

SOLVABLE = {
    "selu": "snn_cli.activations.selu",
    "dselu": "snn_cli.activations.dselu",
    "lselu": "snn_cli.activations.lselu",
    "sselu": "snn_cli.activations.sselu",
}
"""Name -> module that defines ``FAMILY``; loaded when asked for."""

BASELINES = {
    "relu": "snn_cli.activations.relu",
    "leaky_relu": "snn_cli.activations.leaky_relu",
    "tanh": "snn_cli.activations.tanh",
    "erf": "snn_cli.activations.erf",
    "gelu": "snn_cli.activations.gelu",
    "silu": "snn_cli.activations.silu",
    "elu": "snn_cli.activations.elu",
    "mish": "snn_cli.activations.mish",
    "softplus": "snn_cli.activations.softplus",
    "hardswish": "snn_cli.activations.hardswish",
    "linear": "snn_cli.activations.linear",
}
"""Activations to compare with, as torch has them by default; they have no parameters to solve for."""


def get(name: str) -> Family:
    """The family of that name.

    Raises InputError, with the nearest name, for one that is not in the registry.
    """
    module = SOLVABLE.get(name)
    if module is not None:
        family: Family = import_module(module).FAMILY
        return family
    names = ", ".join(SOLVABLE)
    if name in BASELINES:
        raise InputError(
            f"{name} has no parameters to solve for; the families that can be solved are {names}",
            "snn solve --act lselu --epsilon 0.03",
        )
    from difflib import get_close_matches

    nearest = get_close_matches(name.lower(), SOLVABLE, n=1, cutoff=0.5)
    raise InputError(
        f"no activation is called {name!r}; the families that can be solved are {names}",
        f"--act {nearest[0] if nearest else 'lselu'}",
    )


def find(name: str, params: Collection[str] = ()) -> Family | Baseline:
    """The activation of that name: a family, a baseline, or with ``params`` a baseline wrapped as ``a f(b x + c) + d``.

    Raises InputError, with the nearest name, for one that is not in the registry.
    """
    if name in SOLVABLE:
        return get(name)
    if name in BASELINES:
        baseline: Baseline = import_module(BASELINES[name]).BASELINE
        if params:
            from snn_cli.activations.family import wrapped

            return wrapped(baseline)
        return baseline
    from difflib import get_close_matches

    known = (*SOLVABLE, *BASELINES)
    nearest = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    raise InputError(
        f"no activation is called {name!r}; there are {', '.join(known)}", f"--act {nearest[0] if nearest else 'lselu'}"
    )
