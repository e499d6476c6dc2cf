"""Architectures that can be measured: the layers of each as plain data, and what their options are when left out."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli.errors import InputError, nearest
from snn_cli.exact import positive_integer, rational

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PADDINGS = ("circular", "zeros")
CLASSES = 1000
SMALLEST_IMAGE = 32
"""Side of the image that MobileNet's five strides of 2 take to one pixel."""

LARGEST = {"--channels": 65536, "--image": 4096, "--kernel": 4095}
MOST_WIDE = 64  # multiplier

_MOBILENET = (
    (32, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1),
    (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
"""Channels and stride of each convolution of MobileNet V1 (Howard et al., 2017, table 1), its separable ones taken as
ordinary ones of 3 x 3."""


class Stage(NamedTuple):
    """One linear map over ``inputs`` channels of ``size x size`` positions, to ``channels`` channels.

    kernel, stride, circular
        Of a convolution, padded by ``(kernel - 1)/2`` on every side: ``circular``, or with zeros.
    activated
        Whether f goes before it; not before the first convolution of an image.
    pooled
        Whether the mean over all positions goes before it, after f.
    """

    inputs: int
    channels: int
    size: int
    kernel: int = 1
    stride: int = 1
    circular: bool = True
    activated: bool = True
    pooled: bool = False

    @property
    def out(self) -> int:
        """Positions along a side of what comes out."""
        return 1 if self.pooled else (self.size - 1) // self.stride + 1

    @property
    def fan_in(self) -> int:
        return self.inputs * self.kernel**2


class Kind(NamedTuple):
    """An architecture: its own options with their defaults, and batch, networks and depth where none are given.

    ``build(depth, **options)`` gives the stages; None for a perceptron, which is widths alone. ``depth`` is None where
    it is part of the architecture.
    """

    options: Mapping[str, Any]
    batch: int
    trials: int
    depth: int | None
    build: Callable[..., tuple[Stage, ...]] | None = None


def _conv(depth: int, *, channels: Any, kernel: Any, image: Any, padding: Any) -> tuple[Stage, ...]:
    count, size, side = _size(channels, "--channels"), _size(kernel, "--kernel"), _size(image, "--image")
    if padding not in PADDINGS:
        raise InputError(f"--padding {padding} is none of {', '.join(PADDINGS)}", "--padding circular")
    if size % 2 == 0:
        raise InputError(
            f"--kernel is {size}; an even kernel has no centre to pad around, so it must be odd", f"--kernel {size + 1}"
        )
    if size > side:
        raise InputError(
            f"--kernel {size} is larger than the image, {side} x {side}", f"--kernel {side - 1 + side % 2}"
        )
    return (Stage(count, count, side, size, 1, padding == "circular"),) * depth


def _mobilenet(_depth: int, *, image: Any, width_multiplier: Any) -> tuple[Stage, ...]:
    side, multiplier = _size(image, "--image"), rational(width_multiplier, "--width-multiplier")
    if side < SMALLEST_IMAGE:
        raise InputError(
            f"--image is {side}; five strides of 2 need an image of at least {SMALLEST_IMAGE} x {SMALLEST_IMAGE}",
            "--image 64",
        )
    if not Fraction(1, 32) <= multiplier <= MOST_WIDE:
        raise InputError(
            f"--width-multiplier is {width_multiplier}; it must be from 1/32, one channel, to {MOST_WIDE}",
            "--width-multiplier 0.5",
        )
    stages, inputs = [], 3
    for layer, (channels, stride) in enumerate(_MOBILENET):
        stages.append(Stage(inputs, int(channels * multiplier), side, 3, stride, False, layer > 0))
        inputs, side = stages[-1].channels, stages[-1].out
    return (*stages, Stage(inputs, CLASSES, side, pooled=True))


def _size(value: Any, option: str) -> int:
    size = positive_integer(value, option)
    if size > LARGEST[option]:
        raise InputError(f"{option} is {size}; at most {LARGEST[option]}", f"{option} {min(64, LARGEST[option])}")
    return size


ARCHITECTURES = {
    "mlp": Kind({"fanin": 128, "widths": None}, 16, 32, 50),
    "conv": Kind({"channels": 64, "kernel": 3, "image": 16, "padding": "circular"}, 4, 32, 50, _conv),
    "conv-mobilenet-v1": Kind({"image": 64, "width_multiplier": 1}, 4, 16, None, _mobilenet),
}
"""Name, as ``--architecture`` takes it -> architecture."""


def get(name: str) -> Kind:
    """The architecture of that name. Raises InputError, with the nearest name, for one that is not in the table."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    near = nearest(str(name).lower(), ARCHITECTURES, "mlp", cutoff=0.3)
    raise InputError(
        f"--architecture {name} is none of {', '.join(ARCHITECTURES)}",
        f"--architecture {near}",
    )


def options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of that architecture, defaults filled in; ``given`` holds None for what was left out.

    Raises InputError for an option of another architecture.
    """
    kind = get(name)
    for option, value in given.items():
        if value is None or option in kind.options or (option == "depth" and kind.depth):
            continue
        flag = f"--{option.replace('_', '-')}"
        if option == "depth":
            raise InputError(f"{flag} says nothing about {name}: its depth is its own", f"leave out {flag}")
        others = [other for other, each in ARCHITECTURES.items() if option in each.options]
        raise InputError(
            f"{flag} says nothing about the architecture {name}; it is an option of {' and '.join(others)}",
            f"--architecture {others[0]}",
        )
    return {option: default if given.get(option) is None else given[option] for option, default in kind.options.items()}
