"""Speed and memory of ``snn verify``: ratios measured side by side in one run, printed as Markdown tables.

Usage: python -m benchmarks.verify [--quick] [--device cpu|cuda] [--only floor,conv,autograd,small,growth,deep] [--json]

Run it with the Python in whose environment the project is installed, with its extra ``torch``. A full run takes about
ten minutes on two busy cores, a quick one a minute. What is compared takes turns, and a ratio is the median over the
turns, each measured against its neighbour, so that a change in the load of the machine meets both. On the CPU
everything runs on one thread unless a line says so. Nothing here passes or fails: the last table sets the measurements
beside their targets.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.common import (
    Table,
    Target,
    accelerator,
    against,
    at_least,
    at_most,
    clocked,
    environment,
    in_turns,
    machine,
    medians,
    milliseconds,
    parser,
    peak,
    python,
    ratios,
    report,
    resolved,
    run,
    snn,
    some,
    spread,
    synchronize,
    verdicts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ACT, EPSILON = "lselu", "0.03"
LOTS = 1 << 40
"""Bytes that no run here needs: weights are kept."""

FASTER_TARGET, KEPT_TARGET, AGAIN_TARGET = 3.0, 0.55, 0.25
SMALL_TARGET, LINEAR_TARGET = 10.0, 1.2
PROCESS_TARGET, PROCESS_MEMORY = 1024.0, "1GB"
SEED = 0


class Shape(NamedTuple):
    """Networks to run, and how many times longer than their floor they may take."""

    fan_in: int
    batch: int
    depth: int
    trials: int
    target: float | None = None
    weights: str = "gaussian"
    keep: bool = True

    @property
    def described(self) -> tuple[str, ...]:
        kept = "kept" if self.keep else "re-created"
        return (*map(str, (self.fan_in, self.batch, self.depth, self.trials)), self.weights, kept)


KEPT = (Shape(1024, 128, 100, 1, 1.3), Shape(4096, 128, 8, 1, 1.3), Shape(256, 32, 100, 32, 1.4))
SHAPES = (
    *KEPT,
    *(shape._replace(keep=False) for shape in KEPT),
    Shape(1024, 128, 10, 1, 1.3, "orthogonal"),
    Shape(256, 32, 50, 8, 1.4, "orthogonal"),
)
GPU_SIZES = ((200, 16), (50, 4), (200, 256), (200, 16), (50, 4), (200, 256), (20, 4), (50, 32))
"""Depth and networks of the same shapes on a GPU."""

GPU_SHAPES = tuple(
    shape._replace(depth=depth, trials=trials) for shape, (depth, trials) in zip(SHAPES, GPU_SIZES, strict=True)
)


# What is measured


def architecture(shape: Shape) -> Any:
    """The default activation of ``snn verify``."""
    from snn_cli import ensembles, solve
    from snn_cli.engine.network import Architecture

    params = tuple(solve(ACT, EPSILON).params.items())
    return Architecture(ACT, params, (shape.fan_in,) * (shape.depth + 1), ensembles.get(shape.weights))


def split(shape: Shape, device: Any) -> tuple[Any, int]:
    """How the engine splits the run, and the memory that makes it keep the weights, or not."""
    from snn_cli.engine.measure import plan

    kept = plan(architecture(shape), shape.batch, shape.trials, "float32", device, 1, LOTS)
    if shape.keep:
        return kept, LOTS
    memory = kept.bytes - 1
    again = plan(architecture(shape), shape.batch, shape.trials, "float32", device, 1, memory)
    assert kept.keep
    assert not again.keep
    return again, memory


def engine(shape: Shape, device: Any, threads: int = 1) -> None:
    """The networks of the shape, as ``verify`` runs them."""
    from snn_cli.engine.measure import measure

    _, memory = split(shape, device)
    found, complete = measure(
        architecture(shape),
        range(shape.trials),
        shape.batch,
        seed=SEED,
        dtype="float32",
        device=device,
        threads=threads,
        memory=memory,
    )
    assert complete
    assert math.isfinite(found.log_gradient.sum())


def floor(shape: Shape, device: Any) -> None:
    """The same matrix products, and as many weights drawn by the same generator; nothing else.

    Into memory that is taken once, in groups of networks as large as the engine's.
    """
    import torch

    n, depth = shape.fan_in, shape.depth
    group = split(shape, device)[0].group
    generator = torch.Generator(device=device).manual_seed(SEED)
    deviation = 1 / math.sqrt(n)
    orthogonal = shape.weights == "orthogonal"

    def empty(*size: int) -> torch.Tensor:
        return torch.empty(size, device=device)

    kept = [empty(group, n, n) for _ in range(depth if shape.keep else 1)]
    first, second = empty(group, shape.batch, n), empty(group, shape.batch, n)

    def draw(layer: int) -> torch.Tensor:
        weights = kept[layer if shape.keep else 0].normal_(0, deviation, generator=generator)
        if orthogonal:
            for each in weights:
                each.copy_(torch.linalg.qr(each)[0])
        return weights

    with torch.inference_mode():
        for _ in range(0, shape.trials, group):
            x, y = first.normal_(generator=generator), second
            for layer in range(depth):
                x, y = torch.matmul(x, draw(layer).mT, out=y), x
            x.normal_(generator=generator)
            for layer in reversed(range(depth)):
                x, y = torch.matmul(x, kept[layer] if shape.keep else draw(layer), out=y), x
    synchronize(device)


def products(shape: Shape) -> float:
    """Floating-point operations of the matrix products, forward and backward."""
    return 4.0 * shape.fan_in**2 * shape.batch * shape.depth * shape.trials


def autograd(act: str, params: dict[str, float], shape: Shape, device: Any) -> list[Any]:
    """As one writes it first: layers in a list, every gradient kept, the squared norms read off in the end."""
    import torch

    def f(x: torch.Tensor) -> torch.Tensor:
        if act == "selu":
            return torch.nn.functional.selu(x)
        negative = params["alpha"] * torch.expm1(x) + params["beta"] * x
        return params["lambda"] * torch.where(x > 0, x, negative)

    n = shape.fan_in
    logs = []
    for _ in range(shape.trials):
        weights = [(torch.randn(n, n, device=device) / math.sqrt(n)).requires_grad_() for _ in range(shape.depth)]
        x = torch.randn(shape.batch, n, device=device, requires_grad=True)
        layers: list[Any] = [x]
        for w in weights:
            x = torch.nn.functional.linear(f(x), w)
            x.retain_grad()
            layers.append(x)
        torch.autograd.backward(x, torch.randn_like(x))
        norms = [(layer.detach().square().mean(), layer.grad.square().sum(-1).log().mean()) for layer in layers]
        logs.append([(float(q), float(log)) for q, log in norms])
    return logs


@contextmanager
def groups_of_one() -> Iterator[None]:
    """The engine with one network after another."""
    from snn_cli.engine import network

    largest, network.LARGEST_GROUP = network.LARGEST_GROUP, 1
    try:
        yield
    finally:
        network.LARGEST_GROUP = largest


# Against the floor


def peak_throughput(device: Any, size: int) -> float:
    """Operations a second of a large square product, on one thread or the whole device: the best of several."""
    import torch

    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    out = torch.empty_like(a)
    times = [clocked(lambda: torch.matmul(a, b, out=out), device) for _ in range(6)]
    return 2.0 * size**3 / min(times[1:])


def busy(task: Callable[[], object], device: Any) -> float | None:
    """Share of the time in which the GPU works on something, from its own record of the kernels; None on the CPU."""
    import torch

    if device.type != "cuda":
        return None
    task()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        seconds = clocked(task, device)
    kernels = [e for e in profile.events() or () if e.device_type == torch.profiler.DeviceType.CUDA]
    spans = sorted((e.time_range.start, e.time_range.end) for e in kernels)
    total, reached = 0.0, -math.inf
    for start, end in spans:  # microseconds; kernels side by side count once
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total / 1e6 / seconds


def against_floor(shapes: Sequence[Shape], turns: int, device: Any) -> tuple[Table, list[Target]]:
    best = peak_throughput(device, 8192 if device.type == "cuda" else 1024)
    cuda = device.type == "cuda"
    table = Table(
        "Against the floor",
        "The floor makes the same matrix products and draws the same number of weights by the same generator, with\n"
        "the QR decomposition for orthogonal ones; nothing else. It draws twice where the engine re-creates weights.\n"
        f"float32, {medians(turns).lower()}, milliseconds a layer and network. The share of the peak is that of the\n"
        f"products' operations in a large square product's, {best / 1e9:.0f} Gflop/s, all the run's time counted.",
        (
            *("fan-in", "batch", "depth", "networks", "weights", "they are", "engine ms", "floor ms", "ratio"),
            "share of peak",
            *(("GPU busy",) if cuda else ()),
        ),
    )
    targets = []
    for shape in shapes:
        tasks = [partial(clocked, partial(task, shape, device), device) for task in (engine, floor)]
        own, least = in_turns(tasks, turns)
        each = [[t / shape.depth / shape.trials for t in times] for times in (own, least)]
        ratio = ratios(own, least)
        reached = products(shape) / median(own) / best
        used = busy(partial(engine, shape, device), device)
        row = [*shape.described, milliseconds(each[0]), milliseconds(each[1]), spread(ratio), f"{reached:.0%}"]
        table.rows.append([*row, *([] if used is None else [f"{used:.0%}"])])
        table.data.append(
            {**shape._asdict(), "engine_s": own, "floor_s": least, "share_of_peak": reached, "busy": used}
        )
        if shape.target is not None:
            of = f"fan-in {shape.fan_in}, batch {shape.batch}, {shape.weights} weights, {shape.described[-1]}"
            targets.append(at_most(f"floor at {of}", shape.target, ratio))
    return table, targets


# Convolutions against the floor

CONV_TARGET = 1.4


class Images(NamedTuple):
    """Convolutional networks to run: options of the architecture, its depth, and images through each."""

    name: str
    options: dict[str, Any]
    depth: int
    batch: int

    @property
    def described(self) -> str:
        return ", ".join([self.name, *(f"{name.replace('_', ' ')} {value}" for name, value in self.options.items())])


CONVOLUTIONS = (
    Images("conv", {"channels": 64, "kernel": 3, "image": 16, "padding": "circular"}, 50, 16),
    Images("conv", {"channels": 64, "kernel": 3, "image": 16, "padding": "zeros"}, 50, 16),
    Images("conv", {"channels": 256, "kernel": 3, "image": 8, "padding": "circular"}, 20, 16),
    Images("conv-mobilenet-v1", {"image": 64, "width_multiplier": 1}, 15, 4),
    Images("conv-mobilenet-v1", {"image": 128, "width_multiplier": "0.5"}, 15, 8),
)


def convolutional(case: Images) -> Any:
    from snn_cli import architectures, ensembles, solve
    from snn_cli.engine.convolution import Convolutional

    stages = architectures.get(case.name).build(case.depth, **case.options)
    return Convolutional(ACT, tuple(solve(ACT, EPSILON).params.items()), stages, ensembles.get("gaussian"))


def convolution_engine(case: Images, device: Any) -> None:
    from snn_cli.engine.measure import measure

    found, complete = measure(
        convolutional(case), [0], case.batch, seed=SEED, dtype="float32", device=device, threads=1, memory=LOTS
    )
    assert complete
    assert math.isfinite(found.log_gradient.sum())


def convolution_floor(case: Images, device: Any) -> None:
    """The same convolutions, forward and back to the input, and as many weights drawn; nothing else."""
    import torch

    generator = torch.Generator(device=device).manual_seed(SEED)
    stages = convolutional(case).stages
    kept = [torch.empty(s.channels, s.inputs, s.kernel, s.kernel, device=device) for s in stages]
    sizes = [(case.batch, s.inputs, 1 if s.pooled else s.size, 1 if s.pooled else s.size) for s in stages]
    inputs: dict[tuple[int, ...], Any] = {size: torch.randn(size, device=device) for size in sizes}
    with torch.inference_mode():
        for stage, weights, size in zip(stages, kept, sizes, strict=True):
            weights.normal_(0, 1 / math.sqrt(stage.fan_in), generator=generator)
            x = torch.conv2d(inputs[size], weights, stride=stage.stride, padding=stage.kernel // 2)
        outputs = {x.shape: x}
        for stage, weights, size in reversed(list(zip(stages, kept, sizes, strict=True))):
            shape = (case.batch, stage.channels, stage.out, stage.out)
            if shape not in outputs:
                outputs[shape] = torch.randn(shape, device=device)
            torch.ops.aten.convolution_backward(
                outputs[shape], inputs[size], weights, None, [stage.stride] * 2, [stage.kernel // 2] * 2, [1, 1],
                False, [0, 0], 1, [True, False, False],
            )  # fmt: skip
    synchronize(device)


def convolutions(cases: Sequence[Images], turns: int, device: Any) -> tuple[Table, list[Target]]:
    table = Table(
        "Convolutions against the floor",
        "The floor makes the same convolutions, forward and back to the input, with torch's own padding, and draws\n"
        f"the weights once; nothing else. float32, {medians(turns).lower()}, milliseconds a network.",
        ("network", "depth", "images", "engine ms", "floor ms", "ratio"),
    )
    targets = []
    for case in cases:
        ways = convolution_engine, convolution_floor
        tasks = [partial(clocked, partial(way, case, device), device) for way in ways]
        own, least = in_turns(tasks, turns)
        ratio = ratios(own, least)
        table.rows.append(
            (case.described, str(case.depth), str(case.batch), milliseconds(own), milliseconds(least), spread(ratio))
        )
        table.data.append({**case._asdict(), "engine_s": own, "floor_s": least})
        targets.append(at_most(f"floor of {case.described}", CONV_TARGET, ratio))
    return table, targets


# Against autograd


def worker(way: str, shape: Shape, device: Any) -> dict[str, float]:
    """In a process of its own: seconds of the run after a small one, and the most memory that there was, in MiB."""
    import torch

    torch.set_num_threads(1)
    if way == "autograd":
        task: Callable[[Shape, Any], object] = partial(autograd, "selu", {})
    else:
        task = engine
    small = shape._replace(fan_in=64, depth=4, batch=4, trials=1, keep=True)
    task(small, device)
    seconds = clocked(partial(task, shape._replace(keep=way != "re-created"), device), device)
    if device.type == "cuda":
        return {"seconds": seconds, "mib": torch.cuda.max_memory_allocated(device) / 2**20}
    return {"seconds": seconds, "mib": resident()}


def resident() -> float:
    """Most memory of this process in MiB: not that of the one that started it, which the system would count too."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def _shape(sizes: str) -> Shape:
    fan_in, batch, depth, trials = map(int, sizes.split(","))
    return Shape(fan_in, batch, depth, trials)


