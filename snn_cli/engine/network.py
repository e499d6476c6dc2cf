"""A group of random multilayer perceptrons of one shape, run forward and backward side by side."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.engine.elementwise import kernel
from snn_cli.engine.sampling import BLOCK_ROWS, Streams, fill_weights, haar

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class Workspace:
    """Tensors that one group after another writes into: fresh memory costs as much as a layer's arithmetic."""

    def __init__(self, dtype: Any, device: Any) -> None:
        self.dtype = dtype
        self.device = device
        self._flat: dict[tuple[str, int], torch.Tensor] = {}
        self._known: dict[tuple[str, int], torch.Tensor] = {}

    def __call__(self, name: str, key: int, shape: tuple[int, ...], dtype: Any = None) -> torch.Tensor:
        """The tensor of that name and key, in that shape, with whatever was last written into it."""
        import torch

        found = self._known.get((name, key))
        if found is not None and found.shape == shape:
            return found
        size = math.prod(shape)
        flat = self._flat.get((name, key))
        if flat is None or flat.numel() < size:
            flat = self._flat[name, key] = torch.empty(size, dtype=dtype or self.dtype, device=self.device)
        found = self._known[name, key] = flat[:size].view(shape)
        return found


class Group:
    """Networks of the trials ``first ... first + count - 1``.

    ``keep`` holds the weights between the passes; else they are drawn again from their streams.
    """

    def __init__(
        self, architecture: Architecture, streams: Streams, first: int, count: int, space: Workspace, keep: bool
    ) -> None:
        self._net = architecture
        self._streams = streams
        self._trials = range(first, first + count)
        self._space = space
        self._keep = keep
        self._drawn: set[tuple[int, int]] = set()
        self._kernel = kernel(architecture.act, dict(architecture.params))

    def run(self, batch: int) -> Norms:
        """Inputs ``N(0, q0 I)`` through the networks, gradients ``N(0, I)`` at the output back to the inputs."""
        narrow = self._space.dtype is not _float64() and self._space.device.type == "cpu"
        norms = self._run(batch, wide=not narrow)
        if narrow and not all(float(n.min()) > _SMALL and float(n.max()) < _LARGE for n in norms):
            norms = self._run(batch, wide=True)
        forward, backward = (n.permute(1, 0, 2).cpu().double() for n in norms)
        return Norms(forward.square_() / _units(self._net.widths), backward.log_().mul_(2))

    def _run(self, batch: int, wide: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Norms of the pre-activations and of the gradients, of shape (depth + 1, trials, batch).

        ``wide``: summed in float64, so that no square overflows before the number itself does; on the CPU that takes
        five times as long.
        """
        import torch

        net, space, depth, count = self._net, self._space, self._net.depth, len(self._trials)
        dtype = torch.float64 if wide and space.device.type != "mps" else torch.float32
        dtype = torch.float64 if space.dtype is torch.float64 else dtype
        forward, backward = (
            space(f"{name} {dtype}", 0, (depth + 1, count, batch), dtype) for name in ("forward", "backward")
        )
        self._reserve(batch)
        x = self._vectors("x", depth, net.widths[0], batch, math.sqrt(net.q0))
        torch.linalg.vector_norm(x, dim=-1, dtype=dtype, out=forward[0])
        for layer in range(depth):
            f = self._kernel.forward(x, space("saved", layer, x.shape))
            x = self._forward(layer, f, batch)
            torch.linalg.vector_norm(x, dim=-1, dtype=dtype, out=forward[layer + 1])
        g = self._vectors("g", depth + 1, net.widths[-1], batch, 1.0)
        torch.linalg.vector_norm(g, dim=-1, dtype=dtype, out=backward[depth])
        for layer in reversed(range(depth)):
            u = self._backward(layer, g, batch)
            g = self._kernel.backward(u, space("saved", layer, u.shape))
            torch.linalg.vector_norm(g, dim=-1, dtype=dtype, out=backward[layer])
        self._drawn.clear()
        return forward, backward

    def _reserve(self, batch: int) -> None:
        """The largest tensor of a name before the others: one that grows leaves holes in the heap."""
        widths, count = self._net.widths, len(self._trials)
        for name in ("x", "u"):
            for key in (0, 1):
                self._space(name, key, (count, batch, max(widths)))
        if not self._keep:
            blocks = [
                (stop - start, columns)
                for columns, rows in pairwise(widths)
                for _, start, stop in _blocks(rows, self._net.ensemble.orthogonal)
            ]
            self._space("weights", -1, (count, *max(blocks, key=math.prod)))

    def _vectors(self, name: str, stream: int, width: int, batch: int, deviation: float) -> torch.Tensor:
        out = self._space(name, 0, (len(self._trials), batch, width))
        for each, generator in zip(out, self._streams.generators(self._trials, stream, 0), strict=True):
            each.normal_(0, deviation, generator=generator)
        return out

    def _forward(self, layer: int, f: torch.Tensor, batch: int) -> torch.Tensor:
        import torch

        rows = self._net.widths[layer + 1]
        out = self._space("x", (layer + 1) % 2, (len(self._trials), batch, rows))
        for block, start, stop in _blocks(rows, self._net.ensemble.orthogonal):
            weights = self._weights(layer, block, start, stop)
            if stop - start == rows:
                torch.matmul(f, weights.mT, out=out)
            else:
                part = self._space("part", start, (len(self._trials), batch, stop - start))
                out[..., start:stop] = torch.matmul(f, weights.mT, out=part)
        return out.add_(self._biases(layer, rows)) if self._net.sigma_b else out

    def _backward(self, layer: int, g: torch.Tensor, batch: int) -> torch.Tensor:
        import torch

        shape = (len(self._trials), batch, self._net.widths[layer])
        total = self._space("u", layer % 2, shape)  # g may be the other
        for block, start, stop in _blocks(self._net.widths[layer + 1], self._net.ensemble.orthogonal):
            weights = self._weights(layer, block, start, stop)
            piece = g if stop - start == g.shape[-1] else g[..., start:stop].contiguous()
            if not start:
                torch.matmul(piece, weights, out=total)
            else:
                total += torch.matmul(piece, weights, out=self._space("u", 2, shape))
        return total

    def _weights(self, layer: int, block: int, start: int, stop: int) -> torch.Tensor:
        """Rows of the layer's matrices, of shape (trials, rows, fan-in)."""
        net, columns = self._net, self._net.widths[layer]
        place = layer * self._streams.blocks + block if self._keep else -1
        weights = self._space("weights", place, (len(self._trials), stop - start, columns))
        if (layer, block) in self._drawn:
            return weights
        deviation = net.sigma_w / math.sqrt(columns)
        for each, generator in zip(weights, self._streams.generators(self._trials, layer, block), strict=True):
            if net.ensemble.orthogonal:
                each.copy_(haar(stop - start, columns, deviation, self._space.dtype, generator))
            else:
                fill_weights(each, net.ensemble, deviation, generator)
        if net.weight_mean:
            weights += net.weight_mean * deviation
        if net.centralize:
            weights -= weights.mean(-1, keepdim=True)
        if self._keep:
            self._drawn.add((layer, block))
        return weights

    def _biases(self, layer: int, rows: int) -> torch.Tensor:
        out = self._space("biases", 0, (len(self._trials), 1, rows))
        streams = self._streams.generators(self._trials, layer, self._streams.bias_block)
        for each, generator in zip(out, streams, strict=True):
            each.normal_(0, self._net.sigma_b, generator=generator)
        return out

    def matrices(self) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
        """Weights and biases of every layer, whole: to hold the passes against another implementation."""
        import torch

        found = []
        for layer in range(self._net.depth):
            rows = self._net.widths[layer + 1]
            parts = [self._weights(layer, *block).clone() for block in _blocks(rows, self._net.ensemble.orthogonal)]
            found.append((torch.cat(parts, 1), self._biases(layer, rows).clone() if self._net.sigma_b else None))
        return found

    def ends(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and output gradients."""
        net = self._net
        x = self._vectors("x", net.depth, net.widths[0], batch, math.sqrt(net.q0)).clone()
        return x, self._vectors("g", net.depth + 1, net.widths[-1], batch, 1.0).clone()


def _float64() -> Any:
    import torch

    return torch.float64


def _units(widths: tuple[int, ...]) -> torch.Tensor:
    import torch

    return torch.tensor(widths, dtype=torch.float64)[None, :, None]


def _blocks(rows: int, whole: bool) -> Iterator[tuple[int, int, int]]:
    if whole:
        yield 0, 0, rows
        return
    for block, start in enumerate(range(0, rows, BLOCK_ROWS)):
        yield block, start, min(start + BLOCK_ROWS, rows)
