"""The solved parameters and moments, against the theory's table, quadrature of f itself, and their own definition."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from conftest import FORMULAS, quadrature
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_cli import CannotCompute, InputError, NoSolution, Note, Solution, solve

MOMENTS = ("mean", "second_moment", "chi", "gamma", "kappa", "mean_slope")

REFERENCE = [  # the theory's table, section 3: two independent methods
    ("selu", "0.071574992", "1.0507009873554805", "1.6732632423543772", None, "0", "0.7826478832"),
    ("lselu", "0.01", "1", "0.65715", "0.65270", "-0.01813", "0.91071"),
    ("lselu", "0.03", "1", "1.13821258446", "0.39398846543", "-0.02961", "0.84730"),
    ("sselu", "0.01", "1", "4.09357", "0.30548", "-0.01798", "0.89739"),
    ("sselu", "0.03", "1", "2.61867", "0.56080", "-0.02943", "0.83446"),
]

CASES = [
    ("selu", None, {}),
    ("dselu", "1e-12", {}),
    ("dselu", "0.03", {}),
    ("dselu", "0.1597", {}),
    ("lselu", "0", {}),
    ("lselu", "1e-12", {}),
    ("lselu", "1e-6", {}),
    ("lselu", "0.03", {}),
    ("lselu", "1.4", {}),
    ("lselu", "1.4295931339446557", {}),
    ("lselu", "0.03", {"lam": "1.2"}),
    ("lselu", "2", {"lambda_min": "0.5"}),
    ("lselu", "0.03", {"zero_mean": True}),
    ("lselu", "2.4", {"zero_mean": True}),
    ("sselu", "1e-12", {}),
    ("sselu", "1e-10", {}),
    ("sselu", "1e-4", {}),
    ("sselu", "0.03", {}),
    ("sselu", "7", {}),
    ("sselu", "1e6", {}),
    ("sselu", "0.03", {"lam": "1.41"}),
    ("sselu", "0.03", {"lambda_min": "0.25"}),
    ("sselu", "1e-8", {"zero_mean": True}),
    ("sselu", "50", {"zero_mean": True}),
]


def test_the_reference_quadrature():
    """The reference of these tests against mpmath.quad, and against a wrong function, which it must tell apart."""
    params = {"lambda": 1, "alpha": "2.6", "beta": "0.56"}
    found = quadrature("sselu", params, 30)
    f, df = FORMULAS["sselu"]
    with mpmath.workdps(35):
        p = {name: mpmath.mpf(value) for name, value in params.items()}
        left = mpmath.quad(lambda z: z * f(z, p) * df(z, p) * mpmath.npdf(z), [-mpmath.inf, -4, -1, 0])
        assert abs(found["gamma"] - left - mpmath.mpf(1) / 2) < 1e-28
        assert abs(quadrature("sselu", {**params, "beta": "0.5600001"}, 30)["gamma"] - found["gamma"]) > 1e-9


def case_id(case):
    act, epsilon, options = case
    return "-".join([act, str(epsilon), *map(str, options.values())])


def agrees(value: str, shown: str) -> bool:
    """Whether a double is the printed reference, to the reference's last digit."""
    return abs(Decimal(value) - Decimal(shown)) <= Decimal(1).scaleb(Decimal(shown).as_tuple().exponent)


@pytest.mark.parametrize("row", REFERENCE, ids=lambda r: f"{r[0]}-{r[1]}")
def test_reference_table(row):
    act, epsilon, lam, alpha, beta, mean, gamma = row
    s = solve(act, epsilon)
    shown = {"lambda": lam, "alpha": alpha, "beta": beta}
    for name, value in shown.items():
        if value is not None:
            assert agrees(repr(s.params[name]), value), name
    assert agrees(repr(s.mean), mean)
    assert agrees(repr(s.gamma), gamma)


