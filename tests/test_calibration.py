"""Whether the test of ``snn verify`` keeps its level over random networks, and rejects a wrong theory: a short form."""

from __future__ import annotations

import importlib
import json
import math
from typing import Any

import pytest
from conftest import ROOT

pytest.importorskip("torch")

COUNT, LEVEL = 60, 0.01


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.calibration")


def test_a_right_theory_is_kept_and_a_wrong_one_rejected(benchmark: Any) -> None:
    chosen = benchmark.configurations(COUNT, seed=1, sizes=benchmark.SMALL)
    found = benchmark.outcomes(chosen)
    right = [outcome.right for outcome in found]
    assert sum(p < LEVEL for p in right) <= benchmark.most_rejections(COUNT, LEVEL)
    assert benchmark.distance(right)[0] < 0.25  # beyond that one of 60 uniform ones is in 2000 cases
    assert sum(outcome.wrong < LEVEL for outcome in found) >= 0.95 * COUNT
    assert abs(sum(outcome.z for outcome in found)) < 4 * 1.2 * COUNT**0.5  # of few networks, wider than a normal one


def test_bounds(benchmark: Any) -> None:
    assert benchmark.most_rejections(60, 0.01) == 5
    assert benchmark.most_rejections(300, 0.05) == 31
    assert benchmark.distance([0.25, 0.75]) == (0.25, 0.25)
    assert benchmark.distance([0.0, 0.0]) == (1.0, 0.0)
    assert benchmark.share(0, 100) == "0.0000 +- 0.0099"


def test_a_wrong_theory_has_more_gain_a_layer(benchmark: Any) -> None:
    """By the same factor, whether it is solved for or put in."""
    for act, epsilon in (("lselu", 0.03), ("relu", None)):
        one = benchmark.Configuration(act, epsilon, "gaussian", 1024, 12, 4, 8, 0)
        right, wrong = benchmark.predicted(one, epsilon), benchmark.wrong_prediction(one)
        more = (wrong.log_gradient[0] - right.log_gradient[0]) / 12
        assert more == pytest.approx(math.log(1.05), rel=0.1)


def test_a_second_moment_without_bounds_is_not_tested(benchmark: Any) -> None:
    """That of relu spreads with every layer until its mean is one of rare networks: only the gradient is looked at."""
    from snn_cli.verification.verdict import test

    for act, epsilon, components in (("lselu", 0.03, 8), ("relu", None, 4)):
        one = benchmark.Configuration(act, epsilon, "gaussian", 64, 60, 2, 36, 0)
        found = test(benchmark.measured(one), benchmark.predicted(one, epsilon))
        assert found[0] == components
        assert found[2] is not None


def test_report(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--configurations", "1", "--threads", "1"])
    assert "| 0.001 |" in capsys.readouterr().out
    benchmark.main(["--configurations", "1", "--threads", "1", "--json"])
    (one,) = json.loads(capsys.readouterr().out)["configurations"]
    assert {"act", "seed", "right", "wrong"} <= set(one)
