"""A user's own model: what is measured equals probes placed by hand, what is predicted holds, nothing is changed."""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import random
import subprocess
import sys
from functools import partial

import mpmath
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from snn_cli import (  # noqa: E402
    CannotCompute,
    InputError,
    assert_self_normalizing,
    simulate,
    simulate_model,
    solve,
    verify_model,
)
from snn_cli.graph import Function  # noqa: E402
from snn_cli.models import load, parse_input, simulate_path, verify_path  # noqa: E402
from snn_cli.nn import SSELU, convert, self_normalizing_init_  # noqa: E402
from snn_cli.propagation.model import function_moments  # noqa: E402
from snn_cli.reports.model import findings  # noqa: E402
from snn_cli.reports.model import report as written  # noqa: E402

SEED = 5


class Residual(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.short = nn.Conv2d(inside, outside, 1, stride) if stride != 1 or inside != outside else nn.Identity()

    def forward(self, x):
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.short(x))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        self.pool = nn.MaxPool2d(2)
        self.blocks = nn.Sequential(Residual(16, 16), Residual(16, 24, 2))
        self.head = nn.Linear(24, 7)

    def forward(self, x):
        x = self.blocks(self.pool(functional.relu(self.stem(x))))
        return self.head(x.mean((2, 3)))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        self.norm1 = nn.LayerNorm(32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.norm2 = nn.LayerNorm(32)
        self.up, self.act, self.down = nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32)
        self.head = nn.Linear(32, 50)

    def forward(self, tokens):
        x = self.embed(tokens)
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.down(self.act(self.up(self.norm2(x))))
        return {"logits": self.head(x), "hidden": x}


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(inplace=True))
        self.down = nn.Sequential(nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(inplace=True))
        self.middle = nn.Sequential(nn.Conv2d(24, 24, 3, padding=1), nn.SiLU())
        self.up = nn.ConvTranspose2d(24, 12, 2, 2)
        self.last = nn.Sequential(nn.Conv2d(24, 12, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(12, 2, 1))

    def forward(self, x):
        skipped = self.first(x)
        x = self.up(self.middle(self.down(skipped)))
        return self.last(torch.cat([skipped, x], 1))


def made(kind: type[nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind()


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int) -> torch.Tensor:
    """Of mean 0 and second moment 1, exactly."""
    batch = normal(*shape) - normal(*shape).mean()
    return batch / batch.square().mean().sqrt()


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(50, shape, generator=torch.Generator().manual_seed(2))


CASES = {
    "residual": (ResNet, normal(6, 3, 16, 16)),
    "transformer": (Transformer, tokens(5, 9)),
    "unet": (UNet, normal(4, 3, 16, 16)),
}


def flat(returned) -> list[torch.Tensor]:
    if isinstance(returned, dict):
        return list(returned.values())
    return [returned] if isinstance(returned, torch.Tensor) else list(returned)


def probed(model: nn.Module, batch: torch.Tensor, names: list[str]) -> dict[str, tuple[float, float, float, float]]:
    """q, mean, squared gradient and growth of every layer named, with autograd and nothing else.

    Outputs are kept before anything is written into them; the gradient is added to a copy of the output by a zero
    that takes part in the graph, and the growth is a product with the layer's own Jacobian, taken alone.
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    seen, zeros, handles = {}, {}, []

    def after(name):
        def hook(module, given, returned):
            first = returned[0] if isinstance(returned, tuple) else returned
            zeros[name] = torch.zeros_like(first, requires_grad=True)
            seen[name] = module, [x.detach() for x in given], first.detach()
            return (first + zeros[name], *returned[1:]) if isinstance(returned, tuple) else first + zeros[name]

        return hook

    for name in names:
        handles.append(model.get_submodule(name).register_forward_hook(after(name)))
    ends = flat(model(batch))
    for handle in handles:
        handle.remove()
    generator = torch.Generator().manual_seed(SEED)
    gradients = [torch.randn(end.shape, generator=generator) for end in ends]
    found = torch.autograd.grad(ends, list(zeros.values()), gradients)
    numbers = {}
    for (name, (module, given, value)), gradient in zip(seen.items(), found, strict=True):
        growth = math.nan
        if given[0].is_floating_point():
            roots = [x.clone().requires_grad_() for x in given]
            alone = module(*roots)
            alone = alone[0] if isinstance(alone, tuple) else alone
            inside = torch.autograd.grad(alone, roots, gradient, allow_unused=True)
            total = sum(float(x.double().square().sum()) for x in inside if x is not None)
            growth = total / float(gradient.double().square().sum())
        numbers[name] = (
            float(value.double().square().mean()),
            float(value.double().mean()),
            float(gradient.double().square().sum()) / len(batch),
            growth,
        )
    return numbers


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("training", [True, False])
def test_every_number_equals_a_probe(name, training):
    kind, batch = CASES[name]
    model = made(kind).train(training)
    report = verify_model(model, batch, seed=SEED)
    numbers = probed(model, batch, [layer.name for layer in report.layers])
    assert set(numbers) == {layer.name for layer in report.layers}
    for layer in report.layers:
        q, mean, gradient, growth = numbers[layer.name]
        assert layer.q == pytest.approx(q, rel=2e-5), layer
        assert layer.mean == pytest.approx(mean, rel=1e-4, abs=1e-6), layer
        assert layer.gradient == pytest.approx(gradient, rel=2e-5), layer
        if math.isnan(growth):
            assert layer.growth is None
        else:
            assert layer.growth == pytest.approx(growth, rel=5e-5), layer


@pytest.mark.parametrize("name", CASES)
def test_the_growth_to_the_input(name):
    kind, batch = CASES[name]
    model = made(kind)
    report = verify_model(model, batch, seed=SEED)
    generator = torch.Generator().manual_seed(SEED)
    if batch.is_floating_point():
        root = batch.clone().requires_grad_()
        ends = flat(copy.deepcopy(model)(root))
        gradients = [torch.randn(end.shape, generator=generator) for end in ends]
        (inside,) = torch.autograd.grad(ends, [root], gradients)
        value = float(inside.double().square().sum())
    else:
        value = report.layers[0].gradient * len(batch)
        gradients = [torch.randn(end.shape, generator=generator) for end in flat(copy.deepcopy(model)(batch))]
    out = sum(float(g.double().square().sum()) for g in gradients)
    assert report.gradient_out == pytest.approx(out / len(batch), rel=1e-5)
    assert report.measured.log_growth == pytest.approx(math.log(value / out), abs=1e-4)


class Restless(nn.Module):
    """Changes whatever it can while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.last = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 3))
        self.register_buffer("seen", torch.zeros(3))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        self.seen += torch.rand(3)
        with torch.no_grad():
            self.first.weight.mul_(1.5)
        x = self.drop(self.norm(self.first(x)) + float(np.random.rand()) + random.random())
        return self.last(x), None


