"""Ctrl-C, at once or when what is begun is done."""

from __future__ import annotations

import threading
from typing import Any


class Now:
    """Ctrl-C arrives at once."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, error: Any, *_: Any) -> None:
        pass

    def interrupted(self) -> bool:
        """Whether it has arrived."""
        return False


class Whole(Now):
    """Ctrl-C arrives when the block is left, where that is possible: what is done is then done whole; or pressed twice.

    The block may ask whether it was interrupted, to end early.
    """

    def __enter__(self) -> None:
        import signal

        self._before: Any = None
        self._held = False
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(before):  # not where it is ignored
            self._before = before
            signal.signal(signal.SIGINT, self._hold)

    def _hold(self, *_: Any) -> None:
        if self._held:
            raise KeyboardInterrupt
        self._held = True

    def interrupted(self) -> bool:
        return self._held

    def __exit__(self, error: Any, *_: Any) -> None:
        import signal

        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self._held and error is None:
            raise KeyboardInterrupt
