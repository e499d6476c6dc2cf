"""Export: a solved activation as code for a framework."""

from __future__ import annotations

import ast
import keyword
import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex

from snn_cli import activations, exporters
from snn_cli.activations.family import WRAP
from snn_cli.errors import InputError, SnnError
from snn_cli.exact import Number
from snn_cli.exporters.formula import formula
from snn_cli.exporters.program import program
from snn_cli.records import Export, Note, Params, Solution
from snn_cli.solver import solve

if TYPE_CHECKING:
    from snn_cli.records import Propagation

_LONGEST_NAME = 64
_C_WORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while "
    "exp expm1 log log1p sqrt erf erfc tanh sin cos fabs fmin fmax pow j0 j1 jn y0 y1 yn gamma x".split()
)


def export(
    to: str,
    act: str | None = None,
    epsilon: Number | None = None,
    *,
    params: Solution | Propagation | Mapping[str, Any] | None = None,
    expr: str | None = None,
    set: Mapping[str, Number] | None = None,  # noqa: A002
    depth: SupportsIndex | str | None = None,
    fanin: SupportsIndex | str | None = None,
    lam: Number | None = None,
    lambda_min: Number | None = None,
    zero_mean: bool = False,
    name: str | None = None,
) -> Export:
    """An activation as code that stands alone.

    to
        ``pytorch``, ``jax``, ``flax``, ``keras``, ``numpy``, ``c``, ``onnx``, ``latex`` or ``json``.
    act, epsilon, depth, fanin, lam, lambda_min, zero_mean
        An activation, solved as ``solve`` does it; relu, leaky_relu, elu and linear as they are.
    params
        Instead of those: a Solution, or a record with ``act`` and ``params``; wrapped baselines and expressions too.
    expr, set
        Or a formula in x, and values of its parameters by name.
    name
        Of the function; that of the activation if None, ``activation`` for an expression.

    The function takes and returns an array or tensor of any shape, elementwise; in C a double.

    Raises InputError for a value outside its domain, an activation of another form, and a name that is none in the
    language; NoSolution where the activation cannot be solved. Source: the formulas of theory, section 3; held by
    test_export.py, which runs the code.
    """
    exporter = exporters.get(to)
    options: dict[str, Any] = {
        "epsilon": epsilon, "depth": depth, "fanin": fanin, "lam": lam, "lambda_min": lambda_min,
        "zero_mean": zero_mean or None,
    }  # fmt: skip
    given = [option for option, value in options.items() if value is not None]
    params = activations.with_expression(params, expr, set, act)
    if params is not None:
        if act is not None or given:
            raise InputError("--params gives the activation; no other option says which", "leave out --act")
        found, source = _of_record(params)
    elif act is None:
        raise InputError("export needs an activation", "--act lselu --epsilon 0.03")
    elif act not in activations.SOLVABLE and activations.is_expression(act):
        found, source = _of_record(activations.of_expression(act))
    elif act not in activations.SOLVABLE and activations.is_bare(act):
        if given:
            raise InputError(f"{act} has no parameters to solve for", f"leave out --{given[0]}")
        found, source = (act, Params({}), None, None), f"--act {act}"
    else:
        solution = solve(act, epsilon, depth=depth, fanin=fanin, lam=lam, lambda_min=lambda_min, zero_mean=zero_mean)
        found, source = (act, solution.params, solution.epsilon, solution), _options(act, options)
    kind, values, about, solution_of = found
    plain = kind in activations.SOLVABLE or kind in activations.BASELINES
    called = _name((kind if plain else "activation") if name is None else name)
    solved = source if source.startswith("snn solve ") else None
    words = ["snn export", "--params -" if solved else source, f"--to {to}"]
    command = " ".join(
        [*([f"{solved} |"] if solved else []), *words, *([f"--name {called}"] if name is not None else [])]
    )
    says = (*_about(kind, values, about, solution_of), f"Made by: {command}")
    if kind in activations.SOLVABLE or (kind in activations.BASELINES and not values):
        code = exporter.code(formula(kind, values, called, says))
    else:
        code = exporter.program(program(kind, values, called, says))
    return Export(to, kind, about, values, called, exporter.suffix, command, code)


