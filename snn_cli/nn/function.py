"""One function for all self-normalizing activations: ``steep x`` above 0, an exponential and a line below.

Below 0 it is ``amplitude (e^(rate x) - 1) + slope x``. At 0, where its slope jumps, the derivative is the right-hand
one, that of ``Solution.derivative()``.

Autograd keeps the input and nothing else. The derivative could also be had from the value, without an exponential, but
on the far left ``value + amplitude`` cancels: with bfloat16 sSELU at 0.03 loses a tenth of its derivative at -6.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import Function
from torch.overrides import handle_torch_function, has_torch_function_unary

from snn_cli.errors import InputError

_elu = torch.ops.aten.elu
_elu_backward = torch.ops.aten.elu_backward
_compiling = torch.compiler.is_compiling
_exporting = getattr(torch.compiler, "is_exporting", lambda: False)

_PLAIN = (Tensor, torch.nn.Parameter)

_LEAST = {torch.float16: 2.0**-24}
"""Added to x, it makes a zero positive and leaves x as it is, or as good as; else the smallest normal number.

Arithmetic with subnormal ones, as with this one of float16, takes long on processors that have no float16.
"""


def exponential_linear(
    x: Tensor, lam: Tensor | None, steep: float, amplitude: float, rate: float, slope: float
) -> Tensor:
    """``steep x`` for ``x >= 0``, ``amplitude (e^(rate x) - 1) + slope x`` below; all times ``lam``, if given.

    x
        Floating point, of any shape; the result has its shape and type.
    lam
        None, or of a shape that can be broadcast to that of x.
    steep, rate
        Above 0.

    Raises InputError if x is not a real floating-point tensor.
    """
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return _scripted(x, lam, steep, amplitude, rate, slope)
    else:
        return _dispatched(x, lam, steep, amplitude, rate, slope)


def _dispatched(x: Tensor, lam: Tensor | None, *shape: float) -> Tensor:
    if _compiling():
        return _compiled(checked(x), lam, *shape)
    if has_torch_function_unary(x):  # torch.fx, and subclasses that have their say
        return handle_torch_function(exponential_linear, (x,), x, lam, *shape)
    checked(x)
    if _transforming() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return _composed(x, lam, *shape)
    forwards = forward_ad._current_level >= 0
    if not forwards and not _differentiated(x, lam):
        return _scaled(_value(x, *shape), lam)
    zeros = x.requires_grad and _may_hold_zeros(x)
    if lam is None and not shape[-1] and not zeros and not forwards and not _fused(x):
        return _value(x, *shape)  # one operation of torch, whose autograd keeps x alone as well
    return cast(Tensor, _ExponentialLinear.apply(x, lam, zeros, *shape))  # type: ignore[no-untyped-call]


def checked(x: Tensor) -> Tensor:
    """x itself. Raises InputError for what is not a real floating-point tensor."""
    if not isinstance(x, Tensor):
        raise InputError(f"the input must be a tensor, not {type(x).__name__}", "torch.as_tensor(x)")
    if not x.is_floating_point():
        hint = "x.real" if x.is_complex() else "x.float()"
        raise InputError(f"the input must be of a real floating-point type, not {x.dtype}", hint)
    return x


def _composed(x: Tensor, lam: Tensor | None, steep: float, amplitude: float, rate: float, slope: float) -> Tensor:
    """In operations that ``torch.func`` and everything else know."""
    left = amplitude * torch.expm1(rate * x.clamp(max=0))  # above 0 nothing overflows, also in the derivative
    if slope != 0.0:  # at -inf a line of slope 0 is 0
        left = left + slope * x
    y = torch.where(x < 0, left, steep * x)
    if lam is not None:
        y = (y * lam).to(x.dtype)
    return y


def _scripted(x: Tensor, lam: Tensor | None, steep: float, amplitude: float, rate: float, slope: float) -> Tensor:
    """As ``_value``, in what TorchScript knows; its autograd keeps the input alone, and has e^x from the input.

    At 0 that has the left-hand derivative of an ELU: x is moved up by what leaves all other values as they are.
    """
    up = 2.0**-24 if x.dtype == torch.float16 else 2.0**-126
    x = x + up
    if slope == 0.0:
        y = torch.ops.aten.elu(x, amplitude / steep, steep, rate)
    elif 0.0 < slope < steep:
        y = torch.ops.aten.elu(x, amplitude / (steep - slope), steep - slope, rate) + slope * x
    else:  # else the two terms have opposite signs above 0, where each can overflow
        y = torch.ops.aten.elu(x, amplitude / steep, steep, rate) + slope * x.clamp(max=0)
    z: Tensor = y - steep * up
    if lam is not None:
        z = (z * lam).to(x.dtype)
    return z


def _compiled(x: Tensor, lam: Tensor | None, steep: float, amplitude: float, rate: float, slope: float) -> Tensor:
    """For compilers, which fuse it and keep the input alone; what is exported has the plain operations."""
    if torch._C._are_functorch_transforms_active() or _exporting():
        return _composed(x, lam, steep, amplitude, rate, slope)
    exact, sloped = bool(amplitude > _LARGE * steep), bool(slope != 0.0)
    y: Tensor = _Compiled.apply(x, exact, sloped, steep, amplitude, rate, slope)  # type: ignore[no-untyped-call]
    return y if lam is None else (y * lam).to(x.dtype)


class _Compiled(Function):
    """The function with a derivative of its own: that of what is computed would cancel on the far left.

    ``expm1`` becomes ``exp(y) - 1`` on the CPU, off by a unit of 1 at most, times the amplitude. That is how compiled
    ELUs are, and costs least; an sSELU of small epsilon has a large amplitude, and an exact one.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, exact: bool, sloped: bool, steep: float, amplitude: float, rate: float, slope: float
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.shape = (steep, amplitude, rate, slope)
        y = rate * x.clamp(max=0)
        left = amplitude * (_expm1(y) if exact else torch.expm1(y))
        if sloped:
            left = left + slope * x
        return torch.where(x < 0, left, steep * x)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return u * _derivative(x, *ctx.shape), None, None, None, None, None, None


