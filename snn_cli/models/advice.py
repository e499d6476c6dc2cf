"""What to do about a model: the most important findings first, each with the number that it stands on."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from snn_cli.models import allowance
from snn_cli.models.theory import label, mended, sums_of
from snn_cli.propagation.sums import Sum, remedy
from snn_cli.records import Advice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snn_cli.models.theory import Call, Mended, Theory
    from snn_cli.records import ModelLayer, ModelReport

MOST_ADVICE = 5
_MOST_CAUSES = 2
_NOTICED = 0.05  # gain off by this share is worth a word
_UNASKED = 10.0  # the factor of a budget that nobody gave
_CHANCE = 4.0  # deviations
_ATTRACTS = 0.99  # what is left of a deviation of q behind an activation that pulls it back
_GATES = frozenset(["Sigmoid", "Hardsigmoid", "LogSigmoid"])  # what convert leaves, unless it is named

Part = list[tuple[float, "ModelLayer | Sum"]]


def advice(
    report: ModelReport, violation: int | None, calls: Sequence[Call], theory: Theory | None
) -> tuple[Advice, ...]:
    """``violation``: the layer at which the gradient leaves the budget; ``calls``: of the layers."""
    found = [
        *_broken(report),
        *_whole(report, violation),
        *_violated(report, violation, calls),
        *_causes(report, violation, calls, theory),
        *_means(report, calls),
        *_size(report),
        *_unexpected(report),
    ]
    return tuple(found[:MOST_ADVICE])


def farthest(report: ModelReport, i: int, calls: Sequence[Call]) -> tuple[str | None, float | None]:
    """Squared gradient at a layer, over that at what the model returns, but for pooling: where it leaves the budget.

    At the output, where it has left it there already; else at the input.
    """
    layer = report.layers[i]
    if layer.gradient is None or not report.gradient_out or not layer.gradient > 0:
        return None, None
    out = layer.gradient / report.gradient_out * calls[i].averaged
    limit = report.verdict.max_growth
    left = limit is not None and abs(math.log(out)) > math.log(limit)
    if left or layer.growth is None or not layer.growth > 0:
        return "output", out
    return "input", out * layer.growth * (calls[i].averaged_in / calls[i].averaged)


def _broken(report: ModelReport) -> list[Advice]:
    if report.broken_layer is None:
        return []
    before = [layer.q for layer in report.layers[: report.broken_layer] if layer.q is not None]
    name = report.layers[report.broken_layer].name
    return [Advice("broken", name, before[-1] if before else None, None, None)]


def _violated(report: ModelReport, violation: int | None, calls: Sequence[Call]) -> list[Advice]:
    if violation is None:
        return []
    growth = farthest(report, violation, calls)[1]
    return [Advice("violation", report.layers[violation].name, growth, report.verdict.max_growth, None)]


def _size(report: ModelReport) -> list[Advice]:
    """Where networks of this size differ by more than half of the budget."""
    deviation = report.theory.log_growth_sd
    if deviation is None or not deviation > _limit(report) / 2:
        return []
    return [Advice("fan-in", None, math.exp(min(deviation, 700)), report.verdict.max_growth, "wider layers")]


def _unexpected(report: ModelReport) -> list[Advice]:
    odd = [layer for layer in report.layers if layer.expected is False]
    if not odd or report.broken_layer is not None:
        return []
    first, last = odd[0], odd[-1]
    if first.q_theory and first.q and not allowance.near(first.q, first.q_theory, first.q_allowed or 1.0):
        return [Advice("unexpected-q", first.name, first.q, first.q_theory, None)]
    return [Advice("unexpected-growth", last.name, last.growth, last.growth_theory, None)]


def _whole(report: ModelReport, violation: int | None) -> list[Advice]:
    """What the whole model does to the gradient, where no layer is to be named before."""
    growth = _counted(report)
    value = None if growth is None else math.exp(min(growth, 700.0))
    if report.verdict.max_growth is None:
        return [Advice("no-budget", None, value, None, None)] if report.broken_layer is None else []
    fine = violation is None and report.broken_layer is None and report.verdict.within_budget
    return [Advice("fine", None, value, report.verdict.max_growth, None)] if fine else []


def _limit(report: ModelReport) -> float:
    return math.log(report.verdict.max_growth or _UNASKED)


def _counted(report: ModelReport) -> float | None:
    """Log growth from output to input, but for average pooling that every path passes."""
    growth = report.measured.log_growth
    return None if growth is None else growth + math.log(report.averaged or 1)


def _causes(report: ModelReport, violation: int | None, calls: Sequence[Call], theory: Theory | None) -> list[Advice]:
    """Where the gradient is gained or lost: in weights' gains, activations, sums, normalizations, average pooling."""
    growth = _counted(report)
    if violation is None and (growth is None or abs(growth) <= _limit(report)):
        return []
    sign = 1.0 if growth is not None and growth > 0 else -1.0
    if violation is not None and not report.violation_in_branch:
        relative = farthest(report, violation, calls)[1]
        sign = 1.0 if relative is None or relative >= 1 else -1.0
    means = mended(theory)
    parts = _parts(report, violation or 0, calls, sums_of(theory), means)
    totals = {code: sum(log for log, _ in of_code) for code, of_code in parts.items()}
    codes = [
        code
        for code in sorted(totals, key=lambda code: -sign * totals[code])
        if parts[code] and not sign * totals[code] < max(_NOTICED, 0.2 * _limit(report))
    ]
    beyond = not parts["normalization"] and abs(sum(math.log(each.growth) for each in means.values())) > _limit(report)
    if beyond and "gain" in codes and "activation" not in codes:
        codes.insert(codes.index("gain") + 1, "activation")
    converted = beyond or bool(parts["normalization"])
    found = [_cause(code, parts[code], sign, report, calls, means, converted) for code in codes[:_MOST_CAUSES]]
    return _each_once(found)


