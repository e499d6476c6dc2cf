"""Reports on a user's own model: a line a layer, and what to do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from snn_cli.reports.csv import Lines
from snn_cli.reports.layout import DIGITS, bold, joined, sentences, table, wrapped
from snn_cli.reports.notes import factor, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snn_cli.records import Advice, ModelLayer, ModelPrediction, ModelReport


def report(record: ModelReport, *, width: int | None = None, shorten: bool = False, color: bool = False) -> str:
    """Every layer as measured, beside theory, then what follows from it.

    width
        Columns to fit sentences into; None for no limit.
    shorten
        Six significant digits in the table and four in sentences, for a terminal; else every digit.
    color
        The heading in bold.
    """
    head = (
        f"{record.model}: {record.depth} weight layers, {record.trials} "
        f"{'network' if record.trials == 1 else 'networks'} of {record.batch} inputs, weights {record.weights}, "
        f"{record.dtype} on {record.device}, seed {record.seed}"
    )
    of = ("q, theory", "growth, theory") if width else ("theory", "theory")
    titles = ["layer", "kind", "fan-in", "q", of[0], "mean", "gradient", "growth", of[1], ""]
    rows = []
    for layer, gradient in zip(record.layers, _relative(record), strict=True):
        numbers = (layer.q, layer.q_theory, layer.mean, gradient, layer.growth, layer.growth_theory)
        rows.append([*_named(layer, numbers, shorten), _mark(record, layer)])
    said = [*_limits(record), *findings(record, shorten)]
    return joined(
        [
            [bold(line, color) for line in wrapped(head, width)],
            *table([titles, *rows], width),
            wrapped(
                "q, mean: of the layer's output. gradient: squared norm with respect to it, over that at the model's "
                "output. growth: across the layer, input over output. theory: random weights with these moments.",
                width,
            ),
            sentences(said, width),
        ]
    )


def _relative(record: ModelReport | ModelPrediction) -> list[float | None]:
    """The squared gradients at the layers' outputs, over that at the model's output."""
    out = record.gradient_out
    return [None if layer.gradient is None or not out else layer.gradient / out for layer in record.layers]


def _named(layer: ModelLayer, numbers: Iterable[float | None], shorten: bool) -> list[str]:
    fan_in = "" if layer.fan_in is None else str(layer.fan_in)
    return [layer.name, layer.kind, fan_in, *(number(value, shorten, DIGITS) for value in numbers)]


def _mark(record: ModelReport, layer: ModelLayer) -> str:
    marks = []
    if layer.name == record.first_violation:
        marks.append("leaves the budget" + (" at its input" if record.violation_at == "input" else ""))
    if layer.expected is False:
        marks.append("not expected")
    return ", ".join(marks)


def _limits(record: ModelReport) -> list[str]:
    """What is not in the numbers."""
    found = []
    if record.unfollowed:
        found.append(
            f"Theory cannot follow {_some(record.unfollowed)}; where it has no number, that is why, and what comes "
            "behind is not judged by it."
        )
    if record.averaged is not None and record.averaged > 1:
        found.append(
            f"Average pooling over {record.averaged} positions divides the squared gradient by {record.averaged}, once "
            "and whatever the weights: a budget does not count it."
        )
    found += [f"note: {text}." for text in record.left_out]
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def findings(record: ModelReport, shorten: bool = True) -> list[str]:
    """At most five sentences, each with the number it stands on and what to type."""
    return [_sentence(advice, record, shorten) for advice in record.advice]


def _sentence(advice: Advice, record: ModelReport, shorten: bool) -> str:
    value, limit = number(advice.value, shorten), number(advice.limit, shorten)
    growth = record.measured.log_growth
    if advice.code in ("fine", "no-budget") and growth is not None:
        growth += math.log(record.averaged or 1)
    where = advice.layer or "the model"
    most = f", most of all at {advice.layer}" if advice.layer else ""
    if advice.code in ("violation", "fine"):  # as it was typed
        limit = number(advice.limit, True)
    if advice.code == "violation" and advice.value is not None and advice.value < 1:
        limit = f"1/{limit}"
    text = {
        "broken": f"{where} is the first layer whose output is not finite"
        + (f"; before it q was {value}." if advice.value is not None else "."),
        "violation": f"Coming from the output the squared gradient leaves the budget of x {limit} at "
        f"{_side(record)}{where}{_around(record)}, where it is x {value}{_but(_averaged(record))}.",
        "gain": f"The weights' gain is why, most of all at {where}: sqrt(fan_in E[w^2]) is {value}, and {limit} keeps "
        "q = 1 there.",
        "activation": f"The activation does not bear this depth{most}: with its weights' gain mended the squared "
        f"gradient changes by x {value} a layer, and x {limit} is what this depth bears within {_budget(record)}.",
        "normalization": f"Normalization is why, most of all at {where}, across which the squared gradient changes by "
        f"x {value}.",
        "pooling": f"Average pooling is why, most of all at {where}, across which the squared gradient changes by "
        f"x {value}.",
        "sum": f"Sums of branches are why, most of all behind {where}: there their second moments add up to {value} "
        f"times the largest, and the squared gradient comes back by all of them{_unchecked(advice)}.",
        "weight-mean": f"The weights of {where} have a common mean of {value} of their deviations, beyond the "
        f"tolerance of {limit}: a mean of the signal grows there.",
        "fan-in": f"At these widths the squared gradient differs by x {value} from one network to the next (one "
        "deviation, one input), whatever the weights' gain.",
        "unexpected-q": f"{where}: q is {value}, and theory says {limit}. Width does not explain that: the weights are "
        "not random any more, or there is a bug.",
        "unexpected-growth": f"{where}: the squared gradient changes by x {value}, and theory says x {limit}. Width "
        "does not explain that: the weights are not random any more, or there is a bug.",
        "fine": f"Within the budget of x {limit}: from the output to the input the squared gradient changes by "
        f"x {factor(growth, shorten)}{_but(record.averaged)}.",
        "no-budget": f"From the output to the input the squared gradient changes by x {factor(growth, shorten)}"
        f"{_but(record.averaged)}; --max-growth 10 makes it a check.",
    }[advice.code]
    return text if advice.do is None else f"{text} Next: {advice.do}"


def _unchecked(advice: Advice) -> str:
    return "; these activations do not pull q back" if advice.do and "convert(" in advice.do else ""


def _budget(record: ModelReport) -> str:
    return f"x {number(record.verdict.max_growth, True)}" if record.verdict.max_growth else "x 10"


def _side(record: ModelReport) -> str:
    return "the input of " if record.violation_at == "input" else ""


def _around(record: ModelReport) -> str:
    return ", inside a branch that another path goes around" if record.violation_in_branch else ""


def _averaged(record: ModelReport) -> int | None:
    return next((layer.averaged for layer in record.layers if layer.name == record.first_violation), None)


def _but(averaged: int | None) -> str:
    many = averaged is not None and averaged > 1
    return f", not counting the average pooling over {averaged} positions" if many else ""


def prediction(record: ModelPrediction, *, width: int | None = None, shorten: bool = False, color: bool = False) -> str:
    """Every layer as predicted; arguments as for `report`."""
    head = f"{record.model}: {record.depth} weight layers, predicted from the moments of its weights"
    of = ("q up to x", "gradient up to x") if width else ("up to x", "up to x")
    titles = ["layer", "kind", "fan-in", "q", of[0], "mean", "gradient", of[1], "growth"]
    rows = []
    for layer, gradient in zip(record.layers, _relative(record), strict=True):
        numbers = (layer.q, layer.q_allowed, layer.mean, gradient, layer.gradient_allowed, layer.growth)
        rows.append(_named(layer, numbers, shorten))
    heading = [bold(line, color) for line in wrapped(head, width)]
    return joined([heading, *table([titles, *rows], width), sentences(_predicted(record, shorten), width)])


def _predicted(record: ModelPrediction, shorten: bool) -> list[str]:
    """What the columns are, and what follows from them."""
    growth = record.gradient.log_growth
    last = [
        "q, mean: of the layer's output. gradient: squared norm with respect to it, over that at the model's output. "
        "growth: across the layer, input over output. up to x: the factor that one network may be off by."
    ]
    if record.unfollowed:
        last.append(f"Theory cannot follow {_some(record.unfollowed)}; where it has no number, that is why.")
    if growth is not None:
        deviation = math.exp(min(700.0, record.gradient.log_growth_sd or 0.0))
        last.append(
            f"From the output to the input the squared gradient changes by x {factor(growth, shorten)}, and by a "
            f"factor of {number(deviation, shorten)} from one network to the next (one deviation)."
        )
    return last


class Rows:
    """CSV rows, one a layer; the first comes with the header."""

    def __init__(self) -> None:
        self._lines = Lines()

    def __call__(self, record: ModelReport | ModelPrediction) -> str:
        return self._lines({"model": record.model, **layer} for layer in record.to_dict()["layers"])
