"""``snn verify``: the record, the verdict, and the command as a user and as a script meet it."""

from __future__ import annotations

import csv
import inspect
import io
import json
import math
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from snn_cli import simulate, solve, verify  # noqa: E402
from snn_cli.engine.device import resident  # noqa: E402
from snn_cli.errors import InputError, SnnError  # noqa: E402
from snn_cli.records import Verification  # noqa: E402
from snn_cli.verification import command as module  # noqa: E402
from snn_cli.verification.request import DEFAULTS  # noqa: E402

torch.set_num_threads(1)  # networks as small as these are slower on two

SMALL = {"depth": 6, "fanin": 64, "batch": 4, "trials": 8, "threads": 1}
ARGS = ("verify", "--depth", "6", "--fanin", "64", "--batch", "4", "--trials", "8")
TIMING = ("seconds", "networks_per_second", "peak_memory")
KEYS = (
    "kind version act epsilon params depth fan_in architecture weights sigma_w sigma_b widths q0 batch trials device "
    "dtype seed measured theory verdict broken_layer broken_trial notes profile seconds networks_per_second peak_memory"
).split()
ESTIMATES = "drift drift_se log_growth log_growth_se log_growth_sd q_mean q_variance".split()
COLUMNS = "layer q q_se q_theory log_gradient log_gradient_se log_gradient_theory z".split()


def timeless(record):
    data = record if isinstance(record, dict) else record.to_dict()
    return {name: value for name, value in data.items() if name not in TIMING}


def test_record_has_the_names_of_the_contract(call):
    done = call(*ARGS, "--json")
    (record,) = done.records
    assert done.code == 0
    assert list(record) == KEYS
    assert (record["kind"], record["version"]) == ("verification", 1)
    assert list(record["measured"]) == list(record["theory"]) == ESTIMATES
    assert list(record["verdict"])[:7] == [
        "agrees", "p_value", "level", "statistic", "worst_layer", "within_budget", "max_growth",
    ]  # fmt: skip
    assert list(record["profile"]) == COLUMNS
    assert all(len(column) == 7 for column in record["profile"].values())
    assert record["theory"]["drift_se"] is record["theory"]["log_growth_se"] is None
    assert all(record[name] > 0 for name in TIMING)
    assert record["networks_per_second"] == pytest.approx(8 / record["seconds"])


def test_record_is_that_of_the_function_and_goes_round(call):
    (record,) = call(*ARGS, "--json").records
    made = verify(**SMALL)
    assert timeless(record) == timeless(made)
    assert Verification.from_dict(record).to_dict() == record
    assert Verification.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    short = verify(**SMALL, profile=False)
    assert short.profile is None
    assert Verification.from_dict(short.to_dict()) == short
    assert timeless(short) == {name: value for name, value in timeless(made).items() if name != "profile"}


def test_record_that_is_none():
    data = verify(**SMALL).to_dict()
    for change in ({"kind": "solution"}, {"version": 2}, {"measured": 3}, {"notes": ["nonsense"]}, {"verdict": {}}):
        with pytest.raises(InputError):
            Verification.from_dict({**data, **change})
    for name in ("act", "trials", "measured", "params"):
        with pytest.raises(InputError, match=name):
            Verification.from_dict({key: value for key, value in data.items() if key != name})


def test_numbers_of_the_record_hang_together():
    record = verify(**SMALL)
    profile, measured = record.profile, record.measured
    assert profile.layer == tuple(range(7))
    assert profile.log_gradient[-1] == profile.log_gradient_theory[-1] == 0
    assert measured.log_growth == pytest.approx(profile.log_gradient[0], rel=1e-12)
    assert measured.log_growth_se == pytest.approx(profile.log_gradient_se[0], rel=1e-12)
    theory = simulate("lselu", depth=6, fanin=64)
    assert profile.log_gradient_theory == pytest.approx(theory.profile.log_gradient, rel=1e-12)
    assert profile.q_theory == pytest.approx(theory.profile.q_mean, rel=1e-12)
    assert record.theory.log_growth == pytest.approx(theory.gradient.log_growth, rel=1e-12)
    assert record.theory.log_growth_sd == pytest.approx(theory.gradient.log_growth_sd, rel=1e-12)
    z = (np.array(profile.log_gradient) - profile.log_gradient_theory)[:-1] / profile.log_gradient_se[:-1]
    assert profile.z[:-1] == pytest.approx(z)
    assert record.verdict.worst_layer == int(np.argmax(np.abs(z)))
    assert record.verdict.agrees == (record.verdict.p_value >= record.verdict.level)


