"""Constants of the weight ensembles, by quadrature and by drawing matrices."""

from __future__ import annotations

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from test_fluctuations import weights

from snn_cli import InputError, simulate
from snn_cli.ensembles import ENSEMBLES, get, truncated_kurtosis, variance_kept


@pytest.mark.parametrize("bound", [0.5, 1.0, 2.0, 3.0, 6.0])
def test_truncated_normal(bound):
    with mpmath.workdps(30):
        total, second, fourth = (
            mpmath.quad(lambda z, n=n: z**n * mpmath.npdf(z), [-bound, 0, bound]) for n in (0, 2, 4)
        )
        assert variance_kept(bound) == pytest.approx(float(second / total), rel=1e-13)
        assert truncated_kurtosis(bound) == pytest.approx(float(fourth * total / second**2 - 3), rel=1e-11, abs=1e-13)
    assert abs(variance_kept(2) - 0.7737) < 5e-5


@pytest.mark.parametrize("name", ["gaussian", "uniform", "truncated"])
def test_entries_by_drawing(name):
    w = weights(np.random.default_rng(0), 1, 1000, 1000, name)[0].astype(float).ravel() * math.sqrt(1000)
    fourth, count = w**4, w.size
    assert abs((w * w).mean() - 1) < 4 * (w * w).std() / math.sqrt(count)
    assert abs(fourth.mean() - 3 - get(name).excess_kurtosis) < 4 * fourth.std() / math.sqrt(count)
    if name != "gaussian":
        assert abs(fourth.mean() - 3) > 4 * fourth.std() / math.sqrt(count)


@pytest.mark.parametrize("name", ["gaussian", "orthogonal"])
@pytest.mark.parametrize(("n", "m"), [(12, 12), (20, 8), (8, 20)])
def test_lengths_by_drawing(name, n, m):
    """Half the relative variance of ``|W v|^2`` and ``|W^T v|^2``: for Haar W a beta variable, with ``n + 2`` for n."""
    count, e = 6000, get(name)
    w = weights(np.random.default_rng(1), count, m, n, name).astype(float)
    rows, columns = (w[:, :, 0] ** 2).sum(1), (w[:, 0, :] ** 2).sum(1)
    for squares, mean, found, size in (
        (rows, m / n, e.forward(n, m), max(n, m) if name == "orthogonal" else None),
        (columns, 1.0, e.backward(n, m), max(n, m) if name == "orthogonal" else None),
    ):
        relative = (squares / mean - 1) ** 2 / 2
        error = relative.std() / math.sqrt(count)
        assert abs(squares.mean() - mean) <= 4 * squares.std() / math.sqrt(count) + 1e-6
        exact = found if size is None else found * size / (size + 2)
        assert abs(relative.mean() - exact) <= 4 * error + 1e-9
        if found:
            assert relative.mean() > 4 * error


@pytest.mark.parametrize("name", ["gaussian", "orthogonal", "uniform"])
@pytest.mark.parametrize(("n", "m"), [(200, 200), (240, 120), (120, 240)])
def test_block_variance_by_drawing(name, n, m):
    """Eigenvalues of ``J J^T`` with ``J = W D`` and random D, at one large size, for each sign of m - n."""
    rng = np.random.default_rng(2)
    d2 = np.array([0.2, 2.0])
    found = get(name).block_variance(d2.mean(), (d2**2).mean(), n, m)
    values = []
    for _ in range(8):
        d = d2[rng.permutation(n) % 2]
        w = weights(rng, 1, m, n, name)[0].astype(float)
        product = (w * d) @ w.T
        values.append((product**2).sum() / m - (np.trace(product) / m) ** 2)
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values) - found) < 4 * error + 0.015 * found
    other = get("gaussian" if name == "orthogonal" else "orthogonal").block_variance(1.1, (d2**2).mean(), n, m)
    assert abs(np.mean(values) - other) > 4 * error + 0.015 * other


@pytest.mark.parametrize("name", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("sizes", [[150, 150, 150, 150], [200, 100, 200, 80]])
def test_network_relative_variance_by_drawing(name, sizes):
    """``sum (m_L / m_l) var_l``, of products of matrices: here of ReLU blocks, with independent units."""
    record = simulate("relu", widths=sizes, sigma_w="he", weights=name, profile=False)
    rng = np.random.default_rng(3)
    values, means = [], []
    for _ in range(10):
        j = np.eye(sizes[0])
        for n, m in pairwise(sizes):
            d = math.sqrt(2) * (rng.permutation(n) % 2)
            j = weights(rng, 1, m, n, name)[0].astype(float) @ (d[:, None] * j)
        product = j @ j.T
        mean = np.trace(product) / sizes[-1]
        means.append(mean)
        values.append((product**2).sum() / sizes[-1] / mean**2 - 1)
    found = record.isometry.network_relative_variance
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values) - found) < 4 * error + 0.03 * found
    assert abs(np.mean(means) - record.isometry.network_mean) < 4 * np.std(means) / math.sqrt(10) + 0.01
    equal = simulate("relu", depth=len(sizes) - 1, sigma_w="he", weights=name, profile=False).isometry
    assert equal.network_relative_variance == pytest.approx((len(sizes) - 1) * (2 if name == "gaussian" else 1))


def test_names():
    assert list(ENSEMBLES) == ["gaussian", "orthogonal", "uniform", "truncated"]
    with pytest.raises(InputError) as error:
        get("gausian")
    assert error.value.hint == "--weights gaussian"
