"""What the scripts of this folder share: checks that can fail, standard errors, figures that overwrite nothing.

A script measures, shows, checks and, where asked, draws. Exit codes: 0 nothing was refuted, 1 a check does not hold,
2 bad usage, 3 something that is needed is missing.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from snn_cli import InputError, MissingExtra, SnnError

LEVEL = 0.001
"""Of every decision, two-sided: Student's t, since standard errors are of a few groups."""


class Mean(NamedTuple):
    """Of independent groups, with its standard error, and how many there were."""

    value: float
    se: float
    groups: float = math.inf

    @property
    def margin(self) -> float:
        """Distance from the truth that is exceeded with the probability `LEVEL` alone."""
        from scipy.special import stdtrit

        return self.se * abs(float(stdtrit(min(self.groups - 1, 1e9), LEVEL / 2)))

    def size(self) -> Mean:
        """Its absolute value, as far as errors that are small beside it go."""
        return self._replace(value=abs(self.value))

    def __str__(self) -> str:
        return f"{self.value:.4g} +- {self.se:.2g}"


class Check(NamedTuple):
    """A sentence with its numbers, and whether it holds; None where the measurement cannot tell."""

    says: str
    holds: bool | None


def mean_of(values: Iterable[float]) -> Mean:
    """Mean and ``sd / sqrt(n)`` of at least two values."""
    found = list(values)
    mean = math.fsum(found) / len(found)
    square = math.fsum((value - mean) ** 2 for value in found) / (len(found) - 1)
    return Mean(mean, math.sqrt(square / len(found)), len(found))


def agrees(what: str, measured: Mean, theory: float, allowed: float = 0.0) -> Check:
    """Holds within the margin, and what the theory itself may be off."""
    within = abs(measured.value - theory) <= measured.margin + allowed
    spare = f", which may be off by {allowed:.2g}" if allowed else ""
    return Check(f"{what}: measured {measured}, theory {theory:.4g}{spare}", within)


def equals(what: str, value: float, expected: float, tolerance: float) -> Check:
    """For what is computed, not measured."""
    return Check(f"{what}: {value!r}, expected {expected!r} to {tolerance:g}", abs(value - expected) <= tolerance)


def above(what: str, measured: Mean, bound: float) -> Check:
    """Holds, or does not, by more than the margin; undecided between."""
    if measured.value - measured.margin > bound:
        holds: bool | None = True
    else:
        holds = False if measured.value + measured.margin < bound else None
    return Check(f"{what}: {measured}, above {bound:.4g}", holds)


def below(what: str, measured: Mean, bound: float) -> Check:
    """As ``above``, on the other side."""
    mirrored = above(what, measured._replace(value=-measured.value), -bound)
    return Check(f"{what}: {measured}, below {bound:.4g}", mirrored.holds)


def difference(a: Mean, b: Mean) -> Mean:
    """With the error of independent means: more than that of means over the same seeds, which share their chance."""
    return Mean(a.value - b.value, math.hypot(a.se, b.se), min(a.groups, b.groups))


class Script(NamedTuple):
    """A claim: sizes of its two forms, and what is done with what was measured.

    ``measure(size)`` gives what the others take; ``show`` yields lines, ``check`` the checks, ``draw(found, axes)``
    fills the panels; ``panels`` are their number. ``limits`` says what the script could not, or did not try.
    """

    doc: str
    full: Any
    quick: Any
    measure: Callable[[Any], Any]
    show: Callable[[Any], Iterable[str]]
    check: Callable[[Any], Sequence[Check]]
    limits: Sequence[str]
    draw: Callable[[Any, Sequence[Any]], None] | None = None
    panels: int = 1


def script_of(name: str, *limits: str, panels: int = 1) -> Script:
    """The claim of a module of that name: its words, sizes and functions are called as the fields of `Script`."""
    module = sys.modules[name]
    return Script(
        module.__doc__ or "", module.FULL, module.QUICK, module.measure, module.show, module.check, limits,
        getattr(module, "draw", None), panels,
    )  # fmt: skip


def run(script: Script, argv: Sequence[str] | None = None) -> int:
    """The script from its command line; the exit code."""
    options = parser(script.doc, script.draw is not None).parse_args(argv)
    return conclude(script, script.quick if options.quick else script.full, getattr(options, "plot", None))


def points(panel: Any, places: Sequence[Any], means: Sequence[Mean], color: int, size: float = 4, **words: Any) -> None:
    """What was measured, with its standard errors."""
    panel.errorbar(places, [m.value for m in means], [m.se for m in means], fmt=f"C{color}o", ms=size, **words)


def parser(doc: str, figure: bool = True) -> argparse.ArgumentParser:
    """``--quick`` and ``--plot FILE``."""
    arguments = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="a small form, of seconds")
    if figure:
        arguments.add_argument("--plot", metavar="FILE", help="write a figure: .png, .svg or .pdf")
    return arguments


def conclude(script: Script, size: Any, plot: str | None = None) -> int:
    """Measure, print and draw; errors as ``snn`` prints them."""
    started = time.perf_counter()
    try:
        if plot is not None:
            check_figure(plot)
        found = script.measure(size)
        print("\n".join(script.show(found)), flush=True)
        checks = script.check(found)
        print(f"\n{verdict(checks, script.limits)}")
        if plot is not None and script.draw is not None:
            write_figure(plot, script.panels, lambda axes: script.draw and script.draw(found, axes))
    except SnnError as error:
        return complain(error)
    print(f"\n{time.perf_counter() - started:.0f} seconds", file=sys.stderr)
    return 1 if any(check.holds is False for check in checks) else 0


def complain(error: SnnError) -> int:
    """Print it and return its exit code."""
    print(f"error: {error}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return error.exit_code


def verdict(checks: Sequence[Check], limits: Sequence[str]) -> str:
    """A line a check, then what was left open."""
    word = {True: "confirmed", None: "undecided", False: "NOT CONFIRMED"}
    lines = [f"{word[check.holds]:<13}  {check.says}" for check in checks]
    return "\n".join([*lines, *(f"{'could not':<13}  {limit}" for limit in limits)])


def check_figure(path: str) -> None:
    """Raise before anything is computed where a figure could not be written."""
    if not path.endswith((".png", ".svg", ".pdf")):
        raise InputError(f"--plot {path} ends in none of .png, .svg, .pdf", "--plot figure.svg")
    if os.path.lexists(path):
        raise InputError(f"--plot {path} exists, and is not overwritten", "--plot with another name")
    if not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
        raise InputError(f"--plot {path} is in a folder that is not there or cannot be written to", "--plot figure.svg")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtra("--plot", "matplotlib", "plot") from None


def write_figure(path: str, panels: int, draw: Callable[[Sequence[Any]], Any]) -> None:
    """Drawn first, then written to a file that was not there; the same numbers give the same bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kind = path.rsplit(".", 1)[1]
    with pyplot.rc_context({"svg.hashsalt": "snn", "font.size": 9}):
        figure, axes = pyplot.subplots(1, panels, figsize=(4.6 * panels, 3.4), layout="constrained", squeeze=False)
        draw(list(axes[0]))
        for unused in (panel for panel in axes[0] if not panel.has_data()):
            unused.remove()
        content = io.BytesIO()
        figure.savefig(
            content, format=kind, metadata={} if kind == "png" else {"Date" if kind == "svg" else "CreationDate": None}
        )
        pyplot.close(figure)
    with open(path, "xb") as file:
        file.write(content.getvalue())