def test_defaults():
    record = verify(trials=2, batch=2)
    assert (record.act, record.epsilon, record.depth, record.fan_in) == ("lselu", 0.03, 50, 128)
    assert verify(depth=5, trials=2, batch=2, fanin=16).epsilon == 0.2
    assert verify(epsilon="0.1", depth=5, trials=2, batch=2, fanin=16).epsilon == 0.1
    widths = verify(widths="20,30x3,10", trials=2, batch=2)
    assert (widths.depth, widths.fan_in, widths.widths) == (4, None, (20, 30, 30, 30, 10))


def test_the_last_gradient_does_not_depend_on_its_scale_in_theory():
    """The output gradient is N(0, I) per input, and log |g|^2 is taken relative to it."""
    record = verify("linear", depth=1, fanin=400, batch=50, trials=20)
    assert record.measured.log_growth == pytest.approx(0, abs=0.02)
    assert record.profile.q[0] == pytest.approx(1, abs=0.01)


AGREEMENT = [
    (act, weights, size)
    for act in ("lselu", "sselu", "selu")
    for weights in ("gaussian", "orthogonal")
    for size in ({"fanin": 64}, {"fanin": 128}, {"widths": (200, 100, *(64, 96) * 8, 100)})
]


@pytest.mark.parametrize(("act", "weights", "size"), AGREEMENT)
def test_networks_agree_with_theory(act, weights, size):
    depth = {} if "widths" in size else {"depth": 24}
    epsilon = None if act == "selu" else "0.04"
    record = verify(act, epsilon, **size, **depth, weights=weights, batch=8, trials=40, seed=11)
    assert record.verdict.agrees, record.verdict
    measured, theory = record.measured, record.theory
    assert measured.log_growth == pytest.approx(theory.log_growth, abs=4.5 * measured.log_growth_se + 0.03)
    assert measured.log_growth_sd == pytest.approx(theory.log_growth_sd, rel=0.35)
    # the other ensemble's theory is another one
    if weights == "orthogonal" and "fanin" in size:
        assert measured.log_growth_sd < 0.8 * simulate(act, epsilon, **size, **depth).gradient.log_growth_sd


@pytest.mark.parametrize(
    "options",
    [
        {"act": "relu"}, {"act": "leaky_relu", "sigma_w": 1.3}, {"act": "tanh"}, {"act": "gelu", "sigma_w": 1.8},
        {"act": "elu"}, {"act": "silu", "sigma_w": 1.4}, {"act": "erf"}, {"act": "dselu"}, {"act": "linear"},
        {"weights": "uniform"}, {"weights": "truncated"}, {"sigma_b": "0.2"}, {"q0": 2}, {"sigma_w": "1.05"},
        {"dtype": "float64"}, {"dtype": "bfloat16"}, {"zero_mean": True}, {"lam": "1.1"}, {"epsilon": "auto"},
    ],
    ids=str,
)  # fmt: skip
def test_agreement_of_all_else(options):
    record = verify(**{"depth": 12, "fanin": 96, "batch": 8, "trials": 32, "seed": 5, **options})
    assert record.verdict.agrees, record.verdict


def networks_of(monkeypatch, **other):
    """From here on the networks have another architecture than the one that theory is told of."""
    honest = module.measure

    def measure(architecture, *args, **kwargs):
        return honest(architecture._replace(**other), *args, **kwargs)

    monkeypatch.setattr(module, "measure", measure)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_five_percent_more_gain_is_rejected(monkeypatch, weights):
    wrong = solve("lselu", "0.08").params
    networks_of(monkeypatch, params=tuple(wrong.items()))
    record = verify("lselu", "0.03", depth=50, fanin=128, batch=16, trials=32, weights=weights)
    assert record.verdict.agrees is False
    assert record.verdict.p_value < 1e-6


def test_five_percent_more_weight_is_rejected(monkeypatch, call):
    networks_of(monkeypatch, sigma_w=math.sqrt(1.05))
    done = call("verify", "--act", "relu", "--depth", "50", "--trials", "32")
    assert done.code == 1
    assert "REJECTS" in done.out


def test_infinite_width_is_rejected(monkeypatch):
    honest = module.simulate

    def infinite(*args, **kwargs):
        finite = honest(*args, **kwargs)
        limit = honest(*args, **{**kwargs, "fanin": None})
        profile = finite.profile._replace(log_gradient=limit.profile.log_gradient, q_mean=limit.profile.q)
        return replace(finite, profile=profile)

    options = {"depth": 100, "fanin": 64, "batch": 8, "trials": 64}
    assert verify("lselu", "0.03", **options).verdict.agrees
    monkeypatch.setattr(module, "simulate", infinite)
    record = verify("lselu", "0.03", **options)
    assert record.verdict.agrees is False
    assert record.verdict.p_value < 1e-5


