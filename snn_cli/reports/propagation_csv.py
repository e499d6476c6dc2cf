"""CSV of propagations: a header and a row per layer, or a row per record without profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.reports.csv import Lines
from snn_cli.reports.notes import assigned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snn_cli.records import Propagation

SETTINGS = (
    "act", "epsilon", "depth", "fan_in", "weights", "sigma_w", "sigma_b", "q0", "c0", "weight_mean", "centralize",
    "centralize_activation", "mixup", "scaled_mixup",
)  # fmt: skip
PARTS = ("fixed_point", "covariance", "isometry", "finite", "gradient")
BUDGET = ("max_growth", "within", "max_depth", "epsilon")


class PropagationRows:
    """Rows of propagations; the first comes with the header. Columns do not depend on what is in a row."""

    def __init__(self, profile: bool) -> None:
        self._profile = profile
        self._lines = Lines()

    def __call__(self, record: Propagation) -> str:
        return self._lines(self._layers(record) if self._profile else [_summary(record)])

    def _layers(self, record: Propagation) -> Iterator[dict[str, Any]]:
        assert record.profile is not None
        settings = _settings(record)
        columns = record.profile._asdict()
        for i in range(len(record.profile.layer)):
            yield {**settings, **{name: None if values is None else values[i] for name, values in columns.items()}}


def _settings(record: Propagation) -> dict[str, Any]:
    settings = {name: getattr(record, name) for name in SETTINGS}
    settings.update((name, record.params.get(name)) for name in ("lambda", "alpha", "beta"))
    settings["widths"] = None if record.widths is None else " ".join(map(str, record.widths))
    settings["params"] = assigned(record.params)
    return settings


def _summary(record: Propagation) -> dict[str, Any]:
    cells = _settings(record)
    for part in PARTS:
        fields = getattr(record, part)._asdict()
        cells.update((f"{part}_{name}", value) for name, value in fields.items())
    cells["mean_slope"] = record.mean_path.slope
    cells["weight_mean_tolerance"] = record.mean_path.weight_mean_tolerance
    budget = record.budget._asdict() if record.budget else {}
    cells.update((f"budget_{name}", budget.get(name)) for name in BUDGET)
    cells["notes"] = " ".join(note.value for note in record.notes)
    return cells
