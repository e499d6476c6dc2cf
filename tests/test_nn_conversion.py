"""Conversion of models: what is replaced, shared, kept and reported, and that gradients are flat afterwards."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize  # noqa: E402

from snn_cli import InputError, NoSolution, solve, verify_model  # noqa: E402
from snn_cli.nn import LSELU, SELU, SSELU, CentralizedActivation, SelfNormalizingDropout, convert, fan_in  # noqa: E402


class Nested(nn.Module):
    """Branches, a list, a dictionary, a shared activation, a path that is not always taken, a functional call."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), self.act)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"conv": nn.Conv2d(16, 16, 3, padding=1, groups=2), "norm": nn.GroupNorm(2, 16)})
            for _ in range(2)
        )
        self.extra = nn.Sequential(nn.Conv2d(16, 16, 1), nn.GELU())
        self.gate = nn.Sigmoid()
        self.head = nn.Linear(16, 5)
        self.deep = False

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = self.act(block["norm"](block["conv"](x)))
        if self.deep:
            x = self.extra(x)
        x = x * self.gate(x)
        return torch.relu(self.head(x.mean((2, 3))))


def kinds(model):
    return {type(m).__name__ for m in model.modules()}


def test_a_shared_activation_is_told_to_be_at_the_harmonic_mean():
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(8, 32), act, nn.Linear(32, 288), act, nn.Linear(288, 4))
    report = convert(model, epsilon="auto", batch=torch.randn(2, 8))
    (row,) = report.activations
    assert row.fan_in == round(2 / (1 / 32 + 1 / 288)) == 58
    assert "fan-in 58 (the harmonic mean of fan-ins from 32 to 288)" in str(report)


def test_nested_shared_and_conditional_modules():
    model = Nested()
    x = torch.randn(2, 3, 6, 6)
    model.eval()
    report = convert(model, "lselu", epsilon=0.02, batch=x)
    assert kinds(model).isdisjoint({"ReLU", "GELU", "BatchNorm2d", "GroupNorm"})
    assert model.act is model.first[2]  # shared before, shared now
    assert isinstance(model.act, LSELU)
    assert isinstance(model.extra[1], LSELU)  # though the batch did not come by
    assert not model.act.training
    assert [r.name for r in report.activations] == ["act", "extra.1"]
    assert report.activations[0].aliases == ("first.2",)
    # fan-ins 72, 72, and the linear layer's 16: the harmonic mean
    assert report.activations[0].fan_in == round(3 / (1 / 72 + 1 / 72 + 1 / 16))
    assert {r.name: r.parameters for r in report.normalizations} == {
        "first.1": 32, "blocks.0.norm": 32, "blocks.1.norm": 32,
    }  # fmt: skip
    assert set(report.initialized) == {"first.0", "blocks.0.conv", "blocks.1.conv", "extra.0", "head"}
    assert {(part.name, part.kind) for part in report.left} == {("", "relu"), ("gate", "Sigmoid")}
    assert report.depth == 5
    for deep in (False, True):
        model.deep = deep
        assert model(x).isfinite().all()
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.act = "selu"
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert list(data)[:2] == ["kind", "version"]
    assert data["kind"] == "conversion"
    assert data["activations"][0]["aliases"] == ["first.2"]
    for word in ("act, first.2: ReLU", "blocks.1.norm: GroupNorm", "gate: Sigmoid", "forward: relu", "epsilon 0.02"):
        assert word in str(report)


def test_weights_are_drawn_for_their_fan_in():
    model = nn.Sequential(nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 200), nn.BatchNorm1d(200), nn.Tanh())
    convert(model, epsilon=0.03, generator=torch.Generator().manual_seed(0), keep=["4"])
    for layer in (model[0], model[2]):
        w = layer.weight.detach().double().flatten() * math.sqrt(fan_in(layer))
        assert abs(float(w.square().mean()) - 1) < 4.5 * math.sqrt(2 / w.numel())
        assert not layer.bias.any()
    assert isinstance(model[3], nn.Identity)
    assert isinstance(model[4], nn.Tanh)


