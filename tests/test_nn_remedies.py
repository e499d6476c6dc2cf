"""Centralization, dropout and mixup: exact identities, and moments by Monte Carlo with standard errors."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import parametrize  # noqa: E402

from snn_cli import InputError, simulate, solve  # noqa: E402
from snn_cli.nn import (  # noqa: E402
    DSELU,
    LSELU,
    SELU,
    SSELU,
    CentralizedActivation,
    Mixup,
    ScaledMixup,
    SelfNormalizingDropout,
    WeightCentralization,
    centralize,
    centralize_,
    self_normalizing_init_,
)

LAYERS = {
    "linear": (lambda: nn.Linear(20, 8), (20,)),
    "conv, groups": (lambda: nn.Conv2d(8, 12, 3, groups=4), (8, 9, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 8, 4, stride=2, groups=2), (6, 9, 9)),
    "transposed, uneven": (lambda: nn.ConvTranspose1d(6, 8, 3, stride=2), (6, 15)),
    "transposed, dilation": (lambda: nn.ConvTranspose1d(4, 4, 4, stride=2, dilation=3), (4, 30)),
}


def gaussian(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def agrees(sample, expected, most, sigmas=4.5):
    """The mean of independent values, against an error that is small enough to tell."""
    error = float(sample.std()) / math.sqrt(len(sample))
    assert error < most
    assert abs(float(sample.mean()) - expected) < sigmas * error


# Weights


@pytest.mark.parametrize("name", LAYERS)
def test_a_constant_does_not_pass(name):
    """What centralization is for: whatever the layer, a constant input gives 0 away from the border."""
    make, shape = LAYERS[name]
    layer = make().double()
    nn.init.normal_(layer.weight, mean=0.5)
    nn.init.zeros_(layer.bias)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", WeightCentralization(layer))
    y = layer(torch.ones(1, *shape, dtype=torch.float64)).detach()
    for d in range(2, y.dim()):
        margin = 9 if "dilation" in name else 3
        y = y.narrow(d, margin, y.shape[d] - 2 * margin)
    assert y.numel()
    assert float(y.abs().max()) < 1e-13
    assert float(layer.weight.square().sum().detach()) == pytest.approx(float(before.square().sum()))


def test_each_output_keeps_its_second_moment():
    w = gaussian(6, 30) * torch.arange(1, 7).reshape(6, 1) + 0.3
    found = WeightCentralization()(w)
    torch.testing.assert_close(found.square().sum(1), w.square().sum(1))
    torch.testing.assert_close(found.sum(1), torch.zeros(6, dtype=w.dtype), rtol=0, atol=1e-12)
    torch.testing.assert_close(WeightCentralization()(found), found)
    centred = w - w.mean(1, keepdim=True)
    cosine = torch.nn.functional.cosine_similarity(found, centred)
    torch.testing.assert_close(cosine, torch.ones(6, dtype=w.dtype))


def test_equal_weights_leave_nothing_and_no_nan():
    w = torch.full((3, 7), 0.1, dtype=torch.float64, requires_grad=True)
    found = WeightCentralization()(w)
    found.sum().backward()
    assert not found.any()
    assert not w.grad.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [5.0, 1e-3])
def test_low_precision_neither_overflows_nor_vanishes(dtype, size):
    layer = nn.Linear(4096, 4, dtype=dtype)
    nn.init.normal_(layer.weight, size / 10, size)
    before = layer.weight.detach().double().square().mean(1)
    assert centralize_(layer).weight.dtype == dtype
    w = layer.weight.detach().double()
    torch.testing.assert_close(w.square().mean(1), before, rtol=0.01, atol=0)
    assert float(w.mean(1).abs().max()) < size * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", LAYERS)
def test_gradient_of_the_parametrization(name):
    layer = LAYERS[name][0]().double()
    part = WeightCentralization(layer, keep="preactivations", act=LSELU(0.03))
    assert torch.autograd.gradcheck(part, (layer.weight.detach().clone().requires_grad_(),))


RELU = nn.ReLU()
FUNCTIONS = {"lselu": LSELU(epsilon=0.3), "relu, He": lambda x: math.sqrt(2) * RELU(x), "sselu": SSELU(epsilon=0.1)}
VARIANCES = {"relu, He": 1 - 1 / math.pi}  # closed form: theory has 0.683


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("keep", ["weights", "preactivations"])
def test_second_moment_of_preactivations(name, keep):
    """``Var f`` with the weights' second moment kept, ``E f^2`` with that of the pre-activations: theory, section 6."""
    f, n = FUNCTIONS[name], 64
    act = f if keep == "preactivations" else None
    z = gaussian(400_000, seed=9)
    y = f(z)
    mean, second = float(y.mean()), float(y.square().mean())
    variance = VARIANCES.get(name, second - mean**2)
    values = []
    for trial in range(400):
        layer = self_normalizing_init_(nn.Linear(n, n).double(), generator=torch.Generator().manual_seed(trial))
        parametrize.register_parametrization(layer, "weight", WeightCentralization(layer, keep=keep, act=act))
        with torch.no_grad():
            values.append(layer(f(gaussian(16, n, seed=trial + 1000))).square().mean())
    expected = variance if keep == "weights" else second
    agrees(torch.stack(values), expected, 0.012)
    if name == "relu, He":
        assert expected == pytest.approx({"weights": 0.683, "preactivations": 1.0}[keep], abs=0.01)