_LARGE = 8.0
"""Amplitude from which on a rounding error of it would be seen, 8 units in the last place of the input's scale."""


def _expm1(y: Tensor) -> Tensor:
    """``e^y - 1`` for ``y <= 0``, to a few units in the last place."""
    if y.dtype == torch.float64:
        t = torch.tanh(0.5 * y)
        return 2.0 * t / (1.0 - t)
    p = 1.0 + y * (1 / 6)  # the rest of the series is below 0.125^6 / 7! = 8e-10 of the value
    for k in (5, 4, 3, 2):
        p = 1.0 + y * p * (1 / k)
    return torch.where(y > -0.125, y * p, torch.exp(y) - 1.0)


class _ExponentialLinear(Function):
    """The same, of which autograd keeps x alone, on the fastest way there is for the device.

    Differentiable any number of times, forwards as well.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, lam: Tensor | None, zeros: bool, *shape: float) -> Tensor:
        ctx.shape = shape
        ctx.save_for_backward(x, lam)
        ctx.save_for_forward(x, lam)
        ctx.zeros = zeros
        return _scaled(_value(x, *shape), lam)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        x, lam = ctx.saved_tensors
        du = dlam = None
        if ctx.needs_input_grad[0]:
            du = _scaled(_gradient(u, x, ctx.zeros, *ctx.shape), lam)
        if ctx.needs_input_grad[1]:
            value = _composed(x, None, *ctx.shape) if torch.is_grad_enabled() else _value(x, *ctx.shape)
            dlam = _sum_to(u * value, lam)
        return du, dlam, None, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dlam: Tensor | None, *_: None) -> Tensor:
        x, lam = ctx.saved_tensors
        total = None
        if dx is not None:
            total = dx * _derivative(x, *ctx.shape)
            if lam is not None:
                total = total * lam
        if dlam is not None:
            more = _composed(x, None, *ctx.shape) * dlam
            total = more if total is None else total + more
        assert total is not None
        return total.to(x.dtype)


def _differentiated(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _scaled(y: Tensor, lam: Tensor | None) -> Tensor:
    """y times lambda in the type of y, in place where y is ours alone."""
    if lam is None:
        return y
    return (y * lam).to(y.dtype) if _differentiated(y, lam) else y.mul_(lam)


def _sum_to(x: Tensor, lam: Tensor) -> Tensor:
    """x summed over the dimensions along which lambda was broadcast, in the type of lambda."""
    extra = x.dim() - lam.dim()
    over = [d for d in range(x.dim()) if d < extra or (lam.shape[d - extra] == 1 != x.shape[d])]
    if over:
        x = torch.sum(x, dim=over, dtype=lam.dtype)
    return x.reshape(lam.shape).to(lam.dtype)


def _value(x: Tensor, steep: float, amplitude: float, rate: float, slope: float) -> Tensor:
    """``slope x`` plus a scaled ELU, which torch has as one operation: two passes, one where slope is 0."""
    if _fused(x):
        from snn_cli.nn import fused

        return fused.value(x, steep, amplitude, rate, slope)
    if not slope:
        return cast(Tensor, _elu(x, amplitude / steep, steep, rate))
    if 0 < slope < steep:
        return cast(Tensor, _elu(x, amplitude / (steep - slope), steep - slope, rate).add_(x, alpha=slope))
    # else the two terms have opposite signs above 0, where each can overflow
    return cast(Tensor, _elu(x, amplitude / steep, steep, rate).add_(x.clamp(max=0), alpha=slope))


def _gradient(u: Tensor, x: Tensor, zeros: bool, steep: float, amplitude: float, rate: float, slope: float) -> Tensor:
    """``u f'(x)``. At 0 torch has the left-hand derivative of an ELU: where x may be 0 it is moved up."""
    if steep == slope or torch.is_grad_enabled():
        return u * _derivative(x, steep, amplitude, rate, slope)
    if _fused(x):
        from snn_cli.nn import fused

        return fused.gradient(u, x, steep, amplitude, rate, slope)
    if zeros:
        x = x + _LEAST.get(x.dtype, torch.finfo(x.dtype).tiny)
    scale = steep - slope
    g = _elu_backward(u, amplitude / scale, scale, rate, False, x)
    return cast(Tensor, g.add_(u, alpha=slope) if slope else g)


