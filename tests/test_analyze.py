"""``snn analyze``: moments against quadrature at 40 digits, verdicts of known activations, and the command."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from functools import cache

import mpmath
import numpy as np
import pytest
from conftest import ROOT

from snn_cli import Analysis, InputError, activations, analyze, simulate, solve
from snn_cli.propagation.meanfield import MeanField
from snn_cli.propagation.path import SecondMoment

ALL = (*activations.SOLVABLE, *activations.BASELINES)


def functions(record):
    """f and f' in mpmath, as on paper."""
    p = {name: mpmath.mpf(value) for name, value in record.params.items()}
    lam, alpha, beta = p.get("lambda"), p.get("alpha"), p.get("beta")
    sigmoid = lambda x: 1 / (1 + mpmath.exp(-x))  # noqa: E731
    softplus = lambda x: mpmath.log1p(mpmath.exp(x))  # noqa: E731
    return {
        "selu": (lambda x: lam * (x if x > 0 else alpha * mpmath.expm1(x)),
                 lambda x: lam * (1 if x > 0 else alpha * mpmath.exp(x))),
        "dselu": (lambda x: lam * (x if x > 0 else alpha * mpmath.expm1(x)),
                  lambda x: lam * (1 if x > 0 else alpha * mpmath.exp(x))),
        "lselu": (lambda x: lam * (x if x > 0 else alpha * mpmath.expm1(x) + beta * x),
                  lambda x: lam * (1 if x > 0 else alpha * mpmath.exp(x) + beta)),
        "sselu": (lambda x: lam * (x if x > 0 else alpha * mpmath.expm1(beta * x)),
                  lambda x: lam * (1 if x > 0 else alpha * beta * mpmath.exp(beta * x))),
        "relu": (lambda x: max(x, 0), lambda x: mpmath.mpf(x > 0)),
        "leaky_relu": (lambda x: x if x > 0 else mpmath.mpf("0.01") * x, lambda x: 1 if x > 0 else mpmath.mpf("0.01")),
        "tanh": (mpmath.tanh, lambda x: mpmath.sech(x) ** 2),
        "erf": (mpmath.erf, lambda x: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x)),
        "gelu": (lambda x: x * mpmath.ncdf(x), lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x)),
        "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
        "elu": (lambda x: x if x > 0 else mpmath.expm1(x), lambda x: 1 if x > 0 else mpmath.exp(x)),
        "linear": (lambda x: x, lambda _: mpmath.mpf(1)),
        "mish": (lambda x: x * mpmath.tanh(softplus(x)),
                 lambda x: mpmath.tanh(softplus(x)) + x * mpmath.sech(softplus(x)) ** 2 * sigmoid(x)),
        "softplus": (softplus, sigmoid),
        "hardswish": (lambda x: x * min(max(x + 3, 0), 6) / 6,
                      lambda x: mpmath.mpf(x > 3) if abs(x) > 3 else (2 * x + 3) / 6),
    }[record.act]  # fmt: skip


density = cache(mpmath.npdf)
"""At the nodes of ``expectation``, which are always the same, to always the same precision."""


def expectation(g, kinks=()):
    with mpmath.workdps(26):
        ends = sorted({*(mpmath.mpf(k) for k in (-11, -8, -5, -3, -1, 0, 1, 3, 5, 8, 11)), *kinks})
        return mpmath.quad(lambda z: g(z) * density(z), ends, method="gauss-legendre")


@pytest.mark.parametrize("act", ALL)
def test_moments_are_those_of_quadrature(act):
    record = analyze(act, "0.05" if act in ("dselu", "lselu", "sselu") else None)
    f, df = map(cache, functions(record))
    with mpmath.workdps(26):
        mean, second, chi = (expectation(g) for g in (f, lambda z: f(z) ** 2, lambda z: df(z) ** 2))
        gamma, fourth = expectation(lambda z: z * f(z) * df(z)), expectation(lambda z: df(z) ** 4)
        for found, right in (
            (record.mean, mean), (record.second_moment, second), (record.chi, chi), (record.gamma, gamma),
            (record.kappa, fourth / chi**2), (record.mean_slope, expectation(df)), (record.epsilon, chi - 1),
            (record.poincare, chi - second + mean**2), (record.mended.sigma_w, 1 / mpmath.sqrt(second)),
            (record.mended.chi, chi / second), (record.mended.gamma, gamma / second),
            (record.blocks.gaussian_variance, fourth / second**2),
            (record.blocks.orthogonal_variance, (fourth - chi**2) / second**2),
        ):  # fmt: skip
            assert abs(found - right) <= 0.501 * math.ulp(float(right)) + mpmath.mpf(10) ** -22
    assert record.poincare >= 0


