"""Whatever is typed and whatever is in a file: an exit code of the contract, an error in one form, whole lines, nothing
written unasked, and an end in time. ``python -m benchmarks.fuzz`` runs thousands of the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fuzzing
import pytest
from fuzzing import Case, Outcome
from hypothesis import HealthCheck, given, settings

from snn_cli.cli.main import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")
pytest.importorskip("sklearn")

EXAMPLES = {"solve": 70, "simulate": 40, "verify": 50, "train": 20, "analyze": 25, "export": 100}

CALM = {"suppress_health_check": list(HealthCheck), "deadline": None}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fuzzing.Sandbox]:
    """A folder to run in, which is home too, so that what is written to either is noticed."""
    before, folder = Path.cwd(), tmp_path_factory.mktemp("fuzz")
    box = fuzzing.Sandbox(folder)
    fuzzing.whole_files()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))
        os.chdir(folder)
        yield box
        os.chdir(before)


def check(case: Case, sandbox: fuzzing.Sandbox) -> None:
    outcome = fuzzing.execute(case)
    found = fuzzing.problems(case, outcome) + sandbox.problems(case)
    assert not found, (found, case)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines(command: str, sandbox: fuzzing.Sandbox) -> None:
    @settings(max_examples=EXAMPLES[command], **CALM)
    @given(fuzzing.command_lines(command))
    def run(case: Case) -> None:
        check(case, sandbox)

    run()


def test_params(sandbox: fuzzing.Sandbox) -> None:
    @settings(max_examples=120, **CALM)
    @given(fuzzing.params_cases())
    def run(case: Case) -> None:
        check(case, sandbox)

    run()


@pytest.mark.parametrize("reader", fuzzing.READERS, ids=lambda argv: f"{argv[0]}-{argv[2]}")
def test_every_literal(reader: tuple[str, ...], sandbox: fuzzing.Sandbox) -> None:
    """Deep nesting, huge numbers, what is no JSON: alone, as a parameter and as the activation."""
    for literal in fuzzing.LITERALS:
        for text in (
            literal,
            b'{"act": "lselu", "params": {"lambda": 1, "alpha": ' + literal + b', "beta": 0.4}}',
            b'{"act": ' + literal + b"}",
            b'{"act": "lselu", "params": ' + literal + b"}",
            b'{"kind": ' + literal + b', "act": "tanh"}',
        ):
            check(Case(reader, text), sandbox)


def test_files(sandbox: fuzzing.Sandbox) -> None:
    """Saved runs, checkpoints, weights and images, damaged."""
    for name, content in fuzzing.beside_images().items():
        sandbox.put(name, content)

    @settings(max_examples=50, **CALM)
    @given(fuzzing.file_cases())
    def run(drawn: tuple[Case, str, bytes]) -> None:
        case, name, content = drawn
        sandbox.put(name, content)
        check(case, sandbox)

    run()


@pytest.mark.parametrize("kind", fuzzing.FILE_READERS)
def test_the_whole_file_is_read(kind: str, sandbox: fuzzing.Sandbox) -> None:
    """Else the test above would find nothing."""
    name, argv = fuzzing.FILE_READERS[kind]
    for each, content in {**fuzzing.beside_images(), name: fuzzing.whole_files()[kind]}.items():
        sandbox.put(each, content)
    outcome = fuzzing.execute(Case(argv))
    assert (outcome.code, outcome.err) == (0, "")


ODD_PROCESSES = [
    (b"solve", b"--act", b"\xff\xfe", b"--epsilon", b"0.03"),
    (b"solve", b"--act", b"lselu", b"--epsilon", b"\xc3\x28"),
    (b"solve", b"--act", b"lselu", b"--epsilon", b"0.03", b"--plot", b"no/\xff.svg"),
    (b"export", b"--to", b"c", b"--act", b"selu", b"--name", "größe\n".encode("latin-1")),
    (b"simulate", b"--params", b"\xff\n\x1b[2J"),
    (b"\xff",),
]


@pytest.mark.parametrize("argv", ODD_PROCESSES, ids=repr)
def test_bytes_that_are_no_text(argv: tuple[bytes, ...], tmp_path: Path) -> None:
    """In a process of its own, where Python decodes what was typed."""
    command = [os.fsencode(sys.executable), b"-m", b"snn_cli", *argv]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=60)
    outcome = Outcome(done.returncode, done.stdout, done.stderr.decode("ascii"), "", 0.0)
    assert fuzzing.problems(Case(tuple(map(os.fsdecode, argv))), outcome) == []
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])


GOOD = Outcome(0, b'{"kind": "solution", "version": 1}\n', "", "", 0.0)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"code": 4}, "exit code"),
        ({"code": -11}, "exit code"),
        ({"out": GOOD.out[:-9]}, "partial line"),
        ({"out": GOOD.out + b'{"kind": "sol\n'}, "partial line"),
        ({"out": b'{"kind": "solution", "version": 1, "x": NaN}\n'}, "partial line"),
        ({"err": "error: no\n"}, "message"),
        ({"err": "RuntimeWarning: overflow\n"}, "message"),
        ({"code": 2, "out": b"", "err": "wrong\n"}, "message"),
        ({"code": 2, "out": b"", "err": "error: a\nb\nhint: c\n"}, "message"),
        ({"code": 2, "out": b"", "err": "error: a\nerror: b\n"}, "message"),
        ({"code": 3, "out": b"", "err": "error: a\nhint: \n"}, "message"),
        ({"code": 3, "out": b"", "err": ""}, "message"),
        ({"code": 2, "err": "error: a\n"}, "exit code"),
        ({"err": "Traceback (most recent call last):\n"}, "traceback"),
        ({"code": 3, "err": "error: internal error: KeyError: 1\n"}, "traceback"),
        ({"code": None, "raised": "Hang"}, "hang"),
        ({"code": None, "raised": "ValueError: x"}, "traceback"),
    ],
    ids=str,
)
def test_what_is_wrong_is_noticed(change: dict[str, Any], kind: str) -> None:
    case = Case(("solve", "--json"))
    assert fuzzing.problems(case, GOOD) == []
    assert kind in [found for found, _ in fuzzing.problems(case, Outcome(**{**vars(GOOD), **change}))]


def test_rows_of_other_lengths_are_noticed() -> None:
    case = Case(("solve", "--csv"))
    rows = b"a,b,c,d,e\n1,2,3,4,5\n"
    assert fuzzing.problems(case, Outcome(0, rows, "", "", 0.0)) == []
    assert fuzzing.problems(case, Outcome(0, rows + b"1,2,3\n", "", "", 0.0))[0][0] == "partial line"


def test_a_hang_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(**_: Any) -> None:
        while True:
            pass

    monkeypatch.setattr("snn_cli.solver.solve", forever)
    case = Case(("solve", "--act", "lselu", "--epsilon", "0.03"))
    assert fuzzing.problems(case, fuzzing.execute(case, 0.2)) == [("hang", "Hang")]


def test_files_written_or_changed_unasked_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    box = fuzzing.Sandbox(tmp_path)
    asked = Case(("solve", "--plot", "new.svg"))
    (tmp_path / "new.svg").write_text("figure")
    assert box.problems(asked) == []
    for name in ("new.svg", "old.svg"):
        (tmp_path / name).write_text("figure")
    assert len(box.problems(Case(("solve",)))) == 2
    assert box.problems(asked) == []  # it is as it was
