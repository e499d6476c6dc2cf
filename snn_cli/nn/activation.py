"""Self-normalizing activations as torch modules, with the parameters that solve the moment conditions.

All four are one function, which is ``steep x`` above 0 and ``amplitude (e^(rate x) - 1) + slope x`` below. At 0, where
its slope jumps, the derivative is the right-hand one, that of ``Solution.derivative()``.

Autograd keeps the input and nothing else. The derivative could also be had from the value, without an exponential, but
on the far left ``value + amplitude`` cancels: with bfloat16 sSELU at 0.03 loses a tenth of its derivative at -6.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, ClassVar, NoReturn, SupportsIndex, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import Function
from torch.overrides import handle_torch_function, has_torch_function_unary

from snn_cli.errors import InputError, SnnError
from snn_cli.exact import Number, positive_integer
from snn_cli.records import Solution
from snn_cli.solver import solve

_elu = torch.ops.aten.elu
_elu_backward = torch.ops.aten.elu_backward
_compiling = torch.compiler.is_compiling
_exporting = getattr(torch.compiler, "is_exporting", lambda: False)

_PLAIN = (Tensor, torch.nn.Parameter)

_LEAST = {torch.float16: 2.0**-24}
"""Added to x, it makes a zero positive and leaves x as it is, or as good as; else the smallest normal number.

