"""A wrapped activation's record: the search, the polished optimum, and what a user must know about it."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.arithmetic.multiprecision import context, fraction
from snn_cli.errors import CannotCompute, NoSolution
from snn_cli.exact import decimal_string, nearest_double
from snn_cli.problem import LARGE_FLUCTUATION
from snn_cli.program.bounds import Bound, limits
from snn_cli.program.decide import Decided, decide
from snn_cli.program.kkt import Point
from snn_cli.program.record import common_notes, decimals
from snn_cli.program.wrap import AMPLITUDE, SCALE, SHIFT, Cone, Optimum, Problem, Search, starts
from snn_cli.records import Note, Params, Solution
from snn_cli.records.solution import MOMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.activations.family import Baseline
    from snn_cli.program.request import Wrap
    from snn_cli.program.wrap import Start

_GUARD = 64  # bits that cancellation may cost
_TIED = 2.0**-60
_BASE = 140  # bits at which candidates are compared
_SEEN = 14  # bits that a search in doubles gives
_PROBES = tuple(Fraction(k, 16) for k in (-77, -50, -31, -19, -11, -6, -3, 2, 5, 9, 17, 29, 44, 71))


def wrap(request: Wrap) -> Solution:
    """The wrapped activation ``a f(b x + c) + d`` that meets the definition with the smallest gamma.

    Raises NoSolution where none is in the box and within the bounds, CannotCompute where it cannot be told precisely.
    """
    import numpy as np

    baseline = request.baseline
    epsilon = request.common.epsilon
    auto = epsilon == "auto"
    redundant, scale, wide = _redundant(baseline), 1, 1
    if not any(bound.name in "abc" for bound in request.bounds):
        wide = _wide(baseline)
        if redundant is None:
            redundant, scale = _redundant(baseline, baseline.kinks(context(100), {})), wide
    first = epsilon if isinstance(epsilon, Fraction) else Fraction(1, request.common.fan_in or 1)
    fixed = _fixed(redundant, request.bounds, scale)
    problem = Problem(baseline, first, request.common.zero_mean, request.bounds, fixed)
    search = Search(problem, landscape(baseline))
    with np.errstate(all="ignore"):  # of an f that is as good as constant, or too large: what is not finite is no place
        if auto:
            from snn_cli.program import drift

            assert request.common.fan_in is not None
            problem = replace(problem, epsilon=Fraction(drift.root(search, request.common.fan_in)))
            search = Search(problem, search.landscape)
        ends, found = _searched(search)
        if not found and redundant == "b" and wide > scale:
            problem = replace(problem, fixed=_fixed(redundant, request.bounds, wide))
            search = Search(problem, search.landscape)
            ends, found = _searched(search)
    if not found:
        raise _none(search, ends)
    optimum, start, tied = _best(problem, search, found)
    evaluation = _Evaluation(optimum, start, request.common.fan_in if auto else None)
    return _record(request, search, ends, evaluation, tied, redundant)


def _searched(search: Search) -> tuple[tuple[float, float] | None, list[Start]]:
    """The feasible range of epsilon under the bounds, None where there is none, and candidates for the optimum."""
    problem = search.problem
    simple = not any(bound.name in ("a", "d") for bound in problem.bounds)
    ends: tuple[float, float] | None = None
    if simple and search.top >= 0:
        ends = (search.bottom if problem.zero_mean else 0.0, search.top)
    if problem.plain:
        found = starts(search)
        if all(_amplitude(search, *start.x[:2]) < AMPLITUDE * (1 - 1e-6) for start in found):
            return ends, found
    from snn_cli.program.constrained import Constrained

    constrained = Constrained(search)
    return ends if simple else constrained.ends(), constrained.starts()


def _amplitude(search: Search, b: float, c: float) -> float:
    return math.sqrt((1 + search.epsilon) / float(search.landscape.at(b, [c]).gain[0]))


def landscape(baseline: Baseline) -> Any:
    import numpy as np

    from snn_cli.program.landscape import Landscape

    kinks = [float(x) for x in baseline.kinks(None, {})]
    return Landscape(lambda x: baseline.function(np, x, {}), lambda x: baseline.derivative(np, x, {}), kinks)


def _redundant(baseline: Baseline, around: Sequence[Any] = ()) -> str | None:
    """``"b"`` where ``f(s + k (x - s))`` is affine in ``f(x)`` for every ``k > 0``, ``"c"`` where ``f(x + k)`` is.

    Then a, c and d do what b does, or a and d what c does. The centre s is 0, or a kink. Decided at fixed points, to 25
    digits, around 0 and what else is given: f may be constant at the former.
    """
    mp = context(100)
    precise = baseline.precise
    assert precise is not None

    def f(x: Any) -> Any:
        return precise(mp, x, {})[0]

    xs = [mp.mpf(x.numerator) / x.denominator for x in _PROBES]
    xs += [centre + x for centre in map(mp.mpf, around) for x in xs]
    ys = [f(x) for x in xs]
    low, high = min(range(len(ys)), key=ys.__getitem__), max(range(len(ys)), key=ys.__getitem__)
    if ys[low] == ys[high]:
        return None
    ks = (mp.mpf(3) / 8, mp.mpf(7) / 4)
    for centre in dict.fromkeys((mp.mpf(0), *map(mp.mpf, baseline.kinks(mp, {})))):
        if all(_affine(ys, [f(centre + k * (x - centre)) for x in xs], low, high, mp) for k in ks):
            return "b"
    return "c" if all(_affine(ys, [f(x + k) for x in xs], low, high, mp) for k in ks) else None


def _affine(ys: Sequence[Any], moved: Sequence[Any], low: int, high: int, mp: Any) -> bool:
    slope = (moved[high] - moved[low]) / (ys[high] - ys[low])
    size = max(abs(y) for y in (*ys, *moved))
    return all(
        abs(moved[low] + slope * (y - ys[low]) - other) <= size * mp.mpf(2) ** -80
        for y, other in zip(ys, moved, strict=True)
    )


def _wide(baseline: Baseline) -> int:
    """A b for which the box of c holds the kinks, and as much again; 1 where it holds them with that."""
    farthest = max((abs(float(x)) for x in baseline.kinks(None, {})), default=0.0)
    return 1 if farthest < SHIFT - 0.5 else min(SCALE, math.ceil(2 * farthest / SHIFT))


def _fixed(redundant: str | None, bounds: Sequence[Bound], scale: int = 1) -> tuple[Bound, ...]:
    """A redundant b at ``scale`` or c at 0, or at the nearest value that its bounds leave.

    Not where others are bounded too that it could help: then it is searched.
    """
    if redundant is None:
        return ()
    value = Fraction(scale if redundant == "b" else 0)
    if any(bound.name == redundant for bound in bounds):
        if any(bound.name == "a" or (bound.name == "c" and bound.value) for bound in bounds if bound.name != redundant):
            return ()
        low, high = limits(bounds, redundant)
        value = value if low is None else max(value, low)
        value = value if high is None else min(value, high)
    return (Bound(redundant, "=", value, chosen=False),)


def _none(search: Search, ends: tuple[float, float] | None) -> NoSolution | CannotCompute:
    """Why there is no solution: f is a line or constant, or epsilon is outside the range that the bounds leave.

    Or there may be one, and the search cannot see f' where f changes.
    """
    problem = search.problem
    name = problem.baseline.name
    if not search.landscape.sees:
        return CannotCompute(
            f"{name} changes too fast for its slope to be seen, or too little beside its size",
            "a smaller factor on x, or a smaller constant",
        )
    if ends is not None and ends[1] < 1e-9 and not problem.bounds:
        return NoSolution(
            f"{name} is a line, or as good as one where it was searched, and has no solution at epsilon = "
            f"{_shown(problem.epsilon)}: only a line has E[f'^2] = Var f (Gaussian Poincare), every other f has more",
            "--act gelu --epsilon 0.02",
            (0.0, 0.0),
        )
    where = ", ".join(str(bound) for bound in problem.limits if not isinstance(bound, Cone) or bound.side > 0)
    where = where.replace("c<=6*max(1,b)", "|c|<=6*max(1,b)") + (", zero mean" if problem.zero_mean else "")
    if ends is None or ends[1] < ends[0] or ends[1] < 0:
        return NoSolution(
            f"{name} has no solution as a*f(b*x + c) + d with {where}, for any epsilon",
            "leave out --bound" if problem.bounds else "an expression that changes nearer to x = 0",
            None,
        )
    lo, hi = max(ends[0], 0.0), ends[1]
    return NoSolution(
        f"{name} has no solution at epsilon = {_shown(problem.epsilon)} as a*f(b*x + c) + d with {where}; "
        f"it has one for {lo!r} <= epsilon <= {hi!r}",
        f"--epsilon {_inside(problem.epsilon, lo, hi)}, or another --bound",
        (lo, hi),
    )


def _inside(epsilon: Fraction, lo: float, hi: float) -> str:
    """The nearest end of the range, to four digits inside it."""
    if epsilon > hi:
        return decimal_string(Fraction(hi), 4, "ROUND_FLOOR")
    return decimal_string(Fraction(lo), 4, "ROUND_CEILING")


def _shown(x: Fraction) -> str:
    return repr(nearest_double(x)).removesuffix(".0")


class _Chosen(NamedTuple):
    point: Point
    active: tuple[Bound | Cone, ...]


def _best(problem: Problem, search: Search, found: Sequence[Start]) -> tuple[Optimum, _Chosen, bool]:
    """The candidate with the smallest gamma, polished; of equal ones that with the largest c."""
    moments = search.landscape.at(found[0].x[0], [found[0].x[1]])
    scale = math.sqrt(float(moments.variance[0]) + float(moments.mean[0]) ** 2)
    optimum = Optimum(problem, (scale, math.sqrt(float(moments.gain[0])) / found[0].x[0]))
    polished: list[tuple[Any, _Chosen]] = []
    mp = context(_BASE)
    for start in found:
        try:
            chosen = _polish(optimum, _Chosen(Point([mp.mpf(x) for x in start.x], []), start.active), _SEEN, _BASE)
        except CannotCompute:
            if start is found[-1] and not polished:
                raise
            continue
        polished.append((optimum.at(mp, chosen.point.x)[1]["gamma"].value, chosen))
    least = min(gamma for gamma, _ in polished)
    equal: list[_Chosen] = []
    for gamma, chosen in polished:
        x = chosen.point.x
        if gamma - least < _TIED and all(
            max(abs(v - w) for v, w in zip(x, o.point.x, strict=True)) > _TIED for o in equal
        ):
            equal.append(chosen)
    return optimum, max(equal, key=lambda chosen: chosen.point.x[1]), len(equal) > 1


def _polish(optimum: Optimum, chosen: _Chosen, accuracy: int, precision: int) -> _Chosen:
    """The stationary point at that precision; bounds whose multiplier has the wrong sign are let go."""
    while True:
        point = optimum.polish(chosen.point, chosen.active, accuracy, precision, _GUARD)
        mus = point.multipliers[len(point.multipliers) - len(chosen.active) :]
        wrong = [
            bound
            for bound, mu in zip(chosen.active, mus, strict=True)
            if (bound.relation == ">=" and mu < 0) or (bound.relation == "<=" and mu > 0)
        ]
        if not wrong:
            return _Chosen(point, chosen.active)
        kept = tuple(bound for bound in chosen.active if bound is not wrong[0])
        chosen, accuracy = _Chosen(Point(chosen.point.x, []), kept), _SEEN


class _Evaluation:
    """The optimum at rising precision: each evaluation starts from the one before.

    ``fan_in`` is None unless epsilon is the root of the drift there.
    """

    def __init__(self, optimum: Optimum, start: _Chosen, fan_in: int | None) -> None:
        self.optimum, self.fan_in = optimum, fan_in
        self.chosen, self._accuracy = start, _BASE - _GUARD
        inequalities = _inequalities(start)
        self._bound = inequalities[0] if len(inequalities) == 1 else None

    def __call__(self, precision: int) -> dict[str, Any]:
        """Everything that is printed, at a precision in bits."""
        optimum, mp = self.optimum, context(precision)
        if self.fan_in is not None:
            self.chosen = _without_drift(optimum, self.chosen, self.fan_in, precision)
            self._accuracy = precision - _GUARD
        start = Point([mp.mpf(v) for v in self.chosen.point.x], list(self.chosen.point.multipliers))
        chosen = _polish(optimum, _Chosen(start, self.chosen.active), self._accuracy, precision)
        self.chosen, self._accuracy = chosen, precision - _GUARD
        sums, found = optimum.at(mp, chosen.point.x)
        epsilon = mp.mpf(optimum.problem.epsilon.numerator) / optimum.problem.epsilon.denominator
        values = {name: found[name].value for name in "abcd"} | {
            "mean": found["m"].value,
            "second_moment": mp.mpf(1),
            "gamma": found["gamma"].value,
            "epsilon": epsilon,
            "chi": 1 + epsilon,
            "kappa": sums.fourth / sums.slope[0] ** 2,
            "mean_slope": found["a"].value * sums.value[1],
        }
        if self._bound is not None:
            mus = dict(zip(chosen.active[::-1], chosen.point.multipliers[::-1], strict=False))
            values["multiplier"] = mus[self._bound]
        return values

    def exact(self) -> dict[str, Fraction]:
        """What is known as rationals."""
        problem = self.optimum.problem
        exact = {"second_moment": Fraction(1)}
        exact |= {} if self.fan_in is not None else {"chi": 1 + problem.epsilon, "epsilon": problem.epsilon}
        exact |= {bound.name: bound.value for bound in self.chosen.active if isinstance(bound, Bound)}
        exact |= {"mean": Fraction(0)} if problem.zero_mean else {}
        return exact

    def extrapolated(self) -> bool:
        """Whether the expansion behind ``auto`` is stretched: delta strays from 0 by half."""
        from snn_cli.program import drift

        if self.fan_in is None:
            return False
        mp = context(_BASE)
        found = self.optimum.at(mp, [mp.mpf(v) for v in self.chosen.point.x])[1]
        rates = drift.at(mp, self.optimum, [found[name].value for name in "abcd"], self.fan_in)
        return bool(rates.q_variance > LARGE_FLUCTUATION)


def _inequalities(chosen: _Chosen) -> list[Bound | Cone]:
    return [bound for bound in chosen.active if bound.relation != "="]


def _record(
    request: Wrap,
    search: Search,
    ends: tuple[float, float] | None,
    evaluation: _Evaluation,
    tied: bool,
    redundant: str | None,
) -> Solution:
    common, start = request.common, evaluation.chosen
    decided = decide(evaluation, evaluation.exact(), common.digits, _GUARD)
    doubles = {name: nearest_double(x) for name, x in decided.values.items()}
    params = {name: doubles[name] for name in "abcd"}
    epsilon = doubles["epsilon"]
    monotone = search.landscape.least_slope() >= 0
    notes = [*_bound_notes(start, redundant), *([Note.MIRRORED] if tied else []), *common_notes(doubles, monotone)]
    if evaluation.extrapolated():
        notes.append(Note.FINITE_WIDTH_EXTRAPOLATED)
    names = tuple("abcd") if evaluation.fan_in is None else (*"abcd", "epsilon")
    return Solution(
        act=request.act,
        epsilon=epsilon,
        closure="zero_mean" if common.zero_mean else "min_gamma",
        depth=common.depth,
        fan_in=common.fan_in,
        params=Params(params),
        **{name: doubles[name] for name in MOMENTS},
        active_bounds=tuple(map(str, _inequalities(start))),
        multiplier=doubles.get("multiplier"),
        residuals=Params(_residuals(evaluation.optimum, decided, params)),
        monotone=monotone,
        self_normalizing=-1 < doubles["gamma"] < 1,
        feasible_epsilon=(max(ends[0], 0.0), ends[1]) if ends else (epsilon, epsilon),
        feasible_open=(False, False),
        notes=tuple(notes),
        digits=common.digits,
        decimals=None if common.digits is None else decimals(names, decided.values, common.digits),
        enclosure=None,
    )


def _bound_notes(chosen: _Chosen, redundant: str | None) -> list[Note]:
    """What is to be said of active bounds: the user's, those of the box, and what is fixed for being redundant."""
    inequalities = _inequalities(chosen)
    fixed = [bound.name for bound in chosen.active if isinstance(bound, Bound) and not bound.chosen]
    facts = {
        Note.BOUND_ACTIVE: any(bound.chosen for bound in inequalities),
        Note.SEARCH_EDGE: any(not bound.chosen for bound in inequalities),
        Note.SCALE_REDUNDANT: redundant == "b" and redundant in fixed,
        Note.SHIFT_REDUNDANT: redundant == "c" and redundant in fixed,
    }
    return [note for note, holds in facts.items() if holds]