@pytest.mark.parametrize("failing", [False, True])
def test_the_model_is_left_bit_for_bit_as_it_was(failing):
    model = made(Restless)
    model.norm.train(False)
    model.first.weight.grad = torch.ones(8, 8)
    model.last.bias.requires_grad_(False)
    calls = []
    model.first.register_forward_hook(lambda *_: calls.append(1))
    weights = [id(p) for p in model.parameters()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    if failing:
        with pytest.raises(CannotCompute):
            verify_model(model, normal(4, 9))
    else:
        verify_model(model, normal(4, 8))
        simulate_model(model, normal(4, 8))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert [id(p) for p in model.parameters()] == weights
    assert torch.equal(model.first.weight.grad, torch.ones(8, 8))
    assert all(p.grad is None for name, p in model.named_parameters() if name != "first.weight")
    assert model.calls == 0
    assert len(model.first._forward_hooks) == 1
    assert not model.first._forward_pre_hooks
    assert not model.last._forward_hooks
    assert (model.training, model.norm.training, model.drop.training) == (True, False, True)
    assert [p.requires_grad for p in model.last.parameters()].count(False) == 1


def chain(act: str, depth: int, width: int, seed: int = 0, **params: float) -> nn.Sequential:
    """LeCun normal weights, whose second moment is made exact, and no biases."""
    layers: list[nn.Module] = []
    generator = torch.Generator().manual_seed(seed)
    for i in range(depth):
        linear = nn.Linear(width, width, bias=False)
        with torch.no_grad():
            weights = torch.randn(width, width, generator=generator)
            weights -= weights.mean()
            linear.weight.copy_(weights / weights.square().mean().sqrt() / math.sqrt(width))
        layers += [{"selu": nn.SELU, "tanh": nn.Tanh, "relu": nn.ReLU}[act](**params), linear]
        del i
    return nn.Sequential(*layers)


@pytest.mark.parametrize("act", ["selu", "tanh", "relu"])
def test_a_chain_is_predicted_as_simulate_does(act):
    """The same mean field by another way: a graph of a traced run, against the recursion over layers."""
    depth, batch = 12, unit(64, 128)
    found = simulate_model(chain(act, depth, 128), batch)
    theory = simulate(act, depth=depth)
    linear = [layer for layer in found.layers if layer.kind == "Linear"]
    assert [layer.q for layer in linear] == pytest.approx(list(theory.profile.q[1:]), rel=1e-5)
    assert found.gradient.log_growth == pytest.approx(theory.gradient.log_growth, abs=1e-4)
    assert found.depth == depth


def test_moments_of_a_function_with_40_digits():
    mean, variance = 0.3, 1.7
    lam, alpha = 1.0507009873554805, 1.6732632423543772

    def f(x):
        return np.where(x > 0, lam * x, lam * alpha * np.expm1(np.minimum(x, 0))), np.where(
            x > 0, lam, lam * alpha * np.exp(np.minimum(x, 0))
        )

    m = function_moments(Function(f), mean, variance)
    with mpmath.workdps(40):
        scale = mpmath.sqrt(variance)

        def expected(g):
            kink = -mean / scale
            return mpmath.quad(lambda z: g(mean + scale * z) * mpmath.npdf(z), [-20, kink, 0, 20])

        def value(x):
            return lam * x if x > 0 else lam * alpha * mpmath.expm1(x)

        def slope(x):
            return mpmath.mpf(lam) if x > 0 else lam * alpha * mpmath.exp(x)

        assert m.mean == pytest.approx(float(expected(value)), abs=1e-12)
        assert m.second_moment == pytest.approx(float(expected(lambda x: value(x) ** 2)), rel=1e-12)
        assert m.chi == pytest.approx(float(expected(lambda x: slope(x) ** 2)), rel=1e-12)
        assert m.slope == pytest.approx(float(expected(slope)), rel=1e-12)
    rho = 0.6
    z, weights = np.polynomial.hermite_e.hermegauss(160)  # a smooth integrand: the kink is averaged over w
    weights = weights / weights.sum()
    other = math.sqrt(variance * (1 - rho))
    grid = np.linspace(-9, 9, 20001)
    density = np.exp(-grid * grid / 2) / math.sqrt(2 * math.pi)

    def averaged(x):
        return np.array([(f(y + other * grid)[0] * density).sum() * (grid[1] - grid[0]) for y in x])

    # E f(x_a) f(x_b) = E g(s)^2, x_a and x_b sharing sqrt(rho) of their deviation
    pair = float(weights @ averaged(mean + math.sqrt(variance * rho) * z) ** 2)
    assert m.covariance(rho) == pytest.approx(pair, rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_theory_holds_for_models_of_common_shapes(name):
    """Random weights are what theory expects, whatever the seed: sixteen models, not a single layer is off."""
    kind, batch = CASES[name]
    for seed in range(16):
        report = verify_model(made(kind, seed), batch, seed=seed)
        assert [layer.name for layer in report.layers if layer.expected is False] == []
        assert report.verdict.agrees


def test_theory_is_close_for_a_residual_network():
    kind, batch = CASES["residual"]
    reports = [verify_model(made(kind, seed), batch, seed=seed) for seed in range(24)]
    for i, layer in enumerate(reports[0].layers):
        for measured, theory in (("q", "q_theory"), ("growth", "growth_theory")):
            logs = [math.log(getattr(r.layers[i], measured) / getattr(r.layers[i], theory)) for r in reports]
            error = np.std(logs, ddof=1) / math.sqrt(len(logs))
            assert abs(np.mean(logs)) < 4 * error + 0.35, (layer.name, measured, np.mean(logs))


def pooled(pool: nn.Module, depth: int = 2, width: int = 24, seed: int = 0) -> nn.Sequential:
    """Convolutions of an activation that keeps the mean at 0, and an average over all positions."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Conv2d(width if i else 3, width, 3, padding=1), nn.SELU()]
        return self_normalizing_init_(nn.Sequential(*layers, pool, nn.Flatten(), nn.Linear(width, 10)))


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AvgPool2d(12)])
def test_an_average_of_units_without_a_mean_is_predicted(pool):
    """E[x^2] over positions, where positions are independent: chance of the batch is not counted."""
    logs = []
    for seed in range(12):
        report = verify_model(pooled(pool, seed=seed), normal(8, 3, 12, 12, seed=seed), seed=seed)
        assert [layer.name for layer in report.layers if layer.expected is False] == []
        before, layer = report.layers[3], report.layers[4]
        assert 0.99 * before.q_theory / 144 < layer.q_theory < 2 * before.q_theory / 144
        assert layer.growth == pytest.approx(1 / 144, rel=1e-5)
        logs.append(math.log(layer.q / layer.q_theory))
    assert abs(np.mean(logs)) < 0.4, np.mean(logs)


def test_no_predicted_second_moment_is_negative():
    """Whatever chance makes of the covariance of the inputs: means, even minus means, of many positions."""
    for seed in range(40):
        batch = normal(2, 3, 8, 8, seed=seed)
        batch[1] = -batch[0]  # covariance of the two samples: -1
        for layer in simulate_model(pooled(nn.AvgPool2d(8), depth=1, seed=seed), batch).layers:
            assert layer.q > 0, layer


class Plain(nn.Module):
    """A network that averages over positions by a function, before the head or twice over."""

    def __init__(self, halfway: bool = False, width: int = 48) -> None:
        super().__init__()
        self.halfway = halfway
        self.first = nn.Sequential(*self.blocks(3, width), *self.blocks(width, width))
        self.second = nn.Sequential(*self.blocks(width, width), *self.blocks(width, width))
        self.head = nn.Linear(width, 10)

    @staticmethod
    def blocks(inside: int, outside: int) -> list[nn.Module]:
        return [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]

    def forward(self, x):
        x = self.first(x)
        x = functional.avg_pool2d(x, 2) if self.halfway else x
        return self.head(self.second(x).mean((2, 3)))


@pytest.mark.parametrize(("halfway", "positions"), [(False, 144), (True, 144)])
def test_average_pooling_is_not_counted_against_the_budget(halfway, positions):
    """A converted network passes, and the same one with weights that make the gradient vanish does not."""
    model, batch = made(lambda: Plain(halfway)), normal(16, 3, 12, 12)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        convert(model, "lselu", epsilon="auto", batch=batch)
    report = assert_self_normalizing(model, batch, max_growth=10)
    assert report.averaged == positions
    growth = math.exp(report.measured.log_growth)
    assert growth < 1 / 50  # the pooling is in what was measured
    assert 0.1 < growth * positions < 10
    assert report.advice[0].value == pytest.approx(growth * positions)
    assert [layer.averaged for layer in report.layers if layer.name == "head"] == [1]
    assert [layer.averaged for layer in report.layers if layer.name == "second.0"] == [36 if halfway else 144]
    assert "not counting the average pooling over 144 positions" in findings(report)[0]
    blind = verify_model(model, batch, max_growth=10, theory=False)
    assert (blind.averaged, blind.verdict.within_budget, blind.first_violation) == (positions, True, None)
    with torch.no_grad():
        model.second[0].weight *= 0.1
    with pytest.raises(AssertionError, match=r"leaves the budget of x 1/10 at the input of second\.0") as caught:
        assert_self_normalizing(model, batch, max_growth=10)
    assert "The weights' gain is why, most of all at second.0" in str(caught.value)
    assert "activation" not in str(caught.value)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AvgPool2d(12)])
def test_a_pooling_layer_is_not_the_activation(pool):
    report = verify_model(pooled(pool), normal(8, 3, 12, 12), max_growth=10)
    assert [advice.code for advice in report.advice] == ["fine"]
    assert report.layers[4].averaged == 1
    assert report.layers[3].averaged == 144


def test_pooling_that_a_path_goes_around_is_counted():
    """A gate of channel means: its pooling is on one of two paths, and windows that overlap divide by less."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 8)

        def forward(self, x):
            x = self.conv(x)
            return x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None]

    assert verify_model(made(Gated), normal(4, 3, 8, 8), max_growth=10).averaged == 1
    overlapping = made(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.AvgPool2d(3, 1), nn.AvgPool2d(2)))
    assert verify_model(overlapping, normal(4, 3, 8, 8), max_growth=10).averaged == 4


