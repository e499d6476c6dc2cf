"""Claim 7: ImageNet without normalization layers: the recipe, complete, and rehearsed.

The paper reaches 71.95% with sSELU, mixup, a trainable lambda and a centralized activation in MobileNet V1 of ordinary
convolutions, better than batch normalization. Without options this prints the command for that comparison, then
runs the same command from start to end, checkpoint, interruption and resumption included, on a folder of generated
images: other sizes, the same options. With --data-dir it runs the real one, where an ImageNet lies (folders train and
val, in them a folder a class):

  python imagenet.py [--quick]
  python imagenet.py --data-dir /data/imagenet --out runs/imagenet
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from claims import Check, complain, conclude, parser, script_of

from snn_cli import InputError, MissingExtra

ACTS = "relu+bn,sselu+mixup+centralize-activation+trainable,sselu+mixup+centralize,sselu+mixup,selu"
RECIPE = {
    "data": "folder", "architecture": "conv-mobilenet-v1", "act": ACTS, "image": "224", "width-multiplier": "1",
    "epochs": "90", "batch": "256", "seeds": "1", "lr": "0.05", "weight-decay": "0.00004", "mixup-alpha": "0.2",
}  # fmt: skip
"""Epsilon is 1/depth. The abstract names the variant and the network; rate, decay, epochs and mixup's parameter are
usual ones, not the paper's."""

MACHINE = {"device": "cuda", "precision": "bfloat16"}
FLAGS = ("--augment", "--channels-last")
"""The last is for the image loops of a GPU, and does no harm on a CPU."""


class Size(NamedTuple):
    """What the rehearsal puts in the place of the recipe's sizes, its images a class and classes, and whether it is run
    once more, killed and resumed.
    """

    options: dict[str, str]
    train: int
    val: int
    classes: int
    killed: bool = True


SMALL = {"image": "32", "batch": "16", "device": "cpu", "precision": "bfloat16"}
FULL = Size({**SMALL, "width-multiplier": "0.25", "epochs": "4", "lr": "0.01"}, 48, 24, 4)
QUICK = Size(
    {
        **SMALL, "act": "relu+bn,sselu+mixup+centralize-activation+trainable", "width-multiplier": "0.0625",
        "epochs": "1", "lr": "0.01", "batch": "8",
    },
    8, 4, 2, killed=False,
)  # fmt: skip


def arguments(options: dict[str, str], data_dir: str, out: Path, resume: bool = False) -> list[str]:
    """Of ``snn``; everything is written into ``out``."""
    given = {**RECIPE, **MACHINE, **options, "data-dir": data_dir}
    pairs = [word for name, value in given.items() for word in (f"--{name}", value)]
    kept = ["--resume" if resume else "--checkpoint", str(out / "checkpoint"), "--metrics", str(out / "epochs.jsonl")]
    return ["train", *pairs, *FLAGS, *kept]


def snn(words: Sequence[str], timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snn_cli", *words]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=timeout)


def generate(root: Path, size: Size) -> None:
    """A folder as ImageNet is unpacked: stripes, the class is their direction, with noise."""
    import numpy as np

    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("the rehearsal", "Pillow", "train") from None
    random = np.random.default_rng(0)
    y, x = np.mgrid[:40, :48]
    for part, count in (("train", size.train), ("val", size.val)):
        for label in range(size.classes):
            folder = root / part / f"class{label}"
            folder.mkdir(parents=True)
            angle = np.pi * label / size.classes / 2  # mirrored images must not be of another class
            for number in range(count):
                wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * 0.8 + random.uniform(0, 2 * np.pi))
                picture = 128 + 60 * wave[..., None] + random.normal(0, 30, (40, 48, 3))
                Image.fromarray(picture.clip(0, 255).astype("uint8")).save(folder / f"{number}.png")


class Found(NamedTuple):
    """What the whole run gave, and one that was ended in the middle and gone on with."""

    size: Size
    code: int
    errors: str
    records: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    ended: int | None
    """Epochs that were through when it was killed."""
    resumed: list[dict[str, Any]]


