"""Every benchmark in one command, and its tables into ``benchmarks/RESULTS.md``.

Usage: python -m benchmarks [--full] [--only solve,simulate,...] [--output FILE] [--print]

Run it with the Python in whose environment the project is installed, with the extras ``all`` and ``test``. The sizes
without ``--full`` fit two cores and ten minutes, and their ratios have wide ranges; a full run takes more than an hour,
three quarters of it training. Each benchmark is a process of its own, one after another. In the file each has a
section: what stands between its heading and its command is kept, all below is made again; sections that were not asked
for stay as they are, and the list of what misses its target, on top, is made from all.
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

from benchmarks.solve import header

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).with_name("RESULTS.md")


class Section(NamedTuple):
    """A heading, and the arguments of the module of that name for a short run and a full one."""

    heading: str
    short: tuple[str, ...] = ("--quick",)
    full: tuple[str, ...] = ()
    needs: str | None = None


SECTIONS = {
    "solve": Section("`snn solve`"),
    "wrap": Section("`snn solve` of any activation", ("--quick", "--shaping"), ("--shaping",)),
    "simulate": Section("`snn simulate`"),
    "analyze": Section("`snn analyze`"),
    "verify": Section("`snn verify`", needs="torch"),
    "calibration": Section("The verdict of `snn verify`", ("--configurations", "60"), needs="torch"),
    "models": Section("`snn verify --model`", needs="torch"),
    "layers": Section("`snn_cli.nn`", needs="torch"),
    "fuzz": Section("How hard it is to break", ("--cases", "40", "--kills", "2"), needs="torch"),
    "training": Section("`snn train`", needs="torch"),
}

MISSED = "Behind a rival or a target, in the runs below"
ACHIEVED = "Nothing is behind a rival or its target in the runs below."


def measure(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What the benchmark says as JSON; RuntimeError where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json"], stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise RuntimeError(f"benchmarks.{name} ended with the exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rendered(name: str, arguments: Sequence[str], found: dict[str, Any]) -> str:
    """The part of a section that is made: its command, the machine, the tables."""
    command = " ".join(["python -m", f"benchmarks.{name}", *arguments])
    machine = dict(found["machine"])
    accelerator = machine.pop("accelerator", None)
    lines = [header(machine)]
    if accelerator:
        lines += [accelerator] if isinstance(accelerator, str) else accelerator
    tables = [_table(table) for table in found["tables"]]
    return "\n\n".join([f"    {command}", "\n".join(lines), *tables])


def _table(table: dict[str, Any]) -> str:
    columns, rows = table["columns"], table["rows"]
    lines = [" | ".join(row) for row in (columns, ["---"] * len(columns), *rows)]
    return "\n".join([f"### {table['title']}", "", table["text"], "", *(f"| {line} |" for line in lines)])


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
    parser.add_argument("--full", action="store_true", help="the sizes that stand in the repository")
    parser.add_argument("--only", help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the file to rewrite (benchmarks/RESULTS.md)")
    parser.add_argument("--print", action="store_true", dest="shown", help="print the sections, rewrite nothing")
    given = parser.parse_args(arguments)
    chosen = given.only.split(",") if given.only else list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"--only takes {', '.join(SECTIONS)}, not {', '.join(sorted(unknown))}")

    top, sections = split(given.output.read_text() if given.output.exists() else "# Benchmarks\n")
    order = [section.heading for section in SECTIONS.values()]
    failed = []
    for name in chosen:
        section = SECTIONS[name]
        if section.needs and find_spec(section.needs) is None:
            print(f"{name}: left out, {section.needs} is not installed", file=sys.stderr)
            continue
        start = time.perf_counter()
        options = section.full if given.full else section.short
        try:
            made = rendered(name, options, measure(name, options))
        except RuntimeError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed.append(name)
            continue
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        if given.shown:
            print(f"## {section.heading}\n\n{made}\n")
            continue
        sections[section.heading] = "\n\n".join(
            part for part in (notes(sections.get(section.heading, "")), made) if part
        )
        ordered = sorted(sections, key=lambda heading: order.index(heading) if heading in order else len(order))
        _write(given.output, assembled(top, {heading: sections[heading] for heading in ordered}))
    return 1 if failed else 0


def _write(path: Path, text: str) -> None:
    """Beside it, then renamed: the file is whole at every moment."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    os.replace(beside, path)


if __name__ == "__main__":
    sys.exit(main())
