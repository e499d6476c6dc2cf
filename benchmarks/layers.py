"""Time and memory of the layers in ``snn_cli.nn``, beside torch's own: ratios within a run, as Markdown tables.

Usage: python -m benchmarks.layers [--quick] [--device cpu|cuda] [--only activations,memory,blocks]
       [--elements N] [--json]

Run it with the Python in whose environment the project is installed, with its extra ``torch``; about three minutes.
Without ``--device`` everything is measured on the CPU, on one thread, and then on CUDA where there is a device. Forward
and backward passes are timed apart, on the CPU by the processor time of the process, all its threads counted: others
may use the machine as well. What is compared takes turns, and a ratio is the median over the turns, with the middle
half of them, each measured against its neighbour. Nothing here passes or fails: the last table sets the measurements
beside their targets.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from benchmarks.common import (
    Table,
    Target,
    accelerator,
    at_most,
    in_turns,
    machine,
    milliseconds,
    parser,
    ratios,
    report,
    resolved,
    some,
    synchronize,
    verdicts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EPSILON = 0.03
SIZES = (1 << 16, 1 << 20, 1 << 22)
CUDA_SIZES = (1 << 20, 1 << 24, 1 << 26)
BLOCK = (512, 512, 256)
"""Inputs, outputs and batch of a layer."""

EAGER_TARGETS = {"SSELU": 1.1, "LSELU": 1.7}
COMPILED_TARGET, CUDA_TARGET = 1.0, 1.1
EAGER = ("SSELU", "DSELU", "LSELU", "LSELU, lambda trained")
BLOCK_RIVALS = {
    "Linear, BatchNorm1d, ReLU": (
        "Linear, LSELU",
        "Linear with WeightCentralization, LSELU",
        "Linear, CentralizedActivation(LSELU)",
    ),
    "Linear, SELU": ("Linear, LSELU",),
    "Linear, SELU, AlphaDropout": ("Linear, LSELU, SelfNormalizingDropout",),
}
"""What is set beside what, of the blocks."""

PARTS = ("activations", "memory", "blocks")


def where(x: Any) -> Any:
    """lSELU as one writes it first."""
    import torch

    p = _lselu().solution.params
    return torch.where(x > 0, p["lambda"] * x, p["lambda"] * (p["alpha"] * torch.expm1(x) + p["beta"] * x))


def _lselu() -> Any:
    from snn_cli.nn import LSELU

    return LSELU(EPSILON)


def compiler() -> bool:
    return (shutil.which("g++") or shutil.which("clang++")) is not None and sys.version_info < (3, 14)


def activations(compiled: bool) -> dict[str, Any]:
    import torch
    from torch import nn

    from snn_cli.nn import DSELU, LSELU, SSELU

    found = {
        "torch.nn.SELU": nn.SELU(),
        "SSELU": SSELU(EPSILON),
        "DSELU": DSELU(EPSILON),
        "LSELU": LSELU(EPSILON),
        "LSELU, lambda trained": LSELU(EPSILON, trainable=True),
        "`where` with `expm1`": where,
    }
    if compiled:
        for name in ("torch.nn.SELU", "SSELU", "LSELU"):
            found[f"{name}, compiled"] = torch.compile(found[name])
    return found


def passes(module: Any, inputs: Sequence[Any], gradient: Any, device: Any, repeat: int) -> tuple[float, float]:
    """Seconds of a forward and of a backward pass, each on its own: of the processor on the CPU, else of the clock."""
    now = time.process_time if device.type == "cpu" else time.perf_counter
    forward = backward = 0.0
    wanted = [x for x in inputs if x.requires_grad]
    if hasattr(module, "parameters"):
        wanted += [p for p in module.parameters() if p.requires_grad]
    for _ in range(repeat):
        for x in wanted:
            x.grad = None
        synchronize(device)
        start = now()
        y = module(*inputs)
        synchronize(device)
        middle = now()
        y.backward(gradient)
        synchronize(device)
        forward += middle - start
        backward += now() - middle
    return forward / repeat, backward / repeat


def spread(values: Sequence[float]) -> str:
    """Median, and the quartiles where there are enough."""
    if len(values) < 4:
        return f"{median(values):.2f}"
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def columns(times: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[list[float], list[float], list[float]]]:
    """Forward, backward and whole, each as a list over the turns."""
    return [([f for f, _ in each], [b for _, b in each], [f + b for f, b in each]) for each in times]


def compare_activations(turns: int, device: Any, sizes: Sequence[int]) -> tuple[Table, list[Target]]:
    import torch

    table = Table(
        f"Activations on {device.type}",
        f"float32, epsilon = {EPSILON}, Gaussian inputs. Medians of {turns} turns; ratios are to `torch.nn.SELU` in\n"
        "eager mode, forward, backward and both, the last with the middle half of the turns. Compiled modules pay for\n"
        "the entry into compiled code, which shows where there are few elements.",
        ("elements", "activation", "forward ms", "backward ms", "forward ratio", "backward ratio", "ratio"),
    )
    targets, eager = [], []
    modules = {name: m.to(device) if hasattr(m, "to") else m for name, m in activations(compiler()).items()}
    for n in sizes:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(n, generator=generator).to(device).requires_grad_()
        gradient = torch.randn(n, generator=generator).to(device)
        repeat = max(1, (1 << 21) // n)
        tasks = [partial(passes, module, [x], gradient, device, repeat) for module in modules.values()]
        times = columns(in_turns(tasks, turns, warm=3))
        for name, (forward, backward, whole) in zip(modules, times, strict=True):
            found = [ratios(a, b) for a, b in zip((forward, backward, whole), times[0], strict=True)]
            shown = [f"{median(found[0]):.2f}", f"{median(found[1]):.2f}", spread(found[2])]
            table.rows.append([f"{n}", name, milliseconds(forward), milliseconds(backward), *shown])
            table.data.append({"elements": n, "activation": name, "forward": forward, "backward": backward})
            if name in EAGER:
                eager.append(median(found[2]))
            if (limit := _limit(name, device)) is not None:
                met = median(found[2]) <= limit
                claim = f"{device.type}, {n} elements: {name}, times SELU"
                targets.append(Target(claim, f"at most {limit:g}", spread(found[2]), met))
    claim = f"{device.type}, every size: {'; '.join(EAGER)}, times SELU"
    return table, [*targets, at_most(claim, 1, eager, each=True)]


def _limit(name: str, device: Any) -> float | None:
    if name.removesuffix(", compiled") not in EAGER_TARGETS:
        return None
    if name.endswith("compiled"):
        return COMPILED_TARGET
    return EAGER_TARGETS[name] if device.type == "cpu" else CUDA_TARGET


def kept(module: Callable[..., Any], x: Any) -> int:
    """Bytes that autograd keeps for the backward pass, each storage once, without parameters."""
    import torch

    own = {p.untyped_storage().data_ptr() for p in getattr(module, "parameters", lambda: ())()}
    found: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(x)
    return sum(found.values())


def compare_memory(device: Any) -> tuple[Table, list[Target]]:
    import torch
    from torch import nn

    from snn_cli.nn import CentralizedActivation, SelfNormalizingDropout

    width, batch = BLOCK[1], BLOCK[2]
    table = Table(
        f"Memory on {device.type}",
        f"Bytes that autograd keeps for the backward pass per element of a {batch} x {width} input in float32, which\n"
        "counts where it is kept: 4 are one tensor.",
        ("module", "bytes an element"),
    )
    modules = activations(False) | {
        "torch.nn.BatchNorm1d": nn.BatchNorm1d(width),
        "CentralizedActivation(LSELU)": CentralizedActivation(_lselu()),
        "torch.nn.AlphaDropout": nn.AlphaDropout(0.1),
        "SelfNormalizingDropout": SelfNormalizingDropout(0.1, _lselu()),
    }
    targets = []
    for name, module in modules.items():
        module = module.to(device) if hasattr(module, "to") else module
        x = torch.randn(batch, width, device=device, requires_grad=True)
        each = kept(module, x) / x.numel()
        table.rows.append([name, f"{each:.3g}"])
        table.data.append({"module": name, "bytes": each})
        if name in ("SSELU", "DSELU", "LSELU", "LSELU, lambda trained"):
            targets.append(Target(f"{device.type}: bytes kept by {name}", "at most 4", f"{each:.3g}", each <= 4.001))
    return table, targets


def blocks() -> dict[str, Any]:
    import torch
    from torch import nn

    from snn_cli.nn import CentralizedActivation, SelfNormalizingDropout, centralize

    inputs, outputs, _ = BLOCK
    torch.manual_seed(0)

    def layer() -> Any:
        return nn.Linear(inputs, outputs)

    act = _lselu()
    return {
        "Linear": layer(),
        "Linear, SELU": nn.Sequential(layer(), nn.SELU()),
        "Linear, LSELU": nn.Sequential(layer(), act),
        "Linear, BatchNorm1d, ReLU": nn.Sequential(layer(), nn.BatchNorm1d(outputs), nn.ReLU()),
        "Linear with WeightCentralization, LSELU": nn.Sequential(centralize(layer()), act),
        "Linear, CentralizedActivation(LSELU)": nn.Sequential(layer(), CentralizedActivation(act)),
        "Linear, SELU, AlphaDropout": nn.Sequential(layer(), nn.SELU(), nn.AlphaDropout(0.1)),
        "Linear, LSELU, SelfNormalizingDropout": nn.Sequential(layer(), act, SelfNormalizingDropout(0.1, act)),
    }


def compare_blocks(turns: int, device: Any) -> tuple[Table, list[Target]]:
    import torch

    inputs, outputs, batch = BLOCK
    table = Table(
        f"Blocks on {device.type}",
        f"A layer of {inputs} inputs and {outputs} outputs on a batch of {batch}, float32, in training. Medians of\n"
        f"{turns} turns; ratios are to `Linear` alone, the last with the middle half of the turns.",
        ("block", "forward ms", "backward ms", "forward ratio", "backward ratio", "ratio"),
    )
    modules = {name: module.to(device) for name, module in blocks().items()}
    x = torch.randn(batch, inputs, device=device, requires_grad=True)
    gradient = torch.randn(batch, outputs, device=device)
    tasks = [partial(passes, module, [x], gradient, device, 3) for module in modules.values()]
    times = columns(in_turns(tasks, turns, warm=2))
    for name, (forward, backward, whole) in zip(modules, times, strict=True):
        found = [ratios(a, b) for a, b in zip((forward, backward, whole), times[0], strict=True)]
        shown = [f"{median(found[0]):.2f}", f"{median(found[1]):.2f}", spread(found[2])]
        table.rows.append([name, milliseconds(forward), milliseconds(backward), *shown])
        table.data.append({"block": name, "forward": forward, "backward": backward})
    whole_of = {name: whole for name, (_, _, whole) in zip(modules, times, strict=True)}
    return table, [beside(device.type, whole_of, other, names) for other, names in BLOCK_RIVALS.items()]


def beside(device: str, whole: dict[str, list[float]], other: str, names: Sequence[str]) -> Target:
    """Forward and backward of these blocks against those of another: the medians of several, the turns of one."""
    claim = f"{device}: {'; '.join(f'`{name}`' for name in names)}, times `{other}`"
    turns = [ratios(whole[name], whole[other]) for name in names]
    return at_most(claim, 1, [*map(median, turns)], each=True) if len(turns) > 1 else at_most(claim, 1, turns[0])


def parts(quick: bool, elements: int | None, device: Any) -> dict[str, Callable[[], tuple[Table, list[Target]]]]:
    """The tables by name, in a small form or a full one."""
    turns = 5 if quick else 31
    sizes = SIZES if device.type == "cpu" else CUDA_SIZES
    sizes = (elements,) if elements else sizes[1:2] if quick else sizes
    return {
        "activations": partial(compare_activations, turns, device, sizes),
        "memory": partial(compare_memory, device),
        "blocks": partial(compare_blocks, turns, device),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser("layers", __doc__)
    options.add_argument("--device", help="cpu, cuda or cuda:1 (cpu, then cuda where there is one)")
    options.add_argument("--elements", type=int, help="activations of that many elements only")
    options.add_argument("--only", help=f"some of the tables: {','.join(PARTS)}")
    given = options.parse_args(arguments)
    only = some(options, given.only, PARTS)

    import torch

    names = [given.device] if given.device else ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    devices = resolved(options, *names)
    where_run = machine()
    found = [parts(given.quick, given.elements, device)[name]() for device in devices for name in only]
    tables, targets = [table for table, _ in found], [target for _, claims in found for target in claims]
    if targets:
        text = (
            "Computed from the tables: medians, with the middle half of the turns. It is met when the median is. Of\n"
            "several cases it is the median and the range of theirs, then how many reach it; it is met when all do."
        )
        tables.append(replace(verdicts(targets), text=text))
    report(given.as_json, where_run, tables, [accelerator(device) for device in devices])


if __name__ == "__main__":
    main()
