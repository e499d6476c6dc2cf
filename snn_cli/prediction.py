"""What theory says of a measurement, layer by layer, and how far it may be off."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli import activations, ensembles
from snn_cli.architectures import Stage
from snn_cli.propagation import spatial
from snn_cli.propagation.meanfield import MeanField
from snn_cli.propagation.mixing import mixtures
from snn_cli.records import Note, Propagation
from snn_cli.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SECOND_ORDER = 4.0
"""Error that theory is allowed, over fan-in squared: per layer for ``log |gradient|^2``, and for q. The terms of second
order seen in Monte Carlo runs at fan-in 32 are from 1 to 4; first-order theory has none of them. Convolutions are
allowed it over the square of their channels: runs with 16 to 64 of them show 0 to 2."""

LARGEST_SPREAD = 0.1
"""Variance of a convolution's second moments and correlations up to which its first-order theory is used. Monte Carlo
runs bear it out up to 0.05; relu, whose variance grows with every layer, is 5 standard errors of 1000 networks off at
2.4, and 16 at 5."""

_OF_PERCEPTRONS = {
    Note.EXPANSION_FAILS, Note.FINITE_WIDTH_EXTRAPOLATED, Note.FINITE_NOT_MODELLED, Note.NEVER_SETTLES,
}  # fmt: skip
_VOID = {Note.BEYOND_TOLERANCE, Note.MEAN_ESCAPES}


class Predicted(NamedTuple):
    """Arrays over layers ``0 ... L``, nan where there is nothing.

    q, infinite_q
        Second moment, at this size and at infinite width.
    q_sd, unit_share
        Deviation of the second moment over all units, over networks and inputs; the share of its relative variance that
        is left to chance within a layer: not what its units share.
    log_gradient, infinite
        Of the squared norm, relative to the last layer, at this size and at infinite width.
    log_gradient_sd
        Deviation of ``log_gradient`` for one input.
    q_allowance, gradient_allowance
        Error that this is allowed.
    mean
        Of the pre-activations over units.
    tested
        Whether there is something to test.
    finite
        Whether it is a theory of this size.
    notes
        What it is, where that is not the theory of perceptrons at their fan-in.
    """

    q: Array
    infinite_q: Array
    q_sd: Array
    unit_share: Array
    log_gradient: Array
    infinite: Array
    log_gradient_sd: Array
    q_allowance: Array
    gradient_allowance: Array
    mean: Array
    tested: bool
    finite: bool
    notes: tuple[Note, ...] = ()

    @property
    def log_growth_sd(self) -> float | None:
        """Deviation of the log growth over the whole network for one input."""
        found = float(self.log_gradient_sd[0])
        return found if math.isfinite(found) else None


def perceptron(theory: Propagation, widths: Sequence[int]) -> Predicted:
    """Of a multilayer perceptron as `simulate` has it: at its fan-in where that is modelled, else at infinite width."""
    assert theory.profile is not None
    columns, sizes = theory.profile, np.array(widths, dtype=float)
    q = _array(columns.q)
    with np.errstate(all="ignore"):
        infinite = np.concatenate([np.cumsum(np.log(_array(columns.chi))[:-1][::-1])[::-1], [0.0]])
    unit_share = np.zeros(len(sizes)) if ensembles.get(theory.weights).orthogonal else 2 / sizes
    unit_share[0] = 2 / sizes[0]
    finite = theory.gradient.log_growth_sd is not None
    return Predicted(
        q=_array(columns.q_mean or columns.q),
        infinite_q=q,
        q_sd=_array(columns.q_sd or [None] * len(q)),
        unit_share=unit_share,
        log_gradient=_array(columns.log_gradient),
        infinite=infinite,
        log_gradient_sd=_array(columns.log_gradient_sd or [None] * len(q)),
        q_allowance=q * (SECOND_ORDER / np.concatenate([sizes[:1], sizes[:-1]]) ** 2),
        gradient_allowance=_summed(SECOND_ORDER / sizes[:-1] ** 2),
        mean=np.zeros(len(q)) if columns.unit_mean is None else _array(columns.unit_mean),
        tested=finite,
        finite=finite,
    )


def predict(options: Mapping[str, Any], theory: Propagation, stages: Sequence[Stage] | None, batch: int) -> Predicted:
    """What theory says of networks with these options of `simulate`, ``theory`` being its record.

    ``stages``: of a convolutional network. Inputs of the batch are independent. Where they are mixed, each has the
    second moment of its own mixture, and predictions are averaged over them.
    """
    if theory.mixup is None:
        return _one(options, theory, stages, batch)
    factors, weights = mixtures(theory.mixup)
    start = theory.q0 / sum(f * w for f, w in zip(factors, weights, strict=True))
    plain = {name: value for name, value in options.items() if name not in ("mixup", "scaled_mixup")}
    parts = []
    for factor in factors:
        given = {**plain, "q0": start * factor}
        parts.append(_one(given, simulate(**given), stages, batch))
    return _averaged(parts, np.array(weights))


def _one(options: Mapping[str, Any], theory: Propagation, stages: Sequence[Stage] | None, batch: int) -> Predicted:
    if stages is not None:
        return _convolutional(options, theory, stages, batch)
    assert theory.fan_in is not None or theory.widths is not None
    widths = theory.widths or (theory.fan_in or 0,) * (theory.depth + 1)
    found = perceptron(theory, widths)
    if theory.weight_mean and not (theory.centralize or theory.centralize_activation):
        plain = perceptron(simulate(**{**options, "weight_mean": 0}), widths)
        return _with_mean(found, plain, theory)
    if not theory.centralize_activation:
        return found
    if Note.OWN_MEANS_GROW in theory.notes:
        return found._replace(tested=False, notes=(Note.THEORY_VOID,))
    if not ensembles.get(theory.weights).orthogonal:
        layers = [Stage(n, m, 1) for n, m in pairwise(widths)]
        found = _spatial(options, theory, layers, batch)
        return found._replace(notes=tuple(note for note in found.notes if note is not Note.FINITE_CHANNELS))
    instead = {**options, "centralize_activation": False, "centralize": True}
    return _fluctuating(_instead(found, perceptron(simulate(**instead), widths)), theory)


def _convolutional(options: Mapping[str, Any], theory: Propagation, stages: Sequence[Stage], batch: int) -> Predicted:
    if spatial.unmixed(stages, ensembles.get(theory.weights).orthogonal):
        return _alone(options, stages, batch)
    return _spatial(options, theory, stages, batch)


def _spatial(options: Mapping[str, Any], theory: Propagation, stages: Sequence[Stage], batch: int) -> Predicted:
    """Infinite width position by position, with what the channels add, or at least with a bound on it."""
    ensemble = ensembles.get(theory.weights)
    settings = spatial.Options(
        delta=ensemble.orthogonal,
        weight_mean=theory.weight_mean,
        centralize=theory.centralize,
        centralize_activation=theory.centralize_activation,
        excess_kurtosis=ensemble.excess_kurtosis,
    )
    plain, removed = _fields(theory, stages, False), theory.centralize or theory.centralize_activation
    path = spatial.propagate(plain, stages, theory.q0, settings)
    base = _of_path(path, stages)
    if theory.weight_mean and not removed:
        settings = settings._replace(weight_mean=0.0)
        path = spatial.propagate(plain, stages, theory.q0, settings)
        without = base._replace(q=path.q, infinite_q=path.q, log_gradient=path.log_gradient, infinite=path.log_gradient)
        return _with_mean(base, _sized(without, plain, path, settings, options, stages, batch), theory)
    fields = _fields(theory, stages, True) if removed else plain
    found = _sized(base, fields, path, settings, options, stages, batch)
    return _fluctuating(found, theory) if theory.weight_mean and theory.centralize_activation else found


def _fields(theory: Propagation, stages: Sequence[Stage], centralized: bool) -> list[MeanField]:
    """f before each stage."""
    params, variances = dict(theory.params), (theory.sigma_w**2, theory.sigma_b**2)
    f = MeanField(activations.find(theory.act, params), params, *variances, centralized)
    same = MeanField(activations.find("linear"), {}, *variances)
    return [f if stage.activated else same for stage in stages]


def _of_path(path: spatial.Path, stages: Sequence[Stage]) -> Predicted:
    """Infinite width, allowed what is of second order in the numbers that meet in a layer."""
    channels = np.array([*(stage.inputs for stage in stages), stages[-1].channels], dtype=float)
    positions = np.array([*(stage.size**2 for stage in stages), stages[-1].out ** 2], dtype=float)
    counts = [stage.inputs if stage.activated else stage.fan_in for stage in stages]  # pixels are independent
    allowed = SECOND_ORDER / np.array(counts, dtype=float) ** 2
    unknown = np.full_like(path.q, np.nan)
    return Predicted(
        q=path.q,
        infinite_q=path.q,
        q_sd=unknown,
        unit_share=2 / (channels * positions),
        log_gradient=path.log_gradient,
        infinite=path.log_gradient,
        log_gradient_sd=unknown,
        q_allowance=path.q * np.concatenate([allowed[:1], allowed]),
        gradient_allowance=_summed(allowed),
        mean=path.mean,
        tested=True,
        finite=False,
    )


def _sized(
    base: Predicted,
    fields: Sequence[MeanField],
    path: spatial.Path,
    settings: spatial.Options,
    options: Mapping[str, Any],
    stages: Sequence[Stage],
    batch: int,
) -> Predicted:
    """With the corrections of first order in the channels, or allowed a perceptron's where they are too large."""
    if not np.isfinite(path.log_gradient).all():
        return base._replace(tested=False)
    more = None if settings.delta else spatial.corrections(fields, stages, path, settings, batch)
    if more is None or not more.spread <= LARGEST_SPREAD:
        return _instead(base, _perceptron_of(options, stages))
    found = _corrected(base, path, more)
    if spatial.uniform(stages):
        return found
    gradient, q = np.abs(found.log_gradient - base.log_gradient), np.abs(found.q - base.q)
    return found._replace(
        gradient_allowance=base.gradient_allowance + _largest_behind(gradient),
        q_allowance=base.q_allowance + q,
        log_gradient_sd=found.log_gradient_sd * (math.nan if any(stage.pooled for stage in stages) else 1),
        notes=(Note.BORDERS_APPROXIMATE,),
    )


