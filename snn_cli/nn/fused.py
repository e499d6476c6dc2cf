"""The activations and their derivatives as one CUDA kernel each, written in Triton: every tensor is read once.

Beside ``snn_cli.nn.function``, which loads this module only where there is a CUDA tensor and Triton is installed.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""All are computed in 32 bits, which is what Triton makes of a float argument; for float64 that would not do."""

BLOCK = 1024


@triton.jit
def _expm1(y):
    """``e^y - 1`` for ``y <= 0``: the difference where nothing cancels, else 10 terms of the series.

    The rest of the series is below ``0.5^10 / 11! = 2.5e-11`` of the value.
    """
    p = 1.0 + y * 0.1
    p = 1.0 + y * p * 0.1111111111111111
    p = 1.0 + y * p * 0.125
    p = 1.0 + y * p * 0.14285714285714285
    p = 1.0 + y * p * 0.16666666666666666
    p = 1.0 + y * p * 0.2
    p = 1.0 + y * p * 0.25
    p = 1.0 + y * p * 0.3333333333333333
    p = 1.0 + y * p * 0.5
    return tl.where(y > -0.5, y * p, tl.exp(y) - 1.0)


@triton.jit
def _value(x_at, y_at, n, steep, amplitude, rate, slope, sloped: tl.constexpr, block: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < n
    x = tl.load(x_at + at, mask=inside, other=0.0).to(tl.float32)
    left = amplitude * _expm1(rate * tl.where(x < 0.0, x, 0.0))
    if sloped:  # at -inf a line of slope 0 is 0
        left += slope * x
    tl.store(y_at + at, tl.where(x < 0.0, left, steep * x).to(y_at.dtype.element_ty), mask=inside)


@triton.jit
def _gradient(u_at, x_at, g_at, n, steep, amplitude, rate, slope, block: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < n
    x = tl.load(x_at + at, mask=inside, other=0.0).to(tl.float32)
    u = tl.load(u_at + at, mask=inside, other=0.0).to(tl.float32)
    left = amplitude * rate * tl.exp(rate * tl.where(x < 0.0, x, 0.0)) + slope
    tl.store(g_at + at, (u * tl.where(x < 0.0, left, steep)).to(g_at.dtype.element_ty), mask=inside)


def value(x: torch.Tensor, steep: float, amplitude: float, rate: float, slope: float) -> torch.Tensor:
    """f(x), in the memory format of x."""
    y = torch.empty_like(x)
    x = _like(x, y)
    n = y.numel()
    if n:
        with torch.cuda.device_of(x):
            _value[(triton.cdiv(n, BLOCK),)](x, y, n, steep, amplitude, rate, slope, slope != 0, BLOCK)
    return y


def gradient(
    u: torch.Tensor, x: torch.Tensor, steep: float, amplitude: float, rate: float, slope: float
) -> torch.Tensor:
    """u f'(x), in the memory format of x; at 0 the right-hand derivative."""
    g = torch.empty_like(x)
    u, x = _like(u, g), _like(x, g)
    n = g.numel()
    if n:
        with torch.cuda.device_of(x):
            _gradient[(triton.cdiv(n, BLOCK),)](u, x, g, n, steep, amplitude, rate, slope, BLOCK)
    return g


def _like(x: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
    """x with its elements in memory where those of ``dense``, which has no gaps, are: the kernels know no strides."""
    return x if x.stride() == dense.stride() else torch.empty_like(dense).copy_(x)