def test_the_two_ways_to_rescale_differ():
    act = LSELU(epsilon=0.3)
    s = act.solution
    weights, signals = WeightCentralization(), WeightCentralization(keep="preactivations", act=act)
    w = gaussian(5, 40)
    torch.testing.assert_close(signals(w), weights(w) * math.sqrt(1 / (1 - s.mean**2)))
    again = WeightCentralization(keep="preactivations", act=s)
    torch.testing.assert_close(again(w), signals(w))
    chi = simulate(params=s, depth=1, centralize=True)  # the same map as the simulation's
    assert chi.fixed_point.q is None or chi.fixed_point.q < 1


def test_a_mean_of_the_weights_no_longer_grows():
    def mean_after(model, x):
        with torch.no_grad():
            return float(model(x).mean())

    def make():
        torch.manual_seed(0)
        layers = []
        for _ in range(12):
            layers += [nn.Linear(256, 256), LSELU(epsilon=0.05)]
        model = self_normalizing_init_(nn.Sequential(*layers[:-1]))
        with torch.no_grad():
            for layer in model[::2]:
                layer.weight += 1.5 / 256  # fan_in mu_w E[f'] above 1
        return model

    x = torch.randn(64, 256, generator=torch.Generator().manual_seed(0)) + 0.3
    assert abs(mean_after(make(), x)) > 1  # it does grow without
    assert abs(mean_after(centralize(make()), x)) < 0.2
    assert abs(mean_after(centralize_(make()), x)) < 0.2


def test_in_place_after_the_optimizer():
    model = nn.Sequential(nn.Linear(12, 16), LSELU(0.05), nn.Linear(16, 1))
    once = copy.deepcopy(model)
    shared = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    optimizer.register_step_post_hook(lambda *_: centralize_(model))
    x = torch.randn(32, 12)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        assert model[0].weight is shared
        assert float(model[0].weight.detach().mean(1).abs().max()) < 1e-6
    with torch.no_grad():
        norms = once[0].weight.norm(dim=1)
    centralize_(once)
    torch.testing.assert_close(once[0].weight.detach().norm(dim=1), norms)
    before = once[0].weight.detach().clone()
    centralize_(once)
    torch.testing.assert_close(once[0].weight.detach(), before, rtol=1e-5, atol=1e-7)