def test_where_theory_has_no_band_it_is_not_tested(call):
    """q shrinks and its spread grows past what an expansion can follow."""
    args = ("--act", "gelu", "--sigma-w", "1.5", "--depth", "12", "--fanin", "96", "--batch", "8")
    done = call("verify", *args, "--json")
    (record,) = done.records
    assert (done.code, record["verdict"]["agrees"], record["verdict"]["p_value"]) == (0, None, None)
    assert "no-finite-theory" in record["notes"]
    assert record["measured"]["log_growth_se"] > 0
    assert "Theory is not tested" in call("verify", *args).out


def test_too_few_to_decide():
    record = verify("lselu", "0.03", depth=30, fanin=64, batch=2, trials=4)
    assert "too-few-trials" in record.notes
    needed = record.verdict.trials_to_decide
    assert needed > 4
    more = verify("lselu", "0.03", depth=30, fanin=64, batch=2, trials=3 * needed, profile=False)
    assert more.verdict.trials_to_decide is None
    assert "too-few-trials" not in more.notes


def test_one_trial(call):
    done = call("verify", "--depth", "5", "--fanin", "32", "--trials", "1", "--json")
    (record,) = done.records
    assert (done.code, done.err) == (0, "")
    assert "one-trial" in record["notes"]
    assert record["measured"]["drift_se"] is record["measured"]["log_growth_se"] is None
    assert record["measured"]["log_growth"] is not None
    verdict = record["verdict"]
    assert verdict["agrees"] is verdict["p_value"] is verdict["statistic"] is verdict["worst_layer"] is None
    assert record["profile"]["q_se"] == record["profile"]["log_gradient_se"] == record["profile"]["z"] == [None] * 6
    assert "One network has no standard error" in call("verify", "--depth", "5", "--fanin", "32", "--trials", "1").out
    (two,) = call("verify", "--depth", "5", "--fanin", "32", "--trials", "2", "--json").records
    assert two["measured"]["log_growth_se"] > 0


def test_one_input():
    record = verify(depth=5, fanin=32, batch=1, trials=12)
    assert record.verdict.agrees
    assert record.measured.log_growth_sd == pytest.approx(record.measured.log_growth_se * math.sqrt(12), rel=1e-6)


def test_budget_and_exit_codes(call):
    (record,) = call(*ARGS, "--json").records
    assert record["verdict"]["within_budget"] is record["verdict"]["max_growth"] is None
    factor = math.exp(abs(record["measured"]["log_growth"]))
    inside = call(*ARGS, "--max-growth", repr(factor * 1.5), "--json")
    outside = call(*ARGS, "--max-growth", repr(max(1.0, factor * 0.9)), "--json")
    assert (inside.code, inside.records[0]["verdict"]["within_budget"]) == (0, True)
    assert (outside.code, outside.records[0]["verdict"]["within_budget"]) == (1, False)
    assert outside.records[0]["verdict"]["agrees"] is True
    assert "LEAVES" in call(*ARGS, "--max-growth", "1").out
    # a mean of |log growth| that one network would leave counts all of them
    assert call(*ARGS, "--trials", "1", "--max-growth", "1").code == 1


def test_level_decides():
    p_value = verify(**SMALL).verdict.p_value
    assert verify(**SMALL, level=p_value * 0.999).verdict.agrees is True
    assert verify(**SMALL, level=p_value * 1.001).verdict.agrees is False


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_overflow_is_a_result(call, dtype):
    args = ("--act", "linear", "--sigma-w", "100", "--depth", "400", "--fanin", "16", "--batch", "2", "--trials", "4")
    done = call("verify", *args, "--dtype", dtype, "--json")
    (record,) = done.records
    assert (done.code, done.err) == (1, "")
    assert record["verdict"]["agrees"] is False
    assert "broken" in record["notes"]
    most = math.log10(float(torch.finfo(getattr(torch, dtype)).max))
    assert record["broken_layer"] == pytest.approx(most / 2, abs=1.1)  # a factor of 100 a layer
    assert record["broken_trial"] in range(4)
    q = record["profile"]["q"]
    assert None not in q[: record["broken_layer"]]
    assert q[record["broken_layer"]] is q[-1] is None


