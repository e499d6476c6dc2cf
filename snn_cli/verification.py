"""Verify: measure real random networks, hold them against theory, and give a verdict."""

from __future__ import annotations

import json
import math
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from snn_cli import activations, architectures, ensembles, prediction
from snn_cli.engine import device as devices
from snn_cli.engine import distributed
from snn_cli.engine.convolution import Convolutional
from snn_cli.engine.measure import Clock, Trials, broken, default_threads, group_size, measure
from snn_cli.engine.network import Architecture
from snn_cli.engine.sampling import Mixing
from snn_cli.errors import CannotCompute, InputError
from snn_cli.exact import Number, nearest_double, positive_integer, rational
from snn_cli.prediction import Predicted
from snn_cli.records import Estimates, Measured, Note, Params, Verdict, Verification
from snn_cli.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from snn_cli.architectures import Stage
    from snn_cli.records import ModelReport, Propagation, Solution

    Array = NDArray[np.float64]

DEFAULT_ACT, DEFAULT_EPSILON = "lselu", "0.03"

MOST_COMPONENTS = 8
"""Layers that the test looks at, half for the gradient and half for q; fewer with few trials, four trials to one."""

SKEWED = 0.5
"""Deviation of q, over q itself, above which q is not tested: it is near log-normal there, and the mean of few networks
is mostly too low, with too small an error. Tested for relu, whose q spreads with every layer, it is rejected five times
as often as the level of 0.01 says."""

DECIDES = 4.0
"""Standard errors by which the finite fan-in prediction is to differ from that of infinite width."""


class _Run(NamedTuple):
    """Everything that decides what is measured, but for the number of trials."""

    architecture: Architecture | Convolutional
    batch: int
    dtype: str
    seed: int

    def signature(self, device: str) -> dict[str, Any]:
        """What a resumed run must share."""
        net = self.architecture
        shape: dict[str, Any] = (
            {"widths": list(net.widths)}
            if isinstance(net, Architecture)
            else {"stages": [list(stage) for stage in net.stages]}
        )
        remedies = {
            "weight_mean": net.weight_mean,
            "centralize": net.centralize,
            "centralize_activation": net.centralize_activation,
            "mixing": None if net.mixing is None else list(net.mixing),
            "means": net.means,
        }
        return {
            "act": net.act,
            "params": dict(net.params),
            **shape,
            **{name: value for name, value in remedies.items() if value},
            "weights": net.ensemble.name,
            "sigma_w": net.sigma_w,
            "sigma_b": net.sigma_b,
            "q0": net.q0,
            "batch": self.batch,
            "dtype": self.dtype,
            "seed": self.seed,
            "device": device,
        }