def test_each_layer_has_the_epsilon_of_the_fan_in_that_it_feeds():
    widths = [48, 64, 256, 128, 40]
    layers = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(40, 3))
    report = convert(model, "sselu", epsilon="auto")
    assert report.epsilon is None
    for at, n in zip((1, 3, 5, 7), (64, 256, 128, 40), strict=True):
        assert model[at].solution.params == solve("sselu", epsilon="auto", fanin=n).params
    assert [r.fan_in for r in report.activations] == [64, 256, 128, 40]


def test_call_order_counts_where_it_is_not_that_of_registration():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.acts = nn.ModuleList([nn.ReLU(), nn.ReLU()])
            self.last, self.middle, self.first = nn.Linear(128, 2), nn.Linear(64, 128), nn.Linear(32, 64)

        def forward(self, x):
            return self.last(self.acts[1](self.middle(self.acts[0](self.first(x)))))

    with_batch, without = Odd(), Odd()
    assert [r.fan_in for r in convert(with_batch, epsilon="auto", batch=torch.randn(2, 32)).activations] == [64, 128]
    assert [r.fan_in for r in convert(without, epsilon="auto").activations] == [128, 128]


def test_small_and_missing_fan_ins():
    model = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU())
    report = convert(model, epsilon="auto")
    assert [r.fan_in for r in report.activations] == [9, None]
    assert report.activations[0].epsilon == solve("lselu", epsilon="auto", fanin=32).epsilon
    assert "32" in report.activations[0].note
    assert "feeds no weight layer" in report.activations[1].note


def growth(depth, epsilon, trials, act="lselu"):
    """Mean over networks of the log growth of one sample's squared gradient, and its standard error."""
    values = []
    for seed in range(trials):
        torch.manual_seed(seed)
        layers, width = [], 64
        for i in range(depth):
            layers += [nn.Linear(width, (64, 96, 48)[i % 3]), nn.BatchNorm1d((64, 96, 48)[i % 3]), nn.ReLU()]
            width = (64, 96, 48)[i % 3]
        model = nn.Sequential(*layers, nn.Linear(width, 10))
        convert(model, act, epsilon=epsilon)
        values.append(verify_model(model, torch.randn(1, 64), theory=False, seed=seed).measured.log_growth)
    mean = sum(values) / trials
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (trials - 1) / trials)


@pytest.mark.parametrize("act", ["lselu", "sselu"])
def test_auto_preserves_the_typical_gradient(act):
    """60 layers of three widths: flat with an epsilon for each, not with 0.1, which is right for infinite depth 10."""
    mean, error = growth(60, "auto", 40, act)
    assert abs(mean) < 4 * error
    assert error < 0.4
    mean, error = growth(60, 0.1, 12, act)
    assert mean > 4 * error


def test_report_of_verify_stays_within_its_budget():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    for _ in range(10):
        layers += [nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(32), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Conv2d(32, 32, 1))
    convert(model, epsilon="auto", batch=torch.randn(2, 3, 8, 8))
    report = verify_model(model, torch.randn(8, 3, 8, 8), max_growth=2)
    assert report.first_violation is None
    assert report.verdict.within_budget
    assert not report.unfollowed  # the theory of a user's model knows the new modules


def test_solutions_and_families():
    def model():
        return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))

    record = solve("sselu", epsilon=0.1)
    one, two = model(), model()
    assert convert(one, record).epsilon == convert(two, record.to_dict()).epsilon == 0.1
    assert isinstance(one[1], SSELU)
    assert one[1] is not one[3]
    third = model()
    assert convert(third, "selu").act == "selu"
    assert isinstance(third[3], SELU)
    fourth = model()
    report = convert(fourth)
    assert report.epsilon == solve("lselu", depth=3).epsilon
    assert convert(model(), depth=10).epsilon == 0.1
    again = convert(fourth, "sselu", epsilon=0.02)  # converted once more
    assert [r.was for r in again.activations] == ["LSELU", "LSELU"]
    trained = model().double()
    convert(trained, epsilon=0.05, trainable=True)
    assert trained[1].lam.dtype == torch.float64
    assert len(list(trained.parameters())) == 8


