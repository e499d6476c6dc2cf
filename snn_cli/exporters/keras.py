"""A Keras 3 activation, registered under its name, so that models that use it can be saved and loaded."""

from __future__ import annotations

from snn_cli.exporters import Exporter
from snn_cli.exporters.formula import Formula
from snn_cli.exporters.printer import Language, Printer, numpy_like
from snn_cli.exporters.program import Program


def code(f: Formula) -> str:
    return f'''{f.comment("#")}

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="snn", name="{f.name}")
def {f.name}(x):
    left = ops.minimum(x, 0)
    return ops.where(x < 0, {f.terms("ops.expm1", "left")}, {f.line("x")})
'''


LANGUAGE = Language(
    numpy_like(
        "ops",
        "exp expm1 log log1p sqrt tanh sin cos abs sigmoid erf",
        erfc="(1 - ops.erf({0}))",
        softplus="ops.logaddexp({0}, 0.0)",
    )
)


def program(f: Program) -> str:
    """The derivative is written out: that of a framework is nan where the branch that is not taken overflows."""
    printer = Printer(LANGUAGE, f.known)
    value_lines, value = printer.body(f.value, f.value_tails)
    slope_lines, slope = printer.body(f.slope, f.slope_tails)
    return f'''{f.comment("#")}

import keras
from keras import ops


def {f.name}_derivative(x):
{slope_lines}    return ops.where(ops.isnan(x), x, {slope})


@ops.custom_gradient
def _{f.name}(x):
{value_lines}    y = ops.where(ops.isnan(x), x, {value})

    def gradient(*args, upstream=None):
        if upstream is None:
            (upstream,) = args
        return ops.multiply(upstream, {f.name}_derivative(x))

    return y, gradient


@keras.saving.register_keras_serializable(package="snn", name="{f.name}")
def {f.name}(x):
    return _{f.name}(ops.convert_to_tensor(x))
'''


EXPORTER = Exporter("py", code, program)
