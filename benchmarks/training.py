"""Accuracy against depth and against fan-in: ``snn train`` on the embedded digits, every variant at its best rate.

Usage: python -m benchmarks.training [--quick] [--only depth,width,cifar] [--seeds N] [--workers N] [--device cuda]
       [--journal FILE [--render]] [--figure FILE] [--json]

A full run takes an hour and a half on one core, a quick one two minutes. Every cell is a mean over seeds with its
standard error; the learning rate of a cell is chosen on validation images, with the first seed. With ``--journal`` a
cell is kept as soon as it is measured: the same command goes on where it was stopped, and ``--render`` shows what there
is. With ``--device cuda`` comes a run at CIFAR's shape on images that are made: throughput and memory, against the same
network with batch normalization. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.models import accelerator
from benchmarks.solve import Table, header, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DEPTHS, DEPTH_WIDTH = (8, 16, 32, 64, 128), 128
WIDTHS, WIDTH_DEPTH = (64, 128, 256, 512, 1024, 2048), 32
HEADLINE = 64
ESSENTIAL = ("relu", "relu+bn", "selu", "lselu", "sselu")
DEEP = (*ESSENTIAL, "lselu 0.03", "lselu+mixup", "lselu+scaled-mixup", "lselu+centralize",
        "lselu+centralize-activation", "lselu+trainable", "sselu+mixup", "relu+bn+mixup")  # fmt: skip
"""Rows of the first table; after a space an epsilon other than 1/depth."""

WIDE = ("lselu", "lselu+centralize", "lselu+mixup", "lselu+mixup+centralize")
CIFAR = ("relu+bn", "selu", "sselu", "sselu+mixup")
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
        return 10 if row == WIDE[-1] else {64: 2, 128: 2, 1024: 7, 2048: 9}.get(size, 5), size
    if row in ESSENTIAL:
        return {HEADLINE: 0, DEPTHS[-1]: 4}.get(size, 1), size
    return (3 if row in WIDE else 6) if size == HEADLINE else 8, size


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
    with ProcessPoolExecutor(workers) as pool:
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes, variants, epochs and seeds")
    parser.add_argument("--only", help=f"some of: {','.join(SECTIONS)}")
    parser.add_argument("--seeds", type=int, default=5, help="runs a cell (5)")
    parser.add_argument("--workers", type=int, default=2, help="processes side by side (2)")
    parser.add_argument("--journal", help="file that keeps each cell when it is measured; goes on from what it has")
    given = parser.parse_args(arguments)
    chosen = given.only.split(",") if given.only else list(SECTIONS)
    wanted = in_order(chosen, given)
    all_measured(wanted, given.workers, given.journal)


if __name__ == "__main__":
    main()
