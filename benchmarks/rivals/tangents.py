"""Neural tangent kernel of a deep SELU network with neural-tangents, in double precision.

Usage: python tangents.py DEPTH [POINTS]

SELU has no closed form there, so it is ``stax.ElementwiseNumerical``, whose documentation recommends 25 points.
"""

import json
import sys
import time
import warnings

start = time.perf_counter()
import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)
import neural_tangents  # noqa: E402
from jax import numpy as jnp  # noqa: E402
from neural_tangents import stax  # noqa: E402

loaded = time.perf_counter()
warnings.simplefilter("ignore")
depth, points = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 25
layer = stax.Dense(1, W_std=1.0, b_std=0.0)
activation = stax.ElementwiseNumerical(jax.nn.selu, deg=points)
_, _, kernel_fn = stax.serial(layer, *[activation, layer] * depth)
kernel = kernel_fn(jnp.full((1, 4), jnp.sqrt(2.0)), None, ("nngp", "ntk"))  # x[0] has second moment 2
print(
    json.dumps(
        {
            "nngp": float(kernel.nngp[0, 0]),
            "ntk": float(kernel.ntk[0, 0]),
            "load_s": loaded - start,
            "kernel_s": time.perf_counter() - loaded,
            "version": neural_tangents.__version__,
        }
    )
)
