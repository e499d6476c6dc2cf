"""``snn export``."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from snn_cli.cli import options
from snn_cli.cli.exits import OK
from snn_cli.cli.output import Output, is_terminal
from snn_cli.errors import CannotCompute, InputError
from snn_cli.exporters import EXPORTERS
from snn_cli.files import taken, whole


@click.command("export", context_settings={"help_option_names": ["-h", "--help"]})
@options.one_of("--to", EXPORTERS)
@click.option(
    "--act", metavar="NAME", shell_complete=options.complete_any_act, help="An activation instead of a record."
)
@options.expression
@options.epsilon("Backward gain minus one, or auto (needs --fanin).")
@options.size("Epsilon is 1/depth.", "For --epsilon auto.")
@options.closure
@options.file("--params", text="The activation's record.  [default: - , standard input, where no --act is given]")
@click.option("--name", metavar="NAME", help="Of the function.  [default: that of the activation]")
@options.file("-o", "--output", text="Write a file instead of printing.")
@click.option("--force", is_flag=True, help="Let --output overwrite a file.")
@click.option("--json", "as_json", is_flag=True, help="The record, code and all, as one JSON object.")
def command(**given: Any) -> int:
    """Print an activation as code that stands alone: a file for a framework, C, numpy, LaTeX or JSON.

    Each file says which activation it is and the command that makes it again, keeps every digit, and
    overflows in neither branch.

    \b
    Examples:
      snn solve --act lselu --epsilon 0.03 --json | snn export --to pytorch
      snn export --act sselu --depth 100 --to c --name act
      snn export --expr 'x*sigmoid(b*x)' --set b=1.702 --to c --name quick
    """
    from snn_cli.exportation import export

    output = Output()
    asked = {
        name: given[name]
        for name in ("act", "epsilon", "depth", "fanin", "lam", "lambda_min", "name")
        if given[name] is not None
    }
    path = given["output"]
    if path is not None and taken(path) and not given["force"]:
        raise _exists(path)
    if len(given["expr"]) > 1:
        raise InputError(f"export takes one activation; there are {len(given['expr'])} of --expr", "--expr 'tanh(x)'")
    if given["values"] and not given["expr"]:
        raise InputError("--set gives the parameters of --expr values, and there is no --expr", "leave out --set")
    if given["expr"]:
        asked |= {"expr": given["expr"][0], "set": options.single_values(given["values"])}
        if given["params"] is not None:
            raise InputError("--params and --expr both give an activation", "leave out --expr")
    elif given["act"] is None:
        asked["params"] = _record(given["params"])
    elif given["params"] is not None:
        raise InputError("--params and --act both give an activation", "leave out --act")
    record = export(given["to"], zero_mean=given["zero_mean"], **asked)
    text = record.code
    if given["as_json"]:
        from snn_cli.reports.json import line

        text = line(record)
    if path is None:
        output.write(text)
    else:
        _write(path, text, given["force"])
    return OK


def _exists(path: str) -> InputError:
    return InputError(f"--output {path} exists, and is not overwritten", "--force")


def _record(path: str | None) -> dict[str, Any]:
    """Of ``--params``, or of standard input where something comes from there."""
    from snn_cli.cli.params import read

    if path is None and (sys.stdin is None or is_terminal(sys.stdin)):
        raise InputError(
            "export needs an activation: --act, --params, or a record on standard input", "--act lselu --epsilon 0.03"
        )
    records = read(path or "-")
    if len(records) > 1:
        raise InputError(f"export takes one activation; there are {len(records)} records", "head -1")
    return records[0]


def _write(path: str, text: str, force: bool) -> None:
    try:
        with whole(path, force=force) as file:
            file.write(text)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        folder = os.path.dirname(path)
        hint = "--output FILE" if os.path.isdir(folder or ".") else f"mkdir -p {folder}"
        raise CannotCompute(f"{path} cannot be written: {error.strerror or error}", hint) from None
