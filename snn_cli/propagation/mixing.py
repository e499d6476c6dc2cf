"""Mixup: the second moment and the correlation of inputs that are mixtures of two."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from snn_cli.errors import InputError
from snn_cli.exact import rational

_NODES = 60
_SMALL, _LARGE = 1e-8, 1e5


def mixed_inputs(q0: Fraction, c0: Fraction, mixup: Any, scaled_mixup: Any) -> tuple[Fraction, Fraction]:
    """Second moment and correlation of two inputs ``t x_a + (1-t) x_b``, each with its own pair and ``t ~ Beta(A, A)``.

    All inputs have the second moment ``q0`` and the correlation ``c0`` with each other. Plain: q0 is multiplied by
    ``(A + 1)/(2 A + 1) + c0 A/(2 A + 1)``, exact, and the covariance stays ``c0 q0``. Scaled: each is divided by
    ``sqrt(t^2 + (1-t)^2)``; both moments are integrals over t, by Gauss-Jacobi quadrature.

    Raises InputError unless ``A > 0`` and ``c0 >= -1/3``: four inputs have no correlation below that with each other.
    """
    option, value = ("--mixup", mixup) if mixup is not None else ("--scaled-mixup", scaled_mixup)
    if value is None:
        return q0, c0
    a = rational(value, option)
    if a <= 0:
        raise InputError(
            f"{option} is {value}; the parameter of the Beta distribution must be above 0", f"{option} 0.2"
        )
    if c0 < Fraction(-1, 3):
        raise InputError(
            f"--c0 is {float(c0)}; of the four inputs in two mixtures no two can have a correlation below -1/3",
            "--c0 0",
        )
    if mixup is not None:
        factor = (a + 1 + c0 * a) / (2 * a + 1)
        return q0 * factor, c0 / factor
    cross, inverse = _scaled(float(a))
    factor = 1 + c0 * Fraction(cross)
    return q0 * factor, c0 * Fraction(inverse) ** 2 / factor


def mixtures(a: float, count: int = 8) -> tuple[list[float], list[float]]:
    """Second moments ``t^2 + (1-t)^2`` of mixtures of two independent inputs, ``t ~ Beta(a, a)``, and their weights.

    A Gauss-Jacobi rule in t; what a network does to each can be averaged with it.
    """
    if a < _SMALL:
        return [1.0], [1.0]
    if a > _LARGE:
        return [(a + 1) / (2 * a + 1)], [1.0]
    from scipy.special import roots_jacobi

    x, weights = roots_jacobi(count, a - 1, a - 1)
    return ((1 + x * x) / 2).tolist(), (weights / weights.sum()).tolist()


def _scaled(a: float) -> tuple[float, float]:
    """``E[2 t (1-t) / s^2]`` and ``E[1 / s]`` with ``s^2 = t^2 + (1-t)^2``."""
    if a < _SMALL:  # all but a share of a is at the ends
        return a * math.pi / 2, 1 + a * math.log(2)
    if a > _LARGE:  # in powers of x = 2 t - 1, whose variance is 1/(2 a + 1)
        square = 1 / (2 * a + 1)
        fourth = 3 * square / (2 * a + 3)
        return 1 - 2 * square + 2 * fourth, math.sqrt(2) * (1 - square / 2 + 3 * fourth / 8)
    import numpy as np
    from scipy.special import roots_jacobi

    x, weights = roots_jacobi(_NODES, a - 1, a - 1)
    weights = weights / weights.sum()
    squares = (1 + x * x) / 2  # t = (1 + x)/2
    return float(weights @ ((1 - x * x) / 2 / squares)), float(weights @ (1 / np.sqrt(squares)))
