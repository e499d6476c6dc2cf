"""A JAX function; its derivative is the exact one, the right-hand one at 0."""

from __future__ import annotations

from snn_cli.exporters.formula import Exporter, Formula
from snn_cli.exporters.program import Language, Printer, Program


def body(f: Formula) -> str:
    """Both branches are computed everywhere: the left one of what is not above 0, so that no gradient is nan."""
    return f"""def {f.name}(x):
    left = jnp.where(x < 0, x, 0)
    return jnp.where(x < 0, {f.terms("jnp.expm1", "left")}, {f.line("x")})
"""


def code(f: Formula) -> str:
    return f"""{f.comment("#")}

import jax
import jax.numpy as jnp


@jax.jit
{body(f)}"""


_SAME = ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "abs")
LANGUAGE = Language(
    {
        **{name: f"jnp.{name}({{0}})" for name in _SAME},
        "erf": "jax.scipy.special.erf({0})",
        "erfc": "jax.scipy.special.erfc({0})",
        "sigmoid": "jax.nn.sigmoid({0})",
        "softplus": "jnp.logaddexp({0}, 0.0)",
        "where": "jnp.where({0}, {1}, {2})",
        "min": "jnp.minimum({0}, {1})",
        "max": "jnp.maximum({0}, {1})",
        "and": "jnp.logical_and({0}, {1})",
        "or": "jnp.logical_or({0}, {1})",
        "not": "jnp.logical_not({0})",
        "pow": "{0} ** {1}",
    }
)


def program_body(f: Program) -> str:
    """The derivative is written out: that of jax is nan where the branch that is not taken overflows."""
    printer = Printer(LANGUAGE, f.known)
    value_lines, value = printer.body(f.value, f.value_tails)
    slope_lines, slope = printer.body(f.slope, f.slope_tails)
    return f"""@jax.custom_jvp
def {f.name}(x):
{"".join(line + chr(10) for line in value_lines)}    return jnp.where(jnp.isnan(x), x, {value})


def {f.name}_derivative(x):
{"".join(line + chr(10) for line in slope_lines)}    return jnp.where(jnp.isnan(x), x, {slope})


@{f.name}.defjvp
def _jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return {f.name}(x), {f.name}_derivative(x) * t
"""


def program(f: Program) -> str:
    return f"""{f.comment("#")}

import jax
import jax.numpy as jnp


{program_body(f)}"""


EXPORTER = Exporter("py", code, program)
