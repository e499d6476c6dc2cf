"""Convolutional networks and remedies: the engine against autograd, theory against networks, and the command."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test_engine import CPU, architecture, group, params, reference  # noqa: E402

from snn_cli import architectures, ensembles, prediction, solve, verify  # noqa: E402
from snn_cli.engine.convolution import Convolutional  # noqa: E402
from snn_cli.engine.measure import measure  # noqa: E402
from snn_cli.engine.network import Workspace  # noqa: E402
from snn_cli.engine.sampling import Mixing, fill_inputs  # noqa: E402
from snn_cli.errors import InputError  # noqa: E402
from snn_cli.records import Verification  # noqa: E402

GIB = 1024**3
CONV = {"architecture": "conv", "channels": 16, "image": 6, "depth": 10, "batch": 2}
MOBILE = {"architecture": "conv-mobilenet-v1", "image": 32, "width_multiplier": "0.125", "batch": 2}
ARGS = ("verify", "--architecture", "conv", "--channels", "8", "--image", "4", "--depth", "5", "--batch", "2")

torch.set_num_threads(1)


def network(name="conv", act="lselu", weights="gaussian", depth=5, shape=None, **options):
    """Stages of an architecture with its random weights' options, small."""
    small = {"channels": 5, "kernel": 3, "image": 6, "padding": "circular"}
    if name != "conv":
        small = {"image": 32, "width_multiplier": "0.0625"}
    stages = architectures.get(name).build(depth, **{**small, **(shape or {})})
    return Convolutional(act, tuple(params(act).items()), stages, ensembles.get(weights), **options)


def drawn(net, dtype="float64", keep=True, seed=0, first=3):
    return net.group(net.streams(seed, CPU), first, 1, Workspace(getattr(torch, dtype), CPU), keep)


