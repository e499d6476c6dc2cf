"""A JAX function; its derivative is the exact one, the right-hand one at 0."""

from __future__ import annotations

from snn_cli.exporters.formula import Exporter, Formula


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


EXPORTER = Exporter("py", code)
