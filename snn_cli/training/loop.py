"""One run: a network trained on a part of the data and tested on another, from one seed."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from snn_cli.engine.distributed import OfOneRank
from snn_cli.errors import CannotCompute, InputError
from snn_cli.nn import Mixup, ScaledMixup
from snn_cli.training import networks
from snn_cli.training.networks import Design, Plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from snn_cli.data.split import Dataset, Split
    from snn_cli.engine.distributed import Ranks
    from snn_cli.records import Solution
    from snn_cli.training.variants import Variant

    Numbers = NDArray[np.int64]

MOMENTUM = 0.9
WARMUP = 0.05
"""Share of the steps over which the learning rate rises to its value; from there it falls to 0 along a cosine."""

_GROWTH_BATCH = 256
_EVALUATED = 512  # images at once
_SHIFT = 1 / 8  # of the side: how far augmented images are moved at most


class Settings(NamedTuple):
    """How every run of a comparison is trained. ``precision``: of automatic mixed precision, or float32."""

    epochs: int
    batch: int
    weight_decay: float
    mixup_alpha: float
    augment: bool
    precision: str
    compile: bool
    channels_last: bool
    device: torch.device


class Epoch(NamedTuple):
    """What an epoch gave: loss and accuracy are those of the training batches as they went by."""

    epoch: int
    loss: float
    accuracy: float
    learning_rate: float
    seconds: float


class Run(NamedTuple):
    """What a run gave, plain numbers; ``gradient``: log growth from the last layer to the first, start and end."""

    accuracy: float
    loss: float
    train_loss: float
    gradient: tuple[float, float]
    seconds: float
    diverged: bool
    epochs: tuple[Epoch, ...]


class Part(NamedTuple):
    """Of an epoch that was interrupted: steps that are done; sums of loss and hits over so many images; seconds."""

    step: int = 0
    loss: float = 0.0
    right: float = 0.0
    images: float = 0.0
    seconds: float = 0.0


class State(NamedTuple):
    """A run after some epochs: arrays by name, the state of torch's random numbers among them, and what it gave."""

    arrays: dict[str, NDArray[Any]]
    epochs: tuple[Epoch, ...]
    start: float
    seconds: float
    part: Part = Part()


