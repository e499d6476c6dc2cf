"""A C99 header: the function and its derivative, in double and in float."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snn_cli.exporters import Exporter
from snn_cli.exporters.formula import Formula
from snn_cli.exporters.printer import Language, Printer
from snn_cli.exporters.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable


def _functions(f: Formula, kind: str, mark: str, of: Callable[[float], str]) -> str:
    return f"""static inline {kind} {f.name}{mark}({kind} x) {{
    return x < 0 ? {f.terms(f"expm1{mark}", "x", of)} : {f.line("x", of)};
}}

static inline {kind} {f.name}_derivative{mark}({kind} x) {{
    if (x != x) return x;
    return x < 0 ? {f.slopes(f"exp{mark}", "x", of)} : {of(f.steep)};
}}
"""


def code(f: Formula) -> str:
    """Only the branch that counts is computed: nothing overflows in the other."""
    guard = f"SNN_{f.name.upper()}_H"
    return f"""{f.comment("//")}

#ifndef {guard}
#define {guard}

#include <math.h>

{_functions(f, "double", "", repr)}
{_functions(f, "float", "f", lambda x: f"(float){x!r}" if x >= 0 else f"(float)({x!r})")}
#endif
"""


_SAME = ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "erf", "erfc")


def _language(name: str) -> Language:
    return Language(
        {
            **{each: f"{each}({{0}})" for each in _SAME},
            "abs": "fabs({0})",
            "sigmoid": f"{name}_sigmoid({{0}})",
            "softplus": f"{name}_softplus({{0}})",
            "where": "({0} ? {1} : {2})",
            "min": "fmin({0}, {1})",
            "max": "fmax({0}, {1})",
            "and": "({0} && {1})",
            "or": "({0} || {1})",
            "not": "!{0}",
        },
        power="pow({0}, {1})",
        statement="const {2} {0} = {1};",
        truths=("1", "0"),
    )


def _helpers(name: str, whole: str) -> str:
    """Functions that C lacks, where they are called."""
    text = ""
    if f"{name}_sigmoid(" in whole:
        text += f"""static inline double {name}_sigmoid(double u) {{
    const double decay = exp(-fabs(u));
    return (u >= 0 ? 1 : decay) / (1 + decay);
}}

"""
    if f"{name}_softplus(" in whole:
        text += f"""static inline double {name}_softplus(double u) {{
    return fmax(u, 0) + log1p(exp(-fabs(u)));
}}

"""
    return text


def program(f: Program) -> str:
    """In double throughout; float is rounded once, from what double gives."""
    guard = f"SNN_{f.name.upper()}_H"
    printer = Printer(_language(f.name), f.known)
    functions = []
    for name, root, tails in ((f.name, f.value, f.value_tails), (f"{f.name}_derivative", f.slope, f.slope_tails)):
        lines, value = printer.body(root, tails)
        functions.append(f"""static inline double {name}(double x) {{
    if (x != x) return x;
{lines}    return {value};
}}

static inline float {name}f(float x) {{
    return (float){name}((double)x);
}}
""")
    whole = "\n".join(functions)
    return f"""{f.comment("//")}

#ifndef {guard}
#define {guard}

#include <math.h>

{_helpers(f.name, whole)}{whole}
#endif
"""


EXPORTER = Exporter("h", code, program)
