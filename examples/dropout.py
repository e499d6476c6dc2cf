"""Dropout in a deep network: which kind leaves the second moment of the signal where it is.

``python dropout.py`` sends Gaussian inputs through 32 layers with dropout 0.1 after each activation. Alpha dropout has
SELU's constants; plain dropout none.
"""

import torch
from torch import nn

from snn_cli.nn import LSELU, SELU, SSELU, SelfNormalizingDropout, self_normalizing_init_

DEPTH, WIDTH, P = 32, 512, 0.1
ACTS = {"selu": SELU(), "sselu": SSELU(depth=DEPTH), "lselu": LSELU(depth=DEPTH)}


def kinds(act: nn.Module) -> dict[str, nn.Module]:
    return {"plain": nn.Dropout(P), "alpha": nn.AlphaDropout(P), "self-normalizing": SelfNormalizingDropout(P, act)}


print("second moment of the pre-activations, 1 without dropout\n")
print(f"{'activation':<10}  {'dropout':<16}  {'layer 1':>9}  {'layer 8':>9}  {'layer 32':>9}")
for name, act in ACTS.items():
    for kind, dropout in kinds(act).items():
        torch.manual_seed(0)
        with torch.no_grad():
            x = torch.randn(512, WIDTH)
            seen = []
            for _ in range(DEPTH):
                layer = self_normalizing_init_(nn.Linear(WIDTH, WIDTH))
                x = layer(dropout(act(x)))
                seen.append(x.square().mean().item())
        print(f"{name:<10}  {kind:<16}  {seen[0]:9.3f}  {seen[7]:9.3f}  {seen[-1]:9.3f}")
