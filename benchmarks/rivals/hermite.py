"""Growth of the gradient in a deep SELU network as one writes it first: numpy and Gauss-Hermite quadrature.

Usage: python hermite.py DEPTH [POINTS]
"""

import json
import sys

import numpy as np

LAMBDA, ALPHA = 1.0507009873554805, 1.6732632423543772


def selu(x):
    return LAMBDA * np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0)))


def derivative(x):
    return LAMBDA * np.where(x > 0, 1, ALPHA * np.exp(np.minimum(x, 0)))


def growth(depth, points=100, q=2.0):
    """Logarithm of the product of chi over the layers, for inputs of second moment q."""
    nodes, weights = np.polynomial.hermite.hermgauss(points)
    z, weights = np.sqrt(2) * nodes, weights / np.sqrt(np.pi)
    chi = []
    for _ in range(depth):
        x = np.sqrt(q) * z
        chi.append(weights @ derivative(x) ** 2)
        q = weights @ selu(x) ** 2
    return float(np.sum(np.log(chi)))


if __name__ == "__main__":
    print(json.dumps({"log_growth": growth(*map(int, sys.argv[1:]))}))
