"""Command lines and files at random, run in this process, and what must hold of each whatever it says.

``tests/test_fuzz.py`` runs some hundreds, ``python -m benchmarks.fuzz`` as many as asked for.
"""

# ruff: noqa: RUF001 - digits of other scripts

from __future__ import annotations

import contextlib
import copy
import csv
import gzip
import hashlib
import io
import json
import math
import os
import re
import signal
import struct
import sys
import time
import warnings
import zlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from hypothesis import strategies as st

from snn_cli.cli.main import COMMANDS, main

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CODES = (0, 1, 2, 3, 130, 141)
"""The contract's exit codes."""

SECONDS = 10.0
"""Of the processor, all threads together, that a command line of these may take; none needs a third of it."""

KINDS = ("traceback", "hang", "exit code", "message", "partial line", "file")
"""What can be wrong with a case."""


@dataclass(frozen=True)
class Case:
    """A command line, and what comes on standard input."""

    argv: tuple[str, ...]
    stdin: bytes = b""


@dataclass(frozen=True)
class Outcome:
    """How a case ended; ``code`` is None where it was stopped, or an exception left ``main``."""

    code: int | None
    out: bytes
    err: str
    raised: str
    seconds: float


# --- running one ------------------------------------------------------------------------------------------------------


class Hang(BaseException):
    """The case has taken longer than it may."""


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raises Hang after that time of the processor, or ten times as long on the clock."""

    def stop(*_: Any) -> None:
        raise Hang

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, 10 * seconds))
    before = [signal.signal(number, stop) for _, number, _ in timers]
    try:
        for timer, _, limit in timers:
            signal.setitimer(timer, limit)
        yield
    finally:
        for timer, _, _ in timers:
            signal.setitimer(timer, 0)
        for (_, number, _), handler in zip(timers, before, strict=True):
            signal.signal(number, handler)


def execute(case: Case, seconds: float = SECONDS) -> Outcome:
    """The command line in this process, warnings being errors, with streams that encode as a process's do."""
    streams = {
        "stdin": io.TextIOWrapper(io.BytesIO(case.stdin), encoding="utf-8"),
        "stdout": io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True),
        "stderr": io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True),
    }
    kept = {name: getattr(sys, name) for name in streams}
    code, raised, start = None, "", time.process_time()
    try:
        vars(sys).update(streams)
        with warnings.catch_warnings(), _limited(seconds):
            warnings.simplefilter("error")
            code = main(list(case.argv))
    except Hang:
        raised = "Hang"
    except BaseException as error:  # nothing may leave main
        raised = f"{type(error).__name__}: {error}"
    finally:
        took = time.process_time() - start
        vars(sys).update(kept)
    out, err = (streams[name].buffer.getvalue() for name in ("stdout", "stderr"))
    return Outcome(code, out, err.decode(), raised, took)


# --- what must hold ---------------------------------------------------------------------------------------------------

_FAILED = re.compile(r"(?:error: \S[^\n]*\n(?:hint: \S[^\n]*\n)?)+")
_ONE_ERROR = re.compile(r"error: \S[^\n]*\n(?:hint: \S[^\n]*\n)?")


def problems(case: Case, outcome: Outcome) -> list[tuple[str, str]]:
    """What is wrong with it: pairs of one of ``KINDS`` and a sentence."""
    if outcome.raised:
        return [("hang" if outcome.raised == "Hang" else "traceback", outcome.raised)]
    found = []
    if "Traceback" in outcome.err or "internal error" in outcome.err:
        found.append(("traceback", outcome.err))
    if outcome.code not in CODES:
        found.append(("exit code", repr(outcome.code)))
    return [*found, *_messages(case, outcome), *_lines(case, outcome)]


