"""Points on three spirals, and training on them: what ``train.py`` and ``convert_model.py`` share."""

from collections.abc import Iterator

import torch
from torch import nn

CLASSES = 3


def spirals(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    label = torch.randint(CLASSES, (n,), generator=generator)
    radius = torch.rand(n, generator=generator)
    angle = 2 * torch.pi * (label / CLASSES + radius) + 0.1 * torch.randn(n, generator=generator)
    return 2 * torch.stack([radius * angle.cos(), radius * angle.sin()], 1), label


def training(model: nn.Module, steps: int) -> Iterator[float]:
    """The loss of every step; the batches are the same for every model."""
    optimizer = torch.optim.Adam(model.parameters(), 3e-4)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x, label = spirals(128, generator)
        loss = nn.functional.cross_entropy(model(x), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


@torch.no_grad()
def accuracy(model: nn.Module, n: int) -> float:
    x, label = spirals(n, torch.Generator().manual_seed(2))
    return (model(x).argmax(1) == label).float().mean().item()
