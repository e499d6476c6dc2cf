"""``--model`` of simulate and verify: the user's own model instead of an activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from snn_cli.cli import options
from snn_cli.cli.exits import CHECK_FAILED
from snn_cli.cli.output import Output, is_terminal
from snn_cli.errors import InputError

if TYPE_CHECKING:
    from snn_cli.records import ModelPrediction, ModelReport

_BOTH = frozenset("model input weights_from seed as_json as_csv quiet verbose profile force".split())
_VERIFY = _BOTH | frozenset("batch trials device dtype max_growth tf32 plot".split())


model_options = options.together(
    click.option(
        "--model", metavar="MODULE:NAME", help="A model of your own: a function that returns it. Needs --input."
    ),
    click.option(
        "--input", "input", metavar="SHAPE", help="Shape of one sample: 3x64x64; 16@1000: 16 numbers below 1000."
    ),
    options.file("--weights-from", text="Weights of the model, a safetensors file."),
)


def refuse_others(allowed: frozenset[str]) -> None:
    """Raise InputError for an option that was typed and says nothing about a model."""
    context = click.get_current_context()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is click.core.ParameterSource.COMMANDLINE and parameter.name not in allowed:
            option = parameter.opts[0]
            if parameter.name in _VERIFY:
                raise InputError(f"{option} is for a measurement of --model", "snn verify, in place of snn simulate")
            raise InputError(f"{option} says nothing about --model: the model is what it is", f"leave out {option}")


def refuse_without_model(given: dict[str, Any]) -> None:
    """Raise InputError for --input or --weights-from without --model."""
    for name in ("input", "weights_from"):
        if given[name] is not None:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} needs --model", "--model mypackage.models:make_net --input 3x64x64")


def verify(given: dict[str, Any]) -> int:
    """The command on a model; returns the exit code."""
    refuse_others(_VERIFY)
    output = Output()
    form = options.output_format(given["as_json"], given["as_csv"])
    figure = None
    if given["plot"] is not None:
        from snn_cli.reports import plot

        plot.check(given["plot"], given["force"])
        figure = given["plot"]
    from snn_cli.models import verify_path

    shown = not given["quiet"] and is_terminal(output.stderr)
    record = verify_path(
        given["model"],
        given["input"],
        batch=given["batch"],
        trials=given["trials"],
        seed=given["seed"] or 0,
        device=given["device"],
        dtype=given["dtype"],
        max_growth=given["max_growth"],
        weights_from=given["weights_from"],
        progress=(lambda done, total: output.count("" if done == total else f"{done}/{total}")) if shown else None,
    )
    _print(output, form, record)
    if figure is not None:
        from snn_cli.reports.model_plot import layers

        layers(record, figure, force=given["force"])
    failed = record.verdict.max_growth is not None and (
        record.first_violation is not None or not record.verdict.within_budget
    )
    return CHECK_FAILED if failed or record.broken_layer is not None else 0


def simulate(given: dict[str, Any]) -> int:
    """The command on a model; returns the exit code."""
    refuse_others(_BOTH)
    output = Output()
    form = options.output_format(given["as_json"], given["as_csv"])
    from snn_cli.models import simulate_path

    _print(output, form, simulate_path(given["model"], given["input"], weights_from=given["weights_from"]))
    return 0


def _print(output: Output, form: str, record: ModelReport | ModelPrediction) -> None:
    if form == "json":
        from snn_cli.reports.json import line

        output.write(line(record))
        return
    from snn_cli.records import ModelReport
    from snn_cli.reports import model

    if form == "csv":
        output.write(model.Rows()(record))
        return
    style: dict[str, Any] = {"width": output.width, "shorten": output.terminal, "color": output.color}
    if isinstance(record, ModelReport):
        output.write(model.report(record, **style) + "\n")
    else:
        output.write(model.prediction(record, **style) + "\n")