def test_theory_multiplier_and_limits():
    assert agrees(repr(solve("lselu", "0.03").multiplier), "0.1580161954")
    assert agrees(repr(solve("lselu", "0.03", lam="0.5").gamma), "0.79641")
    assert agrees(repr(solve("lselu", "0.65195").gamma), "0.50589")
    assert solve("lselu", "1.41854").self_normalizing
    assert not solve("lselu", "1.41855").self_normalizing
    assert solve("lselu", "0.07988").monotone
    assert not solve("lselu", "0.0799").monotone


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_against_quadrature_of_the_function(case):
    """50 decimals of every parameter and moment: quadrature shares no formula with the solver."""
    act, epsilon, options = case
    digits = 40
    s = solve(act, epsilon, digits=digits + 20, **options)
    decimals = dict(s.decimals)
    params = {name: decimals[name] for name in s.params}
    found = quadrature(act, params, digits)
    with mpmath.workdps(digits + 20):
        for name in MOMENTS:
            exact = mpmath.mpf(decimals[name])
            scale = max(1, abs(exact))
            assert abs(found[name] - exact) < scale * mpmath.mpf(10) ** (8 - digits), name
        if "chi" in _conditions(s):
            target = 1 + (
                mpmath.mpf(epsilon) if Note.EPSILON_AT_END not in s.notes else mpmath.mpf(decimals["epsilon"])
            )
            assert abs(found["chi"] - target) < target * mpmath.mpf(10) ** (8 - digits)
        assert abs(found["second_moment"] - 1) < mpmath.mpf(10) ** (8 - digits)


def _conditions(s):
    from snn_cli.activations import get

    return get(s.act).closures[s.closure]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_doubles_are_correctly_rounded(case):
    act, epsilon, options = case
    s = solve(act, epsilon, digits=60, **options)
    plain = solve(act, epsilon, **options)
    for name, text in s.decimals:
        value = s.params[name] if name in s.params else getattr(s, name)
        assert value == float(text), name  # float() rounds a decimal correctly
        assert value == (plain.params[name] if name in plain.params else getattr(plain, name)), name


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_residuals_are_those_of_the_doubles(case):
    act, epsilon, options = case
    s = solve(act, epsilon, digits=40, **options)
    found = quadrature(act, dict(s.params), 40)
    with mpmath.workdps(50):
        chi = mpmath.mpf(dict(s.decimals)["chi"])
        for name, wanted in (("second_moment", found["second_moment"] - 1), ("chi", found["chi"] - chi)):
            got = s.residuals[name]
            assert abs(got - wanted) <= 1e-9 * abs(wanted) + mpmath.mpf(10) ** -28 * chi, name


@pytest.mark.parametrize("act", ["lselu", "sselu"])
def test_zero_mean_gives_selu(act):
    """At SELU's epsilon, zero mean as the third equation is SELU itself: beta = 0, or 1."""
    epsilon = dict(solve("selu", digits=60).decimals)["epsilon"]
    selu = dict(solve("selu", digits=50).decimals)
    s = dict(solve(act, epsilon, zero_mean=True, digits=50).decimals)
    with mpmath.workdps(60):
        for name in ("lambda", "alpha", "gamma", "kappa", "mean_slope"):
            assert abs(mpmath.mpf(s[name]) - mpmath.mpf(selu[name])) < mpmath.mpf(10) ** -45, name
        assert abs(mpmath.mpf(s["beta"]) - (0 if act == "lselu" else 1)) < mpmath.mpf(10) ** -45


def test_selu_constants():
    """The published constants, derived here: Klambauer et al., appendix A1.3."""
    s = solve("selu")
    assert dict(s.params) == {"lambda": 1.0507009873554805, "alpha": 1.6732632423543772}
    assert agrees(repr(s.epsilon), "0.071574992")
    assert solve("selu", "0.5").notes[0] is Note.EPSILON_FIXED
    assert not solve("selu", s.epsilon).notes


@pytest.mark.parametrize("act", ["lselu", "sselu"])
@pytest.mark.parametrize("options", [{}, {"lambda_min": "0.7"}, {"lambda_min": "1.3"}], ids=str)
def test_multiplier_is_the_slope_of_the_optimum(act, options):
    """Central difference of gamma* over lambda_min, at 60 digits, and no smaller gamma at any larger lambda."""
    epsilon, bound = "0.03", Fraction(options.get("lambda_min", 1))
    s = solve(act, epsilon, **options, digits=60)
    step = Fraction(1, 10**20)

    def gamma(lam):
        return mpmath.mpf(dict(solve(act, epsilon, lam=lam, digits=60).decimals)["gamma"])

    with mpmath.workdps(60):
        slope = (gamma(bound + step) - gamma(bound - step)) / (2 * mpmath.mpf(10) ** -20)  # good to 39 digits
        assert s.multiplier == float(slope)
    larger = [solve(act, epsilon, lam=bound + Fraction(i, 100)).gamma for i in range(1, 9)]
    assert s.gamma < min(larger)
    assert s.active_bounds == ("lambda_min",)
    assert Note.LAMBDA_BOUND_ACTIVE in s.notes


