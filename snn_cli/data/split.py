"""What a data set is: images by number, their classes, and the moments that inputs are standardized with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from snn_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SAMPLED = 2048
"""Images that the moments of a split are taken from: enough for three digits, where images are decoded one by one."""


class Split(Protocol):
    """Images with their classes. ``labels``: whole numbers, of shape (n,)."""

    labels: NDArray[np.int64]

    def images(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of shape (len(numbers), channels, height, width), values from 0 to 1."""
        ...


class InMemory:
    """Images as they were read: ``pixels`` of shape (n, channels, height, width), ``scale`` being white."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64], scale: float = 255.0) -> None:
        self._pixels = pixels
        self._scale = np.float32(scale)
        self.labels = labels

    def images(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """As `Split` says."""
        found: NDArray[np.float32] = self._pixels[numbers].astype(np.float32)
        found /= self._scale
        return found


class Dataset(NamedTuple):
    """``mean``, ``deviation``: of the training images, a channel each. ``shape``: channels, height, width."""

    name: str
    classes: int
    shape: tuple[int, int, int]
    train: Split
    test: Split
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def dataset(name: str, classes: int, train: Split, test: Split) -> Dataset:
    """Put together and checked. Raises InputError for a class without training images, or images of one colour."""
    for split, words in ((train, "training"), (test, "test")):
        if not len(split.labels):
            raise InputError(f"--data {name} has no {words} images", "--data digits")
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= classes:
            raise InputError(
                f"--data {name} has the {words} label {high if high >= classes else low}; labels are from 0 to "
                f"{classes - 1}",
                "--data digits",
            )
    missing = np.flatnonzero(np.bincount(train.labels, minlength=classes) == 0)
    if len(missing):
        raise InputError(f"--data {name} has no training image of class {missing[0]}", "--data digits")
    count = len(train.labels)
    numbers = np.unique(np.linspace(0, count - 1, min(count, _SAMPLED)).round().astype(np.int64))
    sample = train.images(numbers).astype(np.float64)
    mean, deviation = sample.mean((0, 2, 3)), sample.std((0, 2, 3))
    if not (deviation > 0).all():
        raise InputError(f"--data {name} has images of one colour: nothing can be learned from them", "--data digits")
    shape = sample.shape[1:]
    return Dataset(
        name, classes, (shape[0], shape[1], shape[2]), train, test, tuple(mean.tolist()), tuple(deviation.tolist())
    )


class Missing(InputError):
    """A file or folder that belongs to the data is not there; ``load`` adds what a directory must hold."""


def damaged(path: str, what: str, hint: str = "fetch the file again") -> InputError:
    """The error for a file that is not what it should be."""
    return InputError(f"{path} {what}", hint)


def read(path: str) -> bytes:
    """All of a file. Raises InputError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise damaged(path, f"cannot be read: {error.strerror or error}", "--data-dir DIR") from None


def find(directory: str, names: Sequence[str], inside: Sequence[str] = ()) -> str:
    """The first of these files that is in the directory or in one of the folders ``inside`` it.

    Raises Missing, naming the first, where there is none.
    """
    import os

    for folder in (directory, *(os.path.join(directory, name) for name in inside)):
        for name in names:
            if os.path.isfile(path := os.path.join(folder, name)):
                return path
    raise Missing(f"--data-dir {directory} has no file {names[0]}", "--data-dir DIR")
