"""Trees of an expression as code, in any language."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.activations.expression import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snn_cli.exporters.program import Tail


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


def numpy_like(module: str, same: str, **own: str) -> dict[str, str]:
    """The calls of a library that has numpy's names: the functions in ``same`` are called as here, ``own`` are not."""
    return {
        **{name: f"{module}.{name}({{0}})" for name in same.split()},
        "where": f"{module}.where({{0}}, {{1}}, {{2}})",
        "min": f"{module}.minimum({{0}}, {{1}})",
        "max": f"{module}.maximum({{0}}, {{1}})",
        "and": f"{module}.logical_and({{0}}, {{1}})",
        "or": f"{module}.logical_or({{0}}, {{1}})",
        "not": f"{module}.logical_not({{0}})",
        **own,
    }


_INFIX = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_ATOM, _PRODUCT, _SUM, _LOOSE = 3, 2, 1, 0


class Printer:
    """Trees as code: assignments to new names for what is used more than once, and an expression for the root."""

    def __init__(self, language: Language, known: Mapping[tree.Node, Any], indent: str = "    ") -> None:
        self._language = language
        self._known = known
        self._indent = indent

    def body(self, root: tree.Node, tails: tuple[Tail | None, Tail | None]) -> tuple[str, str]:
        """Assignments, each a line with its end, and the value of the root."""
        self._uses = Counter(arg for at in tree.walk(root) if at not in self._known for arg in at.args)
        self._names: dict[tree.Node, str] = {}
        assignments = ""
        for at in tree.walk(root):
            if self._uses[at] > 1 and at.args and at not in self._known:
                text = self._write(at, _LOOSE)
                self._names[at] = f"t{len(self._names) + 1}"
                line = self._language.statement.format(self._names[at], text, self._kind(at))
                assignments += f"{self._indent}{line}\n"
        text = self._lifted(root)
        for tail, sign in zip(tails, "<>", strict=True):
            if tail is not None:
                condition = f"x {sign} {self._number(tail.start)}"
                text = self._language.calls["where"].format(condition, self._line(tail), text)
        return assignments, text

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

    def body(self, root: tree.Node, tails: tuple[Tail | None, Tail | None]) -> tuple[str, str]:
        del tails
        self._uses, self._names = Counter(), {}
        return "", self._write(root, _LOOSE)

    def _number(self, x: Any) -> str:
        return str(x) if getattr(x, "denominator", 1) == 1 else f"({x.numerator}/{x.denominator})"

    def _made(self, at: tree.Node) -> tuple[str, int]:
        if at.op in ("pi", "e"):
            return at.op, _ATOM
        if at.op == "pow":
            return f"{self._write(at.args[0], _ATOM)}**{self._write(at.args[1], _ATOM)}", _ATOM
        return super()._made(at)
