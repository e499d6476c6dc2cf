"""Follow one forward pass of a model and write down what it does to a sample, operation by operation."""

from __future__ import annotations

import copy
import math
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from snn_cli.engine.model import call, leaves, norm, replaced, tensors, untouched
from snn_cli.graph import Function, Graph, Node, Norm, Weight

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_KEPT = 256
_GRID = np.array([-7.5, -3.1, -1.0, -0.4, 0.0, 0.3, 1.0, 2.7, 6.5])

_ELEMENTWISE = frozenset(
    "relu relu6 leaky_relu elu selu celu gelu silu mish tanh sigmoid erf softplus softsign hardtanh hardswish "
    "hardsigmoid logsigmoid exp sin cos abs square threshold rrelu prelu clamp clamp_min clamp_max".split()
)
_PASS = frozenset(
    "view view_as reshape reshape_as flatten unflatten ravel permute transpose t swapaxes swapdims movedim moveaxis "
    "contiguous clone detach squeeze unsqueeze to float double half bfloat16 type cuda cpu alias requires_grad "
    "channel_shuffle pixel_shuffle pixel_unshuffle flip roll rot90 mT T H mH native_channel_shuffle".split()
)
_PART = frozenset("getitem chunk split tensor_split unbind select narrow split_with_sizes index_select".split())


