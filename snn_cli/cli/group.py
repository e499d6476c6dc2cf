"""The group ``snn``: its help, and its commands, each loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module

import click

from snn_cli import __version__
from snn_cli.cli.commands import COMMANDS
from snn_cli.errors import InputError, nearest


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            near = nearest(name, COMMANDS)
            raise InputError(
                f"there is no command {name!r}; the commands are {', '.join(COMMANDS)}",
                f"snn {near}" if near else "snn --help",
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="snn")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Self-normalizing activations for deep networks without normalization layers.

    For z ~ N(0,1) an activation f is self-normalizing when E[f(z)^2] = 1 (forward fixed point),
    E[f'(z)^2] = 1 + epsilon (backward gain) and gamma = dV/dq < 1 (attraction).

    \b
    Examples:
      snn solve --act lselu --epsilon 0.03
      snn solve --act sselu --depth 100 --json
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
