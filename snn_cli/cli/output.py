"""Where records and messages go: results to standard output, all else to standard error."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ATOMIC = 4096
"""Bytes that a pipe takes whole or not at all; what is longer may be cut where an interrupt arrives."""

_CLEAR_LINE = "\r\x1b[K"


class Output:
    """The streams, and what they can show. Tests replace it."""

    def __init__(self, stdout: IO[str] | None = None, stderr: IO[str] | None = None) -> None:
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.terminal = is_terminal(self.stdout)
        self._counting = False

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None in a pipe, where nothing is fitted."""
        return self._columns if self.terminal else None

    @property
    def _columns(self) -> int:
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
        text = text if text.endswith("\n") else text + "\n"
        if len(text) <= ATOMIC:
            self._write(text)
        else:
            with _interrupts_held():
                self._write(text)

    def _write(self, text: str) -> None:
        if self._counting and self.terminal:
            self.count("")
        self.stdout.write(text)
        self.stdout.flush()

    def message(self, text: str) -> None:
        """A line to standard error, on a line of its own."""
        tell(self.stderr, f"{_CLEAR_LINE}{text}" if self._counting else text)
        self._counting = False

    def count(self, text: str) -> None:
        """What is to stand on the last line of a terminal until something else is said; nothing for an empty text."""
        text = text[: self._columns - 1]
        tell(self.stderr, f"{_CLEAR_LINE}{text}", end="")
        self._counting = bool(text)


class Progress:
    """A counter on standard error while a sweep runs, on a terminal only."""

    def __init__(self, output: Output, total: int, quiet: bool) -> None:
        self._output = output
        self._total = total
        self._shown = not quiet and total > 1 and is_terminal(output.stderr) and not output.terminal

    def __call__(self, done: int) -> None:
        if self._shown:
            self._output.count("" if done == self._total else f"{done}/{self._total}")


def is_terminal(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except (ValueError, AttributeError):
        return False


def tell(stream: IO[str], text: str, end: str = "\n") -> None:
    """Say something on standard error. Where that is full or closed nobody hears it, and all else goes on."""
    try:
        print(text, file=stream, end=end, flush=True)
    except (OSError, ValueError):
        drop(stream)


def one_line(text: str) -> str:
    """What a user typed may hold line ends and what moves a terminal's cursor: in a message they are spelled out.

    Bytes that Python could not decode in this locale are read as UTF-8, and else spelled out as bytes.
    """
    import re

    def decoded(found: re.Match[str]) -> str:
        return _spelled(bytes.fromhex(found[0].replace("\\udc", "")).decode("utf-8", "backslashreplace"))

    return re.sub(r"(?:\\udc[89a-f][0-9a-f])+", decoded, _spelled(text))


def _spelled(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def drop(stream: IO[str]) -> None:
    """Point a stream away, so that the interpreter's last flush cannot fail again."""
    with suppress(OSError, ValueError, AttributeError):
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def open_streams() -> None:
    """Put something where Python has None because a standard stream is closed.

    Results then fail to be written, as on a full disk; messages go nowhere.
    """
    if sys.stdout is None:
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C arrives when the block is left: an interrupted write would leave the line half written."""
    import signal

    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
