"""What is exported of an expression, and of a wrapped baseline: trees of f and f', printed in each language.

Parameters are put in as doubles, and what does not depend on x is one number. Far out, where a form such as
``exp(x)/exp(x)`` overflows, the line that f has reached to all digits stands in its place.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli import activations
from snn_cli.activations import expression
from snn_cli.activations.expression import tree
from snn_cli.activations.expression.evaluate import Arrays, constants, context, evaluate, precise
from snn_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
        return "".join(part[:1].upper() + part[1:] for part in self.name.split("_") if part) or self.name

    def comment(self, mark: str) -> str:
        return "\n".join(f"{mark} {line}".rstrip() for line in self.says)


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


class Language(NamedTuple):
    """How a language writes what a tree is made of.

    calls
        Format of each function, such as ``np.exp({0})``; of ``where``, ``and``, ``or``, ``not``, ``min``, ``max`` too.
    power
        Of ``u**n``.
    lift
        A number where a function needs an array.
    numbers
        A double.
    statement
        An assignment to a new name.
    """

    calls: Mapping[str, str]
    power: str = "{0}**{1}"
    lift: str = "{0}"
    numbers: Callable[[float], str] = repr
    statement: str = "{0} = {1}"
    truths: tuple[str, str] = ("True", "False")


_INFIX = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_ATOM, _PRODUCT, _SUM, _LOOSE = 3, 2, 1, 0


class Printer:
    """Trees as code: ``statements`` for what is used more than once, and an expression for each root."""

    def __init__(self, language: Language, known: Mapping[tree.Node, Any], indent: str = "    ") -> None:
        self._language = language
        self._known = known
        self._indent = indent

    def body(self, root: tree.Node, tails: tuple[Tail | None, Tail | None]) -> tuple[list[str], str]:
        """Lines before, and the value of the root."""
        self._uses = Counter(arg for at in tree.walk(root) if at not in self._known for arg in at.args)
        self._names: dict[tree.Node, str] = {}
        self.lines: list[str] = []
        for at in tree.walk(root):
            if self._uses[at] > 1 and at.args and at not in self._known:
                text = self._write(at, _LOOSE)
                self._names[at] = f"t{len(self._names) + 1}"
                self.lines.append(self._indent + self._language.statement.format(self._names[at], text, self._kind(at)))
        text = self._lifted(root)
        for tail, sign in zip(tails, "<>", strict=True):
            if tail is not None:
                condition = f"x {sign} {self._number(tail.start)}"
                text = self._language.calls["where"].format(condition, self._line(tail), text)
        return self.lines, text

    @staticmethod
    def _kind(at: tree.Node) -> str:
        return "int" if at.op in (*tree.COMPARISONS, "and", "or", "not") else "double"

    def _line(self, tail: Tail) -> str:
        if not tail.slope:
            return self._language.lift.format(self._number(tail.offset))
        line = "x" if tail.slope == 1 else f"{self._number(tail.slope)} * x"
        return f"{line} + {self._number(tail.offset)}" if tail.offset else line

    def _number(self, x: Any) -> str:
        if isinstance(x, bool):
            return self._language.truths[not x]
        return self._language.numbers(x)

    def _lifted(self, at: tree.Node) -> str:
        """Where an array is needed."""
        if at in self._known and not isinstance(self._known[at], bool):
            return self._language.lift.format(self._number(self._known[at]))
        return self._write(at, _LOOSE)

    def _write(self, at: tree.Node, least: int) -> str:
        if at in self._known:
            text = self._number(self._known[at])
            return f"({text})" if text.startswith("-") and least > _LOOSE else text
        if at in self._names:
            return self._names[at]
        text, binds = self._made(at)
        return f"({text})" if binds < least else text

    def _made(self, at: tree.Node) -> tuple[str, int]:
        op, args = at.op, at.args
        if op == "name":
            return at.value, _ATOM
        if op == "neg":
            return f"-{self._write(args[0], _ATOM)}", _SUM
        if op == "add":
            return self._sum(args), _SUM
        if op == "mul":
            return " * ".join(self._write(arg, _PRODUCT if not i else _ATOM) for i, arg in enumerate(args)), _PRODUCT
        if op == "div":
            return f"{self._write(args[0], _PRODUCT)} / {self._write(args[1], _ATOM)}", _PRODUCT
        if op in _INFIX:
            return f"({self._write(args[0], _SUM)} {_INFIX[op]} {self._write(args[1], _SUM)})", _ATOM
        if op == "pow":
            return self._power(*args)
        if op in ("and", "or", "not"):
            return self._language.calls[op].format(*(self._write(arg, _LOOSE) for arg in args)), _ATOM
        if op == "where":
            condition = self._write(args[0], _LOOSE)
            return self._language.calls["where"].format(condition, self._lifted(args[1]), self._lifted(args[2])), _ATOM
        return self._language.calls[op].format(*map(self._lifted, args)), _ATOM

    def _sum(self, args: tuple[tree.Node, ...]) -> str:
        text = self._write(args[0], _SUM)
        for arg in args[1:]:
            value = self._known.get(arg)
            if not isinstance(value, bool) and value is not None and value < 0:
                text += f" - {self._number(-value)}"
            elif arg.op == "neg" and arg not in self._names and value is None:
                text += f" - {self._write(arg.args[0], _PRODUCT)}"
            else:
                text += f" + {self._write(arg, _PRODUCT)}"
        return text

    def _power(self, u: tree.Node, n: tree.Node) -> tuple[str, int]:
        exponent = self._known[n]
        if exponent == 2:
            inner = self._write(u, _ATOM)
            if len(inner) < 12:
                return f"{inner} * {inner}", _PRODUCT
        shown = self._number(int(exponent) if exponent == int(exponent) else exponent)
        return self._language.power.format(self._write(u, _ATOM), f"({shown})" if exponent < 0 else shown), _ATOM


_GRAMMAR = Language(
    {
        **{name: f"{name}({{0}})" for name in tree.FUNCTIONS},
        "where": "where({0}, {1}, {2})",
        "min": "min({0}, {1})",
        "max": "max({0}, {1})",
        "and": "({0} and {1})",
        "or": "({0} or {1})",
        "not": "(not {0})",
    }
)


def written(root: tree.Node) -> str:
    """A tree as text that `expression.read` reads again."""
    exact = {at: at.value for at in tree.walk(root) if at.op == "number"}
    return _Exact(_GRAMMAR, exact).body(root, (None, None))[1]


class _Exact(Printer):
    """Numbers as fractions, names as they are, and nothing put in front."""

    def body(self, root: tree.Node, tails: tuple[Tail | None, Tail | None]) -> tuple[list[str], str]:
        del tails
        self._uses, self._names = Counter(), {}
        return [], self._write(root, _LOOSE)

    def _number(self, x: Any) -> str:
        return str(x) if getattr(x, "denominator", 1) == 1 else f"({x.numerator}/{x.denominator})"

    def _made(self, at: tree.Node) -> tuple[str, int]:
        if at.op in ("pi", "e"):
            return at.op, _ATOM
        if at.op == "pow":
            return f"{self._write(at.args[0], _ATOM)}**{self._write(at.args[1], _ATOM)}", _ATOM
        return super()._made(at)
