"""Compute the scores of predictions for each voxel. Sums are accumulated in float64.

Shapes: n images, v voxels, P nodes of alpha, A alphas.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from brain_activity_prediction.ridge import RidgeInputError
from brain_activity_prediction.ridge.arrays import Array, Values, as_tensor

Kind = TypeVar("Kind", np.ndarray, torch.Tensor)
# A response counts as constant if its SD is below this many eps of its root mean square, because an SD this small can
# be rounding.
ROUNDING = 45
FLOAT64_EPS = torch.finfo(torch.float64).eps
# A correlation is in doubt if rounding may exceed this share of the prediction's deviations from its mean.
DOUBT = {torch.float32: 1e-3, torch.float64: 1e-8}


def pearson_r(Y: Kind, Y_hat: Kind) -> Kind:
    """Compute Pearson's correlation of each column of Y with the same column of Y_hat; 0 if either is constant.

    Y, Y_hat  (n, v)

    With z = Y_hat,
    r_v = sum_i (y_iv - mean y_v) (z_iv - mean z_v) / sqrt(sum_i (y_iv - mean y_v)^2 sum_i (z_iv - mean z_v)^2).

    A column counts as constant if it varies by no more than the rounding of its own dtype. The computation is in
    float64. Returns an array (v,), or a tensor on their device if Y and Y_hat are tensors.
    """
    (responses, precision), (predictions, precision_hat) = _float64_pair(Y, Y_hat)
    centred, spread = _centre(responses, precision)
    centred_hat, spread_hat = _centre(predictions, precision_hat)
    r = (centred * centred_hat).sum(dim=0) / (spread * spread_hat).sqrt()
    r = r.masked_fill((spread == 0) | (spread_hat == 0), 0.0)
    return _of_kind(Y, r)


def r2_score(Y: Kind, Y_hat: Kind) -> Kind:
    """Compute the coefficient of determination 1 - SSE / SST of each column; 0 if the response is constant.

    With z = Y_hat, SSE_v = sum_i (y_iv - z_iv)^2 and SST_v = sum_i (y_iv - mean y_v)^2.

    The computation is in float64. Returns an array (v,), or a tensor on their device if Y and Y_hat are tensors.
    """
    (responses, precision), (predictions, _) = _float64_pair(Y, Y_hat)
    r2 = _r2(((responses - predictions) ** 2).sum(dim=0), _centre(responses, precision)[1])
    return _of_kind(Y, r2)


def _of_kind(given: Kind, result: torch.Tensor) -> Kind:
    return result if torch.is_tensor(given) else result.numpy()  # type: ignore[return-value]


def standard_columns(values: torch.Tensor) -> torch.Tensor:
    """Scale columns (n, v) to mean 0 and SD 1, float32, so that r of two columns is the mean of their products.

    Constant columns become 0. A column counts as constant as in `pearson_r`.
    """
    mean = values.mean(dim=0, dtype=torch.float64)
    centred = values.to(torch.float64) - mean
    sd = centred.std(dim=0, correction=0)
    constant = sd <= ROUNDING * _eps(values) * (sd**2 + mean**2).sqrt()
    return (centred / sd).masked_fill(constant, 0).to(torch.float32)


@dataclass(frozen=True)
class HeldOut:
    """Held-out residuals and responses of a fold, in m coordinates that keep the inner products over its n images.

    Attributes
    ----------
    values : (P, v, m) held-out residuals at the nodes; for "correlation" the predictions, centred over images.
    responses : (v, m), centred over images for "correlation".
    outside : (v,) sum of squares of the residuals outside these coordinates, which is the same at all nodes.
    """

    values: torch.Tensor
    responses: torch.Tensor
    outside: torch.Tensor | float = 0.0


def fold_scores(held_out: HeldOut, responses: torch.Tensor, weights: torch.Tensor, criterion: str) -> torch.Tensor:
    """Compute the score of every alpha on one fold, (A, v) in float64, from moments of the residuals at the nodes.

    responses : (n, v)
    weights : (P, A); the residuals of an alpha are e_a = sum_p weights[p, a] e_p.
    criterion : "neg_mean_squared_error" or "r2".

    The residuals of the A alphas are not computed. With a voxel's M = e e' (P, P), SSE(a) = w_a' M w_a.
    """
    sse = _quadratic(_moments(held_out.values), weights) + held_out.outside
    if criterion == "r2":
        return _r2(sse, _centre(responses.to(torch.float64))[1])
    return -sse / len(responses)


def fold_correlations(
    held_out: HeldOut, responses: torch.Tensor, weights: torch.Tensor, largest: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the correlation of every alpha on one fold, (A, v) in float64, and a mask (v,) of doubtful voxels.

    responses, weights : as in `fold_scores`, but for predictions instead of residuals.
    largest : (A, v), bound on the norm of a fold's predictions, which none of their terms would cancel. Rounding is
        relative to it.

    A correlation is in doubt if rounding may be more than DOUBT of the prediction's deviations from its mean.
    """
    spread = _centre(responses.to(torch.float64))[1]
    covariance = torch.einsum("pvm,vm->pv", held_out.values, held_out.responses).to(torch.float64)
    moments = _moments(held_out.values)
    variance = _quadratic(moments, weights).clamp(min=0)
    r = (weights.T @ covariance) / (variance * spread).sqrt()
    number, doubt = torch.finfo(held_out.values.dtype), DOUBT[held_out.values.dtype]
    # Size of the terms (A, v) in the sum over nodes, which may cancel.
    terms = weights.abs().T @ moments.diagonal(dim1=1, dim2=2).T.sqrt()
    doubtful = (variance.sqrt() * doubt < number.eps * largest) | (variance * doubt < number.eps * terms**2)
    doubtful |= variance * number.eps < number.tiny * largest.sign()
    constant = (variance == 0) | (spread == 0)
    return r.masked_fill(constant, 0.0), (doubtful & (spread > 0)).any(dim=0)


