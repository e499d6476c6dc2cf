"""The 1,797 handwritten digits of scikit-learn (Alpaydin and Kaynak, UCI, 1998): 8 x 8 pixels, 17 grey levels."""

from __future__ import annotations

import numpy as np

from snn_cli.data.split import Dataset, InMemory, dataset
from snn_cli.errors import MissingExtra

_WHITE = 16.0
_TESTED = 5
"""Every fifth image of a class is a test image: the same split everywhere, with all classes in both parts alike."""


def load(name: str, directory: str | None, image: int | None) -> Dataset:  # noqa: ARG001
    """1,442 images to train on and 355 to test. Raises MissingExtra without scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtra("--data digits", "scikit-learn", "train") from None
    found = load_digits()
    pixels = found.images.astype(np.uint8)[:, None]
    labels = found.target.astype(np.int64)
    tested = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        tested[np.flatnonzero(labels == digit)[_TESTED - 1 :: _TESTED]] = True
    train, test = ~tested, tested
    return dataset(
        name,
        10,
        InMemory(pixels[train], labels[train], _WHITE),
        InMemory(pixels[test], labels[test], _WHITE),
    )
