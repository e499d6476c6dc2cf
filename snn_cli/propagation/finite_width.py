"""What finite fan-in adds to mean field, to first order in ``1/N``, at ``q = 1`` with ``sigma_w = 1``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import Arithmetic
    from snn_cli.gaussian import Piecewise


class GradientDrift(NamedTuple):
    """Rates per layer deep inside a long network of Gaussian weights.

    ``drift``: mean change of ``log |dLoss/dx|^2`` going backward; ``q_mean``, ``q_variance``: mean and variance of
    ``delta = S - 1``, the stationary deviation of the second moment that the units of a layer share.
    """

    drift: Any
    q_mean: Any
    q_variance: Any


def gradient_drift(ar: Arithmetic, f: Piecewise, fan_in: int) -> GradientDrift:
    """Drift of the log squared gradient norm per layer at fan-in ``N = fan_in``, Gaussian weights.

    ``log chi - (3 kappa - 1)/(2N) + c1 E[delta] + c2 Var(delta)/2 + (r - 1) E[f^2 f'^2] / (N E[f^2] chi)``, where
    ``c1, c2`` are the derivatives of ``log chi(q)`` at 1, ``Var(delta) = Var(f^2) / (N (1 - gamma^2))``,
    ``E[delta] = V''(1) Var(delta) / (2 (1 - gamma))`` and ``r = (E[z^2 f'^2] - gamma^2) / (chi - gamma^2)``.
    First order in 1/N; requires ``gamma < 1`` (ZeroDivisionError at ``gamma = 1``: ReLU never settles).
    Held by test_finite_width.py against the theory's table of Monte Carlo runs and against a run of its own.
    """
    df = f.derivative()
    f2, df2 = f * f, df * df
    gamma, curvature = f2.scale_slopes()
    chi_slope, chi_curvature = df2.scale_slopes()
    m = DriftMoments(
        second=f2.expectation(),
        gamma=gamma,
        curvature=curvature,
        chi=df2.expectation(),
        chi_slope=chi_slope,
        chi_curvature=chi_curvature,
        slope_fourth=(df2 * df2).expectation(),
        fourth=(f2 * f2).expectation(),
        mixed=(f2 * df2).expectation(),
        along=df2.times_power(2).expectation(),
    )
    return drift_of(ar.log(m.chi), m, fan_in)


class DriftMoments(NamedTuple):
    """What the drift is made of: derivatives of ``E[f^2]`` and ``E[f'^2]`` by q at 1, and expectations there."""

    second: Any  # E[f^2]
    gamma: Any  # d E[f^2] / dq = E[f^2 (z^2 - 1)] / 2
    curvature: Any  # d^2 E[f^2] / dq^2 = E[f^2 (z^4 - 6 z^2 + 3)] / 4
    chi: Any  # E[f'^2]
    chi_slope: Any
    chi_curvature: Any
    slope_fourth: Any  # E[f'^4]
    fourth: Any  # E[f^4]
    mixed: Any  # E[f^2 f'^2]
    along: Any  # E[z^2 f'^2]


def drift_of(log_chi: Any, m: DriftMoments, fan_in: int) -> GradientDrift:
    """The drift from its moments, in any arithmetic; ``log_chi`` is the logarithm of ``m.chi``."""
    c1 = m.chi_slope / m.chi
    c2 = m.chi_curvature / m.chi - c1 * c1
    kappa = m.slope_fourth / (m.chi * m.chi)
    q_variance = (m.fourth - m.second * m.second) / (fan_in * (1 - m.gamma * m.gamma))
    q_mean = m.curvature * q_variance / (2 * (1 - m.gamma))
    along = (m.along - m.gamma * m.gamma) / (m.chi - m.gamma * m.gamma)
    drift = (
        log_chi
        - (3 * kappa - 1) / (2 * fan_in)
        + c1 * q_mean
        + c2 * q_variance / 2
        + (along - 1) * m.mixed / (fan_in * m.second * m.chi)
    )
    return GradientDrift(drift, q_mean, q_variance)
