"""A Python file that builds the graph with the onnx package: ``python FILE`` writes the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.expression import tree
from snn_cli.exporters import Exporter
from snn_cli.exporters.formula import Formula
from snn_cli.exporters.program import Program, Tail, of_formula

if TYPE_CHECKING:
    from collections.abc import Mapping

OPSET = 18
"""Of float32 and float64 alike; runtimes of 2023 and later have it."""

_OPS = {
    "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "erf": "Erf", "tanh": "Tanh", "sigmoid": "Sigmoid", "sin": "Sin",
    "cos": "Cos", "abs": "Abs", "min": "Min", "max": "Max", "where": "Where", "lt": "Less", "gt": "Greater",
    "le": "LessOrEqual", "ge": "GreaterOrEqual", "eq": "Equal", "and": "And", "or": "Or", "not": "Not", "neg": "Neg",
    "div": "Div", "pow": "Pow", "add": "Add", "mul": "Mul",
}  # fmt: skip


class _Graph:
    """Nodes of a graph in order; each value has a name, equal ones the same."""

    def __init__(self, known: Mapping[tree.Node, Any]) -> None:
        self._known = known
        self.nodes: list[tuple[str, tuple[str, ...], str]] = []
        self.constants: dict[str, Any] = {}
        self._made: dict[tuple[str, tuple[str, ...]], str] = {}

    def op(self, kind: str, *inputs: str) -> str:
        key = kind, inputs
        if key not in self._made:
            self._made[key] = name = f"t{len(self._made) + 1}"
            self.nodes.append((kind, inputs, name))
        return self._made[key]

    def constant(self, value: Any) -> str:
        for name, other in self.constants.items():
            if other == value and type(other) is type(value):
                return name
        name = f"c{len(self.constants) + 1}"
        self.constants[name] = value
        return name

    def of(self, root: tree.Node, tails: tuple[Tail | None, Tail | None]) -> str:
        """The value of a tree, with its tails; nan where x is."""
        found: dict[tree.Node, str] = {}
        for at in tree.walk(root):
            if at in self._known:
                found[at] = self.constant(self._known[at])
            elif at is tree.X:
                found[at] = "x"
            else:
                found[at] = self._node(at.op, [found[arg] for arg in at.args])
        value = found[root]
        for tail, kind in zip(tails, ("Less", "Greater"), strict=True):
            if tail is not None:
                line = self.constant(tail.offset)
                if tail.slope:
                    line = self.op("Add", self.op("Mul", self.constant(tail.slope), "x"), line)
                value = self.op("Where", self.op(kind, "x", self.constant(tail.start)), line, value)
        return self.op("Where", self.op("IsNaN", "x"), "x", value)

    def _node(self, op: str, args: list[str]) -> str:
        if op in ("add", "mul"):
            value = args[0]
            for other in args[1:]:
                value = self.op(_OPS[op], value, other)
            return value
        if op in ("expm1", "log1p", "softplus", "erfc", "ne"):
            return getattr(self, f"_{op}")(*args)  # type: ignore[no-any-return]
        return self.op(_OPS[op], *args)

    def _ne(self, a: str, b: str) -> str:
        return self.op("Not", self.op("Equal", a, b))

    def _erfc(self, u: str) -> str:
        return self.op("Sub", self.constant(1.0), self.op("Erf", u))

    def _expm1(self, u: str) -> str:
        """``2 t/(1 - t)`` with ``t = tanh(u/2)``, which keeps its digits near 0; from 1 on ``e^u - 1``."""
        one, half = self.constant(1.0), self.constant(0.5)
        t = self.op("Tanh", self.op("Mul", u, half))
        near = self.op("Div", self.op("Add", t, t), self.op("Sub", one, t))
        return self.op("Where", self.op("Less", u, one), near, self.op("Sub", self.op("Exp", u), one))

    def _log1p(self, u: str) -> str:
        """``log(w) u/(w - 1)`` with ``w = 1 + u`` (Kahan): the rounding of w cancels; u itself where w is 1."""
        one = self.constant(1.0)
        w = self.op("Add", u, one)
        log = self.op("Log", w)
        near = self.op("Div", self.op("Mul", log, u), self.op("Sub", w, one))
        far = self.op("Where", self.op("Greater", u, one), log, near)
        return self.op("Where", self.op("Equal", w, one), u, far)

    def _softplus(self, u: str) -> str:
        decay = self.op("Exp", self.op("Neg", self.op("Abs", u)))
        return self.op("Add", self.op("Max", u, self.constant(0.0)), self._log1p(decay))


def program(f: Program) -> str:
    """Of f; inference needs no derivative, and training frameworks have their own form."""
    graph = _Graph(f.known)
    last = graph.of(f.value, f.value_tails)
    constants = "".join(f"    {name!r}: {value!r},\n" for name, value in graph.constants.items())
    nodes = "".join(f"    {node!r},\n" for node in graph.nodes)
    return f'''{f.comment("#")}

import sys

import onnx
from onnx import TensorProto, helper

CONSTANTS = {{
{constants}}}
NODES = [
{nodes}]


def model(double: bool = False, rank: int = 2) -> onnx.ModelProto:
    """x, of so many dimensions of any size, to y, of the same: in float32, or in float64."""
    kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
    held = [
        helper.make_tensor(name, TensorProto.BOOL if isinstance(value, bool) else kind, [], [value])
        for name, value in CONSTANTS.items()
    ]
    nodes = [helper.make_node(op, list(inputs), [output]) for op, inputs, output in NODES]
    nodes.append(helper.make_node("Identity", [{last!r}], ["y"]))
    x, y = (helper.make_tensor_value_info(name, kind, [f"d{{i}}" for i in range(rank)]) for name in "xy")
    graph = helper.make_graph(nodes, {f.name!r}, [x], [y], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", {OPSET})], ir_version=8)
    onnx.checker.check_model(made)
    return made


if __name__ == "__main__":
    onnx.save(model(), sys.argv[1] if len(sys.argv) > 1 else "{f.name}.onnx")
'''


def code(f: Formula) -> str:
    return program(of_formula(f))


EXPORTER = Exporter("py", code, program)
