"""The verdict: whether what was measured agrees with theory, and whether the gradient stays within its budget."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snn_cli.records import Note, Verdict
from snn_cli.verification.statistics import error_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snn_cli.engine.measure import Trials
    from snn_cli.prediction import Predicted
    from snn_cli.verification.request import Request

    Array = NDArray[np.float64]

MOST_COMPONENTS = 8
"""Layers that the test looks at, half for the gradient and half for q; fewer with few trials, four trials to one."""

SKEWED = 0.5
"""Deviation of q, over q itself, above which q is not tested: it is near log-normal there, and the mean of few networks
is mostly too low, with too small an error. Tested for relu, whose q spreads with every layer, it is rejected five times
as often as the level of 0.01 says."""

DECIDES = 4.0
"""Standard errors by which the finite fan-in prediction is to differ from that of infinite width."""


class Test(NamedTuple):
    """Of theory: how many layers it looks at, and what is allowed in the log growth; None for what it cannot say."""

    components: int = 0
    statistic: float | None = None
    p_value: float | None = None
    allowance: float | None = None


def verdict(found: Trials, predicted: Predicted, request: Request, lost: bool) -> Verdict:
    """``lost``: whether a number stopped being finite."""
    tested = Test()
    agrees: bool | None = False if lost and Note.THEORY_VOID not in predicted.notes else None
    if not lost and len(found.number) > 1 and predicted.tested and np.isfinite(predicted.log_gradient[0]):
        tested = test(found, predicted)
        agrees = None if tested.p_value is None else tested.p_value >= request.level
    return Verdict(
        agrees=agrees,
        p_value=tested.p_value,
        level=request.level,
        statistic=tested.statistic,
        worst_layer=_worst_layer(found, predicted),
        within_budget=None if request.max_growth is None else _within(found, request.max_growth),
        max_growth=request.max_growth,
        components=tested.components,
        allowance=tested.allowance,
        trials_to_decide=_needed(found, predicted),
    )


def _worst_layer(found: Trials, predicted: Predicted) -> int | None:
    """Where the log gradient is off by the most errors."""
    if len(found.number) < 2:
        return None
    with np.errstate(all="ignore"):
        off = np.abs(found.log_gradient.mean(axis=0) - predicted.log_gradient)[:-1]
        z = off / found.log_gradient.std(axis=0, ddof=1)[:-1]
        if not np.isfinite(z).any():
            return None
        return int(np.nanargmax(z))


def _within(found: Trials, factor: float) -> bool:
    with np.errstate(all="ignore"):
        growth = np.abs(found.log_gradient[:, 0]).mean() if len(found.number) else math.nan
    return bool(math.isfinite(growth) and growth <= math.log(factor))


def _needed(found: Trials, predicted: Predicted) -> int | None:
    """Networks that tell the theory of this size from that of infinite width; None where these do."""
    with np.errstate(all="ignore"):
        error = error_of(found.log_gradient[:, 0])
    difference = abs(predicted.log_gradient[0] - predicted.infinite[0])
    if not error or not difference or not error * DECIDES > difference:
        return None
    needed: int = math.ceil(len(found.number) * (DECIDES * error / difference) ** 2)
    return needed


def test(found: Trials, predicted: Predicted) -> Test:
    """Hotelling's one-sample T^2 of the means over networks against theory, over layers spread through the network.

    Layers are correlated: their covariance is estimated from the networks. An error of theory of the size of the
    allowances a makes ``T^2 (n - d)/(d (n - 1))`` non-central F with the parameter ``n a' S^-1 a``.
    """
    from scipy.special import fdtrc, ncfdtr

    values, expected, allowed = _components(found, predicted)
    count, d = values.shape
    covariance = np.atleast_2d(np.cov(values, rowvar=False))
    scale = np.sqrt(np.diag(covariance))
    unknown = Test(d, None, None, float(allowed[0]))
    if count <= d or not (scale > 0).all() or not np.isfinite(expected).all():
        return unknown
    correlation = covariance / np.outer(scale, scale)
    off = (values.mean(axis=0) - expected) / scale
    try:
        statistic = float(count * off @ np.linalg.solve(correlation, off))
        shift = float(count * (allowed / scale) @ np.linalg.solve(correlation, allowed / scale))
    except np.linalg.LinAlgError:
        return unknown
    ratio = statistic * (count - d) / (d * (count - 1))
    p_value = float(fdtrc(d, count - d, ratio))
    if shift > 0:
        p_value = max(p_value, float(1 - ncfdtr(d, count - d, shift, ratio)))
    return Test(d, statistic, p_value, float(allowed[0]))


def _components(found: Trials, predicted: Predicted) -> tuple[Array, Array, Array]:
    """What is tested: of every network, as theory has it, and what theory may be off by."""
    count, depth = found.log_gradient.shape[0], found.log_gradient.shape[1] - 1
    components = max(1, min(MOST_COMPONENTS, (count - 1) // 4))
    gradient = np.unique(np.linspace(0, depth, (components + 1) // 2 + 1)[:-1].round().astype(int))
    moment = np.unique(np.linspace(depth, 0, components // 2 + 1)[:-1].round().astype(int))
    moment = moment[np.logical_not(predicted.q_sd[moment] > SKEWED * predicted.q[moment])]
    return (
        np.concatenate([found.log_gradient[:, gradient], found.second_moment[:, moment]], axis=1),
        np.concatenate([predicted.log_gradient[gradient], predicted.q[moment]]),
        np.concatenate([predicted.gradient_allowance[gradient], predicted.q_allowance[moment]]),
    )
