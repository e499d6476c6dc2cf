"""A user's own model: predict it layer by layer, measure it, say where it breaks and what would mend it."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
import os
import re
import sys
import time
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.engine import device as devices
from snn_cli.errors import CannotCompute, InputError, MissingExtra
from snn_cli.exact import nearest_double, positive_integer, rational
from snn_cli.propagation.model import propagate
from snn_cli.propagation.paths import Averages, in_branch, resting
from snn_cli.records import Advice, ModelEstimates, ModelLayer, ModelPrediction, ModelReport, ModelVerdict, Note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from snn_cli.engine.model import Measurement
    from snn_cli.exact import Number
    from snn_cli.graph import Graph, Node
    from snn_cli.propagation.model import Step

DEFAULT_BATCH, DEFAULT_TRIALS = 8, 4

DEVIATIONS = 4.0
"""Deviations at its width by which a layer may be off before it is called unexpected."""

LEAST = 0.02
"""What every prediction is allowed to be off by at least, as a logarithm: terms of second order in 1/fan-in."""

MOST_ADVICE = 5
_IDLE = frozenset(["Identity", "Flatten", "Unflatten", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d"])
_NOTICED = 0.05  # gain off by this share is worth a word
_EXAMPLE = "--model mypackage.models:make_net --input 3x64x64"


class _Case(NamedTuple):
    """A model and what is given to it."""

    model: Any
    arguments: tuple[Any, ...]
    named: dict[str, Any]


def verify_model(
    model: torch.nn.Module,
    batch: Any,
    *,
    max_growth: Number | None = None,
    seed: int | str = 0,
    theory: bool = True,
) -> ModelReport:
    """Measure a live model with the user's own batch, layer by layer, and leave it bit for bit as it was.

    model
        Any ``torch.nn.Module``, in whatever mode, on whatever device it is.
    batch
        What it is called with: a tensor, a tuple or list of positional arguments, or a dictionary of named ones. The
        first dimension of the first tensor counts the samples.
    max_growth
        Factor that the squared gradient may grow or shrink by on its way back to the input. It is about what repeats
        with depth: average pooling over n positions that every path passes divides the squared gradient by n, once and
        whatever the weights, and is not counted (``averaged`` in the report).
    seed
        Of the random gradient ``N(0, I)`` at what the model returns.
    theory
        Whether every layer is held against what random weights of its moments would do.

    Raises InputError for what is no model, CannotCompute where it raises or no gradient comes through. Weights,
    buffers, gradients, hooks, mode and random states are afterwards what they were.
    """
    started = time.perf_counter()
    devices.require_torch()
    factor = _factor(max_growth)
    number = _seed(seed)
    case = _case(model, batch)
    measured = [_measure(case, number)]
    theories = [_trace(case)] if theory else []
    graph = theories[0].graph if theories else _graph(case) if factor is not None else None
    first = next(case.model.parameters())
    return _report(
        type(case.model).__name__, case, measured, theories, graph, str(first.device),
        str(first.dtype).removeprefix("torch."), number, "live", factor, time.perf_counter() - started, rebuilt=False,
    )  # fmt: skip


def simulate_model(model: torch.nn.Module, batch: Any) -> ModelPrediction:
    """Predict every layer of a live model from the moments of its weights, without a backward pass.

    Arguments as for `verify_model`. Layers are read from a forward pass; what theory cannot follow is named in
    ``unfollowed``, and predicted up to there. Source: theory, sections 1, 4 and 5; branches by the addition rule of
    block dynamical isometry.
    """
    devices.require_torch()
    return _prediction(_case(model, batch))


def verify_path(
    model: str | Callable[[], Any],
    input: str | None = None,  # noqa: A002
    *,
    batch: int | str | None = None,
    trials: int | str | None = None,
    seed: int | str = 0,
    device: str = "cpu",
    dtype: str = "float32",
    max_growth: Number | None = None,
    weights_from: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ModelReport:
    """Build the model ``trials`` times, and measure it on samples ``N(0, 1)`` of the shape ``input``.

    model
        ``package.module:callable`` (the current directory counts), or the callable: it takes nothing and returns the
        model.
    input
        Shape of one sample, such as ``3x64x64``; several inputs with commas; ``16@1000`` are whole numbers below 1000.
    weights_from
        A safetensors file with the weights: then each trial has the same, and samples of its own.

    Raises as `verify_model`, and InputError for a path or a shape that is none.
    """
    started = time.perf_counter()
    request = _request(model, input, batch, trials, seed, device, dtype, max_growth)
    place = devices.resolve(device)
    measured: list[Measurement] = []
    theories: list[_Theory] = []
    case, same = None, weights_from is not None
    built: Any = None
    for trial in range(request.trials):
        before = built
        case = _build(request, trial, place, weights_from)
        built = case.model
        same = same or built is before
        measured.append(_measure(case, _derived(request.seed, trial, "gradient")))
        theories.append(_trace(case))
        if progress is not None:
            progress(trial + 1, request.trials)
    assert case is not None
    return _report(
        request.name, case, measured, theories, theories[0].graph, str(place), dtype, request.seed,
        "as built" if weights_from is None else os.path.basename(weights_from), request.factor,
        time.perf_counter() - started, rebuilt=not same,
    )  # fmt: skip


def simulate_path(
    model: str | Callable[[], Any],
    input: str | None = None,  # noqa: A002
    *,
    seed: int | str = 0,
    weights_from: str | None = None,
) -> ModelPrediction:
    """`simulate_model` of a model built once, on samples ``N(0, 1)`` of the shape ``input``; as for `verify_path`."""
    request = _request(model, input, None, 1, seed, "cpu", "float32", None)
    prediction = _prediction(_build(request, 0, devices.resolve("cpu"), weights_from))
    return ModelPrediction(**{**_fields(prediction), "model": request.name})


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def arguments(function: Callable[..., Any], given: Mapping[str, Any], of_models: Callable[..., Any]) -> dict[str, Any]:
    """Of ``given``, by name, what was given to ``function`` about a model, to be handed to ``of_models``.

    Raises InputError for what says nothing about a model, or without one.
    """
    if given["model"] is None:
        raise InputError("--input and --weights-from need --model", "--model mypackage.models:make_net --input 3x64x64")
    known = inspect.signature(of_models).parameters
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if given[name] is parameter.default or given[name] == parameter.default:
            continue
        if name not in known and name != "profile":
            raise InputError(f"{name} says nothing about a model: it is what it is", f"leave out {name}")
        found[name] = given[name]
    return {name: value for name, value in found.items() if name in known}


# What is asked for


class _Request(NamedTuple):
    name: str
    make: Callable[[], Any]
    inputs: tuple[tuple[tuple[int, ...], int | None], ...]
    batch: int
    trials: int
    seed: int
    dtype: str
    factor: float | None


def _request(
    model: str | Callable[[], Any],
    shape: str | None,
    batch: int | str | None,
    trials: int | str | None,
    seed: int | str,
    device: str,
    dtype: str,
    max_growth: Number | None,
) -> _Request:
    devices.check_names(device, dtype)
    if isinstance(model, str):
        _split(model)
    if shape is None:
        raise InputError("--model needs --input, the shape of one sample", _EXAMPLE)
    shapes = parse_input(shape)
    count = DEFAULT_BATCH if batch is None else positive_integer(batch, "--batch")
    networks = DEFAULT_TRIALS if trials is None else positive_integer(trials, "--trials")
    number, factor = _seed(seed), _factor(max_growth)
    devices.require_torch()
    if isinstance(model, str):
        name, make = model, load(model)
    else:
        name, make = getattr(model, "__name__", type(model).__name__), _maker(model, "model")
    return _Request(name, make, shapes, count, networks, number, dtype, factor)


def parse_input(text: str) -> tuple[tuple[tuple[int, ...], int | None], ...]:
    """Shapes of one sample, and the bound of whole numbers or None for ``N(0, 1)``. Raises InputError."""
    found = []
    for part in str(text).split(","):
        match = re.fullmatch(r"\s*(\d+(?:[xX]\d+)*)\s*(?:@\s*(\d+))?\s*", part, re.ASCII)
        if match is None:
            raise InputError(
                f"--input is {text}; it takes the shape of one sample, such as 3x64x64, or 16@1000 for 16 whole "
                "numbers below 1000",
                "--input 3x64x64",
            )
        shape = tuple(int(n) for n in re.split("[xX]", match[1]))
        bound = None if match[2] is None else int(match[2])
        if 0 in shape or bound == 0:
            raise InputError(f"--input is {text}; every size must be at least 1", "--input 3x64x64")
        if math.prod(shape) > 10**10:
            raise InputError(f"--input is {text}; that is {math.prod(shape)} numbers a sample", "--input 3x64x64")
        found.append((shape, bound))
    return tuple(found)


def _split(path: str) -> tuple[str, str]:
    module_name, colon, name = path.partition(":")
    if not colon or not name or not module_name:
        hint = _EXAMPLE
        if path.endswith(".py") and os.path.exists(path):
            hint = f"--model {os.path.splitext(path)[0].replace(os.sep, '.')}:make_net"
        raise InputError(f"--model is {path}; it takes package.module:callable", hint)
    return module_name, name


def load(path: str) -> Callable[[], Any]:
    """The callable at ``package.module:name``, with the current directory importable. Raises InputError."""
    module_name, name = _split(path)
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise InputError(
                f"--model {path}: there is no module {error.name} here or among the installed ones",
                "a path such as mypackage.models:make_net, from the folder that holds mypackage",
            ) from None
        raise InputError(f"--model {path}: {module_name} imports {error.name}, which is not there", None) from error
    except Exception as error:
        raise InputError(
            f"--model {path}: importing {module_name} raises {type(error).__name__}: {_line(error)}", None
        ) from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = get_close_matches(part, [n for n in dir(found) if not n.startswith("_")], n=1)
            raise InputError(
                f"--model {path}: {module_name} has no {part}",
                f"--model {module_name}:{near[0]}" if near else f"a name that {module_name} defines",
            )
        found = getattr(found, part)
    return _maker(found, f"--model {path}")


def _maker(found: Any, path: str) -> Callable[[], Any]:
    torch = devices.require_torch()
    if isinstance(found, torch.nn.Module):
        return lambda: found
    if not callable(found):
        raise InputError(f"{path} is a {type(found).__name__}, not a function that returns a model", _EXAMPLE)
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise InputError(
            f"{path} cannot be called without arguments: {error}",
            "a function of no arguments, such as def make_net(): return Net(width=64)",
        ) from None
    except ValueError:  # no signature to be had
        pass

    def make() -> Any:
        try:
            return found()
        except Exception as error:
            raise InputError(f"{path} raises {type(error).__name__}: {_line(error)}", None) from error

    return make


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else "without a message"


def _seed(seed: int | str) -> int:
    exact = rational(seed, "--seed")
    if exact.denominator != 1 or not 0 <= exact < 2**63:
        raise InputError(f"--seed is {seed}; it must be a whole number from 0 to 2^63 - 1", "--seed 0")
    return int(exact)


def _factor(max_growth: Number | None) -> float | None:
    if max_growth is None:
        return None
    factor = rational(max_growth, "--max-growth")
    if factor < 1:
        raise InputError("--max-growth must be at least 1", "--max-growth 10")
    return nearest_double(factor)


def _derived(seed: int, trial: int, what: str) -> int:
    digest = hashlib.blake2b(f"{seed}:{trial}:{what}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


# Building, measuring


def _build(request: _Request, trial: int, place: torch.device, weights_from: str | None) -> _Case:
    torch = devices.require_torch()
    from snn_cli.engine.model import require_module

    kind = getattr(torch, request.dtype)
    with torch.random.fork_rng(devices=[place.index or 0] if place.type == "cuda" else []):
        torch.manual_seed(_derived(request.seed, trial, "weights"))
        model = require_module(request.make(), request.name)
    model.to(place)
    if kind is not torch.float32:
        model.to(kind)
    if weights_from is not None:
        _load_weights(model, weights_from)
    generator = torch.Generator().manual_seed(_derived(request.seed, trial, "inputs"))
    given = []
    for shape, bound in request.inputs:
        size = (request.batch, *shape)
        if bound is None:
            given.append(torch.randn(size, generator=generator).to(place, kind))
        else:
            given.append(torch.randint(bound, size, generator=generator).to(place))
    return _Case(model, tuple(given), {})


def _load_weights(model: Any, path: str) -> None:
    """Raises InputError for a file that is none, or does not fit."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise MissingExtra("reading weights from a file", "safetensors", "weights") from None
    if not os.path.isfile(path):
        raise InputError(f"--weights-from {path} is no file", "--weights-from model.safetensors")
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"--weights-from {path} is not a safetensors file: {_line(error)}",
            "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')",
        ) from None
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        lines = [text.strip() for text in str(error).splitlines()[1:]] or [_line(error)]
        raise InputError(f"--weights-from {path} does not fit the model: {lines[0]}", None) from None
    if missing or unexpected:
        parts = [f"it lacks {missing[0]}"] if missing else []
        parts += [f"the model has no {unexpected[0]}"] if unexpected else []
        raise InputError(
            f"--weights-from {path} does not fit the model: {' and '.join(parts)} "
            f"({len(missing)} missing, {len(unexpected)} unexpected)",
            None,
        )


