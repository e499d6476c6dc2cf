"""SELU: zero mean and unit second moment fix both parameters; its epsilon is its own (Klambauer et al., 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Family, Interval, Values, exponential_linear

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snn_cli.arithmetic.protocol import Arithmetic, SolvingArithmetic, Value
    from snn_cli.gaussian import Piecewise


def shape(ar: Arithmetic, p: Values) -> Piecewise:
    return exponential_linear(ar, p["lambda"], p["lambda"] * p["alpha"], ar.number(1))


def least_slope(ar: Arithmetic, p: Values) -> Value:
    """``f'`` falls to 0 on the far left."""
    return ar.number(0)


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return p["lambda"] * np.where(x < 0, p["alpha"] * np.expm1(np.minimum(x, 0)), x)


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return p["lambda"] * np.where(x < 0, p["alpha"] * np.exp(np.minimum(x, 0)), 1 + 0 * np.sign(x))


def _solution(ar: Arithmetic) -> Values:
    """``E[f] = 0`` gives ``alpha = phi(0) / (1/2 - d1)``, then ``E[f^2] = 1`` gives lambda."""
    d1, d2 = ar.tail(ar.number(1)), ar.tail(ar.number(2))
    half = ar.number(1) / 2
    alpha = ar.phi0() / (half - d1)
    lam = 1 / ar.sqrt(half + alpha * alpha * (d2 - 2 * d1 + half))
    return {"lambda": lam, "alpha": alpha}


def candidates(ar: SolvingArithmetic, closure: str, epsilon: Value, lam: Value) -> list[Values]:
    return [_solution(ar)]


def feasible(ar: Arithmetic, closure: str, lam: Value) -> Interval:
    """One point, ``E[f'^2] - E[f^2] = (lambda alpha)^2 (2 d1 - 1/2)``."""
    p = _solution(ar)
    epsilon = (p["lambda"] * p["alpha"]) ** 2 * (2 * ar.tail(ar.number(1)) - ar.number(1) / 2)
    return Interval(epsilon, epsilon)


FAMILY = Family(
    name="selu",
    parameters=("lambda", "alpha"),
    positive="lambda*x",
    negative="lambda*alpha*(exp(x) - 1)",
    closures={"none": ("mean", "second_moment")},
    shape=shape,
    candidates=candidates,
    feasible=feasible,
    least_slope=least_slope,
    function=function,
    derivative=derivative,
)
