"""Figures of propagations: layer by layer, the growth over what a sweep varies, and how much weight mean is tolerated.

Large and small quantities are drawn as their decimal logarithms on linear axes, so that no scale can overflow.
"""

# ruff: noqa: RUF001 - the symbols of the theory are Greek

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.errors import InputError
from snn_cli.reports.plot import _STYLE, MOST_LABELS, WIDE, WIDTH, _format, _matplotlib, _save, _writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from snn_cli.records import Propagation

    Column = Sequence[float | None]

_NAN = math.nan
_LARGEST_EXPONENT = 308.5
_LN10 = math.log(10)

MOST_POINTS = 1500
"""Layers of a profile that are drawn, at most; more would not show, and make large files."""

_LINE_WIDTH = 1.5

MOST_MARKERS = 30
"""Points of a line up to which each gets a marker."""

_COLORS = ("#08306B", "#D55E00", "#56B4E9", "#111111", "#00664B", "#CC79A7")
"""Told apart by colour-blind readers, and each of another lightness: in grey they stay apart."""

_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.6)),
    (0, (5, 1.4, 1.2, 1.4)),
    (0, (1.2, 1.2)),
    (0, (7, 3)),
    (0, (1.2, 3)),
)
_MARKERS = ("o", "s", "^", "D", "v", "P")
_THIN: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (4, 2.5))}
_CORRIDOR: dict[str, Any] = {"color": "0.35", "linewidth": 0.8, "linestyle": "-", "zorder": 1.5}
_ASKED: dict[str, Any] = {"color": "0.35", "linewidth": 1.0, "linestyle": (0, (8, 2, 1.2, 2)), "zorder": 1.5}
_DROP: dict[str, Any] = {"color": "0.35", "linewidth": 0.7, "linestyle": (0, (1, 1.5)), "zorder": 1.4}

_ALL_LAYERS = "snn simulate --act lselu --epsilon 0.03 --depth 100 --plot figure.svg"
_WITH_FAN_IN = "snn simulate --act lselu --epsilon 0.03 --fanin 64,256,1024 --plot-tolerance figure.svg"


def propagations(records: Sequence[Propagation], path: str, *, force: bool = True) -> None:
    """Draw propagations into a file, all of it or nothing: it is written under another name and then renamed.

    With profiles: panels of the gradient, the second moment and the correlation over the layers, a line for each
    record, with a band of one deviation over networks where the fan-in is finite. Otherwise the typical growth of the
    gradient over the option that varies, a line for each combination of the others.

    force
        Replace a file that has appeared since ``plot.check``.

    Raises InputError where there is nothing to draw or the file cannot be written, MissingExtra without matplotlib.
    """
    _write(_figure, records, path, force)


def tolerance(records: Sequence[Propagation], path: str, *, force: bool = True) -> None:
    """Draw over the fan-in the weight mean that is tolerated, a line for each activation and remedy.

    Remedies that take the mean out of the weights or activations have no limit; the weight mean asked for and the
    fan-in at which it becomes too much are marked.

    Raises as ``propagations`` does.
    """
    _write(_tolerance, records, path, force)


def _write(
    make: Callable[[Sequence[Propagation]], Any], records: Sequence[Propagation], path: str, force: bool
) -> None:
    form = _format(path)
    with _matplotlib():
        from matplotlib import style

        with style.context(["default", _STYLE]):
            figure = make(records)
            with _writing(path):
                _save(figure, path, form, force)


def _figure(records: Sequence[Propagation]) -> Any:
    if not records:
        raise InputError("--plot has nothing to draw: there is no record", _ALL_LAYERS)
    if all(record.profile is not None for record in records):
        return _layers(records)
    return _sweep(records)


class _Setting(NamedTuple):
    """What was asked for: its value in a record, its words in a legend (None: unsaid), and on an axis."""

    of: Callable[[Propagation], Any]
    words: Callable[[Any], str | None]
    axis: str = ""
    integer: bool = False


def _is(symbol: str, unsaid: float | None = None) -> Callable[[Any], str | None]:
    return lambda value: None if value is None or value == unsaid else f"{symbol} = {_number(value)}"


def _where(words: str) -> Callable[[Any], str | None]:
    return lambda value: words if value else None


def _amount(words: str) -> Callable[[Any], str | None]:
    return lambda value: f"{words} {_number(value)}" if value else None


def _fan_in(record: Propagation) -> float | None:
    """None where widths say it, infinite where nothing does."""
    if record.widths is not None:
        return None
    return math.inf if record.fan_in is None else record.fan_in


def _parameter(name: str) -> Callable[[Propagation], float | None]:
    return lambda record: record.params.get(name)


def _sizes(widths: tuple[int, ...] | None) -> str | None:
    if widths is None:
        return None
    runs = [(width, len(list(same))) for width, same in groupby(widths)]
    text = ",".join(f"{width}x{times}" if times > 1 else str(width) for width, times in runs)
    return f"widths {text}" if len(text) <= 32 else f"{len(widths)} widths from {widths[0]} to {widths[-1]}"


