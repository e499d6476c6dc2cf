"""The pure parts of the benchmark of ``snn train``: the journal, the tables, and images at CIFAR's shape."""

from __future__ import annotations

import argparse
import importlib
import json
from typing import Any

import pytest
from conftest import ROOT

from snn_cli import data

GIVEN = argparse.Namespace(quick=True, seeds=2)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.training")


def record(*runs: float, rate: float = 0.01) -> dict[str, Any]:
    mean = sum(runs) / len(runs)
    sd = (sum((x - mean) ** 2 for x in runs) / (len(runs) - 1)) ** 0.5
    return {
        "accuracy": {"mean": mean, "sd": sd, "runs": list(runs)},
        "seeds": len(runs),
        "diverged": 0,
        "learning_rate": rate,
        "gradient": {"start": 1.25, "end": None},
    }


def test_what_is_in_the_journal_is_not_measured_again(benchmark: Any, tmp_path: Any) -> None:
    path = tmp_path / "journal"
    wanted = benchmark.in_order(["depth"], GIVEN)
    assert len(wanted) == 8
    lines = [json.dumps([cell.key, record(0.5, 0.7)]) + "\n" for cell in wanted]
    path.write_text("".join(lines[:-1]) + lines[-1][:30])  # killed while it wrote
    assert set(benchmark.kept(str(path))) == {cell.key for cell in wanted[:-1]}
    path.write_text("".join(lines)[:-1])  # or just before the end of the line
    found = benchmark.all_measured(wanted, 1, str(path))
    assert set(found) == {cell.key for cell in wanted}


def test_a_cell_is_kept_when_it_is_measured(benchmark: Any, tmp_path: Any) -> None:
    pytest.importorskip("sklearn")
    path = tmp_path / "journal"
    path.write_text('["torn')
    cell = benchmark.Cell("lselu 0.03", 2, 8, benchmark.Budget(1, 2, "0.01"))
    found = benchmark.all_measured([cell], 1, str(path))
    assert found[cell.key]["epsilon"] == 0.03
    assert benchmark.kept(str(path)) == found


def test_tables_with_gaps(benchmark: Any) -> None:
    rows, sizes = benchmark.shape("depth", True)
    keys = {(row, size): benchmark.cell("depth", row, size, GIVEN).key for row in rows for size in sizes}
    found = {keys["selu", 8]: record(0.5, 0.7), keys["lselu", 8]: record(0.8, 0.9, rate=0.003)}
    accuracy, against, growth = benchmark.tables("depth", found, GIVEN)
    assert accuracy.rows == [("selu", "0.600 ± 0.100 (0.01)", ""), ("lselu", "0.850 ± 0.050 (0.003)", "")]
    assert against.rows == [("lselu", "+0.250 ± 0.050", "")]
    assert growth.rows[0] == ("selu", "1.2 / -", "")
    assert "relu at 8, 16; relu+bn at 8, 16; selu at 16; lselu at 16." in accuracy.text


def test_what_is_behind_a_rival_is_counted_from_the_cells_that_there_are(benchmark: Any) -> None:
    rows, sizes = benchmark.shape("depth", True)
    keys = {(row, size): benchmark.cell("depth", row, size, GIVEN).key for row in rows for size in sizes}
    found = {keys["selu", 8]: record(0.5, 0.7), keys["lselu", 8]: record(0.7, 0.5)}
    (same,) = benchmark.compared("depth", found, GIVEN)
    assert same.claim.startswith("accuracy of lselu less that of selu, at every depth")
    assert (same.measured, same.met) == ("+0.000, 1 of 1", True)
    found |= {keys["selu", 16]: record(0.5, 0.7), keys["lselu", 16]: record(0.4, 0.6), keys["relu", 16]: record(0, 0)}
    plain, behind = benchmark.compared("depth", found, GIVEN)
    assert (plain.claim[:33], plain.measured) == (
        "accuracy of selu, lselu less that",
        "+0.550 (+0.500 to +0.600), 2 of 2",
    )
    assert (behind.measured, behind.met) == ("-0.050 (-0.100 to +0.000), 1 of 2", False)


def test_dear_widths_say_what_they_are_given(benchmark: Any) -> None:
    given = argparse.Namespace(quick=False, seeds=5)
    text = benchmark.tables("width", {}, given)[0].text
    for width, budget in benchmark.REDUCED.items():
        assert f"width {width}: {budget.epochs} epochs, {budget.seeds} seeds" in text


def test_at_the_shape_of_cifar(benchmark: Any, tmp_path: Any) -> None:
    benchmark.made(str(tmp_path), 40)
    found = data.load("cifar10", str(tmp_path))
    assert (found.shape, len(found.train.labels), len(found.test.labels)) == ((3, 32, 32), 200, 40)
    table = benchmark.at_cifar("cpu", images=20, depth=2, width=2, batch=20, ways=benchmark.WAYS[:1])
    assert [row[0] for row in table.rows] == list(benchmark.CIFAR)
    assert all(each["images_a_second"] > 0 and each["mib"] is None for each in table.data)


def test_without_a_gpu_it_is_skipped_by_name(benchmark: Any) -> None:
    line, table = benchmark.cifar(argparse.Namespace(device="cpu", quick=True))
    assert line.startswith("- skipped: cifar")
    assert table is None
