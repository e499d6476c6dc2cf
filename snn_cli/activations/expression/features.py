"""Where an expression may change on a narrow scale: centres and widths, read off the arguments of its functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.expression import tree
from snn_cli.activations.expression.evaluate import Arrays, evaluate
from snn_cli.activations.expression.kinks import sampling_grid, slope_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NARROW = 0.25
"""Widths relative to the centre from which on panels of an octave see a feature anyway."""

_MOST = 64  # of one argument
_HALVINGS = 80
_RELATIVE = ("div", "pow", "sqrt", "log", "log1p")  # of which the argument counts relative to its size


def features(root: tree.Node, params: Mapping[str, float]) -> tuple[tuple[float, float], ...]:
    """``(c, w)`` of all narrow features, in rising order of c.

    The argument u of a function is 0 at c, with ``w = 1/|u'|``, or turns there, with ``w = |u''|^(-1/2)``; of roots,
    powers and denominators also ``w = |u/u''|^(1/2)``. Those of a line are exact; others are bracketed on a graded grid
    that is finer where parts of u are narrow.
    """
    import numpy as np

    found: set[tuple[float, float]] = set()
    done: set[tree.Node] = set()
    with np.errstate(all="ignore"):
        for at in tree.walk(root):
            u = _argument(at)
            if u is None or not u.moves or u in done:
                continue
            done.add(u)
            relative = at.op in _RELATIVE
            found.update((c, w) for c, w in _of(u, relative, params, found) if 0 < w < _NARROW * abs(c))
    return tuple(sorted(found))


def _argument(at: tree.Node) -> tree.Node | None:
    if at.op == "div":
        return at.args[1]
    return at.args[0] if at.op == "pow" or at.op in tree.FUNCTIONS else None


def _of(
    u: tree.Node, relative: bool, params: Mapping[str, float], inner: set[tuple[float, float]]
) -> Iterator[tuple[float, float]]:
    import numpy as np

    slope = slope_of(u)

    def value(at: tree.Node, x: Any) -> Any:
        return np.broadcast_to(np.asarray(evaluate([at], Arrays(np), x, params)[0], dtype=float), np.shape(x))

    if not slope.moves:
        rise, start = (float(value(at, np.float64(0.0))) for at in (slope, u))
        if rise:
            yield -start / rise, 1 / abs(rise)
        return
    x = np.unique([*sampling_grid(), *(c + w * t for c, w in inner for t in np.linspace(-6, 6, 97))])
    y = value(u, x)
    for zero in _zeros(lambda t: value(u, t), x, y):
        steep = abs(float(value(slope, np.float64(zero))))
        if steep:
            yield zero, 1 / steep
    bend = slope_of(slope)
    for turn in _zeros(lambda t: value(slope, t), x, value(slope, x)):
        bent = abs(float(value(bend, np.float64(turn))))
        if bent:
            yield turn, bent**-0.5
            if relative:
                yield turn, (abs(float(value(u, np.float64(turn)))) / bent) ** 0.5


def _zeros(f: Any, x: Any, y: Any) -> list[float]:
    """Changes of sign, bisected in doubles."""
    import numpy as np

    exact = [float(t) for t in x[y == 0][:_MOST]]
    turns = (np.sign(y[1:]) * np.sign(y[:-1]) < 0).nonzero()[0]
    if not len(turns) or len(turns) > _MOST:  # what oscillates is no feature
        return exact
    lo, hi, sign = x[turns], x[turns + 1], np.sign(y[turns])
    for _ in range(_HALVINGS):
        middle = (lo + hi) / 2
        same = np.sign(f(middle)) == sign
        lo, hi = np.where(same, middle, lo), np.where(same, hi, middle)
    return [*exact, *map(float, (lo + hi) / 2)]