def _case(model: Any, batch: Any) -> _Case:
    from snn_cli.engine.model import require_module, tensors

    require_module(model, "the model")
    if isinstance(batch, dict):
        case = _Case(model, (), dict(batch))
    elif isinstance(batch, (tuple, list)) and not hasattr(batch, "_fields"):
        case = _Case(model, tuple(batch), {})
    else:
        case = _Case(model, (batch,), {})
    given = tensors((case.arguments, case.named))
    if not given:
        raise InputError(
            "the batch holds no tensor; it is a tensor, a tuple of arguments, or a dictionary of named ones", None
        )
    if not given[0].numel():
        raise InputError("the batch holds no sample", None)
    return case


def _measure(case: _Case, seed: int) -> Measurement:
    from snn_cli.engine.model import measure_model

    return measure_model(case.model, case.arguments, case.named, seed)


def _graph(case: _Case) -> Graph:
    from snn_cli.engine.trace import trace

    return trace(case.model, case.arguments, case.named)


def _trace(case: _Case) -> _Theory:
    graph = _graph(case)
    return _Theory(graph, propagate(graph))


# Predictions


class _Predicted(NamedTuple):
    node: Node
    step: Step


class _Theory(NamedTuple):
    """A traced model and what is predicted for each of its operations."""

    graph: Graph
    steps: list[Step]


