"""Convolutional networks: second moments and gradients position by position at infinite width, and what channels add.

Weights have the variance ``sigma_w^2/(C k^2)``, C being the channels that come in and k the kernel. At infinite width
units of a layer are Gaussian fields, independent from channel to channel, with covariances

    K[l+1](a, b) = sigma_w^2/k^2  sum over taps t of  E[f(x(a + t)) f(x(b + t))]  +  sigma_b^2

over positions, where what lies outside an image padded with zeros adds nothing: two positions share a tap's weights,
different taps are independent. The expected power of the gradient, summed over channels, goes back by the transpose:
``p[l](b) = chi(q[l](b))/k^2 sum of p[l+1](a)`` over the outputs a whose window holds b. Sources: Xiao et al. (2018),
Novak et al. (2019).
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snn_cli.propagation.mean import shifted_moments
from snn_cli.propagation.meanfield import LARGEST, SMALLEST
from snn_cli.propagation.quadrature import shifted_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from snn_cli.architectures import Stage
    from snn_cli.propagation.meanfield import LayerMoments, MeanField

    Array = NDArray[np.float64]

LARGEST_FIELD = 16
"""Side of an image up to which covariances are followed for every pair of positions; of a larger one the covariance of
two positions is that far from its borders, the same for all."""

_ORDER = 40
_ALIKE = 12  # digits to which second moments of two positions are the same


class Options(NamedTuple):
    """What is drawn and what is done to it.

    ``delta``: only the centre tap has weights. ``weight_mean`` in units of the weights' deviation. ``centralize`` takes
    the mean out of every filter, ``centralize_activation`` one mean over channels and positions out of f.
    ``excess_kurtosis``: of the weights.
    """

    delta: bool = False
    weight_mean: float = 0.0
    centralize: bool = False
    centralize_activation: bool = False
    excess_kurtosis: float = 0.0


class Path(NamedTuple):
    """Layers ``0 ... L`` at infinite width: arrays of shape (L + 1,), nan where a number leaves the range.

    ``q``: second moment over positions; ``mean`` and ``variance``: of the pre-activations; ``covariance``: of two
    positions of one channel, far from the borders; ``log_gradient``: of the expected squared norm, relative to L.
    """

    q: Array
    mean: Array
    variance: Array
    covariance: Array
    log_gradient: Array


class _Expectations(NamedTuple):
    """Of f at every position, arrays of the shape of the image."""

    first: Array
    second: Array
    gain: Array


def _expectations(field: MeanField, mean: Array, variance: Array) -> _Expectations:
    pairs, where = np.unique(
        np.stack([mean.ravel(), np.exp(np.round(np.log(variance.ravel()), _ALIKE))]), axis=1, return_inverse=True
    )
    m, nu = pairs
    if m.any():
        first, second, _, gain, _ = shifted_moments(field, m, np.sqrt(nu))
    else:
        moments = field.moments(nu)
        first, second, gain = moments.mean, moments.second, moments.gain
    return _Expectations(*(np.asarray(x)[where].reshape(mean.shape) for x in (first, second, gain)))


def _hermite(field: MeanField, mean: float, variance: float) -> tuple[Array, Array, Array, float]:
    """Coefficients of ``f, f^2, f'^2`` of ``N(mean, variance)`` in normalized Hermite polynomials; ``E[f'^2]``."""
    deviation = math.sqrt(variance)
    if field.resolution is None:
        z, weights = shifted_rule(-mean / deviation, field.steepness * deviation)
    else:
        z, weights = field.resolution.rule(mean, deviation)
    f, df = field.f(mean + deviation * z), field.df(mean + deviation * z)
    previous, current = np.zeros_like(z), np.ones_like(z)
    rows = []
    for k in range(_ORDER):
        rows.append(current * weights)
        previous, current = current, (z * current - math.sqrt(k) * previous) / math.sqrt(k + 1)
    basis = np.array(rows)
    return basis @ f, basis @ (f * f), basis @ (df * df), float(weights @ (df * df))


def _windows(stage: Stage, delta: bool) -> Array:
    """Along one side: what positions outside get from positions inside, of shape (out, size)."""
    if stage.pooled:
        return np.full((1, stage.size), 1 / stage.size)
    found = np.zeros((stage.out, stage.size))
    edge = 0 if delta else stage.kernel // 2
    for position in range(stage.out):
        for tap in range(-edge, edge + 1):
            source = stage.stride * position + tap
            if stage.circular or 0 <= source < stage.size:
                found[position, source % stage.size] += 1 / (2 * edge + 1)
    return found


def uniform(stages: Sequence[Stage]) -> bool:
    """Whether no position differs from another."""
    return all(stage.circular and stage.stride == 1 and not stage.pooled for stage in stages)


def unmixed(stages: Sequence[Stage], delta: bool) -> bool:
    """Whether nothing goes from one position to another: ``delta`` is for taps at the centre alone."""
    return all((delta or stage.kernel == 1) and stage.stride == 1 and not stage.pooled for stage in stages)


@np.errstate(all="ignore")
def propagate(fields: Sequence[MeanField], stages: Sequence[Stage], q0: float, options: Options) -> Path:
    """The mean field of a network; ``fields`` is f before each stage, not centralized.

    Held by test_spatial.py against the theory of perceptrons, against sums over windows written out, and by
    test_conv.py against networks.
    """
    alike, depth = uniform(stages), len(stages)
    side = 1 if alike else stages[0].size
    image = _Image(np.zeros((side, side)), np.full((side, side), float(q0)), 0.0, None)
    rows = np.full((4, depth + 1), np.nan)
    gains: list[Array] = []
    taps = [np.ones((1, 1)) if alike else _windows(stage, options.delta) for stage in stages]
    for layer in range(depth + 1):
        mean, variance = image.mean, image.variance
        rows[:, layer] = (mean**2 + variance).mean(), mean.mean(), variance.mean(), image.covariance
        if layer == depth or not (SMALLEST < variance.min() <= variance.max() < LARGEST):
            break
        if image.pairs is None and stages[layer].size <= LARGEST_FIELD and any(stage.pooled for stage in stages):
            image = image.with_pairs()
        products, gain = _activated(fields[layer], image, options)
        gains.append(gain)
        image = _weighted(fields[layer], stages[layer], taps[layer], products, options)
    totals = np.full(depth + 1, np.nan)
    if len(gains) == depth:
        totals = _log_gradients(gains, stages, taps, np.ones_like(image.variance) / image.variance.size)
    q, means, variances, covariances = rows
    return Path(q, means, variances, covariances, totals)


class _Image(NamedTuple):
    """Pre-activations of a layer: mean and variance at every position, the covariance of two of them far from the
    borders, and that of every pair, of shape (positions, positions), where it is followed."""

    mean: Array
    variance: Array
    covariance: float
    pairs: Array | None

    def with_pairs(self) -> _Image:
        pairs = np.full((self.variance.size, self.variance.size), self.covariance)
        np.fill_diagonal(pairs, self.variance.ravel())
        return self._replace(pairs=pairs)


class _Products(NamedTuple):
    """Of f of an image: ``E[f]`` and ``E[f^2]`` at every position, the mean of that, and ``E[f f]`` of two positions
    far from the borders, and of every pair."""

    first: Array
    second: Array
    whole: float
    common: float
    pairs: Array | None


def _activated(field: MeanField, image: _Image, options: Options) -> tuple[_Products, Array]:
    """What the activation makes of an image, and ``chi`` at every position."""
    mean, variance = image.mean, image.variance
    e = _expectations(field, mean, variance)
    first, second, whole = e.first, e.second, float(e.second.mean())
    hermite = _hermite(field, float(mean.mean()), float(variance.mean()))[0]
    common = _product(hermite, hermite, e.second.mean(), image.covariance / variance.mean())
    pairs = None if image.pairs is None else _pair_products(field, mean, variance, image.pairs, second)
    if options.centralize_activation:
        centre = first.mean()
        second = second - 2 * centre * first + centre**2
        common, whole = common - centre**2, whole - centre**2
        if pairs is not None:
            pairs = pairs - centre * (first.reshape(-1, 1) + first.reshape(1, -1)) + centre**2
        first = first - centre
    return _Products(first, second, whole, common, pairs), field.variance_w * e.gain


def _weighted(field: MeanField, stage: Stage, taps: Array, products: _Products, options: Options) -> _Image:
    """What the weights of a stage make of them."""
    first, second, whole, common, pairs = products
    outside = taps @ first @ taps.T
    if stage.pooled:
        assert pairs is not None
        total, pairs = np.array([[pairs.mean()]]), None
    else:
        total = taps @ second @ taps.T
        pairs = None if pairs is None else _pair_windows(pairs, stage, options.delta)
    if options.centralize:
        total = total - outside**2
        common, whole = common - float(first.mean()) ** 2, whole - float(first.mean()) ** 2
        if pairs is not None:
            pairs = pairs - outside.reshape(-1, 1) * outside.reshape(1, -1)
    fan_in = stage.inputs if options.delta or stage.pooled else stage.fan_in
    coupling = options.weight_mean * math.sqrt(field.variance_w * fan_in) * (not options.centralize)
    variance = field.variance_w * total + field.variance_b
    if pairs is not None:
        pairs = field.variance_w * pairs + field.variance_b
        count = len(pairs)
        covariance = float((pairs.sum() - np.trace(pairs)) / (count * (count - 1))) if count > 1 else 0.0
    else:
        correlation = (field.variance_w * common + field.variance_b) / (field.variance_w * whole + field.variance_b)
        covariance = float(correlation * variance.mean())
    return _Image(coupling * outside, variance, covariance, pairs)


def _log_gradients(gains: Sequence[Array], stages: Sequence[Stage], taps: Sequence[Array], last: Array) -> Array:
    """At every layer, relative to the last, where the power of the gradient is ``last`` at every position."""
    power = [last]
    for gain, stage, window in zip(reversed(gains), reversed(stages), reversed(taps), strict=True):
        back = window.T @ power[-1] @ window
        if stage.pooled:  # every position gets the same gradient, not one of its own
            back = back / stage.size**2
        power.append(gain * back)
    totals = np.log([p.sum() for p in reversed(power)])
    totals -= totals[-1]
    return np.asarray(totals)


def _product(a: Array, b: Array, second: float, correlation: float) -> float:
    """``E[f f]`` at that correlation; what is beyond the coefficients counts near 1 only."""
    powers = correlation ** np.arange(len(a))
    return float((a * b) @ powers + max(0.0, second - float(a @ b)) * correlation ** len(a))


def _pair_products(field: MeanField, mean: Array, variance: Array, pairs: Array, second: Array) -> Array:
    """``E[f f]`` of every pair of positions, of shape (positions, positions)."""
    states, where = np.unique(
        np.stack([mean.ravel(), np.exp(np.round(np.log(variance.ravel()), _ALIKE))]), axis=1, return_inverse=True
    )
    coefficients = np.array([_hermite(field, float(m), float(nu))[0] for m, nu in states.T])[where]
    deviation = np.sqrt(variance.ravel())
    correlation = np.clip(pairs / np.outer(deviation, deviation), -1, 1)
    rest = np.sqrt(np.maximum(second.ravel() - (coefficients**2).sum(1), 0))
    found: Array = np.outer(rest, rest)
    for column in coefficients.T[::-1]:
        found = found * correlation + np.outer(column, column)
    np.fill_diagonal(found, second.ravel())
    return found


def _pair_windows(pairs: Array, stage: Stage, delta: bool) -> Array:
    """The mean over common taps, of shape (positions, positions) of what comes out."""
    n, out, edge = stage.size, stage.out, 0 if delta else stage.kernel // 2
    field = pairs.reshape(n, n, n, n)
    pad = ((edge, edge),) * 4
    field = np.pad(field, pad, mode="wrap" if stage.circular else "constant")
    total = np.zeros((out,) * 4)
    reach = stage.stride * (out - 1) + 1
    for y, x in product(range(2 * edge + 1), repeat=2):
        rows, columns = slice(y, y + reach, stage.stride), slice(x, x + reach, stage.stride)
        total += field[rows, columns, rows, columns]
    return total.reshape(out * out, out * out) / (2 * edge + 1) ** 2


class Corrections(NamedTuple):
    """What C channels add at layers ``0 ... L``: arrays of shape (L + 1,).

    ``q_mean``: of the second moment, relative; ``q_sd``: deviation over networks of the second moment over all units of
    one input, relative; ``q_shared``: variance of the part that units share; ``gradient_mean``, ``gradient_variance``:
    of ``log(|g[l]|^2 / |g[L]|^2)``, the mean without the infinite-width part; ``spread``: largest variance over layers
    of the second moment that channels share at one position and of the correlation of two positions, in both of which
    this is an expansion.
    """

    q_mean: Array
    q_sd: Array
    q_shared: Array
    gradient_mean: Array
    gradient_variance: Array
    spread: float


class _Layer(NamedTuple):
    """Coefficients of a layer, as in `fluctuations.Layer`, of f at its variance, and over pairs of positions.

    ``pair_*``: for two positions with the covariance at hand, the covariance of ``f^2`` with ``f^2``, ``f'^2`` with
    ``f'^2`` and ``f^2`` with ``f'^2``, relative to their means.
    """

    retention: float
    curvature: float
    share: float
    c1: float
    gain_curvature: float
    kappa: float
    mixed: float
    along: float
    carried: float
    flatness: float
    removed: float
    thinned: float
    correlated: float  # d K[l+1]/d K[l], relative to q
    gradient_correlated: float  # E[f' f'] / E[f'^2]
    pair_second: float
    pair_gain: float
    pair_mixed: float
    pair_product: float  # variance of f f, relative to E[f^2]^2
    pair_pair: float  # covariance of two products f f of the same offset, likewise


@np.errstate(all="ignore")
def corrections(
    fields: Sequence[MeanField], stages: Sequence[Stage], path: Path, options: Options, batch: int
) -> Corrections:
    """First order in 1/C, of weights that are independent: linear fluctuations over positions, mode by mode.

    The second moments S(a) that channels share are ``q (1 + delta(a))``. With ``A`` the mean over a window (``A(k)``
    in Fourier modes k of the image, taken as a torus)

        delta[l+1] = A (gamma delta + V''/2 delta^2 + xi),      Cov(xi(a), xi(b)) = Cov(f(x(a))^2, f(x(b))^2)/C
        pi[l]      = A pi[l+1] (1 + c1 delta + zeta) + c1 delta + chi''/2 delta^2 + zeta

    for the power ``p (1 + pi(b))`` of the gradient, where zeta has the covariance of ``f'(x(b))^2 h(b)^2``, h Gaussian.
    Different positions hold nearly independent numbers, so noise is averaged over the image as well as over channels.
    What correlates them is second order: the covariance of two positions has a variance w of its own that adds up from
    layer to layer, ``w[l+1] = A^2 (slope^2 w + Var(f f)/C)``, and so has that of their gradients; with n positions they
    count as n/C. ``alpha`` is what delta does to pi through all layers to come: ``alpha = c1 + gamma A^2 alpha[l+1]``.
    Both passes have the weights in common: over the whole image the noise of the energy of x[l], and that of the
    gradient as it passes layer m < l, have the covariance ``2/C^2`` times the mean over modes of
    ``A^(2 (l - m))`` and of the slopes in between; for m = l - 1 it is that of the norm of W.
    One position and a kernel of 1 give the theory of a perceptron, section 5. For strides the spectrum is aliased.

    The energy of the gradient along x has the excess ``r - 1``, of which a kernel of k^2 taps carries one of k^2 back.
    Held by test_spatial.py against perceptrons and by test_conv.py against networks.
    """
    forward = _forward(fields, stages, path, options, batch)
    mean, variance = _backward(stages, forward, options, batch)
    alone = stages[0].size == 1  # then this is the theory of a perceptron, which has none of the second
    spread = 0.0 if alone else max(*(modes.mean() for modes in forward.spectra), *forward.loose)
    return Corrections(forward.q_mean, forward.q_sd, forward.shared, mean, variance, float(spread))


class _Forward(NamedTuple):
    """What goes forward: layers, and at each of them the spectrum of delta, the fourth cumulant of the pre-activations
    relative to q^2, mean and deviation of q, its shared part, and the variance of the correlation of two positions."""

    layers: list[_Layer]
    spectra: list[Array]
    tilts: list[float]
    q_mean: Array
    q_sd: Array
    shared: Array
    loose: Array


def _forward(
    fields: Sequence[MeanField], stages: Sequence[Stage], path: Path, options: Options, batch: int
) -> _Forward:
    depth, n = len(stages), stages[0].size
    found = _Forward([], [], [0.0], *(np.zeros(depth + 1) for _ in range(4)))
    v, w = np.zeros((n, n)), np.zeros((n, n))
    drift = 0.0
    for layer in range(depth + 1):
        last = layer == depth
        channels = stages[-1].channels if last else stages[layer].inputs
        positions = v.size
        rho = path.covariance[layer] / path.variance[layer]
        loose, shared = w.mean(), v[0, 0] / positions
        found.q_mean[layer], found.shared[layer], found.loose[layer] = drift, shared, loose
        found.q_sd[layer] = math.sqrt(
            max(0.0, shared + 2 / channels * (1 / positions + (1 - 1 / positions) * (rho**2 + loose)))
        )
        found.spectra.append(v)
        if last:
            break
        stage = stages[layer]
        c = _layer(fields[layer], path, layer, loose, options)
        found.layers.append(c)
        local = _local(stage, positions, options, batch)
        drift = c.retention * drift + c.curvature * (v.mean() / 2 + found.tilts[-1] / 6) - c.removed * local
        found.tilts.append(options.excess_kurtosis * c.flatness * c.share**2 / stage.fan_in)
        v, w = _spread(c, stage, v, w)
    return found


def _spread(c: _Layer, stage: Stage, v: Array, w: Array) -> tuple[Array, Array]:
    """The spectra of delta and of the correlation of two positions behind a stage."""
    channels, positions = stage.inputs, v.size
    if stage.pooled:
        return np.array([[c.retention**2 * v[0, 0] / positions + 2 / channels]]), np.zeros((1, 1))
    gain = _transfer(stage) ** 2
    noise = _spectrum(c.flatness - 1, c.pair_second, positions)
    v = gain * (c.retention**2 * v + c.share**2 * noise / channels)
    w = gain * (c.correlated**2 * w + c.share**2 * _spectrum(c.pair_product, c.pair_pair, positions) / channels)
    return (_thinned(v, stage), _thinned(w, stage)) if stage.stride > 1 else (v, w)


def _local(stage: Stage, positions: int, options: Options, batch: int) -> float:
    """The share of a mean that is taken out which is a unit's own."""
    return (1 / stage.fan_in) if options.centralize else 1 / (batch * stage.inputs * positions)


