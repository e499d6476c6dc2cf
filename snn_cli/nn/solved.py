"""Which parameters a module has: solved for as its options say, or those of a solution; messages in Python's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn, SupportsIndex

from snn_cli.activations import SOLVABLE
from snn_cli.errors import InputError, SnnError
from snn_cli.exact import Number
from snn_cli.records import Solution
from snn_cli.solver import solve

_ARGUMENTS = {"fanin": "fan_in", "lambda": "lam", "lambda-min": "lambda_min", "zero-mean": "zero_mean"}


def find(
    act: str,
    epsilon: Number | None,
    depth: SupportsIndex | None,
    fan_in: SupportsIndex | None,
    solution: Solution | Mapping[str, Any] | None,
    lam: Number | None,
    lambda_min: Number | None,
    zero_mean: bool,
) -> Solution:
    """The solution that the options of a module ask for."""
    auto = isinstance(epsilon, str) and epsilon.strip() == "auto"
    given = {"epsilon": epsilon, "depth": depth, "fan_in": fan_in, "solution": solution}
    names = [name for name, value in given.items() if value is not None]
    name = act.upper()
    if not names:
        raise InputError(
            f"{name} needs one of epsilon, depth, fan_in and solution", f"{name}(epsilon=0.03), or {name}(depth=100)"
        )
    if len(names) > 1 and not (auto and names == ["epsilon", "fan_in"]):
        raise InputError(
            f"{' and '.join(names)} contradict each other: each alone says what epsilon is",
            f"leave out {' and '.join(names[1:])}",
        )
    if solution is not None:
        closing = {"lam": lam, "lambda_min": lambda_min, "zero_mean": zero_mean or None}
        if extra := [option for option, value in closing.items() if value is not None]:
            raise InputError(
                f"a solution already says what {' and '.join(extra)} is", f"leave out {' and '.join(extra)}"
            )
        return own(act, solution)
    if fan_in is not None:
        epsilon = "auto"
    options = {"depth": depth, "fanin": fan_in, "lam": lam, "lambda_min": lambda_min, "zero_mean": zero_mean}
    return solved(act, epsilon, **{option: value for option, value in options.items() if value is not None})


def record(solution: Solution | Mapping[str, Any], act: str) -> Solution:
    """A Solution as it is or from its dict. Raises InputError, which says it in Python's words."""
    hint = 'snn_cli.solve("selu")' if act == "selu" else f'snn_cli.solve("{act}", epsilon=0.03)'
    if isinstance(solution, Mapping):
        try:
            return Solution.from_dict(solution)
        except SnnError as error:
            ready = "; for parameters of your own there are the functions lselu, sselu and dselu"
            raise InputError(f"{error}{ready}", hint) from error
    if not isinstance(solution, Solution):
        raise InputError(f"solution must be a record of snn_cli.solve or its dict, not {type(solution).__name__}", hint)
    return solution


def own(act: str, given: Solution | Mapping[str, Any]) -> Solution:
    solution = record(given, act)
    if solution.act != act:
        hint = f"{solution.act.upper()}(solution=...)" if solution.act in SOLVABLE else None
        raise InputError(f"the solution is one of {solution.act}, not of {act}", hint)
    expected = {"lambda", "alpha", *(("beta",) if act in ("lselu", "sselu") else ())}
    params = solution.params
    if set(params) != expected or params["lambda"] <= 0 or (act == "sselu" and params["beta"] <= 0):
        raise InputError(
            f"the solution's parameters are not those of {act}: {dict(params)}", f'snn_cli.solve("{act}", epsilon=0.03)'
        )
    return solution


def solved(act: str, epsilon: Number | None = None, **options: Any) -> Solution:
    """As ``solve``, once for many modules that are alike; messages name Python's arguments."""
    try:
        try:
            return _once(act, epsilon, **options)
        except TypeError:  # some value cannot be hashed; solve knows what to say of it
            return solve(act, epsilon, **options)
    except SnnError as error:
        _translate(error)


@lru_cache(maxsize=128, typed=True)
def _once(act: str, epsilon: Number | None, **options: Any) -> Solution:
    return solve(act, epsilon, **options)


def _translate(error: SnnError) -> NoReturn:
    def named(text: str) -> str:
        text = text.replace("--epsilon auto --", '--epsilon="auto", --').replace("--epsilon auto", '--epsilon="auto"')
        text = re.sub(r"--([a-z]+(?:-[a-z]+)*) ([0-9.e+-]*[0-9]|auto)\b", r"--\1=\2", text)
        return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda match: _ARGUMENTS.get(match[1], match[1]), text)

    error.args = tuple(named(str(part)) for part in error.args)
    error.hint = None if error.hint is None else named(error.hint)
    raise error
