"""The engine against autograd, numpy and the laws that its random numbers are to follow."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from scipy import stats  # noqa: E402

from snn_cli import activations, ensembles, solve  # noqa: E402
from snn_cli.cli.main import main  # noqa: E402
from snn_cli.engine.distributed import Ranks  # noqa: E402
from snn_cli.engine.elementwise import kernel  # noqa: E402
from snn_cli.engine.measure import Trials, broken, measure, plan  # noqa: E402
from snn_cli.engine.network import Architecture, Group, Workspace  # noqa: E402
from snn_cli.engine.sampling import BLOCK_ROWS, Streams  # noqa: E402
from snn_cli.errors import CannotCompute  # noqa: E402

CPU = torch.device("cpu")
GIB = 1024**3
ACTS = (*activations.SOLVABLE, *activations.BASELINES)
WIDTHS = (40, 64, 64, 64, 64, BLOCK_ROWS + 88, 30, 2 * BLOCK_ROWS + 1, 50)  # square, blocks, a block of one row

torch.set_num_threads(1)  # matrices as small as these are slower on two


def params(act, epsilon="0.03"):
    return dict(solve(act, epsilon).params) if act in activations.SOLVABLE else {}


def architecture(act="lselu", widths=WIDTHS, weights="gaussian", epsilon="0.03", **options):
    values = options.pop("params", None) or params(act, epsilon)
    return Architecture(act, tuple(values.items()), widths, ensembles.get(weights), **options)


def group(net, *, seed=0, first=0, count=2, dtype="float64", keep=True):
    streams = Streams(seed, net.widths, CPU)
    return Group(net, streams, first, count, Workspace(getattr(torch, dtype), CPU), keep)


def reference(act, p, x):
    """The activation from its definition, in operations that autograd knows."""
    left = x.clamp(max=0)
    if act in ("selu", "dselu"):
        return p["lambda"] * torch.where(x < 0, p["alpha"] * torch.expm1(left), x)
    if act == "lselu":
        return p["lambda"] * torch.where(x < 0, p["alpha"] * torch.expm1(left) + p["beta"] * left, x)
    if act == "sselu":
        return p["lambda"] * torch.where(x < 0, p["alpha"] * torch.expm1(p["beta"] * left), x)
    functional = torch.nn.functional
    plain = {
        "relu": torch.relu,
        "leaky_relu": functional.leaky_relu,
        "tanh": torch.tanh,
        "erf": torch.erf,
        "gelu": functional.gelu,
        "silu": functional.silu,
        "elu": functional.elu,
        "mish": functional.mish,
        "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        "hardswish": functional.hardswish,
        "linear": lambda x: x,
    }
    return plain[act](x)


def autograd(net, matrices, x, upward):
    """Second moments and log squared gradients of every layer, all of it torch's own and in float64."""
    x = x.double()
    layers = [x]
    for weights, biases in matrices:
        x.requires_grad_()
        f = reference(net.act, dict(net.params), x)
        x = torch.einsum("tbi,toi->tbo", f, weights.double())
        if biases is not None:
            x = x + biases.double()
        layers.append(x)
    gradients = torch.autograd.grad(x, layers, upward.double())
    moments = torch.stack([each.detach().square().mean(-1) for each in layers], 1)
    logs = torch.stack([each.square().sum(-1).log() for each in gradients], 1)
    return moments, logs


def assert_equals_autograd(net, dtype, batch=16):
    expected = autograd(net, group(net, dtype=dtype).matrices(), *group(net, dtype=dtype).ends(batch))
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    found = [group(net, dtype=dtype, keep=keep).run(batch) for keep in (True, False)]
    for norms in found:
        assert norms.second_moment.shape == norms.log_gradient.shape == (2, net.depth + 1, batch)
        torch.testing.assert_close(norms.second_moment, expected[0], rtol=tolerance, atol=0)
        torch.testing.assert_close(norms.log_gradient, expected[1], rtol=0, atol=tolerance)
    assert torch.equal(found[0].second_moment, found[1].second_moment)
    assert torch.equal(found[0].log_gradient, found[1].log_gradient)


