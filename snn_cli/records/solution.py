"""The record of a solution, and what all records are made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from snn_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

VERSION = 1
"""Format version of every record; a reader refuses any other."""

MOMENTS = ("mean", "second_moment", "chi", "gamma", "kappa", "mean_slope")
"""Names of the moments that a solution has."""


class Note(str, Enum):
    """Facts that a user must know about a result; ``reports.notes`` makes the sentences."""

    LAMBDA_BOUND_ACTIVE = "lambda-bound-active"
    NOT_MONOTONE = "not-monotone"
    NEARLY_LINEAR = "nearly-linear"
    NOT_SELF_NORMALIZING = "not-self-normalizing"
    EPSILON_FIXED = "epsilon-fixed"
    EPSILON_AT_END = "epsilon-at-end"
    BOUND_ACTIVE = "bound-active"
    SEARCH_EDGE = "search-edge"
    SCALE_REDUNDANT = "scale-redundant"
    SHIFT_REDUNDANT = "shift-redundant"
    MIRRORED = "mirrored"
    TIED = "tied"
    FEASIBLE_SEARCHED = "feasible-searched"
    GAMMA_NEGATIVE = "gamma-negative"
    FINITE_WIDTH_EXTRAPOLATED = "finite-width-extrapolated"
    NO_FIXED_POINT = "no-fixed-point"
    VANISHES = "vanishes"
    EVERY_SECOND_MOMENT_FIXED = "every-second-moment-fixed"
    CORRELATION_NOT_FOLLOWED = "correlation-not-followed"
    EXTRAPOLATED_IN_Q = "extrapolated-in-q"
    NEVER_SETTLES = "never-settles"
    OVERFLOW = "overflow"
    UNDERFLOW = "underflow"
    MEAN_ESCAPES = "mean-escapes"
    FINITE_NOT_MODELLED = "finite-not-modelled"
    TRUNCATION_LOSES_VARIANCE = "truncation-loses-variance"
    CENTRALIZATION_SHIFTS = "centralization-shifts"
    OWN_MEANS_GROW = "own-means-grow"
    EXPANSION_FAILS = "expansion-fails"
    BEYOND_TOLERANCE = "beyond-tolerance"
    MEAN_NOT_COUNTED = "mean-not-counted"
    ONE_TRIAL = "one-trial"
    TOO_FEW_TRIALS = "too-few-trials"
    BROKEN = "broken"
    PARTIAL = "partial"
    NO_FINITE_THEORY = "no-finite-theory"
    FINITE_CHANNELS = "finite-channels"
    BORDERS_APPROXIMATE = "borders-approximate"
    POSITIONS_ALONE = "positions-alone"
    INFINITE_WIDTH_COMPARED = "infinite-width-compared"
    MEAN_ADDED = "mean-added"
    THEORY_VOID = "theory-void"
    DIVERGED = "diverged"
    RATE_AT_END = "rate-at-end"
    ONE_SEED = "one-seed"


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
        with reading("solution", data, "snn solve --act lselu --epsilon 0.03 --json"):
            fields = {name: data[name] for name in _SOLUTION_FIELDS}
            fields["params"] = numbers(data["params"])
            fields["residuals"] = numbers(data["residuals"])
            fields["active_bounds"] = tuple(str(b) for b in data["active_bounds"])
            lo, hi = data["feasible_epsilon"]
            fields["feasible_epsilon"] = (float(lo), None if hi is None else float(hi))
            lo_open, hi_open = data["feasible_open"]
            fields["feasible_open"] = (bool(lo_open), bool(hi_open))
            fields["notes"] = tuple(Note(code) for code in data["notes"])
            for name in _FLOATS:
                fields[name] = float(finite(fields[name]))
            if fields["multiplier"] is not None:
                fields["multiplier"] = float(finite(fields["multiplier"]))
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
        from snn_cli.activations import SOLVABLE, get

        if self.act not in SOLVABLE:
            return float(self.function()(float(x)))
        return float(get(self.act).function(_Scalar, float(x), self.params))


class _Evaluate:
    """An activation's ``function`` or ``derivative`` with its parameters, on numpy arrays."""

    __slots__ = ("act", "params", "which")

    def __init__(self, act: str, which: str, params: Params) -> None:
        self.act, self.which, self.params = act, which, params

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Evaluate) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"<{self.__name__} of {dict(self.params)}>"

    def _key(self) -> tuple[str, str, Params]:
        return self.act, self.which, self.params

    @property
    def __name__(self) -> str:
        return self.act if self.which == "function" else f"{self.act}_{self.which}"

    def __call__(self, x: ArrayLike) -> NDArray[Any]:
        import numpy as np

        from snn_cli.activations import find

        formula = getattr(find(self.act, self.params), self.which)
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
_FLOATS = ("epsilon", *MOMENTS)


@contextmanager
def reading(kind: str, data: Any, example: str) -> Iterator[None]:
    """Read a record of that kind inside: any other is refused, and so is what the block stumbles over.

    ``example`` is a command that prints one. Raises InputError.
    """
    article = "an" if kind[0] in "aeiou" else "a"
    if not isinstance(data, Mapping) or data.get("kind") != kind or data.get("version") != VERSION:
        raise InputError(f"not {article} {kind} record of version {VERSION}", example)
    try:
        yield
    except KeyError as error:
        raise InputError(f"the {kind} record lacks the field {error}") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"the {kind} record is malformed: {error}") from None


def finite(value: Any) -> Any:
    """The number itself. Raises ValueError for anything that is not a finite one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return value


def numbers(data: Any) -> Params:
    """Finite numbers by name. Raises ValueError, AttributeError."""
    return Params({str(name): float(finite(value)) for name, value in data.items()})