def _of_record(params: Any) -> tuple[tuple[str, Params, float | None, Solution | None], str]:
    """What a record says of an activation; a solution knows the options that make it again."""
    from snn_cli.simulation import given_activation

    if isinstance(params, Mapping) and params.get("kind") == "solution":
        params = Solution.from_dict(params)
    found = given_activation(params)
    values = Params(dict(found.params))
    if isinstance(params, Solution) and params.act in activations.SOLVABLE:
        depth = params.depth if params.depth and params.epsilon == 1 / params.depth else None
        options = {
            "epsilon": None if depth or params.act == "selu" else params.epsilon,
            "depth": depth,
            "lam": params.params.get("lambda") if params.closure == "lambda" else None,
            "lambda_min": None,
            "zero_mean": params.closure == "zero_mean" or None,
        }
        if params.active_bounds and params.params["lambda"] != 1:
            options["lambda_min"] = params.params["lambda"]
        return (params.act, values, params.epsilon, params), _options(params.act, options)
    solved = params if isinstance(params, Solution) else None
    again = _solved_again(solved) if solved is not None else None
    if again is not None:
        return (found.act, values, None, solved), again
    if activations.is_expression(found.act):
        values_of = [f"--set {name}={value!r}" for name, value in values.items()]
        return (found.act, values, None, solved), " ".join(["--expr", shlex.quote(found.act), *values_of])
    record = f'{{"act": "{found.act}", "params": {_json(values)}}}'
    return (found.act, values, found.epsilon, solved), f"--params <(echo {shlex.quote(record)})"


def _solved_again(solution: Solution) -> str | None:
    """The ``snn solve`` that gives a wrapped activation's record, tried; None where none does.

    A record does not hold all that it was solved with: bounds that fix a parameter are not in it.
    """
    expr = _unwrapped(solution.act) if activations.is_expression(solution.act) else None
    if expr is None and solution.act not in activations.BASELINES:
        return None
    depth = solution.depth if solution.depth and solution.epsilon == 1 / solution.depth else None
    chosen = Note.BOUND_ACTIVE in solution.notes and Note.SEARCH_EDGE not in solution.notes
    asked: dict[str, Any] = {"act": solution.act} if expr is None else {"expr": expr}
    asked |= {"epsilon": None if depth else repr(solution.epsilon), "depth": depth}
    asked |= {"zero_mean": solution.closure == "zero_mean"}
    asked |= {"bound": ",".join(solution.active_bounds)} if chosen else {}
    try:
        if solve(**asked).params != solution.params:
            return None
    except SnnError:
        return None
    return f"snn solve {_options(None, asked)} --json"


def _unwrapped(text: str) -> str | None:
    """f of ``a*f(b*x + c) + d``, as an expression; None for what is not of that form."""
    tree = ast.parse(text, mode="eval").body
    inner = ast.dump(ast.parse("b*x + c", mode="eval").body)

    class Inner(ast.NodeTransformer):
        def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
            return ast.Name("x") if ast.dump(node) == inner else self.generic_visit(node)

    match tree:
        case ast.BinOp(ast.BinOp(ast.Name("a"), ast.Mult(), f), ast.Add(), ast.Name("d")):
            found = ast.unparse(Inner().visit(f))
        case _:
            return None
    names = {node.id for node in ast.walk(ast.parse(found)) if isinstance(node, ast.Name)}
    return None if names & set(WRAP) else found


def _json(values: Mapping[str, float]) -> str:
    import json

    return json.dumps(dict(values))


def _options(act: str | None, options: Mapping[str, Any]) -> str:
    """As they are typed."""
    words = [f"--act {act}"] if act is not None else []
    for name, value in options.items():
        flag = "--lambda" if name == "lam" else f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words.append(f"{flag} {shlex.quote(str(value))}")
    return " ".join(words)


def _about(act: str, values: Mapping[str, float], epsilon: float | None, solution: Solution | None) -> list[str]:
    names = ", ".join(f"{name} = {value!r}" for name, value in values.items())
    lines = [f"{act}{': ' if names else ''}{names}"]
    if names and act in activations.BASELINES:
        lines = [f"a*{act}(b*x + c) + d: {names}"]
    if solution is not None:
        if act not in activations.SOLVABLE:
            lines.append(f"Solved at epsilon = {solution.epsilon!r}")
        lines.append(
            f"For z ~ N(0,1): E[f^2] = {solution.second_moment!r}, E[f'^2] = {solution.chi!r}, "
            f"E[f] = {solution.mean!r}, gamma = {solution.gamma!r}"
        )
    elif epsilon is not None:
        lines.append(f"For z ~ N(0,1): E[f'^2] = 1 + {epsilon!r}")
    return lines


def _name(name: str) -> str:
    """Raises InputError for what is no identifier in Python and C alike."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", str(name))
    if plain is None or len(name) > _LONGEST_NAME or keyword.iskeyword(name) or name in _C_WORDS:
        raise InputError(
            f"--name {str(name)[:80]} is no name of a function; it takes letters, digits and _, a letter first",
            "--name act",
        )
    return name
