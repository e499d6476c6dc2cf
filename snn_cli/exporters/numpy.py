"""A numpy function and its derivative."""

from __future__ import annotations

from snn_cli.exporters.formula import Exporter, Formula


def code(f: Formula) -> str:
    """Floating-point arrays keep their type; whole numbers become doubles."""
    return f"""{f.comment("#")}

import numpy as np


def {f.name}(x):
    x = np.asarray(x)
    x = x if np.issubdtype(x.dtype, np.floating) else x.astype(float)
    left = np.minimum(x, 0)
    return np.where(x < 0, {f.terms("np.expm1", "left")}, {f.line("x")})


def {f.name}_derivative(x):
    x = np.asarray(x)
    x = x if np.issubdtype(x.dtype, np.floating) else x.astype(float)
    left = np.minimum(x, 0)
    slope = {f.slopes("np.exp", "left")} + 0 * np.sign(left)
    return np.where(x < 0, slope, {f.steep!r} + 0 * np.sign(x)).astype(x.dtype)
"""


EXPORTER = Exporter("py", code)
