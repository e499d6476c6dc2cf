"""A group of random multilayer perceptrons of one shape, run forward and backward side by side."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.engine.elementwise import kernel
from snn_cli.engine.sampling import BLOCK_ROWS, Streams, fill_inputs, fill_weights, haar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from snn_cli.engine.sampling import Mixing
    from snn_cli.ensembles import Ensemble

GROUP_WEIGHTS = 1 << 18
"""Weights of one layer that a group of networks has at most, where it has more than one network."""

LARGEST_GROUP = 16
GROUP_BYTES = 64 * 1024**2
"""What a group of more than one network saves between the passes at most."""


_SMALL, _LARGE = 1e-15, 1e15  # norms whose squares, and those of their parts, are far from the ends of float32


class Architecture(NamedTuple):
    """What to build: ``x[l+1] = W[l] f(x[l]) + b[l]`` with the widths of ``x[0] ... x[L]``.

    ``weight_mean`` is the common mean of the weights in units of their own deviation; ``centralize`` takes the mean
    over fan-in out of every row; ``centralize_activation`` one mean over batch and units out of f; ``mixing`` mixes the
    inputs. ``means``: whether the mean over units is measured too.
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
    centralize_activation: bool = False
    mixing: Mixing | None = None
    means: bool = False

    @property
    def depth(self) -> int:
        return len(self.widths) - 1

    @property
    def units(self) -> tuple[int, ...]:
        """Of every layer."""
        return self.widths

    def streams(self, seed: int, device: torch.device) -> Streams:
        """The random numbers of a run."""
        return Streams(seed, self.widths, device)

    def group(self, streams: Streams, first: int, count: int, space: Workspace, keep: bool) -> Group:
        """Networks ``first ... first + count - 1``."""
        return Group(self, streams, first, count, space, keep)

    def least(self, batch: int, size: int) -> tuple[int, int, int]:
        """Networks of a group, bytes that it holds at least, and bytes of its weights if they are kept.

        ``size`` is that of one number.
        """
        widths = self.widths
        weights = [n * m for n, m in pairwise(widths)]
        saved = batch * sum(widths) * size
        group = max(1, min(LARGEST_GROUP, GROUP_WEIGHTS // max(weights), GROUP_BYTES // max(saved, 1)))
        rows = max(widths) if self.ensemble.orthogonal else min(BLOCK_ROWS, max(widths))
        block = max(widths[:-1]) * rows * size * (3 if self.ensemble.orthogonal else 1)
        working = group * (saved + block + 6 * batch * max(widths) * size + 4 * len(widths) * batch * 8)
        return group, working, group * sum(weights) * size

    def shorter(self, depth: int) -> Architecture | None:
        """The same with that depth; None where a layer more is not one of the same."""
        return self._replace(widths=self.widths[: depth + 1]) if len(set(self.widths)) == 1 else None

    def narrower(self, width: int) -> Architecture | None:
        """The same with layers of that width; None where they are not of one."""
        return self._replace(widths=(width,) * len(self.widths)) if len(set(self.widths)) == 1 else None


class Norms(NamedTuple):
    """Of each trial, input and layer: tensors of shape (trials, depth + 1, batch), in float64 on the CPU.

    ``second_moment``: of the pre-activations over units; ``log_gradient``: log of the squared norm of the gradient;
    ``mean``: of the pre-activations over units, None unless asked for.
    """

    second_moment: torch.Tensor
    log_gradient: torch.Tensor
    mean: torch.Tensor | None = None


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
        return measured(self._space, self._net, lambda readings: self._run(batch, readings), len(self._trials), batch)

    def _run(self, batch: int, read: Readings) -> None:
        net, space, depth = self._net, self._space, self._net.depth
        self._reserve(batch)
        x = self._inputs(batch)
        read.forward(0, x)
        for layer in range(depth):
            f = self._kernel.forward(x, space("saved", layer, x.shape))
            if net.centralize_activation:
                f = centralized(f, x)
            x = self._forward(layer, f, batch)
            read.forward(layer + 1, x)
        g = self._vectors("g", depth + 1, net.widths[-1], batch)
        read.backward(depth, g)
        for layer in reversed(range(depth)):
            u = self._backward(layer, g, batch)
            if net.centralize_activation:
                u = centralized(u, u)
            g = self._kernel.backward(u, space("saved", layer, u.shape))
            read.backward(layer, g)
        self._drawn.clear()

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

    def _inputs(self, batch: int) -> torch.Tensor:
        net = self._net
        out = self._space("x", 0, (len(self._trials), batch, net.widths[0]))
        fill_inputs(out, self._streams, self._trials, net.depth, math.sqrt(net.q0), net.mixing)
        return out

    def _vectors(self, name: str, stream: int, width: int, batch: int) -> torch.Tensor:
        out = self._space(name, 0, (len(self._trials), batch, width))
        fill_inputs(out, self._streams, self._trials, stream)
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
        return self._inputs(batch).clone(), self._vectors("g", net.depth + 1, net.widths[-1], batch).clone()


def centralized(f: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """f less one mean over batch and units of each network; ``out`` may be f."""
    import torch

    return torch.sub(f, f.mean(tuple(range(1, f.dim())), keepdim=True), out=out)


class Readings:
    """What is read off a pass: norms, and means where they are asked for, of shape (depth + 1, trials, batch).

    ``wide``: summed in float64, so that no square overflows before the number itself does; on the CPU that takes five
    times as long.
    """

    def __init__(self, space: Workspace, depth: int, count: int, batch: int, wide: bool, means: bool) -> None:
        import torch

        dtype = torch.float64 if wide and space.device.type != "mps" else torch.float32
        self._dtype = torch.float64 if space.dtype is torch.float64 else dtype
        shape = (depth + 1, count, batch)
        names = ("forward", "backward", "means")
        self.norms, self.gradients, self.means = (
            None if name == "means" and not means else space(f"{name} {self._dtype}", 0, shape, self._dtype)
            for name in names
        )
        self._norm = torch.linalg.vector_norm
        self._mean = torch.mean

    def forward(self, layer: int, x: torch.Tensor) -> None:
        """Of pre-activations, of shape (trials, batch, units)."""
        assert self.norms is not None
        self._norm(x, dim=-1, dtype=self._dtype, out=self.norms[layer])
        if self.means is not None:
            self._mean(x, dim=-1, dtype=self._dtype, out=self.means[layer])

    def backward(self, layer: int, g: torch.Tensor) -> None:
        """Of a gradient, of the same shape."""
        assert self.gradients is not None
        self._norm(g, dim=-1, dtype=self._dtype, out=self.gradients[layer])

    @property
    def far(self) -> bool:
        """Whether a square may have left the range of float32."""
        norms = (self.norms, self.gradients)
        return not all(n is not None and float(n.min()) > _SMALL and float(n.max()) < _LARGE for n in norms)


def measured(space: Workspace, net: Any, passes: Callable[[Readings], None], count: int, batch: int) -> Norms:
    """What the passes of ``count`` networks give; they are run again where float32 does not hold the squares."""
    import torch

    narrow = space.dtype is not torch.float64 and space.device.type == "cpu"
    readings = Readings(space, net.depth, count, batch, not narrow, net.means)
    passes(readings)
    if narrow and readings.far:
        readings = Readings(space, net.depth, count, batch, True, net.means)
        passes(readings)
    assert readings.norms is not None
    assert readings.gradients is not None
    forward, backward, means = (
        None if x is None else x.permute(1, 0, 2).cpu().double()
        for x in (readings.norms, readings.gradients, readings.means)
    )
    assert forward is not None
    assert backward is not None
    units = torch.tensor(net.units, dtype=torch.float64)[None, :, None]
    return Norms(forward.square_() / units, backward.log_().mul_(2), means)


def _blocks(rows: int, whole: bool) -> Iterator[tuple[int, int, int]]:
    if whole:
        yield 0, 0, rows
        return
    for block, start in enumerate(range(0, rows, BLOCK_ROWS)):
        yield block, start, min(start + BLOCK_ROWS, rows)
