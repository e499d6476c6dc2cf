"""Deep Kernel Shaping's transformation of an activation, as the package ``dks`` makes it, for 100 layers.

Usage: python shaping.py ACT

It solves for ``a phi(b x + c) + d`` too, but asks for ``q = 1``, for slope 1 of the second-moment map, and for two
conditions on the correlation map of the whole network; leaky_relu takes the method TAT. Its own conditions are
evaluated by itself.
"""

import json
import sys
import time
import warnings

start = time.perf_counter()
warnings.simplefilter("ignore")
from dks.base import activation_transform  # noqa: E402

loaded = time.perf_counter()
act, depth = sys.argv[1], 100


def composed(x, follow):
    """What ``depth`` layers make of x."""
    for _ in range(depth):
        x = follow(x)
    return x


found = activation_transform.get_transformed_activations(
    [act],
    method="TAT" if act == "leaky_relu" else "DKS",
    max_slope_func=lambda slope: slope**depth,
    max_curv_func=lambda curvature: depth * curvature,
    subnet_max_func=composed,
)
solved = time.perf_counter()
phi = found[act]
second = activation_transform._estimate_gaussian_mean(lambda x: phi(x) ** 2) - 1
slope = 0.0 if act == "leaky_relu" else activation_transform._calc_q_slope_1(phi) - 1
print(
    json.dumps({"solve_s": solved - loaded, "load_s": loaded - start, "second": float(second), "slope": float(slope)})
)
