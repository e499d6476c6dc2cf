"""A deep network made for batch normalization, without it, and converted: which of them train?

``python convert_model.py`` takes less than half a minute. All three see the same batches, from the same seed.
"""

import time

import torch
from spirals import CLASSES, accuracy, training
from torch import nn

from snn_cli.nn import convert

torch.set_num_threads(1)  # layers this small gain nothing from more
DEPTH, WIDTH, STEPS = 60, 64, 200


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


torch.manual_seed(0)
converted = Classifier()
report = convert(converted, "lselu", depth=DEPTH)
print("\n".join(str(report).splitlines()[:3]), "...\n", sep="\n")

variants = {"batch normalization": Classifier(), "none": Classifier(norm=False), "converted": converted}
print(f"{'normalization':<20}  first loss  last loss  accuracy  seconds  parameters")
for name, model in variants.items():
    start = time.perf_counter()
    losses = list(training(model, STEPS))
    count = sum(p.numel() for p in model.parameters())
    took = time.perf_counter() - start
    correct = accuracy(model.eval(), 4000)
    print(f"{name:<20}  {losses[0]:10.3f}  {losses[-1]:9.3f}  {correct:8.3f}  {took:7.1f}  {count:10}")