def test_what_stays():
    class Own(nn.ReLU):
        pass

    class Mine(nn.Module):
        def forward(self, x):
            return x.clamp(min=-1)

    model = nn.Sequential(
        nn.Linear(4, 4), Own(), nn.Dropout(0.1), nn.TransformerEncoderLayer(4, 1, 8, batch_first=True), Mine(),
        nn.Linear(4, 4), nn.Tanh(),
    )  # fmt: skip
    inside = model[3].linear1.weight.clone()
    report = convert(model, epsilon=0.05, activations=[Mine])
    assert isinstance(model[1], LSELU)
    assert isinstance(model[4], LSELU)
    assert isinstance(model[6], nn.Tanh)  # shapes the output
    assert torch.equal(model[3].linear1.weight, inside)
    assert isinstance(model[3].norm1, nn.LayerNorm)
    assert {(part.name, part.kind) for part in report.left} == {
        ("2", "Dropout"), ("3", "TransformerEncoderLayer"), ("6", "Tanh"),
    }  # fmt: skip
    assert "SelfNormalizingDropout" in next(part.why for part in report.left if part.name == "2")
    assert SelfNormalizingDropout(0.1, model[1])(torch.randn(3)).shape == (3,)

    kept = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.ReLU(), nn.Linear(4, 1))
    before = kept[0][0].weight.clone()
    report = convert(kept, epsilon=0.05, keep=["0"])
    assert torch.equal(kept[0][0].weight, before)
    assert isinstance(kept[0][1], nn.ReLU)
    assert isinstance(kept[1], LSELU)
    assert ("0.1", "ReLU", "kept as asked") in report.left
    weights = [p.clone() for p in kept.parameters()]
    report = convert(kept, epsilon=0.05, init=False)
    assert report.weights is None
    assert all(torch.equal(a, b) for a, b in zip(weights, kept.parameters(), strict=True))


def test_what_was_made_for_the_old_activation():
    """A centralized activation reads the new one; dropout cannot know which stands before it, and is named."""
    model = nn.Sequential(
        nn.Linear(8, 8), CentralizedActivation(nn.ReLU(), rescale=True), SelfNormalizingDropout(0.1, nn.ReLU()),
        nn.Linear(8, 2),
    )  # fmt: skip
    model[1](torch.randn(16, 8) + 3)
    report = convert(model, epsilon=0.3)
    act = model[1].act.solution
    assert [r.name for r in report.activations] == ["1.act"]
    assert float(model[1].running_mean) == pytest.approx(act.mean, rel=1e-6)
    assert model[1].gain == pytest.approx(1 / math.sqrt(1 - act.mean**2))
    assert int(model[1].num_batches_tracked) == 0
    assert [(part.name, part.kind) for part in report.left] == [("2", "SelfNormalizingDropout")]


def test_a_model_of_torch_that_reads_its_own_modules_is_not_touched():
    model = nn.TransformerEncoderLayer(8, 2, batch_first=True)
    for init in (True, False):
        with pytest.raises(InputError, match="reads its own modules"):
            convert(model, epsilon=0.1, init=init)
    assert isinstance(model.norm1, nn.LayerNorm)


def test_activations_that_are_no_modules_are_spoken_of():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, x):
            return nn.functional.normalize(nn.functional.softsign(self.norm(self.layer(x))))

    report = convert(Block(), epsilon=0.1)
    assert ("", "activations") in {(part.name, part.kind) for part in report.left}
    report = convert(Block(), epsilon=0.1, batch=torch.randn(2, 4))
    assert {part.kind for part in report.left} == {"softsign", "normalize"}


