"""Train: variants on one data set with the same seeds, each at its best learning rate, beside the first as baseline."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli.engine import device as devices
from snn_cli.engine import distributed
from snn_cli.errors import CannotCompute, InputError
from snn_cli.exact import Number, nearest_double
from snn_cli.records import Training, Tried
from snn_cli.training.interruption import Now, Whole
from snn_cli.training.metrics import append, complete
from snn_cli.training.plan import check, solved
from snn_cli.training.summary import Done, record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction

    from snn_cli.data.split import Dataset
    from snn_cli.engine.distributed import Ranks
    from snn_cli.records import Solution
    from snn_cli.training.journal import Journal
    from snn_cli.training.loop import Epoch, Run, Settings
    from snn_cli.training.networks import Design
    from snn_cli.training.plan import Plan
    from snn_cli.training.variants import Variant

VALIDATED = 5
"""One training image of so many is for validation, where the learning rate is chosen."""

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def train(
    act: str | Sequence[str] | None = None,
    epsilon: Number | None = None,
    *,
    expr: str | Sequence[str] = (),
    set: Mapping[str, Number] | None = None,  # noqa: A002
    data: str = "digits",
    data_dir: str | None = None,
    image: int | str | None = None,
    architecture: str = "mlp",
    depth: int | str | None = None,
    fanin: int | str | None = None,
    width_multiplier: Number | None = None,
    lam: Number | None = None,
    lambda_min: Number | None = None,
    zero_mean: bool = False,
    weights: str = "gaussian",
    epochs: int | str = 10,
    batch: int | str = 64,
    seeds: int | str = 2,
    seed: int | str = 0,
    lr: Number | Sequence[Number] = "auto",
    weight_decay: Number = 0,
    mixup_alpha: Number = "0.2",
    augment: bool | None = None,
    device: str = "cpu",
    precision: str = "float32",
    compile: bool = False,  # noqa: A002
    channels_last: bool = False,
    threads: int | str | None = None,
    checkpoint: str | None = None,
    resume: str | None = None,
    metrics: str | None = None,
    profile: bool = True,
    report: Callable[[Training], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[Training, ...]:
    """Train every variant with the same seeds, and return a record of each; the first is the baseline.

    act
        Variants, as text with commas or as a sequence: an activation with suffixes ``+bn +mixup +scaled-mixup
        +centralize +centralize-activation +trainable``. If None, and without ``expr``, `DEFAULT_ACT`.
    expr, set
        More variants: formulas in x, and values of their parameters by name.
    epsilon, lam, lambda_min, zero_mean
        As for ``solve``; epsilon defaults to ``1/depth``.
    data, data_dir, image
        ``digits`` (embedded), ``mnist``, ``cifar10``, ``cifar100`` or ``folder``; where its files are; the side that
        images of a folder are scaled to.
    architecture, depth, fanin, width_multiplier
        ``mlp`` of that depth (64) and width (128); ``conv``, that many layers (12) of 3 x 3 from that many channels
        (32), twice halved and doubled; ``conv-mobilenet-v1`` with its channels multiplied.
    weights
        Ensemble of the initial weights.
    epochs, batch, seeds, seed
        Of every run; runs a variant, numbered from ``seed``, which also decides every random number.
    lr, weight_decay
        Learning rate of SGD with momentum 0.9, risen to and then let down along a cosine: a number, several to choose
        from, or ``auto``: the one of `GRID` with the highest accuracy on the validation images, with the first seed.
    mixup_alpha, augment
        Parameter of ``+mixup``; whether images are moved and mirrored (the default for cifar and folders).
    device, precision, compile, channels_last, threads
        Where and how it runs; ``bfloat16`` and ``float16`` are automatic mixed precision.
    checkpoint, resume
        File that is written after every epoch; such a file to go on from, to the numbers of an uninterrupted run.
    metrics
        File that gets a JSON line an epoch.
    report, progress
        Called with each record as it is finished; with every epoch.

    Raises InputError for a value outside its domain, data or a checkpoint that is damaged, NoSolution where an
    activation cannot be solved, CannotCompute for a device or memory that is not there and a parameter beyond single
    precision, MissingExtra without torch, scikit-learn or Pillow where they are needed. An interrupt is passed on; what
    was finished is in ``checkpoint``.

    Accuracies are fractions of the held-out images, losses cross entropies in nats, times in seconds, the gradient
    ``log(|dLoss/dx[0]|^2 / |dLoss/dx[L]|^2)``. Source: activations: theory, sections 2 and 3; ``+centralize`` and
    ``+mixup``: section 6; ``+bn``: Ioffe and Szegedy (2015), torch's own.
    """
    plan = check(locals())
    torch = devices.require_torch()
    place = devices.resolve(device)
    solutions = [solved(variant, plan) for variant in plan.variants]
    from snn_cli import data as sources

    found = sources.load(plan.data, data_dir, plan.image)
    before = torch.get_num_threads()
    torch.set_num_threads(plan.threads or 1)
    try:
        with distributed.ranks(place) as ranks:
            return _Comparison(plan, found, ranks, metrics, profile, progress).run(solutions, report)
    except (MemoryError, RuntimeError) as error:
        raise _explained(error, plan, str(place)) or error from None
    finally:
        torch.set_num_threads(before)


def _explained(error: Exception, plan: Plan, place: str) -> CannotCompute | None:
    """What torch raises where the machine is not enough, as an error of the user's; None for anything else."""
    first, *_ = str(error).splitlines() or [""]
    module = type(error).__module__
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "allocate memory" in first:
        less = f"--batch {max(1, plan.batch // 2)}, or a smaller network"
        return CannotCompute(f"{place} ran out of memory{first and ': '}{first}", less)
    if "without overflow" in first:
        return _too_large(plan)
    if plan.compile and module.startswith(("torch._dynamo", "torch._inductor")):
        return CannotCompute(f"--compile does not work here: {first}", "leave out --compile")
    if module == "torch.distributed" or "onnection closed by peer" in first or "onnection reset by peer" in first:
        return CannotCompute(f"a process of this run is gone: {first}")
    return None


