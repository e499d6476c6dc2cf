"""What the benchmarks share: processes in turns, ratios, tables, targets, the machine, and one way to run and to print.

What is compared takes turns, and a ratio is the median over the turns, each measured against its neighbour, so that a
change in the load of the machine meets both. Nothing here passes or fails: the last table sets the measurements beside
their targets.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import mpmath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PACKAGES = ("click", "mpmath", "numpy", "scipy", "python-flint", "gmpy2")

PEAK = """\
import os, resource, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
status, usage = os.wait4(pid, 0)[1:]
assert not status, status
print(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


# Processes


@dataclass(frozen=True)
class Run:
    """One process: wall and processor time in seconds (None where the system does not tell), and what it printed."""

    wall: float
    cpu: float | None
    output: bytes


def run(command: Sequence[str], environment: dict[str, str]) -> Run:
    """Run a process to its end; RuntimeError where it fails."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        cpu = None
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu = usage.ru_utime + usage.ru_stime
        code = process.wait()
        wall = time.perf_counter() - start
    if code:
        raise RuntimeError(f"exit code {code} from: {' '.join(command)}")
    return Run(wall, cpu, output)


def peak(command: Sequence[str], env: dict[str, str]) -> float | None:
    """Peak memory of a process in MiB; None where the system does not tell.

    A process counts the memory of the one that started it as its own, so that has to be a small one.
    """
    if not (hasattr(os, "wait4") and hasattr(os, "posix_spawn")):
        return None
    return int(run(python("-I", "-S", "-c", PEAK, *command), env).output) / 2**20


def environment(threads: str) -> dict[str, str]:
    """The user's environment, with bytecode cached as after an installation, and one thread or as many as numpy likes.

    Loading numpy starts its linear algebra library's threads, which takes longer than one would think.
    """
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    drop = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", *limits)
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    return kept | (dict.fromkeys(limits, "1") if threads == "one" else {})


def snn(*arguments: str) -> list[str]:
    """The console script beside this Python, or else the module."""
    script = Path(sys.executable).with_name("snn.exe" if os.name == "nt" else "snn")
    return [*([str(script)] if script.exists() else [sys.executable, "-m", "snn_cli"]), *arguments]


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def rival(name: str, *arguments: str | int) -> list[str]:
    """A script of `rivals/`, for a Python to run."""
    return [str(Path(__file__).with_name("rivals") / f"{name}.py"), *map(str, arguments)]


# Packages that are rivals


class Missing(Exception):
    """The package cannot be had here; the message says why."""


class Rival(NamedTuple):
    """A package to compare with: its table, its name, its module, what pip is asked for, and the option that asks."""

    title: str
    name: str
    module: str
    requirements: tuple[str, ...]
    option: str


@contextmanager
def having(package: Rival, asked: bool) -> Iterator[list[str]]:
    """A Python that has the package: this one, or where that is asked for one in a temporary environment.

    Raises Missing.
    """
    if find_spec(package.module) is not None:
        yield python("-W", "ignore")
    elif not asked:
        raise Missing(f"not installed here; `{package.option}` installs it with pip in a temporary environment")
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield install(folder, package.requirements)


def install(folder: str, packages: Sequence[str]) -> list[str]:
    """A Python with these packages, in an environment of its own; raises Missing."""
    place = Path(folder, "environment")
    interpreter = str(place / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    steps = (
        [sys.executable, "-m", "venv", str(place)],
        [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise Missing(re.sub(r"\s+", " ", said[-1]) if said else f"exit code {done.returncode}")
    return [interpreter, "-W", "ignore"]


def skipped(package: Rival, reason: Exception) -> Table:
    """The table of a comparison that could not be made: the package by its name, and why."""
    return Table(
        f"{package.title}: skipped",
        f"Not compared with {package.name}.",
        ("package", "pip install", "reason"),
        [(package.name, " ".join(package.requirements), str(reason).replace("|", "/"))],
    )


# Turns


def in_turns(tasks: Sequence[Callable[[], Any]], turns: int, warm: int = 1) -> list[list[Any]]:
    """Results of each task over the turns. Every other turn goes backwards, so that no task always comes first."""
    results: list[list[Any]] = [[] for _ in tasks]
    for turn in range(-warm, turns):
        for i in range(len(tasks)) if turn % 2 else reversed(range(len(tasks))):
            result = tasks[i]()
            if turn >= 0:
                results[i].append(result)
    return results


def timed(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


class Process(NamedTuple):
    """A command over the turns: seconds of the clock, and of the processor where the system tells."""

    name: str
    wall: list[float]
    cpu: list[float]

    def row(self, base: Process) -> tuple[str, ...]:
        """Its name, milliseconds, and ratios to another."""
        return (
            self.name,
            milliseconds(self.wall),
            milliseconds(self.cpu) if self.cpu else "",
            against(self.wall, base.wall),
            against(self.cpu, base.cpu),
        )

    def data(self, threads: str) -> dict[str, Any]:
        return {"process": self.name.strip("`"), "threads": threads, "wall_s": self.wall, "cpu_s": self.cpu}


def processes(commands: dict[str, list[str]], turns: int, threads: str) -> list[Process]:
    """The commands, in turns."""
    env = environment(threads)
    found = in_turns([partial(run, command, env) for command in commands.values()], turns)
    return [
        Process(name, [r.wall for r in runs], optional([r.cpu for r in runs]))
        for name, runs in zip(commands, found, strict=True)
    ]


# On torch


def resolved(parser: argparse.ArgumentParser, *names: str) -> list[Any]:
    """The devices of torch by these names, or an error of the command line; then one thread for all that follows."""
    import torch

    from snn_cli.engine.device import resolve
    from snn_cli.errors import SnnError

    try:
        devices = [resolve(name) for name in names]
    except SnnError as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    return devices


def synchronize(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clocked(task: Callable[[], object], device: Any) -> float:
    """Seconds until the device is done with it."""
    synchronize(device)

    def whole() -> None:
        task()
        synchronize(device)

    return timed(whole)


def accelerator(device: Any) -> str:
    """A line about the device."""
    import torch

    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        tf32 = "TF32 allowed" if torch.backends.cuda.matmul.allow_tf32 else "no TF32"
        return f"- GPU: {found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, {tf32}"
    return f"- torch {torch.__version__} on the CPU, one thread"


# Numbers for people


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Turn by turn."""
    return [a / b for a, b in zip(over, under, strict=True)]


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Median, and the range where there is one."""
    middle, low, high = (form.format(x) for x in (median(values), min(values), max(values)))
    return middle if len(values) < 2 else f"{middle} ({low} to {high})"


def against(values: Sequence[float], base: Sequence[float], form: str = "{:.2f}") -> str:
    """Ratio to the base, which itself is 1; nothing where nothing is known."""
    return "1" if values is base else spread(ratios(values, base), form) if values else ""


def medians(turns: int) -> str:
    return "One turn" if turns == 1 else f"Medians of {turns} turns"


def milliseconds(values: Sequence[float]) -> str:
    x = 1e3 * median(values)
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def mebibytes(values: Sequence[float | None]) -> str:
    known = optional(values)
    return f"{median(known):.0f}" if known else ""


def optional(values: Sequence[float | None]) -> list[float]:
    return [x for x in values if x is not None]


# Tables and targets


@dataclass
class Table:
    """Rows of text under a heading; ``data`` holds the same measurements as numbers."""

    title: str
    text: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    data: list[dict[str, Any]] = field(default_factory=list)

    def markdown(self, level: int = 2) -> str:
        lines = [" | ".join(row) for row in (self.columns, ["---"] * len(self.columns), *self.rows)]
        return "\n".join([f"{'#' * level} {self.title}", "", self.text, "", *(f"| {line} |" for line in lines)])


@dataclass(frozen=True)
class Target:
    """A claim, what was measured and whether that is enough."""

    claim: str
    target: str
    measured: str
    met: bool


def at_most(claim: str, limit: float, values: Sequence[float], form: str = "{:.2f}", each: bool = False) -> Target:
    """Met by the median, or where they are different cases by each."""
    reached = [x <= limit for x in values]
    met = all(reached) if each else median(values) <= limit
    return Target(claim, f"at most {limit:g}", spread(values, form) + _count(reached) * each, met)


def at_least(claim: str, limit: float, values: Sequence[float], form: str = "{:.2f}", each: bool = False) -> Target:
    """As ``at_most``, on the other side."""
    reached = [x >= limit for x in values]
    met = all(reached) if each else median(values) >= limit
    return Target(claim, f"at least {limit:g}", spread(values, form) + _count(reached) * each, met)


def _count(reached: Sequence[bool]) -> str:
    return f", {sum(reached)} of {len(reached)}"


def verdicts(targets: Sequence[Target]) -> Table:
    return Table(
        "Targets",
        "Computed from the tables. A measurement over several cases is their median and range, then how many of\n"
        "them reach the target; it is met when all do.",
        ("claim", "target", "measured", "met"),
        [(t.claim, t.target, t.measured, "yes" if t.met else "no") for t in targets],
        [asdict(t) for t in targets],
    )


# The report


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    from snn_cli import __version__

    packages = {"snn-cli": __version__}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = models[0] if models else model
    return {
        "date": date.today().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": packages,
        "mpmath_backend": mpmath.libmp.BACKEND,
    }


def header(found: dict[str, Any]) -> str:
    """The machine as a list, with the lines about its accelerators where there are such."""
    load = "" if found["load"] is None else f", load {found['load']} at the start"
    return "\n".join(
        [
            f"- date: {found['date']}",
            f"- machine: {found['processor']}, {found['cores']} cores, {found['system']}{load}",
            f"- Python {found['python']}; " + ", ".join(f"{name} {v}" for name, v in found["packages"].items()),
            f"- mpmath computes with: {found['mpmath_backend']}",
            *found.get("accelerator", ()),
        ]
    )


def parser(
    name: str, doc: str | None, *, quick: bool = True, threads: str = "", device: str = ""
) -> argparse.ArgumentParser:
    """``--quick`` and ``--json``; with words of help also ``--threads``, and with a default ``--device``."""
    arguments = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=(doc or "").splitlines()[0])
    if quick:
        arguments.add_argument("--quick", action="store_true", help="a small run: few cases and turns, wide ranges")
    arguments.add_argument("--json", action="store_true", dest="as_json", help="print JSON, with every measurement")
    if threads:
        arguments.add_argument("--threads", choices=("one", "default"), default="one", help=threads)
    if device:
        arguments.add_argument("--device", default=device, help=f"cpu, cuda or cuda:1 ({device})")
    return arguments


def some(arguments: argparse.ArgumentParser, only: str | None, names: Sequence[str]) -> list[str]:
    """What ``--only`` chooses, all where it is not given; an error of the command line where there is no such part."""
    chosen = only.split(",") if only else list(names)
    if unknown := set(chosen) - set(names):
        arguments.error(f"--only takes {', '.join(names)}, not {', '.join(sorted(unknown))}")
    return chosen


def report(
    as_json: bool,
    where: dict[str, Any],
    tables: Sequence[Table],
    lines: Sequence[str] = (),
    end: str = "",
    **more: Any,
) -> None:
    """Print it: as text with ``end`` below, or as JSON with what is ``more``; ``lines`` are of the accelerators."""
    if lines:
        where = {**where, "accelerator": list(lines)}
    if as_json:
        print(json.dumps({"machine": where, **more, "tables": [asdict(t) for t in tables]}, indent=2))
    else:
        print("\n\n".join([header(where), *(t.markdown() for t in tables), *([end] if end else [])]))
