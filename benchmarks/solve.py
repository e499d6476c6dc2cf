"""Speed and accuracy of ``snn solve``: ratios measured side by side in one run, printed as Markdown tables.

Usage: python -m benchmarks.solve [--quick] [--json]

Run it with the Python in whose environment the project is installed. A full run takes about three minutes, a quick one
several seconds. Processes that are compared take turns, and a ratio is the median over the turns, each measured
against its neighbour, so that a change in the load of the machine meets both. Nothing here passes or fails: the last
table sets the measurements beside their targets.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import mpmath

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ACTS = ("lselu", "sselu")
EPSILONS = ("1e-2", "1e-4", "1e-6", "1e-8", "1e-10")
DIGITS = (15, 50, 100, 200, 500, 1000)
LONG = 30
"""Digits asked of ``--digits``, where a rival ends at those of a double, and of the hand-written solutions."""

DOUBLE = -math.log10(2.0**-53)
"""Correct digits of a correctly rounded double, in the worst case: 15.95."""

WRONG = 3
"""Fewer correct digits than this are another point, not an inaccurate answer."""

STARTUP_TARGET, FASTER_TARGET, DIGITS_TARGET = 0.8, 10, 5

PLAIN, RIVALS = ("plain",), ("slsqp", "fsolve")
PLAIN_EPSILONS = ("0.03", "1e-2", "1e-4")
TITLES = {
    PLAIN: "Against SLSQP as one writes it first: numpy, scipy.stats, quadrature, a round start",
    RIVALS: "Against SLSQP and fsolve at their best: tight tolerances, scalars, a start that is already close",
}
PACKAGES = ("snn-cli", "click", "mpmath", "numpy", "scipy", "python-flint", "gmpy2")


@dataclass
class Table:
    """Rows of text under a heading; ``data`` holds the same measurements as numbers."""

    title: str
    text: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    data: list[dict[str, Any]] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [" | ".join(row) for row in (self.columns, ["---"] * len(self.columns), *self.rows)]
        return "\n".join([f"## {self.title}", "", self.text, "", *(f"| {line} |" for line in lines)])


@dataclass(frozen=True)
class Target:
    """A claim, what was measured and whether that is enough."""

    claim: str
    target: str
    measured: str
    met: bool


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


def in_turns(tasks: Sequence[Callable[[], Any]], turns: int, warm: int = 1) -> list[list[Any]]:
    """Results of each task over the turns. Every other turn goes backwards, so that no task always comes first."""
    results: list[list[Any]] = [[] for _ in tasks]
    for turn in range(-warm, turns):
        for i in range(len(tasks)) if turn % 2 else reversed(range(len(tasks))):
            result = tasks[i]()
            if turn >= 0:
                results[i].append(result)
    return results


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
    return [*([str(script)] if script.exists() else [sys.executable, "-m", "snn_cli"]), "solve", *arguments]


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def timed(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


# Numbers for people


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Turn by turn."""
    return [a / b for a, b in zip(over, under, strict=True)]


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Median, and the range where there is one."""
    middle, low, high = (form.format(x) for x in (median(values), min(values), max(values)))
    return middle if len(values) < 2 else f"{middle} ({low} to {high})"


def _medians(turns: int) -> str:
    return "One turn" if turns == 1 else f"Medians of {turns} turns"


def milliseconds(values: Sequence[float]) -> str:
    x = 1e3 * median(values)
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def optional(values: Sequence[float | None]) -> list[float]:
    return [x for x in values if x is not None]


# The start of the process


def startup(turns: int, quick: bool) -> tuple[Table, list[Target]]:
    """The whole process against importing click and numpy, as the environment is and with one thread."""
    commands = {
        "`snn solve --act lselu --epsilon 0.03 --json`": snn("--act", "lselu", "--epsilon", "0.03", "--json"),
        '`python -c "import click, numpy"`': python("-c", "import click, numpy"),
        '`python -c "import click, mpmath"`': python("-c", "import click, mpmath"),
        '`python -c "import scipy.integrate, scipy.optimize"`': python("-c", "import scipy.integrate, scipy.optimize"),
        '`python -c "pass"`': python("-c", "pass"),
    }
    if quick:
        commands = dict(list(commands.items())[:2])
    table = Table(
        "Start of the process",
        f"{_medians(turns)}. The ratio is to `import click, numpy`, with its range over the turns. Loading\n"
        "numpy starts the threads of its linear algebra library, by default one a core: both settings are shown.",
        ("process", "threads", "wall ms", "CPU ms", "wall ratio", "CPU ratio"),
    )
    targets = []
    for threads in ("default", "one"):
        env = environment(threads)
        found = in_turns([partial(run, c, env) for c in commands.values()], turns)
        walls = [[r.wall for r in runs] for runs in found]
        cpus = [optional([r.cpu for r in runs]) for runs in found]
        for name, wall, cpu in zip(commands, walls, cpus, strict=True):
            wall_ratio, cpu_ratio = ratios(wall, walls[1]), ratios(cpu, cpus[1])
            table.rows.append(
                (
                    name,
                    threads,
                    milliseconds(wall),
                    milliseconds(cpu) if cpu else "",
                    "1" if wall is walls[1] else spread(wall_ratio),
                    "1" if wall is walls[1] else spread(cpu_ratio) if cpu else "",
                )
            )
            table.data.append({"process": name.strip("`"), "threads": threads, "wall_s": wall, "cpu_s": cpu})
        ratio = median(ratios(walls[0], walls[1]))
        targets.append(
            Target(
                f"`snn solve` as a process against `import click, numpy`, threads: {threads}",
                f"at most {STARTUP_TARGET}",
                f"{ratio:.2f}",
                ratio <= STARTUP_TARGET,
            )
        )
    return table, targets


# Against what a user would write


def reference(act: str, epsilon: str) -> dict[str, mpmath.mpf]:
    """Alpha and beta at lambda = 1 to more than 60 digits, by ways that the program does not use.

    Newton's method in two dimensions on both conditions, from the leading order for small epsilon; then quadrature of
    f^2 and f'^2 themselves confirms the point.
    """
    with mpmath.workdps(110):
        eps = mpmath.mpf(epsilon)

        def exponential_moment(s: mpmath.mpf) -> mpmath.mpf:
            return mpmath.exp(s * s / 2) * mpmath.erfc(s / mpmath.sqrt(2)) / 2

        def conditions(a: mpmath.mpf, b: mpmath.mpf) -> list[mpmath.mpf]:
            if act == "lselu":
                one, two = exponential_moment(mpmath.mpf(1)), exponential_moment(mpmath.mpf(2))
                shared = 2 * a * b * one + b * b / 2
                second, gain = a * a * (two - 2 * one + 0.5) + shared, a * a * two + shared
            else:
                one, two = exponential_moment(b), exponential_moment(2 * b)
                second, gain = a * a * (two - 2 * one + 0.5), a * a * b * b * two
            return [second - 0.5, gain - 0.5 - eps]

        root = mpmath.sqrt(8 * eps)
        scale = (root * 2.3, mpmath.mpf(1)) if act == "lselu" else (1 / root, root)
        found = mpmath.findroot(lambda x, y: conditions(x * scale[0], y * scale[1]), (1, 1), tol=1e-190, maxsteps=60)
        alpha, beta = found[0] * scale[0], found[1] * scale[1]

    with mpmath.workdps(50):

        def left(z: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
            if act == "lselu":
                return alpha * mpmath.expm1(z) + beta * z, alpha * mpmath.exp(z) + beta
            return alpha * mpmath.expm1(beta * z), alpha * beta * mpmath.exp(beta * z)

        for k, value in enumerate((mpmath.mpf(1), 1 + eps)):
            negative = mpmath.quad(lambda z, k=k: left(z)[k] ** 2 * mpmath.npdf(z), [-mpmath.inf, -6, -2, 0])
            if abs(negative + 0.5 - value) > 1e-40:
                raise ArithmeticError(f"the reference for {act} at {epsilon} does not meet the conditions")
    return {"alpha": alpha, "beta": beta}


def correct_digits(found: dict[str, Any], exact: dict[str, mpmath.mpf], cap: float) -> float:
    """Of alpha and beta together, by relative error; never more than the format holds."""
    with mpmath.workdps(80):
        error = max(abs(mpmath.mpf(found[name]) - x) / abs(x) for name, x in exact.items())
        return float(min(cap, -mpmath.log10(error))) if error else cap


def outcome(digits: float | None, claims: bool) -> str:
    if digits is None:
        return "crashes"
    if digits < WRONG:
        return "wrong point" if claims else "fails"
    return f"{digits:.1f}" if claims else f"{digits:.1f}, says it failed"


def rivals(names: Sequence[str], epsilons: Sequence[str], turns: int, threads: str) -> tuple[Table, list[Target]]:
    """Time of the process and correct digits, against scripts that minimise or solve on quadrature."""
    env = environment(threads)
    table = Table(
        TITLES[names],
        "The whole process, and the correct digits of alpha and beta against a reference of 60 digits that shares no\n"
        "code with the program. The rivals are in `benchmarks/rivals/`.\n"
        f"{_medians(turns)}, threads: {threads}. `x` is how many times longer the rival takes. `exact` means that\n"
        "both doubles are the nearest to the true values (at least 15.95 digits); `wrong point` is a result with\n"
        f"fewer than {WRONG} correct digits that the rival calls a success, `fails` one that it calls a failure.",
        (
            *("act", "epsilon", "snn ms", "digits", f"`--digits {LONG}` ms", "digits"),
            *(part for name in names for part in (f"{name} ms", "x", "digits")),
        ),
    )
    faster: dict[str, list[float]] = {name: [] for name in names}
    ahead: dict[str, list[float]] = {name: [] for name in names}
    ahead_long: list[float] = []
    for script in names:  # warm the disk
        run(rival(script, "lselu", "1e-2"), env)
    for act in ACTS:
        for epsilon in epsilons:
            exact = reference(act, epsilon)
            request = ("--act", act, "--epsilon", epsilon, "--json")
            ours = [snn(*request), snn(*request, "--digits", str(LONG))]
            theirs = [rival(name, act, epsilon) for name in names]
            tasks = [*(partial(run, c, env) for c in ours), *(partial(attempt, c, env) for c in theirs)]
            plain, long, *others = in_turns(tasks, turns, warm=0)
            record, long_record = json.loads(plain[0].output), json.loads(long[0].output)
            own = correct_digits(record["params"], exact, DOUBLE)
            rounded = all(record["params"][name] == float(x) for name, x in exact.items())
            own_long = correct_digits(long_record["decimals"], exact, LONG)
            own_wall = [r.wall for r in plain]
            row = [
                act,
                epsilon,
                milliseconds(own_wall),
                "exact" if rounded else f"{own:.1f}",
                milliseconds([r.wall for r in long]),
                f"{own_long:.1f}",
            ]
            data: dict[str, Any] = {
                "act": act,
                "epsilon": epsilon,
                "snn": {"wall_s": own_wall, "digits": own, "correctly_rounded": rounded},
                f"snn_digits_{LONG}": {"wall_s": [r.wall for r in long], "digits": own_long},
            }
            for name, runs in zip(names, others, strict=True):
                wall = [r.wall for r in runs]
                times = ratios(wall, own_wall)
                result = json.loads(runs[0].output or "{}")
                claims = bool(result.get("converged"))
                digits = correct_digits(result, exact, 17) if result else None
                faster[name].append(median(times))
                if digits is not None and digits >= WRONG:
                    ahead[name].append(own - digits)
                    ahead_long.append(own_long - digits)
                row += [milliseconds(wall), f"{median(times):.1f}", outcome(digits, claims)]
                data[name] = {"wall_s": wall, "digits": digits, "reports_success": claims}
            table.rows.append(row)
            table.data.append(data)
    targets = [
        Target(
            f"{name} as a process, times longer than `snn solve`, threads: {threads}",
            f"at least {FASTER_TARGET}",
            f"{spread(faster[name], '{:.1f}')}, {sum(x >= FASTER_TARGET for x in faster[name])} of {len(faster[name])}",
            min(faster[name]) >= FASTER_TARGET,
        )
        for name in names
    ]
    cells = len(ACTS) * len(epsilons)
    targets += [
        Target(
            f"digits ahead of {name}, where it converges ({len(ahead[name])} of {cells})",
            f"at least {DIGITS_TARGET}",
            f"{spread(ahead[name], '{:.1f}')}, {sum(x >= DIGITS_TARGET for x in ahead[name])} of {len(ahead[name])}",
            min(ahead[name]) >= DIGITS_TARGET,
        )
        for name in names
        if ahead[name]
    ]
    if ahead_long:
        targets.append(
            Target(
                f"the same with `--digits {LONG}`",
                f"at least {DIGITS_TARGET}",
                spread(ahead_long, "{:.1f}"),
                min(ahead_long) >= DIGITS_TARGET,
            )
        )
    return table, targets


def rival(name: str, act: str, epsilon: str) -> list[str]:
    return python("-W", "ignore", str(Path(__file__).with_name("rivals") / f"{name}.py"), act, epsilon)


def attempt(command: Sequence[str], env: dict[str, str]) -> Run:
    """As ``run``, but a crash is a result: no output."""
    start = time.perf_counter()
    try:
        return run(command, env)
    except RuntimeError:
        return Run(time.perf_counter() - start, None, b"")


# A sweep


def floor_lselu(epsilon: str) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Alpha and beta at lambda = 1 in closed form."""
    with mpmath.workdps(LONG):
        eps = mpmath.mpf(epsilon)
        d1, d0 = (mpmath.exp(s * s / 2) * mpmath.erfc(s / mpmath.sqrt(2)) / 2 for s in (mpmath.mpf(1), mpmath.mpf(2)))
        a = mpmath.sqrt(eps / (2 * d1 - 0.5))
        return a, -2 * a * d1 + mpmath.sqrt(4 * a * a * d1 * d1 - 2 * a * a * d0 + 1 + 2 * eps)