@pytest.mark.parametrize("weights", ensembles.ENSEMBLES)
@pytest.mark.parametrize("act", ACTS)
def test_gradients_are_those_of_autograd(act, weights):
    net = architecture(act, weights=weights)
    for dtype in ("float64", "float32"):
        assert_equals_autograd(net, dtype)


@pytest.mark.parametrize("act", ["lselu", "erf", "leaky_relu"])
@pytest.mark.parametrize(
    "options",
    [
        {"sigma_b": 0.3},
        {"q0": 2.5, "sigma_w": 1.3},
        {"weight_mean": 0.1},
        {"centralize": True},
        {"sigma_b": 0.1, "q0": 0.2, "sigma_w": 0.7, "weight_mean": -0.2, "centralize": True, "weights": "orthogonal"},
        {"sigma_b": 0.1, "widths": (1, 1, 700, 1, 2)},
    ],
    ids=lambda options: ",".join(options),
)
def test_gradients_with_every_option(act, options):
    for dtype in ("float64", "float32"):
        assert_equals_autograd(architecture(act, **options), dtype)


def test_gradients_of_any_parameters():
    for act, values in (
        ("lselu", {"lambda": 1.0, "alpha": 2.9, "beta": -0.6}),
        ("lselu", {"lambda": 0.5, "alpha": 0.4, "beta": 1.7}),
        ("lselu", {"lambda": -1.2, "alpha": 0.4, "beta": 0.7}),
        ("sselu", {"lambda": 1.0, "alpha": -0.8, "beta": 1.2}),
        ("sselu", {"lambda": 1.0, "alpha": 0.8, "beta": -0.4}),
        ("selu", {"lambda": 0.9, "alpha": 0.0}),
    ):
        assert_equals_autograd(architecture(act, params=values, widths=(64,) * 4), "float64")


def test_a_group_can_be_run_again():
    net = architecture("gelu", sigma_b=0.1)
    for keep in (True, False):
        one = group(net, keep=keep)
        first, second = one.run(2), one.run(2)
        assert torch.equal(first.log_gradient, second.log_gradient)
        assert torch.equal(first.second_moment, second.second_moment)


def test_norms_do_not_overflow_before_the_numbers_do():
    net = architecture("linear", widths=(8,) * 31, sigma_w=10.0)
    far = group(net, dtype="float32").run(2)
    assert float(far.second_moment[:, -1].max()) > 1e38
    expected = autograd(net, group(net, dtype="float32").matrices(), *group(net, dtype="float32").ends(2))
    torch.testing.assert_close(far.second_moment, expected[0], rtol=1e-4, atol=0)
    torch.testing.assert_close(far.log_gradient, expected[1], rtol=0, atol=1e-4)
    near = group(net._replace(sigma_w=0.1), dtype="float32").run(2)
    assert 0 < float(near.second_moment[:, -1].max()) < 1e-50
    assert torch.isfinite(near.log_gradient).all()


POINTS = np.array([0.0, 1e-300, 1e-30, 1e-12, 1e-5, 0.02, 0.3, 1.0, 2.5, 7.0, 20.0, 300.0])
POINTS = np.concatenate([-POINTS[:0:-1], POINTS])


def on_torch(act, values, x, dtype="float64"):
    tensor = torch.tensor(x, dtype=getattr(torch, dtype))
    made = kernel(act, values)
    saved = torch.empty_like(tensor)
    f = made.forward(tensor.clone(), saved).clone()
    return f.double().numpy(), made.backward(torch.full_like(tensor, -2.0), saved).double().numpy() / -2


def assert_kernel(act, values, tolerance=1e-12):
    activation = activations.find(act)
    x = POINTS[POINTS != 0]  # at 0 itself the derivative of either side will do
    f, df = on_torch(act, values, x)
    scale = np.abs(activation.derivative(np, np.array([-1e-300, 1e-300]), values)).max()
    np.testing.assert_allclose(f, activation.function(np, x, values), rtol=tolerance, atol=tolerance * scale * 1e-3)
    np.testing.assert_allclose(df, activation.derivative(np, x, values), rtol=tolerance, atol=tolerance * scale)
    assert on_torch(act, values, np.zeros(1))[0] == pytest.approx(activation.function(np, np.zeros(1), values)[0])


