"""Verify: from the arguments to the networks, and to the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from snn_cli import activations
from snn_cli.engine import device as devices
from snn_cli.engine import distributed
from snn_cli.engine.measure import Clock, Trials, default_threads, group_size, measure
from snn_cli.errors import CannotCompute
from snn_cli.exact import Number
from snn_cli.simulation import simulate
from snn_cli.verification import saved
from snn_cli.verification.judging import Session, judge
from snn_cli.verification.networks import networks
from snn_cli.verification.request import check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from snn_cli.records import ModelReport, Propagation, Solution, Verification
    from snn_cli.verification.networks import Run
    from snn_cli.verification.request import Request


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

    Raises InputError for a value outside its domain, NoSolution where the activation cannot be solved, CannotCompute
    for a device or memory that is not there and a parameter beyond ``dtype``, MissingExtra without torch. An interrupt
    ends the run early; the record then has the note ``partial``. Source: what they are held against is theory,
    sections 4 to 6, by Hotelling's T^2 of the means over networks.
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
    place = _device(device, tf32)
    theory = simulate(**request.theory)
    run = networks(theory, request)
    clock = Clock()
    signature = run.signature(place.type)
    earlier = Trials.empty(theory.depth, run.architecture.means) if resume is None else saved.read(resume, signature)
    _check_results(request, theory.depth)
    try:
        found, complete = _measured(run, request, earlier, place, progress)
    except RuntimeError as error:
        if "without overflow" not in str(error):
            raise
        hint = "--epsilon 0.03" if dtype == "float64" or place.type == "mps" else "--dtype float64"
        raise CannotCompute(f"a parameter of {theory.act} is no number in {dtype}", hint) from None
    if (save is not None or resume is not None) and not rank():
        saved.write(save or resume or "", signature, found)
    session = Session(str(place), complete, clock(), devices.peak_memory(place))
    return judge(theory, run, request, found, session, profile)


def _device(name: str, tf32: bool) -> Any:
    torch = devices.require_torch()
    place = devices.resolve(name)
    if place.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = bool(tf32)
        torch.backends.cudnn.deterministic = True
    return place


def _measured(
    run: Run, request: Request, earlier: Trials, place: Any, progress: Callable[..., None] | None
) -> tuple[Trials, bool]:
    """With the networks that are missing from an earlier run; and whether that is all of them."""
    missing = sorted({*range(request.trials)} - {*earlier.number.tolist()})
    with distributed.ranks(place) as ranks:
        mine = ranks.share(missing, group_size(run.architecture, run.batch, run.dtype))
        held = devices.resident(place) if request.memory else 0
        memory = request.memory
        if memory is None:
            memory = devices.free_memory(ranks.device) // (ranks.world if place.type == "cpu" else 1)
        found, complete = measure(
            run.architecture,
            mine,
            run.batch,
            seed=run.seed,
            dtype=run.dtype,
            device=ranks.device,
            threads=request.threads or (1 if ranks.world > 1 else default_threads()),
            memory=memory - held,
            base=held,
            progress=None if progress is None else lambda done: progress(earlier.joined(done), request.trials),
        )
        return earlier.joined(ranks.gather(found)), complete


def _check_results(request: Request, depth: int) -> None:
    """Raise CannotCompute where what is kept of every network does not fit, with the copy that sorting makes."""
    torch = devices.require_torch()
    memory = request.memory or devices.free_memory(torch.device("cpu"))
    each = 2 * len(saved.KEPT) * 8 * (depth + 1)
    if request.trials * each > memory:
        raise CannotCompute(
            f"the numbers of {request.trials} networks of depth {depth} do not fit into memory",
            f"--trials {max(1, memory // each)}",
        )


def rank() -> int:
    """This process's number among those of the run; the first one reports."""
    return distributed.rank()
