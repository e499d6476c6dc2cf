"""Image folders: a folder a class, as ImageNet is unpacked, and Tiny ImageNet's list of validation images."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_cli.data.split import Dataset, Missing, damaged, dataset
from snn_cli.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm"))
_ANNOTATIONS = "val_annotations.txt"
_MARGIN = 8 / 7
"""Images are scaled until their shorter side is this much longer than the crop, as is usual: 256 for 224."""

_MOST_PIXELS = 1 << 27


class Images:
    """Files that are decoded when they are asked for."""

    def __init__(self, files: list[str], labels: NDArray[np.int64], image: int | None, size: tuple[int, int]) -> None:
        self._files = files
        self._image = image
        self._size = size
        self.labels = labels

    def images(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """As `Split` says. Raises InputError for a file that cannot be decoded or is of another size."""
        side = self._size if self._image is None else (self._image, self._image)
        found = np.empty((len(numbers), 3, side[1], side[0]), np.float32)
        for i, number in enumerate(numbers):
            path = self._files[number]
            picture = decode(path)
            if self._image is not None:
                picture = _cropped(picture, self._image)
            elif picture.size != self._size:
                raise damaged(
                    path,
                    f"is {picture.size[0]} x {picture.size[1]}; the first image is {self._size[0]} x {self._size[1]}",
                    "--image 64",
                )
            found[i] = np.asarray(picture, np.float32).transpose(2, 0, 1) / 255
        return found


def load(name: str, directory: str | None, image: int | None) -> Dataset:
    """Every file is listed, the first is decoded. Raises InputError for a layout that is neither of the two."""
    assert directory is not None
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise MissingExtra("--data folder", "Pillow", "train") from None
    root = Path(directory)
    train = root / "train"
    if not train.is_dir():
        raise Missing(f"--data-dir {directory} has no folder train", "--data-dir DIR")
    classes = sorted(entry.name for entry in train.iterdir() if entry.is_dir())
    if len(classes) < 2:
        raise InputError(f"{train} has {len(classes)} folders; one for each of at least two classes", "--data-dir DIR")
    numbers = {each: number for number, each in enumerate(classes)}
    files, labels = _by_class(train, numbers)
    tested = _validation(root, numbers)
    size = decode(files[0]).size
    return dataset(name, len(classes), *(_images(*part, image, size) for part in ((files, labels), tested)))


def _images(files: list[str], labels: list[int], image: int | None, size: tuple[int, int]) -> Images:
    return Images(files, np.array(labels, dtype=np.int64), image, size)


def _by_class(folder: Path, numbers: dict[str, int]) -> tuple[list[str], list[int]]:
    files, labels = [], []
    for name, number in numbers.items():
        inside = folder / name / "images"  # Tiny ImageNet has one folder more
        source = inside if inside.is_dir() else folder / name
        pictures = _pictures(source) if source.is_dir() else []
        if not pictures:
            raise InputError(f"{source} has no image ({', '.join(sorted(SUFFIXES))})", "--data-dir DIR")
        files += pictures
        labels += [number] * len(pictures)
    return files, labels


def _pictures(folder: Path) -> list[str]:
    return sorted(entry.path for entry in os.scandir(folder) if os.path.splitext(entry.name)[1].lower() in SUFFIXES)


def _validation(root: Path, numbers: dict[str, int]) -> tuple[list[str], list[int]]:
    folder = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
    if folder is None:
        raise Missing(f"--data-dir {root} has no folder val", "--data-dir DIR")
    listed = folder / _ANNOTATIONS
    if not listed.is_file():
        return _by_class(folder, numbers)
    files, labels = [], []
    try:
        lines = listed.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(str(listed), f"cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        cells = line.split("\t")
        if len(cells) < 2 or cells[1] not in numbers:
            raise damaged(str(listed), f"line {number} names no image and class of train: {line[:60]!r}")
        path = folder / "images" / cells[0]
        if os.path.basename(cells[0]) != cells[0] or not path.is_file():
            raise damaged(str(listed), f"line {number} names {cells[0]!r}, which is not in {folder / 'images'}")
        files.append(str(path))
        labels.append(numbers[cells[1]])
    return files, labels


def decode(path: str) -> Any:
    """An image in three colours. Raises InputError for a file that is none, is cut short or is absurdly large."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about size, palettes and metadata; what cannot be decoded raises
            with Image.open(path) as opened:
                if opened.width * opened.height > _MOST_PIXELS:
                    raise damaged(path, f"is {opened.width} x {opened.height}: too large", "take it out")
                return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise damaged(path, f"cannot be decoded: {error}", "take it out or fetch it again") from None


def _cropped(picture: Any, side: int) -> Any:
    """The middle of it, ``side x side``, the shorter side scaled to a little more."""
    from PIL import Image

    short = max(side, round(side * _MARGIN)) if min(picture.size) > side else side
    scale = short / min(picture.size)
    width, height = (max(side, round(length * scale)) for length in picture.size)
    scaled = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - side) // 2, (height - side) // 2
    return scaled.crop((left, top, left + side, top + side))
