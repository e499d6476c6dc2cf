"""The drift behind ``--epsilon auto``: the theory's table, real random networks, and Hanin and Nica's result."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from conftest import FORMULAS, half_line_rule, quadrature

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


def drift_by_quadrature(act, params, fan_in):
    """The theory's drift to 25 digits, by quadrature of f itself.

    Derivatives in q go onto the density of ``sqrt(q) z``: ``d/dq E[g] = E[g (z^2 - 1)]/2`` and
    ``d^2/dq^2 E[g] = E[g (z^4 - 6 z^2 + 3)]/4`` at 1, which shares nothing with the package's Euler operator.
    """
    f, df = FORMULAS[act]
    with mpmath.workdps(40):
        p = {name: mpmath.mpf(value) for name, value in params.items()}
        lam = p["lambda"]
        left = [
            (z, w, f(z, p) ** 2, df(z, p) ** 2) for z, w in zip(*half_line_rule(30, mpmath.mpf(1) / 2), strict=True)
        ]
        right = [(-z, w, (lam * z) ** 2, lam**2) for z, w, _, _ in left]
        z, w, f2, df2 = (np.array(column, dtype=object) for column in zip(*left, *right, strict=True))

        def mean(values):
            return (w * values).sum()

        def slopes(values):
            return mean(values * (z**2 - 1)) / 2, mean(values * (z**4 - 6 * z**2 + 3)) / 4

        second, chi = mean(f2), mean(df2)
        (gamma, curvature), (chi_slope, chi_curvature) = slopes(f2), slopes(df2)
        c1 = chi_slope / chi
        c2 = chi_curvature / chi - c1**2
        variance = (mean(f2 * f2) - second**2) / (fan_in * (1 - gamma**2))
        kappa = mean(df2 * df2) / chi**2
        along = (mean(z**2 * df2) - gamma**2) / (chi - gamma**2)
        shared = (along - 1) * mean(f2 * df2) / (fan_in * second * chi)
        delta = curvature * variance / (2 * (1 - gamma))
        return mpmath.log(chi) - (3 * kappa - 1) / (2 * fan_in) + c1 * delta + c2 * variance / 2 + shared


@pytest.mark.parametrize("fan_in", [8, 64, 10**6])
@pytest.mark.parametrize(("act", "epsilon"), [("lselu", "0.03"), ("lselu", "1.2"), ("sselu", "0.03"), ("dselu", "0.1")])
def test_drift_against_quadrature(act, epsilon, fan_in):
    solution = solve(act, epsilon)
    exact = drift_by_quadrature(act, dict(solution.params), fan_in)
    with mpmath.workdps(40):
        assert abs(mpmath.mpf(drift(solution, fan_in).drift) - exact) < 1e-24


@pytest.mark.parametrize("fan_in", [32, 1024])
@pytest.mark.parametrize(
    ("act", "options"),
    [
        ("lselu", {}),
        ("lselu", {"zero_mean": True}),
        ("lselu", {"lam": "1.2"}),
        ("lselu", {"lambda_min": "0.5"}),
        ("sselu", {"zero_mean": True}),
        ("sselu", {"lam": "0.8"}),
        ("sselu", {"lambda_min": "1.3"}),
        ("dselu", {}),
    ],
    ids=str,
)
def test_auto_under_every_closure(act, options, fan_in):
    """At 40 digits the conditions and the zero of the drift hold, by quadrature of f."""
    s = solve(act, "auto", fanin=fan_in, digits=40, **options)
    decimals = dict(s.decimals)
    params = {name: decimals[name] for name in s.params}
    found = quadrature(act, params, 35)
    with mpmath.workdps(40):
        assert abs(drift_by_quadrature(act, params, fan_in)) < 1e-24
        assert abs(found["second_moment"] - 1) < 1e-30
        assert abs(found["chi"] - 1 - mpmath.mpf(decimals["epsilon"])) < 1e-30
        if s.closure == "zero_mean":
            assert abs(found["mean"]) < 1e-30
        elif s.closure != "none":
            assert Fraction(decimals["lambda"]) == Fraction(options.get("lam") or options.get("lambda_min", 1))
    assert s.epsilon == float(decimals["epsilon"])
    assert s.self_normalizing


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
