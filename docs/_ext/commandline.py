"""What click knows of the commands, for the tables of the documentation and the manual pages: no copy is kept."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

import click

from snn_cli.cli.group import cli


class Option(NamedTuple):
    """An option: as it is typed, and what it does."""

    names: tuple[str, ...]
    metavar: str
    help: str


class Command(NamedTuple):
    """A command: its name, a sentence, paragraphs, examples as they are typed, and its options."""

    name: str
    summary: str
    text: tuple[str, ...]
    examples: tuple[str, ...]
    options: tuple[Option, ...]


def names() -> list[str]:
    """Of all commands, in the order of ``snn --help``."""
    return cli.list_commands(click.Context(cli))


def command(name: str | None = None) -> Command:
    """A command, or ``snn`` itself."""
    found = cli if name is None else cli.get_command(click.Context(cli), name)
    if found is None:
        raise LookupError(f"there is no command {name!r}")
    context = click.Context(found, info_name=found.name, **found.context_settings)
    text, _, examples = inspect.cleandoc(found.help or "").partition("\b\nExamples:\n")
    paragraphs = tuple(" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip())
    return Command(
        name or "snn",
        paragraphs[0],
        paragraphs[1:],
        tuple(line.strip() for line in examples.splitlines() if line.strip()),
        tuple(_option(each, context) for each in found.get_params(context) if isinstance(each, click.Option)),
    )


def _option(option: click.Option, context: click.Context) -> Option:
    metavar = "" if option.is_flag else option.make_metavar(context)
    return Option((*option.opts, *option.secondary_opts), metavar, " ".join((option.help or "").split()))