class Attending(nn.Module):
    """Normalization behind each sum, over tokens that attention has made alike."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 3)
        self.head = nn.Linear(64, 50)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens)))


def test_what_rests_on_something_not_followed_is_not_judged():
    for seed in range(4):
        report = verify_model(made(Attending, seed), tokens(8, 16), seed=seed)
        assert report.unfollowed
        assert [layer.name for layer in report.layers if layer.expected is not None] == ["embed"]
        assert [advice.code for advice in report.advice] == ["no-budget"]
        assert "not expected" not in written(report)
        assert "what comes behind is not judged by it" in written(report)


class Branched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside, self.after = nn.Linear(64, 64), nn.Linear(64, 64)
        self.trunk = nn.Linear(64, 64)

    def forward(self, x):
        x = self.trunk(x)
        return x + self.after(torch.relu(self.inside(x)))


def test_what_counts_is_what_all_paths_bring():
    """Inside a branch the gradient is as small as the branch is: no violation, unless the whole model is outside."""
    model, batch = made(Branched), normal(16, 64)
    for i, (layer, scale) in enumerate(((model.trunk, 1.0), (model.inside, 0.4), (model.after, 1.0))):
        layer.weight.data = normal(64, 64, seed=i) * scale / 8
    report = verify_model(model, batch, max_growth=5)
    inside = next(layer for layer in report.layers if layer.name == "inside")
    assert inside.gradient * inside.growth / report.gradient_out < 1 / 5
    assert (report.first_violation, report.violation_in_branch) == (None, None)
    assert [advice.code for advice in report.advice] == ["fine"]
    model.inside.weight.data *= 1 / 0.4
    model.trunk.weight.data *= 4
    report = verify_model(model, batch, max_growth=5)
    assert (report.first_violation, report.violation_at, report.violation_in_branch) == ("trunk", "input", False)
    trunk = report.layers[0]
    assert report.advice[0].value == pytest.approx(trunk.gradient * trunk.growth / report.gradient_out)
    assert "leaves the budget at its input" in written(report)


def test_a_violation_inside_a_branch_is_named_where_the_whole_model_is_outside():
    model, batch = made(Branched), normal(16, 64)
    model.trunk = nn.Identity()
    for i, layer in enumerate((model.inside, model.after)):
        layer.weight.data = normal(64, 64, seed=i) * 2 / 8
    report = verify_model(model, batch, max_growth=5)
    assert report.verdict.within_budget is False
    assert (report.first_violation, report.violation_at, report.violation_in_branch) == ("inside", "input", True)
    assert "at the input of inside, inside a branch that another path goes around, where" in findings(report)[0]


class Halved(nn.Linear):
    """A layer with a defect: half of its input takes no gradient."""

    def forward(self, x):
        return super().forward(x / 2 + x.detach() / 2)


def test_a_defect_is_not_explained_by_width():
    model = chain("selu", 8, 96)
    broken = Halved(96, 96, bias=False)
    broken.weight = model[9].weight
    model[9] = broken
    report = verify_model(model, normal(16, 96))
    assert report.verdict.agrees is False
    assert [layer.name for layer in report.layers if layer.expected is False] == ["9"]
    assert [(advice.code, advice.layer) for advice in report.advice[1:]] == [("unexpected-growth", "9")]


def test_weights_that_have_learned_the_batch_are_not_random():
    model, batch = chain("selu", 8, 96), normal(1, 96).expand(16, 96).clone()
    with torch.no_grad():
        learned = model[:9](batch)[0]
        weights = normal(96, seed=4)[:, None] * learned[None]
        model[9].weight.copy_(weights / weights.square().mean().sqrt() / math.sqrt(96))
    report = verify_model(model, batch)
    assert report.verdict.agrees is False
    advice = report.advice[-1]
    assert (advice.code, advice.layer) == ("unexpected-q", "9")
    assert advice.value > 20 * advice.limit


@pytest.mark.parametrize(
    ("act", "sigma"), [(nn.ReLU, "sigma_w=1.41421"), (partial(SSELU, 0.01), "")], ids=["relu", "sselu"]
)
def test_one_line_mends_what_all_weights_lack(act, sigma):
    """torch's own initialization: every gain is too small, so that weights are drawn anew, once for all."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [part for _ in range(30) for part in (nn.Linear(128, 128), act())]
        model = nn.Sequential(*layers, nn.Linear(128, 128))
        report = verify_model(model, normal(16, 128), max_growth=10)
        (do,) = [advice.do for advice in report.advice if advice.code == "gain"]
        assert do == f"snn_cli.nn.self_normalizing_init_(model{', ' + sigma if sigma else ''})"
        self_normalizing_init_(model, sigma_w=float(sigma.partition("=")[2] or 1))
    assert verify_model(model, normal(16, 128), max_growth=10).first_violation is None


