"""The record of a verification: what real networks measured, what theory says, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from snn_cli.records.propagation import part
from snn_cli.records.solution import VERSION, Note, Params, numbers, reading


class Estimates(NamedTuple):
    """Means over networks with their standard errors; of theory, the same without errors.

    ``drift``: log squared gradient per layer over the middle half of the network; ``log_growth``: over all of it,
    ``log_growth_sd`` for one input; ``q_mean``, ``q_variance``: mean and variance, over the middle half, of the
    deviation of the second moment that the units of a layer share from that of infinite width.
    """

    drift: float | None
    drift_se: float | None
    log_growth: float | None
    log_growth_se: float | None
    log_growth_sd: float | None
    q_mean: float | None
    q_variance: float | None


class Verdict(NamedTuple):
    """Whether the measurement agrees with theory, and whether the network stays within its budget.

    ``statistic`` is Hotelling's T^2 over ``components`` layers, ``p_value`` its tail under the non-central F
    distribution that allows theory an error of ``allowance`` in ``log_growth``; ``agrees`` is ``p_value >= level``.
    ``worst_layer`` has the largest z. ``within_budget``: the mean of ``|log growth|`` is at most ``log max_growth``.
    ``trials_to_decide``: networks that would tell the finite fan-in prediction from that of infinite width by four
    standard errors, where these do not.
    """

    agrees: bool | None
    p_value: float | None
    level: float
    statistic: float | None
    worst_layer: int | None
    within_budget: bool | None
    max_growth: float | None
    components: int
    allowance: float | None
    trials_to_decide: int | None


class Measured(NamedTuple):
    """Arrays over layers ``0 ... depth``: means over networks, standard errors, predictions, and z of the gradient.

    ``mean``: of the pre-activations over units; None but with a weight mean or a remedy.
    """

    layer: tuple[int, ...]
    q: tuple[float | None, ...]
    q_se: tuple[float | None, ...]
    q_theory: tuple[float | None, ...]
    log_gradient: tuple[float | None, ...]
    log_gradient_se: tuple[float | None, ...]
    log_gradient_theory: tuple[float | None, ...]
    z: tuple[float | None, ...]
    mean: tuple[float | None, ...] | None = None
    mean_se: tuple[float | None, ...] | None = None
    mean_theory: tuple[float | None, ...] | None = None


OPTIONAL = (
    "channels", "kernel", "image", "padding", "width_multiplier", "weight_mean", "centralize", "centralize_activation",
    "mixup", "scaled_mixup",
)  # fmt: skip
"""Fields that a record has where they say something."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was measured on real random networks, what theory says, and whether they agree.

    Fields as in ``Propagation`` where they have its names. ``broken_layer``, ``broken_trial``: where a number first
    stopped being finite. ``channels, kernel, image, padding, width_multiplier`` are those of a convolutional network,
    ``weight_mean`` to ``scaled_mixup`` as in ``Propagation``: None where they say nothing. ``seconds``,
    ``networks_per_second``, ``peak_memory`` (bytes) may differ between two runs.
    """

    act: str
    epsilon: float | None
    params: Params
    depth: int
    fan_in: int | None
    architecture: str
    weights: str
    sigma_w: float
    sigma_b: float
    widths: tuple[int, ...] | None
    q0: float
    batch: int
    trials: int
    device: str
    dtype: str
    seed: int
    measured: Estimates
    theory: Estimates
    verdict: Verdict
    broken_layer: int | None
    broken_trial: int | None
    notes: tuple[Note, ...]
    profile: Measured | None
    seconds: float
    networks_per_second: float
    peak_memory: int
    channels: int | None = None
    kernel: int | None = None
    image: int | None = None
    padding: str | None = None
    width_multiplier: float | None = None
    weight_mean: float | None = None
    centralize: bool | None = None
    centralize_activation: bool | None = None
    mixup: float | None = None
    scaled_mixup: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, ``kind`` and ``version`` first, keys in a fixed order."""
        data: dict[str, Any] = {"kind": "verification", "version": VERSION}
        for name in self.__dataclass_fields__:
            if name not in OPTIONAL:
                data[name] = getattr(self, name)
            if name == "q0":
                data.update(self.extras())
        data["params"] = dict(self.params)
        data["widths"] = None if self.widths is None else list(self.widths)
        for name in ("measured", "theory", "verdict"):
            data[name] = getattr(self, name)._asdict()
        data["notes"] = [note.value for note in self.notes]
        if self.profile is None:
            del data["profile"]
        else:
            columns = self.profile._asdict()
            data["profile"] = {name: list(column) for name, column in columns.items() if column is not None}
        return data

    def extras(self) -> dict[str, Any]:
        """The fields that say something of this run only, of those that most runs have none of."""
        return {name: value for name in OPTIONAL if (value := getattr(self, name)) is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verification:
        """Read back what ``to_dict`` wrote. Raises InputError for any other kind, version, field or type."""
        with reading("verification", data, "snn verify --json"):
            needed = (name for name in cls.__dataclass_fields__ if name not in ("profile", *OPTIONAL))
            fields = {name: data[name] for name in needed}
            fields.update((name, data[name]) for name in OPTIONAL if name in data)
            fields["params"] = numbers(data["params"])
            fields["widths"] = None if data["widths"] is None else tuple(int(width) for width in data["widths"])
            for name, kind in (("measured", Estimates), ("theory", Estimates), ("verdict", Verdict)):
                fields[name] = part(kind, data[name])
            fields["notes"] = tuple(Note(code) for code in data["notes"])
            columns: dict[str, Any] = {k: tuple(v) for k, v in data.get("profile", {}).items()}
            fields["profile"] = Measured(**columns) if columns else None
        return cls(**fields)
