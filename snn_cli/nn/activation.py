"""Self-normalizing activations as torch modules, with the parameters that solve the moment conditions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, SupportsIndex

import torch
from torch import Tensor

from snn_cli.errors import InputError
from snn_cli.exact import Number, positive_integer
from snn_cli.nn.function import checked, exponential_linear
from snn_cli.nn.solved import find, own, record, solved
from snn_cli.records import Solution


def lselu(x: Tensor, lam: float | Tensor, alpha: float, beta: float) -> Tensor:
    """``lam x`` for ``x >= 0``, ``lam (alpha e^x + beta x - alpha)`` below: leaky SELU.

    x
        Floating point, of any shape; the result has its shape and type.
    lam
        Above 0; or a tensor that can be broadcast to x, of any sign, to which gradients flow.
    alpha, beta
        Finite.

    Source: Chen et al., "Redefining the Self-Normalization Property" (2021). Raises InputError for an x that is not a
    real floating-point tensor, and for parameters outside their domains.
    """
    alpha, beta = _finite(alpha, "alpha"), _finite(beta, "beta")
    return _with_lambda(x, lam, alpha, 1.0, beta)


def sselu(x: Tensor, lam: float | Tensor, alpha: float, beta: float) -> Tensor:
    """``lam x`` for ``x >= 0``, ``lam (alpha e^(beta x) - alpha)`` below, with ``beta > 0``: scaled SELU.

    Shapes, source and errors as for ``lselu``; InputError also for a beta that is not above 0.
    """
    alpha, beta = _finite(alpha, "alpha"), _finite(beta, "beta", above=0)
    return _with_lambda(x, lam, alpha, beta, 0.0)


def dselu(x: Tensor, lam: float | Tensor, alpha: float) -> Tensor:
    """``lam x`` for ``x >= 0``, ``lam (alpha e^x - alpha)`` below: the form of SELU and of depth-aware SELU.

    Shapes and errors as for ``lselu``. Source: Klambauer et al., "Self-Normalizing Neural Networks" (2017).
    """
    return _with_lambda(x, lam, _finite(alpha, "alpha"), 1.0, 0.0)


def _with_lambda(x: Tensor, lam: float | Tensor, alpha: float, rate: float, beta: float) -> Tensor:
    if isinstance(lam, Tensor):
        return exponential_linear(x, lam, 1.0, alpha, rate, beta)
    lam = _finite(lam, "lam", above=0)
    return exponential_linear(x, None, lam, lam * alpha, rate, lam * beta)


def _finite(value: float, name: str, above: float = -math.inf) -> float:
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and number > above):
        raise InputError(
            f"{name} must be a finite number{' above 0' if above == 0 else ''}, not {value!r}", f"{name}=1.0"
        )
    return number


class _SelfNormalizing(torch.nn.Module):
    """A family's function with the parameters of a solution; with ``trainable`` lambda is a parameter of the module.

    The state dict holds the four numbers of the function, so that weights are not loaded into another one.
    """

    act: ClassVar[str]  # TorchScript knows no other annotation here

    def __init__(
        self,
        solution: Solution,
        trainable: bool,
        channels: SupportsIndex | None,
        channel_dim: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if not isinstance(trainable, bool):
            raise InputError(f"trainable must be True or False, not {trainable!r}", "trainable=True")
        if not isinstance(channel_dim, int) or isinstance(channel_dim, bool):
            raise InputError(f"channel_dim must be a whole number, not {channel_dim!r}", "channel_dim=1")
        if channels is not None and not trainable:
            raise InputError(
                "channels is the number of trained lambdas, and lambda is not trained", "trainable=True, or no channels"
            )
        self.solution = solution
        self.channels = 0 if channels is None else positive_integer(channels, "channels", example="channels=64")
        self.channel_dim = channel_dim
        params = solution.params
        lam, alpha, beta = params["lambda"], params["alpha"], params.get("beta", 0.0)
        self.steep = 1.0 if trainable else lam
        self.amplitude = self.steep * alpha
        self.rate = beta if self.act == "sselu" else 1.0
        self.slope = self.steep * beta if self.act == "lselu" else 0.0
        if trainable:
            size = (self.channels,) if self.channels else ()
            self.lam = torch.nn.Parameter(torch.full(size, lam, device=device, dtype=dtype))
        else:
            self.register_parameter("lam", None)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, to the same shape and type; with channels, their number at ``channel_dim``. Raises InputError."""
        lam: Tensor | None = self.lam
        if lam is not None and self.channels > 0:
            if not torch.jit.is_scripting():  # type: ignore[attr-defined]
                self._check_channels(x)
            size = [1] * x.dim()
            size[self.channel_dim] = self.channels
            lam = lam.view(size)
        return exponential_linear(x, lam, self.steep, self.amplitude, self.rate, self.slope)

    @torch.jit.unused
    def _check_channels(self, x: Tensor) -> None:
        checked(x)
        d = self.channel_dim
        if not -x.dim() <= d < x.dim() or x.shape[d] != self.channels:
            raise InputError(
                f"the input must have {self.channels} channels at dimension {d}; its shape is {tuple(x.shape)}",
                "channels=..., channel_dim=...",
            )

    def extra_repr(self) -> str:
        shown = {"epsilon": self.solution.epsilon, **self.solution.params}
        parts = [f"{name}={value:.6g}" for name, value in shown.items()]
        if self.lam is not None:
            parts.append("trainable=True")
        if self.channels:
            parts.append(f"channels={self.channels}, channel_dim={self.channel_dim}")
        return ", ".join(parts)

    def get_extra_state(self) -> Tensor:
        """The numbers of the function, without a trained lambda, which is a parameter of its own.

        A tensor: formats that hold nothing else take it, and ``torch.load`` with ``weights_only``.
        """
        return torch.tensor([self.steep, self.amplitude, self.rate, self.slope], dtype=torch.float64, device="cpu")

    def set_extra_state(self, state: Any) -> None:
        """Raises InputError where the state is that of another function, to the precision in which it was kept."""
        own = self.get_extra_state()
        same = isinstance(state, Tensor) and state.shape == own.shape
        if same:
            precision = torch.finfo(state.dtype).eps if state.is_floating_point() else 0.0
            same = torch.allclose(state.to(own), own, rtol=max(1e-9, precision), atol=0.0)
        if not same:
            given = ", ".join(f"{v:.6g}" for v in state.tolist()) if isinstance(state, Tensor) else repr(state)
            raise InputError(
                f"the weights belong to another activation: steep, amplitude, rate, slope are {given} there and "
                f"{', '.join(f'{v:.6g}' for v in own.tolist())} here, for {type(self).__name__}({self.extra_repr()})",
                "make the module with the options of the one that was saved; to change the function on purpose, drop "
                "the keys that end in '_extra_state' and load with strict=False",
            )


