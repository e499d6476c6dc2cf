"""The record of an analysis: an activation held against the definition of self-normalization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from snn_cli.records.propagation import Finite, FixedPoint, Gradient, part
from snn_cli.records.solution import VERSION, Params, numbers, reading


class Conditions(NamedTuple):
    """Whether each condition of the definition holds: ``E[f^2] = 1``, ``E[f'^2] >= 1``, ``gamma < 1``."""

    forward: bool
    backward: bool
    attraction: bool


class Mended(NamedTuple):
    """With the weights' deviation ``sigma_w`` that makes ``q = 1`` a fixed point: the gain and gamma there."""

    sigma_w: float | None
    chi: float | None
    gamma: float | None


class Blocks(NamedTuple):
    """``phi(J J^T)`` of a block at ``q = 1`` and that sigma_w, and its variance for either ensemble of weights."""

    chi: float | None
    gaussian_variance: float | None
    orthogonal_variance: float | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """An activation, its moments, and what they say. Moments are at ``q = 1`` and ``sigma_w = 1``.

    act, params
        The activation, and its parameters where it has some.
    mean, second_moment, chi, epsilon, gamma, kappa, mean_slope
        As in ``Solution``; ``epsilon = chi - 1``.
    monotone
        ``f' >= 0`` everywhere.
    conditions, self_normalizing
        Of the definition (theory, section 2), and whether all of them hold.
    poincare
        ``E[f'^2] - E[f^2] + E[f]^2``, at least 0 for any f (Gaussian Poincare inequality); 0 for a linear one.
    mended, blocks
        See the classes.
    sigma_w, sigma_b, fixed_points, basin
        Deviations asked for, the fixed points of q with them, and the second moments between which q is attracted to
        the one that ``q = 1`` leads to (None: no end); None where it leads to none.
    depth, fan_in, gradient, finite
        What a network of this size does with them, as in ``Propagation``.
    weight_mean_tolerance
        Common mean of the weights, in their own deviations, from which a mean of the units grows; None without a
        fan-in.
    """

    act: str
    params: Params
    mean: float
    second_moment: float
    chi: float
    epsilon: float
    gamma: float
    kappa: float
    mean_slope: float
    monotone: bool
    conditions: Conditions
    self_normalizing: bool
    poincare: float
    mended: Mended
    blocks: Blocks
    sigma_w: float
    sigma_b: float
    fixed_points: tuple[FixedPoint, ...]
    basin: tuple[float | None, float | None] | None
    depth: int
    fan_in: int | None
    gradient: Gradient
    finite: Finite
    weight_mean_tolerance: float | None

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, ``kind`` and ``version`` first, keys in a fixed order."""
        data: dict[str, Any] = {"kind": "analysis", "version": VERSION}
        for name in self.__dataclass_fields__:
            data[name] = getattr(self, name)
        data["params"] = dict(self.params)
        for name in _PARTS:
            data[name] = getattr(self, name)._asdict()
        data["fixed_points"] = [point._asdict() for point in self.fixed_points]
        data["basin"] = None if self.basin is None else list(self.basin)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Analysis:
        """Read back what ``to_dict`` wrote. Raises InputError for any other kind, version, field or type."""
        with reading("analysis", data, "snn analyze --act gelu --json"):
            fields = {name: data[name] for name in cls.__dataclass_fields__}
            fields["params"] = numbers(data["params"])
            for name, kind in _PARTS.items():
                fields[name] = part(kind, data[name])
            fields["fixed_points"] = tuple(part(FixedPoint, point) for point in data["fixed_points"])
            fields["basin"] = None if data["basin"] is None else tuple(data["basin"])
        return cls(**fields)


_PARTS: dict[str, type[Any]] = {
    "conditions": Conditions,
    "mended": Mended,
    "blocks": Blocks,
    "gradient": Gradient,
    "finite": Finite,
}
