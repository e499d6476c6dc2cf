"""Scaled SELU: SELU with the exponent scaled. One scalar root in beta; everything else is closed-form.

Written with ``c = lambda alpha beta``, the slope just left of 0, and ``g(x) = (e^(beta x) - 1) / beta``, which tends to
x as beta tends to 0 while alpha runs off to infinity. With ``G = E[g^2; z < 0]`` and ``H = E[g'^2; z < 0]`` the first
condition is ``c^2 G = 1 - lambda^2/2`` and the second less the first ``c^2 (H - G) = epsilon``. The residual
is taken between logarithms and solved for ``log beta``: ``H/G - 1`` goes as ``beta^2/4`` at 0 and as
``phi(0) beta`` at infinity, so it is close to two straight lines, on which Newton's method settles from any start.

On the solutions ``gamma = 1 - epsilon s(beta)`` with ``s = (1 - E[z g g'; z<0]/G) / (H/G - 1)``, which falls as beta
grows, and beta grows with lambda: the bound on lambda is active for every epsilon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Family, Interval, Values, exponential_linear

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snn_cli.arithmetic.protocol import Arithmetic, SolvingArithmetic, Value
    from snn_cli.gaussian import Piecewise


def shape(ar: Arithmetic, p: Values) -> Piecewise:
    return exponential_linear(ar, p["lambda"], p["lambda"] * p["alpha"], p["beta"])


def least_slope(ar: Arithmetic, p: Values) -> Value:
    """``f'`` falls to 0 on the far left."""
    return ar.number(0)


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return p["lambda"] * np.where(x < 0, p["alpha"] * np.expm1(p["beta"] * np.minimum(x, 0)), x)


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    left = p["alpha"] * p["beta"] * np.exp(p["beta"] * np.minimum(x, 0))
    return p["lambda"] * np.where(x < 0, left, 1 + 0 * np.sign(x))


def _left_moments(ar: Arithmetic, beta: Value) -> tuple[Value, Value, Value]:
    """``E[g], G = E[g^2], H = E[g'^2]`` over ``z < 0``."""
    half = ar.number(1) / 2
    d1, d2 = ar.tail(beta), ar.tail(2 * beta)
    return (d1 - half) / beta, (d2 - 2 * d1 + half) / (beta * beta), d2


def _at_lambda(ar: Arithmetic, log_beta: Value, ratio: Value) -> Value:
    """``log(H/G - 1)`` less the logarithm of its value at the solution, ``ratio = epsilon / (1 - lambda^2/2)``."""
    _, g2, dg2 = _left_moments(ar, ar.exp(log_beta))
    return ar.log((dg2 - g2) / g2) - ar.log(ratio)


def _centred(ar: Arithmetic, log_beta: Value, epsilon: Value) -> Value:
    """The same with ``c = -lambda phi(0) / E[g]`` from ``E[f] = 0`` and lambda from ``E[f^2] = 1``."""
    g, g2, dg2 = _left_moments(ar, ar.exp(log_beta))
    half = ar.number(1) / 2
    square = (ar.phi0() / g) ** 2
    return ar.log(square * (dg2 - g2) / (half + square * g2)) - ar.log(epsilon)


def candidates(ar: SolvingArithmetic, closure: str, epsilon: Value, lam: Value) -> list[Values]:
    if closure == "zero_mean":
        beta = ar.exp(ar.root(_centred, lambda a: _start(a, epsilon, 8, ar.number(13) / 2), epsilon))
        g, g2, _ = _left_moments(ar, beta)
        slope = -ar.phi0() / g  # c / lambda
        lam = 1 / ar.sqrt(ar.number(1) / 2 + slope * slope * g2)
        return [{"lambda": lam, "alpha": slope / beta, "beta": beta}]
    rest = 1 - lam * lam / 2
    ratio = epsilon / rest
    beta = ar.exp(ar.root(_at_lambda, lambda a: _start(a, ratio, 4, ar.number(5) / 2), ratio))
    _, g2, _ = _left_moments(ar, beta)
    return [{"lambda": lam, "alpha": ar.sqrt(rest / g2) / (lam * beta), "beta": beta}]


def _start(ar: Arithmetic, x: Value, small: Value, large: Value) -> Value:
    """``log beta`` from the asymptotes ``beta = sqrt(small x)`` at 0 and ``beta = large x`` at infinity."""
    x = getattr(x, "value", x)
    large = getattr(large, "value", large)
    return ar.log(ar.sqrt(small * x) + large * x)


def feasible(ar: Arithmetic, closure: str, lam: Value) -> Interval | None:
    """Every epsilon > 0, while ``lambda^2 < 2``; at 0 alpha would be infinite."""
    if closure != "zero_mean" and lam * lam >= 2:
        return None
    return Interval(ar.number(0), None, lo_open=True, hi_open=True)


FAMILY = Family(
    name="sselu",
    parameters=("lambda", "alpha", "beta"),
    positive="lambda*x",
    negative="lambda*(alpha*exp(beta*x) - alpha)",
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
