"""Why there is no solution, and for which other epsilons there is one."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from snn_cli.errors import NoSolution
from snn_cli.program.free.search import FALLS, MAGNITUDES, NAMES, Search

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snn_cli.program.free.search import Fall

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


def unsolved(search: Search) -> NoSolution:
    """Why there is no solution: where gamma falls for ever, else which condition fails."""
    program = search.program
    if len(program.free) > len(program.conditions):
        fall = search.falling(None)
        if fall is not None:
            return falls(fall)
    if not search.seen:
        return NoSolution(
            "no solution: the expectations over a normal input are finite nowhere in the search",
            "an expression that grows less",
        )
    words = {
        "second_moment": "E[f^2] = 1",
        "chi": f"E[f'^2] = {float(1 + (program.epsilon or 0))!r}",
        "mean": "E[f] = 0",
    }
    return _unmet(search, words) or _elsewhere(search, words) or _together(search, words)


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


def _elsewhere(search: Search, words: Mapping[str, str]) -> NoSolution | None:
    """Where there is a solution at another epsilon."""
    program = search.program
    ends = None if program.epsilon is None else _somewhere(search)
    if program.epsilon is None or ends is None:
        return None
    others = " and ".join((*(words[n] for n in program.conditions if n != "chi"), *map(str, program.bounds)))
    side = f"up to {ends[1]:.7g}" if ends[1] is not None else "of any size"
    may = ", and the range may be wider" if ends[1] is not None or ends[0] else ""
    return NoSolution(
        f"no solution at epsilon = {float(program.epsilon)!r}: with {others} there is one from "
        f"{ends[0]:.7g} {side}{may}; {_searched(search)}",
        f"--epsilon {float(f'{(ends[0] + (ends[1] or 1)) / 2:.2g}')!r}",
        ends,
    )


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


def _somewhere(search: Search) -> tuple[float, float | None] | None:
    """The range of epsilon from the first of a few others that has a solution."""
    for epsilon in _OTHERS:
        other = Search(replace(search.program, epsilon=Fraction(epsilon)), search)
        for x in other.starts()[:FALLS]:
            found = other.descend(x, roots=True)
            if found is not None:
                return epsilon_range(other, found.x)
    return None


def epsilon_range(search: Search, x: Sequence[float]) -> tuple[float, float | None]:
    """The epsilons up to which a solution can be followed from ``x``, to about 1e-6; None for no upper end."""
    assert search.program.epsilon is not None
    epsilon = float(search.program.epsilon)
    low = _followed(search, x, epsilon, 0.25, _LEAST)
    high = _followed(search, x, max(epsilon, _LEAST), 2.0, _ANY_SIZE)
    return 0.0 if low <= 100 * _LEAST else low, None if high >= _ANY_SIZE else high


def _followed(search: Search, x: Sequence[float], epsilon: float, factor: float, end: float) -> float:
    """The last epsilon with a solution on the way to ``end`` by ``factor``; then by halves of the last step."""
    x = tuple(x)
    for _ in range(_FOLLOWED):
        following = max(epsilon * factor, end) if factor < 1 else min(epsilon * factor, end)
        found = search.at_epsilon(following, x)
        if found is None:
            factor = math.sqrt(factor)
            if abs(factor - 1) < 1e-7:
                return epsilon
            continue
        x, epsilon = found, following
        if epsilon == end:
            return end
    return epsilon
