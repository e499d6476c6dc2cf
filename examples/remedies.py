"""What a common mean of the weights does to a deep network, the two centralizations against it, and mixup's scale.

``python remedies.py`` takes seconds. The mean of the weights is above the tolerance ``1 / (sqrt(fan_in) E[f'])``.
What a centralized activation subtracts is common to the batch: the mean that each input has of its own, and that such
weights make grow, it leaves. Centralized weights remove both.
"""

from collections.abc import Callable

import torch
from torch import nn

from snn_cli.nn import (
    LSELU,
    CentralizedActivation,
    Mixup,
    ScaledMixup,
    centralize,
    centralize_,
    self_normalizing_init_,
)  # fmt: skip

DEPTH, WIDTH = 30, 512


def network(act: Callable[[], nn.Module]) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH), act()]
    model = self_normalizing_init_(nn.Sequential(*layers))
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight += 1.3 / WIDTH
    return model


def plain() -> nn.Module:
    return LSELU(depth=DEPTH, zero_mean=True)


variants = {
    "nothing": network(plain),
    "weights, parametrized": centralize(network(plain)),
    "weights, in place": centralize_(network(plain)),
    "activations": network(lambda: CentralizedActivation(plain())),
}
x = torch.randn(128, WIDTH) + 0.2
print(f"{'centralized':<22}  {'mean':>9}  {'second moment':>13}   of the pre-activations of layer {DEPTH}")
for name, model in variants.items():
    with torch.no_grad():
        y = model[:-1](x)
    print(f"{name:<22}  {y.mean().item():9.3f}  {y.square().mean().item():13.3f}")

x, label = torch.randn(4096, 256), torch.randint(10, (4096,))
print(f"\n{'mixup':<22}  {'alpha':>9}  {'second moment':>13}   of inputs of second moment 1")
for kind in (Mixup, ScaledMixup):
    for alpha in (0.2, 1.0):
        mixed, soft = kind(alpha, num_classes=10)(x, label)
        assert torch.allclose(soft.sum(1), torch.ones(4096))
        print(f"{kind.__name__:<22}  {alpha:9}  {mixed.square().mean().item():13.3f}")
