"""Loaders, on small files written here in the formats' own layout; whole, cut short and corrupt."""

from __future__ import annotations

import gzip
import struct
import zlib

import numpy as np
import pytest

from snn_cli import data
from snn_cli.errors import InputError, MissingExtra

RNG = np.random.default_rng(0)


def write_idx(folder, count=40, side=5, *, packed=False, labels=None):
    """MNIST's four files, by struct alone."""
    kept = {}
    for part, size in (("train", count), ("t10k", count // 2)):
        pixels = RNG.integers(0, 256, (size, side, side), dtype=np.uint8)
        chosen = np.arange(size, dtype=np.uint8) % 10 if labels is None else np.full(size, labels, np.uint8)
        kept[part] = pixels, chosen
        for name, values, magic in (("images-idx3", pixels, 0x803), ("labels-idx1", chosen, 0x801)):
            content = struct.pack(f">{1 + values.ndim}I", magic, *values.shape) + values.tobytes()
            path = folder / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    return kept


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("inside", ["", "MNIST/raw"])
def test_idx(tmp_path, packed, inside):
    folder = tmp_path / inside
    folder.mkdir(parents=True, exist_ok=True)
    kept = write_idx(folder, packed=packed)
    found = data.load("mnist", str(tmp_path))
    assert (found.classes, found.shape) == (10, (1, 5, 5))
    for split, part in ((found.train, "train"), (found.test, "t10k")):
        pixels, labels = kept[part]
        np.testing.assert_array_equal(split.labels, labels)
        numbers = np.array([3, 0, 3])
        np.testing.assert_allclose(split.images(numbers)[:, 0], pixels[numbers] / 255, rtol=1e-6)
    assert found.mean[0] == pytest.approx(kept["train"][0].mean() / 255)
    assert found.deviation[0] == pytest.approx(kept["train"][0].std() / 255)


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (IMAGES, lambda b: b[:-1], "its header says"),
        (IMAGES, lambda b: b + b"\0", "its header says"),
        (IMAGES, lambda b: b"\0\0\x08\x01" + b[4:], "begins with 00000801"),
        (IMAGES, lambda b: b"\0\0\x0d\x03" + b[4:], "begins with"),
        (IMAGES, lambda b: b[:7], "header"),
        (IMAGES, lambda _: b"", "begins with nothing"),
        (IMAGES, lambda b: b[:4] + b"\xff" * 12 + b[16:], "its header says"),
        (IMAGES, lambda b: b[:4] + bytes(12), "empty|header says"),
        (LABELS, lambda b: struct.pack(">2I", 0x801, 39) + b[8:-1], "39 labels for the 40 images"),
        (LABELS, lambda b: b[:8] + b"\x0a" + b[9:], "label 10"),
        (LABELS, lambda b: b[:8] + bytes(40), "no training image of class 1"),
    ],
)
def test_damaged_idx(tmp_path, name, change, words):
    write_idx(tmp_path)
    path = tmp_path / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=words):
        data.load("mnist", str(tmp_path))


