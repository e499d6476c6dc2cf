"""Speed and accuracy of ``snn analyze``: ratios measured side by side in one run, printed as Markdown tables.

Usage: python -m benchmarks.analyze [--quick] [--json] [--threads one|default]

As `benchmarks.solve`: processes that are compared take turns, a ratio is the median over the turns, each measured
against its neighbour, and the last table sets the measurements beside their targets. A full run takes two minutes.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import mpmath

from benchmarks.solve import (
    Table,
    Target,
    environment,
    header,
    in_turns,
    machine,
    milliseconds,
    optional,
    python,
    ratios,
    run,
    snn,
    spread,
    timed,
    verdicts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TEN = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "softplus", "hardswish")
NETWORK = ("--fanin", "1024", "--depth", "100")
FLOOR = "import click, numpy, scipy.special"
ONE = "gelu"

PROCESS_TARGET, TEN_TARGET, ULPS_TARGET = 1.5, 2.0, 1.0

MOMENTS = ("mean", "second_moment", "chi", "gamma", "kappa", "mean_slope")


def analyze_command(*arguments: str) -> list[str]:
    return [*snn()[:-1], "analyze", *arguments]


def processes(turns: int, acts: Sequence[str], threads: str) -> tuple[Table, list[Target]]:
    """Whole processes against what they import at least, and ten activations against one."""
    ten = ",".join(TEN)
    commands = {
        f'`python -c "{FLOOR}"`': python("-c", FLOOR),
        **{f"`snn analyze --act {act}`": analyze_command("--act", act) for act in acts},
        f"`snn analyze --act {ONE} {' '.join(NETWORK)}`": analyze_command("--act", ONE, *NETWORK),
        f"`snn analyze --act {ten} {' '.join(NETWORK)}`": analyze_command("--act", ten, *NETWORK),
    }
    env = environment(threads)
    found = in_turns([partial(run, command, env) for command in commands.values()], turns)
    walls = [[r.wall for r in runs] for runs in found]
    cpus = [optional([r.cpu for r in runs]) for runs in found]
    table = Table(
        "The process",
        f"Medians of {turns} turns, threads: {threads}. Ratios are to the imports of the first line, with their\n"
        "range over the turns.",
        ("process", "wall ms", "CPU ms", "wall ratio", "CPU ratio"),
    )
    for name, wall, cpu in zip(commands, walls, cpus, strict=True):
        first = wall is walls[0]
        table.rows.append(
            (
                name,
                milliseconds(wall),
                milliseconds(cpu) if cpu else "",
                "1" if first else spread(ratios(wall, walls[0])),
                "1" if first else spread(ratios(cpu, cpus[0])) if cpu else "",
            )
        )
        table.data.append({"process": name.strip("`"), "threads": threads, "wall_s": wall, "cpu_s": cpu})
    worst = [median(ratios(wall, walls[0])) for wall in walls[1:-2]]
    both = ratios(walls[-1], walls[-2])
    return table, [
        Target(
            f"one activation as a process against `{FLOOR}`, the median of each of {len(worst)}",
            f"at most {PROCESS_TARGET}",
            f"{spread(worst)}, {sum(x <= PROCESS_TARGET for x in worst)} of {len(worst)}",
            max(worst) <= PROCESS_TARGET,
        ),
        Target(
            f"ten activations as a process against one ({ONE})",
            f"at most {TEN_TARGET}",
            spread(both),
            median(both) <= TEN_TARGET,
        ),
    ]


def exact_moments(act: str) -> dict[str, mpmath.mpf]:
    """By mpmath's own quadrature, on panels of the line split at kinks, to 30 digits."""
    from snn_cli import activations

    baseline = activations.find(act)
    with mpmath.workdps(34):
        ends = sorted(
            {mpmath.mpf(k) for k in (-14, -9, -6, -4, -2, -1, 0, 1, 2, 4, 6, 9, 14)}
            | set(baseline.kinks(mpmath.mp, {}))
        )

        def expectation(g: Any) -> mpmath.mpf:
            return sum(
                mpmath.quad(lambda z: g(z, *baseline.precise(mpmath.mp, z, {})) * mpmath.npdf(z), [a, b])
                for a, b in pairwise(ends)
            )

        chi = expectation(lambda _z, _f, df: df * df)
        return {
            "mean": expectation(lambda _z, f, _df: f),
            "second_moment": expectation(lambda _z, f, _df: f * f),
            "chi": chi,
            "gamma": expectation(lambda z, f, df: z * f * df),
            "kappa": expectation(lambda _z, _f, df: df**4) / chi**2,
            "mean_slope": expectation(lambda _z, _f, df: df),
        }


def accuracy(acts: Sequence[str]) -> tuple[Table, Target]:
    """Units in the last place between the record and quadrature at 30 digits, and the time of a record."""
    from snn_cli import analyze

    table = Table(
        "Moments",
        "Distance of the doubles in the record from quadrature at 30 digits, in units of the last place (half a\n"
        "unit is the nearest double); `ms` is the record of one activation within a process, when it is made first.",
        ("act", *MOMENTS, "ms"),
    )
    worst = 0.0
    for act in acts:
        seconds = timed(lambda act=act: analyze(act))
        record, exact = analyze(act), exact_moments(act)
        distances = []
        for name in MOMENTS:
            value = getattr(record, name)
            unit = math.ulp(float(exact[name])) if abs(exact[name]) > 1e-25 else 2.0**-60
            distances.append(float(abs(value - exact[name]) / unit))
        worst = max(worst, *distances)
        table.rows.append((act, *(f"{d:.2f}" for d in distances), milliseconds([seconds])))
        table.data.append({"act": act, "ulps": distances, "seconds": seconds})
    claim = f"moments of {len(acts)} baselines, units of the last place"
    return table, Target(claim, f"at most {ULPS_TARGET:g}", f"{worst:.2f} at worst", worst <= ULPS_TARGET)


def main(arguments: Sequence[str] | None = None) -> None:
    from snn_cli.activations import BASELINES

    parser = argparse.ArgumentParser(prog="python -m benchmarks.analyze", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small run: few cases and turns, wide ranges")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON, with every measurement")
    parser.add_argument(
        "--threads", choices=("one", "default"), default="one", help="threads of numpy's linear algebra"
    )
    given = parser.parse_args(arguments)
    acts = ("gelu", "hardswish") if given.quick else tuple(BASELINES)
    where = machine()
    process, targets = processes(3 if given.quick else 11, acts, given.threads)
    moments, target = accuracy(acts)
    tables = [process, moments, verdicts([*targets, target])]
    if given.as_json:
        print(json.dumps({"machine": where, "tables": [asdict(t) for t in tables]}, indent=2))
    else:
        print("\n\n".join([header(where), *(t.markdown() for t in tables)]))


if __name__ == "__main__":
    main()
