"""Calibration of ``snn verify``: how often its test rejects a right theory, and a wrong one, over random networks.

Usage: python -m benchmarks.calibration [--configurations N] [--seed N] [--threads N] [--json]

Run it with the Python in whose environment the project is installed, with its extra ``torch``. The 300 configurations
of a full run take about three minutes. Each is measured once, and its networks are held against the theory of the
activation that they have, and against that of one with 5 % more gain a layer. Nothing here passes or fails.
"""

from __future__ import annotations

import math
import sys
import time
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.common import Table, machine, parser, report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from snn_cli.engine.measure import Trials

LEVELS = (0.05, 0.01, 0.001)
GAIN = 1.05
"""Backward gain of a layer under the wrong theory, over that under the right one."""

ACTS = ("selu", "lselu", "sselu", "tanh", "relu")
SIGMA_W = {"tanh": "1.3", "relu": "he"}
EPSILONS = (0.005, 0.08)
SIZES = {"fan_in": (64, 256), "depth": (10, 60), "batch": (4, 32), "trials": (4, 64)}
SMALL = {"fan_in": (64, 96), "depth": (10, 30), "batch": (4, 12), "trials": (8, 24)}
"""For the test suite: two of these take less time than one of the others."""

MEMORY = 1 << 30


class Configuration(NamedTuple):
    """One run of ``snn verify``; ``epsilon`` of the activations that are solved for it."""

    act: str
    epsilon: float | None
    weights: str
    fan_in: int
    depth: int
    batch: int
    trials: int
    seed: int

    def options(self, epsilon: float | None) -> dict[str, Any]:
        """Arguments of ``verify``."""
        return {
            "act": self.act,
            "epsilon": epsilon,
            "weights": self.weights,
            "sigma_w": SIGMA_W.get(self.act),
            "fanin": self.fan_in,
            "depth": self.depth,
            "batch": self.batch,
            "trials": self.trials,
            "seed": self.seed,
        }


class Outcome(NamedTuple):
    """P-values of a configuration under the right theory and under the wrong one, and z of the log growth."""

    right: float
    wrong: float
    z: float


def configurations(count: int, seed: int = 0, sizes: Mapping[str, tuple[int, int]] = SIZES) -> list[Configuration]:
    """Random ones: sizes spread evenly over their logarithms, the rest over what there is."""
    chance = Random(seed)

    def size(ends: tuple[float, float]) -> float:
        return math.exp(chance.uniform(*map(math.log, ends)))

    found = []
    for _ in range(count):
        act = chance.choice(ACTS)
        epsilon = round(size(EPSILONS), 4) if act in ("lselu", "sselu") else None
        weights = chance.choice(("gaussian", "orthogonal"))
        fan_in, depth, batch, trials = (round(size(sizes[name])) for name in SIZES)
        number = chance.randrange(2**31)
        found.append(Configuration(act, epsilon, weights, fan_in, depth, batch, trials, number))
    return found


def measured(one: Configuration, threads: int = 1) -> Trials:
    """The networks of a configuration, as ``verify`` runs them."""
    import torch

    from snn_cli import verification
    from snn_cli.engine.measure import measure
    from snn_cli.simulation import simulate
    from snn_cli.verification.networks import networks

    request = verification.check(**one.options(one.epsilon))
    run = networks(simulate(**request.theory), request)
    found, complete = measure(
        run.architecture,
        range(one.trials),
        one.batch,
        seed=one.seed,
        dtype="float32",
        device=torch.device("cpu"),
        threads=threads,
        memory=MEMORY,
    )
    assert complete
    return found


def judged(one: Configuration, found: Trials) -> Outcome:
    """The verdict's test under both theories."""
    right, wrong = predicted(one, one.epsilon), wrong_prediction(one)
    growth = found.log_gradient[:, 0]
    z = (growth.mean() - right.log_gradient[0]) / (growth.std(ddof=1) / math.sqrt(len(growth)))
    return Outcome(p_value(found, right), p_value(found, wrong), float(z))


def predicted(one: Configuration, epsilon: float | None) -> Any:
    """Theory, as ``verify`` holds it against a measurement."""
    from snn_cli import prediction, verification
    from snn_cli.simulation import simulate

    request = verification.check(**one.options(epsilon))
    return prediction.predict(request.theory, simulate(**request.theory), request.stages, request.batch)


def wrong_prediction(one: Configuration) -> Any:
    """Theory of the activation solved for more gain; of one that has no epsilon, its own with more gain put in."""
    if one.epsilon is not None:
        return predicted(one, GAIN * (1 + one.epsilon) - 1)
    wrong = predicted(one, None)
    return wrong._replace(log_gradient=wrong.log_gradient + math.log(GAIN) * np.arange(one.depth, -1, -1))


def p_value(found: Trials, prediction: Any) -> float:
    from snn_cli.verification.verdict import test

    p = test(found, prediction).p_value
    assert p is not None
    return p


def outcomes(chosen: Iterable[Configuration], threads: int = 1, total: int = 0) -> list[Outcome]:
    """Of every configuration; counted on standard error where a total is given."""
    found = []
    for one in chosen:
        found.append(judged(one, measured(one, threads)))
        if total and sys.stderr.isatty():
            print(f"\r{len(found)}/{total}", end="", file=sys.stderr)
    if total and sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    return found


