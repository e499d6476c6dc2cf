"""The record of an export: an activation as code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snn_cli.records.solution import VERSION, Params, numbers, reading


@dataclass(frozen=True, slots=True)
class Export:
    """``code``, a file that stands alone, in the language ``to``, of an activation; ``command`` makes it again.

    name
        Of the function in it.
    suffix
        Of its file, without the dot.
    """

    to: str
    act: str
    epsilon: float | None
    params: Params
    name: str
    suffix: str
    command: str
    code: str

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, ``kind`` and ``version`` first, keys in a fixed order."""
        data: dict[str, Any] = {"kind": "export", "version": VERSION}
        data.update((name, getattr(self, name)) for name in self.__dataclass_fields__)
        data["params"] = dict(self.params)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Export:
        """Read back what ``to_dict`` wrote. Raises InputError for any other kind, version, field or type."""
        with reading("export", data, "snn export --to pytorch --json"):
            fields = {name: data[name] for name in cls.__dataclass_fields__}
            fields["params"] = numbers(data["params"])
        return cls(**fields)
