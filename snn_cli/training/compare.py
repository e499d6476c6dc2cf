"""Train: variants on one data set with the same seeds, each at its best learning rate, beside the first as baseline."""

from __future__ import annotations

import json
import math
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli import activations, architectures, ensembles
from snn_cli.engine import device as devices
from snn_cli.engine import distributed
from snn_cli.errors import InputError
from snn_cli.exact import Number, nearest_double, positive_integer, rational
from snn_cli.records import Accuracy, Curve, Difference, Growth, Note, Params, Training, Tried
from snn_cli.solver import solve
from snn_cli.training.variants import Variant, expression_parameters, of_expression, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction

    from snn_cli.data.split import Dataset
    from snn_cli.engine.distributed import Ranks
    from snn_cli.records import Solution
    from snn_cli.training.journal import Journal
    from snn_cli.training.loop import Epoch, Run, Settings
    from snn_cli.training.networks import Design

DEFAULT_ACT = "relu+bn,selu,lselu,sselu"
GRID = ("0.001", "0.003", "0.01", "0.03", "0.1")
"""Learning rates that ``auto`` tries."""

VALIDATED = 5
"""One training image of so many is for validation, where the learning rate is chosen."""

PRECISIONS = ("float32", "bfloat16", "float16")
_AUGMENTED = ("cifar10", "cifar100", "folder")
_DEFAULTS = {"mlp": (64, 128), "conv": (12, 32)}
"""Depth and width of the architectures that have no depth of their own."""


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

    Raises InputError for a value outside its domain, data or a checkpoint that is damaged, CannotCompute for a device
    that is not there, MissingExtra without torch, scikit-learn or Pillow where they are needed.
    """
    plan = check(
        act, epsilon, expr=expr, set=set, data=data, data_dir=data_dir, image=image, architecture=architecture,
        depth=depth, fanin=fanin, width_multiplier=width_multiplier, lam=lam, lambda_min=lambda_min,
        zero_mean=zero_mean, weights=weights, epochs=epochs, batch=batch, seeds=seeds, seed=seed, lr=lr,
        weight_decay=weight_decay, mixup_alpha=mixup_alpha, augment=augment, device=device, precision=precision,
        compile=compile, channels_last=channels_last, threads=threads, checkpoint=checkpoint, resume=resume,
        metrics=metrics,
    )  # fmt: skip
    torch = devices.require_torch()
    place = devices.resolve(device)
    solutions = [_solved(variant, plan) for variant in plan.variants]
    from snn_cli import data as sources

    found = sources.load(plan.data, data_dir, plan.image)
    before = torch.get_num_threads()
    torch.set_num_threads(plan.threads or 1)
    try:
        with distributed.ranks(place) as ranks:
            return _Comparison(plan, found, ranks, metrics, profile, progress).run(solutions, report)
    finally:
        torch.set_num_threads(before)


class Progress(NamedTuple):
    """An epoch that was finished: of which run, how many runs are behind, of how many, and seconds that are left."""

    run: str
    epoch: Epoch
    epochs: int
    done: int
    total: int
    left: float


class Plan(NamedTuple):
    """The arguments of `train`, each inside its domain."""

    variants: tuple[Variant, ...]
    epsilon: Number | None
    closure: dict[str, Any]
    data: str
    image: int | None
    architecture: str
    depth: int
    width: int | None
    multiplier: Any
    weights: str
    epochs: int
    batch: int
    seeds: int
    seed: int
    rates: tuple[Fraction, ...]
    weight_decay: float
    mixup_alpha: float
    augment: bool
    precision: str
    compile: bool
    channels_last: bool
    threads: int | None
    checkpoint: str | None
    resume: str | None

    def signature(self, device: str) -> dict[str, Any]:
        """What a resumed comparison must share: all that decides a number; not which variants, nor how many seeds."""
        return {
            "data": self.data,
            "image": self.image,
            "architecture": self.architecture,
            "depth": self.depth,
            "width": self.width,
            "width_multiplier": str(self.multiplier),
            "epsilon": None if self.epsilon is None else str(self.epsilon),
            "closure": {name: str(value) for name, value in self.closure.items()},
            "weights": self.weights,
            "epochs": self.epochs,
            "batch": self.batch,
            "seed": self.seed,
            "weight_decay": self.weight_decay,
            "mixup_alpha": self.mixup_alpha,
            "augment": self.augment,
            "precision": self.precision,
            "device": device,
        }


def check(
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
) -> Plan:
    """The arguments of `train`, checked; nothing is read or run. Raises InputError as it does."""
    from snn_cli import data as sources

    variants = _variants(act, expr, set)
    if len({variant.name for variant in variants}) < len(variants):
        raise InputError("a variant is named twice", f"--act {','.join(dict.fromkeys(v.name for v in variants))}")
    devices.check_names(device, "float32")
    side = None if image is None else positive_integer(image, "--image", 4096)
    sources.check(data, data_dir, side)
    kind = architectures.get(architecture)
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision} is none of {', '.join(PRECISIONS)}", "--precision bfloat16")
    own = _DEFAULTS.get(architecture)
    for option, value, mine in (
        ("--depth", depth, own), ("--fanin", fanin, own), ("--width-multiplier", width_multiplier, not own),
    ):  # fmt: skip
        if value is not None and not mine:
            raise InputError(f"{option} says nothing about {architecture}", f"leave out {option}")
    multiplier = rational(1 if width_multiplier is None else width_multiplier, "--width-multiplier")
    if own:
        layers = own[0] if depth is None else positive_integer(depth, "--depth", 100_000)
        width = own[1] if fanin is None else positive_integer(fanin, "--fanin", 1_000_000)
    else:
        assert kind.build is not None
        layers, width = len(kind.build(1, image=64, width_multiplier=multiplier)) - 1, None
    ensembles.get(weights)
    found = Plan(
        variants=variants,
        epsilon=epsilon,
        closure={"lam": lam, "lambda_min": lambda_min, "zero_mean": zero_mean},
        data=data,
        image=side,
        architecture=architecture,
        depth=layers,
        width=width,
        multiplier=multiplier,
        weights=weights,
        epochs=positive_integer(epochs, "--epochs", 10**6),
        batch=positive_integer(batch, "--batch", 10**6),
        seeds=positive_integer(seeds, "--seeds", 10**4),
        seed=_seed(seed),
        rates=_rates(lr),
        weight_decay=_at_least_zero(weight_decay, "--weight-decay"),
        mixup_alpha=_at_least_zero(mixup_alpha, "--mixup-alpha"),
        augment=data in _AUGMENTED if augment is None else augment,
        precision=precision,
        compile=compile,
        channels_last=channels_last,
        threads=None if threads is None else positive_integer(threads, "--threads", 10**4),
        checkpoint=checkpoint,
        resume=resume,
    )
    if not found.mixup_alpha:
        raise InputError("--mixup-alpha must be above 0", "--mixup-alpha 0.2")
    _check_files(checkpoint, resume, metrics)
    for variant in variants:
        _solved(variant, found)
    return found


def _variants(
    act: str | Sequence[str] | None, expr: str | Sequence[str], values: Mapping[str, Number] | None
) -> tuple[Variant, ...]:
    """Named ones first; a value that no expression takes is an error."""
    formulas = [expr] if isinstance(expr, str) else list(expr)
    if act is None:
        act = () if formulas else DEFAULT_ACT
    names = act.split(",") if isinstance(act, str) else list(act)
    if not formulas:
        activations.with_expression(None, None, values)
    given = dict(values or {})
    needed = [(text, expression_parameters(text)) for text in formulas]
    known = {name for _, parameters in needed for name in parameters}
    found = [parse(name) for name in names]
    for text, parameters in needed:
        own = {name: value for name, value in given.items() if name in parameters or name not in known}
        found.append(of_expression(text, own))
    return tuple(found)


def _check_files(checkpoint: str | None, resume: str | None, metrics: str | None) -> None:
    if checkpoint is not None and resume is not None:
        raise InputError("--resume goes on in its own file; --checkpoint begins one", "leave out --checkpoint")
    if resume is not None and not os.path.isfile(resume):
        raise InputError(f"--resume {resume} is no file", f"--checkpoint {resume}")
    for option, path in (("--checkpoint", checkpoint), ("--metrics", metrics)):
        if path is None:
            continue
        if os.path.exists(path) and not (option == "--metrics" and resume is not None):
            hint = f"--resume {path}" if option == "--checkpoint" else f"{option} {path}.new"
            raise InputError(f"{option} {path} exists, and is not overwritten", hint)
        if not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
            raise InputError(
                f"{option} {path} is in a folder that is not there or cannot be written to", f"{option} FILE"
            )


def _seed(seed: int | str) -> int:
    exact = rational(seed, "--seed")
    if exact.denominator != 1 or not 0 <= exact < 2**31:
        raise InputError(f"--seed is {seed}; it must be a whole number from 0 to 2^31 - 1", "--seed 0")
    return int(exact)


def _at_least_zero(value: Number, option: str) -> float:
    exact = rational(value, option)
    if exact < 0:
        raise InputError(f"{option} is {value}; it must be at least 0", f"{option} 0.0001")
    return nearest_double(exact)


def _rates(lr: Number | Sequence[Number]) -> tuple[Fraction, ...]:
    given: Sequence[Any]
    if isinstance(lr, str):
        given = GRID if lr.strip() == "auto" else lr.split(",")
    else:
        given = lr if isinstance(lr, list | tuple) else [lr]
    rates = tuple(dict.fromkeys(rational(rate, "--lr") for rate in given))
    if not rates or min(rates) <= 0:
        raise InputError("--lr must be above 0", "--lr auto")
    return rates


def _parameters(variant: Variant, solution: Solution | None) -> dict[str, float]:
    return dict(variant.params) if solution is None else dict(solution.params)


def _solved(variant: Variant, plan: Plan) -> Solution | None:
    """Of a family; None for a baseline. A closure counts for the families that have the freedom for one."""
    if variant.act not in activations.SOLVABLE:
        return None
    if variant.act == "selu":
        return solve("selu")
    closure = plan.closure if variant.act in ("lselu", "sselu") else {}
    width = plan.width if str(plan.epsilon).strip() == "auto" else None
    return solve(variant.act, plan.epsilon, depth=plan.depth, fanin=width, **closure)


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
        signature = plan.signature(ranks.device.type)
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
        if plan.batch > len(self._train):
            raise InputError(
                f"--batch is {plan.batch}; there are {len(self._train)} images to train on",
                f"--batch {len(self._train)}",
            )
        self._done, self._total = 0, len(plan.variants) * (plan.seeds + (len(plan.rates) if len(plan.rates) > 1 else 0))
        self._seconds = 0.0

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
        tried: list[Tried] = []
        rate = plan.rates[0]
        parameters = 0
        if len(plan.rates) > 1:
            for each in plan.rates:
                name = f"{variant.name} lr {nearest_double(each)!r}"
                run, parameters = self._one(
                    name, variant, solution, each, plan.seed, self._train, (data.train, self._validated)
                )
                loss = run.loss if math.isfinite(run.loss) else None
                tried.append(Tried(nearest_double(each), run.accuracy, loss, run.diverged))
            best = max(range(len(tried)), key=lambda i: (tried[i].accuracy, -(_or_infinite(tried[i].loss))))
            rate = plan.rates[best]
        runs = []
        everything = np.arange(len(data.train.labels))
        tested = data.test, np.arange(len(data.test.labels))
        for seed in range(plan.seed, plan.seed + plan.seeds):
            name = f"{variant.name} seed {seed} lr {nearest_double(rate)!r}"
            run, parameters = self._one(name, variant, solution, rate, seed, everything, tested)
            runs.append(run)
        return self._record(variant, solution, nearest_double(rate), tried, runs, parameters, baseline, began)

    def _one(
        self, name: str, variant: Variant, solution: Solution | None, rate: Fraction, seed: int, train: Any, tested: Any
    ) -> tuple[Run, int]:
        from snn_cli.training.loop import State, Trainer

        trainer = Trainer(self._design, variant, solution, self._settings, self._data, seed, self._ranks)
        run = self._journal.finished(name)
        if run is None:

            def on_epoch(state: State) -> None:
                if not self._ranks.rank:
                    with _Whole():
                        self._journal.stands(name, state)
                        self._note(name, state.epochs[-1])
                if self._progress is not None and not self._ranks.rank:
                    self._progress(self._where(name, state))

            run = trainer.run(train, tested, nearest_double(rate), self._journal.state(name), on_epoch)
            with _Whole():
                self._journal.finish(name, run)
        self._done += 1
        self._seconds += run.seconds
        return run, trainer.parameters

    def _where(self, name: str, state: Any) -> Progress:
        epochs = len(state.epochs)
        an_epoch = (self._seconds + state.seconds) / (self._done * self._plan.epochs + epochs)
        left = an_epoch * ((self._total - self._done) * self._plan.epochs - epochs)
        return Progress(name, state.epochs[-1], self._plan.epochs, self._done, self._total, left)

    def _note(self, name: str, epoch: Epoch) -> None:
        if self._metrics is None:
            return
        values = {key: _value(value) if isinstance(value, float) else value for key, value in epoch._asdict().items()}
        with open(self._metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps({"run": name, **values}, allow_nan=False) + "\n")

    def _record(
        self,
        variant: Variant,
        solution: Solution | None,
        rate: float,
        tried: Sequence[Tried],
        runs: Sequence[Run],
        parameters: int,
        baseline: Training | None,
        began: float,
    ) -> Training:
        plan = self._plan
        accuracies = np.array([run.accuracy for run in runs])
        diverged = sum(run.diverged for run in runs)
        notes = []
        if diverged:
            notes.append(Note.DIVERGED)
        if tried and rate in (tried[0].learning_rate, tried[-1].learning_rate):
            notes.append(Note.RATE_AT_END)
        if len(runs) == 1:
            notes.append(Note.ONE_SEED)
        difference = None
        if baseline is not None:
            off = accuracies - np.array(baseline.accuracy.runs)
            difference = Difference(baseline.variant, float(off.mean()), _error(off))
        return Training(
            variant=variant.name,
            act=variant.act,
            epsilon=None if solution is None else solution.epsilon,
            params=Params(_parameters(variant, solution)),
            data=plan.data,
            architecture=plan.architecture,
            depth=plan.depth,
            fan_in=plan.width if plan.architecture == "mlp" else None,
            batch=plan.batch,
            epochs=plan.epochs,
            seeds=len(runs),
            seed=plan.seed,
            learning_rate=rate,
            tried=tuple(tried),
            accuracy=Accuracy(
                float(accuracies.mean()),
                float(accuracies.std(ddof=1)) if len(runs) > 1 else None,
                tuple(accuracies.tolist()),
            ),
            loss=_mean(run.loss for run in runs),
            train_loss=_mean(run.train_loss for run in runs),
            gradient=Growth(_mean(run.gradient[0] for run in runs), _mean(run.gradient[1] for run in runs)),
            difference=difference,
            diverged=diverged,
            parameters=parameters,
            weights=plan.weights,
            device=str(self._ranks.device),
            precision=plan.precision,
            notes=tuple(notes),
            profile=_curve(runs) if self._profile else None,
            seconds=self._seconds - began,
        )


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


def _curve(runs: Sequence[Run]) -> Curve:
    epochs = range(max(len(run.epochs) for run in runs))
    rows = [[run.epochs[i] for run in runs if len(run.epochs) > i] for i in epochs]
    return Curve(
        tuple(epochs),
        tuple(_mean(epoch.loss for epoch in row) for row in rows),
        tuple(_mean(epoch.accuracy for epoch in row) for row in rows),
    )


def _mean(values: Any) -> float | None:
    """Of those that are finite."""
    kept = [value for value in values if math.isfinite(value)]
    return math.fsum(kept) / len(kept) if kept else None


def _error(values: Any) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _value(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _or_infinite(x: float | None) -> float:
    return math.inf if x is None else x


class _Whole:
    """Ctrl-C arrives when the block is left, where that is possible: what is written is then written whole."""

    def __enter__(self) -> None:
        import signal

        self._before: Any = None
        self._held = False
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._hold)

    def _hold(self, *_: Any) -> None:
        self._held = True

    def __exit__(self, *_: Any) -> None:
        import signal

        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self._held:
            raise KeyboardInterrupt