def _corrected(base: Predicted, path: spatial.Path, more: spatial.Corrections) -> Predicted:
    with np.errstate(all="ignore"):
        q_sd = path.q * more.q_sd
        unit_share = more.q_sd**2 - more.q_shared
    return base._replace(
        q=path.q * (1 + more.q_mean),
        q_sd=q_sd,
        unit_share=unit_share,
        log_gradient=path.log_gradient + more.gradient_mean,
        log_gradient_sd=np.sqrt(np.maximum(more.gradient_variance, 0)),
        finite=True,
        notes=(Note.FINITE_CHANNELS,),
    )


def _alone(options: Mapping[str, Any], stages: Sequence[Stage], batch: int) -> Predicted:
    """Of layers that mix no positions: every position is an input of its own to one perceptron.

    The gradient is summed over n positions. The mean of the logarithm of the sum is at least that of one, and at most
    that and ``(1 - 1/n)/2`` of its variance, which is reached by positions that are independent: the middle is
    predicted, and half of the difference allowed.
    """
    sizes = (*(stage.inputs for stage in stages), stages[-1].channels)
    given = {**options, "depth": None, "fanin": None, "widths": sizes}
    positions = stages[0].size ** 2
    found = _one(given, simulate(**given), None, batch * positions)
    if positions == 1:
        return found
    half = np.nan_to_num(found.log_gradient_sd**2) * (1 - 1 / positions) / 4
    unknown = np.full_like(half, math.nan)
    return found._replace(
        log_gradient=found.log_gradient + half,
        gradient_allowance=found.gradient_allowance + _largest_behind(half),
        log_gradient_sd=unknown,
        q_sd=unknown,
        notes=(*found.notes, Note.POSITIONS_ALONE),
    )


