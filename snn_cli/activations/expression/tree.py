"""Expressions as trees, and their derivatives.

Every node exists once: equal expressions are the same object, so that what is shared is evaluated once. The makers
below (`add`, `mul`, ...) simplify a little, and put what cancels or overflows in doubles into a form that does not:
``c exp(u) - c`` is ``c expm1(u)``, ``log(1 + exp(u))`` is ``softplus(u)``, ``1 + erf(u)`` is ``erfc(-u)``.
"""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
FUNCTIONS = (
    "exp", "expm1", "log", "log1p", "sqrt", "erf", "erfc", "tanh", "sigmoid", "softplus", "sin", "cos", "abs",
)  # fmt: skip
_LARGEST = 2000  # bits of a number that is worked out

_NODES: WeakValueDictionary[tuple[Any, ...], Node] = WeakValueDictionary()


class Node:
    """``op`` of ``args``; ``value`` of a number (Fraction) or a name (str); ``free``, the names in it."""

    __slots__ = ("__weakref__", "args", "free", "op", "value")

    op: str
    args: tuple[Node, ...]
    value: Any
    free: frozenset[str]

    def __repr__(self) -> str:
        if self.value is not None:
            return str(self.value)
        return f"{self.op}({', '.join(map(repr, self.args))})" if self.args else self.op

    @property
    def moves(self) -> bool:
        """Whether x is in it."""
        return "x" in self.free


def node(op: str, *args: Node, value: Any = None) -> Node:
    """The one node of these."""
    key = (op, value, *map(id, args))
    found = _NODES.get(key)
    if found is None:
        found = Node()
        found.op, found.args, found.value = op, args, value
        own = frozenset((value,)) if op == "name" else frozenset()
        found.free = own.union(*(arg.free for arg in args))
        _NODES[key] = found
    return found


def number(x: int | Fraction) -> Node:
    return node("number", value=Fraction(x))


def name(text: str) -> Node:
    return node("name", value=text)


ZERO, ONE, TWO, HALF = number(0), number(1), number(2), number(Fraction(1, 2))
PI, E = node("pi"), node("e")
TRUE, FALSE = node("true"), node("false")
X = name("x")
_ROOT_PI = node("sqrt", PI)
_ROOT_HALF = node("sqrt", HALF)


def walk(*roots: Node) -> Iterator[Node]:
    """Every node below, once, parts before what is made of them."""
    seen: set[Node] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        at, done = stack.pop()
        if done:
            yield at
        elif at not in seen:
            seen.add(at)
            stack.append((at, True))
            stack += [(arg, False) for arg in reversed(at.args)]


def neg(a: Node) -> Node:
    if a.op == "number":
        return number(-a.value)
    if a.op == "neg":
        return a.args[0]
    if a.op == "mul" and a.args[0].op == "number":
        return mul(number(-a.args[0].value), *a.args[1:])
    return node("neg", a)


def add(*parts: Node) -> Node:
    """The sum; pairs of a term and its limit become one function without cancellation."""
    terms: list[Node] = []
    constant = Fraction(0)
    for part in _flat(parts):
        if part.op == "number":
            constant += part.value
        else:
            terms.append(part)
    if constant:
        terms.append(number(constant))
    terms = _joined(terms)
    if len(terms) < 2:
        return terms[0] if terms else ZERO
    return node("add", *terms)


def _flat(parts: tuple[Node, ...]) -> Iterator[Node]:
    for part in parts:
        if part.op == "add":
            yield from part.args
        elif part.op == "neg" and part.args[0].op == "add":
            yield from map(neg, part.args[0].args)
        else:
            yield part


def _joined(terms: list[Node]) -> list[Node]:
    """Terms ``C g(u)`` beside ``C`` or ``-C``, for the g that have such a limit."""
    split = [_split(term) for term in terms]
    for i, (coefficient, factors) in enumerate(split):
        for k, factor in enumerate(factors):
            if factor.op not in ("exp", "erf", "tanh", "sigmoid"):
                continue
            rest = factors[:k] + factors[k + 1 :]
            for j, (other, others) in enumerate(split):
                if i == j or others != rest or abs(other) != abs(coefficient):
                    continue
                made = _beside(factor, other == coefficient)
                if made is not None:
                    scaled = mul(number(coefficient), *rest, made)
                    return _joined([scaled if n == i else term for n, term in enumerate(terms) if n != j])
    return terms