def _by_call(theory: _Theory) -> dict[tuple[str, int], _Predicted]:
    return {
        (node.name, node.call): _Predicted(node, step)
        for node, step in zip(theory.graph.nodes, theory.steps, strict=True)
        if node.call >= 0
    }


def _ends(theory: _Theory) -> tuple[float | None, float]:
    """Predicted log growth from what the model returns to its inputs, and its deviation."""
    graph = theory.graph
    inputs = [step for node, step in zip(graph.nodes, theory.steps, strict=True) if node.kind == "input"]
    returned = _returned(graph)
    known = [step.gradient for step in inputs if step.gradient is not None]
    if not inputs or len(known) < len(inputs) or not returned or not sum(known) > 0:
        return None, 0.0
    return math.log(sum(known) / returned), math.sqrt(max(step.gradient_variance for step in inputs))


def _returned(graph: Graph) -> int:
    """Elements per sample of what the model returns."""
    sizes = {out: size for node in graph.nodes for out, size in zip(node.outputs, node.sizes, strict=True)}
    return sum(sizes.get(out, 0) for out in graph.outputs)


def _mean_ends(theories: Sequence[_Theory]) -> tuple[float | None, float]:
    ends = [_ends(theory) for theory in theories]
    growths = [growth for growth, _ in ends if growth is not None]
    if not growths or len(growths) < len(ends):
        return None, 0.0
    return sum(growths) / len(growths), max(deviation for _, deviation in ends)


