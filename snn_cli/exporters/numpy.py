"""A numpy function and its derivative."""

from __future__ import annotations

from snn_cli.exporters import Exporter
from snn_cli.exporters.formula import Formula
from snn_cli.exporters.printer import Language, Printer, numpy_like
from snn_cli.exporters.program import Program


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


LANGUAGE = Language(
    numpy_like(
        "np",
        "exp expm1 log log1p sqrt tanh sin cos abs",
        erf="special.erf({0})",
        erfc="special.erfc({0})",
        sigmoid="_sigmoid({0})",
        softplus="np.logaddexp({0}, 0)",
    )
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
{lines}        y = {value}
    return np.where(np.isnan(x), x, y).astype(x.dtype)
""")
    whole = "\n\n".join(functions)
    needs = "\nfrom scipy import special" * ("special." in whole)
    return f"""{f.comment("#")}

import numpy as np{needs}


{_SIGMOID * ("_sigmoid(" in whole)}{whole}"""


EXPORTER = Exporter("py", code, program)