def _backward(stages: Sequence[Stage], forward: _Forward, options: Options, batch: int) -> tuple[Array, Array]:
    """Mean and variance of the log gradient at every layer."""
    depth = len(stages)
    mean, variance = np.zeros(depth + 1), np.zeros(depth + 1)
    alpha = np.zeros_like(forward.spectra[-1])
    alike = np.full_like(alpha, 1 / stages[-1].channels)
    both_ways = np.zeros_like(alpha)
    common, r, level, total, steep = 0.0, 1.0, 0.0, 0.0, 0.0
    for layer in reversed(range(depth)):
        stage, c, v = stages[layer], forward.layers[layer], forward.spectra[layer]
        channels, positions, taps = stage.inputs, v.size, stage.kernel**2
        gain = _transfer(stage) ** 2
        if stage.pooled:
            gain, alpha, alike, common = np.zeros_like(v), np.full_like(v, alpha[0, 0]), np.zeros_like(v), 1.0
            both_ways = np.zeros_like(v)
            gain[0, 0] = 1.0
        elif stage.stride > 1:
            alpha, alike, both_ways = (_lifted(modes, stage) for modes in (alpha, alike, both_ways))
            common /= stage.stride**2
        aligned = float((gain * alike).mean()) + common
        off = (1 + c.pair_gain) * (1 + 2 * aligned) - 1
        noise = _spectrum(c.flatness - 1, c.pair_second, positions)
        both = _spectrum(c.mixed - 1, c.pair_mixed, positions)
        reach = alpha * c.share
        gradient_noise = _spectrum(3 * c.kappa - 1, off, positions)[0, 0]
        both_ways = gain * (both_ways + 2 * alpha[0, 0] * c.share * (1 - 1 / positions) / channels / stage.channels)
        passes = both_ways.mean()
        total += 2 * passes + (
            (gradient_noise + 2 * reach[0, 0] * both[0, 0] + reach[0, 0] ** 2 * noise[0, 0]) / channels / positions
        )
        level += (
            c.c1 * forward.q_mean[layer]
            + c.gain_curvature / 2 * v.mean()
            + c.c1 * c.retention * (alpha * gain * v).mean()
            + (reach * gain * both).mean() / channels
            + passes
            + (r - 1) * c.share * c.mixed / stage.fan_in
            - c.thinned * _local(stage, positions, options, batch)
            + c.gain_curvature / 6 * forward.tilts[layer]
            + options.excess_kurtosis * steep * c.share * c.mixed / stage.fan_in
        )
        steep = c.c1
        r = c.along + c.share * c.carried * (r - 1) / taps
        alpha = c.c1 + c.retention * gain * alpha
        both_ways = both_ways * c.correlated * c.gradient_correlated
        alike = c.gradient_correlated**2 * gain * alike + (1 + c.pair_gain) / channels
        common *= c.gradient_correlated**2
        variance[layer] = total + alpha[0, 0] ** 2 * v[0, 0] / positions
        mean[layer] = level - variance[layer] / 2
    return mean, variance


