"""Finite fan-in, to first order in ``1/N``: what one network of this size does, layer by layer.

The state of a layer is its second moment over units ``M``, held as the relative deviation ``delta = M/q - 1`` from the
mean-field path. Given M the pre-activations are uniform on a sphere, for every ensemble here, so that a fluctuation of
``g(x)`` over units counts what is left after regressing out ``z^2``; ensembles differ in how much of the length of
``W v`` and ``W^T v`` is left to chance (`Ensemble.forward`, `.backward`) and in the kurtosis of their entries. In this
form one recursion serves Gaussian weights, where it is that of the theory, section 5, Haar orthogonal weights of any
shape, and independent entries of any distribution. Held by test_fluctuations.py against runs of real networks.

Kurtosis ``k`` of independent entries adds two terms. Pre-activations of layer l have the fourth cumulant
``k q_h^2 E[f^4]/(E[f^2]^2 N)``, ``q_h`` being q without the bias, which shifts the expectation of any ``g(x)`` by
``cumulant/6 d^2 E[g]/dq^2``, since ``E[g''''] = 4 d^2 E[g]/dq^2``. And ``W_ij^2`` is correlated with the gradient at
``x_i``, through ``f'(x_i)^2``: ``Cov(W_ij^2, g_i^2)`` exceeds its Gaussian value by ``k`` times
``(sigma_w^2/N) f_j^2 (sigma_w^2/N) E[(g^2)'']/2``, in all ``k c1 E[f^2 f'^2] sigma_w^2 / (N E[f'^2])``.

Centralized weights remove the sample mean over units, of f going forward and of ``W^T g`` going backward: f stands for
``f - E[f]``, the second moment loses ``Var(mean of f)``, on the sphere, and the gradient ``1/N``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from snn_cli.ensembles import Ensemble
    from snn_cli.propagation.meanfield import LayerMoments, MeanField

    Array = NDArray[np.float64]

STILL = 1e-12
"""``1 - gamma`` up to which the second moment counts as never settling."""


class Layer(NamedTuple):
    """Dimensionless coefficients of one layer; ``q`` is its second moment and ``V`` that of the next one."""

    log_gain: Any  # log chi
    retention: Any  # q V'(q) / V
    curvature: Any  # q^2 V''(q) / V
    noise: Any  # variance of f^2 on the sphere, sigma_w^4 / V^2
    share: Any  # of the weights in V: 1 - sigma_b^2 / V
    c1: Any  # d log chi / d log q
    gain_curvature: Any  # q^2 chi'' / chi
    kappa: Any  # E[f'^4] / E[f'^2]^2
    mixed: Any  # E[f^2 f'^2] / (E[f^2] E[f'^2])
    covariance: Any  # of f^2 and f'^2 on the sphere, sigma_w^2 / (V E[f'^2])
    along: Any  # E[z^2 f'^2] / E[f'^2]; Var(z f') where centralized
    carried: Any  # E[z f f']^2 / (E[f^2] E[f'^2])
    flatness: Any  # E[f^4] / E[f^2]^2
    removed: Any  # share of V that a sample mean over units takes away, times fan-in; 0 unless centralized
    thinned: Any  # 1 where the mean over units is removed from W^T g, else 0


def layers(field: MeanField, m: LayerMoments) -> Layer:
    """The coefficients of layers with these moments, arrays of their shape."""
    weight = field.variance_w
    following = weight * m.second + field.variance_b
    centred = 1.0 if field.centralized else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return Layer(
            log_gain=np.log(weight * m.gain),
            retention=weight * m.second_slope / following,
            curvature=weight * m.second_curvature / following,
            noise=(weight / following) ** 2 * np.maximum(m.fourth - m.second**2 - 2 * m.second_slope**2, 0),
            share=weight * m.second / following,
            c1=m.gain_slope / m.gain,
            gain_curvature=m.gain_curvature / m.gain,
            kappa=m.gain_fourth / m.gain**2,
            mixed=m.mixed / (m.second * m.gain),
            covariance=weight / following * (m.mixed - m.second * m.gain - 2 * m.second_slope * m.gain_slope) / m.gain,
            along=(m.along - centred * 4 * m.mean_scale_slope**2 / m.q) / m.gain,
            carried=m.second_slope / m.second * (m.second_slope / (m.q * m.gain)),
            flatness=m.fourth / m.second**2,
            removed=centred * weight * (m.second - 2 * m.mean_scale_slope**2) / following,
            thinned=centred * np.ones_like(m.second),
        )


class Rates(NamedTuple):
    """Deep inside a long network: per layer, for the log squared gradient norm; None where there is no such limit.

    ``q_mean`` and ``q_variance`` are of ``delta``, the relative deviation of the second moment that units share.
    """

    drift: float | None
    variance: float | None
    q_mean: float | None
    q_variance: float | None


def rates(c: Layer, fan_in: float, ensemble: Ensemble) -> Rates:
    """Stationary rates between equal layers of that fan-in, at a fixed point of the second moment."""
    spread = _length_spread(ensemble.forward(fan_in, fan_in), c.share, fan_in)
    noise = c.noise / fan_in + spread
    tilt = _kurtosis(ensemble, c, c.share, fan_in)
    settles = abs(c.retention) < 1 - STILL
    mean = variance = None
    if settles:
        variance = noise / (1 - c.retention**2)
        mean = (c.curvature * (variance / 2 - 1 / fan_in + tilt / 6) - c.removed / fan_in) / (1 - c.retention)
    drift = growth = None
    if settles or abs(c.c1) < STILL:
        carried = c.share * c.carried
        r = (c.along - carried) / (1 - carried) if 1 - carried > STILL else 1.0
        step = _Step(c, c.share, c.c1, fan_in, fan_in, tilt, False, ensemble)
        drift = c.log_gain + step.mean + step.coupling * (r - 1) + c.c1 * (mean or 0.0)
        drift += (c.gain_curvature - c.c1**2) / 2 * (variance or 0.0)
        a = c.c1 / (1 - c.retention) if settles else 0.0
        growth = step.variance + 2 * a * c.covariance / fan_in + a * a * noise
    shared = None if variance is None else variance - spread
    return Rates(_number(drift), _number(growth), _number(mean), _number(shared))


def _number(x: Any) -> float | None:
    return None if x is None or not math.isfinite(x) else float(x)


def _length_spread(looseness: float, share: float, fan_out: float) -> float:
    """Relative variance of M that the weights' lengths and the biases leave to chance: 2/fan_out for Gaussian."""
    bias = 1 - share
    return 2 * looseness * share * share + (4 * share * bias + 2 * bias * bias) / fan_out


