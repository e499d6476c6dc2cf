"""Initialization: fan-in by convolutions of ones, moments with standard errors, orthogonality, what is left alone."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize, prune  # noqa: E402

from snn_cli import InputError  # noqa: E402
from snn_cli.nn import LSELU, fan_in, self_normalizing_init_  # noqa: E402

LAYERS = {
    "linear": (lambda: nn.Linear(96, 80), (96,)),
    "bilinear": (lambda: nn.Bilinear(9, 11, 60), None),
    "conv1d": (lambda: nn.Conv1d(12, 20, 5), (12, 30)),
    "conv2d, groups": (lambda: nn.Conv2d(16, 24, 3, groups=4), (16, 12, 12)),
    "conv2d, depthwise": (lambda: nn.Conv2d(40, 40, 5, groups=40), (40, 12, 12)),
    "conv3d, dilation": (lambda: nn.Conv3d(4, 16, 2, dilation=2), (4, 14, 14, 14)),
    "transposed": (lambda: nn.ConvTranspose2d(8, 24, 3), (8, 12, 12)),
    "transposed, stride": (lambda: nn.ConvTranspose2d(8, 24, 4, stride=2), (8, 12, 12)),
    "transposed, groups": (lambda: nn.ConvTranspose1d(12, 30, 6, stride=3, groups=3), (12, 40)),
    "transposed, uneven": (lambda: nn.ConvTranspose1d(8, 30, 3, stride=2), (8, 40)),
}


def interior(y):
    """Positions away from the border, as many of each kind."""
    for d in range(2, y.dim()):
        margin = 6 if y.shape[d] > 20 else 3
        y = y.narrow(d, margin, (y.shape[d] - 2 * margin) // 6 * 6 or y.shape[d] - 2 * margin)
    return y


@pytest.mark.parametrize("name", [n for n, (_, shape) in LAYERS.items() if shape])
def test_fan_in_is_what_a_layer_of_ones_sums(name):
    make, shape = LAYERS[name]
    layer = make()
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.zero_()
        y = interior(layer(torch.ones(1, *shape)))
    assert float(y.mean()) == pytest.approx(fan_in(layer))


def test_fan_in_of_bilinear():
    layer = LAYERS["bilinear"][0]()
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.zero_()
    assert float(layer(torch.ones(1, 9), torch.ones(1, 11))[0, 0].detach()) == fan_in(layer) == 99


@pytest.mark.parametrize("weights", ["gaussian", "uniform", "truncated", "orthogonal"])
@pytest.mark.parametrize("name", LAYERS)
def test_second_moment_of_outputs(name, weights):
    """Over many draws, with its standard error: a fan-in that is off by one in ten would be seen."""
    make, shape = LAYERS[name]
    generator = torch.Generator().manual_seed(5)
    layer, values = make(), []
    for _ in range(50):
        assert self_normalizing_init_(layer, weights, sigma_w=1.3, generator=generator) is layer
        with torch.no_grad():
            if shape is None:
                y = layer(*(torch.randn(16, n, generator=generator) for n in (9, 11)))
            else:
                y = interior(layer(torch.randn(1 if len(shape) > 2 else 2, *shape, generator=generator)))
        values.append(float(y.square().mean()) / 1.3**2)
    mean = sum(values) / len(values)
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
    assert abs(mean - 1) < 4.5 * error
    assert error < 0.03
    assert not layer.bias.any()


@pytest.mark.parametrize(("weights", "kurtosis"), [("gaussian", 3.0), ("uniform", 1.8), ("truncated", 2.37)])
def test_shape_of_the_distribution(weights, kurtosis):
    layer = self_normalizing_init_(nn.Linear(500, 400), weights, generator=torch.Generator().manual_seed(0))
    w = layer.weight.detach().double().flatten() * math.sqrt(500)
    fourth = w**4
    assert abs(float(fourth.mean()) - kurtosis) < 4.5 * float(fourth.std()) / math.sqrt(w.numel()) + 0.005
    if weights == "truncated":
        assert float(w.abs().max()) < 2 / math.sqrt(0.7737) + 1e-3
    if weights == "uniform":
        assert float(w.abs().max()) <= math.sqrt(3) + 1e-5


@pytest.mark.parametrize("shape", [(64, 64), (32, 64), (64, 32)])
def test_orthogonal(shape):
    layer = nn.Linear(shape[1], shape[0], dtype=torch.float64)
    self_normalizing_init_(layer, "orthogonal")
    w = layer.weight.detach()
    gram = w @ w.T if shape[0] <= shape[1] else w.T @ w
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=w.dtype) * max(shape) / shape[1])


def test_orthogonal_in_groups():
    layer = nn.Conv2d(32, 16, 3, groups=4, dtype=torch.float64)
    self_normalizing_init_(layer, "orthogonal")
    for group in layer.weight.detach().reshape(4, 4, -1):
        torch.testing.assert_close(group @ group.T, torch.eye(4, dtype=torch.float64))


@pytest.mark.parametrize("kernel", [3, 4, (3, 5)])
def test_delta_orthogonal_keeps_norms(kernel):
    """One orthogonal map at the middle tap: the norm of every position, so of the whole picture, is kept."""
    layer = nn.Conv2d(8, 8, kernel, padding="same", padding_mode="circular", dtype=torch.float64)
    self_normalizing_init_(layer, "delta-orthogonal")
    x = torch.randn(2, 8, 9, 9, dtype=torch.float64)
    y = layer(x).detach()
    assert float(y.square().sum()) == pytest.approx(float(x.square().sum()))
    assert int((layer.weight != 0).sum()) == 64


def test_haar_has_no_preferred_sign():
    """The trace of a Haar orthogonal matrix has mean 0 and variance 1; QR alone would bias it."""
    layer = nn.Linear(6, 6)
    generator = torch.Generator().manual_seed(1)
    traces = []
    for _ in range(1500):
        self_normalizing_init_(layer, "orthogonal", generator=generator)
        traces.append(float(layer.weight.detach().trace()))
    traces = torch.tensor(traces)
    assert abs(float(traces.mean())) < 4.5 / math.sqrt(len(traces))
    assert abs(float(traces.square().mean()) - 1) < 4.5 * math.sqrt(2 / len(traces)) * 1.1


def test_models():
    shared = nn.Linear(8, 8)
    model = nn.Sequential(
        shared, LSELU(0.03), shared, nn.BatchNorm1d(8), nn.ModuleDict({"deep": nn.Sequential(nn.Linear(8, 4))})["deep"],
        nn.TransformerEncoderLayer(4, 1, batch_first=True), nn.Embedding(3, 4),
    )  # fmt: skip
    model[3].weight.data.fill_(2)
    inside, table = model[5].linear1.weight.clone(), model[6].weight.clone()
    model[4][0].weight.requires_grad_(False)
    frozen = model[4][0].weight.clone()
    before = shared.weight.clone()
    state = torch.Generator().manual_seed(2)
    self_normalizing_init_(model, generator=state)
    again = nn.Linear(8, 8)
    self_normalizing_init_(again, generator=torch.Generator().manual_seed(2))
    assert not torch.equal(shared.weight, before)
    assert torch.equal(shared.weight, again.weight)  # drawn once, though it stands twice
    assert torch.equal(model[5].linear1.weight, inside)
    assert torch.equal(model[6].weight, table)
    assert torch.equal(model[4][0].weight, frozen)
    assert bool((model[3].weight == 2).all())


def test_parametrized_and_low_precision():
    layer = parametrizations.orthogonal(nn.Linear(16, 16))
    self_normalizing_init_(layer, "orthogonal")
    torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(16), rtol=1e-4, atol=1e-5)
    half = nn.Linear(256, 256, dtype=torch.bfloat16)
    self_normalizing_init_(half)
    assert half.weight.dtype == torch.bfloat16
    assert float(half.weight.detach().float().square().mean()) * 256 == pytest.approx(1, abs=0.03)


def test_tied_weights_are_drawn_once_and_lose_both_biases():
    first, second, table = nn.Linear(16, 16), nn.Linear(16, 16), nn.Embedding(16, 16)
    second.weight = table.weight = first.weight
    nn.init.ones_(second.bias)
    self_normalizing_init_(nn.ModuleList([table, first, second]), generator=torch.Generator().manual_seed(3))
    alone = self_normalizing_init_(nn.Linear(16, 16), generator=torch.Generator().manual_seed(3))
    assert torch.equal(table.weight, alone.weight)
    assert not second.bias.any()


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def test_weights_that_something_else_computes():
    """Said for a layer, before anything is written; what a parametrization can take goes through it."""
    for spoil in (
        lambda layer: prune.random_unstructured(layer, "weight", 0.5),
        lambda layer: parametrize.register_parametrization(layer, "weight", Doubled()),
    ):
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        spoil(model[1])
        before = model[0].weight.clone()
        with pytest.raises(InputError, match="1 cannot be drawn"):
            self_normalizing_init_(model)
        assert torch.equal(model[0].weight, before)
    layer = self_normalizing_init_(parametrizations.weight_norm(nn.Linear(256, 256)))
    assert float(layer.weight.detach().square().mean()) * 256 == pytest.approx(1, abs=0.03)


@pytest.mark.filterwarnings("ignore:Initializing zero-element:UserWarning")
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: self_normalizing_init_(nn.Linear(0, 3)), "fan-in of 0"),
        (lambda: self_normalizing_init_(nn.Linear(3, 3), "gausian"), "no weight ensemble"),
        (lambda: self_normalizing_init_(nn.Linear(3, 3), sigma_w=0), "above 0"),
        (lambda: self_normalizing_init_(nn.Linear(3, 3), sigma_w=math.nan), "above 0"),
        (lambda: self_normalizing_init_(nn.ReLU()), "no layer to initialize"),
        (lambda: self_normalizing_init_(3), "nothing to initialize"),
        (lambda: self_normalizing_init_(nn.LazyLinear(3)), "no weight yet"),
        (lambda: self_normalizing_init_(nn.ConvTranspose1d(2, 2, 4, stride=2), "delta-orthogonal"), "stride"),
        (lambda: fan_in(nn.BatchNorm1d(3)), "no fan-in"),
        (lambda: self_normalizing_init_(nn.Linear(3, 3, dtype=torch.complex64)), "real floating"),
        (lambda: self_normalizing_init_(nn.Linear(3, 3), generator=5), "torch.Generator"),
        (lambda: self_normalizing_init_(nn.Embedding(3, 3)), "no layer to initialize"),
    ],
)
def test_bad_arguments(call, said):
    with pytest.raises(InputError, match=said) as caught:
        call()
    assert caught.value.hint


def test_nothing_is_written_before_all_is_checked():
    model = nn.Sequential(nn.Linear(4, 4), nn.ConvTranspose1d(2, 2, 4, stride=2))
    before = model[0].weight.clone()
    with pytest.raises(InputError):
        self_normalizing_init_(model, "delta-orthogonal")
    assert torch.equal(model[0].weight, before)
