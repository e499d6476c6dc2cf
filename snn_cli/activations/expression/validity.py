"""What no activation can be: not real, with a jump, or with a derivative whose square has no expectation."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from snn_cli.activations.expression import tree
from snn_cli.activations.expression.evaluate import ENDLESS, Arrays, Precise, evaluate, precise
from snn_cli.activations.expression.kinks import points, singular, turning
from snn_cli.errors import InputError

_JUMP = 1e-10  # of the size of f: parameters are doubles, and solved ones join branches to their rounding


@lru_cache(maxsize=256)
def check(name: str, root: tree.Node, params: tuple[tuple[str, float], ...]) -> None:
    """Raises InputError, with the x, where f is not real or jumps, or ``E[f'^2]`` is infinite."""
    import mpmath

    values = dict(params)
    slope = tree.derivative(root)
    _real(name, root, values)
    mp = mpmath.MPContext()
    mp.dps = 80
    exact = {key: mp.mpf(value) for key, value in values.items()}
    size = max(1e-300, _size(root, values))
    for at in points(mp, tuple(dict.fromkeys((*turning(root), *singular(root)))), exact):
        _point(mp, name, (root, slope), at, exact, size)


def _real(name: str, root: tree.Node, params: dict[str, float]) -> None:
    import numpy as np

    mp_points = [1.0, 0.5, 2.0, 0.1, 0.01, 4.0, 8.0, 16.0, 30.0, 1e-3]
    side = np.concatenate([mp_points, np.linspace(0.05, 12, 240)])
    x = np.concatenate([np.stack([-side, side], 1).ravel(), [0.0]])
    with np.errstate(all="ignore"):
        values = np.broadcast_to(evaluate([root], Arrays(np), x, params)[0], x.shape)
    import mpmath

    mp = mpmath.MPContext()
    exact = {key: mp.mpf(value) for key, value in params.items()}
    for point in x[np.isnan(values)][:24]:
        (value,) = precise([root], mp, mp.mpf(float(point)), exact)
        if mp.isnan(value):
            if _endless(mp, root, mp.mpf(float(point)), exact):
                raise InputError(
                    f"{name} cannot be computed at x = {float(point):.6g}: a sine or cosine of more than 1e300",
                    "where(abs(x) < 6, ..., ...) with what it is there, or a smaller argument",
                )
            raise InputError(
                f"{name} is not real at x = {float(point):.6g}",
                "where(x > 0, ..., ...) with what it is there, or abs(x)",
            )


def _endless(mp: Any, root: tree.Node, x: Any, params: dict[str, Any]) -> bool:
    """Whether a sine or cosine has an argument whose digits do not tell where in a period it is."""
    arguments = [at.args[0] for at in tree.walk(root) if at.op in ("sin", "cos")]
    return any(mp.mag(u) > ENDLESS for u in evaluate(arguments, Precise(mp), x, params))


def _size(root: tree.Node, params: dict[str, float]) -> float:
    import numpy as np

    with np.errstate(all="ignore"):
        values = np.abs(np.broadcast_to(evaluate([root], Arrays(np), np.linspace(-3, 3, 121), params)[0], (121,)))
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else 1.0


def _point(
    mp: Any, name: str, roots: tuple[tree.Node, tree.Node], at: Any, params: dict[str, Any], size: float
) -> None:
    """Both sides of a point, from ever nearer."""
    scale = max(abs(at), 1)
    near = [
        [precise(roots, mp, at + side * scale * mp.mpf(10) ** -k, params) for side in (-1, 1)] for k in (12, 24, 36)
    ]
    shown = f"x = {mp.nstr(at, 8, strip_zeros=True)}".removesuffix(".0")
    where = "a formula that is continuous there"
    for side in (0, 1):
        f = [abs(step[side][0]) for step in near]
        if any(map(mp.isnan, f)):
            raise InputError(f"{name} is not real near {shown}", where)
        if any(map(mp.isinf, f)) or f[2] > max(1.2 * f[0], size * 1e3, 1e-3):
            raise InputError(f"{name} has no bound near {shown}: E[f^2] or E[f'^2] does not exist", where)
    jump = abs(near[2][0][0] - near[2][1][0])
    if jump > _JUMP * max(size, abs(near[2][0][0])) and jump > 0.01 * abs(near[0][0][0] - near[0][1][0]):
        raise InputError(f"{name} jumps by {mp.nstr(jump, 4)} at {shown}, so that E[f'^2] does not exist", where)
    for side in (0, 1):
        slopes = [abs(step[side][1]) for step in near]
        if any(map(mp.isinf, slopes)) or any(map(mp.isnan, slopes)) or slopes[2] > 1.2 * slopes[1] + _JUMP * size:
            growth = mp.log10(slopes[2] / slopes[1]) / 12 if slopes[1] and not mp.isinf(slopes[2]) else mp.inf
            what = "E[f'^2] is infinite" if growth > 0.49 else "no quadrature here takes E[f'^2] to all digits"
            raise InputError(f"the derivative of {name} has no bound near {shown}: {what}", where)
