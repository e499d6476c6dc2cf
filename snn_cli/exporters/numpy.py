"""A numpy function and its derivative."""

from __future__ import annotations

from snn_cli.exporters.formula import Exporter, Formula
from snn_cli.exporters.program import Language, Printer, Program


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


_SAME = ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "abs")
LANGUAGE = Language(
    {
        **{name: f"np.{name}({{0}})" for name in _SAME},
        "erf": "special.erf({0})",
        "erfc": "special.erfc({0})",
        "sigmoid": "_sigmoid({0})",
        "softplus": "np.logaddexp({0}, 0)",
        "where": "np.where({0}, {1}, {2})",
        "min": "np.minimum({0}, {1})",
        "max": "np.maximum({0}, {1})",
        "and": "np.logical_and({0}, {1})",
        "or": "np.logical_or({0}, {1})",
        "not": "np.logical_not({0})",
        "pow": "np.power({0}, {1})",
    }
)
_SIGMOID = """def _sigmoid(u):
    decay = np.exp(-np.abs(u))
    return np.where(u >= 0, 1, decay) / (1 + decay)


"""


def program(f: Program) -> str:
    """Both branches are computed everywhere, in silence, and one is kept."""
    printer = Printer(LANGUAGE, f.known, " " * 8)
    functions = []
    for name, root, tails in ((f.name, f.value, f.value_tails), (f"{f.name}_derivative", f.slope, f.slope_tails)):
        lines, value = printer.body(root, tails)
        functions.append(f"""def {name}(x):
    x = np.asarray(x)
    x = x if np.issubdtype(x.dtype, np.floating) else x.astype(float)
    with np.errstate(all="ignore"):
{"".join(line + chr(10) for line in lines)}        y = {value}
    return np.where(np.isnan(x), x, y).astype(x.dtype)
""")
    whole = "\n\n".join(functions)
    needs = "\nfrom scipy import special" * ("special." in whole)
    return f"""{f.comment("#")}

import numpy as np{needs}


{_SIGMOID * ("_sigmoid(" in whole)}{whole}"""


EXPORTER = Exporter("py", code, program)
