"""A Flax module over the JAX function."""

from __future__ import annotations

from snn_cli.exporters import Exporter
from snn_cli.exporters.formula import Formula
from snn_cli.exporters.jax import body, program_body
from snn_cli.exporters.program import Program


def code(f: Formula) -> str:
    return f"""{f.comment("#")}

import flax.linen as nn
import jax.numpy as jnp


{body(f)}

class {f.class_name}(nn.Module):
    @nn.compact
    def __call__(self, x):
        return {f.name}(x)
"""


def program(f: Program) -> str:
    return f"""{f.comment("#")}

import flax.linen as nn
import jax
import jax.numpy as jnp


{program_body(f)}

class {f.class_name}(nn.Module):
    @nn.compact
    def __call__(self, x):
        return {f.name}(x)
"""


EXPORTER = Exporter("py", code, program)