def in_process(way: str, shape: Shape, device: Any, env: dict[str, str]) -> dict[str, float]:
    sizes = ",".join(map(str, (shape.fan_in, shape.batch, shape.depth, shape.trials)))
    command = python("-m", "benchmarks.verify", "--worker", way, "--sizes", sizes, "--device", str(device))
    found: dict[str, float] = json.loads(run(command, env).output)
    return found


WAYS = ("kept", "re-created", "autograd")


def against_autograd(shape: Shape, turns: int, device: Any, final: bool) -> tuple[Table, list[Target]]:
    env = environment("one")
    found = in_turns([partial(in_process, way, shape, device, env) for way in WAYS], turns, 0)
    where = "of the device" if device.type == "cuda" else "of the whole process, torch included"
    table = Table(
        "Against a loop with autograd",
        f"A list of `torch.randn` weights, `torch.nn.functional.selu`, `retain_grad` on every pre-activation, one\n"
        f"`backward`; depth {shape.depth}, fan-in {shape.fan_in}, batch {shape.batch}, float32. Each in a process of\n"
        f"its own, time without its start, memory {where}; {medians(turns).lower()}.",
        ("way", "s", "autograd takes longer by", "MiB", "of autograd's"),
    )
    naive = [each["seconds"] for each in found[-1]]
    memory = [each["mib"] for each in found[-1]]
    for way, each in zip(WAYS, found, strict=True):
        name = way if way == "autograd" else f"engine, weights {way}"
        times, sizes = [x["seconds"] for x in each], [x["mib"] for x in each]
        own = way == "autograd"
        table.rows.append(
            (
                name,
                f"{median(times):.2f}",
                "1" if own else spread(ratios(naive, times)),
                f"{median(sizes):.0f}",
                "1" if own else spread(ratios(sizes, memory)),
            )
        )
        table.data.append({"way": way, "seconds": times, "mib": sizes})
    if not final:
        return table, []
    faster = ratios(naive, [x["seconds"] for x in found[0]])
    targets = [at_least(f"autograd at depth {shape.depth}, times longer, weights kept", FASTER_TARGET, faster)]
    for way, each, most in zip(WAYS, found, (KEPT_TARGET, AGAIN_TARGET), strict=False):
        share = ratios([x["mib"] for x in each], memory)
        targets.append(at_most(f"memory of autograd's, weights {way}", most, share))
    return table, targets


