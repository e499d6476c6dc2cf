"""Ball arithmetic (python-flint): every operation encloses the exact result, so what comes out is proved."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from flint import arb, fmpq

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import Value


class Balls:
    """Real balls at the working precision of ``flint.ctx``."""

    def number(self, x: int | Fraction) -> Value:
        return arb(fmpq(x.numerator, x.denominator))

    def exp(self, x: Value) -> Value:
        return x.exp()

    def log(self, x: Value) -> Value:
        return x.log()

    def sqrt(self, x: Value) -> Value:
        return x.sqrt()

    def phi0(self) -> Value:
        return 1 / (2 * arb.pi()).sqrt()

    def tail(self, s: Value) -> Value:
        if s > 4:  # Tricomi's U, erfc without its exponential: nothing overflows
            half = arb(0.5)
            return (s * s / 2).hypgeom_u(half, half) / (2 * arb.pi().sqrt())
        return (s * s / 2).exp() * (s / arb(2).sqrt()).erfc() / 2


def ends(x: Value) -> tuple[Fraction, Fraction]:
    """The exact end points of a ball."""
    middle, radius = _exact(x.mid()), _exact(x.rad())
    return middle - radius, middle + radius


def ball(middle: Fraction, radius: Fraction) -> Value:
    """A ball that contains ``[middle - radius, middle + radius]``."""
    return Balls().number(middle) + arb(0, 1) * Balls().number(radius)


def _exact(x: Value) -> Fraction:
    mantissa, exponent = x.man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
