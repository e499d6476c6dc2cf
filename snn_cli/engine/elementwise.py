"""Activations on torch: f and its derivative from one pass, with one exponential between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snn_cli import activations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    Both = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class _Plain:
    """Arithmetic in which a family's shape has its coefficients as floats."""

    def number(self, x: Any) -> float:
        return float(x)


def both(act: str, params: Mapping[str, float]) -> Both:
    """``x -> (f(x), f'(x))``; x may be overwritten. The derivative at 0 is the right-hand one."""
    activation = activations.find(act)
    if activation.shape is None:
        return _SMOOTH[act]
    shape: Any = activation.shape(_Plain(), dict(params))  # type: ignore[arg-type]
    left, right = shape.negative.terms, shape.positive.terms
    rate = float(shape.negative.moments.rate)
    amplitude, slope = float(left.get((0, 1), 0.0)), float(left.get((1, 0), 0.0))
    steep = float(right.get((1, 0), 0.0))
    if not amplitude:
        return lambda x: _piecewise_linear(x, slope, steep)
    return lambda x: _exponential(x, amplitude, rate, slope, steep)


def _exponential(
    x: torch.Tensor, amplitude: float, rate: float, slope: float, steep: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """``amplitude (e^(rate x) - 1) + slope x`` for ``x < 0``, ``steep x`` above."""
    import torch

    left = x.clamp(max=0)
    f = left * rate if rate != 1 else left.clone()
    f.expm1_()
    df = (f + 1).mul_(amplitude * rate)
    f.mul_(amplitude)
    if slope:
        df.add_(slope)
        f.add_(left, alpha=slope)
    df.masked_fill_(x >= 0, steep)
    f.add_(x.sub_(left), alpha=steep)
    # an infinity has taken the difference to nan, which is what overflow is to show
    return f, torch.as_tensor(df)


def _piecewise_linear(x: torch.Tensor, slope: float, steep: float) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    df = torch.full_like(x, steep).masked_fill_(x < 0, slope)
    return x * df, df


def _tanh(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    f = x.tanh_()
    return f, 1 - f * f


def _erf(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    return torch.erf(x), (-x * x).exp_().mul_(2 / math.sqrt(math.pi))


def _gelu(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    tail = torch.special.ndtr(x)
    return x * tail, tail + x * (-x * x / 2).exp_().mul_(1 / math.sqrt(2 * math.pi))


def _silu(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    s = x.sigmoid()
    return x * s, s * (1 + x * (1 - s))


_SMOOTH: dict[str, Any] = {"tanh": _tanh, "erf": _erf, "gelu": _gelu, "silu": _silu}
