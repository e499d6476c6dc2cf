"""Solutions as text for people: complete without colour, in a pipe as on a terminal."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from snn_cli.records import Note
from snn_cli.reports import notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.records import Solution

DRAWING = (28, 12)
"""Columns and rows of the drawing."""

REACH = 4.0
"""The drawing shows ``-REACH <= x <= REACH``: all but 6e-5 of the inputs."""

DEPTHS = (10, 100, 1000)
"""Shown when no depth is given."""

_GAP = 2
_MOMENTS = (
    ("mean", "E[f]"),
    ("second_moment", "E[f^2]"),
    ("chi", "E[f'^2]"),
    ("gamma", "E[z f f']"),
    ("kappa", "E[f'^4]/chi^2"),
    ("mean_slope", "E[f']"),
)
_CLOSURES = {
    "lambda_min": "smallest gamma with lambda >= {lam}",
    "lambda": "lambda = {lam}",
    "zero_mean": "zero mean",
    "none": "no free parameter",
}


def solution(record: Solution, *, width: int | None = None, color: bool = False, braille: bool = False) -> str:
    """One solution in full, every number with all its digits.

    width
        Columns to fit the drawing into; None for no limit.
    color
        Headings in bold.
    braille
        Draw with braille dots, eight to a character, instead of ASCII.
    """
    bound = record.params["lambda"]
    closure = _CLOSURES[record.closure].format(lam=f"{bound:.17g}" if bound == int(bound) else repr(bound))
    size = "".join(f"   {label} {n}" for label, n in (("depth", record.depth), ("fan-in", record.fan_in)) if n)
    head = f"{record.act}   epsilon = {record.epsilon!r}{size}   ({closure})"
    facts = [f"{name:<28}{value!r}" for name, value in record.params.items()]
    facts.append("")
    facts += [f"{name:<14}{formula:<14}{getattr(record, name)!r}" for name, formula in _MOMENTS]
    if record.multiplier is not None:
        facts.append(f"{'multiplier':<14}{'dgamma/dl_min':<14}{record.multiplier!r}")
    blocks = [_beside(facts, drawing(record, braille=braille), width)]
    blocks.append(
        [
            f"feasible      {_range(record)}",
            "residuals     of these doubles: "
            + ", ".join(f"{name} {value:.1e}" for name, value in record.residuals.items()),
        ]
    )
    depths = (record.depth,) if record.depth else DEPTHS
    rows = [("over layers", [f"{depth}" for depth in depths]), *notes.over_depth(record, depths)]
    blocks.append([f"{label:<28}" + " ".join(f"{value:<13}" for value in values) for label, values in rows])
    if record.decimals is not None:
        blocks.append(
            [f"{record.digits} significant digits", *(f"  {name:<14}{value}" for name, value in record.decimals)]
        )
    if record.enclosure is not None:
        blocks.append(
            [
                "proved in ball arithmetic (Krawczyk): the equations have one solution, and only one, between",
                *(f"  {name:<14}{lo}  {hi}" for name, (lo, hi) in record.enclosure),
                "and every double above is its nearest"
                + (", and the bound on lambda is active (multiplier > 0)." if _bound_proved(record) else "."),
            ]
        )
    blocks.append([notes.strength(record), *(f"note: {notes.sentence(note, record)}" for note in record.notes)])
    lines = [_bold(head, color), "", *_definition(record), ""]
    for block in blocks:
        lines += [*block, ""]
    return "\n".join(line.rstrip() for line in lines[:-1])


def _definition(record: Solution) -> list[str]:
    from snn_cli.activations import get

    family = get(record.act)
    size = max(len(family.positive), len(family.negative))
    return [f"f(x) = {family.positive:<{size}}   x > 0", f"       {family.negative:<{size}}   x <= 0"]


def _range(record: Solution) -> str:
    lo, hi = record.feasible_epsilon
    open_lo, open_hi = record.feasible_open
    if lo == hi:
        return f"epsilon = {lo!r}"
    left = f"{lo!r} {'<' if open_lo else '<='} epsilon"
    return left if hi is None else f"{left} {'<' if open_hi else '<='} {hi!r}"


def _bound_proved(record: Solution) -> bool:
    bounds = dict(record.enclosure or ()).get("multiplier")
    return bounds is not None and float(bounds[0]) > 0


def _beside(left: list[str], right: list[str], width: int | None) -> list[str]:
    """Two columns where they fit, else one above the other; a drawing wider than the terminal is left out."""
    column = max(map(len, left)) + _GAP
    across = max(map(len, right))
    if width is None or column + across <= width:
        rows = max(len(left), len(right))
        left = left + [""] * (rows - len(left))
        right = right + [""] * (rows - len(right))
        return [f"{a:<{column}}{b}" for a, b in zip(left, right, strict=True)]
    return [*left, "", *right] if across <= width else left


def drawing(record: Solution, *, braille: bool = False) -> list[str]:
    """The function on ``[-REACH, REACH]`` as lines of characters, with its axes and a caption."""
    columns, rows = DRAWING
    dots_x, dots_y = (2, 4) if braille else (1, 1)
    wide, high = columns * dots_x, rows * dots_y
    xs = [REACH * (2 * i / (wide - 1) - 1) for i in range(wide)]
    ys = [record.at(x) for x in xs]
    bottom, top = min(*ys, -0.1), max(*ys, 0.1)

    def row(y: float) -> int:
        return round((top - y) / (top - bottom) * (high - 1))

    curve = {(i, row(y)) for i, y in enumerate(ys)}
    for i, (here, there) in enumerate(pairwise(ys)):  # no gaps where f is steep
        first, last = sorted((row(here), row(there)))
        curve.update((i, r) for r in range(first, last))
    axis_row, axis_column = row(0.0), wide // 2
    axes = {(i, axis_row) for i in range(wide)} | {(axis_column, r) for r in range(high)}
    if braille:
        lines = _braille(curve | {(i, r) for i, r in axes if (i + r) % 3 == 0}, columns, rows)
    else:
        lines = [
            "".join(
                "*"
                if (i, r) in curve
                else "+"
                if (i, r) == (axis_column, axis_row)
                else "-"
                if r == axis_row
                else "|"
                if i == axis_column
                else " "
                for i in range(wide)
            )
            for r in range(high)
        ]
    return [*lines, f"f(x), x {-REACH:g}..{REACH:g}, f {bottom:.3g}..{top:.3g}"]


def _braille(dots: set[tuple[int, int]], columns: int, rows: int) -> list[str]:
    bits = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # Unicode's order of the dots in a cell
    cells = [[0x2800] * columns for _ in range(rows)]
    for i, r in dots:
        cells[r // 4][i // 2] |= bits[r % 4][i % 2]
    return ["".join(map(chr, line)) for line in cells]


def _bold(text: str, color: bool) -> str:
    return f"\x1b[1m{text}\x1b[0m" if color else text


class Listing:
    """One line a solution, in columns of fixed width, so that a line can be printed as soon as it is known.

    ``given`` are the fields, ``depth`` and ``fan_in``, that were asked for. ``shorten`` gives six significant digits,
    for a terminal; a pipe gets every digit.
    """

    def __init__(
        self,
        parameters: Sequence[str],
        *,
        given: Sequence[str] = (),
        shorten: bool = False,
        color: bool = False,
    ) -> None:
        self._given = given
        self._names = ("epsilon", *parameters, "mean", "gamma")
        self._parameters = parameters
        self._shorten = shorten
        self._color = color
        self._width = 12 if shorten else 24
        self._started = False

    def __call__(self, record: Solution) -> str:
        values = [
            record.params.get(name) if name in self._parameters else getattr(record, name) for name in self._names
        ]
        cells = [f"{self._number(value):<{self._width}}" for value in values]
        shown = " ".join(note.value for note in record.notes if note is not Note.LAMBDA_BOUND_ACTIVE)
        sizes = "".join(f"{getattr(record, name) or '-':<11}" for name in self._given)
        line = f"{record.act:<7}{sizes}" + " ".join(cells) + f" {shown}"
        text = line.rstrip()
        if not self._started:
            self._started = True
            head = (
                f"{'act':<7}"
                + "".join(f"{name:<11}" for name in self._given)
                + " ".join(f"{name:<{self._width}}" for name in self._names)
                + " notes"
            )
            text = f"{_bold(head, self._color)}\n{text}"
        return text

    def _number(self, value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return "-"
        return f"{value:.6g}" if self._shorten else repr(value)
