"""The search in doubles: down along the solutions of the conditions from many starts, signs and magnitudes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snn_cli.activations.family import Baseline
    from snn_cli.program.bounds import Bound

_BREAKS = (0.0, 1 / 64, 1 / 16, 0.25, 0.5, 1.0, 1.75, 2.5, 3.5, 4.5, 6.0, 8.0, 10.0, 12.0)
_NODES = 16
MAGNITUDES = (1.0, 0.25, 4.0, 0.5, 2.0, 1 / 16, 16.0, 0.125, 8.0)
_MOST_STARTS = 3000  # that are looked at
_DESCENTS = 20  # that are followed
_STEP = 1e-5  # relative, of differences in doubles
_HOLDS = 1e-7
_SLACK = 1e-6
_FARTHEST = 1e9
FALLS = 5
_DOWN = 100
_CORRECTIONS = 15
_LOST = 1e5
_ASIDE = (1.04, 0.96)
_SAME = 1e-9

NAMES = ("gamma", "second_moment", "chi", "mean")
"""Rows of moments, and of their Jacobian."""


@dataclass(frozen=True)
class Program:
    """What is asked, in exact numbers.

    free
        The parameters to solve for; ``settings`` are the values of the others.
    epsilon
        None where it is the activation's own.
    """

    baseline: Baseline
    free: tuple[str, ...]
    settings: tuple[tuple[str, Fraction], ...]
    epsilon: Fraction | None
    zero_mean: bool
    bounds: tuple[Bound, ...] = ()

    @property
    def conditions(self) -> tuple[str, ...]:
        names = ("second_moment", *(("chi",) if self.epsilon is not None else ()))
        return (*names, "mean") if self.zero_mean else names

    @property
    def targets(self) -> tuple[Fraction, ...]:
        known = {"second_moment": Fraction(1), "chi": 1 + (self.epsilon or Fraction(0)), "mean": Fraction(0)}
        return tuple(known[name] for name in self.conditions)

    def range(self, name: str) -> tuple[float, float]:
        low, high = -_FARTHEST, _FARTHEST
        for bound in self.bounds:
            if bound.name == name:
                low = bound.number if bound.relation != "<=" else low
                high = bound.number if bound.relation != ">=" else high
        return low, high


class Start(NamedTuple):
    """A stationary point in doubles: gamma, the mean, the free parameters and the bounds that hold with equality."""

    gamma: float
    mean: float
    x: tuple[float, ...]
    active: tuple[Bound, ...]


@lru_cache(maxsize=1)
def _legendre() -> tuple[Any, Any]:
    import numpy as np

    return np.polynomial.legendre.leggauss(_NODES)


@lru_cache(maxsize=64)
def _rule(kinks: tuple[float, ...]) -> tuple[Any, Any]:
    import numpy as np

    nodes, weights = _legendre()
    end = _BREAKS[-1]
    ends = np.unique([*(-x for x in _BREAKS), *_BREAKS, *(k for k in kinks if -end < k < end)])
    half = np.diff(ends)[:, None] / 2
    z = ((ends[1:] + ends[:-1]) / 2)[:, None] + half * nodes
    density = half * weights * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return z.ravel(), (density / density.sum()).ravel()


class Fall(NamedTuple):
    """A parameter with which gamma falls for ever, where it goes, and ``(parameter, gamma)`` on the way."""

    name: str
    towards: str
    path: list[tuple[float, float]]


class Search:
    """Moments of the activation in doubles, as functions of its free parameters.

    ``like``: a search of a program that differs in epsilon alone, and so has the same moments.
    """

    def __init__(self, program: Program, like: Search | None = None) -> None:
        self.program = program
        self.known = {name: float(value) for name, value in program.settings}
        self.seen: list[Any] = []
        self._seen: dict[tuple[float, ...], Any] = like._seen if like else {}
        self._kinks: tuple[float, ...] | None = like._kinks if like else self._unmoved()
        self._moved: dict[tuple[float, ...], tuple[float, ...]] = like._moved if like else {}

    def moments(self, x: Sequence[float]) -> Any:
        """``gamma, E[f^2], E[f'^2], E[f]``; nan where they are not finite."""
        import numpy as np

        key = tuple(map(float, x))
        if key in self._seen:
            return self._seen[key]
        params = self.known | dict(zip(self.program.free, key, strict=True))
        baseline = self.program.baseline
        z, w = _rule(self._kinks_at(params))
        with np.errstate(all="ignore"):
            f = np.broadcast_to(np.asarray(baseline.function(np, z, params), float), z.shape)
            df = np.broadcast_to(np.asarray(baseline.derivative(np, z, params), float), z.shape)
            found = np.array([w @ (z * f * df), w @ (f * f), w @ (df * df), w @ f])
        if len(self._seen) > 5000:
            self._seen.clear()
        self._seen[key] = found
        return found

    def _together(self, points: Any) -> Any:
        """The moments at several points, a row each; in one evaluation where no parameter moves a kink."""
        import numpy as np

        if self._kinks is None:
            return np.array([self.moments(x) for x in points])
        baseline = self.program.baseline
        params: dict[str, Any] = {**self.known, **dict(zip(self.program.free, points.T[:, :, None], strict=True))}
        z, w = _rule(self._kinks)
        with np.errstate(all="ignore"):
            shape = (len(points), len(z))
            f = np.broadcast_to(np.asarray(baseline.function(np, z, params), float), shape)
            df = np.broadcast_to(np.asarray(baseline.derivative(np, z, params), float), shape)
            return np.stack([(z * f * df) @ w, (f * f) @ w, (df * df) @ w, f @ w], axis=-1)

    def _unmoved(self) -> tuple[float, ...] | None:
        """The kinks, where no free parameter moves them."""
        free, baseline = self.program.free, self.program.baseline
        return None if baseline.bending & set(free) else baseline.kinks(None, self.known | dict.fromkeys(free, 1.0))

    def _kinks_at(self, params: Mapping[str, float]) -> tuple[float, ...]:
        """The kinks, found once for every set of the parameters that move them."""
        if self._kinks is not None:
            return self._kinks
        baseline = self.program.baseline
        key = tuple(params[name] for name in sorted(baseline.bending & params.keys()))
        if key not in self._moved:
            if len(self._moved) > 5000:
                self._moved.clear()
            self._moved[key] = tuple(baseline.kinks(None, dict(params)))
        return self._moved[key]

    def least_slope(self, x: Sequence[float]) -> float:
        """The infimum of f' where nearly all inputs are."""
        import numpy as np

        params = self.known | dict(zip(self.program.free, map(float, x), strict=True))
        z = np.concatenate([_rule(self._kinks_at(params))[0], [-30.0, -20.0, 20.0, 30.0]])
        with np.errstate(all="ignore"):
            return float(np.min(self.program.baseline.derivative(np, z, params)))

    def jacobian(self, x: Sequence[float]) -> Any:
        """Of the moments by the parameters: rows as in ``NAMES``, by central differences."""
        import numpy as np

        here = np.array(x, float)
        steps = np.diag(_STEP * np.maximum(np.abs(here), 1e-4))
        up, down = here + steps, here - steps
        found = self._together(np.concatenate([up, down]))
        n = len(here)
        return ((found[:n] - found[n:]) / (np.diag(up) - np.diag(down))[:, None]).T

    def starts(self) -> list[tuple[float, ...]]:
        """Signs and magnitudes of every parameter, within the bounds; the most promising first, and far apart."""
        import numpy as np

        program = self.program
        count = max(2, int(_MOST_STARTS ** (1 / len(program.free)) / 2))
        axes = []
        for name in program.free:
            low, high = program.range(name)
            values = [sign * m for m in MAGNITUDES[:count] for sign in (1, -1)]
            inside = [v for v in values if low <= v <= high]
            inside += [v for v in (low, high) if abs(v) < _FARTHEST] + [(low + high) / 2] * (high - low < 1)
            if low > -_FARTHEST and not any(v > low for v in inside):
                inside += [v for v in (low + 1, low + abs(low)) if v <= high]
            axes.append(list(dict.fromkeys(inside)))
        targets = np.array([float(t) for t in program.targets])
        rows = [NAMES.index(name) for name in program.conditions]
        ranked = []
        self.seen = []
        for x in product(*axes):
            found = self.moments(x)
            if np.isfinite(found).all():
                self.seen.append(found)
                short = np.abs(np.log(np.maximum(found[1], 1e-300))) if "second_moment" in program.conditions else 0
                excess = short + np.abs(found[rows] - targets).sum() / (1 + np.abs(found[rows]).sum())
                ranked.append((float(excess), x))
        ranked.sort()
        chosen: list[tuple[float, ...]] = []
        for _, x in ranked:  # one of each pattern of signs first, then the rest by rank
            if all(_signs(x) != _signs(other) for other in chosen):
                chosen.append(x)
        chosen = chosen[: 2 * _DESCENTS // 3]
        chosen += [x for _, x in ranked if x not in chosen][: _DESCENTS - len(chosen)]
        return chosen

    def minima(self, starts: Sequence[tuple[float, ...]] | None = None) -> list[Start]:
        """Stationary points, the smallest gamma first; from ``starts``, where given, and not from those of its own."""
        found: list[Start] = []
        for x in self.starts() if starts is None else starts:
            start = self.descend(x)
            if start is not None and all(_apart(start.x, other.x) for other in found):
                found.append(start)
        return sorted(found, key=lambda start: (round(start.gamma, 5), sum(v < 0 for v in start.x), start.gamma))

    def descend(
        self, x: Sequence[float], fixed: Mapping[str, float] | None = None, roots: bool = False
    ) -> Start | None:
        """A minimum of gamma under the conditions and bounds, with some parameters ``fixed``; with ``roots`` any point.

        Steps down along the solutions of the conditions, each corrected back to them; None where there are none near.
        """
        import numpy as np

        names = self.program.free
        ends = [(fixed[n], fixed[n]) if fixed and n in fixed else self.program.range(n) for n in names]
        low, high = (np.array(side) for side in zip(*ends, strict=True))
        with np.errstate(all="ignore"):
            here = self._corrected(np.clip(np.array(x, float), low, high), low, high)
            if here is None:
                return None
            size = 0.1
            for _ in range(0 if roots or len(names) == len(self._rows) else _DOWN):
                scale = np.maximum(np.abs(here), 0.1)
                step = self._downhill(here, scale, low, high)
                length = float(np.abs(step).max())
                if not length > 1e-9:
                    break
                if np.abs(here).max() > _LOST or (here == 0).any():
                    break
                there = self._corrected(np.clip(here + min(size, size / length) * scale * step, low, high), low, high)
                if there is not None and self.moments(there)[0] < self.moments(here)[0]:
                    here, size = there, size * 2
                else:
                    size /= 4
                if size * min(1, length) < 1e-8:
                    break
        found = self.moments(here)
        at = tuple(map(float, here))
        return Start(float(found[0]), float(found[3]), at, self._active(at))

    @cached_property
    def _rows(self) -> list[int]:
        return [NAMES.index(name) for name in self.program.conditions]

    @cached_property
    def _targets(self) -> Any:
        import numpy as np

        return np.array([float(target) for target in self.program.targets])

    def _corrected(self, x: Any, low: Any, high: Any) -> Any:
        """The nearest point at which the conditions hold, by Newton's method of least norm; None where it is lost."""
        import numpy as np

        short = self.moments(x)[self._rows] - self._targets
        if not np.isfinite(short).all():
            return None
        for _ in range(_CORRECTIONS):
            size = float(np.abs(short).max())
            if size < 1e-11:
                return x
            scale = np.maximum(np.abs(x), 0.1)
            matrix = self.jacobian(x)[self._rows] * scale
            open_ = (low < high) & np.isfinite(matrix).all(axis=0)
            for _ in range(len(x)):  # what would leave its bounds stays on them
                if not open_.any():
                    return None
                change = np.zeros(len(x))
                change[open_] = -np.linalg.lstsq(matrix[:, open_], short, rcond=1e-13)[0]
                out = open_ & (((x <= low) & (change < 0)) | ((x >= high) & (change > 0)))
                if not out.any():
                    break
                open_ &= ~out
            part = min(1.0, 1.0 / max(float(np.abs(change).max()), 1e-300))
            while part > 1e-4:
                there = np.clip(x + part * scale * change, low, high)
                left = self.moments(there)[self._rows] - self._targets
                if np.isfinite(left).all() and np.abs(left).max() < size:
                    break
                part /= 3
            else:
                return x if size < _HOLDS else None
            x, short = there, left
        return x if float(np.abs(short).max()) < _HOLDS else None

    def _downhill(self, x: Any, scale: Any, low: Any, high: Any) -> Any:
        """Less the gradient of gamma along the conditions and the bounds, in units of ``scale``."""
        import numpy as np

        jacobian = self.jacobian(x) * scale
        open_ = low < high
        for _ in range(len(x) + 1):
            step = np.zeros(len(x))
            matrix, gradient = jacobian[self._rows][:, open_], jacobian[0, open_]
            if not np.isfinite(matrix).all() or not np.isfinite(gradient).all() or not open_.any():
                return step
            kept = np.linalg.lstsq(matrix.T, gradient, rcond=None)[0]
            step[open_] = -(gradient - matrix.T @ kept)
            out = open_ & (((x <= low) & (step < 0)) | ((x >= high) & (step > 0)))
            if not out.any():
                return step
            open_ = open_ & ~out
        return step

    def _active(self, x: Sequence[float]) -> tuple[Bound, ...]:
        here = dict(zip(self.program.free, x, strict=True))
        return tuple(
            bound
            for bound in self.program.bounds
            if bound.relation != "=" and abs(here[bound.name] - bound.number) <= _SLACK * max(1.0, abs(bound.number))
        )

    def at_epsilon(self, epsilon: float, x: Sequence[float]) -> tuple[float, ...] | None:
        """Any parameters near x that meet the conditions with another epsilon."""
        found = Search(replace(self.program, epsilon=Fraction(epsilon)), self).descend(x, roots=True)
        return None if found is None else found.x

    def falling(self, start: Start | None) -> Fall | None:
        """A parameter with which gamma falls for ever: its name, where it goes, and gamma on the way from ``start``."""
        for towards, factor in (("0", 0.25), ("infinity", 4.0)):
            for i, name in enumerate(self.program.free):
                first = start or self._fixed(name, 1.0) or self._fixed(name, 0.25)
                if first is None or not first.x[i]:
                    continue
                path = [(first.x[i], first.gamma)]
                x: Sequence[float] = first.x
                for _ in range(FALLS):
                    value = path[-1][0] * factor
                    low, high = self.program.range(name)
                    if not low <= value <= high:
                        break
                    moved = self.descend(x, {name: value})
                    if moved is None or moved.gamma >= path[-1][1] - 1e-9:
                        break
                    x = moved.x
                    path.append((value, moved.gamma))
                else:
                    return Fall(name, towards if first.x[i] > 0 or towards == "0" else "-infinity", path)
        return None

    def beside(self, start: Start) -> tuple[str, Start] | None:
        """A parameter that can be moved either way with gamma the same, and where it leads; None at a true minimum."""
        for i, name in enumerate(self.program.free):
            values = [float(f"{factor * start.x[i]:.3g}") for factor in _ASIDE]
            low, high = self.program.range(name)
            if not start.x[i] or not all(low <= value <= high for value in values):
                continue
            moved = [self.descend(start.x, {name: value}, roots=True) for value in values]
            if all(other is not None and abs(other.gamma - start.gamma) < _SAME for other in moved):
                assert moved[0] is not None
                return name, moved[0]
        return None

    def _fixed(self, name: str, value: float) -> Start | None:
        """The smallest gamma with one parameter fixed."""
        found = [s for x in self.starts()[:FALLS] if (s := self.descend(x, {name: value})) is not None]
        return min(found, key=lambda s: s.gamma, default=None)


def _signs(x: Sequence[float]) -> tuple[bool, ...]:
    return tuple(v > 0 for v in x)


def _apart(x: Sequence[float], y: Sequence[float]) -> bool:
    return max(abs(a - b) / max(1e-3, abs(b)) for a, b in zip(x, y, strict=True)) > 1e-4
