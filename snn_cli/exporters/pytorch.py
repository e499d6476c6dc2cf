"""A torch module and function; autograd has the exact derivative, the right-hand one at 0."""

from __future__ import annotations

from snn_cli.exporters.formula import Exporter, Formula


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


EXPORTER = Exporter("py", code)