def _messages(case: Case, outcome: Outcome) -> Iterator[tuple[str, str]]:
    talks = any(word == "--verbose" or re.fullmatch("-[a-z]*v[a-z]*", word) for word in case.argv)
    if outcome.code in (0, 1):
        if "error:" in outcome.err or (outcome.err and not talks):
            yield "message", f"it succeeds, and says {outcome.err!r}"
        return
    text = outcome.err
    if talks:  # and then fails: the messages before
        text = text[text.find("error: ") :] if "error: " in text else text
        text = "".join(line for line in text.splitlines(keepends=True) if line.startswith(("error:", "hint:")))
    if outcome.code in (2, 3) and not _FAILED.fullmatch(text):
        yield "message", f"not in the form of an error: {outcome.err!r}"
    if outcome.code == 2:
        if not _ONE_ERROR.fullmatch(text):
            yield "message", f"more than one error: {outcome.err!r}"
        if outcome.out:
            yield "exit code", "2, after something was printed"


def _lines(case: Case, outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Whole lines: JSON objects with a kind, or rows as long as the header."""
    if not outcome.out:
        return
    try:
        text = outcome.out.decode()
    except UnicodeDecodeError as error:
        yield "partial line", str(error)
        return
    if not text.endswith("\n"):
        yield "partial line", repr(text[-80:])
    if {"-h", "--help", "--version"} & set(case.argv) or case.argv[:1] == ("export",):
        return
    lines = text.split("\n")[:-1]
    if "--json" in case.argv or text.startswith("{"):
        for line in lines:
            try:
                record = json.loads(line, parse_constant=_constant)
                assert record["version"] == 1
                assert isinstance(record["kind"], str)
            except (ValueError, KeyError, TypeError, AssertionError) as error:
                yield "partial line", f"{error!r}: {line[:80]!r}"
                return
    elif "--csv" in case.argv:
        lengths = {len(row) for row in csv.reader(io.StringIO(text))}
        if len(lengths) != 1 or min(lengths) < 5:
            yield "partial line", f"rows of {sorted(lengths)} cells"


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# --- a folder to run in -----------------------------------------------------------------------------------------------

OWN_MODEL = """
import torch

def net():
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.SELU(), torch.nn.Linear(4, 2))

def broken():
    raise RuntimeError("no such luck")

def nothing():
    return None
