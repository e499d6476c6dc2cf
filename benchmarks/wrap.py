"""``snn solve`` of any activation, ``a f(b x + c) + d``: time and exactness, as Markdown tables.

Usage: python -m benchmarks.wrap [--quick] [--shaping] [--json]

As `benchmarks.solve`; about two minutes. ``--shaping`` sets Deep Kernel Shaping's own transformations beside, from the
package ``dks``, installed with pip in a temporary environment: other conditions on the same form, so that time and how
well either holds its own conditions can be compared, not the results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import mpmath

from benchmarks.simulate import Missing, install, rival
from benchmarks.solve import (
    Table,
    Target,
    environment,
    header,
    in_turns,
    machine,
    milliseconds,
    ratios,
    run,
    snn,
    spread,
    verdicts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPING = ("dks", "autograd", "absl-py")
SHAPED = ("tanh", "softplus", "leaky_relu")
EPSILONS = ("0.02", "0.03", "0.05")
ONE, SECONDS_TARGET = "gelu", 0.5


def conditions(act: str, params: dict[str, float], epsilon: str) -> tuple[mpmath.mpf, mpmath.mpf]:
    """``E[F^2] - 1`` and ``E[F'^2] - 1 - epsilon`` of the doubles in a record, by quadrature of F at 30 digits."""
    from snn_cli import activations

    wrapped = activations.find(act, params)
    with mpmath.workdps(34):
        p = {name: mpmath.mpf(value) for name, value in params.items()}
        fine = [mpmath.mpf(k) / 4 for k in range(-56, 57)]
        ends = sorted({*fine, *(at for at in wrapped.kinks(mpmath.mp, p) if abs(at) < 14)})

        def expectation(k: int) -> mpmath.mpf:
            return sum(
                mpmath.quad(lambda z: wrapped.precise(mpmath.mp, z, p)[k] ** 2 * mpmath.npdf(z), [a, b], maxdegree=4)
                for a, b in pairwise(ends)
            )

        return expectation(0) - 1, expectation(1) - 1 - mpmath.mpf(epsilon)


def scale(act: str, params: dict[str, float]) -> float:
    """What rounding the parameters may do to the conditions, in units of 2^-53: one for each of ``a, b, c, d``."""
    h = 2.0**-53
    base = conditions(act, params, EPSILONS[0])
    moved = [conditions(act, params | {name: value * (1 + h * 2**20)}, EPSILONS[0]) for name, value in params.items()]
    return float(sum(max(abs(m - b) for m, b in zip(each, base, strict=True)) for each in moved) / 2**20)


def in_process(acts: Sequence[str], rounded: bool) -> tuple[Table, list[Target]]:
    """Seconds a solution within one process, and what its doubles leave of the conditions."""
    from snn_cli import solve

    table = Table(
        "A wrapped activation, within one process",
        f"`solve(act, epsilon)`, medians over epsilon = {', '.join(EPSILONS)}, none solved before. What the\n"
        "printed doubles leave of the two conditions is evaluated by quadrature at 30 digits, which shares no code\n"
        "with the program; `rounding` is what the rounding of the exact parameters to doubles may leave.",
        ("act", "s", "CPU s", "E[F^2] - 1", "E[F'^2] - 1 - epsilon", "rounding", "gamma", "at an edge"),
    )
    targets = []
    worst = 0.0
    for act in acts:
        walls, cpus, records = [], [], []
        for epsilon in EPSILONS:
            start, cpu = time.perf_counter(), time.process_time()
            records.append(solve(act, epsilon))
            walls.append(time.perf_counter() - start)
            cpus.append(time.process_time() - cpu)
        one = records[0]
        second, gain = conditions(act, dict(one.params), EPSILONS[0])
        allowed = scale(act, dict(one.params)) if rounded else None
        if allowed:
            worst = max(worst, float(max(abs(second), abs(gain))) / allowed)
        table.rows.append(
            (
                act,
                f"{median(walls):.2f}",
                f"{median(cpus):.2f}",
                mpmath.nstr(second, 2),
                mpmath.nstr(gain, 2),
                "" if allowed is None else f"{allowed:.1e}",
                f"{one.gamma:.6f}",
                ", ".join(one.active_bounds),
            )
        )
        table.data.append({"act": act, "wall_s": walls, "cpu_s": cpus, "gamma": one.gamma})
        if act == ONE:
            targets.append(
                Target(
                    f"a wrapped {ONE} within one process, CPU s",
                    f"at most {SECONDS_TARGET}",
                    spread(cpus),
                    median(cpus) <= SECONDS_TARGET,
                )
            )
    if rounded:
        targets.append(
            Target(
                "what the doubles leave of the conditions, of what rounding may leave",
                "at most 1",
                f"{worst:.2f} at worst",
                worst <= 1,
            )
        )
    return table, targets


def shaped(interpreter: Sequence[str], turns: int) -> tuple[Table, list[Target]]:
    """Whole processes, in turns."""
    env = environment("one")
    table = Table(
        "Beside Deep Kernel Shaping",
        "Whole processes, one thread. `x` is how many times longer it takes than\n"
        "`snn solve --act ACT --epsilon 0.02`. The last two columns are its own conditions, as it\n"
        "evaluates them itself.",
        ("act", "snn ms", "dks ms", "x", "of it solving, ms", "E[F^2] - 1", "slope of q - 1"),
    )
    longer: list[float] = []
    for act in SHAPED:
        ours, theirs = in_turns(
            [
                partial(run, snn("--act", act, "--epsilon", EPSILONS[0], "--json"), env),
                partial(run, [*interpreter, *rival("shaping", act)], env),
            ],
            turns,
        )
        walls = [[each.wall for each in runs] for runs in (ours, theirs)]
        found = [json.loads(each.output.splitlines()[-1]) for each in theirs]
        against = ratios(walls[1], walls[0])
        longer.append(median(against))
        table.rows.append(
            (
                act,
                milliseconds(walls[0]),
                milliseconds(walls[1]),
                spread(against),
                milliseconds([each["solve_s"] for each in found]),
                f"{found[0]['second']:.1e}",
                "" if act == "leaky_relu" else f"{found[0]['slope']:.1e}",
            )
        )
        table.data.append({"act": act, "snn_s": walls[0], "dks_s": walls[1], "found": found})
    claim = "dks as a process, times longer than `snn solve`"
    return table, [Target(claim, "at least 1", spread(longer), min(longer) >= 1)]


def against_shaping(turns: int) -> tuple[Table, list[Target]]:
    """The table, or one that says why there is none."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return shaped(install(folder, SHAPING), turns)
    except (Missing, RuntimeError) as reason:
        row = (" ".join(SHAPING), str(reason).replace("|", "/"))
        text = "It could not be installed, or run, in an environment of its own."
        return Table("Beside Deep Kernel Shaping: skipped", text, ("pip install", "reason"), [row]), []


def main(arguments: Sequence[str] | None = None) -> None:
    from snn_cli.activations import BASELINES

    parser = argparse.ArgumentParser(prog="python -m benchmarks.wrap", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few activations and turns")
    parser.add_argument("--shaping", action="store_true", help="compare with the package dks, installed with pip")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON, with every measurement")
    given = parser.parse_args(arguments)
    acts = (ONE, "relu") if given.quick else tuple(name for name in BASELINES if name != "linear")
    where: dict[str, Any] = machine()
    table, targets = in_process(acts, not given.quick)
    tables = [table]
    if given.shaping:
        beside, found = against_shaping(1 if given.quick else 5)
        tables.append(beside)
        targets += found
    tables.append(verdicts(targets))
    if given.as_json:
        print(json.dumps({"machine": where, "tables": [asdict(t) for t in tables]}, indent=2))
    else:
        print("\n\n".join([header(where), *(t.markdown() for t in tables)]))


if __name__ == "__main__":
    main()
