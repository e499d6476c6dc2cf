"""A user's model without normalization: self-normalizing activations and weights in its place, and a report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, SupportsIndex

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from snn_cli.engine.trace import trace
from snn_cli.errors import InputError, SnnError, nearest
from snn_cli.exact import Number, positive_integer
from snn_cli.nn.activation import FAMILIES, _SelfNormalizing, built
from snn_cli.nn.centralization import CentralizedActivation
from snn_cli.nn.dropout import SelfNormalizingDropout
from snn_cli.nn.fan import OPAQUE, WEIGHT_LAYERS, fan_in
from snn_cli.nn.init import check_weights, initialize
from snn_cli.nn.solved import solved
from snn_cli.propagation.sums import remedy, sums
from snn_cli.records import Conversion, Left, Removed, Replaced, Solution

__all__ = ["Conversion", "convert"]

ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Hardtanh, nn.Hardswish, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Threshold,
    _SelfNormalizing,
)  # fmt: skip
"""What is replaced. ReLU6 is a Hardtanh to torch."""

SHAPING = (nn.Tanh, nn.Hardtanh, nn.Softplus, nn.Softsign)
"""Activations that, after the last weight layer, give the output its range, and stay."""

GATES = (nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid, nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Softmax2d, nn.GLU)
"""Functions that weigh or choose: never replaced."""

NORMALIZATIONS: tuple[type[nn.Module], ...] = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.CrossMapLRN2d,
    *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []),
)  # fmt: skip
"""What becomes the identity; the first are all batch and instance normalizations."""

_READS_ITS_OWN = "its forward pass reads its own modules"

_SCALED = 0.05
"""A sum whose second moment is that of its branches, up to this logarithm, is scaled as it should be."""

LEAST_FAN_IN = 32
"""Below this the expansion behind ``epsilon="auto"`` is not to be trusted, and its epsilon is that of this fan-in."""

_FUNCTIONS = frozenset(
    "relu relu_ relu6 leaky_relu elu selu celu gelu silu mish tanh softplus hardtanh hardswish rrelu prelu "
    "batch_norm layer_norm group_norm instance_norm local_response_norm rms_norm normalize dropout alpha_dropout "
    "softsign hardshrink softshrink tanhshrink threshold feature_alpha_dropout dropout1d dropout2d dropout3d".split()
)


def convert(
    model: nn.Module,
    act: str | Solution | Mapping[str, Any] = "lselu",
    epsilon: Number | None = None,
    *,
    depth: SupportsIndex | None = None,
    batch: Any = None,
    weights: str = "gaussian",
    init: bool = True,
    trainable: bool = False,
    keep: Sequence[str] = (),
    activations: Sequence[type[nn.Module]] = (),
    normalizations: Sequence[type[nn.Module]] = (),
    generator: torch.Generator | None = None,
) -> Conversion:
    """Replace a model's activations, take out its normalization, draw its weights anew, in place; returns a report.

    A shared module stays shared. Nothing is changed where an error is raised. Make the optimizer afterwards: parameters
    of normalizations are gone.

    model
        Any module that holds weight layers and activations as modules. What its ``forward`` calls as a function
        (``torch.relu``) cannot be replaced; with ``batch`` the report names such calls. Not a compiled script, nor
        wrapped for distributed training.
    act
        ``lselu``, ``sselu``, ``dselu`` or ``selu``; or a Solution, or its dict, which says epsilon as well.
    epsilon
        A number, for every activation. ``"auto"``: for each the one that preserves the typical gradient at the fan-in
        of the layer that it feeds, to first order (theory, section 5); that of 32 below 32. None: ``1/depth``.
    depth
        Number of layers that the gradient passes; None: the model's weight layers.
    batch
        A tensor, or a tuple or dict of arguments: the model is run on it twice, in evaluation and without gradients, to
        see which layer follows which activation, and where branches meet in a sum. None: the order in which the modules
        were registered, which is the same for ``nn.Sequential``.
    weights, generator
        As for ``self_normalizing_init_``; ``init=False`` leaves weights as they are.
    trainable
        Whether each new activation has a trained lambda.
    keep
        Names of modules that stay as they are, with all that is in them.
    activations, normalizations
        Further classes of modules to be treated as such.

    Sums of branches are not scaled, as they are no modules: a residual stream grows by each branch. With ``batch`` the
    report names them, and what keeps the second moment. A layer made without a bias has none, also
    where a normalization's shift was one. Dropout stays, and the report says so: ``SelfNormalizingDropout`` keeps the
    second moment. So do Sigmoid, Softmax and gates; Tanh and its like after the last weight layer; and what is inside
    torch's attention, transformer and recurrent modules. A ``CentralizedActivation`` around what is replaced starts
    anew.

    Source: theory, sections 2 and 5; held by test_nn_conversion.py::test_auto_preserves_the_typical_gradient.

    Raises InputError for a model or an option that is none of these, or a model with nothing to convert, and
    NoSolution for an epsilon that the family does not reach.
    """
    _check(model, keep, activations, normalizations, init, trainable)
    if init:
        check_weights(weights, 1.0)
    auto = isinstance(epsilon, str) and epsilon.strip() == "auto"
    if auto and weights in ("orthogonal", "delta-orthogonal") and init:
        raise InputError(
            f'epsilon="auto" is solved for independent weights, not for {weights} ones', 'weights="gaussian"'
        )
    plan = _plan(model, keep, (*ACTIVATIONS, *activations), (*NORMALIZATIONS, *normalizations))
    events, functions = _registered(plan) if batch is None else _called(model, plan, batch)
    feeds = _feeds(events)
    left = [*plan.left, *_left(plan, functions, feeds)]
    named = {part.name for part in left}
    targets = [target for target in plan.activations if target.name not in named]
    if not targets and not plan.normalizations:
        raise _nothing(model, plan, functions)
    if not plan.activations and batch is None:
        left.append(Left("", "activations", "none is a module; give batch to see which are called as functions"))
    if batch is not None:
        left += _sums(model, batch)
    count = positive_integer(depth, "depth", example="depth=100") if depth is not None else len(plan.layers)
    if not count:
        kinds = ", ".join(kind.__name__ for kind in WEIGHT_LAYERS)
        raise InputError(f"{type(model).__name__} holds no weight layer; that is {kinds}", "give a model")
    name, one = _one(act, epsilon, depth, count, auto)
    found = [_solved_for(target, name, one, feeds, events) for target in targets]

    # from here on nothing fails
    drawn: list[str] = []
    if init:
        kept = frozenset(layer for layer, _ in plan.layers if _inside(layer, keep))
        drawn, skipped = initialize(model, weights, 1.0, generator, kept)
        left += [Left(n, "weight", why) for n, why in skipped.items()]
    _swap(model, _successors(model, plan, found, trainable))
    removed = [
        Removed(t.name, type(t.module).__name__, sum(p.numel() for p in t.module.parameters()), t.aliases)
        for t in plan.normalizations
    ]
    return Conversion(
        model=type(model).__name__,
        act=name,
        epsilon=None if one is None else one.epsilon,
        depth=count,
        weights=weights if init else None,
        activations=tuple(each.row for each in found),
        normalizations=tuple(removed),
        initialized=tuple(drawn),
        left=tuple(left),
    )


class _Target(NamedTuple):
    name: str
    module: nn.Module
    aliases: tuple[str, ...]


class _Found(NamedTuple):
    """An activation to be replaced, the solution that takes its place, and its row in the report."""

    target: _Target
    solution: Solution
    row: Replaced


def _left(plan: _Plan, functions: list[str], feeds: dict[int, list[float | None]]) -> Iterator[Left]:
    """What cannot be replaced because it is no module, and what gives the output its range."""
    for name in functions:
        yield Left("", name, "a function call: make it a module to have it replaced")
    for target in plan.activations:
        if isinstance(target.module, SHAPING) and feeds.get(id(target.module), [None]) == [None]:
            yield Left(target.name, type(target.module).__name__, "after the last weight layer it shapes the output")


def _sums(model: nn.Module, batch: Any) -> Iterator[Left]:
    """Sums of branches that each have a second moment of 1 once they are converted, where the sum has not."""
    try:
        with _in_evaluation(model):
            graph = trace(model, *_arguments(batch))
    except SnnError as error:
        yield Left("", "sums of branches", f"not looked for: {error}")
        return
    for each in sums(graph):
        if abs(math.log(each.growth)) > _SCALED:
            growth = f"its second moment is {each.growth:.3g} times that of a branch"
            kept = f"{remedy(each.branches, each.whole)} keeps it"
            yield Left(each.name, f"sum of {each.branches} branches behind it", f"{growth}; {kept}")


def _solved_for(
    target: _Target,
    act: str,
    one: Solution | None,
    feeds: dict[int, list[float | None]],
    events: list[_Event],
) -> _Found:
    """With the solution that all share, or else at the harmonic mean of the fan-ins that the activation feeds."""
    fans = [n for n in feeds.get(id(target.module), []) if n is not None]
    mean = round(len(fans) / sum(1 / n for n in fans)) if fans else None
    solution, note = one, None
    if solution is None:
        if mean is None:
            note = f"feeds no weight layer: fan-in of the one before, {_before(events, target)}"
        at = max(LEAST_FAN_IN, mean if mean is not None else _before(events, target))
        if mean is not None and mean < LEAST_FAN_IN:
            note = f"epsilon of fan-in {LEAST_FAN_IN}"
        elif len(set(fans)) > 1:
            note = f"the harmonic mean of fan-ins from {min(fans):g} to {max(fans):g}"
        solution = solved(act, "auto", fanin=at)
    row = Replaced(target.name, type(target.module).__name__, solution.epsilon, mean, target.aliases, note)
    return _Found(target, solution, row)


def _successors(model: nn.Module, plan: _Plan, found: Sequence[_Found], trainable: bool) -> dict[int, nn.Module]:
    """What takes the place of each module, by its id; a trained lambda lies where the model's parameters do."""
    place = next((p for p in model.parameters() if p.is_floating_point()), None)
    options: dict[str, Any] = {"trainable": trainable}
    if trainable and place is not None:
        options |= {"device": place.device, "dtype": place.dtype}
    successors: dict[int, nn.Module] = {}
    for target, solution, _ in found:
        successors[id(target.module)] = built(solution, **options).train(target.module.training)
    for target in plan.normalizations:
        successors[id(target.module)] = nn.Identity().train(target.module.training)
    return successors


