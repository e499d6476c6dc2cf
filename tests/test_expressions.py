"""Expressions: read and never evaluated, held against mpmath and sympy, refused where they are no activation."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from contextlib import suppress

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from snn_cli import InputError, activations, analyze, simulate, solve
from snn_cli.activations import expression
from snn_cli.activations.expression import grammar, symbolic, tree
from snn_cli.activations.expression.evaluate import Precise, arrays, evaluate

MP = mpmath.MPContext()
MP.dps = 40

CASES = {
    "where(x > 0, x, a*(exp(x) - 1))": {"a": 1.2},
    "where(x > 0, l*x, l*(a*exp(b*x) - a))": {"l": 1.05, "a": 2.6, "b": 0.5},
    "l*(x if x > 0 else a*exp(x) + b*x - a)": {"l": 1.0, "a": 1.1, "b": 0.4},
    "x/(1 + exp(-b*x))": {"b": 1.702},
    "log(1 + exp(x))": {},
    "0.5*x*(1 + erf(x/sqrt(2)))": {},
    "0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))": {},
    "x*tanh(log1p(exp(x)))": {},
    "x*min(max(x + 3, 0), 6)/6": {},
    "(exp(x) - exp(-x))/(exp(x) + exp(-x))": {},
    "abs(abs(x) - 1)": {},
    "x + sin(a*x)**2/a": {"a": 1.5},
    "sqrt(x**2 + 1) - 1 + x": {},
    "x*(x > c) + c*(x <= c)": {"c": 0.3},
    "where(-1 < x and not x > 1, x, x/2 + max(min(x, 1), -1)/2)": {},
    "a*gelu(b*x + c) + d*mish(x) + silu(x) + elu(x) + leaky_relu(x) + hardswish(x)": {
        "a": 1.1, "b": 0.9, "c": 0.1, "d": -0.2,
    },
    "abs(x)**p*cos(x)": {"p": 1.5},
    "2**(x/4) - e**-x/9": {},
}  # fmt: skip
CANCELS = {"(exp(x) - exp(-x))/(exp(x) + exp(-x))", "sqrt(x**2 + 1) - 1 + x"}
"""In the user's own order of operations, in doubles, near 0."""
POINTS = (-30.0, -5.3, -3.0, -1.0, -0.31, -1e-9, 0.0, 5e-324, 1e-7, 0.3, 1.0, 1.7, 3.0, 6.5, 30.0)


def exact(text, params, x):
    """f by Python's own parser and mpmath's functions, without a tree of ours: these texts are trusted."""
    names = {
        "x": MP.mpf(x), "pi": MP.pi, "e": MP.e, "where": lambda c, a, b: a if c else b, "min": min, "max": max,
        "abs": abs, "exp": MP.exp, "log": MP.log, "log1p": MP.log1p, "sqrt": MP.sqrt, "erf": MP.erf, "tanh": MP.tanh,
        "sin": MP.sin, "cos": MP.cos, "gelu": lambda u: u * MP.ncdf(u), "silu": lambda u: u / (1 + MP.exp(-u)),
        "mish": lambda u: u * MP.tanh(MP.log1p(MP.exp(u))), "elu": lambda u: u if u > 0 else MP.expm1(u),
        "leaky_relu": lambda u: u if u > 0 else u / 100, "hardswish": lambda u: u * min(max(u + 3, 0), 6) / 6,
        **{name: MP.mpf(value) for name, value in params.items()},
    }  # fmt: skip
    for number in ("0.044715", "0.5"):
        text = text.replace(number, f"mpf('{number}')")
    return MP.mpf(eval(text, {"__builtins__": {}, "mpf": MP.mpf}, names))


@pytest.mark.parametrize("text", CASES)
def test_values(text):
    params = CASES[text]
    f = activations.find(text)
    p = {name: MP.mpf(value) for name, value in params.items()}
    kinks = f.kinks(MP, p)
    values, slopes = f.function(np, np.array(POINTS), params), f.derivative(np, np.array(POINTS), params)
    for x, value, slope in zip(POINTS, values, slopes, strict=True):
        right = exact(text, params, x)
        size = max(abs(right), abs(MP.mpf(x)) * MP.mpf(10) ** -3)
        assert abs(f.precise(MP, MP.mpf(x), p)[0] - right) <= MP.mpf(10) ** -30 * max(1, abs(right))
        assert abs(value - right) <= 1e-13 * size + (1e-15 if text in CANCELS else 1e-300), x
        if all(abs(x - at) > 1e-5 for at in kinks) and abs(x) > 1e-300:
            numeric = MP.diff(lambda t: exact(text, params, t), MP.mpf(x))
            assert abs(f.precise(MP, MP.mpf(x), p)[1] - numeric) <= MP.mpf(10) ** -15 * max(1, abs(numeric))
            assert abs(slope - numeric) <= 1e-12 * max(abs(numeric), 1e-3), x
        elif any(x == at for at in kinks):
            step = MP.mpf(10) ** -25
            numeric = (exact(text, params, x + step) - right) / step
            assert abs(slope - numeric) < 1e-10


