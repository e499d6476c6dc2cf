"""Dropout that keeps mean and second moment of a self-normalizing activation, as alpha dropout does for SELU."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from snn_cli.errors import InputError
from snn_cli.nn.function import checked
from snn_cli.nn.moments import activation_moments, number


class SelfNormalizingDropout(nn.Module):
    """Put after an activation ``f``: keeps ``E[f(z)]`` and ``E[f(z)^2]`` for ``z ~ N(0,1)``. Any shape, to the same.

    With probability p a value becomes t, and all are then mapped by ``a y + b``. With ``q = 1 - p``, mean m and
    variance v of ``f(z)``

        a = 1 / sqrt(q + p q (m - t)^2 / v),        b = m - a (q m + p t)

    which for ``m = 0, v = 1`` are the constants of alpha dropout (Klambauer et al., 2017). In evaluation, and for
    ``p = 0``, nothing is done.

    p
        Probability of a value to be dropped, at least 0 and below 1.
    act
        The activation before it: a module, a function of tensors or a Solution. It is read here, once: a trained
        lambda counts with its value at this time.
    value
        What a dropped value becomes, t, a finite number. None: the tail value ``f(-inf)``, at which the unit is
        saturated and says nothing about its input, as ``-lambda alpha`` for sSELU, dSELU and SELU. A function without
        a finite one, such as lSELU with its leak, never saturates; t is then the mean m, which says nothing about the
        input either. That is the mildest choice: ``a = 1/sqrt(q)`` and ``b = m (1 - a)``, and of all t it leaves most
        of the variance to the signal. Every finite t keeps both moments.

    Make it anew where the activation before it changes. Source: the conditions of theory, section 2; held by
    test_nn_remedies.py::test_dropout_keeps_mean_and_second_moment. Raises InputError for p or value outside their
    domains, an act that is no elementwise function with finite moments, and an input that is not floating-point.
    """

    def __init__(self, p: float, act: Any, *, value: float | None = None) -> None:
        super().__init__()
        if not 0 <= number(p) < 1:
            raise InputError(f"p must be at least 0 and below 1, not {p!r}", "p=0.1")
        if value is not None and not math.isfinite(number(value)):
            raise InputError(f"value must be a finite number or None, not {value!r}", "leave out value")
        found = activation_moments(act)[1]
        self.p = float(p)
        self.value = float(value) if value is not None else found.mean if found.tail is None else found.tail
        q = 1 - self.p
        away = found.mean - self.value
        self.a = 1 / math.sqrt(q + self.p * q * away * away / found.variance)
        self.b = found.mean - self.a * (q * found.mean + self.p * self.value)

    def forward(self, y: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return y
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            checked(y)
        # not from uniform numbers of y's type: those of bfloat16 are multiples of 1/256
        dropped = torch.empty_like(y, dtype=torch.bool).bernoulli_(self.p)
        return torch.where(dropped, self.a * self.value + self.b, self.a * y + self.b)

    def extra_repr(self) -> str:
        return f"p={self.p:g}, value={self.value:.6g}, a={self.a:.6g}, b={self.b:.6g}"
