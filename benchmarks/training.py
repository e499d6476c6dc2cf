"""Accuracy against depth and against fan-in: ``snn train`` on the embedded digits, every variant at its best rate.

Usage: python -m benchmarks.training [--quick] [--only depth,width,cifar] [--seeds N] [--workers N] [--device cuda]
       [--journal FILE [--render]] [--figure FILE] [--json]

A full run takes an hour and a half on one core, a quick one two minutes. Every cell is a mean over seeds with its
standard error; the learning rate of a cell is chosen on validation images, with the first seed. With ``--journal`` a
cell is kept as soon as it is measured: the same command goes on where it was stopped, and ``--render`` shows what there
is. With ``--device cuda`` comes a run at CIFAR's shape on images that are made: throughput and memory, against the same
network with batch normalization. Nothing here passes or fails: the last table says what is behind what.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.common import Table, Target, accelerator, at_least, machine, parser, report, some, verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Records = dict[str, dict[str, Any]]

DEPTHS, DEPTH_WIDTH = (8, 16, 32, 64, 128), 128
WIDTHS, WIDTH_DEPTH = (64, 128, 256, 512, 1024, 2048), 32
HEADLINE = 64
ESSENTIAL = ("relu", "relu+bn", "selu", "lselu", "sselu")
DEEP = (*ESSENTIAL, "lselu 0.03", "lselu+mixup", "lselu+scaled-mixup", "lselu+centralize",
        "lselu+centralize-activation", "lselu+trainable", "sselu+mixup", "relu+bn+mixup")  # fmt: skip
"""Rows of the first table; after a space an epsilon other than 1/depth."""

WIDE = ("lselu", "lselu+centralize", "lselu+mixup", "lselu+mixup+centralize")
CIFAR = ("relu+bn", "selu", "sselu", "sselu+mixup")
RIVALS = {
    "depth": {
        "relu+bn": ("selu", "lselu", "sselu"),
        "relu": ("selu", "lselu", "sselu"),
        "selu": ("lselu", "sselu"),
        "lselu": tuple(row for row in DEEP if row.startswith("lselu") and row != "lselu"),
        "sselu": ("sselu+mixup",),
    },
    "width": {"lselu": WIDE[1:]},
}
"""By section what is to be no worse than what."""

SECTIONS = ("depth", "width", "cifar")


class Budget(NamedTuple):
    """What a cell may cost: epochs, seeds, and the learning rates that it chooses from."""

    epochs: int
    seeds: int
    rates: str = "auto"


REDUCED = {
    256: Budget(10, 5, "0.001,0.003,0.01"),
    512: Budget(5, 3, "0.001,0.003"),
    1024: Budget(3, 3, "0.001"),
    2048: Budget(2, 2, "0.001"),
}
"""Of the widths that are dear: an epoch takes 5 seconds at 1024 on one core, and 23 at 2048."""


class Cell(NamedTuple):
    """One row at one size."""

    row: str
    depth: int
    width: int
    budget: Budget

    @property
    def key(self) -> str:
        return json.dumps([self.row, self.depth, self.width, *self.budget])


def cell(section: str, row: str, size: int, given: argparse.Namespace) -> Cell:
    """Of the section about depth or width."""
    full = Budget(2, min(given.seeds, 2)) if given.quick else Budget(10, given.seeds)
    if section == "depth":
        return Cell(row, size, DEPTH_WIDTH, full)
    return Cell(row, WIDTH_DEPTH, size, REDUCED.get(size, full))


def shape(section: str, quick: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Rows and columns of a section's table."""
    rows, sizes = (DEEP, DEPTHS) if section == "depth" else (WIDE, WIDTHS)
    return (rows[:4], sizes[:2]) if quick else (rows, sizes)


def in_order(chosen: Sequence[str], given: argparse.Namespace) -> list[Cell]:
    """The cells in the order in which they are measured: what matters most comes first, what is dear last."""
    wanted = []
    for section in ("depth", "width"):
        if section in chosen:
            rows, sizes = shape(section, given.quick)
            wanted += [(_turn(section, row, size), cell(section, row, size, given)) for row in rows for size in sizes]
    return list(dict.fromkeys(each for _, each in sorted(wanted, key=lambda pair: pair[0])))