def test_rule_chooses_among_branches():
    """The mirror image and the other root solve the same equations; the rule is on alpha, gamma and the mean."""
    from snn_cli.activations import get
    from snn_cli.arithmetic.multiprecision import Multiprecision
    from snn_cli.gaussian import moments

    ar = Multiprecision(200)
    family = get("lselu")
    found = []
    for p in family.candidates(ar, "lambda_min", ar.number(Fraction(3, 100)), ar.number(1)):
        m = moments(family.shape(ar, p))
        assert abs(m.second_moment - 1) < 1e-40
        assert abs(m.chi - ar.number(Fraction(103, 100))) < 1e-40
        found.append((float(p["alpha"]), float(m.gamma), float(m.mean)))
    assert len(found) == 4
    s = solve("lselu", "0.03")
    assert s.gamma == min(g for a, g, _ in found if a > 0)
    mirror = [(g, m) for a, g, m in found if a < 0 and abs(g - s.gamma) < 1e-12]
    assert len(mirror) == 1
    assert abs(mirror[0][1]) > 0.7 > abs(s.mean)
    other = [g for a, g, _ in found if a > 0 and abs(g - s.gamma) > 1e-12]
    assert len(other) == 1
    assert other[0] > 1


@pytest.mark.parametrize("epsilon", ["1e-100", "1e-30", "0.03"])
@pytest.mark.parametrize("bound", ["1e-100", "1e-9", "0.5", "1", "1.3"])
def test_rule_at_the_extremes(epsilon, bound):
    """At small epsilon the roots' gammas differ by little more than sqrt(epsilon); the smaller still wins.

    lSELU's multiplier is ``A lambda (phi(0) - d1) / sqrt(R - lambda^2)``, positive on the right branch alone.
    """
    s = solve("lselu", epsilon, lambda_min=bound)
    with mpmath.workdps(120):
        d1, d2 = mpmath.exp(0.5) * mpmath.ncdf(-1), mpmath.exp(2) * mpmath.ncdf(-2)
        e, lam = mpmath.mpf(epsilon), mpmath.mpf(bound)
        a = mpmath.sqrt(e / (2 * d1 - 0.5))
        rest = 2 * (1 + e) - 2 * a**2 * d2 + 4 * a**2 * d1**2 - lam**2
        exact = a * lam * (mpmath.npdf(0) - d1) / mpmath.sqrt(rest)
        assert abs(s.multiplier / exact - 1) < 2e-16


def test_strength_of_sselu_falls_with_beta():
    """Why its bound is always active: ``gamma = 1 - epsilon s(beta)`` with s falling, over 30 decades of beta."""
    from snn_cli.activations.sselu import _left_moments
    from snn_cli.arithmetic.multiprecision import Multiprecision
    from snn_cli.gaussian import HalfLineMoments

    ar = Multiprecision(700)
    previous = None
    for i in range(-150, 151):
        beta = ar.context.mpf(10) ** (ar.context.mpf(i) / 20)
        _, g2, dg2 = _left_moments(ar, beta)
        m = HalfLineMoments(ar, beta)
        attraction = (m(1, 2) - m(1, 1)) / beta / g2
        s = (1 - attraction) / (dg2 / g2 - 1)
        assert s > 0
        assert previous is None or s < previous
        previous = s


@settings(max_examples=30)
@given(st.fractions(min_value=0, max_value=Fraction(142959, 100000), max_denominator=10**12))
def test_lselu_conditions_over_the_feasible_range(epsilon):
    _conditions_hold(solve("lselu", epsilon, digits=45), epsilon)


@settings(max_examples=30)
@given(st.floats(min_value=-12, max_value=6))
def test_sselu_conditions_over_the_feasible_range(exponent):
    epsilon = Fraction(10**exponent)
    _conditions_hold(solve("sselu", epsilon, digits=45), epsilon)


@settings(max_examples=30)
@given(st.fractions(min_value=0, max_value=Fraction(15976, 100000), max_denominator=10**12))
def test_dselu_conditions_over_the_feasible_range(epsilon):
    _conditions_hold(solve("dselu", epsilon, digits=45), epsilon)


