"""Proofs: what they enclose, and that they fail where there is nothing to prove."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest
from conftest import quadrature

from snn_cli import CannotCompute, solve

flint = pytest.importorskip("flint")

CASES = [
    ("selu", None, {}),
    ("dselu", "1e-12", {}),
    ("dselu", "0.03", {}),
    ("lselu", "1e-12", {}),
    ("lselu", "0.03", {}),
    ("lselu", "0.03", {"lam": "1.2"}),
    ("lselu", "1.4295", {}),
    ("lselu", "0.03", {"zero_mean": True}),
    ("sselu", "1e-12", {}),
    ("sselu", "0.03", {"digits": 50}),
    ("sselu", "1e6", {}),
    ("sselu", "0.03", {"zero_mean": True}),
    ("lselu", "auto", {"fanin": 64}),
    ("sselu", "auto", {"fanin": 4096}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_enclosures_hold_the_solution(case):
    """Ends are narrow, round to the printed doubles, and hold the value of twenty more digits."""
    act, epsilon, options = case
    s = solve(act, epsilon, certify=True, **options)
    long = dict(solve(act, epsilon, **{**options, "digits": options.get("digits", 20) + 20}).decimals)
    names = [name for name, _ in s.enclosure]
    assert names[: len(s.params) + 6] == [*s.params, "mean", "second_moment", "chi", "gamma", "kappa", "mean_slope"]
    for name, (lo, hi) in s.enclosure:
        lo, hi = Fraction(lo), Fraction(hi)
        assert hi - lo <= abs(hi) / 10**19, name
        if name in long:
            assert lo <= Fraction(long[name]) <= hi, name
        if name != "multiplier":
            value = s.params[name] if name in s.params else getattr(s, name)
            assert float(lo) == value == float(hi), name


def test_an_end_of_the_enclosure_is_no_solution():
    """The equations have no zero at a corner of the box: it is narrow on the scale of their residuals."""
    s = solve("lselu", "0.03", certify=True)
    enclosure = dict(s.enclosure)
    with mpmath.workdps(45):
        at = [
            quadrature("lselu", {"lambda": 1, "alpha": enclosure["alpha"][i], "beta": enclosure["beta"][i]}, 40)
            for i in (0, 1)
        ]
        assert at[0]["second_moment"] < 1 < at[1]["second_moment"]
        assert at[1]["second_moment"] - at[0]["second_moment"] < mpmath.mpf(10) ** -18


def test_the_bound_is_proved_active():
    lo, _ = dict(solve("sselu", "0.03", certify=True).enclosure)["multiplier"]
    assert Fraction(lo) > 0


@pytest.mark.parametrize(("act", "epsilon"), [("lselu", "0"), ("dselu", "0"), ("lselu", "1.4295931339446557")])
def test_no_proof_where_solutions_merge(act, epsilon):
    with pytest.raises(CannotCompute, match="could not be proved"):
        solve(act, epsilon, certify=True)


def test_a_wrong_centre_is_not_certified():
    """Krawczyk's test must reject a box without a zero."""
    from snn_cli.activations import get
    from snn_cli.certify import _prove
    from snn_cli.solver import Problem

    problem = Problem(get("lselu"), "lambda_min", Fraction(3, 100), Fraction(1), None)
    right = dict(solve("lselu", "0.03", digits=40).decimals)
    with flint.ctx.workprec(200):
        centre = {name: Fraction(right[name]) for name in ("alpha", "beta")}
        assert _prove(problem, centre) is not None
        found = _prove(problem, {**centre, "alpha": centre["alpha"] + 2})
        assert found is None or all(flint.arb(right[name]) in found[name] for name in centre)
        assert _prove(problem, {"alpha": Fraction(0), "beta": Fraction(1)}) is None


def test_without_flint_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(CannotCompute, match="python-flint") as caught:
        solve("lselu", "0.03", certify=True)
    assert caught.value.hint == "pip install 'snn-cli[certify]'"
    assert caught.value.exit_code == 3
