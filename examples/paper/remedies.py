"""Claim 5: weight centralization, a centralized activation and mixup mend the property on the mean.

Random networks whose weights have a common mean, below the tolerance and above it, with each remedy: the mean of the
units, the second moment, and the map V_c(q) = E[f^2] - E[f]^2 of centralized networks, also for ReLU, where it differs
most from E[f^2]. Then networks that are trained on the digits: the means that their weights have got, in units of the
tolerance.

  python remedies.py [--quick] [--plot FILE]
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from claims import Check, Mean, above, agrees, below, mean_of, points, run, script_of

from snn_cli import simulate, solve, verify, verify_model

ACT, EPSILON = "lselu", "0.03"
REMEDIES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "weights": {"centralize": True},
    "activation": {"centralize_activation": True},
    "mixup": {"mixup": 1},
}
TRAINED = ("nothing", "mixup", "weights")

HELD = 0.5
"""Of ``|log10 q|``: q within a factor of 3."""

SAYS = {"nothing": "a network without remedy", "activation": "a centralized activation", "mixup": "mixup of the inputs"}


class Size(NamedTuple):
    """Random networks; then the trained: width, layers, epochs, seeds."""

    fan_in: int
    depth: int
    batch: int
    trials: int
    groups: int
    shares: tuple[float, ...]
    remedies: tuple[str, ...]
    width: int
    layers: int
    epochs: int
    seeds: int


FULL = Size(512, 20, 8, 4, 6, (0.5, 2.0), tuple(REMEDIES), 256, 6, 5, 6)
QUICK = Size(128, 8, 8, 2, 3, (2.0,), ("nothing", "weights", "activation"), 64, 4, 1, 2)


class Row(NamedTuple):
    """A remedy at a weight mean of ``share`` tolerances: mean of the units and log10 of q at the last layer."""

    remedy: str
    share: float
    mean: Mean
    log_q: Mean


class Step(NamedTuple):
    """q after some layers of a centralized network, and what V_c and V say."""

    act: str
    layers: int
    q: Mean
    centralized: float
    plain: float
    allowed: float


class Found(NamedTuple):
    rows: list[Row]
    steps: list[Step]
    mixed: dict[str, tuple[Mean, float, Mean, float]]
    trained: dict[str, list[tuple[float, float]]]
    """Over seeds: before and after."""


def measure(size: Size) -> Found:
    solution = solve(ACT, EPSILON)
    tolerance = simulate(params=solution, depth=1, fanin=size.fan_in, profile=False).mean_path.weight_mean_tolerance
    options: dict[str, Any] = {"params": solution, "fanin": size.fan_in, "batch": size.batch, "trials": size.trials}
    rows = []
    for share in size.shares:
        for name in size.remedies:
            runs = [
                verify(depth=size.depth, weight_mean=share * tolerance, seed=seed, **options, **REMEDIES[name])
                for seed in range(size.groups)
            ]
            rows.append(
                Row(
                    name, share, mean_of(run.profile.mean[-1] for run in runs),
                    mean_of(math.log10(run.profile.q[-1]) for run in runs),
                )
            )  # fmt: skip
    trained = {name: [trained_means(name, size, seed) for seed in range(size.seeds)] for name in TRAINED}
    return Found(
        rows,
        [step(act, size) for act in ("relu", ACT)],
        {name: mixed(name, size, options) for name in ("mixup", "scaled_mixup")},
        trained,
    )


def step(act: str, size: Size) -> Step:
    """Three layers; ReLU has the weights that keep q without centralization."""
    options: dict[str, Any] = (
        {"act": act, "depth": 3, "sigma_w": "he"} if act == "relu" else {"params": solve(act, EPSILON), "depth": 3}
    )
    runs = [
        verify(fanin=size.fan_in, batch=16, trials=4, seed=seed, centralize=True, **options)
        for seed in range(size.groups)
    ]
    return Step(
        act, 3, mean_of(run.profile.q[-1] for run in runs),
        simulate(centralize=True, **options).profile.q[-1], simulate(**options).profile.q[-1], 4 / size.fan_in,
    )  # fmt: skip


def mixed(name: str, size: Size, options: dict[str, Any]) -> tuple[Mean, float, Mean, float]:
    """q of inputs that are mixed, and at the last layer, with what theory says."""
    remedy = {name: 1}
    runs = [verify(depth=size.depth, seed=seed, **options, **remedy).profile for seed in range(size.groups)]
    return (
        mean_of(run.q[0] for run in runs), runs[0].q_theory[0], mean_of(run.q[-1] for run in runs), runs[0].q_theory[-1]
    )  # fmt: skip


def trained_means(remedy: str, size: Size, seed: int) -> tuple[float, float]:
    """Median over layers of |mean of the weights| over its tolerance, before and after training on the digits."""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    from snn_cli.nn import LSELU, Mixup, centralize_, self_normalizing_init_

    torch.manual_seed(seed)
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32)
    x, y = (x - x.mean()) / x.std(), torch.tensor(labels)
    modules: list[nn.Module] = [nn.Linear(64, size.width)]
    for _ in range(size.layers):
        modules += [LSELU(EPSILON), nn.Linear(size.width, size.width)]
    model = self_normalizing_init_(nn.Sequential(*modules, LSELU(EPSILON), nn.Linear(size.width, 10)))
    if remedy == "weights":
        centralize_(model)
    before = means(model, x)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    mix = Mixup(1.0, num_classes=10)
    for _ in range(size.epochs):
        for batch in torch.randperm(len(x)).split(64):
            inputs, target = (x[batch], y[batch]) if remedy != "mixup" else mix(x[batch], y[batch])
            loss = nn.functional.cross_entropy(model(inputs), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if remedy == "weights":
                centralize_(model)
    return before, means(model, x)


def means(model: Any, x: Any) -> float:
    """Of the layers between activations."""
    inner = [layer for layer in verify_model(model, x[:16]).layers if layer.weight_mean_tolerance][1:-1]
    return statistics.median(abs(layer.weight_mean) / layer.weight_mean_tolerance for layer in inner)


def show(found: Found) -> Iterator[str]:
    yield f"{ACT} at {EPSILON}, weights with a common mean, at the last layer"
    yield f"{'remedy':<11} {'mean of weights':>16} {'mean of units':>18} {'log10 q':>18}"
    for r in found.rows:
        yield f"{r.remedy:<11} {r.share:>5.1f} tolerances {r.mean!s:>18} {r.log_q!s:>18}"
    yield ""
    yield f"centralized weights, no common mean before: q after {found.steps[0].layers} layers"
    for s in found.steps:
        yield f"{s.act:<11} measured {s.q!s:>18}   V_c says {s.centralized:.5f}, V {s.plain:.5f}"
    yield ""
    yield "mixed inputs, t uniform: q of the inputs and at the last layer"
    for name, (first, first_theory, last, last_theory) in found.mixed.items():
        yield f"{name:<12} {first!s:>18} (theory {first_theory:.4f}) {last!s:>18} (theory {last_theory:.4f})"
    yield ""
    yield "trained on the digits: |mean of the weights| of a layer, in tolerances, median over layers"
    for name, seeds in found.trained.items():
        before, after = mean_of(b for b, _ in seeds), mean_of(a for _, a in seeds)
        yield f"{name:<11} before {before!s:>18}   after {after!s:>18}"
    yield ""


def check(found: Found) -> list[Check]:
    checks = []
    for r in found.rows:
        where = f"a weight mean of {r.share:g} tolerances"
        if r.remedy == "weights":
            checks.append(below(f"centralized weights hold q at {where}: |log10 q|", r.log_q.size(), HELD))
            checks.append(agrees("and the mean of the units at 0", r.mean, 0))
        elif r.share < 1:
            checks.append(below(f"{SAYS[r.remedy]} holds q at {where}: |log10 q|", r.log_q.size(), HELD))
        else:
            checks.append(above(f"{SAYS[r.remedy]} does not hold q at {where}: log10 q", r.log_q, HELD))
    for s in found.steps:
        checks.append(agrees(f"V_c, {s.act}: q after {s.layers} layers", s.q, s.centralized, s.allowed))
        if s.act == "relu":
            checks.append(below("and not V", s.q, s.plain - s.allowed))
    for name, (first, first_theory, _, _) in found.mixed.items():
        checks.append(agrees(f"{name}: q of the inputs", first, first_theory))
    none, mixup = found.trained["nothing"], found.trained["mixup"]
    grown = mean_of(after - before for before, after in none)
    checks += [
        above("training makes means of weights, in tolerances: after less before, seed by seed", grown, 0),
        below(
            "mixup makes them smaller: with it less without it, seed by seed",
            mean_of(a[1] - b[1] for a, b in zip(mixup, none, strict=True)), 0,
        ),
        below("centralized weights keep them at 0", mean_of(after for _, after in found.trained["weights"]), 1e-3),
    ]  # fmt: skip
    return checks


def draw(found: Found, axes: Sequence[Any]) -> None:
    names = [r.remedy for r in found.rows if r.share == found.rows[0].share]
    for i, share in enumerate(sorted({r.share for r in found.rows})):
        some = {r.remedy: r for r in found.rows if r.share == share}
        points(axes[0], names, [some[name].log_q for name in names], i, label=f"{share:g} tolerances")
    axes[0].set(ylabel="log10 q at the last layer")
    axes[0].legend()
    bars = {"at the start": mean_of(before for before, _ in found.trained["nothing"])}
    bars |= {name: mean_of(after for _, after in seeds) for name, seeds in found.trained.items()}
    points(axes[1], list(bars), list(bars.values()), 0)
    axes[1].set(ylabel="|mean of the weights|, in tolerances, trained")


SCRIPT = script_of(
    __name__,
    "train a network of ImageNet's fan-in, where the paper reports that the remedies count",
    panels=2,
)

if __name__ == "__main__":
    sys.exit(run(SCRIPT))