def measure(size: Size) -> Found:
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        generate(root / "images", size)
        (root / "whole").mkdir()
        (root / "ended").mkdir()
        data = str(root / "images")
        done = snn([*arguments(size.options, data, root / "whole"), "--json", "--no-profile"])
        metrics = root / "whole" / "epochs.jsonl"
        epochs = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
        found = Found(size, done.returncode, done.stderr, records(done.stdout), epochs, None, [])
        if not size.killed:
            return found
        ended = end_early(arguments(size.options, data, root / "ended"), root / "ended" / "epochs.jsonl")
        again = snn([*arguments(size.options, data, root / "ended", resume=True), "--json", "--no-profile"])
        return found._replace(ended=ended, resumed=records(again.stdout))


def end_early(words: Sequence[str], metrics: Path) -> int:
    """Kill the run after its first epoch; epochs that were written by then."""
    import time

    process = subprocess.Popen(
        [sys.executable, "-m", "snn_cli", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.02)
    process.kill()
    process.wait()
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def show(found: Found) -> Iterator[str]:
    yield "the recipe:"
    yield f"$ snn {shlex.join(arguments({}, 'IMAGENET', Path('OUT')))}"
    yield "on several GPUs: torchrun --nproc-per-node 8 -m snn_cli train ... (the same)"
    yield ""
    sizes = " ".join(f"--{name} {value}" for name, value in found.size.options.items())
    yield f"rehearsed on {found.size.classes} classes of {found.size.train} generated images, with {sizes}:"
    if found.errors:
        yield found.errors.rstrip()
    yield f"{'variant':<44} {'accuracy':>8} {'loss':>7} {'rate':>6} {'diverged':>8} {'seconds':>8}"
    for r in found.records:
        loss = "-" if r["loss"] is None else f"{r['loss']:.3f}"
        yield (
            f"{r['variant']:<44} {r['accuracy']['mean']:>8.3f} {loss:>7} {r['learning_rate']:>6g} {r['diverged']:>8} "
            f"{r['seconds']:>8.1f}"
        )
    yield ""


def check(found: Found) -> list[Check]:
    given = {**RECIPE, **found.size.options}
    variants = given["act"].split(",")
    rates = len(given["lr"].split(","))
    runs = len(variants) * (int(given["seeds"]) + (rates if rates > 1 else 0))
    finite = all(r["loss"] is not None and not r["diverged"] for r in found.records)
    names = [r["variant"] for r in found.records]
    lines, wanted = len(found.epochs), runs * int(given["epochs"])
    whole = [r["accuracy"]["runs"] for r in found.records]
    resumed = [r["accuracy"]["runs"] for r in found.resumed]
    checks = [
        Check(f"the command ends with code 0: {found.code}", found.code == 0),
        Check(f"it has a record of each of the {len(variants)} variants: {len(names)}", names == variants),
        Check("every loss is finite and no run diverged", finite and bool(names)),
        Check(f"a line for every epoch of every run, {wanted}: {lines}", lines == wanted),
    ]
    if found.ended is not None:
        same = 0 < found.ended < wanted and resumed == whole
        checks.append(Check(f"killed after {found.ended} of {wanted} epochs and resumed: the same accuracies", same))
    return checks


SCRIPT = script_of(
    __name__,
    "train on ImageNet: 1.28 million images and days of a GPU are not at hand; the accuracy of 71.95% is not "
    "checked, nor that it is above batch normalization's",
    "run --device cuda, torchrun and a real learning rate schedule: the rehearsal is on a CPU",
)


def main(argv: Sequence[str] | None = None) -> int:
    given = parser(__doc__, figure=False)
    given.add_argument("--data-dir", metavar="DIR", help="an ImageNet: train it for real")
    given.add_argument(
        "--out", metavar="DIR", help="a folder for checkpoint and metrics, new or with a run to go on with"
    )
    options = given.parse_args(argv)
    if options.data_dir is None:
        return conclude(SCRIPT, QUICK if options.quick else FULL)
    if options.out is None:
        return complain(InputError("--data-dir needs a folder for the checkpoint", "--out runs/imagenet"))
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    words = arguments({}, options.data_dir, out, resume=(out / "checkpoint").exists())
    print(f"$ snn {shlex.join(words)}", flush=True)
    return subprocess.run([sys.executable, "-m", "snn_cli", *words]).returncode


if __name__ == "__main__":
    sys.exit(main())
