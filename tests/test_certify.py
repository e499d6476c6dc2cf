"""Proofs: what they enclose, and that they fail where there is nothing to prove."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest
from conftest import quadrature

from snn_cli import CannotCompute, solve
from snn_cli.arithmetic.multiprecision import fraction

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
    from snn_cli.certify import _linearised
    from snn_cli.problem import Problem

    problem = Problem(get("lselu"), "lambda_min", Fraction(3, 100), Fraction(1), None)
    right = dict(solve("lselu", "0.03", digits=40).decimals)
    with flint.ctx.workprec(200):
        centre = {name: Fraction(right[name]) for name in ("alpha", "beta")}
        assert _proof(problem, centre) is not None
        found = _proof(problem, {**centre, "alpha": centre["alpha"] + 2})
        assert found is None or all(flint.arb(right[name]) in found[name] for name in centre)
        assert _linearised(problem, {"alpha": Fraction(0), "beta": Fraction(1)}) is None


def _proof(problem, centre):
    from snn_cli.certify import _linearised, _prove

    return _prove(problem, _linearised(problem, centre))


def test_nothing_is_proved_where_nothing_solves():
    """Epsilon beyond the feasible range: the test fails wherever it is made, next to the merged solutions too."""
    from snn_cli.activations import get
    from snn_cli.problem import Problem

    end = {name: Fraction(value) for name, value in solve("lselu", "1.4295931339446557").params.items()}
    for epsilon in ("1.43", "1.5"):
        problem = Problem(get("lselu"), "lambda_min", Fraction(epsilon), Fraction(1), None)
        with flint.ctx.workprec(200):
            for shift in (-1, 0, Fraction(1, 10), 1):
                centre = {"alpha": end["alpha"], "beta": end["beta"] + shift}
                assert _proof(problem, centre) is None, shift


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma", "multiplier"])
def test_a_wrong_double_is_not_certified(name):
    from math import inf, nextafter

    from snn_cli.activations import get
    from snn_cli.certify import enclose
    from snn_cli.problem import Problem

    problem = Problem(get("lselu"), "lambda_min", Fraction(3, 100), Fraction(1), None)
    s = solve("lselu", "0.03", digits=60)
    found = _near(problem)
    printed = {**s.params, "gamma": s.gamma, "multiplier": s.multiplier, "epsilon": s.epsilon}
    assert dict(enclose(problem, found, printed, None, 200))
    for wrong in (nextafter(printed[name], inf), nextafter(printed[name], -inf)):
        with pytest.raises(CannotCompute, match="could not be proved"):
            enclose(problem, found, {**printed, name: wrong}, None, 200)


def _near(problem):
    """Multiprecision values close to the solution."""
    from snn_cli.solver.evaluation import Evaluation

    evaluation = Evaluation(problem)
    evaluation.decide(None)
    return evaluation.state.values


def _solutions(epsilon, lam):
    """Both roots of lSELU's equations with ``alpha > 0`` at that lambda, from the theory's closed form."""
    with mpmath.workdps(60):
        d1, d2 = (mpmath.exp(s * s / 2) * mpmath.ncdf(-s) for s in (mpmath.mpf(1), mpmath.mpf(2)))
        epsilon, lam = mpmath.mpf(epsilon), mpmath.mpf(lam)
        a = mpmath.sqrt(epsilon / (2 * d1 - 0.5))
        root = mpmath.sqrt(4 * a**2 * d1**2 - 2 * a**2 * d2 + 2 * (1 + epsilon) - lam**2)
        return [{"alpha": a / lam, "beta": (side * root - 2 * a * d1) / lam} for side in (1, -1)]


@pytest.mark.parametrize(
    ("lam", "epsilon"),
    [
        ("1.23", "0.6963548"),
        ("1.23", "0.69635481554"),
        ("1.23", "0.696354815544441784752854"),
        ("1.1", "1.129378"),
        ("1", "1.4295931339446556"),
    ],
)
@pytest.mark.parametrize("digits", [1, 2, 4, 8, 20])
def test_the_printed_bounds_hold_one_solution(lam, epsilon, digits):
    """Close to the end of the range a second solution is near; then more digits are printed than were asked for."""
    bounds = dict(solve("lselu", epsilon, lam=lam, digits=digits, certify=True).enclosure)
    inside = []
    for solution in _solutions(epsilon, lam):
        with mpmath.workdps(60):
            ends = {name: [mpmath.mpf(end) for end in bounds[name]] for name in solution}
            inside.append(all(ends[name][0] <= value <= ends[name][1] for name, value in solution.items()))
    assert inside == [True, False]


def test_bounds_around_two_solutions_are_refused():
    from snn_cli.activations import get
    from snn_cli.certify import _linearised, _only
    from snn_cli.problem import Problem

    problem = Problem(get("lselu"), "lambda", Fraction("0.6963548"), Fraction("1.23"), None)
    with flint.ctx.workprec(200):
        newton = _linearised(problem, {n: fraction(v) for n, v in _near(problem).items() if n in problem.free})
        assert not _only(problem, newton, {"alpha": ("4.4", "4.5"), "beta": ("-2.34", "-2.33")})
        assert not _only(problem, newton, {"alpha": ("4.45", "4.46"), "beta": ("-2.3325", "-2.3323")})
        narrow = dict(solve("lselu", "0.6963548", lam="1.23", digits=20, certify=True).enclosure)
        assert _only(problem, newton, {name: narrow[name] for name in problem.free})


def test_without_flint_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(CannotCompute, match="python-flint") as caught:
        solve("lselu", "0.03", certify=True)
    assert caught.value.hint == "pip install 'snn-cli[certify]'"
    assert caught.value.exit_code == 3