def _layer(field: MeanField, path: Path, layer: int, loose: float, options: Options) -> _Layer:
    """``loose``: variance of the correlation of two positions."""
    variance = float(path.variance[layer])
    m: LayerMoments = field.moments(np.array([variance]))
    weight = field.variance_w
    removes = options.centralize or options.centralize_activation
    f, f2, df2, gain = _hermite(field, 0.0, variance)
    first = f[0]
    if removes:  # f^2 of f - E[f], in the same coefficients
        f2 = f2 - 2 * first * f
        f2[0] += first * first
        f = f.copy()
        f[0] = 0.0
    second = float(m.second[0])
    full = weight * second + field.variance_b  # what the layer behind has where no border takes from it
    curvature = weight * m.second_curvature[0] / full
    if options.centralize_activation:  # the mean taken out is that of all inputs: it does not follow delta
        curvature += 2 * weight * m.mean_scale_slope[0] ** 2 / full
    rho = float(path.covariance[layer]) / variance
    order = np.arange(_ORDER)
    powers = rho**order
    bends = loose * order * (order - 1) / 2 * np.concatenate([np.zeros(2), rho ** order[:-2]])
    spread = powers + bends
    spread[0] = 0.0  # covariances
    products = float((f * f) @ powers) / second
    slope = float((f * f * order)[1:] @ powers[:-1]) / variance  # E[f' f']
    pair_second = float((f2 * f2) @ spread) / second**2
    return _Layer(
        retention=float(weight * m.second_slope[0] / full),
        curvature=float(curvature),
        share=weight * second / full,
        c1=float(m.gain_slope[0] / m.gain[0]),
        gain_curvature=float(m.gain_curvature[0] / m.gain[0]),
        kappa=float(m.gain_fourth[0] / m.gain[0] ** 2),
        mixed=float(m.mixed[0]) / (second * float(m.gain[0])),
        along=float(m.along[0] - (4 * m.mean_scale_slope[0] ** 2 / m.q[0] if options.centralize else 0)) / gain,
        carried=float(m.second_slope[0] ** 2 / (variance * second * m.gain[0])),
        flatness=float(m.fourth[0]) / second**2,
        removed=weight * second / full if removes else 0.0,
        thinned=1.0 if removes else 0.0,
        correlated=weight * slope * variance / full,
        gradient_correlated=slope / gain,
        pair_second=pair_second,
        pair_gain=float((df2 * df2) @ spread) / gain**2,
        pair_mixed=float((f2 * df2) @ spread) / (second * gain),
        pair_product=max(0.0, 1 + pair_second - products**2),
        pair_pair=float(4 * f[0] ** 2 * f[1] ** 2 * rho + 2 * f[1] ** 4 * rho**2) / second**2,
    )


