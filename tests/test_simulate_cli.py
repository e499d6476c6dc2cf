"""``snn simulate`` as a user and as a script meet it."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest
from conftest import run
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_cli import simulate
from snn_cli.records import Propagation

LSELU = ("simulate", "--act", "lselu", "--epsilon", "0.03")
KEYS = (
    "kind version act epsilon params depth fan_in weights sigma_w sigma_b widths q0 c0 weight_mean centralize "
    "centralize_activation mixup scaled_mixup fixed_point fixed_points covariance isometry finite gradient mean_path"
).split()


def test_record_has_the_names_of_the_contract(call):
    (record,) = call(*LSELU, "--depth", "20", "--fanin", "64", "--max-growth", "100", "--json").records
    assert list(record) == [*KEYS, "budget", "notes", "profile"]
    assert list(record["fixed_point"]) == ["q", "gamma", "stable", "depth_scale"]
    assert list(record["covariance"]) == ["fixed_point", "slope", "depth_scale"]
    assert list(record["isometry"]) == ["chi", "block_variance", "network_mean", "network_relative_variance"]
    assert list(record["finite"]) == ["drift", "variance", "q_mean", "q_variance"]
    assert list(record["gradient"]) == ["log_growth", "log_growth_sd", "typical_factor"]
    assert list(record["mean_path"]) == ["slope", "weight_mean_tolerance"]
    assert list(record["profile"]) == [
        "layer", "q", "q_mean", "q_sd", "mean", "chi", "correlation", "log_gradient", "log_gradient_sd",
    ]  # fmt: skip
    assert all(len(column) == 21 for column in record["profile"].values())
    assert record["profile"]["log_gradient"][-1] == 0
    assert record["profile"]["log_gradient"][0] == pytest.approx(record["gradient"]["log_growth"], rel=1e-12)


def test_record_is_that_of_the_function(call):
    (record,) = call(*LSELU, "--depth", "20", "--fanin", "64", "--json").records
    assert record == simulate("lselu", "0.03", depth=20, fanin=64).to_dict()
    assert Propagation.from_dict(record).to_dict() == record


def test_without_an_activation_four_are_compared(call):
    records = call("simulate", "--depth", "50", "--fanin", "256", "--no-profile", "--json").records
    assert [record["act"] for record in records] == ["selu", "lselu", "sselu", "relu"]
    assert [record["epsilon"] for record in records[1:]] == [0.02, 0.02, None]
    assert records[3]["sigma_w"] == 2**0.5
    assert records[3]["isometry"]["chi"] == pytest.approx(1, abs=1e-15)


def test_table_says_which_survives(call):
    text = call("simulate", "--depth", "200", "--fanin", "1024").out
    assert re.search(r"stays within a factor of 10 for lselu .*, sselu .* and relu .*; it does not for selu", text)
    assert "At depth 200 and fan-in 1024" in text
    assert "log10 |gradient|^2" in text
    assert "\x1b" not in text


def test_pipe_from_solve(warm):
    command = (
        "snn solve --act lselu,sselu --epsilon 0.01,0.02 --json | "
        "snn simulate --params - --depth 30 --fanin 128 --no-profile --json | "
        "snn simulate --params - --no-profile --json"
    )
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, env=warm.environment)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(r["act"], r["epsilon"]) for r in records] == [
        (act, epsilon) for act in ("lselu", "sselu") for epsilon in (0.01, 0.02)
    ]
    assert {(r["depth"], r["fan_in"]) for r in records} == {(30, 128)}
    assert records[0] == simulate("lselu", "0.01", depth=30, fanin=128, profile=False).to_dict()


def test_params_by_hand(call, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"act": "lselu", "params": {"lambda": 1, "alpha": 1.138, "beta": 0.394}}, indent=2))
    (record,) = call("simulate", "--params", str(file), "--depth", "10", "--no-profile", "--json").records
    assert record["params"] == {"lambda": 1.0, "alpha": 1.138, "beta": 0.394}
    assert record["epsilon"] == pytest.approx(0.03, abs=2e-4)


def test_csv_has_a_row_per_layer_or_per_record(call):
    sweep = ("--depth", "5,7", "--fanin", "64")
    rows = list(csv.DictReader(io.StringIO(call(*LSELU, *sweep, "--csv").out)))
    assert [int(row["layer"]) for row in rows] == [*range(6), *range(8)]
    assert {row["act"] for row in rows} == {"lselu"}
    rows = list(csv.DictReader(io.StringIO(call(*LSELU, *sweep, "--no-profile", "--csv").out)))
    assert [row["depth"] for row in rows] == ["5", "7"]
    assert float(rows[0]["gradient_log_growth"]) == simulate("lselu", "0.03", depth=5, fanin=64).gradient.log_growth


def test_sweep_gives_the_records_of_single_calls(call):
    args = ("--q0", "0.5,2", "--sigma-w", "0.9:1.1:3", "--fanin", "64:256:2", "--depth", "12")
    records = call(*LSELU, *args, "--no-profile", "--json").records
    assert [(r["q0"], r["sigma_w"], r["fan_in"]) for r in records] == [
        (q, w, n) for q in (0.5, 2.0) for w in (0.9, 1.0, 1.1) for n in (64, 256)
    ]
    for record in records:
        single = simulate(
            "lselu",
            "0.03",
            depth=12,
            q0=str(record["q0"]),
            sigma_w=str(record["sigma_w"]),
            fanin=record["fan_in"],
            profile=False,
        )
        assert record == single.to_dict()


def test_a_point_without_solution_is_one_error_line(call):
    done = call("simulate", "--act", "lselu", "--epsilon", "0.1,3,0.2", "--no-profile", "--json")
    assert done.code == 3
    assert [record["epsilon"] for record in done.records] == [0.1, 0.2]
    assert done.err.count("error:") == 1


def test_budget_decides_the_exit_code(call):
    inside = call("simulate", "--act", "lselu", "--depth", "50", "--max-growth", "10", "--json")
    assert (inside.code, inside.records[0]["budget"]["within"]) == (0, True)
    outside = call("simulate", "--act", "selu", "--depth", "100", "--fanin", "1024", "--max-growth", "100")
    assert outside.code == 1
    depth = int(re.search(r"selu would stay inside up to depth (\d+)", outside.out)[1])
    for at, code in ((depth, 0), (depth + 1, 1)):
        args = ("--depth", str(at), "--fanin", "1024", "--max-growth", "100", "--no-profile", "--json")
        assert call("simulate", "--act", "selu", *args).code == code


BAD = [
    "--depth 0", "--depth -1", "--depth 1.5", "--depth nan", "--depth 1e19", "--fanin 0", "--fanin x", "--widths 10",
    "--widths 10,0", "--widths 10x,3", "--widths 10,,3", "--widths 10,10 --depth 4", "--widths 10,10 --fanin 10",
    "--sigma-w nan", "--sigma-w -1", "--sigma-w 0", "--sigma-b -1", "--sigma-b inf", "--c0 2", "--c0 -1.01", "--q0 0",
    "--q0 -1", "--act foo", "--act relu --epsilon 0.1", "--act relu --lambda 1", "--weights gausian",
    "--unrestored", "--mixup 0", "--mixup -1", "--mixup .2 --scaled-mixup .3", "--max-growth 0.5", "--max-growth nan",
    "--json --csv", "--epsilon auto", "--epsilon -1", "--epsilon nan", "--weight-mean .1", "--weight-mean inf",
    "--centralize --centralize-activation", "--params /nonexistent", "--params . --json", "--params x --act lselu",
    "--plot x.foo", "--fanin 64 --plot-tolerance /no/such/x.svg", "--lambda 1 --zero-mean", "--depth 10:5:3",
    "--nonsense", "--act lselu --epsilon 0.1,-1 --json", "--act lselu --q0 1,0 --json",
]  # fmt: skip


@pytest.mark.parametrize("args", BAD)
def test_bad_input(call, args):
    done = call("simulate", *args.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") <= 2
    assert "Traceback" not in done.err


PARAMS = [
    b"", b"\xff\xfe\x00", b"hello", b"[]", b"{}", b"3", b'{"act": 3}', b'{"act": "lselu"}',
    b'{"act": "foo", "params": {}}', b'{"act": "lselu", "params": null}', b'{"act": "lselu", "params": [1, 2]}',
    b'{"act": "lselu", "params": {"lambda": 1}}',
    b'{"act": "lselu", "params": {"lambda": "1", "alpha": 1, "beta": 1}}', b'{"kind": "training", "act": "lselu"}',
    b'{"act": "lselu", "params": {"lambda": 1e999, "alpha": 1, "beta": 1}}', b'{"kind": "solution", "version": 2}',
    b'{"act": "lselu", "params": {"lambda": NaN, "alpha": 1, "beta": 1}}', b"[" * 100_000,
    b'{"act": "lselu", "params": {"lambda": 0, "alpha": 1, "beta": 1}}',
    b'{"act": "lselu", "params": {"lambda": 1, "alpha": 1, "beta": 1}, "fan_in": -4}',
    b'{"act": "lselu", "params": {"lambda": true, "alpha": 1, "beta": 1}}', b'{"act": "relu", "params": {"slope": 1}}',
]  # fmt: skip


@pytest.mark.parametrize("content", PARAMS, ids=lambda content: content[:40].decode("latin-1"))
def test_bad_params(call, tmp_path, content):
    file = tmp_path / "params.json"
    file.write_bytes(content)
    done = call("simulate", "--params", str(file), "--depth", "5")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")


@pytest.mark.parametrize("scale", ["1e55", "-3e40", "1e-50"])
def test_absurd_params_are_no_traceback(call, tmp_path, scale):
    file = tmp_path / "params.json"
    file.write_text(f'{{"act": "sselu", "params": {{"lambda": 1, "alpha": {scale}, "beta": {scale}}}}}')
    done = call("simulate", "--params", str(file), "--depth", "5", "--json")
    assert done.code in (0, 3)
    assert "internal" not in done.err


def test_overflow_is_an_honest_record(call):
    args = ("--act", "linear", "--sigma-w", "2", "--depth", "2000", "--fanin", "64")
    done = call("simulate", *args, "--json")
    (record,) = done.records
    assert done.code == 0
    assert {"overflow", "no-fixed-point"} <= set(record["notes"])
    assert record["profile"]["q"][-1] is None
    assert record["gradient"]["typical_factor"] is None
    assert record["gradient"]["log_growth"] == pytest.approx(2000 * (1.3862943611198906 - 1 / 64), rel=1e-9)
    assert "overflows on the way" in call("simulate", *args).out


def test_terminal_fits_its_width(warm):
    for columns in (60, 80, 200):
        parent, child = pty.openpty()
        env = {**warm.environment, "COLUMNS": str(columns), "LINES": "40", "TERM": "xterm", "NO_COLOR": "1"}
        args = ["snn", "simulate", "--depth", "50", "--fanin", "256"]
        with subprocess.Popen(args, stdout=child, stderr=subprocess.PIPE, env=env) as process:
            os.close(child)
            text = b""
            while True:
                try:
                    part = os.read(parent, 65536)
                except OSError:
                    break
                if not part:
                    break
                text += part
            assert process.wait() == 0
        os.close(parent)
        lines = text.decode().splitlines()
        assert max(map(len, lines)) <= columns, max(lines, key=len)
        assert "\x1b" not in text.decode()


def test_closed_pipe_and_interrupt_leave_whole_lines():
    args = [sys.executable, "-m", "snn_cli", *LSELU, "--fanin", "64:100000:3000", "--no-profile", "--json"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_simulate_is_light():
    code = (
        "import sys; from snn_cli.cli.main import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'sympy', 'scipy.optimize', 'matplotlib', 'rich'} & set(sys.modules);"
        "sys.exit(code or (99 if heavy else 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "simulate", "--depth", "50", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


WORDS = st.sampled_from(
    """
    --act lselu selu relu tanh --epsilon 0.03 auto -1 nan --depth 5 0 1e9 --fanin 64 --widths 4,5x3 x --sigma-w 2 he
    --sigma-b .1 --q0 1e5 --c0 -1 --weights orthogonal uniform truncated --unrestored --weight-mean .3 --centralize
    --mixup .2 --scaled-mixup --max-growth 3 --json --csv --no-profile --params - --zero-mean --lambda 1.2 1,2 1:3:2
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
        code = main(["simulate", "--depth", "4", *words])
    assert code in (0, 1, 2, 3)
    assert "internal error" not in err.getvalue(), (words, err.getvalue())
    if code == 2:
        assert out.getvalue() == ""
    if "--json" in words and code in (0, 1):
        for line in out.getvalue().splitlines():
            json.loads(line, parse_constant=lambda name: pytest.fail(name))


def test_help_names_every_option():
    text = run("simulate", "--help").out
    for option in (
        "--params",
        "--widths",
        "--weights",
        "--weight-mean",
        "--scaled-mixup",
        "--max-growth",
        "--no-profile",
    ):
        assert option in text
