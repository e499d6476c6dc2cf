"""numpy arithmetic: the moment formulas over arrays of parameters, elementwise, to nearly the accuracy of a double.

Sums of half-line moments are formed here rather than term by term, for two reasons. At a small rate the terms of an
activation such as ``alpha (e^(beta x) - 1)`` with ``beta -> 0``, ``alpha -> infinity`` cancel almost wholly. And at a
large rate Stein's recursion for ``M_n`` cancels: those moments are the minimal solution of its difference equation
(Gautschi, SIAM Review 9, 1967, section 1), which only its continued fraction delivers.
"""

from __future__ import annotations

from functools import cache
from math import ceil, comb, factorial, gamma, pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import erfcx

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from numpy.typing import NDArray

    from snn_cli.arithmetic.protocol import Value

SERIES_LIMIT = 1.5
"""``|k rate|``, for the largest k, up to which a sum is formed by the power series in the rate. At the limit the direct
sum loses two digits on ``f^4``, the worst case in use; the series loses more on SELU's form (rate 1) from 2 on."""

SERIES_ORDER = 56
"""Terms of the series. With at most ``x^8`` before the exponentials, those left out are below
``1.5^56 E[|z|^64] / (2 56!) = 6e-22``."""

FRACTION_FROM = 1.0
"""``s`` from which ``M_n(s)``, n > 0, comes from the continued fraction; below it the recursion is good to 5e-15 for
n up to 4, and to 2e-14 up to 8."""

HIGHEST_POWER = 8
"""Of z, among the moments in use: those of one rate come from one pass through the fraction."""

AT_ONCE = 4096
"""Rates up to which the powers of the series are laid out side by side, 57 doubles each."""

FRACTION_LEVELS = 320
"""Levels of the fraction at ``s = 1``, fewer with the square of s: what is left of a wrong start falls as
``e^(-2 s sqrt(levels))``, here 3e-16."""

ROUNDING = 2.0**-48
"""Relative size, 16 units of rounding, below which a sum of coefficients counts as zero."""

_QUIET: Any = {"over": "ignore", "under": "ignore", "invalid": "ignore", "divide": "ignore"}


class Arrays:
    """Elementwise arithmetic on float64 arrays of any shapes that broadcast; never warns.

    What a real number cannot answer is nan (square root or logarithm of a negative), ``log 0`` is -inf, and what is
    too large is inf.
    """

    def number(self, x: int | Fraction) -> Value:
        return np.float64(x)

    def exp(self, x: Value) -> Value:
        with np.errstate(**_QUIET):
            return np.exp(x)

    def log(self, x: Value) -> Value:
        with np.errstate(**_QUIET):
            return np.log(x)

    def sqrt(self, x: Value) -> Value:
        with np.errstate(**_QUIET):
            return np.sqrt(x)

    def phi0(self) -> Value:
        return np.float64(1 / sqrt(2 * pi))

    def tail(self, s: Value) -> Value:
        """``erfcx(s / sqrt 2) / 2``: no overflow for large s, inf below about -37."""
        return erfcx(np.asarray(s, dtype=np.float64) / sqrt(2)) / 2

    def half_line_moment(self, n: int, s: Value) -> Value:
        """``M_n(s) = E[z^n e^(s z); z < 0]``, elementwise, to a relative error of 1e-14 for n up to 4 and s >= -8.

        For ``s >= 1`` the ratios are ``-M_m/M_(m-1) = m / (s + (m+1) / (s + (m+2) / (s + ...)))``, positive throughout;
        below, Stein's recursion ``M_(m+1) = s M_m + m M_(m-1) - [m = 0] phi(0)``. Left of -8 the exponential magnifies
        the rounding of ``s^2``. Held by test_arithmetics.py::test_half_line_moments.
        """
        return self._half_line_moments(n, np.asarray(s, dtype=np.float64))[n]

    def _half_line_moments(self, highest: int, s: NDArray[np.float64]) -> list[Value]:
        first = self.tail(s)
        if not highest:
            return [first]
        with np.errstate(**_QUIET):
            large = s >= FRACTION_FROM
            if large.all():
                return _by_fraction(highest, s, first)
            recursion = _by_recursion(highest, s, first)
            if not large.any():
                return recursion
            pairs = zip(_by_fraction(highest, s, first), recursion, strict=True)
            return [np.where(large, a, b) for a, b in pairs]

    def half_line_sum(
        self, terms: Mapping[tuple[int, int], Value], rate: Value, known: dict[int, list[Value]] | None = None
    ) -> Value:
        """``sum c E[z^n e^(k rate z); z < 0]`` over ``{(n, k): c}``; coefficients and rate broadcast.

        Where ``|k rate|`` is at most 1.5 for the largest k, the exponentials are rewritten as powers of
        ``g = e^(rate z) - 1``. The coefficient of ``z^n g^j`` is ``sum_k c binomial(k, j)``, and it is zero in exact
        arithmetic wherever the function vanishes to that order: coefficients in the ratio 1 : -2 : 1 stand for
        ``g^2`` alone. A sum within 16 units of rounding of its own terms is therefore taken as zero, a relative
        change of the coefficients by as much. What is left is a power series in the rate; elsewhere the direct sum.
        ``known`` keeps the moments of this rate from one call to the next. Held by test_arithmetics.py against 120
        digits.
        """
        known = {} if known is None else known

        def moment(n: int, k: int) -> Value:
            if len(known.get(k, ())) <= n:
                known[k] = self._half_line_moments(max(n, HIGHEST_POWER if n else 0), k * rate)
            return known[k][n]

        with np.errstate(**_QUIET):
            rate = np.asarray(rate, dtype=np.float64)
            exponents = {k for _, k in terms}
            # with k = 0 alone there is nothing to cancel; a negative k is no power of g
            series = any(exponents) and min(exponents) >= 0
            small = np.abs(rate) * max(exponents, default=0) <= (SERIES_LIMIT if series else -1.0)
            total: Value = np.float64(0)
            for n in sorted({n for n, _ in terms}):
                column = {k: np.asarray(c, dtype=np.float64) for (m, k), c in terms.items() if m == n}
                if small.all():
                    total = total + _by_series(n, column, rate)
                    continue
                direct = sum((c * moment(n, k) for k, c in column.items()), np.float64(0))
                if small.any():
                    bounded = np.where(small, rate, 0)  # the series is not to overflow where it is not used
                    direct = np.where(small, _by_series(n, column, bounded), direct)
                total = total + direct
            return total


