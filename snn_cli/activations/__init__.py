"""The registry of activation families."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from snn_cli.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from snn_cli.activations.family import Baseline, Family
    from snn_cli.exact import Number

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


SCHEMES = {
    "torch": "snn_cli.engine.imported",
}
"""Scheme of a name such as ``torch:module:Name`` -> module whose ``baseline(name)`` is the activation."""


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
    near = nearest(name.lower(), SOLVABLE, "lselu", cutoff=0.5)
    raise InputError(
        f"no activation is called {name!r}; the families that can be solved are {names}",
        f"--act {near}",
    )


def find(name: str, params: Collection[str] = ()) -> Family | Baseline:
    """The activation of that name: a family, a baseline, with ``params`` a baseline wrapped as ``a f(b x + c) + d``, an
    activation of installed code (``torch:module:Name``), or an expression in x.

    Raises InputError, with the nearest name, for a word that is not in the registry, and for what is no expression.
    """
    if name in SOLVABLE:
        return get(name)
    if name in BASELINES:
        baseline: Baseline = import_module(BASELINES[name]).BASELINE
        if params:
            from snn_cli.activations.family import wrapped

            return wrapped(baseline)
        return baseline
    scheme = name.partition(":")[0]
    if scheme in SCHEMES:
        imported: Baseline = import_module(SCHEMES[scheme]).baseline(name)
        return imported
    if is_expression(name):
        from snn_cli.activations import expression

        return expression.baseline(name)
    known = (*SOLVABLE, *BASELINES)
    near = nearest(name.lower(), known, "lselu", cutoff=0.5)
    raise InputError(f"no activation is called {name!r}; there are {', '.join(known)}", f"--act {near}")


def is_expression(name: str) -> bool:
    """Whether a name is read as a formula: ``x``, and what is no single word."""
    word = name.strip().replace("-", "_")
    if name.partition(":")[0] in SCHEMES:
        return False
    return name == "x" or not (name.isidentifier() or not word or word in (*SOLVABLE, *BASELINES))


def is_bare(name: str) -> bool:
    """Whether an activation is complete by its name: a baseline, or one of installed code."""
    return name in BASELINES or name.partition(":")[0] in SCHEMES


def with_expression(params: Any, expr: str | None, values: Mapping[str, Number] | None, act: str | None = None) -> Any:
    """``params``, or the record of an expression that is given instead. Raises InputError for both, and for none."""
    if expr is None:
        if values:
            raise InputError("--set gives the parameters of --expr values, and there is no --expr", "leave out --set")
        return params
    if params is not None or act is not None:
        raise InputError(
            "--expr gives the activation; it contradicts --act and --params", "leave out --act and --params"
        )
    return of_expression(expr, values)


def of_expression(text: str, values: Mapping[str, Number] | None = None) -> dict[str, Any]:
    """A record ``{"act", "params"}`` of an expression, with a value for each of its parameters.

    Raises InputError for what is no expression, a parameter without a value, and a value without a parameter.
    """
    from snn_cli.activations import expression
    from snn_cli.exact import nearest_double, rational

    found = expression.read(text)
    given = dict(values or {})
    for parameter, column in zip(found.parameters, found.columns, strict=True):
        if parameter not in given:
            raise InputError(
                f"expression, column {column}: {parameter} has no value",
                f"--expr '{found.name}' --set {parameter}=1",
            )
    for extra in given:
        if extra not in found.parameters:
            own = ", ".join(found.parameters) or "none"
            raise InputError(
                f"--set {extra}: the expression has no parameter {extra}; it has {own}",
                f"leave out --set {extra}",
            )
    params = {each: nearest_double(rational(given[each], f"--set {each}")) for each in found.parameters}
    return {"act": found.name, "params": params}