def test_overflow_for_people_and_with_a_budget(call):
    args = ("--act", "linear", "--sigma-w", "100", "--depth", "40", "--fanin", "16", "--batch", "2", "--trials", "4")
    done = call("verify", *args, "--dtype", "float16", "--max-growth", "10")
    assert done.code == 1
    assert "nan" not in done.out
    assert re.search(r"stopped being finite at layer \d+, in network \d+", done.out)
    (record,) = call("verify", *args, "--dtype", "float16", "--max-growth", "10", "--json").records
    assert record["verdict"]["within_budget"] is False
    (row, *_) = csv.DictReader(io.StringIO(call("verify", *args, "--dtype", "float16", "--csv").out))
    assert "nan" not in row.values()


def test_a_gradient_that_vanishes_is_broken_too(call):
    args = ("--act", "linear", "--sigma-w", "0.01", "--depth", "40", "--fanin", "16", "--batch", "2", "--trials", "4")
    done = call("verify", *args, "--dtype", "float16", "--json")
    assert done.code == 1
    (record,) = done.records
    assert "broken" in record["notes"]
    assert 0 < record["broken_layer"] < 40


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="it is there")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there(call, name):
    done = call(*ARGS, "--device", name)
    assert (done.code, done.out) == (3, "")
    assert f"--device {name}" in done.err
    assert "hint: --device cpu" in done.err
    assert done.err.count("\n") == 2


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="auto is not the CPU")
def test_auto_is_what_there_is():
    assert timeless(verify(**SMALL, device="auto")) == timeless(verify(**SMALL))


BAD = [
    "--depth 0", "--depth -1", "--depth 1.5", "--depth nan", "--fanin 0", "--fanin x", "--widths 10", "--widths 10,0",
    "--batch 0", "--batch -3", "--batch 1.5", "--batch x", "--trials 0", "--trials -1", "--trials nan",
    "--trials 1e999",
    "--device tpu", "--device cuda:x", "--device cpu:1", "--device cuda:-1", "--device", "--dtype float8",
    "--dtype float", "--dtype", "--level 0", "--level 1", "--level -0.1", "--level nan", "--level x",
    "--max-growth 0.5", "--max-growth nan", "--max-growth 0", "--threads 0", "--threads -1", "--threads x",
    "--memory 0", "--memory -1", "--memory x", "--memory 1XB", "--memory 4GiB4", "--memory nan", "--seed -1",
    f"--memory {10**400}",
    "--seed 1.5", "--seed x", "--seed 9223372036854775808", "--act foo", "--act relu --epsilon 0.1", "--epsilon -1",
    "--weights gausian", "--architecture resnet", "--q0 0", "--sigma-w 0", "--sigma-b -1", "--json --csv",
    "--params /nonexistent", "--params .", "--params x --act lselu", "--resume /nonexistent", "--resume .",
    "--act lselu,sselu --save never/there", "--act lselu,foo --json", "--plot x.foo", "--nonsense", "extra",
    "--save /nonexistent/directory/file", "--save /", "--lambda 1 --zero-mean",
]  # fmt: skip


@pytest.mark.parametrize("args", BAD)
def test_bad_input(call, args):
    done = call("verify", "--trials", "2", "--batch", "2", *args.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") <= 2
    assert "Traceback" not in done.err
    assert "internal" not in done.err


PARAMS = [
    b"", b"\xff\xfe\x00", b"hello", b"[]", b"{}", b"3", b'{"act": 3}', b'{"act": "lselu"}', b"[" * 100_000,
    b'{"act": "foo", "params": {}}', b'{"act": "lselu", "params": null}', b'{"kind": "training", "act": "lselu"}',
    b'{"act": "lselu", "params": {"lambda": 1}}', b'{"kind": "solution", "version": 2}',
    b'{"act": "lselu", "params": {"lambda": NaN, "alpha": 1, "beta": 1}}',
    b'{"act": "lselu", "params": {"lambda": 1, "alpha": 1, "beta": 1}, "fan_in": -4}',
]  # fmt: skip


@pytest.mark.parametrize("content", PARAMS, ids=lambda content: content[:40].decode("latin-1"))
def test_bad_params(call, tmp_path, content):
    file = tmp_path / "params.json"
    file.write_bytes(content)
    done = call("verify", "--params", str(file), "--depth", "5")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")


@pytest.mark.parametrize("scale", ["1e55", "-3e40", "1e-50", "0"])
def test_absurd_params_are_no_traceback(call, tmp_path, scale):
    file = tmp_path / "params.json"
    file.write_text(f'{{"act": "sselu", "params": {{"lambda": 1, "alpha": {scale}, "beta": {scale}}}}}')
    done = call("verify", "--params", str(file), "--depth", "5", "--fanin", "16", "--trials", "6", "--json")
    assert done.code in (0, 1, 3)
    assert "internal" not in done.err


def test_too_little_memory_says_what_would_do(warm):
    """``--memory`` counts what Python and torch hold themselves: a process of its own each time."""

    def snn(*args):
        return subprocess.run(["snn", *args], env=warm.environment, capture_output=True, text=True, timeout=120)

    done = snn("verify", "--memory", "10MB", "--trials", "2")
    assert (done.returncode, done.stdout) == (3, "")
    (enough,) = (float(size) for size in re.findall(r"--memory (\S+)MiB", done.stderr))
    assert snn("verify", "--memory", f"{enough + 4}MiB", "--trials", "2").returncode == 0
    deep = ("verify", "--depth", "400", "--fanin", "128", "--memory", f"{enough + 87}MiB", "--trials", "1")
    done = snn(*deep, "--batch", "1024")
    assert (done.returncode, done.stdout) == (3, "")
    (batch,) = re.findall(r"--batch (\d+)", done.stderr)
    assert snn(*deep, "--batch", batch, "--no-profile").returncode == 0


def test_too_many_trials_to_hold(call):
    done = call("verify", "--trials", "1000000000000")
    assert (done.code, done.out) == (3, "")
    assert int(re.search(r"hint: --trials (\d+)", done.err)[1]) > 1000


@pytest.mark.parametrize("extra", [16, 64, 1024])
def test_memory_does_not_change_the_record(extra):
    held = resident(torch.device("cpu"))
    assert timeless(verify(**SMALL, memory=held + extra * 1024**2)) == timeless(verify(**SMALL))


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MiB", 2**26), ("64mb", 64e6), ("0.5GiB", 2**29), ("7", 7), ("65536 KiB", 2**26), ("3 GB", 3e9)],
)
def test_sizes_of_memory(text, size):
    from snn_cli.verification import check

    assert check(memory=text, fanin=8, depth=2).memory == size


