"""``snn train``: networks, the loop, what is kept, and the command as a user meets it."""

from __future__ import annotations

import csv
import inspect
import io
import json
import math
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from conftest import ROOT
from test_data import write_cifar, write_idx, write_images

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from snn_cli import InputError, SnnError, Training, activations, data, solve, train  # noqa: E402
from snn_cli.engine.distributed import OfOneRank, Ranks  # noqa: E402
from snn_cli.records import Note  # noqa: E402
from snn_cli.records.training import Tried  # noqa: E402
from snn_cli.training import compare, journal, loop, networks  # noqa: E402
from snn_cli.training.plan import check  # noqa: E402
from snn_cli.training.variants import parse  # noqa: E402

SMALL = {"depth": 4, "fanin": 16, "epochs": 2, "lr": "0.01", "seeds": 2}
ARGS = ("train", "--depth", "4", "--width", "16", "--epochs", "2", "--lr", "0.01")
KEYS = (
    "kind version variant act epsilon params data architecture depth fan_in batch epochs seeds seed learning_rate "
    "tried accuracy loss train_loss gradient difference diverged parameters weights device precision notes profile "
    "seconds"
).split()

torch.set_num_threads(1)


def timeless(record):
    found = record if isinstance(record, dict) else record.to_dict()
    return {name: value for name, value in found.items() if name != "seconds"}


def design(architecture="mlp", shape=(1, 8, 8), **options):
    return networks.Design(
        **{"depth": 6, "width": 8, "multiplier": "0.0625", "weights": "gaussian", "classes": 3, **options},
        architecture=architecture,
        shape=shape,
    )


def network(name="lselu", architecture="mlp", shape=(1, 8, 8), seed=0, **options):
    variant = parse(name)
    solution = solve(variant.act, "0.05") if variant.act in ("lselu", "sselu", "dselu") else None
    return networks.build(
        design(architecture, shape, **options), variant, solution, torch.Generator().manual_seed(seed)
    )


# Variants and networks


def test_variants():
    found = parse(" sselu+centralize+mixup ")
    assert (found.name, found.act, found.mixup, found.centralize, found.bn) == (
        "sselu+mixup+centralize", "sselu", True, True, False,
    )  # fmt: skip
    for text in ("selu+", "rleu", "relu+batchnorm", "relu+bn+bn", "lselu+mixup+scaled-mixup", "relu+trainable", ""):
        with pytest.raises(InputError):
            parse(text)


@pytest.mark.parametrize("act", [*activations.BASELINES, "selu", "lselu", "sselu"])
def test_every_network_begins_with_a_second_moment_of_one(act):
    """At width 1500 the pre-activations of each layer have q = 1 within what that width leaves to chance."""
    net = network(act, width=1500, depth=4)
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    for block in net.blocks:
        x = block(x)
        if isinstance(block, torch.nn.Linear):
            assert x.square().mean().item() == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(
    ("architecture", "shape", "layers", "out"),
    [("mlp", (3, 5, 7), 6, (2, 8)), ("conv", (3, 16, 16), 6, (2, 32, 4, 4)), ("conv", (1, 8, 8), 6, (2, 16, 4, 4)),
     ("conv", (1, 4, 4), 6, (2, 8, 4, 4)), ("conv-mobilenet-v1", (3, 64, 64), 14, (2, 64, 2, 2))],
)  # fmt: skip
def test_architectures(architecture, shape, layers, out):
    net = network("relu+bn", architecture, shape)
    x = torch.randn(2, *shape)
    assert net.blocks(x).shape == out
    assert net(x).shape == (2, 3)
    assert len(net.weighted) == layers
    assert sum(isinstance(m, torch.nn.ReLU) for m in net.modules()) == layers
    assert sum("BatchNorm" in type(m).__name__ for m in net.modules()) == layers


def test_centralized_networks_have_no_mean():
    for architecture, shape in (("mlp", (1, 8, 8)), ("conv", (1, 8, 8))):
        net = network("lselu+centralize", architecture, shape)
        for layer in (*net.weighted[1:], net.head):
            assert layer.weight.flatten(1).mean(1).abs().max() < 1e-7
        assert net.weighted[0].weight.mean().abs() > 1e-6


