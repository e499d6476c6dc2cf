"""What is asked of a family, in exact numbers, and how precisely it is to be computed."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from snn_cli.activations.family import Family
    from snn_cli.arithmetic.protocol import Arithmetic, Value

NEARLY_LINEAR = 1e-3
"""Share of ``E[f^2]`` outside the constant and linear Hermite modes below which f is called nearly linear."""

LARGE_FLUCTUATION = 0.25
"""Stationary ``Var(delta)``, a deviation of one half, from which the expansion in delta is called extrapolated."""

MARGIN = 24  # bits beyond those printed


class Problem(NamedTuple):
    """What is asked, in exact numbers.

    epsilon
        A rational; ``"auto"`` for the root of the drift at ``fan_in``; ``"end"`` for the upper end of the feasible
        range; ``"own"`` for a family that has its own.
    lam
        Lambda where the closure gives it.
    """

    family: Family
    closure: str
    epsilon: Fraction | str
    lam: Fraction | None
    fan_in: int | None

    @property
    def conditions(self) -> tuple[str, ...]:
        """The moment conditions that hold at the solution."""
        return self.family.closures[self.closure]

    @property
    def free(self) -> tuple[str, ...]:
        """The parameters that the conditions determine."""
        return tuple(p for p in self.family.parameters if p != "lambda" or self.lam is None)

    def exact_values(self) -> dict[str, Fraction]:
        """Parameters and moments that are known as rationals."""
        exact = {}
        if self.lam is not None:
            exact["lambda"] = self.lam
        if "mean" in self.conditions:
            exact["mean"] = Fraction(0)
        if "second_moment" in self.conditions:
            exact["second_moment"] = Fraction(1)
        if isinstance(self.epsilon, Fraction):
            exact["epsilon"] = self.epsilon
            exact["chi"] = 1 + self.epsilon
        return exact

    def lam_in(self, ar: Arithmetic) -> Value | None:
        """Lambda where the closure gives it, as a number of that arithmetic."""
        return None if self.lam is None else ar.number(self.lam)

    @property
    def least(self) -> Fraction:
        """Below this a value that could also be zero is taken as zero.

        What is not zero by an identity is, at numbers of ``b`` bits in all, hardly smaller than ``2^-b``: as near as
        fractions of so many bits come to an irrational one.
        """
        given = [x for x in (self.epsilon, self.lam) if isinstance(x, Fraction)]
        bits = sum(x.numerator.bit_length() + x.denominator.bit_length() for x in given)
        return Fraction(1, 1 << bits + (self.fan_in or 0).bit_length() + 64)


def guard_bits(epsilon: Fraction | None, lam: Fraction | None, gap: Fraction | None = None) -> int:
    """Bits that cancellation may cost: in proportion to how far from 1 the numbers are that divide or are divided.

    ``2 - lambda^2`` is what the positive side leaves to the negative one; ``gap`` is the distance of epsilon from the
    upper end of the feasible range, relative to the end.
    """
    numbers = (epsilon, lam, lam and 2 - lam * lam, gap)
    size = max((abs(x.numerator.bit_length() - x.denominator.bit_length()) for x in numbers if x), default=0)
    return 40 + 6 * size