@overload
def verify(
    act: str | None = ..., epsilon: Number | None = ..., *, model: None = ..., **options: Any
) -> Verification: ...
@overload
def verify(*, model: str | Callable[[], Any], input: str | None = ..., **options: Any) -> ModelReport: ...
def verify(  # type: ignore[misc]  # the options of the signatures above are these
    act: str | None = None,
    epsilon: Number | None = None,
    *,
    model: str | Callable[[], Any] | None = None,
    input: str | None = None,  # noqa: A002
    weights_from: str | None = None,
    params: Solution | Propagation | Mapping[str, Any] | None = None,
    expr: str | None = None,
    set: Mapping[str, Number] | None = None,  # noqa: A002
    depth: int | str | None = None,
    fanin: int | str | None = None,
    widths: Sequence[int] | str | None = None,
    lam: Number | None = None,
    lambda_min: Number | None = None,
    zero_mean: bool = False,
    architecture: str = "mlp",
    channels: int | str | None = None,
    kernel: int | str | None = None,
    image: int | str | None = None,
    padding: str | None = None,
    width_multiplier: Number | None = None,
    weights: str = "gaussian",
    sigma_w: Number | None = None,
    sigma_b: Number = 0,
    q0: Number = 1,
    weight_mean: Number = 0,
    centralize: bool = False,
    centralize_activation: bool = False,
    mixup: Number | None = None,
    scaled_mixup: Number | None = None,
    batch: int | str | None = None,
    trials: int | str | None = None,
    seed: int | str = 0,
    device: str = "cpu",
    dtype: str = "float32",
    tf32: bool = False,
    threads: int | str | None = None,
    memory: int | str | None = None,
    level: Number = "0.001",
    max_growth: Number | None = None,
    profile: bool = True,
    save: str | None = None,
    resume: str | None = None,
    progress: Callable[..., None] | None = None,
) -> Verification | ModelReport:
    """Run ``trials`` random networks forward and backward, and compare with ``simulate``.

    act, epsilon, params, expr, set, depth, fanin, widths, lam, lambda_min, zero_mean, weights, sigma_w, sigma_b, q0
        As for ``simulate``; without an activation lselu at 0.03, depth 50 and fan-in 128 unless given.
    architecture, channels, kernel, image, padding, width_multiplier
        ``mlp``; ``conv``, layers of 64 channels, kernel 3 and padding ``circular`` or ``zeros`` over images of 16 x 16;
        or ``conv-mobilenet-v1``, MobileNet V1 of ordinary convolutions over images of 64 x 64, channels multiplied.
    weight_mean, centralize, centralize_activation, mixup, scaled_mixup
        As for ``simulate``, of independent inputs; the record then has the mean over units at every layer.
    batch, trials, seed
        Inputs through each network, networks, and the seed of all random numbers.
    device, dtype, tf32
        ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto``; precision of the network; whether CUDA may round to TF32.
    threads, memory
        Networks side by side, and bytes (or ``"4GiB"``) for the process, torch included; neither changes the result.
    level, max_growth
        Level of the test of theory; factor for the mean of ``|log growth|``.
    save, resume
        File to keep every network's numbers in; file of an earlier run whose networks are not run again.
    progress
        Called with what is finished and how many networks were asked for.
    model, input, weights_from
        Instead of all of those but batch, trials, seed, device, dtype and max_growth: a model of your own, as
        `models.verify_path` takes it; returns a `ModelReport`.

    Raises InputError for a value outside its domain, CannotCompute for a device or memory that is not there,
    MissingExtra without torch. An interrupt ends the run early; the record then has the note ``partial``.
    """
    if model is not None or input is not None or weights_from is not None:
        from snn_cli.models import arguments, verify_path

        return verify_path(**arguments(verify, locals(), verify_path))
    params = activations.with_expression(params, expr, set, act)
    request = check(
        act, epsilon, params=params, depth=depth, fanin=fanin, widths=widths, lam=lam, lambda_min=lambda_min,
        zero_mean=zero_mean, architecture=architecture, channels=channels, kernel=kernel, image=image, padding=padding,
        width_multiplier=width_multiplier, weights=weights, sigma_w=sigma_w, sigma_b=sigma_b, q0=q0,
        weight_mean=weight_mean, centralize=centralize, centralize_activation=centralize_activation, mixup=mixup,
        scaled_mixup=scaled_mixup,
        batch=batch, trials=trials, seed=seed, device=device, dtype=dtype, threads=threads, memory=memory, level=level,
        max_growth=max_growth, save=save, resume=resume,
    )  # fmt: skip
    torch = devices.require_torch()
    place = devices.resolve(device)
    if place.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = bool(tf32)
        torch.backends.cudnn.deterministic = True
    theory = simulate(**request.theory)
    run = _run(theory, request)
    clock = Clock()
    earlier = (
        Trials.empty(theory.depth, run.architecture.means)
        if resume is None
        else _read(resume, run.signature(place.type))
    )
    _check_results(request.trials, theory.depth, request.memory or devices.free_memory(torch.device("cpu")))
    missing = sorted({*range(request.trials)} - {*earlier.number.tolist()})
    with distributed.ranks(place) as ranks:
        mine = ranks.share(missing, group_size(run.architecture, request.batch, dtype))
        held = devices.resident(place) if request.memory else 0
        found, complete = measure(
            run.architecture,
            mine,
            request.batch,
            seed=request.seed,
            dtype=dtype,
            device=ranks.device,
            threads=request.threads or (1 if ranks.world > 1 else default_threads()),
            memory=(
                request.memory - held
                if request.memory
                else devices.free_memory(ranks.device) // (ranks.world if place.type == "cpu" else 1)
            ),
            base=held,
            progress=None if progress is None else lambda done: progress(earlier.joined(done), request.trials),
        )
        found = earlier.joined(ranks.gather(found))
    if (save is not None or resume is not None) and not rank():
        _write(save or resume or "", run.signature(place.type), found)
    return _judge(theory, run, request, found, str(place), complete, clock(), devices.peak_memory(place), profile)