def test_growth_is_that_of_hand_placed_probes():
    net = network("sselu", depth=5)
    x, y = torch.randn(20, 1, 8, 8), torch.arange(20) % 3
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = networks.growth(net, x, y)
    h, probes = x.flatten(1), []
    for layer, act in zip(net.weighted, (b for b in net.blocks if hasattr(b, "solution")), strict=True):
        probes.append(torch.nn.functional.linear(h, layer.weight, layer.bias))
        h = act(probes[-1])
    loss = torch.nn.functional.cross_entropy(net.head(h), y, reduction="sum")
    first, last = torch.autograd.grad(loss, [probes[0], probes[-1]])
    expected = (first.square().sum(1).log() - last.square().sum(1).log()).mean().item()
    assert found == pytest.approx(expected, abs=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_growth_leaves_running_statistics_and_mode():
    net = network("relu+bn").eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    networks.growth(net, torch.randn(9, 1, 8, 8), torch.arange(9) % 3)
    assert not net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_the_schedule_rises_and_falls():
    values = [loop.schedule(i / 1000) for i in range(1001)]
    top = int(np.argmax(values))
    assert values[top] == pytest.approx(1, abs=1e-3)
    assert values[0] == pytest.approx(0.1)
    assert top / 1000 == pytest.approx(loop.WARMUP, abs=2e-3)
    assert values[-1] == pytest.approx(0, abs=1e-12)
    assert values[top:] == sorted(values[top:], reverse=True)


def test_augmented_images_are_moved_and_mirrored():
    images = np.zeros((400, 1, 16, 16), np.float32)
    images[:, 0, 8, 3] = 1
    found = loop.moved(images, *loop.moves(400, (16, 16), np.random.default_rng(0)))
    places = [tuple(np.argwhere(image[0] == 1)[0]) for image in found]
    rows, columns = zip(*places, strict=True)
    assert set(rows) == {6, 7, 8, 9, 10}
    assert set(columns) == {*range(1, 6), *range(10, 15)}
    assert 0.4 < np.mean([column > 8 for column in columns]) < 0.6


# Training


def test_record(call):
    done = call(*ARGS, "--act", "relu+bn,lselu", "--json")
    first, second = done.records
    assert done.code == 0
    assert list(first) == KEYS
    assert (first["kind"], first["version"], first["variant"]) == ("training", 1, "relu+bn")
    assert first["difference"] is None
    assert second["epsilon"] == 0.25
    assert second["difference"]["baseline"] == "relu+bn"
    runs = np.array(second["accuracy"]["runs"]) - first["accuracy"]["runs"]
    assert second["difference"]["mean"] == pytest.approx(runs.mean())
    assert second["difference"]["se"] == pytest.approx(runs.std(ddof=1) / math.sqrt(2))
    assert second["accuracy"]["sd"] == pytest.approx(np.std(second["accuracy"]["runs"], ddof=1))
    assert len(second["profile"]["loss"]) == 2
    assert second["parameters"] == 64 * 16 + 16 + 3 * (16 * 16 + 16) + 16 * 10 + 10
    assert Training.from_dict(json.loads(json.dumps(second))).to_dict() == second
    made = train(["relu+bn", "lselu"], **SMALL)
    assert [timeless(record) for record in made] == [timeless(first), timeless(second)]
    for change in ({"kind": "solution"}, {"tried": 3}, {"accuracy": {}}, {"notes": ["x"]}):
        with pytest.raises(InputError):
            Training.from_dict({**first, **change})


def test_it_learns():
    """A shallow network reads digits: 92 of 100 is less than any published classifier reaches on them."""
    (record,) = train("lselu", depth=2, fanin=64, epochs=10, lr="0.03", seeds=1)
    assert record.accuracy.mean > 0.92
    assert record.train_loss < 0.1
    assert record.profile.loss[0] > 5 * record.profile.loss[-1]


def test_deep_networks_need_the_property():
    """At depth 64 the gradient of batch normalization grows by e^15 and more, that of lselu by less than e^2."""
    bn, lselu = train("relu+bn,lselu", depth=64, fanin=32, epochs=1, lr="0.001", seeds=1)
    assert bn.gradient.start > 15
    assert abs(lselu.gradient.start) < 2
    assert lselu.train_loss < bn.train_loss


def test_the_learning_rate_is_the_best_on_validation_images():
    (record,) = train("lselu", **{**SMALL, "lr": "1e-6,0.03,0.003"})
    assert [each.learning_rate for each in record.tried] == [1e-6, 0.03, 0.003]
    best = max(record.tried, key=lambda each: (each.accuracy, -each.loss))
    assert record.learning_rate == best.learning_rate == 0.03
    assert record.tried[0].accuracy < 0.5
    (ends,) = train("lselu", **{**SMALL, "lr": "1e-6,0.01"})
    assert "rate-at-end" in ends.notes


def test_validation_images_are_not_trained_on():
    found = data.load("digits")
    kept, held = compare._parts(found)
    assert set(kept).isdisjoint(held)
    assert len(kept) + len(held) == len(found.train.labels)
    assert np.bincount(found.train.labels[held]).min() > 20


def test_a_seed_is_a_seed():
    (one,) = train("sselu+mixup", **SMALL)
    (same,) = train("sselu+mixup", **SMALL)
    (other,) = train("sselu+mixup", **{**SMALL, "seed": 1, "seeds": 1})
    assert timeless(one) == timeless(same)
    assert other.accuracy.runs[0] == one.accuracy.runs[1]
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train("sselu+mixup", **{**SMALL, "seeds": 1, "epochs": 1})
    assert torch.equal(torch.rand(1), expected)  # the caller's random numbers are his


def test_suffixes_do_what_they_say():
    names = "lselu,lselu+mixup,lselu+scaled-mixup,lselu+centralize,lselu+centralize-activation,lselu+trainable,lselu+bn"
    records = train(names, **{**SMALL, "seeds": 1})
    losses = [record.train_loss for record in records]
    assert len({round(loss, 6) for loss in losses}) == len(losses)
    by_name = {record.variant: record for record in records}
    assert by_name["lselu+trainable"].parameters == by_name["lselu"].parameters + 4
    assert by_name["lselu+bn"].parameters == by_name["lselu"].parameters + 4 * 2 * 16


def test_runs_that_diverge_are_counted(call):
    done = call(*ARGS, "--act", "linear,lselu", "--lr", "1e6", "--json")
    first, _ = done.records
    assert done.code == 0
    assert first["diverged"] == first["seeds"] == 2
    assert first["accuracy"]["runs"] == [0.1, 0.1]
    assert first["loss"] is first["train_loss"] is first["gradient"]["end"] is None
    assert "diverged" in first["notes"]
    table = call(*ARGS, "--act", "linear", "--lr", "1e6")
    assert "2 of 2 runs diverged" in table.out


def test_a_diverged_rate_is_not_chosen():
    (record,) = train("lselu", **{**SMALL, "lr": "1e7,0.01"})
    assert record.tried[0].diverged
    assert record.learning_rate == 0.01
    assert record.diverged == 0


def test_guessing_is_better_than_diverging():
    """A run that diverged counts with the accuracy of guessing, which a rate that learned nothing can miss."""
    lost, poor = Tried(0.1, 0.1, None, True), Tried(0.01, 0.09, 2.4, False)
    assert max([lost, poor], key=compare._merit) is poor
    better = Tried(0.001, 0.09, 2.3, False)
    assert max([lost, poor, better], key=compare._merit) is better


def test_the_last_step_can_diverge():
    """One step of a whole epoch, whose loss is still finite: what the test images find is not."""
    (record,) = train("linear", depth=4, fanin=16, epochs=1, batch=1442, lr="1e30", seeds=1)
    assert math.isfinite(record.profile.loss[0])
    assert (record.diverged, record.accuracy.runs, record.loss) == (1, (0.1,), None)
    assert Note.DIVERGED in record.notes


def test_one_rank_that_diverges_ends_the_run_of_all(monkeypatch):
    """Ranks that went on alone would wait for the others without end."""
    settings = loop.Settings(2, 64, 0.0, 0.2, False, "float32", False, False, torch.device("cpu"))
    found = data.load("digits")
    trainer = loop.Trainer(design(classes=10), parse("relu"), None, settings, found, 0, Ranks(torch.device("cpu")))
    trainer._ranks = Ranks(torch.device("cpu"), 0, 2)
    steps = []

    def other(_, total):  # the second of two processes, whose third step overflows
        if total.dim() == 0:
            steps.append(1)
            total += math.inf if len(steps) == 3 else 1.0

    monkeypatch.setattr(loop.Trainer, "_sum", other)
    monkeypatch.setattr(loop.Trainer, "_test", lambda *_: (1.0, 0.5))
    trainer.run(np.arange(640), (found.test, np.arange(10)), 0.01, None, lambda _: None)
    assert len(steps) == 3 + 10  # the epoch ended there, and its mean here is finite


@pytest.mark.parametrize(
    "options", [{"precision": "bfloat16"}, {"precision": "float16"}, {"channels_last": True}, {"weights": "orthogonal"}]
)
def test_options_of_the_loop(options):
    plain = train("sselu", architecture="conv", depth=4, fanin=8, epochs=1, lr="0.01", seeds=1)[0]
    other = train("sselu", architecture="conv", depth=4, fanin=8, epochs=1, lr="0.01", seeds=1, **options)[0]
    if "weights" in options:
        assert other.train_loss != plain.train_loss
    else:
        assert other.train_loss == pytest.approx(plain.train_loss, rel=0.05)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compiled():
    plain, other = (train("selu", **{**SMALL, "seeds": 1, "epochs": 1}, compile=each)[0] for each in (False, True))
    assert other.train_loss == pytest.approx(plain.train_loss, rel=1e-3)


def test_images_from_disk(tmp_path):
    cifar, folder = tmp_path / "cifar", tmp_path / "folder"
    cifar.mkdir()
    write_cifar(cifar)
    (record,) = train("sselu+mixup", data="cifar10", data_dir=str(cifar), architecture="conv", depth=3, fanin=4,
                      epochs=1, batch=16, lr="0.01", seeds=1)  # fmt: skip
    assert (record.data, record.fan_in, record.diverged) == ("cifar10", None, 0)
    write_images(folder)
    (record,) = train("sselu+mixup+centralize", data="folder", data_dir=str(folder), image=32, batch=2, epochs=1,
                      architecture="conv-mobilenet-v1", width_multiplier="0.0625", lr="0.01", seeds=1)  # fmt: skip
    assert (record.depth, record.architecture) == (14, "conv-mobilenet-v1")


# What is kept


class Stop(Exception):
    pass


def stopping(at):
    """Raise where ``progress`` has been called that many times."""
    calls = []

    def progress(_):
        calls.append(1)
        if len(calls) == at:
            raise Stop

    return progress


THREE_EPOCHS = {"epochs": 3, "lr": "0.003,0.01", "seeds": 1}


@cache
def uninterrupted(*acts):
    return train(list(acts), **SMALL | THREE_EPOCHS)


@pytest.mark.parametrize("at", [1, 5, 10])
def test_resumed_is_as_uninterrupted(tmp_path, at):
    path = str(tmp_path / "check")
    options = SMALL | THREE_EPOCHS
    acts = ["lselu+mixup+centralize", "relu+bn"]
    whole = uninterrupted(*acts)
    with pytest.raises(Stop):
        train(acts, **options, checkpoint=path, progress=stopping(at))
    resumed = train(acts, **options, resume=path)
    assert [timeless(record) for record in resumed] == [timeless(record) for record in whole]
    again = train(acts, **options, resume=path, progress=stopping(1))  # nothing is run again
    assert [timeless(record) for record in again] == [timeless(record) for record in whole]
    assert os.listdir(tmp_path) == ["check"]


@pytest.mark.parametrize(("at", "options"), [(30, {"augment": True}), (30, {"precision": "float16"}), (0, {})], ids=str)
def test_ctrl_c_between_two_steps(tmp_path, monkeypatch, at, options):
    """Pressed in the middle of the second epoch or before the first, it is obeyed before the next step."""
    path = str(tmp_path / "check")
    args = {**SMALL, "seeds": 1, "epochs": 3, **options}
    whole = train("sselu+mixup", **args)
    schedule, steps = loop.schedule, []

    def interrupting(share):
        steps.append(share)
        if len(steps) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return schedule(share)

    def growth(*args):
        if not at and not steps:
            os.kill(os.getpid(), signal.SIGINT)
        return before(*args)

    before = networks.growth
    monkeypatch.setattr(loop, "schedule", interrupting)
    monkeypatch.setattr(networks, "growth", growth)
    with pytest.raises(KeyboardInterrupt):
        train("sselu+mixup", **args, checkpoint=path)
    assert len(steps) == at
    resumed = train("sselu+mixup", **args, resume=path)
    assert steps == sorted(set(steps))  # every step once
    assert [timeless(record) for record in resumed] == [timeless(record) for record in whole]


def test_ctrl_c_twice_does_not_wait(tmp_path, monkeypatch):
    path = tmp_path / "check"

    def impatient(_):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    monkeypatch.setattr(loop, "schedule", impatient)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train("lselu", **SMALL, checkpoint=str(path))
    assert not path.exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_metrics_are_complete_after_a_kill(tmp_path):
    """The checkpoint is written first: a kill can leave a line of the metrics cut short, or missing."""
    check, path = tmp_path / "check", tmp_path / "metrics"
    options = {**SMALL, "epochs": 3, "seeds": 1}
    with pytest.raises(Stop):
        train("lselu", **options, checkpoint=str(check), metrics=str(path), progress=stopping(2))
    first, second = path.read_text().splitlines(keepends=True)
    kept = check.read_bytes()
    for left in (first, first + second[:20], "", second[:5]):
        path.write_text(left)
        check.write_bytes(kept)
        train("lselu", **options, resume=str(check), metrics=str(path))
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert sorted(line["epoch"] for line in lines) == [0, 1, 2]
    for other in ("a poem\n", '{"a": 1}\n', "[1]\n"):
        path.write_text(other)
        with pytest.raises(InputError, match="something else"):
            train("lselu", **options, resume=str(check), metrics=str(path))
        assert path.read_text() == other


def test_more_seeds_and_variants_can_be_added(tmp_path):
    path = str(tmp_path / "check")
    train("lselu", **SMALL, checkpoint=path)
    more = train("lselu,selu", **{**SMALL, "seeds": 3}, resume=path)
    whole = train("lselu,selu", **{**SMALL, "seeds": 3})
    assert [timeless(record) for record in more] == [timeless(record) for record in whole]


KILLED = """
import os, signal, sys, threading, time
from snn_cli.cli.main import main
path, wait, *args = sys.argv[1:]

def kill():
    deadline = time.monotonic() + 60
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(float(wait))
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
main(args)
"""


def test_a_killed_run_goes_on(tmp_path, call, warm):
    path = tmp_path / "check"
    args = ("train", "--depth", "4", "--width", "16", "--epochs", "30", "--lr", "0.01", "--seeds", "1", "--act",
            "sselu+mixup", "--json")  # fmt: skip
    for wait in (0.1, 0.3):  # once it has written, and once in the middle of more of them
        command = [warm.python, "-c", KILLED, str(path), str(wait), *args]
        done = subprocess.run([*command, "--resume" if path.exists() else "--checkpoint", str(path)])
        assert done.returncode == 128 + signal.SIGKILL
        assert path.exists()
    (resumed,) = call(*args, "--resume", str(path)).records
    (whole,) = call(*args).records
    assert timeless(resumed) == timeless(whole)


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "check"
    with pytest.raises(Stop):
        train("lselu", **SMALL, checkpoint=str(path), progress=stopping(1))
    return path


@pytest.mark.parametrize(
    "other",
    [{"depth": 5}, {"fanin": 17}, {"epochs": 3}, {"batch": 32}, {"seed": 1}, {"weight_decay": "0.1"},
     {"epsilon": "0.1"}, {"lam": 1}, {"architecture": "conv"}, {"weights": "uniform"}, {"threads": 2},
     {"channels_last": True}],
    ids=str,
)  # fmt: skip
def test_resume_of_another_comparison(kept, other):
    content = kept.read_bytes()
    with pytest.raises(InputError, match="another comparison"):
        train("lselu", **{**SMALL, **other}, resume=str(kept))
    assert kept.read_bytes() == content


def test_damaged_checkpoints(kept, call):
    content = kept.read_bytes()
    for wrong in (
        content[:-40],
        content[: len(content) // 2],
        b"",
        b"nonsense",
        content[:200] + b"\0" * 50 + content[250:],
    ):
        kept.write_bytes(wrong)
        done = call(*ARGS, "--act", "lselu", "--resume", str(kept))
        assert done.code in (2, 3)
        assert "error: " in done.err
        assert "internal" not in done.err
        assert kept.read_bytes() == wrong


def test_resume_with_other_images(tmp_path):
    options = {**SMALL, "data": "mnist", "batch": 16, "seeds": 1}
    for name in ("one", "two"):  # of random pixels
        (tmp_path / name).mkdir()
        write_idx(tmp_path / name)
    train("lselu", **options, data_dir=str(tmp_path / "one"), checkpoint=str(tmp_path / "check"))
    with pytest.raises(InputError, match="another comparison: its images"):
        train("lselu", **options, data_dir=str(tmp_path / "two"), resume=str(tmp_path / "check"))


def test_corrupt_checkpoints_are_read_or_refused(kept):
    """Bytes changed where the archive lists its members, and anywhere: numpy and zipfile raise many things."""
    content, rng = kept.read_bytes(), np.random.default_rng(0)
    refused = 0
    for number in range(300):
        wrong = bytearray(content)
        for place in rng.integers(len(wrong) - 1500 if number % 2 else 0, len(wrong), 8):
            wrong[place] = rng.integers(256)
        kept.write_bytes(wrong)
        try:
            journal.Journal.resumed(str(kept), {})
        except InputError as error:
            refused += "no whole checkpoint" in str(error)
    assert refused > 200


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "check"
    np.savez(path, meta=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="no whole checkpoint"):
        train("lselu", **SMALL, resume=f"{path}.npz")


def test_what_exists_is_not_overwritten(kept, call, tmp_path):
    done = call(*ARGS, "--checkpoint", str(kept))
    assert (done.code, done.out) == (2, "")
    assert f"hint: --resume {kept}" in done.err
    lines = tmp_path / "metrics"
    lines.write_text("old\n")
    assert call(*ARGS, "--metrics", str(lines)).code == 2
    assert lines.read_text() == "old\n"


def test_metrics_are_json_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    train("lselu", **SMALL, metrics=str(path))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["run"], line["epoch"]) for line in lines] == [
        (f"lselu seed {seed} lr 0.01", epoch) for seed in (0, 1) for epoch in (0, 1)
    ]
    assert all(line["loss"] > 0 and line["seconds"] > 0 for line in lines)


