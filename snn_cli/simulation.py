"""Simulate a network: forward and backward moment propagation at infinite width and at its own fan-in."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from snn_cli import activations, ensembles
from snn_cli.activations.family import Baseline
from snn_cli.errors import CannotCompute, InputError, SnnError
from snn_cli.exact import Number, nearest_double, positive_integer, rational
from snn_cli.propagation import fluctuations as finite_theory
from snn_cli.propagation.correlation import Correlation
from snn_cli.propagation.mean import MeanMap, shifted_moments
from snn_cli.propagation.meanfield import DEAD, LARGEST, SAME, SMALLEST, LayerMoments, MeanField
from snn_cli.propagation.mixing import mixed_inputs
from snn_cli.propagation.path import second_moment
from snn_cli.records import (
    Budget,
    Covariance,
    Finite,
    FixedPoint,
    Gradient,
    Isometry,
    MeanPath,
    MeanState,
    Note,
    Params,
    Profile,
    Propagation,
)
from snn_cli.solver import check as check_solvable
from snn_cli.solver import solve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from snn_cli.ensembles import Ensemble
    from snn_cli.propagation.fluctuations import Fluctuations, Layer
    from snn_cli.propagation.path import Path
    from snn_cli.records import ModelPrediction, Solution

    Array = NDArray[np.float64]

DEFAULT_DEPTH = 100

LONGEST_PROFILE = 1_000_000
"""Layers up to which a profile is made."""

LARGEST_WIDTH = 10**9

LARGE_FLUCTUATION, LARGE_STEP = 0.25, 0.12
"""Variance of the relative deviation of q, and variance that one layer adds to the log gradient, from which the
expansion in 1/fan-in is called extrapolated."""

FAILS = 6.0
"""How many times as much makes it void: predictions are then those of infinite width."""

SHIFTED = 1e-4
"""Distance of a centralized fixed point from 1 that is worth a note."""

DEEPEST, DEEPEST_UNSETTLED = 10**9, 2**14
"""Depth up to which the budget is followed, where q settles and where every layer differs from the one before."""

_CACHED = 256
_RECORD = '{"act": "lselu", "params": {"lambda": 1, "alpha": 1.138, "beta": 0.394}}'
_AT_ONCE = 2048
_EXAMPLES = {"--max-growth": 10, "--sigma-b": 0.1}
_EPSILONS = tuple(10.0 ** (k / 4) for k in range(4, -33, -1))
_EPSILON_ACCURACY = 1e-7
_SETTLING = 64  # depths looked at one by one
_EPSILON_DIGITS = 4
_LARGEST_EXPONENT = 709.0


class Activation(NamedTuple):
    """An activation with the values of its parameters; epsilon and gamma where they are known from its solution."""

    act: str
    params: tuple[tuple[str, float], ...]
    epsilon: float | None
    gamma: float | None = None


class Network(NamedTuple):
    """What the infinite-width part depends on, all of it hashable."""

    activation: Activation
    variance_w: float
    variance_b: float
    centralized: bool
    q0: float
    depth: int


@overload
def simulate(
    act: str | None = ..., epsilon: Number | None = ..., *, model: None = ..., **options: Any
) -> Propagation: ...
@overload
def simulate(*, model: str | Callable[[], Any], input: str | None = ..., **options: Any) -> ModelPrediction: ...
def simulate(  # type: ignore[misc]  # the options of the signatures above are these
    act: str | None = None,
    epsilon: Number | None = None,
    *,
    model: str | Callable[[], Any] | None = None,
    input: str | None = None,  # noqa: A002
    weights_from: str | None = None,
    params: Solution | Propagation | Mapping[str, Any] | None = None,
    expr: str | None = None,
    set: Mapping[str, Number] | None = None,  # noqa: A002
    depth: int | str | None = None,
    fanin: int | str | None = None,
    widths: Sequence[int] | str | None = None,
    lam: Number | None = None,
    lambda_min: Number | None = None,
    zero_mean: bool = False,
    weights: str = "gaussian",
    sigma_w: Number | None = None,
    sigma_b: Number = 0,
    unrestored: bool = False,
    q0: Number = 1,
    c0: Number = Fraction(1, 2),
    weight_mean: Number = 0,
    centralize: bool = False,
    centralize_activation: bool = False,
    mixup: Number | None = None,
    scaled_mixup: Number | None = None,
    max_growth: Number | None = None,
    profile: bool = True,
) -> Propagation | ModelPrediction:
    """Propagate second moments, means, correlations and gradients through ``depth`` layers.

    act, epsilon, lam, lambda_min, zero_mean
        An activation, solved as ``solve`` does it; epsilon defaults to ``1/depth``. Baselines take none of the others.
    params
        Instead of those: a Solution, or a record with ``act`` and ``params``. Its depth and fan-in are the defaults.
    expr, set
        Or a formula in x, such as ``"where(x > 0, x, a*(exp(x) - 1))"``, and values of its parameters by name.
    depth, fanin, widths
        Number of blocks (100), fan-in of each (None: infinite width), or the widths of ``x[0] ... x[depth]``, as a
        sequence or as text such as ``784,1024x10,10``.
    weights, sigma_w, sigma_b, unrestored
        Ensemble, deviations of weights (in ``1/sqrt(fan_in)``) and biases. ``sigma_w="he"`` makes ``V(1) = 1`` without
        biases, ``sqrt(2)`` for ReLU. With ``unrestored`` truncated weights lose the variance that is cut off.
    q0, c0
        Second moment of the inputs ``x[0]`` and correlation of two of them.
    weight_mean
        Common mean of the weights, in units of their own deviation ``sigma_w / sqrt(fan_in)``.
    centralize, centralize_activation, mixup, scaled_mixup
        Remedies: weights less their mean over fan-in, activations less their mean, inputs mixed with
        ``t ~ Beta(A, A)`` (scaled: divided by ``sqrt(t^2 + (1-t)^2)``).
    max_growth
        Factor that the typical squared gradient may grow or shrink by; fills ``budget``.
    profile
        Whether the record holds every layer.
    model, input, weights_from
        Instead of all of those: a model of your own, as `models.simulate_path` takes it; returns a `ModelPrediction`.

    Raises InputError for a value outside its domain, NoSolution where the activation cannot be solved, CannotCompute
    for a profile that is too long. Source: theory, sections 4 to 6.
    """
    if model is not None or input is not None or weights_from is not None:
        from snn_cli.models import arguments, simulate_path

        return simulate_path(**arguments(simulate, locals(), simulate_path))
    params = activations.with_expression(params, expr, set, act)
    return run(
        _request(
            act, epsilon, params, depth, fanin, widths, (lam, lambda_min, zero_mean), weights, sigma_w, sigma_b,
            unrestored, q0, c0, weight_mean, centralize, centralize_activation, mixup, scaled_mixup, max_growth,
            profile,
        )
    )  # fmt: skip


def run(request: Request) -> Propagation:
    """The record of a request that `check` has found to be in order."""
    try:
        with np.errstate(all="ignore"):
            return _simulate(request)
    except (ValueError, ArithmeticError):  # of nan and inf, from parameters that nothing was solved for
        if isinstance(request.source, _Solve):
            raise
        raise _out_of_range(request.source) from None


def _out_of_range(activation: Activation) -> CannotCompute:
    values = ", ".join(f"{name} = {value!r}" for name, value in activation.params)
    return CannotCompute(
        f"the moments of {activation.act}{f' with {values}' if values else ''} leave the range of doubles",
        "snn solve --act lselu --epsilon 0.03",
    )


def check(
    act: str | None = None,
    epsilon: Number | None = None,
    *,
    lam: Number | None = None,
    lambda_min: Number | None = None,
    zero_mean: bool = False,
    **options: Any,
) -> Request:
    """The arguments of `simulate` in exact numbers; nothing is computed. Raises InputError as `simulate` does."""
    given: dict[str, Any] = {**_DEFAULTS, **options}
    request = _request(act, epsilon, closures=(lam, lambda_min, zero_mean), **given)
    source = request.source
    if isinstance(source, _Solve):
        check_solvable(
            source.act,
            source.epsilon,
            depth=source.depth,
            fanin=source.fan_in,
            lam=lam,
            lambda_min=lambda_min,
            zero_mean=zero_mean,
        )
    return request


_DEFAULTS: dict[str, Any] = {
    "params": None,
    "depth": None,
    "fanin": None,
    "widths": None,
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


class _Solve(NamedTuple):
    """An activation that is still to be solved."""

    act: str
    epsilon: Any
    depth: int | None
    fan_in: int | None


class Request(NamedTuple):
    """What was asked for, each value inside its domain."""

    source: Activation | _Solve
    closures: tuple[Any, Any, bool]
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


def _request(
    act: str | None,
    epsilon: Number | None,
    params: Any,
    depth: int | str | None,
    fanin: int | str | None,
    widths: Sequence[int] | str | None,
    closures: tuple[Any, Any, bool],
    weights: str,
    sigma_w: Number | None,
    sigma_b: Number,
    unrestored: bool,
    q0: Number,
    c0: Number,
    weight_mean: Number,
    centralize: bool,
    centralize_activation: bool,
    mixup: Number | None,
    scaled_mixup: Number | None,
    max_growth: Number | None,
    profile: bool,
) -> Request:
    ensemble = ensembles.get(weights)
    sizes = None if widths is None else parse_widths(widths)
    layers = _depth(depth, sizes, params)
    fan_in = _fan_in(fanin, sizes, params)
    if profile and layers > LONGEST_PROFILE:
        raise CannotCompute(f"a profile of {layers} layers is too long; at most {LONGEST_PROFILE}", "--no-profile")
    source = _source(act, epsilon, params, layers, fan_in, closures)
    mean_w = _number(weight_mean, "--weight-mean")
    if mean_w and fan_in is None and sizes is None:
        raise InputError("--weight-mean needs a fan-in: the mean adds up over it", "--fanin 1024")
    if centralize and centralize_activation:
        raise InputError(
            "--centralize and --centralize-activation both remove the mean; one of them is enough", "--centralize"
        )
    if unrestored and ensemble.name != "truncated":
        raise InputError(f"--unrestored is about truncated weights, not {ensemble.name}", "--weights truncated")
    start, correlation = _inputs(q0, c0, mixup, scaled_mixup)
    return Request(
        source=source,
        closures=closures,
        depth=layers,
        fan_in=fan_in,
        sizes=None if sizes is None else tuple(sizes),
        ensemble=ensemble,
        deviation_w=_deviation(sigma_w),
        unrestored=bool(unrestored),
        deviation_b=_bias_deviation(sigma_b),
        q0=start,
        c0=correlation,
        weight_mean=mean_w,
        centralize=bool(centralize),
        centralize_activation=bool(centralize_activation),
        mixup=None if mixup is None else nearest_double(rational(mixup, "--mixup")),
        scaled_mixup=None if scaled_mixup is None else nearest_double(rational(scaled_mixup, "--scaled-mixup")),
        max_growth=None if max_growth is None else _number(max_growth, "--max-growth", least=1),
        profile=bool(profile),
    )


def _simulate(request: Request) -> Propagation:
    source, sizes = request.source, request.sizes
    activation = _solved(*source, *request.closures) if isinstance(source, _Solve) else source
    variance_w = _weight_variance(activation, request)
    network = Network(
        activation=activation,
        variance_w=variance_w,
        variance_b=nearest_double(request.deviation_b**2),
        centralized=request.centralize or request.centralize_activation,
        q0=nearest_double(request.q0),
        depth=request.depth,
    )
    run = _Run(
        network,
        request.ensemble,
        request.fan_in,
        sizes,
        nearest_double(request.weight_mean),
        request.centralize_activation,
    )
    factor = request.max_growth
    return Propagation(
        act=activation.act,
        epsilon=activation.epsilon,
        params=Params(dict(activation.params)),
        depth=request.depth,
        fan_in=request.fan_in,
        weights=request.ensemble.name,
        sigma_w=math.sqrt(variance_w),
        sigma_b=nearest_double(request.deviation_b),
        widths=sizes,
        q0=network.q0,
        c0=nearest_double(request.c0),
        weight_mean=run.weight_mean,
        centralize=request.centralize,
        centralize_activation=request.centralize_activation,
        mixup=request.mixup,
        scaled_mixup=request.scaled_mixup,
        fixed_point=run.infinite.fixed_point,
        fixed_points=run.infinite.fixed_points,
        covariance=_covariance(network) if request.correlations and not run.has_mean else Covariance(None, None, None),
        isometry=run.isometry(),
        finite=run.finite(),
        gradient=run.gradient(),
        mean_path=run.mean_path(),
        budget=None if factor is None else run.budget(nearest_double(factor), request.closures),
        notes=(*run.notes, *((Note.TRUNCATION_LOSES_VARIANCE,) if request.unrestored else ())),
        profile=run.profile(_angle(request.c0)) if request.profile else None,
    )


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


def _depth(depth: int | str | None, sizes: list[int] | None, params: Any) -> int:
    given = None if depth is None else positive_integer(depth, "--depth")
    if sizes is not None:
        if given is not None and given != len(sizes) - 1:
            raise InputError(
                f"--depth {given} contradicts --widths, which has {len(sizes) - 1} blocks", "leave out --depth"
            )
        return len(sizes) - 1
    return given or _from_record(params, "depth") or DEFAULT_DEPTH


def _fan_in(fanin: int | str | None, sizes: list[int] | None, params: Any) -> int | None:
    given = None if fanin is None else positive_integer(fanin, "--fanin")
    if sizes is None:
        return given or _from_record(params, "fan_in")
    if given is not None:
        raise InputError(
            "--fanin and --widths contradict each other: widths say the fan-in of each layer", "leave out --fanin"
        )
    return sizes[0] if len(set(sizes)) == 1 else None


def _from_record(params: Any, name: str) -> int | None:
    value = None if params is None else _field(params, name)
    return None if value is None else positive_integer(value, name)


def _field(params: Any, name: str) -> Any:
    from collections.abc import Mapping as AnyMapping

    return params.get(name) if isinstance(params, AnyMapping) else getattr(params, name, None)


def _source(
    act: str | None,
    epsilon: Number | None,
    params: Any,
    depth: int,
    fan_in: int | None,
    closures: tuple[Any, Any, bool],
) -> Activation | _Solve:
    closed = any(x not in (None, False) for x in closures)
    if params is not None:
        if act is not None or epsilon is not None or closed:
            raise InputError(
                "--params gives the activation; it contradicts --act, --epsilon and the closures", "leave out --params"
            )
        return given_activation(params)
    if not isinstance(act, str):
        names = ", ".join((*activations.SOLVABLE, *activations.BASELINES))
        raise InputError(f"--act must be one of {names}", "--act lselu")
    activations.find(act)
    if act not in activations.SOLVABLE:
        if epsilon is not None or closed:
            option = "--epsilon" if epsilon is not None else "a closure of lambda"
            raise InputError(f"{act} has no parameters to solve for, so {option} cannot be met", "--act lselu")
        if activations.is_bare(act):
            return Activation(act, (), None)
        return given_activation(activations.of_expression(act))
    auto = isinstance(epsilon, str) and epsilon.strip() == "auto"
    if auto and fan_in is None:
        raise InputError("--epsilon auto needs the fan-in that it is meant for", "--epsilon auto --fanin 1024")
    by_depth = epsilon is None and activations.get(act).takes_epsilon
    source = _Solve(act, epsilon, depth if by_depth else None, fan_in if auto else None)
    lam, lambda_min, zero_mean = closures  # the cache takes True for 1, and no lists
    check_solvable(
        act, epsilon, depth=source.depth, fanin=source.fan_in, lam=lam, lambda_min=lambda_min, zero_mean=zero_mean
    )
    return source


@lru_cache(maxsize=4096)
def _solved(
    act: str, epsilon: Any, depth: int | None, fan_in: int | None, lam: Any, lambda_min: Any, zero_mean: bool
) -> Activation:
    solution = solve(act, epsilon, depth=depth, fanin=fan_in, lam=lam, lambda_min=lambda_min, zero_mean=zero_mean)
    return Activation(act, tuple(solution.params.items()), solution.epsilon, solution.gamma)


def given_activation(params: Any) -> Activation:
    """The activation of a record: a Solution, a Propagation, or a mapping with ``act`` and ``params``.

    Raises InputError for an unknown activation, for one of installed code, and for a parameter that is missing, unknown
    or no finite number.
    """
    act, values = _field(params, "act"), _field(params, "params")
    if not isinstance(act, str):
        raise InputError(
            "--params holds no activation: it needs a field act", '{"act": "lselu", "params": {"lambda": 1, ...}}'
        )
    if act.partition(":")[0] in activations.SCHEMES:  # a record is data: reading one runs nobody's code
        raise InputError(f"--params: {act} is installed code, and no record may have it run", f"--act {act}")
    try:
        given = dict(values) if values is not None else {}
    except (TypeError, ValueError):
        given = {"params": values}
    family = activations.find(act, given)
    if set(given) != set(family.parameters):
        needed = ", ".join(family.parameters) or "none"
        raise InputError(
            f"--params: {act} takes the parameters {needed}; the record has {', '.join(map(str, given)) or 'none'}",
            _RECORD,
        )
    found = []
    for name in family.parameters:
        value = given[name]
        if not _is_finite(value):
            raise InputError(f"--params: {name} of {act} must be a finite number, not {value!r}", _RECORD)
        found.append((name, _double(value, name)))
    params_tuple = tuple(found)
    if act not in activations.SOLVABLE:
        assert isinstance(family, Baseline)
        family.check(dict(params_tuple))
        return Activation(family.name, params_tuple, None)
    if dict(params_tuple)["lambda"] <= 0:
        raise InputError(f"--params: lambda of {act} must be above 0", _RECORD)
    with np.errstate(all="ignore"):
        gain = float(MeanField(family, dict(params_tuple)).moments(np.array([1.0])).gain[0])
    if not math.isfinite(gain):
        raise _out_of_range(Activation(act, params_tuple, None))
    epsilon = _field(params, "epsilon")
    if not _is_finite(epsilon) or abs(float(epsilon) + 1 - gain) > 1e-9 * gain:  # parameters by hand
        epsilon = gain - 1
    gamma = _field(params, "gamma")
    known = isinstance(gamma, float) and math.isfinite(gamma)
    return Activation(act, params_tuple, float(epsilon), gamma if known else None)


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        return False
    return not isinstance(value, float) or math.isfinite(value)


def _double(value: Any, name: str) -> float:
    size = abs(Fraction(value))
    if size and not Fraction(1, 10**60) <= size <= 10**60:
        raise InputError(f"--params: {name} must be 0 or between 1e-60 and 1e60 in size, not {value!r}", _RECORD)
    return float(value)


def _number(value: Number, option: str, least: int | None = None) -> Fraction:
    exact = rational(value, option)
    if least is not None and exact < least:
        raise InputError(
            f"{option} is {nearest_double(exact)!r}; it must be at least {least}",
            f"{option} {_EXAMPLES.get(option, 1)}",
        )
    return exact


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


def _weight_variance(activation: Activation, request: Request) -> float:
    kept = ensembles.variance_kept(ensembles.TRUNCATION) if request.unrestored else 1.0
    if isinstance(request.deviation_w, Fraction):
        return nearest_double(request.deviation_w**2) * kept
    params = dict(activation.params)
    field = MeanField(activations.find(activation.act, params), params)
    return kept / float(field.moments(np.array([1.0])).second[0])


def _inputs(q0: Number, c0: Number, mixup: Number | None, scaled_mixup: Number | None) -> tuple[Fraction, Fraction]:
    start = rational(q0, "--q0")
    if not Fraction(1, 10**30) <= start <= 10**30:
        raise InputError(f"--q0 is {q0}; the second moment of the inputs must be from 1e-30 to 1e30", "--q0 1")
    correlation = rational(c0, "--c0")
    if abs(correlation) > 1:
        raise InputError(f"--c0 is {nearest_double(correlation)!r}; a correlation is from -1 to 1", "--c0 0.5")
    if mixup is not None and scaled_mixup is not None:
        raise InputError("--mixup and --scaled-mixup contradict each other", "leave out --scaled-mixup")
    return mixed_inputs(start, correlation, mixup, scaled_mixup)


def _angle(correlation: Fraction) -> float:
    return 2 * math.atan2(math.sqrt(1 - correlation), math.sqrt(1 + correlation))


class _Infinite(NamedTuple):
    """The part that knows no fan-in. ``following`` is the second moment after ``q_end``, ``gain`` that block's."""

    field: MeanField
    path: Path
    columns: Layer
    moments: Any
    at_end: Layer
    q_end: float
    mean_slope: float
    fixed_point: FixedPoint
    fixed_points: tuple[FixedPoint, ...]
    ends: LayerMoments
    degenerate: bool
    limit: str | None

    @property
    def tractable(self) -> bool:
        """Whether correlations can be followed at every second moment on the way."""
        return Correlation(self.field).tractable(max(float(self.path.q.max()), self.q_end))

    def log_gain(self, depth: int) -> float:
        """Sum of ``log chi`` over the blocks."""
        gains = self.columns.log_gain
        distinct = min(depth, self.path.distinct)
        total = math.fsum(gains[:distinct])
        return total + (depth - distinct) * float(gains[-1]) if depth > distinct else total


