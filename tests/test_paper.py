"""The scripts that reproduce the paper: their quick forms run, and their checks reject numbers that are wrong."""

from __future__ import annotations

import importlib
import math
import statistics
import subprocess
import sys
from functools import lru_cache

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtr
from test_data import write_cifar

from snn_cli import MissingExtra

pytest.importorskip("torch")
PAPER = ROOT / "examples" / "paper"
SCRIPTS = sorted(path.stem for path in PAPER.glob("*.py") if path.stem != "claims")


@lru_cache
def module(name):
    """A script, imported as it imports its neighbours: from its own folder."""
    sys.path.insert(0, str(PAPER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(PAPER))


@lru_cache
def found(name):
    """What its quick form measures."""
    return module(name).measure(module(name).QUICK)


claims = module("claims")
Mean = claims.Mean
FINITE = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("name", SCRIPTS)
def test_quick_form_refutes_nothing(name):
    script = module(name)
    checks = script.check(found(name))
    assert checks
    assert name == "accuracy" or any(check.holds for check in checks)  # two seeds tell no accuracies apart
    assert [check.says for check in checks if check.holds is False] == []
    text = "\n".join(script.show(found(name))) + claims.verdict(checks, script.SCRIPT.limits)
    assert "could not" in text
    assert "nan" not in text


def test_every_script_is_in_the_table():
    table = (PAPER / "README.md").read_text()
    assert all(f"[{name}.py]({name}.py)" in table for name in SCRIPTS)


def each(rows, **fields):
    """The rows with fields replaced: by a value, or by what a function makes of the row."""
    return [row._replace(**{name: new(row) if callable(new) else new for name, new in fields.items()}) for row in rows]


WRONG = {
    "explodes": [
        ("SELU explodes", lambda f: each(f, growth=Mean(0.0, 0.01))),
        ("log growth of", lambda f: each(f, growth_theory=lambda r: r.growth.value + 5 * r.growth.se + 1)),
        ("loses the property", lambda f: each(f, back=Mean(1.0, 0.01))),
        ("keeps more", lambda f: each(f, back=lambda r: Mean(1.9 if r.act != "dselu" else 1.1, 0.01))),
    ],
    "definition": [
        ("E[f^2]", lambda f: f._replace(rows=each(f.rows, second_moment=lambda r: r.second_moment + 1e-12))),
        ("E[f'^2]", lambda f: f._replace(rows=each(f.rows, chi=lambda r: r.chi - 1e-12))),
        ("gamma less", lambda f: f._replace(rows=each(f.rows, gamma=lambda r: r.gamma * (1 + 1e-10)))),
        ("stronger with lambda", lambda f: f._replace(rows=each(f.rows, shrunk=lambda r: r.grown))),
        ("SLSQP", lambda f: f._replace(optima=[(s, {**best, "beta": best["beta"] + 1e-4}) for s, best in f.optima])),
    ],
    "strength": [
        ("is stronger than dSELU", lambda f: f._replace(curves={**f.curves, "lselu": f.curves["dselu"]})),
        ("at SELU's epsilon", lambda f: f._replace(same=f.tied)),
        ("gamma of", lambda f: f._replace(measured=each(f.measured, gamma=lambda r: Mean(r.gamma.value + 0.1, 0.001)))),
        (
            "variance of q",
            lambda f: f._replace(measured=each(f.measured, spread=lambda r: Mean(r.solution.gamma < 0.9, 0.01))),
        ),
    ],
    "fan_in": [
        ("tolerance at", lambda f: each(f, factor=lambda r: Mean(2 * r.factor.value, 0.01))),
        ("exponent", lambda f: each(f, factor=lambda r: Mean(r.tolerance, 0.01 * r.tolerance))),
        ("none leaves", lambda f: each(f, left=lambda r: r.networks)),
    ],
    "remedies": [
        ("centralized weights hold q", lambda f: f._replace(rows=each(f.rows, log_q=Mean(2.0, 0.01)))),
        ("without remedy does not hold", lambda f: f._replace(rows=each(f.rows, log_q=Mean(0.0, 0.01)))),
        ("V_c, relu", lambda f: f._replace(steps=each(f.steps, q=lambda r: Mean(r.plain, 0.01)))),
        ("mixup: q of the inputs", lambda f: f._replace(mixed={"mixup": (f.mixed["mixup"][0], 9.0, 0.0, 0.0)})),
        ("mixup makes them smaller", lambda f: f._replace(trained={**f.trained, "mixup": [(0.0, 1e6), (0.0, 1e6)]})),
        ("keep them at 0", lambda f: f._replace(trained={**f.trained, "weights": [(0.0, 0.5), (0.0, 0.5)]})),
    ],
    "imagenet": [
        ("ends with code 0", lambda f: f._replace(code=1)),
        ("record of each", lambda f: f._replace(records=f.records[:-1])),
        ("every loss is finite", lambda f: f._replace(records=[{**r, "loss": None} for r in f.records])),
        ("line for every epoch", lambda f: f._replace(epochs=f.epochs[:-1])),
        ("the same accuracies", lambda f: f._replace(ended=1, resumed=f.records[::-1])),
        ("the same accuracies", lambda f: f._replace(ended=0, resumed=f.records)),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "says", "spoil"), [(name, *case) for name, cases in WRONG.items() for case in cases])
def test_checks_reject_wrong_numbers(name, says, spoil):
    checks = [check for check in module(name).check(spoil(found(name))) if says in check.says]
    assert checks
    assert any(check.holds is False for check in checks)


def test_accuracy_is_judged_both_ways():
    better = module("accuracy").better
    assert better("", Mean(1.0, 0.1)).holds is True
    assert better("", Mean(-3.0, 0.1)).holds is False
    assert better("", Mean(0.3, 0.1)).holds is None
    assert better("", Mean(-1.0, 0.1)).holds is None


def test_accuracy_takes_data_of_your_own(tmp_path, capsys):
    write_cifar(tmp_path)
    assert module("accuracy").main(["--quick", "--data", "cifar10", "--data-dir", str(tmp_path)]) in (0, 1)
    out = capsys.readouterr().out
    assert out.startswith("$ snn train --act selu,sselu+mixup --architecture conv ")
    assert "sselu+mixup over selu, points" in out
    assert module("accuracy").main(["--data", "cifar10", "--data-dir", str(tmp_path / "none")]) == 2


def test_a_refuted_claim_ends_with_one_and_a_bad_file_with_two(tmp_path, capsys):
    script = claims.Script(
        "", 0, 1, measure=lambda size: size, show=lambda _: ["shown"],
        check=lambda size: [claims.equals("size", size, 1, 0)], limits=["fly"],
        draw=lambda size, axes: axes[0].plot([size]),
    )  # fmt: skip
    assert claims.run(script, ["--quick"]) == 0
    assert claims.run(script, []) == 1
    out = capsys.readouterr().out
    assert "confirmed      size: 1" in out
    assert "NOT CONFIRMED  size: 0" in out
    assert "could not      fly" in out
    pytest.importorskip("matplotlib")
    figures = [str(tmp_path / name) for name in ("a.svg", "b.svg")]
    assert [claims.run(script, ["--quick", "--plot", path]) for path in figures] == [0, 0]
    first, second = ((tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second
    for path in (figures[0], str(tmp_path / "c.txt"), str(tmp_path / "none" / "d.svg")):
        assert claims.run(script, ["--plot", path]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("error: --plot") == captured.err.count("hint: ") == 3
    assert (tmp_path / "a.svg").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "b.svg"]


def test_a_missing_extra_is_said(tmp_path, monkeypatch):
    for missing in ("matplotlib", "PIL"):
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match="needs matplotlib"):
        claims.check_figure(str(tmp_path / "a.svg"))
    with pytest.raises(MissingExtra, match="needs Pillow"):
        module("imagenet").generate(tmp_path, module("imagenet").QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_script_runs_from_anywhere(tmp_path):
    command = [sys.executable, str(PAPER / "imagenet.py"), "--data-dir", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("error: --data-dir needs a folder")
    assert list(tmp_path.iterdir()) == []


@given(st.lists(FINITE, min_size=2, max_size=20))
def test_mean_has_the_standard_error_of_the_textbook(values):
    mean = claims.mean_of(values)
    assert mean.value == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-9)
    assert mean.se == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), rel=1e-9, abs=1e-9)


@given(st.lists(FINITE, min_size=2, max_size=20), FINITE)
def test_decisions_are_those_of_students_test(values, bound):
    above, below = (judge("x", claims.mean_of(values), bound).holds for judge in (claims.above, claims.below))
    if len(set(values)) == 1:
        return
    t = (statistics.fmean(values) - bound) * math.sqrt(len(values)) / statistics.stdev(values)
    p = 2 * stdtr(len(values) - 1, -abs(t))
    if p < 0.00099:
        assert above is (statistics.fmean(values) > bound)
        assert below is not above
    elif p > 0.00101:
        assert above is below is None


def test_jackknife_is_the_plain_error_where_the_ratio_is_linear():
    ends = np.random.default_rng(1).normal(-0.09, 0.01, 12)
    factor = module("fan_in").factor([(0.0, -0.03, -0.06, float(end)) for end in ends])
    slopes = (ends + 0.03) / -0.06
    assert factor.value == pytest.approx(slopes.mean())
    assert factor.se == pytest.approx(slopes.std(ddof=1) / math.sqrt(12))


def test_exponent_is_that_of_a_weighted_fit():
    rows = found("fan_in")
    x, y = np.log([r.fan_in for r in rows]), np.log([r.measured.value for r in rows])
    fit, covariance = np.polyfit(x, y, 1, w=[r.factor.value / r.factor.se for r in rows], cov="unscaled")
    exponent = module("fan_in").exponent(rows)
    assert exponent.value == pytest.approx(fit[0])
    assert exponent.se == pytest.approx(math.sqrt(covariance[0, 0]))