@pytest.mark.parametrize("text", CASES)
def test_derivative_by_sympy(text):
    """Another hand's derivative of the same formula, away from kinks."""
    found = expression.read(text)
    letters = {sympy.Symbol(name, real=True): sympy.Float(value, 30) for name, value in CASES[text].items()}
    slope = sympy.diff(symbolic.symbolic(found.root), sympy.Symbol("x", real=True)).subs(letters)
    p = {name: MP.mpf(value) for name, value in CASES[text].items()}
    f = activations.find(text)
    for x in (-2.37, -0.61, 0.17, 2.23):
        right = slope.subs(sympy.Symbol("x", real=True), sympy.Float(x, 30)).doit()
        right = MP.mpf(str(sympy.N(sympy.re(right), 30)))
        assert abs(f.precise(MP, MP.mpf(x), p)[1] - right) < MP.mpf(10) ** -18 * max(1, abs(right))


def test_far_out():
    """Infinities have limits, nan stays, and nothing of the branch that is not taken leaks."""
    infinite = np.array([-math.inf, math.inf, math.nan, -1e300, 1e300])
    for text, f, df in (
        ("where(x > 0, x, a*(exp(x) - 1))", [-1.2, math.inf, math.nan, -1.2, 1e300], [0, 1, math.nan, 0, 1]),
        ("where(x > 0, 1.2*exp(-x) - 1.2, exp(x) - 1)", [-1, -1.2, math.nan, -1, -1.2], [0, 0, math.nan, 0, 0]),
        ("x*sigmoid(x)", [0, math.inf, math.nan, 0, 1e300], [0, 1, math.nan, 0, 1]),
        ("gelu(x)", [0, math.inf, math.nan, 0, 1e300], [0, 1, math.nan, 0, 1]),
        ("(exp(x) - exp(-x))/(exp(x) + exp(-x))", [-1, 1, math.nan, -1, 1], [0, 0, math.nan, 0, 0]),
        ("log(1 + exp(x))", [0, math.inf, math.nan, 0, 1e300], [0, 1, math.nan, 0, 1]),
        ("x**2*exp(-x**2/2)", [0, 0, math.nan, 0, 0], [0, 0, math.nan, 0, 0]),
    ):
        act = activations.find(text)
        params = dict.fromkeys(act.parameters, 1.2)
        assert np.allclose(act.function(np, infinite, params), f, equal_nan=True), text
        assert np.allclose(act.derivative(np, infinite, params), df, equal_nan=True), text


def test_small_numbers_keep_their_digits():
    x = np.array([-1e-12, 1e-12, -5e-324, 5e-324, -1e-310])
    for text in (
        "where(x > 0, x, exp(x) - 1)",
        "log(1 + x)*(abs(x) < 0.5) + x*(abs(x) >= 0.5)",
        "exp(x) - 1",
        "tanh(x)",
    ):
        assert activations.find(text).function(np, x, {}) == pytest.approx(x, rel=1e-11, abs=0)
    left = activations.find("0.5*x*(1 + erf(x/sqrt(2)))").function(np, np.array([-12.0]), {})[0]
    assert left == pytest.approx(float(-12 * MP.erfc(12 / MP.sqrt(2)) / 2), rel=1e-12)  # 1 + erf is 0 there