# Small networks


def small_networks(trials: int, alone: int, turns: int, device: Any) -> tuple[Table, list[Target]]:
    """Batched, one after another by the same engine, and by autograd; of the last two fewer, for they take long."""
    many = Shape(64, 16, 50, trials)
    few = many._replace(trials=alone)

    from snn_cli.engine.measure import default_threads

    def singly() -> None:
        with groups_of_one():
            engine(few, device)

    params = dict(architecture(many).params)
    threads = default_threads()
    groups = f"engine, groups of {split(many, device)[0].group}"
    tasks: dict[str, tuple[Callable[[], object], int]] = {
        groups: (partial(engine, many, device), trials),
        "engine, one after another": (singly, alone),
        "autograd, one after another": (partial(autograd, ACT, params, few, device), alone),
        "floor, in groups": (partial(floor, many, device), trials),
    }
    if device.type == "cpu" and threads > 1:
        tasks[f"{groups}, {threads} threads"] = (partial(engine, many, device, threads), trials)
    found = in_turns([partial(clocked, task, device) for task, _ in tasks.values()], turns)
    found = [[seconds / n for seconds in times] for times, (_, n) in zip(found, tasks.values(), strict=True)]
    table = Table(
        "Small networks",
        f"Fan-in {many.fan_in}, batch {many.batch}, depth {many.depth}: {trials} networks in groups, and {alone} one\n"
        f"after another. Milliseconds a network, {medians(turns).lower()}, one thread unless said.",
        ("way", "networks", "ms a network", "times longer"),
    )
    for (name, (_, count)), times in zip(tasks.items(), found, strict=True):
        table.rows.append((name, str(count), milliseconds(times), against(times, found[0])))
        table.data.append({"way": name, "seconds_a_network": times})
    targets = []
    for best, words in ((0, "in groups"), *(((4, f"in groups on {threads} threads"),) if len(found) > 4 else ())):
        for name, times in zip(list(tasks)[1:3], found[1:3], strict=True):
            claim = f"fan-in {many.fan_in}: {name}, times longer than {words}"
            targets.append(at_least(claim, SMALL_TARGET, ratios(times, found[best])))
    return table, targets


