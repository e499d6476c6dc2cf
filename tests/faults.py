"""A process killed at every moment of writing a file: each call to the system, and the middle of each piece written.

``python tests/faults.py FOLDER`` does so for every file that the package writes whole, and prints what was found as
JSON: how many moments there were, and what was left behind that is neither the old file, nor the new one, nor nothing.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OLD = b"mine\n"


class Moments:
    """Counts calls that change a file, and kills this process at one of them, when the half of it is done."""

    def __init__(self, fatal: int | None) -> None:
        self.count = 0
        self._fatal = fatal

    def passed(self, half: Callable[[], Any] = lambda: None) -> None:
        self.count += 1
        if self.count == self._fatal:
            half()
            os.kill(os.getpid(), signal.SIGKILL)

    def opened(self, path: Any, mode: str = "r", **options: Any) -> Any:
        """``open`` whose file writes every piece at once."""
        if not set(mode) & set("wxa"):
            return builtins.open(path, mode, **options)
        self.passed()
        moments = self

        class Watched(io.FileIO):
            def write(self, data: Any) -> int:
                whole = bytes(data)
                moments.passed(lambda: super(Watched, self).write(whole[: len(whole) // 2]))
                return super().write(whole)

        raw = Watched(path, mode.replace("b", ""))
        return raw if "b" in mode else io.TextIOWrapper(raw, encoding=options.get("encoding"), write_through=True)

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.passed()
            return function(*args, **kwargs)

        return call


def watched(write: Callable[[], Any], fatal: int | None) -> int:
    """Write, and count the moments at which it could have been killed."""
    from snn_cli import files

    moments = Moments(fatal)
    calls = {name: moments.before(getattr(os, name)) for name in ("replace", "link", "remove", "chmod", "fsync")}
    with mock.patch.object(files, "open", moments.opened, create=True), mock.patch.multiple(os, **calls):
        write()
    return moments.count


def _in_a_child(write: Callable[[], Any], fatal: int) -> bool:
    """Whether it was killed there."""
    child = os.fork()
    if not child:
        try:
            watched(write, fatal)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def killed_everywhere(write: Callable[[], Any], path: Path, same: Callable[[bytes, bytes], bool]) -> dict[str, Any]:
    """Kill it at each moment, over an older file; the two that can begin one, without it too."""
    moments, broken = 0, []
    for old in {"first.svg": (None,), "act.h": (OLD, None)}.get(path.name, (OLD,)):
        for fatal in range(1, 1000):
            for left in path.parent.iterdir():
                left.unlink()
            if old is not None:
                path.write_bytes(old)
            if not _in_a_child(write, fatal):
                break
            moments += 1
            found = path.read_bytes() if path.exists() else None
            if found != old and not (found is not None and same(found, NEW[path.name])):
                broken.append(f"{path.name} at {fatal}: {found!r:.60}")
            broken += [each.name for each in path.parent.iterdir() if each != path and not _is_temporary(each.name)]
    return {"moments": moments, "broken": broken}


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


NEW: dict[str, bytes] = {}
"""What the file is when nobody is killed."""


class Drawn:
    """A figure that is drawn in three pieces, without matplotlib."""

    def savefig(self, stream: Any, **_: Any) -> None:
        for piece in (b"<svg>", b"<path/>" * 99, b"</svg>\n"):
            stream.write(piece)


def _command(*args: str) -> None:
    from snn_cli.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert main(args) == 0, err.getvalue()


def writers(folder: Path) -> dict[str, Callable[[], Any]]:
    """By the name of the file: every way to write one, and a wrong one, which must be found out."""
    import numpy as np

    from snn_cli import files
    from snn_cli.engine.measure import Trials
    from snn_cli.reports import plot
    from snn_cli.training.journal import Journal
    from snn_cli.training.loop import State
    from snn_cli.verification import saved

    trials = Trials.empty(2, False)
    trials = trials._replace(
        number=np.arange(3),
        **{name: np.ones((3, 3)) for name in saved.KEPT},
        mean=np.zeros((3, 0)),
    )
    state = State({"weights": np.arange(20.0)}, (), 0.0, 0.0)

    def checkpoint() -> None:
        Journal(str(folder / "run.npz"), {"act": "lselu"}).stands("lselu-0", state)

    def naive() -> None:
        with files.open(folder / "naive.txt", "w", encoding="utf-8") as file:  # type: ignore[attr-defined]
            file.write("all of it\n")

    return {
        "naive.txt": naive,
        "act.h": lambda: _command("export", "--to", "c", "--act", "selu", "--force", "-o", str(folder / "act.h")),
        "figure.svg": lambda: plot._save(Drawn(), str(folder / "figure.svg"), "svg", force=True),
        "first.svg": lambda: plot._save(Drawn(), str(folder / "first.svg"), "svg", force=False),
        "run.jsonl": lambda: saved.write(str(folder / "run.jsonl"), {"act": "lselu"}, trials),
        "run.npz": checkpoint,
    }


def killed_at_random(argv: Sequence[str], path: Path, kills: int, start: int) -> dict[str, int]:
    """Of that many processes of ``snn ARGV PATH``, each killed at a random moment: how many had ended before, and how
    many files were absent, whole and torn."""
    random = Random(start)
    command = [sys.executable, "-m", "snn_cli", *argv, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet: dict[str, Any] = {"cwd": path.parent, "env": environment, "stdout": subprocess.DEVNULL}
    begun = time.perf_counter()
    subprocess.run(command, check=True, **quiet)
    usual = time.perf_counter() - begun
    count = dict.fromkeys(("ended", "absent", "whole", "torn"), 0)
    for _ in range(kills):
        for left in path.parent.iterdir():
            left.unlink()
        process = subprocess.Popen(command, **quiet)
        try:
            process.wait(usual * (0.3 + 0.7 * random.random()))
            count["ended"] += 1
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        count["absent" if not path.exists() else "whole" if _whole(path) else "torn"] += 1
    return count


def _whole(path: Path) -> bool:
    import numpy as np

    data = path.read_bytes()
    try:
        if path.suffix == ".npz":
            return bool(json.loads(bytes(np.load(io.BytesIO(data))["meta"]).decode()))
        if path.suffix == ".jsonl":
            first, *rest = (json.loads(line) for line in data.decode().splitlines())
            return bool(first["count"] == len(rest))
        if path.suffix == ".py":
            return bool(compile(data, path.name, "exec"))
        return data.rstrip().endswith(b"</svg>")
    except (ValueError, KeyError, SyntaxError, OSError, zipfile.BadZipFile):
        return False


def _same(name: str) -> Callable[[bytes, bytes], bool]:
    if name != "run.npz":
        return lambda found, new: found == new

    def arrays(found: bytes, new: bytes) -> bool:  # a zip archive holds the time
        import numpy as np

        def read(data: bytes) -> dict[str, bytes]:
            return {name: array.tobytes() for name, array in np.load(io.BytesIO(data)).items()}

        return read(found) == read(new)

    return arrays


def main(folder: Path) -> None:
    found = {}
    for name, write in writers(folder).items():
        for left in folder.iterdir():
            left.unlink()
        watched(write, None)
        NEW[name] = (folder / name).read_bytes()
        found[name] = killed_everywhere(write, folder / name, _same(name))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
