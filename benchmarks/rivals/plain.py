"""Self-normalizing activation with SciPy as one writes it first: numpy, scipy.stats, SLSQP from a round start.

Usage: python plain.py lselu 0.03
"""

import json
import sys

import numpy as np
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import norm

act, epsilon = sys.argv[1], float(sys.argv[2])


def f(z, p):
    lam, alpha, beta = p
    left = alpha * np.exp(z) + beta * z - alpha if act == "lselu" else alpha * np.exp(beta * z) - alpha
    return lam * np.where(z > 0, z, left)


def df(z, p):
    lam, alpha, beta = p
    left = alpha * np.exp(z) + beta if act == "lselu" else alpha * beta * np.exp(beta * z)
    return lam * np.where(z > 0, 1, left)


def expectation(g):
    """E[g(z)] over z ~ N(0,1), split at the kink."""
    return sum(quad(lambda z: g(z) * norm.pdf(z), *ends)[0] for ends in ((-10, 0), (0, 10)))


found = minimize(
    lambda p: expectation(lambda z: z * f(z, p) * df(z, p)),
    [1.0, 1.0, 0.5],
    method="SLSQP",
    bounds=[(1, None), (0, None), (None, None)],
    constraints=[
        {"type": "eq", "fun": lambda p: expectation(lambda z: f(z, p) ** 2) - 1},
        {"type": "eq", "fun": lambda p: expectation(lambda z: df(z, p) ** 2) - 1 - epsilon},
    ],
    options={"ftol": 1e-12},
)
lam, alpha, beta = map(float, found.x)
print(json.dumps({"lambda": lam, "alpha": alpha, "beta": beta, "converged": bool(found.success)}))