@settings(max_examples=40)
@given(
    st.floats(min_value=-8, max_value=0.3),
    st.sampled_from(["lselu", "sselu"]),
    st.sampled_from(["lam", "lambda_min", "zero_mean"]),
    st.fractions(min_value=Fraction(1, 10), max_value=Fraction(14, 10), max_denominator=1000),
)
def test_closures(exponent, act, closure, lam):
    epsilon = Fraction(10**exponent)
    try:
        s = solve(act, epsilon, digits=45, **{closure: True if closure == "zero_mean" else lam})
    except NoSolution as error:
        lo, hi = error.feasible_epsilon
        assert hi is not None
        assert not lo <= epsilon <= hi
        return
    _conditions_hold(s, epsilon)
    if closure == "zero_mean":
        assert s.mean == 0.0
    else:
        assert s.params.lam == float(lam)


def _conditions_hold(s: Solution, epsilon: Fraction) -> None:
    """At 30 digits, by quadrature of f itself."""
    decimals = dict(s.decimals)
    found = quadrature(s.act, {name: decimals[name] for name in s.params}, 30)
    with mpmath.workdps(40):
        target = 1 + mpmath.mpf(epsilon.numerator) / epsilon.denominator
        assert abs(found["second_moment"] - 1) < 1e-22
        assert abs(found["chi"] - target) < 1e-22 * target
        assert abs(found["gamma"] - mpmath.mpf(decimals["gamma"])) < 1e-22
        if s.closure == "zero_mean":
            assert abs(found["mean"]) < 1e-22
    assert s.params["alpha"] >= 0


@pytest.mark.parametrize(
    ("act", "options", "hi"),
    [
        ("lselu", {}, "1.42959"),
        ("lselu", {"zero_mean": True}, "2.4412"),
        ("dselu", {}, "0.15976"),
        ("sselu", {}, None),
        ("sselu", {"zero_mean": True}, None),
    ],
    ids=str,
)
def test_feasible_range(act, options, hi):
    """Solutions up to the end, none beyond it; a closed end can be typed as the record prints it."""
    s = solve(act, "0.01", **options)
    lo, top = s.feasible_epsilon
    assert lo == 0
    if hi is None:
        assert top is None
        assert s.feasible_open == (True, True)
        with pytest.raises(NoSolution):
            solve(act, 0, **options)
        assert solve(act, "1e6", **options).chi == 1000001
        return
    assert agrees(repr(top), hi)
    assert solve(act, Fraction(top) * (1 - Fraction(1, 10**12)), **options)
    beyond = Fraction(top) * (1 + Fraction(1, 10**12))
    with pytest.raises(NoSolution) as caught:
        solve(act, beyond, **options)
    assert caught.value.feasible_epsilon == (0, top)
    assert s.feasible_open == (False, act == "dselu")
    if act != "dselu":
        assert solve(act, repr(top), **options).epsilon == top
        assert solve(act, top, **options).epsilon == top


def test_lower_ends():
    identity = solve("lselu", 0)
    assert dict(identity.params) == {"lambda": 1.0, "alpha": 0.0, "beta": 1.0}
    assert (identity.gamma, identity.multiplier, identity.self_normalizing) == (1.0, 0.0, False)
    assert set(identity.notes) == {Note.NEARLY_LINEAR, Note.NOT_SELF_NORMALIZING}
    relu = solve("dselu", 0)
    assert dict(relu.params) == {"lambda": math.sqrt(2), "alpha": 0.0}
    leaky = solve("lselu", 0, lambda_min="0.5")
    assert leaky.params["beta"] == math.sqrt(7)  # B = sqrt(2 - lambda^2)
    assert leaky.gamma == 1.0


@pytest.mark.parametrize("act", ["lselu", "sselu"])
def test_lambda_beyond_sqrt_two(act):
    for options in ({"lam": "1.5"}, {"lambda_min": 2}):
        with pytest.raises(NoSolution, match=r"sqrt\(2\)") as caught:
            solve(act, "0.03", **options)
        assert caught.value.feasible_epsilon is None


