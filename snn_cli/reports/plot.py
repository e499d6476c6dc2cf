"""Figures: a sweep as panels over what varies, solutions at one point as curves of f and f'. Needs matplotlib.

Drawn with matplotlib's object interface and its default style under a style of our own: no display, no pyplot, and
neither the user's settings nor the time of day show in the file.
"""

# ruff: noqa: RUF001 - the symbols of the theory are Greek

from __future__ import annotations

import errno
import logging
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.errors import CannotCompute, InputError, MissingExtra
from snn_cli.files import beside, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from snn_cli.records import Solution

FORMATS: dict[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Suffix -> metadata to leave out, so that the same solutions make the same file."""

REACH = 4.0
"""Curves are drawn for ``-REACH <= x <= REACH``: all but 6e-5 of the inputs at ``q = 1``."""

WIDE = 30.0
"""A panel whose values differ by more than this factor gets a logarithmic axis."""

MOST_LABELS = 12
"""Longest legend of series; of more, evenly spread ones are named."""

WIDTH = 7.2
"""Inches: the text width of a page."""

_LINES: tuple[tuple[str, Any, str], ...] = (
    # colours of Okabe and Ito, told apart by colour-blind readers, and dashes for those who print in grey
    ("#0072B2", "-", "o"),
    ("#D55E00", (0, (5, 1.6)), "s"),
    ("#009E73", (0, (5, 1.4, 1.2, 1.4)), "^"),
    ("#222222", (0, (1.2, 1.2)), "D"),
    ("#CC79A7", (0, (9, 2)), "v"),
    ("#56B4E9", (0, (5, 1.4, 1.2, 1.4, 1.2, 1.4)), "P"),
)
_REFERENCE: dict[str, Any] = {"color": "0.45", "linewidth": 0.9, "linestyle": (0, (1, 1.5)), "zorder": 1}
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "axes.edgecolor": "0.35",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.88",
    "grid.linewidth": 0.6,
    "xtick.color": "0.25",
    "ytick.color": "0.25",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "savefig.dpi": 200,
    "svg.fonttype": "none",  # text stays text: searchable, and editable
    "svg.hashsalt": "snn",
    "pdf.fonttype": 42,
}


def check(path: str, force: bool) -> None:
    """Whether a figure can be written to ``path``, found out by trying; nothing is left behind.

    Raises InputError for a suffix other than .png, .svg, .pdf, a folder that does not exist or cannot be written to,
    and a file that exists unless ``force``; MissingExtra without matplotlib, CannotCompute where that does not start,
    or the disk is full.
    """
    _format(path)
    if "\0" in path:
        raise InputError(f"--plot {path!r} is no name of a file", "--plot figure.svg")
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise InputError(f"--plot {path} is a folder", f"--plot {os.path.join(path, 'figure.svg')}")
    if not os.path.isdir(folder):
        raise InputError(f"--plot {path} cannot be written: the folder {folder} does not exist", f"mkdir -p {folder}")
    if os.path.exists(target) and not force:
        raise _exists(path)
    with _writing(path):
        with suppress(FileNotFoundError):
            os.lstat(target)  # a name that is too long
        temporary = beside(target)
        with open(temporary, "xb"):
            pass
        os.remove(temporary)
    with _matplotlib():
        pass


def solutions(solutions: Sequence[Solution], path: str, *, force: bool = True) -> None:
    """Draw solutions into a file, all of it or nothing: it is written under another name and then renamed.

    Where epsilon, lambda, the depth or the fan-in varies within an activation: panels of gamma, the mean and the
    parameters over it, a line for each activation. Otherwise f and f' over x, a line for each solution.

    force
        Replace a file that has appeared since ``check``.

    Raises InputError where the file cannot be written, and as ``check`` does.
    """
    write(lambda: _figure(solutions), path, force=force)


def write(make: Callable[[], Any], path: str, *, force: bool) -> None:
    """Make a figure in our style and write it into a file, all of it or nothing. Raises as ``check`` does."""
    form = _format(path)
    with _matplotlib():
        from matplotlib import style

        with style.context(["default", _STYLE]):
            figure = make()
            with _writing(path):
                _save(figure, path, form, force)


def _format(path: str) -> str:
    stem, suffix = os.path.splitext(path)
    form = suffix[1:].lower()
    if form not in FORMATS:
        raise InputError(
            f"--plot {path}: the suffix says what to write, and must be .png, .svg or .pdf",
            f"--plot {stem.rstrip('.') or 'figure'}.svg",
        )
    return form


def _exists(path: str) -> InputError:
    return InputError(f"--plot {path} exists, and is not overwritten", "--force")


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        raise (CannotCompute if full else InputError)(
            f"--plot {path} cannot be written: {error.strerror or error}", "--plot FILE in a folder you may write to"
        ) from None


@contextmanager
def _matplotlib() -> Iterator[None]:
    """Import matplotlib; whatever it logs (a home it cannot write to, a cache of fonts it builds) stays unsaid."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        try:
            import matplotlib.figure  # noqa: F401
        except ImportError:
            raise MissingExtra("--plot", "matplotlib", "plot") from None
        except (OSError, ValueError) as error:  # no place for its cache; a backend that does not exist
            raise CannotCompute(
                f"matplotlib does not start: {error}", "MPLCONFIGDIR=/a/folder/you/may/write/to, and unset MPLBACKEND"
            ) from None
        yield
    finally:
        logger.setLevel(level)


def _save(figure: Any, path: str, form: str, force: bool) -> None:
    with whole(path, binary=True, force=force) as stream:
        figure.savefig(stream, format=form, metadata=FORMATS[form])


def _figure(solutions: Sequence[Solution]) -> Any:
    sweep = _swept(solutions)
    return _curves(solutions) if sweep is None else _panels(solutions, sweep)


class _Quantity(NamedTuple):
    """What an axis shows: its symbol, its words, and its value for a solution (None where there is none)."""

    symbol: str
    words: str
    of: Callable[[Solution], float | None]

    @property
    def label(self) -> str:
        return f"{self.symbol}   {self.words}" if self.words else self.symbol


_SWEPT = {
    "epsilon": _Quantity("ε", "backward gain minus one", lambda s: s.epsilon),
    "lambda": _Quantity("λ", "slope for x > 0", lambda s: s.params.get("lambda")),
    "depth": _Quantity("L", "depth in layers", lambda s: s.depth),
    "fan_in": _Quantity("N", "fan-in", lambda s: s.fan_in),
}


def _given_lambda(solution: Solution) -> float | None:
    """Lambda where the request fixed it, alone or as the bound."""
    return solution.params["lambda"] if solution.closure in ("lambda", "lambda_min") else None


def _swept(solutions: Iterable[Solution]) -> str | None:
    """What the figure goes over: that which varies within an activation; None where nothing does.

    Depth and fan-in come first where epsilon follows from them, and last where nothing does.
    """
    by_act: dict[str, list[Solution]] = {}
    for solution in solutions:
        by_act.setdefault(solution.act, []).append(solution)

    def count(of: Callable[[Solution], float | None]) -> int:
        return max((len({of(s) for s in group} - {None}) for group in by_act.values()), default=0)

    epsilons, lambdas = count(_SWEPT["epsilon"].of), count(_given_lambda)
    for name in ("depth", "fan_in"):
        size = _SWEPT[name].of
        pairs = {(s.act, size(s), _given_lambda(s), s.epsilon) for s in solutions}
        follows = len({pair[:3] for pair in pairs}) == len(pairs)
        if count(size) > 1 and epsilons > 1 and follows:
            return name
    if max(epsilons, lambdas) > 1:
        return "epsilon" if epsilons >= lambdas else "lambda"
    return next((name for name in ("depth", "fan_in") if count(_SWEPT[name].of) > 1), None)


class _Series(NamedTuple):
    """Solutions along the swept quantity, in its order, and how they are drawn."""

    label: str
    x: list[float]
    solutions: list[Solution]
    color: Any
    dashes: Any
    marker: str


def _grouped(solutions: Iterable[Solution], sweep: str) -> list[_Series]:
    """Activations, each once per lambda or epsilon that was given besides; repeated points once."""
    groups: dict[tuple[Any, ...], dict[float, Solution]] = {}
    for s in solutions:
        x = _SWEPT[sweep].of(s)
        if x is not None:
            lam = None if sweep == "lambda" else _given_lambda(s)
            key = (s.act, s.closure, lam, s.epsilon if sweep == "lambda" else None)
            groups.setdefault(key, {})[x] = s
    series: list[_Series] = []
    for (act, closure, lam, epsilon), points in groups.items():
        words = [act]
        if len({k[2] for k in groups if k[0] == act}) > 1 and lam is not None:
            words.append(f"λ {'≥' if closure == 'lambda_min' else '='} {_number(lam)}")
        if len({k[3] for k in groups if k[0] == act}) > 1:
            words.append(f"ε = {_number(epsilon)}")
        ordered = [points[x] for x in sorted(points)]
        if not any(s.monotone for s in ordered):
            words.append("not monotone")
        if not any(s.self_normalizing for s in ordered):
            words.append("γ ≥ 1")
        color, dashes, marker = _line(len(series), len(groups))
        series.append(_Series(", ".join(words), sorted(points), ordered, color, dashes, marker))
    return series


def _line(index: int, total: int) -> tuple[Any, Any, str]:
    """Colour, dashes and marker; many series are told apart by a scale of colours that also darkens."""
    if total <= len(_LINES):
        return _LINES[index]
    from matplotlib import colormaps

    return colormaps["viridis"](0.9 * (1 - index / (total - 1))), "-", "o"


def _panels(solutions: Sequence[Solution], sweep: str) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    series = _grouped(solutions, sweep)
    shown = _quantities(series, sweep)
    odd = len(shown) % 2 == 1
    rows = (len(shown) + odd) // 2
    figure = Figure(figsize=(WIDTH, 2.1 * rows + (0.2 if odd else 0.6)), layout="constrained")
    grid = list(figure.subplots(rows, 2, sharex=True, squeeze=False).flatten())
    for axes in grid[-2:]:
        axes.set_xlabel(_SWEPT[sweep].label)
    xs = [x for each in series for x in each.x]
    if min(xs) > 0 and max(xs) > 10 * min(xs):
        grid[0].set_xscale("log")
        _log_ticks(grid[0].xaxis, min(xs), max(xs))
    else:
        grid[0].xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        grid[0].xaxis.get_major_formatter().set_useOffset(False)
    spare = grid.pop(1) if odd else None  # the legend goes there
    for axes, quantity in zip(grid, shown, strict=True):
        _panel(axes, quantity, series)
    _legend(figure, spare, series)
    return figure


def _quantities(series: Sequence[_Series], sweep: str) -> list[_Quantity]:
    """What the panels show: lambda and epsilon only where they vary, and neither abscissa nor label says how."""

    def parameter(name: str) -> Callable[[Solution], float | None]:
        return lambda s: s.params.get(name)

    acts = {s.act for each in series for s in each.solutions}
    roles = {"lselu": "slope of the line in lselu", "sselu": "rate in sselu"}
    shown = [
        _Quantity("γ", "strength: smaller is stronger", lambda s: s.gamma),
        _Quantity("E[f]", "mean", lambda s: s.mean),
    ]
    named = {name: None for each in series for s in each.solutions for name in s.params}
    if "alpha" in named:
        shown.append(_Quantity("α", "weight of the exponential", parameter("alpha")))
    if any("beta" in s.params for each in series for s in each.solutions):
        shown.append(_Quantity("β", ", ".join(words for act, words in roles.items() if act in acts), parameter("beta")))
    shown += [_Quantity(name, "", parameter(name)) for name in named if name not in ("lambda", "alpha", "beta")]
    for name in ("lambda", "epsilon"):
        of = _SWEPT[name].of
        along = any(len({of(s) for s in each.solutions}) > 1 for each in series)
        across = len({of(each.solutions[0]) for each in series}) > 1 and len(series) == len(acts)
        if name != sweep and (along or across):
            shown.append(_SWEPT[name])
    return shown


def _panel(axes: Any, quantity: _Quantity, series: Sequence[_Series]) -> None:
    values = []
    for each in series:
        known = [(x, y, s) for x, s in zip(each.x, each.solutions, strict=True) if (y := quantity.of(s)) is not None]
        if not known:
            continue
        xs, ys, points = (list(column) for column in zip(*known, strict=True))
        values += ys
        alone = each.marker if len(xs) == 1 else None
        axes.plot(xs, ys, color=each.color, linestyle=each.dashes, marker=alone)
        for marker, holds in _LIMITS.values():
            for i in _limits([holds(s) for s in points]):
                axes.plot(xs[i], ys[i], marker=marker, color=each.color, markerfacecolor="white", zorder=3)
    low, high = min(values), max(values)
    if quantity.symbol in _REFERENCES:
        reference = _REFERENCES[quantity.symbol]
        if low - 0.1 * (high - low) <= reference <= high + 0.1 * (high - low):
            axes.axhline(reference, **_REFERENCE)
    elif low > 0 and high > WIDE * low:
        axes.set_yscale("log")
        _log_ticks(axes.yaxis, low, high)
    elif max(high, -low) > WIDE:
        _asinh_scale(axes, low, high)
    axes.set_title(quantity.label, loc="left")


def _log_ticks(axis: Any, low: float, high: float) -> None:
    """Decades, or plain numbers where there are few of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _asinh_scale(axes: Any, low: float, high: float) -> None:
    """Linear near 0 and logarithmic far out, for values of both signs; ticks at 0 and decades."""
    from math import asinh, ceil, log10

    from matplotlib.ticker import NullLocator

    largest = ceil(log10(max(high, -low)))
    axes.set_yscale("asinh", linear_width=1)
    least = 0 if asinh(high) - asinh(min(low, 0)) < 8 else 1
    step = max(1, (largest - least + 1) // 5)
    decades = [10.0**k for k in range(least, largest + 1, step)]
    ticks = [-x for x in decades if -x >= low] + [0] + [x for x in decades if x <= high]
    labels = [f"{_number(x)}" if abs(x) < 1e4 else f"$\\mathdefault{{10^{{{round(log10(x))}}}}}$" for x in ticks]
    axes.set_yticks(ticks, labels)
    axes.yaxis.set_minor_locator(NullLocator())


_REFERENCES = {"γ": 1.0, "E[f]": 0.0}
"""The least that is no longer self-normalizing, and zero mean."""

_LIMITS: dict[str, tuple[str, Callable[[Solution], bool]]] = {
    "first point where f is not monotone": ("o", lambda s: s.monotone),
    "first point where γ ≥ 1": ("X", lambda s: s.self_normalizing),
}
"""What a marker says of the point that it is on; the limit itself lies between that point and its neighbour."""


def _limits(holds: Sequence[bool]) -> list[int]:
    """Where a property is lost from one point to the next: the points without it."""
    changes = [i for i in range(1, len(holds)) if holds[i] != holds[i - 1]]
    return [i - 1 if holds[i] else i for i in changes]


def _legend(figure: Any, spare: Any | None, series: Sequence[_Series]) -> None:
    """In the spare panel, or above the panels."""
    from matplotlib.lines import Line2D

    step = -(-len(series) // MOST_LABELS)
    named = [*series[:-1:step], series[-1]] if step > 1 else series
    handles = [
        Line2D([], [], color=s.color, linestyle="none", marker=s.marker, label=s.label)
        if len(s.x) == 1
        else Line2D([], [], color=s.color, linestyle=s.dashes, label=s.label)
        for s in named
    ]
    for label, (marker, holds) in _LIMITS.items():
        if any(_limits([holds(s) for s in each.solutions]) for each in series):
            handles.append(
                Line2D([], [], linestyle="none", marker=marker, color="0.35", markerfacecolor="white", label=label)
            )
    if spare is None:
        columns = min(4, len(handles))
        figure.legend(handles=handles, loc="outside upper left", ncols=columns)
        figure.set_figheight(figure.get_figheight() + 0.18 * ((len(handles) - 1) // columns))
    else:
        spare.axis("off")
        spare.legend(handles=handles, loc="center left", labelspacing=0.3, fontsize=8 if len(handles) > 8 else None)


def _curves(solutions: Sequence[Solution]) -> Any:
    """f and f' over x. At the kink f' has two values: the one it takes is a full dot, the other limit an open one."""
    import numpy as np
    from matplotlib.figure import Figure

    distinct = list({(s.act, *s.params.items()): s for s in solutions}.values())
    figure = Figure(figsize=(WIDTH, 3.3 + 0.18 * len(distinct)), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    negative = np.concatenate([-np.geomspace(REACH, 1e-9, 400), [-1e-300]])  # dense at the kink, where rates are large
    positive = np.array([0.0, REACH])
    left.plot([-REACH, REACH], [-REACH, REACH], label="identity", **_REFERENCE)
    right.axhline(1, **_REFERENCE)
    extremes = [1.0]
    for i, solution in enumerate(distinct):
        color, dashes, _ = _line(i, len(distinct))
        f, df = solution.function(), solution.derivative()
        x = np.concatenate([negative, positive])
        left.plot(x, f(x), color=color, linestyle=dashes, label=_described(solution))
        below, above = df(negative), df(positive)
        for piece, y in ((negative, below), (positive, above)):
            right.plot(piece, y, color=color, linestyle=dashes)
        extremes += [float(below.min()), float(below.max()), float(above[0])]
        if not np.isclose(below[-1], above[0], rtol=1e-3):
            right.plot(0, below[-1], marker="o", color=color, markerfacecolor="white", zorder=4)
            right.plot(0, above[0], marker="o", color=color, zorder=4)
    if max(extremes) - min(extremes) > WIDE:
        _asinh_scale(right, min(extremes), max(extremes))
    for axes, title in ((left, "f(x)   activation"), (right, "f′(x)   its derivative")):
        axes.set_title(title, loc="left")
        axes.set_xlabel("x   pre-activation, ~ N(0, 1)")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles[1:] + handles[:1], labels[1:] + labels[:1], loc="outside upper left")
    return figure


def _described(solution: Solution) -> str:
    symbols = {"lambda": "λ", "alpha": "α", "beta": "β"}
    numbers = {"ε": solution.epsilon} | {symbols.get(name, name): x for name, x in solution.params.items()}
    numbers |= {"γ": solution.gamma, "E[f]": solution.mean}
    words = [f"{symbol} = {_number(x)}" for symbol, x in numbers.items()]
    if not solution.monotone:
        words.append("not monotone")
    return f"{solution.act}:  {',  '.join(words)}"


def _number(x: float) -> str:
    return f"{x:.5g}".replace("-", "−")
