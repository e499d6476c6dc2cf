"""From text to a tree: Python's grammar, of which an allow-list is taken. Nothing of it is ever evaluated.

An expression is a formula in ``x``, in parameters of any other names, in numbers, ``pi`` and ``e``: ``+ - * / **``,
comparisons (chained too) with ``and or not``, ``where(condition, a, b)`` or ``a if condition else b``, ``min``, ``max``
and the functions of `tree.FUNCTIONS` and `tree.NAMED`.
"""

from __future__ import annotations

import ast
import re
import warnings
from fractions import Fraction
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, NamedTuple

from snn_cli.activations.expression import tree
from snn_cli.errors import InputError, nearest
from snn_cli.exact import rational

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST, DEEPEST, MOST_NODES, LARGEST_EXPONENT, MOST_PARAMETERS = 1000, 40, 250, 100, 16

_FUNCTIONS = (*tree.FUNCTIONS, *tree.NAMED)
_CALLS = (*_FUNCTIONS, "where", "min", "max")
_RESERVED = frozenset((*_CALLS, "x", "pi", "e"))
_EXAMPLE = "--expr 'where(x > 0, x, a*(exp(x) - 1))' --set a=1.2"
_OPERATORS: dict[type, Callable[[tree.Node, tree.Node], tree.Node]] = {
    ast.Add: tree.add,
    ast.Sub: lambda a, b: tree.add(a, tree.neg(b)),
    ast.Mult: tree.mul,
    ast.Div: tree.div,
    ast.Pow: tree.power,
}
_COMPARISONS = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}
_WORDS = {
    ast.Attribute: "an attribute", ast.Subscript: "a subscript", ast.Lambda: "a function of its own",
    ast.ListComp: "a comprehension", ast.SetComp: "a comprehension", ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension", ast.NamedExpr: "an assignment", ast.List: "a list", ast.Tuple: "a comma",
    ast.Set: "a set", ast.Dict: "a dictionary", ast.JoinedStr: "a string", ast.Starred: "a star",
    ast.Await: "await", ast.Yield: "yield", ast.YieldFrom: "yield", ast.Slice: "a slice",
}  # fmt: skip


class Parsed(NamedTuple):
    """``name``, the expression as it is written in records; its tree; its parameters with their first columns."""

    name: str
    root: tree.Node
    parameters: tuple[str, ...]
    columns: tuple[int, ...]


@lru_cache(maxsize=256)
def parse(text: str) -> Parsed:
    """The expression in a text.

    Raises InputError, which names the column, for what is not in the grammar, too long, too deep or without x.
    """
    if not isinstance(text, str):
        raise InputError(f"an expression is a text, not {text!r}", _EXAMPLE)
    line = " ".join(_decoded(text).split("\n")).rstrip()
    line = line.replace("\r", " ").replace("\t", " ").lstrip(" ")
    if not line:
        raise InputError("the expression is empty; it takes a formula in x", _EXAMPLE)
    if len(line) > LONGEST:
        raise InputError(f"the expression has {len(line)} characters; at most {LONGEST} are read", _EXAMPLE)
    for column, letter in enumerate(line, 1):
        if not " " <= letter <= "~":
            raise _error(f"{letter!r} is not of the grammar", column, line, "letters, digits and + - * / of ASCII")
    return _Reader(line).read()