def _turn(section: str, row: str, size: int) -> tuple[int, int]:
    """When a cell's turn comes; those with the same turn in the order of the table."""
    if section == "width":
        late = {64: 2, 128: 2, 2048: 9}.get(size, 5)
        return 10 if row == WIDE[-1] else late + 3 * (late == 5 and row == "lselu+mixup"), size
    if row in ESSENTIAL:
        return {HEADLINE: 0, DEPTHS[-1]: 4}.get(size, 1), size
    return (3 if row in WIDE else 4 if row == "lselu 0.03" else 6) if size == HEADLINE else 9, size


def measured(cell: Cell) -> dict[str, Any]:
    """Its record; in a process of its own, on one thread."""
    from snn_cli import train

    variant, *epsilon = cell.row.split()
    epochs, seeds, rates = cell.budget
    (record,) = train(
        [variant], *epsilon, depth=cell.depth, fanin=cell.width, epochs=epochs, seeds=seeds, lr=rates, profile=False
    )
    return record.to_dict()


def kept(journal: str | None) -> dict[str, dict[str, Any]]:
    """Records of the journal, by the key of their cell; a line that was cut short is no record."""
    found = {}
    if journal is not None and os.path.exists(journal):
        for line in Path(journal).read_text(encoding="utf-8").splitlines():
            try:
                key, record = json.loads(line)
            except ValueError:
                continue
            found[key] = record
    return found


def all_measured(
    wanted: Sequence[Cell], workers: int, journal: str | None, work: Callable[[Cell], dict[str, Any]] = measured
) -> dict[str, dict[str, Any]]:
    """Records by key: those of the journal, and the others in the order asked for, each kept when it is done."""
    found = kept(journal)
    missing = [cell for cell in wanted if cell.key not in found]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        running = {pool.submit(work, cell): cell for cell in missing}
        for number, future in enumerate(as_completed(running), 1):
            cell, record = running[future], future.result()
            found[cell.key] = record
            if journal is not None:
                with open(journal, "a", encoding="utf-8") as file:
                    file.write("\n" * _torn(journal) + json.dumps([cell.key, record]) + "\n")
            print(
                f"{number}/{len(missing)} {cell.row} {cell.depth} {cell.width}: {shown(record)}",
                file=sys.stderr,
                flush=True,
            )
    return found


def _torn(journal: str) -> bool:
    """Whether the last line is without its end."""
    text = Path(journal).read_bytes()
    return bool(text) and not text.endswith(b"\n")


def shown(record: dict[str, Any] | None) -> str:
    """Accuracy with its standard error, the learning rate, and runs that diverged."""
    if record is None:
        return ""
    accuracy, n = record["accuracy"], record["seeds"]
    error = "" if accuracy["sd"] is None else f" ± {accuracy['sd'] / math.sqrt(n):.3f}"
    lost = f", {record['diverged']} diverged" if record["diverged"] else ""
    return f"{accuracy['mean']:.3f}{error} ({record['learning_rate']:g}{lost})"


def growth(record: dict[str, Any] | None) -> str:
    """Of the log gradient, before and after training."""
    return "" if record is None else " / ".join("-" if x is None else f"{x:.1f}" for x in record["gradient"].values())


def beside(record: dict[str, Any] | None, baseline: dict[str, Any] | None) -> str:
    """Difference of the accuracy, run by run of the same seed, with its standard error."""
    if record is None or baseline is None:
        return ""
    runs = [a - b for a, b in zip(record["accuracy"]["runs"], baseline["accuracy"]["runs"], strict=True)]
    error = f" ± {stdev(runs) / math.sqrt(len(runs)):.3f}" if len(runs) > 1 else ""
    return f"{mean(runs):+.3f}{error}"


