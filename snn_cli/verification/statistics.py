"""Means over networks, and their errors, as a record has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def value(x: Any) -> float | None:
    """None for what is not finite."""
    return float(x) if np.isfinite(x) else None


def error_of(values: Array) -> float | None:
    """Of the mean of these; None for one value."""
    return value(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def column(values: Array) -> tuple[float | None, ...]:
    """Layer by layer."""
    return tuple(x if math.isfinite(x) else None for x in values.tolist())


def squared_mean(over_networks: Any) -> Any:
    """``E[x]^2`` without bias: a mean over T networks squared is more by ``Var x / T``."""
    count = len(over_networks)
    mean = over_networks.mean(axis=0)
    return mean * mean - (over_networks.var(axis=0, ddof=1) / count if count > 1 else 0.0)


def over_networks(values: Array, layers: int) -> tuple[Array, Array]:
    """Mean and its error at every layer; nan where there are too few networks for them."""
    count, unknown = len(values), np.full(layers, np.nan)
    with np.errstate(all="ignore"):
        mean = values.mean(axis=0) if count else unknown
        error = values.std(axis=0, ddof=1) / math.sqrt(count) if count > 1 else unknown
    return mean, error
