"""``snn export``: what is written is run, or at least read by its own compiler, and held against mpmath."""

from __future__ import annotations

import ast
import ctypes
import json
import math
import shlex
import shutil
import subprocess
import sys
from functools import lru_cache
from itertools import product

import mpmath
import numpy as np
import pytest
from conftest import ROOT

from snn_cli import Export, InputError, NoSolution, export, solve
from snn_cli.exporters import EXPORTERS, get
from snn_cli.exporters.formula import formula

CASES = {
    "lselu": {"act": "lselu", "epsilon": "0.03"},
    "lselu, not monotone": {"act": "lselu", "epsilon": "0.9"},
    "lselu at 0": {"act": "lselu", "epsilon": "0"},
    "sselu": {"act": "sselu", "epsilon": "0.03"},
    "sselu, nearly linear": {"act": "sselu", "epsilon": "1e-9"},
    "sselu, steep": {"act": "sselu", "epsilon": "1000"},
    "selu": {"act": "selu"},
    "dselu at 0": {"act": "dselu", "epsilon": "0"},
    "relu": {"act": "relu"},
    "leaky_relu": {"act": "leaky_relu"},
    "elu": {"act": "elu"},
    "linear": {"act": "linear"},
}
TINY = 5e-324
GRID = np.array(
    [0.0, -0.0, TINY, -TINY, 2.3e-308, -2.3e-308, 1e-30, -1e-30, 1e-9, -1e-9, *np.linspace(-3, 3, 25), -20.0, -745.0,
     -746.0, -1e4, 710.0, 1e4, 1e300, -1e300, math.inf, -math.inf, math.nan]
)  # fmt: skip
PYTHON = ("pytorch", "jax", "flax", "keras", "numpy")


@lru_cache
def parameters(options):
    """Of the record, solved once a case."""
    return dict(export("json", **dict(options)).params)


def exact(options):
    """f and f' at 40 digits, from the parameters of the record and the formulas as on paper."""
    act = options["act"]
    p = {name: mpmath.mpf(value) for name, value in parameters(tuple(options.items())).items()}
    lam, alpha, beta = p.get("lambda", mpmath.mpf(1)), p.get("alpha", mpmath.mpf(1)), p.get("beta", mpmath.mpf(1))
    left = {
        "lselu": (lambda x: lam * (alpha * mpmath.expm1(x) + beta * x), lambda x: lam * (alpha * mpmath.exp(x) + beta)),
        "sselu": (lambda x: lam * alpha * mpmath.expm1(beta * x), lambda x: lam * alpha * beta * mpmath.exp(beta * x)),
        "relu": (lambda _: mpmath.mpf(0), lambda _: mpmath.mpf(0)),
        "leaky_relu": (lambda x: mpmath.mpf(0.01) * x, lambda _: mpmath.mpf(0.01)),
        "linear": (lambda x: x, lambda _: mpmath.mpf(1)),
    }.get(act, (lambda x: lam * alpha * mpmath.expm1(x), lambda x: lam * alpha * mpmath.exp(x)))
    scale = {"relu": 1, "leaky_relu": 1, "linear": 1, "elu": 1}.get(act, lam)

    def value(x):
        return left[0](mpmath.mpf(x)) if x < 0 else scale * mpmath.mpf(x)

    def slope(x):
        return left[1](mpmath.mpf(x)) if x < 0 else mpmath.mpf(scale)

    return value, slope


def assert_close(found, expected, x, rounding, options):
    """To a few roundings of the largest term: below 0 the terms of lselu can cancel."""
    tolerance = 8 * rounding
    params = parameters(tuple(options.items()))
    largest = abs(params.get("lambda", 1) * params.get("alpha", 1))
    for value, point in zip(np.asarray(found, dtype=np.float64), x.astype(np.float64), strict=True):
        with mpmath.workdps(40):
            if math.isnan(point):
                assert math.isnan(value)
                continue
            right = at_infinity(expected, point) if math.isinf(point) else expected(float(point))
            size = max(abs(right), largest * min(abs(point), 1))
            if mpmath.isinf(right) or abs(right) > np.finfo(np.float32 if rounding > 1e-10 else np.float64).max:
                assert math.isinf(value)
                assert (value > 0) == (right > 0)
            else:
                smallest = 1e-44 if rounding > 1e-10 else 5e-324
                assert abs(value - right) <= tolerance * size + 2 * smallest, (point, value, right)


def at_infinity(expected, point):
    """The limit, from two points far out: what grows with them has none."""
    near, far = expected(math.copysign(1e8, point)), expected(math.copysign(1e12, point))
    return far if abs(far) <= 10 * abs(near) else mpmath.sign(far) * mpmath.inf


