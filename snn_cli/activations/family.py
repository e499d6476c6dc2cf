"""What an activation family is: data and a few plain functions."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snn_cli.arithmetic.protocol import Arithmetic, SolvingArithmetic, Value
    from snn_cli.gaussian import Piecewise

Values = dict[str, Any]
"""Parameter values by name, in whatever arithmetic is at work."""


class Interval(NamedTuple):
    """Values of epsilon for which the equations have a solution; ``hi`` is None when there is no upper end."""

    lo: Value
    hi: Value | None
    lo_open: bool = False
    hi_open: bool = False


class Family(NamedTuple):
    """An activation family. A new one is one file with one of these and one line in the registry.

    name, parameters
        As in records and on the command line; parameters in the order of records, ``lambda`` first.
    positive, negative
        The formulas of both branches, for people.
    closures
        Closure name -> the conditions that hold at a solution, out of ``mean`` (``E[f] = 0``), ``second_moment``
        (``E[f^2] = 1``) and ``chi`` (``E[f'^2] = 1 + epsilon``). A closure named ``lambda`` or ``lambda_min`` also
        gives lambda; with ``lambda_min`` gamma is minimised over all larger lambda too.
    shape(ar, params)
        The activation as half-line terms, from which every moment follows.
    candidates(ar, closure, epsilon, lam)
        All parameter sets that can be the optimum under the closure, in a fixed order. The solver chooses by the rule
        of the theory. ``lam`` is None where the closure does not give lambda; ``epsilon`` is not read by a family
        that has its own.
    feasible(ar, closure, lam)
        The epsilons for which ``candidates`` is not empty; None where there are none.
    least_slope(ar, params)
        Infimum of ``f'``; negative where f is not monotone.
    function(np, x, params), derivative(np, x, params)
        On numpy arrays, without overflow; zeros keep their sign, and the derivative at 0 is the right-hand one.
    """

    name: str
    parameters: tuple[str, ...]
    positive: str
    negative: str
    closures: Mapping[str, tuple[str, ...]]
    shape: Callable[[Arithmetic, Values], Piecewise]
    candidates: Callable[[SolvingArithmetic, str, Value, Value], list[Values]]
    feasible: Callable[[Arithmetic, str, Value], Interval | None]
    least_slope: Callable[[Arithmetic, Values], Value]
    function: Callable[[Any, Any, Mapping[str, float]], Any]
    derivative: Callable[[Any, Any, Mapping[str, float]], Any]

    @property
    def takes_epsilon(self) -> bool:
        """False for a family without a free parameter, whose epsilon is its own."""
        return all("chi" in conditions for conditions in self.closures.values())


class Baseline(NamedTuple):
    """An activation that nothing is solved for. A new one is one file and one line in the registry.

    name, parameters
        As in records; a plain baseline has no parameters.
    formula
        For people.
    shape
        As for a family, where the activation is made of half-line terms; None where only quadrature is left.
    function, derivative
        On numpy arrays, without overflow; the derivative at 0 is the right-hand one.
    precise
        ``precise(mp, x, params) -> (f, f')`` at one point in an mpmath context, right-hand at a kink; x and the
        parameters are numbers of that context. None where only doubles are known.
    unit_scale
        Whether f is analytic, without a singularity within 1.5 of the real line, and changes on a scale of 1; then it
        has a quick rule of quadrature.
    kinks
        ``kinks(mp, params)``: where f or a derivative of any order jumps, in rising order; ``mp`` is an mpmath context,
        or None for doubles. Between them f is analytic.
    narrow
        ``narrow(params)``: centres and widths, in doubles, of where f may change on a scale much less than the centre's
        distance from 0, so that nodes of an octave could miss it.
    bending
        The parameters on which the places of kinks may depend.
    check
        ``check(params)``: raises InputError for values with which it is no activation.
    """

    name: str
    formula: str
    shape: Callable[[Arithmetic, Values], Piecewise] | None
    function: Callable[[Any, Any, Mapping[str, float]], Any]
    derivative: Callable[[Any, Any, Mapping[str, float]], Any]
    parameters: tuple[str, ...] = ()
    precise: Callable[[Any, Any, Values], tuple[Any, Any]] | None = None
    kinks: Callable[[Any, Values], tuple[Any, ...]] = lambda _mp, _params: ()
    bending: frozenset[str] = frozenset()
    narrow: Callable[[Values], tuple[tuple[float, float], ...]] = lambda _params: ()
    unit_scale: bool = False
    check: Callable[[Values], None] = lambda _params: None


WRAP = ("a", "b", "c", "d")
"""Parameters of a wrapped activation, ``a f(b x + c) + d``."""


@cache
def wrapped(baseline: Baseline) -> Baseline:
    """``a f(b x + c) + d`` of a baseline f without parameters; ``b != 0``."""
    f, df, precise = baseline.function, baseline.derivative, baseline.precise

    def exactly(mp: Any, x: Any, p: Values) -> tuple[Any, Any]:
        assert precise is not None
        value, slope = precise(mp, p["b"] * x + p["c"], {})
        return p["a"] * value + p["d"], p["a"] * p["b"] * slope

    return Baseline(
        name=baseline.name,
        formula=f"a*f(b*x + c) + d, f(x) = {baseline.formula}",
        shape=None,
        function=lambda np, x, p: p["a"] * f(np, p["b"] * x + p["c"], {}) + p["d"],
        derivative=lambda np, x, p: p["a"] * p["b"] * df(np, p["b"] * x + p["c"], {}),
        parameters=WRAP,
        precise=None if precise is None else exactly,
        kinks=lambda mp, p: tuple(sorted((at - p["c"]) / p["b"] for at in baseline.kinks(mp, {}))),
        bending=frozenset("bc"),
        narrow=lambda p: tuple(((at - p["c"]) / p["b"], width / abs(p["b"])) for at, width in baseline.narrow({})),
    )


def exponential_linear(
    ar: Arithmetic, lam: Value, amplitude: Value, rate: Value, slope: Value | None = None
) -> Piecewise:
    """``lam x`` for ``x > 0``; ``amplitude (e^(rate x) - 1) + slope x`` for ``x < 0``, as all families are."""
    from snn_cli.gaussian import Piecewise

    negative = {(0, 1): amplitude, (0, 0): -amplitude}
    if slope is not None:
        negative[(1, 0)] = slope
    return Piecewise.of(ar, rate, negative, {(1, 0): lam})


def coefficients(
    shape: Callable[[Any, Values], Piecewise], params: Mapping[str, float]
) -> tuple[float, float, float, float]:
    """``lam, amplitude, rate, slope`` of an activation of that form in doubles; each is rounded once."""
    found: Any = shape(_Doubles(), dict(params))
    left, right = found.negative.terms, found.positive.terms
    amplitude, slope = left.get((0, 1), 0.0), left.get((1, 0), 0.0)
    return float(right.get((1, 0), 0.0)), float(amplitude), float(found.negative.moments.rate), float(slope)


class _Doubles:
    """Arithmetic in which a shape has its coefficients as floats."""

    def number(self, x: Any) -> float:
        return float(x)
