"""Leaky SELU: an exponential plus a line on the left. Closed-form throughout.

With ``A = lambda alpha`` and ``B = lambda beta`` the second condition less the first is ``A^2 (2 d1 - 1/2) = epsilon``,
so A does not depend on lambda. At that A the solutions are the circle ``lambda^2 + (B + 2 A d1)^2 = R``, on which
``gamma = const + A B (d1 - phi(0))`` with ``d1 < phi(0)``: for ``A > 0`` gamma falls as B grows, that is as lambda
falls on the upper half. Hence the bound on lambda is active for every epsilon > 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Family, Interval, Values, exponential_linear

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snn_cli.arithmetic.protocol import Arithmetic, SolvingArithmetic, Value
    from snn_cli.gaussian import Piecewise


def shape(ar: Arithmetic, p: Values) -> Piecewise:
    lam = p["lambda"]
    return exponential_linear(ar, lam, lam * p["alpha"], ar.number(1), lam * p["beta"])


def least_slope(ar: Arithmetic, p: Values) -> Value:
    """``f'`` on the left runs monotonically from ``lambda beta`` to ``lambda (alpha + beta)``."""
    lam, alpha, beta = p["lambda"], p["alpha"], p["beta"]
    return lam * min(1, beta, alpha + beta)


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    left = p["alpha"] * np.expm1(np.minimum(x, 0))
    if p["beta"]:  # at -inf a line of slope 0 is 0
        left = left + p["beta"] * x
    return p["lambda"] * np.where(x < 0, left, x)


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    left = p["alpha"] * np.exp(np.minimum(x, 0)) + p["beta"]
    return p["lambda"] * np.where(x < 0, left, 1 + 0 * np.sign(x))


def _constants(ar: Arithmetic) -> tuple[Value, Value, Value]:
    """``d1, d2 = E[e^(k z); z < 0]`` and ``2 d1 - 1/2``, which cancels one digit and a half."""
    d1, d2 = ar.tail(ar.number(1)), ar.tail(ar.number(2))
    return d1, d2, 2 * d1 - ar.number(1) / 2


def _decrease(ar: Arithmetic) -> Value:
    """``R = 2 - epsilon * decrease``: the squared radius of the circle of solutions at that epsilon."""
    d1, d2, gap = _constants(ar)
    return (2 * d2 - 4 * d1 * d1) / gap - 2


def candidates(ar: SolvingArithmetic, closure: str, epsilon: Value, lam: Value) -> list[Values]:
    """Two for each sign of A; with zero mean those with lambda < 0 too, which are ``f(x) -> -f(x)`` of the others."""
    d1, _, gap = _constants(ar)
    square = 2 - epsilon * _decrease(ar)
    found = []
    for amplitude in (ar.sqrt(epsilon / gap), -ar.sqrt(epsilon / gap)):
        centre = -2 * amplitude * d1
        if closure == "zero_mean":  # the line lambda phi(0) = B phi(0) + A (1/2 - d1) cuts the circle twice
            offset = amplitude * (ar.number(1) / 2 - d1) / ar.phi0()
            across = (centre + offset) / 2
            along = ar.sqrt(square / 2 - across * across)
            points = [(across + side, across + side - offset) for side in (along, -along)]
        else:
            root = ar.sqrt(square - lam * lam)
            points = [(lam, centre + root), (lam, centre - root)]
        found += [{"lambda": x, "alpha": amplitude / x, "beta": y / x} for x, y in points]
    return found


def feasible(ar: Arithmetic, closure: str, lam: Value) -> Interval | None:
    """``lambda^2 <= R``; with zero mean, the line meets the circle."""
    decrease = _decrease(ar)
    if closure == "zero_mean":
        d1, _, gap = _constants(ar)
        shift = (ar.number(1) / 2 - d1) / ar.phi0() - 2 * d1
        return Interval(ar.number(0), 2 / (decrease + shift * shift / (2 * gap)))
    hi = (2 - lam * lam) / decrease
    return None if hi < 0 else Interval(ar.number(0), hi)


FAMILY = Family(
    name="lselu",
    parameters=("lambda", "alpha", "beta"),
    positive="lambda*x",
    negative="lambda*(alpha*exp(x) + beta*x - alpha)",
    closures={
        "lambda_min": ("second_moment", "chi"),
        "lambda": ("second_moment", "chi"),
        "zero_mean": ("second_moment", "chi", "mean"),
    },
    shape=shape,
    candidates=candidates,
    feasible=feasible,
    least_slope=least_slope,
    function=function,
    derivative=derivative,
)