def tables(section: str, found: Records, given: argparse.Namespace) -> list[Table]:
    """Accuracy, what it is beside a baseline, growth of the gradient: a row a variant and a column a size."""
    rows, sizes = shape(section, given.quick)
    every = {row: [found.get(cell(section, row, size, given).key) for size in sizes] for row in rows}
    records = {row: of for row, of in every.items() if any(of)}
    fixed = f"width {DEPTH_WIDTH}" if section == "depth" else f"depth {WIDTH_DEPTH}"
    baseline = "selu" if section == "depth" else "lselu"
    base = records.get(baseline, [None] * len(sizes))
    others = {row: list(map(beside, of, base)) for row, of in records.items() if row != baseline}
    columns = ("variant", *(f"{section} {size}" for size in sizes))
    gaps = _gaps(every, sizes)
    return [
        Table(
            f"Accuracy against {section}",
            f"digits, {fixed}, batch 64; mean over seeds ± its standard error (learning rate chosen).\n"
            f"{_budgets(section, sizes, given)} Epsilon is 1/depth, or the number after the name.{gaps}",
            columns,
            [(row, *map(shown, of)) for row, of in records.items()],
            [record for of in records.values() for record in of if record],
        ),
        Table(
            f"Against {baseline}, by {section}",
            "Difference of the accuracy to it, seed by seed, ± its standard error.",
            columns,
            [(row, *cells) for row, cells in others.items() if any(cells)],
        ),
        Table(
            f"Growth of the gradient against {section}",
            "log |g|² of the first layer less that of the last, before / after training, means over seeds.",
            columns,
            [(row, *map(growth, of)) for row, of in records.items()],
        ),
    ]


def compared(section: str, found: Records, given: argparse.Namespace) -> list[Target]:
    """A row a rival: differences of the accuracy, of every variant at every size, from those that are measured."""
    _, sizes = shape(section, given.quick)
    targets = []
    for other, rows in RIVALS[section].items():
        values, named = [], []
        for row in rows:
            pairs = [[found.get(cell(section, each, size, given).key) for each in (row, other)] for size in sizes]
            differences = [round(a["accuracy"]["mean"] - b["accuracy"]["mean"], 9) for a, b in pairs if a and b]
            values += differences
            named += [row] * bool(differences)
        if values:
            claim = f"accuracy of {', '.join(named)} less that of {other}, at every {section}; the table has the errors"
            targets.append(at_least(claim, 0, values, "{:+.3f}", each=True))
    return targets


def _gaps(every: dict[str, list[Any]], sizes: Sequence[int]) -> str:
    """A sentence about the cells that there are not."""
    absent = {row: [size for size, r in zip(sizes, of, strict=True) if r is None] for row, of in every.items()}
    named = [f"{row} at {', '.join(map(str, which))}" for row, which in absent.items() if which]
    return f"\nNot measured: {'; '.join(named)}." if named else ""


def _budgets(section: str, sizes: Sequence[int], given: argparse.Namespace) -> str:
    """Epochs, seeds and rates, in words, where they differ by the size."""
    of: dict[Budget, list[int]] = {}
    for size in sizes:
        of.setdefault(cell(section, "lselu", size, given).budget, []).append(size)
    parts = []
    for budget, which in of.items():
        rates = "the grid of --lr auto" if budget.rates == "auto" else f"of {budget.rates.replace(',', ' ')}"
        at = "" if len(of) == 1 else f"{section} {', '.join(map(str, which))}: "
        parts.append(f"{at}{budget.epochs} epochs, {budget.seeds} seeds, rate {rates}.")
    return " ".join(parts)


def figure(path: str, found: Records, given: argparse.Namespace) -> None:
    """Accuracy against depth, with standard errors: every row that has two depths and more."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows, depths = shape("depth", given.quick)
    drawn = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = drawn.subplots()
    for row in rows:
        points = [(depth, found.get(cell("depth", row, depth, given).key)) for depth in depths]
        known = [(depth, record["accuracy"], record["seeds"]) for depth, record in points if record is not None]
        if len(known) > 1:
            errors = [(accuracy["sd"] or 0) / math.sqrt(seeds) for _, accuracy, seeds in known]
            means = [accuracy["mean"] for _, accuracy, _ in known]
            where = [depth for depth, *_ in known]
            axes.errorbar(where, means, yerr=errors, marker="o", markersize=4, capsize=2, label=row)
    axes.set_xscale("log", base=2)
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.set_xlabel("layers")
    axes.set_ylabel("accuracy on test images")
    axes.set_ylim(0, 1)
    axes.axhline(0.1, color="0.7", linewidth=0.8, linestyle=":")
    axes.legend(fontsize="small", ncols=2)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "snn"}):
        drawn.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)


# At CIFAR's shape


class Way(NamedTuple):
    """How the network runs: precision, whether compiled, and with its channels last."""

    precision: str
    compile: bool
    channels_last: bool

    def __str__(self) -> str:
        return f"{self.precision}{', compiled' if self.compile else ''}"


WAYS = (Way("float32", False, False), Way("bfloat16", False, True), Way("bfloat16", True, True))


def made(directory: str, images: int) -> None:
    """CIFAR-10's files, with pixels that are noise about a grey of the class."""
    import numpy as np

    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        labels = np.arange(images) % 10
        grey = np.linspace(40, 200, 10)[labels][:, None]
        pixels = np.clip(rng.normal(grey, 40.0, (images, 3 * 32 * 32)), 0, 255).astype(np.uint8)
        np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1).tofile(os.path.join(directory, name))


