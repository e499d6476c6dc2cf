"""The record of an expression whose free parameters were found."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from snn_cli.arithmetic.multiprecision import context, fraction
from snn_cli.errors import CannotCompute, InputError
from snn_cli.exact import nearest_double
from snn_cli.program.free.absence import epsilon_range
from snn_cli.program.free.optimum import Optimum
from snn_cli.program.free.search import Program, Search
from snn_cli.program.free.solving import solve
from snn_cli.program.record import common_notes, decimals
from snn_cli.records import Note, Params, Solution
from snn_cli.records.solution import MOMENTS

if TYPE_CHECKING:
    from snn_cli.program.free.solving import Found
    from snn_cli.program.request import Free

_GENERIC = (0.83, -1.27, 0.41, 1.91, -0.57)  # values of parameters that nothing is special at
_TRIED = 3  # of their arrangements


def solved(request: Free) -> Solution:
    """The free parameters of an expression with the smallest gamma under its conditions and bounds.

    Raises NoSolution where they cannot be met, or gamma has no smallest value; CannotCompute where it cannot be told.
    """
    _refuse_jumps(request)
    search = Search(_program(request))
    program, digits = search.program, request.common.digits
    found = solve(search, digits)
    values = found.values | dict(request.settings)
    values["epsilon"] = values["chi"] - 1
    doubles = {name: nearest_double(x) for name, x in values.items()}
    params = {name: doubles[name] for name in request.baseline.parameters}
    try:
        request.baseline.check(params)
    except InputError as error:
        raise CannotCompute(
            f"the parameters with the smallest gamma are none of an activation: {error}", "--bound"
        ) from None
    point = [doubles[name] for name in program.free]
    own = doubles["epsilon"]
    ends = (own, own) if program.epsilon is None else epsilon_range(search, point)
    monotone = search.least_slope(point) >= 0
    facts = {
        Note.BOUND_ACTIVE: bool(found.active),
        Note.TIED: found.tied,
        Note.FEASIBLE_SEARCHED: program.epsilon is not None,
    }
    names = tuple(params) if program.epsilon is not None else (*params, "epsilon")
    return Solution(
        act=request.baseline.name,
        epsilon=own,
        closure="zero_mean" if program.zero_mean else "min_gamma",
        depth=request.common.depth,
        fan_in=request.common.fan_in,
        params=Params(params),
        **{name: doubles[name] for name in MOMENTS},
        active_bounds=tuple(map(str, found.active)),
        multiplier=nearest_double(found.multipliers[0]) if len(found.active) == 1 else None,
        residuals=Params(_residuals(program, found, point)),
        monotone=monotone,
        self_normalizing=-1 < doubles["gamma"] < 1,
        feasible_epsilon=ends,
        feasible_open=(False, ends[1] is None),
        notes=(*(note for note, holds in facts.items() if holds), *common_notes(doubles, monotone)),
        digits=digits,
        decimals=None if digits is None else decimals(names, values, digits),
        enclosure=None,
    )


def _program(request: Free) -> Program:
    epsilon = request.common.epsilon
    assert not isinstance(epsilon, str) or epsilon == "own"
    return Program(
        request.baseline,
        request.free,
        request.settings,
        epsilon if isinstance(epsilon, Fraction) else None,
        request.common.zero_mean,
        request.bounds,
    )


def _residuals(program: Program, found: Found, point: list[float]) -> dict[str, float]:
    """``E[f^2] - 1`` and ``E[f'^2] - (1 + epsilon)`` of the doubles."""
    mp = context(found.precision)
    moments = Optimum(program).moments(mp, [mp.mpf(x) for x in point])
    return {
        "second_moment": float(moments["second_moment"] - 1),
        "chi": float(fraction(moments["chi"]) - found.values["chi"]),
    }


def _refuse_jumps(request: Free) -> None:
    """Raises InputError for an expression that jumps wherever its parameters are tried."""
    settings = {name: nearest_double(value) for name, value in request.settings}
    for shift in range(_TRIED):
        values = (_GENERIC[(i + shift) % len(_GENERIC)] for i in range(len(request.free)))
        try:
            request.baseline.check(settings | dict(zip(request.free, values, strict=True)))
        except InputError as found:
            if " jumps by " not in str(found):
                return
            error = found
        else:
            return
    raise error