"""

WRITING = ("plot", "plot_tolerance", "output", "save", "resume", "checkpoint", "metrics")
"""Options that name a file to be written."""

MINE = ("old.svg", "old.json", "old.txt")
"""Files that the user has, and that nothing may change unasked."""


class Sandbox:
    """A folder that a case runs in: what may be there afterwards is what was there, and what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "own.py").write_text(OWN_MODEL)
        for name in MINE:
            (folder / name).write_text("mine\n")
        (folder / "folder").mkdir()
        (folder / "empty").write_bytes(b"")
        (folder / "lselu.json").write_bytes(records()[0])
        _photos(folder / "photos")
        _photos(folder / "torn")
        (folder / "torn" / "train" / "dogs" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
        self._before = self._files()

    def _files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    def put(self, name: str, content: bytes) -> None:
        """A file of the next case's own."""
        (self.folder / name).write_bytes(content)
        self._before = self._files()

    def problems(self, case: Case) -> list[tuple[str, str]]:
        """What the case wrote or changed unasked; the folder is then as it was."""
        asked = {os.path.normpath(value.partition("=")[2] or value) for value in case.argv if "\0" not in value}
        forced = "--force" in case.argv
        found = []
        after = self._files()
        for name, digest in after.items():
            if name not in self._before:
                if os.path.normpath(name) not in asked:
                    found.append(("file", f"{name} was written unasked"))
                (self.folder / name).unlink()
            elif digest != self._before[name]:
                if name in MINE and not (forced and name in asked):
                    found.append(("file", f"{name} was overwritten unasked"))
                if name in MINE:
                    (self.folder / name).write_text("mine\n")
        found.extend(("file", f"{name} is gone") for name in self._before.keys() - after.keys())
        return found


def _photos(folder: Path) -> None:
    """Two classes of six small pictures to train on, and as many to test on."""
    for part, (number, label) in product(("train", "val"), enumerate(("cats", "dogs"))):
        (folder / part / label).mkdir(parents=True)
        for i in range(6):
            picture = _png(bytes((37 * i + 11 * j + 90 * number) % 256 for j in range(48)))
            (folder / part / label / f"{i}.png").write_bytes(picture)


def _png(pixels: bytes, side: int = 4) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + pixels[3 * side * y : 3 * side * (y + 1)] for y in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# --- command lines ----------------------------------------------------------------------------------------------------

BASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "solve": ((), ("--act", "lselu", "--epsilon", "0.03"), ("--act", "sselu,dselu", "--depth", "20")),
    "simulate": (("--depth", "3"), ("--act", "lselu", "--depth", "4", "--fanin", "8"), ("--widths", "4,6x3,2")),
    "verify": (
        ("--depth", "2", "--fanin", "4", "--trials", "2", "--batch", "2", "--threads", "1"),
        ("--architecture", "conv", "--channels", "2", "--image", "4", "--depth", "2", "--trials", "2", "--batch", "1"),
        tuple("--architecture conv-mobilenet-v1 --image 32 --width-multiplier 0.02 --trials 2 --batch 1".split()),
        ("--model", "own:net", "--input", "4", "--trials", "2"),
    ),
    "train": (
        ("--depth", "2", "--width", "4", "--epochs", "1", "--seeds", "1", "--lr", "0.01", "--act", "lselu"),
        tuple(
            "--depth 1 --width 2 --epochs 1 --seeds 1 --lr 0.01 --act relu --architecture conv --data folder "
            "--data-dir photos --image 4 --batch 2".split()
        ),
    ),
    "analyze": (("--act", "lselu"), ("--act", "gelu,selu"), ("--depth", "5", "--act", "tanh", "--fanin", "16")),
    "export": (("--to", "c", "--act", "lselu", "--epsilon", "0.1"), ("--to", "numpy"), ("--act", "selu")),
}
"""What a command line begins with, so that a success is a matter of a fraction of a second; later options override."""

ABSURD = (
    "", " ", "nan", "-nan", "inf", "-inf", "1e400", "-1e400", "1e-400", "1e1000000000", "-1", "-0", "0", "0x1", "1/3",
    "1_0", "٣", "１", "½", "∞", "auto", "he", "true", "None", "--", "-", "--json", "-h", ",", ",,", ":", ":::", "1:",
    "1:2:3:4:5", "1:2:1000000000", "0.1:0.01:3", "0:1:3:log", "\0", "a\0b", "a\nb", "\x1b[31m", "\udcff", "{}", "[]",
    "$HOME", "%s%s%n", "__import__('os').abort()", "9" * 400, "9" * 5000, "x" * 5000, "é" * 2000, "1" + "0" * 30,
    "0." + "0" * 5000 + "1", "'", '"', "\\", "lselu;selu", "0.01,,0.02", "+0.03", " 0.03 ", "0.03 ", ".5", "5.", "1e",
)  # fmt: skip

