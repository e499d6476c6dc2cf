"""Propagations for people: side by side with a small chart, or one a line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snn_cli.reports import propagation_notes as words
from snn_cli.reports.notes import called
from snn_cli.reports.propagation_notes import number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snn_cli.records import Propagation

CHART = (56, 11)
"""Columns and rows of a chart."""

_GAP = 2
_MARKS = "*o+x#@"
_EDGE = "."
_LOG_FROM = 100.0  # ratio of second moments from which their logarithm is drawn

_SETTINGS = (
    ("epsilon", "epsilon"),
    ("depth", "depth"),
    ("fan-in", "fan_in"),
    ("weights", "weights"),
    ("sigma_w", "sigma_w"),
    ("sigma_b", "sigma_b"),
    ("q0", "q0"),
    ("c0", "c0"),
    ("weight mean", "weight_mean"),
    ("mixup", "mixup"),
    ("scaled mixup", "scaled_mixup"),
    ("centralized weights", "centralize"),
    ("centralized activation", "centralize_activation"),
)
_DEFAULTS = {
    "sigma_b": 0.0,
    "q0": 1.0,
    "c0": 0.5,
    "weight_mean": 0.0,
    "centralize": False,
    "centralize_activation": False,
}

_Row = tuple[str, "Callable[[Propagation], Any]"]

_ROWS: tuple[tuple[str, tuple[_Row, ...]], ...] = (
    (
        "second moment q",
        (
            ("fixed point", lambda r: r.fixed_point.q),
            ("gamma", lambda r: r.fixed_point.gamma),
            ("depth scale (layers)", lambda r: r.fixed_point.depth_scale),
            ("deviation at this fan-in", lambda r: _root(r.finite.q_variance)),
        ),
    ),
    (
        "squared gradient",
        (
            ("chi at the fixed point", lambda r: r.isometry.chi),
            ("drift per layer (log)", lambda r: r.finite.drift),
            ("log growth, last to first", lambda r: r.gradient.log_growth),
            ("  +- over networks", lambda r: r.gradient.log_growth_sd),
            ("typical factor", lambda r: _Text(words.factor(r.gradient.log_growth, False))),
        ),
    ),
    (
        "correlation of two inputs",
        (
            ("fixed point", lambda r: r.covariance.fixed_point),
            ("depth scale (layers)", lambda r: r.covariance.depth_scale),
        ),
    ),
    (
        "mean of the weights",
        (
            ("tolerance (deviations)", lambda r: r.mean_path.weight_mean_tolerance),
            ("slope of the mean", lambda r: r.mean_path.slope if r.weight_mean else None),
            ("mean it settles at", lambda r: _settled(r)),
            ("basin, lower end", lambda r: (r.mean_path.basin or (None, None))[0]),
            ("basin, upper end", lambda r: (r.mean_path.basin or (None, None))[1]),
        ),
    ),
)


class _Text(str):
    """Already a number in text."""


def _root(x: float | None) -> float | None:
    return None if x is None else math.sqrt(max(x, 0.0))


def _settled(record: Propagation) -> float | None:
    stable = [state.mean for state in record.mean_path.fixed_points or () if state.stable]
    return min(stable, key=abs) if stable else None


def comparison(
    records: Sequence[Propagation],
    *,
    width: int | None = None,
    shorten: bool = False,
    color: bool = False,
    braille: bool = False,
) -> str:
    """Propagations side by side, a column each, with charts where the records hold every layer.

    width
        Columns to fit into; None for no limit. Too many columns are put below one another.
    shorten
        Six significant digits, for a terminal; else every digit.
    color
        Headings in bold.
    braille
        Accepted as elsewhere; the charts are plain text.
    """
    del braille
    shared = [(text, name) for text, name in _SETTINGS if len({getattr(r, name) for r in records}) == 1]
    differing = [(text, name) for text, name in _SETTINGS if (text, name) not in shared]
    blocks = [[bold(line, color) for line in wrapped(_head(records, shared), width)]]
    size = max(len(text) for _, rows in _ROWS for text, _ in rows) + _GAP
    cell = 11 if shorten else 23
    names = [called(r.act, r.params, shorten) for r in records]
    if max(map(len, names)) > cell:  # then a column has a number, and the names stand above
        numbered = [f"[{i}]" for i in range(1, len(names) + 1)]
        legend = [f"{i} {text}" for i, text in zip(numbered, names, strict=True)]
        blocks.append([line for text in legend for line in wrapped(text, width)])
        names = numbered
    across = len(records) if width is None else max(1, (width - size) // (cell + 1))
    for start in range(0, len(records), across):
        part = records[start : start + across]
        lines = [f"{'':<{size}}" + " ".join(f"{name:<{cell}}" for name in names[start : start + across])]
        if differing:
            lines += [_line(text, [getattr(r, name) for r in part], size, cell, shorten) for text, name in differing]
        for title, rows in _ROWS:
            values = [(text, [take(r) for r in part]) for text, take in rows]
            shown = [_line(text, row, size, cell, shorten) for text, row in values if any(x is not None for x in row)]
            if shown:
                lines += ["", bold(title, color), *shown]
        blocks.append(lines)
    if all(record.profile is not None for record in records):
        blocks += charts(records, width)
    text = "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks)
    return (
        text + "\n\n" + "\n".join(line for each in conclusion_parts(records, shorten) for line in wrapped(each, width))
    )


def conclusion(records: Sequence[Propagation], shorten: bool = False) -> str:
    """The verdict alone, for a listing."""
    return " ".join(words.verdict(records, shorten))


def conclusion_parts(records: Sequence[Propagation], shorten: bool) -> list[str]:
    """The verdict, and every note once with the activations that it is about."""
    notes: dict[str, list[str]] = {}
    for record in records:
        for note in record.notes:
            notes.setdefault(words.sentence(note, record, shorten), []).append(words.label(record, records))
    about = [
        f"note ({', '.join(names)}): {text}" if len(records) > 1 else f"note: {text}" for text, names in notes.items()
    ]
    return [*words.verdict(records, shorten), *about]


def wrapped(text: str, width: int | None) -> list[str]:
    """A sentence, over as many lines as it takes; numbers stay whole."""
    if width is None or len(text) <= width:
        return [text]
    from textwrap import wrap

    return wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _head(records: Sequence[Propagation], shared: Sequence[tuple[str, str]]) -> str:
    first = records[0]
    parts = []
    for text, name in shared:
        value = getattr(first, name)
        if name == "weights":
            parts.append(f"{value} weights")
        elif name == "fan_in":
            parts.append("infinite width" if value is None and first.widths is None else f"fan-in {value}")
        elif value is True:
            parts.append(text)
        elif name == "depth" or (value is not None and value is not False and value != _DEFAULTS.get(name, 1.0)):
            parts.append(f"{text} {value!r}")
    if first.widths is not None:
        parts = [part for part in parts if not part.startswith("fan-in")] + [f"widths {_runs(first.widths)}"]
    return ", ".join(parts)


def _runs(widths: Sequence[int]) -> str:
    found: list[list[int]] = []
    for width in widths:
        if found and found[-1][0] == width:
            found[-1][1] += 1
        else:
            found.append([width, 1])
    return ",".join(f"{width}x{count}" if count > 1 else str(width) for width, count in found)


def _line(text: str, values: Sequence[Any], size: int, cell: int, shorten: bool) -> str:
    return f"{text:<{size}}" + " ".join(f"{_shown(value, shorten):<{cell}}" for value in values)


def _shown(value: Any, shorten: bool) -> str:
    if isinstance(value, _Text):
        if not shorten or value == "-":
            return str(value)
        mantissa, e, exponent = value.partition("e")
        return f"{float(mantissa):.4g}{e}{exponent}" if e else f"{float(value):.6g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str | int) else number(value, shorten, 6)


def bold(text: str, color: bool) -> str:
    """A heading."""
    return f"\x1b[1m{text}\x1b[0m" if color else text


def charts(records: Sequence[Propagation], width: int | None = None) -> list[list[str]]:
    """``log10 |gradient|^2`` and q over the layers, with their bands, as blocks of lines; side by side if they fit."""
    gradient = chart("log10 |gradient|^2, relative to the last layer", [_gradient(record) for record in records])
    moments = [_moment(record) for record in records]
    sizes = [point[0] for band in moments for point in band if point is not None and point[0] > 0]
    if sizes and max(sizes) > _LOG_FROM * min(sizes):
        moment = chart("log10 of the second moment q", [_logarithmic(band) for band in moments])
    else:
        moment = chart("second moment q", moments)
    legend = ", ".join(f"{_MARKS[i % len(_MARKS)]} {words.label(record, records)}" for i, record in enumerate(records))
    bands = any(record.profile and record.profile.log_gradient_sd for record in records)
    caption = f"{legend}   over layers 0 to {max(r.depth for r in records)}" + (
        f"; {_EDGE} one deviation over networks" if bands else ""
    )
    column = max(map(len, gradient)) + 3
    if width is None or column + max(map(len, moment)) <= width:
        return [[*(f"{a:<{column}}{b}" for a, b in zip(gradient, moment, strict=True)), *wrapped(caption, width)]]
    if max(map(len, gradient)) > width:
        return []
    return [gradient, [*moment, *wrapped(caption, width)]]


Band = list[tuple[float, float, float] | None]
"""Of each layer the mean, and the lower and the upper edge of its band; None where there is nothing finite."""


def _gradient(record: Propagation) -> Band:
    assert record.profile is not None
    means, deviations = record.profile.log_gradient, record.profile.log_gradient_sd
    return _band(means, deviations, 1 / math.log(10))


def _moment(record: Propagation) -> Band:
    assert record.profile is not None
    return _band(record.profile.q_mean or record.profile.q, record.profile.q_sd, 1.0)


def _band(means: Sequence[float | None], deviations: Sequence[float | None] | None, unit: float) -> Band:
    band: Band = []
    for i, mean in enumerate(means):
        deviation = (deviations[i] if deviations else 0.0) or 0.0
        band.append(None if mean is None else (mean * unit, (mean - deviation) * unit, (mean + deviation) * unit))
    return band


def _logarithmic(band: Band) -> Band:
    def log(x: float, least: float) -> float:
        return math.log10(max(x, least)) if math.isfinite(x) else math.log10(least)

    return [
        None
        if point is None or point[0] <= 0
        else (math.log10(point[0]), log(point[1], point[0]), log(point[2], point[0]))
        for point in band
    ]


def chart(title: str, bands: Sequence[Band], marks: str = _MARKS) -> list[str]:
    """One chart: lines with their marks, edges of the bands dotted; rows from the top."""
    columns, rows = CHART
    bands = [[p if p is not None and all(map(math.isfinite, p)) else None for p in band] for band in bands]
    points = [point for band in bands for point in band if point is not None]
    low = min((p[1] for p in points), default=0.0)
    high = max((p[2] for p in points), default=1.0)
    if high - low < 1e-3 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    grid = [[" "] * columns for _ in range(rows)]

    def put(column: int, y: float, mark: str, turn: int) -> None:
        row = round((high - y) / (high - low) * (rows - 1))
        free = grid[row][column] in (" ", _EDGE)
        if (mark == _EDGE and grid[row][column] == " ") or (mark != _EDGE and (free or column % len(bands) == turn)):
            grid[row][column] = mark

    for which in (1, 2, 0):  # lines over edges
        for i, band in enumerate(bands):
            mark = _EDGE if which else marks[i % len(marks)]
            for column in range(columns):
                point = band[round(column * (len(band) - 1) / (columns - 1))]
                if point is not None and (not which or point[1] != point[2]):
                    put(column, point[which], mark, i)
    labels = [f"{high:.4g}", *[""] * (rows - 2), f"{low:.4g}"]
    size = max(map(len, labels))
    return [title, *(f"{text:>{size}} |{''.join(line)}" for text, line in zip(labels, grid, strict=True))]


class Listing:
    """One line a propagation, in columns of fixed width, so that a line can be printed as soon as it is known.

    ``swept`` are the options that vary; on a terminal, ``width``, numbers have six significant digits.
    """

    def __init__(self, swept: Sequence[str], *, width: int | None = None, color: bool = False) -> None:
        names = {"fanin": "fan_in", "lam": "params", "lambda_min": "params", "params": "epsilon", "max_growth": "depth"}
        fields = ["act", *(names.get(name, name) for name in swept if name != "act"), "epsilon"]
        self._fields = [name for name in dict.fromkeys(fields) if name != "params"]
        self._color = color
        self._shorten = width is not None
        self._cell = 12 if self._shorten else 23
        self._started = False

    def __call__(self, record: Propagation) -> str:
        values = [getattr(record, name) for name in self._fields]
        values += [record.gradient.log_growth, record.gradient.log_growth_sd]
        values += [_Text(words.factor(record.gradient.log_growth, False)), record.fixed_point.q]
        cells = [_shown(value, self._shorten) for value in values]
        sizes = [max(self._cell if isinstance(v, float | _Text) else 10, 10) for v in values]
        notes = " ".join(note.value for note in record.notes)
        line = " ".join(f"{text:<{size}}" for text, size in zip(cells, sizes, strict=True)) + f" {notes}"
        if self._started:
            return line.rstrip()
        self._started = True
        names = [*self._fields, "log_growth", "+-", "factor", "q*"]
        head = " ".join(f"{name:<{size}}" for name, size in zip(names, sizes, strict=True)) + " notes"
        return f"{bold(head, self._color)}\n{line.rstrip()}"