def most_rejections(count: int, level: float, confidence: float = 0.9999) -> int:
    """Rejections that a test at its nominal level exceeds with the remaining probability only."""
    from scipy.stats import binom

    return int(binom.ppf(confidence, count, level))


def distance(p_values: Sequence[float]) -> tuple[float, float]:
    """Kolmogorov's distance to uniform: towards small p, where a test rejects too often, and towards large."""
    p: NDArray[np.float64] = np.sort(np.array(p_values))
    n = len(p)
    return float((np.arange(1, n + 1) / n - p).max()), float((p - np.arange(n) / n).max())


def share(hits: int, count: int) -> str:
    """With its binomial error, which a count of nought or all has too: that of one hit."""
    inside = min(max(hits, 1), count - 1) / count if count > 1 else 0.5
    return f"{hits / count:.4f} +- {math.sqrt(inside * (1 - inside) / count):.4f}"


# The tables


def rates(found: Sequence[Outcome]) -> Table:
    table = Table(
        "The right theory",
        "Share of configurations that the test rejects, with its binomial error, and the number that a test at the\n"
        "nominal level exceeds with probability 0.0001 only. The test allows theory an error of second order in\n"
        "1/fan-in, so it may reject less often than its level.",
        ("level", "rejected", "share", "at most, by chance"),
    )
    for level in LEVELS:
        hits = sum(one.right < level for one in found)
        bound = most_rejections(len(found), level)
        table.rows.append((f"{level:g}", f"{hits} of {len(found)}", share(hits, len(found)), str(bound)))
        table.data.append({"level": level, "rejected": hits, "of": len(found), "bound": bound})
    small, large = distance([one.right for one in found])
    critical = math.sqrt(-math.log(0.01 / 2) / (2 * len(found)))
    table.text += (
        f"\nKolmogorov's distance of the p-values to uniform: {small:.3f} towards small p, {large:.3f} towards large;\n"
        f"{critical:.3f} is exceeded by chance once in a hundred. z of the log growth has the mean "
        f"{np.mean([one.z for one in found]):.2f}."
    )
    return table


def power(chosen: Sequence[Configuration], found: Sequence[Outcome]) -> Table:
    table = Table(
        "A wrong theory: 5 % more gain a layer",
        "Share of configurations that the test rejects, by the number of networks: few of them leave the test few\n"
        "degrees of freedom, and their own scatter is not well known.",
        ("networks", "configurations", *(f"rejected at {level:g}" for level in LEVELS)),
    )
    groups = [("4 to 7", 4, 7), ("8 to 15", 8, 15), ("16 to 31", 16, 31), ("32 to 64", 32, 64), ("all", 0, 10**9)]
    for name, least, most in groups:
        ps = [outcome.wrong for one, outcome in zip(chosen, found, strict=True) if least <= one.trials <= most]
        if ps:
            shares = [share(sum(p < level for p in ps), len(ps)) for level in LEVELS]
            table.rows.append((name, str(len(ps)), *shares))
            table.data.append({"networks": [least, most], "p_values": ps})
    return table


def kinds(chosen: Sequence[Configuration], found: Sequence[Outcome]) -> Table:
    """Where a test that is off is off."""
    table = Table(
        "The right theory, by kind",
        "Rejections at the level 0.05, of the configurations of a kind.",
        ("kind", "configurations", "rejected at 0.05", "mean p"),
    )
    cells: dict[str, list[float]] = {}
    for one, outcome in zip(chosen, found, strict=True):
        size = "4 to 15" if one.trials < 16 else "16 to 64"
        width = "64 to 127" if one.fan_in < 128 else "128 to 256"
        for kind in (one.act, f"{one.weights} weights", f"{size} networks", f"fan-in {width}"):
            cells.setdefault(kind, []).append(outcome.right)
    for kind, ps in sorted(cells.items()):
        hits = sum(p < LEVELS[0] for p in ps)
        table.rows.append((kind, str(len(ps)), share(hits, len(ps)), f"{np.mean(ps):.2f}"))
        table.data.append({"kind": kind, "p_values": ps})
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    from snn_cli.engine.measure import default_threads

    options = parser("calibration", __doc__, quick=False)
    options.add_argument("--configurations", type=int, default=300, metavar="N", help="how many (300)")
    options.add_argument("--seed", type=int, default=0, metavar="N", help="which (0)")
    options.add_argument("--threads", type=int, metavar="N", help="networks side by side (the processors)")
    given = options.parse_args(arguments)
    if given.configurations < 1:
        options.error("--configurations must be at least 1")

    where = machine()
    chosen = configurations(given.configurations, given.seed)
    start = time.perf_counter()
    found = outcomes(chosen, given.threads or default_threads(), len(chosen))
    end = f"{len(found)} configurations from seed {given.seed} in {time.perf_counter() - start:.0f} s."
    each = [{**one._asdict(), **outcome._asdict()} for one, outcome in zip(chosen, found, strict=True)]
    report(
        given.as_json,
        where,
        [rates(found), power(chosen, found), kinds(chosen, found)],
        end=end,
        configurations=each,
    )


if __name__ == "__main__":
    main()
