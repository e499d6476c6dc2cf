"""Baselines at one point in mpmath, and wrapped: against numpy, against mpmath's own derivative, and at their kinks."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from snn_cli import activations

POINTS = (-31.0, -3.7, -1.0, -0.3, 0.0, 1e-3, 0.4, 2.5, 31.0)
WRAPPED = {"a": 1.25, "b": 0.75, "c": -0.5, "d": 0.125}


@pytest.mark.parametrize("params", [{}, WRAPPED], ids=["plain", "wrapped"])
@pytest.mark.parametrize("name", activations.BASELINES)
def test_points(name, params):
    activation = activations.find(name, params)
    assert activation.parameters == tuple(params)
    mp = mpmath.MPContext()
    mp.dps = 40
    p = {key: mp.mpf(value) for key, value in params.items()}
    assert list(activation.kinks(mp, p)) == sorted(activation.kinks(mp, p))
    kinks = [float(at) for at in activation.kinks(None, params)]
    for x in POINTS:
        value, slope = activation.precise(mp, mp.mpf(x), p)
        size = np.array([x])
        assert float(activation.function(np, size, params)[0]) == pytest.approx(float(value), rel=1e-11, abs=1e-300)
        assert float(activation.derivative(np, size, params)[0]) == pytest.approx(float(slope), rel=1e-11, abs=1e-300)
        if all(abs(x - at) > 1e-6 for at in kinks):
            numeric = mp.diff(lambda t: activation.precise(mp, t, p)[0], mp.mpf(x))
            assert abs(numeric - slope) < mp.mpf(10) ** -18 * max(1, abs(slope))


def test_wrapped_is_what_it_says():
    f, wrapped = activations.find("gelu"), activations.find("gelu", WRAPPED)
    x = np.linspace(-4, 4, 9)
    expected = 1.25 * f.function(np, 0.75 * x - 0.5, {}) + 0.125
    assert np.array_equal(wrapped.function(np, x, WRAPPED), expected)
    assert activations.find("relu", WRAPPED).kinks(None, WRAPPED) == (0.5 / 0.75,)