def _predictions(theories: Sequence[_Theory]) -> dict[tuple[str, int], _Predicted]:
    """Of every call: the steps of the first network, with geometric means of q and of the gradients over all."""
    each = [_by_call(theory) for theory in theories]
    found = {}
    for key, (node, step) in (each[0] if each else {}).items():
        others = [steps[key].step for steps in each if key in steps]
        state = step.state
        states = [other.state for other in others if other.state is not None]
        if state is not None and len(states) == len(each):
            mean = sum(s.mean for s in states) / len(states)
            state = state._replace(q=_geometric([s.q for s in states]) or state.q, mean=mean)
        gradient, growth = (_geometric([getattr(s, name) for s in others]) for name in ("gradient", "growth"))
        found[key] = _Predicted(node, step._replace(state=state, gradient=gradient, growth=growth))
    return found


def _unfollowed(graph: Graph) -> tuple[str, ...]:
    names = [
        f"{node.name} ({node.label})" if node.name else node.label for node in graph.nodes if node.kind == "unknown"
    ]
    return tuple(dict.fromkeys(names))


def _weight_layers(graph: Graph) -> int:
    return sum(node.kind == "weight" for node in graph.nodes)


def _prediction(case: _Case) -> ModelPrediction:
    from snn_cli.engine.model import fan_in

    theory = _trace(case)
    calls = _calls(theory.graph)
    modules = dict(case.model.named_modules())
    layers = []
    for (name, number), (node, step) in _by_call(theory).items():
        state = step.state
        layers.append(
            ModelLayer(
                name=_label(name, number),
                kind=node.label,
                fan_in=fan_in(modules[name]) if name in modules else None,
                q=None if state is None else state.q,
                mean=None if state is None else state.mean,
                gradient=step.gradient,
                growth=step.growth,
                q_allowed=None if state is None else _allowed(state.variance, state.assumed, state.slack, 1),
                growth_allowed=_growth_allowed(step, 1),
                gradient_allowed=_gradient_allowed(step, 1),
                averaged=calls[(name, number)].averaged,
                **_weights(node, step),
            )
        )
    growth, deviation = _ends(theory)
    depth = _weight_layers(theory.graph)
    return ModelPrediction(
        model=type(case.model).__name__,
        depth=depth,
        gradient=_estimates(growth, None, deviation if growth is not None else None, depth),
        gradient_out=float(_returned(theory.graph)) or None,
        layers=tuple(layers),
        unfollowed=_unfollowed(theory.graph),
        notes=(),
    )