def loaded(to, options, name=None):
    namespace = {}
    exec(compile(export(to, **options, name=name).code, "exported", "exec"), namespace)
    return namespace


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numpy(case, dtype):
    options = CASES[case]
    value, slope = exact(options)
    namespace = loaded("numpy", options, "act")
    with np.errstate(over="ignore"):
        x = GRID.astype(dtype)
    with np.errstate(divide="raise", over="ignore", invalid="raise"):
        found, derivative = namespace["act"](x), namespace["act_derivative"](x)
    assert found.dtype == derivative.dtype == dtype
    rounding = np.finfo(dtype).eps
    assert_close(found, value, x, rounding, options)
    assert_close(derivative, slope, x, rounding, options)
    assert namespace["act"](2) == pytest.approx(float(value(2)))


@pytest.mark.parametrize("case", CASES)
def test_pytorch(case):
    torch = pytest.importorskip("torch")
    options = CASES[case]
    value, slope = exact(options)
    namespace = loaded("pytorch", options)
    record = export("pytorch", **options)
    module = next(v() for v in namespace.values() if isinstance(v, type) and issubclass(v, torch.nn.Module))
    for dtype, rounding in ((torch.float64, 2.3e-16), (torch.float32, 1.2e-7)):
        x = torch.tensor(GRID, dtype=dtype).requires_grad_()
        y = module(x)
        (g,) = torch.autograd.grad(y.nansum(), x)
        assert torch.equal(y[~y.isnan()], namespace[record.name](x)[~y.isnan()])
        points = x.detach().numpy()
        assert_close(y.detach().numpy(), value, points, rounding, options)
        finite = np.isfinite(points)
        assert_close(g.numpy()[finite], slope, points[finite], rounding, options)
        assert not g[~x.isnan()].isnan().any()


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_c(tmp_path):
    names = {case: f"f{i}" for i, case in enumerate(CASES)}
    code = "".join(export("c", **CASES[case], name=name).code for case, name in names.items())
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
    found = ctypes.CDLL(str(library))
    for case, (kind, mark, dtype) in product(
        CASES, ((ctypes.c_double, "", np.float64), (ctypes.c_float, "f", np.float32))
    ):
        value, slope = exact(CASES[case])
        with np.errstate(over="ignore"):
            x = GRID.astype(dtype)
        for part, expected in (("", value), ("_derivative", slope)):
            function = getattr(found, f"call_{names[case]}{part}{mark}")
            function.argtypes, function.restype = [kind], kind
            values = np.array([function(float(point)) for point in x])
            assert_close(values, expected, x, np.finfo(dtype).eps, CASES[case])


def test_jax():
    jax = pytest.importorskip("jax")
    value, slope = exact(CASES["lselu"])
    function = loaded("jax", CASES["lselu"])["lselu"]
    points = np.array([-3.0, -1e-3, 0.0, 2.0], dtype=np.float32)
    assert_close(function(points), value, points, 1.2e-7, CASES["lselu"])
    derivative = jax.vmap(jax.grad(function))(points)
    assert_close(derivative, slope, points, 1.2e-7, CASES["lselu"])


@pytest.mark.parametrize("to", PYTHON)
@pytest.mark.parametrize("case", CASES)
def test_python_is_python(to, case):
    record = export(to, **CASES[case], name="act")
    tree = ast.parse(record.code)
    functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert "act" in functions
    numbers = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is float]
    f = formula(record.act, record.params, "act", ())
    assert {abs(x) for x in (f.amplitude, f.slope) if x} <= set(numbers)  # every digit is there


def test_latex_is_read_by_latex(tmp_path):
    code = export("latex", **CASES["sselu, nearly linear"]).code
    assert r"\alpha = " in code
    assert r"\cdot 10^{" in code
    assert code.count("{") == code.count("}")
    if shutil.which("pdflatex") is None:
        return
    page = rf"\documentclass{{article}}\usepackage{{amsmath}}\begin{{document}}{code}\end{{document}}"
    (tmp_path / "page.tex").write_text(page)
    subprocess.run(["pdflatex", "-interaction=batchmode", "page.tex"], cwd=tmp_path, check=True, timeout=120)


def test_json_is_the_formula():
    for case in CASES:
        data = json.loads(export("json", **CASES[case]).code)
        value, _ = exact(CASES[case])
        for x in (-2.0, -0.1, 0.5):
            found = (
                data["steep"] * x if x >= 0 else data["amplitude"] * math.expm1(data["rate"] * x) + data["slope"] * x
            )
            assert found == pytest.approx(float(value(x)), rel=1e-14)