NAMES = "selu dselu lselu sselu relu leaky_relu tanh erf gelu silu elu linear".split()
VALUES: dict[str, Sequence[str]] = {
    "act": (*NAMES, "selu,lselu", "relu+bn", "lselu+mixup", "sselu+centralize+trainable", "lsleu", "lselu+", "+bn"),
    "epsilon": ("0.03", "0.1", "0", "1e-12", "1e-90", "1.42", "2", "auto", "0.01,0.1", "0.01:0.1:3:log", "1e90"),
    "depth": ("1", "2", "3", "1,2", "1:4:3", "1000000000000000000", "1e18", "1e19", "2.5"),
    "fanin": ("1", "2", "4", "2,8", "1000000000000000000", "1e19"),
    "widths": ("4,4", "2x3", "1,1", "784,8x2,10", "4", "4x", "x4", "4x-1", "4x1000000000000", "0,4", "4;4"),
    "lam": ("1", "0.5", "1.05", "1e-90", "1e90", "0", "0.5,1"),
    "lambda_min": ("1", "0.5", "0.999", "1e-90", "1e90", "0", "0.5,1"),
    "digits": ("1", "17", "30", "0", "10001", "1e9"),
    "explain": ("latex", "text", "html"),
    "weights": ("gaussian", "orthogonal", "uniform", "truncated", "normal"),
    "sigma_w": ("1", "he", "0", "1e-90", "1e90", "0.5,1", "1.4142"),
    "sigma_b": ("0", "0.1", "1e-90", "1e90", "-1"),
    "q0": ("1", "0", "0.5", "1e-90", "1e90", "2,3"),
    "c0": ("0", "1", "-1", "0.5", "1.0000001", "0.99999999999999999999"),
    "weight_mean": ("0", "0.05", "-0.05", "1e90", "1e-90"),
    "mixup": ("0.2", "1", "0", "1e-90", "1e90"),
    "scaled_mixup": ("0.2", "1", "0", "1e-90", "1e90"),
    "mixup_alpha": ("0.2", "1", "0", "1e-90", "1e90"),
    "max_growth": ("10", "1", "0.5", "1e90", "1.0000001"),
    "architecture": ("mlp", "conv", "conv-mobilenet-v1", "resnet"),
    "channels": ("1", "2", "4", "1000000000000"),
    "kernel": ("1", "3", "5", "2", "1000000000001"),
    "image": ("1", "2", "4", "32", "1000000000000"),
    "padding": ("circular", "zeros", "same"),
    "width_multiplier": ("0.02", "0.05", "1e-90", "1e90"),
    "batch": ("1", "2", "1000000000000000000"),
    "trials": ("1", "2", "3", "1e19"),
    "epochs": ("1", "2", "1e19", "0"),
    "seeds": ("1", "2", "1e19", "0"),
    "seed": ("0", "1", "7", "18446744073709551615", "18446744073709551616", "1e18"),
    "device": ("cpu", "auto", "cuda", "cuda:99", "mps", "meta", "cpu:0", "cuda:-1", "cuda:x"),
    "dtype": ("float64", "float32", "bfloat16", "float16", "int8"),
    "precision": ("float32", "bfloat16", "float16", "float64"),
    "threads": ("1", "2", "1000000000000"),
    "memory": ("1GiB", "4GiB", "1", "1KiB", "0", "1e90", "-1GiB", "GiB", "1e400GiB"),
    "level": ("0.001", "0.5", "0", "1", "1e-90"),
    "lr": ("0.01", "auto", "0.01,0.1", "1e-90", "1e90", "0"),
    "weight_decay": ("0", "0.1", "1e-90", "1e90"),
    "data": ("digits", "mnist", "cifar10", "cifar100", "folder", "imagenet"),
    "data_dir": (".", "photos", "torn", "folder", "no/such", "empty", "lselu.json"),
    "to": ("pytorch", "jax", "flax", "keras", "numpy", "c", "latex", "json", "fortran"),
    "name": ("act", "f1", "class", "lambda", "1f", "a b", "a-b", "__init__", "int", "f\nimport os", "é"),
    "params": ("lselu.json", "-", "empty", "folder", "no/such", "own.py", "old.txt", "lselu.json/x"),
    "model": ("own:net", "own:broken", "own:nothing", "own", "own:", ":net", ":", "own:no", "nosuch:net", "own:net:x"),
    "input": ("4", "3x4x4", "4,4", "4@10", "0", "-1", "4x", "99999999999", "99999999999x99999999999", "4@0", "4@x"),
    "weights_from": ("empty", "lselu.json", "folder", "no/such", "old.txt"),
}
"""Values that a person might type, by the name of the option; some of them wrong."""

ENDLESS = ("trials", "epochs", "seeds")
"""Options for which any number is right and takes as long as it says: of these only small ones and wrong ones."""

