"""The IDX files of MNIST and its family (LeCun, Cortes, Burges): a magic number, sizes, then bytes; plain or gzip."""

from __future__ import annotations

import gzip
import io
import math
import zlib

import numpy as np
from numpy.typing import NDArray

from snn_cli.data.split import Dataset, InMemory, damaged, dataset, find, read

_INSIDE = ("MNIST/raw", "FashionMNIST/raw", "raw")  # where others unpack to
_NAMES = (("images-idx3-ubyte", "images.idx3-ubyte"), ("labels-idx1-ubyte", "labels.idx1-ubyte"))  # some write a dot
_BYTES = 8  # the code of unsigned bytes
_LARGEST = 1 << 33


def load(name: str, directory: str | None, image: int | None) -> Dataset:  # noqa: ARG001
    """Raises InputError for files that are missing, cut short or of another kind."""
    assert directory is not None
    parts: list[InMemory] = []
    shape: tuple[int, ...] = ()
    for part in ("train", "t10k"):
        pixels_at, labels_at = (
            find(directory, [f"{part}-{kind}{end}" for kind in kinds for end in ("", ".gz")], _INSIDE)
            for kinds in _NAMES
        )
        pixels, labels = array(pixels_at, 3), array(labels_at, 1)
        if len(pixels) != len(labels):
            raise damaged(labels_at, f"has {len(labels)} labels for the {len(pixels)} images of {pixels_at}")
        parts.append(InMemory(pixels[:, None], labels.astype(np.int64)))
        if shape and pixels.shape[1:] != shape:
            raise damaged(pixels_at, f"has images of {pixels.shape[1:]}; those to train on are {shape}")
        shape = pixels.shape[1:]
    return dataset(name, 10, *parts)


def array(path: str, dimensions: int) -> NDArray[np.uint8]:
    """Of an IDX file of bytes. Raises InputError unless it is one, of that many dimensions, and whole."""
    header = 4 * (1 + dimensions)
    data = read(path)
    if path.endswith(".gz"):
        try:
            with gzip.open(io.BytesIO(data)) as packed:  # no more than its header says, however much there is
                data = packed.read(header)
                data += packed.read(min(math.prod(_sizes(data)), _LARGEST) + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise damaged(path, f"cannot be unpacked: {error}") from None
    magic = bytes((0, 0, _BYTES, dimensions))
    if data[:4] != magic:
        raise damaged(path, f"begins with {data[:4].hex() or 'nothing'}, not {magic.hex()}: it is no such IDX file")
    if len(data) < header:
        raise damaged(path, "is cut short in its header")
    sizes = _sizes(data[:header])
    needed = math.prod(sizes)
    if needed > _LARGEST or len(data) - header != needed:
        raise damaged(path, f"holds {len(data) - header} bytes; its header says {' x '.join(map(str, sizes))}")
    if not needed:
        raise damaged(path, "is empty: its header says so")
    return np.frombuffer(data, np.uint8, offset=header).reshape(sizes)


def _sizes(header: bytes) -> list[int]:
    return [int.from_bytes(header[i : i + 4], "big") for i in range(4, len(header), 4)]
