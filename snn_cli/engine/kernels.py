"""What an activation is to the engine: a pair of functions on tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


class Kernel(NamedTuple):
    """``forward(x, saved) -> f(x)`` and ``backward(u, saved) -> u f'(x)``.

    ``saved`` is a tensor of the shape of x that forward fills and backward may overwrite; x and u may be overwritten,
    and what is returned may be any of them.
    """

    forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    backward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