def test_threads_do_not_change_the_record():
    options = {**SMALL, "trials": 40}
    one, two = (verify(**{**options, "threads": threads}) for threads in (1, 2))
    assert timeless(one) == timeless(two)
    assert timeless(one) != timeless(verify(**{**options, "seed": 1}))


def test_the_caller_keeps_his_threads():
    torch.set_num_threads(2)
    try:
        verify(**{**SMALL, "trials": 40, "threads": 2})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert not torch.is_inference_mode_enabled()


def test_save_and_resume_are_one_run(tmp_path, call):
    file, more = tmp_path / "run", tmp_path / "more"
    whole = timeless(verify(**{**SMALL, "trials": 21}))
    for trials in (5, 13, 21):
        args = ("--resume" if file.exists() else "--save", str(file))
        (record,) = call(*ARGS[:-1], str(trials), *args, "--json").records
        assert record["trials"] == trials
        assert record == {**timeless(verify(**{**SMALL, "trials": trials})), **{name: record[name] for name in TIMING}}
    assert timeless(record) == whole
    content = file.read_text()
    again = call(*ARGS[:-1], "21", "--resume", str(file), "--save", str(more), "--json")
    assert timeless(again.records[0]) == whole
    assert file.read_text() == more.read_text() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["more", "run"]


def test_a_broken_run_can_be_resumed(tmp_path, call):
    args = ("verify", "--act", "linear", "--sigma-w", "100", "--depth", "40", "--fanin", "16", "--batch", "2")
    args = (*args, "--dtype", "float16", "--json")
    call(*args, "--trials", "3", "--save", str(tmp_path / "run"))
    resumed = call(*args, "--trials", "6", "--resume", str(tmp_path / "run"))
    assert resumed.code == 1
    assert timeless(resumed.records[0]) == timeless(call(*args, "--trials", "6").records[0])


@pytest.fixture
def saved(tmp_path):
    verify(**SMALL, save=str(tmp_path / "run"))
    return tmp_path / "run"


def test_save_overwrites_nothing(saved, call):
    before = saved.read_bytes()
    done = call(*ARGS, "--save", str(saved))
    assert (done.code, done.out) == (2, "")
    assert f"hint: --resume {saved}" in done.err
    assert saved.read_bytes() == before


@pytest.mark.parametrize(
    "other",
    [
        "--depth 7", "--fanin 65", "--batch 5", "--seed 1", "--dtype float64", "--act sselu", "--epsilon 0.2",
        "--weights orthogonal", "--sigma-w 1.1", "--sigma-b 0.1", "--q0 2",
    ],
)  # fmt: skip
def test_resume_of_another_run(saved, call, other):
    before = saved.read_bytes()
    done = call(*ARGS, "--resume", str(saved), *other.split())
    assert (done.code, done.out) == (2, "")
    assert "another run" in done.err
    assert saved.read_bytes() == before
    if not other.startswith("--epsilon"):  # the header has what comes of it
        option = other.split()[0]
        header = json.loads(before.splitlines()[0])
        of_widths = {"--depth": len(header["widths"]) - 1, "--fanin": header["widths"][0]}
        its = of_widths.get(option, header.get(option[2:].replace("-", "_")))
        assert f"hint: repeat {option} {its}, or --save {saved}.new\n" in done.err


