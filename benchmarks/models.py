"""Time and memory of a report on a user's own model, against a plain pass forward and back: Markdown tables.

Usage: python -m benchmarks.models [--quick] [--device cpu|cuda] [--json]

Run it with the Python in whose environment the project is installed, with its extra ``torch``; about two minutes.
What is compared takes turns within a process, on one thread; memory is that of a process of its own each.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.common import (
    Table,
    Target,
    accelerator,
    at_most,
    clocked,
    environment,
    in_turns,
    machine,
    milliseconds,
    parser,
    peak,
    python,
    ratios,
    report,
    resolved,
    spread,
    verdicts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TIME_TARGET, MEMORY_TARGET = 2.0, 1.1
WAYS = ("nothing", "plain", "measured", "report")


def perceptron() -> tuple[Any, Any]:
    import torch
    from torch import nn

    layers: list[Any] = []
    for _ in range(40):
        layers += [nn.Linear(512, 512), nn.SELU()]
    return nn.Sequential(*layers, nn.Linear(512, 10)), torch.randn(256, 512)


def convolutions() -> tuple[Any, Any]:
    import torch
    from torch import nn

    layers: list[Any] = [nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU()]
    for inside, outside, stride in ((32, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2)):
        layers += [nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)), torch.randn(32, 3, 64, 64)


def transformer() -> tuple[Any, Any]:
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
            self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            y = self.norm1(x)
            x = x + self.attention(y, y, y, need_weights=False)[0]
            return x + self.down(self.act(self.up(self.norm2(x))))

    model = nn.Sequential(nn.Embedding(1000, 128), *(Block(128) for _ in range(6)), nn.Linear(128, 1000))
    return model, torch.randint(1000, (32, 64))


MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "perceptron, 41 layers of 512, batch 256": perceptron,
    "convolutions with batch normalization, 64x64, batch 32": convolutions,
    "transformer, 6 blocks of 128, 64 tokens, batch 32": transformer,
}


def made(name: str, device: Any) -> tuple[Any, Any]:
    import torch

    torch.manual_seed(0)
    model, batch = MODELS[name]()
    return model.to(device), batch.to(device)


def plain(model: Any, batch: Any) -> None:
    """Forward, and back from a random gradient, as in a step of training."""
    import torch

    model.zero_grad()
    returned = model(batch)
    returned.backward(torch.randn_like(returned))


def work(way: str, model: Any, batch: Any) -> None:
    from snn_cli import verify_model

    if way == "plain":
        plain(model, batch)
    elif way != "nothing":
        verify_model(model, batch, max_growth=10, theory=way == "report")


def compare(turns: int, device: Any) -> tuple[Table, list[Target]]:
    table = Table(
        "A report against a plain pass",
        "`plain` is one pass forward and back, as in training. `measured` is `verify_model(..., theory=False)`,\n"
        f"`report` the default, with every layer held against theory. Medians of {turns} turns; MiB above those of a\n"
        "process that only builds the model.",
        ("model", "plain ms", "measured", "report", "plain MiB", "measured", "report"),
    )
    targets = []
    for name in MODELS:
        model, batch = made(name, device)
        tasks = [partial(clocked, partial(work, way, model, batch), device) for way in WAYS[1:]]
        times = in_turns(tasks, turns)
        found = [ratios(each, times[0]) for each in times]
        memory = []
        for way in WAYS:
            command = python("-m", "benchmarks.models", "--worker", way, "--model", name, "--device", str(device))
            memory.append(peak(command, environment("one")))
        table.rows.append([name, milliseconds(times[0]), spread(found[1]), spread(found[2]), *_above(memory)])
        table.data.append({"model": name, "seconds": dict(zip(WAYS[1:], times, strict=True)), "mib": memory})
        for label, i in (("measured", 1), ("report", 2)):
            targets.append(at_most(f"{label}, times a plain pass: {name}", TIME_TARGET, found[i]))
        if None not in memory:
            base, first, second, third = (float(m or 0) for m in memory)
            share = (max(second, third) - base) / (first - base)
            targets.append(at_most(f"memory, of a plain pass: {name}", MEMORY_TARGET, [share]))
    return table, targets


def _above(memory: Sequence[float | None]) -> list[str]:
    if any(m is None for m in memory):
        return ["", "", ""]
    base, *others = (float(m or 0) for m in memory)
    return [f"{m - base:.0f}" for m in others]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser("models", __doc__, device="cpu")
    options.add_argument("--worker", choices=WAYS, help=argparse.SUPPRESS)
    options.add_argument("--model", choices=MODELS, help=argparse.SUPPRESS)
    given = options.parse_args(arguments)
    (device,) = resolved(options, given.device)
    if given.worker:
        work(given.worker, *made(given.model, device))
        return
    where = machine()
    table, targets = compare(3 if given.quick else 9, device)
    report(given.as_json, where, [table, verdicts(targets)], [accelerator(device)])


if __name__ == "__main__":
    main()
