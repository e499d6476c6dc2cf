"""Commands of a page, run as a reader would type them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 120  # seconds


class Done(NamedTuple):
    """What a command line printed, standard error among it where that was asked for, and how it ended."""

    code: int
    out: str
    err: str


def shell(command: str, directory: Path) -> Done:
    """Run a line in bash, ``snn`` and ``python`` being those of this interpreter; a pipe fails with its parts."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    environment = {**os.environ, "PATH": path, "PYTHONSAFEPATH": ""}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=LONGEST,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def lines(body: Iterable[str]) -> list[str]:
    """The command lines of a block; one that ends in a backslash goes on."""
    found: list[str] = []
    whole = True
    for line in body:
        if not line.strip():
            continue
        if whole:
            found.append(line)
        else:
            found[-1] += f"\n{line}"
        whole = not line.endswith("\\")
    return found
