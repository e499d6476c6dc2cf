"""One network: its mean field, and what its fan-in adds to first order in its inverse."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from snn_cli.propagation import fluctuations as theory
from snn_cli.records import Finite, Gradient
from snn_cli.simulation.infinite import mean_field, unit_fluctuations
from snn_cli.simulation.means import Means

if TYPE_CHECKING:
    from snn_cli.ensembles import Ensemble
    from snn_cli.propagation.fluctuations import Fluctuations, Rates
    from snn_cli.simulation.infinite import Network

LARGE_FLUCTUATION, LARGE_STEP = 0.25, 0.12
"""Variance of the relative deviation of q, and variance that one layer adds to the log gradient, from which the
expansion in 1/fan-in is called extrapolated."""

FAILS = 6.0
"""How many times as much makes it void: predictions are then those of infinite width."""

LARGEST_EXPONENT = 709.0
"""Logarithm up to which a factor is a double."""


class Run:
    """A network of one fan-in, or of ``sizes``, or of infinite width where both are None.

    ``modelled``: whether a theory of its size holds; ``expansion_fails``: whether it is too small for the one there is.
    """

    def __init__(
        self,
        network: Network,
        ensemble: Ensemble,
        fan_in: int | None,
        sizes: tuple[int, ...] | None,
        weight_mean: float,
        centralize_activation: bool,
    ) -> None:
        self.network = network
        self.ensemble = ensemble
        self.fan_in = fan_in
        self.sizes = sizes
        self.weight_mean = weight_mean
        self.centralize_activation = centralize_activation
        self.depth = network.depth
        self.infinite = mean_field(network)
        self.means = Means(network, self.infinite, fan_in, sizes, weight_mean)
        self.sized = fan_in is not None or sizes is not None
        self.modelled = self.sized and not self.means.counted and not centralize_activation
        self.expansion_fails = self.modelled and not self.largest_term < FAILS
        if self.expansion_fails:
            self.modelled = False

    def like(self, network: Network) -> Run:
        """Another network of the same size."""
        return Run(network, self.ensemble, self.fan_in, self.sizes, self.weight_mean, self.centralize_activation)

    @property
    def homogeneous(self) -> bool:
        """Whether the spread of q is known exactly, and no other term depends on it."""
        return self.infinite.field.homogeneous and not self.network.variance_b

    @property
    def largest_term(self) -> float:
        """Of the expansion, in units of those from which it is called extrapolated."""
        corrections = self.corrections(False)
        assert corrections is not None
        spread = 0.0 if self.homogeneous else corrections.largest_variance / LARGE_FLUCTUATION
        return max(spread, corrections.largest_step / LARGE_STEP)

    @cached_property
    def rates(self) -> Rates:
        """Deep rates at the smallest width; variances are of q, in its own units."""
        width = min(self.sizes[:-1]) if self.sizes else self.fan_in
        assert width is not None
        found = theory.rates(self.infinite.at_end, width, self.ensemble)
        q = self.infinite.q_end
        return found._replace(
            q_mean=None if found.q_mean is None else found.q_mean * q,
            q_variance=None if found.q_variance is None else found.q_variance * q * q,
        )

    def finite(self) -> Finite:
        """Deep rates; with widths that differ there are none."""
        if not self.modelled or self.fan_in is None or (self.infinite.limit and not self.infinite.field.homogeneous):
            return Finite(None, None, None, None)
        return Finite(*self.rates)

    def corrections(self, profile: bool) -> Fluctuations | None:
        """First-order corrections of this network; None where they are not modelled."""
        if not self.modelled:
            return None
        columns, depth, ensemble = self.infinite.columns, self.depth, self.ensemble
        if self.fan_in is None:
            assert self.sizes is not None
            widths = [float(n) for n in self.sizes]
            return theory.fluctuations(columns, depth, widths, ensemble, profile, homogeneous=self.homogeneous)
        if self.homogeneous:
            return theory.fluctuations(columns, depth, None, ensemble, profile, float(self.fan_in), homogeneous=True)
        return unit_fluctuations(self.network, ensemble.name, profile).over(self.fan_in)

    def gradient(self) -> Gradient:
        """Growth from the last layer to the input."""
        mean, deviation = self.growth()
        if not math.isfinite(mean):
            return Gradient(None, None, None)
        factor = math.exp(mean) if mean < LARGEST_EXPONENT else None
        known = deviation is not None and math.isfinite(deviation)
        return Gradient(mean, deviation if known else None, factor)

    def growth(self) -> tuple[float, float | None]:
        """Mean and deviation of ``log(|g[0]|^2 / |g[L]|^2)``."""
        if self.means.counted:
            if self.means.beyond_tolerance:
                return math.nan, None
            return float(np.sum(np.log(self.means.gains()[: self.depth]))), None
        total = self.infinite.log_gain(self.depth)
        corrections = self.corrections(False)
        if corrections is None:
            return total, None
        return total + float(corrections.gradient_mean[0]), math.sqrt(max(0.0, float(corrections.gradient_variance[0])))
