"""``simulate`` as a user calls it: values, defaults, refusals, records."""

from __future__ import annotations

import inspect
import json
import math
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snn_cli import CannotCompute, InputError, NoSolution, Note, SnnError, analyze, simulate, solve
from snn_cli.activations import BASELINES, SOLVABLE
from snn_cli.records import Propagation
from snn_cli.simulation import check, parse_widths
from snn_cli.simulation.request import DEFAULTS

LSELU = {"act": "lselu", "params": {"lambda": 1.0, "alpha": 1.13821258446, "beta": 0.39398846543}}


def test_known_growth_of_selu():
    """From q0 = 2, known to eighteen digits."""
    for depth, exact in ((200, 13.2503659641590747), (10_000, 690.719679361982854)):
        record = simulate("selu", depth=depth, q0=2)
        assert record.gradient.log_growth == pytest.approx(exact, rel=3e-15)
        assert record.profile.log_gradient[0] == pytest.approx(exact, rel=1e-12)
        assert record.gradient.log_growth_sd is None
        assert simulate("selu", depth=depth, q0=2, profile=False).gradient == record.gradient


def test_at_its_fixed_point_nothing_changes():
    record = simulate("lselu", "0.03", depth=200)
    assert set(record.profile.q) == {1.0}
    assert record.gradient.log_growth == pytest.approx(200 * math.log1p(0.03), rel=1e-15)
    assert record.gradient.typical_factor == pytest.approx(1.03**200, rel=1e-13)
    assert record.fixed_point.q == 1
    assert record.fixed_point.gamma == pytest.approx(0.84730, abs=5e-6)
    assert record.isometry.chi == pytest.approx(1.03, rel=1e-15)
    solution = solve("lselu", "0.03")
    assert record.isometry.block_variance == pytest.approx(solution.kappa * 1.03**2, rel=1e-12)
    assert record.isometry.network_relative_variance == pytest.approx(200 * solution.kappa, rel=1e-12)
    assert record.profile.mean == pytest.approx([solution.mean] * 201, rel=1e-12)


def test_defaults():
    record = simulate("lselu")
    assert (record.depth, record.fan_in, record.widths, record.weights) == (100, None, None, "gaussian")
    assert (record.q0, record.c0, record.sigma_w, record.sigma_b, record.weight_mean) == (1, 0.5, 1, 0, 0)
    assert record.epsilon == 0.01
    assert dict(record.params) == dict(solve("lselu", "0.01").params)
    assert record.budget is None
    assert record.finite == (None, None, None, None)
    assert record.profile.q_mean is record.profile.q_sd is record.profile.log_gradient_sd is None
    assert record.profile.layer == tuple(range(101))
    assert simulate("lselu", depth=8).epsilon == 0.125
    assert simulate("selu", depth=8).epsilon == solve("selu").epsilon
    assert simulate("tanh").epsilon is None


def test_auto_takes_the_fan_in():
    record = simulate("lselu", "auto", depth=30, fanin=64)
    assert dict(record.params) == dict(solve("lselu", "auto", fanin=64).params)
    assert record.epsilon == pytest.approx(0.0181276, abs=5e-8)
    widths = simulate("lselu", "auto", widths=[64] * 31)
    assert widths.params == record.params
    with pytest.raises(InputError, match="fan-in"):
        simulate("lselu", "auto")
    with pytest.raises(InputError, match="fan-in"):
        simulate("lselu", "auto", widths="64,32")


def test_numbers_of_any_type_are_the_same_number():
    one = simulate("lselu", "0.25", depth=5, fanin=32, q0="0.5", c0="0.25", sigma_w="1.5", sigma_b="0.5")
    for kind in (float, Decimal, Fraction, np.float64):
        other = simulate(
            "lselu", kind("0.25"), depth=np.int64(5), fanin="32", q0=kind("0.5"), c0=kind("0.25"), sigma_w=kind("1.5"),
            sigma_b=kind("0.5"),
        )  # fmt: skip
        assert other == one


