"""Solve an activation's parameters: minimise gamma subject to the two moment conditions and a bound on lambda.

A family gives the few parameter sets that can be the optimum, in closed form or by one scalar root; here the right one
is chosen by the theory's rule, evaluated at rising precision until every printed digit is decided, and rounded once.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

from snn_cli import activations
from snn_cli.arithmetic.dual import DualArithmetic
from snn_cli.arithmetic.multiprecision import Multiprecision, NoConvergence, fraction
from snn_cli.errors import CannotCompute, InputError, NoSolution
from snn_cli.exact import (
    Number,
    decimal_string,
    nearest_double,
    positive_integer,
    rational,
    shown,
)
from snn_cli.gaussian import moments
from snn_cli.records import Note, Params, Solution

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from snn_cli.activations.family import Family, Interval, Values
    from snn_cli.arithmetic.protocol import Arithmetic, SolvingArithmetic, Value
    from snn_cli.program.request import Free, Wrap

MOMENTS = ("mean", "second_moment", "chi", "gamma", "kappa", "mean_slope")

MAX_DIGITS = 10_000

NEARLY_LINEAR = 1e-3
"""Share of ``E[f^2]`` outside the constant and linear Hermite modes below which f is called nearly linear."""

LARGE_FLUCTUATION = 0.25
"""Stationary ``Var(delta)``, a deviation of one half, from which the expansion in delta is called extrapolated."""

_MARGIN = 24  # bits beyond those printed
_AUTO_FACTOR = Fraction(5, 4)
_AUTO_LOW = Fraction(1, 1000)  # of 1/N
_AUTO_END = 10**6


class Problem(NamedTuple):
    """What is asked, in exact numbers.

    epsilon
        A rational; ``"auto"`` for the root of the drift at ``fan_in``; ``"end"`` for the upper end of the feasible
        range; ``"own"`` for a family that has its own.
    lam
        Lambda where the closure gives it.
    """

    family: Family
    closure: str
    epsilon: Fraction | str
    lam: Fraction | None
    fan_in: int | None

    @property
    def conditions(self) -> tuple[str, ...]:
        """The moment conditions that hold at the solution."""
        return self.family.closures[self.closure]

    @property
    def free(self) -> tuple[str, ...]:
        """The parameters that the conditions determine."""
        return tuple(p for p in self.family.parameters if p != "lambda" or self.lam is None)

    def exact_values(self) -> dict[str, Fraction]:
        """Parameters and moments that are known as rationals."""
        exact = {}
        if self.lam is not None:
            exact["lambda"] = self.lam
        if "mean" in self.conditions:
            exact["mean"] = Fraction(0)
        if "second_moment" in self.conditions:
            exact["second_moment"] = Fraction(1)
        if isinstance(self.epsilon, Fraction):
            exact["epsilon"] = self.epsilon
            exact["chi"] = 1 + self.epsilon
        return exact


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
    if expr is not None and act is not None:
        raise InputError("--expr gives the activation; it contradicts --act", "leave out --act")
    if expr is None and not isinstance(act, str):
        raise InputError(f"act must be the name of one activation, not {act!r}", "--act lselu")
    if expr is None and (set or free):
        option = "--set" if set else "--free"
        raise InputError(f"{option} is about the parameters of --expr, and there is no --expr", f"leave out {option}")
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
        needed = not free
        if free and isinstance(epsilon, str) and epsilon.strip() == "auto":
            raise InputError("--epsilon auto is for families and what is wrapped, not for --free", "--epsilon 0.02")
        common = programs.Common(_epsilon(name, needed, epsilon, depth, fan_in), zero_mean, depth, fan_in, digits)
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

    Raises InputError for a value outside its domain, NoSolution where nothing meets the request, CannotCompute where a
    proof or an extra is out of reach.
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
    from snn_cli.program import request as programs
    from snn_cli.program import solving

    return solving.free(request) if isinstance(request, programs.Free) else solving.wrap(request)


def _solve(request: Request) -> Solution:
    family, requested, closure, bound, depth, fan_in, digits, certify = request
    problem = Problem(family, closure, requested if family.takes_epsilon else "own", bound, fan_in)
    feasible = _feasible(problem)
    notes = []
    if not family.takes_epsilon and (requested == "auto" or isinstance(requested, Fraction)):
        own = nearest_double(feasible.exact[0])
        if not isinstance(requested, Fraction) or nearest_double(requested) != own:
            notes.append(Note.EPSILON_FIXED)
    if isinstance(problem.epsilon, Fraction) and _checked(problem, feasible):
        problem = Problem(family, closure, "end", bound, fan_in)
        notes.append(Note.EPSILON_AT_END)

    found = _Evaluation(problem, feasible.exact[1])
    values = found.decide(digits)
    state = found.state
    monotone, self_normalizing = found.signs["least_slope"] >= 0, found.signs["attraction"] > 0
    if closure == "lambda_min" and (problem.epsilon == "end" or values["multiplier"] > 0):
        notes.append(Note.LAMBDA_BOUND_ACTIVE)
    if not monotone:
        notes.append(Note.NOT_MONOTONE)
    if state.nonlinearity < NEARLY_LINEAR:
        notes.append(Note.NEARLY_LINEAR)
    if not self_normalizing:
        notes.append(Note.NOT_SELF_NORMALIZING)
    if problem.epsilon == "auto" and found.extrapolated():
        notes.append(Note.FINITE_WIDTH_EXTRAPOLATED)

    doubles = {name: nearest_double(x) for name, x in values.items()}
    params = {name: doubles[name] for name in family.parameters}
    enclosure = None
    if certify:
        from snn_cli.certify import enclose

        enclosure = enclose(problem, state.values, doubles, digits, found.precision)
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
        monotone=monotone,
        self_normalizing=self_normalizing,
        feasible_epsilon=feasible.doubles,
        feasible_open=feasible.open,
        notes=tuple(notes),
        digits=digits,
        decimals=None if digits is None else found.decimals(values, digits),
        enclosure=enclosure,
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


class _Feasible(NamedTuple):
    """The feasible range of epsilon: ends as rationals close to the exact values, and as records hold them."""

    exact: tuple[Fraction, Fraction | None]
    open: tuple[bool, bool]

    @property
    def doubles(self) -> tuple[float, float | None]:
        lo, hi = self.exact
        return nearest_double(lo), None if hi is None else nearest_double(hi)

    def __str__(self) -> str:
        lo, hi = self.doubles
        left = f"{repr(lo).removesuffix('.0')} {'<' if self.open[0] else '<='} epsilon"
        return left if hi is None else f"{left} {'<' if self.open[1] else '<='} {hi!r}"


def _interval(problem: Problem, lam: Fraction | None, bits: int = 53 + _MARGIN) -> Interval | None:
    """The feasible range of epsilon with that lambda, to ``bits`` bits."""
    guard = _guard(problem.epsilon if isinstance(problem.epsilon, Fraction) else None, lam)
    ar = Multiprecision(bits + guard)  # by default the precision of the first evaluation: one context serves both
    return problem.family.feasible(ar, problem.closure, None if lam is None else ar.number(lam))


def _feasible(problem: Problem) -> _Feasible:
    """The feasible range, at rising precision until the doubles of its ends, and epsilon's side of them, are decided.

    Raises NoSolution where there is none for any epsilon.
    """
    bits = 53 + _MARGIN
    interval = _interval(problem, problem.lam)
    if interval is None:
        option = f"--{problem.closure.replace('_', '-')}"
        raise NoSolution(
            f"{problem.family.name} has no solution for any epsilon with {option} {_shown(problem.lam)}: "
            "E[f^2] = 1 needs lambda below sqrt(2) = 1.4142135623730951",
            _smaller(problem),
        )
    least = _least(problem)
    while True:
        lo = fraction(interval.lo)
        hi = None if interval.hi is None else fraction(interval.hi)
        ends = [lo] if hi is None else [lo, hi]
        if all(_end_decided(end, abs(end) / (1 << bits), problem.epsilon, least) for end in ends):
            return _Feasible((lo, hi), (interval.lo_open, interval.hi_open))
        bits *= 2
        interval = _interval(problem, problem.lam, bits)
        assert interval is not None


def _end_decided(end: Fraction, error: Fraction, epsilon: Fraction | str, least: Fraction) -> bool:
    """Whether an end known to ``error`` has its double, and lies on its side of epsilon, or is as good as epsilon."""
    if isinstance(epsilon, Fraction) and least < error and abs(epsilon - end) <= 2 * error:
        return False
    return nearest_double(end - error) == nearest_double(end + error) or error < least


def _checked(problem: Problem, feasible: _Feasible) -> bool:
    """Whether epsilon stands for the closed upper end: it lies above, but rounds to the same double.

    Raises NoSolution where epsilon is outside the feasible range.
    """
    epsilon = problem.epsilon
    assert isinstance(epsilon, Fraction)
    lo, hi = feasible.exact
    below = epsilon < lo or (epsilon == lo and feasible.open[0])
    above = hi is not None and (epsilon > hi or (epsilon == hi and feasible.open[1]))
    if not below and not above:
        return False
    if above and hi is not None and not feasible.open[1] and nearest_double(epsilon) == nearest_double(hi):
        return True
    closure = {
        "lambda_min": f" with lambda >= {_shown(problem.lam)}",
        "lambda": f" with lambda = {_shown(problem.lam)}",
        "zero_mean": " with zero mean",
    }.get(problem.closure, "")
    raise NoSolution(
        f"{problem.family.name} has no solution at epsilon = {_shown(epsilon)}{closure}; it has one for {feasible}",
        _advice(problem, epsilon, feasible),
        feasible.doubles,
    )


def _advice(problem: Problem, epsilon: Fraction, feasible: _Feasible) -> str:
    lo, hi = feasible.exact
    if hi is None or epsilon <= lo:
        return "--epsilon 0.001"
    advice = f"--epsilon {decimal_string(hi, 4, 'ROUND_FLOOR')}"
    if problem.lam is None:
        return advice
    lam = _reaching(problem, problem.lam / 2)
    return advice if lam is None else f"{advice}, or --{problem.closure.replace('_', '-')} {_shown(lam)}"


def _smaller(problem: Problem) -> str:
    """What to type instead of a lambda that is too large at any epsilon."""
    lam = _reaching(problem, Fraction(1))
    option = f"--{problem.closure.replace('_', '-')}"
    return f"{option} 1 --epsilon 0.03" if lam is None else f"{option} {_shown(lam)}"


def _reaching(problem: Problem, lam: Fraction) -> Fraction | None:
    """Of ``lam, lam/2, lam/4 ...`` the first with which the problem's epsilon is inside the feasible range."""
    epsilon = problem.epsilon
    for halvings in range(11):
        interval = _interval(problem, lam / (1 << halvings))
        if interval is None:
            continue
        if not isinstance(epsilon, Fraction):
            return lam / (1 << halvings)
        above = epsilon > fraction(interval.lo) or (epsilon == fraction(interval.lo) and not interval.lo_open)
        if above and (interval.hi is None or fraction(interval.hi) > epsilon):
            return lam / (1 << halvings)
    return None


