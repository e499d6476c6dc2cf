"""The formula with its numbers, for an article: amsmath's cases."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from snn_cli import activations
from snn_cli.exporters import Exporter
from snn_cli.exporters.formula import Formula
from snn_cli.exporters.program import Program

if TYPE_CHECKING:
    from snn_cli.activations.family import Family


def code(f: Formula) -> str:
    symbols = {"lambda": r"\lambda", "alpha": r"\alpha", "beta": r"\beta"}
    right, left = _sides(f)
    lines = [f.comment("%"), r"\[", rf"  f(x) = \begin{{cases}} {right} & x \ge 0 \\ {left} & x < 0 \end{{cases}}"]
    values = [f"{symbols[name]} = {_number(value)}" for name, value in f.params.items()]
    lines += [r"  \qquad " + ",\\quad ".join(values)] if values else []
    return "\n".join([*lines, r"\]", ""])


def _sides(f: Formula) -> tuple[str, str]:
    """The formula of a family in its own letters; of a baseline with its numbers."""
    if f.act not in activations.SOLVABLE:
        left = [rf"{_number(f.amplitude)} (e^{{{_number(f.rate)} x}} - 1)"] if f.amplitude else []
        left += [f"{_number(f.slope)} x"] if f.slope else []
        return f"{_number(f.steep)} x", " + ".join(left) or "0"
    family: Family = activations.get(f.act)
    return _tex(family.positive), _tex(family.negative)


def _tex(text: str) -> str:
    text = re.sub(r"exp\(([^()]*)\)", r"e^{\1}", text)
    for name in ("lambda", "alpha", "beta"):
        text = text.replace(name, f"\\{name} ")
    return re.sub(r" +(?=[ )])", "", text.replace("*", " ")).strip()


def _number(x: float) -> str:
    mantissa, _, exponent = repr(x).partition("e")
    mantissa = mantissa.removesuffix(".0")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa


def program(f: Program) -> str:
    """The formula in its own letters, then their values."""
    from snn_cli.activations.expression.symbolic import latex

    letters = {name: latex_name(name) for name in f.params}
    lines = [f.comment("%"), r"\[", f"  f(x) = {latex(f.text, letters)}"]
    values = [f"{letters[name]} = {_number(value)}" for name, value in f.params.items()]
    lines += [r"  \qquad " + ",\\quad ".join(values)] if values else []
    return "\n".join([*lines, r"\]", ""])


def latex_name(name: str) -> str:
    """A Greek letter, one letter, or a word, with what follows its first underscore below."""
    first, _, rest = name.partition("_")
    greek = "alpha beta gamma delta epsilon zeta eta theta kappa mu nu xi rho sigma tau phi chi psi omega".split()
    shown = f"\\{first}" if first in greek else first if len(first) == 1 else rf"\mathrm{{{first}}}"
    return shown + (rf"_{{\mathrm{{{rest.replace('_', ' ')}}}}}" if rest else "")


EXPORTER = Exporter("tex", code, program)
