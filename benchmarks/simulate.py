"""Speed and accuracy of ``snn simulate``: ratios measured side by side in one run, printed as Markdown tables.

Usage: python -m benchmarks.simulate [--quick] [--neural-tangents [--deep]] [--json]

Run it with the Python in whose environment the project is installed. A full run takes about four minutes, a quick one
one minute. The package neural-tangents is compared with where it is installed, and with ``--neural-tangents`` in a
temporary environment, which adds five minutes and a large download; ``--deep`` adds another half an hour.
Processes that are compared take turns, and a ratio is the median over the turns, each measured against its neighbour,
so that a change in the load of the machine meets both. Nothing here passes or fails: the last table sets the
measurements beside their targets.
"""

from __future__ import annotations

import json
import math
from functools import partial
from importlib import import_module
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import mpmath

from benchmarks.common import (
    Missing,
    Rival,
    Run,
    Table,
    Target,
    against,
    at_least,
    at_most,
    environment,
    having,
    in_turns,
    machine,
    mebibytes,
    medians,
    milliseconds,
    optional,
    parser,
    peak,
    processes,
    python,
    ratios,
    report,
    rival,
    run,
    skipped,
    snn,
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
TANGENTS = Rival(
    "Against neural-tangents",
    "neural-tangents",
    "neural_tangents",
    ("jax==0.4.30", "jaxlib==0.4.30", "neural-tangents", "numpy<2", "scipy<1.14"),
    "python -m benchmarks.simulate --neural-tangents",
)

LOADING = "import click, numpy, scipy.special"
"""What the start of the process is set beside."""


# Processes


def snn_simulate(*arguments: str) -> list[str]:
    return snn("simulate", *arguments)


def wall_of(command: Sequence[str], env: dict[str, str]) -> float:
    return run(command, env).wall


def record(done: Run) -> Any:
    """The only record that a process printed."""
    (line,) = done.output.splitlines()
    return json.loads(line)


def fresh() -> None:
    """Forget what earlier calls computed, so that the next one costs what the first does."""
    from snn_cli.simulation import infinite, source

    for cached in (source.solved, infinite.mean_field, infinite.unit_fluctuations, infinite.angles):
        cached.cache_clear()


# The start of the process, and depth


def startup(turns: int, quick: bool) -> tuple[Table, list[Target]]:
    """The whole process at depth 200 against its imports, as the environment is and with one thread."""
    plain = ("--depth", "200", "--no-profile", "--json")
    requests = (plain, ("--act", "selu", *plain), ("--fanin", "1024", *plain), ("--depth", "200", "--json"))
    commands = {
        f'`python -c "{LOADING}"`': python("-c", LOADING),
        **{f"`snn simulate {' '.join(options)}`": snn_simulate(*options) for options in requests},
        **{f'`python -c "{code}"`': python("-c", code) for code in ("import click, numpy", "pass")},
    }
    if quick:
        commands = dict(list(commands.items())[:3])
    table = Table(
        "Start of the process",
        f"{medians(turns)}. The ratio is to loading click, numpy and scipy.special, with its range over the turns.\n"
        "Without `--act` there are four records: selu, lselu, sselu and relu, each solved first. Memory is the peak.",
        ("process", "threads", "wall ms", "CPU ms", "wall ratio", "CPU ratio", "MiB"),
    )
    targets = []
    for threads in ("default", "one"):
        found = processes(commands, turns, threads)
        memory = in_turns([partial(peak, c, environment(threads)) for c in commands.values()], 1, 0)
        for each, most in zip(found, memory, strict=True):
            name, *cells = each.row(found[0])
            table.rows.append((name, threads, *cells, mebibytes(most)))
            table.data.append({**each.data(threads), "peak_mib": most})
        base, own = found[:2]
        for kind, times, least in (("wall", own.wall, base.wall), ("CPU", own.cpu, base.cpu)):
            if times:
                claim = f"`snn simulate --depth 200` as a process against `{LOADING}`, {kind}, threads: {threads}"
                targets.append(at_most(claim, STARTUP_TARGET, ratios(times, least)))
    return table, targets


DEEP_CASES: dict[str, tuple[tuple[str, ...], int]] = {
    "none: the default activations": ((), DEEP),
    "`--fanin 1024`": (("--fanin", "1024"), DEEP),
    "`--act selu --q0 2`": (("--act", "selu", "--q0", Q0), DEEP),
    "`--act relu --sigma-w he --fanin 1024`": (("--act", "relu", "--sigma-w", "he", "--fanin", "1024"), DEEP),
    "`--act tanh`": (("--act", "tanh"), UNSETTLED),
}


def depth(turns: int, threads: str) -> tuple[Table, list[Target]]:
    """A million layers against a hundred."""
    env = environment(threads)
    table = Table(
        f"Depth {DEEP:,} against {SHALLOW}",
        f"The whole process `snn simulate --depth DEPTH --no-profile --json` with these options, threads: {threads}.\n"
        f"{medians(turns)}, peak memory of up to 3. Tanh with unit weights never settles, its second moment falls as\n"
        f"one over the depth, so every layer has to be computed; it is shown at depth {UNSETTLED:,} only.",
        ("options", f"{SHALLOW}, ms", "depth", "ms", "ratio", f"{SHALLOW}, MiB", "MiB"),
    )
    targets = []
    for name, (options, deep) in DEEP_CASES.items():
        commands = [snn_simulate(*options, "--depth", str(d), "--no-profile", "--json") for d in (SHALLOW, deep)]
        few, many = in_turns([partial(wall_of, c, env) for c in commands], turns)
        small, large = in_turns([partial(peak, c, env) for c in commands], min(turns, 3), 0)
        longer = ratios(many, few)
        cells = (milliseconds(few), f"{deep:,}", milliseconds(many), spread(longer), mebibytes(small), mebibytes(large))
        table.rows.append((name, *cells))
        table.data.append(
            {"options": options, "depths": (SHALLOW, deep), "wall_s": [few, many], "peak_mib": [small, large]}
        )
        if not options:
            claim = f"depth {DEEP:,} against {SHALLOW} as processes, default activations"
            targets.append(at_most(claim, DEPTH_TARGET, longer))
            if optional(small):
                more = median(optional(large)) / median(optional(small))
                targets.append(at_most("the same, peak memory", 1.1, [more]))
    return table, targets


# A grid


GRID_OPTIONS = ("--depth", "200", "--no-profile", "--json")


class Grid(NamedTuple):
    """A grid as one process makes it: the command, and a record a cell as it is printed."""

    command: list[str]
    env: dict[str, str]
    records: list[bytes]

    def sample(self, size: int, turn: int, turns: int) -> list[bytes]:
        """Records spread evenly over the grid, others each turn."""
        return [self.records[int((i + (turn + 0.5) / turns) * len(self.records) / size)] for i in range(size)]


class Alone(NamedTuple):
    """Cells as a process each: seconds of one of them, of the processor too, and records that came out different."""

    wall: float
    cpu: float | None
    differ: int


def of_grid(side: int, threads: str) -> Grid:
    epsilons, fan_ins = f"0.001:0.1:{side}:log", f"64:65536:{side}:log"
    command = snn_simulate("--act", "lselu", "--epsilon", epsilons, "--fanin", fan_ins, *GRID_OPTIONS)
    env = environment(threads)
    return Grid(command, env, run(command, env).output.splitlines())


def _setting(line: bytes) -> tuple[str, str]:
    known = json.loads(line)
    return repr(known["epsilon"]), str(known["fan_in"])


def alone(lines: Sequence[bytes], env: dict[str, str]) -> Alone:
    """A process for each of the cells."""
    wall, cpu, differ = 0.0, 0.0, 0
    for line in lines:
        epsilon, fan_in = _setting(line)
        done = run(snn_simulate("--act", "lselu", "--epsilon", epsilon, "--fanin", fan_in, *GRID_OPTIONS), env)
        differ += done.output.strip() != line.strip()
        wall += done.wall
        cpu += done.cpu or 0.0
    return Alone(wall / len(lines), cpu / len(lines) or None, differ)


def called(lines: Sequence[bytes]) -> float:
    """Seconds of a call for one of the cells, with nothing cached."""
    from snn_cli import simulate

    seconds = 0.0
    for line in lines:
        epsilon, fan_in = _setting(line)
        fresh()
        seconds += timed(partial(simulate, "lselu", epsilon, depth=200, fanin=fan_in, profile=False))
    return seconds / len(lines)


def three_ways(whole: Grid, count: int, calls: int, turns: int) -> tuple[list[Run], list[Alone], list[float]]:
    """The grid in one process, a sample of it as processes and as calls; the three are neighbours in time."""
    called(whole.sample(calls, 0, turns))
    together: list[Any] = []
    single: list[Any] = []
    inside: list[Any] = []
    for turn in range(turns):
        steps = (
            (together, partial(run, whole.command, whole.env)),
            (single, partial(alone, whole.sample(count, turn, turns), whole.env)),
            (inside, partial(called, whole.sample(calls, turn, turns))),
        )
        for results, step in steps if turn % 2 else reversed(steps):  # every other turn goes backwards
            results.append(step())
    return together, single, inside


def grid(side: int, count: int, calls: int, turns: int, threads: str) -> tuple[Table, list[Target]]:
    """One process against a process, or a call that has nothing cached, for every cell of the grid."""
    whole = of_grid(side, threads)
    cells = len(whole.records)
    together, single, inside = three_ways(whole, count, calls, turns)
    walls = [done.wall for done in together]
    differ = sum(each.differ for each in single)
    most = peak(whole.command, whole.env)
    table = Table(
        f"A grid of {side} epsilons and {side} fan-ins",
        f"`snn {' '.join(whole.command[whole.command.index('simulate') :])}`, threads: {threads}.\n"
        f"{medians(turns)}. The other times are extrapolated: the mean of a sample spread over the grid, another one\n"
        f"each turn, times {cells:,}. Of {turns * count} single records {differ or 'none'} differed from those of "
        "the grid, byte by byte.",
        ("way", "s", "ms a record", "times longer", "MiB"),
    )
    table.data.append(
        {
            "cells": cells,
            "wall_s": walls,
            "cpu_s": [done.cpu for done in together],
            "peak_mib": most,
            "process_s": [each.wall for each in single],
            "process_cpu_s": [each.cpu for each in single],
            "call_s": inside,
            "differ": differ,
        }
    )
    one = milliseconds([t / cells for t in walls])
    table.rows.append(("one process", f"{median(walls):.2f}", one, "1", mebibytes([most])))
    targets = []
    for name, times in (
        (f"{cells:,} processes, from a sample of {count}", [each.wall for each in single]),
        (f"{cells:,} calls of `simulate`, nothing cached, from a sample of {calls}", inside),
    ):
        longer = ratios([cells * t for t in times], walls)
        row = (f"{cells * median(times):.0f}", milliseconds(times), spread(longer, "{:.0f}"), "")
        table.rows.append((name, *row))
        targets.append(at_least(f"a grid in one process, times faster than {name}", GRID_TARGET, longer, "{:.0f}"))
    return table, targets


# Accuracy


class Exact(NamedTuple):
    """Of a SELU network from q = 2: log of the product of chi, and the neural tangent kernel."""

    log_growth: mpmath.mpf
    kernel: mpmath.mpf


class Selu(NamedTuple):
    """Its parameters, from the two conditions that define it: E[f] = 0 and E[f^2] = 1 at q = 1."""

    lam: mpmath.mpf
    alpha: mpmath.mpf

    def moments(self, q: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
        """``E[f^2]`` and ``E[f'^2]`` at second moment q, with ``T(s) = exp(s^2 / 2) Phi(-s)``."""
        s, half = mpmath.sqrt(q), mpmath.mpf(1) / 2
        double = _tail(2 * s)
        second = q / 2 + self.alpha**2 * (double - 2 * _tail(s) + half)
        return self.lam**2 * second, self.lam**2 * (half + self.alpha**2 * double)

    def integrals(self, q: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
        """The same by quadrature of f and f', split at the kink."""
        s = mpmath.sqrt(q)

        def squared(z: mpmath.mpf, k: int) -> mpmath.mpf:
            if z > 0:
                return (self.lam * (1 if k else s * z)) ** 2
            return (self.lam * self.alpha * (mpmath.exp(s * z) if k else mpmath.expm1(s * z))) ** 2

        ends = [-mpmath.inf, -6, -2, 0, 2, 6, mpmath.inf]
        second, chi = (mpmath.quad(lambda z, k=k: squared(z, k) * mpmath.npdf(z), ends) for k in range(2))
        return second, chi


def _tail(s: mpmath.mpf) -> mpmath.mpf:
    return mpmath.exp(s * s / 2) * mpmath.erfc(s / mpmath.sqrt(2)) / 2


def precise_selu() -> Selu:
    one = mpmath.mpf(1)
    alpha = mpmath.npdf(0) / (one / 2 - _tail(one))
    return Selu(1 / mpmath.sqrt(one / 2 + alpha**2 * (_tail(2 * one) - 2 * _tail(one) + one / 2)), alpha)


def reference(layers: int, q0: str = Q0) -> Exact:
    """Both to 30 digits, by ways that the program does not use.

    Closed forms, which quadrature confirms at several q. Layers are followed one by one until q is 1 to all digits; the
    rest are alike.

    The kernel is the sum over the layers ``l = 0 ... L`` of ``q[l] chi[l] ... chi[L-1]``: what the weights in front of
    ``x[l]`` contribute.
    """
    with mpmath.workdps(DIGITS + 15):
        selu, one = precise_selu(), mpmath.mpf(1)
        for q in (mpmath.mpf(q0), mpmath.mpf("1.25"), one):
            both = zip(selu.moments(q), selu.integrals(q), strict=True)
            if any(abs(a - b) > mpmath.mpf(10) ** -DIGITS for a, b in both):
                raise ArithmeticError(f"closed forms and quadrature of SELU disagree at q = {q}")

        q, log_growth, kernel = mpmath.mpf(q0), mpmath.mpf(0), mpmath.mpf(q0)
        settled = mpmath.mpf(10) ** -(DIGITS + 5)
        for layer in range(layers):
            if abs(q - 1) < settled:
                chi, rest = selu.moments(one)[1], layers - layer
                log_growth += rest * mpmath.log(chi)
                kernel = chi**rest * kernel + (chi**rest - 1) / (chi - 1)
                break
            q, chi = selu.moments(q)
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


class Grown(NamedTuple):
    """A way to the log growth at a depth: what it says, how far that is off, and what a process and a call take."""

    name: str
    log_growth: float
    error: float
    factor: float
    wall: list[float]
    seconds: list[float]

    def row(self, first: Grown) -> tuple[str, ...]:
        return (
            self.name,
            f"{self.log_growth:.17g}",
            f"{self.error:.1e}",
            factor_text(self.factor),
            milliseconds(self.wall),
            against(self.wall, first.wall),
            milliseconds(self.seconds),
            against(self.seconds, first.seconds),
        )


def ways(layers: int) -> dict[str, tuple[list[str], Callable[[], float]]]:
    """Each as a process and as a call, the program's first."""
    options = ("--act", "selu", "--q0", Q0)
    return {
        f"`snn simulate {' '.join(options)}`": (
            snn_simulate(*options, "--depth", str(layers), "--no-profile", "--json"),
            partial(simulated, layers),
        ),
        **{f"loop, {n} points": (python(*rival("hermite", layers, n)), partial(by_hand, layers, n)) for n in POINTS},
    }


def grown(layers: int, exact: mpmath.mpf, turns: int, threads: str) -> list[Grown]:
    """Every way at this depth, in turns; ArithmeticError where a process and its call disagree."""
    env, chosen = environment(threads), ways(layers)
    runs = in_turns([partial(run, command, env) for command, _ in chosen.values()], turns)
    calls = in_turns([partial(timed, call) for _, call in chosen.values()], turns)
    found = []
    for (name, (_, call)), seconds, done in zip(chosen.items(), calls, runs, strict=True):
        said = record(done[-1])
        growth = said["gradient"]["log_growth"] if "gradient" in said else said["log_growth"]
        if abs(growth - call()) > 1e-12 * abs(growth):
            raise ArithmeticError(f"{name}: the process and the call disagree at depth {layers}")
        error, factor = relative_error(growth, exact), lost_factor(growth, exact)
        found.append(Grown(name, growth, error, factor, [each.wall for each in done], seconds))
    return found


def accuracy(depths: Sequence[int], turns: int, threads: str) -> tuple[Table, list[Target]]:
    """SELU from q = 2 against a loop with Gauss-Hermite quadrature, as a process and as a call."""
    table = Table(
        f"SELU from q0 = {Q0}, against a loop with Gauss-Hermite quadrature",
        "Logarithm of the product of chi. The reference has 30 digits and shares no code with the program; the loop\n"
        "is `benchmarks/rivals/hermite.py`. `factor` is how far the squared gradient itself is off.\n"
        f"{medians(turns)}, threads: {threads}. `x` is how many times longer than `snn simulate`, or than its call.",
        ("depth", "way", "log growth", "relative error", "factor", "process ms", "x", "call ms", "x"),
    )
    targets, every = [], []
    for layers in depths:
        exact = confirmed(layers).log_growth
        shown = mpmath.nstr(exact, 18)
        table.rows.append((f"{layers:,}", "reference", shown, *[""] * 6))
        found = grown(layers, exact, turns, threads)
        every.append(found)
        for each in found:
            table.rows.append((f"{layers:,}", *each.row(found[0])))
            table.data.append(
                {
                    "depth": layers,
                    "way": each.name.strip("`"),
                    "log_growth": each.log_growth,
                    "reference": shown,
                    "relative_error": each.error,
                    "factor": each.factor,
                    "wall_s": each.wall,
                    "call_s": each.seconds,
                }
            )
        claim = f"relative error of the log growth of SELU from q0 = {Q0} at depth {layers:,}"
        targets.append(at_most(claim, ACCURACY_TARGET, [found[0].error], "{:.1e}"))
    return table, [*targets, *as_quick(every)]


def as_quick(every: Sequence[Sequence[Grown]]) -> list[Target]:
    """The program, first at each depth, against the loops: as processes, and as calls."""
    pairs = [(own, loop) for own, *loops in every for loop in loops]
    off = factor_text(min(loop.factor for _, loop in pairs))
    words = f"times as long as the Gauss-Hermite loop, whose growth is off by a factor of {off} or more"
    walls = [median(ratios(own.wall, loop.wall)) for own, loop in pairs]
    calls = [median(ratios(own.seconds, loop.seconds)) for own, loop in pairs]
    return [
        at_most(f"`snn simulate` as a process, {words}", 1, walls, each=True),
        at_most(f"a call of `simulate`, nothing cached, {words}", 1, calls, each=True),
    ]


# Against neural-tangents


def kernel_of(found: dict[str, Any]) -> float:
    """The neural tangent kernel from the layers of a record."""
    layers = found["profile"]
    return math.fsum(q * math.exp(g) for q, g in zip(layers["q"], layers["log_gradient"], strict=True))


class Kernel(NamedTuple):
    """A way to the kernel at a depth; ``computing`` is what the package takes once it is loaded."""

    name: str
    kernel: float
    factor: float
    wall: list[float]
    computing: list[float]
    mib: float | None
    version: str | None

    def row(self, first: Kernel) -> tuple[str, ...]:
        return (
            self.name,
            f"{self.kernel:.17g}",
            factor_text(self.factor),
            f"{median(self.wall):.2f}",
            against(self.wall, first.wall, "{:.0f}"),
            f"{median(self.computing):.2f}" if self.computing else "",
            mebibytes([self.mib]),
        )


def kernels(interpreter: Sequence[str], layers: int, exact: mpmath.mpf, turns: int, threads: str) -> list[Kernel]:
    """The program's first; memory and the larger number of points where they do not take too long."""
    env, shallow = environment(threads), layers <= 200
    commands = {
        "`snn simulate`": snn_simulate("--act", "selu", "--q0", Q0, "--depth", str(layers), "--json"),
        **{
            f"neural-tangents, {n} points": [*interpreter, *rival("tangents", layers, n)]
            for n in (TANGENT_POINTS if shallow else TANGENT_POINTS[:1])
        },
    }
    with mpmath.workdps(DIGITS):
        log_exact = mpmath.log(exact)
    runs = in_turns([partial(run, command, env) for command in commands.values()], turns, 0)
    found = []
    for (name, command), each in zip(commands.items(), runs, strict=True):
        said = [record(done) for done in each]
        theirs = "ntk" in said[-1]
        kernel = said[-1]["ntk"] if theirs else kernel_of(said[-1])
        factor = lost_factor(math.log(kernel), log_exact) if math.isfinite(kernel) and kernel > 0 else math.inf
        computing = [one["kernel_s"] for one in said] if theirs else []
        most = peak(command, env) if shallow else None
        walls = [done.wall for done in each]
        found.append(Kernel(name, kernel, factor, walls, computing, most, said[-1].get("version") if theirs else None))
    return found


def tangents(interpreter: Sequence[str], depths: Sequence[int], turns: int, threads: str) -> Table:
    """The neural tangent kernel of a SELU network.

    What the two have in common is this kernel at infinite width: the sum over the layers of ``q[l]`` times the product
    of chi behind it. Its first term is the growth of the squared gradient times q0, and the largest of all. The package
    returns the kernel itself; here it is summed from the profile that ``snn simulate`` prints.
    """
    table = Table(
        f"{TANGENTS.title}: the kernel of a SELU network",
        f"The whole process, from inputs of second moment {Q0}; `benchmarks/rivals/tangents.py` in double precision,\n"
        f"with `jax.nn.selu` and the {TANGENT_POINTS[0]} points that its documentation calls a good place to start, or "
        f"{TANGENT_POINTS[1]}. The kernel\n"
        "is the sum over the layers of q times the product of chi behind it, here from the profile of\n"
        f"`snn simulate --act selu --q0 {Q0} --json`. `factor` is how far it is off; the reference has 30 digits.\n"
        f"{medians(turns)}, threads of numpy: {threads}. `x` is how many times longer than `snn simulate`.",
        ("depth", "way", "kernel", "factor", "s", "x", "of it computing, s", "MiB"),
    )
    for layers in depths:
        exact = reference(layers).kernel
        shown = mpmath.nstr(exact, 17)
        table.rows.append((f"{layers:,}", "reference", shown, *[""] * 5))
        found = kernels(interpreter, layers, exact, turns, threads)
        for each in found:
            table.rows.append((f"{layers:,}", *each.row(found[0])))
            table.data.append(
                {
                    "depth": layers,
                    "way": each.name.strip("`"),
                    "kernel": each.kernel,
                    "reference": shown,
                    "factor": each.factor,
                    "wall_s": each.wall,
                    "computing_s": each.computing,
                    "peak_mib": each.mib,
                    "version": each.version,
                }
            )
    return table


def against_tangents(asked: bool, depths: Sequence[int], turns: int, threads: str) -> Table:
    """The table, or one that says why there is none."""
    try:
        with having(TANGENTS, asked) as interpreter:
            return tangents(interpreter, depths, turns, threads)
    except (Missing, RuntimeError) as reason:
        return skipped(TANGENTS, reason)


# The report


def main(arguments: Sequence[str] | None = None) -> None:
    threads_help = "threads of numpy's linear algebra, but for the start of the process, which shows both"
    options = parser("simulate", __doc__, threads=threads_help)
    options.add_argument(
        "--neural-tangents",
        action="store_true",
        help="where this package is not installed, install it with pip in a temporary environment",
    )
    options.add_argument("--deep", action="store_true", help="with that also at depth 10,000, many minutes")
    given = options.parse_args(arguments)
    if given.deep and not given.neural_tangents:
        options.error("--deep is about --neural-tangents")
    quick, threads = given.quick, given.threads

    where = machine()
    start, start_targets = startup(3 if quick else 15, quick)
    deep, deep_targets = depth(3 if quick else 7, threads)
    many, many_targets = grid(50 if quick else 100, 4 if quick else 12, 20 if quick else 60, 3, threads)
    exact, exact_targets = accuracy(tuple(EXPECTED), 3 if quick else 7, threads)
    beside = against_tangents(
        given.neural_tangents, (200, 10_000) if given.deep else (200,), 1 if quick else 3, threads
    )
    targets = verdicts([*start_targets, *deep_targets, *many_targets, *exact_targets])
    report(given.as_json, where, [start, deep, many, exact, beside, targets])


if __name__ == "__main__":
    main()
