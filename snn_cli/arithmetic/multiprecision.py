"""mpmath at a precision of its own: the user's ``mpmath.mp`` is neither read nor changed."""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mpmath import MPContext

from snn_cli.arithmetic.dual import DualArithmetic

if TYPE_CHECKING:
    from collections.abc import Callable

    from snn_cli.arithmetic.protocol import Arithmetic, Value

NEWTON_STEPS = 200
"""Newton's method on the smooth log-log residuals used here takes 4 to 12 steps; more means that there is no root."""


_local = threading.local()


def context(precision: int) -> MPContext:
    """A context of that precision, one a thread: building one takes as long as a small solve."""
    contexts: dict[int, MPContext] = _local.__dict__.setdefault("contexts", {})
    if precision not in contexts:
        if len(contexts) >= 32:
            contexts.clear()
        contexts[precision] = MPContext()
        contexts[precision].prec = precision
    return contexts[precision]


class NoConvergence(ArithmeticError):
    """Newton's method found no root."""


class Multiprecision:
    """Floating-point arithmetic of ``precision`` bits, of which ``guard`` may be lost to cancellation.

    ``before`` is the arithmetic in which the same was computed at a lower precision: its roots are starting values.
    """

    def __init__(self, precision: int, guard: int = 32, before: Multiprecision | None = None) -> None:
        self.context = context(precision)
        self.precision = precision
        self.guard = guard
        self._known: dict[tuple[int, Any], Any] = {}
        self._roots: dict[Any, Any] = dict(before._roots) if before else {}

    def number(self, x: int | Fraction) -> Value:
        if isinstance(x, Fraction):
            return self.context.mpf(x.numerator) / x.denominator
        return self.context.mpf(x)

    def exp(self, x: Value) -> Value:
        return self.context.exp(x)

    def log(self, x: Value) -> Value:
        return self.context.log(x)

    def sqrt(self, x: Value) -> Value:
        """Square root; a negative that is rounding error, at a closed end of a feasible range, counts as zero."""
        return self.context.sqrt(x) if x > 0 else self.context.mpf(0)

    def phi0(self) -> Value:
        return self._remember(None, lambda: 1 / self.context.sqrt(2 * self.context.pi))

    def tail(self, s: Value) -> Value:
        if not s:
            return self.context.mpf(0.5)
        return self._remember(s, lambda: self._tail(s))

    def _tail(self, s: Value) -> Value:
        context = self.context
        extra = 10 + max(0, 2 * context.mag(s))  # exp magnifies the relative error of s^2
        with context.workprec(context.prec + extra):
            value = context.exp(s * s / 2) * context.erfc(s / context.sqrt(2)) / 2
        return +value

    def _remember(self, argument: Value | None, compute: Callable[[], Value]) -> Value:
        """The same few arguments come back in every moment, and erfc is what a solve spends its time on."""
        key = (self.context.prec, argument)
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def root(self, residual: Callable[..., Value], start: Callable[[Arithmetic], Value], *args: Value) -> Value:
        """Newton's method with the precision doubled as the iterates converge.

        A root of the same residual that is known already, here or at the precision before, is the better start.
        Raises NoConvergence when the iterates do not settle.
        """
        context = self.context
        full = context.prec
        known, at, precision = self._roots.get(residual, (None, None, 0))
        if precision == full and at == args:
            return known
        accuracy = min(53, full) if known is None else full - self.guard
        dual = DualArithmetic(self, 1)
        try:
            context.prec = min(full, self.guard + accuracy)
            # a root of another context would go on rounding at that context's precision
            t = start(self) if known is None else context.mpf(known)
            for _ in range(NEWTON_STEPS):
                value = residual(dual, dual.variable(t, 0), *(dual.constant(a) for a in args))
                step = value.value / value.gradient[0]
                t = t - step
                correct = -context.mag(step) if step else accuracy  # bits that were right before this step
                if 2 * correct < accuracy:
                    continue
                if context.prec == full:
                    self._roots[residual] = (t, args, full)
                    return t
                accuracy = 2 * accuracy
                context.prec = min(full, self.guard + accuracy)
        finally:
            context.prec = full
        raise NoConvergence("Newton's method did not settle")


def fraction(x: Value) -> Fraction:
    """The exact rational value of an element."""
    sign, mantissa, exponent, _ = x._mpf_
    mantissa = -int(mantissa) if sign else int(mantissa)
    return Fraction(mantissa << exponent) if exponent >= 0 else Fraction(mantissa, 1 << -exponent)
