"""``--bound``: limits on the parameters of a program."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from snn_cli.errors import InputError
from snn_cli.exact import nearest_double, rational, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from fractions import Fraction

_BOUND = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|==?|<|>)\s*(\S+)\s*")


class Bound(NamedTuple):
    """``name <= value``, ``name >= value`` or ``name = value``; ``chosen`` is False for the program's own box."""

    name: str
    relation: str
    value: Fraction
    chosen: bool = True

    def __str__(self) -> str:
        return f"{self.name}{self.relation}{shown(self.value)}"

    @property
    def number(self) -> float:
        return nearest_double(self.value)


def read(text: str | Iterable[str] | None, names: Sequence[str]) -> tuple[Bound, ...]:
    """Bounds as typed: ``'b<=4,d=0'``, or several such texts.

    Raises InputError for what is no bound, an unknown name, two bounds of one kind on a name, and an empty range.
    """
    texts = [] if text is None else [text] if isinstance(text, str) else list(text)
    bounds: list[Bound] = []
    for item in (part for each in texts for part in each.split(",")):
        match = _BOUND.fullmatch(item)
        example = f"--bound '{names[0] if names else 'b'}<=4'"
        if match is None or match[2] in ("<", ">"):
            raise InputError(f"--bound {item.strip()!r} is not NAME>=NUMBER, NAME<=NUMBER or NAME=NUMBER", example)
        name, relation = match[1], match[2].replace("==", "=")
        if name not in names:
            raise InputError(f"--bound {item.strip()!r}: the parameters are {', '.join(names) or 'none'}", example)
        bounds.append(Bound(name, relation, rational(match[3], f"--bound {name}")))
    for name in names:
        own = [bound for bound in bounds if bound.name == name]
        sides = [side for bound in own for side in ("<=", ">=") if bound.relation in (side, "=")]
        if len(sides) > len(set(sides)):
            raise InputError(
                f"--bound says twice how far {name} may go: {', '.join(map(str, own))}", f"--bound {own[0]}"
            )
        low, high = limits(bounds, name)
        if low is not None and high is not None and low > high:
            raise InputError(f"--bound leaves {name} no value: {', '.join(map(str, own))}", f"--bound {own[0]}")
    return tuple(bounds)


def limits(bounds: Iterable[Bound], name: str) -> tuple[Fraction | None, Fraction | None]:
    """The least and the largest value that the bounds leave a parameter; None for no end."""
    low = [bound.value for bound in bounds if bound.name == name and bound.relation != "<="]
    high = [bound.value for bound in bounds if bound.name == name and bound.relation != ">="]
    return (low[0] if low else None), (high[0] if high else None)
