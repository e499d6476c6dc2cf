"""Speed and accuracy of ``snn solve``: ratios measured side by side in one run, printed as Markdown tables.

Usage: python -m benchmarks.solve [--quick] [--json]

Run it with the Python in whose environment the project is installed. A full run takes about three minutes, a quick one
several seconds. Processes that are compared take turns, and a ratio is the median over the turns, each measured
against its neighbour, so that a change in the load of the machine meets both. Nothing here passes or fails: the last
table sets the measurements beside their targets.
"""

from __future__ import annotations

import json
import math
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import mpmath

from benchmarks.common import (
    Run,
    Table,
    Target,
    against,
    at_least,
    at_most,
    environment,
    in_turns,
    machine,
    medians,
    milliseconds,
    parser,
    processes,
    python,
    ratios,
    report,
    rival,
    run,
    snn,
    spread,
    timed,
    verdicts,
)

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

LOADED = ("import click, numpy", "import click, mpmath", "import scipy.integrate, scipy.optimize", "pass")
"""What a process is set beside, the base of the ratios first."""

STARTUP_TARGET, FASTER_TARGET, DIGITS_TARGET = 0.8, 10, 5

PLAIN, RIVALS = ("plain",), ("slsqp", "fsolve")
PLAIN_EPSILONS = ("0.03", "1e-2", "1e-4")
TITLES = {
    PLAIN: "Against SLSQP as one writes it first: numpy, scipy.stats, quadrature, a round start",
    RIVALS: "Against SLSQP and fsolve at their best: tight tolerances, scalars, a start that is already close",
}


# The start of the process


def startup(turns: int, quick: bool) -> tuple[Table, list[Target]]:
    """The whole process against importing click and numpy, as the environment is and with one thread."""
    request = ("solve", "--act", "lselu", "--epsilon", "0.03", "--json")
    commands = {
        f"`{' '.join(('snn', *request))}`": snn(*request),
        **{f'`python -c "{code}"`': python("-c", code) for code in LOADED},
    }
    if quick:
        commands = dict(list(commands.items())[:2])
    table = Table(
        "Start of the process",
        f"{medians(turns)}. The ratio is to `{LOADED[0]}`, with its range over the turns. Loading\n"
        "numpy starts the threads of its linear algebra library, by default one a core: both settings are shown.",
        ("process", "threads", "wall ms", "CPU ms", "wall ratio", "CPU ratio"),
    )
    targets = []
    for threads in ("default", "one"):
        own, base, *others = processes(commands, turns, threads)
        for each in (own, base, *others):
            name, *cells = each.row(base)
            table.rows.append((name, threads, *cells))
            table.data.append(each.data(threads))
        claim = f"`snn solve` as a process against `{LOADED[0]}`, threads: {threads}"
        targets.append(at_most(claim, STARTUP_TARGET, ratios(own.wall, base.wall)))
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


class Solved(NamedTuple):
    """One activation at one epsilon: what each way took over the turns and got; digits are of alpha and beta."""

    act: str
    epsilon: str
    wall: list[float]
    digits: float
    rounded: bool
    long_wall: list[float]
    long_digits: float
    others: dict[str, Other]

    def row(self) -> list[str]:
        cells = [self.act, self.epsilon, milliseconds(self.wall), "exact" if self.rounded else f"{self.digits:.1f}"]
        cells += [milliseconds(self.long_wall), f"{self.long_digits:.1f}"]
        for other in self.others.values():
            longer = median(ratios(other.wall, self.wall))
            cells += [milliseconds(other.wall), f"{longer:.1f}", outcome(other.digits, other.claims)]
        return cells

    def data(self) -> dict[str, Any]:
        return {
            "act": self.act,
            "epsilon": self.epsilon,
            "snn": {"wall_s": self.wall, "digits": self.digits, "correctly_rounded": self.rounded},
            f"snn_digits_{LONG}": {"wall_s": self.long_wall, "digits": self.long_digits},
            **{
                name: {"wall_s": other.wall, "digits": other.digits, "reports_success": other.claims}
                for name, other in self.others.items()
            },
        }