def _shown(x: Fraction | None) -> str:
    return repr(nearest_double(x or Fraction(0))).removesuffix(".0")


def _guard(epsilon: Fraction | None, lam: Fraction | None, gap: Fraction | None = None) -> int:
    """Bits that cancellation may cost: in proportion to how far from 1 the numbers are that divide or are divided.

    ``2 - lambda^2`` is what the positive side leaves to the negative one; ``gap`` is the distance of epsilon from the
    upper end of the feasible range, relative to the end.
    """
    numbers = (epsilon, lam, lam and 2 - lam * lam, gap)
    size = max((abs(x.numerator.bit_length() - x.denominator.bit_length()) for x in numbers if x), default=0)
    return 40 + 6 * size


def _least(problem: Problem) -> Fraction:
    """Below this a value that could also be zero is taken as zero.

    What is not zero by an identity is, at numbers of ``b`` bits in all, hardly smaller than ``2^-b``: as near as
    fractions of so many bits come to an irrational one.
    """
    given = [x for x in (problem.epsilon, problem.lam) if isinstance(x, Fraction)]
    bits = sum(x.numerator.bit_length() + x.denominator.bit_length() for x in given)
    return Fraction(1, 1 << bits + (problem.fan_in or 0).bit_length() + 64)


class _State(NamedTuple):
    """One evaluation of a problem: what is printed, and numbers of which only the sign is asked, at some precision."""

    values: dict[str, Value]
    signed: dict[str, Value]
    nonlinearity: float


