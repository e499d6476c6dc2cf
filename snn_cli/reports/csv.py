"""CSV: a header, then rows."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from snn_cli.records import Solution


class Lines:
    """Rows as text, each a name and a value for every column; the first comes with the header."""

    def __init__(self) -> None:
        self._started = False

    def __call__(self, rows: Iterable[Mapping[str, Any]]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for cells in rows:
            if not self._started:
                writer.writerow(cells)
                self._started = True
            writer.writerow([_cell(value) for value in cells.values()])
        return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


class SolutionRows:
    """Rows of solutions; the first comes with the header. Columns do not depend on what is in a row."""

    def __init__(self, parameters: Sequence[str], *, decimals: bool = False, enclosure: bool = False) -> None:
        self._parameters = parameters
        self._decimals = decimals
        self._enclosure = enclosure
        self._lines = Lines()

    def __call__(self, solution: Solution) -> str:
        return self._lines([self._cells(solution)])

    def _cells(self, solution: Solution) -> dict[str, Any]:
        moments = ("mean", "second_moment", "chi", "gamma", "kappa", "mean_slope")
        cells: dict[str, Any] = {
            name: getattr(solution, name) for name in ("act", "epsilon", "closure", "depth", "fan_in")
        }
        cells.update((name, solution.params.get(name)) for name in self._parameters)
        cells.update((name, getattr(solution, name)) for name in moments)
        cells["active_bounds"] = " ".join(solution.active_bounds)
        cells["multiplier"] = solution.multiplier
        cells.update((f"residual_{name}", value) for name, value in solution.residuals.items())
        cells["monotone"] = solution.monotone
        cells["self_normalizing"] = solution.self_normalizing
        cells["feasible_lo"], cells["feasible_hi"] = solution.feasible_epsilon
        cells["feasible_lo_open"], cells["feasible_hi_open"] = solution.feasible_open
        cells["notes"] = " ".join(note.value for note in solution.notes)
        names = (*self._parameters, *moments, "epsilon")
        if self._decimals:
            cells["digits"] = solution.digits
            decimals = dict(solution.decimals or ())
            cells.update((f"decimal_{name}", decimals.get(name)) for name in names)
        if self._enclosure:
            enclosure = dict(solution.enclosure or ())
            for name in (*names, "multiplier"):
                lo, hi = enclosure.get(name, (None, None))
                cells[f"{name}_lo"], cells[f"{name}_hi"] = lo, hi
        return cells