@lru_cache(maxsize=_CACHED)
def _infinite(network: Network) -> _Infinite:
    params = network.activation.params
    second = second_moment(
        activations.find(network.activation.act, dict(params)),
        params,
        network.variance_w,
        network.variance_b,
        network.centralized,
    )
    field = second.field
    path = second.path(network.q0, network.depth)
    reached = second.reached(network.q0)
    moments = field.moments(path.q)
    columns = _with_epsilon(finite_theory.layers(field, moments), path.q, network)
    limit = "infinity" if reached is None else "zero" if not reached.q else None
    q_end = path.q[-1] if reached is None or not reached.q else reached.q
    q_end = float(min(max(q_end, SMALLEST), LARGEST))
    if q_end == path.q[-1]:
        ends = LayerMoments(*(column[-1:] for column in moments))
    else:
        ends = field.moments(np.array([q_end]))
    at_end = _with_epsilon(finite_theory.layers(field, ends), ends.q, network)
    if not all(np.isfinite(column).all() for column in (*columns, *at_end)):
        raise _out_of_range(network.activation)
    return _Infinite(
        field=field,
        path=path,
        columns=columns,
        moments=moments,
        at_end=finite_theory.Layer(*(float(column[0]) for column in at_end)),
        q_end=q_end,
        mean_slope=float(ends.mean_slope[0]),
        fixed_point=FixedPoint(None, None, False, None)
        if reached is None
        else _known_gamma(FixedPoint(reached.q, reached.gamma, reached.stable, reached.depth_scale), network),
        fixed_points=tuple(
            _known_gamma(FixedPoint(point.q, point.gamma, point.stable, point.depth_scale), network)
            for point in second.fixed_points
        ),
        ends=ends,
        degenerate=second.degenerate,
        limit=limit,
    )


