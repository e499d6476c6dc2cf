"""What ``solve`` was called with: every argument checked against its own domain, and nothing solved."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex

from snn_cli import activations
from snn_cli.errors import InputError
from snn_cli.exact import Number, positive_integer, rational, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from snn_cli.activations.family import Family
    from snn_cli.program.request import Free, Wrap

MAX_DIGITS = 10_000


class Request(NamedTuple):
    """What ``solve`` was called with, every value within its own domain; whether there is a solution is open.

    epsilon
        A rational, ``"auto"`` or ``"own"``, as in ``Problem``.
    bound
        Lambda where the closure gives it.
    """

    family: Family
    epsilon: Fraction | str
    closure: str
    bound: Fraction | None
    depth: int | None
    fan_in: int | None
    digits: int | None
    certify: bool


def check(
    act: str | None = None,
    epsilon: Number | None = None,
    *,
    depth: SupportsIndex | str | None = None,
    fanin: SupportsIndex | str | None = None,
    lam: Number | None = None,
    lambda_min: Number | None = None,
    zero_mean: bool = False,
    digits: SupportsIndex | str | None = None,
    certify: bool = False,
    bound: str | Iterable[str] | None = None,
    expr: str | None = None,
    set: Mapping[str, Number] | None = None,  # noqa: A002
    free: str | Sequence[str] | None = None,
) -> Request | Wrap | Free:
    """The arguments of ``solve``, in exact numbers; nothing is solved. Raises InputError as ``solve`` does."""
    _one_of(act, expr, set, free)
    depth = None if depth is None else positive_integer(depth, "--depth")
    fan_in = None if fanin is None else positive_integer(fanin, "--fanin")
    digits = None if digits is None else positive_integer(digits, "--digits", MAX_DIGITS, "--digits 50")
    zero_mean, certify = _flag(zero_mean, "--zero-mean"), _flag(certify, "--certify")
    if act is None or act not in activations.SOLVABLE:
        from snn_cli.program import request as programs

        name = expr if act is None else act
        assert name is not None
        if act is not None:
            activations.find(act)
        _only_families(name, certify, {"--lambda": lam, "--lambda-min": lambda_min})
        if free and isinstance(epsilon, str) and epsilon.strip() == "auto":
            raise InputError("--epsilon auto is for families and what is wrapped, not for --free", "--epsilon 0.02")
        common = programs.Common(_epsilon(name, not free, epsilon, depth, fan_in), zero_mean, depth, fan_in, digits)
        if free:
            return programs.free(name, set, free, bound, common)
        return programs.named(name, bound, common) if expr is None else programs.written(name, set, bound, common)
    family = activations.get(act)
    if bound is not None and list(bound):
        raise InputError(
            f"--bound is for activations that are wrapped, as gelu is; {act} has --lambda and --lambda-min",
            "--lambda-min 1",
        )
    closure, lam_bound = _closure(family, lam, lambda_min, zero_mean)
    exact = _epsilon(family.name, family.takes_epsilon, epsilon, depth, fan_in)
    return Request(family, exact, closure, lam_bound, depth, fan_in, digits, certify)


def _one_of(
    act: str | None, expr: str | None, values: Mapping[str, Number] | None, free: str | Sequence[str] | None
) -> None:
    """Raises InputError unless there is one activation, by its name or as an expression with its parameters."""
    if expr is not None and act is not None:
        raise InputError("--expr gives the activation; it contradicts --act", "leave out --act")
    if expr is None and not isinstance(act, str):
        raise InputError(f"act must be the name of one activation, not {act!r}", "--act lselu")
    if expr is None and (values or free):
        option = "--set" if values else "--free"
        raise InputError(f"{option} is about the parameters of --expr, and there is no --expr", f"leave out {option}")


def _only_families(name: str, certify: bool, closures: Mapping[str, Number | None]) -> None:
    """Raises InputError for what only the families have."""
    for option, value in closures.items():
        if value is not None:
            raise InputError(f"{name} has no lambda, so {option} cannot be met", "--bound 'b<=4'")
    if certify:
        raise InputError(
            f"--certify proves solutions of {', '.join(activations.SOLVABLE)}; {name} has no closed form to prove from",
            "--digits 50",
        )


def _flag(value: bool, name: str) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, not {value!r}", name)
    return value


def _closure(
    family: Family, lam: Number | None, lambda_min: Number | None, zero_mean: bool
) -> tuple[str, Fraction | None]:
    given = [
        f"--{name}"
        for name, value in (("lambda", lam), ("lambda-min", lambda_min), ("zero-mean", zero_mean or None))
        if value is not None
    ]
    if len(given) > 1:
        raise InputError(
            f"{' and '.join(given)} contradict each other: there is one degree of freedom to close",
            f"leave out {' and '.join(given[1:])}",
        )
    if "none" in family.closures:
        if given:
            raise InputError(
                f"{family.name} has no free parameter, so {given[0]} cannot be met",
                f"leave out {given[0]}, or use --act lselu",
            )
        return "none", None
    if zero_mean:
        return "zero_mean", None
    closure, value = ("lambda", lam) if lam is not None else ("lambda_min", 1 if lambda_min is None else lambda_min)
    option = f"--{closure.replace('_', '-')}"
    assert value is not None
    exact = rational(value, option)
    if exact <= 0:
        raise InputError(f"{option} is {shown(value)}; it must be above 0", f"{option} 1")
    return closure, exact


def _epsilon(name: str, needed: bool, epsilon: Number | None, depth: int | None, fan_in: int | None) -> Fraction | str:
    if epsilon is None:
        if depth is not None:
            return Fraction(1, depth)
        if needed:
            hint = "--epsilon 0.03" if fan_in is None else f"--epsilon auto --fanin {fan_in}"
            raise InputError(f"{name} needs an epsilon, the backward gain minus one, or a depth", hint)
        return "own"
    if isinstance(epsilon, str) and epsilon.strip() == "auto":
        if fan_in is None:
            raise InputError("--epsilon auto needs the fan-in that it is meant for", "--epsilon auto --fanin 1024")
        return "auto"
    exact = rational(epsilon, "--epsilon")
    if exact < 0:
        raise InputError(
            f"--epsilon is {shown(epsilon)}; it must be at least 0, auto, or left out with --depth", "--epsilon 0.03"
        )
    return exact