def correlation(Y: torch.Tensor, Y_hat: torch.Tensor, rounding: torch.Tensor) -> torch.Tensor:
    """Compute r (v,) of the columns of Y and Y_hat, float64; 0 if Y_hat is constant up to `rounding`.

    Y, Y_hat  (n, v)
    rounding  largest norm, over the n images, of a constant prediction's deviations from its mean
    """
    centred, spread = _centre(Y)
    centred_hat = Y_hat - Y_hat.mean(dim=0)
    size = torch.linalg.vector_norm(centred_hat, dim=0)
    r = (centred * centred_hat).sum(dim=0) / (spread.sqrt() * size)
    return r.masked_fill((spread == 0) | (size <= rounding), 0.0)


def _moments(panel: torch.Tensor) -> torch.Tensor:
    """Compute every voxel's matrix of inner products (v, P, P) of a panel (P, v, m), in float64."""
    by_voxel = panel.transpose(0, 1)
    return torch.bmm(by_voxel, by_voxel.transpose(1, 2)).to(torch.float64)


def _quadratic(moments: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Compute w_a' M w_a for every alpha and voxel, (A, v), from moments M (v, P, P)."""
    products = weights[:, None, :] * weights  # (P, P, A)
    return products.flatten(0, 1).T @ moments.flatten(1).T


def centred(responses: torch.Tensor) -> torch.Tensor:
    """Compute deviations (n, v) of responses from their float64 mean, in the precision of the responses."""
    return _centre(responses.to(torch.float64))[0].to(responses)


def _r2(sse: torch.Tensor, sst: torch.Tensor) -> torch.Tensor:
    return (1.0 - sse / sst).masked_fill(sst == 0, 0.0)


def _centre(values: torch.Tensor, eps: float = FLOAT64_EPS) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the deviations of columns from their means, and their sums of squares, exactly 0 for constants."""
    centred = values - values.mean(dim=0, keepdim=True)
    spread = (centred**2).sum(dim=0)
    return centred, spread.masked_fill(spread <= (ROUNDING * eps) ** 2 * (values**2).sum(dim=0), 0.0)


def _eps(values: torch.Tensor) -> float:
    """Return the machine epsilon of the dtype of `values`, or of float64 for whole numbers."""
    return torch.finfo(values.dtype).eps if values.is_floating_point() else FLOAT64_EPS


def check_same_shape(Y: Array, Y_hat: Array) -> None:
    """Raise an error for responses and predictions of different shapes, because torch would broadcast them."""
    if tuple(Y.shape) != tuple(Y_hat.shape):
        raise RidgeInputError(
            f"responses {tuple(Y.shape)} and predictions {tuple(Y_hat.shape)} have different shapes: give both the same"
        )


def _float64_pair(Y: Values, Y_hat: Values) -> tuple[tuple[torch.Tensor, float], tuple[torch.Tensor, float]]:
    """Return Y and Y_hat as float64 tensors of the same shape, each with the eps of its original dtype."""
    Y, Y_hat = (as_tensor(values, name, gradients=True) for values, name in ((Y, "Y"), (Y_hat, "Y_hat")))
    check_same_shape(Y, Y_hat)
    return (Y.to(torch.float64), _eps(Y)), (Y_hat.to(Y.device, torch.float64), _eps(Y_hat))