def _check_results(trials: int, depth: int, memory: int) -> None:
    """Raise CannotCompute where what is kept of every network does not fit, with the copy that sorting makes."""
    each = 2 * len(_SAVED) * 8 * (depth + 1)
    if trials * each > memory:
        raise CannotCompute(
            f"the numbers of {trials} networks of depth {depth} do not fit into memory",
            f"--trials {max(1, memory // each)}",
        )


class _Request(NamedTuple):
    """The options, each inside its domain."""

    theory: dict[str, Any]
    batch: int
    trials: int
    seed: int
    dtype: str
    threads: int | None
    memory: int | None
    level: float
    max_growth: float | None
    architecture: str
    shape: dict[str, Any]
    stages: tuple[Stage, ...] | None
    q0: float


def check(
    act: str | None = None,
    epsilon: Number | None = None,
    *,
    architecture: str = "mlp",
    channels: int | str | None = None,
    kernel: int | str | None = None,
    image: int | str | None = None,
    padding: str | None = None,
    width_multiplier: Number | None = None,
    batch: int | str | None = None,
    trials: int | str | None = None,
    seed: int | str = 0,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | str | None = None,
    memory: int | str | None = None,
    level: Number = "0.001",
    max_growth: Number | None = None,
    save: str | None = None,
    resume: str | None = None,
    **options: Any,
) -> _Request:
    """The arguments of `verify`, checked; nothing is run. Raises InputError as it does."""
    from snn_cli.simulation import check as check_theory

    kind = architectures.get(architecture)
    devices.check_names(device, dtype)
    theory = dict(options)
    own = ("depth", "fanin", "widths")
    shape = architectures.options(
        architecture,
        {
            **{name: theory.get(name) for name in own},
            "channels": channels, "kernel": kernel, "image": image, "padding": padding,
            "width_multiplier": width_multiplier,
        },
    )  # fmt: skip
    given = theory.get("params")
    if act is None and given is None:
        act = DEFAULT_ACT
        if epsilon is None and theory.get("depth") is None:
            epsilon = DEFAULT_EPSILON
    theory.update(act=act, epsilon=epsilon, c0=0)
    if theory.get("widths") is None and kind.depth and theory.get("depth") is None and _of(given, "depth") is None:
        theory["depth"] = kind.depth
    stages = None
    if kind.build is not None:
        stages = _stages(kind.build, shape, theory)
    elif theory.get("widths") is None and theory.get("fanin") is None and _of(given, "fan_in") is None:
        theory["fanin"] = shape["fanin"]
    check_theory(**theory)
    alpha = rational(level, "--level")
    if not 0 < alpha < 1:
        raise InputError(f"--level is {level}; a level is between 0 and 1", "--level 0.001")
    factor = None if max_growth is None else rational(max_growth, "--max-growth")
    if factor is not None and factor < 1:
        raise InputError("--max-growth must be at least 1", "--max-growth 10")
    if save is not None and os.path.exists(save):
        raise InputError(f"--save {save} exists, and is not overwritten", f"--resume {save}")
    if save is not None and not os.access(os.path.dirname(os.path.abspath(save)), os.W_OK):
        raise InputError(f"--save {save} is in a folder that is not there or cannot be written to", "--save run.jsonl")
    if resume is not None and not os.path.isfile(resume):
        raise InputError(f"--resume {resume} is no file", f"--save {resume}")
    return _Request(
        theory=theory,
        batch=kind.batch if batch is None else positive_integer(batch, "--batch"),
        trials=kind.trials if trials is None else positive_integer(trials, "--trials"),
        seed=_seed(seed),
        dtype=dtype,
        threads=None if threads is None else positive_integer(threads, "--threads"),
        memory=None if memory is None else _bytes(memory),
        level=nearest_double(alpha),
        max_growth=None if factor is None else nearest_double(factor),
        architecture=architecture,
        shape=shape,
        stages=stages,
        q0=nearest_double(rational(theory.get("q0", 1), "--q0")),
    )


