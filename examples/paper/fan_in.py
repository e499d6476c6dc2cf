"""Claim 4: the self-normalization property on the mean gets weaker with larger fan-in.

Weights with a common mean m, in units of their own deviation 1/sqrt(N), multiply a mean of the units by
sqrt(N) E[f'] m in every layer: it is attracted to its fixed point only for |m| < 1/(sqrt(N) E[f']). That factor is
measured on real random networks, from what one layer adds to the mean and the next adds to that; then what one and the
same m does to networks of growing fan-in.

  python fan_in.py [--quick] [--plot FILE]
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from claims import Check, Mean, agrees, points, run, script_of

from snn_cli import simulate, solve, verify

ACT, EPSILON = "lselu", "0.03"
SAME = "0.03"
"""A mean of the weights, in their deviations, for every fan-in."""

GONE = 1.0
"""A mean of the units beyond this has left; its fluctuation is about 1/sqrt(fan-in)."""


class Size(NamedTuple):
    """Inputs a network (``batch``), networks a group, over which fan-in; and networks and layers of the second part."""

    fan_ins: tuple[int, ...]
    batches: tuple[int, ...]
    trials: tuple[int, ...]
    groups: int
    networks: int
    depth: int


FULL = Size((64, 256, 1024, 4096), (256, 256, 128, 128), (24, 12, 4, 1), 12, 8, 20)
QUICK = Size((64, 256), (128, 128), (8, 2), 3, 1, 6)


class Row(NamedTuple):
    """One fan-in: the tolerance, the factor at a weight mean of just that, and networks that left at the same m."""

    fan_in: int
    tolerance: float
    factor: Mean
    factor_theory: float
    factor_same: float
    left: int
    networks: int
    last: float
    last_theory: float | None

    @property
    def measured(self) -> Mean:
        """The tolerance that the measured factor gives."""
        value = self.tolerance / self.factor.value
        return Mean(value, value * self.factor.se / self.factor.value, self.factor.groups)


def measure(size: Size) -> list[Row]:
    return [row(size, *each) for each in zip(size.fan_ins, size.batches, size.trials, strict=True)]


def row(size: Size, fan_in: int, batch: int, trials: int) -> Row:
    solution = solve(ACT, EPSILON)
    tolerance = simulate(params=solution, depth=1, fanin=fan_in, profile=False).mean_path.weight_mean_tolerance
    options: dict[str, Any] = {"params": solution, "fanin": fan_in}
    runs = [
        verify(depth=3, weight_mean=tolerance, batch=batch, trials=trials, seed=seed, **options).profile
        for seed in range(size.groups)
    ]
    singles = [
        verify(depth=size.depth, weight_mean=SAME, batch=1, trials=1, seed=seed, **options)
        for seed in range(size.networks)
    ]
    lasts = [math.inf if one.broken_layer is not None else one.profile.mean[-1] for one in singles]
    return Row(
        fan_in,
        tolerance,
        factor([run.mean for run in runs]),
        increments(runs[0].mean_theory),
        float(SAME) / tolerance,
        sum(not abs(last) < GONE for last in lasts),
        size.networks,
        sorted(abs(last) for last in lasts)[size.networks // 2],
        singles[0].profile.mean_theory[-1],
    )


def increments(means: Sequence[float]) -> float:
    """``(m[3] - m[1]) / m[2]``: what layers 2 and 3 add, over what layers 1 and 2 added; inputs have no mean."""
    return (means[3] - means[1]) / means[2]


def factor(means: Sequence[Sequence[float]]) -> Mean:
    """``increments`` of the mean over groups, with the standard error of the jackknife."""
    n = len(means)
    total = [math.fsum(column) for column in zip(*means, strict=True)]
    without = [increments([t - each for t, each in zip(total, one, strict=True)]) for one in means]
    middle = math.fsum(without) / n
    error = math.sqrt((n - 1) / n * math.fsum((value - middle) ** 2 for value in without))
    return Mean(increments(total), error, n)


def exponent(rows: Sequence[Row]) -> Mean:
    """Of the measured tolerance as a power of fan-in: weighted least squares of the logarithms."""
    x = [math.log(r.fan_in) for r in rows]
    y = [math.log(r.measured.value) for r in rows]
    w = [(r.factor.value / r.factor.se) ** 2 for r in rows]
    middle = math.fsum(a * b for a, b in zip(w, x, strict=True)) / math.fsum(w)
    square = math.fsum(a * (b - middle) ** 2 for a, b in zip(w, x, strict=True))
    slope = math.fsum(a * (b - middle) * c for a, b, c in zip(w, x, y, strict=True)) / square
    return Mean(slope, 1 / math.sqrt(square), min(r.factor.groups for r in rows))


def show(rows: Sequence[Row]) -> Iterator[str]:
    yield f"{ACT} at {EPSILON}; means of the weights in their own deviations"
    yield (
        f"{'fan-in':>6} {'tolerance':>9} {'measured':>19} {'factor at it':>16}   at {SAME}: {'factor':>6} {'left':>6} "
        f"{'|mean|':>8}"
    )
    for r in rows:
        yield (
            f"{r.fan_in:>6} {r.tolerance:>9.5f} {r.measured!s:>19} {r.factor!s:>16}            {r.factor_same:>6.3f} "
            f"{r.left:>2}/{r.networks:<2}  {r.last:>8.3g}"
        )
    yield "left: networks whose mean of the units is beyond 1 at the last layer; |mean|: of the middle one"
    yield ""


def check(rows: Sequence[Row]) -> list[Check]:
    checks = [
        agrees(f"tolerance at fan-in {r.fan_in}", r.measured, r.tolerance, r.tolerance * abs(r.factor_theory - 1))
        for r in rows
    ]
    power = exponent(rows)
    checks.append(agrees("it falls as a power of fan-in: exponent", power, -0.5))
    for r in rows:
        if r.factor_same < 0.8:
            checks.append(
                Check(
                    f"at a weight mean of {SAME} none leaves at fan-in {r.fan_in}: {r.left} of {r.networks}",
                    r.left == 0,
                )
            )
        if r.factor_same > 1.5:
            checks.append(
                Check(
                    f"at the same {SAME} all leave at fan-in {r.fan_in}: {r.left} of {r.networks}", r.left == r.networks
                )
            )
    return checks


def draw(rows: Sequence[Row], axes: Sequence[Any]) -> None:
    panel = axes[0]
    fan_ins = [r.fan_in for r in rows]
    panel.plot(fan_ins, [r.tolerance for r in rows], "C0-", lw=1, label="1 / (sqrt(N) E[f'])")
    points(panel, fan_ins, [r.measured for r in rows], 0, label="measured")
    panel.axhline(float(SAME), color="0.6", lw=1, ls=":", label=f"a mean of {SAME}")
    panel.set(xscale="log", yscale="log", xlabel="fan-in N", ylabel="tolerated mean of the weights, in deviations")
    panel.legend()


SCRIPT = script_of(
    __name__,
    "say how large the means of weights become when a network of ImageNet's size is trained; remedies.py looks at "
    "those of a small one",
)

if __name__ == "__main__":
    sys.exit(run(SCRIPT))
