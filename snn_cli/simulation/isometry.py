"""Block dynamical isometry: of one block at the fixed point, and of the product of all."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from snn_cli.records import Isometry
from snn_cli.simulation.finite import LARGEST_EXPONENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snn_cli.simulation.finite import Run


def isometry(run: Run) -> Isometry:
    """Of the whole network there is none where weights have a mean."""
    at_end = run.infinite.at_end
    gain = math.exp(at_end.log_gain)
    n, m = (run.sizes[0], run.sizes[1]) if run.sizes else (1, 1)
    block = run.ensemble.block_variance(gain, at_end.kappa * gain * gain, n, m)
    if run.means.counted:
        return Isometry(_finite(gain), _finite(block), None, None)
    total = run.infinite.log_gain(run.depth)
    return Isometry(
        _finite(gain),
        _finite(block),
        _finite(math.exp(total)) if total < LARGEST_EXPONENT else None,
        _finite(math.fsum(_relative_variances(run))),
    )


def _relative_variances(run: Run) -> Iterator[float]:
    """Of each block, weighted with the width of the output over its own (Chen et al., 2020: multiplication)."""
    kappa, distinct, block = run.infinite.columns.kappa, run.infinite.path.distinct, run.ensemble.block_variance
    if run.sizes is None:
        yield from (block(1.0, float(k), 1, 1) for k in kappa[:distinct])
        yield (run.depth - distinct) * block(1.0, float(kappa[-1]), 1, 1)
        return
    for layer, (n, m) in enumerate(pairwise(run.sizes)):
        yield run.sizes[-1] / m * block(1.0, float(kappa[min(layer, distinct)]), n, m)


def _finite(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None
