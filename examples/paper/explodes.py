"""Claim 1: SELU explodes, or loses the property, when deep.

SELU has its own epsilon, 0.0716, so gradients grow by 1.0716^depth. With parameters for epsilon = 1/depth (dSELU) the
gradient stays, and gamma goes to 1 instead: a second moment off 1 hardly comes back. Both are measured on real random
networks, beside lSELU and sSELU at the same 1/depth.

  python explodes.py [--quick] [--plot FILE]
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from claims import Check, Mean, above, agrees, below, difference, mean_of, points, run, script_of

from snn_cli import solve, verify

ACTS = ("selu", "dselu", "lselu", "sselu")
BUDGET = 10.0
"""Factor that a squared gradient may grow or shrink by."""

RETURN = 20
"""Layers that a second moment of 2 has to come back in."""


class Size(NamedTuple):
    depths: tuple[int, ...]
    fan_in: int
    batch: int
    trials: int
    groups: int


FULL = Size((50, 100, 200), 512, 8, 6, 8)
QUICK = Size((100,), 64, 4, 3, 6)


class Row(NamedTuple):
    """One activation at one depth; ``growth`` is ``log(|g[0]|^2 / |g[L]|^2)``, ``back`` q after 20 layers from 2."""

    act: str
    depth: int
    fan_in: int
    epsilon: float
    gamma: float
    growth: Mean
    growth_theory: float
    growth_wide: float
    allowed: float
    spread: Mean
    spread_theory: float
    back: Mean
    back_theory: float
    gradient: tuple[float, ...]
    gradient_theory: tuple[float, ...]


def measure(size: Size) -> list[Row]:
    return [row(act, depth, size) for depth in size.depths for act in ACTS]


def row(act: str, depth: int, size: Size) -> Row:
    solution = solve(act) if act == "selu" else solve(act, depth=depth)
    sizes: dict[str, Any] = {"params": solution, "fanin": size.fan_in, "batch": size.batch, "trials": size.trials}
    runs = [verify(depth=depth, seed=seed, **sizes) for seed in range(size.groups)]
    back = [verify(depth=RETURN, q0=2, seed=seed, **sizes) for seed in range(size.groups)]
    profiles = [run.profile.log_gradient for run in runs]
    return Row(
        act, depth, size.fan_in, solution.epsilon, solution.gamma,
        growth=mean_of(run.measured.log_growth for run in runs),
        growth_theory=runs[0].theory.log_growth,
        growth_wide=depth * math.log1p(solution.epsilon),
        allowed=runs[0].verdict.allowance,
        spread=mean_of(run.measured.q_variance for run in runs),
        spread_theory=runs[0].theory.q_variance,
        back=mean_of(run.profile.q[-1] for run in back),
        back_theory=back[0].profile.q_theory[-1],
        gradient=tuple(math.fsum(column) / len(column) for column in zip(*profiles, strict=True)),
        gradient_theory=runs[0].profile.log_gradient_theory,
    )  # fmt: skip


def show(rows: Sequence[Row]) -> Iterator[str]:
    yield f"fan-in {rows[0].fan_in}; growth: log10 of the squared gradient, first layer over last"
    yield f"wide: the same at infinite width; q from 2: the second moment {RETURN} layers after it was 2"
    yield ""
    yield (
        f"{'act':<6} {'depth':>5} {'epsilon':>8} {'gamma':>7} {'growth':>15} {'theory':>7} {'wide':>6} "
        f"{'variance of q':>18} {'theory':>7} {'q from 2':>16} {'theory':>7}"
    )
    ten = math.log(10)
    for r in rows:
        growth = Mean(r.growth.value / ten, r.growth.se / ten)
        yield (
            f"{r.act:<6} {r.depth:>5} {r.epsilon:>8.4f} {r.gamma:>7.4f} {growth!s:>15} {r.growth_theory / ten:>7.3f} "
            f"{r.growth_wide / ten:>6.3f} {r.spread!s:>18} {r.spread_theory:>7.4f} {r.back!s:>16} {r.back_theory:>7.4f}"
        )


def check(rows: Sequence[Row]) -> list[Check]:
    deepest = max(row.depth for row in rows)
    at = {row.act: row for row in rows if row.depth == deepest}
    selu, dselu = at["selu"], at["dselu"]
    checks = [
        above(f"SELU explodes: log growth of the squared gradient at depth {deepest}", selu.growth, math.log(BUDGET)),
        *(
            below(f"{act} at 1/{deepest} does not: |log growth|", at[act].growth.size(), math.log(BUDGET))
            for act in ACTS[1:]
        ),
        *(
            agrees(f"log growth of {r.act} at depth {r.depth}", r.growth, r.growth_theory, r.allowed)
            for r in rows
        ),
        above(f"dSELU loses the property: q, {RETURN} layers after it was 2", dselu.back, 1.25),
        below("SELU keeps it: the same", selu.back, 1.1),
    ]  # fmt: skip
    for act in ("lselu", "sselu"):
        checks.append(
            above(f"{act} keeps more of it than dselu: difference of the same", difference(dselu.back, at[act].back), 0)
        )
        checks.append(
            above(f"and of the variance of q over networks ({act})", difference(dselu.spread, at[act].spread), 0)
        )
    return checks


def draw(rows: Sequence[Row], axes: Sequence[Any]) -> None:
    deepest = max(row.depth for row in rows)
    for i, r in enumerate(row for row in rows if row.depth == deepest):
        name = r.act if r.act == "selu" else f"{r.act}, 1/{deepest}"
        layers = range(deepest + 1)
        axes[0].plot(layers, [g / math.log(10) for g in r.gradient_theory], f"C{i}-", lw=1)
        some = slice(None, None, max(1, deepest // 20))
        axes[0].plot(layers[some], [g / math.log(10) for g in r.gradient[some]], f"C{i}o", ms=3, label=name)
    axes[0].set(xlabel="layer", ylabel="log10 |gradient|^2, over the last layer's")
    axes[0].legend()
    for i, act in enumerate(ACTS):
        some = [r for r in rows if r.act == act]
        left = [r.back._replace(value=r.back.value - 1) for r in some]
        points(axes[1], [r.depth for r in some], left, i, 3, label=act)
        axes[1].plot([r.depth for r in some], [r.back_theory - 1 for r in some], f"C{i}-", lw=1)
    axes[1].set(xlabel="depth that epsilon = 1/depth is for", ylabel=f"left of q - 1 = 1 after {RETURN} layers")
    axes[1].set_ylim(0)
    axes[1].legend()


SCRIPT = script_of(
    __name__,
    "show that training fails for this reason: networks here have random weights; see accuracy.py",
    panels=2,
)

if __name__ == "__main__":
    sys.exit(run(SCRIPT))