def test_thousand_digits_extend_fewer():
    for act in ("lselu", "sselu"):
        long, short = (dict(solve(act, "0.03", digits=d).decimals) for d in (1000, 40))
        for name, text in long.items():
            with mpmath.workdps(1010):
                assert abs(mpmath.mpf(text) - mpmath.mpf(short[name])) <= mpmath.mpf(10) ** -39 * abs(mpmath.mpf(text))
            assert len(text.lstrip("-0.").replace(".", "")) == 1000
        params = {name: long[name] for name in ("lambda", "alpha", "beta")}
        with mpmath.workdps(1020):
            lam, alpha = mpmath.mpf(params["lambda"]), mpmath.mpf(params["alpha"])
            beta = mpmath.mpf(params["beta"])

            def d(s):
                return mpmath.exp(s * s / 2) * mpmath.erfc(s / mpmath.sqrt(2)) / 2

            if act == "sselu":  # the theory's closed forms, typed in again
                second = lam**2 / 2 + (lam * alpha) ** 2 * (d(2 * beta) - 2 * d(beta) + mpmath.mpf(1) / 2)
                chi = lam**2 / 2 + (lam * alpha * beta) ** 2 * d(2 * beta)
                assert abs(second - 1) < mpmath.mpf(10) ** -995
            else:
                chi = lam**2 / 2 + lam**2 * (alpha**2 * d(2) + 2 * alpha * beta * d(1) + beta**2 / 2)
            assert abs(chi - mpmath.mpf("1.03")) < mpmath.mpf(10) ** -995


def test_numbers_are_exact():
    """Text is that decimal; a float is its binary value; a depth is 1/L exactly."""
    assert solve("lselu", "0.03") == solve("lselu", Decimal("0.03")) == solve("lselu", Fraction(3, 100))
    binary = solve("lselu", 0.1, digits=40)
    assert binary.decimals == solve("lselu", Fraction(0.1), digits=40).decimals
    assert binary.decimals != solve("lselu", "0.1", digits=40).decimals
    assert solve("sselu", depth=3, digits=40).decimals == solve("sselu", Fraction(1, 3), digits=40).decimals
    assert solve("sselu", depth=100).epsilon == 0.01


def test_large_epsilons():
    """``epsilon = 19947`` near ``beta = 1e5``, ``gamma -> 0.5``: the theory's figures, and far beyond."""
    s = solve("sselu", "19947")
    assert abs(s.params["beta"] / 1e5 - 1) < 1e-4
    assert abs(s.gamma - 0.5) < 1e-4
    assert solve("sselu", "1e100").gamma == 0.5
    assert solve("sselu", "1e-100").notes == (Note.LAMBDA_BOUND_ACTIVE, Note.NEARLY_LINEAR)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"act": "lselu", "epsilon": -1}, "at least 0"),
        ({"act": "lselu", "epsilon": math.nan}, "finite"),
        ({"act": "lselu", "epsilon": math.inf}, "finite"),
        ({"act": "lselu", "epsilon": "abc"}, "finite number"),
        ({"act": "lselu", "epsilon": None}, "needs an epsilon"),
        ({"act": "lselu", "epsilon": True}, "finite number"),
        ({"act": "lselu", "epsilon": "1e999999999"}, "1e100"),
        ({"act": "lselu", "epsilon": Decimal("1e-400")}, "1e-100"),
        ({"act": "lselu", "epsilon": "auto"}, "fan-in"),
        ({"act": "lselu", "depth": 0}, "depth"),
        ({"act": "lselu", "depth": 2.5}, "depth"),
        ({"act": "lselu", "epsilon": 1, "fanin": -3}, "fanin"),
        ({"act": "lselu", "epsilon": "0.03", "digits": 0}, "digits"),
        ({"act": "lselu", "epsilon": "0.03", "digits": 10001}, "digits"),
        ({"act": "lselu", "epsilon": "0.03", "lam": 0}, "above 0"),
        ({"act": "lselu", "epsilon": "0.03", "lambda_min": -1}, "above 0"),
        ({"act": "lselu", "epsilon": "0.03", "lam": 1, "zero_mean": True}, "contradict"),
        ({"act": "selu", "lam": 1}, "no free parameter"),
        ({"act": "dselu", "epsilon": "0.03", "zero_mean": True}, "no free parameter"),
        ({"act": "lsleu", "epsilon": "0.03"}, "lsleu"),
        ({"act": None}, "name of one activation"),
        ({"act": ["lselu"], "epsilon": "0.03"}, "name of one activation"),
        ({"act": "lselu", "epsilon": "0.03", "zero_mean": "no"}, "True or False"),
        ({"act": "lselu", "epsilon": "0.03", "certify": 1}, "True or False"),
        ({"act": "lselu", "epsilon": "0.0_3"}, "finite number"),
        ({"act": "lselu", "epsilon": "-0.03"}, "--epsilon is -0.03;"),
        ({"act": "lselu", "epsilon": Fraction(-3, 100)}, "--epsilon is -0.03;"),
        ({"act": "lselu", "epsilon": Fraction(-1, 10**40)}, "--epsilon is -1e-40;"),
        ({"act": "lselu", "epsilon": Fraction(-1, 3)}, "--epsilon is -1/3;"),
        ({"act": "lselu", "epsilon": "0.03", "lam": Fraction(-5, 2)}, "--lambda is -2.5;"),
        ({"act": "lselu", "epsilon": "0.03", "digits": "abc"}, "from 1 to 10000,"),
    ],
    ids=str,
)
def test_bad_input(request_, message):
    with pytest.raises(InputError, match=message):
        solve(**request_)


