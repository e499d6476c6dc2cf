"""The one command for all benchmarks: what it rewrites in the file of results, and what it leaves."""

from __future__ import annotations

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


def test_every_section_has_its_benchmark():
    from importlib.util import find_spec

    assert all(find_spec(f"benchmarks.{name}") for name in benchmarks.SECTIONS)
    with pytest.raises(SystemExit):
        benchmarks.main(["--only", "nothing"])
