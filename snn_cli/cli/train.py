"""``snn train``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from snn_cli.architectures import ARCHITECTURES
from snn_cli.cli import options
from snn_cli.cli.exits import INTERRUPTED, OK
from snn_cli.cli.output import Output, is_terminal
from snn_cli.data import SOURCES
from snn_cli.ensembles import ENSEMBLES
from snn_cli.errors import SnnError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snn_cli.records import Training
    from snn_cli.training.compare import Progress

PASSED_ON = (
    "epsilon", "data", "data_dir", "image", "architecture", "depth", "fanin", "width_multiplier", "lam", "lambda_min",
    "zero_mean", "weights", "epochs", "batch", "seeds", "seed", "lr", "weight_decay", "mixup_alpha", "augment",
    "device", "precision", "compile", "channels_last", "threads", "checkpoint", "resume", "metrics", "profile",
)  # fmt: skip


@click.command("train", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--act",
    metavar="NAME",
    multiple=True,
    help="Variants, repeated or comma-separated; the first is the baseline. Suffixes: +bn, +mixup, +scaled-mixup, "
    "+centralize, +centralize-activation, +trainable.  [default: relu+bn,selu,lselu,sselu]",
)
@options.expression
@options.epsilon("Backward gain minus one, or auto.  [default: 1/depth]")
@options.closure
@options.one_of("--data", SOURCES, "digits")
@click.option("--data-dir", metavar="DIR", help="Where the data are; nothing is downloaded.")
@click.option("--image", metavar="N", help="Side that images of a folder are scaled and cropped to.")
@options.one_of("--architecture", ARCHITECTURES, "mlp")
@options.size(
    "Layers with an activation.  [default: 64; of conv 12]", "Units, or channels of conv.  [default: 128; of conv 32]"
)
@click.option("--width-multiplier", metavar="M", help="Of MobileNet: factor of its channels.  [default: 1]")
@options.one_of("--weights", ENSEMBLES, "gaussian")
@click.option("--epochs", metavar="N", default="10", help="Epochs of every run.  [default: 10]")
@click.option("--batch", metavar="B", default="64", help="Images a step.  [default: 64]")
@click.option("--seeds", metavar="N", default="2", help="Runs a variant, the same seeds for all.  [default: 2]")
@click.option("--seed", metavar="N", default="0", help="The first of them.  [default: 0]")
@click.option(
    "--lr",
    metavar="R",
    default="auto",
    help="Learning rate, several to choose from, or auto: the best of 0.0003 0.001 0.003 0.01 0.03 0.1 on validation "
    "images.",
)
@click.option("--weight-decay", metavar="D", default="0", help="Of weights alone.  [default: 0]")
@click.option("--mixup-alpha", metavar="A", default="0.2", help="Of +mixup: t ~ Beta(A, A).  [default: 0.2]")
@click.option("--augment/--no-augment", default=None, help="Move and mirror images.  [default: of cifar and folders]")
@options.device
@click.option("--precision", metavar="NAME", default="float32", help="bfloat16 or float16: mixed precision.")
@click.option("--compile", is_flag=True, help="Compile the network with torch.compile.")
@click.option("--channels-last", is_flag=True, help="Images with their channels last in memory.")
@click.option("--threads", metavar="N", help="Of torch, on the CPU.  [default: 1]")
@options.file("--checkpoint", text="Written after every epoch.")
@options.file("--resume", text="Go on from a checkpoint, in the same file.")
@options.file("--metrics", text="A JSON line for every epoch.")
@click.option("--profile/--no-profile", default=True, help="With the curve over epochs, or without.")
@options.plot
@options.force
@options.output
def command(**given: Any) -> int:
    """Train variants on real data and compare them, seed by seed.

    Every variant gets the same epochs and its best learning rate of those tried, chosen on validation
    images; the test images are looked at once a run. Beside the accuracy stands how the gradient grows
    from the last layer to the first, before and after.

    \b
    Examples:
      snn train --act relu+bn,lselu --depth 16 --epochs 2 --lr 0.003,0.01
      snn train --act sselu+centralize --depth 8 --epochs 1 --lr 0.003,0.01 --json
    """
    output = Output()
    form = options.output_format(given["as_json"], given["as_csv"])
    acts = options.split(given["act"])
    asked = {name: given[name] for name in PASSED_ON if given[name] is not None}
    if acts:
        asked["act"] = acts
    asked |= {"expr": given["expr"], "set": options.single_values(given["values"])}
    figure = _figure(given)
    from snn_cli.engine.distributed import OfOneRank, rank
    from snn_cli.training.compare import train
    from snn_cli.training.plan import DEFAULT_ACT

    named = acts or ([] if given["expr"] else options.split([DEFAULT_ACT]))
    report, conclusion = _report(output, form, [*named, *given["expr"]])
    records: list[Training] = []

    def finished(record: Training) -> None:
        report(record)
        records.append(record)

    bar = None if given["quiet"] or rank() else _bar(output, given["verbose"])
    interrupted = False
    try:
        train(**asked, report=finished, progress=bar)
    except KeyboardInterrupt:
        interrupted = True
    except SnnError as error:
        if rank() and not isinstance(error, OfOneRank):  # the first process tells
            return error.exit_code
        raise
    finally:
        if bar is not None and is_terminal(output.stderr):
            output.count("")
    if interrupted:
        if not rank():
            _how_to_go_on(output, given)
        return INTERRUPTED
    if rank():
        return OK
    conclusion()
    if figure is not None:
        figure(records)
    return OK


def _how_to_go_on(output: Output, given: dict[str, Any]) -> None:
    path = given["resume"] or given["checkpoint"]
    if path is None:
        output.message("interrupted; --checkpoint FILE would have kept what was done")
    elif not os.path.exists(path):
        output.message(
            f"interrupted before there was anything to keep\nhint: the same command with --checkpoint {path}"
        )
    else:
        output.message(f"interrupted; what was done is kept\nhint: the same command with --resume {path}")


def _bar(output: Output, verbose: bool) -> Callable[[Progress], None] | None:
    """The running epoch on a terminal's standard error; a line each where asked for."""
    if not verbose and not is_terminal(output.stderr):
        return None
    from snn_cli.reports.training import left

    def show(at: Progress) -> None:
        text = (
            f"{at.run}: epoch {at.epoch.epoch + 1}/{at.epochs} loss {at.epoch.loss:.4g} accuracy "
            f"{at.epoch.accuracy:.3f}, run {at.done + 1}/{at.total}, {left(at.left)} left"
        )
        if verbose:
            output.message(text)
        else:
            output.count(text)

    return show


def _report(output: Output, form: str, names: list[str]) -> tuple[Callable[[Training], None], Callable[[], None]]:
    if form == "json":
        from snn_cli.reports.json import line

        return lambda record: output.write(line(record)), lambda: None
    from snn_cli.reports.training import Rows, Table

    if form == "csv":
        rows = Rows()
        return lambda record: output.write(rows(record)), lambda: None
    table = Table(names, width=output.width, shorten=output.terminal, color=output.color)

    def conclude() -> None:
        if text := table.conclusion():
            output.write(f"\n{text}")

    return lambda record: output.write(table(record)), conclude


def _figure(given: dict[str, Any]) -> Callable[[list[Training]], None] | None:
    if given["plot"] is None:
        return None
    from snn_cli.reports import plot
    from snn_cli.reports.training_plot import trainings

    plot.check(given["plot"], given["force"])
    return lambda records: trainings(records, given["plot"], force=given["force"])
