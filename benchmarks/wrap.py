"""``snn solve`` of any activation, ``a f(b x + c) + d``: time and exactness, as Markdown tables.

Usage: python -m benchmarks.wrap [--quick] [--shaping] [--json]

As `benchmarks.solve`; about two minutes. Deep Kernel Shaping's own transformations are set beside where its
package ``dks`` is installed, and with ``--shaping`` from a temporary environment that pip installs it in: other
conditions on the same form, so that time and how well either holds its own conditions can be compared, not the results.
"""

from __future__ import annotations

import json
import time
from functools import partial
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import mpmath

from benchmarks.common import (
    Missing,
    Rival,
    Table,
    Target,
    at_least,
    at_most,
    environment,
    having,
    in_turns,
    machine,
    milliseconds,
    parser,
    ratios,
    report,
    rival,
    run,
    skipped,
    snn,
    spread,
    verdicts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPING = Rival(
    "Beside Deep Kernel Shaping",
    "dks",
    "dks",
    ("dks", "autograd", "absl-py"),
    "python -m benchmarks.wrap --shaping",
)
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


class Wrapped(NamedTuple):
    """One activation: seconds over the epsilons, and what the doubles of the first leave, and may leave."""

    act: str
    walls: list[float]
    cpus: list[float]
    left: tuple[mpmath.mpf, mpmath.mpf]
    allowed: float | None
    gamma: float
    bounds: Sequence[str]

    @property
    def share(self) -> float:
        """Of what rounding may leave."""
        return float(max(map(abs, self.left))) / self.allowed if self.allowed else 0.0

    def row(self) -> tuple[str, ...]:
        return (
            self.act,
            f"{median(self.walls):.2f}",
            f"{median(self.cpus):.2f}",
            *(mpmath.nstr(each, 2) for each in self.left),
            "" if self.allowed is None else f"{self.allowed:.1e}",
            f"{self.gamma:.6f}",
            ", ".join(self.bounds),
        )


def wrapped(act: str, rounded: bool) -> Wrapped:
    """Solved for every epsilon; ``rounded`` asks for what rounding may leave, which takes long."""
    from snn_cli import solve

    walls, cpus, records = [], [], []
    for epsilon in EPSILONS:
        start, cpu = time.perf_counter(), time.process_time()
        records.append(solve(act, epsilon))
        walls.append(time.perf_counter() - start)
        cpus.append(time.process_time() - cpu)
    one = records[0]
    params = dict(one.params)
    allowed = scale(act, params) if rounded else None
    return Wrapped(act, walls, cpus, conditions(act, params, EPSILONS[0]), allowed, one.gamma, one.active_bounds)


def in_process(acts: Sequence[str], rounded: bool) -> tuple[Table, list[Target], dict[str, list[float]]]:
    """Seconds a solution within one process, and what its doubles leave of the conditions; the seconds by name."""
    found = [wrapped(act, rounded) for act in acts]
    table = Table(
        "A wrapped activation, within one process",
        f"`solve(act, epsilon)`, medians over epsilon = {', '.join(EPSILONS)}, none solved before. What the\n"
        "printed doubles leave of the two conditions is evaluated by quadrature at 30 digits, which shares no code\n"
        "with the program; `rounding` is what the rounding of the exact parameters to doubles may leave.",
        ("act", "s", "CPU s", "E[F^2] - 1", "E[F'^2] - 1 - epsilon", "rounding", "gamma", "at an edge"),
        [each.row() for each in found],
        [{"act": each.act, "wall_s": each.walls, "cpu_s": each.cpus, "gamma": each.gamma} for each in found],
    )
    claim = f"a wrapped {ONE} within one process, CPU s"
    targets = [at_most(claim, SECONDS_TARGET, each.cpus) for each in found if each.act == ONE]
    if rounded:
        claim = "what the doubles leave of the conditions, of what rounding may leave, the worst"
        targets.append(at_most(claim, 1, [max(each.share for each in found)]))
    return table, targets, {each.act: each.walls for each in found}


def shaped(interpreter: Sequence[str], turns: int, inside: dict[str, list[float]]) -> tuple[Table, list[Target]]:
    """Whole processes, in turns; ``inside`` has the seconds that a solution takes within one, by activation."""
    env = environment("one")
    table = Table(
        SHAPING.title,
        "Whole processes, one thread. `x` is how many times longer it takes than\n"
        "`snn solve --act ACT --epsilon 0.02`. The last two columns are its own conditions, as it\n"
        "evaluates them itself.",
        ("act", "snn ms", "dks ms", "x", "of it solving, ms", "E[F^2] - 1", "slope of q - 1"),
    )
    longer: list[float] = []
    solving: list[float] = []
    for act in SHAPED:
        ours, theirs = in_turns(
            [
                partial(run, snn("solve", "--act", act, "--epsilon", EPSILONS[0], "--json"), env),
                partial(run, [*interpreter, *rival("shaping", act)], env),
            ],
            turns,
        )
        walls = [[each.wall for each in runs] for runs in (ours, theirs)]
        found = [json.loads(each.output.splitlines()[-1]) for each in theirs]
        against = ratios(walls[1], walls[0])
        longer.append(median(against))
        own = inside.get(act) or wrapped(act, False).walls
        solving.append(median(own) / median(each["solve_s"] for each in found))
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
    return table, targets_beside(longer, solving)


def targets_beside(longer: Sequence[float], solving: Sequence[float]) -> list[Target]:
    """By activation: the other's process over this one's, and solving here over solving there."""
    claim = f"`solve` within a process, times as long as dks, which solves other conditions: {', '.join(SHAPED)}"
    return [
        at_least("dks as a process, times longer than `snn solve`", 1, longer, each=True),
        at_most(claim, 1, solving, each=True),
    ]


def against_shaping(asked: bool, turns: int, inside: dict[str, list[float]]) -> tuple[Table, list[Target]]:
    """The table, or one that says why there is none."""
    try:
        with having(SHAPING, asked) as interpreter:
            return shaped(interpreter, turns, inside)
    except (Missing, RuntimeError) as reason:
        return skipped(SHAPING, reason), []


def main(arguments: Sequence[str] | None = None) -> None:
    from snn_cli.activations import BASELINES

    options = parser("wrap", __doc__)
    options.add_argument(
        "--shaping",
        action="store_true",
        help="where the package dks is not installed, install it with pip in a temporary environment",
    )
    given = options.parse_args(arguments)
    acts = (ONE, "relu") if given.quick else tuple(name for name in BASELINES if name != "linear")
    where = machine()
    table, targets, inside = in_process(acts, not given.quick)
    beside, found = against_shaping(given.shaping, 1 if given.quick else 5, inside)
    report(given.as_json, where, [table, beside, verdicts([*targets, *found])])


if __name__ == "__main__":
    main()