def test_a_gain_that_is_normalized_away_is_not_blamed():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [part for _ in range(40) for part in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())]
        model = nn.Sequential(*layers, nn.Linear(64, 64)).train()
    report = verify_model(model, normal(64, 64), max_growth=10)
    assert report.first_violation is not None
    found = {advice.code: advice.do for advice in report.advice}
    assert "gain" not in found
    assert found["normalization"] == 'snn_cli.nn.convert(model, "lselu", epsilon="auto")'


def test_the_advice_mends_the_model():
    """What is printed to be typed brings the model into its budget."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for _ in range(15):
            layers += [nn.Linear(128, 128), nn.Tanh()]
        model = nn.Sequential(*layers, nn.Linear(128, 128))
    batch = normal(16, 128)
    report = verify_model(model, batch, max_growth=10)
    assert report.first_violation is not None
    assert [advice.code for advice in report.advice[:2]] == ["violation", "gain"]
    assert report.advice[1].limit == pytest.approx(1 / math.sqrt(0.3942944903978), rel=1e-9)  # E tanh(z)^2
    assert 1 <= len(report.advice) <= 5
    for layer in report.layers:
        if layer.gain is not None:
            nn.init.normal_(model.get_submodule(layer.name).weight, 0, layer.gain_kept / math.sqrt(layer.fan_in))
    mended = verify_model(model, batch, max_growth=10)
    gains = [layer.gain / layer.gain_kept for layer in mended.layers if layer.gain is not None]
    assert gains == pytest.approx([1] * 16, abs=0.05)
    assert "gain" not in [advice.code for advice in mended.advice]


def test_an_activation_that_grows_is_named():
    model = chain("selu", 60, 64)
    report = verify_model(model, normal(8, 64), max_growth=10)
    codes = [advice.code for advice in report.advice]
    assert codes[:2] == ["violation", "activation"]
    assert report.advice[1].value == pytest.approx(1.07, abs=0.15)
    assert report.advice[1].do == 'snn_cli.nn.convert(model, "lselu", epsilon="auto")'


def test_a_mean_in_the_weights_is_named():
    model = chain("relu", 4, 256)
    with torch.no_grad():
        model[5].weight += 0.2 / math.sqrt(256)
    report = verify_model(model, normal(16, 256), max_growth=1000)
    (advice,) = [advice for advice in report.advice if advice.code == "weight-mean"]
    layer = next(layer for layer in report.layers if layer.name == "5")
    assert advice.layer == "5"
    assert layer.weight_mean == pytest.approx(0.2, rel=1e-3)
    assert layer.weight_mean_tolerance == pytest.approx(1 / (16 * 0.5), rel=0.02)  # 1/(sqrt(fan-in) E[f'])
    scope = {"model": model, "torch": torch}
    exec(advice.do, scope)
    again = verify_model(model, normal(16, 256), max_growth=1000)
    assert "weight-mean" not in [advice.code for advice in again.advice]


def test_one_line_for_a_test_suite():
    model = chain("selu", 10, 128)
    report = assert_self_normalizing(model, normal(8, 128), max_growth=30)
    assert report.verdict.within_budget
    with torch.no_grad():
        model[19].weight *= 12
    with pytest.raises(AssertionError, match="squared gradient leaves the budget of x 30"):
        assert_self_normalizing(model, normal(8, 128), max_growth=30)


def test_what_is_not_finite_is_a_result():
    model = chain("relu", 6, 32)
    with torch.no_grad():
        model[7].weight[0, 0] = math.inf
    report = verify_model(model, normal(8, 32), max_growth=10)
    assert report.layers[report.broken_layer].name == "7"
    assert report.advice[0].code == "broken"
    json.dumps(report.to_dict(), allow_nan=False)
    with pytest.raises(AssertionError, match="not finite"):
        assert_self_normalizing(model, normal(8, 32))


class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.unused = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.a.requires_grad_(False)
        self.counts = nn.Parameter(torch.ones(3, dtype=torch.int64), requires_grad=False)

    def forward(self, x):
        return self.b(torch.tanh(self.b(self.a(x))))


def test_what_is_left_out_is_said():
    report = verify_model(made(Frozen), normal(4, 8))
    assert [layer.name for layer in report.layers] == ["a", "b", "b#2"]
    assert all(layer.gradient is not None for layer in report.layers)
    text = " ".join(report.left_out)
    for words in ("not called in the forward pass: unused", "frozen", "whole numbers"):
        assert words in text


class Returns(nn.Module):
    def __init__(self, returned) -> None:
        super().__init__()
        self.a, self.returned = nn.Linear(4, 4), returned

    def forward(self, x):
        return self.returned(self.a(x))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda x: x.detach(), "without gradients"),
        (lambda x: x.argmax(-1), "floating-point"),
        (lambda x: "text", "no tensor"),  # noqa: ARG005
        (lambda x: 1 / 0, "ZeroDivisionError"),  # noqa: ARG005
    ],
)
def test_what_gives_no_gradient_is_an_error(returned, words):
    with pytest.raises(CannotCompute, match=words):
        verify_model(Returns(returned), normal(2, 4))


@pytest.mark.parametrize(
    "returned",
    [lambda x: (x, None), lambda x: {"a": [x, 2 * x], "b": 1}, lambda x: (x.sum(),)],
    ids=["tuple", "dict", "sum"],
)
def test_tuples_and_dictionaries_are_followed(returned):
    assert verify_model(Returns(returned), normal(2, 4)).layers[0].gradient > 0


def test_named_arguments_and_masks():
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, *, x, mask):
            return self.a(x) * mask

    report = verify_model(Named(), {"x": normal(3, 4), "mask": torch.ones(3, 4)})
    assert report.layers[0].growth > 0


def test_checkpointed_layers_are_seen_once():
    from torch.utils.checkpoint import checkpoint

    class Saved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            return self.b(checkpoint(lambda y: torch.tanh(self.a(y)), x, use_reentrant=False))

    model = made(Saved)
    report = verify_model(model, normal(4, 8), seed=SEED)
    assert [layer.name for layer in report.layers] == ["a", "b"]
    assert all(layer.gradient is not None for layer in report.layers)


def test_half_precision_and_double():
    model, batch = chain("selu", 6, 64), normal(8, 64)
    wide = verify_model(copy.deepcopy(model).double(), batch.double(), seed=SEED)
    for kind, rel in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        report = verify_model(copy.deepcopy(model).to(kind), batch.to(kind), seed=SEED)
        assert [x.q for x in report.layers] == pytest.approx([x.q for x in wide.layers], rel=rel)
        assert [x.gradient for x in report.layers] == pytest.approx([x.gradient for x in wide.layers], rel=3 * rel)


@pytest.mark.parametrize(
    ("model", "batch", "words"),
    [
        (nn.ReLU(), normal(2, 3), "without parameters"),
        ("text", normal(2, 3), "not a torch.nn.Module"),
        (nn.Linear(3, 3), "text", "no tensor"),
        (nn.Linear(3, 3), normal(0, 3), "no sample"),
        (nn.LazyLinear(3), normal(2, 3), "lazy"),
        (nn.Linear(3, 3, dtype=torch.complex64), normal(2, 3), "complex"),
    ],
)
def test_what_is_no_model_is_an_error(model, batch, words):
    with pytest.raises(InputError, match=words):
        verify_model(model, batch)


def test_a_solved_activation_keeps_a_deep_model():
    """The project's own claim on a model of a user's: lSELU at 1/depth, against the same with SELU."""

    class Lselu(nn.Module):
        def __init__(self, solution) -> None:
            super().__init__()
            self.p = dict(solution.params)

        def forward(self, x):
            p = self.p
            left = torch.clamp(x, max=0)
            return p["lambda"] * torch.where(x > 0, x, p["alpha"] * torch.expm1(left) + p["beta"] * left)

    depth = 100
    plain = chain("selu", depth, 256)
    solved = copy.deepcopy(plain)
    solution = solve("lselu", epsilon="0.01")
    for i in range(0, 2 * depth, 2):
        solved[i] = Lselu(solution)
    batch = unit(8, 256)
    report = verify_model(solved, batch, max_growth=30)
    assert report.verdict.within_budget
    assert report.first_violation is None
    theory = simulate(params=solution, depth=depth)
    assert report.theory.log_growth == pytest.approx(theory.gradient.log_growth, abs=0.02)
    assert verify_model(plain, batch, max_growth=30).first_violation is not None


# From the shell


NETS = """
import torch
from torch import nn

