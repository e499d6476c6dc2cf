"""Data sets as they lie on a disk, or embedded in scikit-learn: nothing is downloaded, nothing unpickled."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from snn_cli.errors import InputError, nearest

if TYPE_CHECKING:
    from snn_cli.data.split import Dataset


class Source(NamedTuple):
    """A kind of data: the module whose ``load(directory, image)`` reads it, and what its directory must look like.

    ``directory`` is None where none is needed; ``sized`` says whether images may be scaled to a size asked for.
    """

    module: str
    directory: str | None
    sized: bool = False


SOURCES = {
    "digits": Source("digits", None),
    "mnist": Source(
        "idx",
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, plain or "
        ".gz, of MNIST or Fashion-MNIST (ossci-datasets.s3.amazonaws.com/mnist, "
        "github.com/zalandoresearch/fashion-mnist)",
    ),
    "cifar10": Source(
        "cifar",
        "data_batch_1.bin to data_batch_5.bin and test_batch.bin, the binary version of "
        "www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "cifar100": Source("cifar", "train.bin and test.bin, the binary version of www.cs.toronto.edu/~kriz/cifar.html"),
    "folder": Source(
        "folder",
        "train/CLASS/*.jpg and val/CLASS/*.jpg, or val/images with val/val_annotations.txt (ImageNet, Tiny ImageNet)",
        sized=True,
    ),
}
"""Name, as ``--data`` takes it -> how it is read."""


def load(name: str, directory: str | None = None, image: int | None = None) -> Dataset:
    """Read a data set.

    directory
        Where its files are; None for what is embedded.
    image
        Side that images are scaled and cropped to, where the kind of data allows it.

    Raises InputError for an unknown name, a directory that is missing or holds something else, and for files that are
    cut short, damaged or inconsistent; MissingExtra without scikit-learn or Pillow where they are needed.
    """
    check(name, directory, image)
    source = SOURCES[name]
    from snn_cli.data.split import Missing

    try:
        found: Dataset = import_module(f"snn_cli.data.{source.module}").load(name, directory, image)
    except Missing as error:
        raise InputError(str(error), f"--data-dir DIR, a folder with {source.directory}") from None
    return found


def check(name: str, directory: str | None, image: int | None) -> None:
    """What can be said before anything is read. Raises InputError as `load` does."""
    if name not in SOURCES:
        hint = f"--data {nearest(str(name).lower(), SOURCES, 'digits', cutoff=0.3)}"
        if os.sep in str(name):
            hint = f"--data folder --data-dir {name}, for images in a folder a class"
        raise InputError(f"--data {name} is none of {', '.join(SOURCES)}", hint)
    source = SOURCES[name]
    if source.directory is None:
        if directory is not None:
            raise InputError(f"--data {name} is embedded and reads no --data-dir", "leave out --data-dir")
    elif directory is None:
        raise InputError(
            f"--data {name} needs --data-dir, a folder with {source.directory}", f"--data {name} --data-dir DIR"
        )
    elif not os.path.isdir(directory):
        raise InputError(
            f"--data-dir {directory} is no folder; it must hold {source.directory}", f"--data {name} --data-dir DIR"
        )
    if image is not None and not source.sized:
        raise InputError(
            f"--image says nothing about --data {name}: its images have their own size", "leave out --image"
        )