@pytest.mark.parametrize(
    ("text", "params", "kinks"),
    [
        ("max(x, a)", {"a": 0.3}, ["0.3"]),
        ("abs(abs(x) - 1)", {}, ["-1", "0", "1"]),
        ("where(x**2 > 2, x**2 - 2, 0)", {}, ["-1.4142135623730950488016887242096980785697", None]),
        ("max(exp(x), 2)", {}, ["0.69314718055994530941723212145817656807550"]),
        ("min(max(x + 3, 0), 6)*x/6", {}, ["-3", "3"]),
        ("max(b*x + c, 0)", {"b": -3.0, "c": 1e9}, ["333333333.33333333333333333333333333333333"]),
        ("where(b*x > 0, x, 2*x)", {"b": 0.0}, []),
        ("tanh(x)", {}, []),
        ("max(x**2, 0)", {}, ["0"]),
    ],
)
def test_kinks(text, params, kinks):
    act = activations.find(text)
    found = act.kinks(MP, {name: MP.mpf(value) for name, value in params.items()})
    assert len(found) == len(kinks)
    for at, right in zip(found, kinks, strict=True):
        if right is not None:
            right = MP.mpf(params["a"]) if right == "0.3" else MP.mpf(right)
            assert abs(at - right) <= MP.mpf(10) ** -36 * max(1, abs(right))
    doubles = act.kinks(None, params)
    assert list(doubles) == [float(at) for at in found]
    assert list(doubles) == sorted(doubles)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("where(x > 0, 1, 0)", "jumps by 1.0 at x = 0, so that E[f'^2] does not exist"),
        ("where(x > a, x, 0)", "at x = 0.5"),
        ("where(x < -1000, 5, x)", "at x = -1000"),
        ("tanh(1/x)", "jumps by 2.0 at x = 0"),
        ("sqrt(abs(x))", "E[f'^2] is infinite"),
        ("abs(x - 1)**0.3", "x = 1: E[f'^2] is infinite"),
        ("log(abs(x))", "x = 0: E[f'^2] is infinite"),
        ("log(x)", "not real at x = -1"),
        ("x + sin(exp(x**2))", "cannot be computed at x = -30: a sine"),
        ("sqrt(x)", "not real at x = -1"),
        ("x**0.5 + x**a", "not real at x = -1"),
        ("log1p(x - 1)", "not real at x = -1"),
        ("1/x", "no bound near x = 0"),
        ("x/(x - 2)", "no bound near x = 2"),
        ("abs(sin(99*x))", "kinks"),
    ],
)
def test_what_is_no_activation(text, words):
    act = activations.find(text)
    params = dict.fromkeys(act.parameters, 0.5)
    with pytest.raises(InputError) as caught:
        act.check(params)
    assert words in str(caught.value)
    with pytest.raises(InputError):
        simulate(expr=text, set=params, depth=2)


def test_what_is_one():
    for text in (
        "where(x == 0, 1, sin(x)/x)",
        "sin(x)/x",
        "abs(x)",
        "x**3",
        "sqrt(x*x)",
        "abs(x)**1.5",
        "1/(1 + x**2)",
    ):
        activations.find(text).check({})
    joined = {"a": 0.1, "b": 0.1 + 1e-16}  # of rounded parameters: a jump of that size is none
    activations.find("where(x > 0, x + a, x + b)").check(joined)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("a.b", "column 2: an attribute", ""),
        ("x.__class__.__mro__", "an attribute", ""),
        ("'a'(x)", "column 1: this is no function", ""),
        ("f'{x}'", "column 1: a string", ""),
        ("'x'", "column 1: a string", ""),
        ("x + __import__('os')", "column 5: __import__ is no function", ""),
        ("__import__('os').system('true')", "attribute", ""),
        ("x + __a", "column 5: __a is no name", ""),
        ("(lambda y: y)(x)", "column 2: a function of its own", ""),
        ("lambda*x", "column 1: lambda is a word", "another name"),
        ("x*10**10**10", "column 7: an exponent", ""),
        ("x**101", "exponent", ""),
        ("[x for x in x]", "a comprehension", ""),
        ("(y := x)", "an assignment", ""),
        ("x[0]", "a subscript", ""),
        ("x^2", "^ is no power", "**"),
        ("x // 2", "+ - * / **", ""),
        ("x @ x", "+ - * / **", ""),
        ("x < 1 in x", "this comparison", ""),
        ("~x", "~", ""),
        ("x, x", "a comma", ""),
        ("tanhh(x)", "no function", "tanh(x)"),
        ("tanh(x, x)", "1 argument", "tanh(x)"),
        ("where(x, 1, 2)", "column 7: a condition", ""),
        ("where(x > 0, x)", "3 arguments", ""),
        ("min(*x)", "2 arguments", ""),
        ("exp(x=1)", "name", ""),
        ("x + exp", "column 5: exp is a function", "exp(x)"),
        ("x +", "column 4: it cannot be read", ""),
        ("x;x", "column 2", ""),
        ("1j*x", "a complex number", ""),
        ("x*1e999999999", "1e-100 to 1e100", ""),
        ("3*a", "does not depend on x", ""),
        ("x - 1/0", "by 0", ""),
        ("x \u2212 1", "column 3", "ASCII"),
        ("x\x00", "column 2", ""),
        ("(" * 60 + "x" + ")" * 60, "60 brackets", ""),
        ("-" * 500 + "x", "deep", ""),
        ("+".join(["x"] * 300), "deep", ""),
        ("max(" + ",".join(["x"] * 300) + ")", "250 parts", ""),
        ("x" * 1001 + "+1", "1003 characters", ""),
        ("+".join(f"a{i}" for i in range(17)) + "*x", "17 parameters", ""),
        (" ", "", ""),
    ],
)  # fmt: skip
def test_bad_expressions(text, words, hint):
    began = time.process_time()
    with pytest.raises(InputError) as caught:
        activations.find(text)
    assert time.process_time() - began < 5
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert hint in (caught.value.hint or "")