class Other(NamedTuple):
    """What a rival took and got, None where it crashed, and whether it calls that a success."""

    wall: list[float]
    digits: float | None
    claims: bool


def solved(act: str, epsilon: str, names: Sequence[str], turns: int, env: dict[str, str]) -> Solved:
    """All ways in turns, held against the reference."""
    exact = reference(act, epsilon)
    request = ("solve", "--act", act, "--epsilon", epsilon, "--json")
    ours = [snn(*request), snn(*request, "--digits", str(LONG))]
    tasks = [
        *(partial(run, command, env) for command in ours),
        *(partial(attempt, script(name, act, epsilon), env) for name in names),
    ]
    plain, long, *others = in_turns(tasks, turns, warm=0)
    record, long_record = json.loads(plain[0].output), json.loads(long[0].output)
    return Solved(
        act,
        epsilon,
        [r.wall for r in plain],
        correct_digits(record["params"], exact, DOUBLE),
        all(record["params"][name] == float(x) for name, x in exact.items()),
        [r.wall for r in long],
        correct_digits(long_record["decimals"], exact, LONG),
        {name: judged(runs, exact) for name, runs in zip(names, others, strict=True)},
    )


def judged(runs: Sequence[Run], exact: dict[str, mpmath.mpf]) -> Other:
    result = json.loads(runs[0].output or "{}")
    digits = correct_digits(result, exact, 17) if result else None
    return Other([r.wall for r in runs], digits, bool(result.get("converged")))


def rivals(names: Sequence[str], epsilons: Sequence[str], turns: int, threads: str) -> tuple[Table, list[Target]]:
    """Time of the process and correct digits, against scripts that minimise or solve on quadrature."""
    env = environment(threads)
    for name in names:  # warm the disk
        run(script(name, "lselu", "1e-2"), env)
    cases = [solved(act, epsilon, names, turns, env) for act in ACTS for epsilon in epsilons]
    table = Table(
        TITLES[names],
        "The whole process, and the correct digits of alpha and beta against a reference of 60 digits that shares no\n"
        "code with the program. The rivals are in `benchmarks/rivals/`.\n"
        f"{medians(turns)}, threads: {threads}. `x` is how many times longer the rival takes. `exact` means that\n"
        "both doubles are the nearest to the true values (at least 15.95 digits); `wrong point` is a result with\n"
        f"fewer than {WRONG} correct digits that the rival calls a success, `fails` one that it calls a failure.",
        (
            *("act", "epsilon", "snn ms", "digits", f"`--digits {LONG}` ms", "digits"),
            *(part for name in names for part in (f"{name} ms", "x", "digits")),
        ),
        [case.row() for case in cases],
        [case.data() for case in cases],
    )
    return table, beaten(names, cases, threads)


def beaten(names: Sequence[str], cases: Sequence[Solved], threads: str) -> list[Target]:
    """How much longer the rivals take, and how many digits they lose where they converge."""
    found = []
    for name in names:
        longer = [median(ratios(case.others[name].wall, case.wall)) for case in cases]
        claim = f"{name} as a process, times longer than `snn solve`, threads: {threads}"
        found.append(at_least(claim, FASTER_TARGET, longer, "{:.1f}", each=True))
    ahead: dict[str, list[float]] = {name: [] for name in names}
    ahead_long = []
    for case in cases:
        for name, other in case.others.items():
            if other.digits is not None and other.digits >= WRONG:
                ahead[name].append(case.digits - other.digits)
                ahead_long.append(case.long_digits - other.digits)
    for name, digits in ahead.items():
        if digits:
            claim = f"digits ahead of {name}, where it converges ({len(digits)} of {len(cases)})"
            found.append(at_least(claim, DIGITS_TARGET, digits, "{:.1f}", each=True))
    if ahead_long:
        found.append(at_least(f"the same with `--digits {LONG}`", DIGITS_TARGET, ahead_long, "{:.1f}", each=True))
    return found