def _beside(g: Node, plus: bool) -> Node | None:
    """``g + 1`` or ``g - 1``, of its own kind."""
    u = g.args[0]
    if g.op == "exp":
        return None if plus else function("expm1", u)
    if g.op == "erf":
        return function("erfc", neg(u)) if plus else neg(function("erfc", u))
    if g.op == "tanh":
        sign = 2 if plus else -2
        return mul(number(sign), function("sigmoid", mul(number(sign), u)))
    return None if plus else neg(function("sigmoid", neg(u)))


def _split(term: Node) -> tuple[Fraction, tuple[Node, ...]]:
    """A number and other factors, in one order."""
    if term.op == "number":
        return term.value, ()
    if term.op == "neg":
        coefficient, factors = _split(term.args[0])
        return -coefficient, factors
    if term.op == "mul":
        split = [_split(arg) for arg in term.args]
        coefficient = reduce(lambda a, b: a * b, (c for c, _ in split), Fraction(1))
        return coefficient, tuple(sorted((f for _, each in split for f in each), key=id))
    if term.op == "div" and term.args[1].op == "number":
        coefficient, factors = _split(term.args[0])
        return coefficient / term.args[1].value, factors
    return Fraction(1), (term,)


def mul(*parts: Node) -> Node:
    """The product; ``(u > v) a`` is a where the comparison holds."""
    coefficient = Fraction(1)
    factors: list[Node] = []
    for part in parts:
        negated = part.op == "neg"
        if negated:
            coefficient, part = -coefficient, part.args[0]
        for each in part.args if part.op == "mul" else (part,):
            if each.op == "number":
                coefficient *= each.value
            else:
                factors.append(each)
    if not coefficient:
        return ZERO
    for i, each in enumerate(factors):
        if each.op == "where" and each.args[1:] == (ONE, ZERO):
            rest = mul(number(coefficient), *factors[:i], *factors[i + 1 :])
            return where(each.args[0], rest, ZERO)
    if not factors:
        return number(coefficient)
    if abs(coefficient) != 1:
        return node("mul", number(coefficient), *factors)
    product = factors[0] if len(factors) == 1 else node("mul", *factors)
    return product if coefficient > 0 else node("neg", product)


def div(a: Node, b: Node) -> Node:
    """The quotient. Raises ZeroDivisionError for a number over 0."""
    if b.op == "number":
        if a.op == "number" or not b.value:
            return number(a.value / b.value if a.op == "number" else Fraction(1) / b.value)
        if b.value == 1:
            return a
        if a.op == "mul" and a.args[0].op == "number":
            return mul(number(a.args[0].value / b.value), *a.args[1:])
    if a is ZERO:
        return ZERO
    if a.op == "neg":
        return neg(div(a.args[0], b))
    if a.op == b.op == "add" and len(a.args) == len(b.args) == 2:
        up, down = b.args
        if up.op == down.op == "exp" and up.args[0] is neg(down.args[0]):
            if a.args == (up, neg(down)):
                return function("tanh", up.args[0])
            if a.args == (neg(up), down) or a.args == (down, neg(up)):
                return function("tanh", down.args[0])
    if b.op == "add" and len(b.args) == 2 and ONE in b.args:
        grown = b.args[0] if b.args[1] is ONE else b.args[1]
        if grown.op == "exp":
            u = grown.args[0]
            factors = a.args if a.op == "mul" else (a,)
            if grown in factors:
                rest = list(factors)
                rest.remove(grown)
                return mul(*rest, function("sigmoid", u))
            return mul(a, function("sigmoid", neg(u)))
    return node("div", a, b)


def power(a: Node, b: Node) -> Node:
    """``a**b``, as an exponential where x is in the exponent."""
    if b.op == "number":
        n = b.value
        if n == 1 or not n:
            return a if n else ONE
        if n == Fraction(1, 2):
            return function("sqrt", a)
        if n == 2:
            return _square(a)
        if a.op == "number" and n.denominator == 1 and (a.value or n > 0):
            bits = max(a.value.numerator.bit_length(), a.value.denominator.bit_length())
            if bits * abs(n.numerator) <= _LARGEST:
                return number(a.value**n.numerator)
    if a is E:
        return function("exp", b)
    if b.moves:
        return function("exp", mul(b, function("log", a)))
    return node("pow", a, b)


