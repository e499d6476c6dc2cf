"""JSON Lines."""

from __future__ import annotations

import json
from typing import Any, Protocol


class Record(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


def line(record: Record) -> str:
    """The record as one line; floats round-trip, nothing in it is NaN or infinite."""
    return json.dumps(record.to_dict(), allow_nan=False)
