"""A torch module and function; autograd has the exact derivative, the right-hand one at 0."""

from __future__ import annotations

from snn_cli.exporters import Exporter
from snn_cli.exporters.formula import Formula
from snn_cli.exporters.printer import Language, Printer, numpy_like
from snn_cli.exporters.program import Program


def code(f: Formula) -> str:
    """Both branches are computed everywhere: the left one of what is clamped, so that no gradient is nan."""
    return f"""{f.comment("#")}

import torch


def {f.name}(x: torch.Tensor) -> torch.Tensor:
    left = x.clamp(max=0)
    return torch.where(x < 0, {f.terms("torch.expm1", "left")}, {f.line("x")})


class {f.class_name}(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return {f.name}(x)
"""


LANGUAGE = Language(
    numpy_like(
        "torch",
        "exp expm1 log log1p sqrt tanh sin cos abs sigmoid erf erfc",
        softplus="torch.logaddexp({0}, torch.zeros_like(x))",
        **{"and": "({0} & {1})", "or": "({0} | {1})", "not": "~{0}"},
    ),
    lift="torch.full_like(x, {0})",
)


def program(f: Program) -> str:
    """The derivative is written out: that of autograd is nan where the branch that is not taken overflows."""
    printer = Printer(LANGUAGE, f.known)
    functions = []
    for name, root, tails in ((f"_{f.name}", f.value, f.value_tails), (f"{f.name}_derivative", f.slope, f.slope_tails)):
        lines, value = printer.body(root, tails)
        functions.append(f"""def {name}(x: torch.Tensor) -> torch.Tensor:
{lines}    return torch.where(torch.isnan(x), x, {value})
""")
    whole = "\n\n".join(functions)
    return f"""{f.comment("#")}

import torch


{whole}

class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return _{f.name}(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * {f.name}_derivative(x)


def {f.name}(x: torch.Tensor) -> torch.Tensor:
    return _Function.apply(x)


class {f.class_name}(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return {f.name}(x)
"""


EXPORTER = Exporter("py", code, program)