@pytest.mark.parametrize("to", EXPORTERS)
def test_each_file_says_what_made_it(to, call):
    solution = solve("sselu", depth=50, lambda_min="1.05")
    record = export(to, params=solution)
    assert record.params == solution.params
    assert "sselu" in record.code
    assert record.command in record.code.replace("\\/", "/")
    again = call(*shlex.split(record.command)[1:])
    assert (again.code, again.out) == (0, record.code)


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": "0.03", "zero_mean": True},
        {"epsilon": "0.03", "lam": "0.9"},
        {"epsilon": "auto", "fanin": 256},
        {"depth": 7},
    ],
    ids=str,
)
def test_the_command_of_a_solution_makes_it_again(options, call):
    solution = solve("lselu", **options)
    record = export("numpy", params=solution.to_dict())
    assert call(*shlex.split(record.command)[1:]).out == record.code


def test_a_bare_record_is_its_own_command():
    record = export("c", params={"act": "lselu", "params": {"lambda": 1, "alpha": 1.2, "beta": 0.3}})
    assert record.epsilon == pytest.approx(-0.0246, abs=1e-4)
    script = record.command.replace("snn ", f"{sys.executable} -m snn_cli ", 1)
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == record.code, done.stderr


def test_record():
    record = export("pytorch", "lselu", "0.03")
    data = record.to_dict()
    assert list(data) == ["kind", "version", "to", "act", "epsilon", "params", "name", "suffix", "command", "code"]
    assert Export.from_dict(json.loads(json.dumps(data))) == record
    for change in ({"kind": "solution"}, {"params": 3}):
        with pytest.raises(InputError):
            Export.from_dict({**data, **change})
    with pytest.raises(InputError, match="code"):
        Export.from_dict({name: value for name, value in data.items() if name != "code"})


def test_pipe():
    command = "{0} -m snn_cli solve --act lselu --epsilon 0.03 --json | {0} -m snn_cli export --to pytorch"
    done = subprocess.run(
        ["bash", "-c", command.format(sys.executable)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == export("pytorch", "lselu", "0.03").code


def test_output_overwrites_nothing(call, tmp_path):
    path = tmp_path / "act.h"
    args = ("export", "--act", "lselu", "--epsilon", "0.03", "--to", "c", "--output", str(path))
    assert call(*args).code == 0
    whole = path.read_text()
    assert whole == export("c", "lselu", "0.03").code
    done = call(*args, "--name", "other")
    assert done.code == 2
    assert "--force" in done.err
    assert path.read_text() == whole
    assert call(*args, "--name", "other", "--force").code == 0
    assert "other" in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["act.h"]
    assert call(*args[:-1], str(tmp_path / "not" / "there")).code == 3


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--act", "lselu", "--epsilon", "0.03"), "Missing option '--to'"),
        (("--to", "torch", "--act", "selu"), "--to pytorch"),
        (("--to", "c", "--act", "slu"), "--act s"),
        (("--to", "c", "--act", "gelu"), "every framework"),
        (("--to", "c", "--act", "relu", "--epsilon", "0.1"), "no parameters to solve"),
        (("--to", "c", "--act", "lselu", "--epsilon", "-1"), "at least 0"),
        (("--to", "c", "--act", "lselu", "--epsilon", "0.03", "--name", "a b"), "no name"),
        (("--to", "c", "--act", "lselu", "--epsilon", "0.03", "--name", "while"), "no name"),
        (("--to", "c", "--act", "lselu", "--epsilon", "0.03", "--name", "x);system("), "no name"),
        (("--to", "c", "--act", "lselu", "--params", "x.json"), "both"),
        (("--to", "c", "--params", "not-there.json"), "cannot be read"),
    ],
    ids=" ".join,
)
def test_bad_input(call, args, words):
    done = call("export", *args)
    assert done.code == 2
    assert words in done.err
    assert done.out == ""


def test_no_solution_and_no_activation(call):
    done = call("export", "--to", "c", "--act", "lselu", "--epsilon", "2")
    assert done.code == 3
    with pytest.raises(NoSolution):
        export("c", "lselu", 2)
    with pytest.raises(InputError):
        export("c")


def test_params_with_what_they_cannot_be():
    for params in (
        {"act": "lselu", "params": {"lambda": 1e308, "alpha": 1e308, "beta": 1}},
        {"act": "sselu", "params": {"lambda": 1, "alpha": 1, "beta": -1}},
    ):
        with pytest.raises(InputError):
            export("c", params=params)


def test_every_exporter_has_a_suffix():
    assert {name: get(name).suffix for name in EXPORTERS} == {
        "pytorch": "py", "jax": "py", "flax": "py", "keras": "py", "numpy": "py", "c": "h", "onnx": "py",
        "latex": "tex", "json": "json",
    }  # fmt: skip


def test_export_loads_nothing_heavy():
    program = (
        "import sys; from snn_cli.cli.main import main; main(['export', '--act', 'lselu', '--epsilon', '0.03', '--to', "
        "'pytorch']); sys.exit(any(name in sys.modules for name in ('torch', 'sympy', 'jax')))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60).returncode == 0