# Growth


def growth(shape: Shape, factors: Sequence[int], turns: int, device: Any) -> tuple[Table, list[Target]]:
    """Time and memory over depth and over trials."""
    env = environment("one")
    table = Table(
        "Growth with the depth and the number of networks",
        f"Fan-in {shape.fan_in}, batch {shape.batch}, weights kept. {medians(turns)}, within one process;\n"
        "the memory is that of a process of its own. The time a layer and network is set against the smallest size's.",
        ("depth", "networks", "s", "time a layer and network", "MiB"),
    )
    targets = []
    for name in ("depth", "trials"):
        shapes = [shape._replace(**{name: getattr(shape, name) * k}) for k in factors]
        found = in_turns([partial(clocked, partial(engine, each, device), device) for each in shapes], turns)
        unit = [[t / s.depth / s.trials for t in times] for s, times in zip(shapes, found, strict=True)]
        sizes = [in_process("kept", each, device, env)["mib"] for each in shapes]
        for each, times, one, mib in zip(shapes, found, unit, sizes, strict=True):
            linear = against(one, unit[0])
            table.rows.append((str(each.depth), str(each.trials), f"{median(times):.2f}", linear, f"{mib:.0f}"))
            table.data.append({**each._asdict(), "seconds": times, "mib": mib})
        words = {"depth": "depth", "trials": "networks"}[name]
        claim = f"time a layer and network, {words} x {factors[-1]}"
        targets.append(at_most(claim, LINEAR_TARGET, ratios(unit[-1], unit[0])))
        if name == "trials":
            targets.append(at_most(f"memory, networks x {factors[-1]}", 1.05, [sizes[-1] / sizes[0]]))
    return table, targets


