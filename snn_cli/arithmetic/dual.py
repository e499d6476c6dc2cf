"""Dual numbers over any arithmetic: a formula evaluated here returns its gradient too, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from snn_cli.arithmetic.protocol import Arithmetic, Value


class Dual:
    """``value + sum_i gradient[i] d_i`` with ``d_i d_j = 0``."""

    __slots__ = ("gradient", "value")

    def __init__(self, value: Value, gradient: tuple[Value, ...]) -> None:
        self.value = value
        self.gradient = gradient

    def __add__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            return Dual(
                self.value + other.value,
                tuple(a + b for a, b in zip(self.gradient, other.gradient, strict=True)),
            )
        return Dual(self.value + other, self.gradient)

    __radd__ = __add__

    def __neg__(self) -> Dual:
        return Dual(-self.value, tuple(-a for a in self.gradient))

    def __sub__(self, other: Any) -> Dual:
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> Dual:
        return (-self).__add__(other)

    def __mul__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            x, y = self.value, other.value
            return Dual(x * y, tuple(a * y + x * b for a, b in zip(self.gradient, other.gradient, strict=True)))
        return Dual(self.value * other, tuple(a * other for a in self.gradient))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            quotient = self.value / other.value
            return Dual(
                quotient,
                tuple((a - quotient * b) / other.value for a, b in zip(self.gradient, other.gradient, strict=True)),
            )
        return Dual(self.value / other, tuple(a / other for a in self.gradient))

    def __rtruediv__(self, other: Any) -> Dual:
        quotient = other / self.value
        return Dual(quotient, tuple(-quotient * a / self.value for a in self.gradient))

    def __pow__(self, n: int) -> Dual:
        slope = n * self.value ** (n - 1) if n else self.value * 0
        return Dual(self.value**n, tuple(slope * a for a in self.gradient))


class DualArithmetic:
    """Arithmetic of dual numbers with ``directions`` partial derivatives over ``base``."""

    def __init__(self, base: Any, directions: int) -> None:
        self.base = base
        self.directions = directions
        self._zero = base.number(0)
        self._one = base.number(1)

    def constant(self, value: Value) -> Dual:
        """Lift a value of the base arithmetic; its derivatives are zero."""
        return Dual(value, (self._zero,) * self.directions)

    def variable(self, value: Value, direction: int) -> Dual:
        """Lift a value of the base arithmetic as the variable of one direction."""
        return Dual(value, tuple(self._one if i == direction else self._zero for i in range(self.directions)))

    def number(self, x: int | Fraction) -> Dual:
        return self.constant(self.base.number(x))

    def _chain(self, x: Dual, value: Value, slope: Value) -> Dual:
        return Dual(value, tuple(slope * a for a in x.gradient))

    def exp(self, x: Dual) -> Dual:
        value = self.base.exp(x.value)
        return self._chain(x, value, value)

    def log(self, x: Dual) -> Dual:
        return self._chain(x, self.base.log(x.value), 1 / x.value)

    def sqrt(self, x: Dual) -> Dual:
        value = self.base.sqrt(x.value)
        if all(a == 0 for a in x.gradient):  # a constant may sit at the branch point
            return self.constant(value)
        return self._chain(x, value, 1 / (2 * value))

    def phi0(self) -> Dual:
        return self.constant(self.base.phi0())

    def tail(self, s: Dual) -> Dual:
        value = self.base.tail(s.value)
        return self._chain(s, value, s.value * value - self.base.phi0())

    def root(self, residual: Callable[..., Dual], start: Callable[[Arithmetic], Value], *args: Dual) -> Dual:
        """Root of the base arithmetic; its gradient by the implicit function theorem."""
        values = tuple(a.value for a in args)
        t = self.base.root(residual, start, *values)
        along = DualArithmetic(self.base, 1)
        slope = residual(along, along.variable(t, 0), *(along.constant(v) for v in values)).gradient[0]
        across = residual(self, self.constant(t), *args)
        return Dual(t, tuple(-a / slope for a in across.gradient))