def _stages(
    build: Callable[..., tuple[Stage, ...]], shape: dict[str, Any], theory: dict[str, Any]
) -> tuple[Stage, ...]:
    """Layers of a convolutional network; ``theory`` gets the fan-in of its filters, or of each where they differ."""
    if str(theory["epsilon"]).strip() == "auto":
        raise InputError(
            "--epsilon auto is for the fan-in of a perceptron, where positions are alike", "--epsilon 0.01"
        )
    layers = theory.get("depth") or _of(theory.get("params"), "depth")
    stages = build(1 if layers is None else positive_integer(layers, "--depth"), **shape)
    delta = ensembles.get(theory.get("weights", "gaussian")).orthogonal
    fan_ins = [stage.inputs if delta or stage.pooled else stage.fan_in for stage in stages]
    if len(set(fan_ins)) == 1:
        theory["fanin"] = fan_ins[0]
    else:
        theory["widths"] = [*fan_ins, stages[-1].channels]
    return stages


def _of(params: Any, name: str) -> Any:
    from collections.abc import Mapping as AnyMapping

    return params.get(name) if isinstance(params, AnyMapping) else getattr(params, name, None)


def _seed(seed: int | str) -> int:
    exact = rational(seed, "--seed")
    if exact.denominator != 1 or not 0 <= exact < 2**63:
        raise InputError(f"--seed is {seed}; it must be a whole number from 0 to 2^63 - 1", "--seed 0")
    return int(exact)


def _bytes(memory: int | str) -> int:
    text = str(memory).strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B?|B)?", text, re.IGNORECASE | re.ASCII)
    if match is None:
        raise InputError(f"--memory is {memory}; it takes bytes, or a size such as 512MiB or 4GiB", "--memory 4GiB")
    unit = (match[2] or "B").upper()
    base = 1024 if "I" in unit else 1000
    size = int(float(match[1]) * base ** "BKMGT".index(unit[0]))
    if size < 1:
        raise InputError("--memory must be above 0", "--memory 4GiB")
    return size


def _run(theory: Propagation, request: _Request) -> _Run:
    beta = theory.mixup or theory.scaled_mixup
    common: dict[str, Any] = {
        "act": theory.act,
        "params": tuple(theory.params.items()),
        "ensemble": ensembles.get(theory.weights),
        "sigma_w": theory.sigma_w,
        "sigma_b": theory.sigma_b,
        "q0": request.q0,
        "weight_mean": theory.weight_mean,
        "centralize": theory.centralize,
        "centralize_activation": theory.centralize_activation,
        "mixing": None if beta is None else Mixing(beta, theory.mixup is None),
        "means": bool(theory.weight_mean or theory.centralize or theory.centralize_activation or beta),
    }
    net: Architecture | Convolutional
    if request.stages is not None:
        net = Convolutional(stages=request.stages, **common)
    else:
        widths = theory.widths
        if widths is None:
            assert theory.fan_in is not None
            widths = (theory.fan_in,) * (theory.depth + 1)
        net = Architecture(widths=widths, **common)
    return _Run(net, request.batch, request.dtype, request.seed)


