"""Frozen records: what every public function returns, and what table, JSON and CSV are made from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

VERSION = 1
"""Format version of every record; a reader refuses any other."""


class Note(str, Enum):
    """Facts that a user must know about a result; ``reports.notes`` makes the sentences."""

    LAMBDA_BOUND_ACTIVE = "lambda-bound-active"
    NOT_MONOTONE = "not-monotone"
    NEARLY_LINEAR = "nearly-linear"
    NOT_SELF_NORMALIZING = "not-self-normalizing"
    EPSILON_FIXED = "epsilon-fixed"
    EPSILON_AT_END = "epsilon-at-end"
    FINITE_WIDTH_EXTRAPOLATED = "finite-width-extrapolated"
    NO_FIXED_POINT = "no-fixed-point"
    VANISHES = "vanishes"
    EVERY_SECOND_MOMENT_FIXED = "every-second-moment-fixed"
    NEVER_SETTLES = "never-settles"
    OVERFLOW = "overflow"
    UNDERFLOW = "underflow"
    MEAN_ESCAPES = "mean-escapes"
    FINITE_NOT_MODELLED = "finite-not-modelled"
    TRUNCATION_LOSES_VARIANCE = "truncation-loses-variance"
    CENTRALIZATION_SHIFTS = "centralization-shifts"
    EXPANSION_FAILS = "expansion-fails"
    BEYOND_TOLERANCE = "beyond-tolerance"
    MEAN_NOT_COUNTED = "mean-not-counted"
    ONE_TRIAL = "one-trial"
    TOO_FEW_TRIALS = "too-few-trials"
    BROKEN = "broken"
    PARTIAL = "partial"
    NO_FINITE_THEORY = "no-finite-theory"


class Params(Mapping[str, float]):
    """Parameter values by name, in the family's order; immutable. ``params.lam`` is ``params["lambda"]``."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, float]) -> None:
        self._items = dict(items)

    def __getitem__(self, name: str) -> float:
        return self._items["lambda" if name == "lam" else name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getattr__(self, name: str) -> float:
        if name.startswith("_"):  # not yet set while unpickling or copying
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no parameter {name!r}; there are {', '.join(self)}") from None

    def __hash__(self) -> int:
        return hash(tuple(self._items.items()))

    def __reduce__(self) -> tuple[type[Params], tuple[dict[str, float]]]:
        return Params, (self._items,)

    def __repr__(self) -> str:
        return f"Params({self._items!r})"


@dataclass(frozen=True, slots=True)
class Solution:
    """Parameters of an activation that satisfy the two moment conditions, and what follows from them.

    Every float is the exact solution's value, correctly rounded. Moments are at ``q = 1``, ``sigma_w = 1``.

    act, epsilon
        Family and backward gain minus one.
    closure
        How the free degree of freedom was closed: ``lambda_min``, ``lambda``, ``zero_mean`` or ``none``.
    depth, fan_in
        As given, else None.
    params
        ``lambda``, ``alpha``, ``beta``, as the family has them.
    mean, second_moment, chi, gamma, kappa, mean_slope
        ``E[f]``, ``E[f^2]``, ``E[f'^2]``, ``E[z f f']``, ``E[f'^4]/E[f'^2]^2``, ``E[f']``.
    active_bounds, multiplier
        Bounds that hold with equality, and ``d gamma / d lambda_min``; None where there is no bound or it is infinite.
    residuals
        ``second_moment`` and ``chi`` of the *rounded* parameters less their exact targets, in high precision.
    monotone, self_normalizing
        ``f' >= 0`` everywhere; ``gamma < 1``.
    feasible_epsilon, feasible_open
        Ends of the range of epsilon on which the equations have a solution under the same options (None: no end), and
        whether each end is excluded.
    notes
        Codes; ``reports.notes`` spells them out.
    digits, decimals
        With digits: parameters and moments as decimal strings of that many significant digits, correctly rounded.
    enclosure
        With certify: for each parameter and moment, decimal strings ``(lo, hi)`` between which the exact value is
        proved to lie, the only solution there.
    """

    act: str
    epsilon: float
    closure: str
    depth: int | None
    fan_in: int | None
    params: Params
    mean: float
    second_moment: float
    chi: float
    gamma: float
    kappa: float
    mean_slope: float
    active_bounds: tuple[str, ...]
    multiplier: float | None
    residuals: Params
    monotone: bool
    self_normalizing: bool
    feasible_epsilon: tuple[float, float | None]
    feasible_open: tuple[bool, bool]
    notes: tuple[Note, ...] = ()
    digits: int | None = None
    decimals: tuple[tuple[str, str], ...] | None = None
    enclosure: tuple[tuple[str, tuple[str, str]], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, ``kind`` and ``version`` first, keys in a fixed order."""
        data: dict[str, Any] = {"kind": "solution", "version": VERSION}
        for name in _SOLUTION_FIELDS:
            data[name] = getattr(self, name)
        data["params"] = dict(self.params)
        data["residuals"] = dict(self.residuals)
        for name in ("active_bounds", "feasible_epsilon", "feasible_open"):
            data[name] = list(data[name])
        data["notes"] = [note.value for note in self.notes]
        if self.decimals is not None:
            data["digits"] = self.digits
            data["decimals"] = dict(self.decimals)
        if self.enclosure is not None:
            data["enclosure"] = {name: list(ends) for name, ends in self.enclosure}
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Solution:
        """Read back what ``to_dict`` wrote. Raises InputError for any other kind, version, field or type."""
        if not isinstance(data, Mapping) or data.get("kind") != "solution" or data.get("version") != VERSION:
            raise InputError(
                f"not a solution record of version {VERSION}", "snn solve --act lselu --epsilon 0.03 --json"
            )
        try:
            fields = {name: data[name] for name in _SOLUTION_FIELDS}
            fields["params"] = _numbers(data["params"])
            fields["residuals"] = _numbers(data["residuals"])
            fields["active_bounds"] = tuple(str(b) for b in data["active_bounds"])
            lo, hi = data["feasible_epsilon"]
            fields["feasible_epsilon"] = (float(lo), None if hi is None else float(hi))
            lo_open, hi_open = data["feasible_open"]
            fields["feasible_open"] = (bool(lo_open), bool(hi_open))
            fields["notes"] = tuple(Note(code) for code in data["notes"])
            for name in _FLOATS:
                fields[name] = float(_finite(fields[name]))
            if fields["multiplier"] is not None:
                fields["multiplier"] = float(_finite(fields["multiplier"]))
            for name in ("depth", "fan_in"):
                value = fields[name]
                if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                    raise ValueError(f"{name} is not a positive integer")
            for name in ("act", "closure"):
                if not isinstance(fields[name], str):
                    raise TypeError(f"{name} is not a string")
            for name in ("monotone", "self_normalizing"):
                if not isinstance(fields[name], bool):
                    raise TypeError(f"{name} is not a boolean")
            if "decimals" in data:
                fields["digits"] = int(data["digits"])
                fields["decimals"] = tuple((str(k), str(v)) for k, v in data["decimals"].items())
            if "enclosure" in data:
                fields["enclosure"] = tuple((str(k), (str(lo), str(hi))) for k, (lo, hi) in data["enclosure"].items())
        except KeyError as error:
            raise InputError(f"the solution record lacks the field {error}") from None
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"the solution record is malformed: {error}") from None
        return cls(**fields)

    def function(self) -> Callable[[ArrayLike], NDArray[Any]]:
        """The activation as a function of numpy arrays; does not overflow, keeps the float type, propagates NaN.

        Computed in doubles, to a few units of rounding of its terms: where they cancel, at a zero of lSELU other than
        0 or of its derivative, that is an absolute error. Shorter floats are rounded once, at the end.
        """
        return _Evaluate(self.act, "function", self.params)

    def derivative(self) -> Callable[[ArrayLike], NDArray[Any]]:
        """Its derivative as a function of numpy arrays, likewise; at 0 the right-hand one."""
        return _Evaluate(self.act, "derivative", self.params)

    def at(self, x: float) -> float:
        """The activation at one point, without numpy."""
        from snn_cli.activations import get

        return float(get(self.act).function(_Scalar, float(x), self.params))


@dataclass(frozen=True, slots=True)
class _Evaluate:
    """A family's ``function`` or ``derivative`` with its parameters, on numpy arrays."""

    act: str
    which: str
    params: Params

    @property
    def __name__(self) -> str:
        return self.act if self.which == "function" else f"{self.act}_{self.which}"

    def __call__(self, x: ArrayLike) -> NDArray[Any]:
        import numpy as np

        from snn_cli.activations import get

        formula = getattr(get(self.act), self.which)
        array = np.asarray(x)
        kind = array.dtype if np.issubdtype(array.dtype, np.floating) else np.dtype(float)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            # shorter floats lose digits where the terms cancel, and an alpha of small epsilon overflows float16
            result: NDArray[Any] = np.asarray(formula(np, array.astype(np.promote_types(kind, float)), self.params))
            return result.astype(kind, copy=False)


class _Scalar:
    """The few numpy names that the families' formulas use, for one float."""

    expm1 = staticmethod(math.expm1)
    exp = staticmethod(math.exp)
    minimum = staticmethod(min)

    @staticmethod
    def where(condition: bool, then: float, otherwise: float) -> float:
        return then if condition else otherwise


_OPTIONAL = ("digits", "decimals", "enclosure")
_SOLUTION_FIELDS = tuple(name for name in Solution.__dataclass_fields__ if name not in _OPTIONAL)
_FLOATS = ("epsilon", "mean", "second_moment", "chi", "gamma", "kappa", "mean_slope")


def _finite(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return value


def _numbers(data: Any) -> Params:
    return Params({str(name): float(_finite(value)) for name, value in data.items()})


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
        if not isinstance(data, Mapping) or data.get("kind") != "propagation" or data.get("version") != VERSION:
            raise InputError(
                f"not a propagation record of version {VERSION}",
                "snn simulate --act lselu --epsilon 0.03 --depth 100 --json",
            )
        try:
            fields = {name: data[name] for name in cls.__dataclass_fields__ if name not in ("budget", "profile")}
            fields["params"] = _numbers(data["params"])
            fields["widths"] = None if data["widths"] is None else tuple(int(width) for width in data["widths"])
            for name in ("sigma_w", "sigma_b", "q0", "c0", "weight_mean"):
                fields[name] = float(_finite(fields[name]))
            for name, kind in _PARTS.items():
                fields[name] = _part(kind, data[name])
            fields["fixed_points"] = tuple(_part(FixedPoint, point) for point in data["fixed_points"])
            path = dict(data["mean_path"])
            if "fixed_points" in path:
                path["fixed_points"] = tuple(_part(MeanState, state) for state in path["fixed_points"])
                path["basin"] = tuple(path["basin"])
            fields["mean_path"] = MeanPath(**path)
            fields["notes"] = tuple(Note(code) for code in data["notes"])
            if "budget" in data:
                fields["budget"] = _part(Budget, data["budget"])
            if "profile" in data:
                columns: dict[str, Any] = {k: v if v is None else tuple(v) for k, v in data["profile"].items()}
                fields["profile"] = Profile(**columns)
        except KeyError as error:
            raise InputError(f"the propagation record lacks the field {error}") from None
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"the propagation record is malformed: {error}") from None
        return cls(**fields)


_PARTS: dict[str, type[Any]] = {
    "fixed_point": FixedPoint,
    "covariance": Covariance,
    "isometry": Isometry,
    "finite": Finite,
    "gradient": Gradient,
}


def _part(kind: type[Any], data: Mapping[str, Any]) -> Any:
    for value in data.values():
        if value is not None and not isinstance(value, bool):
            _finite(value)
    return kind(**data)


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
    """Arrays over layers ``0 ... depth``: means over networks, standard errors, predictions, and z of the gradient."""

    layer: tuple[int, ...]
    q: tuple[float | None, ...]
    q_se: tuple[float | None, ...]
    q_theory: tuple[float | None, ...]
    log_gradient: tuple[float | None, ...]
    log_gradient_se: tuple[float | None, ...]
    log_gradient_theory: tuple[float | None, ...]
    z: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """What was measured on real random networks, what theory says, and whether they agree.

    Fields as in ``Propagation`` where they have its names. ``broken_layer``, ``broken_trial``: where a number first
    stopped being finite. ``seconds``, ``networks_per_second``, ``peak_memory`` (bytes) may differ between two runs.
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

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, ``kind`` and ``version`` first, keys in a fixed order."""
        data: dict[str, Any] = {"kind": "verification", "version": VERSION}
        for name in self.__dataclass_fields__:
            data[name] = getattr(self, name)
        data["params"] = dict(self.params)
        data["widths"] = None if self.widths is None else list(self.widths)
        for name in ("measured", "theory", "verdict"):
            data[name] = getattr(self, name)._asdict()
        data["notes"] = [note.value for note in self.notes]
        if self.profile is None:
            del data["profile"]
        else:
            data["profile"] = {name: list(column) for name, column in self.profile._asdict().items()}
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verification:
        """Read back what ``to_dict`` wrote. Raises InputError for any other kind, version, field or type."""
        if not isinstance(data, Mapping) or data.get("kind") != "verification" or data.get("version") != VERSION:
            raise InputError(f"not a verification record of version {VERSION}", "snn verify --json")
        try:
            fields = {name: data[name] for name in cls.__dataclass_fields__ if name != "profile"}
            fields["params"] = _numbers(data["params"])
            fields["widths"] = None if data["widths"] is None else tuple(int(width) for width in data["widths"])
            for name, kind in (("measured", Estimates), ("theory", Estimates), ("verdict", Verdict)):
                fields[name] = _part(kind, data[name])
            fields["notes"] = tuple(Note(code) for code in data["notes"])
            columns: dict[str, Any] = {k: tuple(v) for k, v in data.get("profile", {}).items()}
            fields["profile"] = Measured(**columns) if columns else None
        except KeyError as error:
            raise InputError(f"the verification record lacks the field {error}") from None
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"the verification record is malformed: {error}") from None
        return cls(**fields)