def test_registering_on_a_model():
    model = nn.Sequential(nn.Linear(8, 8), nn.Conv1d(8, 8, 1, groups=8), nn.Linear(8, 2))
    assert centralize(centralize(model)) is model
    assert len(model[0].parametrizations["weight"]) == 1
    assert not parametrize.is_parametrized(model[1])  # a fan-in of 1 has nothing but its mean
    again = centralize(nn.Sequential(nn.Linear(8, 8), nn.Conv1d(8, 8, 1, groups=8), nn.Linear(8, 2)))
    again.load_state_dict(model.state_dict())
    x = torch.randn(3, 8)
    torch.testing.assert_close(again[0](x), model[0](x), rtol=0, atol=0)
    parametrize.remove_parametrizations(model[0], "weight")
    torch.testing.assert_close(again[0](x), model[0](x))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: WeightCentralization(nn.Linear(1, 3)), "fan-in of 1"),
        (lambda: WeightCentralization(nn.ConvTranspose1d(1, 3, 2, stride=2)), "fan-in of 1"),
        (lambda: WeightCentralization()(torch.ones(3)), "fan-in of 1"),
        (lambda: WeightCentralization(nn.ReLU()), "no fan-in"),
        (lambda: WeightCentralization(keep="all"), "keep must be"),
        (lambda: WeightCentralization(keep="preactivations"), "must be known"),
        (lambda: WeightCentralization(act=nn.ReLU()), "does not depend"),
        (lambda: WeightCentralization(keep="preactivations", act=nn.Softmax(0)), "element by element"),
        (lambda: centralize_(nn.ReLU()), "no layer"),
        (lambda: centralize(7), "no weights"),
        (lambda: CentralizedActivation(nn.ReLU(), momentum=0), "momentum"),
        (lambda: CentralizedActivation(nn.ReLU(), momentum=1.5), "momentum"),
        (lambda: CentralizedActivation("relu"), "module or a function"),
        (lambda: CentralizedActivation(nn.ReLU())(torch.ones(1)), "mean of 1 values"),
        (lambda: SelfNormalizingDropout(1, SELU()), "below 1"),
        (lambda: SelfNormalizingDropout(1.0, SELU()), "below 1"),
        (lambda: SelfNormalizingDropout(-0.1, SELU()), "at least 0"),
        (lambda: SelfNormalizingDropout(math.nan, SELU()), "at least 0"),
        (lambda: SelfNormalizingDropout(0.1, SELU(), value=-math.inf), "finite"),
        (lambda: SelfNormalizingDropout(0.1, lambda x: 0 * x), "no finite variance"),
        (lambda: SelfNormalizingDropout(0.1, SELU())(torch.ones(3).int()), "floating-point"),
        (lambda: SelfNormalizingDropout("0.1", SELU()), "at least 0"),
        (lambda: WeightCentralization()(torch.ones(3, 3).int()), "real floating"),
        (lambda: WeightCentralization(nn.Linear(8, 8))(torch.ones(4, 4)), "not that of the layer"),
        (lambda: centralize(nn.Linear(4, 4, dtype=torch.complex64)), "real floating"),
        (lambda: CentralizedActivation(nn.ReLU(), rescale=1), "True or False"),
        (lambda: Mixup(0.2, per_sample="no"), "True or False"),
        (lambda: Mixup(0), "above 0"),
        (lambda: Mixup(-1), "above 0"),
        (lambda: Mixup(math.inf), "above 0"),
        (lambda: Mixup(0.2, num_classes=0), "from 1 to"),
        (lambda: Mixup(0.2)(torch.ones(2, 3), torch.tensor([0, 1])), "number of classes"),
        (lambda: Mixup(0.2, 2)(torch.ones(2, 3), torch.tensor([0, 2])), "from 0 to 1"),
        (lambda: Mixup(0.2, 2)(torch.ones(2, 3), torch.tensor([0])), "batch size"),
        (lambda: Mixup(0.2, 2)(torch.ones(2, 3).int(), torch.tensor([0, 1])), "floating-point"),
    ],
)
def test_bad_arguments(call, said):
    with pytest.raises(InputError, match=said) as caught:
        call()
    assert caught.value.hint


# Activations


def test_centralized_activation_in_training():
    x = gaussian(64, 3, 5, seed=2).requires_grad_()
    f = CentralizedActivation(LSELU(0.3)).double()
    y = f(x)
    assert abs(float(y.mean().detach())) < 1e-14
    raw = LSELU(0.3)(x)
    torch.testing.assert_close(y, raw - raw.mean())
    (dx,) = torch.autograd.grad(y[0].sum(), x)
    (wanted,) = torch.autograd.grad((raw - raw.mean())[0].sum(), x)
    torch.testing.assert_close(dx, wanted)  # through the mean as well


