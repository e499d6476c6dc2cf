"""Analyses for people, and as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations import SOLVABLE
from snn_cli.reports.csv import Lines
from snn_cli.reports.layout import DIGITS, bold, columns, joined, numbered, sentences, wrapped
from snn_cli.reports.layout import table as table_of
from snn_cli.reports.notes import assigned, called, factor, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.records import Analysis

_NAME = 30
"""Characters of a name up to which it stands in its row on a terminal."""

_COLUMNS = (
    ("activation", lambda r: name(r)),
    ("verdict", lambda r: _verdict(r)),
    ("gamma", lambda r: r.mended.gamma),
    ("at sigma_w", lambda r: r.mended.sigma_w),
    ("chi", lambda r: r.mended.chi),
    ("E[f]", lambda r: r.mean),
    ("E[f^2]", lambda r: r.second_moment),
    ("E[f'^2]", lambda r: r.chi),
    ("monotone", lambda r: "yes" if r.monotone else "no"),
)


def _verdict(record: Analysis) -> str:
    """As it is, or else what the sigma_w that keeps q = 1 makes of it."""
    if record.self_normalizing:
        return "self-normalizing"
    gain, gamma = record.mended.chi, record.mended.gamma
    if gain is None or gamma is None:
        return "vanishes"
    if not gamma < 1:
        return "no: q does not return"
    return "with that sigma_w" if gain >= 1 else "no: gradients shrink"


def name(record: Analysis) -> str:
    """The activation, with the epsilon that it was solved for, or the values of its parameters."""
    solved = record.act in SOLVABLE
    return f"{record.act} {record.epsilon:.4g}" if solved else called(record.act, record.params)


def report(record: Analysis, *, width: int | None = None, shorten: bool = False, color: bool = False) -> str:
    """Moments, the verdict condition by condition, and what a network does, of one activation."""

    def show(x: float | None) -> str:
        return number(x, shorten, 6)

    solved = record.params if record.act in SOLVABLE else {}
    params = ", ".join(f"{key} {show(value)}" for key, value in solved.items())
    head = f"{name(record)}{': ' if params else ''}{params}"
    rows = [
        ("E[f]", show(record.mean)),
        ("E[f^2]", show(record.second_moment)),
        ("E[f'^2], chi", show(record.chi)),
        ("gamma", show(record.gamma)),
        ("kappa", show(record.kappa)),
        ("E[f']", show(record.mean_slope)),
        ("block variance, gaussian", show(record.blocks.gaussian_variance)),
        ("block variance, orthogonal", show(record.blocks.orthogonal_variance)),
    ]
    if record.fan_in is not None:
        rows.append(("weight mean tolerance", show(record.weight_mean_tolerance)))
    heading = [bold(line, color) for line in wrapped(head, width)]
    facts = columns([(f"{label:<28}", value) for label, value in rows], width, gap=0)
    return joined([heading, facts, sentences(_sentences(record, shorten), width)])


def _sentences(record: Analysis, shorten: bool) -> list[str]:
    def show(x: float | None) -> str:
        return number(x, shorten, 6)

    holds, mended = record.conditions, record.mended
    found = [
        f"forward: E[f^2] is {show(record.second_moment)}: "
        + (
            "holds."
            if holds.forward
            else f"q = 1 is no fixed point; weights of sigma_w = {show(mended.sigma_w)} keep it."
        ),
        f"backward: E[f'^2] is 1 {'+' if record.epsilon >= 0 else '-'} {show(abs(record.epsilon))}: "
        + ("holds." if holds.backward else "gradients shrink at sigma_w = 1.")
        + ("" if holds.forward else f" With that sigma_w it is {show(mended.chi)}."),
        f"attraction: gamma is {show(record.gamma)}: "
        + ("holds." if holds.attraction else "a second moment off 1 does not come back.")
        + ("" if holds.forward else f" With that sigma_w it is {show(mended.gamma)}."),
    ]
    verdict = "Self-normalizing." if record.self_normalizing else "Not self-normalizing as it is."
    if not record.self_normalizing and mended.chi is not None and mended.gamma is not None:
        kept = mended.chi >= 1 and mended.gamma < 1
        verdict += (
            f" With sigma_w = {show(mended.sigma_w)} it is, with epsilon = {show(mended.chi - 1)}."
            if kept
            else f" With sigma_w = {show(mended.sigma_w)} "
            + ("gradients shrink." if mended.chi < 1 and mended.gamma < 1 else "nothing brings q back.")
        )
    found.append(verdict)
    if not record.monotone:
        found.append("Not monotone: f falls somewhere.")
    found.append(_network(record, shorten))
    return found


def _network(record: Analysis, shorten: bool) -> str:
    size = f"{record.depth} layers" + (f" of fan-in {record.fan_in}" if record.fan_in else "")
    points = [point for point in record.fixed_points if point.stable]
    where = (
        "q settles nowhere"
        if not points
        else "q settles at " + " or ".join(number(point.q, shorten, 6) for point in points)
    )
    text = f"With sigma_w = {number(record.sigma_w, shorten, 6)}"
    if record.sigma_b:
        text += f" and sigma_b = {number(record.sigma_b, shorten, 6)}"
    text += f" {where}"
    if record.basin is not None:
        low, high = record.basin
        ends = [f"from {number(low, shorten, 6)}" if low else "", f"up to {number(high, shorten, 6)}" if high else ""]
        text += f", {' '.join(end for end in ends if end)}" if any(ends) else ", from anywhere"
    elif points:
        text += ", but not from 1"
    if record.gradient.log_growth is not None:
        spread = record.gradient.log_growth_sd
        text += f"; over {size} the squared gradient changes by x {factor(record.gradient.log_growth, shorten, 4)}"
        if spread is not None:
            text += f", give or take a factor of {factor(spread, shorten, 3)}"
    return text + "."


def table(records: Sequence[Analysis], *, width: int | None = None, shorten: bool = False, color: bool = False) -> str:
    """Several activations, the strongest first: by gamma with the sigma_w that keeps q = 1."""
    ordered = sorted(records, key=lambda r: (r.mended.gamma is None, r.mended.gamma or 0.0))
    names, legend = numbered([name(record) for record in ordered], _NAME if width else 10**6, width)
    cells = [[heading for heading, _ in _COLUMNS]]
    for shown, record in zip(names, ordered, strict=True):
        values = [value(record) for _, value in _COLUMNS[1:]]
        cells.append([shown, *(x if isinstance(x, str) else number(x, shorten, DIGITS) for x in values)])
    blocks = table_of(cells, width)
    for lines in blocks:
        lines[0] = bold(lines[0], color)
    caption = (
        "The strongest first: gamma, and chi, with weights of the sigma_w that keeps q = 1. The verdict is on f as it "
        "is, E[f^2] = 1, E[f'^2] >= 1 and gamma < 1, or else with that sigma_w."
    )
    return joined([*blocks, legend, wrapped(caption, width)])


class Rows:
    """CSV rows: one an activation; the first comes with the header."""

    def __init__(self) -> None:
        self._lines = Lines()

    def __call__(self, record: Analysis) -> str:
        return self._lines([_cells(record)])


def _cells(record: Analysis) -> dict[str, Any]:
    names = (
        "act", "epsilon", "mean", "second_moment", "chi", "gamma", "kappa", "mean_slope", "monotone",
        "self_normalizing", "poincare", "sigma_w", "sigma_b", "depth", "fan_in", "weight_mean_tolerance",
    )  # fmt: skip
    cells = {key: getattr(record, key) for key in names}
    for part in ("conditions", "mended", "blocks", "gradient", "finite"):
        cells.update((f"{part}_{key}", value) for key, value in getattr(record, part)._asdict().items())
    low, high = record.basin or (None, None)
    return cells | {"basin_low": low, "basin_high": high, "params": assigned(record.params)}
