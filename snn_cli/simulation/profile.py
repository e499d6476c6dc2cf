"""Every layer of a network, as a record has it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_cli.records import Profile
from snn_cli.simulation.infinite import angles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snn_cli.simulation.finite import Run

    Array = NDArray[np.float64]


def profile(run: Run, angle: float) -> Profile:
    """``angle``: between two inputs."""
    if run.means.counted:
        return _with_mean(run)
    infinite, depth = run.infinite, run.depth
    path = infinite.path
    layers = np.arange(depth + 1)
    index = np.minimum(layers, path.distinct)
    q = path.at(layers)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = infinite.moments.mean[index] * np.sqrt(q / path.q[index])
    log_gain = infinite.columns.log_gain[index]
    log_gradient = _summed_behind(log_gain[:-1])
    correlation = np.cos(angles(run.network, angle)) if infinite.tractable else None
    q_mean = q_sd = gradient_sd = None
    corrections = run.corrections(True)
    if corrections is not None:
        q_mean = q * (1 + corrections.q_mean)
        q_sd = q * np.sqrt(np.maximum(corrections.q_variance, 0))
        log_gradient = log_gradient + corrections.gradient_mean
        gradient_sd = np.sqrt(np.maximum(corrections.gradient_variance, 0))
    return Profile(
        layer=tuple(range(depth + 1)),
        q=_column(q),
        q_mean=_column(q_mean),
        q_sd=_column(q_sd),
        mean=_column(mean),
        chi=_column(np.exp(log_gain)),
        correlation=_column(correlation),
        log_gradient=_column(log_gradient),
        log_gradient_sd=_column(gradient_sd),
    )


def _with_mean(run: Run) -> Profile:
    """Of weights with a mean: at infinite width, and without correlations."""
    m, nu = run.means.state
    gains = run.means.gains()
    with np.errstate(invalid="ignore"):
        log_gradient = _summed_behind(np.log(gains[:-1]))
    return Profile(
        layer=tuple(range(run.depth + 1)),
        q=_column(m * m + nu),
        q_mean=None,
        q_sd=None,
        mean=_column(run.means.activations()),
        chi=_column(gains),
        correlation=None,
        log_gradient=_column(log_gradient),
        log_gradient_sd=None,
        unit_mean=_column(m),
        unit_variance=_column(nu),
    )


def _summed_behind(per_block: Array) -> Array:
    """At each layer the sum over the blocks from there on; 0 at the last one."""
    return np.concatenate([np.cumsum(per_block[::-1])[::-1], [0.0]])


def _column(values: Array | None) -> Any:
    if values is None:
        return None
    return tuple(x if math.isfinite(x) else None for x in values.tolist())