def _square(a: Node) -> Node:
    if a.op == "number":
        return number(a.value**2)
    if a.op in ("neg", "abs"):
        return _square(a.args[0])
    if a.op == "sqrt" and a.args[0].op in ("number", "pi", "e"):
        return a.args[0]
    if a.op == "mul" and any(arg.op == "number" or (arg.op == "sqrt" and not arg.free) for arg in a.args):
        fixed = [arg for arg in a.args if arg.op == "number" or (arg.op == "sqrt" and not arg.free)]
        return mul(*map(_square, fixed), _square(mul(*(arg for arg in a.args if arg not in fixed))))
    if a.op == "div" and a.args[1].op in ("sqrt", "number") and not a.args[1].free:
        return div(_square(a.args[0]), _square(a.args[1]))
    return node("pow", a, TWO)


def function(op: str, u: Node) -> Node:
    """A function of one argument."""
    if op == "abs":
        if u.op == "number":
            return number(abs(u.value))
        return u if u.op in ("abs", "exp", "sqrt", "sigmoid", "softplus", "erfc") else node("abs", u)
    if u is ZERO and op in ("expm1", "log1p", "sqrt", "erf", "tanh", "sin"):
        return ZERO
    if u is ZERO and op in ("exp", "cos", "erfc"):
        return ONE
    if u is ONE and op in ("log", "sqrt"):
        return ZERO if op == "log" else ONE
    if op == "log":
        if u.op == "exp":
            return u.args[0]
        if u.op == "add" and ONE in u.args:
            op, u = "log1p", add(u, neg(ONE))
    if op == "log1p" and u.op == "exp":
        return function("softplus", u.args[0])
    if op == "exp" and u.op == "log":  # it is 0 or not real elsewhere
        return node("exp", u)
    if op == "sqrt":
        if u.op == "pow" and u.args[1] is TWO:
            return function("abs", u.args[0])
        if u.op == "mul" and len(u.args) == 2 and u.args[0] is u.args[1]:
            return function("abs", u.args[0])
    return node(op, u)


def least(a: Node, b: Node) -> Node:
    if a.op == b.op == "number":
        return number(min(a.value, b.value))
    return a if a is b else node("min", a, b)


def largest(a: Node, b: Node) -> Node:
    if a.op == b.op == "number":
        return number(max(a.value, b.value))
    return a if a is b else node("max", a, b)


def compare(op: str, a: Node, b: Node) -> Node:
    if a.op == b.op == "number":
        holds = {"lt": a.value < b.value, "le": a.value <= b.value, "eq": a.value == b.value}
        holds |= {"gt": a.value > b.value, "ge": a.value >= b.value, "ne": a.value != b.value}
        return TRUE if holds[op] else FALSE
    return node(op, a, b)


def both(a: Node, b: Node) -> Node:
    if a is FALSE or b is FALSE:
        return FALSE
    return b if a is TRUE else a if b is TRUE else node("and", a, b)


def either(a: Node, b: Node) -> Node:
    if a is TRUE or b is TRUE:
        return TRUE
    return b if a is FALSE else a if b is FALSE else node("or", a, b)


def negation(a: Node) -> Node:
    return FALSE if a is TRUE else TRUE if a is FALSE else node("not", a)


def where(condition: Node, a: Node, b: Node) -> Node:
    if condition is TRUE or a is b:
        return a
    return b if condition is FALSE else node("where", condition, a, b)


def derivative(root: Node) -> Node:
    """With respect to x; at a kink the right-hand one."""
    found: dict[Node, Node] = {}
    for at in walk(root):
        if at.op not in (*COMPARISONS, "and", "or", "not", "true", "false"):
            found[at] = _derivative(at, found) if at.moves else ZERO
    return found[root]


