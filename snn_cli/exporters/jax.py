"""A JAX function; its derivative is the exact one, the right-hand one at 0."""

from __future__ import annotations

from snn_cli.exporters import Exporter
from snn_cli.exporters.formula import Formula
from snn_cli.exporters.printer import Language, Printer, numpy_like
from snn_cli.exporters.program import Program


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


LANGUAGE = Language(
    numpy_like(
        "jnp",
        "exp expm1 log log1p sqrt tanh sin cos abs",
        erf="jax.scipy.special.erf({0})",
        erfc="jax.scipy.special.erfc({0})",
        sigmoid="jax.nn.sigmoid({0})",
        softplus="jnp.logaddexp({0}, 0.0)",
    )
)


def program_body(f: Program) -> str:
    """The derivative is written out: that of jax is nan where the branch that is not taken overflows."""
    printer = Printer(LANGUAGE, f.known)
    value_lines, value = printer.body(f.value, f.value_tails)
    slope_lines, slope = printer.body(f.slope, f.slope_tails)
    return f"""@jax.custom_jvp
def {f.name}(x):
{value_lines}    return jnp.where(jnp.isnan(x), x, {value})


def {f.name}_derivative(x):
{slope_lines}    return jnp.where(jnp.isnan(x), x, {slope})


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
