"""What is asked of a simulation, in exact numbers, each value inside its domain."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli import ensembles
from snn_cli.errors import CannotCompute, InputError
from snn_cli.exact import Number, nearest_double, positive_integer, rational
from snn_cli.propagation.mixing import mixed_inputs
from snn_cli.simulation import source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snn_cli.ensembles import Ensemble

DEFAULT_DEPTH = 100

LONGEST_PROFILE = 1_000_000
"""Layers up to which a profile is made."""

LARGEST_WIDTH = 10**9

DEFAULTS: dict[str, Any] = {
    "act": None,
    "epsilon": None,
    "params": None,
    "depth": None,
    "fanin": None,
    "widths": None,
    "lam": None,
    "lambda_min": None,
    "zero_mean": False,
    "weights": "gaussian",
    "sigma_w": None,
    "sigma_b": 0,
    "unrestored": False,
    "q0": 1,
    "c0": Fraction(1, 2),
    "weight_mean": 0,
    "centralize": False,
    "centralize_activation": False,
    "mixup": None,
    "scaled_mixup": None,
    "max_growth": None,
    "profile": True,
}
"""Of the options of `simulate` that `check` takes; test_simulation.py holds them against its signature."""


class Request(NamedTuple):
    """What was asked for, each value inside its domain."""

    source: source.Activation | source.Solve
    closure: source.Closure
    depth: int
    fan_in: int | None
    sizes: tuple[int, ...] | None
    ensemble: Ensemble
    deviation_w: Fraction | str
    unrestored: bool
    deviation_b: Fraction
    q0: Fraction
    c0: Fraction
    weight_mean: Fraction
    centralize: bool
    centralize_activation: bool
    mixup: float | None
    scaled_mixup: float | None
    max_growth: Fraction | None
    profile: bool
    correlations: bool = True


def check(act: str | None = None, epsilon: Number | None = None, **options: Any) -> Request:
    """The arguments of `simulate` in exact numbers; nothing is computed. Raises InputError as `simulate` does."""
    unknown = options.keys() - DEFAULTS.keys()
    if unknown:
        raise TypeError(f"simulate has no option {', '.join(sorted(unknown))}")
    given = {**DEFAULTS, **options, "act": act, "epsilon": epsilon}
    ensemble = ensembles.get(given["weights"])
    sizes = None if given["widths"] is None else parse_widths(given["widths"])
    depth, fan_in = _depth(given, sizes), _fan_in(given, sizes)
    if given["profile"] and depth > LONGEST_PROFILE:
        raise CannotCompute(f"a profile of {depth} layers is too long; at most {LONGEST_PROFILE}", "--no-profile")
    closure = source.Closure(given["lam"], given["lambda_min"], given["zero_mean"])
    activation = source.of_options(given, closure, depth, fan_in)
    weight_mean = rational(given["weight_mean"], "--weight-mean")
    if weight_mean and fan_in is None and sizes is None:
        raise InputError("--weight-mean needs a fan-in: the mean adds up over it", "--fanin 1024")
    _check_remedies(given, ensemble)
    q0, c0 = _inputs(given)
    return Request(
        source=activation,
        closure=closure,
        depth=depth,
        fan_in=fan_in,
        sizes=None if sizes is None else tuple(sizes),
        ensemble=ensemble,
        deviation_w=_deviation(given["sigma_w"]),
        unrestored=bool(given["unrestored"]),
        deviation_b=_bias_deviation(given["sigma_b"]),
        q0=q0,
        c0=c0,
        weight_mean=weight_mean,
        centralize=bool(given["centralize"]),
        centralize_activation=bool(given["centralize_activation"]),
        mixup=_double(given["mixup"], "--mixup"),
        scaled_mixup=_double(given["scaled_mixup"], "--scaled-mixup"),
        max_growth=_factor(given["max_growth"]),
        profile=bool(given["profile"]),
    )


def _check_remedies(given: Mapping[str, Any], ensemble: Ensemble) -> None:
    if given["centralize"] and given["centralize_activation"]:
        raise InputError(
            "--centralize and --centralize-activation both remove the mean; one of them is enough",
            "leave out --centralize-activation",
        )
    if given["unrestored"] and ensemble.name != "truncated":
        raise InputError(f"--unrestored is about truncated weights, not {ensemble.name}", "--weights truncated")


# The network


def parse_widths(widths: Sequence[int] | str) -> list[int]:
    """Widths of ``x[0] ... x[depth]`` from a sequence or from text such as ``784,1024x20,10``.

    Raises InputError for fewer than two, more than a million, or what is no positive integer up to a billion.
    """
    items: Sequence[Any] = widths.split(",") if isinstance(widths, str) else list(widths)
    example = "--widths 784,1024x10,10"
    found: list[int] = []
    for item in items:
        size, x, times = item.strip().partition("x") if isinstance(item, str) else (item, "", "")
        try:
            width = positive_integer(size, "--widths")
            count = positive_integer(times, "--widths") if x else 1
        except InputError:
            raise InputError(f"--widths has {item!r}; it takes WIDTH or WIDTHxTIMES, whole numbers", example) from None
        if width > LARGEST_WIDTH or len(found) + count > LONGEST_PROFILE + 1:
            raise InputError(
                f"--widths takes up to {LONGEST_PROFILE + 1} layers of up to {LARGEST_WIDTH} units", example
            )
        found += [width] * count
    if len(found) < 2:
        raise InputError("--widths needs the widths of the input and of one layer at least", example)
    return found


def _depth(given: Mapping[str, Any], sizes: list[int] | None) -> int:
    depth = None if given["depth"] is None else positive_integer(given["depth"], "--depth")
    if sizes is None:
        return depth or _from_record(given["params"], "depth") or DEFAULT_DEPTH
    if depth is not None and depth != len(sizes) - 1:
        raise InputError(
            f"--depth {depth} contradicts --widths, which has {len(sizes) - 1} blocks", "leave out --depth"
        )
    return len(sizes) - 1


def _fan_in(given: Mapping[str, Any], sizes: list[int] | None) -> int | None:
    fan_in = None if given["fanin"] is None else positive_integer(given["fanin"], "--fanin")
    if sizes is None:
        return fan_in or _from_record(given["params"], "fan_in")
    if fan_in is not None:
        raise InputError(
            "--fanin and --widths contradict each other: widths say the fan-in of each layer", "leave out --fanin"
        )
    return sizes[0] if len(set(sizes)) == 1 else None


def _from_record(params: Any, name: str) -> int | None:
    value = None if params is None else source.field_of(params, name)
    return None if value is None else positive_integer(value, name)


# Numbers


def _inputs(given: Mapping[str, Any]) -> tuple[Fraction, Fraction]:
    """Second moment and correlation of the inputs, mixed where they are."""
    start = rational(given["q0"], "--q0")
    if not Fraction(1, 10**30) <= start <= 10**30:
        raise InputError(f"--q0 is {given['q0']}; the second moment of the inputs must be from 1e-30 to 1e30", "--q0 1")
    correlation = rational(given["c0"], "--c0")
    if abs(correlation) > 1:
        raise InputError(f"--c0 is {nearest_double(correlation)!r}; a correlation is from -1 to 1", "--c0 0.5")
    mixup, scaled = given["mixup"], given["scaled_mixup"]
    if mixup is not None and scaled is not None:
        raise InputError("--mixup and --scaled-mixup contradict each other", "leave out --scaled-mixup")
    return mixed_inputs(start, correlation, mixup, scaled)


def _deviation(sigma_w: Number | None) -> Fraction | str:
    if isinstance(sigma_w, str) and sigma_w.strip().lower() == "he":
        return "he"
    deviation = Fraction(1) if sigma_w is None else rational(sigma_w, "--sigma-w")
    if not Fraction(1, 10**15) <= deviation <= 10**15:
        raise InputError(f"--sigma-w is {sigma_w}; it must be from 1e-15 to 1e15, or he", "--sigma-w 1")
    return deviation


def _bias_deviation(sigma_b: Number) -> Fraction:
    deviation = rational(sigma_b, "--sigma-b")
    if deviation and not Fraction(1, 10**15) <= deviation <= 10**15:
        raise InputError(
            f"--sigma-b is {nearest_double(deviation)!r}; it must be 0 or from 1e-15 to 1e15", "--sigma-b 0.1"
        )
    return deviation


def _factor(max_growth: Number | None) -> Fraction | None:
    if max_growth is None:
        return None
    factor = rational(max_growth, "--max-growth")
    if factor < 1:
        raise InputError(f"--max-growth is {nearest_double(factor)!r}; it must be at least 1", "--max-growth 10")
    return factor


def _double(value: Number | None, option: str) -> float | None:
    return None if value is None else nearest_double(rational(value, option))