def _each_once(found: Sequence[Advice]) -> list[Advice]:
    """Of two findings with the same remedy the activation has it, or else the first."""
    kept: dict[str | None, Advice] = {}
    for advice in found:
        if advice.do not in kept or advice.code == "activation":
            kept[advice.do] = advice
    return [advice if advice is kept[advice.do] else advice._replace(do=None) for advice in found]


def _parts(
    report: ModelReport, first: int, calls: Sequence[Call], sums: Sequence[Sum], means: Mapping[int, Mended]
) -> dict[str, Part]:
    """By code: what each layer and each sum from ``first`` on does to the log gradient.

    Of an activation counts what is left with the gain that keeps q, which is that of the weights: ``means``.
    A gain or a sum in front of a normalization is taken out by it, and is the normalization's, forward and backward.
    """
    found: dict[str, Part] = {"gain": [], "activation": [], "sum": [], "normalization": [], "pooling": []}
    start = calls[first].number
    for each in sums:
        if start is None or each.number > start:
            found["normalization" if each.normalized else "sum"].append((math.log(each.growth), each))
    for row, place in zip(report.layers[first:], calls[first:], strict=True):
        if row.gain and row.gain_kept:
            code = "normalization" if place.normalized else "gain"
            excess = _excess(row.gain, row.gain_kept)
            if abs(excess) > _CHANCE * math.sqrt(2 / place.numbers):
                found[code].append((excess, row))
        elif place.number is not None and place.number in means:
            found["activation"].append((math.log(means[place.number].growth), row))
        elif row.fan_in is None and row.growth and row.growth > 0:
            if "Norm" in row.kind:
                found["normalization"].append((math.log(row.growth), row))
            elif place.kind == "average":
                found["pooling"].append((math.log(row.growth * place.averaged_in / place.averaged), row))
    return found


def _excess(gain: float, kept: float) -> float:
    """What a gain does to the log gradient beyond the one that keeps q."""
    return 2 * math.log(gain / kept)


