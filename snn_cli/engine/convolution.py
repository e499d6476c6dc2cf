"""A random convolutional network, run forward and backward, one network at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from snn_cli.engine.elementwise import kernel
from snn_cli.engine.network import centralized, measured
from snn_cli.engine.sampling import Streams, fill_inputs, fill_weights, haar

if TYPE_CHECKING:
    import torch

    from snn_cli.architectures import Stage
    from snn_cli.engine.network import Norms, Readings, Workspace
    from snn_cli.engine.sampling import Mixing
    from snn_cli.ensembles import Ensemble

_FRESH = 12
"""Images of the largest layer that a pass holds besides those that are saved: what convolutions give, their copies in
their own order of memory, and holes."""


_FEW_CHANNELS = 128
"""Channels up to which convolutions on the CPU are quicker with the channels last in memory."""


class Convolutional(NamedTuple):
    """What to build: ``x[l+1] = W[l] * f(x[l]) + b[l]``, a stage a layer; ``x[0]`` are images of independent pixels.

    Weights have the deviation ``sigma_w / sqrt(fan-in)``, the fan-in being that of a filter. Orthogonal ones are
    delta-orthogonal: zero but for the centre tap, a Haar orthogonal matrix over channels (Xiao et al., 2018), so that
    their fan-in is the number of channels. Other fields as in `Architecture`; means are over channels and positions.
    """

    act: str
    params: tuple[tuple[str, float], ...]
    stages: tuple[Stage, ...]
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
        return len(self.stages)

    @property
    def units(self) -> tuple[int, ...]:
        """Of every layer: channels times positions."""
        first = self.stages[0]
        return first.inputs * first.size**2, *(stage.channels * stage.out**2 for stage in self.stages)

    def streams(self, seed: int, device: torch.device) -> Streams:
        """The random numbers of a run: every layer is one block."""
        return Streams(seed, (1,) * (self.depth + 1), device)

    def group(self, streams: Streams, first: int, count: int, space: Workspace, keep: bool) -> ConvolutionGroup:
        """Network number ``first``; groups are of one."""
        assert count == 1
        return ConvolutionGroup(self, streams, first, space, keep)

    def least(self, batch: int, size: int) -> tuple[int, int, int]:
        """Networks of a group (one), bytes that it holds at least, and bytes of its weights if they are kept."""
        weights = [stage.fan_in * stage.channels for stage in self.stages]
        images = [stage.inputs * (stage.size + stage.kernel - 1) ** 2 for stage in self.stages]
        images += [stage.channels * stage.out**2 for stage in self.stages]
        saved = sum(stage.inputs * stage.size**2 for stage in self.stages)
        working = (saved + _FRESH * max(images)) * batch + 3 * max(weights)
        return 1, working * size + 4 * len(images) * batch * 8, sum(weights) * size

    def shorter(self, depth: int) -> Convolutional | None:
        """The same with that depth; None where layers differ."""
        return self._replace(stages=self.stages[:depth]) if len(set(self.stages)) == 1 else None

    def narrower(self, width: int) -> None:
        """None: its width has three options."""


class ConvolutionGroup:
    """The network of one trial; ``keep`` holds its weights between the passes, else they are drawn again."""

    def __init__(self, net: Convolutional, streams: Streams, trial: int, space: Workspace, keep: bool) -> None:
        self._net = net
        self._streams = streams
        self._trials = range(trial, trial + 1)
        self._space = space
        self._keep = keep
        self._last = max(stage.inputs for stage in net.stages) <= _FEW_CHANNELS
        self._drawn: set[int] = set()
        self._kernel = kernel(net.act, dict(net.params))

    def run(self, batch: int) -> Norms:
        """Images ``N(0, q0 I)`` through the network, gradients ``N(0, I)`` at the output back to the images."""
        return measured(self._space, self._net, lambda readings: self._run(batch, readings), 1, batch)

    def _run(self, batch: int, read: Readings) -> None:
        net, depth = self._net, self._net.depth
        self._reserve(batch)
        x = self._images(batch)
        read.forward(0, _flat(x))
        for layer, stage in enumerate(net.stages):
            if stage.activated:
                f = self._kernel.forward(x, self._image("saved", layer, stage.inputs, stage.size, batch))
                x = centralized(f[None], x[None])[0] if net.centralize_activation else f
            x = self._forward(layer, x)
            read.forward(layer + 1, _flat(x))
        g = self._gradients(batch)
        read.backward(depth, _flat(g))
        for layer in reversed(range(depth)):
            g, stage = self._backward(layer, g), net.stages[layer]
            if stage.activated:
                if net.centralize_activation:
                    g = centralized(g[None], g[None])[0]
                g = self._kernel.backward(g, self._image("saved", layer, stage.inputs, stage.size, batch))
            read.backward(layer, _flat(g))
        self._drawn.clear()

    def _reserve(self, batch: int) -> None:
        """What stays, before what comes and goes: that would leave holes in the heap."""
        for layer, stage in enumerate(self._net.stages):
            if stage.activated:
                self._image("saved", layer, stage.inputs, stage.size, batch)
            if self._keep:
                self._space("weights", layer, _shape(stage))
        if not self._keep:
            largest = max(self._net.stages, key=lambda stage: stage.fan_in * stage.channels)
            self._space("weights", -1, _shape(largest))

    def _image(self, name: str, key: int, channels: int, side: int, batch: int) -> torch.Tensor:
        """Of shape (batch, channels, side, side)."""
        if not self._last:
            return self._space(name, key, (batch, channels, side, side))
        return self._space(name, key, (batch, side, side, channels)).permute(0, 3, 1, 2)

    def _images(self, batch: int) -> torch.Tensor:
        net, first = self._net, self._net.stages[0]
        out = self._image("images", 0, first.inputs, first.size, batch)
        fill_inputs(_flat(out), self._streams, self._trials, net.depth, math.sqrt(net.q0), net.mixing)
        return out

    def _gradients(self, batch: int) -> torch.Tensor:
        last = self._net.stages[-1]
        out = self._image("gradients", 0, last.channels, last.out, batch)
        fill_inputs(_flat(out), self._streams, self._trials, self._net.depth + 1)
        return out

    def _forward(self, layer: int, f: torch.Tensor) -> torch.Tensor:
        import torch

        stage, weights = self._net.stages[layer], self._weights(layer)
        if stage.pooled:
            out = torch.conv2d(f.mean((2, 3), keepdim=True), weights)
        elif stage.circular:
            out = torch.conv2d(self._wrapped(stage, f), weights, stride=stage.stride)
        else:
            out = torch.conv2d(f, weights, stride=stage.stride, padding=stage.kernel // 2)
        return out.add_(self._biases(layer)) if self._net.sigma_b else out

    def _backward(self, layer: int, g: torch.Tensor) -> torch.Tensor:
        """The gradient at f of that layer: real back-propagation through the convolution and its padding."""
        stage, weights, batch = self._net.stages[layer], self._weights(layer), len(g)
        edge = stage.kernel // 2
        side = 1 if stage.pooled else stage.size + 2 * edge * stage.circular
        like = self._image("padded", side, stage.inputs, side, batch)  # of it only the shape counts
        u = _convolution_backward(g, like, weights, stage.stride, 0 if stage.circular else edge)
        if stage.pooled:
            out = self._image("u", stage.size, stage.inputs, stage.size, batch)
            return out.copy_((u / stage.size**2).expand(-1, -1, stage.size, stage.size))
        return self._folded(stage, u) if stage.circular and edge else u

    def _wrapped(self, stage: Stage, f: torch.Tensor) -> torch.Tensor:
        """f with its opposite borders around it."""
        n, edge = stage.size, stage.kernel // 2
        if not edge:
            return f
        out = self._image("padded", n + 2 * edge, stage.inputs, n + 2 * edge, len(f))
        inside = slice(edge, edge + n)
        out[:, :, inside, inside] = f
        out[:, :, :edge, inside] = f[:, :, n - edge :]
        out[:, :, edge + n :, inside] = f[:, :, :edge]
        out[..., :edge] = out[..., n : n + edge]
        out[..., edge + n :] = out[..., edge : 2 * edge]
        return out

    def _folded(self, stage: Stage, u: torch.Tensor) -> torch.Tensor:
        """The transpose of `_wrapped`: what came to the borders goes where they were copied from."""
        n, edge = stage.size, stage.kernel // 2
        u[..., n : n + edge] += u[..., :edge]
        u[..., edge : 2 * edge] += u[..., edge + n :]
        u[:, :, n : n + edge] += u[:, :, :edge]
        u[:, :, edge : 2 * edge] += u[:, :, edge + n :]
        out = self._image("u", n, stage.inputs, n, len(u))
        return out.copy_(u[:, :, edge : edge + n, edge : edge + n])

    def _weights(self, layer: int) -> torch.Tensor:
        """Filters, of shape (channels, inputs, kernel, kernel)."""
        net, stage = self._net, self._net.stages[layer]
        weights = self._space("weights", layer if self._keep else -1, _shape(stage))
        if layer in self._drawn:
            return weights
        (generator,) = self._streams.generators(self._trials, layer, 0)
        taps = weights  # that are not zero
        if net.ensemble.orthogonal:
            deviation = net.sigma_w / math.sqrt(stage.inputs)
            taps = weights.zero_()[:, :, stage.kernel // 2, stage.kernel // 2, None, None]
            matrix = haar(stage.channels, stage.inputs, deviation, self._space.dtype, generator)
            taps.copy_(matrix[:, :, None, None])
        else:
            deviation = net.sigma_w / math.sqrt(stage.fan_in)
            fill_weights(weights, net.ensemble, deviation, generator)
        if net.weight_mean:
            taps += net.weight_mean * deviation
        if net.centralize:
            taps -= taps.mean((1, 2, 3), keepdim=True)
        if self._keep:
            self._drawn.add(layer)
        return weights

    def _biases(self, layer: int) -> torch.Tensor:
        out = self._space("biases", layer, (self._net.stages[layer].channels, 1, 1))
        (generator,) = self._streams.generators(self._trials, layer, self._streams.bias_block)
        return out.normal_(0, self._net.sigma_b, generator=generator)

    def filters(self) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
        """Weights and biases of every layer: to hold the passes against another implementation."""
        return [
            (self._weights(layer).clone(), self._biases(layer).clone() if self._net.sigma_b else None)
            for layer in range(self._net.depth)
        ]

    def ends(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and output gradients."""
        return self._images(batch).clone(), self._gradients(batch).clone()


def _flat(x: torch.Tensor) -> torch.Tensor:
    """Images as rows, of one network: of shape (1, batch, units), in the order that they have in memory."""
    return (x if x.is_contiguous() else x.permute(0, 2, 3, 1)).flatten(1)[None]


def _shape(stage: Stage) -> tuple[int, int, int, int]:
    return stage.channels, stage.inputs, stage.kernel, stage.kernel


def _convolution_backward(
    g: torch.Tensor, like: torch.Tensor, weights: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    """The gradient of a convolution with respect to what goes in, which has the shape of ``like``."""
    import torch

    found: torch.Tensor = torch.ops.aten.convolution_backward(
        g, like, weights, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [True, False, False]
    )[0]
    return found
