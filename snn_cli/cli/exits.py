"""Exit codes, and the error that goes before one."""

from __future__ import annotations

import sys

from snn_cli.cli.output import one_line, tell

OK, CHECK_FAILED, BAD_INPUT, CANNOT_COMPUTE, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 3, 130, 141


def fail(message: str, hint: str | None, code: int) -> int:
    """Print the error and the hint, a line each, and return the exit code."""
    tell(sys.stderr, f"error: {one_line(message)}" + (f"\nhint: {one_line(hint)}" if hint else ""))
    return code
