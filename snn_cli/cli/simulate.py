"""``snn simulate``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from snn_cli import activations
from snn_cli.cli import options
from snn_cli.cli.exits import CANNOT_COMPUTE, CHECK_FAILED
from snn_cli.cli.model import model_options, refuse_without_model
from snn_cli.cli.output import Output, Progress
from snn_cli.cli.sweep import INTEGERS, combinations, numbers, spelled
from snn_cli.ensembles import ENSEMBLES
from snn_cli.errors import InputError, SnnError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snn_cli.records import Propagation
    from snn_cli.simulation import Request

COMPARED = ("selu", "lselu", "sselu", "relu")
"""Activations without ``--act``; relu with He weights."""

SWEPT = (
    "act", "params", "epsilon", "depth", "fanin", "lam", "lambda_min", "sigma_w", "sigma_b", "q0", "c0", "weight_mean",
    "mixup", "scaled_mixup", "max_growth",
)  # fmt: skip
FIXED = ("widths", "zero_mean", "weights", "unrestored", "centralize", "centralize_activation")

REMEDIES: tuple[dict[str, Any], ...] = (
    {"centralize": True},
    {"centralize_activation": True},
    {"mixup": "0.2"},
    {"scaled_mixup": "0.2"},
)

SIDE_BY_SIDE = 6
"""Records up to which a table compares them in columns; more are listed, one a line."""


@click.command("simulate", context_settings={"help_option_names": ["-h", "--help"]})
@options.activation(
    f"Activation: {', '.join((*activations.SOLVABLE, *activations.BASELINES))}. May be repeated or "
    f"comma-separated.  [default: {','.join(COMPARED)}, the last with He weights]",
    "Backward gain minus one, or auto (needs --fanin).  [default: 1/depth]",
)
@options.size("Layers.  [default: that of --params, or 100]", "Fan-in of each layer.  [default: infinite]")
@options.widths
@options.closure
@options.one_of("--weights", ENSEMBLES, "gaussian", before="Weight ensemble: ")
@options.sigma
@click.option("--unrestored", is_flag=True, help="Truncated weights without the variance that the cut takes.")
@options.q0
@click.option("--c0", metavar="C", help="Correlation of two inputs.  [default: 0.5]")
@options.remedy
@click.option(
    "--max-growth",
    metavar="F",
    help="Check: exit code 1 if the typical squared gradient grows or shrinks by more than this factor.",
)
@click.option("--profile/--no-profile", default=None, help="With the values of every layer, or without.")
@options.plot
@options.file(
    "--plot-tolerance",
    text="Write a figure of the tolerance for a mean of the weights against fan-in, with and without remedies.",
)
@options.force
@model_options
@options.output
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int:
    """Propagate second moments, correlations and gradients through a deep network of random weights.

    Infinite width layer by layer, and what one network of this fan-in typically does: mean and spread
    of q and of log |gradient|^2. Numbers can be swept: 0.01,0.03 or START:STOP:COUNT or
    START:STOP:COUNT:log.

    \b
    Examples:
      snn simulate --depth 200 --fanin 1024
      snn simulate --act lselu --epsilon 0.03 --widths 784,1024x40,10 --json
      snn simulate --act selu --depth 10:1000:20 --fanin 64,256 --no-profile --csv
    """
    if given["model"] is not None:
        from snn_cli.cli import model

        return model.simulate(given)
    refuse_without_model(given)
    output = Output()
    form = options.output_format(given["as_json"], given["as_csv"])
    requests = _requests({name: given[name] for name in ctx.params if name in SWEPT}, given)
    profile = _profile(given, form, len(requests))
    requests = [request | {"profile": profile} for request in requests]
    checked = _check(requests)
    if given["plot_tolerance"] is not None and not all("fanin" in request for request in requests):
        raise InputError("--plot-tolerance draws over fan-in, which is missing", "--fanin 64,256,1024,4096")
    figures = _figures(given)
    report = _report(output, form, requests, profile)
    progress = Progress(output, len(requests), given["quiet"])
    kept: list[Propagation] = []
    failed = False
    for done, request in enumerate(checked, 1):
        try:
            record = _timed(output, request, given["verbose"])
        except KeyboardInterrupt:
            if form == "table" and kept:
                _conclude(output, kept)
            raise
        except SnnError as error:
            if len(requests) == 1 or error.exit_code != CANNOT_COMPUTE:
                raise
            output.message(f"error: {error}")
            failed = True
        else:
            report(record)
            if figures or form == "table" or record.budget is not None:
                kept.append(record)
        progress(done)
    if form == "table" and kept:
        _conclude(output, kept)
    for draw in figures:
        if kept:
            draw(kept)
    if given["plot_tolerance"] is not None and kept:
        _draw_tolerance(requests, given)
    if failed:
        return CANNOT_COMPUTE
    return CHECK_FAILED if any(record.budget and not record.budget.within for record in kept) else 0


def _timed(output: Output, request: Request, verbose: bool) -> Propagation:
    from time import perf_counter

    from snn_cli.simulation import run

    start = perf_counter()
    record = run(request)
    if verbose:
        output.message(f"{record.act} depth={record.depth}: simulated in {(perf_counter() - start) * 1e3:.1f} ms")
    return record


def _requests(swept: dict[str, Any], given: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the swept options, in the order written."""
    records = options.alone(given)
    axes: dict[str, list[Any]] = {}
    if records:
        axes["act"] = records
    for name, value in swept.items():
        if name == "act":
            if value:
                names = options.split(value)
                for each in names:
                    activations.find(each)
                axes[name] = names + records
        elif name == "params":
            if value is not None:
                from snn_cli.cli.params import read

                axes[name] = read(value)
        elif value is not None:
            words = {"epsilon": ("auto",), "sigma_w": ("he",)}.get(name, ())
            axes[name] = numbers(value, spelled(name), integer=name in INTEGERS, words=words)
    compares = "act" not in axes and "params" not in axes
    if compares:
        axes = {"act": list(COMPARED), **axes}
    fixed = {name: given[name] for name in FIXED}
    combined = [point | fixed for point in combinations(axes)]
    several = len(axes.get("act", ())) > 1 and (len(records) < len(axes["act"]))
    return [_fitted(request, several, compares) for request in combined]


