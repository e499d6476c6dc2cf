"""The pure parts of the benchmark of ``snn simulate``: references, the rival's loss, agreement. No times."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import Any

import mpmath
import pytest
from conftest import ROOT


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.simulate")


@pytest.mark.parametrize("depth", [200, 10_000])
def test_reference_reproduces_and_the_program_agrees(benchmark: Any, depth: int) -> None:
    exact = benchmark.confirmed(depth)
    assert mpmath.nstr(exact.log_growth, 18) == benchmark.EXPECTED[depth]
    assert benchmark.relative_error(benchmark.simulated(depth), exact.log_growth) < 1e-12


def test_a_wrong_expectation_is_noticed(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(benchmark.EXPECTED, 3, "0.25")
    with pytest.raises(ArithmeticError, match="expected"):
        benchmark.confirmed(3)


def test_settled_layers_are_followed_like_any_other(benchmark: Any) -> None:
    """From q = 1 all layers are alike, so depths add up; the kernel is a geometric series."""
    one, five = benchmark.reference(1, "1"), benchmark.reference(5, "1")
    assert float(five.log_growth) == pytest.approx(5 * float(one.log_growth), rel=1e-15)
    chi = float(mpmath.exp(one.log_growth))
    assert float(five.kernel) == pytest.approx(sum(chi**i for i in range(6)), rel=1e-14)


def test_hundred_points_lose_a_factor_of_seven_in_the_gradient(benchmark: Any) -> None:
    exact = benchmark.confirmed(200).log_growth
    assert 6.5 < benchmark.lost_factor(benchmark.by_hand(200, 100), exact) < 7.5


def test_rival_as_a_script(benchmark: Any) -> None:
    command = [sys.executable, *benchmark.rival("hermite", 200)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=True)
    assert json.loads(done.stdout)["log_growth"] == pytest.approx(benchmark.by_hand(200, 100), rel=1e-14)


def test_kernel_from_the_profile(benchmark: Any) -> None:
    """The sum over the profile, which is set beside neural-tangents."""
    from snn_cli import simulate

    found = simulate("selu", q0=benchmark.Q0, depth=200)
    layers = {"profile": {"q": found.profile.q, "log_gradient": found.profile.log_gradient}}
    assert benchmark.relative_error(benchmark.kernel_of(layers), benchmark.reference(200).kernel) < 1e-12


def test_peak_memory_is_that_of_the_process_alone(benchmark: Any) -> None:
    found = benchmark.peak([sys.executable, "-c", "pass"], benchmark.environment("one"))
    if found is not None:
        more = benchmark.peak([sys.executable, "-c", "x = bytearray(b'1') * 60_000_000"], benchmark.environment("one"))
        assert 1 < found < 40
        assert 50 < more - found < 70


def test_a_quicker_loop_is_named_with_what_it_is_off_by(benchmark: Any) -> None:
    def way(factor: float, wall: float, call: float) -> Any:
        return benchmark.Grown("a way", 1.0, 0.0, factor, [wall, wall], [call, call])

    every = [[way(1, 4, 2), way(7, 2, 1), way(2, 8, 4)], [way(1, 4, 2), way(3, 1, 4)]]
    process, call = benchmark.as_quick(every)
    assert "off by a factor of 2 or more" in process.claim
    assert (process.measured, process.met) == ("2.00 (0.50 to 4.00), 1 of 3", False)
    assert (call.measured, call.met) == ("0.50 (0.50 to 2.00), 2 of 3", False)


def test_factor_text(benchmark: Any) -> None:
    assert benchmark.factor_text(1.0) == "1"
    assert benchmark.factor_text(1 + 2e-12) == "1 + 2e-12"
    assert benchmark.factor_text(6.854) == "6.85"