def floor_sselu(epsilon: str) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Alpha and beta at lambda = 1 by one ``findroot`` in beta."""
    with mpmath.workdps(LONG):
        eps = mpmath.mpf(epsilon)

        def tail(s: mpmath.mpf) -> mpmath.mpf:
            return mpmath.exp(s * s / 2) * mpmath.erfc(s / mpmath.sqrt(2)) / 2

        def residual(b: mpmath.mpf) -> mpmath.mpf:
            two = tail(2 * b)
            return b * b * two / (two - 2 * tail(b) + 0.5) - 1 - 2 * eps

        b = mpmath.findroot(residual, mpmath.sqrt(8 * eps))
        return 1 / mpmath.sqrt(2 * tail(2 * b) - 4 * tail(b) + 1), b


def newton_sselu(epsilon: str) -> tuple[mpmath.mpf, mpmath.mpf]:
    """The same from a start in double precision and three Newton steps with the derivative written out."""

    def step(b: Any, eps: Any, exp: Any, erfc: Any, sqrt: Any, pi: Any) -> Any:
        def tail(s: Any) -> Any:
            return exp(s * s / 2) * erfc(s / sqrt(2)) / 2

        one, two, phi0 = tail(b), tail(2 * b), 1 / sqrt(2 * pi)
        d_one, d_two = b * one - phi0, 4 * b * two - 2 * phi0
        c = 1 + 2 * eps
        value = b * b * two - c * (two - 2 * one + 0.5)
        return b - value / (2 * b * two + b * b * d_two - c * (d_two - 2 * d_one))

    b: Any = math.sqrt(8 * float(epsilon))
    for _ in range(8):
        b = step(b, float(epsilon), math.exp, math.erfc, math.sqrt, math.pi)
    with mpmath.workdps(LONG):
        b = mpmath.mpf(b)
        for _ in range(3):
            b = step(b, mpmath.mpf(epsilon), mpmath.exp, mpmath.erfc, mpmath.sqrt, mpmath.pi)
        one, two = (mpmath.exp(s * s / 2) * mpmath.erfc(s / mpmath.sqrt(2)) / 2 for s in (b, 2 * b))
        return 1 / mpmath.sqrt(2 * two - 4 * one + 1), b


def sweep(points: int, turns: int, threads: str) -> list[Table]:
    """Cost of a solution in a sweep: within a process, and as the slope between two sweeps."""
    from snn_cli import solve

    epsilons = [f"{10 ** (-3 + 2 * i / (points - 1)):.6g}" for i in range(points)]
    tasks: dict[str, Callable[[str], object]] = {
        "lselu, `solve`": lambda e: solve("lselu", e),
        f"lselu, closed form in mpmath, {LONG} digits": floor_lselu,
        "sselu, `solve`": lambda e: solve("sselu", e),
        f"sselu, `mpmath.findroot`, {LONG} digits": floor_sselu,
        "sselu, double start and three Newton steps": newton_sselu,
    }
    found = in_turns(
        [lambda task=task: timed(lambda: [task(e) for e in epsilons]) / points for task in tasks.values()], turns
    )
    inside = Table(
        "A sweep: cost of a solution",
        f"Milliseconds a solution within one process, {_medians(turns).lower()} over {points} epsilons from 0.001\n"
        "to 0.1. `solve` gives parameters, moments, the multiplier, residuals and the range of epsilon, each\n"
        "correctly rounded; the others are hand-written, give alpha and beta only, and check nothing. The ratio is\n"
        "to the quickest of these.",
        ("solution", "ms", "ratio"),
    )
    floors = (1, 1, 4, 4, 4)
    for (name, seconds), floor in zip(zip(tasks, found, strict=True), floors, strict=True):
        own = seconds is found[floor]
        inside.rows.append(
            (name, milliseconds(seconds), "1" if own else spread(ratios(seconds, found[floor]), "{:.3g}"))
        )
        inside.data.append({"solution": name, "seconds": seconds})
    between = spread(ratios(found[2], found[0]), "{:.3g}")
    inside.text += f" One sselu costs {between} times one lselu."

    env = environment(threads)
    counts = (points, 2 * points)
    outside = Table(
        "A sweep: the whole process",
        f"`snn solve --act ACT --epsilon 0.001:0.1:COUNT:log --json`, threads: {threads}.\n"
        f"{_medians(turns)}. The slope is the cost of one more solution, printing included.",
        ("act", *(f"{n} points, ms" for n in counts), "slope, ms", "start, ms"),
    )
    for act in ACTS:
        commands = [snn("--act", act, "--epsilon", f"0.001:0.1:{n}:log", "--json") for n in counts]
        few, many = in_turns([lambda c=c: run(c, env).wall for c in commands], turns)
        slopes = [(b - a) / points for a, b in zip(few, many, strict=True)]
        start = median(few) - points * median(slopes)
        outside.rows.append(
            (act, milliseconds(few), milliseconds(many), spread([1e3 * s for s in slopes]), milliseconds([start]))
        )
        outside.data.append({"act": act, "points": counts, "wall_s": [few, many]})
    return [inside, outside]


# Growth with the digits


def growth(digits: Sequence[int], turns: int) -> Table:
    """Time of one solution by digits, with and without proof."""
    from snn_cli import solve

    try:
        import flint  # noqa: F401

        proofs = (False, True)
    except ImportError:
        proofs = (False,)
    table = Table(
        f"Growth: {digits[0]} to {digits[-1]} digits",
        f"One `solve` at epsilon = 0.03 within one process, {_medians(turns).lower()}. The exponent is local: time\n"
        "grows as the digits to that power since the line above. `certify` proves existence and rounding too.",
        (
            *("act", "digits", "ms", f"ratio to {digits[0]}", "exponent"),
            *(("certify ms", f"ratio to {digits[0]}") if len(proofs) > 1 else ()),
        ),
    )
    cases = [(act, d, proof) for act in ACTS for d in digits for proof in proofs]
    found = in_turns(
        [
            lambda act=act, d=d, proof=proof: timed(lambda: solve(act, "0.03", digits=d, certify=proof))
            for act, d, proof in cases
        ],
        turns,
    )
    times = dict(zip(cases, found, strict=True))
    for act in ACTS:
        for i, d in enumerate(digits):
            plain = times[act, d, False]
            exponent = ""
            if i:
                step = median(ratios(plain, times[act, digits[i - 1], False]))
                exponent = f"{math.log(step) / math.log(d / digits[i - 1]):.2f}"
            row = [act, str(d), milliseconds(plain), _relative(plain, times[act, digits[0], False]), exponent]
            if len(proofs) > 1:
                proved = times[act, d, True]
                row += [milliseconds(proved), _relative(proved, times[act, digits[0], True])]
            table.rows.append(row)
            table.data.append({"act": act, "digits": d, "seconds": plain, "certify_seconds": times.get((act, d, True))})
    return table


def _relative(times: Sequence[float], first: Sequence[float]) -> str:
    return "1" if times is first else f"{median(ratios(times, first)):.1f}"


# The report


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    packages = {}
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
    load = "" if found["load"] is None else f", load {found['load']} at the start"
    return "\n".join(
        [
            f"- date: {found['date']}",
            f"- machine: {found['processor']}, {found['cores']} cores, {found['system']}{load}",
            f"- Python {found['python']}; " + ", ".join(f"{name} {v}" for name, v in found["packages"].items()),
            f"- mpmath computes with: {found['mpmath_backend']}",
        ]
    )


def verdicts(targets: Sequence[Target]) -> Table:
    return Table(
        "Targets",
        "Computed from the tables. A measurement over several cases is their median and range, then how many of\n"
        "them reach the target; it is met when all do.",
        ("claim", "target", "measured", "met"),
        [(t.claim, t.target, t.measured, "yes" if t.met else "no") for t in targets],
        [asdict(t) for t in targets],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solve", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small run: few cases and turns, wide ranges")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON, with every measurement")
    parser.add_argument(
        "--threads",
        choices=("one", "default"),
        default="one",
        help="threads of numpy's linear algebra in the rivals and the sweep; one (default) favours the rivals",
    )
    given = parser.parse_args(arguments)
    quick = given.quick

    where = machine()
    start, start_targets = startup(5 if quick else 15, quick)
    plain, plain_targets = rivals(PLAIN, PLAIN_EPSILONS[:1] if quick else PLAIN_EPSILONS, 1, given.threads)
    against, against_targets = rivals(RIVALS, EPSILONS[:1] if quick else EPSILONS, 1 if quick else 3, given.threads)
    tables = [
        start,
        plain,
        against,
        *sweep(10 if quick else 40, 1 if quick else 5, given.threads),
        growth((15, 100) if quick else DIGITS, 3 if quick else 5),
        verdicts([*start_targets, *plain_targets, *against_targets]),
    ]
    if given.as_json:
        print(json.dumps({"machine": where, "tables": [asdict(t) for t in tables]}, indent=2))
    else:
        print("\n\n".join([header(where), *(t.markdown() for t in tables)]))


if __name__ == "__main__":
    main()