COSTLY = (*ENDLESS, "depth", "fanin", "widths", "digits", "image", "channels", "kernel", "width_multiplier", "input")
"""Options of which a number drawn at random may be right and take minutes."""

SIZES = {
    "weight_mean": (1e-90, 1e3),
    "epsilon": (1e-90, 1e3),
    "depth": (0, 1e6),
    "lam": (1e-30, 1e30),
    "lambda_min": (1e-30, 1e30),
}
"""Sizes that are drawn where a network is computed. Beyond them, known: a mean of the weights of 1e9 takes minutes and
all memory in a convolution, as epsilons above 1e4 do with sselu in a profile; lambda of 1e-90 is no float32; tanh
does not settle in 1e18 layers."""

FILES = (
    "new.svg", "new.png", "new.pdf", "new.json", "new.gif", "new", "old.svg", "old.json", "old.txt", "folder",
    "no/such/new.svg", "old.txt/new.svg", "", ".", ".svg", "folder/new.svg", "new\nline.svg", "\0.svg", "\udcff.svg",
    "é.svg", "x" * 300 + ".svg", "/proc/new.svg", "/dev/full/x.svg", "~/new.svg", "-", "--force", " ",
)  # fmt: skip
"""Names of files to be written; none of them outside of the folder can be made."""

STRAY = (
    "--", "-", "---", "--=", "=", "", "extra", "-h", "--help", "--frobnicate", "-x", "-qv", "--json=1", "--no-json",
    "--epsilon", "--act", "\0", "\udcff", "--epsilo", "--ep=0.1", "-vvv", "-1", "--version",
)  # fmt: skip
"""Words that belong to no option."""

SLOW = {"compile": "takes half a minute to compile"}
"""Options that are left out, and why."""


@lru_cache
def options(command: str) -> tuple[click.Option, ...]:
    """Of the command as it stands: an option that is added is drawn from then on."""
    params = import_module(COMMANDS[command]).command.params
    return tuple(each for each in params if isinstance(each, click.Option) and each.name not in SLOW)


def values(name: str, absurd: bool) -> st.SearchStrategy[str]:
    """What may be typed for an option: what makes sense, mostly, or what does not, mostly."""
    if name in WRITING:
        return st.sampled_from(FILES if absurd else FILES[:7])
    known = st.sampled_from(VALUES[name]) if name in VALUES else st.sampled_from(("1", "0.5", "a"))
    if not absurd:
        return known
    odd: list[st.SearchStrategy[str]] = [st.sampled_from(ABSURD)]
    if name not in COSTLY:
        odd += [st.floats().map(repr), st.integers(-(10**6), 10**6).map(str)]
    if name not in ("data_dir", "params", "weights_from", "model"):
        odd.append(st.text(st.characters(exclude_characters="/"), max_size=6))
    return st.one_of(known, *odd)


def _sized(name: str, text: str) -> bool:
    """Whether every number in it is of a size that is drawn."""
    low, high = SIZES[name]
    numbers = [_number(part) for part in re.split("[,:]", text)]
    return all(x is None or not x or not math.isfinite(x) or low <= abs(x) <= high for x in numbers)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@st.composite
def _typed(draw: st.DrawFn, option: click.Option, absurd: bool, networks: bool) -> tuple[str, ...]:
    """An option as it may be typed."""
    spelling = draw(st.sampled_from((*option.opts, *option.secondary_opts)))
    if option.is_flag:
        return (spelling,)
    name = str(option.name)
    value = draw(values(name, absurd).filter(lambda text: not networks or name not in SIZES or _sized(name, text)))
    if spelling.startswith("--") and (option.name == "explain" or draw(st.booleans())):
        return (f"{spelling}={value}",)
    return spelling, value


