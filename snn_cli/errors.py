"""What can go wrong, as the user should hear it: what is wrong, what to type instead, and the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SnnError(Exception):
    """Base of every error this package raises on purpose.

    ``str(error)`` says what is wrong and what is allowed, ``hint`` what to type instead.
    """

    exit_code = 3

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class InputError(SnnError):
    """Bad usage or a value outside its own domain (exit code 2)."""

    exit_code = 2


class NoSolution(SnnError):
    """The request is legal, but no activation meets it (exit code 3).

    ``feasible_epsilon`` is the interval on which a solution exists for the same options, ``None`` for an open end
    at infinity; the whole is ``None`` where no epsilon is feasible or the request was not about epsilon.
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        feasible_epsilon: tuple[float, float | None] | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.feasible_epsilon = feasible_epsilon


class CannotCompute(SnnError):
    """The answer exists but cannot be had here: a missing extra, a precision that is out of reach (exit code 3)."""


class MissingExtra(CannotCompute):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs {package}, which is not installed",
            f"pip install 'snn-cli[{extra}]'",
        )
        self._given = feature, package, extra

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str]]:
        return MissingExtra, self._given


def nearest(name: str, names: Iterable[str], otherwise: str = "", cutoff: float = 0.6) -> str:
    """For a hint: of the names that there are the one most like a name that there is not, or else ``otherwise``.

    ``cutoff`` is the least similarity, from 0 to 1, as in ``difflib.get_close_matches``.
    """
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, names, n=1, cutoff=cutoff)), otherwise)
