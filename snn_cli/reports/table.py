"""Solutions as text for people: complete without colour, in a pipe as on a terminal."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from snn_cli.records import Note
from snn_cli.reports import notes
from snn_cli.reports.layout import Column, bold, columns, joined, sentences, wrapped
from snn_cli.reports.layout import Listing as Fitted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snn_cli.records import Solution

DRAWING = (28, 12)
"""Columns and rows of the drawing."""

REACH = 4.0
"""The drawing shows ``-REACH <= x <= REACH``: all but 6e-5 of the inputs."""

DEPTHS = (10, 100, 1000)
"""Shown when no depth is given."""

_GAP = 2
_ACT = 7  # columns of the listing for the activation's name
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
    "min_gamma": "smallest gamma",
}


def solution(
    record: Solution, *, width: int | None = None, shorten: bool = False, color: bool = False, braille: bool = False
) -> str:
    """One solution in full, parameters and moments with all their digits.

    width
        Columns to fit everything into; None for no limit. Numbers are never broken.
    shorten
        Fewer digits of what follows from parameters and moments, for a terminal.
    color
        Headings in bold.
    braille
        Draw with braille dots, eight to a character, instead of ASCII.
    """
    depths = (record.depth,) if record.depth else DEPTHS
    layers = [("over layers", [f"{depth}" for depth in depths]), *notes.over_depth(record, depths, shorten)]
    words = [notes.strength(record, shorten)]
    words += [f"note: {notes.sentence(note, record, shorten)}" for note in record.notes]
    blocks = [
        [bold(line, color) for line in wrapped(_head(record), width)],
        sentences(_definition(record), width),
        _beside(columns(_facts(record), width), drawing(record, braille=braille), width),
        [
            *wrapped(f"{'feasible':<14}{_range(record)}", width),
            *wrapped(f"{'residuals':<14}of these doubles: {_residuals(record, shorten)}", width),
        ],
        columns([(f"{label:<26}", *values) for label, values in layers], width, gap=2),
        *decimals_and_proof(record, width=width),
        sentences(words, width),
    ]
    return joined(blocks)


def decimals_and_proof(record: Solution, *, width: int | None = None) -> list[list[str]]:
    """What ``digits`` and ``certify`` add to a record, each as a block of lines."""
    blocks = []
    if record.decimals is not None:
        heading = f"{record.digits} significant digit{'' if record.digits == 1 else 's'}"
        blocks.append([heading, *columns([(f"  {name}", value) for name, value in record.decimals], width)])
    if record.enclosure is not None:
        start = "proved in ball arithmetic (Krawczyk): the equations have one solution, and only one, between"
        end = "and every double above is its nearest" + (
            ", and the bound on lambda is active (multiplier > 0)." if _bound_proved(record) else "."
        )
        bounds = columns([(f"  {name}", lo, hi) for name, (lo, hi) in record.enclosure], width, gap=2)
        blocks.append([*wrapped(start, width), *bounds, *wrapped(end, width)])
    return blocks


def _head(record: Solution) -> str:
    bound = record.params.get("lambda")
    closure = _CLOSURES[record.closure].format(lam=repr(bound).removesuffix(".0"))
    if record.active_bounds and bound is None:
        closure += f" with {', '.join(record.active_bounds)}"
    size = "".join(f"   {label} {n}" for label, n in (("depth", record.depth), ("fan-in", record.fan_in)) if n)
    return f"{record.act}   epsilon = {record.epsilon!r}{size}   ({closure})"


def _facts(record: Solution) -> list[tuple[str, str, str]]:
    facts = [(name, "", repr(value)) for name, value in record.params.items()]
    facts.append(("", "", ""))
    facts += [(name, formula, repr(getattr(record, name))) for name, formula in _MOMENTS]
    if record.multiplier is not None:
        by = "dl_min" if record.closure == "lambda_min" else "dbound"
        facts.append(("multiplier", f"dgamma/{by}", repr(record.multiplier)))
    return facts


def _residuals(record: Solution, shorten: bool) -> str:
    return ", ".join(f"{name} {f'{value:.1e}' if shorten else repr(value)}" for name, value in record.residuals.items())


def _definition(record: Solution) -> list[str]:
    from snn_cli.activations import SOLVABLE, find, get

    if record.act not in SOLVABLE:
        wrap, _, formula = getattr(find(record.act, record.params), "formula", record.act).partition(", f(x) = ")
        return [f"F(x) = {wrap}", f"f(x) = {formula}"] if formula else [f"f(x) = {wrap}"]
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
    bottom, top = _outwards(min(*ys, -0.1)), _outwards(max(*ys, 0.1))

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
    return [*lines, f"f(x), x {-REACH:g}..{REACH:g}, f {bottom:g}..{top:g}"]


def _outwards(y: float) -> float:
    """The next number of two digits away from 0: an end of the axis that is its own label."""
    from decimal import ROUND_UP, Context

    return float(Context(prec=2, rounding=ROUND_UP).create_decimal(repr(y)))


def _braille(dots: set[tuple[int, int]], columns: int, rows: int) -> list[str]:
    bits = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # Unicode's order of the dots in a cell
    cells = [[0x2800] * columns for _ in range(rows)]
    for i, r in dots:
        cells[r // 4][i // 2] |= bits[r % 4][i % 2]
    return ["".join(map(chr, line)) for line in cells]


class Listing:
    """One line a solution, in columns of fixed width, so that a line can be printed as soon as it is known.

    parameters
        Names of all parameters that can come.
    sizes
        The fields, ``depth`` and ``fan_in``, that were asked for, and the most characters that each takes.
    names
        The activations that will come.
    width
        Columns of the terminal that lines are fitted to. None, a pipe: every digit, a line each.
    """

    def __init__(
        self,
        parameters: Sequence[str],
        *,
        sizes: Mapping[str, int] | None = None,
        names: Sequence[str] = (),
        width: int | None = None,
        color: bool = False,
    ) -> None:
        act = max(_ACT - 1, *(len(name) for name in ("", *names)))
        self._parameters = parameters
        self._names = ("epsilon", *parameters, "mean", "gamma")
        self._sizes = {"act": act} | {name: max(10, size) for name, size in (sizes or {}).items()}
        heads = [*(Column(name, size) for name, size in self._sizes.items()), *(Column(name) for name in self._names)]
        self._fitted = None if width is None else Fitted(heads, width, color, notes=True)
        self._started = False

    def __call__(self, record: Solution) -> str:
        values = [record.params.get(n) if n in self._parameters else getattr(record, n) for n in self._names]
        words = [str(getattr(record, name) or "-") for name in self._sizes]
        shown = [note.value for note in record.notes if note is not Note.LAMBDA_BOUND_ACTIVE]
        if self._fitted is not None:
            return self._fitted([*words, *map(self._fitted.number, values)], shown)
        lines = [self._line([*words, *(notes.number(value) for value in values)], shown)]
        if not self._started:
            self._started = True
            lines.insert(0, self._line([*self._sizes, *self._names], ["notes"]))
        return "\n".join(lines)

    def _line(self, cells: Sequence[str], shown: Sequence[str]) -> str:
        sizes = [*self._sizes.values(), *(24 for _ in self._names)]
        padded = [f"{cell:<{size}}" for cell, size in zip(cells, sizes, strict=True)]
        return " ".join([*padded, *shown]).rstrip()