def _extras(theory: Propagation, request: _Request, measured: bool) -> dict[str, Any]:
    """The fields of a record that say something of this run only."""
    found: dict[str, Any] = {}
    if request.stages is not None:
        found.update((name, int(request.shape[name])) for name in ("channels", "kernel") if name in request.shape)
        found["image"] = request.stages[0].size
        found["padding"] = "circular" if request.stages[0].circular else "zeros"
        if "width_multiplier" in request.shape:
            found["width_multiplier"] = nearest_double(
                rational(request.shape["width_multiplier"], "--width-multiplier")
            )
    if measured:
        found.update(
            (name, getattr(theory, name))
            for name in ("weight_mean", "centralize", "centralize_activation", "mixup", "scaled_mixup")
        )
    return found


def rank() -> int:
    """This process's number among those of the run; the first one reports."""
    return distributed.rank()


def _judge(
    theory: Propagation,
    run: _Run,
    request: _Request,
    found: Trials,
    device: str,
    complete: bool,
    seconds: float,
    memory: int,
    profile: bool,
) -> Verification:
    count = len(found.number)
    lost = broken(found) if count else None
    predicted = prediction.predict(request.theory, theory, request.stages, request.batch)
    notes = prediction.notes(theory, predicted, request.stages is not None)
    if not complete:
        notes.append(Note.PARTIAL)
    if count == 1:
        notes.append(Note.ONE_TRIAL)
    if lost is not None:
        notes.append(Note.BROKEN)
    elif not predicted.finite and not predicted.notes:
        notes.append(Note.NO_FINITE_THEORY)
    verdict = _verdict(found, predicted, request, lost is not None)
    if verdict.trials_to_decide is not None:
        notes.append(Note.TOO_FEW_TRIALS)
    return Verification(
        act=theory.act,
        epsilon=theory.epsilon,
        params=Params(dict(theory.params)),
        depth=theory.depth,
        fan_in=theory.fan_in,
        architecture=request.architecture,
        weights=theory.weights,
        sigma_w=theory.sigma_w,
        sigma_b=theory.sigma_b,
        widths=None if request.stages is not None else theory.widths,
        q0=theory.q0,
        batch=request.batch,
        trials=count,
        device=device,
        dtype=request.dtype,
        seed=request.seed,
        measured=_estimates(found, predicted),
        theory=_predicted(predicted),
        verdict=verdict,
        broken_layer=None if lost is None else lost[0],
        broken_trial=None if lost is None else lost[1],
        notes=tuple(dict.fromkeys(notes)),
        profile=_profile(found, predicted) if profile else None,
        seconds=seconds,
        networks_per_second=count / seconds if seconds else 0.0,
        peak_memory=memory,
        **_extras(theory, request, run.architecture.means),
    )


def _window(predicted: Predicted) -> tuple[int, int]:
    """First and last layer of the middle half."""
    depth = len(predicted.q) - 1
    return depth // 4, depth - depth // 4


def _predicted(predicted: Predicted) -> Estimates:
    first, last = _window(predicted)
    inside = slice(first, last + 1)
    with np.errstate(all="ignore"):
        shared = predicted.q_sd**2 - predicted.unit_share * predicted.infinite_q**2
    return Estimates(
        _value((predicted.log_gradient[first] - predicted.log_gradient[last]) / (last - first)),
        None,
        _value(predicted.log_gradient[0]),
        None,
        predicted.log_growth_sd,
        _value(np.mean((predicted.q - predicted.infinite_q)[inside])),
        _value(np.mean(shared[inside])),
    )


def _estimates(found: Trials, predicted: Predicted) -> Estimates:
    if not len(found.number):
        return Estimates(None, None, None, None, None, None, None)
    first, last = _window(predicted)
    inside = slice(first, last + 1)
    with np.errstate(all="ignore"):
        drift = (found.log_gradient[:, first] - found.log_gradient[:, last]) / (last - first)
        growth = found.log_gradient[:, 0]
        spread = found.log_gradient_square[:, 0].mean() - growth.mean() ** 2
        q = found.second_moment.mean(axis=0)
        shared = found.second_moment_square.mean(axis=0) - q * q - predicted.unit_share * q * q
        return Estimates(
            _value(drift.mean()),
            _error(drift),
            _value(growth.mean()),
            _error(growth),
            _value(math.sqrt(spread)) if spread >= 0 else None,
            _value((q - predicted.infinite_q)[inside].mean()),
            _value(shared[inside].mean()),
        )