def make_net():
    return nn.Sequential(nn.Linear(32, 64), nn.SELU(), nn.Linear(64, 64), nn.SELU(), nn.Linear(64, 5))

def tokens():
    return nn.Sequential(nn.Embedding(10, 16), nn.Linear(16, 4))

def needs(width):
    return nn.Linear(width, width)

def raises():
    raise RuntimeError("no such thing")

def nothing():
    return 3

number = 3
shared = make_net()

def images():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 8 * 8, 10)
    )

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = images()

    def forward(self, x, y):
        return self.inner(x) + y

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x.view(-1, 5))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "usernets.py").write_text(NETS)
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "wrong.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("usernets", "broken", "wrong"):
        sys.modules.pop(name, None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


@pytest.mark.usefixtures("folder")
def test_the_command_and_its_contract(call, warm):
    command = ["snn", "verify", "--model", "usernets:make_net", "--input", "32", "--max-growth", "100", "--json"]
    done = subprocess.run(command, env=warm.environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    record = json.loads(done.stdout)
    for name in (
        "kind", "version", "act", "epsilon", "params", "depth", "fan_in", "architecture", "weights", "batch", "trials",
        "device", "dtype", "seed", "measured", "theory", "verdict", "broken_layer", "layers", "first_violation",
        "seconds", "networks_per_second", "peak_memory",
    ):  # fmt: skip
        assert name in record, name
    assert list(record)[:2] == ["kind", "version"]
    assert [layer["kind"] for layer in record["layers"]] == ["Linear", "SELU", "Linear", "SELU", "Linear"]
    for layer in record["layers"]:
        assert list(layer)[:7] == ["name", "kind", "fan_in", "q", "mean", "gradient", "growth"]
    assert done.returncode == (1 if record["first_violation"] or not record["verdict"]["within_budget"] else 0)
    again = json.loads(
        call("verify", "--model", "usernets:make_net", "--input", "32", "--max-growth", "100", "--json").out
    )
    assert {k: v for k, v in again.items() if k not in ("seconds", "networks_per_second", "peak_memory")} == {
        k: v for k, v in record.items() if k not in ("seconds", "networks_per_second", "peak_memory")
    }


def test_the_budget_is_the_exit_code(call, folder):
    tight = call("verify", "--model", "usernets:make_net", "--input", "32", "--max-growth", "1.0001")
    assert tight.code == 1
    assert "leaves the budget" in tight.out
    wide = call("verify", "--model", "usernets:make_net", "--input", "32", "--max-growth", "1e9", "--plot", "net.svg")
    assert wide.code == 0, wide.err
    assert (folder / "net.svg").stat().st_size > 1000
    refused = call("verify", "--model", "usernets:make_net", "--input", "32", "--plot", "net.svg")
    assert (refused.code, refused.out) == (2, "")


@pytest.mark.usefixtures("folder")
def test_csv_has_a_row_a_layer(call):
    done = call("verify", "--model", "usernets:tokens", "--input", "7@10", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["kind"] for row in rows] == ["Embedding", "Linear"]
    assert float(rows[1]["growth"]) > 0


@pytest.mark.usefixtures("folder")
def test_simulate_predicts_what_verify_measures(call):
    predicted = simulate_path("usernets:make_net", "32")
    measured = verify_path("usernets:make_net", "32", trials=16, batch=32)
    assert [x.name for x in predicted.layers] == [x.name for x in measured.layers]
    for a, b in zip(predicted.layers, measured.layers, strict=True):
        assert abs(math.log(a.growth / b.growth)) < math.log(a.growth_allowed)
        assert abs(math.log(a.q / b.q)) < math.log(a.q_allowed)
    assert predicted.gradient.log_growth == pytest.approx(measured.measured.log_growth, abs=0.25)
    done = call("simulate", "--model", "usernets:make_net", "--input", "32", "--json")
    record = json.loads(done.out)
    assert record["kind"] == "propagation"
    assert [x["q"] for x in record["layers"]] == [x.q for x in predicted.layers]
    text = call("simulate", "--model", "usernets:make_net", "--input", "32").out
    assert "From the output to the input" in text
    assert record["gradient_out"] == record["layers"][-1]["gradient"] == 5  # N(0, I) of its five outputs
    last = next(line for line in text.splitlines() if line.startswith("4 "))
    assert last.split()[6] == "1.0"  # as in verify: over that at the model's output


@pytest.mark.parametrize("command", ["verify", "simulate"])
@pytest.mark.parametrize(
    ("model", "shape", "words", "instead"),
    [
        ("images", "3,16,16", ("takes 1 input, and is given 3",), "3x16x16"),
        ("images", "3x8x8", ("4 (Linear of 512 features)", "x128: RuntimeError", "x3x8x8, the batch first"), "3x16x16"),
        ("images", "1x16x16", ("0 (Conv2d of 3 channels)",), "3x16x16"),
        ("images", "16x16", ("0 (Conv2d of 3 channels)", "x16x16: RuntimeError"), "3x16x16"),
        ("make_net", "33", ("0 (Linear of 32 features)", "x33: RuntimeError"), "32"),
        ("make_net", "2x33", ("0 (Linear of 32 features)",), "2x32"),
        ("tokens", "7", ("0 (Embedding)",), "7@10"),
        ("Two", "3x16x16", ("takes 2 inputs, and is given 1, of shape ",), None),
        ("Two", "3x16x16,10,10", ("takes 2 inputs, and is given 3",), None),
        ("Two", "3x8x8,10", ("inner.4 (Linear of 512 features)", "inputs of shapes "), None),
        ("Own", "4", ("its own forward (Own)", "x4: RuntimeError"), None),
    ],
)
def test_a_shape_that_does_not_suit_the_model(call, folder, command, model, shape, words, instead):  # noqa: ARG001
    """Which layer refused, what came in, and what to type; typed, it works."""
    done = call(command, "--model", f"usernets:{model}", "--input", shape)
    assert (done.code, done.out) == (3, "")
    error, hint = done.err.splitlines()
    assert all(each in error for each in words), error
    assert hint.startswith("hint: --input ")
    if instead is not None:
        assert hint == f"hint: --input {instead}"
        assert call(command, "--model", f"usernets:{model}", "--input", instead).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("--model usernets", 2, "package.module:callable"),
        ("--model usernets.py", 2, "usernets:make_net"),
        ("--model usernets:make_ned --input 32", 2, "usernets:make_net"),
        ("--model nowhere:make_net --input 32", 2, "no module nowhere"),
        ("--model broken:x --input 32", 2, "imports nowhere_to_be_found"),
        ("--model wrong:x --input 32", 2, "SyntaxError"),
        ("--model usernets:needs --input 32", 2, "without arguments"),
        ("--model usernets:raises --input 32", 2, "no such thing"),
        ("--model usernets:nothing --input 32", 2, "not a torch.nn.Module"),
        ("--model usernets:number --input 32", 2, "not a function"),
        ("--model usernets:make_net", 2, "--input"),
        ("--model usernets:make_net --input 33", 3, "shape 8x33"),
        ("--model usernets:make_net --input 3xx4", 2, "3x64x64"),
        ("--model usernets:make_net --input 0", 2, "at least 1"),
        ("--model usernets:make_net --input 32 --act selu", 2, "--act"),
        ("--model usernets:make_net --input 32 --depth 3", 2, "--depth"),
        ("--model usernets:make_net --input 32 --max-growth 0.5", 2, "at least 1"),
        ("--model usernets:make_net --input 32 --trials 0", 2, "--trials"),
        ("--model usernets:make_net --input 32 --device cuda:99", 3, "--device cpu"),
        ("--input 32", 2, "--input needs --model"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_bad_input(call, arguments, code, words):
    done = call("verify", *arguments.split())
    assert (done.code, done.out) == (code, ""), done.err
    assert done.err.startswith("error: ")
    assert words in done.err
    assert "Traceback" not in done.err
    assert done.err.count("\n") <= 2


def test_weights_from_a_file(call, folder):
    safetensors = pytest.importorskip("safetensors.torch")
    load("usernets:make_net")
    import usernets

    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = usernets.make_net()
    with torch.no_grad():
        model[2].weight += 0.5
    safetensors.save_file(model.state_dict(), "net.safetensors")
    report = verify_path("usernets:make_net", "32", weights_from="net.safetensors")
    layer = report.layers[2]
    weights = model[2].weight.detach().double()
    assert layer.weight_mean == pytest.approx(float(weights.mean() / weights.std(correction=0)), rel=1e-6)
    assert layer.weight_mean > layer.weight_mean_tolerance
    assert report.weights == "net.safetensors"
    assert any(advice.code == "weight-mean" for advice in report.advice)
    safetensors.save_file({"0.weight": model[0].weight.detach()}, "part.safetensors")
    (folder / "no.safetensors").write_bytes(b"\x80\x04pickle")
    for name, words in (("part", "missing"), ("no", "not a safetensors file"), ("none", "no file")):
        done = call("verify", "--model", "usernets:make_net", "--input", "32", "--weights-from", f"{name}.safetensors")
        assert done.code == 2, done.err
        assert words in done.err


@pytest.mark.parametrize(
    ("text", "found"),
    [("3x64x64", (((3, 64, 64), None),)), ("16@100, 4", (((16,), 100), ((4,), None))), ("7", (((7,), None),))],
)
def test_shapes(text, found):
    assert parse_input(text) == found


def test_verify_and_simulate_take_a_model_as_a_keyword():
    import snn_cli

    def make():
        return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))

    report = snn_cli.verify(model=make, input="8", trials=3, seed=5, max_growth=100)
    same = snn_cli.models.verify_path(make, "8", trials=3, seed=5, max_growth=100)
    assert [layer.gradient for layer in report.layers] == [layer.gradient for layer in same.layers]
    assert report.trials == 3
    assert isinstance(snn_cli.simulate(model=make, input="8"), snn_cli.ModelPrediction)
    for call, options in (
        (snn_cli.verify, {"model": make, "input": "8", "depth": 3}),
        (snn_cli.verify, {"input": "8"}),
        (snn_cli.simulate, {"model": make, "input": "8", "q0": 2}),
        (snn_cli.simulate, {"weights_from": "x.safetensors"}),
    ):
        with pytest.raises(snn_cli.InputError):
            call(**options)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("mine.py:make", "mine:make"),
        ("./nets/mine.py:make", "nets.mine:make"),
        ("./mine:make", "mine:make"),
        ("mein:make", "mine:make"),
    ],
)
def test_a_file_that_is_named_is_told_as_a_module(tmp_path, monkeypatch, typed, meant):
    (tmp_path / "nets").mkdir()
    for folder in (tmp_path, tmp_path / "nets"):
        (folder / "mine.py").write_text("from torch import nn\n\n\ndef make():\n    return nn.PReLU()\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        load(typed)
    assert error.value.hint == f"--model {meant}"
    assert isinstance(load(meant)(), nn.PReLU)


@pytest.mark.parametrize(
    ("act", "module", "sigma_w"), [("relu", nn.ReLU, 2**0.5), ("tanh", nn.Tanh, 1.5925), ("selu", nn.SELU, 1.0)]
)
def test_the_spread_over_networks_is_that_of_the_finite_width_theory(act, module, sigma_w):
    """Of q, of what that does to the gradient, and of what both share: as simulate has them, but for the ends."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = nn.Sequential(*(part for _ in range(30) for part in (nn.Linear(128, 128), module())))
        self_normalizing_init_(model, sigma_w=sigma_w)
    found = simulate_model(model, normal(8, 128)).gradient.log_growth_sd
    known = simulate(act=act, depth=30, fanin=128, sigma_w=sigma_w).gradient.log_growth_sd
    assert found == pytest.approx(known, rel=0.04)
