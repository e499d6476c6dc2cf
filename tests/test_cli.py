"""The command line as a user and as a script meet it."""

# ruff: noqa: RUF001 - digits of other scripts

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import mpmath
import pages
import pytest
from conftest import ROOT, run
from hypothesis import given, settings
from hypothesis import strategies as st

import snn_cli
from snn_cli import solve
from snn_cli.cli.main import COMMANDS
from snn_cli.cli.output import Output, one_line

LSELU = ("solve", "--act", "lselu", "--epsilon", "0.03")


def test_one_record(snn):
    done = snn(*LSELU, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.records == [solve("lselu", "0.03").to_dict()]


def test_a_sweep_gives_the_records_of_single_calls(call):
    done = call("solve", "--act", "lselu,sselu", "--epsilon", "0.001:0.1:40:log", "--json")
    assert done.code == 0
    assert len(done.records) == 80
    for record in done.records[::7]:
        assert call("solve", "--act", record["act"], "--epsilon", repr(record["epsilon"]), "--json").records == [record]


def test_combinations_come_in_the_order_written(call):
    def order(*args):
        return [(r["act"], r["epsilon"]) for r in call("solve", *args, "--json").records]

    acts, epsilons = ("lselu", "sselu"), (0.01, 0.02)
    by_act = [(a, e) for a in acts for e in epsilons]
    assert order("--act", "lselu,sselu", "--epsilon", "0.01,0.02") == by_act
    assert order("--act", "lselu", "--epsilon", "0.01,0.02", "--act", "sselu") == by_act
    assert order("--epsilon", "0.01,0.02", "--act", "lselu,sselu") == [(a, e) for e in epsilons for a in acts]


def test_depth_fan_in_and_closures(call):
    (record,) = call("solve", "--act", "sselu", "--depth", "100", "--json").records
    assert (record["epsilon"], record["depth"], record["fan_in"]) == (0.01, 100, None)
    (record,) = call("solve", "--act", "lselu", "--epsilon", "auto", "--width", "1024", "--json").records
    assert abs(record["epsilon"] - 0.00098430) < 5e-9
    assert record["fan_in"] == 1024
    for option, closure in (
        ("--lambda=1.1", "lambda"),
        ("--lambda-min=0.9", "lambda_min"),
        ("--zero-mean", "zero_mean"),
    ):
        (record,) = call(*LSELU, option, "--json").records
        assert record["closure"] == closure
    depths = [r["depth"] for r in call("solve", "--act", "lselu", "--depth", "10:1000:5", "--json").records]
    assert depths == [10, 258, 505, 752, 1000]


def test_csv(call):
    done = call("solve", "--act", "selu,lselu", "--epsilon", "0.01,0.03", "--digits", "20", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == 4
    assert rows[0]["beta"] == ""
    for row in rows:
        s = solve(row["act"], row["epsilon"] if row["act"] != "selu" else None, digits=20)
        assert float(row["alpha"]) == s.params.alpha
        assert row["decimal_gamma"] == dict(s.decimals)["gamma"]
        assert (row["monotone"], row["feasible_lo_open"]) == ("true", "false")


def test_table_in_a_pipe_is_plain_and_complete(snn):
    done = snn(*LSELU)
    assert (done.code, done.err) == (0, "")
    assert done.out.isascii()
    assert "\x1b" not in done.out
    s = solve("lselu", "0.03")
    for value in (*s.params.values(), s.mean, s.gamma, s.kappa, s.multiplier, *s.feasible_epsilon):
        assert repr(value) in done.out
    assert "bound lambda >= 1 is active" in done.out
    assert done.out.count("*") > 20  # the drawing


def test_listing_in_a_pipe_shortens_nothing(call):
    done = call("solve", "--act", "lselu,selu", "--epsilon", "0.01:0.1:3")
    lines = done.out.splitlines()
    assert lines[0].split() == ["act", "epsilon", "lambda", "alpha", "beta", "mean", "gamma", "notes"]
    assert lines[1].split()[:7] == ["lselu", "0.01", "1.0", *(repr(x) for x in _row(solve("lselu", "0.01")))]
    assert lines[4].split()[4] == "-"


def _row(s):
    return s.params.alpha, s.params.beta, s.mean, s.gamma


def test_derived_numbers_in_a_pipe_are_whole(call):
    """Residuals, rates, factors and the sentences: as long as a double, and the powers right to the last digit."""
    s = solve("lselu", "0.03")
    out = call(*LSELU).out
    for value in (*s.residuals.values(), s.multiplier):
        assert repr(value) in out
    rows = {line[:21]: re.findall(r"x (\S+)", line) for line in out.splitlines()}
    with mpmath.workdps(50):
        for label, base in (("squared gradient norm", "1.03"), ("deviation of q from 1", repr(s.gamma))):
            assert [float(text) for text in rows[label]] == [float(mpmath.mpf(base) ** n) for n in (10, 100, 1000)]
        half = float(mpmath.log(0.5) / mpmath.log(mpmath.mpf(repr(s.gamma))))
    assert f"after {half!r} layers" in out
    assert "lambda >= 1.23456789012345 is active" in call(*LSELU, "--lambda-min", "1.23456789012345").out
    large = call("solve", "--act", "lselu", "--epsilon", "0.03", "--depth", "100000").out
    for label, base in (("squared gradient norm", "1.03"), ("deviation of q from 1", repr(s.gamma))):
        (text,) = re.findall(rf"{label} +x (\S+)", large)
        with mpmath.workdps(50):
            assert abs(mpmath.mpf(text) / mpmath.mpf(base) ** 100000 - 1) < 1e-16


def test_gamma_below_one_by_less_than_a_double(call):
    done = call("solve", "--act", "sselu", "--epsilon", "1e-40")
    assert solve("sselu", "1e-40").self_normalizing
    assert "not below 1" not in done.out
    assert "gamma is 1 to double precision" in done.out


def test_large_sizes_stay_apart(call):
    done = call("solve", "--act", "lselu", "--epsilon", "0.03", "--depth", "1000000000000000,10")
    assert [line.split()[:3] for line in done.out.splitlines()] == [
        ["act", "depth", "epsilon"],
        ["lselu", "1000000000000000", "0.03"],
        ["lselu", "10", "0.03"],
    ]


@pytest.mark.parametrize("option", [("--digits", "25"), ("--certify",), ("--digits", "25", "--certify")])
@pytest.mark.parametrize("style", [(), ("--explain",)])
def test_digits_and_proof_are_never_left_out(call, option, style):
    """In a sweep and beside an explanation too."""
    pytest.importorskip("flint")
    done = call("solve", "--act", "lselu", "--epsilon", "0.03,0.1", *option, *style)
    assert done.code == 0
    for epsilon in ("0.03", "0.1"):
        s = solve("lselu", epsilon, digits=25, certify=True)
        if "--digits" in option:
            assert f"  alpha         {dict(s.decimals)['alpha']}\n" in done.out
        if "--certify" in option:
            ends = dict(solve("lselu", epsilon, digits=25 if "--digits" in option else None, certify=True).enclosure)
            assert re.search(r"alpha +{} +{}\n".format(*map(re.escape, ends["alpha"])), done.out)
    titles = re.findall(r"^lselu.*epsilon = (\S+?):?(?: |$)", done.out, re.MULTILINE)
    assert titles == ["0.03", "0.1"]
    assert "\n\nlselu" in done.out


def test_one_digit(call):
    assert "\n1 significant digit\n" in call(*LSELU, "--digits", "1").out


def test_csv_holds_what_json_holds(call):
    pytest.importorskip("flint")
    request = ("solve", "--act", "lselu", "--epsilon", "auto", "--fanin", "64", "--digits", "30", "--certify")
    (record,) = call(*request, "--json").records
    (row,) = csv.DictReader(io.StringIO(call(*request, "--csv").out))
    for name, text in record["decimals"].items():
        assert row[f"decimal_{name}"] == text
    for name, ends in record["enclosure"].items():
        assert [row[f"{name}_lo"], row[f"{name}_hi"]] == ends
    assert {"epsilon", "multiplier"} <= set(record["enclosure"])


def test_digits_and_proof_in_the_table(call):
    pytest.importorskip("flint")
    done = call(*LSELU, "--digits", "30", "--certify")
    for name, text in solve("lselu", "0.03", digits=30).decimals:
        assert re.search(rf"^  {name} +{re.escape(text)}$", done.out, re.MULTILINE)
    assert "one solution, and only one" in done.out


def test_part_of_a_sweep_without_solution(call):
    """One error line for the point, the rest goes on, exit code 3."""
    done = call("solve", "--act", "lselu,dselu", "--epsilon", "0.1,0.5", "--json")
    assert done.code == 3
    assert [(r["act"], r["epsilon"]) for r in done.records] == [("lselu", 0.1), ("lselu", 0.5), ("dselu", 0.1)]
    assert done.err.count("\n") == 1
    assert done.err.startswith("error: dselu has no solution at epsilon = 0.5")
    assert "0 <= epsilon < 0.15976071634949918" in done.err


BAD = [
    (2, "solve"),
    (2, "solve --act lselu"),
    (2, "solve --epsilon 0.03"),
    (2, "solve --act lselu --epsilon -0.1"),
    (2, "solve --act lselu --epsilon nan"),
    (2, "solve --act lselu --epsilon inf"),
    (2, "solve --act lselu --epsilon abc"),
    (2, "solve --act lselu --epsilon ''"),
    (2, "solve --act lselu --epsilon"),
    (2, "solve --act lsleu --epsilon 0.03"),
    (2, "solve --act , --epsilon 0.03"),
    (3, "solve --act linear --epsilon 0.03"),
    (2, "solve --act lselu --epsilon 0.03 --lambda 1 --zero-mean"),
    (2, "solve --act lselu --epsilon 0.03 --lambda 1 --lambda-min 1"),
    (2, "solve --act lselu --epsilon 0.03 --lambda 0"),
    (2, "solve --act lselu --epsilon 0.03 --lambda-min -2"),
    (2, "solve --act selu --zero-mean"),
    (2, "solve --act lselu --epsilon auto"),
    (2, "solve --act lselu --depth 0"),
    (2, "solve --act lselu --depth -5"),
    (2, "solve --act lselu --depth 2.5"),
    (2, "solve --act lselu --epsilon auto --fanin 0"),
    (2, "solve --act lselu --epsilon 0.03 --digits 0"),
    (2, "solve --act lselu --epsilon 0.03 --digits 1e9"),
    (2, "solve --act lselu --epsilon 0.1:0.01:5"),
    (2, "solve --act lselu --epsilon 0.1:0.1:0"),
    (2, "solve --act lselu --epsilon 0.001:0.1:1000000000"),
    (2, "solve --act lselu --epsilon 0.001:0.1:50000 --lambda 0.5:1:50000"),
    (2, "solve --act lselu --epsilon 0.03 --json --csv"),
    (2, "solve --act lselu --epsilon 0.03 --explain --json"),
    (2, "solve --act lselu --epsilon 0.03 --explain=html"),
    (2, "solve --act lselu --epsilon 0.03 --plot /no/such/folder/x.svg"),
    (2, "solve --act lselu --epsilon 0.03 --plot x.gif"),
    (2, "solve --act lselu --epsilon 0.03 --explain=latex --digits 30"),
    (2, "solve --act lselu --epsilon 0.03,0.1 --explain=latex"),
    (2, "solve --act lselu --epsilon 0.03,-1"),
    (2, "solve --act lselu --epsilon 0.03,auto"),
    (2, "solve --act lselu,dselu --epsilon 0.03 --lambda 1"),
    (2, "solve --act lselu --epsilon 0.03 --lambda 1,0"),
    (2, "solve --act lselu --epsilon 0.03 --lambda-min 1,-1 --json"),
    (2, "solve --act selu,lselu --json"),
    (2, "solve --act lselu --epsilon 0.03,0.1,nan --csv"),
    (2, "solve --act lselu --epsilon １"),
    (2, "solve --act lselu --epsilon 1_000"),
    (2, "solve --act lselu --epsilon 0.03 --frobnicate"),
    (2, "solve --act lselu --epsilon 0.03 extra"),
    (2, "slove --act lselu"),
    (2, "--frobnicate"),
    (3, "solve --act lselu --epsilon 2"),
    (3, "solve --act sselu --epsilon 0"),
    (3, "solve --act dselu --epsilon 0.2"),
    (3, "solve --act lselu --epsilon 0.03 --lambda 1.5"),
    (3, "solve --act sselu --epsilon auto --fanin 2"),
]


@pytest.mark.parametrize(("code", "line"), BAD, ids=[line for _, line in BAD])
def test_bad_input(call, code, line):
    """What is wrong, then what to type instead; nothing on standard output."""
    done = call(*shlex.split(line))
    assert done.code == code
    assert done.out == ""
    lines = done.err.splitlines()
    assert [text.split(":")[0] for text in lines] == ["error", "hint"]
    assert "Traceback" not in done.err
    assert all(text.split(": ", 1)[1].strip() for text in lines)


def test_messages_help(call):
    assert call("slove").err.splitlines()[1] == "hint: snn solve"
    assert "--act lselu" in call("solve", "--act", "lsleu", "--epsilon", "1").err
    assert "0 <= epsilon <= 1.4295931339446557" in call("solve", "--act", "lselu", "--epsilon", "2").err
    hint = call("solve", "--act", "lselu", "--epsilon", "2").err.splitlines()[1].removeprefix("hint: ")
    for advice in hint.split(", or "):
        options = advice.split() if advice.startswith("--epsilon") else ["--epsilon", "2", *advice.split()]
        assert call("solve", "--act", "lselu", *options).code == 0


def test_hints_name_the_command_and_can_be_typed(call):
    def hint(*args):
        return call("solve", "--act", "lselu", *args).err.splitlines()[1].removeprefix("hint: ")

    for option in ("--epsilon", "--plot", "--digits"):
        assert hint(option) == "snn solve --help"
    assert call("--frobnicate").err.splitlines()[1] == "hint: snn --help"
    assert hint("--epsilon", "0.03", "--json", "--csv") == "leave out --csv"
    assert hint("--epsilon", "1", "--lambda", "1", "--zero-mean") == "leave out --zero-mean"
    assert hint("--epsilon", "0.03,0.1", "--explain=latex") == "--explain"
    assert hint("--epsilon", "0.1:1:400", "--lambda", "0.1:1:900") == "--lambda 0.001:0.1:40:log"
    assert hint("--fanin", "1:100000:90000", "--epsilon", "auto,0.1") == "--fanin 10:1000:20"
    assert hint("--epsilon", "0.03", "--digits", "0") == "--digits 50"
    assert hint("--epsilon", "2", "--lambda", "1.5") == "--lambda 0.5"
    for typed in ("-0.03", "-1e-50"):
        assert f"--epsilon is {typed};" in call("solve", "--act", "lselu", f"--epsilon={typed}").err


def test_bad_input_comes_before_what_is_missing(call, monkeypatch, tmp_path):
    for name in ("flint", "matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "old.svg").write_text("mine")
    for epsilon, code, message in (("-1", 2, "at least 0"), ("0.03", 3, "which is not installed")):
        for option in (("--certify",), ("--plot", str(tmp_path / "new.svg"))):
            done = call("solve", "--act", "lselu", f"--epsilon={epsilon}", *option)
            assert (done.code, done.out) == (code, "")
            assert message in done.err
    assert "at least 0" in call("solve", "--act", "lselu", "--epsilon=-1", "--plot", str(tmp_path / "old.svg")).err


def test_certify_at_an_end_says_so(call):
    pytest.importorskip("flint")
    for act in ("lselu", "dselu"):
        done = call("solve", "--act", act, "--epsilon", "0", "--certify")
        assert done.code == 3
        assert "hint: leave out --certify, or take an epsilon between the ends of the feasible range" in done.err


def test_help_and_version(snn):
    for args in ([], ["--help"], ["-h"]):
        done = snn(*args)
        assert (done.code, done.err) == (0, "")
        assert "solve" in done.out
    assert snn("--version").out.strip().endswith(snn_cli.__version__)
    assert "[default: 1]" in snn("solve", "--help").out


@pytest.mark.parametrize("args", [(), *((name,) for name in COMMANDS)], ids=lambda args: " ".join(("snn", *args)))
def test_help_fits_eighty_columns(call, monkeypatch, args):
    """Examples too, which are printed as they stand."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = call(*args, "--help").out.splitlines()
    assert len(lines) > 15
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_of_the_help_run_as_printed(warm, call, name):
    text = call(name, "--help").out
    assert len(text.splitlines()) < 90
    examples = re.findall(r"^ +snn (.+)$", text.split("Examples:")[1].split("Options:")[0], re.MULTILINE)
    assert 2 <= len(examples) <= 3
    for line in examples:
        done = pages.shell(f"set -o pipefail; snn {line}", env=warm.environment)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    source = run(env={"_SNN_COMPLETE": f"{shell}_source"})
    assert source.code == 0
    assert "_SNN_COMPLETE" in source.out
    env = {"_SNN_COMPLETE": f"{shell}_complete", "COMP_WORDS": "snn solve --act lselu,s", "COMP_CWORD": "3"}
    if shell == "fish":
        env["COMP_CWORD"] = "lselu,s"
    done = run(env=env)
    assert "lselu,sselu" in done.out
    assert done.code == 0


@pytest.mark.parametrize(
    ("words", "count", "offered"),
    [
        ("snn solve --plot h", 3, "file,h"),
        ("snn solve --explain =", 3, "plain,latex"),
        ("snn solve --explain la", 3, "plain,latex"),
        ("snn train --architecture conv-", 3, "plain,conv-mobilenet-v1"),
        ("snn train --data cifar100", 3, "plain,cifar100"),
        ("snn analyze --weights o", 3, "plain,orthogonal"),
    ],
)
def test_completion_of_values(words, count, offered):
    done = run(env={"_SNN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)})
    assert (done.code, done.out.split()) == (0, [offered])


def test_closed_pipe():
    """``snn ... | head -1``: exit code 141, and nothing is printed about it."""
    command = f"{shlex.quote(sys.executable)} -m snn_cli solve --act lselu --epsilon 0.001:1:300 --json"
    script = f"{command} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert json.loads(lines[0])["kind"] == "solution"
    assert lines[1:] == ["141"]
    assert done.stderr == ""


def shell(script, folder):
    """Run a line of bash in which ``snn`` is the command."""
    start = f'snn() {{ {shlex.quote(sys.executable)} -m snn_cli "$@"; }}; '
    return subprocess.run(["bash", "-c", start + script], cwd=folder, capture_output=True, text=True, timeout=60)


FULL = "ulimit -f 0; "
"""No file may grow from here on, as on a full disk."""


@pytest.mark.parametrize(
    ("script", "code", "err"),
    [
        (f"{FULL} snn {' '.join(LSELU)} > out", 3, "error: cannot write the results: File too large\n"),
        (f"{FULL} snn --help > out", 3, "error: cannot write the results: File too large\n"),
        (f"snn {' '.join(LSELU)} --json >&-", 3, "error: cannot write the results: Bad file descriptor\n"),
        ("snn >&-", 3, "error: cannot write the results: Bad file descriptor\n"),
        ("snn --help >&-", 3, "error: cannot write the results: Bad file descriptor\n"),
        ("snn --version >&-", 3, "error: cannot write the results: Bad file descriptor\n"),
        ("snn solve --help >&-", 3, "error: cannot write the results: Bad file descriptor\n"),
        (f"snn {' '.join(LSELU)} >&- 2>&-", 3, ""),
        (f"{FULL} snn {' '.join(LSELU)} > out 2> err", 3, ""),
    ],
)
def test_results_that_cannot_be_written(script, code, err, tmp_path):
    done = shell(script, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", err)


@pytest.mark.parametrize("redirect", ["2>&-", "2> err"])
@pytest.mark.parametrize(
    ("args", "code", "records"),
    [
        ("--epsilon 0.03", 0, 1),
        ("--epsilon 0.03 -v", 0, 1),
        ("--epsilon -3", 2, 0),
        ("--epsilon 7", 3, 0),
        ("--epsilon 0.03,7,0.1", 3, 2),
        ("--epsilon 0.03 --frobnicate", 2, 0),
    ],
)
def test_messages_that_cannot_be_written(args, code, records, redirect, tmp_path):
    """They get lost; results, exit code and standard output stay as they are."""
    done = shell(f"{FULL} snn solve --act lselu {args} --json {redirect}", tmp_path)
    assert (done.returncode, done.stderr) == (code, "")
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == records


def test_interrupt_leaves_whole_lines():
    command = [sys.executable, "-m", "snn_cli", "solve", "--act", "sselu", "--epsilon", "0.001:1:5000", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    text = first + out
    assert text.endswith("\n")
    records = [json.loads(line) for line in text.splitlines()]
    assert 1 <= len(records) < 5000


def test_interrupt_while_the_reader_is_slow():
    """A record longer than Python's buffer and the pipe is full: it is written whole nevertheless."""
    command = [sys.executable, "-m", "snn_cli", "solve", "--act", "lselu", "--epsilon", "0.001:1:300:log", "--json"]
    process = subprocess.Popen([*command, "--digits", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    time.sleep(3)  # it fills the pipe and waits
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in err
    records = [json.loads(line) for line in out.decode().splitlines()]
    assert out.endswith(b"\n")
    assert 1 <= len(records) < 300
    assert min(map(len, out.splitlines())) > 8192


@pytest.mark.parametrize("module", ["click", "snn_cli.cli.group", "mpmath"])
def test_interrupt_while_loading(module):
    code = f"""
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
sys.argv = ["snn", *{LSELU!r}]
from snn_cli.cli.main import run
from snn_cli.cli.output import Output
run()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("a\udcc3\udca9b", "a\u00e9b"),
        (repr("a\udcc3\udca9b"), "'a\u00e9b'"),
        ("\udce9", r"\xe9"),
        ("\udcc2\udc85", r"\x85"),
        ("\u00e9\n", "\u00e9\\n"),
    ],
)
def test_letters_of_another_encoding_are_legible(typed, shown):
    """Bytes that Python could not decode: letters in UTF-8, a byte that is none, and one that moves the cursor."""
    assert one_line(typed) == shown


def test_a_letter_of_utf8_in_a_locale_of_ascii():
    command = [sys.executable, "-m", "snn_cli", "solve", "--expr", "2*\u00e9", "--epsilon", "0.1"]
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=env)
    assert done.returncode == 2
    assert "column 3: '\u00e9' is not of the grammar, in '2*\u00e9'" in done.stderr.decode()


@pytest.mark.parametrize(
    "line",
    [
        "export --to c --act selu -o", "solve --act lselu --epsilon 0.1 --plot", "analyze --params",
        "simulate --plot-tolerance", "verify --save", "verify --resume", "train --metrics", "train --checkpoint",
    ],
)  # fmt: skip
def test_an_empty_name_of_a_file(call, line):
    """Before anything is computed, and by the name of the option."""
    done = call(*line.split(), "")
    option = line.split()[-1].replace("-o", "--output") if line.endswith("-o") else line.split()[-1]
    expected = f"error: {option} is empty; it takes the name of a file\nhint: {option} FILE, or leave it out\n"
    assert (done.code, done.out, done.err) == (2, "", expected)


def test_an_integer_that_python_does_not_read(call, tmp_path):
    long = "1" * 6000
    one = '{"act": "lselu", "params": {"lambda": 1, "alpha": 1.1, "beta": 0.4}}'
    file = tmp_path / "params.json"
    for text, where in (
        (one.replace("1.1", long), ""),
        (one.replace("1.1", f"-{long}").replace(",", ",\n"), ""),
        (f"{one}\n{one.replace('1.1', long)}", ", line 2,"),
    ):
        file.write_text(text)
        done = call("analyze", "--params", str(file))
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(
            f"error: --params {file}{where} has an integer of 6000 digits; at most 640 are read\n"
        )


def test_a_defect_is_one_line(call, monkeypatch):
    monkeypatch.setattr("snn_cli.solver.solve", lambda **_: 1 / 0)
    done = call(*LSELU)
    assert done.code == 3
    assert done.err.startswith("error: internal error: ZeroDivisionError")
    assert "Traceback" not in done.err


def in_terminal(args, columns=100, env=None, command=(sys.executable, "-m", "snn_cli")):
    """Run in a pseudo-terminal of that width; what a person would see."""
    import fcntl
    import pty
    import struct
    import termios

    pid, descriptor = pty.fork()
    if pid == 0:
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        time.sleep(0.2)  # until the parent has set the width
        os.execvpe(command[0], [*command, *args], {**inherited, "TERM": "xterm-256color", **(env or {})})
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    shown = b""
    while True:
        try:
            block = os.read(descriptor, 65536)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.waitpid(pid, 0)
    os.close(descriptor)
    return shown.decode().replace("\r\n", "\n")


pytestmark_terminal = pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")


@pytestmark_terminal
def test_terminal_has_bold_and_braille():
    shown = in_terminal(LSELU, env={"PYTHONIOENCODING": "utf-8", "NO_COLOR": ""})
    assert "\x1b[1mlselu" in shown
    assert any(0x2800 < ord(c) <= 0x28FF for c in shown)


@pytestmark_terminal
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_color_is_honoured(env):
    shown = in_terminal(LSELU, env=env)
    assert "\x1b" not in shown
    assert repr(solve("lselu", "0.03").gamma) in shown


@pytestmark_terminal
@pytest.mark.parametrize("columns", [20, 60, 80, 200])
def test_any_width(columns):
    shown = in_terminal(LSELU, columns=columns, env={"NO_COLOR": "1", "PYTHONIOENCODING": "ascii"})
    assert shown.isascii()
    assert "0.8472989904450899" in shown
    drawing = [line for line in shown.splitlines() if "f(x), x -4..4" in line]
    assert len(drawing) == (1 if columns >= 60 else 0)
    assert all(len(line) <= max(columns, 28) for line in drawing)


@pytestmark_terminal
def test_listing_fits_a_terminal():
    shown = in_terminal(["solve", "--act", "lselu", "--epsilon", "0.01:0.1:5"], env={"NO_COLOR": "1"})
    assert max(map(len, shown.splitlines())) <= 100


WORST = ["--act", "lselu,sselu", "--epsilon", "auto", "--fanin", "14,1024"]


@pytestmark_terminal
@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100])
@pytest.mark.parametrize(
    "args",
    [WORST, ["--act", "lselu", "--epsilon", "0.1", "--digits", "20"], ["--act", "selu,dselu", "--depth", "10:1000:3"]],
    ids=["listing", "digits", "sizes"],
)
def test_everything_fits_the_width(args, columns):
    """Down to 40 columns; at 20 a number or a label may be longer than that."""
    shown = in_terminal(["solve", *args], columns=columns, env={"NO_COLOR": "1", "PYTHONIOENCODING": "ascii"})
    assert max(map(len, shown.splitlines())) <= max(columns, 28)
    words = shown.split()
    if args is WORST:
        assert words.count("finite-width-extrapolated") == 2
        assert len(re.findall(r"^lselu|^sselu", shown, re.MULTILINE)) == 4
    if "--digits" in args:
        assert set(dict(solve("lselu", "0.1", digits=20).decimals).values()) <= set(words)


FORMULA = ["analyze", "--expr", "where(x > 0, x, a*(exp(x) - 1)) + b*tanh(x)", "--set", "a=1.2,1.3", "--set", "b=0.1"]
COMPARED = ["simulate", "--depth", "8", "--fanin", "64", "--no-profile"]
SWEPT = ["simulate", "--act", "lselu", "--depth", "10:200:8", "--fanin", "64", "--no-profile"]


@pytestmark_terminal
@pytest.mark.parametrize(
    ("args", "columns", "kept"),
    [
        (["analyze", "--act", "selu,relu,gelu"], 80, ("0.782648", "1.41421", "0.455851")),
        (FORMULA, 20, ("0.810561", "1.10853", "a = 1.3")),
        (COMPARED, 20, ("gamma 0.782648", "tolerance (deviations) 0.126874")),
        (SWEPT, 60, ("finite-width-extrapolated", "lselu depth 200")),
    ],
    ids=["analyze", "formula", "compared", "swept"],
)
def test_tables_of_every_command_fit_the_width(args, columns, kept, warm):
    """Nothing is left out; what is longer than the line stands on a line of its own, and is not broken."""
    env = {"NO_COLOR": "1", "PYTHONIOENCODING": "ascii", "PATH": warm.environment["PATH"]}
    shown = in_terminal(args, columns=columns, env=env, command=("snn",))
    lines = shown.splitlines()
    assert max(map(len, lines)) <= max(columns, 36)
    assert len(lines) < 120
    assert all(text in " ".join(shown.split()) for text in kept)


@pytestmark_terminal
def test_columns_of_the_environment_go_before_the_terminal():
    args = ["solve", "--act", "lselu,sselu", "--epsilon", "0.01,0.1"]
    shown = [in_terminal(args, columns=columns, env={"NO_COLOR": "1", "COLUMNS": "60"}) for columns in (60, 100)]
    assert shown[0] == shown[1]
    assert 0 < max(map(len, shown[0].splitlines())) <= 60


@pytestmark_terminal
def test_messages_do_not_share_a_line_with_the_counter(tmp_path):
    import pty
    import tty

    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    command = [sys.executable, "-m", "snn_cli", "solve", "--act", "lselu", "--epsilon", "0.1,7,0.2,8,0.3", "--json"]
    with open(tmp_path / "out", "w") as out:
        code = subprocess.run(command, stdout=out, stderr=theirs, timeout=60).returncode
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert code == 3
    assert shown.count("/5") >= 2
    lines = [re.split(r"\r\x1b\[K", line)[-1] for line in shown.split("\n")]
    assert [line.startswith("error: lselu has no solution") for line in lines] == [True, True, False]
    assert lines[-1] == ""


def test_verbose_and_quiet(snn):
    assert re.fullmatch(r"lselu epsilon=0\.03: solved in [\d.]+ ms\n", snn(*LSELU, "--json", "-v").err)
    assert snn(*LSELU, "--json", "-q").err == ""


def test_without_optimization_of_asserts():
    done = subprocess.run(
        [sys.executable, "-O", "-m", "snn_cli", *LSELU, "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == solve("lselu", "0.03").to_dict()


values = st.one_of(
    st.sampled_from(
        "0 1 0.03 -1 nan inf auto 1e-12 1e6 1e-300 1e300 1e301 1:2:3 0.1:0.01:3 0.01:0.1:3:log 1e999 0x1 ,, ٣ 1_0 "
        "1:2:1000000000 0.3,0.4 ' --json lselu selu,sselu sselu dselu 1/3 1:: ::: 1e1000000000 \x00 \ud800".split(" ")
    ),
    st.text(max_size=6),
    st.floats().map(repr),
    st.integers(-5, 10**20).map(str),
)
options = st.sampled_from(
    "--act --epsilon --depth --fanin --width --lambda --lambda-min --zero-mean --digits --json --csv --quiet -v".split()
)


@settings(max_examples=400)
@given(
    st.lists(
        st.sampled_from([("--act", "lselu"), ("--act", "sselu,dselu"), ("--epsilon", "0.1"), ("--json",)]), max_size=3
    ),
    st.lists(st.tuples(options, values) | st.tuples(options) | st.tuples(values), max_size=4),
)
def test_fuzz(usual, odd):
    """No traceback, no other exit code, whole lines only, and an error says so on standard error."""
    from contextlib import redirect_stderr, redirect_stdout

    from snn_cli.cli.main import main

    args = [text for part in (*usual, *odd) for text in part]
    if any(re.fullmatch(r"\d{4,}(\.0)?|1e[36]", text) for text in args) and "--digits" in args:
        return  # thousands of digits are slow, not wrong
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["solve", *args])
    assert code in (0, 2, 3), args
    assert "Traceback" not in err.getvalue()
    assert "internal error" not in err.getvalue(), (args, err.getvalue())
    if code:
        assert err.getvalue().startswith("error: "), args
    if code == 2:
        assert out.getvalue() == ""
    if code == 0 and "--json" in args and "--help" not in args:
        for line in out.getvalue().splitlines():
            record = json.loads(line, parse_constant=lambda name: pytest.fail(name))
            assert record["kind"] == "solution"


EXAMPLES = sorted((ROOT / "examples").glob("*.sh")) + sorted(
    path
    for path in (ROOT / "examples").glob("*.py")
    if path.name not in ("own_model.py", "spirals.py")  # a model, which verify.sh reads, and what scripts import
)


STEPS = {"convert_model.py": 10, "train.py": 100}
"""Of those that train: as many as it takes to print everything once."""

RUN = """
import runpy, sys
from pathlib import Path
script, steps = Path(sys.argv[1]), int(sys.argv[2])
sys.path.insert(0, str(script.parent))
if steps:
    import spirals
    training = spirals.training
    spirals.training = lambda model, _: training(model, steps)
sys.argv[:] = [str(script)]
runpy.run_path(str(script), run_name="__main__")
"""


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(script, warm):
    if script.suffix == ".py":
        pytest.importorskip("torch")
        command = [warm.python, "-c", RUN, str(script), str(STEPS.get(script.name, 0))]
    else:
        command = ["bash", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=warm.environment, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_modules_of_the_command_line_import_each_other_in_one_direction():
    """Whatever is imported anywhere in a file, except for type checking: there is an order in which all go down."""
    from graphlib import TopologicalSorter

    from test_layers import imports

    folder = Path(snn_cli.__file__).parent / "cli"
    found = {f"snn_cli.cli.{path.stem}": set(imports(path)) for path in folder.glob("*.py")}
    graph = {name: names & found.keys() for name, names in found.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("snn_cli.cli.exits") < order.index("snn_cli.cli.solve")
    assert order.index("snn_cli.cli.group") < order.index("snn_cli.cli.main")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_running_count_gives_way_and_fits(monkeypatch):
    """A count never stands before a result, and never wraps, which would leave a rest of it on the screen."""
    monkeypatch.setenv("COLUMNS", "20")
    both = Terminal()
    output = Output(both, both)
    output.count("x" * 50)
    output.write("row")
    output.write("row")
    assert both.getvalue() == f"\r\x1b[K{'x' * 19}\r\x1b[Krow\nrow\n"
