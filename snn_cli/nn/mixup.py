"""Mixup: inputs and targets that are mixtures of two, and the scaling that gives mixtures their second moment back."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_cli.errors import InputError
from snn_cli.exact import positive_integer
from snn_cli.nn.moments import number


class Mixup(nn.Module):
    """``x = t x_a + (1 - t) x_b`` with ``t ~ Beta(alpha, alpha)``; the targets likewise (Zhang et al., 2018).

    ``x, target = mixup(x, target)`` in the training loop. ``x_b`` is another sample of the batch: partners form one
    cycle in random order, so no sample meets itself. The second moment of inputs with correlation ``c0`` is scaled by
    ``(alpha + 1 + c0 alpha) / (2 alpha + 1)``. In evaluation only the targets change, into soft ones.

    alpha
        Above 0.
    num_classes
        For targets that are class numbers: they become probabilities, as ``nn.CrossEntropyLoss`` takes them.
    per_sample
        A t for each sample, or one for the batch.

    x
        Floating point, ``(batch, ...)``.
    target
        Class numbers, whole, ``(batch, ...)``: become ``(batch, num_classes, ...)`` in the type of x. Floating point,
        ``(batch, ...)``: mixed as they are.

    Source: theory, section 6. Raises InputError for an alpha that is not above 0, an x without a batch or of whole
    numbers, a target of another batch size, and class numbers without ``num_classes`` or outside of it.
    """

    scaled = False

    def __init__(self, alpha: float, num_classes: int | None = None, *, per_sample: bool = True) -> None:
        super().__init__()
        if not 0 < number(alpha) < math.inf:
            raise InputError(f"alpha must be a finite number above 0, not {alpha!r}", "alpha=0.2")
        self.alpha = float(alpha)
        example = "num_classes=10"
        self.num_classes = (
            None if num_classes is None else positive_integer(num_classes, "num_classes", example=example)
        )
        if not isinstance(per_sample, bool):
            raise InputError(f"per_sample must be True or False, not {per_sample!r}", "per_sample=True")
        self.per_sample = per_sample

    @torch.no_grad()
    def forward(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() == 0:
            kind = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"x must be a floating-point tensor (batch, ...), not {kind}", "x.float()")
        soft = self._soft(x, target)
        n = x.shape[0]
        if not self.training or n < 2:
            return x, soft
        t = self._shares(n if self.per_sample else 1, x)
        order = torch.randperm(n, device=x.device)
        partner = torch.empty_like(order)
        partner[order] = order.roll(1)
        mixed = _mixture(x, x[partner], t)
        if self.scaled:
            size = (t * t + (1 - t) * (1 - t)).sqrt()
            mixed = mixed / size.to(x.dtype).reshape(-1, *[1] * (x.dim() - 1))
        return mixed, _mixture(soft, soft[partner], t)

    def _shares(self, n: int, x: Tensor) -> Tensor:
        """Of the first in each mixture, ``(n,)``, in at least 32 bits."""
        wide = torch.promote_types(x.dtype, torch.float32)
        alpha = torch.tensor(self.alpha, dtype=wide, device=x.device)
        beta = torch.distributions.Beta(alpha, alpha, validate_args=False)
        shares: Tensor = beta.sample(torch.Size((n,)))
        return shares

    def _soft(self, x: Tensor, target: Tensor) -> Tensor:
        if not isinstance(target, Tensor) or target.dim() == 0 or target.shape[0] != x.shape[0]:
            shape = tuple(target.shape) if isinstance(target, Tensor) else type(target).__name__
            raise InputError(
                f"the target must be a tensor with the batch size of x, {x.shape[0]}, first; it is {shape}",
                "give a target for each sample",
            )
        if target.is_floating_point():
            return target
        if self.num_classes is None:
            raise InputError(
                "class numbers can only be mixed as probabilities, and the number of classes is not known",
                f"{type(self).__name__}({self.alpha:g}, num_classes=10)",
            )
        classes = target.long()
        if target.device.type == "cpu" and target.numel():
            low, high = int(classes.min()), int(classes.max())
            if low < 0 or high >= self.num_classes:
                raise InputError(
                    f"class numbers must be from 0 to {self.num_classes - 1}; they are from {low} to {high}",
                    "targets without the negative ones" if low < 0 else f"num_classes={high + 1}",
                )
        return functional.one_hot(classes, self.num_classes).movedim(-1, 1).to(x.dtype)

    def extra_repr(self) -> str:
        parts = [f"alpha={self.alpha:g}"]
        if self.num_classes is not None:
            parts.append(f"num_classes={self.num_classes}")
        if not self.per_sample:
            parts.append("per_sample=False")
        return ", ".join(parts)


class ScaledMixup(Mixup):
    """Mixup whose inputs are divided by ``sqrt(t^2 + (1-t)^2)``: independent ones keep their second moment.

    Arguments, shapes, source and errors as for ``Mixup``; targets are mixed with t and ``1 - t``, unscaled.
    """

    scaled = True


def _mixture(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    share = t.to(a.dtype).reshape(-1, *[1] * (a.dim() - 1))
    return b + share * (a - b)