def test_a_full_disk_is_an_error(monkeypatch, call, tmp_path):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal.np, "savez", full)
    done = call(*ARGS, "--act", "lselu", "--checkpoint", str(tmp_path / "check"))
    assert done.code == 3
    assert "No space left" in done.err


# The command


def test_table_and_csv(call):
    done = call(*ARGS, "--act", "selu,lselu")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("digits: mlp, depth 4, fan-in 16, 2 epochs, batch 64, 2 seeds from 0")
    assert [line.split()[0] for line in lines[2:5]] == ["variant", "selu", "lselu"]
    assert "against selu" in lines[2]
    assert "over selu" in done.out or "selu is ahead" in done.out
    rows = list(csv.DictReader(io.StringIO(call(*ARGS, "--act", "selu,lselu", "--csv").out)))
    assert [row["variant"] for row in rows] == ["selu", "lselu"]
    assert rows[1]["baseline"] == "selu"
    assert float(rows[1]["difference"]) == pytest.approx(float(rows[1]["accuracy"]) - float(rows[0]["accuracy"]))


def test_the_grid_is_shown(call):
    table = call(*ARGS, "--act", "relu,lselu", "--lr", "0.01,1e9", "--seeds", "1").out
    lines = table.splitlines()
    place = lines.index("accuracy on validation images, by learning rate")
    assert lines[place + 1].split() == ["0.01", "1000000000.0"]
    for line, name in zip(lines[place + 2 : place + 4], ("relu", "lselu"), strict=True):
        variant, chosen, lost = line.split()
        assert (variant, lost) == (name, "diverged")
        assert chosen.endswith("*")
        assert 0 < float(chosen[:-1]) < 1
    assert "no saying how much of it is chance" in table
    assert "by learning rate" not in call(*ARGS, "--act", "lselu").out


