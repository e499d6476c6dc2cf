"""Second-order jets: a number with its gradient and Hessian, over floats or mpmath."""

from __future__ import annotations

from typing import Any


class Jet:
    """``value``, ``gradient[i]`` and ``hessian[i][j]`` with ``j <= i`` of a smooth function of n variables."""

    __slots__ = ("gradient", "hessian", "value")

    def __init__(self, value: Any, gradient: list[Any], hessian: list[list[Any]]) -> None:
        self.value, self.gradient, self.hessian = value, gradient, hessian

    @classmethod
    def constant(cls, value: Any, n: int) -> Jet:
        zero = value * 0
        return cls(value, [zero] * n, [[zero] * (i + 1) for i in range(n)])

    @classmethod
    def variable(cls, value: Any, index: int, n: int) -> Jet:
        jet = cls.constant(value, n)
        jet.gradient[index] = jet.gradient[index] + 1
        return jet

    def second(self, i: int, j: int) -> Any:
        """``d^2/dx_i dx_j``."""
        return self.hessian[i][j] if j <= i else self.hessian[j][i]

    def _combined(self, other: Jet, p: Any, q: Any) -> Jet:
        """``p self + q other`` in the derivatives, the value left to the caller."""
        gradient = [p * a + q * b for a, b in zip(self.gradient, other.gradient, strict=True)]
        hessian = [
            [p * a + q * b for a, b in zip(r, s, strict=True)] for r, s in zip(self.hessian, other.hessian, strict=True)
        ]
        return Jet(self.value, gradient, hessian)

    def __add__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.gradient, self.hessian)
        jet = self._combined(other, 1, 1)
        jet.value = self.value + other.value
        return jet

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return self * -1

    def __sub__(self, other: Any) -> Jet:
        negative: Any = -other
        return self.__add__(negative)

    def __rsub__(self, other: Any) -> Jet:
        jet: Jet = -self + other
        return jet

    def __mul__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet(
                self.value * other, [a * other for a in self.gradient], [[a * other for a in r] for r in self.hessian]
            )
        jet = self._combined(other, other.value, self.value)
        g, k = self.gradient, other.gradient
        jet.hessian = [[h + g[i] * k[j] + g[j] * k[i] for j, h in enumerate(r)] for i, r in enumerate(jet.hessian)]
        jet.value = self.value * other.value
        return jet

    __rmul__ = __mul__

    def apply(self, value: Any, first: Any, second: Any) -> Jet:
        """``h(self)`` from ``h, h', h''`` there."""
        g = self.gradient
        return Jet(
            value,
            [first * a for a in g],
            [[first * h + second * g[i] * g[j] for j, h in enumerate(r)] for i, r in enumerate(self.hessian)],
        )

    def reciprocal(self) -> Jet:
        inverse = 1 / self.value
        return self.apply(inverse, -inverse * inverse, 2 * inverse**3)

    def sqrt(self, root: Any) -> Jet:
        """The square root, whose value the caller has taken: ``root``."""
        return self.apply(root, 1 / (2 * root), -1 / (4 * root**3))

    def __truediv__(self, other: Any) -> Jet:
        return self * (other.reciprocal() if isinstance(other, Jet) else 1 / other)
