"""What ``solve`` was asked for, where it is not one of the families: a wrap, or an expression with free parameters."""

from __future__ import annotations

import ast
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli import activations
from snn_cli.activations.family import WRAP, Baseline
from snn_cli.errors import InputError
from snn_cli.exact import nearest_double, rational, shown
from snn_cli.program import bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from snn_cli.exact import Number
    from snn_cli.program.bounds import Bound

_EXAMPLE = "--expr 'where(x > 0, l*x, l*a*(exp(x) - 1))' --free l,a --epsilon 0.03"


class Common(NamedTuple):
    """``epsilon`` is a rational, ``"auto"``, or ``"own"`` where none is given; ``depth`` and the others as given."""

    epsilon: Fraction | str
    zero_mean: bool
    depth: int | None
    fan_in: int | None
    digits: int | None


class Wrap(NamedTuple):
    """``act`` is the name of the result in records, ``baseline`` what is wrapped, without parameters."""

    act: str
    baseline: Baseline
    bounds: tuple[Bound, ...]
    common: Common


class Free(NamedTuple):
    """``settings``: the parameters of the expression that are given, all others are ``free``."""

    baseline: Baseline
    free: tuple[str, ...]
    settings: tuple[tuple[str, Fraction], ...]
    bounds: tuple[Bound, ...]
    common: Common


def named(act: str, bound: str | Iterable[str] | None, common: Common) -> Wrap:
    """A baseline by its name. Raises InputError for one that cannot be wrapped."""
    baseline = activations.find(act)
    assert isinstance(baseline, Baseline)
    if baseline.precise is None:
        raise InputError(
            f"{act} is known in doubles alone, and is solved in more digits than these", "--expr with its formula"
        )
    if baseline.parameters:
        return written(act, {}, bound, common)
    return Wrap(baseline.name, baseline, wrap_bounds(bound), common)


def wrap_bounds(bound: str | Iterable[str] | None) -> tuple[Bound, ...]:
    given = bounds.read(bound, WRAP)
    for name in ("a", "b"):
        _, high = bounds.limits(given, name)
        if high is not None and high <= 0:
            raise InputError(
                f"--bound: {name} is above 0 by convention (-f and f(-x) meet the same conditions)",
                f"--bound '{name}<=4'",
            )
    return given


def written(expr: str, values: Mapping[str, Number] | None, bound: str | Iterable[str] | None, common: Common) -> Wrap:
    """An expression, wrapped: its own parameters are given, and written as numbers.

    Raises InputError for what is no expression, and for a parameter without a value.
    """
    from snn_cli.activations import expression

    found = expression.read(expr)
    given = _values(found.name, found.parameters, values)
    for parameter, column in zip(found.parameters, found.columns, strict=True):
        if parameter not in given:
            raise InputError(
                f"expression, column {column}: {parameter} has no value, and is not free",
                f"--set {parameter}=1, or --free {parameter}",
            )
    own = expression.baseline(found.name)
    own.check({name: nearest_double(value) for name, value in given.items()})
    act = expression.read(f"a*({_substituted(found.name, given)}) + d").name
    return Wrap(act, _bound(own, given), wrap_bounds(bound), common)


def _bound(own: Baseline, given: Mapping[str, Fraction]) -> Baseline:
    """An expression with its parameters given, exactly."""
    doubles = {name: nearest_double(value) for name, value in given.items()}
    precise = own.precise
    assert precise is not None

    def exact(mp: Any) -> dict[str, Any]:
        return {name: mp.mpf(value.numerator) / value.denominator for name, value in given.items()}

    return own._replace(
        function=lambda np, x, _p: own.function(np, x, doubles),
        derivative=lambda np, x, _p: own.derivative(np, x, doubles),
        parameters=(),
        precise=lambda mp, x, _p: precise(mp, x, exact(mp) if given else {}),
        kinks=lambda mp, _p: own.kinks(mp, doubles if mp is None else exact(mp)),
        narrow=lambda _p: own.narrow(doubles),
    )


def _substituted(text: str, given: Mapping[str, Fraction]) -> str:
    """The text with ``(b*x + c)`` for x and numbers for its parameters; what else is written stays as it is."""
    names = sorted(
        (node for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)),
        key=lambda node: -node.col_offset,
    )
    for node in names:
        if node.id == "x" or node.id in given:
            new = "(b*x + c)" if node.id == "x" else f"({shown(given[node.id])})"
            text = text[: node.col_offset] + new + text[node.end_col_offset :]
    return text


def free(
    expr: str,
    values: Mapping[str, Number] | None,
    names: str | Sequence[str],
    bound: str | Iterable[str] | None,
    common: Common,
) -> Free:
    """An expression of which some parameters are to be found.

    Raises InputError for a parameter that is neither free nor given, and for more conditions than free parameters.
    """
    from snn_cli.activations import expression

    found = expression.read(expr)
    chosen = _chosen(found.parameters, names)
    given = _values(found.name, found.parameters, values)
    for parameter in found.parameters:
        if parameter in chosen and parameter in given:
            raise InputError(f"{parameter} is both free and given", f"leave out --set {parameter}")
        if parameter not in chosen and parameter not in given:
            raise InputError(
                f"{parameter} is neither free nor given a value",
                f"--free {','.join((*chosen, parameter))}, or --set {parameter}=1",
            )
    read = bounds.read(bound, tuple(chosen))
    for each in read:
        if each.relation == "=":
            given[each.name] = each.value
            chosen.remove(each.name)
    _counted(len(chosen), common)
    return Free(
        expression.baseline(found.name),
        tuple(chosen),
        tuple(given.items()),
        tuple(each for each in read if each.relation != "="),
        common,
    )


def _chosen(parameters: Sequence[str], names: str | Sequence[str]) -> list[str]:
    """The names that are free. Raises InputError for one that is no parameter, or twice there."""
    chosen = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
    for name in chosen:
        if name not in parameters:
            raise InputError(
                f"--free {name}: the parameters of the expression are {', '.join(parameters) or 'none'}",
                f"--free {parameters[0] if parameters else 'a'}",
            )
        if chosen.count(name) > 1:
            raise InputError(f"--free has {name} twice", f"--free {','.join(dict.fromkeys(chosen))}")
    return chosen


def _counted(free: int, common: Common) -> None:
    """Raises InputError unless there are as many free parameters as conditions, or more and an epsilon."""
    count = 1 + (common.epsilon != "own") + common.zero_mean
    if common.epsilon == "own" and free > count:
        raise InputError(
            f"{free} free parameters and {count} condition{'s' * (count > 1)}: epsilon is wanted, the backward "
            "gain minus one, or a depth",
            "--epsilon 0.03",
        )
    if free < count:
        raise InputError(
            f"{count} conditions need at least {count} free parameters; {free} free is too few",
            "more of --free, or without --epsilon or --zero-mean",
        )


def _values(name: str, parameters: Sequence[str], values: Mapping[str, Number] | None) -> dict[str, Fraction]:
    given = {}
    for each, value in (values or {}).items():
        if each not in parameters:
            raise InputError(
                f"--set {each}: the parameters of {name} are {', '.join(parameters) or 'none'}",
                f"leave out --set {each}",
            )
        given[each] = rational(value, f"--set {each}")
    return given
