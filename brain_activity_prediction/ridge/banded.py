"""Ridge on several feature spaces at once, each with an alpha of its own, chosen for every voxel by cross-validation.

Banded ridge (Nunez-Elizalde, Huth & Gallant 2019; Dupre la Tour et al. 2022) minimises for every voxel

    ||y - sum_b X_b w_b||^2 + sum_b alpha_b ||w_b||^2    with alpha_b = alpha / gamma_b, sum_b gamma_b = 1,

which is ridge at penalty alpha on the features [sqrt(gamma_b) X_b]. A space of weight 0 is left out. With an
orthonormal basis B (N, R) of all the spaces' columns, X_b X_b' = B M_b B', so that features are multiplied once and
each weighting gamma costs one eigendecomposition of sum_b gamma_b M_b, (R, R), whatever the number of features. From
there on a weighting is a ridge path like any other (ridge.py): exact for every alpha and fold.

N images, D_b features of space b, R = min(N, sum of D_b), V voxels, A alphas, G weightings; m new images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from brain_activity_prediction.ridge.arrays import as_tensor, sorted_grid
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.solver.decomposition import Decomposition
from brain_activity_prediction.ridge.solver.leave_fold_out import SMALLEST_PIVOT
from brain_activity_prediction.runtime.errors import InputError

# Smallest alpha over largest eigenvalue below which a Gram matrix does not do: one minus leverage may reach the pivot
# at which the shared decomposition is not trusted, and the features themselves are decomposed instead.
SMALLEST_PENALTY = 2 * SMALLEST_PIVOT[torch.float64]


@dataclass(frozen=True)
class FeatureSpaces:
    """Feature spaces of the same images, with all that the weightings share; tensors on one device.

    Attributes
    ----------
    features : B tensors (N, D_b), standardised by the caller.
    new_features : B tensors (m, D_b), scaled likewise.
    basis : (N, R) float64, orthonormal; None where R = N and the images themselves are the basis.
    kernels : (B, R, R) float64, M_b.
    new_kernels : (B, m, R) float64, the new images' X_b,new X_b' times the basis.
    """

    features: Sequence[torch.Tensor]
    new_features: Sequence[torch.Tensor]
    basis: torch.Tensor | None
    kernels: torch.Tensor
    new_kernels: torch.Tensor

    @classmethod
    def of(cls, features, new_features):
        """Takes B arrays or tensors (N, D_b) and (m, D_b). Memory: 8 B R (R + m) bytes, and 16 N R where R < N."""
        features, new_features = ([as_tensor(x, "a feature space") for x in part] for part in (features, new_features))
        shapes, new_shapes = ([tuple(space.shape) for space in part] for part in (features, new_features))
        widths = [[shape[1:] for shape in part] for part in (shapes, new_shapes)]
        if {len(shape) for shape in shapes + new_shapes} != {2} or widths[0] != widths[1]:
            raise InputError(
                f"feature spaces {shapes} and those of new images, {new_shapes}, must have the same columns"
            )
        if len({n_images for n_images, _ in shapes}) != 1:
            raise InputError(f"feature spaces {shapes} are not of the same images")
        n_images, widths = shapes[0][0], [width for _, width in shapes]
        if sum(widths) >= n_images:
            doubles = (space.to(torch.float64) for space in features)
            kernels = torch.stack([space @ space.T for space in doubles])
            pairs = zip(new_features, features, strict=True)
            crossed = [new.to(torch.float64) @ old.to(torch.float64).T for new, old in pairs]
            return cls(features, new_features, None, kernels, torch.stack(crossed))
        basis, triangle = torch.linalg.qr(torch.cat([space.to(torch.float64) for space in features], dim=1))
        coordinates = triangle.split(widths, dim=1)  # (R, D_b): X_b = basis @ coordinates
        kernels = torch.stack([part @ part.T for part in coordinates])
        crossed = [new.to(torch.float64) @ part.T for new, part in zip(new_features, coordinates, strict=True)]
        return cls(features, new_features, basis, kernels, torch.stack(crossed))

    def fit(self, weighting, Y, alphas, *, folds=5, voxels_per_chunk=None):
        """The ridge of one weighting (B,): alpha (V,), cv_score (V,) and predictions (m, V) for the new images.

        Y, alphas, folds and voxels_per_chunk are those of `ridge_cv`; so are the choice of alpha, the score, the mean
        over folds of the negative mean squared error, and what NaN and constant voxels get.
        """
        weighting = self._checked(weighting)
        spectrum, vectors = torch.linalg.eigh(torch.tensordot(weighting, self.kernels, dims=1))
        settings = {"folds": folds, "voxels_per_chunk": voxels_per_chunk, "fit_intercept": False}
        if sorted_grid(alphas)[0][0] < SMALLEST_PENALTY * float(spectrum[-1]):
            fit = ridge_cv(_scaled(self.features, weighting), Y, alphas, **settings)
            return fit.alpha, fit.cv_score, fit.predict(_scaled(self.new_features, weighting))
        kept = spectrum > len(spectrum) * torch.finfo(torch.float64).eps * spectrum[-1]
        kept[-1] = True
        spectrum, vectors = spectrum[kept].clamp(min=0), vectors[:, kept]
        left = vectors if self.basis is None else self.basis @ vectors
        square_root = (left * spectrum.sqrt()).to(self.features[0].dtype)
        fit = ridge_cv(square_root, Y, alphas, decomposition=Decomposition(left, spectrum, vectors), **settings)
        new_kernel = torch.tensordot(weighting, self.new_kernels, dims=1)
        return fit.alpha, fit.cv_score, fit.predict(new_kernel)

    def _checked(self, weighting):
        weighting = as_tensor(weighting, "weighting").to(self.kernels)
        if weighting.shape != (len(self.kernels),):
            raise InputError(
                f"weighting {tuple(weighting.shape)} is not a weight for each of {len(self.kernels)} spaces"
            )
        if not ((weighting >= 0).all() and abs(float(weighting.sum()) - 1) < 1e-6):
            raise InputError(f"weighting {weighting.tolist()} must be weights of 0 or more whose sum is 1")
        return weighting


def _scaled(features, weighting):
    """[sqrt(gamma_b) X_b] side by side, without the spaces of weight 0."""
    pairs = zip(features, weighting, strict=True)
    return torch.cat([space * weight.sqrt().to(space.dtype) for space, weight in pairs if weight > 0], dim=1)