def _decoded(text: str) -> str:
    """Letters of UTF-8 that Python took for bytes, in a locale of another encoding, as the letters that they are."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text


class _Reader:
    def __init__(self, line: str) -> None:
        self._line = line
        self._count = 0
        self._parameters: dict[str, int] = {}

    def read(self) -> Parsed:
        body = self._syntax()
        try:
            root = _number(self._convert(body, 1))
        except ZeroDivisionError:
            raise InputError("the expression divides a number by 0", _EXAMPLE) from None
        if not root.moves:
            raise InputError("the expression does not depend on x: it is no activation", _EXAMPLE)
        if len(self._parameters) > MOST_PARAMETERS:
            raise InputError(
                f"the expression has {len(self._parameters)} parameters; at most {MOST_PARAMETERS}", _EXAMPLE
            )
        written = ast.unparse(_Literals(self._line).visit(body))
        return Parsed(written, root, tuple(self._parameters), tuple(self._parameters.values()))

    def _syntax(self) -> ast.expr:
        line = self._line
        depth = deepest = 0
        for letter in line:
            depth += (letter in "([{") - (letter in ")]}")
            deepest = max(deepest, depth)
        if deepest > DEEPEST:
            raise InputError(f"the expression has {deepest} brackets inside each other; at most {DEEPEST}", _EXAMPLE)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(line, mode="eval").body
        except SyntaxError as error:
            word = re.search(r"\blambda\b", line)
            if word is not None:
                hint = "another name for it, such as l or lam"
                raise _error("lambda is a word of Python", word.start() + 1, line, hint) from None
            column = min(error.offset or len(line) + 1, len(line) + 1)
            raise _error("it cannot be read", column, line, _EXAMPLE) from None
        except (ValueError, RecursionError, MemoryError):
            raise InputError(
                "the expression cannot be read: it is nested too deeply, or has too long a number", _EXAMPLE
            ) from None

    def _fail(self, what: str, at: ast.AST, hint: str = _EXAMPLE) -> InputError:
        column = getattr(at, "col_offset", 0) + 1
        if isinstance(at, ast.Attribute):
            column = (at.end_col_offset or 0) - len(at.attr)
        return _error(what, column, self._line, hint)

    def _convert(self, at: ast.expr, depth: int) -> tree.Node:
        """A tree of numbers, or of truth values."""
        self._count += 1
        if depth > DEEPEST:
            raise self._fail(f"it is nested more than {DEEPEST} deep", at)
        if self._count > MOST_NODES:
            raise self._fail(f"it has more than {MOST_NODES} parts", at)
        if isinstance(at, ast.Constant):
            return self._literal(at)
        if isinstance(at, ast.Name):
            return self._name(at)
        if isinstance(at, ast.UnaryOp):
            return self._unary(at, depth)
        if isinstance(at, ast.BinOp):
            return self._binary(at, depth)
        if isinstance(at, ast.Compare):
            return self._comparison(at, depth)
        if isinstance(at, ast.BoolOp):
            parts = [self._truth(self._convert(part, depth + 1), part) for part in at.values]
            return reduce(tree.both if isinstance(at.op, ast.And) else tree.either, parts)
        if isinstance(at, ast.IfExp):
            return self._where(at.test, at.body, at.orelse, depth)
        if isinstance(at, ast.Call):
            return self._call(at, depth)
        what = _WORDS.get(type(at), type(at).__name__)
        raise self._fail(f"{what} is not of the grammar", at)

    def _literal(self, at: ast.Constant) -> tree.Node:
        if isinstance(at.value, bool):
            return tree.TRUE if at.value else tree.FALSE
        if isinstance(at.value, int | float):
            text = _written(at, self._line)
            try:
                exact = rational(text, "a number")
            except InputError:
                raise self._fail("the number is 0 or from 1e-100 to 1e100 in size, and is not this", at) from None
            return tree.number(exact)
        kind = "a complex number" if isinstance(at.value, complex) else f"a {type(at.value).__name__}"
        kind = {"a str": "a string", "a NoneType": "None", "a ellipsis": "..."}.get(kind, kind)
        raise self._fail(f"{kind} is not of the grammar", at)

    def _name(self, at: ast.Name) -> tree.Node:
        word = at.id
        if word == "x":
            return tree.X
        if word in ("pi", "e"):
            return tree.PI if word == "pi" else tree.E
        if word in _RESERVED:
            raise self._fail(f"{word} is a function", at, f"{word}(x)")
        if word.startswith("_") or len(word) > 32:
            raise self._fail(f"{word[:40]} is no name of a parameter", at, "a name that starts with a letter")
        self._parameters.setdefault(word, at.col_offset + 1)
        return tree.name(word)

    def _unary(self, at: ast.UnaryOp, depth: int) -> tree.Node:
        inner = self._convert(at.operand, depth + 1)
        if isinstance(at.op, ast.Not):
            return tree.negation(self._truth(inner, at.operand))
        if isinstance(at.op, ast.Invert):
            raise self._fail("~ is not of the grammar", at, "not")
        inner = _number(inner)
        return tree.neg(inner) if isinstance(at.op, ast.USub) else inner

    def _binary(self, at: ast.BinOp, depth: int) -> tree.Node:
        if isinstance(at.op, ast.BitXor):
            raise self._fail("^ is no power", at, "**")
        make = _OPERATORS.get(type(at.op))
        if make is None:
            raise self._fail("this operator is not of the grammar; there are + - * / **", at)
        a = _number(self._convert(at.left, depth + 1))
        b = _number(self._convert(at.right, depth + 1))
        if make is tree.power and not b.free and (b.op != "number" or abs(b.value) > LARGEST_EXPONENT):
            raise self._fail(f"an exponent is a number of at most {LARGEST_EXPONENT} in size", at.right)
        return make(a, b)

    def _comparison(self, at: ast.Compare, depth: int) -> tree.Node:
        sides = [_number(self._convert(side, depth + 1)) for side in (at.left, *at.comparators)]
        found = tree.TRUE
        for op, a, b in zip(at.ops, sides[:-1], sides[1:], strict=True):
            kind = _COMPARISONS.get(type(op))
            if kind is None:
                raise self._fail("this comparison is not of the grammar; there are < <= > >= == !=", at)
            found = tree.both(found, tree.compare(kind, a, b))
        return found

    def _where(self, test: ast.expr, a: ast.expr, b: ast.expr, depth: int) -> tree.Node:
        condition = self._truth(self._convert(test, depth + 1), test)
        sides = [_number(self._convert(side, depth + 1)) for side in (a, b)]
        return tree.where(condition, *sides)

    def _call(self, at: ast.Call, depth: int) -> tree.Node:
        if not isinstance(at.func, ast.Name):
            what = _WORDS.get(type(at.func))
            raise self._fail(f"{what} is not of the grammar" if what else "this is no function to call", at.func)
        word = at.func.id
        if word not in _CALLS:
            near = nearest(word, _CALLS, "tanh", cutoff=0.5)
            raise self._fail(
                f"{word[:40]} is no function of the grammar; there are {', '.join(_CALLS)}",
                at.func,
                f"{near}(x)",
            )
        if at.keywords:
            raise self._fail("an argument with a name is not of the grammar", at.keywords[0])
        needed = {"where": 3, "min": 2, "max": 2}.get(word, 1)
        if len(at.args) != needed and not (word in ("min", "max") and len(at.args) > 2):
            example = {"where": "where(x > 0, x, 0)", "min": "min(x, 1)", "max": "max(x, 0)"}.get(word, f"{word}(x)")
            raise self._fail(f"{word} takes {needed} argument{'s' * (needed > 1)}, not {len(at.args)}", at, example)
        if word == "where":
            return self._where(at.args[0], at.args[1], at.args[2], depth)
        args = [_number(self._convert(arg, depth + 1)) for arg in at.args]
        if word in ("min", "max"):
            return reduce(tree.least if word == "min" else tree.largest, args)
        return tree.NAMED[word](args[0]) if word in tree.NAMED else tree.function(word, args[0])

    def _truth(self, found: tree.Node, at: ast.expr) -> tree.Node:
        if not _is_truth(found):
            raise self._fail("a condition is a comparison", at, "where(x > 0, x, 0)")
        return found


def _number(found: tree.Node) -> tree.Node:
    """A comparison that stands for a number is 1 or 0."""
    return tree.where(found, tree.ONE, tree.ZERO) if _is_truth(found) else found


def _is_truth(found: tree.Node) -> bool:
    return found.op in (*tree.COMPARISONS, "and", "or", "not", "true", "false")


def _written(at: ast.Constant, line: str) -> str:
    """A number as it was typed: 0.1 is a tenth."""
    if isinstance(at.value, int):
        return str(at.value)
    return line[at.col_offset : at.end_col_offset].replace("_", "")


class _Literals(ast.NodeTransformer):
    """Numbers for `ast.unparse`, with the digits that were typed."""

    def __init__(self, line: str) -> None:
        self._line = line

    def visit_Constant(self, at: ast.Constant) -> ast.expr:
        return at if isinstance(at.value, bool) else ast.Name(_written(at, self._line), ast.Load())


def _error(what: str, column: int, line: str, hint: str) -> InputError:
    start = max(0, column - 16)
    excerpt = line[start : column + 23]
    shown = f"{'...' * (start > 0)}{excerpt}{'...' * (start + len(excerpt) < len(line))}"
    return InputError(f"expression, column {column}: {what}, in {shown!r}", hint)


def double(x: Fraction) -> float:
    """The nearest; infinite where it is too large."""
    try:
        return x.numerator / x.denominator
    except OverflowError:
        return float("inf") if x > 0 else float("-inf")
