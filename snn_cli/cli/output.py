"""Where records and messages go: results to standard output, all else to standard error."""

from __future__ import annotations

import os
import sys
from typing import IO


class Output:
    """The streams, and what they can show. Tests replace it."""

    def __init__(self, stdout: IO[str] | None = None, stderr: IO[str] | None = None) -> None:
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.terminal = _is_terminal(self.stdout)

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None in a pipe, where nothing is fitted."""
        if not self.terminal:
            return None
        from shutil import get_terminal_size

        return get_terminal_size().columns

    @property
    def color(self) -> bool:
        return self.terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @property
    def unicode(self) -> bool:
        """Whether a drawing may use braille dots."""
        return self.terminal and (getattr(self.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"

    def write(self, text: str) -> None:
        """One record or report, whole: a line that was begun is finished even when the run is interrupted."""
        self.stdout.write(text if text.endswith("\n") else text + "\n")
        self.stdout.flush()

    def message(self, text: str) -> None:
        print(text, file=self.stderr, flush=True)


class Progress:
    """A counter on standard error while a sweep runs, on a terminal only."""

    def __init__(self, output: Output, total: int, quiet: bool) -> None:
        self._stream = output.stderr
        self._total = total
        self._shown = not quiet and total > 1 and _is_terminal(output.stderr) and not output.terminal

    def __call__(self, done: int) -> None:
        if self._shown:
            end = "\r\x1b[K" if done == self._total else ""
            self._stream.write(f"\r{done}/{self._total}{end}")
            self._stream.flush()


def _is_terminal(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except (ValueError, AttributeError):
        return False