def test_the_conclusion_is_no_bolder_than_the_seeds():
    from snn_cli.reports.training import Table

    base, better = train("selu,lselu", **SMALL)
    table = Table()
    table(base)
    table(
        replace(
            better, difference=better.difference._replace(mean=0.02, se=0.011), accuracy=base.accuracy._replace(mean=2)
        )
    )
    assert "not decided" in table.conclusion()
    table = Table()
    table(base)
    table(
        replace(
            better, difference=better.difference._replace(mean=0.02, se=0.009), accuracy=base.accuracy._replace(mean=2)
        )
    )
    assert "lselu is ahead, by an accuracy of 0.02 +- 0.009 over selu." in table.conclusion()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--act", "relu+norm"), "relu+bn"),
        (("--act", "lselu,lselu"), "twice"),
        (("--data", "imagenet"), "folder"),
        (("--data", "cifar10"), "--data-dir"),
        (("--data-dir", "."), "embedded"),
        (("--epochs", "0"), "--epochs"),
        (("--batch", "1.5"), "--batch"),
        (("--batch", "5000"), "1157 images to train on"),
        (("--batch", "5000", "--lr", "0.01"), "1442 images to train on"),
        (("--batch", "1"), "two images a process"),
        (("--seeds", "nan"), "--seeds"),
        (("--seed", "-1"), "--seed"),
        (("--lr", "0"), "above 0"),
        (("--lr", "fast"), "--lr"),
        (("--weight-decay", "-1"), "at least 0"),
        (("--mixup-alpha", "0"), "above 0"),
        (("--precision", "int8"), "bfloat16"),
        (("--device", "tpu"), "--device cpu"),
        (("--architecture", "resnet"), "conv"),
        (("--architecture", "conv-mobilenet-v1", "--depth", "3"), "says nothing"),
        (("--width-multiplier", "0.5"), "says nothing"),
        (("--weights", "normal"), "gaussian"),
        (("--epsilon", "-1", "--act", "lselu"), "at least 0"),
        (("--checkpoint", "a", "--resume", "b"), "--resume"),
        (("--resume", "not-there"), "no file"),
        (("--metrics", "not/there"), "cannot be written"),
        (("--json", "--csv"), "contradict"),
    ],
    ids=" ".join,
)
def test_bad_input(call, args, words):
    done = call("train", *args)
    assert done.code == 2
    assert words in done.err
    assert done.out == ""
    assert done.err.startswith("error: ")


