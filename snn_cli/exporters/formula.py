"""What is exported: an activation that is a line above 0, and an exponential with a line below."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from snn_cli import activations
from snn_cli.activations.family import coefficients
from snn_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Formula(NamedTuple):
    """``steep x`` for ``x >= 0``, ``amplitude (e^(rate x) - 1) + slope x`` below; ``rate > 0``, 1 without amplitude.

    name
        An identifier: of the function, with capitals of the class.
    says
        Lines that say which activation it is and what made it: comments of every file.
    """

    name: str
    act: str
    params: Mapping[str, float]
    steep: float
    amplitude: float
    rate: float
    slope: float
    says: tuple[str, ...]

    @property
    def class_name(self) -> str:
        """As classes are called: LSELU for lselu."""
        return self.name.upper() if self.name in activations.SOLVABLE else camel(self.name)

    def terms(self, exponential: str, x: str, of: Callable[[float], str] = repr) -> str:
        """The left branch in code, of what is there: a slope of 0 times minus infinity is no number."""
        inner = x if self.rate == 1 else f"{of(self.rate)} * {x}"
        found = [f"{of(self.amplitude)} * {exponential}({inner})"] if self.amplitude else []
        found += [f"{of(self.slope)} * {x}"] if self.slope else []
        return " + ".join(found) or of(0.0)

    def line(self, x: str, of: Callable[[float], str] = repr) -> str:
        """The right branch in code."""
        return x if self.steep == 1 else f"{of(self.steep)} * {x}"

    def slopes(self, exponential: str, x: str, of: Callable[[float], str] = repr) -> str:
        """Its derivative in code."""
        inner = x if self.rate == 1 else f"{of(self.rate)} * {x}"
        found = [f"{of(self.amplitude * self.rate)} * {exponential}({inner})"] if self.amplitude else []
        found += [of(self.slope)] if self.slope or not found else []
        return " + ".join(found)

    def comment(self, mark: str) -> str:
        """What the file says of itself, as a comment."""
        return comment(self.says, mark)


def formula(act: str, params: Mapping[str, float], name: str, says: tuple[str, ...]) -> Formula:
    """Raises InputError for an activation that has another form, and for parameters that leave the range of doubles."""
    found = activations.find(act, params)
    if found.shape is None:
        raise InputError(
            f"{act} is no line and exponential, and is a function of every framework already", "--act lselu"
        )
    steep, amplitude, rate, slope = coefficients(found.shape, params)
    rate = rate if amplitude else 1.0
    values = steep, amplitude, rate, slope
    if not all(map(math.isfinite, (*values, amplitude * rate))):
        raise InputError(f"the parameters of {act} leave the range of doubles", "snn solve --act lselu --epsilon 0.03")
    if rate <= 0:
        raise InputError(f"{act} grows exponentially to the left, its rate being {rate}", "--act lselu")
    return Formula(name, act, dict(params), *values, says)


def camel(name: str) -> str:
    """A name of a function as the name of a class."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_") if part) or name


def comment(says: tuple[str, ...], mark: str) -> str:
    """Lines as a comment."""
    return "\n".join(f"{mark} {line}".rstrip() for line in says)