def _kurtosis(ensemble: Ensemble, before: Layer, share: float, fan_in: float) -> float:
    """Fourth cumulant of the pre-activations behind a layer, relative to q^2."""
    return float(ensemble.excess_kurtosis * before.flatness * share * share / fan_in)


class _Step:
    """One layer going backward: mean and variance of its log gain, but for what depends on ``delta`` and ``r``."""

    def __init__(
        self,
        c: Layer,
        share: float,
        next_c1: float,
        fan_in: float,
        fan_out: float,
        tilt: float,
        last: bool,
        ensemble: Ensemble,
    ) -> None:
        backward = ensemble.backward(fan_in, fan_out)
        self.variance = 2 * backward + (3 * (c.kappa - 1) - 2 * c.c1**2) / fan_in
        self.coupling = share * ((c.mixed - 1) / fan_in + backward)
        correlated = 0.0 if last else ensemble.excess_kurtosis * next_c1 * share * c.mixed / fan_in
        self.mean = c.gain_curvature * (tilt / 6 - 1 / fan_in) - self.variance / 2 + correlated - c.thinned / fan_in


class Fluctuations(NamedTuple):
    """First-order corrections at layers ``0 ... L``, or at layer 0 alone.

    ``q_mean, q_variance``: mean and variance of ``delta``. ``gradient_mean, gradient_variance``: of
    ``log(|g[l]|^2 / |g[L]|^2)``, the mean without the infinite-width part.
    """

    q_mean: Array
    q_variance: Array
    gradient_mean: Array
    gradient_variance: Array
    largest_variance: float  # of delta, at any layer
    largest_step: float  # variance that one layer adds to the log gradient, at most

    def over(self, fan_in: float) -> Fluctuations:
        """Those of equal widths of that fan-in, from those of width 1."""
        return Fluctuations(
            self.q_mean / fan_in,
            self.q_variance / fan_in,
            self.gradient_mean / fan_in,
            self.gradient_variance / fan_in,
            self.largest_variance / fan_in,
            self.largest_step / fan_in,
        )