def test_images_too_small_for_the_architecture(call):
    done = call("train", "--architecture", "conv-mobilenet-v1")
    assert done.code == 2
    assert "32 x 32" in done.err


def plan_of(**options):
    """What `train` checks of these options and the defaults of all others."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(train).parameters.items()}
    return check({**defaults, **options})


def test_a_machine_that_is_not_enough(call, monkeypatch):
    inductor = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    plan = plan_of(act="lselu", compile=True)
    for error, words, hint in (
        (
            torch.OutOfMemoryError("CUDA out of memory\nmore"),
            "cpu ran out of memory: CUDA out of memory",
            "--batch 32, ",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "cpu ran out of memory: Default", "--batch 32, "),
        (MemoryError(), "cpu ran out of memory", "--batch 32, or a smaller network"),
        (inductor("no compiler\n\nmore"), "--compile does not work here: no compiler", "leave out --compile"),
        (RuntimeError("[x] Connection closed by peer [y]"), "a process of this run is gone: [x]", None),
    ):
        found = compare._explained(error, plan, "cpu")
        assert str(found).startswith(words)
        assert "more" not in str(found)
        assert found.hint == hint or found.hint.startswith(hint)
    assert compare._explained(RuntimeError("a defect"), plan, "cpu") is None
    assert compare._explained(inductor("x"), plan_of(act="lselu"), "cpu") is None

    def fail(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr(loop.Trainer, "run", fail)
    done = call(*ARGS, "--act", "lselu")
    assert (done.code, done.err) == (3, "error: cpu ran out of memory\nhint: --batch 32, or a smaller network\n")


@pytest.mark.parametrize(
    ("options", "hint", "instead"),
    [
        ("--act relu,sselu --lambda 1e-90", "leave out --lambda", ""),
        ("--act lselu --lambda-min 1e-90", "leave out --lambda-min", ""),
        ("--act sselu --epsilon 1e-80", "--epsilon 0.01", "--epsilon 0.01"),
        ("--act sselu --epsilon 1e-80 --lambda 1e-90", "--epsilon 0.01, and leave out --lambda", "--epsilon 0.01"),
    ],
)
def test_a_parameter_beyond_single_precision(call, options, hint, instead):
    """What to type instead depends on where it comes from, and works."""
    small = ["train", *"--depth 2 --fanin 8 --epochs 1 --seeds 1 --lr 0.001 --json".split()]
    done = call(*small, *options.split())
    name = options.split()[1].rpartition(",")[2]
    assert done.code == 3
    assert done.err == f"error: a parameter of {name} is no number in single precision\nhint: {hint}\n"
    assert call(*small, *options.split()[:2], *instead.split()).code == 0


def test_a_device_that_is_not_there(call):
    if torch.cuda.is_available():
        pytest.skip("there is CUDA")
    done = call(*ARGS, "--device", "cuda")
    assert done.code == 3
    assert "--device cpu" in done.err


def test_without_torch_or_data(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    done = call(*ARGS)
    assert done.code == 3
    assert "snn-cli[train]" in done.err


def test_errors_of_the_function():
    for options in ({"act": "x"}, {"lr": []}, {"data": 3}, {"depth": 0}):
        with pytest.raises(SnnError):
            train(**options)


def test_ctrl_c_says_how_to_go_on(tmp_path, warm):
    path = tmp_path / "check"
    control, terminal = pty.openpty()
    command = ["snn", "train", "--depth", "4", "--width", "16", "--epochs", "100000", "--act", "lselu",
               "--checkpoint", str(path)]  # fmt: skip
    process = subprocess.Popen(command, env=warm.environment, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    said, deadline = b"", time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    while process.poll() is None or select.select([control], [], [], 0.2)[0]:
        try:
            said += os.read(control, 4096)
        except OSError:
            break
    process.communicate()
    os.close(control)
    assert process.returncode == 130
    assert b"epoch 1/100000" in said
    assert f"--resume {path}".encode() in said
    assert b"Traceback" not in said


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed package")
def test_two_processes_are_as_one(tmp_path, warm):
    """The gradients of a batch are averaged over its halves: the same to rounding, without batch statistics."""
    args = [*ARGS, "--act", "lselu+centralize,sselu", "--json", "--checkpoint", str(tmp_path / "check")]
    launcher = [warm.python, "-c", "from torch.distributed.run import main; main()", "--nproc-per-node", "2"]
    env = {**warm.environment, "OMP_NUM_THREADS": "1"}
    command = [*launcher, "--no-python", "snn", *args]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    records = [json.loads(line) for line in done.stdout.splitlines()]
    alone = train("lselu+centralize,sselu", **SMALL)
    assert len(records) == 2
    for record, one in zip(records, alone, strict=True):
        assert record["train_loss"] == pytest.approx(one.train_loss, rel=1e-3)
        assert record["accuracy"]["mean"] == pytest.approx(one.accuracy.mean, abs=0.01)


def test_the_rank_that_meets_a_damaged_image_says_so(call, monkeypatch):
    """What all processes share is told by the first; an error in its own part of the data by the one that has it."""
    settings = loop.Settings(2, 64, 0.0, 0.2, False, "float32", False, False, torch.device("cpu"))
    found = data.load("digits")
    trainer = loop.Trainer(design(classes=10), parse("relu"), None, settings, found, 0, Ranks(torch.device("cpu")))

    class Damaged:
        def images(self, _):
            raise InputError("a.png cannot be decoded", "take it out")

    with pytest.raises(InputError) as alone:
        trainer._images(Damaged(), np.arange(2))
    assert not isinstance(alone.value, OfOneRank)
    trainer._ranks = Ranks(torch.device("cpu"), 1, 2)
    with pytest.raises(OfOneRank) as caught:
        trainer._images(Damaged(), np.arange(2))
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "1")
    for error, said in ((caught.value, "error: a.png cannot be decoded\nhint: take it out\n"), (alone.value, "")):

        def fail(*_args, error=error, **_options):
            raise error

        monkeypatch.setattr(loop.Trainer, "run", fail)
        done = call(*ARGS, "--act", "lselu")
        assert (done.code, done.err, done.out) == (2, said, "")


def test_ranks_take_every_image_once():
    numbers = np.arange(11)
    parts = [numbers[slice(Ranks(torch.device("cpu"), rank, 3).rank, None, 3)] for rank in range(3)]
    assert sorted(np.concatenate(parts)) == list(range(11))


def test_figure(tmp_path, call):
    pytest.importorskip("matplotlib")
    path = tmp_path / "figure.svg"
    assert call(*ARGS, "--act", "relu+bn,lselu", "--plot", str(path)).code == 0
    text = path.read_text()
    assert "relu+bn" in text
    assert "<svg" in text
    assert call(*ARGS, "--act", "lselu", "--plot", str(path)).code == 2


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_learns():
    (record,) = train(
        "sselu+mixup", depth=4, fanin=64, epochs=5, lr="0.03", seeds=1, device="cuda", precision="bfloat16"
    )
    assert record.accuracy.mean > 0.8
