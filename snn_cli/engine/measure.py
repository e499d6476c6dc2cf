"""Measure many random networks: in groups, on threads and ranks, within a memory budget."""

from __future__ import annotations

import math
import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from snn_cli.engine import device as devices
from snn_cli.engine.network import Norms, Workspace
from snn_cli.engine.sampling import Stopped, Streams
from snn_cli.errors import CannotCompute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_VARIES = 8 * 1024**2
"""What a process holds before it begins differs from one start to the next: what is recommended leaves room for it."""

_SHOWN_EVERY = 0.1  # seconds between two reports of progress: each looks at all networks so far
_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


class Networks(Protocol):
    """Of one kind and shape, to be drawn at random: what a run has to know of an architecture.

    ``units``: of every layer. ``streams``: its random numbers. ``group``: networks that are run side by side, whose
    ``run(batch)`` gives their `Norms`. ``least(batch, size)``: networks of a group, bytes that it holds at least, and
    bytes of its weights, in numbers of ``size`` bytes. ``shorter``, ``narrower``: the same with another depth, or with
    layers of another width, where there is such.
    """

    @property
    def depth(self) -> int: ...
    @property
    def units(self) -> tuple[int, ...]: ...
    @property
    def means(self) -> bool: ...
    def streams(self, seed: int, device: torch.device) -> Streams: ...
    def group(self, streams: Streams, first: int, count: int, space: Workspace, keep: bool) -> Runnable: ...
    def least(self, batch: int, size: int) -> tuple[int, int, int]: ...
    def shorter(self, depth: int) -> Networks | None: ...
    def narrower(self, width: int) -> Networks | None: ...


class Runnable(Protocol):
    """Networks, drawn."""

    def run(self, batch: int) -> Norms: ...


class Trials(NamedTuple):
    """Per network, arrays of shape (trials, depth + 1): means over the batch, and mean squares of the same.

    ``log_gradient`` is relative to the last layer. ``number`` are the numbers of the trials, of shape (trials,).
    ``mean``, of the pre-activations over units, is of shape (trials, 0) unless it was measured.
    """

    number: NDArray[np.int64]
    second_moment: Array
    second_moment_square: Array
    log_gradient: Array
    log_gradient_square: Array
    mean: Array

    @classmethod
    def empty(cls, depth: int, means: bool = False) -> Trials:
        shape = (0, depth + 1)
        q, q2, log, log2 = (np.zeros(shape) for _ in range(4))
        return cls(np.zeros(0, dtype=np.int64), q, q2, log, log2, np.zeros(shape if means else (0, 0)))

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
    architecture: Networks,
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

    def fitting(smaller: Networks | None, batch: int) -> bool:
        return smaller is not None and smaller.least(batch, size)[1] <= room

    size = _BYTES[dtype]
    group, working, kept = architecture.least(batch, size)
    most = max(1, min(threads, -(-trials // group))) if device.type == "cpu" else 1
    for count in range(most, 0, -1):
        for keep in (True, False):
            needed = count * (working + (kept if keep else 0))
            if needed <= memory:
                return Plan(group, count, keep, needed)
    room = memory - (_VARIES if base else 0)
    fits = []  # less is not always less: smaller networks are run in larger groups
    if fewer := next((x for x in _halves(batch) if architecture.least(x, size)[1] <= room), 0):
        fits.append(f"--batch {fewer}")
    elif shorter := next((x for x in _halves(architecture.depth) if fitting(architecture.shorter(x), 1)), 0):
        fits.append(f"--batch 1 --depth {shorter}")
    elif width := next((x for x in _halves(max(architecture.units)) if fitting(architecture.narrower(x), batch)), 0):
        fits.append(f"--fanin {width}")
    raise CannotCompute(
        f"the run needs {_shown(working + base)} of memory, {_shown(max(1, working - memory))} more than may be used",
        ", or ".join([*fits, f"--memory {_shown(working + base + memory - room).replace(' ', '')}"]),
    )


def group_size(architecture: Networks, batch: int, dtype: str) -> int:
    """Networks that are run side by side: it depends on their shape alone, so that a network's group never changes."""
    return architecture.least(batch, _BYTES[dtype])[0]


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
    architecture: Networks,
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

    An interrupt ends the run early, with what is finished by then; groups that are not are left to themselves, and end
    where they draw their next block of weights. What a trial gives depends on its number and the seed alone: groups
    have their members by number, each runs on one thread, and a group that is asked for in part is run whole.
    """
    torch = devices.require_torch()
    split = plan(architecture, batch, len(trials), dtype, device, threads, memory, base)
    wanted = set(trials)
    starts = sorted({trial // split.group * split.group for trial in wanted})
    kind = getattr(torch, dtype)
    own = threading.local()
    stop = threading.Event()

    def run(start: int) -> Trials:
        with torch.inference_mode():
            if not hasattr(own, "space"):
                torch.set_num_threads(1)  # of this thread; groups are what runs side by side
                own.space, own.streams = Workspace(kind, device), architecture.streams(seed, device)
                own.streams.stop = stop
            norms = architecture.group(own.streams, start, split.group, own.space, split.keep).run(batch)
        return _reduce(start, norms, wanted)

    parts = [Trials.empty(architecture.depth, architecture.means)]
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
    except (KeyboardInterrupt, Stopped):
        complete = False
        stop.set()
    except torch.OutOfMemoryError as error:
        raise CannotCompute(f"{device} ran out of memory: {str(error).splitlines()[0]}", "--memory 1GiB") from None
    finally:
        pool.shutdown(wait=complete, cancel_futures=True)  # a layer of a million units takes minutes
        torch.set_num_threads(caller)
    return parts[0].joined(*parts[1:]), complete


def _reduce(start: int, norms: Norms, wanted: set[int]) -> Trials:
    """Means over the batch, of the trials that were asked for."""
    moments, logs = norms.second_moment.numpy(), norms.log_gradient.numpy()
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
            np.zeros((len(chosen), 0)) if norms.mean is None else norms.mean.numpy()[chosen].mean(-1),
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
