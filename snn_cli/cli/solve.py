"""``snn solve``."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import click

from snn_cli import activations
from snn_cli.cli.main import CANNOT_COMPUTE
from snn_cli.cli.options import act_option, closure_options, output_format, output_options
from snn_cli.cli.output import Output, Progress
from snn_cli.cli.sweep import MAX_POINTS, numbers
from snn_cli.errors import InputError, SnnError

if TYPE_CHECKING:
    from snn_cli.records import Solution

SWEPT = ("act", "epsilon", "depth", "fanin", "lam", "lambda_min")


@click.command("solve", context_settings={"help_option_names": ["-h", "--help"]})
@act_option
@click.option("--epsilon", metavar="E", help="Backward gain minus one: a number >= 0, or auto (needs --fanin).")
@click.option("--depth", metavar="L", help="Layers; without --epsilon, epsilon is 1/L.")
@click.option("--fanin", "--width", "fanin", metavar="N", help="Fan-in of each layer; for --epsilon auto.")
@closure_options
@click.option("--digits", metavar="D", help="Also print D correct significant digits (1 to 10000).")
@click.option("--certify", is_flag=True, help="Prove existence and uniqueness in an interval (extra: certify).")
@click.option(
    "--explain",
    metavar="[latex]",
    is_flag=False,
    flag_value="text",
    help="Print the program with its numbers, and how to check them; --explain=latex for LaTeX.",
)
@click.option("--plot", metavar="FILE", help="Write a figure: .png, .svg or .pdf (extra: plot).")
@click.option("--force", is_flag=True, help="Let --plot overwrite a file.")
@output_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int:
    """Solve the parameters of a self-normalizing activation.

    Minimises gamma subject to E[f^2] = 1, E[f'^2] = 1 + epsilon and lambda >= 1. Every printed digit is
    that of the exact solution. A number that can be swept takes a list, 0.01,0.03, or a range,
    START:STOP:COUNT or START:STOP:COUNT:log.

    \b
    Examples:
      snn solve --act lselu --epsilon 0.03
      snn solve --act sselu --depth 100 --json
      snn solve --act lselu,sselu --epsilon 0.001:0.1:5:log --csv
    """
    output = Output()
    form = output_format(given["as_json"], given["as_csv"])
    explain = _explain_style(given["explain"], form)
    points = _points({name: given[name] for name in ctx.params if name in SWEPT})
    fixed = {"zero_mean": given["zero_mean"], "digits": given["digits"], "certify": given["certify"]}
    if explain == "latex" and len(points) > 1:
        raise InputError("--explain=latex makes one document of one solution", "one value for each option")
    figure = _figure(given["plot"], given["force"])
    if given["certify"]:
        from snn_cli.certify import require

        require()

    report = _report(output, form, explain, points, given)
    progress = Progress(output, len(points), given["quiet"])
    solved: list[Solution] = []
    failed = False
    for done, point in enumerate(points, 1):
        try:
            solution = _timed(output, {**point, **fixed}, given["verbose"])
        except SnnError as error:
            if len(points) == 1 or error.exit_code != CANNOT_COMPUTE:
                raise
            output.message(f"error: {error}")
            failed = True
        else:
            report(solution)
            if figure:
                solved.append(solution)
        progress(done)
    if figure and solved:
        figure(solved)
    return CANNOT_COMPUTE if failed else 0


def _timed(output: Output, request: dict[str, Any], verbose: bool) -> Solution:
    from time import perf_counter

    from snn_cli.solver import solve

    start = perf_counter()
    solution = solve(**request)
    if verbose:
        output.message(
            f"{solution.act} epsilon={solution.epsilon!r}: solved in {(perf_counter() - start) * 1e3:.1f} ms"
        )
    return solution


def _points(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the swept options, in the order written; checked before anything is solved."""
    if not given["act"]:
        raise InputError(
            f"--act is missing; the families that can be solved are {', '.join(activations.SOLVABLE)}",
            "snn solve --act lselu --epsilon 0.03",
        )
    axes: dict[str, list[Any]] = {}
    for name, value in given.items():
        if name == "act":
            names = [part.strip() for text in value for part in text.split(",")]
            for each in names:
                activations.get(each)
            axes[name] = names
        elif value is not None:
            option = {"lam": "--lambda"}.get(name, f"--{name.replace('_', '-')}")
            words = ("auto",) if name == "epsilon" else ()
            axes[name] = numbers(value, option, integer=name in ("depth", "fanin"), words=words)
    total = 1
    for values in axes.values():
        total *= len(values)
    if total > MAX_POINTS:
        raise InputError(f"the sweep has {total} combinations; at most {MAX_POINTS} are computed", "fewer values")
    return [dict(zip(axes, combination, strict=True)) for combination in product(*axes.values())]


def _explain_style(style: str | None, form: str) -> str | None:
    if style is None:
        return None
    if style not in ("text", "latex"):
        raise InputError(f"--explain is {style!r}; it stands alone or is --explain=latex", "--explain=latex")
    if form != "table":
        raise InputError(f"--explain is text for people and contradicts --{form}", f"leave out --{form}")
    return style


def _report(output: Output, form: str, explain: str | None, points: list[dict[str, Any]], given: dict[str, Any]) -> Any:
    """What to do with each record as it comes."""
    if explain is not None:
        from snn_cli.explanation import explain as explanation

        return lambda solution: output.write(explanation(solution, style=explain))
    if form == "json":
        from snn_cli.reports.json import line

        return lambda solution: output.write(line(solution))
    parameters = list(dict.fromkeys(p for point in points for p in activations.get(point["act"]).parameters))
    if form == "csv":
        from snn_cli.reports.csv import SolutionRows

        rows = SolutionRows(parameters, decimals=given["digits"] is not None, enclosure=given["certify"])
        return lambda solution: output.write(rows(solution))
    from snn_cli.reports import table

    if len(points) == 1:
        return lambda solution: output.write(
            table.solution(solution, width=output.width, color=output.color, braille=output.unicode)
        )
    sizes = [field for name, field in (("depth", "depth"), ("fanin", "fan_in")) if name in points[0]]
    listing = table.Listing(parameters, given=sizes, shorten=output.terminal, color=output.color)
    return lambda solution: output.write(listing(solution))


def _figure(path: str | None, force: bool) -> Any:
    """A function that draws the solutions into the file; whether it can be written is checked first."""
    if path is None:
        return None
    from snn_cli.reports import plot

    plot.check(path, force)
    return lambda solutions: plot.solutions(solutions, path, force=force)
