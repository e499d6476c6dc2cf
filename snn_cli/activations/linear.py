"""The identity: a linear network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.activations.family import Baseline, Values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snn_cli.arithmetic.protocol import Arithmetic
    from snn_cli.gaussian import Piecewise


def shape(ar: Arithmetic, p: Values) -> Piecewise:
    from snn_cli.gaussian import Piecewise

    return Piecewise.of(ar, ar.number(1), {(1, 0): ar.number(1)}, {(1, 0): ar.number(1)})


def function(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return x + 0


def derivative(np: Any, x: Any, p: Mapping[str, float]) -> Any:
    return 1 + 0 * np.sign(x)


def precise(mp: Any, x: Any, p: Values) -> tuple[Any, Any]:
    return x, mp.mpf(1)


BASELINE = Baseline("linear", "x", shape, function, derivative, precise=precise)