def test_resume_without_the_depth_of_the_run_says_which(call, tmp_path):
    """Without ``--epsilon`` the parameters are those of ``1/depth``."""
    file = str(tmp_path / "run")
    run = ("verify", "--act", "lselu", "--depth", "7", "--fanin", "20")
    assert call(*run, "--trials", "2", "--save", file).code == 0
    done = call("verify", "--resume", file, "--trials", "4")
    assert done.err == (
        f"error: --resume {file} is another run: its depth is 7, not 50\n"
        f"hint: repeat --depth 7 --fanin 20, or --save {file}.new\n"
    )
    assert (
        call("verify", "--resume", file, "--trials", "4", "--act", "lselu", "--depth", "7", "--fanin", "20").code == 0
    )


def garbled(text):
    lines = text.splitlines(keepends=True)
    row = json.loads(lines[3])
    yield "cut at a line", "".join(lines[:-1])
    yield "cut in a line", text[:-100]
    yield "cut in the head", text[:20]
    yield "head alone", lines[0]
    yield "no head", "".join(lines[1:])
    yield "empty", ""
    yield "words", "hello"
    yield "a list", "[]"
    yield "a number", "3\n" * 9
    yield "nested", "[" * 100_000
    yield "solution", '{"kind": "solution", "version": 1}'
    yield "version", text.replace('"version": 1', '"version": 2', 1)
    yield "a row twice", "".join([*lines[:-1], lines[1]])
    for name, changed in (
        ("a row of null", None),
        ("a row too short", {**row, "second_moment": row["second_moment"][:-1]}),
        ("a row of words", {**row, "log_gradient": ["x"] * 7}),
        ("a row without", {"trial": 2}),
        ("a list of rows", [row]),
        ("a trial of half", {**row, "trial": 2.5}),
        ("a trial below 0", {**row, "trial": -2}),
        ("a trial of words", {**row, "trial": "x"}),
    ):
        yield name, "".join([*lines[:3], json.dumps(changed) + "\n", *lines[4:]])
    longer = [json.dumps({**json.loads(line), "second_moment": [1.0] * 8}) + "\n" for line in lines[1:]]
    yield "all rows longer", "".join([lines[0], *longer])


def test_resume_of_a_file_that_is_damaged(saved, call):
    text = saved.read_text()
    for name, content in garbled(text):
        saved.write_text(content)
        done = call(*ARGS, "--resume", str(saved))
        assert (done.code, done.out) == (2, ""), (name, done)
        assert done.err.startswith(f"error: --resume {saved}"), name
        assert done.err.count("\n") <= 2, name
        assert "internal" not in done.err, name
        assert saved.read_text() == content
    saved.write_bytes(b"\xff\xfe\x00" * 10)
    assert call(*ARGS, "--resume", str(saved)).code == 2


def test_fewer_trials_than_were_saved(saved, call):
    """What was measured counts: networks are added to a run, never taken away."""
    (record,) = call(*ARGS, "--trials", "3", "--resume", str(saved), "--json").records
    assert timeless(record) == timeless(verify(**SMALL))
    assert len(saved.read_text().splitlines()) == 9


def test_table_and_csv(call):
    text = call(*ARGS).out
    assert "measured" in text
    assert "theory" in text
    assert re.search(r"The measurement (agrees with|REJECTS) theory: p = ", text)
    assert "\x1b" not in text
    record = verify(**SMALL)
    rows = list(csv.DictReader(io.StringIO(call(*ARGS, "--csv").out)))
    assert [int(row["layer"]) for row in rows] == list(range(7))
    assert [float(row["log_gradient"]) for row in rows] == list(record.profile.log_gradient)
    assert {row["act"] for row in rows} == {"lselu"}
    (row,) = csv.DictReader(io.StringIO(call(*ARGS, "--csv", "--no-profile").out))
    assert float(row["measured_drift"]) == record.measured.drift
    assert row["verdict_agrees"] == "true"


def test_several_activations(call):
    done = call(*ARGS, "--act", "lselu,selu", "--act", "relu", "--json")
    assert [record["act"] for record in done.records] == ["lselu", "selu", "relu"]
    assert timeless(done.records[0]) == timeless(verify("lselu", **SMALL))


