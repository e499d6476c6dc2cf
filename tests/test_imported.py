"""Activations of installed code: measured through torch, checked, and named in every error."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from snn_cli import InputError, activations, analyze, export, simulate, verify  # noqa: E402

CODE = """
import torch
from torch import nn

class Shifted(nn.Module):
    def forward(self, x):
        return torch.where(x > 0.37, x - 0.37, 0.5 * (torch.exp(torch.clamp(x - 0.37, max=0)) - 1))

def quick(x):
    return x * torch.sigmoid(1.702 * x)

HELD = nn.PReLU(init=0.1)

class Soft(nn.Module):
    def forward(self, x):
        return torch.softmax(x, -1)

class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)

class Step(nn.Module):
    def forward(self, x):
        return torch.where(x > 0.37, x, 0 * x)

class Root(nn.Module):
    def forward(self, x):
        return torch.sqrt(x)

class Raises(nn.Module):
    def forward(self, x):
        raise RuntimeError("not\\ntoday")

class Cut(nn.Module):
    def forward(self, x):
        return x.detach()

class Single(nn.Module):
    def forward(self, x):
        return x.float()

class Summed(nn.Module):
    def forward(self, x):
        return x.sum()

class Needs(nn.Module):
    def __init__(self, a):
        super().__init__()

class NoModule:
    pass

