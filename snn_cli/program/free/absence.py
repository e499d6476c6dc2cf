"""Where the starts lead nowhere: solutions from another epsilon, or why and for which epsilons there are none."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from snn_cli.errors import CannotCompute, NoSolution
from snn_cli.program.free.search import FALLS, MAGNITUDES, NAMES, Search

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snn_cli.program.free.search import Fall, Start

_OTHERS = (0.03, 0.3, 0.003, 3.0)

_LEAST = 1e-7
"""Lower ends below this are taken as 0: the search is that exact."""

_FOLLOWED = 80

_ANY_SIZE = 1e3
"""Upper ends above this are taken as none."""


def falls(fall: Fall) -> NoSolution:
    """That gamma has no smallest value."""
    name, towards, path = fall
    shown = ", ".join(f"{gamma:.6g} at {name} = {value:.3g}" for value, gamma in (path[0], path[2], path[-1]))
    side = "<=" if towards == "infinity" or (towards == "0" and path[0][0] < 0) else ">="
    value = path[0][0]
    near = 1 if towards == "0" else float(f"{abs(value):.1g}")
    return NoSolution(
        f"gamma keeps falling as {name} goes to {towards}, and has no smallest value: {shown}",
        f"--bound '{name}{side}{math.copysign(near, value):g}'",
    )


def level(search: Search, start: Start) -> CannotCompute | None:
    """That gamma is the same along a line of solutions through ``start``; None where it is not."""
    beside = search.beside(start)
    if beside is None:
        return None
    name, other = beside
    names = search.program.free
    here, there = (", ".join(f"{n} = {v:.6g}" for n, v in zip(names, x, strict=True)) for x in (start.x, other.x))
    return CannotCompute(
        f"no single solution has the smallest gamma: it is {start.gamma:.7g} all along a line of them, "
        f"at {here} as at {there}",
        f"--bound '{name}={other.x[names.index(name)]:g}'",
    )


class _Elsewhere(NamedTuple):
    """The range of epsilon that can be followed from ``x``, which solves ``search``; starts that may lead to others."""

    search: Search
    x: tuple[float, ...]
    starts: list[tuple[float, ...]]
    ends: tuple[float, float | None]


def reached(search: Search) -> list[Start]:
    """Stationary points for a search that found none from its starts: from solutions at another epsilon.

    Raises NoSolution where gamma falls for ever, or a condition fails; CannotCompute where there should be a solution,
    for epsilon is inside the range of those that have one, and none is reached.
    """
    program = search.program
    if len(program.free) > len(program.conditions):
        fall = search.falling(None)
        if fall is not None:
            raise falls(fall)
    if not search.seen:
        raise NoSolution(
            "no solution: the expectations over a normal input are finite nowhere in the search",
            "an expression that grows less",
        )
    words = {
        "second_moment": "E[f^2] = 1",
        "chi": f"E[f'^2] = {float(1 + (program.epsilon or 0))!r}",
        "mean": "E[f] = 0",
    }
    unmet = _unmet(search, words)
    if unmet is not None:
        raise unmet
    elsewhere = None if program.epsilon is None else _somewhere(search)
    if elsewhere is None:
        raise _together(search, words)
    if not _inside(search, elsewhere.ends):
        raise _outside(search, words, elsewhere.ends)
    others = (elsewhere.search.descend(x, roots=True) for x in elsewhere.starts)
    points = [elsewhere.x, *(start.x for start in others if start is not None)]
    found = search.minima([x for x in (_arrived(search, elsewhere, x) for x in points) if x is not None])
    if not found:
        raise _missed(search, words, elsewhere.ends)
    return found


def _unmet(search: Search, words: Mapping[str, str]) -> NoSolution | None:
    """Where one condition alone is met nowhere."""
    program = search.program
    for name, target in zip(program.conditions, program.targets, strict=True):
        values = [float(found[NAMES.index(name)]) for found in search.seen]
        if not min(values) <= float(target) <= max(values):
            return NoSolution(
                f"no solution: {words[name]} is not met anywhere; where the search looked it is between "
                f"{min(values):.6g} and {max(values):.6g}",
                "another --bound, or more --free parameters",
            )
    return None


def _inside(search: Search, ends: tuple[float, float | None]) -> bool:
    """Whether the epsilon asked for is in the range, ends included."""
    assert search.program.epsilon is not None
    return ends[0] <= float(search.program.epsilon) <= (math.inf if ends[1] is None else ends[1])


def _outside(search: Search, words: Mapping[str, str], ends: tuple[float, float | None]) -> NoSolution:
    """Where there is a solution at another epsilon."""
    assert search.program.epsilon is not None
    side, may = _upper(ends), ", and the range may be wider" if ends[1] is not None or ends[0] else ""
    return NoSolution(
        f"no solution at epsilon = {float(search.program.epsilon)!r}: with {_others(search, words)} there is one from "
        f"{ends[0]:.7g} {side}{may}; {_searched(search)}",
        f"--epsilon {float(f'{(ends[0] + (ends[1] or 1)) / 2:.2g}')!r}",
        ends,
    )


def _missed(search: Search, words: Mapping[str, str], ends: tuple[float, float | None]) -> CannotCompute:
    """Where there is one at epsilons on either side."""
    assert search.program.epsilon is not None
    return CannotCompute(
        f"the solution at epsilon = {float(search.program.epsilon)!r} was not found, though with "
        f"{_others(search, words)} there is one from {ends[0]:.7g} {_upper(ends)}; {_searched(search)}",
        "another --epsilon, or a --bound on one of the parameters",
    )


def _others(search: Search, words: Mapping[str, str]) -> str:
    """The conditions but that on epsilon, and the bounds."""
    program = search.program
    return " and ".join((*(words[n] for n in program.conditions if n != "chi"), *map(str, program.bounds)))


def _upper(ends: tuple[float, float | None]) -> str:
    return f"up to {ends[1]:.7g}" if ends[1] is not None else "of any size"


def _together(search: Search, words: Mapping[str, str]) -> NoSolution:
    """Where each condition is met somewhere."""
    named = " and ".join(words[name] for name in search.program.conditions)
    return NoSolution(
        f"no solution: {named} hold nowhere together; {_searched(search)}",
        "another --epsilon or --bound, or more --free parameters",
    )


def _searched(search: Search) -> str:
    sizes = f"{min(MAGNITUDES):g} to {max(MAGNITUDES):g}"
    return f"the search went over {', '.join(search.program.free)} of both signs from {sizes}"


def _somewhere(search: Search) -> _Elsewhere | None:
    """A solution at the first of a few other epsilons that has any, and the range of epsilon from it."""
    for epsilon in _OTHERS:
        other = Search(replace(search.program, epsilon=Fraction(epsilon)), search)
        starts = other.starts()[:FALLS]
        for i, x in enumerate(starts):
            found = other.descend(x, roots=True)
            if found is not None:
                return _Elsewhere(other, found.x, starts[i + 1 :], epsilon_range(other, found.x))
    return None


def _arrived(search: Search, elsewhere: _Elsewhere, x: Sequence[float]) -> tuple[float, ...] | None:
    """The solution at the epsilon asked for that is followed to from ``x``; None where the way ends before."""
    here, target = elsewhere.search.program.epsilon, search.program.epsilon
    assert here is not None
    assert target is not None
    factor = 0.25 if target < here else 2.0
    epsilon, there = _followed(elsewhere.search, x, float(here), factor, float(target))
    return there if epsilon == float(target) else None


def epsilon_range(search: Search, x: Sequence[float]) -> tuple[float, float | None]:
    """The epsilons up to which a solution can be followed from ``x``, to about 1e-6; None for no upper end."""
    assert search.program.epsilon is not None
    epsilon = float(search.program.epsilon)
    low, _ = _followed(search, x, epsilon, 0.25, _LEAST)
    high, _ = _followed(search, x, max(epsilon, _LEAST), 2.0, _ANY_SIZE)
    return 0.0 if low <= 100 * _LEAST else low, None if high >= _ANY_SIZE else high


def _followed(
    search: Search, x: Sequence[float], epsilon: float, factor: float, end: float
) -> tuple[float, tuple[float, ...]]:
    """The last epsilon with a solution, and that, towards ``end`` by ``factor``; then by halves of the last step."""
    x = tuple(x)
    for _ in range(_FOLLOWED):
        following = max(epsilon * factor, end) if factor < 1 else min(epsilon * factor, end)
        found = search.at_epsilon(following, x)
        if found is None:
            factor = math.sqrt(factor)
            if abs(factor - 1) < 1e-7:
                return epsilon, x
            continue
        x, epsilon = found, following
        if epsilon == end:
            return end, x
    return epsilon, x
