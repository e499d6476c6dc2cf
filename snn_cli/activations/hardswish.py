"""Hard swish: x clip(x + 3, 0, 6)/6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Baseline, Values

if TYPE_CHECKING:
    from collections.abc import Mapping


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return np.maximum(x, -3) * np.clip(x + 3, 0, 6) / 6


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return np.where(x < -3, 0, np.where(x < 3, (2 * x + 3) / 6, 1 + 0 * np.sign(x)))


def precise(mp: Any, x: Any, p: Values) -> tuple[Any, Any]:
    if x < -3:
        return mp.mpf(0), mp.mpf(0)
    return (x, mp.mpf(1)) if x >= 3 else (x * (x + 3) / 6, (2 * x + 3) / 6)


BASELINE = Baseline(
    "hardswish",
    "x*min(max(x + 3, 0), 6)/6",
    None,
    function,
    derivative,
    precise=precise,
    kinks=lambda mp, p: (-3, 3),
)
