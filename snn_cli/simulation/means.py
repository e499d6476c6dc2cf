"""Weights with a mean: what comes of the mean of the units, which is then no longer 0, layer by layer."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from snn_cli.propagation.mean import MeanMap, shifted_moments
from snn_cli.records import MeanPath, MeanState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snn_cli.simulation.infinite import Infinite, Network

    Array = NDArray[np.float64]

_AT_ONCE = 2048  # layers


class Means:
    """Of one network; ``weight_mean`` in units of the weights' own deviation."""

    def __init__(
        self,
        network: Network,
        infinite: Infinite,
        fan_in: int | None,
        sizes: tuple[int, ...] | None,
        weight_mean: float,
    ) -> None:
        self._network, self._infinite = network, infinite
        self._fan_in, self._sizes = fan_in, sizes
        self._weight_mean = weight_mean
        self._deviation = math.sqrt(network.variance_w)
        self._widest = fan_in or (max(sizes) if sizes else None)
        self.counted = bool(weight_mean) and not network.centralized

    @cached_property
    def path(self) -> MeanPath:
        """Slope and tolerance at the fixed point, and the fixed points and the basin of the map with a weight mean."""
        width, slope, centralized = self._widest, self._infinite.mean_slope, self._network.centralized
        restoring = self._restoring() if centralized else None
        if width is None:
            return MeanPath(0.0 if not self._weight_mean else None, None, restoring_sigma_w=restoring)
        scale = self._deviation * math.sqrt(width) * slope
        tolerance = None
        if scale and not centralized and math.isfinite(1 / abs(scale)):
            tolerance = 1 / abs(scale)
        if not self.counted:
            return MeanPath(0.0, tolerance, restoring_sigma_w=restoring)
        found = self._map(width)
        return MeanPath(
            self._weight_mean * scale,
            tolerance,
            tuple(MeanState(*state) for state in found.fixed_points()),
            found.basin(self._infinite.q_end),
        )

    @property
    def beyond_tolerance(self) -> bool:
        """Whether a mean of the units is not attracted to 0: which way it goes is left to chance."""
        slope = self.path.slope
        return slope is not None and abs(slope) > 1

    @property
    def own_growth(self) -> float:
        """What a layer does to a mean of the units that one input has and others have not.

        ``fan_in mu_w E[f']``, as without centralization: one scalar taken from f removes the mean that inputs share.
        """
        width = math.sqrt(self._widest or 0)
        return abs(self._weight_mean * self._deviation * width * self._infinite.mean_slope)

    @cached_property
    def state(self) -> tuple[Array, Array]:
        """Unit mean and variance at layers ``0 ... depth``."""
        if self._sizes is None:
            assert self._fan_in is not None
            return self._map(self._fan_in).path(self._network.q0, self._network.depth)
        m, nu = 0.0, self._network.q0
        means, variances = [m], [nu]
        for width in self._sizes[:-1]:
            m, nu = (float(x) for x in self._map(width).following(m, nu))
            means.append(m)
            variances.append(nu)
        return np.array(means), np.array(variances)

    def gains(self) -> Array:
        """``sigma_w^2 E[f'^2]`` at every layer; nan from where the mean leaves the range."""
        return self._network.variance_w * self._shifted(3)

    def activations(self) -> Array:
        """``E[f]`` at every layer; nan from where the mean leaves the range."""
        return self._shifted(0)

    def _shifted(self, which: int) -> Array:
        """One of `shifted_moments` over layers, a few at a time."""
        means, variances = self.state
        kept = np.flatnonzero(np.isfinite(means))
        found = np.full(len(means), np.nan)
        for start in range(0, len(kept), _AT_ONCE):
            part = kept[start : start + _AT_ONCE]
            found[part] = shifted_moments(self._infinite.field, means[part], np.sqrt(variances[part]))[which]
        return found

    def _map(self, width: int) -> MeanMap:
        return MeanMap(self._infinite.field, self._weight_mean * self._deviation * math.sqrt(width))

    def _restoring(self) -> float | None:
        """Solves ``sigma_w^2 Var f + sigma_b^2 = 1`` at ``q = 1``."""
        variance = float(self._infinite.field.moments(np.array([1.0])).second[0])
        left = 1 - self._network.variance_b
        return math.sqrt(left / variance) if left > 0 and variance > 0 else None