def _profile(found: Trials, predicted: Predicted) -> Measured:
    count = len(found.number)
    empty = np.full(len(predicted.q), np.nan)
    with np.errstate(all="ignore"):
        means = [x.mean(axis=0) if count else empty for x in (found.second_moment, found.log_gradient)]
        errors = [
            x.std(axis=0, ddof=1) / math.sqrt(count) if count > 1 else empty
            for x in (found.second_moment, found.log_gradient)
        ]
        z = (means[1] - predicted.log_gradient) / errors[1]
        extra = {}
        if found.mean.shape[1]:
            values = found.mean
            extra = {
                "mean": _column(values.mean(axis=0) if count else empty),
                "mean_se": _column(values.std(axis=0, ddof=1) / math.sqrt(count) if count > 1 else empty),
                "mean_theory": _column(predicted.mean),
            }
    return Measured(
        tuple(range(len(predicted.q))),
        _column(means[0]),
        _column(errors[0]),
        _column(predicted.q),
        _column(means[1]),
        _column(errors[1]),
        _column(predicted.log_gradient),
        _column(z),
        **extra,
    )


def _verdict(found: Trials, predicted: Predicted, request: _Request, lost: bool) -> Verdict:
    count = len(found.number)
    components, statistic, p_value, allowance = 0, None, None, None
    agrees: bool | None = False if lost and Note.THEORY_VOID not in predicted.notes else None
    if not lost and count > 1 and predicted.tested and np.isfinite(predicted.log_gradient[0]):
        components, statistic, p_value, allowance = _test(found, predicted)
        agrees = None if p_value is None else p_value >= request.level
    worst = None
    with np.errstate(all="ignore"):
        error = _error(found.log_gradient[:, 0])
        growth = np.abs(found.log_gradient[:, 0]).mean() if count else math.nan
        if count > 1:
            off = np.abs(found.log_gradient.mean(axis=0) - predicted.log_gradient)[:-1]
            z = off / found.log_gradient.std(axis=0, ddof=1)[:-1]
            worst = int(np.nanargmax(z)) if np.isfinite(z).any() else None
    needed = None
    difference = abs(predicted.log_gradient[0] - predicted.infinite[0])
    if error and difference and error * DECIDES > difference:
        needed = math.ceil(count * (DECIDES * error / difference) ** 2)
    within = None
    if request.max_growth is not None:
        within = bool(math.isfinite(growth) and growth <= math.log(request.max_growth))
    return Verdict(
        agrees=agrees,
        p_value=p_value,
        level=request.level,
        statistic=statistic,
        worst_layer=worst,
        within_budget=within,
        max_growth=request.max_growth,
        components=components,
        allowance=allowance,
        trials_to_decide=needed,
    )


