"""A user's own model: predict it layer by layer, measure it, say where it breaks and what would mend it.

`commands`: the four ways in. `loading` finds a model by its path, `request` reads the options, `case` builds the model
and what it is given; `theory` predicts its layers, `allowance` how far they may be off; `report` holds what was
measured against that, with `seen` for means over networks, and `advice` says what to do.
"""

from __future__ import annotations

from snn_cli.models.commands import simulate_model, simulate_path, verify_model, verify_path
from snn_cli.models.loading import load
from snn_cli.models.request import arguments, parse_input

__all__ = [
    "arguments",
    "load",
    "parse_input",
    "simulate_model",
    "simulate_path",
    "verify_model",
    "verify_path",
]