def _without_drift(optimum: Optimum, chosen: _Chosen, fan_in: int, precision: int) -> _Chosen:
    """The optimum at the epsilon of zero drift, which it leaves in the problem: the secant on optima.

    Raises CannotCompute where it does not settle.
    """
    from snn_cli.program import drift

    mp = context(precision)

    def at(epsilon: Any) -> tuple[Any, _Chosen]:
        optimum.problem = replace(optimum.problem, epsilon=fraction(epsilon))
        start = Point([mp.mpf(v) for v in chosen.point.x], [mp.mpf(v) for v in chosen.point.multipliers])
        here = _polish(optimum, _Chosen(start, chosen.active), _SEEN, precision)
        found = optimum.at(mp, here.point.x)[1]
        return drift.at(mp, optimum, [found[name].value for name in "abcd"], fan_in).drift, here

    epsilon = mp.mpf(optimum.problem.epsilon.numerator) / optimum.problem.epsilon.denominator
    before, chosen = at(epsilon)
    step = -epsilon / 2**24
    for _ in range(30):
        value, chosen = at(epsilon + step)
        epsilon, slope, before = epsilon + step, (value - before) / step, value
        step = -value / slope
        if not value or mp.mag(step) < mp.mag(epsilon) - (precision - _GUARD // 2):
            return chosen
    raise CannotCompute("the epsilon of zero drift could not be polished", "--epsilon 0.02")


def _residuals(optimum: Optimum, decided: Decided, params: dict[str, float]) -> dict[str, float]:
    """``E[F^2] - 1`` and ``E[F'^2] - (1 + epsilon)`` of the doubles."""
    mp = context(decided.precision)
    exact = decided.values["epsilon"]
    a, b, c, d = (mp.mpf(params[name]) for name in "abcd")
    sums = optimum.quadrature.sums(mp, b, c, *optimum.sizes)
    epsilon = mp.mpf(exact.numerator) / exact.denominator
    return {
        "second_moment": float(a * a * sums.square[0] + 2 * a * d * sums.value[0] + d * d - 1),
        "chi": float(a * a * b * b * sums.slope[0] - 1 - epsilon),
    }
