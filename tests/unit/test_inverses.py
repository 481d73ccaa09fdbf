"""Inverses of positive definite matrices, by the way of the CPU and by that of a GPU, on the CPU."""

import numpy as np
import pytest
import torch

from brain_activity_prediction.ridge.solver import inverses


@pytest.fixture(params=["by Cholesky", "by halves"])
def invert(request, monkeypatch):
    if request.param == "by Cholesky":
        return inverses.invert
    monkeypatch.setattr(inverses, "LEAF", 8)
    return lambda matrices: float(inverses._by_halves(matrices).amin())


def positive_definite(n_rows, dtype=np.float64):
    left = np.random.default_rng(n_rows).standard_normal((3, n_rows, 2 * n_rows))
    return torch.from_numpy((left @ left.transpose(0, 2, 1) / n_rows).astype(dtype))


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-12), (np.float32, 1e-4)])
@pytest.mark.parametrize("n_rows", [1, 8, 9, 31, 70])
def test_the_inverse_is_numpys_and_the_pivot_that_of_the_cholesky_factor(n_rows, dtype, error, invert):
    matrices = positive_definite(n_rows, dtype)
    expected = np.linalg.inv(matrices.double().numpy())
    pivot = np.linalg.cholesky(matrices.double().numpy()).diagonal(axis1=1, axis2=2).min() ** 2
    assert invert(matrices) == pytest.approx(pivot, rel=error)
    np.testing.assert_allclose(matrices, expected, rtol=0, atol=error * np.abs(expected).max())


@pytest.mark.parametrize("place", [0, 20, 39])
@pytest.mark.parametrize("spoilt", [-1.0, float("nan")])
def test_a_matrix_that_is_not_positive_definite_has_no_positive_pivot(place, spoilt, invert):
    matrices = positive_definite(40)
    matrices[1, place, place] = spoilt
    assert not invert(matrices) > 0
