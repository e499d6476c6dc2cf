"""What an expression is made of, on torch tensors of one type and place."""

from __future__ import annotations

from typing import Any

import torch

from snn_cli.activations.expression.evaluate import Operators


class Tensors(Operators):
    """The functions, for tensors like ``x`` and for numbers; both branches of `where` are computed and one is kept."""

    def __init__(self, x: torch.Tensor) -> None:
        self._like = x
        self.exp, self.expm1, self.log, self.log1p = map(self._of, (torch.exp, torch.expm1, torch.log, torch.log1p))
        self.sqrt, self.tanh, self.sin, self.cos = map(self._of, (torch.sqrt, torch.tanh, torch.sin, torch.cos))
        self.erf, self.erfc, self.sigmoid = map(self._of, (torch.erf, torch.erfc, torch.sigmoid))
        self.absolute = self._of(torch.abs)
        self.least, self.largest = self._of(torch.minimum), self._of(torch.maximum)

    def _tensor(self, a: Any) -> torch.Tensor:
        if isinstance(a, torch.Tensor):
            return a
        return torch.full((), a, dtype=self._like.dtype, device=self._like.device)

    def _of(self, function: Any) -> Any:
        return lambda *args: function(*map(self._tensor, args))

    def div(self, a: Any, b: Any) -> Any:
        return self._tensor(a) / b

    def softplus(self, u: Any) -> Any:
        """Without the threshold of torch's own, beyond which it is u."""
        return torch.logaddexp(self._tensor(u), self._tensor(0.0))

    def power(self, a: Any, b: Any) -> Any:
        return torch.pow(self._tensor(a), b)

    def integer_power(self, a: Any, n: int) -> Any:
        return a * a if n == 2 else torch.pow(self._tensor(a), n)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        if isinstance(condition, bool):
            return a if condition else b
        return torch.where(condition, self._tensor(a), self._tensor(b))

    def both(self, a: Any, b: Any) -> Any:
        return b if a is True else a if b is True else a & b

    def either(self, a: Any, b: Any) -> Any:
        return b if a is False else a if b is False else a | b

    def negation(self, a: Any) -> Any:
        return not a if isinstance(a, bool) else ~a
