"""Whether a network keeps the gradient within a factor, and the depth and the epsilon up to which it would."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from snn_cli import activations
from snn_cli.errors import SnnError
from snn_cli.records import Budget
from snn_cli.simulation.source import Solve, solved

if TYPE_CHECKING:
    from collections.abc import Callable

    from snn_cli.simulation.finite import Run
    from snn_cli.simulation.source import Closure

DEEPEST, DEEPEST_UNSETTLED = 10**9, 2**14
"""Depth up to which the budget is followed, where q settles and where every layer differs from the one before."""

_SETTLING = 64  # depths looked at one by one
_EPSILONS = tuple(10.0 ** (k / 4) for k in range(4, -33, -1))
_EPSILON_ACCURACY = 1e-7
_EPSILON_DIGITS = 4


def budget(run: Run, factor: float, closure: Closure) -> Budget:
    """The check ``|log growth| <= log factor``, the largest depth that passes it, and the largest epsilon."""
    allowed = math.log(factor)
    return Budget(factor, _inside(run, allowed), _largest_depth(run, allowed), _largest_epsilon(run, allowed, closure))


def _inside(run: Run, allowed: float) -> bool:
    growth = run.growth()[0]
    return math.isfinite(growth) and abs(growth) <= allowed


def _largest_depth(run: Run, allowed: float) -> int | None:
    """Largest depth that passes: growth may leave the budget and come back while q settles, so depths are sampled
    densely at first, and between the last sample that passes and the next the end is bisected. 0 where none passes.
    """
    if run.sizes is not None or run.means.counted:
        return None

    def at(depth: int) -> Run:
        return run.like(run.network._replace(depth=depth))

    passing, failing, sample = 0, None, 1
    while failing is None or sample <= _SETTLING or sample < 4 * failing:
        here = at(sample)
        if _inside(here, allowed):
            passing, failing = sample, None
        elif failing is None:
            failing = sample
        if sample > (DEEPEST if here.infinite.path.distinct < sample // 2 else DEEPEST_UNSETTLED):
            return None if failing is None else passing
        sample = sample + 1 if sample < _SETTLING else 2 * sample
    lo, hi = passing, failing
    while hi - lo > 1:
        middle = (lo + hi) // 2
        lo, hi = (middle, hi) if _inside(at(middle), allowed) else (lo, middle)
    return lo


def _largest_epsilon(run: Run, allowed: float, closure: Closure) -> float | None:
    """Largest epsilon of this family that passes at this depth, to four digits, rounded down."""
    act = run.network.activation.act
    if act not in activations.SOLVABLE or not activations.get(act).takes_epsilon or run.means.counted:
        return None

    def growth(epsilon: float) -> float:
        """Infinite where there is no such activation: epsilon is above its range."""
        try:
            activation = solved(Solve(act, repr(epsilon), None, None), closure)
        except SnnError:
            return math.inf
        return run.like(run.network._replace(activation=activation)).growth()[0]

    largest = _largest(growth, allowed)
    if largest is None or growth(largest) < -allowed:
        return None
    scale = 10.0 ** (_EPSILON_DIGITS - 1 - math.floor(math.log10(largest)))
    rounded: float = math.floor(largest * scale) / scale
    return rounded if abs(growth(rounded)) <= allowed else largest


def _largest(growth: Callable[[float], float], allowed: float) -> float | None:
    """Where growth, which rises with epsilon, is ``allowed``: between the first on the way down that is not too much,
    and the one before."""
    lo: float
    above = None
    for lo in _EPSILONS:
        if growth(lo) <= allowed:
            break
        above = lo
    else:
        return None
    while above is not None and above / lo > 1 + _EPSILON_ACCURACY:
        middle = math.sqrt(lo * above)
        lo, above = (middle, above) if growth(middle) <= allowed else (lo, middle)
    return lo