def _label(name: str, number: int) -> str:
    return (name or "(model)") + (f"#{number + 1}" if number else "")


def _allowed(variance: float, assumed: float, slack: float, trials: int) -> float:
    """A factor: deviations of the mean over networks, the shift of a mean of logarithms, and what was assumed."""
    log = DEVIATIONS * math.sqrt(variance / trials + assumed) + variance + slack + LEAST
    return math.exp(min(log, 700.0))


def _growth_allowed(step: Step, trials: int) -> float | None:
    if step.growth is None:
        return None
    return _allowed(step.growth_variance, step.growth_assumed, step.growth_slack, trials)


def _gradient_allowed(step: Step, trials: int) -> float | None:
    if step.gradient is None:
        return None
    return _allowed(step.gradient_variance, step.gradient_assumed, step.gradient_slack, trials)


def _weights(node: Node, step: Step) -> dict[str, Any]:
    if node.kind != "weight":
        return {}
    w = node.data
    spread = w.second_moment - w.mean**2
    return {
        "gain": math.sqrt(w.connections * max(0.0, w.second_moment)),
        "gain_kept": step.keeps,
        "weight_mean": w.mean / math.sqrt(spread) if spread > 0 else None,
        "weight_mean_tolerance": step.tolerance,
    }


def _estimates(growth: float | None, error: float | None, deviation: float | None, depth: int) -> ModelEstimates:
    share = None if growth is None or not depth else growth / depth
    return ModelEstimates(share, None if error is None or not depth else error / depth, growth, error, deviation)


# The report


class _Seen(NamedTuple):
    """One call of a layer over all trials: geometric means of what is positive."""

    q: float | None
    mean: float | None
    gradient: float | None
    gradient_in: float | None
    growth: float | None


class _Call(NamedTuple):
    """Where one call of a layer is in the model.

    ``number``, ``kind``: of its operation; ``averaged``, ``averaged_in``: positions that pooling on every path averages
    behind its output and behind its input; ``rests``: whether what theory cannot follow feeds it.
    """

    number: int | None = None
    kind: str | None = None
    averaged: int = 1
    averaged_in: int = 1
    rests: bool = False


def _calls(graph: Graph | None) -> dict[tuple[str, int], _Call]:
    if graph is None:
        return {}
    averages, unsure = Averages(graph), resting(graph)
    return {
        (node.name, node.call): _Call(number, node.kind, *averages.across(number), number in unsure)
        for number, node in enumerate(graph.nodes)
        if node.call >= 0
    }


def _seen(measured: Sequence[Measurement], i: int) -> _Seen:
    rows = [m.layers[i] for m in measured]
    growth = [
        None if row.gradient is None or row.gradient_in is None else _ratio(row.gradient_in, row.gradient)
        for row in rows
    ]
    return _Seen(
        _geometric([row.q for row in rows]),
        _finite(sum(row.mean for row in rows) / len(rows)),
        _geometric([row.gradient for row in rows]),
        _geometric([row.gradient_in for row in rows]),
        _geometric(growth),
    )


def _ratio(a: float, b: float) -> float | None:
    return a / b if b else None


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _geometric(values: Sequence[float | None]) -> float | None:
    known = [x for x in values if x is not None]
    if len(known) < len(values) or not known:
        return None
    if not all(math.isfinite(x) and x >= 0 for x in known):
        return None
    if any(x == 0 for x in known):
        return 0.0
    return math.exp(sum(math.log(x) for x in known) / len(known))