@pytest.mark.parametrize("act", ACTS)
def test_kernels_are_the_formulas(act):
    assert_kernel(act, params(act))


KERNELS = {
    "sselu almost linear": ("sselu", params("sselu", "1e-6"), 1e-11),
    "lselu, negative beta": ("lselu", params("lselu", "0.2"), 1e-12),
    "left steeper than right": ("lselu", {"lambda": 0.5, "alpha": 0.4, "beta": 1.7}, 1e-12),
    "as steep on both sides": ("lselu", {"lambda": 0.5, "alpha": 0.4, "beta": 1.0}, 1e-12),
    "amplitude below 0": ("selu", {"lambda": 1.1, "alpha": -0.7}, 1e-12),
    "lambda below 0": ("lselu", {"lambda": -1.1, "alpha": 0.7, "beta": 0.4}, 1e-12),
    "no exponential": ("lselu", {"lambda": 1.1, "alpha": 0.0, "beta": -0.4}, 1e-12),
    "no exponential, lambda 1": ("lselu", {"lambda": 1.0, "alpha": 0.0, "beta": -0.4}, 1e-12),
    "fast": ("sselu", {"lambda": 1.0, "alpha": 0.3, "beta": 40.0}, 1e-12),
    "amplitude and rate below 0": ("sselu", {"lambda": 1.0, "alpha": -0.7, "beta": -0.01}, 1e-12),
    "rate below 0": ("sselu", {"lambda": 1.0, "alpha": 0.7, "beta": -0.01}, 1e-12),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_of_unusual_parameters(name):
    assert_kernel(*KERNELS[name])


@pytest.mark.parametrize("act", ACTS)
def test_kernels_in_lower_precision(act):
    values = params(act, "1e-4")
    x = np.array([-9.0, -2.0, -0.5, -1e-3, 1e-3, 0.5, 2.0, 9.0])
    for dtype, tolerance in (("float32", 2e-5), ("bfloat16", 0.03), ("float16", 0.004)):
        rounded = torch.tensor(x, dtype=getattr(torch, dtype)).double().numpy()
        f, df = on_torch(act, values, x, dtype)
        np.testing.assert_allclose(f, activations.find(act).function(np, rounded, values), rtol=tolerance, atol=1e-4)
        # what is left of f' far out on the left is the rounding of f
        expected = activations.find(act).derivative(np, rounded, values)
        np.testing.assert_allclose(df, expected, rtol=tolerance, atol=max(tolerance, 1e-4))


def test_derivative_is_the_slope_of_the_function():
    x = np.array([-2.9, -1.0, -0.01, 0.01, 1.0, 2.9])
    for act in ACTS:
        ahead, behind = (on_torch(act, params(act), x + h)[0] for h in (1e-5, -1e-5))
        np.testing.assert_allclose(on_torch(act, params(act), x)[1], (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-9)


def test_streams_are_distinct_and_the_same_for_all():
    widths = (600, 1100, 3, 40)
    streams = Streams(7, widths, CPU)
    places = [(layer, block) for layer in range(len(widths) + 1) for block in range(streams.bias_block + 1)]
    assert streams.bias_block > (max(widths) - 1) // BLOCK_ROWS  # biases have a block of their own
    seeds = [seed for layer, block in places for seed in streams.seeds(range(500), layer, block)]
    assert len(set(seeds)) == len(seeds) == 500 * len(places)
    other = Streams(7, widths, CPU)
    for layer, block in places[::-1]:
        assert other.seeds([499], layer, block) == streams.seeds(range(500), layer, block)[499:]
        assert other.seeds([3, 1], layer, block) == streams.seeds(range(4), layer, block)[3:0:-2]
        drawn = [
            torch.empty(5).normal_(generator=next(iter(each.generators([11], layer, block))))
            for each in (streams, other, Streams(8, widths, CPU))
        ]
        assert torch.equal(drawn[0], drawn[1])
        assert not torch.equal(drawn[0], drawn[2])


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40), st.integers(1, 2000), st.integers(0, 3))
def test_streams_of_any_seed_and_trial(seed, trial, layer, block):
    widths = (1500,) * 2000
    one, two = (Streams(seed, widths, CPU).seeds([trial, trial + 1], layer, block) for _ in range(2))
    assert one == two
    assert one[0] != one[1]
    assert one != Streams(seed ^ 1, widths, CPU).seeds([trial, trial + 1], layer, block)
    torch.Generator().manual_seed(one[0])