def script(name: str, act: str, epsilon: str) -> list[str]:
    return python("-W", "ignore", *rival(name, act, epsilon))


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


def sweep(points: int, turns: int, threads: str) -> tuple[list[Table], list[Target]]:
    """Cost of a solution in a sweep: within a process, and as the slope between two sweeps."""
    inside, targets = sweep_inside(points, turns)
    return [inside, sweep_outside(points, turns, threads)], targets


def sweep_inside(points: int, turns: int) -> tuple[Table, list[Target]]:
    """Beside the quickest that one could write by hand."""
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
    table = Table(
        "A sweep: cost of a solution",
        f"Milliseconds a solution within one process, {medians(turns).lower()} over {points} epsilons from 0.001\n"
        "to 0.1. `solve` gives parameters, moments, the multiplier, residuals and the range of epsilon, each\n"
        "correctly rounded; the others are hand-written, give alpha and beta only, and check nothing. The ratio is\n"
        f"to the quickest of these. One sselu costs {spread(ratios(found[2], found[0]), '{:.3g}')} times one lselu.",
        ("solution", "ms", "ratio"),
    )
    for name, seconds, floor in zip(tasks, found, (1, 1, 4, 4, 4), strict=True):
        table.rows.append((name, milliseconds(seconds), against(seconds, found[floor], "{:.3g}")))
        table.data.append({"solution": name, "seconds": seconds})
    targets = []
    for own, other in ((0, 1), (2, 3), (2, 4)):
        act, way = list(tasks)[other].split(", ", maxsplit=1)
        claim = f"{act}, `solve` within a process, times as long as by hand, which checks nothing: {way}"
        targets.append(at_most(claim, 1, ratios(found[own], found[other]), "{:.3g}"))
    return table, targets


def sweep_outside(points: int, turns: int, threads: str) -> Table:
    """As processes."""
    env = environment(threads)
    counts = (points, 2 * points)
    table = Table(
        "A sweep: the whole process",
        f"`snn solve --act ACT --epsilon 0.001:0.1:COUNT:log --json`, threads: {threads}.\n"
        f"{medians(turns)}. The slope is the cost of one more solution, printing included.",
        ("act", *(f"{n} points, ms" for n in counts), "slope, ms", "start, ms"),
    )
    for act in ACTS:
        commands = [snn("solve", "--act", act, "--epsilon", f"0.001:0.1:{n}:log", "--json") for n in counts]
        few, many = in_turns([lambda c=c: run(c, env).wall for c in commands], turns)
        slopes = [(b - a) / points for a, b in zip(few, many, strict=True)]
        start = median(few) - points * median(slopes)
        table.rows.append(
            (act, milliseconds(few), milliseconds(many), spread([1e3 * s for s in slopes]), milliseconds([start]))
        )
        table.data.append({"act": act, "points": counts, "wall_s": [few, many]})
    return table


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
        f"One `solve` at epsilon = 0.03 within one process, {medians(turns).lower()}. The exponent is local: time\n"
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


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(
        "solve",
        __doc__,
        threads="threads of numpy's linear algebra in the rivals and the sweep; one favours the rivals",
    )
    given = options.parse_args(arguments)
    quick = given.quick
    where = machine()
    start, start_targets = startup(5 if quick else 15, quick)
    plain, plain_targets = rivals(PLAIN, PLAIN_EPSILONS[:1] if quick else PLAIN_EPSILONS, 1, given.threads)
    against_best, best_targets = rivals(RIVALS, EPSILONS[:1] if quick else EPSILONS, 3, given.threads)
    swept, sweep_targets = sweep(10 if quick else 40, 3 if quick else 5, given.threads)
    tables = [
        start,
        plain,
        against_best,
        *swept,
        growth((15, 100) if quick else DIGITS, 3 if quick else 5),
        verdicts([*start_targets, *plain_targets, *best_targets, *sweep_targets]),
    ]
    report(given.as_json, where, tables)


if __name__ == "__main__":
    main()