def _perceptron_of(options: Mapping[str, Any], stages: Sequence[Stage]) -> Predicted:
    """A perceptron of as many units as there are channels: all positions alike, which is the other end."""
    sizes = (*(max(stage.inputs if stage.activated else stage.fan_in, 2) for stage in stages), stages[-1].channels)
    given = {**options, "depth": None, "fanin": None, "widths": sizes, "weight_mean": 0}
    return perceptron(simulate(**given), sizes)


def _instead(found: Predicted, like: Predicted) -> Predicted:
    """Infinite width, allowed what another theory of this size says that the size does."""
    gradient, q = np.abs(like.log_gradient - like.infinite), np.abs(like.q / like.infinite_q - 1)
    return found._replace(
        gradient_allowance=found.gradient_allowance + _largest_behind(gradient),
        q_allowance=found.q_allowance + q * found.infinite_q,
        tested=like.finite and bool(np.isfinite(found.log_gradient).all()),
        notes=(Note.INFINITE_WIDTH_COMPARED if like.finite else Note.NO_FINITE_THEORY,),
    )


def _with_mean(found: Predicted, plain: Predicted, theory: Propagation) -> Predicted:
    """Weights with a mean: ``plain``, without it, and what it does at infinite width to that.

    What it does is allowed once more, for what mean and size do together.
    """
    void = bool(_VOID & set(theory.notes)) or theory.gradient.log_growth is None
    if void or not np.isfinite(found.log_gradient).all():
        return found._replace(tested=False, notes=(Note.THEORY_VOID,))
    shift, ratio = found.infinite - plain.infinite, found.infinite_q / plain.infinite_q
    return _fluctuating(
        found._replace(
            q=plain.q * ratio,
            q_sd=plain.q_sd * ratio,
            log_gradient=plain.log_gradient + shift,
            log_gradient_sd=plain.log_gradient_sd,
            gradient_allowance=plain.gradient_allowance + _largest_behind(np.abs(shift)),
            q_allowance=plain.q_allowance * ratio + np.abs(ratio - 1) * found.infinite_q,
            tested=plain.tested,
            finite=plain.finite,
            notes=(*plain.notes, Note.MEAN_ADDED),
        ),
        theory,
    )


