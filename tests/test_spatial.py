"""Theory of convolutions: against the theory of perceptrons, sums over windows written out, and sampled fields."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from snn_cli import activations, architectures, simulate, solve
from snn_cli.architectures import Stage
from snn_cli.propagation import spatial
from snn_cli.propagation.meanfield import MeanField
from snn_cli.propagation.mixing import mixtures


def field(act="lselu", sigma_w=1.0, sigma_b=0.0, epsilon="0.03"):
    params = dict(solve(act, epsilon).params) if act in activations.SOLVABLE else {}
    return MeanField(activations.find(act), params, sigma_w**2, sigma_b**2)


def stages(depth=4, **shape):
    given = {"channels": 7, "kernel": 3, "image": 5, "padding": "zeros", **shape}
    return architectures.get("conv").build(depth, **given)


@pytest.mark.parametrize("act", ["lselu", "relu", "tanh"])
@pytest.mark.parametrize(
    "options",
    [{}, {"sigma_w": 0.9, "sigma_b": 0.4, "q0": 2.0}, {"weight_mean": 0.01}, {"centralize": True, "q0": 0.5}],
    ids=str,
)
def test_a_torus_of_any_size_is_a_perceptron_at_infinite_width(act, options):
    depth, channels = 8, 100
    fan_in = channels * 9
    options = {"q0": 1.0, "sigma_w": 1.0, "sigma_b": 0.0, **options}
    theory = simulate(act, "0.03" if act == "lselu" else None, depth=depth, fanin=fan_in, **options)
    settings = spatial.Options(weight_mean=options.get("weight_mean", 0.0), centralize=options.get("centralize", False))
    f = field(act, options["sigma_w"], options["sigma_b"])
    path = spatial.propagate([f] * depth, stages(depth, channels=channels, padding="circular"), options["q0"], settings)
    np.testing.assert_allclose(path.q, theory.profile.q, rtol=1e-9)
    growth = np.cumsum(np.log(theory.profile.chi)[:-1][::-1])[::-1]
    np.testing.assert_allclose(path.log_gradient[:-1], growth, rtol=0, atol=1e-9)


@pytest.mark.parametrize("act", ["lselu", "sselu", "tanh"])
def test_one_position_is_a_perceptron_at_its_fan_in(act):
    """The same first order in 1/N, by another route: mode by mode here, layer by layer there."""
    depth, n = 12, 200
    theory = simulate(act, "0.03" if act != "tanh" else None, depth=depth, fanin=n)
    net = (Stage(n, n, 1),) * depth
    fields = [field(act)] * depth
    path = spatial.propagate(fields, net, 1.0, spatial.Options())
    more = spatial.corrections(fields, net, path, spatial.Options(), 4)
    np.testing.assert_allclose(path.q * (1 + more.q_mean), theory.profile.q_mean, rtol=2e-4)
    np.testing.assert_allclose(path.q * more.q_sd, theory.profile.q_sd, rtol=2e-2)
    found = path.log_gradient + more.gradient_mean
    np.testing.assert_allclose(found, theory.profile.log_gradient, rtol=0, atol=5 * depth / n**2)
    np.testing.assert_allclose(np.sqrt(more.gradient_variance), theory.profile.log_gradient_sd, rtol=2e-2)


def written_out(net, f, q0, chi):
    """Second moments and powers of the gradient, position by position, each sum over a window in a loop."""
    fields = [np.full((net[0].size,) * 2, q0)]
    for stage in net:
        out = np.zeros((stage.out,) * 2)
        for y, x in product(range(stage.out), repeat=2):
            for i, j in product(range(-(stage.kernel // 2), stage.kernel // 2 + 1), repeat=2):
                a, b = stage.stride * y + i, stage.stride * x + j
                if 0 <= a < stage.size and 0 <= b < stage.size:
                    out[y, x] += f(fields[-1][a, b]) / stage.kernel**2
        fields.append(out)
    power = [np.ones_like(fields[-1]) / fields[-1].size]
    for stage, q in zip(net[::-1], fields[-2::-1], strict=True):
        back = np.zeros((stage.size,) * 2)
        for y, x in product(range(stage.out), repeat=2):
            for i, j in product(range(-(stage.kernel // 2), stage.kernel // 2 + 1), repeat=2):
                a, b = stage.stride * y + i, stage.stride * x + j
                if 0 <= a < stage.size and 0 <= b < stage.size:
                    back[a, b] += power[-1][y, x] / stage.kernel**2
        power.append(back * np.vectorize(chi)(q))
    return [q.mean() for q in fields], [math.log(p.sum()) for p in power[::-1]]


@pytest.mark.parametrize("act", ["relu", "linear", "erf"])
@pytest.mark.parametrize("strides", [(1, 1, 1), (2, 1, 2)])
def test_zeros_around_an_image_and_strides(act, strides):
    """Closed forms of relu, linear and erf (Williams, 1997), for ``E[f^2]`` and ``E[f'^2]`` at any q."""
    closed = {
        "relu": (lambda q: q / 2, lambda _: 0.5),
        "linear": (lambda q: q, lambda _: 1.0),
        "erf": (
            lambda q: 2 / math.pi * math.asin(2 * q / (1 + 2 * q)),
            lambda q: 4 / math.pi / math.sqrt(1 + 4 * q),
        ),
    }[act]
    size, net = 7, []
    for stride in strides:
        net.append(Stage(4, 4, size, 3, stride, False))
        size = net[-1].out
    path = spatial.propagate([field(act)] * 3, net, 1.5, spatial.Options())
    q, power = written_out(net, closed[0], 1.5, closed[1])
    np.testing.assert_allclose(path.q, q, rtol=1e-9)
    np.testing.assert_allclose(path.log_gradient, power, rtol=0, atol=1e-9)


def test_pooling_averages_the_covariance_of_every_pair():
    """Channels of infinite width are Gaussian fields: sampled with the covariance of two layers, written out."""
    rng = np.random.default_rng(4)
    size, draws, f = 4, 200_000, lambda x: np.maximum(x, 0)
    net = [*stages(2, image=size), Stage(7, 7, size, pooled=True)]
    fields = [field("relu", math.sqrt(2))] * 3
    path = spatial.propagate(fields, net, 1.0, spatial.Options())
    covariance = np.eye(size * size)
    windows = np.zeros((9, size * size, size * size))
    for tap, (i, j) in enumerate(product((-1, 0, 1), repeat=2)):
        for y, x in product(range(size), repeat=2):
            if 0 <= y + i < size and 0 <= x + j < size:
                windows[tap, y * size + x, (y + i) * size + x + j] = 1
    for layer in range(2):
        values, vectors = np.linalg.eigh(covariance)
        x = rng.standard_normal((draws, size * size)) * np.sqrt(np.maximum(values, 0)) @ vectors.T
        products = f(x).T @ f(x) / draws
        covariance = sum(w @ products @ w.T for w in windows) * 2 / 9
        assert path.q[layer + 1] == pytest.approx(np.trace(covariance) / size**2, rel=6e-3)
    values, vectors = np.linalg.eigh(covariance)
    x = rng.standard_normal((draws, size * size)) * np.sqrt(np.maximum(values, 0)) @ vectors.T
    pooled = f(x).mean(1) ** 2
    noise = pooled.std() / math.sqrt(draws)
    assert abs(path.q[3] / 2 - pooled.mean()) < 4.5 * noise + 4e-3 * pooled.mean()


def test_positions_that_see_no_other_are_named():
    assert spatial.unmixed(stages(kernel=1), False)
    assert spatial.unmixed(stages(), True)
    assert not spatial.unmixed(stages(), False)
    assert not spatial.unmixed([Stage(3, 3, 4, 1, 2)], True)
    assert spatial.uniform(stages(padding="circular"))
    assert not spatial.uniform(stages())


def test_what_is_out_of_range_is_nan():
    path = spatial.propagate([field("linear", 1e60)] * 4, stages(), 1.0, spatial.Options())
    assert not np.isfinite(path.log_gradient).any()
    assert math.isnan(path.q[-1])


@pytest.mark.parametrize("a", [1e-9, 0.2, 1.0, 30.0, 1e6])
def test_mixtures_have_the_moments_of_their_shares(a):
    """``E[t^2 + (1-t)^2] = (a+1)/(2a+1)`` for t ~ Beta(a, a)."""
    factors, weights = mixtures(a)
    assert sum(weights) == pytest.approx(1, rel=1e-12)
    assert np.dot(factors, weights) == pytest.approx((a + 1) / (2 * a + 1), rel=1e-7)
    assert all(0.5 <= factor <= 1 + 1e-12 for factor in factors)


def test_mobilenet_is_that_of_the_table():
    """Howard et al. (2017), table 1: channels and sides of the images after every layer, for 224 x 224."""
    net = architectures.get("conv-mobilenet-v1").build(1, image=224, width_multiplier=1)
    assert [stage.channels for stage in net] == [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024, 1000]
    assert [stage.out for stage in net] == [112, 112, 56, 56, 28, 28, *[14] * 6, 7, 7, 1]
    assert net[-1].pooled
    assert [stage.fan_in for stage in net[:3]] == [27, 288, 576]
    half = architectures.get("conv-mobilenet-v1").build(1, image=64, width_multiplier="0.5")
    assert [stage.channels for stage in half[:4]] == [16, 32, 64, 64]
    assert half[-1].channels == 1000
