"""Activations on torch, by its fused kernels: forward with one exponential, backward with none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli import activations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch


class Kernel(NamedTuple):
    """``forward(x) -> (f(x), saved)`` and ``backward(u, saved) -> u f'(x)``; both may overwrite their first argument.

    One tensor is saved between the passes.
    """

    forward: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    backward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class _Plain:
    """Arithmetic in which a family's shape has its coefficients as floats."""

    def number(self, x: Any) -> float:
        return float(x)


def kernel(act: str, params: Mapping[str, float]) -> Kernel:
    """The kernel of an activation from the registry."""
    activation = activations.find(act)
    if activation.shape is None:
        return _SMOOTH[act]
    shape: Any = activation.shape(_Plain(), dict(params))  # type: ignore[arg-type]
    left, right = shape.negative.terms, shape.positive.terms
    rate = float(shape.negative.moments.rate)
    amplitude, slope = float(left.get((0, 1), 0.0)), float(left.get((1, 0), 0.0))
    steep = float(right.get((1, 0), 0.0))
    if not amplitude:
        return _piecewise_linear(slope, steep)
    if amplitude > 0 and steep > slope:
        return _fused(amplitude, rate, slope, steep)
    return _exponential(amplitude, rate, slope, steep)


def _fused(amplitude: float, rate: float, slope: float, steep: float) -> Kernel:
    """``slope x`` plus a scaled ELU: ``(steep - slope) x`` above 0 and ``amplitude (e^(rate x) - 1)`` below.

    The ELU's own value serves its derivative, ``rate (value + amplitude)`` below 0.
    """
    import torch

    scale = steep - slope
    alpha = amplitude / scale
    elu, elu_backward = torch.ops.aten.elu, torch.ops.aten.elu_backward

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value = elu(x, alpha, scale, rate)
        return (x.mul_(slope).add_(value) if slope else value), value

    def backward(u: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        g: torch.Tensor = elu_backward(u, alpha, scale, rate, True, value)
        return g.add_(u, alpha=slope) if slope else g

    return Kernel(forward, backward)


def _exponential(amplitude: float, rate: float, slope: float, steep: float) -> Kernel:
    """``amplitude (e^(rate x) - 1) + slope x`` below 0 and ``steep x`` above, for any signs."""

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        left = x.clamp(max=0)
        f = (left * rate).expm1_()
        df = (f + 1).mul_(amplitude * rate).add_(slope).masked_fill_(x >= 0, steep)
        f.mul_(amplitude).add_(left, alpha=slope).add_(x.clamp_(min=0), alpha=steep)
        return f, df

    return Kernel(forward, _multiply)


def _piecewise_linear(slope: float, steep: float) -> Kernel:
    import torch

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        df = torch.full_like(x, steep).masked_fill_(x < 0, slope)
        return x.mul_(df), df

    return Kernel(forward, _multiply)


def _multiply(u: torch.Tensor, df: torch.Tensor) -> torch.Tensor:
    return u.mul_(df)


def _tanh() -> Kernel:
    import torch

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        f = x.tanh_()
        return f, f

    return Kernel(forward, lambda u, f: torch.ops.aten.tanh_backward(u, f))


def _erf() -> Kernel:
    import torch

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.erf(x), x.square_().neg_().exp_().mul_(2 / math.sqrt(math.pi))

    return Kernel(forward, _multiply)


def _gelu() -> Kernel:
    import torch

    return Kernel(lambda x: (torch.ops.aten.gelu(x), x), lambda u, x: torch.ops.aten.gelu_backward(u, x))


def _silu() -> Kernel:
    import torch

    return Kernel(lambda x: (torch.ops.aten.silu(x), x), lambda u, x: torch.ops.aten.silu_backward(u, x))


class _Smooth(dict[str, Kernel]):
    """Kernels of the smooth activations, made when asked for: torch is loaded by then."""

    def __missing__(self, act: str) -> Kernel:
        makers = {"tanh": _tanh, "erf": _erf, "gelu": _gelu, "silu": _silu}
        self[act] = made = makers[act]()
        return made


_SMOOTH = _Smooth()
