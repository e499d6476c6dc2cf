"""Random numbers that depend on (seed, trial, layer, block) alone, whoever draws them and in whatever order."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from snn_cli.ensembles import Ensemble

BLOCK_ROWS = 512
"""Rows of a weight matrix that are drawn, and multiplied, at a time."""

_WORD = 0xFFFFFFFF
_TRUNCATION = 2.0


class Streams:
    """A generator for every (trial, layer, block) of one network.

    The streams of a run are numbered, and a permutation of the 32-bit integers that the seed selects makes a seed of
    each number: torch's CPU generator takes 32 bits, and a permutation keeps them apart. Streams ``depth`` and
    ``depth + 1`` of a trial are its inputs and its output gradients.
    """

    def __init__(self, seed: int, widths: tuple[int, ...], device: torch.device) -> None:
        import torch

        self._device = device
        self._generator = torch.Generator(device=device)
        self._keys = [
            int.from_bytes(hashlib.blake2b(f"{seed}:{i}".encode(), digest_size=4).digest(), "little") for i in range(4)
        ]
        self._high = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=3).digest(), "little")
        self._blocks = max(-(-width // BLOCK_ROWS) for width in widths) + 1
        self._stride = (len(widths) + 1) * self._blocks

    def __call__(self, trial: int, layer: int, block: int) -> torch.Generator:
        """The generator at the start of that stream; valid until the next call."""
        number = trial * self._stride + layer * self._blocks + block
        x = number & _WORD
        for key in self._keys:  # every step is a bijection
            x ^= key
            x = (x * 0x85EBCA6B) & _WORD
            x ^= x >> 13
            x = (x * 0xC2B2AE35) & _WORD
            x ^= x >> 16
        if self._device.type != "cpu":
            x |= (self._high ^ (number >> 32)) << 32
        return self._generator.manual_seed(x)

    @property
    def bias_block(self) -> int:
        """The block of a layer that its biases come from."""
        return self._blocks - 1


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