@pytest.mark.parametrize("weights", ["gaussian", "uniform", "truncated"])
def test_weights_have_the_moments_of_their_ensemble(weights):
    net = architecture(widths=(60, 1100, 40), weights=weights, sigma_w=1.5, sigma_b=0.2)
    layers = group(net, seed=3, count=6).matrices()
    cut = stats.truncnorm(-2, 2)
    law = {"gaussian": stats.norm(), "uniform": stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)), "truncated": cut}
    width = cut.std() if weights == "truncated" else 1.0
    for fan_in, (matrices, biases) in zip(net.widths, layers, strict=False):
        x = (matrices / (1.5 / math.sqrt(fan_in))).flatten().numpy()
        for power in (1, 2, 3, 4):
            expected = law[weights].moment(power) / width**power
            error = (x**power).std() / math.sqrt(x.size)
            assert (x**power).mean() == pytest.approx(expected, abs=4 * error), (fan_in, power)
        # neighbours, blocks and trials are independent
        for shift in (1, fan_in, matrices[0].numel() // 2, matrices[0].numel()):
            assert np.mean(x[shift:] * x[:-shift]) == pytest.approx(0, abs=4 / math.sqrt(x.size - shift)), shift
        assert stats.kstest(x[:20000] * width, law[weights].cdf).pvalue > 1e-3
        if weights == "truncated":
            assert np.abs(x).max() <= 2 / width * (1 + 1e-12)
            assert np.abs(x).max() > 1.99 / width
        if weights == "uniform":
            assert np.abs(x).max() <= math.sqrt(3) * (1 + 1e-12)
        b = biases.flatten().numpy() / 0.2
        assert b.mean() == pytest.approx(0, abs=4 / math.sqrt(b.size))
        assert b.var() == pytest.approx(1, abs=4 * math.sqrt(2 / b.size))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_in_lower_precision(dtype):
    for weights in ensembles.ENSEMBLES:
        ((matrices, _),) = group(architecture(widths=(100, 100), weights=weights), dtype=dtype, count=8).matrices()
        x = matrices.double() * 10
        assert torch.isfinite(x).all()
        assert x.square().mean().item() == pytest.approx(1, abs=4 * math.sqrt(2 / x.numel()) + 1e-3), weights


def test_ends_are_independent_gaussians():
    net = architecture(widths=(200, 30, 300), q0=2.25)
    x, g = (end.flatten().numpy() for end in group(net, count=20).ends(25))
    assert stats.kstest(x / 1.5, stats.norm.cdf).pvalue > 1e-3
    assert stats.kstest(g, stats.norm.cdf).pvalue > 1e-3
    assert np.corrcoef(x, g[: x.size])[0, 1] == pytest.approx(0, abs=4 / math.sqrt(x.size))


@pytest.mark.parametrize("shape", [(6, 6), (40, 25), (25, 40), (1, 5), (5, 1), (600, 30)])
def test_haar_is_orthogonal(shape):
    fan_in, fan_out = shape
    ((matrices, _),) = group(architecture(widths=shape, weights="orthogonal", sigma_w=1.2)).matrices()
    tall, short = max(shape), min(shape)
    for matrix in matrices:
        matrix = (matrix if fan_out <= fan_in else matrix.T) * (math.sqrt(fan_in / tall) / 1.2)
        np.testing.assert_allclose((matrix @ matrix.T).numpy(), np.eye(short), atol=1e-12)


def test_haar_is_haar():
    n, count = 5, 3000
    ((square, _),) = group(architecture(widths=(n, n), weights="orthogonal"), count=count, seed=5).matrices()
    ((wide, _),) = group(architecture(widths=(n, 2), weights="orthogonal"), count=count, seed=6).matrices()
    ((tall, _),) = group(architecture(widths=(2, n), weights="orthogonal"), count=count, seed=7).matrices()
    entry = stats.beta((n - 1) / 2, (n - 1) / 2, -1, 2)  # of a uniform point on the sphere
    tall = tall * math.sqrt(2 / n)
    for matrices in (square, wide, tall):
        for i, j in ((0, 0), (-1, 0), (0, -1), (-1, -1)):
            assert stats.kstest(matrices[:, i, j].numpy(), entry.cdf).pvalue > 1e-3, (i, j)
    # the trace of a Haar matrix: mean 0, variance 1, fourth moment 3
    trace = square.diagonal(dim1=1, dim2=2).sum(-1).numpy()
    for power, expected in ((1, 0), (2, 1), (4, 3)):
        error = (trace**power).std() / math.sqrt(count)
        assert (trace**power).mean() == pytest.approx(expected, abs=4 * error)
    assert np.mean(np.linalg.det(square.numpy())) == pytest.approx(0, abs=4 / math.sqrt(count))


def run(net, trials, batch=4, *, seed=1, dtype="float32", threads=1, memory=GIB, **options):
    found, complete = measure(
        net, trials, batch, seed=seed, dtype=dtype, device=CPU, threads=threads, memory=memory, **options
    )
    assert complete
    assert found.number.tolist() == sorted(trials)
    return found


def assert_same(a, b):
    for name, one, two in zip(Trials._fields, a, b, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=name)


@pytest.mark.parametrize(
    ("widths", "weights"),
    [
        ((64,) * 9, "gaussian"),
        ((64,) * 5, "orthogonal"),
        ((30, 70, 600, 700, 20), "gaussian"),
        ((9, 40, 20), "truncated"),
    ],
)
def test_results_do_not_depend_on_how_they_are_run(widths, weights):
    net = architecture(widths=widths, weights=weights, sigma_b=0.1)
    whole = run(net, range(40))
    assert_same(whole, run(net, range(40), threads=2))
    kept = plan(net, 4, 40, "float32", CPU, 1, GIB)
    assert kept.keep
    tight = plan(net, 4, 40, "float32", CPU, 1, kept.bytes - 1)
    assert not tight.keep
    assert_same(whole, run(net, range(40), memory=kept.bytes - 1))
    chosen = [0, 5, 17, 18, 39]
    assert_same(Trials(*(column[chosen] for column in whole)), run(net, chosen, threads=2))
    assert_same(whole, run(net, range(20, 40)).joined(run(net, range(20))))
    parts = [Ranks(CPU, rank, 3).share(range(40), 16) for rank in range(3)]
    assert_same(whole, Trials.empty(net.depth).joined(*(run(net, part) for part in parts)))
    assert_same(Trials.empty(net.depth), run(net, []))


def test_results_depend_on_the_seed():
    net = architecture(widths=(64,) * 4)
    one, two = run(net, range(3)), run(net, range(3), seed=2)
    assert (one.log_gradient[:, :-1] != two.log_gradient[:, :-1]).all()
    assert len(np.unique(one.log_gradient[:, 0])) == 3


def test_trials_are_means_over_the_batch():
    net = architecture(widths=(64,) * 6)
    norms = group(net, first=16, count=1).run(5)
    (moments,), (logs,) = norms.second_moment.numpy(), norms.log_gradient.numpy()
    found = run(net, [16], 5, seed=0, dtype="float64")
    logs = logs - logs[-1]
    for column, expected in zip(found[1:5], (moments, moments**2, logs, logs**2), strict=True):
        np.testing.assert_allclose(column[0], expected.mean(-1), rtol=1e-10, atol=1e-12)
    assert (found.log_gradient[:, -1] == 0).all()


def test_progress_counts_to_the_end():
    seen = []
    run(architecture(widths=(600,) * 3), range(7), threads=2, progress=lambda found: seen.append(len(found.number)))
    assert seen == sorted(seen)
    assert seen[-1] == 7


def test_an_interrupt_keeps_what_is_finished():
    net = architecture(widths=(600,) * 3)

    def stop(_):
        raise KeyboardInterrupt

    found, complete = measure(
        net, range(30), 4, seed=1, dtype="float32", device=CPU, threads=2, memory=GIB, progress=stop
    )
    assert not complete
    assert 1 <= len(found.number) < 30
    whole = run(net, found.number.tolist())
    assert_same(found, whole)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_too_wide_says_which_width_would_do(weights):
    """A block of weights alone is 2 GB here, and an orthogonal matrix 4 TB: less depth or fewer inputs are no help."""
    wide = architecture("relu", (10**6,) * 51, weights, params={})
    with pytest.raises(CannotCompute) as error:
        plan(wide, 16, 1, "float32", CPU, 1, GIB)
    (width,) = map(int, re.findall(r"--fanin (\d+)", error.value.hint))
    assert plan(wide.narrower(width), 16, 1, "float32", CPU, 1, GIB).bytes <= GIB
    with pytest.raises(CannotCompute):
        plan(wide.narrower(2 * width + 1), 16, 1, "float32", CPU, 1, GIB)


def test_an_interrupt_does_not_wait_for_a_wide_network(monkeypatch, capsys):
    """Ten seconds of work are on their way when it comes; nothing is finished, and nothing is printed."""
    sent = []
    seeds = Streams.seeds

    def drawing(*args):
        if not sent:
            sent.append(threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)))
            sent[0].start()
            sent.append(time.monotonic())
        return seeds(*args)

    monkeypatch.setattr(Streams, "seeds", drawing)
    command = "verify --act relu --sigma-w 1.4 --fanin 12000 --depth 9 --trials 2 --threads 1 --json"
    assert main(command.split()) == 130
    assert time.monotonic() - sent[1] < 3
    assert capsys.readouterr() == ("", "")
    for thread in threading.enumerate():  # what was on its way ends with its block of weights
        if thread is not threading.current_thread():
            thread.join(20)
            assert not thread.is_alive()


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=60), st.integers(1, 9))
def test_ranks_share_every_trial_once(trials, world):
    parts = [Ranks(CPU, rank, world).share(trials, 16) for rank in range(world)]
    assert sorted(trial for part in parts for trial in part) == sorted(trials)


