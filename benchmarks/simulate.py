"""Speed and accuracy of ``snn simulate``: ratios measured side by side in one run, printed as Markdown tables.

Usage: python -m benchmarks.simulate [--quick] [--neural-tangents [--deep]] [--json]

Run it with the Python in whose environment the project is installed. A full run takes about four minutes, a quick one
one minute; ``--neural-tangents`` adds five minutes and a large download, ``--deep`` another half an hour.
Processes that are compared take turns, and a ratio is the median over the turns, each measured against its neighbour,
so that a change in the load of the machine meets both. Nothing here passes or fails: the last table sets the
measurements beside their targets.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import mpmath

from benchmarks.solve import (
    Run,
    Table,
    Target,
    _medians,
    environment,
    header,
    in_turns,
    machine,
    milliseconds,
    optional,
    python,
    ratios,
    run,
    spread,
    timed,
    verdicts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DIGITS = 30
"""Digits of the reference."""

Q0 = "2"
"""Second moment of the inputs where accuracy is measured: q moves through many layers before it settles."""

EXPECTED = {200: "13.2503659641590747", 10_000: "690.719679361982854"}
"""Logarithm of the product of chi for SELU from q = 2, by depth; ``reference`` has to reproduce all the digits."""

STARTUP_TARGET, DEPTH_TARGET, GRID_TARGET, ACCURACY_TARGET = 1.3, 4, 100, 1e-12
SHALLOW, DEEP, UNSETTLED = 100, 1_000_000, 10_000
POINTS = (100, 300)
TANGENT_POINTS = (25, 100)
TANGENTS = ("jax==0.4.30", "jaxlib==0.4.30", "neural-tangents", "numpy<2", "scipy<1.14")

PEAK = """\
import os, resource, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
status, usage = os.wait4(pid, 0)[1:]
assert not status, status
print(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


# Processes


def snn(*arguments: str) -> list[str]:
    """The console script beside this Python, or else the module."""
    script = Path(sys.executable).with_name("snn.exe" if os.name == "nt" else "snn")
    return [*([str(script)] if script.exists() else [sys.executable, "-m", "snn_cli"]), "simulate", *arguments]


def wall_of(command: Sequence[str], env: dict[str, str]) -> float:
    return run(command, env).wall


def rival(name: str, *arguments: str | int) -> list[str]:
    return [str(Path(__file__).with_name("rivals") / f"{name}.py"), *map(str, arguments)]


def peak(command: Sequence[str], env: dict[str, str]) -> float | None:
    """Peak memory of a process in MiB; None where the system does not tell.

    A process counts the memory of the one that started it as its own, so that has to be a small one.
    """
    if not (hasattr(os, "wait4") and hasattr(os, "posix_spawn")):
        return None
    return int(run(python("-I", "-S", "-c", PEAK, *command), env).output) / 2**20


def mebibytes(values: Sequence[float | None]) -> str:
    known = optional(values)
    return f"{median(known):.0f}" if known else ""


def record(done: Run) -> Any:
    """The only record that a process printed."""
    (line,) = done.output.splitlines()
    return json.loads(line)


def fresh() -> None:
    """Forget what earlier calls computed, so that the next one costs what the first does."""
    from snn_cli.simulation import infinite, source

    for cached in (source.solved, infinite.mean_field, infinite.unit_fluctuations, infinite.angles):
        cached.cache_clear()


def _against_first(values: Sequence[float], first: Sequence[float], form: str = "{:.2f}") -> str:
    return "1" if values is first else spread(ratios(values, first), form) if values else ""


# The start of the process, and depth


def startup(turns: int, quick: bool) -> tuple[Table, list[Target]]:
    """The whole process at depth 200 against its imports, as the environment is and with one thread."""
    loading = "import click, numpy, scipy.special"
    plain = ("--depth", "200", "--no-profile", "--json")
    commands = {
        f'`python -c "{loading}"`': python("-c", loading),
        "`snn simulate --depth 200 --no-profile --json`": snn(*plain),
        "`snn simulate --act selu --depth 200 --no-profile --json`": snn("--act", "selu", *plain),
        "`snn simulate --fanin 1024 --depth 200 --no-profile --json`": snn("--fanin", "1024", *plain),
        "`snn simulate --depth 200 --json`": snn("--depth", "200", "--json"),
        '`python -c "import click, numpy"`': python("-c", "import click, numpy"),
        '`python -c "pass"`': python("-c", "pass"),
    }
    if quick:
        commands = dict(list(commands.items())[:3])
    table = Table(
        "Start of the process",
        f"{_medians(turns)}. The ratio is to loading click, numpy and scipy.special, with its range over the turns.\n"
        "Without `--act` there are four records: selu, lselu, sselu and relu, each solved first. Memory is the peak.",
        ("process", "threads", "wall ms", "CPU ms", "wall ratio", "CPU ratio", "MiB"),
    )
    targets = []
    for threads in ("default", "one"):
        env = environment(threads)
        found = in_turns([partial(run, c, env) for c in commands.values()], turns)
        memory = in_turns([partial(peak, c, env) for c in commands.values()], 1, 0)
        walls = [[r.wall for r in runs] for runs in found]
        cpus = [optional([r.cpu for r in runs]) for runs in found]
        for name, wall, cpu, most in zip(commands, walls, cpus, memory, strict=True):
            table.rows.append(
                (
                    name,
                    threads,
                    milliseconds(wall),
                    milliseconds(cpu) if cpu else "",
                    _against_first(wall, walls[0]),
                    _against_first(cpu, cpus[0]),
                    mebibytes(most),
                )
            )
            table.data.append(
                {"process": name.strip("`"), "threads": threads, "wall_s": wall, "cpu_s": cpu, "peak_mib": most}
            )
        for kind, times in (("wall", walls), ("CPU", cpus)):
            if times[0]:
                ratio = median(ratios(times[1], times[0]))
                targets.append(
                    Target(
                        f"`snn simulate --depth 200` as a process against `{loading}`, {kind}, threads: {threads}",
                        f"at most {STARTUP_TARGET}",
                        f"{ratio:.2f}",
                        ratio <= STARTUP_TARGET,
                    )
                )
    return table, targets


def depth(turns: int, threads: str) -> tuple[Table, list[Target]]:
    """A million layers against a hundred."""
    env = environment(threads)
    cases: dict[str, tuple[tuple[str, ...], int]] = {
        "none: the default activations": ((), DEEP),
        "`--fanin 1024`": (("--fanin", "1024"), DEEP),
        "`--act selu --q0 2`": (("--act", "selu", "--q0", Q0), DEEP),
        "`--act relu --sigma-w he --fanin 1024`": (("--act", "relu", "--sigma-w", "he", "--fanin", "1024"), DEEP),
        "`--act tanh`": (("--act", "tanh"), UNSETTLED),
    }
    table = Table(
        f"Depth {DEEP:,} against {SHALLOW}",
        f"The whole process `snn simulate --depth DEPTH --no-profile --json` with these options, threads: {threads}.\n"
        f"{_medians(turns)}, peak memory of up to 3. Tanh with unit weights never settles, its second moment falls as\n"
        f"one over the depth, so every layer has to be computed; it is shown at depth {UNSETTLED:,} only.",
        ("options", f"{SHALLOW}, ms", "depth", "ms", "ratio", f"{SHALLOW}, MiB", "MiB"),
    )
    targets = []
    for name, (options, deep) in cases.items():
        commands = [snn(*options, "--depth", str(d), "--no-profile", "--json") for d in (SHALLOW, deep)]
        few, many = in_turns([partial(wall_of, c, env) for c in commands], turns)
        small, large = in_turns([partial(peak, c, env) for c in commands], min(turns, 3), 0)
        table.rows.append(
            (
                name,
                milliseconds(few),
                f"{deep:,}",
                milliseconds(many),
                spread(ratios(many, few)),
                mebibytes(small),
                mebibytes(large),
            )
        )
        table.data.append(
            {"options": options, "depths": (SHALLOW, deep), "wall_s": [few, many], "peak_mib": [small, large]}
        )
        if options:
            continue
        ratio = median(ratios(many, few))
        claim = f"depth {DEEP:,} against {SHALLOW} as processes, default activations"
        targets.append(Target(claim, f"at most {DEPTH_TARGET}", f"{ratio:.2f}", ratio <= DEPTH_TARGET))
        if optional(small):
            more = median(optional(large)) / median(optional(small))
            targets.append(Target("the same, peak memory", "at most 1.1", f"{more:.2f}", more <= 1.1))
    return table, targets


# A grid


def grid(side: int, processes: int, calls: int, turns: int, threads: str) -> tuple[Table, list[Target]]:
    """One process against a process, or a call that has nothing cached, for every cell of the grid."""
    from snn_cli import simulate

    env = environment(threads)
    fixed = ("--depth", "200", "--no-profile", "--json")
    whole = snn("--act", "lselu", "--epsilon", f"0.001:0.1:{side}:log", "--fanin", f"64:65536:{side}:log", *fixed)
    lines = run(whole, env).output.splitlines()
    cells = len(lines)
    differ = 0

    def sample(size: int, turn: int) -> list[bytes]:
        """Lines spread evenly over the grid, others each turn."""
        return [lines[int((i + (turn + 0.5) / turns) * cells / size)] for i in range(size)]

    def setting(line: bytes) -> tuple[str, str]:
        known = json.loads(line)
        return repr(known["epsilon"]), str(known["fan_in"])

    def alone(turn: int) -> tuple[float, float | None]:
        nonlocal differ
        wall, cpu = 0.0, 0.0
        for line in sample(processes, turn):
            epsilon, fan_in = setting(line)
            done = run(snn("--act", "lselu", "--epsilon", epsilon, "--fanin", fan_in, *fixed), env)
            differ += done.output.strip() != line.strip()
            wall += done.wall
            cpu += done.cpu or 0.0
        return wall / processes, cpu / processes or None

    def called(turn: int) -> float:
        seconds = 0.0
        for line in sample(calls, turn):
            epsilon, fan_in = setting(line)
            fresh()
            seconds += timed(partial(simulate, "lselu", epsilon, depth=200, fanin=fan_in, profile=False))
        return seconds / calls

    called(0)
    together: list[Any] = []
    single: list[Any] = []
    inside: list[Any] = []
    for turn in range(turns):
        # the three are neighbours in time, and every other turn goes backwards
        steps = (
            (together, partial(run, whole, env)),
            (single, partial(alone, turn)),
            (inside, partial(called, turn)),
        )
        for results, step in steps if turn % 2 else reversed(steps):
            results.append(step())
    walls = [done.wall for done in together]
    process_walls, call_walls = [cells * wall for wall, _ in single], [cells * seconds for seconds in inside]
    times = {
        f"{cells:,} processes, from a sample of {processes}": process_walls,
        f"{cells:,} calls of `simulate`, nothing cached, from a sample of {calls}": call_walls,
    }
    table = Table(
        f"A grid of {side} epsilons and {side} fan-ins",
        f"`snn {' '.join(whole[whole.index('simulate') :])}`, threads: {threads}.\n"
        f"{_medians(turns)}. The other times are extrapolated: the mean of a sample spread over the grid, another one\n"
        f"each turn, times {cells:,}. Of {turns * processes} single records {differ or 'none'} differed from those of "
        "the grid, byte by byte.",
        ("way", "s", "ms a record", "times longer", "MiB"),
    )
    most = peak(whole, env)
    table.rows.append(
        ("one process", f"{median(walls):.2f}", milliseconds([t / cells for t in walls]), "1", mebibytes([most]))
    )
    table.data.append(
        {
            "cells": cells,
            "wall_s": walls,
            "cpu_s": [done.cpu for done in together],
            "peak_mib": most,
            "process_s": [wall for wall, _ in single],
            "process_cpu_s": [cpu for _, cpu in single],
            "call_s": inside,
            "differ": differ,
        }
    )
    targets = []
    for name, longer in times.items():
        ratio = ratios(longer, walls)
        table.rows.append(
            (name, f"{median(longer):.0f}", milliseconds([t / cells for t in longer]), spread(ratio, "{:.0f}"), "")
        )
        targets.append(
            Target(
                f"a grid in one process, times faster than {name}",
                f"at least {GRID_TARGET}",
                f"{median(ratio):.0f}",
                median(ratio) >= GRID_TARGET,
            )
        )
    return table, targets


# Accuracy


class Exact(NamedTuple):
    """Of a SELU network from q = 2: log of the product of chi, and the neural tangent kernel."""

    log_growth: mpmath.mpf
    kernel: mpmath.mpf


def reference(layers: int, q0: str = Q0) -> Exact:
    """Both to 30 digits, by ways that the program does not use.

    Closed forms with ``T(s) = exp(s^2 / 2) Phi(-s)``, parameters from the two conditions that define SELU; quadrature
    split at the kink confirms them at several q. Layers are followed one by one until q is 1 to all digits; the rest
    are alike.

    The kernel is the sum over the layers ``l = 0 ... L`` of ``q[l] chi[l] ... chi[L-1]``: what the weights in front of
    ``x[l]`` contribute.
    """
    with mpmath.workdps(DIGITS + 15):

        def tail(s: mpmath.mpf) -> mpmath.mpf:
            return mpmath.exp(s * s / 2) * mpmath.erfc(s / mpmath.sqrt(2)) / 2

        one = mpmath.mpf(1)
        # E[f] = 0 and E[f^2] = 1 at q = 1
        alpha = mpmath.npdf(0) / (one / 2 - tail(one))
        lam = 1 / mpmath.sqrt(one / 2 + alpha**2 * (tail(2 * one) - 2 * tail(one) + one / 2))

        def moments(q: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
            s = mpmath.sqrt(q)
            double = tail(2 * s)
            second = q / 2 + alpha**2 * (double - 2 * tail(s) + one / 2)
            return lam**2 * second, lam**2 * (one / 2 + alpha**2 * double)

        for q in (mpmath.mpf(q0), mpmath.mpf("1.25"), one):
            deviation = mpmath.sqrt(q)
            integrals = (
                mpmath.quad(
                    lambda z, k=k, s=deviation: (
                        (
                            lam * (s * z if k == 0 else 1)
                            if z > 0
                            else lam * alpha * (mpmath.expm1(s * z) if k == 0 else mpmath.exp(s * z))
                        )
                        ** 2
                        * mpmath.npdf(z)
                    ),
                    [-mpmath.inf, -6, -2, 0, 2, 6, mpmath.inf],
                )
                for k in range(2)
            )
            if any(abs(a - b) > mpmath.mpf(10) ** -DIGITS for a, b in zip(moments(q), integrals, strict=True)):
                raise ArithmeticError(f"closed forms and quadrature of SELU disagree at q = {q}")

        q, log_growth, kernel = mpmath.mpf(q0), mpmath.mpf(0), mpmath.mpf(q0)
        settled = mpmath.mpf(10) ** -(DIGITS + 5)
        for layer in range(layers):
            if abs(q - 1) < settled:
                chi, rest = moments(one)[1], layers - layer
                log_growth += rest * mpmath.log(chi)
                kernel = chi**rest * kernel + (chi**rest - 1) / (chi - 1)
                break
            q, chi = moments(q)
            log_growth += mpmath.log(chi)
            kernel = q + chi * kernel
    return Exact(log_growth, kernel)


def confirmed(layers: int) -> Exact:
    """The reference; ArithmeticError where it does not reproduce the digits that are expected."""
    exact = reference(layers)
    if layers in EXPECTED:
        with mpmath.workdps(DIGITS):
            expected = mpmath.mpf(EXPECTED[layers])
            if abs(exact.log_growth - expected) > expected * mpmath.mpf(10) ** -17:
                raise ArithmeticError(f"depth {layers}: {exact.log_growth} where {expected} was expected")
    return exact


def relative_error(found: float, exact: mpmath.mpf) -> float:
    with mpmath.workdps(DIGITS):
        return float(abs(mpmath.mpf(found) / exact - 1))


def lost_factor(found: float, exact: mpmath.mpf) -> float:
    """Factor by which the gradient itself is off, where its logarithm is ``found``."""
    with mpmath.workdps(DIGITS):
        return float(mpmath.exp(abs(mpmath.mpf(found) - exact)))


def simulated(layers: int) -> float:
    """Logarithm of the growth by the program, with nothing cached."""
    from snn_cli import simulate

    fresh()
    growth = simulate("selu", q0=Q0, depth=layers, profile=False).gradient.log_growth
    assert growth is not None
    return growth


def by_hand(layers: int, points: int) -> float:
    """The same by the hand-written loop."""
    found: float = import_module("benchmarks.rivals.hermite").growth(layers, points)
    return found


def factor_text(factor: float) -> str:
    if abs(factor - 1) < 1e-3:
        return f"1 + {factor - 1:.0e}" if factor > 1 else "1"
    return f"{factor:.3g}"


def accuracy(depths: Sequence[int], turns: int, threads: str) -> tuple[Table, list[Target]]:
    """SELU from q = 2 against a loop with Gauss-Hermite quadrature, as a process and as a call."""
    env = environment(threads)
    table = Table(
        f"SELU from q0 = {Q0}, against a loop with Gauss-Hermite quadrature",
        "Logarithm of the product of chi. The reference has 30 digits and shares no code with the program; the loop\n"
        "is `benchmarks/rivals/hermite.py`. `factor` is how far the squared gradient itself is off.\n"
        f"{_medians(turns)}, threads: {threads}. `x` is how many times longer than `snn simulate`, or than its call.",
        (
            "depth",
            "way",
            "log growth",
            "relative error",
            "factor",
            "process ms",
            "x",
            "call ms",
            "x",
        ),
    )
    targets = []
    for layers in depths:
        exact = confirmed(layers)
        shown = mpmath.nstr(exact.log_growth, 18)
        table.rows.append((f"{layers:,}", "reference", shown, "", "", "", "", "", ""))
        ways: dict[str, tuple[list[str], Callable[[], float]]] = {
            f"`snn simulate --act selu --q0 {Q0}`": (
                snn("--act", "selu", "--q0", Q0, "--depth", str(layers), "--no-profile", "--json"),
                partial(simulated, layers),
            ),
            **{
                f"loop, {n} points": (python(*rival("hermite", layers, n)), partial(by_hand, layers, n)) for n in POINTS
            },
        }
        runs = in_turns([partial(run, command, env) for command, _ in ways.values()], turns)
        calls = in_turns([partial(timed, call) for _, call in ways.values()], turns)
        walls = [[done.wall for done in each] for each in runs]
        for name, (_, call), wall, seconds, done in zip(ways, ways.values(), walls, calls, runs, strict=True):
            found = record(done[-1])
            growth = found["gradient"]["log_growth"] if "gradient" in found else found["log_growth"]
            if abs(growth - call()) > 1e-12 * abs(growth):
                raise ArithmeticError(f"{name}: the process and the call disagree at depth {layers}")
            error, factor = relative_error(growth, exact.log_growth), lost_factor(growth, exact.log_growth)
            table.rows.append(
                (
                    f"{layers:,}",
                    name,
                    f"{growth:.17g}",
                    f"{error:.1e}",
                    factor_text(factor),
                    milliseconds(wall),
                    _against_first(wall, walls[0]),
                    milliseconds(seconds),
                    _against_first(seconds, calls[0]),
                )
            )
            table.data.append(
                {
                    "depth": layers,
                    "way": name.strip("`"),
                    "log_growth": growth,
                    "reference": shown,
                    "relative_error": error,
                    "factor": factor,
                    "wall_s": wall,
                    "call_s": seconds,
                }
            )
            if wall is walls[0]:
                targets.append(
                    Target(
                        f"relative error of the log growth of SELU from q0 = {Q0} at depth {layers:,}",
                        f"at most {ACCURACY_TARGET:.0e}",
                        f"{error:.1e}",
                        error <= ACCURACY_TARGET,
                    )
                )
    return table, targets


# Against neural-tangents


class Missing(Exception):
    """The package cannot be had here; the message says why."""


def install(folder: str, packages: Sequence[str] = TANGENTS) -> list[str]:
    """A Python with these packages, in an environment of its own."""
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


def kernel_of(found: dict[str, Any]) -> float:
    """The neural tangent kernel from the layers of a record."""
    layers = found["profile"]
    return math.fsum(q * math.exp(g) for q, g in zip(layers["q"], layers["log_gradient"], strict=True))


def tangents(interpreter: Sequence[str], depths: Sequence[int], turns: int, threads: str) -> Table:
    """The neural tangent kernel of a SELU network.

    What the two have in common is this kernel at infinite width: the sum over the layers of ``q[l]`` times the product
    of chi behind it. Its first term is the growth of the squared gradient times q0, and the largest of all. The package
    returns the kernel itself; here it is summed from the profile that ``snn simulate`` prints.
    """
    env = environment(threads)
    table = Table(
        "Against neural-tangents: the kernel of a SELU network",
        f"The whole process, from inputs of second moment {Q0}; `benchmarks/rivals/tangents.py` in double precision,\n"
        f"with `jax.nn.selu` and the {TANGENT_POINTS[0]} points that its documentation calls a good place to start, or "
        f"{TANGENT_POINTS[1]}. The kernel\n"
        "is the sum over the layers of q times the product of chi behind it, here from the profile of\n"
        f"`snn simulate --act selu --q0 {Q0} --json`. `factor` is how far it is off; the reference has 30 digits.\n"
        f"{_medians(turns)}, threads of numpy: {threads}. `x` is how many times longer than `snn simulate`.",
        ("depth", "way", "kernel", "factor", "s", "x", "of it computing, s", "MiB"),
    )
    for layers in depths:
        exact = reference(layers).kernel
        with mpmath.workdps(DIGITS):
            log_exact = mpmath.log(exact)
        shown = mpmath.nstr(exact, 17)
        table.rows.append((f"{layers:,}", "reference", shown, "", "", "", "", ""))
        commands = {
            "`snn simulate`": snn("--act", "selu", "--q0", Q0, "--depth", str(layers), "--json"),
            **{
                f"neural-tangents, {n} points": [*interpreter, *rival("tangents", layers, n)]
                for n in (TANGENT_POINTS if layers <= 200 else TANGENT_POINTS[:1])
            },
        }
        runs = in_turns([partial(run, command, env) for command in commands.values()], turns, 0)
        walls = [[done.wall for done in each] for each in runs]
        for (name, command), wall, each in zip(commands.items(), walls, runs, strict=True):
            found = record(each[-1])
            computing = [record(done)["kernel_s"] for done in each] if "ntk" in found else []
            kernel = found["ntk"] if "ntk" in found else kernel_of(found)
            factor = lost_factor(math.log(kernel), log_exact) if math.isfinite(kernel) and kernel > 0 else math.inf
            most = peak(command, env) if layers <= 200 else None
            table.rows.append(
                (
                    f"{layers:,}",
                    name,
                    f"{kernel:.17g}",
                    factor_text(factor),
                    f"{median(wall):.2f}",
                    _against_first(wall, walls[0], "{:.0f}"),
                    f"{median(computing):.2f}" if computing else "",
                    mebibytes([most]),
                )
            )
            table.data.append(
                {
                    "depth": layers,
                    "way": name.strip("`"),
                    "kernel": kernel,
                    "reference": shown,
                    "factor": factor,
                    "wall_s": wall,
                    "computing_s": computing,
                    "peak_mib": most,
                    "version": found.get("version") if computing else None,
                }
            )
    return table


def against_tangents(depths: Sequence[int], turns: int, threads: str) -> Table:
    """The table, or one that says why there is none."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return tangents(install(folder), depths, turns, threads)
    except Missing as reason:
        return Table(
            "Against neural-tangents: skipped",
            "It could not be installed in an environment of its own.",
            ("pip install", "reason"),
            [(" ".join(TANGENTS), str(reason).replace("|", "/"))],
        )


# The report


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small run: few cases and turns, wide ranges")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON, with every measurement")
    parser.add_argument(
        "--threads",
        choices=("one", "default"),
        default="one",
        help="threads of numpy's linear algebra, but for the start of the process, which shows both",
    )
    parser.add_argument(
        "--neural-tangents",
        action="store_true",
        help="compare with this package too, installed with pip in a temporary environment",
    )
    parser.add_argument("--deep", action="store_true", help="with that also at depth 10,000, many minutes")
    given = parser.parse_args(arguments)
    if given.deep and not given.neural_tangents:
        parser.error("--deep is about --neural-tangents")
    quick, threads = given.quick, given.threads

    where = machine()
    start, start_targets = startup(3 if quick else 15, quick)
    deep, deep_targets = depth(3 if quick else 7, threads)
    many, many_targets = grid(20 if quick else 100, 4 if quick else 12, 20 if quick else 60, 1 if quick else 3, threads)
    exact, exact_targets = accuracy(tuple(EXPECTED), 3 if quick else 7, threads)
    tables = [start, deep, many, exact]
    if given.neural_tangents:
        tables.append(against_tangents((200, 10_000) if given.deep else (200,), 1 if quick else 3, threads))
    tables.append(verdicts([*start_targets, *deep_targets, *many_targets, *exact_targets]))
    if given.as_json:
        print(json.dumps({"machine": where, "tables": [asdict(t) for t in tables]}, indent=2))
    else:
        print("\n\n".join([header(where), *(t.markdown() for t in tables)]))
        if not given.neural_tangents:
            print("\nNot compared with neural-tangents: that takes `--neural-tangents`.")


if __name__ == "__main__":
    main()