@st.composite
def command_lines(draw: st.DrawFn, command: str) -> Case:
    """A command with a few options, repeated or not, and now and then a word that belongs nowhere."""
    absurd, networks = draw(st.booleans()), command not in ("solve", "export")
    typed = st.sampled_from(options(command)).flatmap(lambda option: _typed(option, absurd, networks))
    stray = st.sampled_from(STRAY).map(lambda word: (word,))
    parts: list[tuple[str, ...]] = [draw(st.sampled_from(BASES[command]))]
    parts += draw(st.lists(typed, max_size=4 if absurd else 2))
    if absurd and draw(st.integers(0, 3)) == 0:
        parts.insert(draw(st.integers(0, len(parts))), draw(stray))
    parts.append(draw(st.sampled_from(((), ("--json",), ("--csv",)))))
    argv = (command, *(word for part in parts for word in part))
    return Case(argv, draw(st.sampled_from((*records(), b"", b"\n", b"{}", b"not json"))))


# --- files ------------------------------------------------------------------------------------------------------------


@lru_cache
def records() -> tuple[bytes, ...]:
    """Records that name an activation, as the commands print them, and the shortest that will do."""
    from snn_cli import simulate, solve

    made = [
        solve("lselu", "0.03").to_dict(),
        solve("sselu", depth=10, digits=20).to_dict(),
        simulate("selu", depth=2, fanin=8).to_dict(),
        simulate("relu", depth=2).to_dict(),
        {"act": "lselu", "params": {"lambda": 1, "alpha": 1.138, "beta": 0.394}},
        {"act": "tanh"},
    ]
    return tuple(json.dumps(record).encode() + b"\n" for record in made)


LITERALS = (
    b"1e400", b"-1e400", b"NaN", b"Infinity", b"-Infinity", b"9" * 5000, b"1e-400", b"0." + b"0" * 5000 + b"1", b"null",
    b"true", b'"lselu"', b'"\\ud800"', b'"' + b"x" * 5000 + b'"', b"[" * 200_000, b'{"a":' * 100_000, b"[[]]", b"{}",
    b'{"lambda": 1}', b'{"lambda": "1"}', b'{"lambda": [1]}', b'"nan"', b"-0.0", b"1e308", b"5e-324", b"\x00",
)  # fmt: skip
"""In the place of a value."""

_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([1e308, -1e-308, 10**400, 0.0, -0.0, 1e-320, "lselu", "solution", 2**63])
)
_json = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """A record, some of whose values are others, gone or twice there."""
    record = json.loads(draw(st.sampled_from(records())))
    record = copy.deepcopy(record)
    for _ in range(draw(st.integers(1, 3))):
        place = record
        while True:
            key = draw(st.sampled_from(sorted(place)))
            inner = place[key]
            if not isinstance(inner, dict) or not inner or draw(st.booleans()):
                break
            place = inner
        if draw(st.integers(0, 3)) == 0:
            del place[key]
        else:
            place[key] = draw(_json)
        if not record:
            break
    text = json.dumps(record).encode()
    if b'"params": {' in text and draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from((b"lambda", b"alpha", b"beta", b"gamma")))
        literal = draw(st.sampled_from(LITERALS))
        text = text.replace(b'"params": {', b'"params": {"' + name + b'": ' + literal + b", ", 1)
    return text