def test_quiet_and_verbose(call):
    assert call(*ARGS, "--json").err == ""
    assert call(*ARGS, "--json", "-q").err == ""
    assert re.fullmatch(r"lselu: 8 networks in [\d.]+ s\n", call(*ARGS, "--json", "-v").err)


def test_params_from_a_record(call, tmp_path):
    file = tmp_path / "records"
    solutions = [solve(act, "0.03", fanin=32, depth=7).to_dict() for act in ("lselu", "sselu")]
    file.write_text("\n".join(json.dumps(record) for record in solutions))
    records = call("verify", "--params", str(file), "--batch", "2", "--trials", "4", "--json").records
    assert [(r["act"], r["depth"], r["fan_in"], r["epsilon"]) for r in records] == [
        ("lselu", 7, 32, 0.03),
        ("sselu", 7, 32, 0.03),
    ]
    file.write_text(json.dumps(records[1]))
    (again,) = call("verify", "--params", str(file), "--batch", "2", "--trials", "4", "--json").records
    assert timeless(again) == timeless(records[1])
    made = verify(params=solve("lselu", "0.03", fanin=32, depth=7), batch=2, trials=4)
    assert timeless(made) == timeless(records[0])


def test_pipe_from_solve(warm):
    done = subprocess.run(
        "snn solve --act sselu --epsilon auto --fanin 64 --json | "
        "snn verify --params - --depth 9 --fanin 64 --trials 8 --batch 4 --json",
        shell=True, capture_output=True, text=True, check=True, env=warm.environment,
    )  # fmt: skip
    record = json.loads(done.stdout)
    assert done.stderr == ""
    assert (record["act"], record["depth"], record["fan_in"]) == ("sselu", 9, 64)
    assert record["epsilon"] == solve("sselu", "auto", fanin=64).epsilon


