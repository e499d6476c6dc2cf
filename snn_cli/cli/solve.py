"""``snn solve``."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from snn_cli import activations
from snn_cli.activations.family import WRAP
from snn_cli.cli import options
from snn_cli.cli.exits import CANNOT_COMPUTE
from snn_cli.cli.output import Output, Progress
from snn_cli.cli.sweep import INTEGERS, combinations, numbers, spelled
from snn_cli.errors import InputError, SnnError
from snn_cli.exact import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from snn_cli.records import Solution

SWEPT = ("act", "expr", "epsilon", "depth", "fanin", "lam", "lambda_min")
FIXED = ("zero_mean", "digits", "certify", "bound", "free")


@click.command("solve", context_settings={"help_option_names": ["-h", "--help"]})
@options.act(
    f"Activation family: {', '.join(activations.SOLVABLE)}; or one to wrap: {', '.join(activations.BASELINES)}. "
    "May be repeated or comma-separated."
)
@options.expression
@click.option(
    "--free", metavar="NAME,..", help="Parameters of --expr to solve for; without, it is wrapped as a*f(b*x + c) + d."
)
@options.epsilon("Backward gain minus one: a number >= 0, or auto (needs --fanin).")
@options.size("Layers; without --epsilon, epsilon is 1/L.", "Fan-in of each layer; for --epsilon auto.")
@options.closure
@click.option(
    "--bound",
    metavar="B",
    multiple=True,
    help="Of --free, or of a, b, c, d: 'b<=4', 'c>=0' or 'd=0'. May be repeated or comma-separated.",
)
@click.option("--digits", metavar="D", help="Also print D correct significant digits (1 to 10000).")
@click.option("--certify", is_flag=True, help="Prove existence and uniqueness in an interval (extra: certify).")
@click.option(
    "--explain",
    metavar="[latex]",
    shell_complete=options.complete_from(["latex"]),
    is_flag=False,
    flag_value="text",
    help="Print the program with its numbers, and how to check them; --explain=latex for LaTeX.",
)
@options.file("--plot", text="Write a figure: .png, .svg or .pdf (extra: plot).")
@click.option("--force", is_flag=True, help="Let --plot overwrite a file.")
@options.output
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int:
    """Solve the parameters of a self-normalizing activation.

    Minimises gamma subject to E[f^2] = 1, E[f'^2] = 1 + epsilon and lambda >= 1. Any other activation f is
    made self-normalizing as a*f(b*x + c) + d. Every printed digit of a parameter or moment is that of the
    exact solution. A number that can be swept takes a list, 0.01,0.03, or a range, START:STOP:COUNT or
    START:STOP:COUNT:log.

    \b
    Examples:
      snn solve --act lselu --epsilon 0.03
      snn solve --act gelu --epsilon 0.02 --json
      snn solve --act lselu,sselu --epsilon 0.001:0.1:5:log --csv
    """
    output = Output()
    form = options.output_format(given["as_json"], given["as_csv"])
    explain = _explain_style(given["explain"], form)
    fixed = {name: given[name] for name in FIXED}
    if given["free"] is None:
        fixed.pop("free")
    swept = {name: given[name] for name in ctx.params if name in SWEPT and (given[name] or name == "act")}
    requests = [point | fixed for point in _points(swept, given["values"])]
    _check(requests)
    if explain == "latex":
        _check_document(requests)
    figure = _figure(given["plot"], given["force"])
    if given["certify"]:
        from snn_cli.certify import require

        require()

    report = _report(output, form, explain, requests)
    progress = Progress(output, len(requests), given["quiet"])
    solved: list[Solution] = []
    failed = False
    for done, request in enumerate(requests, 1):
        try:
            solution = _timed(output, request, given["verbose"])
        except SnnError as error:
            if len(requests) == 1 or error.exit_code != CANNOT_COMPUTE:
                raise
            output.message(f"error: {_which(request, str(error))}")
            failed = True
        else:
            report(solution)
            if figure:
                solved.append(solution)
        progress(done)
    if figure and solved:
        figure(solved)
    return CANNOT_COMPUTE if failed else 0


def _which(request: dict[str, Any], message: str) -> str:
    """The message, with the activation and epsilon it is about, unless it says them."""
    name = _name(request)
    if message.startswith(f"{name} ") and "epsilon" in message:
        return message
    asked = {"epsilon": "epsilon", "depth": "depth", "fanin": "fan-in"}
    given = [(words, request[key]) for key, words in asked.items() if request.get(key) is not None]
    at = [f"{words} = {shown(value) if isinstance(value, Fraction) else value}" for words, value in given]
    return f"{name}{' at ' * bool(at)}{', '.join(at)}: {message}"


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


def _points(given: dict[str, Any], values: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every combination of the swept options, in the order written; checked before anything is solved."""
    if not given["act"] and "expr" not in given:
        raise InputError(
            f"--act is missing; there are {', '.join((*activations.SOLVABLE, *activations.BASELINES))}",
            "snn solve --act lselu --epsilon 0.03",
        )
    axes: dict[str, list[Any]] = {}
    written = options.expressions_and_values(given.get("expr", ()), values)
    for name, value in given.items():
        if name == "act":
            names = options.split(value)
            for each in names:
                activations.find(each)
            if names or not written:
                axes[name] = [{"act": each} for each in names] + written
        elif name == "expr":
            if not given["act"]:
                axes[name] = written
        elif value is not None:
            words = ("auto",) if name == "epsilon" else ()
            axes[name] = numbers(value, spelled(name), integer=name in INTEGERS, words=words)
    points = combinations(axes)
    return [point | point.pop("act", {}) | point.pop("expr", {}) for point in points]


def _parameters(request: dict[str, Any]) -> tuple[str, ...]:
    """The parameters that will be solved for."""
    act = request.get("act")
    if act in activations.SOLVABLE:
        return activations.get(act).parameters
    if request.get("free"):
        found = activations.find(request["expr"])
        return found.parameters
    return WRAP


def _name(request: dict[str, Any]) -> str:
    """The activation's name in records."""
    act: str | None = request.get("act")
    if act is not None:
        return act
    from snn_cli.solver import check

    found = check(**request)
    return str(getattr(found, "act", None) or found.baseline.name)  # type: ignore[union-attr]


def _check(requests: list[dict[str, Any]]) -> None:
    """Every request on its own; raises InputError before anything is solved or printed."""
    from snn_cli.solver import check

    for request in requests:
        check(**request)


def _check_document(requests: list[dict[str, Any]]) -> None:
    if len(requests) > 1:
        raise InputError("--explain=latex makes one document of one solution", "--explain")
    if requests[0].get("act") not in activations.SOLVABLE:
        raise InputError("--explain=latex is for families with closed forms; others are explained as text", "--explain")
    for name in ("digits", "certify"):
        if requests[0][name]:
            raise InputError(f"--explain=latex has no place for what --{name} gives", "--explain")


def _explain_style(style: str | None, form: str) -> str | None:
    if style is None:
        return None
    if style not in ("text", "latex"):
        raise InputError(f"--explain is {style!r}; it stands alone or is --explain=latex", "--explain=latex")
    if form != "table":
        raise InputError(f"--explain is text for people and contradicts --{form}", f"leave out --{form}")
    return style


def _report(
    output: Output, form: str, explain: str | None, requests: list[dict[str, Any]]
) -> Callable[[Solution], None]:
    """What to do with each record as it comes."""
    first = requests[0]
    if form == "json":
        from snn_cli.reports.json import line

        return lambda solution: output.write(line(solution))
    parameters = list(dict.fromkeys(p for each in requests for p in _parameters(each)))
    if form == "csv":
        from snn_cli.reports.csv import SolutionRows

        rows = SolutionRows(parameters, decimals=first["digits"] is not None, enclosure=first["certify"])
        return lambda solution: output.write(rows(solution))
    if explain is not None:
        return _pages(output, lambda solution: _explanation(output, solution, explain))
    from snn_cli.reports import table

    if len(requests) == 1 or first["digits"] is not None or first["certify"]:
        style = {"shorten": output.terminal, "color": output.color, "braille": output.unicode}
        return _pages(output, lambda solution: table.solution(solution, width=output.width, **style))
    sizes = {
        field: max(len(str(each[name])) for each in requests)
        for name, field in (("depth", "depth"), ("fanin", "fan_in"))
        if name in first
    }
    names = [_name(each) for each in requests]
    listing = table.Listing(parameters, sizes=sizes, names=names, width=output.width, color=output.color)
    return lambda solution: output.write(listing(solution))


def _pages(output: Output, page: Callable[[Solution], str]) -> Callable[[Solution], None]:
    """Reports of several lines, with an empty line between one and the next."""
    between = ""

    def report(solution: Solution) -> None:
        nonlocal between
        output.write(between + page(solution))
        between = "\n"

    return report


def _explanation(output: Output, solution: Solution, style: str) -> str:
    from snn_cli.explanation import WIDTH, explain
    from snn_cli.reports.table import decimals_and_proof

    width = output.width
    text = explain(solution, style, width=min(WIDTH, width or WIDTH))
    blocks = ["\n".join(lines) + "\n" for lines in decimals_and_proof(solution, width=width)]
    return "\n".join([text, *blocks])


def _figure(path: str | None, force: bool) -> Any:
    """A function that draws the solutions into the file; whether it can be written is checked first."""
    if path is None:
        return None
    from snn_cli.reports import plot

    plot.check(path, force)
    return lambda solutions: plot.solutions(solutions, path, force=force)
