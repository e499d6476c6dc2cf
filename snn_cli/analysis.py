"""Analyze: an activation against the definition of self-normalization, and what it does in a network."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli import activations
from snn_cli.arithmetic.multiprecision import Multiprecision
from snn_cli.errors import CannotCompute
from snn_cli.exact import Number
from snn_cli.gaussian import Moments, moments
from snn_cli.propagation import precise
from snn_cli.propagation.meanfield import MeanField
from snn_cli.propagation.path import second_moment
from snn_cli.propagation.quadrature import panels
from snn_cli.records import Analysis, Blocks, Conditions, Mended
from snn_cli.simulation import check as check_network
from snn_cli.simulation import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snn_cli.propagation.path import SecondMoment
    from snn_cli.records import Propagation, Solution
    from snn_cli.simulation import Request

ROUNDING = 1e-9
"""What a condition may be missed by: parameters are doubles, and so may moments be."""

_PRECISION = 320  # bits, of which parameters of 1e60 in size take some
_NEAR = 10.0
_SLOPES = np.concatenate([-np.geomspace(1e3, 1e-6, 4001), np.geomspace(1e-6, 1e3, 4001)])


def analyze(
    act: str | None = None,
    epsilon: Number | None = None,
    *,
    params: Solution | Propagation | Mapping[str, Any] | None = None,
    expr: str | None = None,
    set: Mapping[str, Number] | None = None,  # noqa: A002
    depth: int | str | None = None,
    fanin: int | str | None = None,
    lam: Number | None = None,
    lambda_min: Number | None = None,
    zero_mean: bool = False,
    weights: str = "gaussian",
    sigma_w: Number | None = None,
    sigma_b: Number = 0,
) -> Analysis:
    """Hold an activation against the definition: ``E[f^2] = 1``, ``E[f'^2] = 1 + epsilon``, ``gamma < 1``.

    act, epsilon, params, expr, set, depth, fanin, lam, lambda_min, zero_mean, weights, sigma_w, sigma_b
        As for ``simulate``: a family is solved, a baseline is as it is. Depth, fan-in and deviations are those of the
        network whose gradient, fixed points and basin stand in the record; the moments and the verdict are of f alone.

    Raises as ``simulate``. Source: theory, sections 2, 4 and 5; the inequality of Poincare for Gaussian variables
    (Chernoff, 1981) bounds epsilon from below by ``-E[f]^2`` where ``E[f^2] = 1``.
    """
    request = check(
        act, epsilon, params=params, expr=expr, set=set, depth=depth, fanin=fanin, lam=lam, lambda_min=lambda_min,
        zero_mean=zero_mean, weights=weights, sigma_w=sigma_w, sigma_b=sigma_b,
    )  # fmt: skip
    theory = run(request)
    values = dict(theory.params)
    activation = activations.find(theory.act, values)
    if MeanField(activation, values).largest < 1:
        raise CannotCompute(
            f"{theory.act} grows, or oscillates, too fast: not all that a record holds at q = 1 can be computed",
            "a smaller factor on x",
        )
    m, mended, blocks, poincare = _moments(activation, values)
    conditions = Conditions(
        forward=abs(m.second_moment - 1) <= ROUNDING,
        backward=m.chi >= 1 - ROUNDING,
        attraction=m.gamma < 1 - ROUNDING,
    )
    return Analysis(
        act=theory.act,
        params=theory.params,
        mean=m.mean,
        second_moment=m.second_moment,
        chi=m.chi,
        epsilon=_double(m.exact_chi - 1),
        gamma=m.gamma,
        kappa=m.kappa,
        mean_slope=m.mean_slope,
        monotone=_monotone(MeanField(activation, values)),
        conditions=conditions,
        self_normalizing=all(conditions),
        poincare=poincare,
        mended=mended,
        blocks=blocks,
        sigma_w=theory.sigma_w,
        sigma_b=theory.sigma_b,
        fixed_points=theory.fixed_points,
        basin=_basin(second_moment(activation, tuple(values.items()), theory.sigma_w**2, theory.sigma_b**2)),
        depth=theory.depth,
        fan_in=theory.fan_in,
        gradient=theory.gradient,
        finite=theory.finite,
        weight_mean_tolerance=theory.mean_path.weight_mean_tolerance,
    )


def _monotone(field: MeanField) -> bool:
    """``f' >= 0``, up to rounding, on a fine grid and at the nodes of all panels that resolve f."""
    x = _SLOPES
    if field.resolution is not None:
        x = np.concatenate([x, panels(field.resolution.ends)[0]])
        x = x[np.abs(x) <= field.resolution.reach]
    slopes = field.df(x)
    return bool((slopes >= -1e-15 * np.abs(slopes[np.abs(x) < _NEAR]).max()).all())


def check(
    act: str | None = None,
    epsilon: Number | None = None,
    *,
    params: Any = None,
    expr: str | None = None,
    set: Mapping[str, Number] | None = None,  # noqa: A002
    **options: Any,
) -> Request:
    """The arguments of `analyze` in exact numbers; nothing is computed. Raises InputError as `analyze` does."""
    record = activations.with_expression(params, expr, set, act)
    return check_network(act, epsilon, params=record, profile=False, **options)._replace(correlations=False)


class _Rounded(NamedTuple):
    """Moments as doubles, and ``E[f'^2]`` before it was rounded."""

    mean: float
    second_moment: float
    chi: float
    gamma: float
    kappa: float
    mean_slope: float
    exact_chi: Any


def _moments(activation: Any, values: Mapping[str, float]) -> tuple[_Rounded, Mended, Blocks, float]:
    """Of f, and with the sigma_w that keeps ``q = 1``: closed forms or quadrature in many digits, rounded once."""
    exact: Moments
    root: Any
    if activation.shape is not None:
        ar = Multiprecision(_PRECISION)
        exact = moments(activation.shape(ar, {name: ar.number(Fraction(value)) for name, value in values.items()}))
        root = ar.sqrt
    else:
        precisely = precise.moments(activation, values)
        if precisely is None or (activation.narrow(values) and not _agree(precisely, _by_panels(activation, values))):
            exact, root = _by_panels(activation, values), math.sqrt  # two steps too wide for what is narrow may agree
        else:
            exact, root = precisely, lambda x: x**0.5
    mean, second, chi, gamma, kappa, slope = map(_double, exact)
    rounded = _Rounded(mean, second, chi, gamma, kappa, slope, exact.chi)
    poincare = _double(exact.chi - exact.second_moment + exact.mean * exact.mean)
    if not exact.second_moment > 0:
        return rounded, Mended(None, None, None), Blocks(None, None, None), poincare
    variance = 1 / exact.second_moment
    kept = variance * exact.chi
    mended = Mended(_double(root(variance)), _double(kept), _double(variance * exact.gamma))
    power = exact.kappa * kept * kept
    return rounded, mended, Blocks(_double(kept), _double(power), _double(power - kept * kept)), poincare


def _by_panels(activation: Any, values: Mapping[str, float]) -> Moments:
    """In doubles, on panels that resolve f."""
    found = MeanField(activation, values).moments(np.array([1.0]))
    columns = found.mean, found.second, found.gain, found.second_slope, found.gain_fourth, found.mean_slope
    mean, second, chi, gamma, fourth, slope = (float(column[0]) for column in columns)
    return Moments(mean, second, chi, gamma, fourth / chi**2, slope)


def _agree(one: Moments, other: Moments) -> bool:
    return all(abs(a - b) <= ROUNDING * max(abs(a), abs(b)) for a, b in ((one[1], other[1]), (one[2], other[2])))


def _double(x: Any) -> float:
    """The nearest; a 0 without a sign."""
    return float(x) + 0.0


def _basin(path: SecondMoment) -> tuple[float | None, float | None] | None:
    """Second moments that lead where ``q = 1`` leads.

    None for an end that there is none of, and None altogether where q = 1 runs off, or every q is fixed.
    """
    if path.degenerate:
        return None
    end = path.reached(1.0)
    if end is None or not end.stable:
        return None
    return path.basin(end)


def curves(record: Analysis, at: tuple[Any, Any]) -> tuple[Any, Any, Any, Any]:
    """f and f' at the first array, V and chi at the second, of second moments, with the deviations of the record."""
    x, q = at
    field = MeanField(
        activations.find(record.act, record.params), dict(record.params), record.sigma_w**2, record.sigma_b**2
    )
    found = field.moments(q)
    return (
        field.f(x),
        field.df(x),
        field.variance_w * found.second + field.variance_b,
        field.variance_w * found.gain,
    )