def _too_large(plan: Plan) -> CannotCompute:
    """A parameter beyond single precision: of which variant, and the option to change, that it comes from."""
    variants = [variant for variant in plan.variants if not _fits(variant, plan)] or list(plan.variants)
    names = ", ".join(variant.name for variant in variants)
    hint = "--epsilon 0.01"
    for closure, option in (("lam", "--lambda"), ("lambda_min", "--lambda-min")):
        if plan.closure[closure] is not None:
            free = plan._replace(closure={**plan.closure, closure: None})
            also = "" if all(_fits(variant, free) for variant in variants) else f"{hint}, and "
            hint = f"{also}leave out {option}"
    return CannotCompute(f"a parameter of {names} is no number in single precision", hint)


def _fits(variant: Variant, plan: Plan) -> bool:
    """Whether the parameters that are solved for are numbers in single precision."""
    solution = solved(variant, plan)
    return solution is None or max(map(abs, solution.params.values())) <= LARGEST_FLOAT32


class Progress(NamedTuple):
    """An epoch that was finished: of which run, how many runs are behind, of how many, and seconds that are left."""

    run: str
    epoch: Epoch
    epochs: int
    done: int
    total: int
    left: float


class _Comparison:
    """All runs of a plan, one after another."""

    def __init__(
        self,
        plan: Plan,
        found: Dataset,
        ranks: Ranks,
        metrics: str | None,
        profile: bool,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        from snn_cli.training.journal import Journal
        from snn_cli.training.loop import Settings
        from snn_cli.training.networks import Design

        self._plan, self._data, self._ranks = plan, found, ranks
        self._metrics, self._profile, self._progress = metrics, profile, progress
        first = not ranks.rank
        signature = plan.signature(found, ranks)
        self._journal: Journal = (
            Journal.resumed(plan.resume, signature, first)
            if plan.resume
            else Journal(plan.checkpoint, signature, first)
        )
        self._settings: Settings = Settings(
            plan.epochs, plan.batch, plan.weight_decay, plan.mixup_alpha, plan.augment, plan.precision, plan.compile,
            plan.channels_last, ranks.device,
        )  # fmt: skip
        self._design: Design = Design(
            plan.architecture, plan.depth, plan.width or 0, plan.multiplier, plan.weights, found.shape, found.classes
        )
        self._train, self._validated = _parts(found)
        self._check_batch(len(self._train if len(plan.rates) > 1 else found.train.labels))
        if plan.resume and metrics and first:
            complete(metrics, self._journal.epochs())
        self._done, self._total = 0, len(plan.variants) * (plan.seeds + (len(plan.rates) if len(plan.rates) > 1 else 0))
        self._seconds = 0.0

    def _check_batch(self, images: int) -> None:
        batch, world = self._plan.batch, self._ranks.world
        if batch > images:
            raise InputError(f"--batch is {batch}; there are {images} images to train on", f"--batch {images}")
        if batch < world:
            raise InputError(f"--batch is {batch}; each of {world} processes takes a part of it", f"--batch {world}")
        if batch // world < 2 and any(variant.bn for variant in self._plan.variants):
            raise InputError(
                f"--batch is {batch}: batch normalization takes the deviation of at least two images a process",
                f"--batch {2 * world}",
            )

    def run(
        self, solutions: Sequence[Solution | None], report: Callable[[Training], None] | None
    ) -> tuple[Training, ...]:
        records: list[Training] = []
        for variant, solution in zip(self._plan.variants, solutions, strict=True):
            record = self._variant(variant, solution, records[0] if records else None)
            records.append(record)
            if report is not None and not self._ranks.rank:
                report(record)
        return tuple(records)

    def _variant(self, variant: Variant, solution: Solution | None, baseline: Training | None) -> Training:
        plan, data = self._plan, self._data
        began = self._seconds
        tried = self._tried(variant, solution) if len(plan.rates) > 1 else []
        rate = plan.rates[max(range(len(tried)), key=lambda i: _merit(tried[i]))] if tried else plan.rates[0]
        runs, parameters = [], 0
        everything = np.arange(len(data.train.labels))
        tested = data.test, np.arange(len(data.test.labels))
        for seed in range(plan.seed, plan.seed + plan.seeds):
            name = f"{variant.name} seed {seed} lr {nearest_double(rate)!r}"
            run, parameters = self._one(name, variant, solution, rate, seed, everything, tested)
            runs.append(run)
        done = Done(variant, solution, nearest_double(rate), tried, runs, parameters, self._seconds - began)
        return record(plan, done, baseline, str(self._ranks.device), self._profile)

    def _tried(self, variant: Variant, solution: Solution | None) -> list[Tried]:
        """Every learning rate, with the first seed, on a part of the images and tested on the others."""
        found = []
        for rate in self._plan.rates:
            name = f"{variant.name} lr {nearest_double(rate)!r}"
            tested = self._data.train, self._validated
            run, _ = self._one(name, variant, solution, rate, self._plan.seed, self._train, tested)
            loss = run.loss if math.isfinite(run.loss) else None
            found.append(Tried(nearest_double(rate), run.accuracy, loss, run.diverged))
        return found

    def _one(
        self, name: str, variant: Variant, solution: Solution | None, rate: Fraction, seed: int, train: Any, tested: Any
    ) -> tuple[Run, int]:
        from snn_cli.training.loop import State, Trainer

        trainer = Trainer(self._design, variant, solution, self._settings, self._data, seed, self._ranks)
        run = self._journal.finished(name)
        if run is None:

            def on_epoch(state: State) -> None:
                if not self._ranks.rank:
                    with Whole():
                        self._journal.stands(name, state)
                        if self._metrics is not None:
                            append(self._metrics, [(name, state.epochs[-1])])
                if self._progress is not None and not self._ranks.rank:
                    self._progress(self._where(name, state))

            held = Whole() if self._journal.writes and self._ranks.world == 1 else Now()
            with held:
                run = trainer.run(
                    train, tested, nearest_double(rate), self._journal.state(name), on_epoch,
                    held.interrupted, partial(self._journal.stands, name),
                )  # fmt: skip
                self._journal.finish(name, run)
        self._done += 1
        self._seconds += run.seconds
        return run, trainer.parameters

    def _where(self, name: str, state: Any) -> Progress:
        epochs = len(state.epochs)
        an_epoch = (self._seconds + state.seconds) / (self._done * self._plan.epochs + epochs)
        left = an_epoch * ((self._total - self._done) * self._plan.epochs - epochs)
        return Progress(name, state.epochs[-1], self._plan.epochs, self._done, self._total, left)


def _parts(found: Dataset) -> tuple[Any, Any]:
    """Numbers of the images to train on while the learning rate is chosen, and of those that it is chosen by.

    Every fifth image of a class: all classes are in both where they have five images.
    """
    validated = np.zeros(len(found.train.labels), dtype=bool)
    for label in range(found.classes):
        validated[np.flatnonzero(found.train.labels == label)[VALIDATED - 1 :: VALIDATED]] = True
    if not validated.any():
        validated[-1] = True
    return np.flatnonzero(~validated), np.flatnonzero(validated)


def _merit(tried: Tried) -> tuple[bool, float, float]:
    """A rate that diverged is worse than any other, also where the others are no better than guessing."""
    return not tried.diverged, tried.accuracy, -math.inf if tried.loss is None else -tried.loss