WRAPPED = {"a": 1.25, "b": 0.75, "c": -0.5, "d": 0.125}


@pytest.mark.parametrize("act", activations.BASELINES)
def test_moments_of_a_wrapped_baseline(act):
    """With kinks elsewhere; rounded once, like the rest."""
    record = analyze(params={"act": act, "params": WRAPPED})
    with mpmath.workdps(26):
        p = {name: mpmath.mpf(value) for name, value in WRAPPED.items()}
        precise = cache(lambda z: activations.find(act, WRAPPED).precise(mpmath.mp, z, p))
        kinks = activations.find(act, WRAPPED).kinks(mpmath.mp, p)
        for found, of in (
            (record.mean, lambda _z, f, _df: f),
            (record.second_moment, lambda _z, f, _df: f * f),
            (record.chi, lambda _z, _f, df: df * df),
            (record.gamma, lambda z, f, df: z * f * df),
        ):
            right = expectation(lambda z, of=of: of(z, *precise(z)), kinks)
            assert abs(found - right) <= 0.501 * math.ulp(float(right))


def test_closed_forms_are_rounded_once():
    for solution in (solve("lselu", "0.03"), solve("sselu", "0.2"), solve("selu")):
        record = analyze(params=solution)
        assert (record.second_moment, record.gamma) == pytest.approx((1.0, solution.gamma), rel=2.3e-16)
        assert record.chi == pytest.approx(solution.chi, rel=2.3e-16)
        assert record.mean == pytest.approx(solution.mean, abs=1e-16)
        assert record.kappa == pytest.approx(solution.kappa, rel=4.5e-16)


def test_verdicts_of_known_activations():
    verdicts = {act: analyze(act, "0.05" if act in ("dselu", "lselu", "sselu") else None) for act in ALL}
    assert [act for act, record in verdicts.items() if record.self_normalizing] == ["selu", "dselu", "lselu", "sselu"]
    assert verdicts["relu"].mended == pytest.approx((math.sqrt(2), 1.0, 1.0), rel=1e-15)
    assert verdicts["relu"].blocks == pytest.approx((1.0, 2.0, 1.0), rel=1e-15)
    assert verdicts["linear"].blocks == (1.0, 1.0, 0.0)
    assert verdicts["linear"].poincare == 0
    assert verdicts["linear"].conditions == (True, True, False)
    assert verdicts["tanh"].conditions == (False, False, True)
    assert {act for act, record in verdicts.items() if not record.monotone} == {"gelu", "silu", "mish", "hardswish"}


def test_lselu_stops_being_monotone_and_self_normalizing():
    """Theory, section 3: beta is negative above 0.07988, and gamma is not below 1 above 1.41854."""
    assert analyze("lselu", "0.079").monotone
    assert not analyze("lselu", "0.081").monotone
    assert analyze("lselu", "1.41").self_normalizing
    record = analyze("lselu", "1.42")
    assert record.conditions == (True, True, False)


@pytest.mark.parametrize(
    ("act", "sigma_w", "sigma_b"),
    [("tanh", 1.5, 0), ("gelu", 1.6, 0), ("silu", 2, 0.1), ("selu", 1, 0), ("elu", 1.3, 0)],
)
def test_the_basin_is_where_q_comes_from(act, sigma_w, sigma_b):
    """Iterates from either side of its ends, and from far out where there is none."""
    record = analyze(act, sigma_w=sigma_w, sigma_b=sigma_b)
    path = SecondMoment(MeanField(activations.find(act), dict(record.params), record.sigma_w**2, record.sigma_b**2))
    end = path.reached(1.0)
    if record.basin is None:
        assert end is None
        return
    low, high = record.basin
    for start in (1e-6 if low is None else low * 1.01, 1e6 if high is None else high * 0.99):
        assert path.reached(start).q == end.q
    for start in ([low * 0.99] if low else []) + ([high * 1.01] if high else []):
        there = path.reached(start)
        assert there is None or there.q != end.q


def test_the_network_is_that_of_simulate():
    record = analyze("sselu", "0.02", depth=60, fanin=128, weights="orthogonal")
    theory = simulate("sselu", "0.02", depth=60, fanin=128, weights="orthogonal")
    assert (record.gradient, record.finite, record.fixed_points) == (
        theory.gradient,
        theory.finite,
        theory.fixed_points,
    )
    assert record.weight_mean_tolerance == theory.mean_path.weight_mean_tolerance
    assert record.weight_mean_tolerance == pytest.approx(1 / (math.sqrt(128) * record.mean_slope))


