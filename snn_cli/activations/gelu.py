"""GELU, exact: x Phi(x)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Baseline, Values

if TYPE_CHECKING:
    from collections.abc import Mapping


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    from scipy.special import ndtr

    return x * ndtr(x)


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    from scipy.special import ndtr

    return ndtr(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def precise(mp: Any, x: Any, p: Values) -> tuple[Any, Any]:
    below = mp.erfc(-x / mp.sqrt(2)) / 2
    return x * below, below + x * mp.npdf(x)


BASELINE = Baseline("gelu", "x*Phi(x)", None, function, derivative, precise=precise, unit_scale=True)
