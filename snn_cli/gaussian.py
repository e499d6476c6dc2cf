"""Expectations over ``z ~ N(0,1)`` of functions that are polynomials times exponentials on each half-line.

Such functions are closed under products, derivatives and the Euler operator, so every moment of the solvable
activations reduces to the half-line moments ``M_n(s) = E[z^n e^(s z); z < 0]``, which follow from the single function
``tail(s) = M_0(s) = e^(s^2/2) Phi(-s)`` by Stein's identity. The algebra is written once, for any arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from snn_cli.arithmetic.protocol import Arithmetic, Value

Terms = dict[tuple[int, int], "Value"]
"""``{(n, k): c}`` stands for the sum of ``c x^n e^(k rate x)``."""


class HalfLineMoments:
    """``M_n(k rate) = E[z^n e^(k rate z); z < 0]``, remembered for reuse.

    ``M_(n+1)(s) = s M_n(s) + n M_(n-1)(s) - [n = 0] phi(0)``: Stein's identity on the half-line (integration by parts).
    Held by test_gaussian.py against quadrature.
    """

    def __init__(self, ar: Arithmetic, rate: Value) -> None:
        self.ar = ar
        self.rate = rate
        self._columns: dict[int, list[Value]] = {}
        self._mirrored: dict[int, list[Value]] = {}

    def __call__(self, n: int, k: int) -> Value:
        ar = self.ar
        column = self._columns.get(k)
        if column is None:
            column = self._columns[k] = [ar.tail(self.rate * k)] if k else [ar.number(1) / 2]
        while len(column) <= n:
            m = len(column) - 1
            following = self.rate * k * column[m] if k else ar.number(0)
            following = following + (m * column[m - 1] if m else -ar.phi0())
            column.append(following)
        return column[n]

    def sum(self, terms: Terms, side: int) -> Value:
        """Expectation of the terms on one side of 0.

        An arithmetic of few digits may have a ``half_line_sum(terms, rate, known)``, for ``z < 0``, that cancels less;
        what it finds out about this rate it keeps in the dictionary ``known``.
        """
        own = getattr(self.ar, "half_line_sum", None)
        if own is not None:
            if side < 0:
                return own(terms, self.rate, self._columns)
            return own({(n, k): -c if n % 2 else c for (n, k), c in terms.items()}, -self.rate, self._mirrored)
        total = self.ar.number(0)
        for (n, k), c in terms.items():
            moment = self(n, k if side < 0 else -k)
            total = total + (-c if side > 0 and n % 2 else c) * moment
        return total


class Branch:
    """A sum of ``c x^n e^(k rate x)`` on one half-line: ``side`` is -1 for ``x < 0`` and +1 for ``x > 0``."""

    __slots__ = ("moments", "side", "terms")

    def __init__(self, terms: Terms, moments: HalfLineMoments, side: int) -> None:
        self.terms = terms
        self.moments = moments
        self.side = side

    def __mul__(self, other: Branch) -> Branch:
        terms: Terms = {}
        for (n, k), a in self.terms.items():
            for (m, j), b in other.terms.items():
                key = (n + m, k + j)
                terms[key] = terms[key] + a * b if key in terms else a * b
        return Branch(terms, self.moments, self.side)

    def _map(self, pieces: list[tuple[tuple[int, int], Value]]) -> Branch:
        terms: Terms = {}
        for key, c in pieces:
            terms[key] = terms[key] + c if key in terms else c
        return Branch(terms, self.moments, self.side)

    def derivative(self) -> Branch:
        pieces = []
        for (n, k), c in self.terms.items():
            if n:
                pieces.append(((n - 1, k), c * n))
            if k:
                pieces.append(((n, k), c * k * self.moments.rate))
        return self._map(pieces)

    def times_power(self, n: int) -> Branch:
        return Branch({(m + n, k): c for (m, k), c in self.terms.items()}, self.moments, self.side)

    def plus(self, constant: Value) -> Branch:
        """``branch + constant``."""
        return self._map([*self.terms.items(), ((0, 0), constant)])

    def scaled(self, s: Value, moments: HalfLineMoments) -> Branch:
        """``branch(s z)`` for ``s > 0``; ``moments`` at the rate times ``s``."""
        return Branch({(n, k): c * s**n for (n, k), c in self.terms.items()}, moments, self.side)

    def expectation(self) -> Value:
        """``E[branch(z); z on this side]``."""
        return self.moments.sum(self.terms, self.side)


class Piecewise:
    """A function with one formula on each half-line; what happens at 0 itself has no weight."""

    __slots__ = ("negative", "positive")

    def __init__(self, negative: Branch, positive: Branch) -> None:
        self.negative = negative
        self.positive = positive

    @classmethod
    def of(cls, ar: Arithmetic, rate: Value, negative: Terms, positive: Terms) -> Piecewise:
        """From the terms of both branches; ``rate`` is the unit of their exponents."""
        moments = HalfLineMoments(ar, rate)
        return cls(Branch(negative, moments, -1), Branch(positive, moments, +1))

    def __mul__(self, other: Piecewise) -> Piecewise:
        return Piecewise(self.negative * other.negative, self.positive * other.positive)

    def derivative(self) -> Piecewise:
        return Piecewise(self.negative.derivative(), self.positive.derivative())

    def times_power(self, n: int) -> Piecewise:
        """Multiplied by ``x^n``."""
        return Piecewise(self.negative.times_power(n), self.positive.times_power(n))

    def plus(self, constant: Value) -> Piecewise:
        """``f + constant``."""
        return Piecewise(self.negative.plus(constant), self.positive.plus(constant))

    def scaled(self, s: Value) -> Piecewise:
        """``f(s z)`` for ``s > 0``: with ``s = sqrt(q)``, f of a pre-activation of second moment q."""
        at = self.negative.moments
        moments = HalfLineMoments(at.ar, at.rate * s)
        return Piecewise(self.negative.scaled(s, moments), self.positive.scaled(s, moments))

    def expectation(self) -> Value:
        """``E[f(z)]``."""
        return self.negative.expectation() + self.positive.expectation()

    def scale_slopes(self) -> tuple[Value, Value]:
        """First and second derivative of ``E[f(sqrt(q) z)]`` with respect to ``q`` at ``q = 1``.

        With the Euler operator ``D = (x/2) d/dx`` they are ``E[D f]`` and ``E[D (D - 1) f]``: ``f(sqrt(q) x) = q^D f``.
        """
        first = self.derivative().times_power(1).expectation() / 2
        second = self.derivative().derivative().times_power(2).expectation() / 4
        return first, second - first / 2


class Moments(NamedTuple):
    """The moments of an activation at ``q = 1``, ``sigma_w = 1`` that the definition of self-normalization needs."""

    mean: Any
    second_moment: Any
    chi: Any
    gamma: Any
    kappa: Any
    mean_slope: Any


def moments(f: Piecewise) -> Moments:
    """``E[f], E[f^2], chi = E[f'^2], gamma = E[z f f'], kappa = E[f'^4]/E[f'^2]^2, E[f']``."""
    df = f.derivative()
    square = df * df
    chi = square.expectation()
    return Moments(
        mean=f.expectation(),
        second_moment=(f * f).expectation(),
        chi=chi,
        gamma=(f * df).times_power(1).expectation(),
        kappa=(square * square).expectation() / (chi * chi),
        mean_slope=df.expectation(),
    )