def _derivative(x: Tensor, steep: float, amplitude: float, rate: float, slope: float) -> Tensor:
    """f', in operations that autograd knows; at 0 the right-hand one."""
    left = amplitude * rate * torch.exp(rate * x.clamp(max=0)) + slope
    return torch.where(x < 0, left, steep)


def _may_hold_zeros(x: Tensor) -> bool:
    """Whether some x may be exactly 0. Looked up on the CPU, in a fifth to a third of an ELU's time; else True."""
    if x.device.type != "cpu" or type(x) not in _PLAIN:
        return True
    x = x.detach()
    if x.numel() <= _PIECE or not x.is_contiguous():
        return x.numel() > 0 and _holds_zeros(x)
    return any(_holds_zeros(piece) for piece in torch.split(x.view(-1), _PIECE))


_PIECE = 1 << 17
"""Elements looked at together: what is made of them stays in the processor's cache."""


def _holds_zeros(x: Tensor) -> bool:
    return not x.to(torch.bool).view(torch.uint8).amin().item()


def _transforming() -> bool:
    """Whether values are not to be looked at: in a transformation of ``torch.func``, or a mode that records."""
    return bool(torch._C._are_functorch_transforms_active()) or torch._C._len_torch_dispatch_stack() > 0


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _fused(x: Tensor) -> bool:
    if not x.is_cuda or type(x) not in _PLAIN or not _has_triton():
        return False
    from snn_cli.nn import fused

    return x.dtype in fused.DTYPES