Arithmetic with subnormal ones, as with this one of float16, takes long on processors that have no float16.
"""


# The function


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


# What users call


def lselu(x: Tensor, lam: float | Tensor, alpha: float, beta: float) -> Tensor:
    """``lam x`` for ``x >= 0``, ``lam (alpha e^x + beta x - alpha)`` below: leaky SELU.

    x
        Floating point, of any shape; the result has its shape and type.
    lam
        Above 0; or a tensor that can be broadcast to x, of any sign, to which gradients flow.
    alpha, beta
        Finite.

    Source: Chen et al., "Redefining the Self-Normalization Property" (2021). Raises InputError for an x that is not a
    real floating-point tensor, and for parameters outside their domains.
    """
    alpha, beta = _finite(alpha, "alpha"), _finite(beta, "beta")
    return _with_lambda(x, lam, alpha, 1.0, beta)


def sselu(x: Tensor, lam: float | Tensor, alpha: float, beta: float) -> Tensor:
    """``lam x`` for ``x >= 0``, ``lam (alpha e^(beta x) - alpha)`` below, with ``beta > 0``: scaled SELU.

    Shapes, source and errors as for ``lselu``; InputError also for a beta that is not above 0.
    """
    alpha, beta = _finite(alpha, "alpha"), _finite(beta, "beta", above=0)
    return _with_lambda(x, lam, alpha, beta, 0.0)


def dselu(x: Tensor, lam: float | Tensor, alpha: float) -> Tensor:
    """``lam x`` for ``x >= 0``, ``lam (alpha e^x - alpha)`` below: the form of SELU and of depth-aware SELU.

    Shapes and errors as for ``lselu``. Source: Klambauer et al., "Self-Normalizing Neural Networks" (2017).
    """
    return _with_lambda(x, lam, _finite(alpha, "alpha"), 1.0, 0.0)


def _with_lambda(x: Tensor, lam: float | Tensor, alpha: float, rate: float, beta: float) -> Tensor:
    if isinstance(lam, Tensor):
        return exponential_linear(x, lam, 1.0, alpha, rate, beta)
    lam = _finite(lam, "lam", above=0)
    return exponential_linear(x, None, lam, lam * alpha, rate, lam * beta)


def _finite(value: float, name: str, above: float = -math.inf) -> float:
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and number > above):
        raise InputError(
            f"{name} must be a finite number{' above 0' if above == 0 else ''}, not {value!r}", f"{name}=1.0"
        )
    return number


class _SelfNormalizing(torch.nn.Module):
    """A family's function with the parameters of a solution; with ``trainable`` lambda is a parameter of the module.

    The state dict holds the four numbers of the function, so that weights are not loaded into another one.
    """

    act: ClassVar[str]  # TorchScript knows no other annotation here

    def __init__(
        self,
        solution: Solution,
        trainable: bool,
        channels: SupportsIndex | None,
        channel_dim: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if not isinstance(trainable, bool):
            raise InputError(f"trainable must be True or False, not {trainable!r}", "trainable=True")
        if not isinstance(channel_dim, int) or isinstance(channel_dim, bool):
            raise InputError(f"channel_dim must be a whole number, not {channel_dim!r}", "channel_dim=1")
        if channels is not None and not trainable:
            raise InputError(
                "channels is the number of trained lambdas, and lambda is not trained", "trainable=True, or no channels"
            )
        self.solution = solution
        self.channels = 0 if channels is None else positive_integer(channels, "channels", example="channels=64")
        self.channel_dim = channel_dim
        params = solution.params
        lam, alpha, beta = params["lambda"], params["alpha"], params.get("beta", 0.0)
        self.steep = 1.0 if trainable else lam
        self.amplitude = self.steep * alpha
        self.rate = beta if self.act == "sselu" else 1.0
        self.slope = self.steep * beta if self.act == "lselu" else 0.0
        if trainable:
            size = (self.channels,) if self.channels else ()
            self.lam = torch.nn.Parameter(torch.full(size, lam, device=device, dtype=dtype))
        else:
            self.register_parameter("lam", None)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, to the same shape and type; with channels, their number at ``channel_dim``. Raises InputError."""
        lam: Tensor | None = self.lam
        if lam is not None and self.channels > 0:
            if not torch.jit.is_scripting():  # type: ignore[attr-defined]
                self._check_channels(x)
            size = [1] * x.dim()
            size[self.channel_dim] = self.channels
            lam = lam.view(size)
        return exponential_linear(x, lam, self.steep, self.amplitude, self.rate, self.slope)

    @torch.jit.unused
    def _check_channels(self, x: Tensor) -> None:
        checked(x)
        d = self.channel_dim
        if not -x.dim() <= d < x.dim() or x.shape[d] != self.channels:
            raise InputError(
                f"the input must have {self.channels} channels at dimension {d}; its shape is {tuple(x.shape)}",
                "channels=..., channel_dim=...",
            )

    def extra_repr(self) -> str:
        shown = {"epsilon": self.solution.epsilon, **self.solution.params}
        parts = [f"{name}={value:.6g}" for name, value in shown.items()]
        if self.lam is not None:
            parts.append("trainable=True")
        if self.channels:
            parts.append(f"channels={self.channels}, channel_dim={self.channel_dim}")
        return ", ".join(parts)

    def get_extra_state(self) -> Tensor:
        """The numbers of the function, without a trained lambda, which is a parameter of its own.

        A tensor: formats that hold nothing else take it, and ``torch.load`` with ``weights_only``.
        """
        return torch.tensor([self.steep, self.amplitude, self.rate, self.slope], dtype=torch.float64, device="cpu")

    def set_extra_state(self, state: Any) -> None:
        """Raises InputError where the state is that of another function, to the precision in which it was kept."""
        own = self.get_extra_state()
        same = isinstance(state, Tensor) and state.shape == own.shape
        if same:
            precision = torch.finfo(state.dtype).eps if state.is_floating_point() else 0.0
            same = torch.allclose(state.to(own), own, rtol=max(1e-9, precision), atol=0.0)
        if not same:
            given = ", ".join(f"{v:.6g}" for v in state.tolist()) if isinstance(state, Tensor) else repr(state)
            raise InputError(
                f"the weights belong to another activation: steep, amplitude, rate, slope are {given} there and "
                f"{', '.join(f'{v:.6g}' for v in own.tolist())} here, for {type(self).__name__}({self.extra_repr()})",
                "make the module with the options of the one that was saved; to change the function on purpose, drop "
                "the keys that end in '_extra_state' and load with strict=False",
            )


