"""What a hint says to type, typed: the command then runs, or at least says something else."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from snn_cli.cli.group import cli

SIMULATE = "simulate --no-profile --depth 3"
VERIFY = "verify --depth 3 --fanin 8 --batch 2"
TRAIN = "train --depth 2 --fanin 8 --epochs 1 --seeds 1 --lr 0.01"

WORKS = [
    f"{SIMULATE} --act lselu --epsilon 2",
    f"{SIMULATE} --act dselu --epsilon 0.5",
    f"{SIMULATE} --act sselu --epsilon auto",
    f"{SIMULATE} --act lselu --epsilon 0.03 --lambda 1.5",
    f"{SIMULATE} --act gleu",
    f"{SIMULATE} --act selu --sigma-w hee",
    f"{SIMULATE} --act selu --sigma-w -1",
    f"{SIMULATE} --act selu --max-growth nan",
    f"{SIMULATE} --act selu --max-growth 0.5",
    f"{SIMULATE} --act selu --q0 1e300",
    f"{SIMULATE} --act selu --c0 2",
    f"{SIMULATE} --act selu --weight-mean 0.1",
    f"{SIMULATE} --act selu --fanin 8 --centralize --centralize-activation",
    f"{SIMULATE} --act selu --mixup 0",
    f"{SIMULATE} --act selu --weights gausian",
    f"{SIMULATE} --expr tanh(a*x) --set a=1e99",
    f"{SIMULATE} --act selu --json --csv",
    f"{SIMULATE} --set a=1 --act selu",
    "simulate --no-profile --act selu --widths 10,10 --fanin 10",
    "simulate --no-profile --model torch.nn:PReLU",
    "simulate --no-profile --model torch.nn:PRelu --input 3",
    "simulate --no-profile --model torch.nn:PReLU --input 3xx4",
    "simulate --no-profile --model torch.nn:PReLU --input 3 --act selu",
    "verify --model torch.nn:PReLU --input 3 --max-growth x",
    "verify --model torch.nn:PReLU --input 3 --trials 0 --batch 1",
    f"{VERIFY} --trials 2 --seed x",
    f"{VERIFY} --trials 2 --level 1",
    f"{VERIFY} --trials 2 --dtype float8",
    f"{VERIFY} --trials 2 --device tpu",
    f"{VERIFY} --trials 2 --act sselu --epsilon 1e-80",
    f"{VERIFY} --trials 2 --memory 4XB",
    f"{VERIFY} --trials 2 --max-growth 0",
    "verify --depth 2 --trials 2 --kernel 3",
    f"{VERIFY} --trials 2 --save .",
    f"{VERIFY} --trials 2 --resume .",
    "verify --architecture conv --depth 2 --channels 2 --image 4 --trials 2 --kernel x",
    "verify --architecture conv --depth 2 --channels 2 --image 4 --trials 2 --kernel 2",
    f"{VERIFY} --architecture conv --trials 2",
    f"{TRAIN} --act sselu --lambda 1e-90",
    f"{TRAIN} --act sselu --epsilon 1e-80",
    f"{TRAIN} --act lselu --epsilon 2",
    f"{TRAIN} --act lselu,lselu",
    f"{TRAIN} --act relu+mixpu",
    f"{TRAIN} --act relu+trainable",
    f"{TRAIN} --act relu --seed x",
    f"{TRAIN} --act relu --batch 5000",
    f"{TRAIN} --act relu --mixup-alpha 0",
    f"{TRAIN} --act relu --weight-decay -1",
    f"{TRAIN} --act relu --precision int8",
    f"{TRAIN} --act relu --image 9",
    f"{TRAIN} --act relu --checkpoint .",
    f"{TRAIN} --act relu --resume .",
    f"{TRAIN} --act relu --expr tanh(a*x) --set a=1e99",
]
"""The hint alone makes these run; exit code 1, where a check does not hold, is an answer too."""


def typed(command: str, hint: str) -> list[str]:
    """The command line as someone changes it who was told that: options replaced, left out or added."""
    name, *words = shlex.split(command)
    known = {each: option for option in cli.get_command(click.Context(cli), name).params for each in option.opts}
    left_out = re.fullmatch(r"leave out (--[\w-]+)", hint)
    if left_out:
        return [name, *without(words, known[left_out[1]])]
    told = shlex.split(hint)
    assert told[0] in known, hint
    for word in told:
        if word in known:
            words = without(words, known[word])
        if word in ("--save", "--checkpoint"):  # what begins a file, in the place of what goes on in one
            words = without(words, known["--resume"])
    return [name, *words, *told]


def without(words: list[str], option: click.Option) -> list[str]:
    found, skipped = [], 0
    for word in words:
        if word in option.opts:
            skipped = 1 if option.is_flag else 2
        if not skipped:
            found.append(word)
        skipped = max(0, skipped - 1)
    return found


@pytest.mark.parametrize("command", WORKS)
def test_what_the_hint_says_works(call, command, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    before = call(*shlex.split(command))
    assert before.code in (2, 3)
    hint = re.findall(r"^hint: (.+)$", before.err, re.MULTILINE)[0]
    for alternative in hint.split(", or "):
        after = call(*typed(command, alternative))
        assert after.code in (0, 1), f"{alternative}: {after.err}"
        assert "error:" not in after.err