def test_zero_mean_and_zero_drift():
    """Zero drift of the log squared gradient norm, with E[f] = 0 as the third condition."""
    from snn_cli.activations import get
    from snn_cli.arithmetic.multiprecision import Multiprecision
    from snn_cli.propagation.finite_width import gradient_drift

    for act in ("lselu", "sselu"):
        for fan_in in (64, 1024):
            s = solve(act, "auto", fanin=fan_in, zero_mean=True, digits=40)
            ar = Multiprecision(200)
            params = {name: ar.context.mpf(text) for name, text in s.decimals if name in s.params}
            assert abs(gradient_drift(ar, get(act).shape(ar, params), fan_in).drift) < 1e-36
            found = quadrature(act, {name: str(value) for name, value in params.items()}, 30)
            assert abs(found["mean"]) < 1e-26
            assert s.params.lam > 0
            assert s.params == solve(act, dict(s.decimals)["epsilon"], zero_mean=True).params


@pytest.mark.parametrize("epsilon", ["0.03", "2", "5"])
@pytest.mark.parametrize("option", ["lam", "lambda_min"])
@pytest.mark.parametrize("act", ["lselu", "sselu"])
def test_the_advice_for_too_large_a_lambda_works(act, option, epsilon):
    with pytest.raises(NoSolution) as caught:
        solve(act, epsilon, **{option: "1.5"})
    words = caught.value.hint.split()
    typed = dict(zip(words[::2], words[1::2], strict=True))
    name = f"--{'lambda' if option == 'lam' else 'lambda-min'}"
    assert solve(act, typed.get("--epsilon", epsilon), **{option: typed[name]}).self_normalizing is not None


def test_numpy_scalars_are_numbers():
    assert solve("lselu", np.float64(0.03)) == solve("lselu", 0.03)
    assert solve("lselu", depth=np.int64(100)) == solve("lselu", depth=100)


def test_threads_do_not_disturb_each_other():
    from concurrent.futures import ThreadPoolExecutor

    requests = [("sselu", f"0.0{i}", d) for i in range(1, 9) for d in (20, 120)]
    alone = [solve(act, epsilon, digits=d) for act, epsilon, d in requests]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda r: solve(r[0], r[1], digits=r[2]), requests))
    assert together == alone


def test_the_users_mpmath_is_left_alone():
    before = mpmath.mp.prec
    solve("sselu", "0.02", digits=200)
    assert mpmath.mp.prec == before


def tail(s):
    """``E[e^(s z); z < 0]``; for large s by its asymptotic series, good to 60 digits."""
    if s > 1000:
        return sum((-1) ** k * mpmath.fac2(2 * k - 1) / s ** (2 * k + 1) for k in range(12)) * mpmath.npdf(0)
    return mpmath.exp(s * s / 2) * mpmath.erfc(mpmath.mpf(s) / mpmath.sqrt(2)) / 2


def closed_forms():
    """lSELU as the theory has it: ``gap = 2 d1 - 1/2`` in ``A^2 gap = epsilon``, the ends of the feasible ranges."""
    d1, d2, half = tail(1), tail(2), mpmath.mpf(1) / 2
    gap = 2 * d1 - half
    decrease = (2 * d2 - 4 * d1 * d1) / gap - 2
    shift = (half - d1) / mpmath.npdf(0) - 2 * d1
    ends = {
        "lselu": 1 / decrease,
        "zero_mean": 2 / (decrease + shift * shift / (2 * gap)),
        "dselu": 1 / (d2 / gap - 1),
    }
    return d1, d2, gap, decrease, ends


