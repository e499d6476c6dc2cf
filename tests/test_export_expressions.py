"""``snn export`` of expressions and wrapped baselines: what is written is run and held against mpmath."""

from __future__ import annotations

import ast
import ctypes
import json
import math
import shlex
import shutil
import subprocess
import sys

import mpmath
import numpy as np
import pytest
from conftest import ROOT

from snn_cli import InputError, activations, export, solve
from snn_cli.exporters import EXPORTERS

MP = mpmath.MPContext()
MP.dps = 40

CASES = {
    "elu": ("where(x > 0, x, a*(exp(x) - 1))", {"a": 1.2}),
    "lselu": ("l*where(x > 0, x, a*exp(x) + b*x - a)", {"l": 1.0, "a": 1.1382125844603228, "b": 0.3939884654274634}),
    "both branches overflow": ("where(x > 0, a - a*exp(-x), exp(x) - 1 + x*exp(3*x))", {"a": 1.3}),
    "swish": ("x/(1 + exp(-b*x))", {"b": 1.702}),
    "softplus": ("log(1 + exp(b*x))/b - log(2)/b", {"b": 2.5}),
    "tanh by hand": ("(exp(x) - exp(-x))/(exp(x) + exp(-x))", {}),
    "x tanh by hand": ("x*(exp(x) - exp(-x))/(exp(x) + exp(-x)) + x/3", {}),
    "tanh by hand again": ("(exp(2*x) - 1)/(exp(2*x) + 1)", {}),
    "mish": ("mish(x)", {}),
    "gelu": ("0.5*x*(1 + erf(x/sqrt(2)))", {}),
    "gelu by tanh": ("0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))", {}),
    "clipped": ("max(min(b*x + c, 2), -pi/2)", {"b": 1.5, "c": -0.25}),
    "conditions": ("where(x < -1 or not x < 2, abs(x)/3, where(x == 0, 0, x**2/3)) + (x >= 2)*2/3", {}),
    "bell": ("x**2*exp(-x**2/2)", {}),
    "root": ("sqrt(x**2 + c) - log1p(abs(x))", {"c": 0.7}),
    "powers": ("(x*x + 1)**p*sigmoid(x) + expm1(-abs(x)) + erfc(x)", {"p": 0.5}),
    "constants": ("e**-a*x + tanh(x)*log(a)", {"a": 3.0}),
}
WRAPPED = {"act": "gelu", "params": {"a": 1.5, "b": 0.8, "c": 0.25, "d": -0.125}}
TINY = 5e-324
GRID = np.array(
    [0.0, -0.0, TINY, -TINY, 2.3e-308, -2.3e-308, 1e-30, -1e-30, 1e-9, -1e-9, *(np.linspace(-3, 3, 25) + 0.01), -20.0,
     20.0, 89.0, -89.0, -745.0, -746.0, -1e4, 710.0, 1e4, 1e18, -1e18, math.inf, -math.inf, math.nan]
)  # fmt: skip


def record(case):
    if case == "wrapped":
        return WRAPPED
    text, params = CASES[case]
    return {"act": text, "params": params}


def reference(case):
    """f and f' at 40 digits at any point, infinities by their limits; nan for what has none."""
    found = activations.find(record(case)["act"], record(case)["params"])
    if case == "wrapped":
        found = activations.find("a*gelu(b*x + c) + d")
    params = {name: MP.mpf(value) for name, value in record(case)["params"].items()}
    return lambda x: found.precise(MP, MP.mpf(float(x)), params)


ALL = [*CASES, "wrapped"]


def assert_close(found, right, points, rounding, case):
    """To roundings of the largest term that such a formula has near x."""
    least = 1e-44 if rounding > 1e-10 else TINY
    largest = float(np.finfo(np.float32 if rounding > 1e-10 else np.float64).max)
    for value, x in zip(np.asarray(found, dtype=float), points, strict=True):
        exact = right(x)
        where = (case, float(x), float(value), MP.nstr(exact, 20))
        if math.isnan(x):
            assert math.isnan(value), where
        elif MP.isinf(exact) or abs(exact) > largest:
            assert math.isinf(value), where
            assert (value > 0) == (exact > 0), where
        else:
            size = max(abs(exact), min(abs(float(x)), 1.0), MP.mpf(case in LARGE))
            # a relative error of x in an exponent grows with it
            assert abs(value - exact) <= 40 * rounding * size * max(1, min(abs(float(x)), 30)) + 4 * least, where