def _fluctuating(found: Predicted, theory: Propagation) -> Predicted:
    """Allowed what fluctuations of the mean of f do where weights have a mean ``u`` deviations from 0.

    Over the fan-in, they make pre-activations that differ by ``u^2 Var f`` in q from layer to layer, fed back with
    ``a = fan_in mu_w E[f']`` to ``u^2/(1 - a^2)``; the part of rank one does as much to the gradient.
    """
    left = 1 - (theory.mean_path.slope or 0.0) ** 2
    if left <= 0:
        return found._replace(tested=False, notes=(Note.THEORY_VOID,))
    extra = theory.weight_mean**2 / left
    return found._replace(
        gradient_allowance=found.gradient_allowance + _summed(np.full(len(found.q) - 1, 2 * extra)),
        q_allowance=found.q_allowance + extra * found.infinite_q,
    )


def _averaged(parts: Sequence[Predicted], weights: Array) -> Predicted:
    """Over inputs of several second moments."""

    def mean(value: Callable[[Predicted], Any]) -> Any:
        return sum(w * value(part) for w, part in zip(weights, parts, strict=True))

    q, growth = mean(lambda p: p.q), mean(lambda p: p.log_gradient)
    first = parts[0]
    with np.errstate(all="ignore"):
        gradient_sd = np.sqrt(np.maximum(mean(lambda p: p.log_gradient_sd**2 + p.log_gradient**2) - growth * growth, 0))
        q_sd = np.sqrt(np.maximum(mean(lambda p: p.q_sd**2 + p.q**2) - q * q, 0))
    return first._replace(
        q=q,
        infinite_q=mean(lambda p: p.infinite_q),
        q_sd=q_sd,
        log_gradient=growth,
        infinite=mean(lambda p: p.infinite),
        log_gradient_sd=gradient_sd,
        q_allowance=mean(lambda p: p.q_allowance),
        gradient_allowance=mean(lambda p: p.gradient_allowance),
        mean=mean(lambda p: p.mean),
        tested=all(part.tested for part in parts),
        finite=all(part.finite for part in parts),
    )


def notes(theory: Propagation, predicted: Predicted, convolutional: bool) -> list[Note]:
    """Those of `simulate` that hold here, and what is compared."""
    dropped = _OF_PERCEPTRONS if convolutional or theory.centralize_activation else set()
    return [*(note for note in theory.notes if note not in dropped), *predicted.notes]


def _largest_behind(values: Array) -> Array:
    """At each layer the largest value from there on: an allowance does not shrink where a difference crosses 0."""
    return np.asarray(np.maximum.accumulate(values[::-1])[::-1])


def _summed(per_layer: Array) -> Array:
    return np.concatenate([np.cumsum(per_layer[::-1])[::-1], [0.0]])


def _array(values: Sequence[float | None]) -> Array:
    return np.array([math.nan if x is None else x for x in values], dtype=float)