def _with_epsilon(columns: Layer, q: Array, network: Network) -> Layer:
    """``chi = 1 + epsilon`` is known better than it can be computed from rounded parameters, at ``q = 1``."""
    epsilon = network.activation.epsilon
    if epsilon is None or network.variance_w != 1:
        return columns
    exact = math.log1p(epsilon)
    known = (q == 1) & (np.abs(columns.log_gain - exact) <= SAME)
    return columns._replace(log_gain=np.where(known, exact, columns.log_gain))


def _known_gamma(point: FixedPoint, network: Network) -> FixedPoint:
    """The gamma of the solution, correctly rounded, where it is the one at hand."""
    gamma = network.activation.gamma
    if point.q != 1 or network.variance_w != 1 or network.variance_b or network.centralized or gamma is None:
        return point
    close = point.gamma is not None and abs(point.gamma - gamma) <= SAME * max(1.0, abs(gamma))
    return point._replace(gamma=gamma) if close else point


@lru_cache(maxsize=_CACHED)
def _covariance(network: Network) -> Covariance:
    """Apart from the rest of ``_infinite``: it takes most of the time, and a budget has no use for it."""
    infinite = _infinite(network)
    field, ends = infinite.field, infinite.ends
    if (infinite.limit is not None and not field.homogeneous) or not infinite.tractable:
        return Covariance(None, None, None)
    following = field.variance_w * float(ends.second[0]) + field.variance_b
    point = Correlation(field).fixed_point(infinite.q_end, following, float(ends.gain[0]))
    return Covariance(point.fixed_point, point.slope, point.depth_scale)