class _WithFreedom(_SelfNormalizing):
    """A family of three parameters, of which two conditions leave one degree of freedom."""

    def __init__(
        self,
        epsilon: Number | None = None,
        *,
        depth: SupportsIndex | None = None,
        fan_in: SupportsIndex | None = None,
        solution: Solution | Mapping[str, Any] | None = None,
        lam: Number | None = None,
        lambda_min: Number | None = None,
        zero_mean: bool = False,
        trainable: bool = False,
        channels: SupportsIndex | None = None,
        channel_dim: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        found = _find(self.act, epsilon, depth, fan_in, solution, lam, lambda_min, zero_mean)
        super().__init__(found, trainable, channels, channel_dim, device, dtype)


class LSELU(_WithFreedom):
    """Leaky SELU: ``lambda x`` for ``x >= 0``, ``lambda (alpha e^x + beta x - alpha)`` below.

    One of these four says which:

    epsilon
        The backward gain minus one, at least 0, as in ``snn_cli.solve``; ``"auto"`` with ``fan_in``.
    depth
        Number of layers: ``epsilon = 1/depth``, with which the squared gradient norm grows by less than ``e``.
    fan_in
        Inputs of the layer before, ``epsilon = "auto"``: the typical gradient is preserved at that width.
    solution
        A ``snn_cli.Solution`` of the same family, or its ``to_dict()``.

    lam, lambda_min, zero_mean
        How the remaining degree of freedom is closed, as in ``snn_cli.solve``; not with a solution.
    trainable
        Lambda is a parameter, ``lam``, that starts at the solution; alpha and beta stay. With another lambda the second
        moment is no longer 1, but ``(lam / lambda)^2``.
    channels, channel_dim
        With trainable: that many lambdas, one for each index of that dimension of the input.
    device, dtype
        Of a trained lambda, as for other modules.

    ``module.solution`` is the record. Any shape goes in, the same shape and type comes out; the derivative at 0 is
    ``lambda``. A state dict is only loaded into the same function: InputError otherwise.

    Source: Chen et al., "Redefining the Self-Normalization Property" (2021). Raises InputError for options that
    contradict each other or are outside their domains, NoSolution where nothing meets them.
    """

    act = "lselu"


class SSELU(_WithFreedom):
    """Scaled SELU: ``lambda x`` for ``x >= 0``, ``lambda (alpha e^(beta x) - alpha)`` below.

    Options as for ``LSELU``; any shape, to the same shape and type. Source: as for ``LSELU``. Raises InputError as
    ``LSELU`` does, NoSolution also for an epsilon of 0: the family holds no linear function.
    """

    act = "sselu"


class DSELU(_SelfNormalizing):
    """Depth-aware SELU: ``lambda x`` for ``x >= 0``, ``lambda (alpha e^x - alpha)`` below, solved for epsilon.

    Options as for ``LSELU``, without ``lam``, ``lambda_min`` and ``zero_mean``: there is no freedom left. Any shape, to
    the same shape and type. Source: as for ``LSELU``. Raises InputError as ``LSELU`` does, NoSolution for an epsilon
    that is not below 0.15976.
    """

    act = "dselu"

    def __init__(
        self,
        epsilon: Number | None = None,
        *,
        depth: SupportsIndex | None = None,
        fan_in: SupportsIndex | None = None,
        solution: Solution | Mapping[str, Any] | None = None,
        trainable: bool = False,
        channels: SupportsIndex | None = None,
        channel_dim: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        found = _find(self.act, epsilon, depth, fan_in, solution, None, None, False)
        super().__init__(found, trainable, channels, channel_dim, device, dtype)


class SELU(_SelfNormalizing):
    """SELU, with the parameters that zero mean and unit second moment fix (Klambauer et al., 2017).

    ``torch.nn.SELU`` computes the same; this one has a ``solution`` and, if asked, a trained lambda, as ``LSELU`` has.
    ``solution``, if given, must be SELU's own record. Any shape, to the same shape and type. Raises InputError for
    another record, and for options outside their domains.
    """

    act = "selu"

    def __init__(
        self,
        *,
        solution: Solution | Mapping[str, Any] | None = None,
        trainable: bool = False,
        channels: SupportsIndex | None = None,
        channel_dim: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        found = _solved(self.act) if solution is None else _own(self.act, solution)
        super().__init__(found, trainable, channels, channel_dim, device, dtype)


# Which parameters


def _find(
    act: str,
    epsilon: Number | None,
    depth: SupportsIndex | None,
    fan_in: SupportsIndex | None,
    solution: Solution | Mapping[str, Any] | None,
    lam: Number | None,
    lambda_min: Number | None,
    zero_mean: bool,
) -> Solution:
    """The solution that the options of a module ask for."""
    auto = isinstance(epsilon, str) and epsilon.strip() == "auto"
    given = {"epsilon": epsilon, "depth": depth, "fan_in": fan_in, "solution": solution}
    names = [name for name, value in given.items() if value is not None]
    name = act.upper()
    if not names:
        raise InputError(
            f"{name} needs one of epsilon, depth, fan_in and solution", f"{name}(epsilon=0.03), or {name}(depth=100)"
        )
    if len(names) > 1 and not (auto and names == ["epsilon", "fan_in"]):
        raise InputError(
            f"{' and '.join(names)} contradict each other: each alone says what epsilon is",
            f"leave out {' and '.join(names[1:])}",
        )
    if solution is not None:
        closing = {"lam": lam, "lambda_min": lambda_min, "zero_mean": zero_mean or None}
        if extra := [option for option, value in closing.items() if value is not None]:
            raise InputError(
                f"a solution already says what {' and '.join(extra)} is", f"leave out {' and '.join(extra)}"
            )
        return _own(act, solution)
    if fan_in is not None:
        epsilon = "auto"
    options = {"depth": depth, "fanin": fan_in, "lam": lam, "lambda_min": lambda_min, "zero_mean": zero_mean}
    return _solved(act, epsilon, **{option: value for option, value in options.items() if value is not None})


def _record(solution: Solution | Mapping[str, Any], act: str) -> Solution:
    """A Solution as it is or from its dict. Raises InputError, which says it in Python's words."""
    hint = 'snn_cli.solve("selu")' if act == "selu" else f'snn_cli.solve("{act}", epsilon=0.03)'
    if isinstance(solution, Mapping):
        try:
            return Solution.from_dict(solution)
        except SnnError as error:
            ready = "; for parameters of your own there are the functions lselu, sselu and dselu"
            raise InputError(f"{error}{ready}", hint) from error
    if not isinstance(solution, Solution):
        raise InputError(f"solution must be a record of snn_cli.solve or its dict, not {type(solution).__name__}", hint)
    return solution


def _own(act: str, given: Solution | Mapping[str, Any]) -> Solution:
    solution = _record(given, act)
    if solution.act != act:
        hint = f"{solution.act.upper()}(solution=...)" if solution.act in FAMILIES else None
        raise InputError(f"the solution is one of {solution.act}, not of {act}", hint)
    expected = {"lambda", "alpha", *(("beta",) if act in ("lselu", "sselu") else ())}
    params = solution.params
    if set(params) != expected or params["lambda"] <= 0 or (act == "sselu" and params["beta"] <= 0):
        raise InputError(
            f"the solution's parameters are not those of {act}: {dict(params)}", f'snn_cli.solve("{act}", epsilon=0.03)'
        )
    return solution


def _solved(act: str, epsilon: Number | None = None, **options: Any) -> Solution:
    """As ``solve``, once for many modules that are alike; messages name Python's arguments."""
    try:
        try:
            return _once(act, epsilon, **options)
        except TypeError:  # some value cannot be hashed; solve knows what to say of it
            return solve(act, epsilon, **options)
    except SnnError as error:
        _translate(error)


@lru_cache(maxsize=128, typed=True)
def _once(act: str, epsilon: Number | None, **options: Any) -> Solution:
    return solve(act, epsilon, **options)


def _translate(error: SnnError) -> NoReturn:
    def named(text: str) -> str:
        text = text.replace("--epsilon auto --", '--epsilon="auto", --').replace("--epsilon auto", '--epsilon="auto"')
        text = re.sub(r"--([a-z]+(?:-[a-z]+)*) ([0-9.e+-]*[0-9]|auto)\b", r"--\1=\2", text)
        return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda match: _ARGUMENTS.get(match[1], match[1]), text)

    error.args = tuple(named(str(part)) for part in error.args)
    error.hint = None if error.hint is None else named(error.hint)
    raise error


_ARGUMENTS = {"fanin": "fan_in", "lambda": "lam", "lambda-min": "lambda_min", "zero-mean": "zero_mean"}

FAMILIES: dict[str, type[_SelfNormalizing]] = {"selu": SELU, "dselu": DSELU, "lselu": LSELU, "sselu": SSELU}
"""Name of a family -> its module."""


def built(given: Solution | Mapping[str, Any], **options: Any) -> _SelfNormalizing:
    """The module of a solution. Raises InputError for one of another function."""
    solution = _record(given, "lselu")
    if solution.act not in FAMILIES:
        raise InputError(f"{solution.act} has no module; there are {', '.join(FAMILIES)}", "LSELU(epsilon=0.03)")
    kind: Any = FAMILIES[solution.act]
    module: _SelfNormalizing = kind(solution=solution, **options)
    return module
