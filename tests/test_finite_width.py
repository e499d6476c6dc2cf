"""The drift behind ``--epsilon auto``: the theory's table, real random networks, and Hanin and Nica's result."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from snn_cli import InputError, NoSolution, Note, solve
from snn_cli.activations import get
from snn_cli.arithmetic.multiprecision import Multiprecision
from snn_cli.propagation.finite_width import gradient_drift


def drift(solution, fan_in):
    ar = Multiprecision(200)
    params = {name: ar.number(Fraction(value)) for name, value in solution.params.items()}
    return gradient_drift(ar, get(solution.act).shape(ar, params), fan_in)


@pytest.mark.parametrize(
    ("fan_in", "epsilon"),
    [
        (32, "0.0428817"),
        (64, "0.0181276"),
        (128, "0.0083893"),
        (256, "0.0040430"),
        (512, "0.0019857"),
        (1024, "0.00098430"),
        (4096, "0.00024455"),
    ],
)
def test_fan_in_aware_epsilon(fan_in, epsilon):
    """The theory's list, to its last digit; the drift at the solution is zero."""
    s = solve("lselu", "auto", fanin=fan_in)
    assert abs(s.epsilon - float(epsilon)) <= 10 ** -(len(epsilon) - 2) * 1.0001
    assert abs(drift(s, fan_in).drift) < 1e-15  # of the doubles, whose own errors are of that order
    assert s.fan_in == fan_in


@pytest.mark.parametrize("act", ["lselu", "sselu"])
def test_wide_limit_and_correct_rounding(act):
    s = solve(act, "auto", fanin=10**9)
    assert abs(s.epsilon * 10**9 - 1) < 1e-3
    assert s.epsilon == float(dict(solve(act, "auto", fanin=10**9, digits=40).decimals)["epsilon"])


@pytest.mark.parametrize(
    ("act", "fan_in", "value"), [("lselu", 64, 0.010114), ("sselu", 64, 0.010379), ("lselu", 128, 0.019838)]
)
def test_theory_table(act, fan_in, value):
    """Section 5, last digit: its figures are means over a window, the rates here those deep inside."""
    assert abs(drift(solve(act, "0.03"), fan_in).drift - value) < 1e-5


def test_relu_and_linear_constants():
    """``3 kappa - 1`` is 5 for ReLU, Hanin and Nica's constant; where gamma is 1 nothing is stationary."""
    from snn_cli.gaussian import Piecewise, moments

    ar = Multiprecision(100)
    relu = Piecewise.of(ar, ar.number(1), {}, {(1, 0): ar.sqrt(ar.number(2))})
    assert 3 * moments(relu).kappa - 1 == 5
    linear = Piecewise.of(ar, ar.number(1), {(1, 0): ar.number(1)}, {(1, 0): ar.number(1)})
    assert 3 * moments(linear).kappa - 1 == 2
    with pytest.raises(ZeroDivisionError):
        gradient_drift(ar, linear, 64)


@pytest.fixture(scope="module", params=["lselu", "sselu"])
def networks(request):
    """Random networks of depth 64 and fan-in 64: growth per layer over the middle half, and S in the last layers."""
    solution = solve(request.param, "0.03")
    f, df = solution.function(), solution.derivative()
    width, depth, count = 64, 64, 500
    rng = np.random.default_rng(20)
    x = rng.standard_normal((count, width, 1))
    inputs, weights = [x], []
    for _ in range(depth):
        w = rng.standard_normal((count, width, width), dtype=np.float32).astype(float) / np.sqrt(width)
        x = w @ f(x)
        weights.append(w)
        inputs.append(x)
    g = rng.standard_normal((count, width, 1))
    log_norm = {}
    for layer in range(depth - 1, -1, -1):
        g = df(inputs[layer]) * (weights[layer].transpose(0, 2, 1) @ g)
        log_norm[layer] = np.log((g**2).sum((1, 2)))
    growth = (log_norm[16] - log_norm[48]) / 32
    shared = np.stack([(f(x) ** 2).mean((1, 2)) for x in inputs[24::8]])
    return solution, growth, shared


def test_drift_of_real_networks(networks):
    solution, growth, _ = networks
    measured, error = growth.mean(), growth.std(ddof=1) / np.sqrt(len(growth))
    assert abs(measured - float(drift(solution, 64).drift)) < 4 * error
    assert abs(measured - np.log(solution.chi)) > 4 * error, "infinite width must be rejected, or the run is too small"


def test_stationary_spread_of_real_networks(networks):
    """Var S agrees to first order: 3.1% were seen between theory and 2000 networks at this fan-in."""
    solution, _, shared = networks
    per_network = ((shared - shared.mean()) ** 2).mean(0)
    error = per_network.std(ddof=1) / np.sqrt(per_network.size)
    predicted = float(drift(solution, 64).q_variance)
    assert abs(per_network.mean() - predicted) < 4 * error + 0.05 * predicted
    assert per_network.mean() > 10 * error


def test_where_the_expansion_is_stretched():
    for act in ("lselu", "sselu"):
        assert Note.FINITE_WIDTH_EXTRAPOLATED not in solve(act, "auto", fanin=32).notes
    for fan_in in (4, 8, 12):
        assert Note.FINITE_WIDTH_EXTRAPOLATED in solve("lselu", "auto", fanin=fan_in).notes


def test_auto_without_an_answer():
    with pytest.raises(NoSolution, match="no epsilon makes the drift"):
        solve("sselu", "auto", fanin=2)
    with pytest.raises(InputError, match="fan-in"):
        solve("selu", "auto")
    assert solve("selu", "auto", fanin=64).notes == (Note.EPSILON_FIXED,)