def _report(
    name: str,
    case: _Case,
    measured: list[Measurement],
    theories: Sequence[_Theory],
    graph: Graph | None,
    device: str,
    dtype: str,
    seed: int,
    weights: str,
    factor: float | None,
    seconds: float,
    *,
    rebuilt: bool,
) -> ModelReport:
    from snn_cli.engine.model import tensors

    shape = [(row.name, row.call, row.kind) for row in measured[0].layers]
    if any([(row.name, row.call, row.kind) for row in m.layers] != shape for m in measured):
        raise CannotCompute("the model runs other layers each time it is built", "--trials 1")
    predicted = _predictions(theories)
    networks = len(measured) if rebuilt else 1
    places = _calls(graph)
    calls = [places.get((row.name, row.call), _Call()) for row in measured[0].layers]
    layers, seen = [], [_seen(measured, i) for i in range(len(shape))]
    for i, row in enumerate(measured[0].layers):
        layer = _layer(row, seen[i], predicted.get((row.name, row.call)), networks)
        layer = layer._replace(averaged=calls[i].averaged if graph is not None else None)
        layers.append(layer._replace(expected=None) if calls[i].rests else layer)
    depth = sum(layer.fan_in is not None for layer in layers) if not theories else _weight_layers(theories[0].graph)
    growths = [_log_growth(m) for m in measured]
    known = [g for g in growths if g is not None]
    growth = sum(known) / len(known) if len(known) == len(growths) and known else None
    error = None
    if growth is not None and len(known) > 1:
        error = math.sqrt(sum((g - growth) ** 2 for g in known) / (len(known) - 1) / len(known))
    averaged = None if graph is None else _averaged(measured[0], graph, calls)
    within = None
    if factor is not None:
        counted = [abs(g + math.log(averaged or 1)) for g in known]
        within = growth is not None and sum(counted) / len(known) <= math.log(factor)
    broken = next((i for i, s in enumerate(seen) if s.q is None), None)
    violation = None if factor is None else _violation(measured, layers, seen, calls, math.log(factor))
    number = None if violation is None else calls[violation].number
    foretold, deviation = _mean_ends(theories)
    expected = [layer.expected for layer in layers if layer.expected is not None]
    first = tensors((case.arguments, case.named))[0]
    notes = [Note.ONE_TRIAL] if len(measured) == 1 else []
    if broken is not None:
        notes.append(Note.BROKEN)
    verdict = ModelVerdict(all(expected) if expected else None, within, factor)
    report = ModelReport(
        model=name,
        depth=depth,
        batch=first.shape[0] if first.dim() else 1,
        trials=len(measured),
        device=device,
        dtype=dtype,
        seed=seed,
        weights=weights,
        measured=_estimates(growth, error, None, depth),
        theory=_estimates(foretold, None, deviation if foretold is not None else None, depth),
        verdict=verdict,
        gradient_out=_geometric([m.gradient_out for m in measured]),
        first_violation=None if violation is None else layers[violation].name,
        violation_at=None,
        violation_in_branch=None if number is None or graph is None else in_branch(graph, number),
        averaged=averaged,
        broken_layer=broken,
        layers=tuple(layers),
        unfollowed=() if not theories else _unfollowed(theories[0].graph),
        left_out=_left_out(case.model, measured[0]),
        advice=(),
        notes=tuple(notes),
        seconds=seconds,
        networks_per_second=len(measured) / seconds if seconds else 0.0,
        peak_memory=devices.peak_memory(devices.require_torch().device(device)),
    )
    if violation is not None:
        report = replace(report, violation_at=_farthest(report, violation, calls)[0])
    return replace(report, advice=_advice(report, violation, calls))


def _layer(row: Any, seen: _Seen, predicted: _Predicted | None, networks: int) -> ModelLayer:
    plain = ModelLayer(_label(row.name, row.call), row.kind, row.fan_in, seen.q, seen.mean, seen.gradient, seen.growth)
    if predicted is None:
        return plain
    node, step = predicted
    state = step.state
    plain = plain._replace(**_weights(node, step), growth_theory=step.growth, gradient_theory=step.gradient)
    plain = plain._replace(
        growth_allowed=_growth_allowed(step, networks), gradient_allowed=_gradient_allowed(step, networks)
    )
    expected = []
    if state is not None:
        units = 2 / state.independent(max(1, row.units))  # chance of the units themselves
        allowed = _allowed(state.variance + units, state.assumed, state.slack, networks)
        plain = plain._replace(q_theory=state.q, mean_theory=state.mean, q_allowed=allowed)
        expected.append(_near(seen.q, state.q, allowed))
    if plain.growth_allowed is not None and step.growth is not None and seen.growth is not None:
        expected.append(_near(seen.growth, step.growth, plain.growth_allowed))
    return plain._replace(expected=all(expected) if expected else None)


