"""The record of a simulation: moments, correlation and gradient, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from snn_cli.records.solution import VERSION, Note, Params, finite, numbers, reading


class FixedPoint(NamedTuple):
    """A second moment that is kept: ``V(q) = q``, ``gamma = V'(q)``. Deviations fall by e in ``depth_scale`` layers."""

    q: float | None
    gamma: float | None
    stable: bool
    depth_scale: float | None


class Covariance(NamedTuple):
    """The correlation of two inputs that is kept, the slope of the map there, and its depth scale in layers."""

    fixed_point: float | None
    slope: float | None
    depth_scale: float | None


class Isometry(NamedTuple):
    """``phi(J J^T)`` of a block and its variance, at the fixed point; and of the network, its variance relative."""

    chi: float | None
    block_variance: float | None
    network_mean: float | None
    network_relative_variance: float | None


class Finite(NamedTuple):
    """Rates per layer deep inside the network at its fan-in: of ``log |gradient|^2``, and of the second moment."""

    drift: float | None
    variance: float | None
    q_mean: float | None
    q_variance: float | None


class Gradient(NamedTuple):
    """``log(|dLoss/dx[0]|^2 / |dLoss/dx[L]|^2)``: its mean, its deviation over networks, and ``e^mean``."""

    log_growth: float | None
    log_growth_sd: float | None
    typical_factor: float | None


class MeanState(NamedTuple):
    """A fixed point of the map of mean and variance of the pre-activations."""

    mean: float
    variance: float
    stable: bool


class MeanPath(NamedTuple):
    """What becomes of a mean of the pre-activations.

    ``slope = fan_in mu_w E[f']`` at 0; the weight mean, in units of the weights' deviation, from which the mean is no
    longer attracted to 0; with a weight mean also the fixed points and the means at the input between which the network
    stays finite (None: no end); where f is centralized the sigma_w that brings the fixed point back to 1.
    """

    slope: float | None
    weight_mean_tolerance: float | None
    fixed_points: tuple[MeanState, ...] | None = None
    basin: tuple[float | None, float | None] | None = None
    restoring_sigma_w: float | None = None


class Budget(NamedTuple):
    """Whether the typical squared gradient stays within a factor, and what would.

    ``max_depth``: the largest depth, None where every depth that was followed does (up to a billion, or 16384 where q
    never settles). ``epsilon``: the largest one at this depth, None where there is none or the activation has no
    parameter to solve for.
    """

    max_growth: float
    within: bool
    max_depth: int | None
    epsilon: float | None