@lru_cache(maxsize=_CACHED)
def _unit_fluctuations(network: Network, ensemble: str, profile: bool) -> Fluctuations:
    """First-order corrections times the fan-in, for equal widths."""
    return finite_theory.fluctuations(_infinite(network).columns, network.depth, None, ensembles.get(ensemble), profile)


class _Run:
    """One network: the infinite-width part and what its fan-in adds."""

    def __init__(
        self,
        network: Network,
        ensemble: Ensemble,
        fan_in: int | None,
        sizes: tuple[int, ...] | None,
        weight_mean: float,
        centralize_activation: bool,
    ) -> None:
        self.network = network
        self.ensemble = ensemble
        self.fan_in = fan_in
        self.sizes = sizes
        self.weight_mean = weight_mean
        self.depth = network.depth
        self.infinite = _infinite(network)
        self.has_mean = bool(weight_mean) and not network.centralized
        self.centralize_activation = centralize_activation
        self.modelled = (fan_in is not None or sizes is not None) and not self.has_mean and not centralize_activation
        self.expansion_fails = False
        self.sd_w = math.sqrt(network.variance_w)
        self._mean_state: tuple[Array, Array] | None = None
        self._rates: finite_theory.Rates | None = None
        self._mean_path: MeanPath | None = None
        if self.modelled and not self._sizes_of_terms() < FAILS:
            self.modelled, self.expansion_fails = False, True

    @property
    def notes(self) -> list[Note]:
        found = []
        infinite = self.infinite
        if infinite.degenerate:
            found.append(Note.EVERY_SECOND_MOMENT_FIXED)
        elif infinite.limit == "infinity":
            found.append(Note.NO_FIXED_POINT)
        elif infinite.limit == "zero":
            found.append(Note.VANISHES)
        if float(infinite.path.q.max()) > infinite.field.largest < LARGEST:
            found.append(Note.EXTRAPOLATED_IN_Q)
        if not infinite.tractable:
            found.append(Note.CORRELATION_NOT_FOLLOWED)
        last = infinite.path.at(np.array([self.depth]))[0]
        if not math.isfinite(last):
            found.append(Note.OVERFLOW)
        elif not last or float(infinite.moments.gain.min()) <= DEAD:
            found.append(Note.UNDERFLOW)
        found += self._finite_notes()
        if self.has_mean:
            found.append(Note.MEAN_NOT_COUNTED)
            if self.beyond_tolerance:
                found.append(Note.BEYOND_TOLERANCE)
            elif not np.isfinite(self.mean_state()[0][-1]):
                found.append(Note.MEAN_ESCAPES)
        if self.network.centralized and infinite.limit is None and abs(infinite.q_end - 1) > SHIFTED:
            found.append(Note.CENTRALIZATION_SHIFTS)
        if self.centralize_activation and self._own_growth() > 1:
            found.append(Note.OWN_MEANS_GROW)
        return found

    def _own_growth(self) -> float:
        """What a layer does to a mean of the units that one input has and others have not.

        ``fan_in mu_w E[f']``, as without centralization: one scalar taken from f removes the mean that inputs share.
        """
        width = self.fan_in or (max(self.sizes) if self.sizes else 0)
        return abs(self.weight_mean * self.sd_w * math.sqrt(width) * self.infinite.mean_slope)

    def _finite_notes(self) -> list[Note]:
        if self.fan_in is None and self.sizes is None:
            return []
        if self.expansion_fails:
            return [Note.EXPANSION_FAILS]
        if not self.modelled:
            return [Note.FINITE_NOT_MODELLED]
        found = []
        if self.rates().q_variance is None and self.infinite.limit is None:
            found.append(Note.NEVER_SETTLES)
        if self._sizes_of_terms() > 1:
            found.append(Note.FINITE_WIDTH_EXTRAPOLATED)
        return found

    def _sizes_of_terms(self) -> float:
        """Largest term of the expansion, in units of those from which it is called extrapolated."""
        corrections = self.corrections(False)
        assert corrections is not None
        spread = 0.0 if self.homogeneous else corrections.largest_variance / LARGE_FLUCTUATION
        return max(spread, corrections.largest_step / LARGE_STEP)

    @property
    def homogeneous(self) -> bool:
        """Whether the spread of q is known exactly, and no other term depends on it."""
        return self.infinite.field.homogeneous and not self.network.variance_b

    @property
    def beyond_tolerance(self) -> bool:
        """Whether a mean of the units is not attracted to 0: which way it goes is left to chance."""
        slope = self.mean_path().slope
        return slope is not None and abs(slope) > 1

    def rates(self) -> finite_theory.Rates:
        """Deep rates at the smallest width; variances are of q, in its own units."""
        if self._rates is not None:
            return self._rates
        width = min(self.sizes[:-1]) if self.sizes else self.fan_in
        assert width is not None
        found = finite_theory.rates(self.infinite.at_end, width, self.ensemble)
        q = self.infinite.q_end
        self._rates = found._replace(
            q_mean=None if found.q_mean is None else found.q_mean * q,
            q_variance=None if found.q_variance is None else found.q_variance * q * q,
        )
        return self._rates

    def finite(self) -> Finite:
        """Deep rates; with widths that differ there are none."""
        if not self.modelled or self.fan_in is None or (self.infinite.limit and not self.infinite.field.homogeneous):
            return Finite(None, None, None, None)
        return Finite(*self.rates())

    def corrections(self, profile: bool) -> Fluctuations | None:
        """First-order corrections of this network; None where they are not modelled."""
        if not self.modelled:
            return None
        if self.fan_in is None:
            assert self.sizes is not None
            widths = [float(n) for n in self.sizes]
            return finite_theory.fluctuations(
                self.infinite.columns, self.depth, widths, self.ensemble, profile, homogeneous=self.homogeneous
            )
        if self.homogeneous:
            return finite_theory.fluctuations(
                self.infinite.columns, self.depth, None, self.ensemble, profile, float(self.fan_in), homogeneous=True
            )
        unit = _unit_fluctuations(self.network, self.ensemble.name, profile)
        n = self.fan_in
        return finite_theory.Fluctuations(
            unit.q_mean / n,
            unit.q_variance / n,
            unit.gradient_mean / n,
            unit.gradient_variance / n,
            unit.largest_variance / n,
            unit.largest_step / n,
        )

    def gradient(self) -> Gradient:
        """Growth from the last layer to the input."""
        mean, sd = self.growth()
        if not math.isfinite(mean):
            return Gradient(None, None, None)
        factor = math.exp(mean) if mean < _LARGEST_EXPONENT else None
        return Gradient(_finite_or_none(mean), _finite_or_none(sd), factor)

    def growth(self) -> tuple[float, float | None]:
        """Mean and deviation of ``log(|g[0]|^2 / |g[L]|^2)``."""
        if self.has_mean:
            if self.beyond_tolerance:
                return math.nan, None
            return float(np.sum(np.log(self._mean_gain()[: self.depth]))), None
        total = self.infinite.log_gain(self.depth)
        corrections = self.corrections(False)
        if corrections is None:
            return total, None
        return total + float(corrections.gradient_mean[0]), math.sqrt(max(0.0, float(corrections.gradient_variance[0])))

    def isometry(self) -> Isometry:
        """Block dynamical isometry: of one block at the fixed point, and of the product of all."""
        infinite = self.infinite
        c = infinite.at_end
        gain = math.exp(c.log_gain)
        n, m = (self.sizes[0], self.sizes[1]) if self.sizes else (1, 1)
        block = self.ensemble.block_variance(gain, c.kappa * gain * gain, n, m)
        total = infinite.log_gain(self.depth)
        relative = math.fsum(self._relative_variances())
        if self.has_mean:
            return Isometry(_finite_or_none(gain), _finite_or_none(block), None, None)
        return Isometry(
            _finite_or_none(gain),
            _finite_or_none(block),
            _finite_or_none(math.exp(total)) if total < _LARGEST_EXPONENT else None,
            _finite_or_none(relative),
        )

    def _relative_variances(self) -> Iterator[float]:
        """Of each block, weighted with the width of the output over its own (Chen et al., 2020: multiplication)."""
        kappa, distinct, block = self.infinite.columns.kappa, self.infinite.path.distinct, self.ensemble.block_variance
        if self.sizes is None:
            yield from (block(1.0, float(k), 1, 1) for k in kappa[:distinct])
            yield (self.depth - distinct) * block(1.0, float(kappa[-1]), 1, 1)
            return
        for layer, (n, m) in enumerate(pairwise(self.sizes)):
            yield self.sizes[-1] / m * block(1.0, float(kappa[min(layer, distinct)]), n, m)

    def mean_path(self) -> MeanPath:
        """Slope and tolerance at the fixed point, and the fixed points and the basin of the map with a weight mean."""
        if self._mean_path is None:
            self._mean_path = self._find_mean_path()
        return self._mean_path

    def _find_mean_path(self) -> MeanPath:
        width = self.fan_in or (max(self.sizes) if self.sizes else None)
        slope = self.infinite.mean_slope
        restoring = self._restoring() if self.network.centralized else None
        if width is None:
            return MeanPath(0.0 if not self.weight_mean else None, None, restoring_sigma_w=restoring)
        scale = self.sd_w * math.sqrt(width) * slope
        tolerance = _finite_or_none(1 / abs(scale)) if scale and not self.network.centralized else None
        if not self.has_mean:
            return MeanPath(0.0, tolerance, restoring_sigma_w=restoring)
        found = self._mean_map(width)
        return MeanPath(
            self.weight_mean * scale,
            tolerance,
            tuple(MeanState(*state) for state in found.fixed_points()),
            found.basin(self.infinite.q_end),
        )

    def _restoring(self) -> float | None:
        """Solves ``sigma_w^2 Var f + sigma_b^2 = 1`` at ``q = 1``."""
        variance = float(self.infinite.field.moments(np.array([1.0])).second[0])
        left = 1 - self.network.variance_b
        return math.sqrt(left / variance) if left > 0 and variance > 0 else None

    def _mean_map(self, width: int) -> MeanMap:
        return MeanMap(self.infinite.field, self.weight_mean * self.sd_w * math.sqrt(width))

    def mean_state(self) -> tuple[Array, Array]:
        """Unit mean and variance at layers ``0 ... depth``."""
        if self._mean_state is None:
            if self.sizes is None:
                assert self.fan_in is not None
                self._mean_state = self._mean_map(self.fan_in).path(self.network.q0, self.depth)
            else:
                m, nu = 0.0, self.network.q0
                means, variances = [m], [nu]
                for width in self.sizes[:-1]:
                    m, nu = (float(x) for x in self._mean_map(width).following(m, nu))
                    means.append(m)
                    variances.append(nu)
                self._mean_state = np.array(means), np.array(variances)
        return self._mean_state

    def _mean_gain(self) -> Array:
        m, nu = self.mean_state()
        gains = np.full(self.depth + 1, np.nan)
        kept = np.isfinite(m)
        gains[kept] = self.network.variance_w * self._shifted(m[kept], nu[kept], 3)
        return gains

    def _shifted(self, means: Array, variances: Array, which: int) -> Array:
        """One of `shifted_moments` over layers, a few at a time."""
        found = np.empty_like(means)
        for start in range(0, len(means), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            found[part] = shifted_moments(self.infinite.field, means[part], np.sqrt(variances[part]))[which]
        return found

    def profile(self, angle: float) -> Profile:
        """Every layer."""
        if self.has_mean:
            return self._mean_profile()
        infinite, depth = self.infinite, self.depth
        path = infinite.path
        layers = np.arange(depth + 1)
        index = np.minimum(layers, path.distinct)
        q = path.at(layers)
        with np.errstate(invalid="ignore", over="ignore"):
            mean = infinite.moments.mean[index] * np.sqrt(q / path.q[index])
        log_gain = infinite.columns.log_gain
        log_gradient = np.concatenate([np.cumsum(log_gain[index[:-1]][::-1])[::-1], [0.0]])
        corrections = self.corrections(True)
        angles = _angles(self.network, angle) if infinite.tractable else None
        q_mean = q_sd = gradient_sd = None
        if corrections is not None:
            q_mean = q * (1 + corrections.q_mean)
            q_sd = q * np.sqrt(np.maximum(corrections.q_variance, 0))
            log_gradient = log_gradient + corrections.gradient_mean
            gradient_sd = np.sqrt(np.maximum(corrections.gradient_variance, 0))
        return Profile(
            layer=tuple(range(depth + 1)),
            q=_column(q),
            q_mean=_column(q_mean),
            q_sd=_column(q_sd),
            mean=_column(mean),
            chi=_column(np.exp(log_gain[index])),
            correlation=None if angles is None else _column(np.cos(angles)),
            log_gradient=_column(log_gradient),
            log_gradient_sd=_column(gradient_sd),
        )

    def _mean_profile(self) -> Profile:
        m, nu = self.mean_state()
        gains = self._mean_gain()
        kept = np.isfinite(m)
        first = np.full_like(m, np.nan)
        first[kept] = self._shifted(m[kept], nu[kept], 0)
        with np.errstate(invalid="ignore"):
            log_gradient = np.concatenate([np.cumsum(np.log(gains[:-1])[::-1])[::-1], [0.0]])
        return Profile(
            layer=tuple(range(self.depth + 1)),
            q=_column(m * m + nu),
            q_mean=None,
            q_sd=None,
            mean=_column(first),
            chi=_column(gains),
            correlation=None,
            log_gradient=_column(log_gradient),
            log_gradient_sd=None,
            unit_mean=_column(m),
            unit_variance=_column(nu),
        )

    def at_depth(self, depth: int) -> _Run:
        """The same network with another depth; its widths are equal."""
        return _Run(
            self.network._replace(depth=depth),
            self.ensemble,
            self.fan_in,
            None,
            self.weight_mean,
            self.centralize_activation,
        )

    def budget(self, factor: float, closures: tuple[Any, Any, bool]) -> Budget:
        """The check ``|log growth| <= log factor``, the largest depth that passes it, and the largest epsilon."""
        allowed = math.log(factor)
        within = self._inside(allowed)
        return Budget(factor, within, self._largest_depth(allowed), self._largest_epsilon(allowed, closures))

    def _inside(self, allowed: float) -> bool:
        growth = self.growth()[0]
        return math.isfinite(growth) and abs(growth) <= allowed

    def _largest_depth(self, allowed: float) -> int | None:
        """Largest depth that passes: growth may leave the budget and come back while q settles, so depths are sampled
        densely at first, and between the last sample that passes and the next the end is bisected. 0 where none passes.
        """
        if self.sizes is not None or self.has_mean:
            return None
        passing, failing, sample = 0, None, 1
        while failing is None or sample <= _SETTLING or sample < 4 * failing:
            run = self.at_depth(sample)
            if run._inside(allowed):
                passing, failing = sample, None
            elif failing is None:
                failing = sample
            if sample > (DEEPEST if run.infinite.path.distinct < sample // 2 else DEEPEST_UNSETTLED):
                return None if failing is None else passing
            sample = sample + 1 if sample < _SETTLING else 2 * sample
        lo, hi = passing, failing
        while hi - lo > 1:
            middle = (lo + hi) // 2
            lo, hi = (middle, hi) if self.at_depth(middle)._inside(allowed) else (lo, middle)
        return lo

    def _largest_epsilon(self, allowed: float, closures: tuple[Any, Any, bool]) -> float | None:
        """Largest epsilon of this family that passes at this depth, to four digits, rounded down."""
        act = self.network.activation.act
        if act not in activations.SOLVABLE or not activations.get(act).takes_epsilon or self.has_mean:
            return None

        def growth(epsilon: float) -> float:
            """Infinite where there is no such activation: epsilon is above its range."""
            try:
                activation = _solved(act, repr(epsilon), None, None, *closures)
            except SnnError:
                return math.inf
            network = self.network._replace(activation=activation)
            return _Run(network, self.ensemble, self.fan_in, self.sizes, 0.0, self.centralize_activation).growth()[0]

        # growth rises with epsilon: the first on the way down that is not too much, and the one before
        above = None
        for lo in _EPSILONS:
            found = growth(lo)
            if found <= allowed:
                break
            above = lo
        else:
            return None
        while above is not None and above / lo > 1 + _EPSILON_ACCURACY:
            middle = math.sqrt(lo * above)
            value = growth(middle)
            if value <= allowed:
                lo, found = middle, value
            else:
                above = middle
        if found < -allowed:
            return None
        scale = 10.0 ** (_EPSILON_DIGITS - 1 - math.floor(math.log10(lo)))
        rounded: float = math.floor(lo * scale) / scale
        return rounded if abs(growth(rounded)) <= allowed else lo


@lru_cache(maxsize=_CACHED)
def _angles(network: Network, angle: float) -> Array:
    infinite = _infinite(network)
    path = infinite.path
    distinct = min(path.distinct, network.depth)
    return Correlation(infinite.field).path(path.q[: distinct + 1], network.depth - distinct, angle)


def _column(values: Any) -> Any:
    if values is None:
        return None
    return tuple(x if math.isfinite(x) else None for x in np.asarray(values).tolist())


def _finite_or_none(x: float | None) -> float | None:
    return None if x is None or not math.isfinite(x) else float(x)