class _Evaluation:
    """A problem evaluated at rising precision until every value is decided.

    ``index`` is the family's candidate that the theory's rule chooses, ``precision`` and ``state`` the last ones,
    ``signs`` the decided signs of what ``state`` has as ``signed``.
    """

    def __init__(self, problem: Problem, end: Fraction | None = None) -> None:
        self.problem = problem
        self.index: int | None = None
        self.start: Value | None = None
        if problem.epsilon == "auto":
            assert problem.fan_in is not None
            self.guard = _guard(Fraction(1, problem.fan_in), problem.lam) + 64
            self.index, self.start = _drift_root(problem, self.guard)
        elif isinstance(problem.epsilon, Fraction):
            self.guard = _guard(problem.epsilon, problem.lam, end and 1 - problem.epsilon / end)
        else:
            self.guard = _guard(None, problem.lam)
        self.ar: Multiprecision | None = None
        self.precision = 0
        self.state: _State
        self.signs: dict[str, int]

    def evaluate(self, precision: int) -> _State:
        """Everything that is printed, at a precision in bits."""
        problem, family = self.problem, self.problem.family
        ar = self.ar = Multiprecision(precision, self.guard, self.ar)
        epsilon = self._epsilon()
        candidates = _candidates(ar, problem, epsilon)
        if self.index is None:
            self.index = _choose(ar, family, candidates)
        params = candidates[self.index]
        found = moments(family.shape(ar, params))
        values = dict(params)
        values.update((name, getattr(found, name)) for name in MOMENTS)
        values["epsilon"] = epsilon
        if problem.closure == "lambda_min" and problem.epsilon != "end":  # there the slope is infinite
            values["multiplier"] = _multiplier(ar, problem, self.index, epsilon)
        return _State(
            values=values,
            signed={"least_slope": family.least_slope(ar, params), "attraction": 1 - found.gamma},
            nonlinearity=float(found.second_moment - found.mean**2 - found.mean_slope**2),
        )

    def _epsilon(self) -> Value:
        ar, problem = self.ar, self.problem
        assert ar is not None
        if isinstance(problem.epsilon, Fraction):
            return ar.number(problem.epsilon)
        if problem.epsilon == "auto":
            return ar.exp(ar.root(self._drift, lambda a: a.log(self.start)))
        interval = problem.family.feasible(ar, problem.closure, _lam(ar, problem))
        assert interval is not None
        return interval.hi

    def _drift(self, ar: SolvingArithmetic, log_epsilon: Value) -> Value:
        return _drift(ar, self.problem, self.index or 0, ar.exp(log_epsilon))

    def decide(self, digits: int | None) -> dict[str, Fraction]:
        """Rationals that round to the same doubles, and decimals of ``digits`` digits, as the exact values.

        Two precisions give each value and a bound on its error; the precision rises until no rounding, and no sign,
        depends on it (Ziv's strategy). What is known exactly is taken as it is.
        """
        wanted = 53 if digits is None else max(53, digits * 3322 // 1000 + 4)
        precision = wanted + self.guard + _MARGIN
        least = _least(self.problem)
        highest = 32 * precision + 4 * least.denominator.bit_length()
        previous = self.evaluate(precision)
        while precision < highest:
            precision += 64
            current = self.evaluate(precision)
            self.state, self.precision = current, precision
            try:
                values = self._values(current, previous, digits, least)
            except OverflowError:
                raise CannotCompute("the solution has a number too large for a double", "--epsilon 0.03") from None
            if values is not None:
                return values
            previous = current
            precision = precision * 3 // 2
        raise CannotCompute("the digits asked for could not be decided", "--digits 50")

    def _values(
        self, current: _State, previous: _State, digits: int | None, least: Fraction
    ) -> dict[str, Fraction] | None:
        """What ``current`` has, less what is zero; None where rounding it could depend on its errors."""
        exact = self.problem.exact_values()
        unit = Fraction(1, 1 << self.precision - self.guard)
        values = {}
        for name, value in current.values.items():
            if name in exact:
                values[name] = exact[name]
                continue
            here, error = self._error(value, previous.values[name])
            if abs(here) >= least and _same(here - error, here + error, digits):
                values[name] = here
            elif max(abs(here), unit) + error < least:  # a 0 may be two numbers that differ by less than a unit
                values[name] = Fraction(0)
            else:
                return None
        self.signs = {}
        for name, value in current.signed.items():
            here, error = self._error(value, previous.signed[name])
            if abs(here) >= max(error, least):
                self.signs[name] = 1 if here > 0 else -1
            elif abs(here) + error < least:
                self.signs[name] = 0
            else:
                return None
        return values

    def _error(self, value: Value, before: Value) -> tuple[Fraction, Fraction]:
        """The rational value and a bound on its error: the last change, but no less than the guard bits leave."""
        here = fraction(value)
        return here, max(abs(here - fraction(before)), abs(here) / (1 << self.precision - self.guard))

    def decimals(self, values: dict[str, Fraction], digits: int) -> tuple[tuple[str, str], ...]:
        names = (*self.problem.family.parameters, *MOMENTS)
        if "epsilon" not in self.problem.exact_values():
            names = (*names, "epsilon")
        return tuple((name, decimal_string(values[name], digits)) for name in names)

    def residuals(self, params: dict[str, float]) -> dict[str, float]:
        """``E[f^2] - 1`` and ``E[f'^2] - (1 + epsilon)`` of the doubles, at the final precision."""
        ar = Multiprecision(self.precision, self.guard)
        found = moments(self.problem.family.shape(ar, {k: ar.number(Fraction(v)) for k, v in params.items()}))
        return {
            "second_moment": float(found.second_moment - 1),
            "chi": float(found.chi - 1 - self.state.values["epsilon"]),
        }

    def extrapolated(self) -> bool:
        """Whether the expansion behind ``auto`` is stretched at the problem's fan-in.

        It is when the correction to its wide-layer limit ``epsilon N = 1`` is as large as the limit itself, or when the
        stationary second moment strays from 1 by half.
        """
        from snn_cli.propagation.finite_width import gradient_drift

        fan_in, family, values = self.problem.fan_in, self.problem.family, self.state.values
        assert fan_in is not None
        ar = Multiprecision(self.precision, self.guard)
        shape = family.shape(ar, {p: values[p] for p in family.parameters})
        spread = gradient_drift(ar, shape, fan_in).q_variance
        return bool(values["epsilon"] * fan_in > 2 or spread > LARGE_FLUCTUATION)


def _negligible(precision: int) -> Fraction:
    """Below this two gammas differ by rounding error alone: the guard bits keep those of two branches apart."""
    return Fraction(1, 1 << (3 * precision) // 4)


def _same(lo: Fraction, hi: Fraction, digits: int | None) -> bool:
    if nearest_double(lo) != nearest_double(hi):
        return False
    return digits is None or decimal_string(lo, digits) == decimal_string(hi, digits)


def _lam(ar: Arithmetic, problem: Problem) -> Value | None:
    return None if problem.lam is None else ar.number(problem.lam)


def _candidates(ar: SolvingArithmetic, problem: Problem, epsilon: Value) -> list[Values]:
    try:
        return problem.family.candidates(ar, problem.closure, epsilon, _lam(ar, problem))
    except NoConvergence:
        raise CannotCompute(
            f"the equations of {problem.family.name} could not be solved at this epsilon", "--epsilon 0.03"
        ) from None


def _choose(ar: Multiprecision, family: Family, candidates: list[Values]) -> int:
    """The theory's rule: of those with lambda > 0 and alpha >= 0 the smallest gamma, then the smallest ``|E[f]|``."""
    found = {}
    for index, params in enumerate(candidates):
        if params["lambda"] > 0 and params["alpha"] >= 0:
            f = family.shape(ar, params)
            found[index] = ((f * f.derivative()).times_power(1).expectation(), abs(f.expectation()))
    limit = min(gamma for gamma, _ in found.values()) + ar.number(_negligible(ar.precision))
    return min((mean, index) for index, (gamma, mean) in found.items() if gamma <= limit)[1]


def _multiplier(ar: Multiprecision, problem: Problem, index: int, epsilon: Value) -> Value:
    """``d gamma / d lambda`` along the solutions at that epsilon."""
    dual = DualArithmetic(ar, 1)
    lam = dual.variable(_lam(ar, problem), 0)
    params = problem.family.candidates(dual, problem.closure, dual.constant(epsilon), lam)[index]
    f = problem.family.shape(dual, params)
    return (f * f.derivative()).times_power(1).expectation().gradient[0]


def _drift(ar: Any, problem: Problem, index: int, epsilon: Value) -> Value:
    """Drift of the log squared gradient norm on one branch at that epsilon."""
    from snn_cli.propagation.finite_width import gradient_drift

    assert problem.fan_in is not None
    shape = problem.family.shape(ar, _candidates(ar, problem, epsilon)[index])
    return gradient_drift(ar, shape, problem.fan_in).drift


def _drift_root(problem: Problem, guard: int) -> tuple[int, Value]:
    """The branch, and a starting value for the epsilon of zero drift: near ``1/N``, its limit for wide layers.

    The drift rises through zero there: bracketed, then halved. Raises NoSolution where it does not change sign.
    """
    fan_in = problem.fan_in or 1
    ar = Multiprecision(guard + 64, guard)
    interval = problem.family.feasible(ar, problem.closure, _lam(ar, problem))
    assert interval is not None
    end = ar.number(_AUTO_END) if interval.hi is None else interval.hi
    factor, lowest = ar.number(_AUTO_FACTOR), ar.number(_AUTO_LOW / fan_in)
    low = high = min(ar.number(Fraction(1, fan_in)), end / 2)
    index = _choose(ar, problem.family, _candidates(ar, problem, high))
    while _drift(ar, problem, index, low) > 0:
        low, high = low / factor, low
        if low < lowest:
            raise _no_drift_root(problem)
    while _drift(ar, problem, index, high) <= 0:
        low, high = high, min(high * factor, (high + end) / 2)
        if end - high < end / 1000:
            raise _no_drift_root(problem)
    for _ in range(4):
        middle = (low + high) / 2
        low, high = (low, middle) if _drift(ar, problem, index, middle) > 0 else (middle, high)
    return index, (low + high) / 2


def _no_drift_root(problem: Problem) -> NoSolution:
    ends = _feasible(problem)
    return NoSolution(
        f"no epsilon makes the drift of {problem.family.name} zero at fan-in {problem.fan_in}; "
        f"solutions exist for {ends}",
        "--fanin 64, or --epsilon 0.03",
        ends.doubles,
    )
