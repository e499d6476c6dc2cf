"""The mean of the pre-activations over units, which weights with a common mean pass on: section 6 of the theory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snn_cli.propagation.meanfield import MeanField

    Array = NDArray[np.float64]

FAR = 1e6
"""A mean or a deviation beyond which a path counts as lost to infinity."""

_STEPS = 4000
_NEWTON_STEPS = 40
_SCAN = np.concatenate([-np.geomspace(1e-5, 1e3, 64)[::-1], [0.0], np.geomspace(1e-5, 1e3, 64)])
_SETTLED = 1e-13


class MeanFixedPoint(NamedTuple):
    """A fixed point of the map of mean and variance; ``stable`` where both eigenvalues are below 1 in size."""

    mean: float
    variance: float
    stable: bool


def shifted_moments(field: MeanField, mean: Any, deviation: Any) -> tuple[Any, Any, Any, Any, Any]:
    """``E[f], E[f^2], E[f'], E[f'^2], E[f^2 (z^2 - 1)]`` of ``f(mean + deviation z)``, split at kinks.

    Arrays of means and deviations that broadcast.

    Held by test_mean.py against the closed forms of shifted half-line moments.
    """
    z, weights, x = _nodes(field, mean, deviation)
    f, df = field.f(x), field.df(x)
    tilt = weights * (z * z - 1)
    first, second = (f * weights).sum(-1), (f * f * weights).sum(-1)
    return first, second, (df * weights).sum(-1), (df * df * weights).sum(-1), (f * f * tilt).sum(-1)


def _nodes(field: MeanField, mean: Any, deviation: Any) -> tuple[Array, Array, Array]:
    """z, weights with the normal density, and ``mean + deviation z``, along a further dimension."""
    mean, deviation = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), np.asarray(deviation, dtype=np.float64))
    z, weights = field.rule(mean, deviation)
    return z, weights, mean[..., None] + deviation[..., None] * z


class MeanMap:
    """``m' = a E[f(m + sqrt(nu) z)]``, ``nu' = sigma_w^2 E[f(m + sqrt(nu) z)^2] + sigma_b^2``, ``a = fan_in mu_w``."""

    def __init__(self, field: MeanField, coupling: float) -> None:
        self.field = field
        self.coupling = coupling

    def following(self, mean: Any, variance: Any) -> tuple[Any, Any]:
        """Mean and variance behind a layer, for arrays of both."""
        _, weights, x = _nodes(self.field, mean, np.sqrt(variance))
        f = self.field.f(x)
        first, second = (f * weights).sum(-1), (f * f * weights).sum(-1)
        return self.coupling * first, self.field.variance_w * second + self.field.variance_b

    def path(self, variance: float, depth: int) -> tuple[Array, Array]:
        """Means and variances at layers ``0 ... depth`` from mean 0; nan from where they leave the scale."""
        means, variances = np.full(depth + 1, np.nan), np.full(depth + 1, np.nan)
        m, nu = 0.0, variance
        for layer in range(depth + 1):
            means[layer], variances[layer] = m, nu
            if layer == depth:
                break
            following = tuple(float(x) for x in self.following(m, nu))
            if not (abs(following[0]) < FAR and following[1] < FAR**2):
                break
            if following == (m, nu):
                means[layer:], variances[layer:] = m, nu
                break
            m, nu = following
        return means, variances

    def fixed_points(self) -> tuple[MeanFixedPoint, ...]:
        """All with a mean up to 1000 in size, in rising order: roots in m of the map at the variance that m keeps."""
        means = _SCAN
        excess = self._excess(means)[0]
        sign = np.where(np.abs(excess) <= _SETTLED, 0, np.sign(excess))
        sign = np.where(np.isfinite(excess), sign, np.nan)
        roots = [float(m) for m in means[sign == 0]]
        at = np.flatnonzero(sign[:-1] * sign[1:] < 0)
        lo, hi = means[at], means[at + 1]
        for _ in range(60):
            middle = (lo + hi) / 2
            same = np.sign(self._excess(middle)[0]) == sign[at]
            lo, hi = np.where(same, middle, lo), np.where(same, hi, middle)
        roots += [float(m) for m in (lo + hi) / 2]
        found = []
        for m in sorted(roots):
            nu = float(self._excess(np.array([m]))[1][0])
            found.append(MeanFixedPoint(m, nu, self._attracts(m, nu)))
        return tuple(found)

    def _excess(self, means: Array) -> tuple[Array, Array]:
        """The map less m at the variance that it keeps at that mean, and that variance; nan where there is none.

        By Newton's method, with ``d E[f^2] / d nu = E[f^2 (z^2 - 1)] / (2 nu)``.
        """
        log_variance = np.zeros_like(means)
        for _ in range(_NEWTON_STEPS):
            variance = np.exp(log_variance)
            first, second, *_, tilted = shifted_moments(self.field, means, np.sqrt(variance))
            value = self.field.variance_w * second + self.field.variance_b
            slope = self.field.variance_w * tilted / 2 / value
            with np.errstate(divide="ignore", invalid="ignore"):
                step = (np.log(value) - log_variance) / (1 - slope)
            log_variance = np.where(slope < 1, log_variance + np.clip(step, -3, 3), np.nan)
            log_variance = np.where(log_variance < 2 * math.log(FAR), log_variance, np.nan)
            if (np.isnan(step) | (np.abs(step) <= _SETTLED) | np.isnan(log_variance)).all():
                break
        return self.coupling * first - means, np.exp(log_variance)

    def _attracts(self, m: float, nu: float) -> bool:
        h = 1e-5
        steps = np.array([[m + h, nu], [m - h, nu], [m, nu * (1 + h)], [m, nu * (1 - h)]])
        a, b = self.following(steps[:, 0], steps[:, 1])
        jacobian = np.array(
            [
                [(a[0] - a[1]) / (2 * h), (a[2] - a[3]) / (2 * h * nu)],
                [(b[0] - b[1]) / (2 * h), (b[2] - b[3]) / (2 * h * nu)],
            ]
        )
        return bool(np.abs(np.linalg.eigvals(jacobian)).max() < 1)

    def basin(self, variance: float) -> tuple[float | None, float | None]:
        """Means between which paths that start at this variance stay finite; None where there is no such end.

        The ends are found by following paths, so they are those of the whole two-dimensional map.
        """
        return self._edge(variance, -1), self._edge(variance, 1)

    def _edge(self, variance: float, sign: int) -> float | None:
        starts = sign * np.geomspace(1e-3, 1e3, 24)
        kept = self._stays(starts, variance)
        if kept.all():
            return None
        i = int(np.argmin(kept))
        lo, hi = (float(starts[i - 1]) if i else 0.0), float(starts[i])
        for _ in range(5):  # a factor of 11 a round
            inner = np.linspace(lo, hi, 12)
            kept = self._stays(inner, variance)
            i = int(np.argmin(kept)) if not kept.all() else len(inner) - 1
            lo, hi = float(inner[max(i - 1, 0)]), float(inner[i])
        return (lo + hi) / 2

    def _stays(self, means: Array, variance: float) -> NDArray[np.bool_]:
        m, nu = means.copy(), np.full_like(means, variance)
        alive = np.ones(len(means), dtype=bool)
        for _ in range(_STEPS):
            a, b = self.following(m[alive], nu[alive])
            inside = (np.abs(a) < FAR) & (b < FAR**2)
            still = np.abs(a - m[alive]) <= 1e-8 * (1 + np.abs(a))
            m[alive], nu[alive] = a, b
            alive[np.flatnonzero(alive)[~inside]] = False
            if not alive.any() or still[inside].all():
                break
        return alive