def test_params_of_records():
    """A Solution, a Propagation and plain mappings; depth and fan-in are those of the record unless given."""
    solution = solve("lselu", "0.03", depth=70, fanin=48)
    record = simulate(params=solution)
    assert (record.depth, record.fan_in, record.epsilon, record.params) == (70, 48, 0.03, solution.params)
    assert simulate(params=solution.to_dict()) == record
    assert simulate(params=record) == record
    assert simulate(params=record.to_dict()) == record
    assert simulate(params=solution, depth=5, fanin=7).depth == 5
    plain = simulate(params=LSELU, depth=70, fanin=48)
    assert plain.epsilon == pytest.approx(0.03, abs=1e-9)
    assert plain.gradient.log_growth == pytest.approx(record.gradient.log_growth, abs=1e-7)
    assert simulate(params={"act": "tanh"}).act == "tanh"
    assert simulate(params={"act": "tanh", "params": {}}).params == {}


BAD_PARAMS = [
    None,
    {},
    {"lambda": 1, "alpha": 1.1},
    {"lambda": 1, "alpha": 1.1, "beta": 0.4, "gamma": 0.8},
    {"lambda": 1, "alpha": 1.1, "gamma": 0.4},
    [1, 2, 3],
    "lambda",
    3,
    *(
        {"lambda": 1, "alpha": 1.1, "beta": bad}
        for bad in (None, "0.4", "abc", math.inf, -math.inf, math.nan, True, [], {}, 1e61, 1e-61, 10**400, 1j)
    ),
    *({"lambda": bad, "alpha": 1.1, "beta": 0.4} for bad in (0, -1, 0.0, -1e-3, False)),
]


@pytest.mark.parametrize("bad", BAD_PARAMS, ids=str)
def test_bad_params(bad):
    with pytest.raises(InputError) as error:
        simulate(params={"act": "lselu", "params": bad}, depth=3)
    assert error.value.hint


@pytest.mark.parametrize(
    "record",
    [
        {},
        [],
        3,
        "lselu",
        {"act": None, "params": LSELU["params"]},
        {"act": 3, "params": LSELU["params"]},
        {"act": "lsleu", "params": LSELU["params"]},
        {"act": "tanh", "params": {"lambda": 1}},
        {**LSELU, "depth": "many"},
        {**LSELU, "depth": 0},
        {**LSELU, "depth": 2.5},
        {**LSELU, "depth": True},
        {**LSELU, "fan_in": -3},
        {**LSELU, "fan_in": [64]},
    ],
    ids=str,
)
def test_bad_records(record):
    with pytest.raises(InputError) as error:
        simulate(params=record)
    assert error.value.hint


