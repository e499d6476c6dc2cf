"""A C99 header: the function and its derivative, in double and in float."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snn_cli.exporters.formula import Exporter, Formula

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


EXPORTER = Exporter("h", code)
