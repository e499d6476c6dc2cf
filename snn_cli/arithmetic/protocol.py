"""What a formula may ask of an arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

Value = Any
"""An element of an arithmetic: it mixes with ints under ``+ - * /`` and ``**`` with int exponents."""


class Arithmetic(Protocol):
    """A field with the few functions that Gaussian moments need."""

    def number(self, x: int | Fraction) -> Value:
        """The element nearest to (or enclosing) a rational."""

    def exp(self, x: Value) -> Value:
        """``e^x``."""

    def log(self, x: Value) -> Value:
        """Natural logarithm of ``x > 0``."""

    def sqrt(self, x: Value) -> Value:
        """Square root of ``x >= 0``."""

    def phi0(self) -> Value:
        """Standard normal density at zero, ``1 / sqrt(2 pi)``."""

    def tail(self, s: Value) -> Value:
        """``E[e^(s z); z < 0] = e^(s^2/2) Phi(-s)`` for ``z ~ N(0,1)``, without overflow for large ``s``."""


class SolvingArithmetic(Arithmetic, Protocol):
    """An arithmetic that can also solve a scalar equation."""

    def root(self, residual: Callable[..., Value], start: Callable[[Arithmetic], Value], *args: Value) -> Value:
        """The ``t`` with ``residual(ar, t, *args) = 0``, by Newton's method from ``start``; derivatives come along."""
