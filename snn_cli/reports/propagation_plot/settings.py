"""What was asked for: how a legend and an axis say it, and what of it tells records apart."""

# ruff: noqa: RUF001 - the symbols of the theory are Greek

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.reports.propagation_plot import drawing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from snn_cli.records import Propagation


ALL_LAYERS = "snn simulate --act lselu --epsilon 0.03 --depth 100 --plot figure.svg"
"""A command that draws all there is."""


class Setting(NamedTuple):
    """What was asked for: its value in a record, its words in a legend (None: unsaid), and on an axis."""

    of: Callable[[Propagation], Any]
    words: Callable[[Any], str | None]
    axis: str = ""
    integer: bool = False


def _is(symbol: str, unsaid: float | None = None) -> Callable[[Any], str | None]:
    return lambda value: None if value is None or value == unsaid else f"{symbol} = {drawing.number(value)}"


def _where(words: str) -> Callable[[Any], str | None]:
    return lambda value: words if value else None


def _amount(words: str) -> Callable[[Any], str | None]:
    return lambda value: f"{words} {drawing.number(value)}" if value else None


def _fan_in(record: Propagation) -> float | None:
    """None where widths say it, infinite where nothing does."""
    if record.widths is not None:
        return None
    return math.inf if record.fan_in is None else record.fan_in


def _parameter(name: str) -> Callable[[Propagation], float | None]:
    return lambda record: record.params.get(name)


def _sizes(widths: tuple[int, ...] | None) -> str | None:
    if widths is None:
        return None
    runs = [(width, len(list(same))) for width, same in groupby(widths)]
    text = ",".join(f"{width}x{times}" if times > 1 else str(width) for width, times in runs)
    return f"widths {text}" if len(text) <= 32 else f"{len(widths)} widths from {widths[0]} to {widths[-1]}"


_SIGMA_W, _SIGMA_B = r"$\mathdefault{σ_w}$", r"$\mathdefault{σ_b}$"
SETTINGS = {
    "act": Setting(lambda r: r.act, str),
    "epsilon": Setting(
        lambda r: r.epsilon, lambda e: "ε set by N" if e == math.inf else _is("ε")(e), "ε   backward gain minus one"
    ),
    "fan_in": Setting(
        _fan_in, lambda n: "infinite width" if n == math.inf else _is("N")(n), "N   fan-in", integer=True
    ),
    "weights": Setting(lambda r: r.weights, lambda name: f"{name} weights"),
    "sigma_w": Setting(
        lambda r: r.sigma_w, _is(_SIGMA_W, 1), f"{_SIGMA_W}   deviation of the weights, times the root of the fan-in"
    ),
    "centralize": Setting(lambda r: r.centralize, _where("centralized weights")),
    "centralize_activation": Setting(lambda r: r.centralize_activation, _where("centralized activation")),
    "mixup": Setting(lambda r: r.mixup, _amount("mixup"), "A   mixup, t ~ Beta(A, A)"),
    "scaled_mixup": Setting(lambda r: r.scaled_mixup, _amount("scaled mixup"), "A   scaled mixup, t ~ Beta(A, A)"),
    "weight_mean": Setting(
        lambda r: r.weight_mean, _amount("weight mean"), "weight mean, in units of the weights' deviation"
    ),
    "widths": Setting(lambda r: r.widths, _sizes),
    "depth": Setting(lambda r: r.depth, _is("L"), "L   depth in layers", integer=True),
    "sigma_b": Setting(lambda r: r.sigma_b, _is(_SIGMA_B, 0), f"{_SIGMA_B}   deviation of the biases"),
    "c0": Setting(lambda r: r.c0, _is("c₀"), "c₀   correlation of the inputs"),
    "q0": Setting(lambda r: r.q0, _is("q₀"), "q₀   second moment of the inputs"),
    "lambda": Setting(_parameter("lambda"), _is("λ"), "λ   slope for x > 0"),
    "alpha": Setting(_parameter("alpha"), _is("α")),
    "beta": Setting(_parameter("beta"), _is("β")),
}
REMEDIES = ("centralize", "centralize_activation", "mixup", "scaled_mixup")

_LISTED = ("epsilon", "fan_in", "weights", "sigma_w", *REMEDIES, "weight_mean")
"""Said in a legend wherever they differ; other settings only where these do not tell records apart."""


def key(record: Propagation, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(SETTINGS[name].of(record) for name in names)


def follows(
    value: Callable[[Propagation], Any], records: Iterable[Propagation], names: Iterable[str], *more: Any
) -> bool:
    """Whether those settings, and what ``more`` says of a record, determine the value."""
    names = list(names)
    pairs = {(key(r, names), *(of(r) for of in more), value(r)) for r in records}
    return len({pair[:-1] for pair in pairs}) == len(pairs)


def set_by_fan_in(records: Sequence[Propagation]) -> list[Propagation]:
    """Infinity for an epsilon that is met at one fan-in only: such ones were chosen for it, and make one line."""
    sizes: dict[tuple[str, float], set[Any]] = {}
    by_act: dict[str, set[Any]] = {}
    for r in records:
        by_act.setdefault(r.act, set()).add(_fan_in(r))
        if r.epsilon is not None:
            sizes.setdefault((r.act, r.epsilon), set()).add(_fan_in(r))
    chosen = {key for key, found in sizes.items() if len(found) == 1 and len(by_act[key[0]]) > 1}
    # one such epsilon is no choice, but the only one, or one without solution elsewhere
    chosen = {(act, e) for act, e in chosen if len({size for a, x in chosen if a == act for size in sizes[a, x]}) > 1}
    return [
        replace(r, epsilon=math.inf) if r.epsilon is not None and (r.act, r.epsilon) in chosen else r for r in records
    ]


def distinct(records: Iterable[Propagation], name: str) -> int:
    return len({SETTINGS[name].of(record) for record in records})


def labels(records: Sequence[Propagation], names: Iterable[str] = tuple(SETTINGS)) -> list[str]:
    """The activation and what differs between the records; of one record its epsilon and fan-in."""
    names = list(names)
    shown = ["act"]
    for name in names:
        if name in _LISTED:
            alone = len(records) == 1 and name in ("epsilon", "fan_in", *REMEDIES)
            wanted = alone or distinct(records, name) > 1
        else:
            wanted = name != "act" and not follows(SETTINGS[name].of, records, shown)
        if wanted:
            shown.append(name)
    return [described(record, shown) for record in records]


def allowed(record: Propagation) -> float | None:
    """The factor that the gradient was asked to stay within."""
    return None if record.budget is None else record.budget.max_growth


def described(record: Propagation, names: Iterable[str]) -> str:
    words = (SETTINGS[name].words(SETTINGS[name].of(record)) for name in names)
    return ", ".join(word for word in words if word)
