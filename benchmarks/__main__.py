"""Every benchmark in one command, and its tables into a file.

Usage: python -m benchmarks [--full] [--only solve,simulate,...] [--output FILE] [--print]

Run it with the Python in whose environment the project is installed, with the extras ``all`` and ``test``. Each
benchmark is a process of its own, one after another. Without ``--full`` the sizes fit two cores and ten minutes, their
ratios have wide ranges, nothing is loaded from the network, and the tables go to ``benchmarks/RESULTS.md``. A full run
takes hours, most of them training, installs the packages that it compares with in temporary environments, and its
tables go to ``benchmarks/FULL.md``, which a short run leaves as it is unless it is named with ``--output``.

In the file each benchmark has a section: what stands between its heading and its command is kept, all below is made
again; sections that were not asked for stay as they are, and the list on top, of what misses its target or is behind a
rival, is made from all. A benchmark that fails leaves its section as it was, the others go on, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.common import Table, header, some

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS, FULL = (Path(__file__).with_name(name) for name in ("RESULTS.md", "FULL.md"))
NEW = """# Benchmarks

Made by `python -m benchmarks` in ten minutes of two cores, so that ranges are wide. [FULL.md](FULL.md) has the same
tables of a full run, and says how to read them.
"""
"""What a file begins with that was not there."""


class Section(NamedTuple):
    """A heading, and the arguments of the module of that name for a short run and a full one."""

    heading: str
    short: tuple[str, ...] = ("--quick",)
    full: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


FUZZED = ("torch", "hypothesis", "matplotlib", "safetensors", "sklearn", "PIL")
SECTIONS = {
    "solve": Section("`snn solve`"),
    "wrap": Section("`snn solve` of any activation", full=("--shaping",)),
    "simulate": Section("`snn simulate`", full=("--neural-tangents",)),
    "analyze": Section("`snn analyze`"),
    "verify": Section("`snn verify`", needs=("torch",)),
    "calibration": Section("The verdict of `snn verify`", ("--configurations", "120"), needs=("torch",)),
    "models": Section("`snn verify --model`", needs=("torch",)),
    "layers": Section("`snn_cli.nn`", needs=("torch",)),
    "fuzz": Section("How hard it is to break", ("--cases", "40", "--kills", "2"), needs=FUZZED),
    "training": Section("`snn train`", needs=("torch", "sklearn")),
}

MISSED = "Behind a rival or a target, in the runs below"
ACHIEVED = "Nothing is behind a rival or its target in the runs below."


def measure(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What the benchmark says as JSON; RuntimeError where it fails.

    One that finds problems ends with 1, and has them in what it says.
    """
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout and done.returncode in (0, 1) else {}
    if done.returncode != (1 if found.get("problems") else 0):
        raise RuntimeError(f"benchmarks.{name} ended with the exit code {done.returncode}")
    return found


def rendered(name: str, arguments: Sequence[str], found: dict[str, Any]) -> str:
    """The part of a section that is made: its command, the machine, the tables."""
    command = " ".join(["python -m", f"benchmarks.{name}", *arguments])
    tables = [Table(**table).markdown(3) for table in found["tables"]]
    return "\n\n".join([f"    {command}", header(found["machine"]), *tables])


def split(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the first section, and the sections by heading, in order."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return parts[0], {heading: body.strip("\n") for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def notes(body: str) -> str:
    """What a person wrote in a section: all above its first command."""
    return re.split(r"^    python -m ", body, maxsplit=1, flags=re.MULTILINE)[0].strip("\n")


def missed(sections: dict[str, str]) -> list[str]:
    """A line for each target that is not met, in the order of the sections."""
    found = []
    for heading, body in sections.items():
        for claim, target, measured in re.findall(r"^\| (.+) \| (.+) \| (.+) \| no \|$", body, re.MULTILINE):
            found.append(f"- {heading}: {claim}: {measured}; wanted {target}.")
    return found


def assembled(top: str, sections: dict[str, str]) -> str:
    """The file: its title and first words as they are, what is missed, the sections."""
    words = re.split(rf"^(?:{MISSED}:|{re.escape(ACHIEVED)})$", top, maxsplit=1, flags=re.MULTILINE)
    title, _, rest = words[0].strip("\n").partition("\n")
    behind = missed(sections)
    summary = "\n".join([f"{MISSED}:", "", *behind]) if behind else ACHIEVED
    kept = re.sub(r"^(?:- .+\n?|\n)+", "", words[1]).strip("\n") if len(words) > 1 else rest.strip("\n")
    parts = [title, summary, kept, *(f"## {heading}\n\n{body}" for heading, body in sections.items())]
    return "\n\n".join(part for part in parts if part) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the sizes of FULL.md, hours")
    parser.add_argument("--only", help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--output", type=Path, help="the file to rewrite (benchmarks/RESULTS.md; of --full FULL.md)")
    parser.add_argument("--print", action="store_true", dest="shown", help="print the sections, rewrite nothing")
    given = parser.parse_args(arguments)
    chosen = some(parser, given.only, list(SECTIONS))
    output = given.output or (FULL if given.full else RESULTS)

    start, good = time.perf_counter(), True
    for name in chosen:
        made, fine = attempted(name, given.full)
        good = good and fine
        if made and given.shown:
            print(f"## {SECTIONS[name].heading}\n\n{made}\n")
        elif made:
            rewrite(output, SECTIONS[name].heading, made)
    _tell(f"{time.perf_counter() - start:.0f} s in all{'' if given.shown else f', into {output}'}")
    return 0 if good else 1


def attempted(name: str, full: bool) -> tuple[str, bool]:
    """The section, nothing where there is none, and whether all is as it should be; standard error says what is not."""
    section = SECTIONS[name]
    if missing := [module for module in section.needs if find_spec(module) is None]:
        _tell(f"{name}: left out, {' and '.join(missing)} not installed")
        return "", True
    start = time.perf_counter()
    options = section.full if full else section.short
    try:
        found = measure(name, options)
    except (RuntimeError, ValueError) as error:
        _tell(f"{name}: {error}")
        return "", False
    problems = found.get("problems", [])
    _tell("\n".join([f"{name}: {time.perf_counter() - start:.0f} s", *(f"{name}: {each}" for each in problems)]))
    return rendered(name, options, found), not problems


def rewrite(path: Path, heading: str, made: str) -> None:
    """Put a section into the file: in its place among the others, below what a person wrote in it."""
    top, sections = split(path.read_text(encoding="utf-8") if path.exists() else NEW)
    sections[heading] = "\n\n".join(part for part in (notes(sections.get(heading, "")), made) if part)
    order = [section.heading for section in SECTIONS.values()]
    ordered = sorted(sections, key=lambda each: order.index(each) if each in order else len(order))
    _write(path, assembled(top, {each: sections[each] for each in ordered}))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write(path: Path, text: str) -> None:
    """Beside it, then renamed: the file is whole at every moment."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


if __name__ == "__main__":
    sys.exit(main())
