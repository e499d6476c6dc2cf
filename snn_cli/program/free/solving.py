"""The choice among the stationary points: the smallest gamma, polished as precisely as asked."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.arithmetic.multiprecision import context, fraction
from snn_cli.errors import CannotCompute, NoSolution
from snn_cli.exact import significant_bits
from snn_cli.problem import MARGIN
from snn_cli.program.free.absence import falls, level, reached
from snn_cli.program.free.optimum import GUARD, Optimum, OutOfBudget
from snn_cli.program.free.search import Search
from snn_cli.program.kkt import Point

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.program.bounds import Bound
    from snn_cli.program.free.search import Fall, Program, Start

_NEAR = 1e-5
_EXTREME = 1e3
_TIED = 2.0**-40
_MOST_POLISHED = 4
BUDGET = 1000
"""Evaluations of the activation, for each bit of the precision, after which the search for an optimum is given up."""


class Found(NamedTuple):
    """The optimum: parameters and moments by name as rationals, active bounds with their multipliers, ties."""

    values: dict[str, Fraction]
    active: tuple[Bound, ...]
    multipliers: tuple[Fraction, ...]
    tied: bool
    precision: int


def solve(search: Search, digits: int | None) -> Found:
    """The stationary point with the smallest gamma, of those the search finds; of equal ones the smaller ``|E[f]|``.

    Raises NoSolution where the conditions cannot be met or gamma has no smallest value, CannotCompute where the
    optimum cannot be found precisely.
    """
    program = search.program
    minima = search.minima() or reached(search)
    freedom = len(program.free) - len(program.conditions)
    best = minima[0]
    if freedom > len(best.active):  # else bounds and conditions leave no freedom
        extreme = max(map(abs, best.x)) > _EXTREME or min(map(abs, best.x)) < 1 / _EXTREME
        fall = search.falling(None if extreme else best)
        if fall is not None:
            return _at_zero(search, fall, digits)
    near = [start for start in minima if start.gamma - best.gamma < _NEAR]
    unlike = _unlike(near)
    if freedom > len(best.active) and len(unlike) > 1:
        flat = level(search, best)
        if flat is not None:
            raise flat
    precision = significant_bits(digits) + MARGIN + GUARD
    polished, failure = _polished(program, unlike[:_MOST_POLISHED], precision)
    if not polished:
        fall = search.falling(best) if freedom else None
        if fall is not None:
            return _at_zero(search, fall, digits)
        assert failure is not None
        raise failure
    least = min(each.moments["gamma"] for each in polished)
    equal = [each for each in polished if each.moments["gamma"] - least < _TIED]
    chosen = min(
        equal, key=lambda each: (round(abs(float(each.moments["mean"])), 12), [-float(v) for v in each.point.x])
    )
    mus = chosen.point.multipliers
    return Found(
        _values(program, chosen, precision),
        chosen.active,
        tuple(fraction(mu) for mu in mus[len(mus) - len(chosen.active) :]),
        len(equal) > 1 or len(near) > len(unlike),
        precision,
    )


class _Polished(NamedTuple):
    point: Point
    active: tuple[Bound, ...]
    moments: dict[str, Any]


def _polished(
    program: Program, starts: Sequence[Start], precision: int
) -> tuple[list[_Polished], CannotCompute | None]:
    """The optima of those starts of which there is one, and why there is none of the last other.

    A bound whose multiplier has the wrong sign is let go. Raises OutOfBudget.
    """
    optimum = Optimum(program, BUDGET * precision)
    mp = context(precision)
    found: list[_Polished] = []
    failure: CannotCompute | None = None
    for start in starts:
        try:
            active, point = start.active, Point([mp.mpf(v) for v in start.x], [])
            while True:
                point = optimum.polish(point, active, precision)
                wrong = _wrong(active, point)
                if wrong is None:
                    break
                active = tuple(bound for bound in active if bound is not wrong)
            found.append(_Polished(point, active, optimum.moments(mp, point.x)))
        except OutOfBudget:
            raise
        except CannotCompute as error:
            failure = error
    return found, failure


def _values(program: Program, chosen: _Polished, precision: int) -> dict[str, Fraction]:
    """Parameters and moments; what is known exactly is taken as it is, and what is as good as 0 as 0."""
    values = {name: fraction(value) for name, value in chosen.moments.items()}
    values |= {name: fraction(value) for name, value in zip(program.free, chosen.point.x, strict=True)}
    values |= dict(zip(program.conditions, program.targets, strict=True))
    values |= {bound.name: bound.value for bound in chosen.active}
    least = Fraction(1, 1 << (precision - GUARD))
    return {name: Fraction(0) if abs(value) < least else value for name, value in values.items()}


def _unlike(starts: Sequence[Start]) -> list[Start]:
    """Of mirror images, with the same gamma and size of the mean, the one with the larger parameters.

    Parameters are compared as far as the search knows them: beyond that mirror images differ by chance.
    """
    chosen: dict[float, Start] = {}
    for start in sorted(starts, key=lambda start: [-float(f"{v:.3g}") for v in start.x]):
        chosen.setdefault(round(abs(start.mean), 5), start)
    return sorted(chosen.values(), key=lambda start: abs(start.mean))


def _wrong(active: Sequence[Bound], point: Point) -> Bound | None:
    for bound, mu in zip(active, point.multipliers[len(point.multipliers) - len(active) :], strict=True):
        if (bound.relation == ">=" and mu < 0) or (bound.relation == "<=" and mu > 0):
            return bound
    return None


def _at_zero(search: Search, fall: Fall, digits: int | None) -> Found:
    """Where gamma falls on the way to 0 of a parameter, and is least there: the optimum with that parameter 0.

    Raises NoSolution where gamma has no smallest value.
    """
    program = search.program
    name, towards, path = fall
    low, high = program.range(name)
    if towards != "0" or not low <= 0 <= high:
        raise falls(fall)
    rest = replace(
        program,
        free=tuple(other for other in program.free if other != name),
        settings=(*program.settings, (name, Fraction(0))),
        bounds=tuple(bound for bound in program.bounds if bound.name != name),
    )
    try:
        found = solve(Search(rest), digits)
    except (NoSolution, CannotCompute):
        raise falls(fall) from None
    if found.values["gamma"] > path[-1][1] + 1e-9:
        raise falls(fall)
    return found._replace(values=found.values | {name: Fraction(0)})