def _test(found: Trials, predicted: Predicted) -> tuple[int, float | None, float | None, float]:
    """Hotelling's one-sample T^2 of the means over networks against theory, over layers spread through the network.

    Layers are correlated: their covariance is estimated from the networks. An error of theory of the size of the
    allowances a makes ``T^2 (n - d)/(d (n - 1))`` non-central F with the parameter ``n a' S^-1 a``.
    """
    from scipy.special import fdtrc, ncfdtr

    count, depth = found.log_gradient.shape[0], found.log_gradient.shape[1] - 1
    components = max(1, min(MOST_COMPONENTS, (count - 1) // 4))
    gradient = np.unique(np.linspace(0, depth, (components + 1) // 2 + 1)[:-1].round().astype(int))
    moment = np.unique(np.linspace(depth, 0, components // 2 + 1)[:-1].round().astype(int))
    moment = moment[np.logical_not(predicted.q_sd[moment] > SKEWED * predicted.q[moment])]
    values = np.concatenate([found.log_gradient[:, gradient], found.second_moment[:, moment]], axis=1)
    expected = np.concatenate([predicted.log_gradient[gradient], predicted.q[moment]])
    allowed = np.concatenate([predicted.gradient_allowance[gradient], predicted.q_allowance[moment]])
    d = values.shape[1]
    covariance = np.atleast_2d(np.cov(values, rowvar=False))
    scale = np.sqrt(np.diag(covariance))
    if count <= d or not (scale > 0).all() or not np.isfinite(expected).all():
        return d, None, None, float(allowed[0])
    correlation = covariance / np.outer(scale, scale)
    off = (values.mean(axis=0) - expected) / scale
    try:
        statistic = float(count * off @ np.linalg.solve(correlation, off))
        shift = float(count * (allowed / scale) @ np.linalg.solve(correlation, allowed / scale))
    except np.linalg.LinAlgError:
        return d, None, None, float(allowed[0])
    ratio = statistic * (count - d) / (d * (count - 1))
    p_value = float(fdtrc(d, count - d, ratio))
    if shift > 0:
        p_value = max(p_value, float(1 - ncfdtr(d, count - d, shift, ratio)))
    return d, statistic, p_value, float(allowed[0])


def _array(values: Sequence[float | None]) -> Array:
    return np.array([math.nan if x is None else x for x in values], dtype=float)


def _value(x: Any) -> float | None:
    return float(x) if np.isfinite(x) else None


def _error(values: Array) -> float | None:
    return _value(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _column(values: Array) -> tuple[float | None, ...]:
    return tuple(x if math.isfinite(x) else None for x in values.tolist())


_SAVED = ("second_moment", "second_moment_square", "log_gradient", "log_gradient_square")


def _columns(found: Trials) -> tuple[str, ...]:
    """What is kept of every network."""
    return (*_SAVED, "mean") if found.mean.shape[1] else _SAVED


def _write(path: str, signature: Mapping[str, Any], found: Trials) -> None:
    """A header line, then a line a network; written under another name and renamed."""
    temporary = f"{path}.part"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(json.dumps({"kind": "trials", "version": 1, "count": len(found.number), **signature}) + "\n")
            for i, number in enumerate(found.number.tolist()):
                row = {name: getattr(found, name)[i].tolist() for name in _columns(found)}
                file.write(json.dumps({"trial": number, **row}) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        raise CannotCompute(f"{path} cannot be written: {error.strerror or error}", "--save FILE") from None


def _read(path: str, signature: Mapping[str, Any]) -> Trials:
    """Raises InputError for a file that is no such record, is cut short, or is of another run."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--resume {path} cannot be read: {error}", f"--save {path}.new") from None
    if not lines or not isinstance(lines[0], dict) or lines[0].get("kind") != "trials" or lines[0].get("version") != 1:
        raise InputError(f"--resume {path} is no saved run", "snn verify --save FILE")
    for name, value in signature.items():
        if lines[0].get(name) != value:
            raise InputError(
                f"--resume {path} is another run: its {name} is {lines[0].get(name)!r}, not {value!r}",
                f"--save {path}.new",
            )
    if lines[0].get("count") != len(lines) - 1:
        raise InputError(
            f"--resume {path} is cut short: {len(lines) - 1} networks of {lines[0].get('count')}", f"--save {path}.new"
        )
    try:
        layers = len(signature["widths"]) if "widths" in signature else len(signature["stages"]) + 1
        shape = len(lines) - 1, layers
        found = Trials.empty(layers - 1, bool(signature.get("means")))
        columns = {
            name: np.array([line[name] for line in lines[1:]], dtype=float).reshape(shape) for name in _columns(found)
        }
        found = found._replace(number=np.array([line["trial"] for line in lines[1:]], dtype=np.int64), **columns)
        if not signature.get("means"):
            found = found._replace(mean=np.zeros((len(lines) - 1, 0)))
        if len(set(found.number.tolist())) < len(found.number) or not all(
            type(line["trial"]) is int and line["trial"] >= 0 for line in lines[1:]
        ):
            raise ValueError("the numbers of its networks are not distinct whole numbers")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"--resume {path} is malformed: {error}", f"--save {path}.new") from None
    return found
