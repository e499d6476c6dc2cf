"""What is exported of an expression, and of a wrapped baseline: trees of f and f'.

Parameters are put in as doubles, and what does not depend on x is one number. Far out, where a form such as
``exp(x)/exp(x)`` overflows, the line that f has reached to all digits stands in its place.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli import activations
from snn_cli.activations import expression
from snn_cli.activations.expression import tree
from snn_cli.activations.expression.evaluate import Arrays, constants, context, evaluate, precise
from snn_cli.errors import InputError
from snn_cli.exporters.formula import camel, comment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snn_cli.exporters.formula import Formula

_FAR = 70
_ENOUGH, _CANCELLED = 300, 4000
"""Bits; with the latter ``1 - tanh(x)^2`` still is what it is where doubles give out."""


class Tail(NamedTuple):
    """Beyond ``start`` (below it on the left) a function is ``slope x + offset``, to all digits or to 1e-45."""

    start: float
    slope: float
    offset: float


class Program(NamedTuple):
    """``value`` and ``slope``, trees in x alone; tails (left, right) where doubles fail, None where they do not.

    ``text``: the formula as the user wrote it; ``says``: lines that say which activation it is and what made it.
    """

    name: str
    act: str
    text: str
    params: Mapping[str, float]
    value: tree.Node
    slope: tree.Node
    known: Mapping[tree.Node, Any]
    value_tails: tuple[Tail | None, Tail | None]
    slope_tails: tuple[Tail | None, Tail | None]
    says: tuple[str, ...]

    @property
    def class_name(self) -> str:
        return camel(self.name)

    def comment(self, mark: str) -> str:
        return comment(self.says, mark)


def text_of(act: str, params: Mapping[str, float]) -> str:
    """An expression as it is, a wrapped baseline as ``a*f(b*x + c) + d``. Raises InputError for another activation."""
    if act in activations.BASELINES and params:
        return f"a*{act}(b*x + c) + d"
    if activations.is_expression(act):
        return act
    raise InputError(f"{act} cannot be exported: its formula is not known here", "--expr FORMULA")


def program(act: str, params: Mapping[str, float], name: str, says: tuple[str, ...]) -> Program:
    """Raises InputError for an activation that is neither an expression nor wrapped."""
    text = text_of(act, params)
    found = expression.read(text)
    return _program(act, text, found.root, found.slope, params, name, says)


def of_formula(f: Formula) -> Program:
    """A line above 0, and an exponential with a line below."""
    number = {key: tree.name(key) for key in ("steep", "amplitude", "rate", "slope")}
    below = tree.mul(number["amplitude"], tree.function("expm1", tree.mul(number["rate"], tree.X)))
    if not f.amplitude:
        below = tree.ZERO
    if f.slope:
        below = tree.add(below, tree.mul(number["slope"], tree.X))
    root = tree.where(tree.compare("ge", tree.X, tree.ZERO), tree.mul(number["steep"], tree.X), below)
    values = {key: getattr(f, key) for key in number}
    return _program(f.act, "", root, tree.derivative(root), values, f.name, f.says)


def _program(
    act: str,
    text: str,
    root: tree.Node,
    slope: tree.Node,
    params: Mapping[str, float],
    name: str,
    says: tuple[str, ...],
) -> Program:
    known = constants((root, slope), params)
    if not all(isinstance(v, bool) or math.isfinite(v) for v in known.values()):
        raise InputError(f"numbers in {act} leave the range of doubles", "smaller parameters")
    values = tuple(params.items())
    tails = [(_tail(each, values, -1), _tail(each, values, 1)) for each in (root, slope)]
    return Program(name, act, text, dict(params), root, slope, known, tails[0], tails[1], says)


@lru_cache(maxsize=256)
def _tail(root: tree.Node, values: tuple[tuple[str, float], ...], side: int) -> Tail | None:
    """The line far out, if float32 or double arithmetic does not give it by itself."""
    if not _fails(root, dict(values), side):
        return None
    mp = context()
    with mp.workprec(_ENOUGH):
        exact = {key: mp.mpf(value) for key, value in values}

        def at(x: Any) -> Any:
            return precise([root], mp, x, exact)[0]

        far = mp.ldexp(side, _FAR)
        slope = (at(2 * far) - at(far)) / far
        offset = at(far) - slope * far
        if not all(map(mp.isfinite, (slope, offset))):
            return None
        slope, offset = (mp.mpf(0) if abs(v) < mp.ldexp(1, -60) else v for v in (slope, offset))
        reached = None
        for k in reversed(range(_FAR)):
            x = mp.ldexp(side, k)
            line = slope * x + offset
            tolerance = max(mp.ldexp(abs(line), -56), mp.ldexp(1, -150))
            if abs(at(x) - line) > tolerance:  # perhaps by cancellation
                with mp.workprec(_CANCELLED):
                    if abs(at(x) - line) > tolerance:
                        break
            reached = x
        return None if reached is None else Tail(float(reached), float(slope), float(offset))


def _fails(root: tree.Node, params: dict[str, float], side: int) -> bool:
    """Whether the arithmetic of an array gives nan somewhere out there."""
    import numpy as np

    for dtype in (np.float64, np.float32):
        x = np.array([side * 2.0**k for k in range(np.finfo(dtype).maxexp)] + [side * math.inf], dtype)
        with np.errstate(all="ignore"):
            found = evaluate([root], Arrays(np), x, {key: dtype(value) for key, value in params.items()})[0]
        if np.isnan(found).any():
            return True
    return False