def autograd(net, filters, images, upward):
    """Second moments, log squared gradients and means of every layer, by torch's own modules and autograd, float64."""
    functional = torch.nn.functional
    x = images.double()
    layers = [x]
    for stage, (weights, biases) in zip(net.stages, filters, strict=True):
        x.requires_grad_()
        f = reference(net.act, dict(net.params), x) if stage.activated else x
        if stage.activated and net.centralize_activation:
            f = f - f.mean()
        if stage.pooled:
            f = functional.adaptive_avg_pool2d(f, 1)
        elif stage.circular and stage.kernel > 1:
            f = functional.pad(f, (stage.kernel // 2,) * 4, mode="circular")
        padding = 0 if stage.circular or stage.pooled else stage.kernel // 2
        x = functional.conv2d(f, weights.double(), None, stage.stride, padding)
        if biases is not None:
            x = x + biases.double()
        layers.append(x)
    gradients = torch.autograd.grad(x, layers, upward.double())
    moments = torch.stack([each.detach().square().mean((1, 2, 3)) for each in layers])
    logs = torch.stack([each.square().sum((1, 2, 3)).log() for each in gradients])
    return moments, logs, torch.stack([each.detach().mean((1, 2, 3)) for each in layers])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("conv", {}),
        ("conv", {"shape": {"padding": "zeros", "kernel": 5, "image": 7}, "sigma_b": 0.3}),
        ("conv", {"shape": {"kernel": 1}, "act": "tanh"}),
        ("conv", {"shape": {"image": 3}, "weight_mean": 0.2, "q0": 2.0, "sigma_w": 1.3}),
        ("conv", {"weights": "orthogonal", "weight_mean": 0.1, "centralize": True}),
        ("conv", {"centralize": True, "act": "sselu"}),
        ("conv", {"centralize_activation": True, "act": "relu", "shape": {"padding": "zeros"}}),
        ("conv-mobilenet-v1", {}),
        ("conv-mobilenet-v1", {"weights": "orthogonal", "sigma_b": 0.1, "shape": {"image": 33}}),
        ("conv-mobilenet-v1", {"centralize_activation": True, "centralize": True, "weights": "uniform"}),
    ],
    ids=str,
)
def test_gradients_are_those_of_autograd(name, options, dtype):
    net = network(name, means=True, **options)
    expected = autograd(net, drawn(net, dtype).filters(), *drawn(net, dtype).ends(3))
    tolerance = 1e-11 if dtype == "float64" else 2e-4
    for keep in (True, False):
        norms = drawn(net, dtype, keep).run(3)
        for found, right in zip((norms.second_moment, norms.log_gradient, norms.mean), expected, strict=True):
            torch.testing.assert_close(found[0], right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("options", [{}, {"weights": "orthogonal"}, {"shape": {"padding": "zeros"}}], ids=str)
def test_results_do_not_depend_on_how_they_are_run(options):
    net = network(**options)

    def run(trials, threads=1, memory=GIB):
        return measure(net, trials, 2, seed=5, dtype="float32", device=CPU, threads=threads, memory=memory)[0]

    whole = run(range(6))
    least = net.least(2, 4)[1]
    for other in (run(range(6), threads=3), run(range(6), memory=least), run([4, 5, 0, 1]).joined(run([3, 2]))):
        for a, b in zip(whole, other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(whole.second_moment[0], whole.second_moment[1])


def test_filters_have_the_moments_of_their_ensemble():
    count = 64 * 64 * 9
    for weights in ("gaussian", "uniform", "truncated"):
        net = network(weights=weights, shape={"channels": 64, "image": 4}, sigma_w=1.5)
        w = drawn(net).filters()[0][0] * math.sqrt(64 * 9) / 1.5
        fourth = float((w**4).mean())
        assert abs(float(w.mean())) < 4.5 / math.sqrt(count)
        assert abs(float(w.square().mean()) - 1) < 4.5 * math.sqrt((fourth - 1) / count)


def test_orthogonal_filters_are_delta_orthogonal():
    """Xiao et al. (2018): nothing but the centre tap, which is orthogonal over the channels."""
    net = network(weights="orthogonal", shape={"channels": 12})
    w = drawn(net).filters()[2][0]
    centre = w[:, :, 1, 1]
    torch.testing.assert_close(centre @ centre.T, torch.eye(12, dtype=torch.float64), rtol=0, atol=1e-12)
    assert (w.square().sum() - centre.square().sum()).abs() == 0


def test_centralized_filters_have_no_mean():
    for weights in ("gaussian", "orthogonal"):
        net = network(weights=weights, centralize=True, weight_mean=0.5)
        for filters, _ in drawn(net).filters():
            assert filters.mean((1, 2, 3)).abs().max() < 1e-14


def test_an_activation_less_its_mean_and_mixed_inputs_in_perceptrons():
    """Hand-written: one mean over batch and units is taken out of f; gradients go through it."""
    net = architecture("lselu", widths=(30, 40, 20), centralize_activation=True, means=True, mixing=Mixing(0.4, True))
    norms = group(net).run(6)
    matrices, (x, upward) = group(net).matrices(), group(net).ends(6)
    layers = [x.requires_grad_()]
    for weights, _ in matrices:
        f = reference("lselu", dict(net.params), layers[-1])
        layers.append(torch.einsum("tbi,toi->tbo", f - f.mean((1, 2), keepdim=True), weights))
    gradients = torch.autograd.grad(layers[-1], layers, upward)
    for layer, (x, g) in enumerate(zip(layers, gradients, strict=True)):
        torch.testing.assert_close(norms.second_moment[:, layer], x.detach().square().mean(-1), rtol=1e-12, atol=0)
        torch.testing.assert_close(norms.mean[:, layer], x.detach().mean(-1), rtol=0, atol=1e-13)
        torch.testing.assert_close(norms.log_gradient[:, layer], g.square().sum(-1).log(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scaled", [False, True])
def test_mixed_inputs_have_the_second_moment_of_mixtures(scaled):
    """``E[t^2 + (1-t)^2] = (a+1)/(2a+1)`` for t ~ Beta(a, a), and 1 where each is divided by its own root."""
    net, a = network(shape={"channels": 4, "image": 4}), 0.3
    batch, trials = 500, range(40)
    out = torch.empty(len(trials), batch, 64, dtype=torch.float64)
    fill_inputs(out, net.streams(1, CPU), trials, net.depth, 1.5, Mixing(a, scaled))
    q = out.square().mean(-1).flatten().numpy() / 1.5**2
    expected = 1.0 if scaled else (a + 1) / (2 * a + 1)
    assert abs(q.mean() - expected) < 4.5 * q.std() / math.sqrt(len(q))
    plain = torch.empty_like(out)
    fill_inputs(plain, net.streams(1, CPU), trials, net.depth, 1.5)
    assert not torch.allclose(plain, out)


# Against theory


@pytest.mark.parametrize(
    "options",
    [
        {"act": "lselu", "epsilon": "0.03"},
        {"act": "sselu", "epsilon": "0.1", "kernel": 5},
        {"act": "selu", "weights": "uniform", "channels": 24},
        {"act": "tanh", "sigma_b": "0.2"},
        {"act": "relu", "sigma_w": "he"},
        {"act": "lselu", "epsilon": "0.03", "padding": "zeros"},
        {"act": "relu", "sigma_w": "he", "padding": "zeros"},
        {"act": "lselu", "epsilon": "0.03", "kernel": 1},
        {"act": "lselu", "epsilon": "0.03", "weights": "orthogonal"},
        {"act": "sselu", "epsilon": "0.05", "weights": "orthogonal", "padding": "zeros", "centralize": True},
        {"act": "lselu", "epsilon": "0.03", "centralize": True},
        {"act": "lselu", "epsilon": "0.03", "centralize_activation": True},
        {"act": "lselu", "epsilon": "0.03", "weight_mean": "0.02"},
        {"act": "lselu", "epsilon": "0.03", "mixup": "0.3"},
    ],
    ids=lambda options: " ".join(f"{name}={value}" for name, value in options.items()),
)
def test_convolutions_agree_with_theory(options):
    record = verify(**{**CONV, **options}, trials=100, seed=11)
    assert record.verdict.agrees is True, record.verdict
    assert record.verdict.components >= 4


@pytest.mark.parametrize("options", [{}, {"padding": "zeros"}], ids=str)
def test_the_order_in_channels_is_borne_out(options):
    """Not only within the allowance: at 4.5 standard errors of 300 networks the first order in 1/channels is right."""
    record = verify("lselu", "0.03", **{**CONV, "trials": 300, "depth": 16}, **options)
    assert abs(record.measured.log_growth - record.theory.log_growth) < 4.5 * record.measured.log_growth_se
    infinite = verify("lselu", "0.03", **{**CONV, "channels": 4096, "trials": 1, "depth": 1, "image": 3})
    assert infinite.theory.log_growth_sd < record.theory.log_growth_sd / 20
    profile = record.profile
    for q, se, theory in zip(profile.q, profile.q_se, profile.q_theory, strict=True):
        assert abs(q - theory) < 5 * se
    if not options:
        assert record.measured.log_growth_sd == pytest.approx(record.theory.log_growth_sd, rel=0.15)


@pytest.mark.parametrize(
    "options",
    [
        {"act": "lselu", "epsilon": "0.03"},
        {"act": "sselu", "epsilon": "0.01", "centralize": True},
        {"act": "sselu", "epsilon": "0.01", "mixup": "0.2"},
        {"act": "relu", "sigma_w": "he", "width_multiplier": "0.5"},
        {"act": "sselu", "epsilon": "0.01", "weights": "orthogonal"},
    ],
    ids=str,
)
def test_mobilenet_agrees_with_theory(options):
    record = verify(**{**MOBILE, **options}, trials=16)
    assert record.verdict.agrees is True, record.verdict
    assert (record.depth, record.widths, record.image) == (15, None, 32)


def test_where_the_expansion_fails_there_is_no_test():
    """Four channels of relu: what fluctuates is as large as itself."""
    record = verify("relu", sigma_w="he", **MOBILE, trials=4)
    assert record.verdict.agrees is None
    assert "no-finite-theory" in record.notes
    assert record.theory.log_growth is not None


@pytest.mark.parametrize(
    "options", [CONV | {"channels": 48, "trials": 40}, MOBILE | {"width_multiplier": "0.5", "trials": 40}], ids=str
)
def test_five_percent_more_gain_is_rejected(monkeypatch, options):
    record = verify("lselu", "0.03", **options)
    assert record.verdict.agrees
    predict = prediction.predict

    def wrong(*args):
        found = predict(*args)
        depth = len(found.q) - 1
        return found._replace(log_gradient=found.log_gradient + math.log(1.05) * np.arange(depth, -1, -1))

    monkeypatch.setattr(prediction, "predict", wrong)
    assert verify("lselu", "0.03", **options).verdict.agrees is False


@pytest.mark.parametrize(
    "options",
    [
        {"centralize": True},
        {"centralize": True, "weights": "orthogonal"},
        {"centralize_activation": True},
        {"centralize_activation": True, "weights": "orthogonal"},
        {"weight_mean": "0.03"},
        {"weight_mean": "0.05", "centralize_activation": True},
        {"weight_mean": "0.05", "weights": "orthogonal"},
        {"mixup": "0.3"},
        {"scaled_mixup": "0.3", "centralize": True},
        {"mixup": "0.3", "q0": 3, "centralize_activation": True},
    ],
    ids=str,
)
def test_remedies_agree_with_theory(options):
    record = verify("lselu", "0.03", depth=12, fanin=64, batch=4, trials=300, **options)
    assert record.verdict.agrees is True, record.verdict
    profile = record.profile
    for mean, se, theory in zip(profile.mean, profile.mean_se, profile.mean_theory, strict=True):
        assert abs(mean - theory) < 5 * se + 0.1 * abs(theory)


def test_centralization_mends_a_mean():
    """At fan-in 256 a mean of 0.1 deviations is 1.6 times the tolerance; centralized weights know nothing of it."""
    size = {"depth": 12, "fanin": 256, "batch": 4, "trials": 30}
    ill = verify("lselu", "0.03", weight_mean="0.1", **size)
    well = verify("lselu", "0.03", weight_mean="0.1", centralize=True, **size)
    assert ill.verdict.agrees is None
    assert "theory-void" in ill.notes
    assert max(map(abs, ill.profile.mean)) > 1
    assert well.verdict.agrees is True
    assert max(map(abs, well.profile.mean)) < 0.02
    plain = verify("lselu", "0.03", centralize=True, **size)
    np.testing.assert_allclose(plain.profile.q, well.profile.q, rtol=1e-4)


def test_the_mean_of_a_mixture_counts_every_mixture():
    """Mixing scales each input by its own factor: the mean of log |g|^2 is not that of their common second moment."""
    mixed = verify("lselu", "0.03", depth=6, fanin=256, batch=16, trials=300, mixup="0.2")
    scaled = verify("lselu", "0.03", depth=6, fanin=256, batch=16, trials=2, q0=1.2 / 1.4)
    gap = mixed.theory.log_growth - scaled.theory.log_growth
    assert abs(gap) > 2 * mixed.measured.log_growth_se
    assert abs(mixed.measured.log_growth - mixed.theory.log_growth) < 4.5 * mixed.measured.log_growth_se


# The command


def timeless(record):
    return {k: v for k, v in record.items() if k not in ("seconds", "networks_per_second", "peak_memory")}


def test_record_of_convolutions(call):
    done = call(*ARGS, "--trials", "6", "--centralize", "--json")
    (record,) = done.records
    assert done.code == 0
    shape = {name: record[name] for name in ("architecture", "channels", "kernel", "image", "padding", "fan_in")}
    assert shape == {
        "architecture": "conv", "channels": 8, "kernel": 3, "image": 4, "padding": "circular", "fan_in": 72,
    }  # fmt: skip
    assert (record["centralize"], record["weight_mean"], record["widths"]) == (True, 0.0, None)
    assert len(record["profile"]["mean"]) == len(record["profile"]["mean_theory"]) == 6
    assert Verification.from_dict(json.loads(json.dumps(record))).to_dict() == record
    made = verify(architecture="conv", channels=8, image=4, depth=5, batch=2, trials=6, centralize=True)
    assert timeless(made.to_dict()) == timeless(record)


def test_fields_of_an_architecture_are_its_own(call):
    (plain,) = call("verify", "--depth", "3", "--fanin", "8", "--trials", "2", "--batch", "1", "--json").records
    assert not {"channels", "image", "padding", "width_multiplier", "mixup"} & set(plain)
    assert "mean" not in plain["profile"]


def test_table_and_csv(call):
    table = call(*ARGS, "--trials", "6", "--padding", "zeros", "--weight-mean", "0.01")
    assert table.code == 0
    assert "8 channels, kernel 3, images 4 x 4, padding zeros" in table.out
    assert "weight mean 0.01" in table.out
    assert "mean of the last layer" in table.out
    assert "note: What the mean of the weights does" in table.out
    rows = list(csv.DictReader(io.StringIO(call(*ARGS, "--trials", "6", "--csv").out)))
    assert len(rows) == 6
    assert {rows[0]["channels"], rows[0]["image"], rows[0]["padding"]} == {"8", "4", "circular"}
    mobile = call("verify", "--architecture", "conv-mobilenet-v1", "--image", "32", "--width-multiplier", "0.1",
                  "--trials", "2", "--batch", "1")  # fmt: skip
    assert "conv-mobilenet-v1, width multiplier 0.1, images 32 x 32" in mobile.out


def test_save_and_resume_are_one_run(call, tmp_path):
    path = str(tmp_path / "run.jsonl")
    args = (*ARGS, "--mixup", "0.2", "--json")
    assert call(*args, "--trials", "4", "--save", path).code == 0
    (resumed,) = call(*args, "--trials", "7", "--resume", path).records
    (whole,) = call(*args, "--trials", "7").records
    assert timeless(resumed) == timeless(whole)
    for other in (("--mixup", "0.3"), ("--padding", "zeros"), ("--kernel", "1"), ("--centralize",)):
        done = call(*args, "--trials", "7", "--resume", path, *other)
        assert done.code == 2
        assert "is another run" in done.err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--architecture", "resnet"), "mlp, conv, conv-mobilenet-v1"),
        (("--architecture", "conv", "--fanin", "64"), "--fanin says nothing about the architecture conv"),
        (("--architecture", "conv", "--widths", "3,4,5"), "--widths says nothing"),
        (("--architecture", "conv", "--kernel", "4"), "--kernel 5"),
        (("--architecture", "conv", "--kernel", "5", "--image", "4"), "--kernel 3"),
        (("--architecture", "conv", "--padding", "reflect"), "circular, zeros"),
        (("--architecture", "conv", "--channels", "0"), "--channels"),
        (("--architecture", "conv", "--image", "nan"), "--image"),
        (("--architecture", "conv", "--epsilon", "auto"), "--epsilon auto"),
        (("--architecture", "conv", "--width-multiplier", "0.5"), "conv-mobilenet-v1"),
        (("--architecture", "conv-mobilenet-v1", "--depth", "10"), "its depth is its own"),
        (("--architecture", "conv-mobilenet-v1", "--image", "16"), "32 x 32"),
        (("--architecture", "conv-mobilenet-v1", "--width-multiplier", "0"), "1/32"),
        (("--architecture", "conv-mobilenet-v1", "--channels", "8"), "--channels says nothing"),
        (("--channels", "8"), "--architecture conv"),
        (("--mixup", "0"), "above 0"),
        (("--mixup", "0.1", "--scaled-mixup", "0.1"), "mixup"),
    ],
    ids=" ".join,
)
def test_bad_input(call, args, words):
    done = call("verify", *args, "--trials", "2")
    assert done.code == 2
    assert words in done.err
    assert done.out == ""
    assert done.err.startswith("error: ")


def test_too_little_memory_says_what_would_do(call):
    done = call(*ARGS, "--trials", "2", "--memory", "1KiB")
    assert done.code == 3
    assert "--memory" in done.err


def test_params_of_a_record_say_no_fan_in_of_filters(call, tmp_path):
    path = tmp_path / "solved.json"
    path.write_text(json.dumps(solve("sselu", depth=5, lambda_min=1).to_dict()))
    (record,) = call("verify", "--architecture", "conv", "--channels", "8", "--image", "4", "--trials", "2",
                     "--params", str(path), "--json").records  # fmt: skip
    assert (record["act"], record["depth"], record["fan_in"]) == ("sselu", 5, 72)


def test_architectures_are_of_known_names():
    assert architectures.get("conv").depth == 50
    with pytest.raises(InputError, match="conv-mobilenet-v1"):
        architectures.get("mobilenet")


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the system counts no peak memory")
def test_the_plan_is_what_is_held():
    """Peak memory of the process over what it held before, against the estimate that the budget goes by."""
    program = """
import re, torch
from snn_cli import architectures, ensembles
from snn_cli.engine.convolution import Convolutional
from snn_cli.engine.measure import measure, plan
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024
def run(channels, image, depth, batch):
    stages = architectures.get("conv").build(depth, channels=channels, kernel=3, image=image, padding="circular")
    net = Convolutional("selu", (("lambda", 1.05), ("alpha", 1.67)), stages, ensembles.get("gaussian"))
    measure(net, [0], batch, seed=0, dtype="float32", device=torch.device("cpu"), threads=1, memory=1 << 40)
    return plan(net, batch, 1, "float32", torch.device("cpu"), 1, 1 << 40).bytes
run(4, 4, 2, 2)
before = peak()
estimate = run(32, 32, 12, 32)
print((peak() - before) / estimate)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert 0.5 < float(done.stdout) < 1.1
