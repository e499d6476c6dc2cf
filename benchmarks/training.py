"""Accuracy against depth and against fan-in: ``snn train`` on the embedded digits, every variant at its best rate.

Usage: python -m benchmarks.training [--quick] [--only depth,width] [--seeds N] [--workers N] [--figure FILE] [--json]

A full run takes about three quarters of an hour on two cores, a quick one two minutes. Every cell is a mean over seeds
with its standard error; the learning rate of every cell is chosen on validation images of five, with the first seed.
Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.solve import Table, header, machine

if TYPE_CHECKING:
    from collections.abc import Sequence

DEPTHS, DEPTH_WIDTH = (8, 16, 32, 64, 128), 128
WIDTHS, WIDTH_DEPTH = (64, 128, 256, 512), 32
DEEP = ("relu", "relu+bn", "selu", "lselu", "sselu", "lselu+mixup", "lselu+centralize", "lselu+centralize-activation",
        "lselu+trainable")  # fmt: skip
WIDE = ("lselu", "lselu+centralize", "lselu+mixup")


class Cell(NamedTuple):
    """One variant at one size."""

    variant: str
    depth: int
    width: int
    epochs: int
    seeds: int


def measured(cell: Cell) -> dict[str, Any]:
    """Its record; in a process of its own, on one thread."""
    from snn_cli import train

    (record,) = train(
        [cell.variant], depth=cell.depth, fanin=cell.width, epochs=cell.epochs, seeds=cell.seeds, profile=False
    )
    return record.to_dict()


def all_measured(cells: Sequence[Cell], workers: int) -> list[dict[str, Any]]:
    """The largest first, so that no processor waits for one at the end."""
    order = sorted(range(len(cells)), key=lambda i: -cells[i].depth * cells[i].width)
    found: list[dict[str, Any]] = [{}] * len(cells)
    with ProcessPoolExecutor(workers) as pool:
        for done, (i, record) in enumerate(zip(order, pool.map(measured, [cells[i] for i in order]), strict=True), 1):
            found[i] = record
            print(f"{done}/{len(cells)} {cells[i].variant} {cells[i].depth} {cells[i].width}", file=sys.stderr)
    return found


def shown(record: dict[str, Any]) -> str:
    """Accuracy with its standard error, the learning rate, and runs that diverged."""
    accuracy, n = record["accuracy"], record["seeds"]
    error = "" if accuracy["sd"] is None else f" ± {accuracy['sd'] / math.sqrt(n):.3f}"
    lost = f", {record['diverged']} diverged" if record["diverged"] else ""
    return f"{accuracy['mean']:.3f}{error} ({record['learning_rate']:g}{lost})"


def growth(record: dict[str, Any]) -> str:
    """Of the log gradient, before and after training."""
    return " / ".join("-" if x is None else f"{x:.1f}" for x in record["gradient"].values())


def against(
    axis: str, values: Sequence[int], variants: Sequence[str], records: Sequence[dict[str, Any]]
) -> list[Table]:
    """Accuracy, then growth of the gradient, a row a variant and a column a size."""
    sizes = f"width {DEPTH_WIDTH}" if axis == "depth" else f"depth {WIDTH_DEPTH}"
    one = records[0]
    accuracy = Table(
        f"Accuracy against {axis}",
        f"digits, {sizes}, {one['epochs']} epochs, batch {one['batch']}; mean over {one['seeds']} seeds ± its\n"
        "standard error (learning rate chosen). Epsilon is 1/depth.",
        ("variant", *(f"{axis} {value}" for value in values)),
        data=[dict(record) for record in records],
    )
    gradient = Table(
        f"Growth of the gradient against {axis}",
        "log |g|² of the first layer less that of the last, before / after training.",
        accuracy.columns,
    )
    for i, variant in enumerate(variants):
        row = records[i * len(values) : (i + 1) * len(values)]
        accuracy.rows.append((variant, *map(shown, row)))
        gradient.rows.append((variant, *map(growth, row)))
    return [accuracy, gradient]


def figure(path: str, variants: Sequence[str], depths: Sequence[int], records: Sequence[dict[str, Any]]) -> None:
    """Accuracy against depth, with standard errors."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = drawn.subplots()
    for i, variant in enumerate(variants):
        row = records[i * len(depths) : (i + 1) * len(depths)]
        means = [record["accuracy"]["mean"] for record in row]
        errors = [(record["accuracy"]["sd"] or 0) / math.sqrt(record["seeds"]) for record in row]
        axes.errorbar(depths, means, yerr=errors, marker="o", markersize=4, capsize=2, label=variant)
    axes.set_xscale("log", base=2)
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.set_xlabel("layers")
    axes.set_ylabel("accuracy on test images")
    axes.set_ylim(0, 1)
    axes.legend(fontsize="small", ncols=2)
    drawn.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes, variants, epochs and seeds")
    parser.add_argument("--only", help="some of: depth,width")
    parser.add_argument("--seeds", type=int, default=5, help="runs a cell (5)")
    parser.add_argument("--workers", type=int, default=2, help="processes side by side (2)")
    parser.add_argument("--figure", help="file for accuracy against depth: .png, .svg or .pdf")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON, with every record")
    given = parser.parse_args(arguments)
    sections = {"depth": (DEPTHS, DEEP), "width": (WIDTHS, WIDE)}
    chosen = given.only.split(",") if given.only else list(sections)
    if unknown := set(chosen) - set(sections):
        parser.error(f"--only takes {', '.join(sections)}, not {', '.join(sorted(unknown))}")

    where = machine()
    tables = []
    for name in chosen:
        values, variants = sections[name]
        epochs, seeds = 10, given.seeds
        if given.quick:
            values, variants, epochs, seeds = values[:2], variants[:4], 2, min(seeds, 2)
        cells = [
            Cell(variant, *((value, DEPTH_WIDTH) if name == "depth" else (WIDTH_DEPTH, value)), epochs, seeds)
            for variant in variants
            for value in values
        ]
        records = all_measured(cells, given.workers)
        tables += against(name, values, variants, records)
        if name == "depth" and given.figure:
            figure(given.figure, variants, values, records)
    if given.as_json:
        print(json.dumps({"machine": where, "tables": [asdict(t) for t in tables]}, indent=2))
    else:
        print("\n\n".join([header(where), *(t.markdown() for t in tables)]))


if __name__ == "__main__":
    main()