def test_without_torch(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = call(*ARGS)
    assert (done.code, done.out) == (3, "")
    assert "hint: pip install 'snn-cli[torch]'" in done.err
    # bad input is named all the same
    assert call(*ARGS, "--depth", "0").code == 2


BLOCKED = """
import importlib.machinery, sys
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "torch" else super().find_spec(name, path, target)
sys.meta_path = [Finder if each is importlib.machinery.PathFinder else each for each in sys.meta_path]
from snn_cli.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_torch_is_not_installed():
    done = subprocess.run([sys.executable, "-c", BLOCKED, *ARGS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "snn-cli[torch]" in done.stderr
    assert done.stderr.count("\n") == 2


def test_other_commands_do_not_load_torch():
    code = (
        "import sys; from snn_cli.cli.main import main\n"
        "for args in (['--help'], ['solve'], ['simulate', '--depth', '5'], ['verify', '--help'],\n"
        "             ['verify', '--depth', '0'], ['verify', '--dtype', 'x']):\n"
        "    main(args); assert 'torch' not in sys.modules, args\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_prints_what_is_measured(tmp_path, warm):
    """On a terminal's standard error a bar counts; an interrupt ends the run, and the record says so."""
    parent, child = pty.openpty()
    file = tmp_path / "run"
    args = ["snn", *ARGS[:-1], "1000000", "--save", str(file), "--json"]
    with subprocess.Popen(args, env=warm.environment, stdout=subprocess.PIPE, stderr=child) as process:
        os.close(child)
        shown, deadline = b"", time.monotonic() + 60
        while b"log growth" not in shown and time.monotonic() < deadline:
            if select.select([parent], [], [], 1)[0]:
                shown += os.read(parent, 4096)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                part = os.read(parent, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
        out = process.stdout.read()
        assert process.wait(timeout=60) == 130
    os.close(parent)
    (record,) = map(json.loads, out.splitlines())
    assert "partial" in record["notes"]
    assert 0 < record["trials"] < 1_000_000
    assert record["measured"]["log_growth"] is not None
    assert len(file.read_text().splitlines()) == record["trials"] + 1
    assert re.search(rb"\d+/1000000 log growth \S+ \+- \S+", shown)
    assert b"Traceback" not in shown


def test_interrupted_before_the_first_network(monkeypatch, call, tmp_path):
    honest = module.measure
    monkeypatch.setattr(module, "measure", lambda net, *_, **__: (module.Trials.empty(net.depth), False))
    for form in (("--json",), ("--csv",), (), ("--save", str(tmp_path / "run"))):
        done = call(*ARGS, "--max-growth", "10", *form)
        assert (done.code, done.out, done.err) == (130, "", "")
    record = verify(**SMALL)
    assert record.trials == 0
    assert record.measured.log_growth is record.verdict.agrees is None
    assert "partial" in record.notes
    monkeypatch.setattr(module, "measure", honest)
    (record,) = call(*ARGS, "--json", "--resume", str(tmp_path / "run")).records
    assert timeless(record) == timeless(verify(**SMALL))


def torchrun(*args):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, "-m", "snn_cli", *args], capture_output=True, text=True, check=False, timeout=120, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_two_processes_are_as_one(tmp_path):
    if not torch.distributed.is_available():
        pytest.skip("torch has no distributed package")
    file = tmp_path / "run"
    done = torchrun(*ARGS[:-1], "40", "--save", str(file), "--json")
    if done.returncode and "do not find each other" in done.stderr:
        pytest.skip(f"the processes may not talk to each other here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    (record,) = map(json.loads, done.stdout.splitlines())
    single = timeless(verify(**{**SMALL, "trials": 40}))
    assert list(timeless(record)) == list(single)
    for part in ("measured", "theory", "verdict", "profile"):
        for name, value in single[part].items():
            two, one = (np.array(each, dtype=float) for each in (record[part][name], value))  # nan for None
            np.testing.assert_allclose(two, one, rtol=1e-9, atol=1e-12, err_msg=f"{part} {name}")
    assert (record["trials"], record["notes"]) == (40, single["notes"])
    assert len(file.read_text().splitlines()) == 41


WORDS = st.sampled_from(
    """
    --act lselu selu relu tanh --epsilon 0.03 auto -1 nan --depth 3 0 --fanin 16 --widths 4,5x3 x --sigma-w 2 he
    --sigma-b .1 --q0 1e5 --weights orthogonal uniform --max-growth 3 --json --csv --no-profile --params - --zero-mean
    --batch 1 --trials 2 --seed 7 --dtype float16 float64 --device cpu auto --level .5 --memory 9MB 1KB --threads 1
    -q -v
    """.split()
)


@settings(max_examples=120)
@given(st.lists(WORDS, max_size=7))
def test_fuzz(words):
    from contextlib import redirect_stderr, redirect_stdout
    from unittest.mock import patch

    from snn_cli.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with patch("sys.stdin", None), redirect_stdout(out), redirect_stderr(err):
        code = main(["verify", "--depth", "4", "--fanin", "8", "--trials", "3", "--batch", "2", *words])
    assert code in (0, 1, 2, 3)
    assert "internal error" not in err.getvalue(), (words, err.getvalue())
    if code == 2:
        assert out.getvalue() == ""
    if "--json" in words and code in (0, 1):
        for line in out.getvalue().splitlines():
            json.loads(line, parse_constant=lambda name: pytest.fail(name))


def test_errors_of_the_function():
    for options in ({"trials": 0}, {"device": "tpu"}, {"dtype": "x"}, {"level": 2}, {"resume": "/nonexistent"}):
        with pytest.raises(SnnError) as caught:
            verify(**{**SMALL, **options})
        assert caught.value.exit_code == 2


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_cuda_agrees_with_theory(weights):
    record = verify("lselu", "0.03", depth=50, fanin=256, weights=weights, device="cuda")
    assert record.verdict.agrees
    assert record.device.startswith("cuda")
    again = verify("lselu", "0.03", depth=50, fanin=256, weights=weights, device="cuda")
    assert timeless(again) == timeless(record)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_without_memory_is_an_error(call):
    done = call("verify", "--device", "cuda", "--memory", "1MB")
    assert (done.code, done.out) == (3, "")


def test_spreads_are_without_bias():
    """Of few networks, over many seeds: a spread about their own mean would be a quarter too small."""
    size = {"depth": 10, "fanin": 64, "batch": 2, "trials": 4, "profile": False, "dtype": "float64"}
    found = [verify("lselu", "0.03", seed=seed, **size) for seed in range(150)]
    for measured, theory in (
        ([record.measured.q_variance for record in found], found[0].theory.q_variance),
        ([record.measured.log_growth_sd**2 for record in found], found[0].theory.log_growth_sd ** 2),
    ):
        error = np.std(measured, ddof=1) / math.sqrt(len(measured))
        assert abs(np.mean(measured) - theory) < 4 * error + 0.02 * theory
        assert 4 * error + 0.02 * theory < 0.25 * theory  # what dividing by the number of networks would miss


def test_what_is_checked_has_the_defaults_of_what_is_called():
    parameters = inspect.signature(verify).parameters
    public = {name: parameter.default for name, parameter in parameters.items()}
    assert {name: public[name] for name in DEFAULTS} == DEFAULTS
    of_simulate = inspect.signature(simulate).parameters.keys()
    of_running = {"tf32", "progress"}
    assert public.keys() - of_simulate - of_running == DEFAULTS.keys() - {"max_growth"}
