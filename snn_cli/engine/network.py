"""A group of random multilayer perceptrons of one shape, run forward and backward side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.engine.elementwise import kernel
from snn_cli.engine.sampling import BLOCK_ROWS, Streams, fill_weights, haar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from snn_cli.ensembles import Ensemble


_SMALL, _LARGE = 1e-15, 1e15  # norms whose squares, and those of their parts, are far from the ends of float32


class Architecture(NamedTuple):
    """What to build: ``x[l+1] = W[l] f(x[l]) + b[l]`` with the widths of ``x[0] ... x[L]``.

    ``weight_mean`` is the common mean of the weights in units of their own deviation; ``centralize`` takes the mean
    over fan-in out of every row.
    """

    act: str
    params: tuple[tuple[str, float], ...]
    widths: tuple[int, ...]
    ensemble: Ensemble
    sigma_w: float = 1.0
    sigma_b: float = 0.0
    q0: float = 1.0
    weight_mean: float = 0.0
    centralize: bool = False

    @property
    def depth(self) -> int:
        return len(self.widths) - 1


class Norms(NamedTuple):
    """Of each trial, input and layer: tensors of shape (trials, depth + 1, batch), in float64 on the CPU.

    ``second_moment``: of the pre-activations over units; ``log_gradient``: log of the squared norm of the gradient.
    """

    second_moment: torch.Tensor
    log_gradient: torch.Tensor


class Group:
    """Networks of the trials ``first ... first + count - 1``.

    ``keep`` holds the weights between the passes; else they are drawn again from their streams.
    """

    def __init__(
        self, architecture: Architecture, streams: Streams, first: int, count: int, dtype: Any, device: Any, keep: bool
    ) -> None:
        self._net = architecture
        self._streams = streams
        self._trials = range(first, first + count)
        self._dtype = dtype
        self._device = device
        self._keep = keep
        self._kept: dict[tuple[int, int], torch.Tensor] = {}
        self._kernel = kernel(architecture.act, dict(architecture.params))

    def run(self, batch: int) -> Norms:
        """Inputs ``N(0, q0 I)`` through the networks, gradients ``N(0, I)`` at the output back to the inputs."""
        import torch

        net, depth = self._net, self._net.depth
        x = self._vectors(depth, net.widths[0], batch, math.sqrt(net.q0))
        moments, logs = [self._second_moment(x)], []
        saved = []
        for layer in range(depth):
            f, each = self._kernel.forward(x)
            saved.append(each)
            x = self._forward(layer, f)
            moments.append(self._second_moment(x))
        g = self._vectors(depth + 1, net.widths[-1], batch, 1.0)
        logs.append(self._log_norm(g))
        for layer in reversed(range(depth)):
            g = self._kernel.backward(self._backward(layer, g), saved.pop())
            logs.append(self._log_norm(g))
        return Norms(torch.stack(moments, 1).cpu(), torch.stack(logs[::-1], 1).cpu())

    def _vectors(self, stream: int, width: int, batch: int, deviation: float) -> torch.Tensor:
        import torch

        out = torch.empty(len(self._trials), batch, width, dtype=self._dtype, device=self._device)
        for i, trial in enumerate(self._trials):
            out[i].normal_(0, deviation, generator=self._streams(trial, stream, 0))
        return out

    def _second_moment(self, x: torch.Tensor) -> torch.Tensor:
        return _norm(x).square_().div_(x.shape[-1])

    def _log_norm(self, g: torch.Tensor) -> torch.Tensor:
        return _norm(g).log_().mul_(2)

    def _forward(self, layer: int, f: torch.Tensor) -> torch.Tensor:
        import torch

        rows = self._net.widths[layer + 1]
        out = torch.empty(*f.shape[:-1], rows, dtype=self._dtype, device=self._device)
        for block, start, stop in _blocks(rows, self._net.ensemble.orthogonal):
            weights = self._weights(layer, block, start, stop)
            if stop - start == rows:
                torch.matmul(f, weights.mT, out=out)
            else:
                out[..., start:stop] = torch.matmul(f, weights.mT)
        if self._net.sigma_b:
            out += self._biases(layer, rows)
        return out

    def _backward(self, layer: int, g: torch.Tensor) -> torch.Tensor:
        import torch

        total = None
        for block, start, stop in _blocks(self._net.widths[layer + 1], self._net.ensemble.orthogonal):
            weights = self._weights(layer, block, start, stop)
            part = torch.matmul(g[..., start:stop], weights)
            total = part if total is None else total.add_(part)
            self._kept.pop((layer, block), None)
        assert total is not None
        return total

    def _weights(self, layer: int, block: int, start: int, stop: int) -> torch.Tensor:
        """Rows of the layer's matrices, of shape (trials, rows, fan-in)."""
        import torch

        if (layer, block) in self._kept:
            return self._kept[layer, block]
        net, columns = self._net, self._net.widths[layer]
        deviation = net.sigma_w / math.sqrt(columns)
        if net.ensemble.orthogonal:
            matrices = [
                haar(stop - start, columns, deviation, self._dtype, self._streams(trial, layer, block))
                for trial in self._trials
            ]
            weights = torch.stack(matrices)
        else:
            weights = torch.empty(len(self._trials), stop - start, columns, dtype=self._dtype, device=self._device)
            for i, trial in enumerate(self._trials):
                fill_weights(weights[i], net.ensemble, deviation, self._streams(trial, layer, block))
        if net.weight_mean:
            weights += net.weight_mean * deviation
        if net.centralize:
            weights -= weights.mean(-1, keepdim=True)
        if self._keep:
            self._kept[layer, block] = weights
        return weights

    def _biases(self, layer: int, rows: int) -> torch.Tensor:
        import torch

        out = torch.empty(len(self._trials), 1, rows, dtype=self._dtype, device=self._device)
        for i, trial in enumerate(self._trials):
            out[i].normal_(0, self._net.sigma_b, generator=self._streams(trial, layer, self._streams.bias_block))
        return out

    def matrices(self) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
        """Weights and biases of every layer, whole: to hold the passes against another implementation."""
        import torch

        found = []
        for layer in range(self._net.depth):
            rows = self._net.widths[layer + 1]
            parts = [self._weights(layer, *block) for block in _blocks(rows, self._net.ensemble.orthogonal)]
            found.append((torch.cat(parts, 1), self._biases(layer, rows) if self._net.sigma_b else None))
        return found

    def ends(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and output gradients."""
        net = self._net
        x = self._vectors(net.depth, net.widths[0], batch, math.sqrt(net.q0))
        return x, self._vectors(net.depth + 1, net.widths[-1], batch, 1.0)


def _norm(x: torch.Tensor) -> torch.Tensor:
    """Norms over the last axis, in float64 where there is one; no square overflows before the number itself does."""
    import torch

    norm: torch.Tensor
    if x.device.type == "mps":
        norm = torch.linalg.vector_norm(x.float(), dim=-1)
        return norm
    if x.device.type == "cpu" and x.dtype == torch.float32:  # in float64 it takes five times as long
        norm = torch.linalg.vector_norm(x, dim=-1).double()
        if float(norm.min()) > _SMALL and float(norm.max()) < _LARGE:
            return norm
    norm = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float64)
    return norm


def _blocks(rows: int, whole: bool) -> Iterator[tuple[int, int, int]]:
    if whole:
        yield 0, 0, rows
        return
    for block, start in enumerate(range(0, rows, BLOCK_ROWS)):
        yield block, start, min(start + BLOCK_ROWS, rows)


def parameters(mapping: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Parameter values in a form that can be compared and hashed."""
    return tuple(mapping.items())