def test_damaged_gzip(tmp_path):
    write_idx(tmp_path, packed=True)
    path = tmp_path / f"{IMAGES}.gz"
    whole = path.read_bytes()
    for content in (whole[:-9], whole[: len(whole) // 2], b"nonsense", whole[:20] + b"\xff\xff" + whole[22:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"ubyte\.gz"):
            data.load("mnist", str(tmp_path))


def test_idx_under_its_other_name(tmp_path):
    kept = write_idx(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    assert len(data.load("mnist", str(tmp_path)).train.labels) == len(kept["train"][1])


@pytest.mark.parametrize(
    ("name", "words"),
    [("mnist", "t10k-labels-idx1-ubyte"), ("cifar10", "binary version"), ("cifar100", "test.bin"), ("folder", "CLASS")],
)
def test_an_empty_folder_and_what_it_should_be(tmp_path, name, words):
    if name == "folder":
        pytest.importorskip("PIL.Image")
    with pytest.raises(InputError, match=r"has no (file|folder) ") as caught:
        data.load(name, str(tmp_path))
    assert caught.value.hint.startswith("--data-dir DIR, a folder with ")
    assert words in caught.value.hint


def test_damaged_images_are_decoded_or_refused(tmp_path):
    """A changed or missing byte is an image of other pixels or an error of the user's, in every format."""
    image = pytest.importorskip("PIL.Image")
    from snn_cli.data.folder import decode

    rng = np.random.default_rng(3)
    whole = image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    decoded = refused = 0
    for suffix in ("png", "jpg", "bmp", "webp", "ppm"):
        path = tmp_path / f"image.{suffix}"
        whole.save(path)
        content = path.read_bytes()
        for _ in range(60):
            wrong = bytearray(content[: rng.integers(1, 2 * len(content))])
            wrong[rng.integers(min(40, len(wrong)))] = rng.integers(256)
            path.write_bytes(wrong)
            try:
                decoded += decode(str(path)).mode == "RGB"
            except InputError:
                refused += 1
    assert decoded + refused == 300
    assert min(decoded, refused) > 20


def test_idx_of_two_sizes_or_a_missing_file(tmp_path):
    write_idx(tmp_path)
    content = struct.pack(">4I", 0x803, 20, 4, 4) + bytes(20 * 16)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InputError, match="t10k-images"):
        data.load("mnist", str(tmp_path))
    (tmp_path / LABELS).unlink()
    with pytest.raises(InputError, match=f"has no file {LABELS}"):
        data.load("mnist", str(tmp_path))


def write_cifar(folder, classes=10, count=20):
    names = (
        [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
        if classes == 10
        else ["train.bin", "test.bin"]
    )
    kept = {}
    for name in names:
        size = count if classes == 10 else 5 * count
        labels = np.arange(size) % classes
        pixels = RNG.integers(0, 256, (size, 3, 32, 32), dtype=np.uint8)
        rows = [
            bytes([label] if classes == 10 else [label // 5, label]) + image.tobytes()
            for label, image in zip(labels.tolist(), pixels, strict=True)
        ]
        (folder / name).write_bytes(b"".join(rows))
        kept[name] = pixels, labels
    return kept


@pytest.mark.parametrize(
    ("name", "classes", "folder"), [("cifar10", 10, "cifar-10-batches-bin"), ("cifar100", 100, "")]
)
def test_cifar(tmp_path, name, classes, folder):
    (tmp_path / folder).mkdir(exist_ok=True)
    kept = write_cifar(tmp_path / folder, classes)
    found = data.load(name, str(tmp_path))
    assert (found.classes, found.shape, len(found.train.labels)) == (classes, (3, 32, 32), 100)
    first = kept["data_batch_2.bin" if classes == 10 else "train.bin"]
    number = 27 if classes == 10 else 7
    assert found.train.labels[number] == first[1][7]
    np.testing.assert_allclose(found.train.images(np.array([number]))[0], first[0][7] / 255, rtol=1e-6)
    assert found.deviation == pytest.approx([0.29] * 3, abs=0.01)


def test_damaged_cifar(tmp_path):
    write_cifar(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    whole = path.read_bytes()
    for content, words in ((whole[:-1], "cut short"), (b"", "cut short"), (b"\x0a" + whole[1:], "label 10")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            data.load("cifar10", str(tmp_path))
    path.unlink()
    with pytest.raises(InputError, match=r"data_batch_3\.bin"):
        data.load("cifar10", str(tmp_path))


def write_images(root, layout="classes", size=(12, 9), names=("cat", "dog")):
    image = pytest.importorskip("PIL.Image")
    kept = {}
    for part in ("train", "val"):
        for label, name in enumerate(names):
            folder = root / part / name
            if layout == "tiny":
                folder = folder / "images" if part == "train" else root / part / "images"
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(3):
                pixels = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                path = folder / f"{name}_{i}.png"
                image.fromarray(pixels).save(path)
                kept[part, label, i] = pixels
    if layout == "tiny":
        lines = [f"{name}_{i}.png\t{name}\t0\t0\t9\t9" for name in names for i in range(3)]
        (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return kept


@pytest.mark.parametrize("layout", ["classes", "tiny"])
def test_folders(tmp_path, layout):
    kept = write_images(tmp_path, layout)
    found = data.load("folder", str(tmp_path))
    assert (found.classes, found.shape) == (2, (3, 9, 12))
    for split, part in ((found.train, "train"), (found.test, "val")):
        np.testing.assert_array_equal(split.labels, [0, 0, 0, 1, 1, 1])
        expected = kept[part, 1, 2].transpose(2, 0, 1) / 255
        np.testing.assert_allclose(split.images(np.array([5]))[0], expected, rtol=1e-6)
    scaled = data.load("folder", str(tmp_path), 16)
    assert scaled.shape == (3, 16, 16)
    assert scaled.train.images(np.array([0, 4])).shape == (2, 3, 16, 16)


def test_a_crop_is_the_middle(tmp_path):
    image = pytest.importorskip("PIL.Image")
    write_images(tmp_path, size=(64, 32))
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, 16:48] = 255  # the middle half is white
    image.fromarray(picture).save(tmp_path / "train" / "cat" / "cat_0.png")
    found = data.load("folder", str(tmp_path), 8).train.images(np.array([0]))
    assert found.min() > 0.99


def test_damaged_folders(tmp_path):
    image = pytest.importorskip("PIL.Image")
    write_images(tmp_path, "tiny")
    listed = tmp_path / "val" / "val_annotations.txt"
    whole = listed.read_text()
    for text, words in (
        (whole.replace("dog\t", "cow\t", 1), "names no image and class"),
        (whole.replace("cat_0", "cat_9"), "which is not in"),
        (whole.replace("cat_0", "../cat_0"), "which is not in"),
        (whole[:-20], "names no image and class|which is not in"),
    ):
        listed.write_text(text)
        with pytest.raises(InputError, match=words):
            data.load("folder", str(tmp_path))
    listed.write_text(whole)
    path = tmp_path / "train" / "dog" / "images" / "dog_1.png"
    content = path.read_bytes()
    for wrong in (content[: len(content) // 2], b"", b"nonsense"):
        path.write_bytes(wrong)
        with pytest.raises(InputError, match=r"dog_1\.png cannot be decoded"):
            data.load("folder", str(tmp_path)).train.images(np.array([4]))
    image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(path)
    with pytest.raises(InputError, match="is 4 x 3; the first image is 12 x 9"):
        data.load("folder", str(tmp_path)).train.images(np.array([4]))
    assert data.load("folder", str(tmp_path), 8).train.images(np.array([4])).shape == (1, 3, 8, 8)
    for each in (tmp_path / "train" / "dog" / "images").iterdir():
        each.unlink()
    with pytest.raises(InputError, match="has no image"):
        data.load("folder", str(tmp_path))


def test_folders_that_are_none(tmp_path):
    pytest.importorskip("PIL.Image")
    with pytest.raises(InputError, match="no folder train"):
        data.load("folder", str(tmp_path))
    (tmp_path / "train" / "one").mkdir(parents=True)
    with pytest.raises(InputError, match="at least two classes"):
        data.load("folder", str(tmp_path))
    write_images(tmp_path / "new")
    for each in sorted((tmp_path / "new" / "val").rglob("*"), reverse=True):
        each.unlink() if each.is_file() else each.rmdir()
    (tmp_path / "new" / "val").rmdir()
    with pytest.raises(InputError, match="no folder val"):
        data.load("folder", str(tmp_path / "new"))


def test_digits_are_the_embedded_ones():
    datasets = pytest.importorskip("sklearn.datasets")
    found = data.load("digits")
    assert (found.classes, found.shape) == (10, (1, 8, 8))
    assert len(found.train.labels) + len(found.test.labels) == 1797
    assert np.bincount(found.test.labels).min() > 30
    everything = np.concatenate(
        [split.images(np.arange(len(split.labels)))[:, 0] for split in (found.train, found.test)]
    )
    assert sorted(map(bytes, (everything * 16).astype(np.uint8))) == sorted(
        map(bytes, datasets.load_digits().images.astype(np.uint8))
    )


def test_what_can_be_said_before_anything_is_read(tmp_path):
    for name, directory, image, words in (
        ("mnits", None, None, "none of digits, mnist"),
        ("cifar10", None, None, r"needs --data-dir, a folder with data_batch_1\.bin"),
        ("cifar10", str(tmp_path / "none"), None, "is no folder"),
        ("digits", str(tmp_path), None, "embedded"),
        ("digits", None, 16, "--image says nothing"),
    ):
        with pytest.raises(InputError, match=words):
            data.load(name, directory, image)


def test_missing_extras(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtra, match="scikit-learn"):
        data.load("digits")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtra, match="Pillow"):
        data.load("folder", str(tmp_path))


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    """4 images by its header, and 64 MiB of zeros behind: no more than the images is unpacked."""
    import tracemalloc

    from snn_cli.data.idx import array

    squeezer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = squeezer.compress(b"\0\0\x08\x03" + struct.pack(">III", 4, 2, 2))
    for _ in range(64):
        packed += squeezer.compress(bytes(1 << 20))
    (tmp_path / "images.gz").write_bytes(packed + squeezer.flush())
    tracemalloc.start()
    with pytest.raises(InputError, match="its header says 4 x 2 x 2"):
        array(str(tmp_path / "images.gz"), 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22
