"""From a request to a record."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, SupportsIndex

from snn_cli.exact import Number, nearest_double
from snn_cli.problem import NEARLY_LINEAR, Problem
from snn_cli.records import Note, Params, Solution
from snn_cli.records.solution import MOMENTS
from snn_cli.solver.evaluation import Evaluation
from snn_cli.solver.feasible import feasible_range, stands_for_end
from snn_cli.solver.request import Request, check

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from snn_cli.solver.feasible import Feasible


def solve(
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
) -> Solution:
    """Parameters of ``act`` with ``E[f^2] = 1``, ``E[f'^2] = 1 + epsilon`` and the smallest gamma.

    act
        ``selu``, ``dselu``, ``lselu`` or ``sselu``. Any other activation f is wrapped: ``a f(b x + c) + d`` is solved.
    epsilon
        Backward gain minus one, at least 0. A str, int, Decimal or Fraction is exact, a float its exact binary value.
        ``"auto"``: where the typical gradient is preserved at ``fanin`` (zero drift). None with ``depth``: ``1/depth``.
    depth, fanin
        Positive integers; recorded, and used as just said.
    lam, lambda_min, zero_mean
        At most one: lambda itself, a lower bound on it (default 1), or ``E[f] = 0`` instead of either.
    digits
        1 to 10000: parameters and moments also as decimal strings of that many correct significant digits.
    certify
        Prove existence and uniqueness in interval arithmetic; needs the extra ``certify``.
    bound
        Of a wrapped activation: ``"b<=4"``, ``"d=0"``, ``"c>=0,c<=1"``, or several such texts. Without: ``1/32 <= b <=
        32``, ``|c| <= 6 max(1, b)`` and ``a <= 1e6`` are searched. Or of the free parameters: ``"l>=1"``.
    expr, set, free
        Instead of ``act``: a formula in x such as ``"where(x > 0, l*x, l*a*(exp(x) - 1))"``, values of its parameters,
        and the names of those to solve for. Without ``free`` it is wrapped. With as many free parameters as conditions
        epsilon may be left out where it is the activation's own.

    Moments are those of ``z ~ N(0, 1)``; with epsilon and gamma they are pure numbers, a layer each. Raises InputError
    for a value outside its domain, NoSolution where nothing meets the request, CannotCompute where a proof is out of
    reach, MissingExtra where ``certify`` is not installed. Source: theory, sections 2 and 3 (Chen et al., 2021); the
    drift of ``"auto"``: section 5 (Hanin and Nica, 2019).
    """
    request = check(
        act,
        epsilon,
        depth=depth,
        fanin=fanin,
        lam=lam,
        lambda_min=lambda_min,
        zero_mean=zero_mean,
        digits=digits,
        certify=certify,
        bound=bound,
        expr=expr,
        set=set,
        free=free,
    )
    if isinstance(request, Request):
        return _solve(request)
    from snn_cli.program.request import Wrap

    if isinstance(request, Wrap):
        from snn_cli.program import solving

        return solving.wrap(request)
    from snn_cli.program.free import record

    return record.solved(request)


def _solve(request: Request) -> Solution:
    family, requested, closure, bound, depth, fan_in, digits, certify = request
    problem = Problem(family, closure, requested if family.takes_epsilon else "own", bound, fan_in)
    feasible = feasible_range(problem)
    notes = [Note.EPSILON_FIXED] if _is_another(requested, problem, feasible) else []
    if isinstance(problem.epsilon, Fraction) and stands_for_end(problem, feasible):
        problem = problem._replace(epsilon="end")
        notes.append(Note.EPSILON_AT_END)

    found = Evaluation(problem, feasible.exact[1])
    values = found.decide(digits)
    doubles = {name: nearest_double(x) for name, x in values.items()}
    params = {name: doubles[name] for name in family.parameters}
    enclosure = None
    if certify:
        from snn_cli.certify import enclose

        enclosure = enclose(problem, found.state.values, doubles, digits, found.precision)
    return Solution(
        act=family.name,
        epsilon=doubles["epsilon"],
        closure=closure,
        depth=depth,
        fan_in=fan_in,
        params=Params(params),
        **{name: doubles[name] for name in MOMENTS},
        active_bounds=("lambda_min",) if closure == "lambda_min" else (),
        multiplier=doubles.get("multiplier"),
        residuals=Params(found.residuals(params)),
        monotone=found.monotone,
        self_normalizing=found.self_normalizing,
        feasible_epsilon=feasible.doubles,
        feasible_open=feasible.open,
        notes=(*notes, *_notes(problem, found, values)),
        digits=digits,
        decimals=None if digits is None else found.decimals(values, digits),
        enclosure=enclosure,
    )


def _is_another(requested: Fraction | str, problem: Problem, feasible: Feasible) -> bool:
    """Whether an epsilon was asked for that is not the family's own."""
    if problem.family.takes_epsilon or requested == "own":
        return False
    return not isinstance(requested, Fraction) or nearest_double(requested) != nearest_double(feasible.exact[0])


def _notes(problem: Problem, found: Evaluation, values: dict[str, Fraction]) -> list[Note]:
    """What a user must know about the solution."""
    facts = {
        Note.LAMBDA_BOUND_ACTIVE: problem.closure == "lambda_min"
        and (problem.epsilon == "end" or values["multiplier"] > 0),
        Note.NOT_MONOTONE: not found.monotone,
        Note.NEARLY_LINEAR: found.state.nonlinearity < NEARLY_LINEAR,
        Note.NOT_SELF_NORMALIZING: not found.self_normalizing,
        Note.FINITE_WIDTH_EXTRAPOLATED: problem.epsilon == "auto" and found.extrapolated(),
    }
    return [note for note, holds in facts.items() if holds]