def test_names_of_the_registry_stay_names():
    for name in ("geluu", "leaky-relu", "lselux", "", "X", "_"):
        with pytest.raises(InputError, match="no activation is called"):
            activations.find(name)
    assert activations.find("gelu").name == "gelu"
    assert activations.find("x").name == "x"
    assert activations.find("-x").name == "-x"


def test_canonical():
    found = expression.read("where( x>0 ,0.10*x,  a*x)+1_0*x")
    assert found.name == "where(x > 0, 0.10 * x, a * x) + 10 * x"
    assert expression.read(found.name) is expression.read(found.name)
    assert expression.read(found.name).root is found.root
    assert found.parameters == ("a",)
    long = "0.1234567890123456789012345*x"
    assert expression.read(expression.read(long).name).root is expression.read(long).root
    third = expression.read("x*0.1").root
    (value,) = evaluate([third], Precise(MP), MP.mpf(1), {})
    assert value == MP.mpf(1) / 10


# fuzz


TOKENS = st.sampled_from(
    "x a b pi e 0 1 2.5 1e300 0.1 + - * / ** ( ) , < <= > >= == != and or not if else where min max abs exp log log1p "
    "expm1 sqrt erf tanh sigmoid softplus sin cos gelu relu . [ ] { } : := lambda for in is ' \" \\ @ % ^ ~ | & ; = "
    "__import__ __class__ eval exec open yield await None True ... 10**10 f'{x}' # \n \t".split(" ")
)


def fuzzed(text):
    began = time.process_time()
    try:
        found = grammar.parse(text)
    except InputError:
        return
    finally:
        assert time.process_time() - began < 5
    again = grammar.parse(found.name)
    assert (again.root, again.name, again.parameters) == (found.root, found.name, found.parameters)
    slope = tree.derivative(found.root)
    params = dict.fromkeys(found.parameters, 0.7)
    x = np.array([-math.inf, -3.0, 0.0, 0.5, math.inf, math.nan])
    value = arrays(found.root)(np, x, params)
    assert value.shape == arrays(slope)(np, x, params).shape == x.shape
    assert math.isnan(value[-1])
    assert time.process_time() - began < 10


@given(st.lists(TOKENS, max_size=24))
def test_token_soup(tokens):
    fuzzed(" ".join(tokens))


@given(st.text(max_size=60))
def test_any_text(text):
    fuzzed(text)


LEAVES = st.sampled_from(["x", "x", "a", "b", "2", "0.3", "pi"])
FORMULAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from([*tree.FUNCTIONS, *tree.NAMED]), inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"where({t[0]} < {t[1]}, {t[2]}, {t[0]})"),
        st.tuples(inner, st.sampled_from([2, 3, -1, 7])).map(lambda t: f"{t[0]}**{t[1]}"),
    ),
    max_leaves=12,
)


@given(FORMULAS)
def test_formulas(text):
    """Whatever is in the grammar is read, differentiated and computed; its check answers or refuses."""
    fuzzed(text)
    began = time.process_time()
    with suppress(InputError):
        act = activations.find(text)
        act.check(dict.fromkeys(act.parameters, 0.7))
    assert time.process_time() - began < 20


def test_nothing_is_evaluated(tmp_path):
    """Not even where Python's own compiler would: a file that any evaluation would make is not there."""
    sentinel = tmp_path / "sentinel"
    for text in (
        f"open({str(sentinel)!r}, 'w')",
        f"x + open({str(sentinel)!r}, 'w').close()",
        f"[open({str(sentinel)!r}, 'w') for x in (1,)]",
        f"f\"{{open('{sentinel}', 'w')}}\"",
        f"__import__('pathlib').Path({str(sentinel)!r}).touch()",
        f"where(x > 0, x, exec(\"open('{sentinel}', 'w')\"))",
    ):
        with pytest.raises(InputError):
            activations.find(text)
    assert not sentinel.exists()