_SIGMA_W, _SIGMA_B = r"$\mathdefault{σ_w}$", r"$\mathdefault{σ_b}$"
_SETTINGS = {
    "act": _Setting(lambda r: r.act, str),
    "epsilon": _Setting(
        lambda r: r.epsilon, lambda e: "ε set by N" if e == math.inf else _is("ε")(e), "ε   backward gain minus one"
    ),
    "fan_in": _Setting(
        _fan_in, lambda n: "infinite width" if n == math.inf else _is("N")(n), "N   fan-in", integer=True
    ),
    "weights": _Setting(lambda r: r.weights, lambda name: f"{name} weights"),
    "sigma_w": _Setting(
        lambda r: r.sigma_w, _is(_SIGMA_W, 1), f"{_SIGMA_W}   deviation of the weights, times the root of the fan-in"
    ),
    "centralize": _Setting(lambda r: r.centralize, _where("centralized weights")),
    "centralize_activation": _Setting(lambda r: r.centralize_activation, _where("centralized activation")),
    "mixup": _Setting(lambda r: r.mixup, _amount("mixup"), "A   mixup, t ~ Beta(A, A)"),
    "scaled_mixup": _Setting(lambda r: r.scaled_mixup, _amount("scaled mixup"), "A   scaled mixup, t ~ Beta(A, A)"),
    "weight_mean": _Setting(
        lambda r: r.weight_mean, _amount("weight mean"), "weight mean, in units of the weights' deviation"
    ),
    "widths": _Setting(lambda r: r.widths, _sizes),
    "depth": _Setting(lambda r: r.depth, _is("L"), "L   depth in layers", integer=True),
    "sigma_b": _Setting(lambda r: r.sigma_b, _is(_SIGMA_B, 0), f"{_SIGMA_B}   deviation of the biases"),
    "c0": _Setting(lambda r: r.c0, _is("c₀"), "c₀   correlation of the inputs"),
    "q0": _Setting(lambda r: r.q0, _is("q₀"), "q₀   second moment of the inputs"),
    "lambda": _Setting(_parameter("lambda"), _is("λ"), "λ   slope for x > 0"),
    "alpha": _Setting(_parameter("alpha"), _is("α")),
    "beta": _Setting(_parameter("beta"), _is("β")),
}
_REMEDIES = ("centralize", "centralize_activation", "mixup", "scaled_mixup")
_LISTED = ("epsilon", "fan_in", "weights", "sigma_w", *_REMEDIES, "weight_mean")
"""Said in a legend wherever they differ; other settings only where these do not tell records apart."""

_CATEGORIES = ("act", "widths", "weights", "centralize", "centralize_activation")
_SOURCES = (
    # what follows from something else comes after it: depth and fan-in may choose epsilon, mixing makes q0
    "depth", "fan_in", "weight_mean", "sigma_b", "mixup", "scaled_mixup", "c0", "q0", "epsilon", "lambda", "sigma_w",
    "alpha", "beta",
)  # fmt: skip


