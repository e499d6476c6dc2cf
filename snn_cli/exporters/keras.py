"""A Keras 3 activation, registered under its name, so that models that use it can be saved and loaded."""

from __future__ import annotations

from snn_cli.exporters.formula import Exporter, Formula


def code(f: Formula) -> str:
    return f'''{f.comment("#")}

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="snn", name="{f.name}")
def {f.name}(x):
    left = ops.minimum(x, 0)
    return ops.where(x < 0, {f.terms("ops.expm1", "left")}, {f.line("x")})
'''


EXPORTER = Exporter("py", code)
