"""A deep network made for batch normalization, without it, and converted: which of them train?

``python convert_model.py`` takes less than half a minute. All three see the same batches, from the same seed.
"""

import time

import torch
from torch import nn

from snn_cli.nn import convert

torch.set_num_threads(1)  # layers this small gain nothing from more
DEPTH, WIDTH, CLASSES, STEPS = 60, 64, 3, 200


class Classifier(nn.Module):
    """Somebody's model: blocks of a layer, batch normalization and ReLU."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        self.stem = nn.Linear(2, WIDTH)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH) if norm else nn.Identity(), nn.ReLU())
                for _ in range(DEPTH)
            )
        )
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)))


def spirals(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    label = torch.randint(CLASSES, (n,), generator=generator)
    radius = torch.rand(n, generator=generator)
    angle = 2 * torch.pi * (label / CLASSES + radius) + 0.1 * torch.randn(n, generator=generator)
    return 2 * torch.stack([radius * angle.cos(), radius * angle.sin()], 1), label


def train(model: nn.Module) -> tuple[float, float, float]:
    """First and last loss, and the accuracy in evaluation."""
    optimizer = torch.optim.Adam(model.parameters(), 3e-4)
    generator, losses = torch.Generator().manual_seed(1), []
    for _ in range(STEPS):
        x, label = spirals(128, generator)
        loss = nn.functional.cross_entropy(model(x), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    x, label = spirals(4000, torch.Generator().manual_seed(2))
    with torch.no_grad():
        accuracy = (model.eval()(x).argmax(1) == label).float().mean().item()
    return losses[0], losses[-1], accuracy


torch.manual_seed(0)
converted = Classifier()
report = convert(converted, "lselu", depth=DEPTH)
print("\n".join(str(report).splitlines()[:3]), "...\n", sep="\n")

variants = {"batch normalization": Classifier(), "none": Classifier(norm=False), "converted": converted}
print(f"{'normalization':<20}  first loss  last loss  accuracy  seconds  parameters")
for name, model in variants.items():
    start = time.perf_counter()
    first, last, accuracy = train(model)
    count = sum(p.numel() for p in model.parameters())
    took = time.perf_counter() - start
    print(f"{name:<20}  {first:10.3f}  {last:9.3f}  {accuracy:8.3f}  {took:7.1f}  {count:10}")
