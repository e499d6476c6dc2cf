"""Options that the commands share, so that all of them speak one dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from snn_cli import activations
from snn_cli.activations import BASELINES, SOLVABLE
from snn_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from click.shell_completion import CompletionItem

F = TypeVar("F", bound="Callable[..., Any]")


def output_options(function: F) -> F:
    """``--json``, ``--csv``, ``-q``, ``-v``."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="More on standard error: the time each record took."),
        click.option("-q", "--quiet", is_flag=True, help="Less on standard error: no progress."),
        click.option("--csv", "as_csv", is_flag=True, help="A header and one row per record."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object per line."),
    ):
        function = option(function)
    return function


def output_format(as_json: bool, as_csv: bool) -> str:
    """``json``, ``csv`` or ``table``. Raises InputError for both."""
    if as_json and as_csv:
        raise InputError("--json and --csv contradict each other", "leave out --csv")
    return "json" if as_json else "csv" if as_csv else "table"


def _complete_act(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    done, comma, last = incomplete.rpartition(",")
    return [f"{done}{comma}{name}" for name in (*SOLVABLE, *BASELINES) if name.startswith(last)]


def complete_any_act(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of all activations, after the last comma."""
    done, comma, last = incomplete.rpartition(",")
    return [f"{done}{comma}{name}" for name in (*SOLVABLE, *BASELINES) if name.startswith(last)]


def complete_from(names: Iterable[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes one of these."""
    return lambda _ctx, _param, incomplete: [name for name in names if name.startswith(incomplete)]


def complete_file(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell completes names of files itself."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def act_option(function: F) -> F:
    """``--act``: repeated or comma-separated."""
    return click.option(
        "--act",
        "act",
        metavar="NAME",
        multiple=True,
        shell_complete=_complete_act,
        help=f"Activation family: {', '.join(SOLVABLE)}; or one to wrap: {', '.join(BASELINES)}. "
        "May be repeated or comma-separated.",
    )(function)


def expression_options(function: F) -> F:
    """``--expr`` and ``--set``: an activation as a formula, and values of its parameters."""
    for option in (
        click.option(
            "--set",
            "values",
            metavar="NAME=V,..",
            multiple=True,
            help="Value of a parameter of --expr; repeated or comma-separated. A list or a range is a sweep.",
        ),
        click.option(
            "--expr",
            metavar="FORMULA",
            multiple=True,
            help="Your own activation, a formula in x and parameters, such as 'where(x > 0, x, a*(exp(x) - 1))'.",
        ),
    ):
        function = option(function)
    return function


def expressions(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Records of ``--expr``, one for every combination of the values that ``--set`` gives to its parameters.

    Raises InputError for what is no expression, a parameter without a value, and a value without a parameter.
    """
    found = expressions_and_values(given["expr"], given["values"])
    return [activations.of_expression(each["expr"], each["set"]) for each in found]


def single_values(texts: tuple[str, ...]) -> dict[str, Any]:
    """Of ``--set``, one for each name. Raises InputError for a list or a range."""
    found = _values(texts)
    for name, values in found.items():
        if len(values) > 1:
            raise InputError(f"--set {name} has {len(values)} values; here it takes one", f"--set {name}=1.2")
    return {name: values[0] for name, values in found.items()}


def expressions_and_values(texts: tuple[str, ...], values: tuple[str, ...]) -> list[dict[str, Any]]:
    """``{"expr", "set"}`` of every expression with every combination of the values given to its parameters.

    Raises InputError for what is no expression, and for values without an expression or a parameter.
    """
    given = _values(values)
    if not texts:
        activations.with_expression(None, None, {name: found[0] for name, found in given.items()})
        return []
    from itertools import product

    from snn_cli.activations import expression

    read = [expression.read(text) for text in texts]
    known = {name for each in read for name in each.parameters}
    made = []
    for each in read:
        own = {name: found for name, found in given.items() if name in each.parameters or name not in known}
        for combined in product(*own.values()):
            made.append({"expr": each.name, "set": dict(zip(own, combined, strict=True))})
    return made


def _values(texts: tuple[str, ...]) -> dict[str, list[Any]]:
    """``a=1,b=2`` by name; what follows a comma without a name is one more value of the one before."""
    from snn_cli.cli.sweep import numbers

    written: dict[str, list[str]] = {}
    name = ""
    for text in texts:
        for part in text.split(","):
            before, equals, after = part.partition("=")
            if equals:
                name = before.strip()
                if name in written:
                    raise InputError(f"--set gives {name} twice", f"--set {name}=1")
                written[name] = [after]
            elif name:
                written[name].append(part)
            if not name.isidentifier():
                raise InputError(f"--set has {text!r}; it takes NAME=VALUE", "--set a=1.2")
    found = {}
    for each, parts in written.items():
        try:
            found[each] = numbers(",".join(parts), f"--set {each}")
        except InputError as error:
            raise InputError(str(error), f"--set {each}=1.2") from None
    return found


def closure_options(function: F) -> F:
    """``--lambda``, ``--lambda-min``, ``--zero-mean``: how the free degree of freedom is closed."""
    for option in (
        click.option("--zero-mean", is_flag=True, help="Close with E[f] = 0 instead."),
        click.option("--lambda-min", metavar="X", help="Lower bound on lambda.  [default: 1]"),
        click.option("--lambda", "lam", metavar="X", help="Fix lambda."),
    ):
        function = option(function)
    return function