def _derivative(at: Node, d: dict[Node, Node]) -> Node:
    op, args = at.op, at.args
    if op == "name":
        return ONE
    if op == "where":
        return where(right_of(args[0], d), d[args[1]], d[args[2]])
    u = args[0]
    du = d[u]
    if op == "neg":
        return neg(du)
    if op == "add":
        return add(*(d[arg] for arg in args))
    if op == "mul":
        return add(*(mul(*args[:i], d[arg], *args[i + 1 :]) for i, arg in enumerate(args)))
    if op == "div":
        v = args[1]
        first = div(du, v)
        return first if d[v] is ZERO else add(first, neg(mul(div(at, v), d[v])))
    if op == "pow":  # x is not in the exponent
        n = args[1]
        return mul(n, power(u, add(n, neg(ONE))), du)
    if op in ("min", "max"):
        v = args[1]
        return where(right_of(compare("le" if op == "min" else "ge", u, v), d), du, d[v])
    if op == "abs":
        return where(right_of(compare("ge", u, ZERO), d), du, neg(du))
    return mul(_outer(at), du)


def _outer(at: Node) -> Node:
    """``g'(u)`` of a function of one argument, without cancellation on either side."""
    op, u = at.op, at.args[0]
    if op == "exp":
        return at
    if op == "expm1":
        return function("exp", u)
    if op == "log":
        return div(ONE, u)
    if op == "log1p":
        return div(ONE, add(u, ONE))
    if op == "sqrt":
        return div(HALF, at)
    if op in ("erf", "erfc"):
        bell = function("exp", neg(power(u, TWO)))
        return mul(number(2 if op == "erf" else -2), div(bell, _ROOT_PI))
    if op == "tanh":
        doubled = mul(TWO, u)
        return mul(number(4), function("sigmoid", doubled), function("sigmoid", neg(doubled)))
    if op == "sigmoid":
        return mul(at, function("sigmoid", neg(u)))
    if op == "softplus":
        return function("sigmoid", u)
    if op == "sin":
        return function("cos", u)
    assert op == "cos", op
    return neg(function("sin", u))


def right_of(condition: Node, d: dict[Node, Node]) -> Node:
    """Whether a condition holds just to the right of x; ``d`` are the derivatives of what it compares."""
    op, args = condition.op, condition.args
    if op == "and":
        return both(right_of(args[0], d), right_of(args[1], d))
    if op == "or":
        return either(right_of(args[0], d), right_of(args[1], d))
    if op == "not":
        return negation(right_of(args[0], d))
    if op not in COMPARISONS or not condition.moves:
        return condition
    a, b = args
    if op in ("eq", "ne"):
        return FALSE if op == "eq" else TRUE
    if op in ("lt", "le"):  # a < b is b > a
        a, b, op = b, a, {"lt": "gt", "le": "ge"}[op]
    da, db = d.get(a, ZERO), d.get(b, ZERO)
    slope = add(da, neg(db))
    if slope.op == "number":
        rises = slope.value > 0 or (op == "ge" and not slope.value)
        return compare("ge" if rises else "gt", a, b)
    level = both(compare("eq", a, b), compare(op, da, db))
    return either(compare("gt", a, b), level)


# what has a name of its own, made of the rest


def gelu(u: Node) -> Node:
    return div(mul(u, function("erfc", neg(mul(u, _ROOT_HALF)))), TWO)


def silu(u: Node) -> Node:
    return mul(u, function("sigmoid", u))


def mish(u: Node) -> Node:
    return mul(u, function("tanh", function("softplus", u)))


def relu(u: Node) -> Node:
    return largest(u, ZERO)


def leaky_relu(u: Node) -> Node:
    return where(compare("gt", u, ZERO), u, div(u, number(100)))


def elu(u: Node) -> Node:
    return where(compare("gt", u, ZERO), u, function("expm1", u))


def hardswish(u: Node) -> Node:
    return div(mul(u, least(largest(add(u, number(3)), ZERO), number(6))), number(6))


def linear(u: Node) -> Node:
    return u


NAMED = {
    "gelu": gelu, "silu": silu, "swish": silu, "mish": mish, "relu": relu, "leaky_relu": leaky_relu, "elu": elu,
    "hardswish": hardswish, "linear": linear,
}  # fmt: skip
"""Activations that an expression can call."""
