"""The error function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Baseline, Values

if TYPE_CHECKING:
    from collections.abc import Mapping


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    from scipy.special import erf

    return erf(x)


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return 2 / math.sqrt(math.pi) * np.exp(-x * x)


def precise(mp: Any, x: Any, p: Values) -> tuple[Any, Any]:
    return mp.erf(x), 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)


BASELINE = Baseline("erf", "erf(x)", None, function, derivative, precise=precise, unit_scale=True)