def _cause(
    code: str,
    parts: Part,
    sign: float,
    report: ModelReport,
    calls: Sequence[Call],
    means: Mapping[int, Mended],
    converted: bool,
) -> Advice:
    """``sign``: of the log growth that there is too much of; ``converted``: whether no weights alone mend the model."""
    most = max(parts, key=lambda part: sign * part[0])[1] if parts else None
    name = None if most is None else most.name
    if code == "activation":
        room = _limit(report) / max(report.depth, len(means))
        mean = math.exp(sum(math.log(each.growth) for each in means.values()) / len(means))
        return Advice(code, name, mean, math.exp(room), _convert(report, calls, means))
    assert most is not None
    if isinstance(most, Sum):
        scaled = code == "sum" and all(each.strength < _ATTRACTS for each in means.values())
        do = _scaled(most, parts) if scaled else _convert(report, calls, means)
        return Advice(code, label(most.name, most.call), most.growth, None, do)
    if code == "gain":
        do = _convert(report, calls, means) if converted else _drawn(most, report, calls)
        return Advice(code, name, most.gain, most.gain_kept, do)
    return Advice(code, name, most.growth, None, _convert(report, calls, means) if code == "normalization" else None)


def _convert(report: ModelReport, calls: Sequence[Call], means: Mapping[int, Mended]) -> str:
    """Other activations, and weights for them; what mostly is a gate has to be named, and functions be modules."""
    kinds = {row.kind for row, place in zip(report.layers, calls, strict=True) if place.number in means} & _GATES
    more = f", activations=[{', '.join(f'torch.nn.{kind}' for kind in sorted(kinds))}]" if kinds else ""
    functions = sorted({each.function for each in means.values() if each.function})
    before = f"make {', '.join(functions)} modules in place of functions, then " if functions else ""
    return f'{before}snn_cli.nn.convert(model, "lselu", epsilon="auto"{more})'


def _scaled(most: Sum, parts: Part) -> str:
    """One sum for all with as many branches as that one."""
    alike = [each.whole for _, each in parts if isinstance(each, Sum) and each.branches == most.branches]
    return remedy(most.branches, math.exp(sum(map(math.log, alike)) / len(alike)))


def _drawn(row: ModelLayer, report: ModelReport, calls: Sequence[Call]) -> str:
    """What draws weights anew: all of them, where most gains are off to one side, with the deviation that most want."""
    gains = [
        (each.gain, each.gain_kept)
        for each, place in zip(report.layers, calls, strict=True)
        if each.gain and each.gain_kept and not place.normalized
    ]
    off = [excess for each in gains if abs(excess := _excess(*each)) > _NOTICED]
    alike = abs(sum(off)) > sum(map(abs, off)) / 2  # else some make up for others
    if len(off) < 3 or 2 * len(off) < len(gains) or not alike:
        assert row.gain_kept is not None
        assert row.fan_in
        deviation = row.gain_kept / math.sqrt(row.fan_in)
        name = row.name.partition("#")[0]
        return f"torch.nn.init.normal_(model.get_submodule({name!r}).weight, 0, {deviation:.6g})"
    sigma = float(median(kept for _, kept in gains))
    return f"snn_cli.nn.self_normalizing_init_(model{'' if abs(sigma - 1) < 1e-9 else f', sigma_w={sigma:.6g}'})"


def _means(report: ModelReport, calls: Sequence[Call]) -> list[Advice]:
    worst, share = None, 1.0
    for row, place in zip(report.layers, calls, strict=True):
        if row.weight_mean and row.weight_mean_tolerance and row.fan_in:
            ratio = abs(row.weight_mean) / row.weight_mean_tolerance
            if ratio > share and abs(row.weight_mean) > _CHANCE / math.sqrt(place.numbers):
                worst, share = row, ratio
    if worst is None:
        return []
    name = worst.name.partition("#")[0]
    do = f"w = model.get_submodule({name!r}).weight.data; w -= w.flatten(1).mean(1).view(-1, *[1] * (w.dim() - 1))"
    return [Advice("weight-mean", worst.name, worst.weight_mean, worst.weight_mean_tolerance, do)]
