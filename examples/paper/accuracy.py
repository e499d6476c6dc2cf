"""Claim 6: accuracy, on the data at hand.

The paper: lSELU and sSELU are up to 2.13 points more accurate than SELU on CIFAR-10, CIFAR-100 and Tiny ImageNet, and
sSELU with mixup, a trainable lambda and a centralized activation is better than batch normalization in MobileNet V1 on
ImageNet. Here: perceptrons on the embedded digits, every variant at its best learning rate of those tried, the same
seeds for all; a depth that all of them bear, and one that SELU does not. With --data and --data-dir the same
comparison on files of your own:

  python accuracy.py [--quick] [--plot FILE]
  python accuracy.py --data cifar10 --data-dir DIR [--device cuda]     the command it stands for is printed first
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from claims import Check, Mean, above, below, conclude, mean_of, parser, points, script_of

from snn_cli import Training, train

POINT = 100.0
"""Accuracies are fractions; differences are said in percentage points."""

PAPER = 2.13


class Size(NamedTuple):
    """Comparisons, each the options of ``snn train``; the first variant is the baseline."""

    comparisons: tuple[dict[str, str], ...]


def comparison(act: str, depth: str, epochs: str, seeds: str, lr: str, width: str = "128") -> dict[str, str]:
    return {"act": act, "depth": depth, "fanin": width, "epochs": epochs, "seeds": seeds, "lr": lr}


FULL = Size(
    (
        comparison("selu,dselu,lselu,sselu", "16", "6", "5", "0.003,0.01"),
        comparison("selu,dselu,lselu,sselu", "128", "5", "3", "0.0001,0.0003,0.001", "64"),
        comparison(
            "relu+bn,sselu,sselu+mixup,sselu+mixup+centralize,sselu+mixup+centralize-activation+trainable",
            "16", "6", "5", "0.003,0.01",
        ),
    )
)  # fmt: skip
QUICK = Size(
    (
        comparison("selu,lselu", "4", "1", "2", "0.01", "32"),
        comparison("relu+bn,sselu+mixup", "4", "1", "2", "0.01", "32"),
    )
)

PAPERS = "sselu+mixup+centralize-activation+trainable"
"""The variant that the paper's abstract names."""

OWN = {
    "act": f"selu,relu+bn,dselu,lselu,sselu,sselu+mixup,sselu+mixup+centralize,{PAPERS}",
    "architecture": "conv", "depth": "24", "fanin": "64", "epochs": "60", "batch": "128", "seeds": "3", "lr": "auto",
    "weight_decay": "0.0005",
}  # fmt: skip


def command(options: dict[str, str]) -> str:
    """The same as ``snn train``."""
    return "snn train " + " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items())


class Compared(NamedTuple):
    options: dict[str, str]
    records: tuple[Training, ...]


def measure(size: Size) -> list[Compared]:
    return [Compared(options, train(**options, profile=False)) for options in size.comparisons]


def gain(record: Training, baseline: Training) -> Mean:
    """In points, seed by seed."""
    return mean_of(POINT * (a - b) for a, b in zip(record.accuracy.runs, baseline.accuracy.runs, strict=True))


def show(found: Sequence[Compared]) -> Iterator[str]:
    for options, records in found:
        yield f"$ {command(options)}"
        over = f"over {records[0].variant}, points"
        yield f"{'variant':<44} {'accuracy, %':>16} {'rate':>7} {over:>22} {'diverged':>8}"
        for r in records:
            accuracy = mean_of(POINT * a for a in r.accuracy.runs)
            over = "" if r is records[0] else str(gain(r, records[0]))
            yield f"{r.variant:<44} {accuracy!s:>16} {r.learning_rate:>7g} {over:>22} {r.diverged:>8}"
        yield ""


def check(found: Sequence[Compared]) -> list[Check]:
    checks = []
    for options, records in found:
        for r in records[1:]:
            measured = gain(r, records[0])
            where = f"depth {options['depth']}: {r.variant} over {records[0].variant}, points"
            checks.append(better(where, measured))
    return checks


def better(where: str, measured: Mean) -> Check:
    """Confirmed where it is better beyond chance, refuted where it is worse by more than the gain in the paper."""
    shown = above(where, measured, 0)
    if shown.holds:
        return shown
    return shown._replace(holds=False if below(where, measured, -PAPER).holds else None)


def draw(found: Sequence[Compared], axes: Sequence[Any]) -> None:
    for panel, (options, records) in zip(axes, found, strict=False):
        means = [mean_of(POINT * a for a in r.accuracy.runs) for r in records]
        names = [r.variant.replace("+", "\n+") for r in records]
        points(panel, names, means, 0)
        panel.tick_params(axis="x", labelsize=6)
        panel.set(ylabel="accuracy on test images, %", title=f"depth {options['depth']}")


SCRIPT = script_of(
    __name__,
    f"reach the paper's {PAPER} points on CIFAR and Tiny ImageNet: their files are not at hand; --data, --data-dir",
    "compare with batch normalization in MobileNet V1 on ImageNet: imagenet.py has the recipe",
    panels=3,
)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--data", choices=("mnist", "cifar10", "cifar100", "folder"), help="data of your own")
    arguments.add_argument("--data-dir", metavar="DIR", help="where they lie")
    arguments.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    options = arguments.parse_args(argv)
    if (options.data is None) != (options.data_dir is None):
        arguments.error("--data and --data-dir belong together")
    if options.data is None:
        return conclude(SCRIPT, QUICK if options.quick else FULL, options.plot)
    own = {**OWN, "data": options.data, "data_dir": options.data_dir, "device": options.device}
    if options.quick:
        own |= comparison("selu,sselu+mixup", "3", "1", "2", "0.01", "8") | {"batch": "16"}
    print(f"$ {command(own)}\n", flush=True)
    return conclude(SCRIPT._replace(limits=[], panels=1), Size((own,)), options.plot)


if __name__ == "__main__":
    sys.exit(main())
