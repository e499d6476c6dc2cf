"""Simulate a network: from the arguments to the record."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from snn_cli import activations, ensembles
from snn_cli.exact import Number, nearest_double
from snn_cli.propagation.meanfield import MeanField
from snn_cli.records import Covariance, Note, Params, Propagation
from snn_cli.simulation.budget import budget
from snn_cli.simulation.finite import Run
from snn_cli.simulation.infinite import Network, covariance
from snn_cli.simulation.isometry import isometry
from snn_cli.simulation.notes import notes
from snn_cli.simulation.profile import profile as every_layer
from snn_cli.simulation.request import check
from snn_cli.simulation.source import Activation, Solve, out_of_range, solved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from snn_cli.records import ModelPrediction, Solution
    from snn_cli.simulation.request import Request


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
        check(
            act, epsilon, params=params, depth=depth, fanin=fanin, widths=widths, lam=lam, lambda_min=lambda_min,
            zero_mean=zero_mean, weights=weights, sigma_w=sigma_w, sigma_b=sigma_b, unrestored=unrestored, q0=q0,
            c0=c0, weight_mean=weight_mean, centralize=centralize, centralize_activation=centralize_activation,
            mixup=mixup, scaled_mixup=scaled_mixup, max_growth=max_growth, profile=profile,
        )
    )  # fmt: skip


def run(request: Request) -> Propagation:
    """The record of a request that `check` has found to be in order."""
    try:
        with np.errstate(all="ignore"):
            return _record(request)
    except (ValueError, ArithmeticError):  # of nan and inf, from parameters that nothing was solved for
        if isinstance(request.source, Solve):
            raise
        raise out_of_range(request.source) from None


def _record(request: Request) -> Propagation:
    source = request.source
    activation = solved(source, request.closure) if isinstance(source, Solve) else source
    run = _run(activation, request)
    network, factor = run.network, request.max_growth
    correlated = request.correlations and not run.means.counted
    return Propagation(
        act=activation.act,
        epsilon=activation.epsilon,
        params=Params(dict(activation.params)),
        depth=request.depth,
        fan_in=request.fan_in,
        weights=request.ensemble.name,
        sigma_w=math.sqrt(network.variance_w),
        sigma_b=nearest_double(request.deviation_b),
        widths=request.sizes,
        q0=network.q0,
        c0=nearest_double(request.c0),
        weight_mean=run.weight_mean,
        centralize=request.centralize,
        centralize_activation=request.centralize_activation,
        mixup=request.mixup,
        scaled_mixup=request.scaled_mixup,
        fixed_point=run.infinite.fixed_point,
        fixed_points=run.infinite.fixed_points,
        covariance=covariance(network) if correlated else Covariance(None, None, None),
        isometry=isometry(run),
        finite=run.finite(),
        gradient=run.gradient(),
        mean_path=run.means.path,
        budget=None if factor is None else budget(run, nearest_double(factor), request.closure),
        notes=(*notes(run), *((Note.TRUNCATION_LOSES_VARIANCE,) if request.unrestored else ())),
        profile=every_layer(run, _angle(request.c0)) if request.profile else None,
    )


def _run(activation: Activation, request: Request) -> Run:
    """The network that is asked for, in doubles."""
    network = Network(
        activation=activation,
        variance_w=_weight_variance(activation, request),
        variance_b=nearest_double(request.deviation_b**2),
        centralized=request.centralize or request.centralize_activation,
        q0=nearest_double(request.q0),
        depth=request.depth,
    )
    weight_mean = nearest_double(request.weight_mean)
    return Run(network, request.ensemble, request.fan_in, request.sizes, weight_mean, request.centralize_activation)


def _weight_variance(activation: Activation, request: Request) -> float:
    kept = ensembles.variance_kept(ensembles.TRUNCATION) if request.unrestored else 1.0
    if isinstance(request.deviation_w, Fraction):
        return nearest_double(request.deviation_w**2) * kept
    params = dict(activation.params)
    field = MeanField(activations.find(activation.act, params), params)
    return kept / float(field.moments(np.array([1.0])).second[0])


def _angle(correlation: Fraction) -> float:
    return 2 * math.atan2(math.sqrt(1 - correlation), math.sqrt(1 + correlation))
