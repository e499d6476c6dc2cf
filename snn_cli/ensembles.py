"""Weight ensembles: what a finite network needs to know of how its weights are drawn.

All have entries of mean 0 and variance ``sigma_w^2 / fan_in``. A new ensemble is one line in the registry.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from snn_cli.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

TRUNCATION = 2.0
"""Where truncated-normal weights are cut, in deviations of the normal distribution that is cut."""


class Ensemble(NamedTuple):
    """Constants of an ensemble, for a layer of ``fan_in`` inputs and ``fan_out`` outputs.

    excess_kurtosis
        ``E[W^4] / E[W^2]^2 - 3`` of an entry, where entries are independent.
    orthogonal
        Haar: the rows (``fan_out <= fan_in``) or the columns are orthogonal and of equal length.
    forward(fan_in, fan_out), backward(fan_in, fan_out)
        Half the relative variance of ``|W v|^2``, and of ``|W^T v|^2``, for a fixed vector v.
    """

    name: str
    excess_kurtosis: float
    orthogonal: bool
    forward: Callable[[float, float], float]
    backward: Callable[[float, float], float]

    def block_variance(self, gain: float, fourth: float, fan_in: float, fan_out: float) -> float:
        """``phi((J J^T)^2) - phi(J J^T)^2`` of one block ``J = W D``, with ``gain = sigma_w^2 E[f'^2]``.

        ``fourth`` is ``sigma_w^4 E[f'^4]``. Independent entries: ``(fan_out/fan_in) fourth``. Haar: with
        ``y = fan_out/fan_in``, ``y (fourth - gain^2)`` for ``y <= 1``, where W is a free projection of rank y, and
        ``y fourth - gain^2`` above.
        """
        ratio = fan_out / fan_in
        if not self.orthogonal:
            return ratio * fourth
        return ratio * (fourth - gain * gain) if ratio <= 1 else ratio * fourth - gain * gain


def variance_kept(bound: float) -> float:
    """Share of a normal variance that is left when it is cut at ``+- bound`` deviations.

    ``1 - 2 b phi(b) / (2 Phi(b) - 1)``: 0.7737 at 2.
    """
    density = math.exp(-bound * bound / 2) / math.sqrt(2 * math.pi)
    return 1 - 2 * bound * density / math.erf(bound / math.sqrt(2))


def truncated_kurtosis(bound: float) -> float:
    """Excess kurtosis of a normal distribution cut at ``+- bound`` deviations.

    By parts ``E[z^4] = 3 E[z^2] - 2 b^3 phi(b) / (2 Phi(b) - 1)``.
    """
    density = math.exp(-bound * bound / 2) / math.sqrt(2 * math.pi) / math.erf(bound / math.sqrt(2))
    second = 1 - 2 * bound * density
    return (3 * second - 2 * bound**3 * density) / second**2 - 3


def _independent(name: str, excess_kurtosis: float) -> Ensemble:
    return Ensemble(name, excess_kurtosis, False, lambda _n, m: 1 / m, lambda n, _m: 1 / n)


ENSEMBLES = {
    "gaussian": _independent("gaussian", 0.0),
    "orthogonal": Ensemble(
        "orthogonal", 0.0, True, lambda n, m: max(0.0, 1 / m - 1 / n), lambda n, m: max(0.0, 1 / n - 1 / m)
    ),
    "uniform": _independent("uniform", -1.2),
    "truncated": _independent("truncated", truncated_kurtosis(TRUNCATION)),
}
"""Name, as ``--weights`` takes it -> ensemble."""


def get(name: str) -> Ensemble:
    """The ensemble of that name. Raises InputError, with the nearest name, for one that is not in the registry."""
    if name in ENSEMBLES:
        return ENSEMBLES[name]
    near = nearest(str(name).lower(), ENSEMBLES, "gaussian", cutoff=0.5)
    raise InputError(
        f"no weight ensemble is called {name!r}; there are {', '.join(ENSEMBLES)}",
        f"--weights {near}",
    )
