"""The one command for all benchmarks: what it rewrites in the file of results, and what it leaves."""

from __future__ import annotations

import json
import subprocess

import pytest

benchmarks = pytest.importorskip("benchmarks.__main__")

OLD = """# Benchmarks

Words on top.

## `snn solve`

A note by hand.

    python -m benchmarks.solve

- date: yesterday

### Targets

| claim | target | measured | met |
| --- | --- | --- | --- |
| as fast as a rival | at least 10 | 4 (3 to 5) | no |
| start | at most 1 | 0.5 | yes |

## Something else

Kept.
"""


def found(met):
    row = ["as fast as a rival", "at least 10", "12", met]
    table = {"title": "Targets", "text": "Text.", "columns": ["claim", "target", "measured", "met"], "rows": [row]}
    machine = {"date": "today", "cpu": "a processor"}
    return {"machine": machine, "tables": [table]}


@pytest.fixture
def run(monkeypatch, tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_text(OLD)
    monkeypatch.setattr(benchmarks, "header", lambda machine: f"- date: {machine['date']}")

    def one(met, *arguments):
        monkeypatch.setattr(benchmarks, "measure", lambda _name, _arguments: found(met))
        assert benchmarks.main(["--output", str(path), *arguments]) == 0
        return path.read_text()

    return one


def test_tables_are_made_again_and_the_rest_is_kept(run):
    text = run("yes", "--only", "solve")
    assert "A note by hand.\n\n    python -m benchmarks.solve --quick\n\n- date: today\n\n### Targets" in text
    assert "yesterday" not in text
    assert text.endswith("## Something else\n\nKept.\n")
    assert text.startswith(f"# Benchmarks\n\n{benchmarks.ACHIEVED}\n\nWords on top.\n\n## ")
    assert text.count("Words on top.") == 1


def test_what_is_behind_stands_first_once(run):
    line = "- `snn solve`: as fast as a rival: 12; wanted at least 10."
    text = run("no", "--only", "solve")
    assert text.startswith(f"# Benchmarks\n\n{benchmarks.MISSED}:\n\n{line}\n\nWords on top.")
    again = run("no", "--only", "solve", "--full")
    assert again.count(line) == 1
    assert "    python -m benchmarks.solve\n" in again
    assert run("yes", "--only", "solve").count("Words on top.") == 1


def test_a_quicker_rival_stands_first():
    from benchmarks import common, layers, wrap

    whole = {name: [2.0, 3.0] for names in layers.BLOCK_RIVALS.values() for name in names}
    whole |= {"Linear, BatchNorm1d, ReLU": [1.0, 2.0], "Linear, SELU": [4.0, 4.0]}
    slower = layers.beside("cpu", whole, "Linear, BatchNorm1d, ReLU", layers.BLOCK_RIVALS["Linear, BatchNorm1d, ReLU"])
    quicker = layers.beside("cpu", whole, "Linear, SELU", ("Linear, LSELU",))
    assert (quicker.measured, quicker.met) == ("0.62 (0.50 to 0.75)", True)
    found = [slower, quicker, *wrap.targets_beside([2.0, 3.0], [0.5, 4.0])]
    table = common.verdicts(found).markdown(3)
    lines = benchmarks.missed({"Blocks": table})
    assert len(lines) == 2
    assert lines[0].startswith("- Blocks: cpu: `Linear, LSELU`; ")
    assert lines[0].endswith(", times `Linear, BatchNorm1d, ReLU`: 1.75 (1.75 to 1.75), 0 of 3; wanted at most 1.")
    assert lines[1].endswith("2.25 (0.50 to 4.00), 1 of 2; wanted at most 1.")


def test_sections_come_in_their_order(run):
    pytest.importorskip("torch")
    text = run("yes", "--only", "layers,simulate")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## `snn solve`", "## `snn simulate`", "## `snn_cli.nn`", "## Something else"]


def test_a_benchmark_that_fails_leaves_its_section(run, monkeypatch, tmp_path, capsys):
    before = run("yes", "--only", "solve")

    def failing(_name, _arguments):
        raise RuntimeError("exit code 7")

    monkeypatch.setattr(benchmarks, "measure", failing)
    path = tmp_path / "RESULTS.md"
    assert benchmarks.main(["--output", str(path), "--only", "solve"]) == 1
    assert path.read_text() == before
    assert "exit code 7" in capsys.readouterr().err


def test_problems_are_written_and_end_with_one(run, monkeypatch, tmp_path, capsys):
    run("yes", "--only", "solve")
    monkeypatch.setattr(benchmarks, "measure", lambda *_: {**found("yes"), "problems": ["a torn file"]})
    path = tmp_path / "RESULTS.md"
    path.write_text(OLD)
    assert benchmarks.main(["--output", str(path), "--only", "solve"]) == 1
    assert "today" in path.read_text()
    assert "solve: a torn file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "problems", "works"), [(0, [], 1), (1, ["x"], 1), (1, [], 0), (0, ["x"], 0), (2, [], 0)]
)
def test_the_exit_code_goes_with_what_is_found(monkeypatch, code, problems, works):
    said = json.dumps({**found("yes"), "problems": problems}).encode()
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, code, said))
    if works:
        assert benchmarks.measure("solve", [])["problems"] == problems
    else:
        with pytest.raises(RuntimeError, match=f"exit code {code}"):
            benchmarks.measure("solve", [])


def test_a_short_run_leaves_the_full_tables(monkeypatch, tmp_path):
    full, short = tmp_path / "FULL.md", tmp_path / "RESULTS.md"
    full.write_text(OLD)
    monkeypatch.setattr(benchmarks, "FULL", full)
    monkeypatch.setattr(benchmarks, "RESULTS", short)
    monkeypatch.setattr(benchmarks, "header", lambda machine: f"- date: {machine['date']}")
    monkeypatch.setattr(benchmarks, "measure", lambda *_: found("no"))
    assert benchmarks.main(["--only", "solve"]) == 0
    assert full.read_text() == OLD
    text = short.read_text()
    assert text.startswith(f"{benchmarks.NEW.splitlines()[0]}\n\n{benchmarks.MISSED}:\n\n- ")
    assert text.count("[FULL.md](FULL.md)") == text.count("    python -m benchmarks.solve --quick\n") == 1
    assert benchmarks.main(["--only", "solve"]) == 0
    assert short.read_text() == text
    assert benchmarks.main(["--full", "--only", "solve"]) == 0
    assert "today" in full.read_text()
    assert short.read_text() == text


def test_what_is_not_installed_is_left_out_by_name(run, monkeypatch, capsys):
    lacking = benchmarks.SECTIONS["solve"]._replace(needs=("json", "no_module_of_this_name"))
    monkeypatch.setitem(benchmarks.SECTIONS, "solve", lacking)
    assert run("no", "--only", "solve") == OLD
    assert "solve: left out, no_module_of_this_name not installed" in capsys.readouterr().err


def test_every_section_has_its_benchmark():
    from importlib.util import find_spec

    assert all(find_spec(f"benchmarks.{name}") for name in benchmarks.SECTIONS)
    with pytest.raises(SystemExit):
        benchmarks.main(["--only", "nothing"])