LARGE = {"softplus", "clipped", "wrapped", "root", "powers", "tanh by hand", "tanh by hand again",
         "x tanh by hand", "conditions"}  # fmt: skip
"""Whose terms are about 1 near 0."""


def loaded(to, case):
    namespace = {}
    exec(compile(export(to, params=record(case), name="act").code, "exported", "exec"), namespace)
    return namespace


@pytest.mark.parametrize("case", ALL)
def test_numpy(case):
    right = reference(case)
    namespace = loaded("numpy", case)
    for dtype in (np.float64, np.float32):
        x = GRID.astype(dtype)
        with np.errstate(all="raise"):
            value, slope = namespace["act"](x), namespace["act_derivative"](x)
        assert value.dtype == slope.dtype == dtype
        rounding = float(np.finfo(dtype).eps)
        assert_close(value, lambda t: right(t)[0], x, rounding, case)
        assert_close(slope, lambda t: right(t)[1], x, rounding, case)
    assert namespace["act"](2) == pytest.approx(float(right(2)[0]), rel=1e-12)


@pytest.mark.parametrize("case", ALL)
def test_pytorch(case):
    torch = pytest.importorskip("torch")
    right = reference(case)
    namespace = loaded("pytorch", case)
    module = namespace["Act"]()
    for dtype, rounding in ((torch.float64, 2.3e-16), (torch.float32, 1.2e-7)):
        x = torch.tensor(GRID, dtype=dtype).requires_grad_()
        y = module(x)
        (g,) = torch.autograd.grad(y.nansum(), x)
        assert y.dtype == dtype
        points = x.detach().numpy()
        assert_close(y.detach().numpy(), lambda t: right(t)[0], points, rounding, case)
        assert_close(g.numpy(), lambda t: right(t)[1], points, rounding, case)
    x = torch.tensor([-1.3, 0.4, 1.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(namespace["act"], x)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_c(tmp_path):
    names = {case: f"f{i}" for i, case in enumerate(ALL)}
    code = "".join(export("c", params=record(case), name=name).code for case, name in names.items())
    wrappers = "".join(
        f"{kind} call_{name}{part}{mark}({kind} x) {{ return {name}{part}{mark}(x); }}\n"
        for name in names.values()
        for kind, mark in (("double", ""), ("float", "f"))
        for part in ("", "_derivative")
    )
    (tmp_path / "all.c").write_text(code + wrappers)
    library = tmp_path / "all.so"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", library, tmp_path / "all.c", "-lm"], check=True, timeout=60)
    whole = ctypes.CDLL(str(library))
    for case, name in names.items():
        right = reference(case)
        for kind, mark, dtype in ((ctypes.c_double, "", np.float64), (ctypes.c_float, "f", np.float32)):
            x = GRID.astype(dtype)
            for i, part in enumerate(("", "_derivative")):
                function = getattr(whole, f"call_{name}{part}{mark}")
                function.argtypes, function.restype = [kind], kind
                values = np.array([function(float(point)) for point in x])
                assert_close(values, lambda t, i=i, right=right: right(t)[i], x, float(np.finfo(dtype).eps), case)


@pytest.mark.parametrize("case", ["elu", "tanh by hand", "gelu", "wrapped", "conditions"])
def test_jax(case):
    jax = pytest.importorskip("jax")
    right = reference(case)
    function = loaded("jax", case)["act"]
    points = GRID.astype(np.float32)
    assert_close(function(points), lambda t: right(t)[0], points, 1.2e-7, case)
    assert_close(jax.vmap(jax.grad(function))(points), lambda t: right(t)[1], points, 1.2e-7, case)


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("double", [False, True])
def test_onnx(case, double):
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    right = reference(case)
    model = loaded("onnx", case)["model"](double, rank=1)
    x = GRID.astype(np.float64 if double else np.float32)
    with np.errstate(all="ignore"):
        (value,) = ReferenceEvaluator(model).run(None, {"x": x})
    assert value.dtype == x.dtype
    if case in ("gelu", "wrapped", "powers"):  # it has no erfc: 1 + erf(x) loses the tail
        x, value = x[np.abs(x) < 4], value[np.abs(x) < 4]
    rounding = 8 * float(np.finfo(x.dtype).eps)
    if case in ("gelu", "wrapped", "powers"):  # and the evaluator's own erf is good to 1e-7
        rounding = max(rounding, 1e-7)
    assert_close(value, lambda t: right(t)[0], x, rounding, case)


def test_onnx_of_a_family(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    (tmp_path / "make.py").write_text(export("onnx", "lselu", "0.03").code)
    subprocess.run([sys.executable, "make.py", "lselu.onnx"], cwd=tmp_path, check=True, timeout=60)
    x = np.array([[-3.0, -1e-3, 0.5]], dtype=np.float32)
    (value,) = ReferenceEvaluator(onnx.load(tmp_path / "lselu.onnx")).run(None, {"x": x})
    assert value == pytest.approx(solve("lselu", "0.03").function()(x.astype(float)), rel=1e-6)


@pytest.mark.parametrize("to", ["pytorch", "jax", "flax", "keras", "numpy", "onnx"])
@pytest.mark.parametrize("case", ALL)
def test_python_is_python(to, case):
    tree = ast.parse(export(to, params=record(case), name="act").code)
    numbers = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    written = {abs(n) for n in numbers if type(n) is float}
    worked_out = {math.exp(-3), 3.0, 2.5, 0.7, 1.5}
    assert {abs(value) for value in record(case)["params"].values()} <= written | worked_out  # every digit
    if to != "onnx":
        assert "act" in [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("case", ALL)
def test_json_is_read_back(case):
    data = json.loads(export("json", params=record(case)).code)
    right = reference(case)
    params = {name: MP.mpf(value) for name, value in data["params"].items()}
    for key, i in (("formula", 0), ("derivative", 1)):
        again = activations.find(data[key])
        for x in (-1.7, 0.3, 2.4):
            assert abs(again.precise(MP, MP.mpf(x), params)[0] - right(x)[i]) < MP.mpf(10) ** -30


def test_latex():
    for case in ALL:
        code = export("latex", params=record(case)).code
        assert code.count("{") == code.count("}")
        assert r"\begin{cases}" in code or "where" not in code
    code = export("latex", expr="where(x > 0, x, alpha*expm1(x/tau_0))", set={"alpha": "1.5", "tau_0": 2}).code
    assert r"\alpha = 1.5" in code
    assert r"\tau_{\mathrm{0}} = 2" in code


@pytest.mark.parametrize("to", EXPORTERS)
def test_each_file_says_what_made_it(to, call):
    made = export(to, expr="where(x>0, x, a*(exp(x/b) - 1))", set={"a": "1.1", "b": "0.3"})
    assert made.command.startswith("snn export --expr 'where(x > 0, x, a * (exp(x / b) - 1))' --set a=1.1 --set b=0.3")
    assert "where(x > 0, x, a * (exp(x / b) - 1)): a = 1.1, b = 0.3" in made.code
    again = call(*shlex.split(made.command)[1:])
    assert (again.code, again.out) == (0, made.code)


def test_a_wrapped_record_is_its_own_command():
    made = export("c", params=WRAPPED)
    assert "a*gelu(b*x + c) + d: a = 1.5" in made.code
    script = made.command.replace("snn ", f"{sys.executable} -m snn_cli ", 1)
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == made.code, done.stderr


def test_errors(call):
    for args, words in (
        (("--expr", "log(x)"), "not real"),
        (("--expr", "a*x"), "a has no value"),
        (("--expr", "x", "--expr", "tanh(x)"), "one activation"),
        (("--expr", "a*x", "--set", "a=1,2"), "2 values"),
        (("--expr", "x", "--act", "selu"), "contradicts"),
        (("--set", "a=1", "--act", "selu"), "no --expr"),
    ):
        done = call("export", "--to", "c", *args)
        assert done.code == 2
        assert words in done.err
    with pytest.raises(InputError, match="no name"):
        export("c", expr="tanh(x)", name="tanh")