BAD_NUMBERS = ("nan", "inf", "-inf", "abc", "", None, True, [1], math.nan, math.inf, "1_0", 1j, "1e200")
BAD_COUNTS = (0, -1, "0", "2.5", 2.5, "abc", "", True, math.inf, [3], "1e30")
BAD_OPTIONS = [
    *(({}, {"depth": bad}) for bad in BAD_COUNTS),
    *(({}, {"fanin": bad}) for bad in BAD_COUNTS),
    *(({}, {"q0": bad}) for bad in (*BAD_NUMBERS, 0, -1, "1e-31", "1e31")),
    *(({}, {"c0": bad}) for bad in (*BAD_NUMBERS, "1.0000001", -2)),
    *(({}, {"sigma_w": bad}) for bad in (*BAD_NUMBERS, 0, -1, "1e-31", "1e31", "hee") if bad is not None),
    *(({}, {"sigma_b": bad}) for bad in (*BAD_NUMBERS, -1, "-1e-9")),
    *(({"fanin": 8}, {"weight_mean": bad}) for bad in BAD_NUMBERS),
    *(({}, {name: bad}) for name in ("mixup", "scaled_mixup") for bad in (*BAD_NUMBERS, 0, -1) if bad is not None),
    *(({}, {"max_growth": bad}) for bad in (*BAD_NUMBERS, 0, -1, "0.999") if bad is not None),
    *(({"act": "lselu"}, {"epsilon": bad}) for bad in (*BAD_NUMBERS, -1) if bad is not None),
    *(({"act": "lselu", "epsilon": "0.03"}, {"lam": bad}) for bad in (*BAD_NUMBERS, 0, -1) if bad is not None),
    *(({"act": "lselu", "epsilon": "0.03"}, {"lambda_min": bad}) for bad in (*BAD_NUMBERS, -1) if bad is not None),
    *(({}, {"weights": bad}) for bad in ("gausian", "", None, 3)),
    *(({}, {"act": bad}) for bad in ("sleu", "", None, 3, ["selu"])),
    ({}, {"widths": "64"}),
    *(({}, {"widths": bad}) for bad in ("64,", "", "64,0", "64x0,3", "64x", "x3,4", "64,3.5")),
    *(({}, {"widths": bad}) for bad in ([64, None], [], [64, True])),
    ({}, {"widths": "64x2000000"}),
    ({}, {"widths": [10**10, 3]}),
    ({"depth": 5}, {"widths": "64,32"}),
    ({"fanin": 5}, {"widths": "64,32"}),
    ({}, {"weight_mean": 1}),
    ({}, {"unrestored": True}),
    ({"weights": "uniform"}, {"unrestored": True}),
    ({"centralize": True}, {"centralize_activation": True}),
    ({"mixup": 1}, {"scaled_mixup": 1}),
    ({"act": "relu"}, {"epsilon": "0.03"}),
    ({"act": "relu"}, {"lam": 1}),
    ({"act": "relu"}, {"zero_mean": True}),
    ({"act": "selu"}, {"zero_mean": True}),
    ({"act": "lselu", "lam": 1}, {"lambda_min": 1}),
    ({"act": "selu"}, {"params": LSELU}),
    ({"act": None, "epsilon": "0.03"}, {"params": LSELU}),
    ({"act": None, "lam": 1}, {"params": LSELU}),
    ({"c0": "-0.34"}, {"mixup": 1}),
    ({"c0": -1}, {"scaled_mixup": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("good", "bad"), BAD_OPTIONS, ids=str)
def test_bad_options(good, bad):
    """A refusal says what to type instead; without the bad value there is none."""
    options = {"act": "selu", **good}
    if options["act"] is not None and good:
        assert simulate(**options, **({} if "depth" in options or "depth" in bad else {"depth": 5})).act
    with pytest.raises(InputError) as error:
        simulate(**{**options, **bad})
    assert str(error.value)
    assert error.value.hint
    assert error.value.exit_code == 2


def test_what_is_cached_is_not_what_is_equal():
    """``True == 1`` in Python, but no number to the user, whatever was asked before."""
    simulate("lselu", "0.03", lam=1, depth=3)
    for bad in ({"lam": True}, {"lambda_min": True}):
        with pytest.raises(InputError):
            simulate("lselu", "0.03", depth=3, **bad)
    simulate("lselu", 1, depth=3)
    with pytest.raises(InputError):
        simulate("lselu", True, depth=3)


def test_what_cannot_be_computed():
    with pytest.raises(CannotCompute) as error:
        simulate("selu", depth=1_000_001)
    assert error.value.hint == "--no-profile"
    assert simulate("selu", depth=10**9, profile=False).gradient.log_growth == pytest.approx(
        1e9 * math.log1p(solve("selu").epsilon), rel=1e-14
    )
    with pytest.raises(NoSolution):
        simulate("lselu", "2", depth=3)
    with pytest.raises(NoSolution):
        simulate("dselu", depth=3)


@pytest.mark.parametrize("step", ["erf(1e50*x)", "sigmoid(1e20*x)", "erf(1e30*(x - 2.7))"])
def test_a_step_too_narrow_to_be_seen_is_refused(step):
    """Its E[f'^2] came out as 0."""
    for command in (simulate, analyze):
        with pytest.raises(CannotCompute, match="too fast for its slope to be seen"):
            command(expr=step, depth=3)


def test_a_narrow_step_that_is_seen():
    """``E[f'^2] = k/sqrt(2 pi) int sech^4 = 4k / 3 sqrt(2 pi)``, up to ``1/k^2``."""
    assert analyze(expr="tanh(1e9*x)").chi == pytest.approx(4e9 / 3 / math.sqrt(2 * math.pi), rel=1e-12)


def test_widths():
    assert parse_widths("784,1024x3,10") == [784, 1024, 1024, 1024, 10]
    assert parse_widths(" 7 , 8x2 ") == [7, 8, 8]
    assert parse_widths((3, "4x2", np.int64(5))) == [3, 4, 4, 5]
    record = simulate("selu", widths="784,1024x3,10")
    assert (record.depth, record.fan_in, record.widths) == (4, None, (784, 1024, 1024, 1024, 10))
    assert simulate("selu", widths="784,1024x3,10", depth=4) == record
    assert record.finite == (None, None, None, None)
    assert record.gradient.log_growth_sd > 0
    same = simulate("selu", widths="64x11")
    assert (same.fan_in, same.depth) == (64, 10)
    assert same.finite == simulate("selu", fanin=64, depth=10).finite


def test_he_and_truncation():
    assert simulate("relu", sigma_w="he", depth=3).sigma_w == pytest.approx(math.sqrt(2), rel=1e-15)
    tanh = simulate("tanh", sigma_w=" HE ", depth=3)
    assert tanh.profile.q == pytest.approx([1, 1, 1, 1], rel=1e-14)
    record = simulate("relu", weights="truncated", unrestored=True, sigma_w=2, depth=3)
    assert record.sigma_w**2 == pytest.approx(4 * 0.7737413035, rel=1e-9)
    assert Note.TRUNCATION_LOSES_VARIANCE in record.notes
    assert simulate("relu", weights="truncated", sigma_w=2, depth=3).sigma_w == 2
    both = simulate("relu", weights="truncated", unrestored=True, sigma_w="he", depth=3)
    assert both.sigma_w**2 == pytest.approx(2 * 0.7737413035, rel=1e-9)


@pytest.mark.parametrize("alpha", ["0.2", "1", "4"])
@pytest.mark.parametrize("c0", ["0", "0.5", "-0.3"])
def test_mixup_by_drawing(alpha, c0):
    """Pairs of inputs, each mixed from a pair of its own, with beta draws; the unmixed values are rejected."""
    rng = np.random.default_rng(12)
    t, s = rng.beta(float(alpha), float(alpha), (2, 400_000))
    for option in ("mixup", "scaled_mixup"):
        record = simulate("selu", depth=1, q0=3, c0=c0, **{option: alpha})
        a, b = (1 / np.sqrt(x * x + (1 - x) ** 2) if option == "scaled_mixup" else 1.0 for x in (t, s))
        c = float(c0)
        second = 3 * (a * a * (t * t + (1 - t) ** 2 + 2 * t * (1 - t) * c) + 0 * t)
        covariance = 3 * c * a * b + 0 * t
        for found, draws in ((record.q0, second), (record.c0 * record.q0, covariance)):
            error = draws.std() / math.sqrt(len(draws))
            assert abs(draws.mean() - found) <= 4 * error + 1e-12
        assert record.profile.q[0] == record.q0
        assert record.profile.correlation[0] == pytest.approx(record.c0, abs=1e-15)
        if option == "mixup" or c:
            assert abs(second.mean() - 3) > 4 * second.std() / math.sqrt(len(second))


def test_mixup_exactly():
    record = simulate("selu", depth=1, c0=0, mixup=1)
    assert (record.q0, record.c0) == (2 / 3, 0)
    assert simulate("selu", depth=1, c0=1, mixup="0.3").q0 == 1
    assert simulate("selu", depth=1, c0=1, mixup="0.3").c0 == 1
    assert simulate("selu", depth=1, c0=0, scaled_mixup="0.3").q0 == pytest.approx(1, rel=1e-14)
    assert simulate("selu", depth=1, c0=1, scaled_mixup="0.3").c0 <= 1
    for a, b in (("0.99e-8", "1.01e-8"), ("0.9999e5", "1.0001e5"), ("1e-90", "1e-9"), ("1e9", "1e90")):
        first, second = (simulate("selu", depth=1, c0="0.5", scaled_mixup=x) for x in (a, b))
        assert first.q0 == pytest.approx(second.q0, abs=1e-8)
        assert first.c0 == pytest.approx(second.c0, abs=1e-8)


BUDGETS = [
    {"act": "lselu", "epsilon": "0.03"},
    {"act": "lselu", "epsilon": "0.03", "fanin": 64},
    {"act": "sselu", "epsilon": "0.1", "fanin": 200, "weights": "orthogonal"},
    {"act": "selu", "q0": 20, "fanin": 100},
    {"act": "relu"},
    {"act": "tanh", "sigma_w": "1.3", "sigma_b": "0.2"},
    {"act": "lselu", "epsilon": "0.5", "q0": 40},
    {"act": "elu", "sigma_w": "1.1", "sigma_b": "0.7", "q0": "0.01"},
]


@pytest.mark.parametrize("growth", ["1.5"])
@pytest.mark.parametrize("options", BUDGETS, ids=str)
def test_largest_depth(options, growth):
    """It passes and no deeper one does: by calling again."""
    budget = simulate(**options, depth=20, max_growth=growth, profile=False).budget
    allowed = math.log(float(growth))

    def passes(depth):
        return abs(simulate(**options, depth=depth, profile=False).gradient.log_growth) <= allowed

    assert budget.within == passes(20)
    assert budget.max_growth == float(growth)
    assert not budget.max_depth or passes(budget.max_depth)
    for beyond in (1, 2, 3, 10, 50, 200):
        assert not passes(budget.max_depth + beyond), beyond


def test_no_largest_depth():
    for options in ({"act": "relu", "sigma_w": "he"}, {"act": "linear"}, {"act": "lselu", "epsilon": 0}):
        assert simulate(**options, max_growth=2, profile=False).budget.max_depth is None
    assert simulate("selu", depth=3, max_growth=1).budget == (1, False, 0, None)


@pytest.mark.parametrize(
    ("act", "options"),
    [
        ("lselu", {}),
        ("sselu", {"fanin": 64}),
        ("lselu", {"q0": 3, "lam": "0.9"}),
        ("dselu", {"widths": "96,48x6,96"}),
    ],
    ids=str,
)
def test_largest_epsilon(act, options):
    depth = {} if "widths" in options else {"depth": 25}
    epsilon = simulate(act, "0.03", max_growth="1.8", **depth, **options).budget.epsilon

    def growth(e):
        return simulate(act, repr(e), profile=False, **depth, **options).gradient.log_growth

    assert abs(growth(epsilon)) <= math.log(1.8)
    step = 10.0 ** (math.floor(math.log10(epsilon)) - 3)
    assert round(epsilon / step) == pytest.approx(epsilon / step, abs=1e-6)
    try:
        assert abs(growth(epsilon + 1.02 * step)) > math.log(1.8)
    except NoSolution:
        assert epsilon > 0.1


def test_notes():
    def notes(*args, **kwargs):
        return set(simulate(*args, depth=kwargs.pop("depth", 50), **kwargs).notes)

    assert notes("lselu", "0.03") == set()
    assert notes("relu", sigma_w="he") == {Note.EVERY_SECOND_MOMENT_FIXED}
    assert notes("relu", sigma_w="he", fanin=64) == {Note.EVERY_SECOND_MOMENT_FIXED, Note.NEVER_SETTLES}
    assert Note.NO_FIXED_POINT in notes("relu", sigma_w=2)
    assert Note.VANISHES in notes("relu")
    assert Note.VANISHES in notes("tanh")
    assert Note.OVERFLOW in notes("relu", sigma_w="1e6", depth=100)
    assert Note.UNDERFLOW in notes("relu", sigma_w="1e-6", depth=100)
    assert Note.FINITE_NOT_MODELLED in notes("selu", fanin=64, centralize_activation=True)
    assert Note.FINITE_NOT_MODELLED in notes("selu", fanin=64, weight_mean="0.1")
    assert Note.BEYOND_TOLERANCE in notes("relu", sigma_w="he", fanin=64, weight_mean=10)
    assert Note.FINITE_WIDTH_EXTRAPOLATED in notes("selu", fanin=20)
    assert Note.EXPANSION_FAILS in notes("selu", fanin=4)
    assert Note.CENTRALIZATION_SHIFTS in notes("lselu", "0.03", centralize=True)
    assert Note.CENTRALIZATION_SHIFTS not in notes("selu", centralize=True)
    remedy = {"fanin": 1024, "centralize_activation": True}  # the tolerance is 0.0314
    assert Note.OWN_MEANS_GROW in notes("lselu", "0.03", weight_mean="0.032", **remedy)
    assert Note.OWN_MEANS_GROW not in notes("lselu", "0.03", weight_mean="0.031", **remedy)


def test_remedies():
    """``V_c = sigma_w^2 Var f``: for He-ReLU 1 - 1/pi of the second moment is left."""
    for option in ("centralize", "centralize_activation"):
        record = simulate("relu", sigma_w="he", depth=3, **{option: True})
        assert record.profile.q == pytest.approx([(1 - 1 / math.pi) ** layer for layer in range(4)], rel=1e-13)
    assert simulate("selu", depth=3, centralize=True).profile.q == pytest.approx([1] * 4, rel=1e-14)


def test_the_same_whatever_was_asked_before():
    """Sweeps share what they can; no order of points changes a record."""
    points = [
        {"act": act, "depth": depth, "fanin": fan_in, "q0": q0, "c0": c0, "weights": kind}
        for act in ("selu", "tanh")
        for depth in (3, 9)
        for fan_in in (None, 40, 60)
        for q0 in (1, 2)
        for c0 in (0, "0.9")
        for kind in ("gaussian", "orthogonal")
    ]
    first = [simulate(**point) for point in points]
    order = np.random.default_rng(0).permutation(len(points))
    again = {i: simulate(**points[i], max_growth=2 if i % 3 else None, profile=i % 2 == 0) for i in order}
    for i, record in enumerate(first):
        assert again[i].gradient == record.gradient
        assert again[i].finite == record.finite
        assert again[i].covariance == record.covariance
        if i % 2 == 0:
            assert again[i].profile == record.profile
    assert [simulate(**point) for point in points] == first


def check_record(record):
    """What holds for every record."""
    text = json.dumps(record.to_dict(), allow_nan=False)
    assert Propagation.from_dict(json.loads(text)) == record
    assert list(json.loads(text))[:3] == ["kind", "version", "act"]
    assert Propagation.from_dict(json.loads(text)).to_dict() == record.to_dict()
    for value in (record.gradient.log_growth_sd, record.finite.variance, record.finite.q_variance):
        assert value is None or value >= 0
    assert record.fixed_point.q is None or record.fixed_point.q >= 0
    assert [p.q for p in record.fixed_points] == sorted(p.q for p in record.fixed_points)
    assert record.covariance.fixed_point is None or -1 <= record.covariance.fixed_point <= 1
    for scale in (record.fixed_point.depth_scale, record.covariance.depth_scale):
        assert scale is None or scale >= 0
    if record.profile is None:
        return
    for name, column in record.profile._asdict().items():
        assert column is None or len(column) == record.depth + 1, name
        if name in ("q", "q_sd", "chi", "log_gradient_sd", "unit_variance"):
            assert all(x is None or x >= 0 for x in column or ()), name
        if name == "correlation":
            assert all(x is None or -1 <= x <= 1 for x in column or ())
    assert record.profile.log_gradient[-1] == 0


@pytest.mark.parametrize(
    "options",
    [
        {"act": "selu", "fanin": 64, "max_growth": 3},
        {"act": "lselu", "epsilon": "0.03", "widths": "10,20x3,5", "weights": "orthogonal"},
        {"act": "lselu", "epsilon": "0.03", "fanin": 64, "weight_mean": "0.3"},
        {"act": "lselu", "epsilon": "0.03", "fanin": 256, "weight_mean": 3},
        {"act": "relu", "sigma_w": "1e14"},
        {"act": "relu", "sigma_w": "1e-14"},
        {"act": "gelu", "profile": False, "mixup": "0.4"},
        {"act": "linear", "scaled_mixup": 2, "c0": "-0.33"},
    ],
    ids=str,
)
def test_records(options):
    check_record(simulate(depth=None if "widths" in options else 30, **options))


def test_records_of_something_else():
    data = simulate("selu", depth=3).to_dict()
    for bad in (
        {},
        [],
        None,
        {**data, "kind": "solution"},
        {**data, "version": 2},
        {**data, "q0": None},
        {**data, "q0": math.inf},
        {**data, "params": {"lambda": "1"}},
        {**data, "gradient": {"log_growth": 1}},
        {**data, "fixed_point": None},
        {**data, "notes": ["no-such-note"]},
        {**data, "profile": {"layer": [0]}},
        {name: value for name, value in data.items() if name != "covariance"},
    ):
        with pytest.raises(InputError):
            Propagation.from_dict(bad)


def decimals(low, high):
    return st.floats(low, high).map(lambda x: repr(10**x))


LEGAL = st.fixed_dictionaries(
    {
        "act": st.sampled_from([*SOLVABLE, *BASELINES]),
        "depth": st.integers(1, 40),
        "fanin": st.none() | st.integers(1, 5000),
        "weights": st.sampled_from(["gaussian", "orthogonal", "uniform", "truncated"]),
    },
    optional={
        "epsilon": decimals(-6, 0.2) | st.just("auto"),
        "lam": st.floats(0.3, 1.3),
        "zero_mean": st.booleans(),
        "widths": st.lists(st.integers(1, 300), min_size=2, max_size=12),
        "sigma_w": decimals(-1, 1) | st.just("he") | decimals(-0.1, 0.3) | decimals(-30, 3),
        "sigma_b": st.just(0) | decimals(-3, 1) | decimals(-90, 3),
        "unrestored": st.booleans(),
        "q0": decimals(-1, 1) | decimals(-29.9, 5),
        "c0": st.floats(-1, 1),
        "weight_mean": st.floats(-2, 2) | decimals(-90, 90),
        "centralize": st.booleans(),
        "centralize_activation": st.booleans(),
        "mixup": decimals(-3, 2) | decimals(-90, 90),
        "scaled_mixup": decimals(-3, 2) | decimals(-90, 90),
        "max_growth": st.floats(1.01, 20),
        "profile": st.booleans(),
    },
)


@given(options=LEGAL)
@settings(max_examples=25)
@example(options={"act": "linear", "depth": 3, "fanin": None, "weights": "gaussian", "centralize": True})
@example(options={"act": "tanh", "depth": 20, "fanin": 1, "weights": "orthogonal", "q0": "1e-30"})
@example(options={"act": "erf", "depth": 20, "fanin": 3, "weights": "uniform", "sigma_w": "1e3"})
def test_any_legal_options(options):
    """A record or a refusal: no other exception, no warning, nothing that JSON cannot hold."""
    if "widths" in options:
        del options["fanin"], options["depth"]
    for one, other in (("mixup", "scaled_mixup"), ("centralize", "centralize_activation")):
        if options.get(one):
            options.pop(other, None)
    if options["act"] in BASELINES or options["act"] in ("selu", "dselu"):
        for name in ("lam", "zero_mean", *(["epsilon"] if options["act"] != "dselu" else [])):
            options.pop(name, None)
    if options["weights"] != "truncated":
        options.pop("unrestored", None)
    try:
        record = simulate(**options)
    except SnnError:
        return
    check_record(record)


@given(
    act=st.sampled_from(["lselu", "sselu", "selu"]),
    lam=st.floats(1e-3, 1e3),
    alpha=st.floats(-1e3, 1e3),
    beta=st.floats(-10, 10),
    q0=decimals(-4, 4),
    sizes=st.sampled_from([{}, {"fanin": 30}, {"widths": "8,30x5"}, {"fanin": 30, "weight_mean": "0.1"}]),
)
@settings(max_examples=15)
@example(act="sselu", lam=1.0, alpha=1.0, beta=0.0, q0="1.0", sizes={})
@example(act="lselu", lam=1.0, alpha=0.0, beta=0.0, q0="1.0", sizes={"fanin": 30})
def test_any_params(act, lam, alpha, beta, q0, sizes):
    """Values that solve nothing are legal."""
    params = {"lambda": lam, "alpha": alpha} | ({"beta": beta} if act != "selu" else {})
    try:
        depth = None if "widths" in sizes else 8
        record = simulate(params={"act": act, "params": params}, q0=q0, depth=depth, **sizes)
    except SnnError:
        return
    check_record(record)
    for a, b in pairwise(record.profile.layer):
        assert b == a + 1


def test_what_is_checked_has_the_defaults_of_what_is_called():
    of_models = {"model", "input", "weights_from"}
    of_expressions = {"expr", "set"}
    parameters = inspect.signature(simulate).parameters
    public = {name: parameter.default for name, parameter in parameters.items()}
    assert {name: public[name] for name in public.keys() - of_models - of_expressions} == DEFAULTS
    with pytest.raises(TypeError, match="fan_in"):
        check("lselu", fan_in=64)