def cut(x, digits, upward=False):
    """``x > 0`` as a decimal of that many digits, rounded down or up."""
    exponent = digits - 1 - int(mpmath.floor(mpmath.log10(x)))
    scaled = mpmath.floor(x * mpmath.mpf(10) ** exponent)
    return f"{int(scaled) + upward}e{-exponent}"


@pytest.mark.parametrize("offset", [-75, -60, -45, -30])
@pytest.mark.parametrize("side", [-1, 1])
def test_values_next_to_a_tie(offset, side):
    """Parameters a hair beside the midpoint of two doubles round to their own side, however close they are."""
    rng = np.random.default_rng(3)
    with mpmath.workdps(200):
        _, _, gap, _, _ = closed_forms()
        for x in rng.uniform(0.3, 3, 4):
            tie = mpmath.mpf(x) + mpmath.mpf(math.ulp(x)) / 2
            beside = tie * (1 + side * mpmath.mpf(10) ** offset)
            expected = float(x) if side < 0 else math.nextafter(x, 9)
            lselu = cut(beside**2 * gap, 120)
            assert solve("lselu", lselu).params["alpha"] == expected, lselu
            square = (tail(2 * beside) - 2 * tail(beside) + mpmath.mpf(1) / 2) / beside**2
            sselu = cut((tail(2 * beside) / square - 1) / 2, 120)
            assert solve("sselu", sselu).params["beta"] == expected, sselu


def test_lambda_just_below_its_limit():
    """1 - lambda^2/2 cancels; the figures are those of an elimination and a bisection of its own at 140 digits."""
    s = solve("sselu", "2.7", lambda_min="1.414213")
    assert (s.params["beta"], s.params["alpha"]) == (8509701.348972796, 0.0008918050484173219)
    assert s.multiplier == 1.414212801101327
    for epsilon in ("0.1", "2.7", "100"):
        for digits in (9, 20, 40):
            with mpmath.workdps(60):
                lam = cut(mpmath.sqrt(2), digits)
                s = solve("sselu", epsilon, lambda_min=lam, digits=45)
                lam, alpha, beta = (mpmath.mpf(dict(s.decimals)[name]) for name in s.params)
                amplitude, rest = lam * alpha, 1 - lam**2 / 2
                assert abs(amplitude**2 * (tail(2 * beta) - 2 * tail(beta) + 0.5) / rest - 1) < 1e-20
                left = amplitude**2 * beta**2 * tail(2 * beta)
                assert abs((left - mpmath.mpf(epsilon)) / rest - 1) < 1e-20 * (1 + mpmath.mpf(epsilon) / rest)


def test_a_mean_that_all_but_vanishes():
    """Lambda cut from that of zero mean: as small a mean, to the last digit."""
    lam = dict(solve("sselu", "0.03", zero_mean=True, digits=60).decimals)["lambda"]
    assert solve("sselu", "0.03", lam=lam[:30]).mean == -3.736214804941313e-29
    for length in (6, 16, 40):
        s = solve("sselu", "0.03", lam=lam[:length], digits=70)
        decimals = dict(s.decimals)
        found = quadrature("sselu", {name: decimals[name] for name in s.params}, 60)
        with mpmath.workdps(60):
            assert abs(found["mean"] / mpmath.mpf(decimals["mean"]) - 1) < 1e-8
        assert s.mean == float(decimals["mean"])


@pytest.mark.parametrize("zeros", [10, 40, 50, 80, 300])
def test_small_values_are_no_zeros(zeros):
    """A leaky ReLU has the mean ``(lambda - sqrt(2 - lambda^2)) phi(0)``: tiny, but not zero, beside lambda = 1."""
    lam = f"1.{'0' * zeros}1"
    s = solve("lselu", 0, lam=lam)
    with mpmath.workdps(2 * zeros + 60):
        exact = (mpmath.mpf(lam) - mpmath.sqrt(2 - mpmath.mpf(lam) ** 2)) * mpmath.npdf(0)
        assert s.mean == float(exact) != 0
    assert (s.params["alpha"], s.gamma, s.self_normalizing) == (0, 1, False)
    assert solve("lselu", 0, lambda_min=lam).multiplier == 0


