"""The formula as data: its coefficients, and what they mean."""

from __future__ import annotations

import json

from snn_cli.exporters import Exporter
from snn_cli.exporters.formula import Formula
from snn_cli.exporters.printer import written
from snn_cli.exporters.program import Program


def code(f: Formula) -> str:
    data = {
        "name": f.name,
        "act": f.act,
        "params": dict(f.params),
        "formula": "steep*x for x >= 0, amplitude*(exp(rate*x) - 1) + slope*x for x < 0",
        "steep": f.steep,
        "amplitude": f.amplitude,
        "rate": f.rate,
        "slope": f.slope,
        "about": list(f.says),
    }
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def program(f: Program) -> str:
    """Both formulas in the grammar of ``--expr``, with the parameters by name."""
    data = {
        "name": f.name,
        "act": f.act,
        "params": dict(f.params),
        "formula": f.text,
        "derivative": written(f.slope),
        "about": list(f.says),
    }
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


EXPORTER = Exporter("json", code, program)
