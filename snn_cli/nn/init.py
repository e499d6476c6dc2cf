"""Weights of a self-normalizing network: mean 0, variance ``sigma_w^2 / fan_in``, biases 0."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from snn_cli import ensembles
from snn_cli.errors import InputError, nearest
from snn_cli.nn.fan import (
    CONVOLUTIONS,
    TRANSPOSED,
    WEIGHT_LAYERS,
    Geometry,
    geometry,
    require_real,
    stored_weight,
    weight_layers,
)
from snn_cli.nn.moments import number

Module = TypeVar("Module", bound=nn.Module)

WEIGHTS = (*ensembles.ENSEMBLES, "delta-orthogonal")
"""What ``weights`` may be."""


def self_normalizing_init_(
    module: Module,
    weights: str = "gaussian",
    sigma_w: float = 1.0,
    generator: torch.Generator | None = None,
) -> Module:
    """Draw the weights of a layer, or of every layer of a model, in place; biases become 0. Returns the module.

    Weights have mean 0 and variance ``sigma_w^2 / fan_in``, so that inputs of second moment 1 give outputs of second
    moment ``sigma_w^2``. With ``sigma_w = 1`` and ``gaussian`` that is LeCun's normal initialization.

    module
        Linear, Bilinear, Conv or ConvTranspose, or a model that holds some. Weights shared by layers are drawn once,
        with the fan-in of the first; frozen parameters (``requires_grad`` False) and what is inside torch's attention,
        transformer and recurrent modules stay as they are.
    weights
        ``gaussian``, ``uniform``, ``truncated`` (at two deviations of the normal distribution that is cut);
        ``orthogonal``: a Haar orthogonal matrix for each group, its shorter side orthogonal, scaled to that variance;
        ``delta-orthogonal``: for convolutions an orthogonal matrix at the middle tap and zeros elsewhere (Xiao et al.,
        2018), so the fan-in is that of the middle tap alone; ``orthogonal`` for other layers.
    sigma_w
        Above 0.
    generator
        Source of random numbers, on the device of the weights; torch's own if None.

    A parametrization has the last word: spectral_norm sets the scale that it sets. An embedding whose table is a
    layer's weight is drawn with that layer.

    Source: LeCun et al., "Efficient BackProp" (1998); Mezzadri (2007) for Haar's measure. Raises InputError for another
    value, a module without such layers, weights that are not of a real floating type, not yet there, or computed by a
    hook or by a parametrization without ``right_inverse``, a fan-in of 0, and delta-orthogonal weights of a transposed
    convolution with a stride, which would leave outputs without any input. Nothing is written before all is checked.
    """
    initialize(module, weights, sigma_w, generator, strict=True)
    return module


def initialize(
    module: nn.Module,
    weights: str = "gaussian",
    sigma_w: float = 1.0,
    generator: torch.Generator | None = None,
    keep: frozenset[str] = frozenset(),
    strict: bool = False,
) -> tuple[list[str], dict[str, str]]:
    """Do that; returns the names of the layers that were drawn, and of those left or altered with the reason.

    ``keep`` are names of layers to leave. ``strict``: InputError for a weight that something else computes, which is
    left otherwise. Everything is checked before anything is written.
    """
    check_weights(weights, sigma_w)
    if generator is not None and not isinstance(generator, torch.Generator):
        raise InputError(f"generator must be a torch.Generator, not {generator!r}", "torch.Generator().manual_seed(0)")
    if not isinstance(module, nn.Module):
        raise InputError(f"there is nothing to initialize in {module!r}", "give a layer or a model")
    layers = list(weight_layers(module))
    if not layers:
        kinds = ", ".join(kind.__name__ for kind in WEIGHT_LAYERS)
        raise InputError(f"{type(module).__name__} holds no layer to initialize; that is {kinds}", "give a model")
    done: list[str] = []
    left: dict[str, str] = {}
    plan: list[tuple[nn.Module, Geometry]] = []
    tied: list[nn.Module] = []
    first: dict[int, str] = {}
    for name, layer in layers:
        if name in keep:
            left[name] = "kept as asked"
            continue
        shape = geometry(layer)
        require_real(layer)
        stored = stored_weight(layer)
        if id(stored) in first:
            left[name] = f"shares its weight with {first[id(stored)]}"
            tied.append(layer)
        elif stored is not None and not stored.requires_grad:
            left[name] = "frozen"
        elif why := _computed(layer, stored):
            if strict:
                raise InputError(f"{name or layer} cannot be drawn: {why}", "draw first, register it then")
            left[name] = why
        else:
            _check_delta(layer, weights)
            first[id(stored)] = name
            plan.append((layer, shape))
            done.append(name)
    for name, (layer, shape) in zip(done, plan, strict=True):
        _draw_(layer, shape, weights, float(sigma_w), generator)
        if altered := _altered(layer, shape, weights, float(sigma_w)):
            left[name] = altered
    for layer in tied:
        _clear_bias_(layer)
    return done, left


def _computed(layer: nn.Module, stored: Tensor | None) -> str | None:
    """What keeps a weight from being written."""
    if stored is None:
        return "a hook computes its weight"
    if parametrize.is_parametrized(layer, "weight"):
        chain: Any = layer.parametrizations
        if not all(hasattr(part, "right_inverse") for part in chain["weight"]):
            return "its parametrization has no right_inverse"
    return None


def _altered(layer: nn.Module, shape: Geometry, weights: str, sigma_w: float) -> str | None:
    """What a parametrization made of the scale that was drawn, in words."""
    if not parametrize.is_parametrized(layer, "weight") or weights == "delta-orthogonal":
        return None
    weight: Tensor = layer.weight.detach()  # type: ignore[operator]
    if weight.is_meta:
        return None
    ratio = float(weight.double().square().mean()) * shape.fan_in / sigma_w**2
    spread = 5 * math.sqrt(2 / weight.numel())
    return None if abs(ratio - 1) <= spread else f"its parametrization makes their second moment {ratio:.3g} of that"


def check_weights(weights: str, sigma_w: float) -> None:
    """Raises InputError where they are not what ``self_normalizing_init_`` takes."""
    if weights not in WEIGHTS:
        near = nearest(str(weights).lower(), WEIGHTS, "gaussian", cutoff=0.4)
        raise InputError(
            f"no weight ensemble is called {weights!r}; there are {', '.join(WEIGHTS)}",
            f'weights="{near}"',
        )
    if not 0 < number(sigma_w) < math.inf:
        raise InputError(f"sigma_w must be a finite number above 0, not {sigma_w!r}", "sigma_w=1")


def _check_delta(layer: nn.Module, weights: str) -> None:
    if weights == "delta-orthogonal" and isinstance(layer, TRANSPOSED) and max(layer.stride) > 1:
        raise InputError(
            f"{layer} cannot have delta-orthogonal weights: with one tap a stride leaves outputs without any input",
            'weights="orthogonal"',
        )


@torch.no_grad()
def _draw_(layer: nn.Module, shape: Geometry, weights: str, sigma_w: float, generator: torch.Generator | None) -> None:
    weight: Tensor = layer.weight  # type: ignore[assignment]
    wide = weight.dtype if weight.dtype in (torch.float32, torch.float64) else torch.float32
    out = torch.empty(shape.groups, shape.outputs, shape.inputs, shape.taps, dtype=wide, device=weight.device)
    if weights == "delta-orthogonal" and isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)):
        # even kernels have no middle: the tap just after it
        middle = 0
        for size in layer.kernel_size:
            middle = middle * size + size // 2
        out.zero_()
        for group in out:
            group[:, :, middle] = _haar(group[:, :, middle], sigma_w / math.sqrt(shape.inputs), generator)
    elif weights in ("orthogonal", "delta-orthogonal"):
        for group in out:
            flat = group.reshape(shape.outputs, -1)
            group.copy_(_haar(flat, sigma_w / math.sqrt(shape.fan_in), generator).reshape(group.shape))
    else:
        _fill_(out, weights, sigma_w / math.sqrt(shape.fan_in), generator)
    value = shape.gather(out, weight.shape).to(weight.dtype)
    if parametrize.is_parametrized(layer, "weight"):
        layer.weight = value  # through the parametrization's right_inverse
    else:
        weight.copy_(value)
    _clear_bias_(layer)


@torch.no_grad()
def _clear_bias_(layer: nn.Module) -> None:
    bias = layer.bias
    if isinstance(bias, Tensor) and bias.requires_grad:
        if parametrize.is_parametrized(layer, "bias"):
            layer.bias = torch.zeros_like(bias)
        else:
            bias.zero_()


def _fill_(out: Tensor, weights: str, deviation: float, generator: torch.Generator | None) -> None:
    """Independent entries of mean 0 and that deviation."""
    if weights == "uniform":
        bound = deviation * math.sqrt(3)
        out.uniform_(-bound, bound, generator=generator)
    elif weights == "truncated":
        cut = ensembles.TRUNCATION
        edge = math.erf(cut / math.sqrt(2))
        out.uniform_(-edge, edge, generator=generator).erfinv_()
        out.mul_(math.sqrt(2) * deviation / math.sqrt(ensembles.variance_kept(cut)))
    else:
        out.normal_(0, deviation, generator=generator)


def _haar(like: Tensor, deviation: float, generator: torch.Generator | None) -> Tensor:
    """A Haar orthogonal matrix of that shape, its longer side orthonormal, scaled to entries of that deviation.

    QR of a Gaussian matrix with the signs of R's diagonal taken out (Mezzadri, 2007).
    """
    rows, columns = like.shape
    tall, short = max(rows, columns), min(rows, columns)
    gaussian = torch.empty(tall, short, dtype=like.dtype, device=like.device).normal_(generator=generator)
    q, r = torch.linalg.qr(gaussian)
    q *= torch.sign(torch.diagonal(r)) * (deviation * math.sqrt(tall))
    matrix: Tensor = q if rows == tall else q.T
    return matrix
