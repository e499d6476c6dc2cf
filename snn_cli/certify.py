"""Proof that a solution exists, is the only one nearby, and was rounded correctly: Krawczyk's test in ball arithmetic.

For equations ``F(x) = 0``, a box ``X`` with centre ``m`` and any matrix ``Y``, the Krawczyk operator is
``K(X) = m - Y F(m) + (I - Y F'(X)) (X - m)``. If ``K(X)`` lies in the interior of ``X``, then X holds exactly one zero
of F, and it lies in ``K(X)`` (Krawczyk 1969; Rump 2010, section 13). Every rounding on the way is enclosed.

The test is made twice: on a tiny box, whose image is the enclosure, and on one around the bounds that are printed,
which are wider and must not hold a second solution.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.arithmetic.dual import DualArithmetic
from snn_cli.arithmetic.multiprecision import fraction
from snn_cli.errors import CannotCompute, MissingExtra
from snn_cli.exact import decimal_bounds, nearest_double
from snn_cli.gaussian import moments
from snn_cli.records.solution import MOMENTS

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import Arithmetic, Value
    from snn_cli.problem import Problem

Enclosure = tuple[tuple[str, tuple[str, str]], ...]

_DIGITS = 20
_ATTEMPTS = 6


def require() -> None:
    """Raises MissingExtra where python-flint is not installed."""
    try:
        import flint  # noqa: F401
    except ImportError:
        raise MissingExtra("--certify", "python-flint", "certify") from None


def enclose(
    problem: Problem,
    approximation: dict[str, Value],
    doubles: dict[str, float],
    digits: int | None,
    precision: int,
) -> Enclosure:
    """Decimal bounds, proved, of every parameter and moment of the solution of ``problem``.

    approximation
        Multiprecision values close to the solution.
    doubles
        The rounded values that are printed: each is proved to be the nearest double of the exact one.
    digits
        Significant digits of the bounds (20 if None); more where so few would not tell two solutions apart.
    precision
        Bits to start from; doubled a few times where the proof fails.

    Raises CannotCompute where no proof is found: at the ends of the feasible range, where solutions merge.
    """
    require()
    from flint import ctx

    unknowns = (*problem.free, "epsilon") if problem.epsilon == "auto" else problem.free
    centre = {name: fraction(approximation[name]) for name in unknowns}
    for _ in range(_ATTEMPTS if problem.epsilon != "end" else 0):
        with ctx.workprec(precision):
            newton = _linearised(problem, centre)
            found = None if newton is None else _prove(problem, newton)
            if newton is not None and found is not None and _rounded(found, doubles):
                shown = digits or _DIGITS
                while shown <= max(precision, digits or 0):
                    printed = _decimals(problem, found, doubles, shown)
                    if _only(problem, newton, dict(printed)):
                        return printed
                    shown += max(1, shown // 4)
        precision *= 2
    raise CannotCompute(
        f"existence and uniqueness could not be proved at epsilon = {doubles['epsilon']!r}: "
        "solutions merge there, or lie too close to tell apart",
        "leave out --certify, or take an epsilon between the ends of the feasible range",
    )


def _equations(ar: Arithmetic, problem: Problem, unknown: dict[str, Value]) -> list[Value]:
    """The conditions at the unknowns; zero at a solution. What is not unknown is exact."""
    values = _with_known(ar, problem, unknown)
    shape = problem.family.shape(ar, {p: values[p] for p in problem.family.parameters})
    found = moments(shape)
    target = {"mean": found.mean, "second_moment": found.second_moment - 1}
    if "chi" in problem.conditions:
        target["chi"] = found.chi - 1 - values["epsilon"]
    equations = [target[name] for name in problem.conditions]
    if problem.epsilon == "auto":
        from snn_cli.propagation.finite_width import gradient_drift

        assert problem.fan_in is not None
        equations.append(gradient_drift(ar, shape, problem.fan_in).drift)
    return equations


def _with_known(ar: Arithmetic, problem: Problem, unknown: dict[str, Value]) -> dict[str, Value]:
    values = dict(unknown)
    if problem.lam is not None and "lambda" not in values:
        values["lambda"] = ar.number(problem.lam)
    if isinstance(problem.epsilon, Fraction):
        values["epsilon"] = ar.number(problem.epsilon)
    return values


def _jacobian(problem: Problem, box: dict[str, Value]) -> Any:
    """Rows: equations; columns: unknowns."""
    from flint import arb_mat

    from snn_cli.arithmetic.balls import Balls

    ar = DualArithmetic(Balls(), len(box))
    equations = _equations(ar, problem, {n: ar.variable(box[n], i) for i, n in enumerate(box)})
    return arb_mat([list(e.gradient) for e in equations])


class _Newton(NamedTuple):
    """The equations linearised at a point ``m``: an approximate inverse ``Y`` of the Jacobian, and ``Y F(m)``."""

    middle: dict[str, Value]
    inverse: Any
    step: Any


def _linearised(problem: Problem, centre: dict[str, Fraction]) -> _Newton | None:
    """None where the Jacobian cannot be inverted at this precision."""
    from flint import arb_mat

    from snn_cli.arithmetic.balls import Balls

    balls = Balls()
    middle = {n: balls.number(x).mid() for n, x in centre.items()}
    try:
        inverse = arb_mat([[x.mid() for x in row] for row in _jacobian(problem, middle).tolist()]).inv()
    except ZeroDivisionError:
        return None
    inverse = arb_mat([[x.mid() for x in row] for row in inverse.tolist()])
    step = inverse * arb_mat([[x] for x in _equations(balls, problem, middle)])
    return _Newton(middle, inverse, step) if all(x.is_finite() for x in step.entries()) else None


def _image(problem: Problem, newton: _Newton, reach: dict[str, Fraction]) -> dict[str, Value] | None:
    """``K(X)`` for the box of that reach around the middle; None unless it lies in the interior of the box."""
    from flint import arb, arb_mat

    from snn_cli.arithmetic.balls import ball, ends

    middle = newton.middle
    box = {n: ball(ends(m)[0], reach[n]) for n, m in middle.items()}
    size = len(box)
    identity = arb_mat([[arb(int(i == j)) for j in range(size)] for i in range(size)])
    offset = arb_mat([[box[n] - m] for n, m in middle.items()])
    contraction = identity - newton.inverse * _jacobian(problem, box)
    image = arb_mat([[m] for m in middle.values()]) - newton.step + contraction * offset
    found = {}
    for i, n in enumerate(box):
        found[n] = image[i, 0]
        if not found[n].is_finite():
            return None
        (lo, hi), (inner_lo, inner_hi) = ends(box[n]), ends(found[n])
        if not lo < inner_lo <= inner_hi < hi:
            return None
    return found


def _only(problem: Problem, newton: _Newton, printed: dict[str, tuple[str, str]]) -> bool:
    """Whether the equations are proved to have no second solution between the printed bounds."""
    from snn_cli.arithmetic.balls import ends

    reach = {}
    for name, m in newton.middle.items():
        point = ends(m)[0]
        reach[name] = 2 * max(abs(Fraction(end) - point) for end in printed[name])
    return _image(problem, newton, reach) is not None


def _prove(problem: Problem, newton: _Newton) -> dict[str, Value] | None:
    """Balls that hold the one solution, and the moments there; None where the test fails at this precision."""
    from snn_cli.arithmetic.balls import Balls, ends

    balls = Balls()
    steps = dict(zip(newton.middle, newton.step.entries(), strict=True))
    proved = _image(problem, newton, {n: 8 * max(abs(e) for e in ends(step)) for n, step in steps.items()})
    if proved is None:
        return None
    values = _with_known(balls, problem, proved)
    found = moments(problem.family.shape(balls, {p: values[p] for p in problem.family.parameters}))
    for name in MOMENTS:
        values[name] = getattr(found, name)
    values.setdefault("epsilon", found.chi - 1)
    if problem.closure == "lambda_min":
        multiplier = _multiplier(problem, {n: proved[n] for n in problem.free}, values)
        if multiplier is not None:
            values["multiplier"] = multiplier
    for name, exact in problem.exact_values().items():
        values[name] = balls.number(exact)
    return values


def _multiplier(problem: Problem, box: dict[str, Value], values: dict[str, Value]) -> Value | None:
    """``d gamma / d lambda`` with the other parameters following the two conditions (implicit function theorem)."""
    from flint import arb_mat

    from snn_cli.arithmetic.balls import Balls

    names = (*box, "lambda")
    ar = DualArithmetic(Balls(), len(names))
    params = {n: ar.variable(values[n], i) for i, n in enumerate(names)}
    f = problem.family.shape(ar, params)
    gradients = [
        (f * f).expectation().gradient,
        (f.derivative() * f.derivative()).expectation().gradient,
        (f * f.derivative()).times_power(1).expectation().gradient,
    ]
    conditions, gamma = gradients[:2], gradients[2]
    try:
        follow = arb_mat([list(g[:-1]) for g in conditions]).solve(arb_mat([[-g[-1]] for g in conditions]))
    except ZeroDivisionError:
        return None
    return gamma[-1] + sum(gamma[i] * follow[i, 0] for i in range(len(box)))


def _rounded(found: dict[str, Value], doubles: dict[str, float]) -> bool:
    """Whether both ends of every ball round to the printed double."""
    from snn_cli.arithmetic.balls import ends

    return all(
        name in found and found[name].is_finite() and all(nearest_double(e) == value for e in ends(found[name]))
        for name, value in doubles.items()
    )


def _decimals(problem: Problem, found: dict[str, Value], doubles: dict[str, float], digits: int) -> Enclosure:
    from snn_cli.arithmetic.balls import ends

    exact = problem.exact_values()
    return tuple(
        (name, decimal_bounds(*((exact[name],) * 2 if name in exact else ends(found[name])), digits))
        for name in doubles
    )
