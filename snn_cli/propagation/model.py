"""Mean field of a model of any shape: second moments forward, squared gradient norms backward, and their spread.

Weights count as independent and random, with the moments that they have; units of a layer then are Gaussian. Branches
that meet in a sum are uncorrelated but for their means, and their gradients add up (the addition rule of block
dynamical isometry). Spreads are of first order in 1/fan-in.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snn_cli.propagation.paths import rectified_again, weighed
from snn_cli.propagation.quadrature import EDGE, panels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snn_cli.graph import Function, Graph, Node, Norm, Weight

    Array = NDArray[np.float64]

_KINKS = (-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, 20.0)
"""Where activations of common use have kinks: 0, those of the hard ones, and the threshold of softplus."""

_PANEL = 0.75
_ENDS = tuple(np.arange(-EDGE, EDGE + _PANEL, _PANEL).tolist())
_HERMITE = 48
_STEP = 1e-4
ASSUMED = 0.15**2
"""Variance that an assumption adds to a logarithm: of independent positions under pooling, of Gaussian units where they
are not. In models of common shapes predictions were seen off by a tenth where they rest on one."""

_AGAIN = 0.2**2
"""Likewise of an activation that another one follows with no weights between: ReLU lets all of a gradient through that
comes back by a second ReLU of what it has made."""


class Moments(NamedTuple):
    """Of an elementwise function of ``N(mean, variance)``: of f, its square, f', its square, and what follows.

    ``strength``: ``d log E[f^2] / d log q``; ``steepness``: ``d log E[f'^2] / d log q``; ``kurtosis``:
    ``E[f^4] / E[f^2]^2``; ``kappa``: ``E[f'^4] / E[f'^2]^2``; ``joint``: ``E[f^2 f'^2] / (E[f^2] E[f'^2])``.
    """

    mean: float
    second_moment: float
    slope: float
    chi: float
    kurtosis: float
    kappa: float
    joint: float
    strength: float
    steepness: float
    hermite: tuple[float, ...]

    def covariance(self, correlation: float) -> float:
        """``E[f(x_a) f(x_b)]``, by the Hermite coefficients of f; what is beyond them counts near 1 only."""
        powers = correlation ** np.arange(len(self.hermite))
        head = float(np.square(self.hermite) @ powers)
        rest = max(0.0, self.second_moment - float(np.square(self.hermite).sum()))
        return head + rest * float(correlation ** len(self.hermite))


def _rule(mean: float, scale: float) -> tuple[Array, Array]:
    """Nodes and weights, density included, on panels that end at the kinks of common activations."""
    kinks = [(k - mean) / scale for k in _KINKS]
    z, weights = panels(np.array(sorted({*_ENDS, *(k for k in kinks if abs(k) < EDGE)})), 12)
    return z, weights * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


@lru_cache(maxsize=64)
def unit_second_moment(function: Function) -> float:
    """``E[f(z)^2]`` for ``z ~ N(0, 1)``."""
    z, weights = _rule(0.0, 1.0)
    return float(weights @ function.evaluate(z)[0] ** 2)


@np.errstate(all="ignore")
def function_moments(function: Function, mean: float, variance: float) -> Moments:
    """Moments of ``f(N(mean, variance))`` by quadrature."""
    scale, wider = math.sqrt(variance), math.sqrt(variance * (1 + _STEP))
    (z, weights), (more_z, more_weights) = _rule(mean, scale), _rule(mean, wider)
    value, slope = function.evaluate(np.concatenate([mean + scale * z, mean + wider * more_z]))
    f, df, more_f, more_df = value[: len(z)], slope[: len(z)], value[len(z) :], slope[len(z) :]
    second, chi = float(weights @ (f * f)), float(weights @ (df * df))
    q = mean * mean + variance
    relative = _STEP * variance / q  # of q

    def log_slope(before: float, after: float) -> float:
        return math.log(after / before) / relative if before > 0 and after > 0 else 0.0

    hermite, previous, current = [], np.zeros_like(z), np.ones_like(z)
    for k in range(_HERMITE):
        hermite.append(float(weights @ (f * current)))
        previous, current = current, (z * current - math.sqrt(k) * previous) / math.sqrt(k + 1)
    return Moments(
        mean=float(weights @ f),
        second_moment=second,
        slope=float(weights @ df),
        chi=chi,
        kurtosis=max(1.0, float(weights @ f**4) / second**2) if second else 3.0,
        kappa=max(1.0, float(weights @ df**4) / chi**2) if chi else 1.0,
        joint=float(weights @ (f * df) ** 2) / (second * chi) if second and chi else 1.0,
        strength=log_slope(second, float(more_weights @ (more_f * more_f))),
        steepness=log_slope(chi, float(more_weights @ (more_df * more_df))),
        hermite=tuple(hermite),
    )


class State(NamedTuple):
    """What is known of a value.

    mean, q, covariance
        Mean and second moment over units, and ``E[x_a x_b]`` of a unit in two samples, or at two positions: at least
        the square of the mean, for independent ones.
    variance, assumed
        Relative variance of q over networks, and what assumptions add to it.
    slack
        What ``log q`` may be off by because borders are only counted on average.
    kurtosis
        ``E[x^4] / E[x^2]^2`` over units.
    slope, kappa, joint, unit
        Of the activation that made it: ``E[f']``, kappa, joint, and its second moment for ``N(0, 1)``; 1 without one.
    channels
        Units with weights of their own; 0 where all units have.
    gaussian
        Whether units are Gaussian.
    source
        The activation's function, mean and variance, where it is fresh from one.
    """

    mean: float
    q: float
    covariance: float
    variance: float = 0.0
    assumed: float = 0.0
    slack: float = 0.0
    kurtosis: float = 3.0
    slope: float = 1.0
    kappa: float = 1.0
    joint: float = 1.0
    unit: float = 1.0
    channels: int = 0
    gaussian: bool = True
    source: tuple[Any, float, float] | None = None

    def independent(self, size: int) -> float:
        """Units that count as independent of so many: those of a channel are alike as far as they share a bias."""
        alike = min(1.0, (self.covariance / self.q) ** 2) if self.q > 0 else 1.0
        return 1 / (alike / min(self.channels or size, size) + (1 - alike) / size)


class Step(NamedTuple):
    """A prediction for one operation.

    state, gradient
        Of its first output: moments, and the expected squared norm of the gradient per sample; None where unknown.
    growth
        Of the squared gradient norm across the operation, input over output.
    gradient_variance, gradient_assumed, gradient_slack
        Variance of ``log gradient`` over networks, what assumptions add to it, and what borders may put it off by.
    growth_variance, growth_assumed, growth_slack
        Likewise of ``log growth``.
    tolerance
        Of weights: the common mean, in units of their deviation, from which a mean of the signal is not attracted to 0.
    keeps
        Of weights: the gain ``sqrt(fan_in E[w^2])`` that would keep ``q = 1`` after the activation before them.
    """

    state: State | None
    gradient: float | None
    growth: float | None
    gradient_variance: float
    gradient_assumed: float
    gradient_slack: float
    growth_variance: float
    growth_assumed: float
    growth_slack: float
    tolerance: float | None = None
    keeps: float | None = None


class _Gradient(NamedTuple):
    """``response``: ``d log norm / d log q`` of the value itself, by what lies behind it."""

    norm: float
    variance: float
    assumed: float
    slack: float
    response: float = 0.0

    def behind(self, state: State | None) -> float:
        """Variance over networks: what lies behind the value varies, and its own q, which that answers to."""
        return self.variance + (0.0 if state is None else self.response**2 * state.variance)


class _Answer(NamedTuple):
    """To the second moment that comes in: ``d log q`` of the output and ``d log growth`` by ``d log q`` of the input.

    ``fresh``: the variance of ``log q`` that the operation adds; ``common``: its covariance with the growth.
    """

    q: float = 1.0
    growth: float = 0.0
    fresh: float = 0.0
    common: float = 0.0


def propagate(graph: Graph) -> list[Step]:
    """Forward and backward through the model, a step for each of its operations."""
    walk = _Forward(graph)
    gradients = _backward(graph, walk)
    steps = []
    for number, node in enumerate(graph.nodes):
        out = node.outputs[0] if node.outputs else -1
        gradient = gradients.get(out)
        factor = walk.factors[number]
        state = walk.states.get(out)
        steps.append(
            Step(
                state=state,
                gradient=None if gradient is None else gradient.norm,
                growth=None if factor is None else factor.mean,
                gradient_variance=0.0 if gradient is None else gradient.behind(state),
                gradient_assumed=0.0 if gradient is None else gradient.assumed,
                gradient_slack=0.0 if gradient is None else gradient.slack,
                growth_variance=0.0 if factor is None else factor.alone,
                growth_assumed=0.0 if factor is None else factor.assumed,
                growth_slack=0.0 if factor is None else factor.slack,
                tolerance=walk.tolerances.get(number),
                keeps=walk.keeps.get(number),
            )
        )
    return steps


class _Factor(NamedTuple):
    """Of the squared gradient norm, input over output: mean, what it adds to the variance of the logarithm together
    with the layers around it, its own variance, and what assumptions and borders add."""

    mean: float
    variance: float = 0.0
    alone: float = 0.0
    assumed: float = 0.0
    slack: float = 0.0


class _Forward:
    """States of all values, and what every operation does to the gradient."""

    def __init__(self, graph: Graph) -> None:
        self.states: dict[int, State | None] = {}
        self.sizes: dict[int, int] = {}
        self.factors: list[_Factor | None] = []
        self.tolerances: dict[int, float] = {}
        self.keeps: dict[int, float] = {}
        self.answers: dict[int, _Answer] = {}
        self._again = rectified_again(graph)
        self._weighed = weighed(graph)  # theirs is the spread of units that an activation lets through
        for number, node in enumerate(graph.nodes):
            inputs = [self.states.get(i) for i in node.inputs]
            made, factor = self._step(number, node, inputs)
            self.factors.append(factor)
            for out, size in zip(node.outputs, node.sizes, strict=True):
                self.states[out] = made if made is None or math.isfinite(made.q) else None
                self.sizes[out] = size

    def share(self, node: Node, value: int) -> float:
        """Of the second moment of a sum."""
        made, part = self.states.get(node.outputs[0]), self.states.get(value)
        return part.q / made.q if made is not None and part is not None and made.q > 0 else 1.0

    def _step(self, number: int, node: Node, inputs: list[State | None]) -> tuple[State | None, _Factor | None]:
        if node.kind == "input":
            return State(*node.data)._replace(variance=2 / node.sizes[0]), None
        if node.kind == "constant":
            mean, second = node.data
            return State(mean, second, second, variance=2 / node.sizes[0]), None
        if node.kind == "norm":  # knows its output whatever comes in
            self.answers[number] = _Answer() if node.data.over == "fixed" else _Answer(0.0, -1.0)
            return self._norm(node.data, inputs[0] if inputs else None, node)
        if not inputs or any(state is None for state in inputs):
            known = node.kind in ("pass", "concatenate", "add", "repeat")
            return None, _Factor(1.0) if known else self._blind(node)
        states: list[State] = [state for state in inputs if state is not None]
        first = states[0]
        still = _Factor(1.0)
        if node.kind in ("pass", "repeat"):
            return first, still
        if node.kind == "weight":
            return self._weight(number, node.data, first)
        if node.kind == "activation":
            return self._activation(number, node, first)
        if node.kind == "add":
            return self._add(node, states), still
        if node.kind == "shift":
            return self._shift(node.data, first), still
        if node.kind == "scale":
            return self._scale(node.data, first)
        if node.kind == "concatenate":
            return self._concatenate(node, states), still
        if node.kind == "multiply":
            return self._multiply(states)
        if node.kind == "average":
            return self._average(node.data, first)
        if node.kind == "maximum":
            return self._maximum(node.data, first)
        if node.kind == "dropout":
            return self._dropout(node.data, first)
        return None, None

    @staticmethod
    def _shift(shift: float, x: State) -> State:
        more = 2 * x.mean * shift
        return x._replace(
            mean=x.mean + shift,
            q=x.q + more + shift * shift,
            covariance=x.covariance + more + shift * shift,
            source=None,
        )

    @staticmethod
    def _scale(s: float, x: State) -> tuple[State | None, _Factor | None]:
        if not math.isfinite(s):
            return None, None
        scaled = x._replace(mean=s * x.mean, q=s * s * x.q, covariance=s * s * x.covariance, source=None)
        return scaled, _Factor(s * s)

    @staticmethod
    def _dropout(share: float, x: State) -> tuple[State | None, _Factor | None]:
        kept = 1 - share
        if kept <= 0:
            return None, None
        thinned = x._replace(q=x.q / kept, kurtosis=x.kurtosis / kept, gaussian=False, source=None)
        return thinned, _Factor(1 / kept)

    @staticmethod
    def _blind(node: Node) -> _Factor | None:
        """Weights do the same to a gradient whatever comes in."""
        if node.kind != "weight":
            return None
        w: Weight = node.data
        factor = w.connections * w.second_moment
        return _Factor(factor, 2 / w.independent, 2 / w.independent, slack=_border(w))

    def _weight(self, number: int, w: Weight, x: State) -> tuple[State, _Factor]:
        centered = max(0.0, w.second_moment - w.mean * w.mean)
        shift = w.connections * w.mean * x.mean
        bias = w.bias_second_moment + 2 * shift * w.bias_mean
        # positions of a channel count as far as they are not alike
        taps = w.connections / w.independent
        alike = min(1.0, (x.covariance / x.q) ** 2) if x.q > 0 else 1.0
        terms = w.connections / (1 + max(0.0, taps - 1) * alike)
        q = w.connections * centered * x.q + shift * shift + bias
        gain = math.sqrt(w.connections * w.second_moment)
        if gain > 0 and x.slope:
            sigma = math.sqrt(w.connections * centered) or 1.0
            self.tolerances[number] = 1 / (math.sqrt(w.connections) * sigma * abs(x.slope))
        if x.unit > 0 and math.isfinite(x.unit):
            self.keeps[number] = 1 / math.sqrt(x.unit)
        answer = w.connections * centered * x.q / q if q > 0 else 1.0
        self.answers[number] = _Answer(
            answer, 0.0, (x.kurtosis - 1) / terms * answer**2, (x.joint - 1) / terms * answer
        )
        made = State(
            mean=shift + w.bias_mean,
            q=q,
            covariance=min(q, w.connections * centered * x.covariance + shift * shift + bias),
            variance=x.variance + (x.kurtosis - 1) / terms,
            channels=w.channels,
            assumed=x.assumed,
            slack=x.slack + _border(w),
        )
        return made, _Factor(
            w.connections * w.second_moment,
            (3 * x.kappa - 1) / terms,
            2 / terms + 2 / w.channels,
            slack=_border(w),
        )

    def _activation(self, number: int, node: Node, x: State) -> tuple[State | None, _Factor | None]:
        variance = x.q - x.mean * x.mean
        if not variance > 0:
            return None, None
        m = function_moments(node.data, x.mean, variance)
        if not (math.isfinite(m.second_moment) and math.isfinite(m.chi)):
            return None, None
        assumed = 0.0 if x.gaussian else ASSUMED
        correlation = min(1.0, max(-1.0, (x.covariance - x.mean * x.mean) / variance))
        made = State(
            mean=m.mean,
            q=m.second_moment,
            covariance=m.covariance(correlation),
            variance=m.strength**2 * x.variance,
            assumed=m.strength**2 * x.assumed + assumed,
            slack=abs(m.strength) * x.slack,
            kurtosis=m.kurtosis,
            slope=m.slope,
            kappa=m.kappa,
            joint=m.joint,
            unit=unit_second_moment(node.data),
            channels=x.channels,
            gaussian=False,
            source=(node.data, x.mean, variance),
        )
        self.answers[number] = _Answer(m.strength, m.steepness)
        of_units = 3 * (m.kappa - 1) / x.independent(node.sizes[0])
        spread = of_units + m.steepness**2 * x.variance
        assumed += m.steepness**2 * x.assumed + (_AGAIN if number in self._again else 0.0)
        together = 0.0 if number in self._weighed else of_units
        return made, _Factor(m.chi, together, spread, assumed, abs(m.steepness) * x.slack)

    def _norm(self, norm: Norm, x: State | None, node: Node) -> tuple[State | None, _Factor | None]:
        w2, b2 = norm.weight_second_moment, norm.bias_second_moment
        if norm.over == "fixed":
            if x is None:
                return None, _Factor(w2, assumed=ASSUMED)
            mean = norm.weight_mean * x.mean + norm.bias_mean
            q = w2 * x.q + 2 * norm.weight_mean * norm.bias_mean * x.mean + b2
            made = State(
                mean,
                q,
                w2 * x.covariance + b2,
                x.variance,
                assumed=x.assumed + ASSUMED,
                slack=x.slack,
                kurtosis=x.kurtosis,
                gaussian=x.gaussian,
            )
            return made, _Factor(w2, assumed=ASSUMED)
        if x is None:
            return State(norm.bias_mean, w2 + b2, b2), None
        spread = {
            "root": x.q,
            "sample": x.q - x.mean * x.mean,
            "batch": x.q - x.covariance,
        }[norm.over] + norm.eps
        if not spread > 0:
            return State(norm.bias_mean, w2 + b2, b2), None
        assumed = ASSUMED if norm.over == "batch" or node.label not in ("LayerNorm", "RMSNorm", "layer_norm") else 0.0
        shrunk = (spread - norm.eps) / spread
        centered = x.covariance - (0.0 if norm.over == "root" else x.mean * x.mean)
        made = State(
            mean=norm.bias_mean + (norm.weight_mean * x.mean / math.sqrt(spread) if norm.over == "root" else 0.0),
            q=w2 * shrunk + b2,
            covariance=b2 + (0.0 if norm.over == "batch" else w2 * centered / spread),
            kurtosis=x.kurtosis,
            gaussian=x.gaussian,
        )
        return made, _Factor(w2 / spread, 0.0, x.variance, x.assumed + assumed, x.slack)

    def _add(self, node: Node, states: list[State]) -> State:
        a, b = states
        sign = node.data
        if node.inputs[0] == node.inputs[1]:
            s = 1 + sign
            return a._replace(mean=s * a.mean, q=s * s * a.q, covariance=s * s * a.covariance, source=None)
        q = a.q + sign * sign * b.q + 2 * sign * a.mean * b.mean
        share = (a.q / q, sign * sign * b.q / q) if q > 0 else (0.0, 0.0)
        return State(
            mean=a.mean + sign * b.mean,
            q=q,
            covariance=a.covariance + sign * sign * b.covariance + 2 * sign * a.mean * b.mean,
            variance=share[0] ** 2 * a.variance + share[1] ** 2 * b.variance,
            assumed=share[0] ** 2 * a.assumed + share[1] ** 2 * b.assumed,
            slack=share[0] * a.slack + share[1] * b.slack,
            kurtosis=3 + share[0] ** 2 * (a.kurtosis - 3) + share[1] ** 2 * (b.kurtosis - 3),
            gaussian=a.gaussian and b.gaussian,
        )

    def _concatenate(self, node: Node, states: list[State]) -> State:
        sizes = np.array([self.sizes[i] for i in node.inputs], dtype=float)
        shares = sizes / sizes.sum()

        def mixed(name: str) -> float:
            return float(sum(s * getattr(state, name) for s, state in zip(shares, states, strict=True)))

        q = mixed("q")
        fourth = sum(s * state.kurtosis * state.q**2 for s, state in zip(shares, states, strict=True))
        return State(
            mean=mixed("mean"),
            q=q,
            covariance=mixed("covariance"),
            variance=max(state.variance for state in states),
            assumed=max(state.assumed for state in states),
            slack=max(state.slack for state in states),
            kurtosis=float(fourth / q**2) if q > 0 else 3.0,
            slope=mixed("slope"),
            kappa=max(state.kappa for state in states),
            gaussian=all(state.gaussian for state in states) and len({round(state.q, 12) for state in states}) == 1,
        )

    def _multiply(self, states: list[State]) -> tuple[State, _Factor]:
        a, b = states
        made = State(
            mean=a.mean * b.mean,
            q=a.q * b.q,
            covariance=a.covariance * b.covariance,
            variance=a.variance + b.variance,
            assumed=a.assumed + b.assumed + ASSUMED,
            slack=a.slack + b.slack,
            kurtosis=a.kurtosis * b.kurtosis,
            gaussian=False,
        )
        return made, _of_other(b)

    @staticmethod
    def _average(count: int, x: State) -> tuple[State, _Factor]:
        covariance = max(x.covariance, x.mean * x.mean)  # the mean square of the units' own means is at least that
        q = (x.q + (count - 1) * covariance) / count
        assumed = x.assumed + (ASSUMED if count > 1 else 0.0)
        made = x._replace(q=q, covariance=covariance, kurtosis=3.0, assumed=assumed, gaussian=False, source=None)
        return made, _Factor(1 / count)

    @staticmethod
    def _maximum(count: int, x: State) -> tuple[State | None, _Factor]:
        """The largest of independent positions; of an increasing function of Gaussians it is that of the largest."""
        mean, variance = x.mean, x.q - x.mean * x.mean
        evaluate: Any = None
        if x.source is not None:
            function, mean, variance = x.source
            evaluate = function.evaluate
        elif not x.gaussian:
            return None, _Factor(1.0, assumed=ASSUMED)
        if not variance > 0:
            return None, _Factor(1.0, assumed=ASSUMED)
        from scipy.special import ndtr

        z, weights = panels(np.arange(-EDGE, EDGE + _PANEL, _PANEL), 12)
        weights = weights * np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * count * ndtr(z) ** (count - 1)
        values = mean + math.sqrt(variance) * z
        if evaluate is not None:
            values = evaluate(values)[0]
        mean, q = float(weights @ values), float(weights @ values**2)
        made = State(mean, q, mean * mean, x.variance, x.assumed + ASSUMED, x.slack, gaussian=False)
        return made, _Factor(1.0, assumed=ASSUMED)


def _border(w: Weight) -> float:
    return -math.log1p(-min(w.border, 0.9))


def _of_other(other: State) -> _Factor:
    """What a product does to the gradient of one side."""
    return _Factor(other.q, other.variance, other.variance, other.assumed + ASSUMED, other.slack)


def _backward(graph: Graph, walk: _Forward) -> dict[int, _Gradient | None]:
    """Expected squared norm of the gradient with respect to every value, per sample; None where it is not known."""
    found: dict[int, _Gradient | None] = {}
    for out in graph.outputs:
        size = walk.sizes.get(out, 1)
        _collect(found, out, _Gradient(float(size), 2 / size, 0.0, 0.0))
    for number in reversed(range(len(graph.nodes))):
        node = graph.nodes[number]
        parts = [found[out] for out in node.outputs if out in found]
        if not parts or not node.inputs:
            continue
        gradient = _sum(parts)
        factor = walk.factors[number]
        answer = walk.answers.get(number, _Answer())
        shares = [1.0] * len(node.inputs)
        if node.kind == "concatenate":
            sizes = [walk.sizes[i] for i in node.inputs]
            shares = [size / sum(sizes) for size in sizes]
        elif node.kind == "add":
            shares = [1.0, node.data**2]
        for i, (value, share) in enumerate(zip(node.inputs, shares, strict=True)):
            own = factor
            if node.kind == "multiply":
                other = walk.states.get(node.inputs[1 - i])
                own = None if other is None else _of_other(other)
            if gradient is None or own is None or (node.kind == "unknown"):
                _collect(found, value, None)
            else:
                r = gradient.response
                of_q = r * r * answer.fresh + 2 * r * answer.common
                part = walk.share(node, value) if node.kind == "add" else answer.q
                _collect(
                    found,
                    value,
                    _Gradient(
                        gradient.norm * own.mean * share,
                        gradient.variance + max(0.0, own.variance + of_q),
                        gradient.assumed + own.assumed,
                        gradient.slack + own.slack,
                        r * part + answer.growth,
                    ),
                )
    return found


def _collect(found: dict[int, _Gradient | None], value: int, more: _Gradient | None) -> None:
    found[value] = _sum([found[value], more]) if value in found else more


def _sum(parts: list[_Gradient | None]) -> _Gradient | None:
    """Gradients that come together are uncorrelated."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if len(known) == 1:
        return known[0]
    total = sum(part.norm for part in known)
    if not total > 0:
        return known[0]
    return _Gradient(
        total,
        sum((part.norm / total) ** 2 * part.variance for part in known),
        sum((part.norm / total) ** 2 * part.assumed for part in known),
        sum(part.norm / total * part.slack for part in known),
        sum(part.norm / total * part.response for part in known),
    )