def test_ranks_share_evenly():
    for world in (2, 3, 8):
        sizes = [len(Ranks(CPU, rank, world).share(range(64 * world), 16)) for rank in range(world)]
        assert sizes == [64] * world


BYTES = {"KiB": 1024, "MiB": 1024**2, "GiB": GIB}


@given(
    st.integers(1, 2000),
    st.integers(1, 5000),
    st.integers(1, 300),
    st.integers(1, 1000),
    st.sampled_from(["float64", "float32", "bfloat16"]),
    st.sampled_from(["gaussian", "orthogonal"]),
    st.integers(1, 8),
    st.integers(12, 40),
)
def test_plan_stays_within_the_budget_or_says_what_would(depth, width, batch, trials, dtype, weights, threads, power):
    def planned(depth, batch, memory):
        net = architecture("linear", widths=(width,) * (depth + 1), weights=weights)
        return plan(net, batch, trials, dtype, CPU, threads, memory)

    memory = 2**power
    split = hint = None
    try:
        split = planned(depth, batch, memory)
    except CannotCompute as error:
        hint = error.hint
    if split is None:
        hints = dict(re.findall(r"--(batch|depth|memory) ([\d.]+(?:[KMG]iB)?)", hint))
        assert "memory" in hints
        number, unit = re.fullmatch(r"([\d.]+)([KMG]iB)", hints["memory"]).groups()
        assert planned(depth, batch, int(float(number) * BYTES[unit]))
        if len(hints) > 1:
            assert planned(int(hints.get("depth", depth)), int(hints["batch"]), memory)
        return
    assert split.bytes <= memory
    assert 1 <= split.threads <= threads
    assert split.group >= 1
    # what is measured may not depend on the split
    assert split.group == planned(depth, batch, 2**60).group