def _key(record: Propagation, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(_SETTINGS[name].of(record) for name in names)


def _follows(
    value: Callable[[Propagation], Any], records: Iterable[Propagation], names: Iterable[str], *more: Any
) -> bool:
    """Whether those settings, and what ``more`` says of a record, determine the value."""
    names = list(names)
    pairs = {(_key(r, names), *(of(r) for of in more), value(r)) for r in records}
    return len({pair[:-1] for pair in pairs}) == len(pairs)


def _set_by_fan_in(records: Sequence[Propagation]) -> list[Propagation]:
    """Infinity for an epsilon that is met at one fan-in only: such ones were chosen for it, and make one line."""
    sizes: dict[tuple[str, float], set[Any]] = {}
    by_act: dict[str, set[Any]] = {}
    for r in records:
        by_act.setdefault(r.act, set()).add(_fan_in(r))
        if r.epsilon is not None:
            sizes.setdefault((r.act, r.epsilon), set()).add(_fan_in(r))
    chosen = {key for key, found in sizes.items() if len(found) == 1 and len(by_act[key[0]]) > 1}
    # one such epsilon is no choice, but the only one, or one without solution elsewhere
    chosen = {(act, e) for act, e in chosen if len({size for a, x in chosen if a == act for size in sizes[a, x]}) > 1}
    return [
        replace(r, epsilon=math.inf) if r.epsilon is not None and (r.act, r.epsilon) in chosen else r for r in records
    ]


def _distinct(records: Iterable[Propagation], name: str) -> int:
    return len({_SETTINGS[name].of(record) for record in records})


def _labels(records: Sequence[Propagation], names: Iterable[str] = tuple(_SETTINGS)) -> list[str]:
    """The activation and what differs between the records; of one record its epsilon and fan-in."""
    names = list(names)
    shown = ["act"]
    for name in names:
        if name in _LISTED:
            alone = len(records) == 1 and name in ("epsilon", "fan_in", *_REMEDIES)
            wanted = alone or _distinct(records, name) > 1
        else:
            wanted = name != "act" and not _follows(_SETTINGS[name].of, records, shown)
        if wanted:
            shown.append(name)
    return [_described(record, shown) for record in records]


def _described(record: Propagation, names: Iterable[str]) -> str:
    words = (_SETTINGS[name].words(_SETTINGS[name].of(record)) for name in names)
    return ", ".join(word for word in words if word)


class _Pen(NamedTuple):
    """How a line is drawn."""

    color: Any
    dashes: Any
    marker: str


def _pens(total: int) -> list[_Pen]:
    """For more lines than there are colours, a scale that darkens; dashes repeat."""
    if total <= len(_COLORS):
        return [_Pen(*each) for each in zip(_COLORS, _DASHES, _MARKERS, strict=True)][:total]
    from matplotlib import colormaps

    scale, kinds = colormaps["viridis"], len(_DASHES)
    return [_Pen(scale(0.85 * i / (total - 1)), _DASHES[i % kinds], _MARKERS[i % kinds]) for i in range(total)]


def _line(axes: Any, xs: Sequence[float], ys: Sequence[float], pen: _Pen, width: float, *, dots: bool = False) -> None:
    """A line broken where there is no value; a point without neighbours is a dot."""
    # wide lines lie under others, which are to be seen on them
    style = {"color": pen.color, "alpha": 1 if width <= _LINE_WIDTH else 0.45}
    axes.plot(xs, ys, linestyle=pen.dashes, linewidth=width, **style)
    if dots and len(xs) <= MOST_MARKERS:
        axes.plot(xs, ys, linestyle="none", marker=pen.marker, markersize=3 + width, **style)
        return
    known = [False, *map(math.isfinite, ys), False]
    alone = [i for i in range(len(ys)) if known[i : i + 3] == [False, True, False]]
    if alone:
        axes.plot([xs[i] for i in alone], [ys[i] for i in alone], color=pen.color, linestyle="none", marker=pen.marker)


def _band(
    axes: Any,
    xs: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    pen: _Pen,
    total: int,
    floor: float = -math.inf,
) -> None:
    """Paler where there are many, and edged, so that overlapping ones can be followed."""
    fill = 0.16 if total <= 3 else 0.08
    axes.fill_between(xs, low, high, color=pen.color, alpha=fill, linewidth=0, zorder=1.2)
    # where the lower edge has left the axis there is none
    for edge in ([y if y > floor else _NAN for y in low], high):
        axes.plot(xs, edge, color=pen.color, linewidth=0.5, alpha=0.55, zorder=1.3)


def _nested(lines: Sequence[Sequence[float]]) -> list[float]:
    """Widths of lines: of those that coincide, the first is the widest, so that each can be seen."""
    keys = [tuple(None if math.isnan(y) else float(f"{y:.6g}") for y in ys) for ys in lines]
    return [_LINE_WIDTH + 1.8 * min(4, keys[i + 1 :].count(key)) for i, key in enumerate(keys)]


def _limits(values: Iterable[float], least: float, margin: float = 0.06) -> tuple[float, float]:
    """Ends of a linear axis about the values, ``least`` apart or more."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    spare = max(margin * (high - low), (least - (high - low)) / 2)
    return low - spare, high + spare


def _linear_ticks(axis: Any, *, integer: bool = False, most: int = 6) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=integer))
    axis.set_major_formatter(FuncFormatter(lambda x, _: _number(0.0 if abs(x) < 1e-12 else x)))


def _log_ticks(axis: Any, low: float, high: float, values: Iterable[float] = (), *, most: int = 6) -> None:
    """Ticks for logarithms from low to high: at the values themselves where they are few, else at round numbers."""
    given = sorted({math.log10(value) for value in values})
    gaps = [b - a for a, b in pairwise(given)]
    minor: list[float] = []
    if given and len(given) <= 9 and min(gaps, default=1) > 0.07 * (high - low):
        ticks = [(x, _number(10**x)) for x in given]
    else:
        first, last = math.floor(low), math.ceil(high)
        within = [k + math.log10(m) for k in range(first, last) for m in range(2, 10)] if last - first <= 12 else []
        decades = [k for k in range(first, last + 1) if low <= k <= high]
        if high - low < 2 or len(decades) < 2:
            factors = (1, 2, 5) if high - low > 0.5 else (1, 1.5, 2, 3, 4, 5, 7)
            exact = [(k, m) for k in range(first, last + 1) for m in factors]
            ticks = [(k + math.log10(m), _power(m, k)) for k, m in exact if low <= k + math.log10(m) <= high]
        else:
            step = _round_step((len(decades) - 1) / most)
            ticks = [(k, _power(1, k)) for k in decades if k % step == 0]
        minor = [x for x in within if low <= x <= high]
    axis.set_ticks([x for x, _ in ticks], [label for _, label in ticks])
    axis.set_ticks(minor, minor=True)
    axis.axes.tick_params(which="minor", length=2, color="0.6")


def _round_step(least: float) -> int:
    return next((step for step in (1, 2, 5, 10, 20, 50, 100, 200) if step >= least), 500)


def _power(factor: float, exponent: int) -> str:
    if -4 < exponent < 5:
        return _number(factor * 10.0**exponent)
    power = rf"10^{{{exponent}}}"
    return rf"$\mathdefault{{{power}}}$" if factor == 1 else rf"$\mathdefault{{{factor:g}·{power}}}$"


def _number(x: float) -> str:
    text = str(int(x)) if abs(x) < 1e7 and x == int(x) else f"{x:.5g}"
    return text.replace("-", "−")


def _log10(value: float | None) -> float:
    if value is None or math.isnan(value) or value <= 0:
        return _NAN
    return min(math.log10(value), _LARGEST_EXPONENT) if value < math.inf else _LARGEST_EXPONENT


def _decimal(logarithm: float | None) -> float:
    """Of a natural logarithm."""
    return _NAN if logarithm is None else logarithm / _LN10


def _span(low: float, high: float) -> bool:
    """Whether positive values from low to high are to have a logarithmic axis."""
    return 0 < 10 * low < high


def _legend(figure: Any, labels: Sequence[str], handles: Sequence[Any], extra: Sequence[Any]) -> None:
    """Above the panels, in as many columns as fit; of very many lines, evenly spread ones are named."""
    step = max(1, -(-(len(labels) - 1) // (MOST_LABELS - 1)))
    named = [*range(0, len(labels) - 1, step), len(labels) - 1]
    for i in named:
        handles[i].set_label(_wrapped(labels[i], 80))
    shown = [*(handles[i] for i in named), *extra]
    columns = next((n for n in (4, 3, 2) if n <= len(shown) and _legend_width(shown, n) <= WIDTH), 1)
    figure.legend(handles=shown, loc="outside upper left", ncols=columns, columnspacing=1.6)
    lines = sum(1 + handle.get_label().count("\n") for handle in shown)
    figure.set_figheight(figure.get_figheight() + 0.18 * -(-lines // columns) + 0.1)


def _legend_width(handles: Sequence[Any], columns: int) -> float:
    """Inches, about: matplotlib fills column after column, the first ones with one more where they differ."""
    size, more = divmod(len(handles), columns)
    starts = [k * size + min(k, more) for k in range(columns + 1)]
    lengths = [
        [len(line) for h in handles[i:j] for line in _plain(h.get_label()).split("\n")] for i, j in pairwise(starts)
    ]
    return sum(0.064 * max(column) + 0.72 for column in lengths)


def _sample(pen: _Pen, *, line: bool = True, dots: bool = False) -> Any:
    """What the legend shows of a line."""
    from matplotlib.lines import Line2D

    dashes: Any = pen.dashes if line else "none"
    marker = pen.marker if dots else None
    return Line2D([], [], color=pen.color, linestyle=dashes, marker=marker)


def _wrapped(label: str, width: int) -> str:
    """Broken after commas only."""
    lines = [""]
    for part in label.split(", "):
        joined = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(_plain(joined)) <= width:
            lines[-1] = joined
        else:
            lines[-1] += ","
            lines.append(part)
    return "\n".join(lines)


def _plain(label: str) -> str:
    for words in (r"$\mathdefault{", "}$"):
        label = label.replace(words, "")
    return label


def _corridors(axes: Any, records: Iterable[Propagation]) -> tuple[list[Any], list[float]]:
    """Lines between which the gradient was asked to stay: what the legend says of them, and where they are."""
    from matplotlib.lines import Line2D

    factors = sorted({record.budget.max_growth for record in records if record.budget is not None})
    places = [sign * math.log10(factor) for factor in factors for sign in (-1, 1)]
    for y in places:
        axes.axhline(y, **_CORRIDOR)
    if not factors:
        return [], []
    words = ", ".join(_number(factor) for factor in factors[:4]) + (", …" if len(factors) > 4 else "")
    return [Line2D([], [], label=f"allowed: a factor of {words}, up or down", **_CORRIDOR)], places


def _band_handle(color: str = "0.45") -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=color, alpha=0.35, edgecolor=color, label="± one deviation over networks")


class _Curve(NamedTuple):
    """A column over layers, with a band about it, and what infinite width says where that is something else.

    A band ends at ``floor``: its lower edge is there or, where it cannot be drawn, below.
    """

    x: list[float]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None
    infinite: list[float] | None = None
    floor: float = -math.inf


def _layers(records: Sequence[Propagation]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    gradients, moments = [_gradient(r) for r in records], [_second_moment(r) for r in records]
    correlations = [_correlation(r) for r in records]
    if not any(map(_any, gradients + moments)):
        raise InputError("--plot has nothing to draw: no layer of the profile is finite", _ALL_LAYERS)
    panels = 2 + any(map(_any, correlations))
    pens = _pens(len(records))
    figure = Figure(figsize=(WIDTH, 0.5 + (2.25 if panels == 2 else 1.9) * panels), layout="constrained")
    grid = figure.subplots(panels, 1, sharex=True)
    _gradient_panel(grid[0], gradients, pens, corridor := _corridors(grid[0], records))
    _moment_panel(grid[1], moments, pens)
    if panels == 3:
        _correlation_panel(grid[2], correlations, pens)
    deepest = max(record.depth for record in records)
    grid[-1].set_xlabel("layer   (0: the input)")
    grid[-1].set_xlim(-0.01 * deepest, 1.01 * deepest)
    _linear_ticks(grid[-1].xaxis, integer=True, most=10)
    extra = []
    if any(curve.low is not None for curve in gradients + moments):
        extra.append(_band_handle())
    if any(curve.infinite is not None for curve in moments):
        extra.append(Line2D([], [], color="0.35", label="q at infinite width", **_THIN))
    _legend(figure, _labels(records), [_sample(pen) for pen in pens], extra + corridor[0])
    figure.align_ylabels(grid)
    return figure


def _any(curve: _Curve) -> bool:
    return any(map(math.isfinite, curve.y))


def _kept(*columns: Column | None) -> list[int]:
    """Layers to draw: all, or of very many those evenly spread, those near the ends, and where a column breaks off."""
    given = [column for column in columns if column is not None]
    last = len(given[0]) - 1
    if last < MOST_POINTS:
        return list(range(last + 1))
    half = MOST_POINTS // 2
    kept = {round(last * i / half) for i in range(half + 1)}
    near = {math.floor(last ** (i / 200)) for i in range(201)}
    kept |= near | {last - i for i in near} | {0, last}
    for column in given:
        breaks = [i for i in range(last) if (column[i] is None) != (column[i + 1] is None)]
        kept |= {i + k for i in breaks[:100] for k in (0, 1)}
    return sorted(kept)


def _column(column: Column | None, kept: Sequence[int]) -> list[float]:
    return [_NAN if column is None or (value := column[i]) is None else value for i in kept]


def _gradient(record: Propagation) -> _Curve:
    profile = record.profile
    assert profile is not None
    kept = _kept(profile.log_gradient, profile.log_gradient_sd)
    x = [float(profile.layer[i]) for i in kept]
    y = [value / _LN10 for value in _column(profile.log_gradient, kept)]
    if profile.log_gradient_sd is None:
        return _Curve(x, y)
    sd = [value / _LN10 for value in _column(profile.log_gradient_sd, kept)]
    return _Curve(x, y, [a - b for a, b in zip(y, sd, strict=True)], [a + b for a, b in zip(y, sd, strict=True)])


def _second_moment(record: Propagation) -> _Curve:
    profile = record.profile
    assert profile is not None
    kept = _kept(profile.q, profile.q_mean, profile.q_sd)
    x, q = [float(profile.layer[i]) for i in kept], _column(profile.q, kept)
    if profile.q_mean is None:
        return _Curve(x, q)
    y = _column(profile.q_mean, kept)
    if profile.q_sd is None:
        return _Curve(x, y, infinite=q)
    sd = _column(profile.q_sd, kept)
    low, high = [max(a - b, 0.0) for a, b in zip(y, sd, strict=True)], [a + b for a, b in zip(y, sd, strict=True)]
    return _Curve(x, y, low, high, q, 0.0)


def _correlation(record: Propagation) -> _Curve:
    profile = record.profile
    assert profile is not None
    kept = _kept(profile.log_gradient, profile.correlation)
    return _Curve([float(profile.layer[i]) for i in kept], _column(profile.correlation, kept))


def _values(curves: Iterable[_Curve]) -> list[float]:
    columns = (column for curve in curves for column in (curve.y, curve.low, curve.high, curve.infinite))
    return [value for column in columns if column is not None for value in column if math.isfinite(value)]


def _curves(axes: Any, curves: Sequence[_Curve], pens: Sequence[_Pen]) -> None:
    for curve, pen, width in zip(curves, pens, _nested([curve.y for curve in curves]), strict=True):
        if curve.low is not None and curve.high is not None:
            _band(axes, curve.x, curve.low, curve.high, pen, len(curves), curve.floor)
        if curve.infinite is not None:
            axes.plot(curve.x, curve.infinite, color=pen.color, zorder=1.4, **_THIN)
        _line(axes, curve.x, curve.y, pen, width)
    if not any(map(_any, curves)):
        axes.text(0.5, 0.5, "not finite", transform=axes.transAxes, ha="center", va="center", color="0.35")
        axes.set_yticks([])


def _gradient_panel(
    axes: Any, curves: Sequence[_Curve], pens: Sequence[_Pen], corridor: tuple[list[Any], list[float]]
) -> None:
    axes.set_title("squared norm of the gradient, relative to the last layer", loc="left")
    axes.set_ylabel("log₁₀ |g[l]|² / |g[L]|²")
    axes.set_ylim(*_limits([*_values(curves), *corridor[1], 0.0], 0.1))
    _linear_ticks(axes.yaxis)
    _curves(axes, curves, pens)


def _moment_panel(axes: Any, curves: Sequence[_Curve], pens: Sequence[_Pen]) -> None:
    axes.set_title("second moment of the pre-activations", loc="left")
    axes.set_ylabel("q[l]")
    lines = [v for c in curves for ys in (c.y, c.infinite) for v in ys or () if 0 < v < math.inf]
    low, high = min(lines, default=1.0), max(lines, default=1.0)
    top = max((v for v in _values(curves) if v > 0), default=1.0)
    if top <= WIDE * low and 1e-4 <= high <= 1e5:
        values = _values(curves)
        bottom, top = _limits(values, 0.1 * max(map(abs, values), default=1.0))
        axes.set_ylim(0.0 if min(values, default=0.0) >= 0 and bottom < 0 else bottom, top)
        _linear_ticks(axes.yaxis)
        _curves(axes, curves, pens)
        return
    logs = [_logs(curve) for curve in curves]
    ends = _limits([max(v, _log10(low) - 1) for v in _values(logs)], 1.0)
    axes.set_ylim(*ends)
    _log_ticks(axes.yaxis, *ends)
    _curves(axes, [_ending(curve, ends[0]) for curve in logs], pens)


def _logs(curve: _Curve) -> _Curve:
    def logs(column: list[float] | None) -> list[float] | None:
        return None if column is None else [_log10(value) for value in column]

    return _Curve(curve.x, logs(curve.y) or [], logs(curve.low), logs(curve.high), logs(curve.infinite))


def _ending(curve: _Curve, floor: float) -> _Curve:
    """The curve with a band that goes down to the floor where its lower edge, near 0, is below or has no logarithm."""
    if curve.low is None or curve.high is None:
        return curve
    low = [
        _NAN if math.isnan(high) else floor if math.isnan(low) else max(low, floor)
        for low, high in zip(curve.low, curve.high, strict=True)
    ]
    return curve._replace(low=low, floor=floor)


def _correlation_panel(axes: Any, curves: Sequence[_Curve], pens: Sequence[_Pen]) -> None:
    axes.set_title("correlation of two inputs, at infinite width", loc="left")
    axes.set_ylabel("c[l]")
    axes.set_ylim(*_limits(_values(curves), 0.1))
    _linear_ticks(axes.yaxis)
    _curves(axes, curves, pens)


class _Series(NamedTuple):
    """Records along the option that varies (``x``), or with no value of it (``x`` empty)."""

    label: str
    x: list[float]
    records: list[Propagation]


def _sweep(records: Sequence[Propagation]) -> Any:
    if all(record.gradient.log_growth is None for record in records):
        raise InputError("--plot has nothing to draw: the growth of the gradient is not finite", _ALL_LAYERS)
    name, series = _grouped(_set_by_fan_in(records))
    return _rows(records) if name is None else _growth(name, series)


def _sources(records: Sequence[Propagation]) -> list[str]:
    """Settings that tell the records apart, without those that follow from others."""
    kept = [name for name in _CATEGORIES if _distinct(records, name) > 1]
    for name in _SOURCES:
        if not _follows(_SETTINGS[name].of, records, kept):
            kept.append(name)
    return kept


def _grouped(records: Sequence[Propagation]) -> tuple[str | None, list[_Series]]:
    """What the figure goes over, None where nothing varies; and its lines."""
    sources = _sources(records)
    by_act: dict[str, list[Propagation]] = {}
    for record in records:
        by_act.setdefault(record.act, []).append(record)

    def count(name: str) -> int:
        found = [{_SETTINGS[name].of(record) for record in group} for group in by_act.values()]
        return max(len({x for x in values if x is not None and math.isfinite(x)}) for values in found)

    counts = {name: count(name) for name in sources if _SETTINGS[name].axis}
    name = max(counts, key=lambda each: counts[each], default=None)
    if name is None or counts[name] < 2:
        return None, []
    others = [each for each in sources if each != name]
    groups: dict[tuple[Any, ...], dict[float, Propagation]] = {}
    for record in records:
        x = _SETTINGS[name].of(record)
        known = x is not None and math.isfinite(x)
        groups.setdefault(_key(record, others), {})[x if known else _NAN] = record
    lines: list[tuple[list[float], list[Propagation]]] = []
    for points in groups.values():
        xs = sorted(x for x in points if not math.isnan(x))
        if xs:
            lines.append((xs, [points[x] for x in xs]))
        lines += [([], [record]) for x, record in points.items() if math.isnan(x)]
    heads = [found[0] for _, found in lines]
    constant = [each for each in ("epsilon", "fan_in") if each != name and _distinct(records, each) == 1]
    labels = _labels(
        heads,
        [each for each in _SETTINGS if each in others or each in constant or (each in _REMEDIES and each != name)],
    )
    series = []
    for label, (xs, found) in zip(labels, lines, strict=True):
        missing = _SETTINGS[name].words(_SETTINGS[name].of(found[0])) if not xs else None
        series.append(_Series(f"{label}, {missing}" if missing else label, xs, found))
    return name, series


def _band_of(records: Iterable[Propagation]) -> tuple[list[float], list[float]]:
    growth = [_decimal(record.gradient.log_growth) for record in records]
    return growth, [_decimal(record.gradient.log_growth_sd) for record in records]


def _growth(name: str, series: Sequence[_Series]) -> Any:
    from matplotlib.figure import Figure

    setting, pens = _SETTINGS[name], _pens(len(series))
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    xs = [x for each in series for x in each.x]
    logarithmic = _span(min(xs), max(xs))
    bands = [_band_of(each.records) for each in series]
    extra, values = _corridors(axes, [record for each in series for record in each.records])
    if any(map(math.isfinite, (sd for _, sds in bands for sd in sds))):
        extra = [_band_handle(), *extra]
    widths = _nested([[*each.x, *ys] for each, (ys, _) in zip(series, bands, strict=True)])
    for each, (ys, sds), pen, width in zip(series, bands, pens, widths, strict=True):
        low, high = [a - b for a, b in zip(ys, sds, strict=True)], [a + b for a, b in zip(ys, sds, strict=True)]
        values += ys + low + high
        if not each.x:
            if math.isfinite(ys[0]):
                axes.axhline(ys[0], color=pen.color, linestyle=pen.dashes, linewidth=width)
            if math.isfinite(low[0]):
                axes.axhspan(low[0], high[0], color=pen.color, alpha=0.08, linewidth=0)
            continue
        places = [math.log10(x) for x in each.x] if logarithmic else each.x
        if len(places) == 1:
            bar = None if math.isnan(sds[0]) else sds[0]
            axes.errorbar(places, ys, yerr=bar, color=pen.color, marker=pen.marker, linestyle="none", capsize=3)
            continue
        if any(map(math.isfinite, sds)):
            _band(axes, places, low, high, pen, len(series))
        _line(axes, places, ys, pen, width, dots=True)
    ends = _limits([math.log10(x) for x in xs] if logarithmic else xs, 0.0, 0.03)
    axes.set_xlim(*ends)
    if logarithmic:
        _log_ticks(axes.xaxis, *ends, xs if setting.integer else (), most=9)
    else:
        _linear_ticks(axes.xaxis, integer=setting.integer, most=9)
    axes.set_xlabel(setting.axis)
    axes.set_title("typical growth of the squared gradient norm, from the last layer to the input", loc="left")
    axes.set_ylabel("log₁₀ |g[0]|² / |g[L]|²")
    axes.set_ylim(*_limits([*values, 0.0], 0.1))
    _linear_ticks(axes.yaxis)
    samples = [
        _sample(pen, line=len(each.x) != 1, dots=0 < len(each.x) <= MOST_MARKERS)
        for each, pen in zip(series, pens, strict=True)
    ]
    _legend(figure, [each.label for each in series], samples, extra)
    return figure


def _rows(records: Sequence[Propagation]) -> Any:
    """Where no option varies, a row for each record."""
    from matplotlib.figure import Figure

    distinct = list({_key(record, _SETTINGS): record for record in records}.values())
    figure = Figure(figsize=(WIDTH, 1.1 + 0.26 * len(distinct)), layout="constrained")
    axes = figure.subplots()
    growth, sds = _band_of(distinct)
    rows = range(len(distinct))
    for y, x, sd, pen in zip(rows, growth, sds, _pens(len(distinct)), strict=True):
        bar = None if math.isnan(sd) else sd
        axes.errorbar([x], [y], xerr=bar, color=pen.color, marker=pen.marker, linestyle="none", capsize=3)
        if math.isnan(x):
            axes.annotate("not finite", (0.5, y), xycoords=("axes fraction", "data"), va="center", color="0.35")
    factors = sorted({r.budget.max_growth for r in distinct if r.budget is not None})
    places = [sign * math.log10(factor) for factor in factors for sign in (-1, 1)]
    for place in places:
        axes.axvline(place, **_CORRIDOR)
    ends = [x + sign * (0 if math.isnan(sd) else sd) for x, sd in zip(growth, sds, strict=True) for sign in (-1, 1)]
    axes.set_xlim(*_limits([*ends, *places, 0.0], 0.1))
    axes.set_ylim(len(distinct) - 0.4, -0.6)
    axes.set_yticks(list(rows), [_wrapped(label, 40) for label in _labels(distinct)])
    axes.grid(visible=False, axis="y")
    _linear_ticks(axes.xaxis, most=9)
    axes.set_title("typical growth of the squared gradient norm, ± one deviation over networks", loc="left")
    words = f"   (thin lines: allowed, a factor of {', '.join(map(_number, factors[:4]))})" if factors else ""
    axes.set_xlabel(f"log₁₀ |g[0]|² / |g[L]|²{words}")
    return figure


# ---------------------------------------------------------------------------------------------------------- tolerance

_ALWAYS_SPLIT = ("act", *_REMEDIES)
_MAY_SPLIT = (
    # the tolerance seldom depends on them; the first are left out first
    "weight_mean", "weights", "alpha", "beta", "c0", "depth", "widths", "q0", "sigma_b", "lambda", "epsilon", "sigma_w",
)  # fmt: skip


class _Tolerance(NamedTuple):
    """Tolerance over the fan-in, as decimal logarithms; without one where the remedy leaves no mean."""

    label: str
    x: list[float]
    y: list[float]
    unlimited: bool


def _width(record: Propagation) -> int | None:
    return max(record.widths[:-1]) if record.widths else record.fan_in


def _unlimited(record: Propagation) -> bool:
    return (record.centralize or record.centralize_activation) and record.mean_path.weight_mean_tolerance is None


def _tolerances(records: Sequence[Propagation]) -> list[_Tolerance]:
    def value(record: Propagation) -> Any:
        found = record.mean_path.weight_mean_tolerance
        return None if found is None else float(f"{found:.9g}")

    names = [*_ALWAYS_SPLIT, *_MAY_SPLIT]
    for name in _MAY_SPLIT:
        fewer = [each for each in names if each != name]
        if _follows(value, records, fewer, _width):
            names = fewer
    groups: dict[tuple[Any, ...], dict[int, Propagation]] = {}
    for record in records:
        size = _width(record)
        assert size is not None
        groups.setdefault(_key(record, names), {})[size] = record
    heads = [next(iter(points.values())) for points in groups.values()]
    shown = [name for name in _SETTINGS if name in _ALWAYS_SPLIT or (name in names and _distinct(heads, name) > 1)]
    found = []
    for head, points in zip(heads, groups.values(), strict=True):
        ordered = [points[size] for size in sorted(points)]
        found.append(
            _Tolerance(
                _described(head, shown),
                [math.log10(size) for size in sorted(points)],
                [_log10(record.mean_path.weight_mean_tolerance) for record in ordered],
                all(map(_unlimited, ordered)),
            )
        )
    return [line for line in found if line.unlimited or any(map(math.isfinite, line.y))]


def _tolerance(records: Sequence[Propagation]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    records = [record for record in records if _width(record) is not None]
    lines = _tolerances(_set_by_fan_in(records))
    if not lines:
        raise InputError("--plot-tolerance has nothing to draw: tolerances are those of a finite fan-in", _WITH_FAN_IN)
    asked = sorted({record.weight_mean for record in records if record.weight_mean}, key=abs)
    levels = [_log10(abs(mean)) for mean in asked]
    limited, free = [line for line in lines if not line.unlimited], [line for line in lines if line.unlimited]
    pens = {id(line): pen for line, pen in zip(lines, _pens(len(lines)), strict=True)}
    crossings = [(x, level) for level in sorted(set(levels)) for line in limited for x in _crossings(line, level)]

    figure = Figure(figsize=(WIDTH, 3.5 + 0.12 * min(len(free), 10)), layout="constrained")
    axes = figure.subplots()
    across = _limits([x for line in lines for x in line.x], 0.6, 0.04)
    row = min(0.1, 0.5 / max(1, len(free)))
    low, high = _limits([y for line in limited for y in line.y] + levels, 0.5, 0.08)
    if crossings:
        low = min(low, min(level for _, level in crossings) - 0.45 * (high - low))
    top = high
    high += (high - low) * row * len(free) / (1 - row * len(free))
    axes.set_xlim(*across)
    axes.set_ylim(low, high)
    for line, width in zip(limited, _nested([[*line.x, *line.y] for line in limited]), strict=True):
        _line(axes, line.x, line.y, pens[id(line)], width, dots=True)
    for k, line in enumerate(free):
        _no_limit(axes, line, pens[id(line)], 1 - row * (k + 0.75), row)
    for level in levels:
        axes.axhline(level, **_ASKED)
    _mark(axes, crossings, across, low)

    axes.set_xlabel(_SETTINGS["fan_in"].axis)
    _log_ticks(axes.xaxis, *across, {_width(record) or 1 for record in records}, most=9)
    axes.set_ylabel("weight mean / weights' deviation")
    if limited or levels:
        _log_ticks(axes.yaxis, low, top)
    else:
        axes.set_yticks([])
    axes.set_title("tolerance: the weight mean from which the mean is no longer attracted to 0", loc="left")
    extra = (
        [Line2D([], [], label=f"weight mean asked for: {', '.join(map(_number, asked))}", **_ASKED)] if asked else []
    )
    samples = [
        _sample(pens[id(line)], line=len(line.x) > 1, dots=not line.unlimited and len(line.x) <= MOST_MARKERS)
        for line in lines
    ]
    for line, sample in zip(lines, samples, strict=True):
        if line.unlimited and len(line.x) == 1:
            sample.set_marker("^")
    _legend(figure, [line.label for line in lines], samples, extra)
    return figure


def _crossings(line: _Tolerance, level: float) -> list[float]:
    """Where the line goes through the level; between fan-ins it is straight, as a power of the fan-in is."""
    found = []
    points = list(zip(line.x, line.y, strict=True))
    for (x, y), (u, v) in pairwise(points):
        if math.isfinite(y) and math.isfinite(v) and min(y, v) <= level < max(y, v):
            found.append(x + (level - y) / (v - y) * (u - x))
    return found


def _mark(axes: Any, crossings: Iterable[tuple[float, float]], across: tuple[float, float], low: float) -> None:
    """Drop lines from the crossings to the axis, and the fan-ins there; near ones share their words."""
    clusters: list[list[tuple[float, float]]] = []
    for x, level in sorted(crossings):
        axes.plot([x, x], [low, level], **_DROP)
        axes.plot([x], [level], marker="o", color="0.2", markerfacecolor="white", zorder=4)
        if clusters and x - clusters[-1][0][0] < 0.04 * (across[1] - across[0]):
            clusters[-1].append((x, level))
        else:
            clusters.append([(x, level)])
    for cluster in clusters:
        sizes = [_number(round(10 ** cluster[i][0])) for i in (0, -1)]
        words = f"N ≈ {sizes[0]}" if sizes[0] == sizes[1] else f"N ≈ {sizes[0]} to {sizes[1]}"
        left = cluster[0][0] > across[0] + 0.06 * (across[1] - across[0])
        axes.annotate(
            words, (cluster[0 if left else -1][0], 0), xycoords=("data", "axes fraction"),
            xytext=(-2.5 if left else 2.5, 4), textcoords="offset points",
            rotation=90, ha="right" if left else "left", va="bottom", fontsize=8, color="0.2",
        )  # fmt: skip


def _no_limit(axes: Any, line: _Tolerance, pen: _Pen, height: float, row: float) -> None:
    """A row at the top edge with arrows that leave the figure: no weight mean is too large."""
    kind = {"color": pen.color, "transform": axes.get_xaxis_transform()}
    axes.plot(line.x, [height] * len(line.x), linestyle=pen.dashes, **kind)
    ends = sorted({line.x[0], line.x[-1]})
    for x in ends:
        axes.annotate(
            "", (x, height + 0.62 * row), (x, height), xycoords=axes.get_xaxis_transform(),
            arrowprops={"arrowstyle": "-|>", "color": pen.color, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8},
        )  # fmt: skip
    aside = len(ends) == 1
    axes.annotate(
        f"no limit: {line.label}", (sum(ends) / len(ends), height), xycoords=axes.get_xaxis_transform(),
        xytext=(6 if aside else 0, 2.5), textcoords="offset points",
        ha="left" if aside else "center", va="bottom", fontsize=8, color=pen.color,
    )  # fmt: skip
