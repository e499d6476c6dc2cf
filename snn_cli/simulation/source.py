"""The activation of a network: one to be solved, a baseline, an expression, or that of a record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from snn_cli import activations
from snn_cli.activations.family import Baseline, Family
from snn_cli.errors import CannotCompute, InputError
from snn_cli.propagation.meanfield import MeanField
from snn_cli.solver import check as check_solvable
from snn_cli.solver import solve

_RECORD = '{"act": "lselu", "params": {"lambda": 1, "alpha": 1.138, "beta": 0.394}}'
_KNOWN = 1e-9  # to which the epsilon of a record is that of its parameters


class Activation(NamedTuple):
    """An activation with the values of its parameters; epsilon and gamma where they are known from its solution."""

    act: str
    params: tuple[tuple[str, float], ...]
    epsilon: float | None
    gamma: float | None = None


class Solve(NamedTuple):
    """An activation that is still to be solved."""

    act: str
    epsilon: Any
    depth: int | None
    fan_in: int | None


class Closure(NamedTuple):
    """How the free degree of freedom of a family is closed, as `solve` takes it."""

    lam: Any = None
    lambda_min: Any = None
    zero_mean: bool = False

    @property
    def given(self) -> bool:
        return any(x not in (None, False) for x in self)


def of_options(given: Mapping[str, Any], closure: Closure, depth: int, fan_in: int | None) -> Activation | Solve:
    """The activation that the options ``act``, ``epsilon`` and ``params`` name. Raises InputError for one that is none.

    Nothing is solved, but whether it can be is checked.
    """
    act, epsilon, params = given["act"], given["epsilon"], given["params"]
    if params is not None:
        if act is not None or epsilon is not None or closure.given:
            raise InputError(
                "--params gives the activation; it contradicts --act, --epsilon and the closures", "leave out --params"
            )
        return given_activation(params)
    if not isinstance(act, str):
        names = ", ".join((*activations.SOLVABLE, *activations.BASELINES))
        raise InputError(f"--act must be one of {names}", "--act lselu")
    activations.find(act)
    if act not in activations.SOLVABLE:
        return _baseline(act, epsilon, closure)
    auto = isinstance(epsilon, str) and epsilon.strip() == "auto"
    if auto and fan_in is None:
        raise InputError("--epsilon auto needs the fan-in that it is meant for", "--epsilon auto --fanin 1024")
    by_depth = epsilon is None and activations.get(act).takes_epsilon
    source = Solve(act, epsilon, depth if by_depth else None, fan_in if auto else None)
    # before the cache of `solved`, which takes True for 1, and no lists
    check_solvable(act, epsilon, depth=source.depth, fanin=source.fan_in, **closure._asdict())
    return source


def _baseline(act: str, epsilon: Any, closure: Closure) -> Activation:
    if epsilon is not None or closure.given:
        option = "--epsilon" if epsilon is not None else "a closure of lambda"
        raise InputError(f"{act} has no parameters to solve for, so {option} cannot be met", "--act lselu")
    if activations.is_bare(act):
        return Activation(act, (), None)
    return given_activation(activations.of_expression(act))


@lru_cache(maxsize=4096)
def solved(source: Solve, closure: Closure) -> Activation:
    """Raises as `solve` does."""
    solution = solve(source.act, source.epsilon, depth=source.depth, fanin=source.fan_in, **closure._asdict())
    return Activation(source.act, tuple(solution.params.items()), solution.epsilon, solution.gamma)


def given_activation(params: Any) -> Activation:
    """The activation of a record: a Solution, a Propagation, or a mapping with ``act`` and ``params``.

    Raises InputError for an unknown activation, for one of installed code, and for a parameter that is missing, unknown
    or no finite number.
    """
    act = field_of(params, "act")
    if not isinstance(act, str):
        raise InputError(
            "--params holds no activation: it needs a field act", '{"act": "lselu", "params": {"lambda": 1, ...}}'
        )
    if act.partition(":")[0] in activations.SCHEMES:  # a record is data: reading one runs nobody's code
        raise InputError(f"--params: {act} is installed code, and no record may have it run", f"--act {act}")
    family, values = _parameters(act, field_of(params, "params"))
    if act not in activations.SOLVABLE:
        assert isinstance(family, Baseline)
        family.check(dict(values))
        return Activation(family.name, values, None)
    if dict(values)["lambda"] <= 0:
        raise InputError(f"--params: lambda of {act} must be above 0", _RECORD)
    with np.errstate(all="ignore"):
        gain = float(MeanField(family, dict(values)).moments(np.array([1.0])).gain[0])
    if not math.isfinite(gain):
        raise out_of_range(Activation(act, values, None))
    epsilon = field_of(params, "epsilon")
    if not _is_finite(epsilon) or abs(float(epsilon) + 1 - gain) > _KNOWN * gain:  # parameters by hand
        epsilon = gain - 1
    gamma = field_of(params, "gamma")
    known = isinstance(gamma, float) and math.isfinite(gamma)
    return Activation(act, values, float(epsilon), gamma if known else None)


def _parameters(act: str, values: Any) -> tuple[Family | Baseline, tuple[tuple[str, float], ...]]:
    """The activation of that name, and its parameters in its own order."""
    try:
        given = dict(values) if values is not None else {}
    except (TypeError, ValueError):
        given = {"params": values}
    family = activations.find(act, given)
    if set(given) != set(family.parameters):
        needed = ", ".join(family.parameters) or "none"
        raise InputError(
            f"--params: {act} takes the parameters {needed}; the record has {', '.join(map(str, given)) or 'none'}",
            _RECORD,
        )
    found = []
    for name in family.parameters:
        value = given[name]
        if not _is_finite(value):
            raise InputError(f"--params: {name} of {act} must be a finite number, not {value!r}", _RECORD)
        found.append((name, _double(value, name, act)))
    return family, tuple(found)


def field_of(params: Any, name: str) -> Any:
    """Of a record or a mapping; None where it has none of that name."""
    return params.get(name) if isinstance(params, Mapping) else getattr(params, name, None)


def out_of_range(activation: Activation) -> CannotCompute:
    """The error of parameters that nothing can be computed with."""
    values = ", ".join(f"{name} = {value!r}" for name, value in activation.params)
    return CannotCompute(
        f"the moments of {activation.act}{f' with {values}' if values else ''} leave the range of doubles",
        "snn solve --act lselu --epsilon 0.03",
    )


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        return False
    return not isinstance(value, float) or math.isfinite(value)


def _double(value: Any, name: str, act: str) -> float:
    size = abs(Fraction(value))
    if size and not Fraction(1, 10**60) <= size <= 10**60:
        raise InputError(
            f"{name} of {act} must be 0 or between 1e-60 and 1e60 in size, not {value!r}",
            f"--set {name}=1" if activations.is_expression(act) else _RECORD,
        )
    return float(value)