def fluctuations(
    columns: Layer,
    depth: int,
    widths: Sequence[float] | None,
    ensemble: Ensemble,
    profile: bool,
    uniform: float = 1.0,
    homogeneous: bool = False,
) -> Fluctuations:
    """Corrections for a network of ``depth`` blocks; ``columns`` holds the layers that differ, the last one repeats.

    ``widths`` are those of ``x[0] ... x[depth]``; None stands for equal widths, ``uniform``; everything falls as the
    inverse of it, but for the spread of q where f is ``homogeneous`` and there are no biases: there M is a product of
    independent factors and ``1 + Var delta`` their product, exactly. Inputs are ``x[0] ~ N(0, q0 I)``, the output
    gradient is random. With ``profile`` all layers are returned, else layer 0, at a cost that does not grow with the
    layers that repeat.
    """
    distinct = len(columns.log_gain) - 1
    rows = [Layer(*(float(column[i]) for column in columns)) for i in range(distinct + 1)]

    def row(layer: int) -> Layer:
        return rows[min(layer, distinct)]

    def width(layer: int) -> float:
        return uniform if widths is None else float(widths[layer])

    def block(layer: int, count: int) -> _Block:
        c, n, m = row(layer), width(layer), width(layer + 1)
        tilt = 0.0
        if layer:
            tilt = _kurtosis(ensemble, row(layer - 1), row(layer - 1).share, width(layer - 1))
        step = _Step(c, c.share, row(layer + 1).c1, n, m, tilt, layer == depth - 1, ensemble)
        noise = c.noise / n + _length_spread(ensemble.forward(n, m), c.share, m)
        return _Block(_forward(c, n, tilt, noise), _backward(c, step, n, noise), step.variance, count)

    blocks = [block(first, count) for first, count in _runs(depth, distinct, widths, profile)]
    # forward: 1, E delta, Var delta, and the sum of what they do to the gradient
    forward = _states(np.array([1.0, 0.0, 2 / width(0), 0.0]), [(each.ahead, each.times) for each in blocks])
    # backward: 1, r, a, a^2, mean, variance
    last = np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    backward = _states(last, [(each.behind, each.times) for each in reversed(blocks)])[::-1]
    variances = forward[:, 2]
    largest = float(variances.max())
    if homogeneous:
        factors = [math.log1p(2 / width(0)), *(each.times * math.log1p(float(each.ahead[2, 0])) for each in blocks)]
        with np.errstate(over="ignore"):
            variances = np.expm1(np.cumsum(factors))
    remaining = forward[-1, 3]
    if not profile:
        forward, backward, variances = forward[[0]], backward[[0]], variances[[0]]
    return Fluctuations(
        q_mean=forward[:, 1],
        q_variance=variances,
        gradient_mean=backward[:, 4] + (remaining - forward[:, 3]),
        gradient_variance=backward[:, 5] + backward[:, 3] * forward[:, 2],
        largest_variance=largest,
        largest_step=max(float(each.step) for each in blocks),
    )


class _Block(NamedTuple):
    """So many equal layers in a row: what one does to the states that go forward and backward, and the variance that it
    adds to the log gradient."""

    ahead: Array
    behind: Array
    step: float
    times: int


def _states(state: Array, operators: Sequence[tuple[Array, int]]) -> Array:
    """The state at first, and behind each operator, applied so many times."""
    found = [state]
    for operator, count in operators:
        state = (operator if count == 1 else np.linalg.matrix_power(operator, count)) @ state
        found.append(state)
    return np.array(found)


def _runs(depth: int, distinct: int, widths: Sequence[float] | None, profile: bool) -> list[tuple[int, int]]:
    """First layer and length of each run of blocks that are alike; a block a run where all are to be seen."""
    if profile or widths is not None:
        return [(layer, 1) for layer in range(depth)]
    # a block depends on its own layer, the one before and the one after; the first and the last are special
    start = min(depth, distinct + 2)
    alone = [(layer, 1) for layer in range(start)]
    repeated = depth - 1 - start
    if repeated > 0:
        return [*alone, (start, repeated), (depth - 1, 1)]
    return [*alone, *((layer, 1) for layer in range(start, depth))]


def _forward(c: Layer, n: float, tilt: float, noise: float) -> Array:
    return np.array(
        [
            [1, 0, 0, 0],
            [c.curvature * (tilt / 6 - 1 / n) - c.removed / n, c.retention, c.curvature / 2, 0],
            [noise, 0, c.retention**2, 0],
            [0, c.c1, (c.gain_curvature - c.c1**2) / 2, 1],
        ]
    )


def _backward(c: Layer, step: _Step, n: float, noise: float) -> Array:
    carried = c.share * c.carried
    g, c1 = c.retention, c.c1
    return np.array(
        [
            [1, 0, 0, 0, 0, 0],
            [c.along - carried, carried, 0, 0, 0, 0],
            [c1, 0, g, 0, 0, 0],
            [c1 * c1, 0, 2 * c1 * g, g * g, 0, 0],
            [step.mean - step.coupling, step.coupling, 0, 0, 1, 0],
            [step.variance, 0, 2 * c.covariance / n, noise, 0, 1],
        ]
    )