@st.composite
def damaged(draw: st.DrawFn, whole: Sequence[bytes]) -> bytes:
    """One of these, cut, with bytes changed, put in or taken out."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(("change", "insert", "cut", "remove", "repeat")))
        if kind == "change" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=8) | st.sampled_from(LITERALS))
        elif kind == "cut":
            del data[at:]
        elif kind == "remove":
            del data[at : at + draw(st.integers(1, 16))]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
    return bytes(data)


def params_bytes() -> st.SearchStrategy[bytes]:
    """For ``--params -``."""
    several = st.lists(st.sampled_from(records()), min_size=2, max_size=3).map(b"".join)
    return st.one_of(
        _mutated(),
        _mutated(),
        damaged(records()),
        st.binary(max_size=200),
        _json.map(lambda value: json.dumps(value).encode()),
        st.sampled_from(LITERALS),
        several,
        several.map(lambda text: text.replace(b"\n", b"")),
        st.sampled_from(records()).map(lambda text: text.decode().encode("utf-16")),
        st.sampled_from(records()).map(lambda text: b"\xef\xbb\xbf" + text),
    )


READERS = (
    ("simulate", "--depth", "2", "--params", "-"),
    ("verify", "--depth", "2", "--fanin", "4", "--trials", "2", "--batch", "2", "--threads", "1", "--params", "-"),
    ("analyze", "--depth", "2", "--params", "-"),
    ("export", "--to", "numpy", "--params", "-"),
    ("export", "--to", "latex", "--params", "-"),
)
"""Commands that take an activation from a record."""


@st.composite
def params_cases(draw: st.DrawFn, readers: Sequence[tuple[str, ...]] = READERS) -> Case:
    argv = draw(st.sampled_from(readers))
    form = draw(st.sampled_from(((), ("--json",)) if argv[0] == "export" else ((), ("--json",), ("--csv",))))
    return Case((*argv, *form), draw(params_bytes()))


TRAIN = "train --depth 1 --width 2 --epochs 1 --seeds 1 --lr 0.01 --act relu"

FILE_READERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "run": (
        "run.jsonl",
        tuple("verify --depth 2 --fanin 4 --trials 2 --batch 2 --threads 1 --resume run.jsonl".split()),
    ),
    "checkpoint": ("run.npz", tuple(f"{TRAIN} --batch 900 --resume run.npz".split())),
    "weights": (
        "net.safetensors",
        tuple("verify --model own:net --input 4 --trials 1 --weights-from net.safetensors".split()),
    ),
    "images": ("train-images-idx3-ubyte.gz", tuple(f"{TRAIN} --batch 4 --data mnist --data-dir .".split())),
}
"""Files that a command reads besides records: the name of one, and the command."""


@lru_cache
def whole_files() -> dict[str, bytes]:
    """One of each that is as it should be."""
    import tempfile
    from pathlib import Path

    made = {}
    with tempfile.TemporaryDirectory() as name:
        for kind, flag in (("run", "--save"), ("checkpoint", "--checkpoint")):
            path = Path(name) / kind
            outcome = execute(Case((*FILE_READERS[kind][1][:-2], flag, str(path))))
            assert outcome.code == 0, outcome
            made[kind] = path.read_bytes()
    from safetensors.numpy import save

    shapes = {"0.weight": (4, 4), "0.bias": (4,), "2.weight": (2, 4), "2.bias": (2,)}
    made["weights"] = save({key: np.full(shape, 0.1, np.float32) for key, shape in shapes.items()})
    made["images"] = gzip.compress(b"\0\0\x08\x03" + struct.pack(">III", 20, 2, 2) + bytes(range(80)))
    return made


def beside_images() -> dict[str, bytes]:
    """The other files of a set of images, in the form of MNIST."""
    labels = b"\0\0\x08\x01" + struct.pack(">I", 20) + bytes(range(10)) * 2
    images = gzip.decompress(whole_files()["images"])
    return {
        "train-labels-idx1-ubyte": labels,
        "t10k-labels-idx1-ubyte": labels,
        "t10k-images-idx3-ubyte": images,
    }


@st.composite
def file_cases(draw: st.DrawFn) -> tuple[Case, str, bytes]:
    """A command line, and the file that it reads with what is in it."""
    kind = draw(st.sampled_from(tuple(FILE_READERS)))
    name, argv = FILE_READERS[kind]
    content = draw(damaged([whole_files()[kind]]) | st.binary(max_size=100))
    if kind == "images" and draw(st.booleans()):  # what is inside of it
        content = gzip.compress(draw(damaged([gzip.decompress(whole_files()[kind])])))
    return Case((*argv, "--json")), name, content