def test_a_slope_that_all_but_vanishes():
    """lSELU with zero mean at SELU's epsilon, cut to 60 digits."""
    epsilon = dict(solve("selu", digits=60).decimals)["epsilon"]
    s = solve("lselu", epsilon, zero_mean=True)
    assert s.params["beta"] == 1.7308521215299584e-61
    assert s.monotone
    f = s.function()
    for x in (-1e3, -1e30):
        assert f(x) == s.at(x) == -1.7580993408473766
    flat = {**s.to_dict(), "params": {**s.params, "beta": 0.0}}
    s = Solution.from_dict(flat)
    assert s.function()(-np.inf) == s.at(-math.inf) == -1.7580993408473766


@pytest.mark.parametrize("digits", [10, 17, 30, 60])
def test_where_monotone_ends_is_decided(digits):
    """Beta is 0 at ``epsilon = 1 / (2 d2 / gap - 2)``: f is monotone just below and not just above."""
    with mpmath.workdps(digits + 60):
        _, d2, gap, _, _ = closed_forms()
        crossing = 1 / (2 * d2 / gap - 2)
        assert solve("lselu", cut(crossing, digits)).monotone
        assert not solve("lselu", cut(crossing, digits, upward=True)).monotone


@pytest.mark.parametrize("digits", [7, 12, 21, 30, 60])
def test_feasible_end_beside_lambdas_limit(digits):
    with mpmath.workdps(200):
        lam = cut(mpmath.sqrt(2), digits)
        _, _, _, decrease, _ = closed_forms()
        top = solve("lselu", 0, lam=lam).feasible_epsilon[1]
        assert top == float((2 - mpmath.mpf(lam) ** 2) / decrease)
        with pytest.raises(NoSolution):
            solve("lselu", 0, lam=cut(mpmath.sqrt(2), digits, upward=True))


@pytest.mark.parametrize("digits", [5, 12, 20, 38, 45, 80])
def test_solutions_beside_the_ends_of_the_range(digits):
    """An epsilon of any number of digits is on its side of the end: solved as typed below, none or the end above."""
    with mpmath.workdps(300):
        d1, d2, gap, decrease, ends = closed_forms()
        epsilon = cut(ends["dselu"], digits)
        lam = mpmath.sqrt(2 + 2 * mpmath.mpf(epsilon) * (1 - d2 / gap))
        s = solve("dselu", epsilon)
        assert dict(s.params) == {
            "lambda": float(lam),
            "alpha": float(mpmath.sqrt(mpmath.mpf(epsilon) / gap) / lam),
        }
        with pytest.raises(NoSolution):
            solve("dselu", cut(ends["dselu"], digits, upward=True))

        epsilon = cut(ends["lselu"], digits)
        a = mpmath.sqrt(mpmath.mpf(epsilon) / gap)
        root = mpmath.sqrt(1 - mpmath.mpf(epsilon) * decrease)
        s = solve("lselu", epsilon)
        assert dict(s.params) == {"lambda": 1, "alpha": float(a), "beta": float(root - 2 * a * d1)}
        assert s.multiplier == float(a * (mpmath.npdf(0) - d1) / root)
        assert Note.EPSILON_AT_END not in s.notes
        above = cut(ends["lselu"], digits, upward=True)
        if float(above) == float(ends["lselu"]):
            assert Note.EPSILON_AT_END in solve("lselu", above).notes
        else:
            with pytest.raises(NoSolution):
                solve("lselu", above)

        epsilon = cut(ends["zero_mean"], digits)
        s = solve("lselu", epsilon, zero_mean=True)
        assert s.mean == 0
        assert Note.EPSILON_AT_END not in s.notes
        assert s.params["lambda"] > 0


def test_numbers_beyond_a_double_are_refused():
    with mpmath.workdps(800):
        epsilon = cut(closed_forms()[-1]["dselu"], 700)
    with pytest.raises(CannotCompute, match="too large for a double"):
        solve("dselu", epsilon)


def test_a_negative_alpha_is_not_chosen():
    """Not even where its gamma or its mean is the smaller."""
    from snn_cli.activations import get
    from snn_cli.arithmetic.multiprecision import Multiprecision
    from snn_cli.solver.branches import choose

    ar = Multiprecision(100)

    def selu(lam, alpha):
        return {"lambda": ar.number(lam), "alpha": ar.number(alpha)}

    assert choose(ar, get("selu"), [selu(1, Fraction(-1, 10)), selu(1, 1), selu(1, 2)]) == 1
    assert choose(ar, get("selu"), [selu(-1, Fraction(1, 10)), selu(1, 2), selu(1, 1)]) == 2
    assert choose(ar, get("selu"), [selu(1, -1), selu(1, 1)]) == 1
