"""Random numbers that depend on (seed, trial, layer, block) alone, whoever draws them and in whatever order."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    from snn_cli.ensembles import Ensemble

BLOCK_ROWS = 512
"""Rows of a weight matrix that are drawn, and multiplied, at a time."""

_WORD = np.uint64(0xFFFFFFFF)
_SIGNED = np.uint64(2**63 - 1)
_TABLE = 1 << 20  # seeds that are worth keeping
_FIRST, _SECOND = np.uint64(0x85EBCA6B), np.uint64(0xC2B2AE35)  # multipliers of MurmurHash3's finalizer
_TRUNCATION = 2.0


class Stopped(Exception):
    """The run has been given up."""


class Streams:
    """A generator for every (trial, layer, block) of one network.

    The streams of a run are numbered, and a permutation of the 32-bit integers that the seed selects makes a seed of
    each number: torch's CPU generator takes 32 bits, and a permutation keeps them apart. Streams ``depth`` and
    ``depth + 1`` of a trial are its inputs and its output gradients; where inputs are mixed, the block that a layer
    has its biases from holds the other halves of the pairs, and what decides the shares.

    Once the event ``stop`` is set nothing more is drawn.
    """

    def __init__(self, seed: int, widths: tuple[int, ...], device: torch.device) -> None:
        import torch

        self._device = device
        self._generator = torch.Generator(device=device)
        self._keys = [
            np.uint64(int.from_bytes(hashlib.blake2b(f"{seed}:{i}".encode(), digest_size=4).digest(), "little"))
            for i in range(4)
        ]
        self._high = np.uint64(int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=3).digest(), "little"))
        self._range = range(0)
        self._table: list[list[int]] = []
        self.blocks = max(-(-width // BLOCK_ROWS) for width in widths) + 1
        self._stride = (len(widths) + 1) * self.blocks
        self.stop: threading.Event | None = None

    def seeds(self, trials: Sequence[int], layer: int, block: int) -> list[int]:
        """Seeds of the streams of that layer and block, one a trial."""
        stream = layer * self.blocks + block
        if not isinstance(trials, range) or len(trials) * self._stride > _TABLE:
            return self._hashed(np.array([stream]), trials)[0]
        if trials != self._range:  # a group asks for all its streams: one call is as dear as one stream's
            self._range, self._table = trials, self._hashed(np.arange(self._stride), trials)
        return self._table[stream]

    def _hashed(self, streams: NDArray[np.int64], trials: Sequence[int]) -> list[list[int]]:
        number = np.array(trials, dtype=np.uint64) * np.uint64(self._stride) + streams.astype(np.uint64)[:, None]
        x = number & _WORD
        for key in self._keys:  # every step is a bijection
            x ^= key
            x = (x * _FIRST) & _WORD
            x ^= x >> np.uint64(13)
            x = (x * _SECOND) & _WORD
            x ^= x >> np.uint64(16)
        if self._device.type != "cpu":  # other generators take 64 bits
            x |= (number >> np.uint64(32) ^ self._high) << np.uint64(32)
        return (x & _SIGNED).tolist()  # type: ignore[no-any-return]

    def generators(self, trials: Sequence[int], layer: int, block: int) -> Iterator[torch.Generator]:
        """The generator at the start of each of these streams, valid until the next. Raises Stopped."""
        for seed in self.seeds(trials, layer, block):
            if self.stop is not None and self.stop.is_set():
                raise Stopped
            yield self._generator.manual_seed(seed)

    @property
    def bias_block(self) -> int:
        """The block of a layer that its biases come from."""
        return self.blocks - 1


class Mixing(NamedTuple):
    """Inputs ``t x_a + (1 - t) x_b`` with ``t ~ Beta(beta, beta)``; ``scaled``: over ``sqrt(t^2 + (1-t)^2)``."""

    beta: float
    scaled: bool


def fill_inputs(
    out: torch.Tensor,
    streams: Streams,
    trials: Sequence[int],
    layer: int,
    deviation: float = 1.0,
    mixing: Mixing | None = None,
) -> None:
    """Independent normal entries from the streams of that layer, in place, of shape (trials, batch, ...).

    With ``mixing`` each input of the batch is mixed with one of its own: t is the share that the first has.
    """
    import torch

    for each, generator in zip(out, streams.generators(trials, layer, 0), strict=True):
        each.normal_(0, deviation, generator=generator)
    if mixing is None:
        return
    shares = np.stack([_shares(mixing, out.shape[1], s) for s in streams.seeds(trials, layer + 1, streams.bias_block)])
    first, second = (
        torch.from_numpy(share).to(out).view(*share.shape, *(1,) * (out.dim() - 2))
        for share in (shares[:, 0], shares[:, 1])
    )
    other = torch.empty_like(out[0])
    for i, generator in enumerate(streams.generators(trials, layer, streams.bias_block)):
        out[i].mul_(first[i]).addcmul_(other.normal_(0, deviation, generator=generator), second[i])


def _shares(mixing: Mixing, batch: int, seed: int) -> NDArray[np.float64]:
    """What either input of every pair is multiplied by, of shape (2, batch)."""
    t = np.random.default_rng(seed).beta(mixing.beta, mixing.beta, batch)
    shares = np.stack([t, 1 - t])
    return shares / np.hypot(*shares) if mixing.scaled else shares


def fill_weights(out: torch.Tensor, ensemble: Ensemble, deviation: float, generator: torch.Generator) -> None:
    """Independent entries of mean 0 and that deviation, in place."""
    if ensemble.name == "uniform":
        bound = deviation * math.sqrt(3)
        out.uniform_(-bound, bound, generator=generator)
    elif ensemble.name == "truncated":
        _truncated(out, deviation, generator)
    else:
        out.normal_(0, deviation, generator=generator)


def _truncated(out: torch.Tensor, deviation: float, generator: torch.Generator) -> None:
    """By the inverse of the distribution function, of a uniform variate."""
    import torch

    from snn_cli.ensembles import variance_kept

    edge = math.erf(_TRUNCATION / math.sqrt(2))
    wide: Any = out if out.dtype in (torch.float32, torch.float64) else torch.empty_like(out, dtype=torch.float32)
    wide.uniform_(-edge, edge, generator=generator)
    wide.erfinv_()
    wide.mul_(math.sqrt(2) * deviation / math.sqrt(variance_kept(_TRUNCATION)))
    if wide is not out:
        out.copy_(wide)


def haar(rows: int, columns: int, deviation: float, dtype: Any, generator: torch.Generator) -> torch.Tensor:
    """A Haar orthogonal matrix, its longer side orthonormal, scaled to entries of that deviation.

    QR of a Gaussian matrix with the signs of R's diagonal taken out (Mezzadri, 2007).
    """
    import torch

    tall, short = max(rows, columns), min(rows, columns)
    working = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    gaussian = torch.empty(tall, short, dtype=working, device=generator.device).normal_(generator=generator)
    q, r = torch.linalg.qr(gaussian)
    q *= torch.sign(torch.diagonal(r))
    q *= deviation * math.sqrt(tall)
    matrix: torch.Tensor = (q if rows == tall else q.T).to(dtype).contiguous()
    return matrix
