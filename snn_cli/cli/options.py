"""Options that the commands share, so that all of them speak one dialect; help and order stand here once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from snn_cli import activations
from snn_cli.activations import BASELINES, SOLVABLE
from snn_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from click.shell_completion import CompletionItem

F = TypeVar("F", bound="Callable[..., Any]")


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in the order in which they stand on the page of help."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def output_format(as_json: bool, as_csv: bool) -> str:
    """``json``, ``csv`` or ``table``. Raises InputError for both."""
    if as_json and as_csv:
        raise InputError("--json and --csv contradict each other", "leave out --csv")
    return "json" if as_json else "csv" if as_csv else "table"


def complete_any_act(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of all activations, after the last comma."""
    done, comma, last = incomplete.rpartition(",")
    return [f"{done}{comma}{name}" for name in (*SOLVABLE, *BASELINES) if name.startswith(last)]


def complete_from(names: Iterable[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes one of these."""
    return lambda _ctx, _param, incomplete: [name for name in names if name.startswith(incomplete)]


def complete_file(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell completes names of files itself."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def one_of(option: str, names: Iterable[str], default: str | None = None, *, before: str = "") -> Callable[[F], F]:
    """An option that takes one of these names; required where there is no default."""
    listed = f"{before}{', '.join(names)}."
    found: dict[str, Any] = {"metavar": "NAME", "shell_complete": complete_from(names)}
    if default is None:  # click takes a default of None for an answer
        return click.option(option, required=True, help=listed, **found)
    return click.option(option, default=default, help=f"{listed}  [default: {default}]", **found)


def file(*options: str, text: str) -> Callable[[F], F]:
    """An option that takes the name of a file; an empty one is refused."""
    return click.option(*options, metavar="FILE", shell_complete=complete_file, callback=_named, help=text)


def _named(_ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value == "":
        option = max(param.opts, key=len)
        raise InputError(f"{option} is empty; it takes the name of a file", f"{option} FILE, or leave it out")
    return value


def act(text: str) -> Callable[[F], F]:
    """``--act``: repeated or comma-separated."""
    return click.option("--act", metavar="NAME", multiple=True, shell_complete=complete_any_act, help=text)


def epsilon(text: str) -> Callable[[F], F]:
    """``--epsilon``: a number, or auto."""
    return click.option("--epsilon", metavar="E", help=text)


def activation(of_act: str, of_epsilon: str) -> Callable[[F], F]:
    """``--act``, ``--epsilon``, ``--params``, ``--expr`` and ``--set``, with the help of the first two."""
    return together(
        act(of_act),
        epsilon(of_epsilon),
        file("--params", text="Activations from records, one a line (- is standard input), instead of --act."),
        expression,
    )


def size(depth: str, fanin: str) -> Callable[[F], F]:
    """``--depth`` and ``--fanin``, with their help."""
    return together(
        click.option("--depth", metavar="L", help=depth),
        click.option("--fanin", "--width", "fanin", metavar="N", help=fanin),
    )


output = together(
    click.option("--json", "as_json", is_flag=True, help="One JSON object per line."),
    click.option("--csv", "as_csv", is_flag=True, help="A header and one row per record."),
    click.option("-q", "--quiet", is_flag=True, help="Less on standard error: no progress."),
    click.option("-v", "--verbose", is_flag=True, help="More on standard error: the time each record took."),
)

expression = together(
    click.option(
        "--expr",
        metavar="FORMULA",
        multiple=True,
        help="Your own activation, a formula in x and parameters, such as 'where(x > 0, x, a*(exp(x) - 1))'.",
    ),
    click.option(
        "--set",
        "values",
        metavar="NAME=V,..",
        multiple=True,
        help="Value of a parameter of --expr; repeated or comma-separated. A list or a range is a sweep.",
    ),
)
"""An activation as a formula, and values of its parameters."""

widths = click.option(
    "--widths", metavar="N,NxTIMES,..", help="Widths of x[0] ... x[L] instead, such as 784,1024x20,10."
)

closure = together(
    click.option("--lambda", "lam", metavar="X", help="Fix lambda."),
    click.option("--lambda-min", metavar="X", help="Lower bound on lambda.  [default: 1]"),
    click.option("--zero-mean", is_flag=True, help="Close with E[f] = 0 instead."),
)
"""How the free degree of freedom is closed."""

sigma = together(
    click.option("--sigma-w", metavar="S", help="Deviation of the weights times sqrt(fan-in), or he.  [default: 1]"),
    click.option("--sigma-b", metavar="S", help="Deviation of the biases.  [default: 0]"),
)

q0 = click.option("--q0", metavar="Q", help="Second moment of the inputs.  [default: 1]")

remedy = together(
    click.option(
        "--weight-mean", metavar="M", help="Common mean of the weights, in their own deviations.  [default: 0]"
    ),
    click.option("--centralize", is_flag=True, help="Remedy: weights less their mean over the fan-in."),
    click.option("--centralize-activation", is_flag=True, help="Remedy: activations less their mean."),
    click.option("--mixup", metavar="A", help="Remedy: inputs mixed with t ~ Beta(A, A)."),
    click.option("--scaled-mixup", metavar="A", help="Remedy: the same divided by sqrt(t^2 + (1-t)^2)."),
)
"""A mean of the weights, and what is done against it."""

device = click.option("--device", metavar="NAME", default="cpu", help="cpu, cuda, cuda:1, mps or auto.  [default: cpu]")
plot = file("--plot", text="Write a figure: .png, .svg or .pdf.")
force = click.option("--force", is_flag=True, help="Let a figure overwrite a file.")


def expressions(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Records of ``--expr``, one for every combination of the values that ``--set`` gives to its parameters.

    Raises InputError for what is no expression, a parameter without a value, and a value without a parameter.
    """
    found = expressions_and_values(given["expr"], given["values"])
    return [activations.of_expression(each["expr"], each["set"]) for each in found]


def alone(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Records of ``--expr``, as ``expressions``. Raises InputError where ``--params`` does not stand alone."""
    if given["params"] is not None and given["act"]:
        raise InputError("--params and --act both give activations", "leave out --act")
    records = expressions(given)
    if given["params"] is not None and records:
        raise InputError("--params and --expr both give activations", "leave out --expr")
    return records


def split(texts: Iterable[str]) -> list[str]:
    """The names in an option that is repeated or comma-separated."""
    return [part.strip() for text in texts for part in text.split(",")]


def single_values(texts: tuple[str, ...]) -> dict[str, Any]:
    """Of ``--set``, one for each name. Raises InputError for a list or a range."""
    found = _values(texts)
    for name, values in found.items():
        if len(values) > 1:
            raise InputError(f"--set {name} has {len(values)} values; here it takes one", f"--set {name}=1.2")
    return {name: values[0] for name, values in found.items()}


def expressions_and_values(texts: tuple[str, ...], values: tuple[str, ...]) -> list[dict[str, Any]]:
    """``{"expr", "set"}`` of every expression with every combination of the values given to its parameters.

    Raises InputError for what is no expression, and for values without an expression or a parameter.
    """
    given = _values(values)
    if not texts:
        activations.with_expression(None, None, {name: found[0] for name, found in given.items()})
        return []
    from itertools import product

    from snn_cli.activations import expression

    read = [expression.read(text) for text in texts]
    known = {name for each in read for name in each.parameters}
    made = []
    for each in read:
        own = {name: found for name, found in given.items() if name in each.parameters or name not in known}
        for combined in product(*own.values()):
            made.append({"expr": each.name, "set": dict(zip(own, combined, strict=True))})
    return made


def _values(texts: tuple[str, ...]) -> dict[str, list[Any]]:
    """``a=1,b=2`` by name; what follows a comma without a name is one more value of the one before."""
    from snn_cli.cli.sweep import numbers

    written: dict[str, list[str]] = {}
    name = ""
    for text in texts:
        for part in text.split(","):
            before, equals, after = part.partition("=")
            if equals:
                name = before.strip()
                if name in written:
                    raise InputError(f"--set gives {name} twice", f"--set {name}=1")
                written[name] = [after]
            elif name:
                written[name].append(part)
            if not name.isidentifier():
                raise InputError(f"--set has {text!r}; it takes NAME=VALUE", "--set a=1.2")
    found = {}
    for each, parts in written.items():
        try:
            found[each] = numbers(",".join(parts), f"--set {each}")
        except InputError as error:
            raise InputError(str(error), f"--set {each}=1.2") from None
    return found
