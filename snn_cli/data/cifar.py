"""CIFAR-10 and CIFAR-100 in their binary version (Krizhevsky, 2009): a label or two, then 3 x 32 x 32 bytes, again."""

from __future__ import annotations

import numpy as np

from snn_cli.data.split import Dataset, InMemory, damaged, dataset, find, read

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_FILES = {
    "cifar10": (tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",), 1, 10, "cifar-10-batches-bin"),
    "cifar100": (("train.bin",), ("test.bin",), 2, 100, "cifar-100-binary"),
}
"""Training files, test files, bytes of labels (the last one counts), classes, and the folder that they unpack to."""


def load(name: str, directory: str | None, image: int | None) -> Dataset:  # noqa: ARG001
    """Raises InputError for files that are missing or cut short, and for labels out of range."""
    assert directory is not None
    train, test, labels, classes, folder = _FILES[name]
    return dataset(name, classes, *(_read(directory, files, labels, classes, folder) for files in (train, test)))


def _read(directory: str, files: tuple[str, ...], labels: int, classes: int, folder: str) -> InMemory:
    rows = []
    for file in files:
        path = find(directory, (file,), (folder,))
        data = np.frombuffer(read(path), np.uint8)
        if not len(data) or len(data) % (labels + _PIXELS):
            raise damaged(path, f"holds {len(data)} bytes, not a multiple of {labels + _PIXELS}: it is cut short")
        part = data.reshape(-1, labels + _PIXELS)
        high = int(part[:, labels - 1].max())
        if high >= classes:
            raise damaged(path, f"has the label {high}; labels are from 0 to {classes - 1}")
        rows.append(part)
    every = np.concatenate(rows)
    return InMemory(every[:, labels:].reshape(-1, *_SHAPE), every[:, labels - 1].astype(np.int64))
