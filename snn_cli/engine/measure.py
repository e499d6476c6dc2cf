"""Measure many random networks: in groups, on threads and ranks, within a memory budget."""

from __future__ import annotations

import math
import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snn_cli.engine import device as devices
from snn_cli.engine.network import Architecture, Group, Workspace
from snn_cli.engine.sampling import BLOCK_ROWS, Streams
from snn_cli.errors import CannotCompute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

GROUP_WEIGHTS = 1 << 18
"""Weights of one layer that a group of networks has at most, where it has more than one network."""

LARGEST_GROUP = 16
GROUP_BYTES = 64 * 1024**2
"""What a group of more than one network saves between the passes at most."""

_VARIES = 8 * 1024**2
"""What a process holds before it begins differs from one start to the next: what is recommended leaves room for it."""

_SHOWN_EVERY = 0.1  # seconds between two reports of progress: each looks at all networks so far
_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


class Trials(NamedTuple):
    """Per network, arrays of shape (trials, depth + 1): means over the batch, and mean squares of the same.

    ``log_gradient`` is relative to the last layer. ``number`` are the numbers of the trials, of shape (trials,).
    """

    number: NDArray[np.int64]
    second_moment: Array
    second_moment_square: Array
    log_gradient: Array
    log_gradient_square: Array

    @classmethod
    def empty(cls, depth: int) -> Trials:
        shape = (0, depth + 1)
        return cls(np.zeros(0, dtype=np.int64), *(np.zeros(shape) for _ in range(4)))

    def joined(self, *others: Trials) -> Trials:
        """All trials, in the order of their numbers."""
        columns = [np.concatenate(parts) for parts in zip(self, *others, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        return Trials(*(column[order] for column in columns))


class Plan(NamedTuple):
    """How a run is split. ``keep``: weights stay between the passes; ``bytes``: estimate of what is held at once."""

    group: int
    threads: int
    keep: bool
    bytes: int


def plan(
    architecture: Architecture,
    batch: int,
    trials: int,
    dtype: str,
    device: torch.device,
    threads: int,
    memory: int,
    base: int = 0,
) -> Plan:
    """Split a run so that it fits into ``memory`` bytes. Raises CannotCompute, with what would fit.

    ``base`` is what the process holds already; messages count it in.
    """

    def least(widths: tuple[int, ...], batch: int) -> tuple[int, int, int]:
        return _least(widths, architecture.ensemble.orthogonal, batch, _BYTES[dtype])

    widths = architecture.widths
    group, working, kept = least(widths, batch)
    most = max(1, min(threads, -(-trials // group))) if device.type == "cpu" else 1
    for count in range(most, 0, -1):
        for keep in (True, False):
            needed = count * (working + (kept if keep else 0))
            if needed <= memory:
                return Plan(group, count, keep, needed)
    room = memory - (_VARIES if base else 0)
    fits = []  # less is not always less: smaller networks are run in larger groups
    if batch := next((x for x in _halves(batch) if least(widths, x)[1] <= room), 0):
        fits.append(f"--batch {batch}")
    elif len(set(widths)) == 1:
        depths = _halves(architecture.depth)
        fits += [f"--batch 1 --depth {x}" for x in depths if least(widths[: x + 1], 1)[1] <= room][:1]
    raise CannotCompute(
        f"the run needs {_shown(working + base)} of memory, {_shown(max(1, working - memory))} more than may be used",
        ", or ".join([*fits, f"--memory {_shown(working + base + memory - room).replace(' ', '')}"]),
    )


def group_size(architecture: Architecture, batch: int, dtype: str) -> int:
    """Networks that are run side by side: it depends on their shape alone, so that a network's group never changes."""
    return _least(architecture.widths, architecture.ensemble.orthogonal, batch, _BYTES[dtype])[0]


def _least(widths: tuple[int, ...], orthogonal: bool, batch: int, size: int) -> tuple[int, int, int]:
    """Networks of a group, what it holds at least, and what its weights take if they are kept."""
    weights = [n * m for n, m in pairwise(widths)]
    saved = batch * sum(widths) * size
    group = max(1, min(LARGEST_GROUP, GROUP_WEIGHTS // max(weights), GROUP_BYTES // max(saved, 1)))
    rows = max(widths) if orthogonal else min(BLOCK_ROWS, max(widths))
    block = max(widths[:-1]) * rows * size * (3 if orthogonal else 1)
    working = group * (saved + block + 6 * batch * max(widths) * size + 4 * len(widths) * batch * 8)
    return group, working, group * sum(weights) * size


def _halves(number: int) -> Iterator[int]:
    while number := number // 2:
        yield number


def _shown(size: int) -> str:
    """Rounded up: this much is enough."""
    if size >= 1024**3:
        return f"{math.ceil(size / 1024**3 * 100) / 100:.2f} GiB"
    return f"{max(1, math.ceil(size / 1024**2))} MiB"


def default_threads() -> int:
    """Processors that this process may use; sharing one between threads is slower than leaving it to one."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:
        return os.cpu_count() or 1


def measure(
    architecture: Architecture,
    trials: Sequence[int],
    batch: int,
    *,
    seed: int,
    dtype: str,
    device: torch.device,
    threads: int,
    memory: int,
    base: int = 0,
    progress: Callable[[Trials], None] | None = None,
) -> tuple[Trials, bool]:
    """Run the networks of these trial numbers. Returns what was measured, and whether it is all of them.

    An interrupt ends the run early, with what is finished by then. What a trial gives depends on its number and the
    seed alone: groups have their members by number, each runs on one thread, and a group that is asked for in part
    is run whole.
    """
    torch = devices.require_torch()
    split = plan(architecture, batch, len(trials), dtype, device, threads, memory, base)
    wanted = set(trials)
    starts = sorted({trial // split.group * split.group for trial in wanted})
    kind = getattr(torch, dtype)
    own = threading.local()

    def run(start: int) -> Trials:
        with torch.inference_mode():
            if not hasattr(own, "space"):
                torch.set_num_threads(1)  # of this thread; groups are what runs side by side
                own.space, own.streams = Workspace(kind, device), Streams(seed, architecture.widths, device)
            norms = Group(architecture, own.streams, start, split.group, own.space, split.keep).run(batch)
        return _reduce(start, norms.second_moment.numpy(), norms.log_gradient.numpy(), wanted)

    parts = [Trials.empty(architecture.depth)]
    running: set[Future[Trials]] = set()
    shown = -math.inf

    def collect() -> None:
        nonlocal running, shown
        done, running = wait(running, return_when=FIRST_COMPLETED)
        parts.extend(future.result() for future in done)
        if progress is not None and (not running or time.monotonic() > shown + _SHOWN_EVERY):
            progress(parts[0].joined(*parts[1:]))
            shown = time.monotonic()

    caller = torch.get_num_threads()  # what a thread sets is what the process has from then on
    pool = ThreadPoolExecutor(split.threads)
    complete = True
    try:
        for start in starts:
            running.add(pool.submit(run, start))
            if len(running) >= split.threads:
                collect()
        while running:
            collect()
    except KeyboardInterrupt:
        complete = False
    except torch.OutOfMemoryError as error:
        raise CannotCompute(f"{device} ran out of memory: {str(error).splitlines()[0]}", "--memory 1GiB") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(caller)
    return parts[0].joined(*parts[1:]), complete


def _reduce(start: int, moments: Array, logs: Array, wanted: set[int]) -> Trials:
    """Means over the batch, of the trials that were asked for."""
    chosen = [i for i in range(len(moments)) if start + i in wanted]
    moments, logs = moments[chosen], logs[chosen]
    with np.errstate(invalid="ignore", over="ignore"):
        logs = logs - logs[:, -1:, :]
        return Trials(
            np.array([start + i for i in chosen], dtype=np.int64),
            moments.mean(-1),
            (moments * moments).mean(-1),
            logs.mean(-1),
            (logs * logs).mean(-1),
        )


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() - self._start


def broken(trials: Trials) -> tuple[int, int] | None:
    """First layer, and the trial, where a number stopped being finite: forward, else backward from the output."""
    forward: NDArray[np.bool_] = np.logical_not(np.isfinite(trials.second_moment))
    backward: NDArray[np.bool_] = np.logical_not(np.isfinite(trials.log_gradient))[:, ::-1]
    for lost, reverse in ((forward, False), (backward, True)):
        if lost.any():
            layer = int(np.argmax(lost.any(axis=0)))
            trial = int(trials.number[np.argmax(lost[:, layer])])
            return (lost.shape[1] - 1 - layer if reverse else layer), trial
    return None
