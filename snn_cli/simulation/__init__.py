"""Simulate a network: forward and backward moment propagation at infinite width and at its own fan-in.

`request`: what is asked for, each value inside its domain; `source`: the activation of it, solved or given. `infinite`:
the mean field, which knows no fan-in; `finite`: what the fan-in adds, with `means` for weights that have a mean, and
`isometry`. `profile`, `budget` and `notes` read them; `record` puts all of it together.
"""

from __future__ import annotations

from snn_cli.simulation.record import run, simulate
from snn_cli.simulation.request import Request, check, parse_widths
from snn_cli.simulation.source import Activation, given_activation

__all__ = ["Activation", "Request", "check", "given_activation", "parse_widths", "run", "simulate"]