# through the program


def test_a_family_written_out_is_that_family():
    family = solve("lselu", "0.03").params
    p = {"l": family["lambda"], "a": family["alpha"], "b": family["beta"]}
    text = "l*where(x > 0, x, a*exp(x) + b*x - a)"
    found, known = analyze(expr=text, set=p), analyze("lselu", "0.03")
    for name in ("mean", "second_moment", "chi", "gamma", "kappa", "mean_slope"):
        assert getattr(found, name) == pytest.approx(getattr(known, name), rel=1e-13)
    assert (found.act, dict(found.params)) == (activations.find(text).name, p)
    a, b = simulate(expr=text, set=p, depth=30, fanin=128), simulate("lselu", "0.03", depth=30, fanin=128)
    assert a.gradient.log_growth == pytest.approx(b.gradient.log_growth, rel=1e-9)
    assert a.fixed_point.q == pytest.approx(1, abs=1e-12)


def test_records_pipe(call, tmp_path):
    path = tmp_path / "records.jsonl"
    done = call("analyze", "--expr", "where(x > 0, x, a*(exp(x) - 1))", "--set", "a=1.2,1.3", "--json")
    assert done.code == 0
    path.write_text(done.out)
    assert [record["params"] for record in done.records] == [{"a": 1.2}, {"a": 1.3}]
    again = call("analyze", "--params", str(path), "--json")
    assert again.out == done.out
    simulated = call("simulate", "--params", str(path), "--no-profile", "--depth", "10", "--json")
    direct = call(
        "simulate",
        "--expr",
        "where(x>0,x,a*(exp(x)-1))",
        "--set",
        "a=1.2:1.3:2",
        "--no-profile",
        "--depth",
        "10",
        "--json",
    )
    assert simulated.out == direct.out
    assert len(direct.records) == 2


def test_beside_others(call):
    done = call("analyze", "--act", "lselu,gelu", "--epsilon", "0.03", "--expr", "tanh(x)", "--expr", "x*sigmoid(b*x)",
                "--set", "b=1.702", "--json")  # fmt: skip
    assert [record["act"] for record in done.records] == ["lselu", "gelu", "tanh(x)", "x * sigmoid(b * x)"]
    table = call("analyze", "--expr", "x*sigmoid(b*x)", "--set", "b=1,2")
    assert "b = 1.0" in table.out
    assert "b = 2.0" in table.out
    rows = call("simulate", "--expr", "x*sigmoid(b*x)", "--set", "b=1,2", "--depth", "3", "--no-profile", "--csv")
    assert "b=1.0" in rows.out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--expr", "a*x"), "a has no value"),
        (("--expr", "x", "--set", "a=1"), "no parameter a"),
        (("--set", "a=1"), "there is no --expr"),
        (("--expr", "a*x", "--set", "a"), "NAME=VALUE"),
        (("--expr", "a*x", "--set", "a=b"), "finite number"),
        (("--expr", "a*x", "--set", "a=1", "--set", "a=2"), "twice"),
        (("--expr", "x", "--params", "x.json"), "both"),
        (("--expr", "log(x)"), "not real at x = -1"),
        (("--expr", "tanh(x)", "--epsilon", "0.1"), "contradicts"),
    ],
)
def test_bad_options(call, args, words):
    for command in ("analyze", "simulate"):
        done = call(command, *args)
        assert done.code == 2
        assert words in done.err
        assert "hint: " in done.err


def test_python_arguments():
    with pytest.raises(InputError, match="contradicts"):
        simulate("lselu", expr="tanh(x)")
    with pytest.raises(InputError, match="no --expr"):
        analyze("gelu", set={"a": 1})
    with pytest.raises(InputError, match="text"):
        analyze(expr=3)
    assert simulate("tanh(x)", depth=3).act == "tanh(x)"


def test_analyze_of_an_expression_loads_no_sympy():
    program = (
        "import sys; from snn_cli.cli.main import main; code = main(['analyze', '--expr', 'x*sigmoid(x)', '--json']); "
        "sys.exit(code or any(name in sys.modules for name in ('torch', 'sympy')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["act"] == "x * sigmoid(x)"
