"""How hard ``snn`` is to break: command lines and files at random, and faults at every moment, counted.

Usage: python -m benchmarks.fuzz [--cases N] [--kills N] [--seed N] [--json]

Run it with the Python in whose environment the project is installed with all extras and its tests' requirements.
``--cases`` command lines of each command, a third as many of ``train``, and as many files; ``--kills`` processes of
each command that writes a file, killed at a random moment. What must hold is in ``tests/fuzzing.py`` and
``tests/faults.py``.
Ends with 1 where anything is found, and prints it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, seed, settings

from benchmarks.common import Table, machine, parser, report

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import faults  # noqa: E402
import fuzzing  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hypothesis.strategies import SearchStrategy

SHOWN = 20
"""Problems of one kind of case that are printed."""


@dataclass
class Count:
    """What became of the cases of one kind."""

    name: str
    cases: int = 0
    codes: Counter[int | None] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    shown: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, case: fuzzing.Case, outcome: fuzzing.Outcome, found: Sequence[tuple[str, str]]) -> None:
        self.cases += 1
        self.codes[outcome.code] += 1
        self.slowest = max(self.slowest, outcome.seconds)
        for kind in {kind for kind, _ in found}:
            self.problems[kind] += 1
        if found and len(self.shown) < SHOWN:
            self.shown.append(f"{self.name}: {found} of {case}"[:1500])


def _count(name: str, cases: int, start: int, strategy: SearchStrategy[Any], sandbox: fuzzing.Sandbox) -> Count:
    count = Count(name)

    @seed(start)
    @settings(max_examples=cases, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def run(drawn: Any) -> None:
        case = drawn
        if not isinstance(drawn, fuzzing.Case):
            case, file, content = drawn
            sandbox.put(file, content)
        outcome = fuzzing.execute(case)
        count.add(case, outcome, fuzzing.problems(case, outcome) + sandbox.problems(case))

    run()
    return count


def counted(cases: int, start: int, tell: Callable[[str], None]) -> list[Count]:
    """Every command, records and other files, in a folder of their own, which is home too."""
    from snn_cli.cli.main import COMMANDS

    kinds: list[tuple[str, int, SearchStrategy[Any]]] = [
        (name, -(-cases // 3) if name == "train" else cases, fuzzing.command_lines(name)) for name in COMMANDS
    ]
    kinds += [("--params", cases, fuzzing.params_cases()), ("other files", cases, fuzzing.file_cases())]
    before, home = Path.cwd(), {name: os.environ.get(name) for name in ("HOME", "MPLCONFIGDIR")}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        try:
            os.environ.update(HOME=folder, MPLCONFIGDIR=cache)
            os.chdir(folder)
            sandbox = fuzzing.Sandbox(Path(folder))
            for name, content in fuzzing.beside_images().items():
                sandbox.put(name, content)
            found = []
            for name, number, strategy in kinds:
                begun = time.perf_counter()
                found.append(_count(name, number, start, strategy, sandbox))
                tell(f"{name}: {found[-1].cases} cases in {time.perf_counter() - begun:.0f} s")
            return found
        finally:
            os.chdir(before)
            for variable, value in home.items():
                if value is None:
                    os.environ.pop(variable, None)
                else:
                    os.environ[variable] = value


def table(counts: Sequence[Count]) -> Table:
    """A row a kind of case, and their sum."""
    columns = ("what", "cases", *(f"exit {code}" for code in (0, 1, 2, 3)), *fuzzing.KINDS, "slowest, CPU s")
    rows = [
        (
            each.name,
            each.cases,
            *(each.codes[code] for code in (0, 1, 2, 3)),
            *(each.problems[kind] for kind in fuzzing.KINDS),
            f"{each.slowest:.1f}",
        )
        for each in counts
    ]
    total = ("all", *(sum(int(row[i]) for row in rows) for i in range(1, len(columns) - 1)))
    return Table(
        "Command lines and files at random",
        "In one process, with warnings as errors. The columns after the exit codes count what must not be: an\n"
        "exception that was not foreseen, more than ten seconds of the processor, an exit code outside of the\n"
        "contract, a message in another form, a cut line, and a file written or changed unasked.",
        columns,
        [[str(cell) for cell in row] for row in [*rows, (*total, f"{max(each.slowest for each in counts):.1f}")]],
    )


WRITERS = {
    "solve --plot": ("solve --act lselu --epsilon 0.03 --force --plot", "figure.svg"),
    "export --output": ("export --act lselu --epsilon 0.03 --to numpy --force --output", "act.py"),
    "verify --save": ("verify --depth 20 --fanin 16 --trials 200 --batch 2 --save", "run.jsonl"),
    "train --checkpoint": (
        "train --depth 2 --width 8 --epochs 8 --seeds 2 --lr 0.01 --act lselu --metrics metrics.jsonl --checkpoint",
        "run.npz",
    ),
}
"""Commands that write, and the name of the file."""


def killed(kills: int, start: int, tell: Callable[[str], None]) -> tuple[Table, list[str]]:
    """Every command that writes, killed at random between its start and its end; then what is left is read."""
    rows, broken = [], []
    for name, (line, file) in WRITERS.items():
        with tempfile.TemporaryDirectory() as folder:
            count = faults.killed_at_random(line.split(), Path(folder) / file, kills, start)
        rows.append([name, str(kills), *(str(count[key]) for key in ("ended", "absent", "whole", "torn"))])
        broken += [f"{name}: {count['torn']} files are neither whole nor absent"] * bool(count["torn"])
        tell(f"{name}: {kills} kills")
    return (
        Table(
            "Killed at random",
            "SIGKILL between the start and the end of the process; then the file is read. `ended` are those that were\n"
            "done before.",
            ("command", "kills", "ended", "no file", "whole file", "torn file"),
            rows,
        ),
        broken,
    )


def moments() -> tuple[Table, list[str]]:
    """Killed at each call to the system, and in the middle of each piece written."""
    import subprocess

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "tests" / "faults.py"), folder]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found.pop("naive.txt")  # written in place, to show that the count can fail
    rows = [[name, str(each["moments"]), str(len(each["broken"]))] for name, each in found.items()]
    return (
        Table(
            "Killed at every moment of writing",
            "Afterwards it is the older file that was there, the new one, or none where none was.",
            ("file", "moments", "torn"),
            rows,
        ),
        [text for each in found.values() for text in each["broken"]],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser("fuzz", __doc__, quick=False)
    options.add_argument("--cases", type=int, default=1000, metavar="N", help="of each kind (1000)")
    options.add_argument("--kills", type=int, default=20, metavar="N", help="of each command that writes a file (20)")
    options.add_argument("--seed", type=int, default=0, metavar="N", help="which (0)")
    given = options.parse_args(arguments)
    if given.cases < 1 or given.kills < 0:
        options.error("--cases must be at least 1, and --kills at least 0")

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    where = machine()
    begun = time.perf_counter()
    counts = counted(given.cases, given.seed, tell)
    every, broken = moments()
    tables = [table(counts), every]
    if given.kills:
        at_random, torn = killed(given.kills, given.seed, tell)
        tables.append(at_random)
        broken += torn
    shown = [text for each in counts for text in each.shown] + broken
    end = f"Seed {given.seed}, {time.perf_counter() - begun:.0f} s." + "".join(f"\n- {text}" for text in shown)
    report(given.as_json, where, tables, end=end, problems=shown)
    return 1 if shown else 0


if __name__ == "__main__":
    sys.exit(main())