# A deep network in little memory


def deep(depth: int, final: bool) -> tuple[Table, list[Target]]:
    """The whole command, on the CPU."""
    options = ("--depth", str(depth), "--fanin", "1024", "--batch", "128", "--trials", "1", "--threads", "1")
    words = ["verify", *options, "--memory", PROCESS_MEMORY, "--no-profile", "--json"]
    command = snn(*words)
    start = time.perf_counter()
    mib = peak(command, environment("one"))
    seconds = time.perf_counter() - start
    table = Table(
        "A deep network in little memory",
        "The most memory of the whole process, torch included, as the system counts it.",
        ("command", "s", "MiB"),
        [(f"`snn {' '.join(words)}`", f"{seconds:.1f}", "" if mib is None else f"{mib:.0f}")],
        [{"command": command, "seconds": seconds, "mib": mib}],
    )
    if not final or mib is None:
        return table, []
    claim = f"MiB of a run at depth {depth}, fan-in 1024, batch 128, float32"
    return table, [at_most(claim, PROCESS_TARGET, [mib], "{:.0f}")]


# The report


def sections(quick: bool, device: Any) -> dict[str, Callable[[], tuple[Table, list[Target]]]]:
    """The tables by name, in a small form or a full one."""
    shapes = list(GPU_SHAPES if device.type == "cuda" else SHAPES)
    if quick:
        shapes = [s._replace(depth=max(2, s.depth // 5), trials=-(-s.trials // 4)) for s in shapes]
    naive = Shape(1024, 128, 20 if quick else 200, 1)
    growing = Shape(256, 32, 10 if quick else 50, 4 if quick else 16)
    return {
        "floor": partial(against_floor, shapes, 2 if quick else 7, device),
        "conv": partial(convolutions, CONVOLUTIONS[: 2 if quick else None], 3 if quick else 9, device),
        "autograd": partial(against_autograd, naive, 3, device, not quick),
        "small": partial(small_networks, 100 if quick else 1000, 20 if quick else 100, 2 if quick else 5, device),
        "growth": partial(growth, growing, (1, 2, 4), 2 if quick else 5, device),
        "deep": partial(deep, 50 if quick else 1000, not quick),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser("verify", __doc__, device="cpu")
    options.add_argument("--only", help="some of the tables: floor,conv,autograd,small,growth,deep")
    options.add_argument("--worker", choices=WAYS, help=argparse.SUPPRESS)
    options.add_argument("--sizes", help=argparse.SUPPRESS)
    given = options.parse_args(arguments)
    (device,) = resolved(options, given.device)
    if given.worker:
        print(json.dumps(worker(given.worker, _shape(given.sizes), device)))
        return
    parts = sections(given.quick, device)
    chosen = some(options, given.only, list(parts))
    where = machine()
    found = [parts[name]() for name in chosen]
    targets = verdicts([target for _, claims in found for target in claims])
    report(given.as_json, where, [*(table for table, _ in found), targets], [accelerator(device)])


if __name__ == "__main__":
    main()
