"""Propagations for people: side by side with a small chart, or one a line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snn_cli.reports import propagation_notes as words
from snn_cli.reports.layout import DIGITS, Column, bold, flowing, joined, numbered, sentences, wrapped
from snn_cli.reports.layout import Listing as Fitted
from snn_cli.reports.notes import called, factor, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

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

_FIELDS = {
    "fanin": "fan_in", "lam": "params", "lambda_min": "params", "params": "epsilon", "max_growth": "depth"
}  # fmt: skip
"""Of swept options, the field that shows them where it has another name."""

_WORDS = ("act", "depth", "fan_in")
"""Columns of a listing that hold no decimal numbers."""

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
            ("typical factor", lambda r: _Text(factor(r.gradient.log_growth, False))),
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

_LABELS = max(len(text) for _, rows in _ROWS for text, _ in rows) + _GAP


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
    cell = 11 if shorten else 23
    names, legend = numbered([called(r.act, r.params, shorten) for r in records], cell, width)
    blocks = [[bold(line, color) for line in wrapped(_head(records, shared), width)], legend]
    if width is not None and _LABELS + cell > width:
        blocks += [_paragraphs(name, r, differing, width, shorten) for name, r in zip(names, records, strict=True)]
    else:
        across = len(records) if width is None else (width - _LABELS + 1) // (cell + 1)
        for i in range(0, len(records), across):
            lines = [_line("", names[i : i + across], cell, shorten)]
            for title, rows in _sections(records[i : i + across], differing):
                lines += ["", bold(title, color)] if title else []
                lines += [_line(text, values, cell, shorten) for text, values in rows]
            blocks.append(lines)
    if all(record.profile is not None for record in records):
        blocks += charts(records, width)
    return joined([*blocks, sentences(conclusion_parts(records, shorten), width)])


def _sections(
    records: Sequence[Propagation], differing: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, list[tuple[str, list[Any]]]]]:
    """The settings that differ, without a title, then titles and rows: their words, and a value for each record."""
    yield "", [(text, [getattr(r, name) for r in records]) for text, name in differing]
    for title, rows in _ROWS:
        values = [(text, [take(r) for r in records]) for text, take in rows]
        known = [(text, row) for text, row in values if any(x is not None for x in row)]
        if known:
            yield title, known


def _paragraphs(
    name: str, record: Propagation, differing: Sequence[tuple[str, str]], width: int, shorten: bool
) -> list[str]:
    """One record where a column is too wide."""
    lines = []
    for title, rows in _sections([record], differing):
        pairs = [f"{text.strip()} {_shown(values[0], shorten)}" for text, values in rows]
        lines += flowing([title or name, *pairs], width, gap=2)
    return lines


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


def _line(text: str, values: Sequence[Any], cell: int, shorten: bool) -> str:
    return f"{text:<{_LABELS}}" + " ".join(f"{_shown(value, shorten):<{cell}}" for value in values)


def _shown(value: Any, shorten: bool, digits: int = DIGITS) -> str:
    if isinstance(value, _Text):
        if not shorten or value == "-":
            return str(value)
        mantissa, e, exponent = value.partition("e")
        return f"{float(mantissa):.{max(3, digits - 2)}g}{e}{exponent}" if e else f"{float(value):.{digits}g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str | int) else number(value, shorten, digits)


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

    swept
        The options that vary.
    sizes
        Of columns that hold words or whole numbers, the most characters that will come, for a terminal.
    width
        Columns of the terminal that lines are fitted to. None, a pipe: every digit, a line each.
    """

    def __init__(
        self,
        swept: Sequence[str],
        *,
        sizes: Mapping[str, int] | None = None,
        width: int | None = None,
        color: bool = False,
    ) -> None:
        fields = ["act", *(_FIELDS.get(name, name) for name in swept if name != "act"), "epsilon"]
        self._fields = [name for name in dict.fromkeys(fields) if name != "params"]
        names = [*self._fields, "log_growth", "+-", "factor", "q*"]
        known = sizes or {}
        heads = [Column(name, known.get(name, 10 if name in _WORDS else None)) for name in names]
        self._fitted = None if width is None else Fitted(heads, width, color, notes=True)
        self._names = names
        self._started = False

    def __call__(self, record: Propagation) -> str:
        values = [getattr(record, name) for name in self._fields]
        values += [record.gradient.log_growth, record.gradient.log_growth_sd]
        values += [_Text(factor(record.gradient.log_growth)), record.fixed_point.q]
        noted = [note.value for note in record.notes]
        if self._fitted is not None:
            digits = self._fitted.digits or DIGITS
            return self._fitted([_shown(value, True, digits) for value in values], noted)
        sizes = [23 if isinstance(value, float | _Text) else 10 for value in values]
        lines = [_row([_shown(value, False) for value in values], sizes, noted)]
        if not self._started:
            self._started = True
            lines.insert(0, _row(self._names, sizes, ["notes"]).rstrip(" "))
        return "\n".join(lines)


def _row(cells: Sequence[str], sizes: Sequence[int], noted: Sequence[str]) -> str:
    padded = [f"{text:<{size}}" for text, size in zip(cells, sizes, strict=True)]
    return " ".join([*padded, *noted]).rstrip()
