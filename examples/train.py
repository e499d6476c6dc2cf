"""A deep classifier of spirals in plain torch: ``python train.py``; with two lines more: ``python train.py --with``."""

import sys

import torch
from torch import nn

from snn_cli.nn import LSELU, self_normalizing_init_

DEPTH, WIDTH, CLASSES, STEPS = 40, 64, 3, 400


def spirals(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    label = torch.randint(CLASSES, (n,), generator=generator)
    radius = torch.rand(n, generator=generator)
    angle = 2 * torch.pi * (label / CLASSES + radius) + 0.1 * torch.randn(n, generator=generator)
    return 2 * torch.stack([radius * angle.cos(), radius * angle.sin()], 1), label


torch.manual_seed(0)
normalizing = "--with" in sys.argv
act = LSELU(depth=DEPTH) if normalizing else nn.ReLU()
layers: list[nn.Module] = [nn.Linear(2, WIDTH)]
for _ in range(DEPTH):
    layers += [act, nn.Linear(WIDTH, WIDTH)]
model = nn.Sequential(*layers, act, nn.Linear(WIDTH, CLASSES))
if normalizing:
    self_normalizing_init_(model)

optimizer = torch.optim.Adam(model.parameters(), 3e-4)
generator = torch.Generator().manual_seed(1)
for step in range(STEPS):
    x, label = spirals(128, generator)
    loss = nn.functional.cross_entropy(model(x), label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 99:
        x, label = spirals(2000, torch.Generator().manual_seed(2))
        print(f"step {step + 1}: loss {loss.item():.3f}, accuracy {(model(x).argmax(1) == label).float().mean():.3f}")