def _spectrum(own: float, other: float, positions: int) -> Array:
    """Of noise with the variance ``own`` at every position and the covariance ``other`` of any two."""
    side = math.isqrt(positions)
    found = np.full((side, side), own - other)
    found[0, 0] += positions * other
    return found


def _transfer(stage: Stage) -> Array:
    """What the mean over a window does to each mode of the image."""
    angle = 2 * np.pi * np.arange(stage.size) / stage.size
    edge = stage.kernel // 2
    line = (1 + 2 * np.cos(np.outer(angle, np.arange(1, edge + 1))).sum(1)) / stage.kernel
    return np.outer(line, line)


def _thinned(spectrum: Array, stage: Stage) -> Array:
    """The spectrum of every ``stride``-th position, through the covariance of two of them."""
    n, out = stage.size, stage.out
    steps = np.minimum(np.arange(out), out - np.arange(out)) * stage.stride
    covariance = np.fft.ifft2(spectrum).real[np.ix_(steps % n, steps % n)]
    return np.asarray(np.maximum(np.fft.fft2(covariance).real, 0))


def _lifted(modes: Array, stage: Stage) -> Array:
    """Modes of the thinned image as those of the full one that it has for them."""
    index = np.arange(stage.size) % stage.out
    return np.asarray(modes[np.ix_(index, index)])
