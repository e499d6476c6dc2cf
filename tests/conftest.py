"""What the tests share: a command-line runner and quadrature that knows no formula of the package."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import mpmath
import pytest
from hypothesis import settings
from mpmath.calculus.quadrature import GaussLegendre
from warm import Warm, serving

ROOT = Path(__file__).resolve().parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; what is started would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

gc.set_threshold(50_000)  # what is loaded and collected stays: looking through it again and again is a part of the time
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the workers' torch and numpy, and of what they start
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("repeatable")


def pytest_configure(config):
    """One server of commands for all workers, which inherit where it is."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        stack = ExitStack()
        os.environ["SNN_WARM"] = stack.enter_context(serving())
        config.add_cleanup(stack.close)


def pytest_collection_finish():
    gc.freeze()


@dataclass(frozen=True)
class Result:
    """What a process printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def run(*args: str, env: dict[str, str] | None = None, **kwargs: Any) -> Result:
    """``snn ARGS`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "snn_cli", *args],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        env={**os.environ, **(env or {})},
        **kwargs,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def snn():
    """``snn("solve", ...)`` runs the command line in a process of its own."""
    return run


@pytest.fixture(scope="session")
def warm():
    """Commands whose processes do not load torch again: for what is not about loading or memory."""
    return Warm.of(os.environ["SNN_WARM"])


@pytest.fixture
def call(capsys):
    """``call("solve", ...)`` runs the command line in this process: quicker, for many calls."""
    from snn_cli.cli.main import main

    def in_process(*args: str) -> Result:
        capsys.readouterr()
        code = main(list(args))
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return in_process


FORMULAS = {
    "selu": (
        lambda x, p: p["lambda"] * p["alpha"] * mpmath.expm1(x),
        lambda x, p: p["lambda"] * p["alpha"] * mpmath.exp(x),
    ),
    "lselu": (
        lambda x, p: p["lambda"] * (p["alpha"] * mpmath.expm1(x) + p["beta"] * x),
        lambda x, p: p["lambda"] * (p["alpha"] * mpmath.exp(x) + p["beta"]),
    ),
    "sselu": (
        lambda x, p: p["lambda"] * p["alpha"] * mpmath.expm1(p["beta"] * x),
        lambda x, p: p["lambda"] * p["alpha"] * p["beta"] * mpmath.exp(p["beta"] * x),
    ),
}
FORMULAS["dselu"] = FORMULAS["selu"]
"""Left branch and its derivative, from the definitions."""


@lru_cache(maxsize=64)
def half_line_rule(digits: int, scale: mpmath.mpf) -> tuple[list[mpmath.mpf], list[mpmath.mpf]]:
    """Gauss-Legendre nodes on z < 0, and the weights times the normal density.

    48 on panels of length at most 1.5, halved towards 0 down to an eighth of ``scale``, on which the left branch
    changes: with twice as many the moments differ by rounding alone, at 40 digits as at 60.
    """
    with mpmath.workdps(digits + 10):
        edge = -mpmath.sqrt(2 * digits * mpmath.log(10)) - 4
        ends = [edge]
        while ends[-1] < -2:
            ends.append(min(ends[-1] + mpmath.mpf(3) / 2, mpmath.mpf(-2)))
        while ends[-1] < -scale / 8:
            ends.append(ends[-1] / 2)
        ends.append(mpmath.mpf(0))
        nodes = GaussLegendre(mpmath.mp).calc_nodes(5 if digits <= 60 else 6, mpmath.mp.prec)
        points, weights = [], []
        for a, b in pairwise(ends):
            for x, w in nodes:
                z = (a + b) / 2 + (b - a) / 2 * x
                points.append(z)
                weights.append(w * (b - a) / 2 * mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi))
        return points, weights


@lru_cache(maxsize=64)
def half_line_powers(digits: int, scale: mpmath.mpf) -> list[mpmath.mpf]:
    """``E[1; z > 0], E[z; z > 0], E[z^2; z > 0]`` by that rule: what the right branch, a line, is made of."""
    with mpmath.workdps(digits + 10):
        z, w = half_line_rule(digits, scale)
        return [mpmath.fsum(w), -mpmath.fdot(w, z), mpmath.fdot(w, [x * x for x in z])]


def quadrature(act: str, params: dict[str, Any], digits: int = 40) -> dict[str, Any]:
    """Moments of the activation by quadrature of f itself over both half-lines, in mpmath at ``digits`` digits.

    Knows the definition of f and the normal density, no formula of the theory. Held against mpmath.quad below.
    """
    f, df = FORMULAS[act]
    with mpmath.workdps(digits + 10):
        p = {name: mpmath.mpf(value) for name, value in params.items()}
        lam = p["lambda"]
        scale = min(mpmath.mpf(1), 1 / abs(p["beta"])) if act == "sselu" else mpmath.mpf(1)
        exponent = mpmath.floor(mpmath.log(scale, 2))  # a power of two: rules are shared
        z, w = half_line_rule(digits, mpmath.mpf(2) ** exponent)
        half, first, second = half_line_powers(digits, mpmath.mpf(2) ** exponent)
        y, dy = [f(x, p) for x in z], [df(x, p) for x in z]
        square = [slope * slope for slope in dy]
        weighted = [a * b for a, b in zip(w, y, strict=True)]
        chi = mpmath.fdot(w, square) + lam**2 * half
        fourth = mpmath.fdot([a * b for a, b in zip(w, square, strict=True)], square) + lam**4 * half
        return {
            "mean": mpmath.fsum(weighted) + lam * first,
            "second_moment": mpmath.fdot(weighted, y) + lam**2 * second,
            "chi": chi,
            "gamma": mpmath.fdot(weighted, [a * b for a, b in zip(z, dy, strict=True)]) + lam**2 * second,
            "mean_slope": mpmath.fdot(w, dy) + lam * half,
            "kappa": fourth / chi**2,
        }
