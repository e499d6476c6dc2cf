"""Activations on torch, by its fused kernels: forward with one exponential, backward with none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from snn_cli import activations
from snn_cli.activations.family import WRAP, coefficients

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch


class Kernel(NamedTuple):
    """``forward(x, saved) -> f(x)`` and ``backward(u, saved) -> u f'(x)``.

    ``saved`` is a tensor of the shape of x that forward fills and backward may overwrite; x and u may be overwritten,
    and what is returned may be any of them.
    """

    forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    backward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def kernel(act: str, params: Mapping[str, float]) -> Kernel:
    """The kernel of an activation from the registry."""
    if params and act in activations.BASELINES:
        return _wrapped(kernel(act, {}), params)
    activation = activations.find(act, params)
    if act not in activations.SOLVABLE and act not in activations.BASELINES:
        if activations.is_expression(act):
            return _both(formula(act, params))
        from snn_cli.engine import imported

        return _both(imported.function(act))
    if activation.shape is None:
        return _SMOOTH[act]
    steep, amplitude, rate, slope = coefficients(activation.shape, params)
    if not amplitude:
        return _piecewise_linear(slope, steep)
    if amplitude > 0 and rate > 0 and steep > slope:  # then the sign of the ELU is that of x
        return _fused(amplitude, rate, slope, steep)
    return _exponential(amplitude, rate, slope, steep)


def _wrapped(inner: Kernel, p: Mapping[str, float]) -> Kernel:
    """``a f(b x + c) + d``."""
    a, b, c, d = (float(p[name]) for name in WRAP)

    def forward(x: torch.Tensor, saved: torch.Tensor) -> torch.Tensor:
        return inner.forward(x.mul_(b).add_(c), saved).clone().mul_(a).add_(d)

    def backward(u: torch.Tensor, saved: torch.Tensor) -> torch.Tensor:
        return inner.backward(u, saved).mul_(a * b)

    return Kernel(forward, backward)


def formula(act: str, params: Mapping[str, float]) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """``x -> (f(x), f'(x))`` of an expression, in the precision of x; in float32 where that is 16 bits."""
    import torch

    from snn_cli.activations import expression
    from snn_cli.activations.expression.evaluate import evaluate
    from snn_cli.engine.formula import Tensors

    found = expression.read(act)
    known = expression.values(found, params)

    def both(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        short = x.dtype in (torch.float16, torch.bfloat16)
        work = x.float() if short else x
        values = evaluate((found.root, found.slope), Tensors(work), work, params, known)
        value, slope = (
            v if isinstance(v, torch.Tensor) and v.shape == x.shape else torch.zeros_like(work) + v for v in values
        )
        return (value.to(x.dtype), slope.to(x.dtype)) if short else (value, slope)

    return both


def _both(function: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]) -> Kernel:
    """Of a function that gives value and derivative together."""

    def forward(x: torch.Tensor, saved: torch.Tensor) -> torch.Tensor:
        value, slope = function(x)
        saved.copy_(slope)
        return value

    return Kernel(forward, _multiply)


def _fused(amplitude: float, rate: float, slope: float, steep: float) -> Kernel:
    """``slope x`` plus a scaled ELU: ``(steep - slope) x`` above 0 and ``amplitude (e^(rate x) - 1)`` below.

    The ELU's own value serves its derivative, ``rate (value + amplitude)`` below 0.
    """
    import torch

    scale = steep - slope
    alpha = amplitude / scale
    elu, elu_backward = torch.ops.aten.elu.out, torch.ops.aten.elu_backward.grad_input

    def forward(x: torch.Tensor, saved: torch.Tensor) -> torch.Tensor:
        elu(x, alpha, scale, rate, out=saved)
        return x.mul_(slope).add_(saved) if slope else saved

    def backward(u: torch.Tensor, saved: torch.Tensor) -> torch.Tensor:
        elu_backward(u, alpha, scale, rate, True, saved, grad_input=saved)
        return saved.add_(u, alpha=slope) if slope else saved

    return Kernel(forward, backward)


def _exponential(amplitude: float, rate: float, slope: float, steep: float) -> Kernel:
    """``amplitude (e^(rate x) - 1) + slope x`` below 0 and ``steep x`` above, for any signs."""
    import torch

    def forward(x: torch.Tensor, saved: torch.Tensor) -> torch.Tensor:
        left = x.clamp(max=0)
        f = (left * rate).expm1_()
        torch.add(f, 1, out=saved).mul_(amplitude * rate).add_(slope).masked_fill_(x >= 0, steep)
        return f.mul_(amplitude).add_(left, alpha=slope).add_(x.clamp_(min=0), alpha=steep)

    return Kernel(forward, _multiply)


def _piecewise_linear(slope: float, steep: float) -> Kernel:
    import torch

    if steep == 1 and slope >= 0:
        leaky, leaky_backward = torch.ops.aten.leaky_relu.out, torch.ops.aten.leaky_relu_backward.grad_input
        return Kernel(
            lambda x, saved: leaky(x, slope, out=saved),
            lambda u, saved: leaky_backward(u, saved, slope, True, grad_input=saved),
        )

    def forward(x: torch.Tensor, saved: torch.Tensor) -> torch.Tensor:
        saved.fill_(steep).masked_fill_(x < 0, slope)
        return x.mul_(saved)

    return Kernel(forward, _multiply)


def _multiply(u: torch.Tensor, saved: torch.Tensor) -> torch.Tensor:
    return u.mul_(saved)


def _tanh() -> Kernel:
    import torch

    return Kernel(
        lambda x, saved: torch.tanh(x, out=saved),
        lambda u, saved: torch.ops.aten.tanh_backward.grad_input(u, saved, grad_input=saved),
    )


def _erf() -> Kernel:
    import torch

    def forward(x: torch.Tensor, saved: torch.Tensor) -> torch.Tensor:
        torch.mul(x, x, out=saved).neg_().exp_().mul_(2 / math.sqrt(math.pi))
        return x.erf_()

    return Kernel(forward, _multiply)


def _gelu() -> Kernel:
    import torch

    return Kernel(
        lambda x, saved: torch.ops.aten.gelu.out(saved.copy_(x), out=x),
        lambda u, saved: torch.ops.aten.gelu_backward.grad_input(u, saved, grad_input=saved),
    )


def _silu() -> Kernel:
    import torch

    return Kernel(
        lambda x, saved: torch.ops.aten.silu.out(saved.copy_(x), out=x),
        lambda u, saved: torch.ops.aten.silu_backward.grad_input(u, saved, grad_input=saved),
    )


def _mish() -> Kernel:
    import torch

    return Kernel(
        lambda x, saved: torch.ops.aten.mish.out(saved.copy_(x), out=x),
        lambda u, saved: u.mul_(torch.ops.aten.mish_backward(torch.ones_like(u), saved)),
    )


def _softplus() -> Kernel:
    """With a threshold from which ``log(1 + e^x)`` is x to the last digit of a double: torch's own shows in single."""
    import torch

    threshold = 40.0
    return Kernel(
        lambda x, saved: torch.ops.aten.softplus.out(saved.copy_(x), 1.0, threshold, out=x),
        lambda u, saved: torch.ops.aten.softplus_backward.grad_input(u, saved, 1.0, threshold, grad_input=saved),
    )


def _hardswish() -> Kernel:
    """The derivative written out: torch's is the left-hand one at 3."""
    import torch

    def forward(x: torch.Tensor, saved: torch.Tensor) -> torch.Tensor:
        torch.mul(x, 1 / 3, out=saved).add_(0.5).masked_fill_(x < -3, 0).masked_fill_(x >= 3, 1)
        return torch.nn.functional.hardswish(x, inplace=True)

    return Kernel(forward, _multiply)


class _Smooth(dict[str, Kernel]):
    """Kernels of the smooth activations, made when asked for: torch is loaded by then."""

    def __missing__(self, act: str) -> Kernel:
        makers = {"tanh": _tanh, "erf": _erf, "gelu": _gelu, "silu": _silu, "mish": _mish, "softplus": _softplus}
        makers["hardswish"] = _hardswish
        self[act] = made = makers[act]()
        return made


_SMOOTH = _Smooth()