def test_record():
    record = analyze("gelu", sigma_w=2, fanin=64)
    data = record.to_dict()
    assert (data["kind"], data["version"]) == ("analysis", 1)
    assert Analysis.from_dict(json.loads(json.dumps(data))) == record
    for change in ({"kind": "solution"}, {"conditions": 3}, {"params": []}):
        with pytest.raises(InputError):
            Analysis.from_dict({**data, **change})


def test_it_pipes_on(call, tmp_path):
    (record,) = call("analyze", "--act", "lselu", "--epsilon", "0.03", "--json").records
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record))
    (theory,) = call("simulate", "--params", str(path), "--depth", "20", "--json", "--no-profile").records
    assert theory["params"] == record["params"]
    assert theory["epsilon"] == pytest.approx(0.03, rel=1e-14)


def test_table_is_sorted_by_strength(call):
    done = call("analyze", "--epsilon", "0.02", "--fanin", "1024")
    assert done.code == 0
    lines = done.out.split("\n\n")[0].splitlines()
    assert len(lines) == 1 + len(ALL)
    gammas = [float(line.split()[-7]) for line in lines[1:]]
    assert gammas == sorted(gammas)
    rows = list(csv.DictReader(io.StringIO(call("analyze", "--act", "tanh,selu", "--csv").out)))
    assert [row["act"] for row in rows] == ["tanh", "selu"]
    assert rows[1]["self_normalizing"] == "true"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--act", "gelu"), ["Not self-normalizing as it is", "nothing brings q back", "Not monotone"]),
        (("--act", "tanh", "--sigma-w", "1.6"), ["With sigma_w = 1.5925374197228315 it is, with epsilon = 0.1778"]),
        (("--act", "selu", "--fanin", "256"), ["Self-normalizing.", "100 layers of fan-in 256", "give or take"]),
        (
            ("--act", "sselu", "--epsilon", "0.03"),
            ["E[f^2] is 1.0: holds.", "q settles at 1.0, from anywhere"],
        ),
        (("--act", "relu", "--sigma-w", "he"), ["nothing brings q back"]),
    ],
    ids=str,
)
def test_sentences(call, args, words):
    done = call("analyze", *args)
    assert done.code == 0
    for each in words:
        assert each in done.out


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--act", "gellu"), 2, "--act gelu"),
        (("--act", "relu", "--epsilon", "0.1"), 2, "no parameters"),
        (("--act", "lselu", "--epsilon", "9"), 3, "no lselu|feasible|epsilon"),
        (("--act", "lselu", "--epsilon", "-1"), 2, "at least 0"),
        (("--act", "selu", "--depth", "0"), 2, "--depth"),
        (("--act", "selu", "--fanin", "nan"), 2, "--fanin"),
        (("--act", "selu", "--sigma-w", "-1"), 2, "--sigma-w"),
        (("--act", "selu", "--params", "x"), 2, "both"),
        (("--params", "not-there"), 2, "cannot be read"),
        (("--act", "selu", "--json", "--csv"), 2, "contradict"),
    ],
    ids=str,
)
def test_bad_input(call, args, code, words):
    import re

    done = call("analyze", *args)
    assert done.code == code
    assert re.search(words, done.err)
    assert done.out == ""


def test_a_point_without_solution_is_reported_and_the_rest_goes_on(call):
    done = call("analyze", "--act", "lselu,sselu", "--epsilon", "2", "--json")
    assert done.code == 3
    assert [record["act"] for record in done.records] == ["sselu"]
    assert done.err.count("error: ") == 1


def test_figure(call, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "figure.svg"
    assert call("analyze", "--act", "selu,gelu", "--plot", str(path)).code == 0
    assert "gain of the gradient" in path.read_text()
    assert call("analyze", "--act", "selu", "--plot", str(path)).code == 2


def test_analyze_loads_nothing_heavy():
    program = (
        "import sys; from snn_cli.cli.main import main; main(['analyze', '--act', 'gelu']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'sympy', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60).returncode == 0


def test_numbers_are_finite_for_every_activation_and_gain():
    for act in activations.BASELINES:
        for sigma_w in (0.3, 1, 3):
            data = analyze(act, sigma_w=sigma_w, fanin=32, depth=20).to_dict()
            assert json.dumps(data, allow_nan=False)
            assert np.isfinite(data["chi"])