def _swap(model: nn.Module, successors: Mapping[int, nn.Module]) -> None:
    """Put every successor in its place; centralized activations that hold one start anew."""
    for module in list(model.modules()):
        for key, child in module._modules.items():
            if child is not None and id(child) in successors:
                module._modules[key] = successors[id(child)]
    new = {id(module) for module in successors.values()}
    for module in model.modules():
        if (
            isinstance(module, CentralizedActivation)
            and isinstance(module.act, nn.Module)
            and any(id(part) in new for part in module.act.modules())
        ):
            module.reset()


class _Plan(NamedTuple):
    """Modules by what is to become of them; ``order`` all of activations and weight layers as they were registered."""

    activations: list[_Target]
    normalizations: list[_Target]
    layers: list[tuple[str, nn.Module]]
    order: list[nn.Module]
    left: list[Left]


def _check(model: Any, keep: Any, activations: Any, normalizations: Any, init: Any, trainable: Any) -> None:
    if not isinstance(model, nn.Module):
        raise InputError(f"there is nothing to convert in {model!r}", "give a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError("a script has its operations fixed", "convert first, then torch.jit.script")
    for module in model.modules():
        if isinstance(module, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            raise InputError(
                f"{type(module).__name__} already holds the model's parameters", "convert first, then wrap"
            )
    for option, kinds in (("activations", activations), ("normalizations", normalizations)):
        if isinstance(kinds, type) or not all(isinstance(k, type) and issubclass(k, nn.Module) for k in kinds):
            raise InputError(f"{option} must be a sequence of module classes, not {kinds!r}", f"{option}=[MyModule]")
    if isinstance(keep, str) or not all(isinstance(name, str) for name in keep):
        raise InputError(f"keep must be a sequence of names of modules, not {keep!r}", f"keep=[{str(keep)!r}]")
    names = {name for name, _ in model.named_modules(remove_duplicate=False)}
    if unknown := [name for name in keep if name not in names or not name]:
        near = nearest(unknown[0], names, cutoff=0.4)
        raise InputError(
            f"the model holds no module called {unknown[0]!r}",
            f"keep=[{near!r}]" if near else "leave out keep",
        )
    for option, value in (("init", init), ("trainable", trainable)):
        if not isinstance(value, bool):
            raise InputError(f"{option} must be True or False, not {value!r}", f"{option}=True")


def _inside(name: str, prefixes: Sequence[str]) -> bool:
    return any(not prefix or name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _plan(
    model: nn.Module,
    keep: Sequence[str],
    activations: tuple[type[nn.Module], ...],
    normalizations: tuple[type[nn.Module], ...],
) -> _Plan:
    plan = _Plan([], [], [], [], [])
    names: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(id(module), []).append(name)
    opaque: list[str] = []
    own: Iterator[tuple[str, nn.Module]] = model.named_modules()
    for name, module in own:
        if _inside(name, opaque):
            continue
        aliases = tuple(n for n in names[id(module)] if n != name)
        kind = type(module).__name__
        kept = any(_inside(n, keep) for n in names[id(module)])
        if isinstance(module, OPAQUE):
            opaque.append(name)
            plan.left.append(Left(name, kind, _READS_ITS_OWN))
        elif isinstance(module, WEIGHT_LAYERS):
            plan.layers.append((name, module))
            plan.order.append(module)
        elif isinstance(module, (*activations, *normalizations)) and (kept or not name):
            plan.left.append(Left(name, kind, "kept as asked" if kept else "is the model itself"))
        elif isinstance(module, normalizations):
            plan.normalizations.append(_Target(name, module, aliases))
        elif isinstance(module, activations):
            plan.activations.append(_Target(name, module, aliases))
            plan.order.append(module)
        elif isinstance(module, GATES):
            plan.left.append(Left(name, kind, "weighs or chooses"))
        elif isinstance(module, SelfNormalizingDropout):
            plan.left.append(Left(name, kind, "has the constants of the activation it was made for: make it anew"))
        elif isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            plan.left.append(Left(name, kind, "changes the moments: SelfNormalizingDropout keeps them"))
    return plan


_Event = tuple[nn.Module, float | None]
"""A call of an activation (None), or of a weight layer (its fan-in)."""


def _event(module: nn.Module) -> _Event:
    return module, fan_in(module) if isinstance(module, WEIGHT_LAYERS) else None


def _registered(plan: _Plan) -> tuple[list[_Event], list[str]]:
    return [_event(module) for module in plan.order], []


class _Functions(TorchFunctionMode):
    """Names of the activations and normalizations that are called as functions, outside torch's own modules."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0
        self.names: dict[str, None] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if not self.inside and name in _FUNCTIONS:
            self.names.setdefault(name.rstrip("_"))
        return func(*args, **(kwargs or {}))


def _called(model: nn.Module, plan: _Plan, batch: Any) -> tuple[list[_Event], list[str]]:
    """The same in the order of one forward pass, each call on its own, and functions that it calls."""
    events: list[_Event] = []
    functions = _Functions()
    watched = {id(module) for module in plan.order}

    def enter(module: nn.Module, _: Any) -> None:
        functions.inside += 1
        if id(module) in watched:
            events.append(_event(module))

    def leave(*_: Any) -> None:
        functions.inside -= 1

    leaves = [m for m in model.modules() if id(m) in watched or _leaf(m)]
    handles: list[Any] = []
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    positional, named = _arguments(batch)
    try:
        for module in leaves:
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        with _in_evaluation(model), torch.random.fork_rng(devices), torch.no_grad(), functions:
            model(*positional, **named)
    except Exception as error:
        raise InputError(
            f"{type(model).__name__} does not run on the batch: {type(error).__name__}: {error}",
            "give what the model is called with: a tensor, or a tuple or dict of arguments",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return events, list(functions.names)


@contextmanager
def _in_evaluation(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation, and as it was afterwards."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _leaf(module: nn.Module) -> bool:
    own = type(module).__module__.startswith("torch.nn.")
    return own and not isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict))


def _arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(batch, Mapping):
        return (), dict(batch)
    return (tuple(batch), {}) if isinstance(batch, (tuple, list)) else ((batch,), {})


def _feeds(events: list[_Event]) -> dict[int, list[float | None]]:
    """For each activation, at each call, the fan-in of the next weight layer; None after the last one."""
    found: dict[int, list[float | None]] = {}
    following: float | None = None
    for module, fan in reversed(events):
        if fan is None:
            found.setdefault(id(module), []).append(following)
        else:
            following = fan
    return found


def _before(events: list[_Event], target: _Target) -> int:
    """Fan-in of the last weight layer before an activation; of any where it is never called."""
    last = next((fan for _, fan in events if fan is not None), float(LEAST_FAN_IN))
    for module, fan in events:
        if fan is not None:
            last = fan
        elif module is target.module:
            break
    return math.ceil(last)


def _one(act: Any, epsilon: Number | None, depth: Any, count: int, auto: bool) -> tuple[str, Solution | None]:
    """The family, and the solution that all activations share; None for one each."""
    if isinstance(act, (Solution, Mapping)):
        if epsilon is not None or depth is not None:
            raise InputError("a solution already says what epsilon is", "leave out epsilon and depth")
        solution = built(act).solution
        return solution.act, solution
    if not isinstance(act, str) or act not in FAMILIES:
        raise InputError(f"act must be one of {', '.join(FAMILIES)}, or a Solution, not {act!r}", 'act="lselu"')
    if epsilon is not None and depth is not None:
        raise InputError("epsilon and depth contradict each other: each alone says what epsilon is", "leave out depth")
    if act == "selu":
        if epsilon is not None or depth is not None:
            raise InputError("selu has an epsilon of its own, 0.0716", 'leave out epsilon, or act="sselu"')
        return act, solved(act)
    if auto:
        return act, None
    return act, solved(act, depth=count) if epsilon is None else solved(act, epsilon)


def _nothing(model: nn.Module, plan: _Plan, functions: list[str]) -> InputError:
    called = f"; it calls {', '.join(functions)} as functions, which cannot be replaced" if functions else ""
    if opaque := next((part for part in plan.left if part.why == _READS_ITS_OWN), None):
        called = f"; {opaque.name or 'it'} is torch's {opaque.kind}, and {_READS_ITS_OWN}"
    return InputError(
        f"{type(model).__name__} holds no activation and no normalization as a module{called}",
        "make them modules, as nn.ReLU(), or name their classes in activations and normalizations",
    )