NUMBER = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "own_acts.py").write_text(CODE)
    (tmp_path / "broken_acts.py").write_text("import torch\nraise ValueError('at import')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "elu"])
def test_the_same_as_our_own(name):
    theirs = {"relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "elu": "ELU"}[name]
    found, known = analyze(f"torch:torch.nn:{theirs}"), analyze(name)
    for field in ("mean", "second_moment", "chi", "gamma", "kappa"):
        assert getattr(found, field) == pytest.approx(getattr(known, field), rel=1e-11)
    assert found.act == f"torch:torch.nn:{theirs}"


@pytest.mark.usefixtures("here")
def test_functions_and_modules():
    x = np.linspace(-3, 3, 13)
    quick = activations.find("torch:own_acts:quick")
    written = activations.find("x*sigmoid(1.702*x)")
    assert quick.function(np, x, {}) == pytest.approx(written.function(np, x, {}), rel=1e-14)
    assert quick.derivative(np, x, {}) == pytest.approx(written.derivative(np, x, {}), rel=1e-13)
    assert activations.find("torch:own_acts:HELD").function(np, np.array([-1.0, 1.0]), {}) == pytest.approx([-0.1, 1])


@pytest.mark.usefixtures("here")
def test_kinks():
    for name, kinks in (
        ("own_acts:Shifted", (0.37,)),
        ("torch.nn:Hardswish", (-3.0, 3.0)),
        ("torch.nn:Softshrink", None),  # jumps in no value
        ("torch.nn:ELU", (0.0,)),
        ("torch.nn:CELU", (0.0,)),  # its first derivative is continuous
        ("torch.nn:Tanh", ()),
    ):
        found = activations.find(f"torch:{name}").kinks(None, {})
        assert found == ((-0.5, 0.5) if kinks is None else kinks), name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_acts:Soft", "not elementwise"),
        ("own_acts:Noisy", "not elementwise"),
        ("own_acts:Step", "jumps at x = 0.37"),
        ("own_acts:Root", "not finite"),
        ("own_acts:Raises", "raises RuntimeError: not"),
        ("own_acts:Cut", "gradient"),
        ("own_acts:Single", "float32"),
        ("own_acts:Summed", "not elementwise"),
        ("own_acts:Needs", "without arguments"),
        ("own_acts:NoModule", "no torch.nn.Module"),
        ("own_acts:NUMBER", "is a int"),
        ("own_acts:Shiftd", "has no Shiftd"),
        ("own_acts", "torch:package.module:Name"),
        ("not_there:F", "no module not_there"),
        ("broken_acts:F", "raises ValueError: at import"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_cannot_be_measured(call, name, words):
    done = call("analyze", "--act", f"torch:{name}")
    assert done.code == 2
    assert words in done.err
    assert name in done.err
    assert len(done.err.splitlines()) <= 2


def test_through_the_program(here, call):
    record = simulate("torch:own_acts:Shifted", depth=6, fanin=48, sigma_w="he", profile=False)
    done = call("verify", "--act", "torch:own_acts:Shifted", "--depth", "6", "--fanin", "48", "--sigma-w", "he",
                "--trials", "12", "--batch", "2", "--json")  # fmt: skip
    found = done.records[0]
    assert found["act"] == "torch:own_acts:Shifted"
    error = found["measured"]["log_growth_se"]
    assert abs(found["measured"]["log_growth"] - record.gradient.log_growth) < 4 * error + 0.1
    piped = call("simulate", "--act", "torch:own_acts:quick", "--depth", "3", "--no-profile", "--json")
    (here / "r.jsonl").write_text(piped.out)
    again = call("simulate", "--params", "r.jsonl", "--no-profile", "--json")
    assert json.loads(again.out)["fixed_point"] == json.loads(piped.out)["fixed_point"]
    with pytest.raises(InputError, match="cannot be exported"):
        export("c", "torch:own_acts:quick")


@pytest.mark.usefixtures("here")
def test_train(call):
    done = call("train", "--act", "torch:own_acts:HELD+mixup", "--expr", "x*sigmoid(b*x)", "--set", "b=1.7", "--depth",
                "3", "--width", "16", "--epochs", "1", "--lr", "0.01", "--seeds", "1", "-q", "--json")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    first, second = done.records
    assert first["variant"] == "torch:own_acts:HELD+mixup"
    assert (second["act"], second["params"]) == ("x * sigmoid(b * x)", {"b": 1.7})
    assert first["parameters"] == second["parameters"] + 3  # a slope for each layer
    for args, words in (
        (("--expr", "log(x)"), "not real"),
        (("--expr", "a*x"), "no value"),
        (("--set", "a=1"), "--expr"),
    ):
        bad = call("train", *args, "--depth", "2")
        assert bad.code == 2
        assert words in bad.err


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("act", "params"),
    [
        ("where(x > 0, l*x, l*(a*exp(b*x) - a))", {"l": 1.05, "a": 2.6, "b": 0.5}),
        ("a*gelu(b*x + c) + d*mish(x) + hardswish(x) + softplus(x)/9", {"a": 1.1, "b": 0.9, "c": 0.1, "d": -0.2}),
        ("min(max(x, -1), pi/2) + sin(x)**3 + 2**x/40", {}),
        ("where(not (x < -1 or x > 2), abs(x), 1 + (x > 2))", {}),
        ("gelu", {"a": 1.5, "b": 0.8, "c": 0.2, "d": -0.1}),
        ("relu", {"a": 1.5, "b": -0.8, "c": 0.2, "d": -0.1}),
        ("elu", {"a": 1.5, "b": 0.8, "c": 0.2, "d": -0.1}),
        ("tanh", {"a": -1.5, "b": 0.8, "c": 0.2, "d": 0.0}),
        ("torch:torch.nn:SiLU", {}),
    ],
)
def test_kernels(act, params, dtype):
    """Forward and backward on torch as on numpy; what is kept is the derivative."""
    from snn_cli.engine.elementwise import kernel

    x = torch.linspace(-4, 4, 161, dtype=torch.float64).to(dtype)
    u = torch.linspace(1, 2, 161, dtype=torch.float64).to(dtype)
    found = activations.find(act, params)
    points = x.double().numpy()
    saved = torch.empty_like(x)
    made = kernel(act, params)
    with torch.inference_mode():
        value = made.forward(x.clone(), saved)
        slope = made.backward(u.clone(), saved)
    assert value.dtype == slope.dtype == dtype
    tolerance = 60 * torch.finfo(dtype).eps
    assert value.double().numpy() == pytest.approx(found.function(np, points, params), rel=tolerance, abs=tolerance)
    expected = found.derivative(np, points, params) * u.double().numpy()
    near = np.zeros(len(points), dtype=bool)
    for at in found.kinks(None, params):
        near |= np.abs(points - at) < 0.03  # rounding may put a point on the other side
    assert slope.double().numpy()[~near] == pytest.approx(expected[~near], rel=tolerance, abs=2 * tolerance)


def test_verify_of_an_expression_is_that_of_its_family():
    from snn_cli import solve

    p = solve("lselu", "0.03").params
    text = "l*where(x > 0, x, a*exp(x) + b*x - a)"
    options = {"depth": 5, "fanin": 32, "batch": 2, "trials": 4, "dtype": "float64", "profile": False}
    found = verify(expr=text, set={"l": p["lambda"], "a": p["alpha"], "b": p["beta"]}, **options)
    known = verify("lselu", "0.03", **options)
    assert found.measured.log_growth == pytest.approx(known.measured.log_growth, rel=1e-9)
    assert found.measured.q_mean == pytest.approx(known.measured.q_mean, rel=1e-9)