class _WithFreedom(_SelfNormalizing):
    """A family of three parameters, of which two conditions leave one degree of freedom."""

    def __init__(
        self,
        epsilon: Number | None = None,
        *,
        depth: SupportsIndex | None = None,
        fan_in: SupportsIndex | None = None,
        solution: Solution | Mapping[str, Any] | None = None,
        lam: Number | None = None,
        lambda_min: Number | None = None,
        zero_mean: bool = False,
        trainable: bool = False,
        channels: SupportsIndex | None = None,
        channel_dim: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        found = find(self.act, epsilon, depth, fan_in, solution, lam, lambda_min, zero_mean)
        super().__init__(found, trainable, channels, channel_dim, device, dtype)


class LSELU(_WithFreedom):
    """Leaky SELU: ``lambda x`` for ``x >= 0``, ``lambda (alpha e^x + beta x - alpha)`` below.

    One of these four says which:

    epsilon
        The backward gain minus one, at least 0, as in ``snn_cli.solve``; ``"auto"`` with ``fan_in``.
    depth
        Number of layers: ``epsilon = 1/depth``, with which the squared gradient norm grows by less than ``e``.
    fan_in
        Inputs of the layer before, ``epsilon = "auto"``: the typical gradient is preserved at that width.
    solution
        A ``snn_cli.Solution`` of the same family, or its ``to_dict()``.

    lam, lambda_min, zero_mean
        How the remaining degree of freedom is closed, as in ``snn_cli.solve``; not with a solution.
    trainable
        Lambda is a parameter, ``lam``, that starts at the solution; alpha and beta stay. With another lambda the second
        moment is no longer 1, but ``(lam / lambda)^2``.
    channels, channel_dim
        With trainable: that many lambdas, one for each index of that dimension of the input.
    device, dtype
        Of a trained lambda, as for other modules.

    ``module.solution`` is the record. Any shape goes in, the same shape and type comes out; the derivative at 0 is
    ``lambda``. A state dict is only loaded into the same function: InputError otherwise.

    Source: Chen et al., "Redefining the Self-Normalization Property" (2021). Raises InputError for options that
    contradict each other or are outside their domains, NoSolution where nothing meets them.
    """

    act = "lselu"


class SSELU(_WithFreedom):
    """Scaled SELU: ``lambda x`` for ``x >= 0``, ``lambda (alpha e^(beta x) - alpha)`` below.

    Options as for ``LSELU``; any shape, to the same shape and type. Source: as for ``LSELU``. Raises InputError as
    ``LSELU`` does, NoSolution also for an epsilon of 0: the family holds no linear function.
    """

    act = "sselu"


class DSELU(_SelfNormalizing):
    """Depth-aware SELU: ``lambda x`` for ``x >= 0``, ``lambda (alpha e^x - alpha)`` below, solved for epsilon.

    Options as for ``LSELU``, without ``lam``, ``lambda_min`` and ``zero_mean``: there is no freedom left. Any shape, to
    the same shape and type. Source: as for ``LSELU``. Raises InputError as ``LSELU`` does, NoSolution for an epsilon
    that is not below 0.15976.
    """

    act = "dselu"

    def __init__(
        self,
        epsilon: Number | None = None,
        *,
        depth: SupportsIndex | None = None,
        fan_in: SupportsIndex | None = None,
        solution: Solution | Mapping[str, Any] | None = None,
        trainable: bool = False,
        channels: SupportsIndex | None = None,
        channel_dim: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        found = find(self.act, epsilon, depth, fan_in, solution, None, None, False)
        super().__init__(found, trainable, channels, channel_dim, device, dtype)


class SELU(_SelfNormalizing):
    """SELU, with the parameters that zero mean and unit second moment fix (Klambauer et al., 2017).

    ``torch.nn.SELU`` computes the same; this one has a ``solution`` and, if asked, a trained lambda, as ``LSELU`` has.
    ``solution``, if given, must be SELU's own record. Any shape, to the same shape and type. Source: Klambauer et al.,
    "Self-Normalizing Neural Networks" (2017). Raises InputError for another record, and for options outside their
    domains.
    """

    act = "selu"

    def __init__(
        self,
        *,
        solution: Solution | Mapping[str, Any] | None = None,
        trainable: bool = False,
        channels: SupportsIndex | None = None,
        channel_dim: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        found = solved(self.act) if solution is None else own(self.act, solution)
        super().__init__(found, trainable, channels, channel_dim, device, dtype)


FAMILIES: dict[str, type[_SelfNormalizing]] = {"selu": SELU, "dselu": DSELU, "lselu": LSELU, "sselu": SSELU}
"""Name of a family -> its module."""


def built(given: Solution | Mapping[str, Any], **options: Any) -> _SelfNormalizing:
    """The module of a solution. Raises InputError for one of another function."""
    solution = record(given, "lselu")
    if solution.act not in FAMILIES:
        raise InputError(f"{solution.act} has no module; there are {', '.join(FAMILIES)}", "LSELU(epsilon=0.03)")
    kind: Any = FAMILIES[solution.act]
    module: _SelfNormalizing = kind(solution=solution, **options)
    return module
