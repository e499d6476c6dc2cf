"""What the machine may do to a run: kill it, fill the disk, close its streams, give it no home and another alphabet."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time
from itertools import product
from pathlib import Path
from typing import Any

import fuzzing
import pytest
from conftest import ROOT
from fuzzing import Case, Outcome

from snn_cli import files
from snn_cli.cli.main import COMMANDS

LSELU = "solve --act lselu --epsilon 0.03"


def snn(
    line: str, folder: Path, *, python: str = "", env: dict[str, str | None] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """In a process of its own, in that folder; None takes a variable away."""
    variables = {**os.environ, **(env or {})}
    return subprocess.run(
        [sys.executable, *shlex.split(python), "-m", "snn_cli", *shlex.split(line)],
        cwd=folder,
        env={name: value for name, value in variables.items() if value is not None},
        capture_output="stdout" not in options,
        encoding="utf-8",
        timeout=120,
        **options,
    )


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """Of every file that is written whole; one that is not is noticed."""
    pytest.importorskip("torch")
    command = [sys.executable, str(ROOT / "tests" / "faults.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    naive = found.pop("naive.txt")
    assert naive["broken"]
    assert set(found) == {"act.h", "figure.svg", "first.svg", "run.jsonl", "run.npz"}
    for name, each in found.items():
        assert each["moments"] >= 7, name
        assert each["broken"] == [], name


def test_two_that_write_the_same_file_leave_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    texts = [letter * 200_000 for letter in "ab"]
    seen = set()

    def write(text: str) -> None:
        for _ in range(10):
            with files.whole(str(path)) as file:
                for start in range(0, len(text), 20_000):
                    file.write(text[start : start + 20_000])

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            seen.add(path.read_text())
    assert seen | {path.read_text()} <= set(texts)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_of_two_that_write_a_new_file_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def write() -> None:
        with files.whole(str(path), force=False) as mine:
            mine.write("mine")
            path.write_text("theirs")

    with pytest.raises(FileExistsError):
        write()
    assert path.read_text() == "theirs"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_links_permissions_pipes_and_devices_stay(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to(target)
    with files.whole(str(tmp_path / "link")) as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o640)

    os.mkfifo(tmp_path / "pipe")
    read = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_text()))
    heard: list[str] = []
    read.start()
    with files.whole(str(tmp_path / "pipe")) as file:
        file.write("through")
    read.join()
    assert heard == ["through"]
    assert (tmp_path / "pipe").is_fifo()

    with files.whole("/dev/null") as file:
        file.write("gone")
    assert Path("/dev/null").is_char_device()


def test_results_to_a_device(tmp_path: Path) -> None:
    """Written into, as a shell's redirection does, and never replaced."""
    done = snn("export --to c --act selu -o /dev/stdout", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "selu" in done.stdout
    full = snn("export --to c --act selu -o /dev/full", tmp_path)
    assert full.returncode == 3
    assert full.stderr.startswith("error: /dev/full cannot be written: No space left on device\nhint: ")
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize(
    "line",
    ["export --to c --act selu -o new", f"{LSELU} --plot new.svg", "verify --depth 2 --fanin 4 --trials 2 --save new"],
)
def test_full_disk(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One error, and nothing is left behind."""
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    case = Case((*line.split(), *(("--threads", "1") if "verify" in line else ())))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        outcome = fuzzing.execute(case)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.code in (2, 3)
    assert re.fullmatch(r"error: .*File too large.*\nhint: .+\n", outcome.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["file/new.svg", "/proc/new.svg", "/dev/null/new.svg"])
def test_folder_that_takes_no_file(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine\n")
    for line in (f"{LSELU} --plot {path}", f"export --to c --act selu -o {path}"):
        done = fuzzing.execute(Case(tuple(line.split())))
        assert done.code in (2, 3)
        assert re.fullmatch(r"error: .+\nhint: .+\n", done.err)
        assert done.out == b""
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


# --- surroundings -----------------------------------------------------------------------------------------------------

LIGHT = ["train --help", LSELU, "solve --act lselu,sselu --epsilon 0.01,0.03", "export --act selu --to pytorch"]
HEAVIER = [f"{LSELU} --explain=latex", "simulate --depth 3 --act selu --fanin 8", "analyze --act gelu"]

SURROUNDINGS: dict[str, tuple[str, dict[str, str | None]]] = {
    "no home, ascii, warnings": (
        "-W error",
        {"HOME": None, "LC_ALL": "C", "LANG": None, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ),
    "latin-1, no asserts, no docstrings": ("-OO", {"HOME": "/nonexistent", "PYTHONIOENCODING": "latin-1"}),
    "no columns, no cache": ("-W error", {"COLUMNS": "0", "PYTHONPYCACHEPREFIX": "/proc/nowhere", "TERM": "dumb"}),
    "few columns, no colour": ("", {"COLUMNS": "20", "LINES": "x", "NO_COLOR": "1", "TERM": None}),
}


@pytest.mark.parametrize(
    ("name", "line"), [*product(SURROUNDINGS, LIGHT), *((next(iter(SURROUNDINGS)), line) for line in HEAVIER)]
)
def test_surroundings_change_nothing(name: str, line: str, tmp_path: Path) -> None:
    """But the width of a help text: in a pipe the same bytes come out, and nothing is said or written."""
    python, env = SURROUNDINGS[name]
    done = snn(line, tmp_path, python=python, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    if "--help" in line:
        assert "Examples:" in done.stdout or "-OO" in python
    else:
        assert done.stdout == usual(line)
    assert list(tmp_path.iterdir()) == []


def usual(line: str) -> str:
    return fuzzing.execute(Case(tuple(shlex.split(line)))).out.decode()


@pytest.mark.parametrize("env", [{"HOME": None}, {"HOME": "/nonexistent"}])
def test_figures_need_no_home(env: dict[str, str | None], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = snn(f"{LSELU} --plot new.svg --csv", tmp_path, env={**env, "MPLCONFIGDIR": None, "XDG_CACHE_HOME": None})
    assert (done.returncode, done.stderr) == (0, "")
    assert [each.name for each in tmp_path.iterdir()] == ["new.svg"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", ["0", "1", "20", "x", "99999999999"])
def test_help_in_any_width(command: str, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    outcome = fuzzing.execute(Case((command, "--help")))
    assert (outcome.code, outcome.err) == (0, "")
    assert b"Examples:" in outcome.out


@pytest.mark.parametrize(
    ("line", "code"),
    [(LSELU, 0), ("simulate --params -", 2), ("export --to c", 2), ("export --to c --act selu", 0)],
)
def test_closed_standard_input(line: str, code: int, tmp_path: Path) -> None:
    script = f"exec {shlex.quote(sys.executable)} -m snn_cli {line} <&-"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, timeout=60)
    outcome = Outcome(done.returncode, done.stdout, done.stderr.decode(), "", 0.0)
    assert fuzzing.problems(Case(tuple(line.split())), outcome) == []
    assert done.returncode == code


@pytest.mark.parametrize("command", [f"{LSELU} --json", "export --act selu --to c"])
def test_full_standard_output(command: str, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = snn(command, tmp_path, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (3, "error: cannot write the results: No space left on device\n")


def test_too_little_memory_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def solve(**_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("snn_cli.solver.solve", solve)
    outcome = fuzzing.execute(Case(tuple(LSELU.split())))
    assert (outcome.code, outcome.out) == (3, b"")
    assert re.fullmatch(r"error: there is not enough memory .+\nhint: .+\n", outcome.err)


@pytest.mark.parametrize("typed", ["a\nb", "a\x1b[2Jb", "a\rb", "a\x00b", "a\udcffb", "a\x85b", "a\u2028b"])
def test_what_was_typed_cannot_move_the_cursor(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in (
        ("simulate", "--params", typed),
        ("export", "--to", typed),
        (*LSELU.split(), "--plot", f"{typed}.gif"),
    ):
        outcome = fuzzing.execute(Case(line))
        assert outcome.code == 2
        assert re.fullmatch(r"error: [ -~]+\nhint: [ -~]+\n", outcome.err)


# --- signals ----------------------------------------------------------------------------------------------------------

FORMS = ("", "--csv", "--json")
SWEEP = "simulate --act sselu --depth 10 --epsilon 0.001:1:3000 --json"


@pytest.mark.parametrize("after", [0.0, 0.1, 0.6])
def test_an_interrupt_at_any_time(after: float, tmp_path: Path) -> None:
    """From when the command line is looked at, until it is done: 130, whole lines, no word."""
    command = [sys.executable, "-X", "importtime", "-m", "snn_cli", *SWEEP.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stderr is not None
        for line in process.stderr:  # its imports: the delay counts from one of them
            if re.search(r"\| +click\.", line):
                break
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [line for line in err.splitlines() if line and not line.startswith("import time:")] == []
    assert fuzzing.problems(Case(tuple(SWEEP.split())), Outcome(130, out.encode(), "", "", 0.0)) == []


@pytest.mark.parametrize(
    ("command", "lines"), [(SWEEP, 1), *((f"solve --act lselu --epsilon 0.001:1:3000 {form}", 30) for form in FORMS)]
)
def test_a_reader_that_leaves(command: str, lines: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "snn_cli", *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for _ in range(lines):
        assert process.stdout.readline().endswith(b"\n")
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (141, b"")
    process.stderr.close()