def _fitted(request: dict[str, Any], several: bool, compares: bool) -> dict[str, Any]:
    """In a comparison an activation without parameters does not take those of the others."""
    record = request["act"] if isinstance(request.get("act"), dict) else None
    if record is not None:
        request = {"params": record, **{k: v for k, v in request.items() if k != "act"}}
    if several and (record is not None or request["act"] not in activations.SOLVABLE):
        request = {k: v for k, v in request.items() if k not in ("epsilon", "lam", "lambda_min")} | {"zero_mean": False}
        if compares and "sigma_w" not in request:
            request["sigma_w"] = "he"
    elif several and not activations.get(request["act"]).closures.keys() - {"none"}:
        request = {k: v for k, v in request.items() if k not in ("lam", "lambda_min")} | {"zero_mean": False}
    return request


def _profile(given: dict[str, Any], form: str, count: int) -> bool:
    """Records carry every layer unless told otherwise; a listing of many has no use for them."""
    if given["profile"] is not None:
        return bool(given["profile"])
    return form != "table" or count <= SIDE_BY_SIDE


def _check(requests: list[dict[str, Any]]) -> list[Request]:
    """Every request on its own; raises InputError before anything is computed or printed."""
    from snn_cli.simulation import check

    return [check(**request) for request in requests]


def _report(output: Output, form: str, requests: list[dict[str, Any]], profile: bool) -> Callable[[Propagation], None]:
    if form == "json":
        from snn_cli.reports.json import line

        return lambda record: output.write(line(record))
    if form == "csv":
        from snn_cli.reports.propagation_csv import PropagationRows

        rows = PropagationRows(profile)
        return lambda record: output.write(rows(record))
    if len(requests) <= SIDE_BY_SIDE:
        return lambda _record: None  # compared when all are there
    from snn_cli.reports.propagation_table import Listing

    swept = [name for name in SWEPT if len({str(request.get(name)) for request in requests}) > 1]
    sizes = {
        field: max(len(_words(request, name)) for request in requests)
        for name, field in (("act", "act"), ("depth", "depth"), ("fanin", "fan_in"))
    }
    listing = Listing(swept, sizes=sizes, width=output.width, color=output.color)
    return lambda record: output.write(listing(record))


def _words(request: dict[str, Any], name: str) -> str:
    """Of a request, what a column of words will hold."""
    if name == "act" and "params" in request:
        return str(request["params"].get("act"))
    return str(request.get(name))


def _conclude(output: Output, records: list[Propagation]) -> None:
    from snn_cli.reports import propagation_table as table
    from snn_cli.reports.layout import wrapped

    if len(records) <= SIDE_BY_SIDE:
        style = {"shorten": output.terminal, "color": output.color, "braille": output.unicode}
        output.write(table.comparison(records, width=output.width, **style))
    else:
        text = table.conclusion(records, shorten=output.terminal)
        output.write("\n" + "\n".join(wrapped(text, output.width)))


def _figures(given: dict[str, Any]) -> list[Callable[[list[Propagation]], None]]:
    """Functions that draw records into the files asked for; whether they can be written is found out first."""
    for name in ("plot", "plot_tolerance"):
        if given[name] is not None:
            from snn_cli.reports import plot

            plot.check(given[name], given["force"])
    if given["plot"] is None:
        return []
    from snn_cli.reports.propagation_plot import propagations

    return [lambda records: propagations(records, given["plot"], force=given["force"])]


def _draw_tolerance(requests: list[dict[str, Any]], given: dict[str, Any]) -> None:
    """Every network without a remedy and with each, whichever was asked for."""
    from snn_cli.reports.propagation_plot import tolerance
    from snn_cli.simulation import simulate

    bare = {"centralize": False, "centralize_activation": False, "mixup": None, "scaled_mixup": None, "profile": False}
    records = []
    for remedy in ({}, *REMEDIES):
        for request in requests:
            mean = request.get("weight_mean", 0) if not remedy else 0  # the tolerance does not depend on it
            with suppress(SnnError):  # a point without solution has been reported
                records.append(simulate(**{**request, **bare, **remedy, "weight_mean": mean}))
    tolerance(records, given["plot_tolerance"], force=given["force"])