def _near(value: float | None, other: float, allowed: float) -> bool:
    if value is None:
        return False
    if value <= 0 or other <= 0:
        return value == other
    return abs(math.log(value / other)) <= math.log(allowed)


def _log_growth(m: Measurement) -> float | None:
    """From what the model returns to its input; where that takes no gradient, to the first layer that does."""
    last = m.gradient_in
    if last is None:
        last = next((row.gradient for row in m.layers if row.gradient is not None), None)
    if last is None or not last > 0 or not m.gradient_out > 0 or not math.isfinite(last):
        return None
    return math.log(last / m.gradient_out)


def _averaged(m: Measurement, graph: Graph, calls: Sequence[_Call]) -> int:
    """Positions averaged on the whole way that `_log_growth` is of."""
    if m.gradient_in is not None:
        return Averages(graph).of_inputs()
    return next((place.averaged for row, place in zip(m.layers, calls, strict=True) if row.gradient is not None), 1)


def _violation(
    measured: Sequence[Measurement],
    layers: Sequence[ModelLayer],
    seen: Sequence[_Seen],
    calls: Sequence[_Call],
    limit: float,
) -> int | None:
    """Coming from the output, the first layer on a side of which the gradient has left the budget.

    Average pooling that every path passes is not counted.
    """
    start = _geometric([m.gradient_out for m in measured])
    for i in reversed(range(len(layers))):
        if layers[i].kind in _IDLE or (seen[i].gradient is None and seen[i].q is not None):
            continue
        out, into = seen[i].gradient, seen[i].gradient_in
        sides = [] if out is None else [out * calls[i].averaged]
        sides += [] if into is None else [into * calls[i].averaged_in]
        if not sides or not start or any(not x > 0 or abs(math.log(x / start)) > limit for x in sides):
            return i
    return None


def _left_out(model: Any, m: Measurement) -> tuple[str, ...]:
    """What the measurement could not see, in words."""
    from snn_cli.engine.model import leaves

    found = []
    called = {row.name for row in m.layers}
    unused = [name for name, module in leaves(model) if name not in called and any(True for _ in module.parameters())]
    if unused:
        found.append(f"not called in the forward pass: {_some(unused)}")
    blind = [_label(row.name, row.call) for row in m.layers if row.gradient is None]
    if blind:
        found.append(f"no gradient comes by: {_some(blind)}")
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    if frozen:
        found.append(f"frozen, but measured like the others: {_some(frozen)}")
    whole = [name for name, p in model.named_parameters() if not p.is_floating_point()]
    if whole:
        found.append(f"whole numbers, not weights: {_some(whole)}")
    training = [
        name for name, module in model.named_modules()
        if module.training and "BatchNorm" in type(module).__name__
    ]  # fmt: skip
    if training:
        found.append(f"normalized over this batch, as in training: {_some(training)}")
    return tuple(found)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# What to do


def _advice(report: ModelReport, violation: int | None, calls: Sequence[_Call]) -> tuple[Advice, ...]:
    """The most important findings first; each has the number it stands on."""
    found: list[Advice] = []
    layers = report.layers
    if report.broken_layer is not None:
        layer = layers[report.broken_layer]
        before = [x.q for x in layers[: report.broken_layer] if x.q is not None]
        found.append(Advice("broken", layer.name, before[-1] if before else None, None, None))
    causes = _causes(report, violation, calls)
    if violation is not None:
        layer = layers[violation]
        growth = _farthest(report, violation, calls)[1]
        found.append(Advice("violation", layer.name, growth, report.verdict.max_growth, None))
    found += causes
    found += _means(report)
    deviation = report.theory.log_growth_sd
    limit = math.log(report.verdict.max_growth or 10.0)
    if deviation is not None and deviation > limit / 2:
        found.append(Advice("fan-in", None, math.exp(min(deviation, 700)), report.verdict.max_growth, "wider layers"))
    odd = [layer for layer in layers if layer.expected is False]
    if odd and report.broken_layer is None:
        layer = odd[0]
        if layer.q_theory and layer.q and not _near(layer.q, layer.q_theory, layer.q_allowed or 1.0):
            found.append(Advice("unexpected-q", layer.name, layer.q, layer.q_theory, None))
        else:
            last = odd[-1]
            found.append(Advice("unexpected-growth", last.name, last.growth, last.growth_theory, None))
    if not found:
        code = "fine" if report.verdict.max_growth is not None else "no-budget"
        growth = _counted(report)
        value = None if growth is None else math.exp(min(growth, 700.0))
        found.append(Advice(code, None, value, report.verdict.max_growth, None))
    return tuple(found[:MOST_ADVICE])


