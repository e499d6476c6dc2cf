"""A deep classifier of spirals in plain torch: ``python train.py``; with two lines more: ``python train.py --with``."""

import sys

import torch
from spirals import CLASSES, accuracy, training
from torch import nn

from snn_cli.nn import LSELU, self_normalizing_init_

DEPTH, WIDTH, STEPS = 40, 64, 400

torch.manual_seed(0)
normalizing = "--with" in sys.argv
act = LSELU(depth=DEPTH) if normalizing else nn.ReLU()
layers: list[nn.Module] = [nn.Linear(2, WIDTH)]
for _ in range(DEPTH):
    layers += [act, nn.Linear(WIDTH, WIDTH)]
model = nn.Sequential(*layers, act, nn.Linear(WIDTH, CLASSES))
if normalizing:
    self_normalizing_init_(model)

for step, loss in enumerate(training(model, STEPS), 1):
    if step % 100 == 0:
        print(f"step {step}: loss {loss:.3f}, accuracy {accuracy(model, 2000):.3f}")
