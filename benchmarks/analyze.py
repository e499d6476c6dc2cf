"""Speed and accuracy of ``snn analyze``: ratios measured side by side in one run, printed as Markdown tables.

Usage: python -m benchmarks.analyze [--quick] [--json] [--threads one|default]

As `benchmarks.solve`: processes that are compared take turns, a ratio is the median over the turns, each measured
against its neighbour, and the last table sets the measurements beside their targets. A full run takes two minutes.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import mpmath

from benchmarks.common import (
    Table,
    Target,
    at_most,
    machine,
    milliseconds,
    parser,
    processes,
    python,
    ratios,
    report,
    snn,
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


def of_processes(turns: int, acts: Sequence[str], threads: str) -> tuple[Table, list[Target]]:
    """Whole processes against what they import at least, and ten activations against one."""
    requests = [("--act", act) for act in acts]
    requests += [("--act", which, *NETWORK) for which in (ONE, ",".join(TEN))]
    commands = {
        f'`python -c "{FLOOR}"`': python("-c", FLOOR),
        **{f"`snn analyze {' '.join(request)}`": snn("analyze", *request) for request in requests},
    }
    base, *found = processes(commands, turns, threads)
    table = Table(
        "The process",
        f"Medians of {turns} turns, threads: {threads}. Ratios are to the imports of the first line, with their\n"
        "range over the turns.",
        ("process", "wall ms", "CPU ms", "wall ratio", "CPU ratio"),
        [each.row(base) for each in (base, *found)],
        [each.data(threads) for each in (base, *found)],
    )
    *singles, one, ten = (each.wall for each in found)
    worst = [median(ratios(wall, base.wall)) for wall in singles]
    claim = f"one activation as a process against `{FLOOR}`, the median of each of {len(worst)}"
    return table, [
        at_most(claim, PROCESS_TARGET, worst, each=True),
        at_most(f"ten activations as a process against one ({ONE})", TEN_TARGET, ratios(ten, one)),
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
    claim = f"moments of {len(acts)} baselines, units of the last place, the worst"
    return table, at_most(claim, ULPS_TARGET, [worst])


def main(arguments: Sequence[str] | None = None) -> None:
    from snn_cli.activations import BASELINES

    options = parser("analyze", __doc__, threads="threads of numpy's linear algebra")
    given = options.parse_args(arguments)
    acts = ("gelu", "hardswish") if given.quick else tuple(BASELINES)
    where = machine()
    process, targets = of_processes(3 if given.quick else 11, acts, given.threads)
    moments, target = accuracy(acts)
    report(given.as_json, where, [process, moments, verdicts([*targets, target])])


if __name__ == "__main__":
    main()
