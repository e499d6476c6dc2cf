"""The one place that decides how the process ends.

click and the commands are loaded inside ``main``, where an interrupt is caught from the first import on.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from snn_cli.cli.commands import COMMANDS
from snn_cli.cli.exits import BAD_INPUT, CANNOT_COMPUTE, CLOSED_PIPE, INTERRUPTED, OK, fail
from snn_cli.cli.output import drop, open_streams
from snn_cli.errors import SnnError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; nothing but that leaves this function."""
    try:
        open_streams()
        code = _dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = CLOSED_PIPE
    except OSError as error:
        code = fail(f"cannot write the results: {error.strerror or error}", None, CANNOT_COMPUTE)
    if code in (CLOSED_PIPE, CANNOT_COMPUTE):
        drop(sys.stdout)
    return code


def _dispatch(argv: Sequence[str]) -> int:
    import click

    from snn_cli.cli.group import cli

    try:
        code = cli.main(argv, prog_name="snn", standalone_mode=False)
        return code if isinstance(code, int) else OK
    except click.ClickException as error:
        return fail(error.format_message(), f"{_command_path(error, argv)} --help", BAD_INPUT)
    except SnnError as error:
        return fail(str(error), error.hint, error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError:
        raise
    except MemoryError:
        return fail("there is not enough memory for this", "fewer layers, units or inputs", CANNOT_COMPUTE)
    except SystemExit as stop:  # click: shell completion, or a pipe that the reader closed
        if any(name.endswith("_COMPLETE") and name.startswith("_SNN") for name in os.environ):
            return stop.code if isinstance(stop.code, int) else OK
        return CLOSED_PIPE
    except Exception as error:  # a defect: say so in one line, show the trace only when asked
        if os.environ.get("SNN_TRACEBACK"):
            raise
        detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return fail(f"internal error: {detail}", "SNN_TRACEBACK=1 shows where; please report it", CANNOT_COMPUTE)


def _command_path(error: Exception, argv: Sequence[str]) -> str:
    """The command whose help says more; click leaves its context out of the errors of its parser."""
    context = getattr(error, "ctx", None)
    if context is not None:
        return str(context.command_path)
    return f"snn {argv[0]}" if argv and argv[0] in COMMANDS else "snn"


def run() -> NoReturn:
    """Entry point of the console script."""
    gc.set_threshold(50_000)  # what is loaded stays: looking through it again and again is a part of the start-up
    try:
        code = main()
    except KeyboardInterrupt:  # while it was ending
        code = INTERRUPTED
    # Freeing Python's objects one by one takes 15 ms, with numpy 40; and an interrupted process does not wait for a
    # reader that has stopped reading. Only torch may have something of its own to take down.
    if code == INTERRUPTED or "torch" not in sys.modules:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