class Profile(NamedTuple):
    """Arrays over layers ``0 ... depth``; ``log_gradient`` is relative to the last layer."""

    layer: tuple[int, ...]
    q: tuple[float | None, ...]
    q_mean: tuple[float | None, ...] | None
    q_sd: tuple[float | None, ...] | None
    mean: tuple[float | None, ...]
    chi: tuple[float | None, ...]
    correlation: tuple[float | None, ...] | None
    log_gradient: tuple[float | None, ...]
    log_gradient_sd: tuple[float | None, ...] | None
    unit_mean: tuple[float | None, ...] | None = None
    unit_variance: tuple[float | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Propagation:
    """Second moments, correlation and gradient through a network of random weights: mean field and finite fan-in.

    act, epsilon, params
        The activation; epsilon is None for one without parameters to solve for.
    depth, fan_in, widths
        Blocks; fan-in where all layers share it, else None; widths of ``x[0] ... x[depth]`` where they were given.
    weights, sigma_w, sigma_b
        Ensemble and deviations (``W_ij`` has the deviation ``sigma_w / sqrt(fan_in)``).
    q0, c0
        Second moment and correlation of the inputs, after mixing where inputs are mixed.
    weight_mean, centralize, centralize_activation, mixup, scaled_mixup
        As asked for; the weight mean in units of the weights' own deviation.
    fixed_point, fixed_points
        The one that q0 leads to, and all between 1e-8 and 1e8 (and 0).
    covariance, isometry, finite, gradient, mean_path, budget, profile
        See the classes; None inside where no theory is known, with a note. ``budget`` and ``profile`` where asked for.
    """

    act: str
    epsilon: float | None
    params: Params
    depth: int
    fan_in: int | None
    weights: str
    sigma_w: float
    sigma_b: float
    widths: tuple[int, ...] | None
    q0: float
    c0: float
    weight_mean: float
    centralize: bool
    centralize_activation: bool
    mixup: float | None
    scaled_mixup: float | None
    fixed_point: FixedPoint
    fixed_points: tuple[FixedPoint, ...]
    covariance: Covariance
    isometry: Isometry
    finite: Finite
    gradient: Gradient
    mean_path: MeanPath
    budget: Budget | None = None
    notes: tuple[Note, ...] = ()
    profile: Profile | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, ``kind`` and ``version`` first, keys in a fixed order."""
        data: dict[str, Any] = {"kind": "propagation", "version": VERSION}
        for name in self.__dataclass_fields__:
            data[name] = getattr(self, name)
        data["params"] = dict(self.params)
        data["widths"] = None if self.widths is None else list(self.widths)
        for name in ("fixed_point", "covariance", "isometry", "finite", "gradient"):
            data[name] = getattr(self, name)._asdict()
        data["fixed_points"] = [point._asdict() for point in self.fixed_points]
        data["mean_path"] = mean_path = self.mean_path._asdict()
        if self.mean_path.restoring_sigma_w is None:
            del mean_path["restoring_sigma_w"]
        if self.mean_path.fixed_points is None:
            del mean_path["fixed_points"], mean_path["basin"]
        else:
            mean_path["fixed_points"] = [state._asdict() for state in self.mean_path.fixed_points]
            mean_path["basin"] = list(self.mean_path.basin or (None, None))
        data["notes"] = [note.value for note in self.notes]
        for name in ("budget", "profile"):
            if data[name] is None:
                del data[name]
        if self.budget is not None:
            data["budget"] = self.budget._asdict()
        if self.profile is not None:
            columns = self.profile._asdict()
            if self.profile.unit_mean is None:
                del columns["unit_mean"], columns["unit_variance"]
            data["profile"] = {name: None if column is None else list(column) for name, column in columns.items()}
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Propagation:
        """Read back what ``to_dict`` wrote. Raises InputError for any other kind, version, field or type."""
        with reading("propagation", data, "snn simulate --act lselu --epsilon 0.03 --depth 100 --json"):
            fields = {name: data[name] for name in cls.__dataclass_fields__ if name not in ("budget", "profile")}
            fields["params"] = numbers(data["params"])
            fields["widths"] = None if data["widths"] is None else tuple(int(width) for width in data["widths"])
            for name in ("sigma_w", "sigma_b", "q0", "c0", "weight_mean"):
                fields[name] = float(finite(fields[name]))
            for name, kind in _PARTS.items():
                fields[name] = part(kind, data[name])
            fields["fixed_points"] = tuple(part(FixedPoint, point) for point in data["fixed_points"])
            path = dict(data["mean_path"])
            if "fixed_points" in path:
                path["fixed_points"] = tuple(part(MeanState, state) for state in path["fixed_points"])
                path["basin"] = tuple(path["basin"])
            fields["mean_path"] = MeanPath(**path)
            fields["notes"] = tuple(Note(code) for code in data["notes"])
            if "budget" in data:
                fields["budget"] = part(Budget, data["budget"])
            if "profile" in data:
                columns: dict[str, Any] = {k: v if v is None else tuple(v) for k, v in data["profile"].items()}
                fields["profile"] = Profile(**columns)
        return cls(**fields)


_PARTS: dict[str, type[Any]] = {
    "fixed_point": FixedPoint,
    "covariance": Covariance,
    "isometry": Isometry,
    "finite": Finite,
    "gradient": Gradient,
}


def part(kind: type[Any], data: Mapping[str, Any]) -> Any:
    """A named tuple of finite numbers, booleans and None. Raises TypeError, ValueError, AttributeError."""
    for value in data.values():
        if value is not None and not isinstance(value, bool):
            finite(value)
    return kind(**data)
