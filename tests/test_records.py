"""Records: round trips, refusals, and the callables they give."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, replace

import mpmath
import numpy as np
import pytest
from conftest import FORMULAS
from hypothesis import given
from hypothesis import strategies as st

from snn_cli import InputError, MissingExtra, NoSolution, Note, Params, Solution, solve

FIELDS = (
    "kind version act epsilon closure depth fan_in params mean second_moment chi gamma kappa mean_slope "
    "active_bounds multiplier residuals monotone self_normalizing feasible_epsilon feasible_open notes"
).split()

finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=8)
solutions = st.builds(
    Solution,
    act=st.sampled_from(["selu", "dselu", "lselu", "sselu"]),
    epsilon=finite,
    closure=st.sampled_from(["lambda_min", "lambda", "zero_mean", "none"]),
    depth=st.none() | st.integers(1, 10**18),
    fan_in=st.none() | st.integers(1, 10**18),
    params=st.dictionaries(st.sampled_from(["lambda", "alpha", "beta"]), finite).map(Params),
    mean=finite,
    second_moment=finite,
    chi=finite,
    gamma=finite,
    kappa=finite,
    mean_slope=finite,
    active_bounds=st.sampled_from([(), ("lambda_min",)]),
    multiplier=st.none() | finite,
    residuals=st.fixed_dictionaries({"second_moment": finite, "chi": finite}).map(Params),
    monotone=st.booleans(),
    self_normalizing=st.booleans(),
    feasible_epsilon=st.tuples(finite, st.none() | finite),
    feasible_open=st.tuples(st.booleans(), st.booleans()),
    notes=st.lists(st.sampled_from(list(Note)), unique=True).map(tuple),
)


@given(
    solutions, st.none() | st.dictionaries(texts, texts), st.none() | st.dictionaries(texts, st.tuples(texts, texts))
)
def test_json_round_trip(solution, decimals, enclosure):
    if decimals is not None:
        solution = replace(solution, digits=7, decimals=tuple(decimals.items()))
    if enclosure is not None:
        solution = replace(solution, enclosure=tuple(enclosure.items()))
    text = json.dumps(solution.to_dict(), allow_nan=False)
    assert Solution.from_dict(json.loads(text)) == solution


def test_fields_in_order():
    assert list(solve("lselu", "0.03").to_dict()) == FIELDS
    full = list(solve("lselu", "0.03", digits=20).to_dict())
    assert full == [*FIELDS, "digits", "decimals"]


@pytest.mark.parametrize(
    "broken", [{}, [], None, {"kind": "propagation", "version": 1}, {"kind": "solution", "version": 2}]
)
def test_another_record_is_refused(broken):
    with pytest.raises(InputError, match="not a solution record of version 1"):
        Solution.from_dict(broken)


@pytest.mark.parametrize("field", FIELDS[2:])
def test_a_missing_field_is_named(field):
    data = solve("lselu", "0.03").to_dict()
    del data[field]
    with pytest.raises(InputError, match=field):
        Solution.from_dict(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("act", 3),
        ("epsilon", "0.03"),
        ("epsilon", None),
        ("gamma", float("inf")),
        ("chi", True),
        ("params", {"lambda": "1"}),
        ("params", [1, 2]),
        ("params", {"lambda": float("nan")}),
        ("depth", 0),
        ("depth", 1.5),
        ("monotone", "yes"),
        ("feasible_epsilon", [0]),
        ("feasible_epsilon", None),
        ("notes", ["no-such-note"]),
        ("notes", 4),
        ("multiplier", "x"),
    ],
)
def test_a_malformed_field_is_refused(field, value):
    data = {**solve("lselu", "0.03").to_dict(), field: value}
    with pytest.raises(InputError):
        Solution.from_dict(data)


def test_records_are_frozen():
    s = solve("lselu", "0.03")
    with pytest.raises(FrozenInstanceError):
        s.epsilon = 1.0
    with pytest.raises(TypeError):
        s.params["lambda"] = 2.0
    assert hash(s) == hash(solve("lselu", "0.03"))
    assert s.params.lam == s.params["lam"] == s.params["lambda"] == 1.0
    assert {**s.params} == {"lambda": 1.0, "alpha": s.params.alpha, "beta": s.params.beta}
    with pytest.raises(AttributeError, match="lambda, alpha, beta"):
        _ = s.params.gamma
    assert pickle.loads(pickle.dumps(s)) == s == copy.deepcopy(s)


def test_functions_and_errors_survive_pickling():
    s = solve("lselu", "0.03")
    for f, name in ((s.function(), "lselu"), (s.derivative(), "lselu_derivative")):
        copied = pickle.loads(pickle.dumps(f))
        assert copied([-1.0, 2.0]).tolist() == f([-1.0, 2.0]).tolist()
        assert f.__name__ == copied.__name__ == name
    for error in (
        MissingExtra("--certify", "python-flint", "certify"),
        NoSolution("none", "--epsilon 0.03", (0.0, None)),
        InputError("bad", "good"),
    ):
        copied = pickle.loads(pickle.dumps(error))
        assert (type(copied), str(copied), copied.hint) == (type(error), str(error), error.hint)
        assert getattr(copied, "feasible_epsilon", None) == getattr(error, "feasible_epsilon", None)


@pytest.mark.parametrize(
    ("act", "epsilon"),
    [("selu", None), ("dselu", "0.03"), ("lselu", "0.03"), ("lselu", "1"), ("sselu", "1e-10"), ("sselu", "1e6")],
)
def test_function_and_derivative(act, epsilon):
    """Against mpmath at 40 digits, over 600 orders of magnitude of x, and the derivative by differences."""
    s = solve(act, epsilon)
    f, df = s.function(), s.derivative()
    size = np.concatenate([[0.0], np.logspace(-300, 300, 121), np.linspace(0.1, 60, 80)])
    x = np.concatenate([-size, size])
    left, slope = FORMULAS[act]
    with mpmath.workdps(40):
        p = {name: mpmath.mpf(value) for name, value in s.params.items()}
        for got, (below, above) in ((f, (left, lambda v, p: p["lambda"] * v)), (df, (slope, lambda _, p: p["lambda"]))):
            values = got(x)
            for at, value in zip(x, values, strict=True):
                exact = below(mpmath.mpf(at), p) if at < 0 else above(mpmath.mpf(at), p)
                # a term of lSELU may cancel another: the error is relative to the terms
                scale = max(abs(exact), p["lambda"] * abs(p.get("beta", 0) * mpmath.mpf(at)) if act == "lselu" else 0)
                assert abs(value - exact) <= 4e-15 * scale + 1e-320, (at, value, exact)
        h = mpmath.mpf(10) ** -15
        difference = (left(-0.7 + h, p) - left(-0.7 - h, p)) / (2 * h)
        assert abs(df(-0.7) - difference) < 1e-13 * abs(difference) + 1e-300
    assert df(0.0) == s.params.lam  # the right-hand derivative
    assert s.at(-0.7) == pytest.approx(float(f(-0.7)), rel=1e-15)
    assert np.isnan(f(np.nan))
    assert np.isnan(df(np.nan))
    assert f(np.inf) == np.inf
    assert np.isfinite(df(np.array([-np.inf, np.inf]))).all()
    assert f(np.float32([1, -1])).dtype == np.float32
    assert f([1, -1]).shape == (2,)
    assert f(3).shape == ()