def _counted(report: ModelReport) -> float | None:
    """Log growth from output to input, but for average pooling that every path passes."""
    growth = report.measured.log_growth
    return None if growth is None else growth + math.log(report.averaged or 1)


def _farthest(report: ModelReport, i: int, calls: Sequence[_Call]) -> tuple[str | None, float | None]:
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


def _causes(report: ModelReport, violation: int | None, calls: Sequence[_Call]) -> list[Advice]:
    """Where the gradient is gained or lost: in the weights' gains, in activations, normalizations, average pooling."""
    factor = report.verdict.max_growth
    growth = _counted(report)
    if violation is None and (growth is None or abs(growth) <= math.log(factor or 10.0)):
        return []
    first = violation or 0
    excess: dict[str, list[tuple[float, ModelLayer]]] = {
        "gain": [], "activation": [], "normalization": [], "pooling": []
    }  # fmt: skip
    kept = 1.0
    for row, place in zip(report.layers[first:], calls[first:], strict=True):
        if row.gain and row.gain_kept:
            kept = row.gain_kept
            excess["gain"].append((2 * math.log(row.gain / kept), row))
        elif row.fan_in is None and row.growth and row.growth > 0:
            if "Norm" in row.kind:
                excess["normalization"].append((math.log(row.growth), row))
            elif place.kind == "average":
                excess["pooling"].append((math.log(row.growth * place.averaged_in / place.averaged), row))
            elif place.kind == "activation" and row.growth_theory is not None and row.q and row.q > 0:
                excess["activation"].append((math.log(row.growth), row))
    # of an activation counts what the gain that keeps q leaves
    for i, (log, row) in enumerate(excess["activation"]):
        after = next((x.gain_kept for x in report.layers[report.layers.index(row) + 1 :] if x.gain_kept), None)
        excess["activation"][i] = (log + 2 * math.log(after), row) if after else (0.0, row)
    totals = {code: sum(log for log, _ in parts) for code, parts in excess.items()}
    if violation is not None:
        relative = _farthest(report, violation, calls)[1]
        sign = 1.0 if relative is None or relative >= 1 else -1.0
    else:
        sign = 1.0 if growth is not None and growth > 0 else -1.0
    found = []
    for code in sorted(totals, key=lambda code: -sign * totals[code]):
        total, parts = totals[code], excess[code]
        if not parts or sign * total < max(_NOTICED, 0.2 * math.log(factor or 10.0)):
            continue
        row = max(parts, key=lambda part: sign * part[0])[1]
        if code == "gain" and row.gain_kept is not None and row.fan_in:
            deviation = row.gain_kept / math.sqrt(row.fan_in)
            do = (
                f"torch.nn.init.normal_(model.get_submodule({row.name.partition('#')[0]!r}).weight, 0, {deviation:.6g})"
            )
            found.append(Advice("gain", row.name, row.gain, row.gain_kept, do))
        elif code == "activation":
            count = max(1, len(parts))
            room = math.log(factor or 10.0) / max(report.depth, count)
            do = f"snn solve --act lselu --epsilon {math.expm1(min(room, 0.5)):.3g}"
            found.append(Advice("activation", row.name, math.exp(total / count), math.exp(room), do))
        else:
            found.append(Advice(code, row.name, row.growth, None, None))
    return found[:2]


def _means(report: ModelReport) -> list[Advice]:
    worst, share = None, 1.0
    for row in report.layers:
        if row.weight_mean and row.weight_mean_tolerance and row.fan_in:
            ratio = abs(row.weight_mean) / row.weight_mean_tolerance
            if ratio > share:
                worst, share = row, ratio
    if worst is None:
        return []
    name = worst.name.partition("#")[0]
    do = f"w = model.get_submodule({name!r}).weight.data; w -= w.flatten(1).mean(1).view(-1, *[1] * (w.dim() - 1))"
    return [Advice("weight-mean", worst.name, worst.weight_mean, worst.weight_mean_tolerance, do)]