def test_running_mean():
    act, batches = LSELU(0.3), [gaussian(16, 4, seed=s) + s / 4 for s in range(3)]
    for momentum in (0.25, None):
        f = CentralizedActivation(act, momentum=momentum).double()
        running = float(act.solution.mean)
        assert float(f.running_mean) == pytest.approx(running, rel=1e-6)
        for i, batch in enumerate(batches, 1):
            f(batch)
            running += (momentum or 1 / i) * (float(act(batch).mean()) - running)
        assert float(f.running_mean) == pytest.approx(running, rel=1e-6)
        assert int(f.num_batches_tracked) == 3
        f.eval()
        torch.testing.assert_close(f(batches[0]), act(batches[0]) - f.running_mean)
        assert int(f.num_batches_tracked) == 3
        assert f(batches[0][:1, :1]).shape == (1, 1)  # one value is enough in evaluation
        other = CentralizedActivation(act, momentum=momentum).double()
        other.load_state_dict(f.state_dict())
        torch.testing.assert_close(other.eval()(batches[1]), f(batches[1]), rtol=0, atol=0)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_moments_of_a_centralized_activation(rescale, training):
    act = SSELU(epsilon=0.15)
    f = CentralizedActivation(act, rescale=rescale).double().train(training)
    y = f(gaussian(400_000, seed=4)).detach()
    agrees(y.square(), 1.0 if rescale else 1 - act.solution.mean**2, 0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_centralized_activation_keeps_the_type(dtype):
    f = CentralizedActivation(nn.ReLU())
    assert f(torch.randn(8, 8, dtype=dtype)).dtype == dtype
    assert f.running_mean.dtype == torch.float32


# Dropout


ACTS = {
    "selu": SELU(),
    "sselu": SSELU(epsilon=0.1),
    "dselu": DSELU(epsilon=0.1),
    "lselu": LSELU(epsilon=0.1),
    "lselu, falling": LSELU(epsilon=0.5),
    "relu": nn.ReLU(),
    "tanh": nn.Tanh(),
    "gelu": nn.GELU(),
}


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("value", [None, 0.7])
def test_dropout_keeps_mean_and_second_moment(name, p, value):
    torch.manual_seed(6)
    act = ACTS[name]
    y = act(gaussian(400_000, seed=7)).detach()
    kept = SelfNormalizingDropout(p, act, value=value)(y)
    for power in (1, 2):
        change = kept**power - y**power  # pairs: most of the sampling error is common
        agrees(change, 0.0, 0.02)


@pytest.mark.parametrize("name", ["selu", "lselu"])
def test_plain_dropout_does_not(name):
    torch.manual_seed(6)
    y = ACTS[name](gaussian(400_000, seed=7)).detach()
    kept = nn.functional.dropout(y, 0.5)
    change = kept.square() - y.square()
    assert float(change.mean()) > 20 * float(change.std()) / math.sqrt(len(y))


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_for_selu_it_is_alpha_dropout(p):
    """The same two images of a value, as torch has them."""
    y = SELU()(gaussian(2000, seed=8)).float()
    mine, theirs = SelfNormalizingDropout(p, SELU()), nn.AlphaDropout(p)
    torch.manual_seed(0)
    a = theirs(y)
    dropped = (a == a.mode().values).nonzero().flatten()
    assert len(dropped) == pytest.approx(2000 * p, abs=5 * math.sqrt(2000 * p * (1 - p)))
    assert float(a[dropped[0]]) == pytest.approx(mine.a * mine.value + mine.b, rel=1e-5)
    rest = torch.ones(2000, dtype=torch.bool)
    rest[dropped] = False
    torch.testing.assert_close(a[rest], mine.a * y[rest] + mine.b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rate_of_dropout(dtype):
    """Uniform numbers of bfloat16 are multiples of 1/256: below 0.001 there would be three times too many."""
    torch.manual_seed(11)
    n, p = 1_000_000, 1e-3
    y = SelfNormalizingDropout(p, SELU())(torch.full((n,), 2.0, dtype=dtype))
    dropped = int((y < 0).sum())
    assert abs(dropped - n * p) < 4.5 * math.sqrt(n * p)


def test_constants_of_a_trained_lambda():
    act = SSELU(0.1, trainable=True, channels=3)
    plain = SelfNormalizingDropout(0.2, SSELU(0.1))
    assert SelfNormalizingDropout(0.2, act).value == pytest.approx(plain.value, rel=1e-6)
    with torch.no_grad():
        act.lam.mul_(1.5)
    scaled = SelfNormalizingDropout(0.2, act)
    assert (scaled.value, scaled.a, scaled.b) == (
        pytest.approx(1.5 * plain.value), pytest.approx(plain.a), pytest.approx(1.5 * plain.b),
    )  # fmt: skip
    assert CentralizedActivation(act)(torch.randn(4, 3)).shape == (4, 3)
    with torch.no_grad():
        act.lam[0] = 3
    with pytest.raises(InputError, match="for each channel"):
        SelfNormalizingDropout(0.2, act)


def test_tail_values():
    for name in ("selu", "sselu", "dselu"):
        s = ACTS[name].solution
        assert SelfNormalizingDropout(0.1, ACTS[name]).value == -s.params["lambda"] * s.params["alpha"]
        assert SelfNormalizingDropout(0.1, s).value == SelfNormalizingDropout(0.1, s.to_dict()).value
    leaky = SelfNormalizingDropout(0.36, ACTS["lselu"])
    assert leaky.value == ACTS["lselu"].solution.mean
    assert leaky.a == pytest.approx(1 / 0.8)
    assert SelfNormalizingDropout(0.1, nn.Tanh()).value == -1
    assert SelfNormalizingDropout(0.1, nn.ReLU()).value == 0
    assert SelfNormalizingDropout(0.1, nn.LeakyReLU()).value == pytest.approx(0.99 / math.sqrt(2 * math.pi))
    # SELU as a member of lSELU: its leak is the rounding error of 0
    member = LSELU(solution=solve("lselu", SELU().solution.epsilon, zero_mean=True))
    assert SelfNormalizingDropout(0.1, member).value == pytest.approx(SelfNormalizingDropout(0.1, SELU()).value)


def test_dropout_in_evaluation_and_for_nothing():
    y = torch.randn(5, 3)
    assert SelfNormalizingDropout(0.5, SELU()).eval()(y) is y
    assert SelfNormalizingDropout(0, SELU())(y) is y
    module = SelfNormalizingDropout(0.3, SSELU(0.03))
    torch.manual_seed(0)
    x = torch.randn(200, requires_grad=True)
    (dx,) = torch.autograd.grad(module(x).sum(), x)
    assert dx.unique().tolist() == [0.0, pytest.approx(module.a)]
    assert module(y.bfloat16()).dtype == torch.bfloat16
    assert not module.state_dict()
    for p in (np.float32(0.25), torch.tensor(0.25)):
        assert SelfNormalizingDropout(p, SELU()).p == 0.25


# Mixup


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
@pytest.mark.parametrize("kind", [Mixup, ScaledMixup])
def test_second_moment_of_mixtures(alpha, kind):
    torch.manual_seed(3)
    values = []
    for seed in range(300):
        x, _ = kind(alpha)(gaussian(64, 200, seed=seed), torch.zeros(64, 1))
        values.append(x.square().mean())
    agrees(torch.stack(values), (alpha + 1) / (2 * alpha + 1) if kind is Mixup else 1.0, 0.01)


def test_targets_and_pairs():
    torch.manual_seed(0)
    n = 40
    labels = torch.arange(n)
    x = torch.nn.functional.one_hot(labels, n).double()
    for per_sample in (True, False):
        mixed, soft = Mixup(0.5, n, per_sample=per_sample)(x, labels)
        torch.testing.assert_close(soft, mixed)  # inputs that are their own targets
        torch.testing.assert_close(soft.sum(1), torch.ones(n, dtype=soft.dtype))
        own = soft.diagonal()
        assert bool((((soft > 0).sum(1) == 2) | (own > 1 - 1e-12) | (own < 1e-12)).all())  # nobody meets himself
        partners = (soft - torch.diag(own)).argmax(1)
        if not per_sample:
            assert len(partners.unique()) == n
            assert float(own.std()) < 1e-12
        scaled, same = ScaledMixup(0.5, n, per_sample=per_sample)(x, labels)
        torch.testing.assert_close(same.sum(1), torch.ones(n, dtype=soft.dtype))
        torch.testing.assert_close(scaled.square().sum(1), torch.ones(n, dtype=soft.dtype))
    loss = nn.functional.cross_entropy(torch.zeros(n, n, dtype=torch.float64), soft)
    assert float(loss) == pytest.approx(math.log(n))


def test_mixup_leaves_its_inputs_and_evaluation_alone():
    x, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    kept = x.clone()
    mixup = Mixup(0.4, 3)
    mixup(x, labels)
    assert torch.equal(x, kept)
    y, soft = mixup.eval()(x, labels)
    assert y is x
    assert torch.equal(soft, nn.functional.one_hot(labels, 3).float())
    one, _ = Mixup(0.4, 3)(x[:1], labels[:1])
    assert torch.equal(one, x[:1])
    picture, mask = Mixup(0.4, 5)(torch.randn(2, 3, 4, 4), torch.randint(5, (2, 4, 4)))
    assert mask.shape == (2, 5, 4, 4)
    assert picture.shape == (2, 3, 4, 4)


def test_beta_by_its_moments():
    """``Var t = 1/(4 (2 alpha + 1))``, also for an alpha at which gamma variables underflow."""
    torch.manual_seed(1)
    for alpha in (0.01, 1.0, 20.0):
        t = Mixup(alpha)._shares(200_000, torch.zeros(1, dtype=torch.float64))
        assert bool(t.isfinite().all())
        agrees((t - 0.5).square(), 1 / (4 * (2 * alpha + 1)), 0.001)
        agrees(t, 0.5, 0.002)
