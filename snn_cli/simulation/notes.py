"""What a reader of the record of a network should know."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from snn_cli.propagation.meanfield import DEAD, LARGEST
from snn_cli.records import Note

if TYPE_CHECKING:
    from snn_cli.simulation.finite import Run

SHIFTED = 1e-4
"""Distance of a centralized fixed point from 1 that is worth a note."""


def notes(run: Run) -> list[Note]:
    """In the order in which a record has them."""
    return [*_of_infinite_width(run), *_of_its_size(run), *_of_means(run)]


def _of_infinite_width(run: Run) -> list[Note]:
    found = []
    infinite = run.infinite
    if infinite.degenerate:
        found.append(Note.EVERY_SECOND_MOMENT_FIXED)
    elif infinite.limit == "infinity":
        found.append(Note.NO_FIXED_POINT)
    elif infinite.limit == "zero":
        found.append(Note.VANISHES)
    if float(infinite.path.q.max()) > infinite.field.largest < LARGEST:
        found.append(Note.EXTRAPOLATED_IN_Q)
    if not infinite.tractable:
        found.append(Note.CORRELATION_NOT_FOLLOWED)
    last = infinite.path.at(np.array([run.depth]))[0]
    if not math.isfinite(last):
        found.append(Note.OVERFLOW)
    elif not last or float(infinite.moments.gain.min()) <= DEAD:
        found.append(Note.UNDERFLOW)
    return found


def _of_its_size(run: Run) -> list[Note]:
    if not run.sized:
        return []
    if run.expansion_fails:
        return [Note.EXPANSION_FAILS]
    if not run.modelled:
        return [Note.FINITE_NOT_MODELLED]
    found = []
    if run.rates.q_variance is None and run.infinite.limit is None:
        found.append(Note.NEVER_SETTLES)
    if run.largest_term > 1:
        found.append(Note.FINITE_WIDTH_EXTRAPOLATED)
    return found


def _of_means(run: Run) -> list[Note]:
    found = []
    if run.means.counted:
        found.append(Note.MEAN_NOT_COUNTED)
        if run.means.beyond_tolerance:
            found.append(Note.BEYOND_TOLERANCE)
        elif not np.isfinite(run.means.state[0][-1]):
            found.append(Note.MEAN_ESCAPES)
    if run.network.centralized and run.infinite.limit is None and abs(run.infinite.q_end - 1) > SHIFTED:
        found.append(Note.CENTRALIZATION_SHIFTS)
    if run.centralize_activation and run.means.own_growth > 1:
        found.append(Note.OWN_MEANS_GROW)
    return found
