"""Newton's method on the conditions of Karush, Kuhn and Tucker, with the active constraints known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.errors import CannotCompute

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snn_cli.program.jets import Jet

STEPS = 60
SINGULAR = "the optimum is not isolated: the equations that determine it are singular"


class Point(NamedTuple):
    """A stationary point, and of each constraint the derivative of the optimum by its right-hand side."""

    x: list[Any]
    multipliers: list[Any]


def kkt_matrix(mp: Any, objective: Jet, constraints: Sequence[Jet], multipliers: Sequence[Any]) -> Any:
    """The derivative of ``(grad f - sum mu_i grad h_i, h)`` by ``(x, mu)``."""
    n, k = len(objective.gradient), len(constraints)
    matrix = mp.matrix(n + k, n + k)
    for i in range(n):
        for j in range(n):
            curvature = objective.second(i, j)
            for mu, h in zip(multipliers, constraints, strict=True):
                curvature -= mu * h.second(i, j)
            matrix[i, j] = curvature
        for j, h in enumerate(constraints):
            matrix[i, n + j] = -h.gradient[i]
            matrix[n + j, i] = h.gradient[i]
    return matrix


def solved(mp: Any, matrix: Any, right: Any) -> Any:
    """The solution of a linear system. Raises CannotCompute where it is singular, or not finite."""
    try:
        if all(mp.isfinite(v) for part in (matrix, right) for v in part):
            return mp.lu_solve(matrix, right)
    except (ZeroDivisionError, TypeError):  # mpmath has no pivot, None, where the rest of a column is 0
        pass
    raise CannotCompute(SINGULAR, "--bound on one of the parameters")


def step(
    mp: Any, objective: Jet, constraints: Sequence[Jet], multipliers: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    """The Newton step in x, and the new multipliers: ``grad f = sum mu_i grad h_i``, ``h_i = 0``.

    Raises CannotCompute where the system is singular.
    """
    n, k = len(objective.gradient), len(constraints)
    right = mp.matrix(n + k, 1)
    for i in range(n):
        right[i] = -objective.gradient[i]
    for j, h in enumerate(constraints):
        right[n + j] = -h.value
    found = solved(mp, kkt_matrix(mp, objective, constraints, multipliers), right)
    return [found[i] for i in range(n)], [found[n + j] for j in range(k)]


def newton(
    mp: Any,
    evaluate: Callable[[list[Any]], tuple[Jet, Sequence[Jet]]],
    start: Point,
    accuracy: int,
    full: int,
    guard: int,
) -> Point:
    """The stationary point near ``start``, which is right to ``accuracy`` bits, to ``full`` bits of precision.

    ``evaluate(x)``: objective and active constraints, at the precision that ``mp`` has at that time: it is doubled as
    the iterates converge. Raises CannotCompute where they do not.
    """
    x, multipliers = list(start.x), list(start.multipliers)
    try:
        for _ in range(STEPS):
            mp.prec = min(full, guard + 2 * accuracy)
            objective, constraints = evaluate(x)
            if len(multipliers) != len(constraints):
                multipliers = [mp.mpf(0)] * len(constraints)
                _, multipliers = step(mp, objective, constraints, multipliers)
            change, multipliers = step(mp, objective, constraints, multipliers)
            x = [v + d for v, d in zip(x, change, strict=True)]
            correct = -max(mp.mag(d) - max(mp.mag(v), 0) if d else -full for d, v in zip(change, x, strict=True))
            if correct < -8:
                break
            if mp.prec == full and 2 * correct >= full - guard:
                return Point(x, multipliers)
            accuracy = max(8, min(2 * correct, mp.prec - guard))
    finally:
        mp.prec = full
    raise CannotCompute("Newton's method did not settle at the optimum", "--bound on one of the parameters")
