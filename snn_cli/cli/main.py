"""The group ``snn``, and the one place that decides how the process ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

from snn_cli.errors import SnnError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {"solve": "snn_cli.cli.solve"}
"""Name -> module that defines ``command``; loaded when asked for."""

OK, CHECK_FAILED, BAD_INPUT, CANNOT_COMPUTE, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 3, 130, 141


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
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            raise click.UsageError(
                f"there is no command {name!r}; the commands are {', '.join(COMMANDS)}"
                + (f", did you mean {near[0]}?" if near else "")
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="snn-cli", prog_name="snn")
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


def fail(message: str, hint: str | None, code: int) -> int:
    """Print the error and the hint, and return the exit code."""
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; nothing but that leaves this function."""
    try:
        code = _dispatch(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        code = CLOSED_PIPE
    except OSError as error:
        code = fail(f"cannot write the results: {error.strerror or error}", None, CANNOT_COMPUTE)
    if code in (CLOSED_PIPE, CANNOT_COMPUTE):
        _drop_stdout()
    return code


def _dispatch(argv: Sequence[str] | None) -> int:
    try:
        code = cli.main(argv, prog_name="snn", standalone_mode=False)
        return code if isinstance(code, int) else OK
    except click.ClickException as error:
        name = getattr(getattr(error, "ctx", None), "command_path", "snn")
        return fail(error.format_message(), f"{name} --help", BAD_INPUT)
    except SnnError as error:
        return fail(str(error), error.hint, error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError:
        raise
    except SystemExit as stop:  # click: shell completion, or a pipe that the reader closed
        if any(name.endswith("_COMPLETE") and name.startswith("_SNN") for name in os.environ):
            return stop.code if isinstance(stop.code, int) else OK
        return CLOSED_PIPE
    except Exception as error:  # a defect: say so in one line, show the trace only when asked
        if os.environ.get("SNN_TRACEBACK"):
            raise
        detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return fail(f"internal error: {detail}", "SNN_TRACEBACK=1 shows where; please report it", CANNOT_COMPUTE)


def _drop_stdout() -> None:
    """Point standard output away, so that the interpreter's last flush cannot fail again."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> NoReturn:
    """Entry point of the console script."""
    code = main()
    if "numpy" not in sys.modules:  # only Python's own objects are left: freeing them one by one takes 15 ms
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