def test_parametrized_weights_are_drawn_or_named():
    class Doubled(nn.Module):
        def forward(self, weight):
            return 2 * weight

    layers = [nn.Linear(64, 64) for _ in range(4)]
    parametrizations.weight_norm(layers[0])
    parametrizations.spectral_norm(layers[1])
    parametrize.register_parametrization(layers[2], "weight", Doubled())
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2], nn.ReLU(), layers[3])
    report = convert(model, epsilon=0.1)
    assert report.initialized == ("0", "2", "6")
    why = {part.name: part.why for part in report.left}
    assert set(why) == {"2", "4"}
    assert "second moment" in why["2"]
    assert "right_inverse" in why["4"]
    assert float(layers[0].weight.detach().square().mean()) * 64 == pytest.approx(1, abs=0.12)


def test_the_run_on_the_batch_leaves_no_trace():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    model.train()
    model[1].eval()
    batch = {"input": torch.randn(3, 4)}
    state = torch.get_rng_state()
    report = convert(model, epsilon=0.1, batch=batch, keep=["2"], init=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert int(model[2].num_batches_tracked) == 0
    assert [m.training for m in model] == [True, False, True, True, True]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert ("2", "BatchNorm1d", "kept as asked") in report.left


def test_training_goes_on():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
    convert(model, epsilon=0.3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    x = torch.randn(64, 6)
    y = x[:, :1] * x[:, 1:2]
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 3
    other = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
    convert(other, epsilon=0.3)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(x), model(x), rtol=0, atol=0)


def pair():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return torch.relu(self.layer(x))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: convert(3), "nothing to convert"),
        (lambda: convert(pair(), "relu"), "must be one of"),
        (lambda: convert(pair(), epsilon=-0.1), "at least 0"),
        (lambda: convert(pair(), depth=0), "from 1 to"),
        (lambda: convert(pair(), epsilon=0.1, depth=3), "contradict"),
        (lambda: convert(pair(), solve("lselu", 0.1), epsilon=0.1), "already says"),
        (lambda: convert(pair(), "selu", epsilon=0.1), "of its own"),
        (lambda: convert(pair(), weights="gausian"), "no weight ensemble"),
        (lambda: convert(pair(), epsilon="auto", weights="orthogonal"), "independent weights"),
        (lambda: convert(pair(), keep=["nowhere"]), "no module called"),
        (lambda: convert(pair(), keep="0"), "sequence of names"),
        (lambda: convert(pair(), activations=nn.ReLU), "sequence of module classes"),
        (lambda: convert(pair(), init=1), "True or False"),
        (lambda: convert(pair(), batch=torch.randn(2, 5)), "does not run on the batch"),
        (lambda: convert(nn.Linear(2, 2)), "no activation"),
        (lambda: convert(Functional(), batch=torch.randn(2, 4)), "calls relu"),
        (lambda: convert(nn.Sequential(nn.ReLU())), "no weight layer"),
        (lambda: convert(nn.ReLU()), "no activation"),
        (lambda: convert(nn.DataParallel(pair())), "convert first|already holds"),
    ],
)
def test_bad_arguments(call, said):
    with pytest.raises(InputError, match=said) as caught:
        call()
    assert caught.value.hint


def test_an_error_changes_nothing():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.ConvTranspose1d(4, 4, 2, stride=2))
    weights = [p.clone() for p in model.parameters()]
    for options in ({"epsilon": 5}, {"weights": "delta-orthogonal"}, {"batch": torch.randn(2, 9)}):
        with pytest.raises((InputError, NoSolution)):
            convert(model, **options)
        assert [type(m).__name__ for m in model] == ["Linear", "BatchNorm1d", "ReLU", "ConvTranspose1d"]
        assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
