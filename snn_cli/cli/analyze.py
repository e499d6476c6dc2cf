"""``snn analyze``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from snn_cli import activations
from snn_cli.cli import options
from snn_cli.cli.exits import CANNOT_COMPUTE, OK, fail
from snn_cli.cli.output import Output
from snn_cli.ensembles import ENSEMBLES
from snn_cli.errors import InputError, SnnError

if TYPE_CHECKING:
    from snn_cli.records import Analysis

PASSED_ON = ("epsilon", "depth", "fanin", "lam", "lambda_min", "weights", "sigma_w", "sigma_b")


@click.command("analyze", context_settings={"help_option_names": ["-h", "--help"]})
@options.activation(
    f"Activations, repeated or comma-separated: {', '.join((*activations.SOLVABLE, *activations.BASELINES))}.  "
    "[default: all]",
    "For families: backward gain minus one, or auto.  [default: 1/depth]",
)
@options.size("Layers of the network.  [default: 100]", "Fan-in of each.  [default: infinite]")
@options.closure
@options.one_of("--weights", ENSEMBLES, "gaussian")
@options.sigma
@options.plot
@options.force
@options.output
def command(**given: Any) -> int:
    """Is this activation self-normalizing, how strongly, and what does it do in a network?

    Moments, the three conditions of the definition one by one, the weights that would keep q = 1,
    block dynamical isometry, fixed points and their basin, and the gradient over a network.
    Several activations make one table, the strongest first.

    \b
    Examples:
      snn analyze --act gelu
      snn analyze --act relu,elu,selu,gelu,mish,hardswish --fanin 1024 --depth 100
      snn analyze --expr 'where(x > 0, x, a*(exp(x) - 1))' --set a=1.2 --json
    """
    output = Output()
    form = options.output_format(given["as_json"], given["as_csv"])
    requests = _requests(given)
    if given["plot"] is not None:
        from snn_cli.reports import plot

        plot.check(given["plot"], given["force"])
    from snn_cli.analysis import analyze, check

    for request in requests:
        check(**request)
    report = _report(form)
    records: list[Analysis] = []
    failed = False
    for request in requests:
        try:
            record = analyze(**request)
        except SnnError as error:
            if len(requests) == 1 or isinstance(error, InputError):
                raise
            act = request.get("act") or request["params"].get("act", "the record")
            fail(f"{act}: {error}", error.hint, error.exit_code)
            failed = True
            continue
        records.append(record)
        if form != "table":
            output.write(report(record))
    if form == "table" and records:
        output.write(_table(output, records))
    if given["plot"] is not None and records:
        _draw(records, given["plot"], given["force"])
    return CANNOT_COMPUTE if failed else OK


def _requests(given: dict[str, Any]) -> list[dict[str, Any]]:
    common = {name: given[name] for name in PASSED_ON if given[name] is not None}
    records = options.expressions(given)
    if given["params"] is not None:
        if given["act"] or records:
            raise InputError("--params and --act or --expr both give activations", "leave out --act and --expr")
        from snn_cli.cli.params import read

        return [{**common, "params": record} for record in read(given["params"])]
    names = options.split(given["act"])
    if not names and not records:
        names = [*activations.SOLVABLE, *activations.BASELINES]
    solved = {**common, **({"zero_mean": True} if given["zero_mean"] else {})}
    own = ("epsilon", "lam", "lambda_min", "zero_mean")  # baselines have nothing to solve for
    bare = {name: value for name, value in common.items() if name not in own}
    several = len(names) + len(records) > 1
    requests = []
    for name in names:
        activations.find(name)
        chosen = bare if several and name not in activations.SOLVABLE else solved
        if name in ("selu", "dselu") and several:
            chosen = {key: value for key, value in solved.items() if key not in own[1:]}
        requests.append({"act": name, **chosen})
    return [*requests, *({"params": record, **(bare if names else solved)} for record in records)]


def _report(form: str) -> Any:
    if form == "json":
        from snn_cli.reports.json import line

        return line
    from snn_cli.reports.analysis import Rows

    return Rows()


def _table(output: Output, records: list[Analysis]) -> str:
    from snn_cli.reports.analysis import report, table

    style: dict[str, Any] = {"width": output.width, "shorten": output.terminal, "color": output.color}
    return report(records[0], **style) if len(records) == 1 else table(records, **style)


def _draw(records: list[Analysis], path: str, force: bool) -> None:
    from snn_cli.analysis import curves
    from snn_cli.reports.analysis_plot import analyses

    analyses(records, path, curves, force=force)
