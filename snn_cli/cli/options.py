"""Options that the commands share, so that all of them speak one dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from snn_cli.activations import BASELINES, SOLVABLE
from snn_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

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


def closure_options(function: F) -> F:
    """``--lambda``, ``--lambda-min``, ``--zero-mean``: how the free degree of freedom is closed."""
    for option in (
        click.option("--zero-mean", is_flag=True, help="Close with E[f] = 0 instead."),
        click.option("--lambda-min", metavar="X", help="Lower bound on lambda.  [default: 1]"),
        click.option("--lambda", "lam", metavar="X", help="Fix lambda."),
    ):
        function = option(function)
    return function