class _Interrupted(Exception):
    """Between two steps."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part


def _never() -> bool:
    return False


class Trainer:
    """A network and its optimizer, on a device and on one of several ranks."""

    def __init__(
        self,
        design: Design,
        variant: Variant,
        solution: Solution | None,
        settings: Settings,
        data: Dataset,
        seed: int,
        ranks: Ranks,
    ) -> None:
        self._variant, self._settings, self._data, self._seed, self._ranks = variant, settings, data, seed, ranks
        with torch.random.fork_rng(devices=[]):  # modules draw weights of their own when they are made
            self.net: Plain = networks.build(design, variant, solution, torch.Generator().manual_seed(seed))
        self.net.to(settings.device)
        if settings.channels_last:
            self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._step: Any = self.net
        if ranks.world > 1:
            self._step = nn.parallel.DistributedDataParallel(self.net)
        if settings.compile:
            self._step = torch.compile(self._step)
        self._wide = torch.float32 if settings.device.type == "mps" else torch.float64  # mps has no wider
        scaled = settings.precision == "float16"  # whose smallest numbers gradients would fall below
        self._scaler = torch.amp.GradScaler(settings.device.type, enabled=scaled)
        self._mean = torch.tensor(data.mean, device=settings.device).view(1, -1, 1, 1)
        self._deviation = torch.tensor(data.deviation, device=settings.device).view(1, -1, 1, 1)
        kind = ScaledMixup if variant.scaled_mixup else Mixup if variant.mixup else None
        self._mix = None if kind is None else kind(settings.mixup_alpha, data.classes).train()

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.net.parameters())

    def run(
        self,
        train: Numbers,
        held_out: tuple[Split, Numbers],
        rate: float,
        state: State | None = None,
        on_epoch: Callable[[State], None] | None = None,
        interrupted: Callable[[], bool] = _never,
        on_interrupt: Callable[[State], None] | None = None,
    ) -> Run:
        """Train on these images of the training split, and test on those held out.

        ``state`` goes on from there, to the same numbers as without an interruption; ``on_epoch`` is called with the
        state after each epoch. ``interrupted`` is asked before each step: when it says so, ``on_interrupt`` is called
        with the state and KeyboardInterrupt raised.
        """
        settings = self._settings
        optimizer = torch.optim.SGD(
            self._groups(), lr=rate, momentum=MOMENTUM, weight_decay=settings.weight_decay, foreach=True
        )
        fork = [settings.device] if settings.device.type == "cuda" else []
        began, done = time.perf_counter(), 0.0
        with torch.random.fork_rng(devices=fork):
            torch.manual_seed(self._seed)
            epochs: tuple[Epoch, ...] = ()
            part = Part()
            if state is None:
                start = self._growth(train)
            else:
                self._restore(optimizer, state)
                epochs, start, done, part = state.epochs, state.start, state.seconds, state.part
            diverged = any(not math.isfinite(epoch.loss) for epoch in epochs)
            while len(epochs) < settings.epochs and not diverged:
                try:
                    epoch = self._epoch(len(epochs), train, optimizer, rate, part, interrupted)
                except _Interrupted as at:
                    elapsed = done + time.perf_counter() - began
                    if on_interrupt is not None:
                        on_interrupt(State(self._arrays(optimizer), epochs, start, elapsed, at.part))
                    raise KeyboardInterrupt from None
                epochs, part = (*epochs, epoch), Part()
                diverged = not math.isfinite(epoch.loss)
                if on_epoch is not None:
                    elapsed = done + time.perf_counter() - began
                    on_epoch(State(self._arrays(optimizer), epochs, start, elapsed))
            loss, accuracy = math.nan, 0.0
            if not diverged:
                loss, accuracy = self._test(*held_out)
                diverged = not math.isfinite(loss)  # the last step can be the one that does it
            if diverged:
                loss, accuracy = math.nan, 1 / self._data.classes
            end = math.nan if diverged else self._growth(train)
        seconds = done + time.perf_counter() - began
        return Run(accuracy, loss, epochs[-1].loss, (start, end), seconds, diverged, epochs)

    def _groups(self) -> list[dict[str, Any]]:
        """Weight decay is for weights: not for biases, normalization and lambda."""
        weights = [p for p in self.net.parameters() if p.dim() > 1]
        others = [p for p in self.net.parameters() if p.dim() <= 1]
        return [{"params": weights}, {"params": others, "weight_decay": 0.0}]

    def _epoch(
        self,
        epoch: int,
        train: Numbers,
        optimizer: torch.optim.Optimizer,
        rate: float,
        part: Part,
        interrupted: Callable[[], bool],
    ) -> Epoch:
        settings, ranks = self._settings, self._ranks
        self._step.train()
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(train)
        steps = max(1, len(order) // settings.batch)
        if ranks.world > 1:  # a mixture of its own for each part of a batch, the same ones where a run goes on
            torch.manual_seed(int(np.random.default_rng([self._seed, epoch, ranks.rank]).integers(2**63)))
        size = self._data.shape[1:]
        began = time.perf_counter() - part.seconds
        total = torch.tensor(part[1:4], dtype=self._wide, device=settings.device)
        now = rate
        for step in range(steps):
            if settings.augment:
                drawn = moves(settings.batch, size, rng)
            if step < part.step:
                continue
            if interrupted():
                lost, right, count = total.tolist()
                raise _Interrupted(Part(step, lost, right, count, time.perf_counter() - began))
            batch = order[step * settings.batch : (step + 1) * settings.batch]
            mine = slice(ranks.rank, None, ranks.world)
            images = self._images(self._data.train, batch[mine])
            if settings.augment:
                images = moved(images, *(each[mine] for each in drawn))
            now = rate * schedule((epoch * steps + step) / (settings.epochs * steps))
            for group in optimizer.param_groups:
                group["lr"] = now
            x, y = self._inputs(images), self._labels(self._data.train, batch[mine])
            if not self._trained(optimizer, x, y, len(batch), total):
                break
        self._sum(total)
        loss, right, count = total.tolist()
        return Epoch(epoch, loss / count, right / count, now, time.perf_counter() - began)

    def _trained(
        self, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, images: int, total: torch.Tensor
    ) -> bool:
        """One step with this rank's part of a batch of so many images, added to ``total``; whether its loss is finite
        on every rank, so that all of them leave together."""
        target = y
        if self._mix is not None:
            x, target = self._mix(x, y)
        with self._cast():
            out = self._step(x)
            loss = nn.functional.cross_entropy(out.float(), target, reduction="sum") / images
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(loss * self._ranks.world))
        self._scaler.step(optimizer)
        self._scaler.update()
        if self._variant.centralize:
            networks.centralized(self.net)
        with torch.no_grad():
            summed = loss.detach().to(self._wide)
            total[0] += summed * images
            total[1] += (out.argmax(1) == y).sum()
            total[2] += len(y)
            self._sum(summed)
        return bool(torch.isfinite(summed))

    def _cast(self) -> Any:
        settings = self._settings
        kind = getattr(torch, settings.precision)
        return torch.autocast(settings.device.type, dtype=kind, enabled=settings.precision != "float32")

    def _inputs(self, images: NDArray[np.float32]) -> torch.Tensor:
        settings = self._settings
        x = (torch.from_numpy(images).to(settings.device) - self._mean) / self._deviation
        return x.contiguous(memory_format=torch.channels_last) if settings.channels_last else x

    def _images(self, split: Split, numbers: Numbers) -> NDArray[np.float32]:
        try:
            return split.images(numbers)
        except InputError as error:
            raise (OfOneRank(str(error), error.hint) if self._ranks.world > 1 else error) from None

    def _labels(self, split: Split, numbers: Numbers) -> torch.Tensor:
        return torch.from_numpy(split.labels[numbers]).to(self._settings.device)

    def _sum(self, total: torch.Tensor) -> None:
        if self._ranks.world > 1:
            torch.distributed.all_reduce(total)

    @torch.no_grad()
    def _test(self, split: Split, numbers: Numbers) -> tuple[float, float]:
        self.net.eval()
        if self._ranks.world > 1:
            for buffer in self.net.buffers():  # running statistics, of its own part on each rank
                torch.distributed.broadcast(buffer, 0)
        total = torch.zeros(2, dtype=self._wide, device=self._settings.device)
        mine = numbers[self._ranks.rank :: self._ranks.world]
        for first in range(0, len(mine), _EVALUATED):
            batch = mine[first : first + _EVALUATED]
            y = self._labels(split, batch)
            with self._cast():
                out = self.net(self._inputs(self._images(split, batch))).float()
            total += torch.stack([nn.functional.cross_entropy(out, y, reduction="sum"), (out.argmax(1) == y).sum()])
        self._sum(total)
        loss, right = (total / len(numbers)).tolist()
        return loss, right

    def _growth(self, train: Numbers) -> float:
        batch = train[: min(_GROWTH_BATCH, len(train))]
        x, y = self._inputs(self._data.train.images(batch)), self._labels(self._data.train, batch)
        return networks.growth(self.net, x, y)

    # What is kept between the epochs

    def _tensors(self, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
        for name, value in self.net.state_dict().items():
            yield f"model/{name}", value
        for number, group in enumerate(optimizer.param_groups):
            for place, parameter in enumerate(group["params"]):
                momentum = optimizer.state[parameter].get("momentum_buffer")
                # none before the first step, which is the same as 0
                yield f"momentum/{number}/{place}", torch.zeros_like(parameter) if momentum is None else momentum
        if self._scaler.is_enabled():
            yield "scale", torch.tensor([self._scaler.get_scale(), self._scaler.state_dict()["_growth_tracker"]])
        yield "random/cpu", torch.get_rng_state()
        if self._settings.device.type == "cuda":
            yield "random/cuda", torch.cuda.get_rng_state(self._settings.device)

    def _arrays(self, optimizer: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
        return {name: value.detach().cpu().numpy().copy() for name, value in self._tensors(optimizer)}

    def _restore(self, optimizer: torch.optim.Optimizer, state: State) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        try:
            with torch.no_grad():
                for name, value in self._tensors(optimizer):
                    if name != "scale" and not name.startswith("random/"):
                        value.copy_(torch.from_numpy(state.arrays[name]))
            if self._scaler.is_enabled():
                scale, tracker = state.arrays["scale"].tolist()
                self._scaler.load_state_dict(
                    {**self._scaler.state_dict(), "scale": scale, "_growth_tracker": int(tracker)}
                )
            torch.set_rng_state(torch.from_numpy(state.arrays["random/cpu"]))
            if self._settings.device.type == "cuda":
                torch.cuda.set_rng_state(torch.from_numpy(state.arrays["random/cuda"]), self._settings.device)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CannotCompute(f"the checkpoint does not fit the network: {error}", "--checkpoint NEW") from None


def schedule(share: float) -> float:
    """Factor of the learning rate after that share of the steps: up along a line, then down along a cosine."""
    if share < WARMUP:
        return (share / WARMUP) * 0.9 + 0.1
    return 0.5 * (1 + math.cos(math.pi * (share - WARMUP) / (1 - WARMUP)))


def moves(
    n: int, size: Sequence[int], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """How n images are augmented: each moved by up to an eighth of its side, down and to the right; half mirrored."""
    reach = _reach(size)
    places = rng.integers(0, 2 * reach + 1, size=(n, 2))
    return places[:, 0], places[:, 1], rng.integers(0, 2, size=(n,))


def _reach(size: Sequence[int]) -> int:
    return max(1, round(_SHIFT * min(size)))


def moved(
    images: NDArray[np.float32], tops: NDArray[np.int64], lefts: NDArray[np.int64], mirrored: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Images as `moves` drew it; what comes in at an edge is the image mirrored there."""
    height, width = images.shape[2:]
    reach = _reach((height, width))
    padded = np.pad(images, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    found = np.empty_like(images)
    for i, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        part = padded[i, :, top : top + height, left : left + width]
        found[i] = part[:, :, ::-1] if mirrored[i] else part
    return found