def _by_fraction(highest: int, s: NDArray[np.float64], first: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    s = np.maximum(s, FRACTION_FROM)
    level = highest + max(8, ceil(FRACTION_LEVELS / float(s.min()) ** 2))
    ratio = (np.sqrt(s * s + 4 * level) - s) / 2
    ratios = []
    for m in range(level - 1, 0, -1):
        ratio = m / (s + ratio)
        if m <= highest:
            ratios.append(ratio)
    found = [first]
    for each in reversed(ratios):
        found.append(-found[-1] * each)
    return found


def _by_recursion(highest: int, s: NDArray[np.float64], first: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    s = np.minimum(s, FRACTION_FROM)
    found = [first, s * first - 1 / sqrt(2 * pi)]
    for m in range(1, highest):
        found.append(s * found[m] + m * found[m - 1])
    return found


def _by_series(n: int, column: Mapping[int, NDArray[np.float64]], rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """``sum_j d_j E[z^n g^j; z < 0]`` with ``g^j = sum_m j! S(m, j) (rate z)^m / m!``, S of the second kind."""
    differences = {}
    for j in range(max(column) + 1):
        parts = [c * comb(k, j) for k, c in column.items() if k >= j]
        d = np.asarray(sum(parts[1:], parts[0]))
        d = np.where(np.abs(d) <= ROUNDING * sum(np.abs(p) for p in parts), 0.0, d)
        if d.any():
            differences[j] = d
    shape = np.broadcast_shapes(rate.shape, *(c.shape for c in column.values()))
    total = np.zeros(shape)
    if rate.size <= AT_ONCE:
        powers = rate[..., None] ** np.arange(SERIES_ORDER + 1)
        for j, d in differences.items():
            total = total + d * (powers @ _weights(n, j))
        return total
    for m in range(SERIES_ORDER, -1, -1):
        weight = sum((d * _weight(n, j, m) for j, d in differences.items() if j <= m), np.float64(0))
        total = total * rate + weight
    return total


@cache
def _weights(n: int, j: int) -> NDArray[np.float64]:
    return np.array([_weight(n, j, m) if m >= j else 0.0 for m in range(SERIES_ORDER + 1)])


@cache
def _weight(n: int, j: int, m: int) -> float:
    """``j! S(m, j) M_(n+m)(0) / m!``, where ``M_p(0) = (-1)^p 2^(p/2) Gamma((p+1)/2) / (2 sqrt pi)``."""
    surjections: int = sum((-1) ** (j - i) * comb(j, i) * i**m for i in range(j + 1))
    half_moment: float = (-1) ** (n + m) * 2 ** ((n + m) / 2) * gamma((n + m + 1) / 2) / (2 * sqrt(pi))
    return surjections / factorial(m) * half_moment
