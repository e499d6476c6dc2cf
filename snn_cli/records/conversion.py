"""The record of a model that was converted: what was replaced, by what, and what was left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from snn_cli.records.solution import VERSION


class Replaced(NamedTuple):
    """An activation that was replaced.

    name, was
        First name in the model, and class before.
    epsilon, fan_in
        Of the new activation; the fan-in of the layer that it feeds (None where it feeds none), the harmonic mean of
        several.
    aliases
        The other names of the same module.
    note
        What else there is to know, or None.
    """

    name: str
    was: str
    epsilon: float
    fan_in: int | None
    aliases: tuple[str, ...] = ()
    note: str | None = None


class Removed(NamedTuple):
    """A normalization that became the identity, and the number of trained parameters that went with it."""

    name: str
    was: str
    parameters: int
    aliases: tuple[str, ...] = ()


class Left(NamedTuple):
    """Something that one may have expected to change, and why it did not. The name is empty for a function call."""

    name: str
    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """What ``snn_cli.nn.convert`` did to a model. ``print`` shows it as text.

    act, epsilon
        Family, and epsilon where it is one for all; None for one per layer.
    depth
        Number of layers that epsilon is meant for: as given, or the weight layers.
    weights
        Ensemble of the new weights; None where they were not drawn.
    activations, normalizations, initialized, left
        What was replaced, removed, drawn anew and left, in the order of the model.
    """

    model: str
    act: str
    epsilon: float | None
    depth: int
    weights: str | None
    activations: tuple[Replaced, ...]
    normalizations: tuple[Removed, ...]
    initialized: tuple[str, ...]
    left: tuple[Left, ...]

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, ``kind`` and ``version`` first."""
        data: dict[str, Any] = {"kind": "conversion", "version": VERSION}
        for name in self.__dataclass_fields__:
            data[name] = getattr(self, name)
        for name in ("activations", "normalizations"):
            data[name] = [{**part._asdict(), "aliases": list(part.aliases)} for part in getattr(self, name)]
        data["initialized"] = list(self.initialized)
        data["left"] = [part._asdict() for part in self.left]
        return data

    def __str__(self) -> str:
        each = "one per layer" if self.epsilon is None else f"{self.epsilon:.6g}"
        lines = [f"{self.model}: {self.act}, epsilon {each}, depth {self.depth}"]
        for part in self.activations:
            fan_in = "" if part.fan_in is None else f", fan-in {part.fan_in}"
            note = "" if part.note is None else f" ({part.note})"
            names = ", ".join((part.name, *part.aliases))
            lines.append(f"  activation     {names}: {part.was} -> epsilon {part.epsilon:.6g}{fan_in}{note}")
        for gone in self.normalizations:
            names = ", ".join((gone.name, *gone.aliases))
            lines.append(f"  normalization  {names}: {gone.was} -> identity, {gone.parameters} parameters less")
        if self.weights is not None:
            lines.append(
                f"  weights        {self.weights}, {len(self.initialized)} layers: {', '.join(self.initialized)}"
            )
        lines += [f"  left           {part.name or 'forward'}: {part.kind}, {part.why}" for part in self.left]
        return "\n".join(lines)