def test_plan_uses_what_there_is():
    net = architecture(widths=(256,) * 101)
    ample = plan(net, 32, 64, "float32", CPU, 2, 8 * GIB)
    assert (ample.keep, ample.threads) == (True, 2)
    assert plan(net, 32, 64, "float32", CPU, 2, ample.bytes) == ample
    less = plan(net, 32, 64, "float32", CPU, 2, ample.bytes - 1)
    assert less != ample
    assert less.bytes < ample.bytes
    # memory is flat in the number of networks
    assert plan(net, 32, 10**6, "float32", CPU, 2, 8 * GIB).bytes == ample.bytes
    deep = architecture(widths=(1024,) * 1001)
    assert plan(deep, 128, 16, "float32", CPU, 1, GIB - 220 * 1024**2).bytes < GIB - 220 * 1024**2


MEMORY = """
import torch
from snn_cli import ensembles
from snn_cli.engine.measure import measure, plan
from snn_cli.engine.network import Architecture
params, cpu = (("lambda", 1.0), ("alpha", 1.138), ("beta", 0.394)), torch.device("cpu")
def net(widths):
    return Architecture("lselu", params, tuple(widths), ensembles.get("gaussian"))
def run(widths, memory):
    measure(net(widths), range(2), 64, seed=0, dtype="float32", device=cpu, threads=2, memory=memory)
def size(field):
    (line,) = [line for line in open("/proc/self/status") if line.startswith(field)]
    return int(line.split()[1]) * 1024
run((512, 512), 2**30)
for widths, memory in (((512,) * 121, 2**26), (range(452, 573), 2**26), (range(512, 573), 2**28)):
    split = plan(net(widths), 64, 2, "float32", cpu, 2, memory)
    assert (split.threads, split.keep) == (2, memory == 2**28), split
    open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
    before = size("VmRSS")
    run(widths, memory)
    held = size("VmHWM") - before
    print(held, split.bytes, memory)
    assert held <= 1.1 * split.bytes + 4 * 2**20, (held, split)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak that can be set back")
def test_plan_is_what_is_held():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def trials_of(second_moment, log_gradient):
    second_moment, log_gradient = np.array(second_moment), np.array(log_gradient)
    return Trials(np.array([4, 9]), second_moment, second_moment**2, log_gradient, log_gradient**2, np.zeros((2, 0)))


def test_broken_names_the_first_layer_in_the_order_of_the_passes():
    fine = [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    nan, inf = math.nan, math.inf
    assert broken(trials_of(fine, fine)) is None
    assert broken(trials_of([[1, 1, 1], [1, inf, nan]], [[nan, nan, nan]] * 2)) == (1, 9)
    assert broken(trials_of([[1, 1, inf], [1, 1, nan]], fine)) == (2, 4)
    assert broken(trials_of(fine, [[-inf, 1, 0], [-inf, -inf, 0]])) == (1, 9)
    assert broken(trials_of(fine, [[-inf, 1, 0], [2, 1, 0]])) == (0, 4)


def test_broken_of_a_real_run():
    net = architecture("linear", widths=(16,) * 41, sigma_w=10.0)
    found = run(net, range(3), dtype="float16")
    layer, trial = broken(found)
    assert 3 <= layer <= 6  # 65504 = 10^4.8
    assert not np.isfinite(found.second_moment[trial, layer])
    assert np.isfinite(found.second_moment[:, layer - 1]).all()
    assert broken(run(net._replace(sigma_w=0.01), range(3), dtype="float16"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("act", ACTS)
def test_cuda_gradients_are_those_of_autograd(act):
    device = torch.device("cuda")
    for weights in ensembles.ENSEMBLES:
        net = architecture(act, weights=weights, sigma_b=0.1)

        def made(keep, net=net):
            return Group(net, Streams(0, net.widths, device), 0, 2, Workspace(torch.float64, device), keep)

        expected = autograd(net, made(True).matrices(), *made(True).ends(3))
        for keep in (True, False):
            found = made(keep).run(3)
            torch.testing.assert_close(found.second_moment, expected[0].cpu(), rtol=1e-10, atol=0)
            torch.testing.assert_close(found.log_gradient, expected[1].cpu(), rtol=0, atol=1e-10)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_results_do_not_depend_on_how_they_are_run():
    device = torch.device("cuda")
    net = architecture(widths=(64,) * 9)

    def on_cuda(trials, memory=GIB):
        return measure(
            net, trials, 4, seed=1, dtype="float32", device=device, threads=1, memory=memory
        )[0]  # fmt: skip

    whole = on_cuda(range(40))
    assert_same(whole, on_cuda(range(20, 40)).joined(on_cuda(range(20))))
    assert_same(whole, on_cuda(range(40), plan(net, 4, 40, "float32", device, 1, GIB).bytes - 1))
