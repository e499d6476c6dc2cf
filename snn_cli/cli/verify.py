"""``snn verify``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from snn_cli import activations
from snn_cli.architectures import ARCHITECTURES
from snn_cli.cli import options
from snn_cli.cli.exits import CHECK_FAILED, INTERRUPTED
from snn_cli.cli.model import model_options, refuse_without_model
from snn_cli.cli.output import Output, is_terminal
from snn_cli.ensembles import ENSEMBLES
from snn_cli.errors import InputError, SnnError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snn_cli.engine.measure import Trials
    from snn_cli.records import Verification

PASSED_ON = (
    "epsilon", "depth", "fanin", "widths", "lam", "lambda_min", "zero_mean", "architecture", "channels", "kernel",
    "image", "padding", "width_multiplier", "weights", "sigma_w", "sigma_b", "q0", "weight_mean", "centralize",
    "centralize_activation", "mixup", "scaled_mixup", "batch", "trials", "seed", "device", "dtype", "threads", "memory",
    "level", "max_growth", "save", "resume",
)  # fmt: skip


@click.command("verify", context_settings={"help_option_names": ["-h", "--help"]})
@options.activation(
    f"Activation: {', '.join((*activations.SOLVABLE, *activations.BASELINES))}. May be repeated or "
    "comma-separated.  [default: lselu, at epsilon 0.03]",
    "Backward gain minus one, or auto (needs --fanin).  [default: 1/depth]",
)
@options.size(
    "Layers.  [default: that of --params, or 50; MobileNet has its own]",
    "Fan-in of each.  [default: that of --params, or 128]",
)
@options.widths
@options.closure
@options.one_of("--architecture", ARCHITECTURES, "mlp")
@click.option("--channels", metavar="C", help="Of conv: channels of every layer.  [default: 64]")
@click.option("--kernel", metavar="K", help="Of conv: side of the filters, odd.  [default: 3]")
@click.option("--image", metavar="N", help="Of conv and MobileNet: side of the images.  [default: 16, 64]")
@click.option("--padding", metavar="NAME", help="Of conv: circular or zeros.  [default: circular]")
@click.option("--width-multiplier", metavar="M", help="Of MobileNet: factor of its channels.  [default: 1]")
@options.one_of("--weights", ENSEMBLES, "gaussian", before="Weight ensemble: ")
@options.sigma
@options.q0
@options.remedy
@click.option("--batch", metavar="B", help="Inputs through each network.  [default: 16; of images 4]")
@click.option("--trials", metavar="T", help="Networks.  [default: 32; of MobileNet 16]")
@click.option("--seed", metavar="N", help="Seed of all random numbers.  [default: 0]")
@options.device
@click.option("--dtype", metavar="NAME", default="float32", help="float64, float32, bfloat16, float16.")
@click.option("--tf32", is_flag=True, help="Let CUDA round float32 products to TF32.")
@click.option("--threads", metavar="N", help="Networks side by side on the CPU.  [default: the processors]")
@click.option("--memory", metavar="SIZE", help="Memory to stay below, such as 4GiB.  [default: what is free]")
@click.option("--level", metavar="P", help="Level of the test against theory.  [default: 0.001]")
@click.option(
    "--max-growth", metavar="F", help="Check: the squared gradient grows or shrinks by no more than this factor."
)
@click.option("--profile/--no-profile", default=True, help="With the values of every layer, or without.")
@options.file("--save", text="Keep the numbers of every network.")
@options.file("--resume", text="Add networks to a run that was kept.")
@options.plot
@options.force
@model_options
@options.output
def command(**given: Any) -> int:
    """Measure real random networks and hold them against theory.

    Runs networks forward and backward, and tests the means of log |gradient|^2 and of q over networks
    against what simulate predicts at this fan-in. Exit code 1 where they disagree, or where
    --max-growth is asked for and left. With --model mypackage.models:make_net
    --input 3x64x64 it is a model of your own that is measured, layer by layer.

    \b
    Examples:
      snn verify
      snn verify --architecture conv --channels 32 --image 8 --depth 20 --trials 8
      snn verify --model torch.nn:Transformer --input 9x512,9x512 --trials 1
    """
    if given["model"] is not None:
        from snn_cli.cli import model

        return model.verify(given)
    refuse_without_model(given)
    output = Output()
    form = options.output_format(given["as_json"], given["as_csv"])
    requests = _requests(given)
    _check(requests)
    figure = _figure(given)
    report = _report(output, form, given["profile"])
    records: list[Verification] = []
    for request in requests:
        try:
            record = _run(output, request, given)
        except SnnError as error:
            if _rank():  # the first process tells
                return error.exit_code
            raise
        if record is None:  # another process of the run prints it
            continue
        if not record.trials:  # interrupted before a network was finished
            return INTERRUPTED
        report(record)
        records.append(record)
        if "partial" in record.notes:
            return INTERRUPTED
    if figure and records:
        figure(records)
    return CHECK_FAILED if any(_fails(record) for record in records) else 0


def _fails(record: Verification) -> bool:
    return record.verdict.agrees is False or record.verdict.within_budget is False


def _requests(given: dict[str, Any]) -> list[dict[str, Any]]:
    records = options.alone(given)
    common = {name: given[name] for name in PASSED_ON if given[name] is not None}
    common["profile"] = bool(given["plot"]) or given["profile"]
    common["tf32"] = given["tf32"]
    if given["params"] is not None:
        from snn_cli.cli.params import read

        requests = [{**common, "params": record} for record in read(given["params"])]
    elif given["act"]:
        requests = [{**common, "act": act} for act in options.split(given["act"])]
    else:
        requests = [] if records else [common]
    requests += [{**common, "params": record} for record in records]
    if len(requests) > 1 and (given["save"] or given["resume"]):
        raise InputError("--save and --resume keep one run, of one activation", "--act lselu")
    return requests


def _check(requests: list[dict[str, Any]]) -> None:
    """Every request on its own; raises InputError before anything is run or printed."""
    from snn_cli.verification import check

    for request in requests:
        check(**{name: value for name, value in request.items() if name not in ("tf32", "profile")})


def _run(output: Output, request: dict[str, Any], given: dict[str, Any]) -> Verification | None:
    from snn_cli.verification import verify

    bar = None if given["quiet"] or _rank() else _bar(output)
    try:
        record = verify(**request, progress=bar)
    finally:
        if bar is not None:
            output.count("")
    if given["verbose"] and not _rank():
        output.message(f"{record.act}: {record.trials} networks in {record.seconds:.2f} s")
    return None if _rank() else record


def _rank() -> int:
    from snn_cli.verification import rank

    return rank()


def _bar(output: Output) -> Callable[[Trials, int], None] | None:
    """The running estimate and its error, on a terminal's standard error."""
    if not is_terminal(output.stderr):
        return None

    def show(found: Trials, total: int) -> None:
        growth = found.log_gradient[:, 0]
        done = len(growth)
        error = growth.std(ddof=1) / math.sqrt(done) if done > 1 else math.nan
        filled = round(20 * done / total)
        output.count(
            f"[{'#' * filled}{' ' * (20 - filled)}] {done}/{total} log growth {growth.mean():.4g} +- {error:.2g}"
        )

    return show


def _report(output: Output, form: str, profile: bool) -> Callable[[Verification], None]:
    if form == "json":
        from snn_cli.reports.json import line

        return lambda record: output.write(line(record))
    if form == "csv":
        from snn_cli.reports.verification import Rows

        rows = Rows(profile)
        return lambda record: output.write(rows(record))
    from snn_cli.reports.verification import table

    return lambda record: output.write(
        table(record, width=output.width, shorten=output.terminal, color=output.color) + "\n"
    )


def _figure(given: dict[str, Any]) -> Callable[[list[Verification]], None] | None:
    if given["plot"] is None:
        return None
    from snn_cli.reports import plot
    from snn_cli.reports.verification_plot import verifications

    plot.check(given["plot"], given["force"])
    return lambda records: verifications(records, given["plot"], force=given["force"])