def at_cifar(
    device: str, images: int = 10_000, depth: int = 24, width: int = 64, batch: int = 512, ways: Sequence[Way] = WAYS
) -> Table:
    """Throughput and memory of every variant of `CIFAR`, each way that a network may run."""
    import torch

    from snn_cli import train

    on_gpu = torch.device(device).type == "cuda"
    table = Table(
        "At CIFAR's shape",
        f"conv, {depth} layers from {width} channels, {5 * images} made images of 3 x 32 x 32, batch {batch}, on\n"
        f"{device}. Of the second epoch, as the first warms up: images a second, moved and mirrored on the processor.\n"
        "MiB are the most that torch held.",
        ("variant", *(f"{way}, images/s" for way in ways), *(f"{way}, MiB" for way in ways)),
    )
    with tempfile.TemporaryDirectory() as directory:
        made(directory, images)
        for variant in CIFAR:
            rates, memory = [], []
            for way in ways:
                seconds: list[float] = []
                if on_gpu:
                    torch.cuda.reset_peak_memory_stats(device)
                (record,) = train(
                    [variant], data="cifar10", data_dir=directory, architecture="conv", depth=depth, fanin=width,
                    epochs=2, seeds=1, lr="0.001", batch=batch, device=device, **way._asdict(),
                    progress=lambda at, seconds=seconds: seconds.append(at.epoch.seconds),
                )  # fmt: skip
                rates.append(5 * images // batch * batch / seconds[-1])
                memory.append(torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else None)
                measurement = {"images_a_second": rates[-1], "mib": memory[-1], **way._asdict()}
                table.data.append({**measurement, "record": record.to_dict()})
            cells = (*(f"{rate:.0f}" for rate in rates), *("" if m is None else f"{m:.0f}" for m in memory))
            table.rows.append((variant, *cells))
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser("training", __doc__, device="cpu")
    options.add_argument("--only", help=f"some of: {','.join(SECTIONS)}")
    options.add_argument("--seeds", type=int, default=5, help="runs a cell (5); of large widths fewer")
    options.add_argument("--workers", type=int, default=2, help="processes side by side (2)")
    options.add_argument("--journal", help="file that keeps each cell when it is measured; goes on from what it has")
    options.add_argument("--render", action="store_true", help="measure nothing: show what the journal has")
    options.add_argument("--figure", help="file for accuracy against depth: .png, .svg or .pdf")
    given = options.parse_args(arguments)
    chosen = some(options, given.only, SECTIONS)
    if given.render and not given.journal:
        options.error("--render shows what is in --journal FILE")

    where, lines = machine(), []
    wanted = in_order(chosen, given)
    found = kept(given.journal) if given.render else all_measured(wanted, given.workers, given.journal)
    parts = [table for name in ("depth", "width") if name in chosen for table in tables(name, found, given)]
    targets = [target for name in ("depth", "width") if name in chosen for target in compared(name, found, given)]
    if "cifar" in chosen and not given.render:
        line, table = cifar(given)
        lines.append(line)
        parts += [table] if table else []
    if given.figure and "depth" in chosen:
        figure(given.figure, found, given)
    parts += [verdicts(targets)] if targets else []
    report(given.as_json, where, [table for table in parts if table.rows], lines)


def cifar(given: argparse.Namespace) -> tuple[str, Table | None]:
    """A line about the device and the table, or the line that says why there is none."""
    import torch

    if torch.device(given.device).type != "cuda" or not torch.cuda.is_available():
        return "- skipped: cifar, throughput and memory at CIFAR's shape, which needs --device cuda and a GPU", None
    return accelerator(torch.device(given.device)), at_cifar(given.device, 1000 if given.quick else 10_000)


if __name__ == "__main__":
    main()