def trace(model: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Graph:
    """The operations of one forward pass, in order; the model is left as it was. Raises CannotCompute as `call`."""
    recorder = _Recorder(model)
    with untouched(model), torch.no_grad(), recorder:
        recorder.inputs(tensors((arguments, named)))
        # copies: the model may write into its input
        given = replaced(arguments, recorder.copied), replaced(named, recorder.copied)
        returned = tensors(call(model, *given))
        return recorder.graph(returned)


class _Recorder(TorchFunctionMode):
    """Numbers every tensor that comes by, for as long as it lives: another may have its address afterwards."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._samples = 1
        self._numbers: dict[int, int] = {}
        self._alive: dict[int, weakref.ref[torch.Tensor]] = {}
        self._count = 0
        self._nodes: list[Node] = []
        self._inside = 0
        self._calls: dict[int, int] = {}
        self._own = {id(p) for p in model.parameters()} | {id(b) for b in model.buffers()}
        self._handles = []
        for name, module in leaves(model):
            self._handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._leave(name), with_kwargs=True))

    def __exit__(self, *error: Any) -> None:
        for handle in self._handles:
            handle.remove()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def inputs(self, given: list[torch.Tensor]) -> None:
        self._samples = given[0].shape[0] if given and given[0].dim() else 1

    def copied(self, tensor: torch.Tensor) -> torch.Tensor:
        self._inside += 1
        copy = tensor.detach().clone()
        self._inside -= 1
        if copy.is_floating_point():
            wide = copy.double().reshape(self._samples, -1)
            second = float(wide.square().mean())
            alike = float(wide.mean(0).square().mean())  # of two samples, and of each with itself
            mean = float(wide.mean())
            if self._samples > 1:
                alike = (self._samples * alike - second) / (self._samples - 1)
                # pooling multiplies it by positions: what is chance of this batch is not to count, least below 0
                chance = second * math.sqrt(2 / (self._samples * (self._samples - 1) * wide.shape[1]))
                alike = min(second, alike if alike > mean * mean + 3 * chance else mean * mean)
            self._add("input", "", -1, "input", [], [copy], (mean, second, alike))
        return copy

    def graph(self, returned: list[torch.Tensor]) -> Graph:
        outputs = tuple(self._numbers[id(t)] for t in returned if id(t) in self._numbers)
        return Graph(tuple(self._nodes), outputs)

    def _number(self, tensor: torch.Tensor) -> int:
        """The value that the tensor is now; one that was never seen is the model's own, or was made of nothing."""
        found = self._numbers.get(id(tensor))
        if found is None:
            wide = tensor.detach().double()
            moments = (float(wide.mean()), float(wide.square().mean())) if tensor.numel() else (0.0, 0.0)
            self._add("constant", "", -1, "constant", [], [tensor], moments)
            found = self._numbers[id(tensor)]
        return found

    def _new(self, tensor: torch.Tensor) -> int:
        key = id(tensor)
        self._numbers[key] = self._count
        self._alive[key] = weakref.ref(tensor, lambda dead: self._forget(key, dead))
        self._count += 1
        return self._count - 1

    def _forget(self, key: int, dead: weakref.ref[torch.Tensor]) -> None:
        if self._alive.get(key) is dead:
            del self._alive[key], self._numbers[key]

    def _add(
        self,
        kind: str,
        name: str,
        number: int,
        label: str,
        sources: list[torch.Tensor],
        results: list[torch.Tensor],
        data: Any = None,
    ) -> None:
        inputs = tuple(self._number(tensor) for tensor in sources)
        outputs = tuple(self._new(tensor) for tensor in results)
        sizes = tuple(max(1, tensor.numel() // self._samples) for tensor in results)
        self._nodes.append(Node(kind, name, number, label, inputs, outputs, sizes, data))

    # Modules

    def _enter(self, module: nn.Module, *_: Any) -> None:
        self._inside += 1
        if not self._inside > 1:
            self._calls[id(module)] = self._calls.get(id(module), -1) + 1

    def _leave(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, named: Any, output: Any) -> None:
            if self._inside == 1:
                sources = _floats((arguments, named))
                results = _floats(output)
                kind, data = _module(module, sources, results)
                if results:
                    self._add(kind, name, self._calls[id(module)], type(module).__name__, sources, results, data)
            self._inside -= 1

        return hook

    # Functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        self._inside += 1
        try:
            result = func(*args, **kwargs)
            name = getattr(func, "__name__", str(func))
            if name == "__get__":  # a property of a tensor: x.T
                name = getattr(getattr(func, "__self__", None), "__name__", "")
            results = _floats(result)
            sources = _floats((args, kwargs))
            if results and (sources or name == "embedding"):
                self._function(_Call(name.strip("_"), func, args, kwargs, sources, results))
            return result
        finally:
            self._inside -= 1

    def _function(self, call: _Call) -> None:
        label = name = call.name
        if name[:1] in "ir" and name[1:] in ("add", "sub", "mul", "truediv"):
            call = call._replace(name=name[1:])
        if call.name != "embedding" and not any(id(tensor) in self._numbers for tensor in call.sources):
            return  # of the model's own tensors alone: a constant, when it is used
        kind, data, used = _functional(call, self._own)
        self._add(kind, "", -1, label, used, call.results, data)


def _floats(value: Any) -> list[torch.Tensor]:
    return [tensor for tensor in tensors(value) if tensor.is_floating_point()]


# What a module is


def _module(module: nn.Module, sources: list[torch.Tensor], results: list[torch.Tensor]) -> tuple[str, Any]:
    if not results:
        return "unknown", None
    if isinstance(module, nn.modules.conv._ConvNd):
        return "weight", _convolution(module, sources[0], results[0])
    if isinstance(module, nn.Linear):
        return "weight", _weight(module.weight, module.bias, module.in_features, module.in_features, results[0])
    if isinstance(module, nn.Embedding):
        return "constant", _moments(module.weight)
    if isinstance(module, (nn.Identity, nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.ChannelShuffle)):
        return "pass", None
    if isinstance(module, nn.modules.dropout._DropoutNd):
        if not module.training or not module.p:
            return "pass", None
        plain = not isinstance(module, (nn.AlphaDropout, nn.FeatureAlphaDropout))
        return ("dropout", module.p) if plain else ("unknown", None)
    normalization = _normalization(module)
    if normalization is not None:
        return "norm", normalization
    if isinstance(module, (nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd)):
        return "average", _window(module, sources[0], results[0])
    if isinstance(module, nn.modules.pooling._MaxPoolNd):
        return "maximum", _window(module, sources[0], results[0])
    if isinstance(module, nn.modules.pooling._AdaptiveMaxPoolNd):
        return "maximum", max(1, sources[0].numel() // results[0].numel())
    if isinstance(module, nn.Upsample) and module.mode == "nearest":
        return "repeat", None
    if len(sources) == 1 and len(results) == 1 and results[0].shape == sources[0].shape:
        if isinstance(module, nn.PReLU):
            slope = float(module.weight.double().mean())
            return "activation", Function(_evaluator(lambda x: functional.leaky_relu(x, slope)))
        own = sum(p.numel() for p in module.parameters())
        if own <= 1 or not any(p.numel() == sources[0].numel() // sources[0].shape[0] for p in module.parameters()):
            found = (
                _standard(module) if type(module).__module__.startswith("torch.nn.") else _elementwise(module.forward)
            )
            if found is not None:
                return "activation", found
    return "unknown", None


def _moments(tensor: torch.Tensor | None) -> tuple[float, float]:
    if tensor is None or not tensor.numel():
        return 0.0, 0.0
    seen = tensor.detach()
    return float(seen.mean(dtype=_wide(seen))), float(norm(seen)) ** 2 / seen.numel()


def _wide(tensor: torch.Tensor) -> torch.dtype:
    return torch.float64 if tensor.device.type != "mps" else torch.float32


def _weight(
    weight: torch.Tensor, bias: torch.Tensor | None, connections: float, independent: int, result: torch.Tensor
) -> Weight:
    channels = result.shape[1] if weight.dim() > 2 and result.dim() > 1 else result.shape[-1]
    return Weight(connections, independent, channels, *_moments(weight), *_moments(bias))


def _convolution(module: Any, source: torch.Tensor, result: torch.Tensor) -> Weight:
    """Connections are counted by a convolution of ones."""
    spatial = len(module.kernel_size)
    channels = module.in_channels // module.groups
    device = source.device
    kernel = torch.ones((1, 1, *module.kernel_size), device=device)
    if module.transposed:
        function: Any = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[
            spatial - 1
        ]
        ones = torch.ones((1, 1, *source.shape[-spatial:]), device=device)
        taps = function(
            ones, kernel, None, module.stride, module.padding, module.output_padding, 1, module.dilation
        ).mean()
    elif module.padding_mode != "zeros":
        taps = torch.tensor(float(math.prod(module.kernel_size)))
    else:
        function = (functional.conv1d, functional.conv2d, functional.conv3d)[spatial - 1]
        ones = torch.ones((1, 1, *source.shape[-spatial:]), device=device)
        taps = function(ones, kernel, None, module.stride, module.padding, module.dilation).mean()
    found = _weight(module.weight, module.bias, channels * float(taps), channels, result)
    if module.transposed:
        return found
    return found._replace(border=1 - float(taps) / math.prod(module.kernel_size))


def _normalization(module: nn.Module) -> Norm | None:
    kinds: list[tuple[Any, str]] = [
        (nn.LayerNorm, "sample"),
        (nn.GroupNorm, "sample"),
        (nn.modules.instancenorm._InstanceNorm, "sample"),
        (nn.modules.batchnorm._BatchNorm, "batch"),
    ]
    if hasattr(nn, "RMSNorm"):
        kinds.insert(0, (nn.RMSNorm, "root"))
    over = next((over for kind, over in kinds if isinstance(module, kind)), None)
    if over is None:
        return None
    any_module: Any = module
    weight, bias = getattr(any_module, "weight", None), getattr(any_module, "bias", None)
    fixed = not module.training and getattr(any_module, "track_running_stats", False)
    if fixed and any_module.running_mean is not None:
        scale = (any_module.running_var.double() + any_module.eps).rsqrt()
        scale = scale if weight is None else scale * weight.double()
        shift = -any_module.running_mean.double() * scale
        shift = shift if bias is None else shift + bias.double()
        return Norm("fixed", *_moments(scale), *_moments(shift), 0.0)
    w = (1.0, 1.0) if weight is None else _moments(weight)
    eps = any_module.eps if any_module.eps is not None else 1e-6
    return Norm(over, *w, *_moments(bias), eps)


def _window(module: Any, source: torch.Tensor, result: torch.Tensor) -> int:
    size = getattr(module, "kernel_size", None)
    if size is None:
        return max(1, source.numel() // max(1, result.numel()))
    if isinstance(size, int):
        pooled = {"1d": 1, "2d": 2, "3d": 3}[type(module).__name__[-2:]]
        return int(size**pooled)
    return int(math.prod(size))


def _evaluator(function: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, Any]]:
    """A torch function on numpy arrays, with its derivative by back-propagation, in float64."""

    def evaluate(x: Any) -> tuple[Any, Any]:
        with torch.enable_grad(), torch.inference_mode(False):
            given = torch.tensor(x, dtype=torch.float64, requires_grad=True)
            value = function(given * 1)
            if not value.requires_grad:
                return value.numpy(), np.zeros_like(x)
            (slope,) = torch.autograd.grad(value.sum(), given)
        return value.detach().numpy(), slope.numpy()

    return evaluate


def _elementwise(function: Callable[[Any], Any]) -> Function | None:
    """The function, where every element of its result is seen to depend on the same element alone."""
    if torch.is_inference_mode_enabled():
        return None
    evaluate = _evaluator(function)
    state = torch.get_rng_state()
    try:
        value, slope = evaluate(_GRID)
        again, _ = evaluate(_GRID[::-1].copy())
        half, _ = evaluate(np.where(np.arange(len(_GRID)) % 2, _GRID + 1.0, _GRID))
    except Exception:
        return None
    finally:
        torch.set_rng_state(state)
    if value.shape != _GRID.shape or not (np.isfinite(value).all() and np.isfinite(slope).all()):
        return None
    same = np.allclose(again[::-1], value, rtol=1e-6, atol=1e-9) and np.allclose(
        half[::2], value[::2], rtol=1e-6, atol=1e-9
    )
    return Function(evaluate) if same else None


_FOUND: dict[str, Function | None] = {}


def _standard(module: nn.Module) -> Function | None:
    """Of torch's own modules: those of one name and arguments are one function."""
    key = f"{module!r} {module.training}"
    if key not in _FOUND:
        if len(_FOUND) > _MOST_KEPT:
            _FOUND.clear()
        forward = copy.deepcopy(module).forward  # the model itself is not to be kept
        _FOUND[key] = _elementwise(forward)
    return _FOUND[key]


# What a function is


class _Call(NamedTuple):
    """A call of a function of torch: ``sources`` and ``results`` are its floating-point tensors."""

    name: str
    func: Any
    args: Any
    kwargs: Any
    sources: list[torch.Tensor]
    results: list[torch.Tensor]

    def argument(self, position: int, name: str, default: Any) -> Any:
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)


_Kind = tuple[str, Any, list[torch.Tensor]]
"""Kind, data, and the tensors that count as inputs."""


def _functional(call: _Call, own: set[int]) -> _Kind:
    """What the function is; ``own`` are the ids of the model's parameters and buffers."""
    found = _layer(call, own) or _arithmetic(call) or _arrangement(call) or _pooling(call)
    return found or ("unknown", None, call.sources)


def _layer(call: _Call, own: set[int]) -> _Kind | None:
    """An activation, a weight layer, an embedding, a dropout or a normalization."""
    name, func, args, kwargs, sources, results = call
    one = sources[:1]
    if name in _ELEMENTWISE and len(sources) == 1 and results[0].shape == sources[0].shape:
        rest = args[1:]
        plain = {key: value for key, value in kwargs.items() if key not in ("inplace", "out", "input")}
        found = _elementwise(lambda x: func(x, *rest, **plain))
        return ("activation", found, sources) if found is not None else ("unknown", None, sources)
    if name == "linear" and len(sources) >= 2:
        bias = sources[2] if len(sources) > 2 else None
        width = sources[1].shape[-1]
        return "weight", _weight(sources[1], bias, width, width, results[0]), one
    if name == "matmul" and len(sources) == 2 and id(sources[1]) in own and sources[1].dim() == 2:
        width = sources[1].shape[0]
        return "weight", _weight(sources[1], None, width, width, results[0]), one
    if name == "embedding":
        return "constant", _moments(call.argument(1, "weight", None)), []
    if name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"):
        p, training = float(call.argument(1, "p", 0.5)), bool(call.argument(2, "training", True))
        return ("dropout", p, one) if training and p else ("pass", None, one)
    if name in ("layer_norm", "rms_norm"):
        extra = sources[1:]
        w = _moments(extra[0]) if extra else (1.0, 1.0)
        b = _moments(extra[1]) if len(extra) > 1 else (0.0, 0.0)
        return "norm", Norm("sample" if name == "layer_norm" else "root", *w, *b, 1e-5), one
    return None


def _arithmetic(call: _Call) -> _Kind | None:
    """Sums and products of two tensors, or of one and a number."""
    name, _, args, kwargs, sources, results = call
    if name in ("add", "sub") and len(sources) == 2:
        factor = float(kwargs.get("alpha", 1.0)) * (1 if name == "add" else -1)
        return ("add", factor, sources) if _fits(sources, results) else ("unknown", None, sources)
    if name in ("add", "sub") and len(sources) == 1:
        return "shift", _scalar(args, kwargs) * (1 if name == "add" else -1), sources
    if name in ("mul", "multiply", "div", "truediv", "divide", "neg", "negative") and len(sources) == 1:
        value = -1.0 if name in ("neg", "negative") else _scalar(args, kwargs)
        if name in ("div", "truediv", "divide"):
            if not isinstance(args[0], torch.Tensor):
                return "unknown", None, sources  # a number over a tensor
            value = 1 / value if value else math.nan
        return "scale", value, sources
    if name in ("mul", "multiply") and len(sources) == 2 and sources[0] is not sources[1]:
        return "multiply", None, sources
    return None


def _arrangement(call: _Call) -> _Kind | None:
    """The same numbers in another shape, parts of them, several together, or some again."""
    name, sources = call.name, call.sources
    if name in _PASS and len(sources) == 1:
        return "pass", None, sources
    if name in _PART:
        return "pass", "part", sources[:1]
    if name in ("cat", "concat", "concatenate"):
        return "concatenate", None, sources
    nearest = name == "interpolate" and call.argument(3, "mode", "nearest") == "nearest"
    if nearest or name in ("expand", "expand_as", "repeat", "repeat_interleave", "tile", "broadcast_to"):
        return "repeat", None, sources[:1]
    return None


def _pooling(call: _Call) -> _Kind | None:
    name, sources, results = call.name, call.sources, call.results
    if name.startswith(("max_pool", "adaptive_max_pool")):
        return "maximum", _function_window(call), sources[:1]
    if name.startswith(("avg_pool", "adaptive_avg_pool")):
        return "average", _function_window(call), sources[:1]
    if name == "mean" and len(sources) == 1:
        return "average", max(1, sources[0].numel() // results[0].numel()), sources
    return None


def _fits(sources: list[torch.Tensor], results: list[torch.Tensor]) -> bool:
    return bool(results) and max(s.numel() for s in sources) == results[0].numel()


def _scalar(args: Any, kwargs: Any) -> float:
    for value in (*args, *kwargs.values()):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    return math.nan


def _function_window(call: _Call) -> int:
    if call.name.startswith("adaptive"):
        return max(1, call.sources[0].numel() // call.results[0].numel())
    size = call.argument(1, "kernel_size", 1)
    if isinstance(size, int):
        digits = [int(c) for c in call.name if c.isdigit()]
        return int(size ** (digits[0] if digits else 1))
    return int(math.prod(size))
