"""Fit banded ridge: several feature spaces at once, each with its own alpha, cross-validated for every voxel.

Banded ridge (Nunez-Elizalde, Huth & Gallant 2019; Dupre la Tour et al. 2022) minimises for every voxel

    ||y - sum_b X_b w_b||^2 + sum_b alpha_b ||w_b||^2    with alpha_b = alpha / gamma_b, sum_b gamma_b = 1,

which is ridge with penalty alpha on the scaled features [sqrt(gamma_b) X_b]. A space with weight 0 is left out.

Let B (N, R) be an orthonormal basis of the columns of all spaces, and X_b X_b' = B M_b B'. The matrices M_b are
computed once. Then each weighting gamma needs one eigendecomposition of sum_b gamma_b M_b, (R, R), whatever the number
of features. After this step a weighting is fitted like any other ridge (ridge_cv.py): exactly, for every alpha and
fold.

Shapes: N images, D_b features of space b, R = min(N, sum of D_b), V voxels, A alphas, G weightings; m new images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy.typing as npt
import torch

from brain_activity_prediction.ridge import RidgeInputError
from brain_activity_prediction.ridge.arrays import Values, as_tensor, sorted_grid
from brain_activity_prediction.ridge.ridge_cv import RidgeFit, ridge_cv
from brain_activity_prediction.ridge.solver.decomposition import Decomposition
from brain_activity_prediction.ridge.solver.leave_fold_out import SMALLEST_PIVOT

# Lowest ratio of the smallest alpha to the largest eigenvalue for which a Gram matrix is exact enough. Below this ratio
# the features themselves are decomposed, because one minus leverage may be too small.
SMALLEST_PENALTY = 2 * SMALLEST_PIVOT[torch.float64]


@dataclass(frozen=True)
class FeatureSpaces:
    """Feature spaces of the same images, prepared for banded ridge with many weightings.

    All tensors are on one device.

    Attributes
    ----------
    features : B tensors (N, D_b), standardised by the caller.
    new_features : B tensors (m, D_b), scaled in the same way.
    basis : (N, R) float64, orthonormal; None if R = N, because the images themselves are then the basis.
    kernels : (B, R, R) float64, the matrices M_b.
    new_kernels : (B, m, R) float64, X_b,new X_b' times the basis, for the new images.
    """

    features: Sequence[torch.Tensor]
    new_features: Sequence[torch.Tensor]
    basis: torch.Tensor | None
    kernels: torch.Tensor
    new_kernels: torch.Tensor

    @classmethod
    def of(cls, features: Sequence[Values], new_features: Sequence[Values]) -> Self:
        """Prepare feature spaces.

        features, new_features  B arrays or tensors (N, D_b), and B (m, D_b) for new images

        Memory: 8 B R (R + m) bytes, and 16 N R more if R < N.
        """
        old, new = ([as_tensor(x, "a feature space") for x in part] for part in (features, new_features))
        shapes, new_shapes = ([tuple(space.shape) for space in part] for part in (old, new))
        columns = [[shape[1:] for shape in part] for part in (shapes, new_shapes)]
        if {len(shape) for shape in shapes + new_shapes} != {2} or columns[0] != columns[1]:
            raise RidgeInputError(
                f"feature spaces {shapes} and those of new images {new_shapes} have different columns: give both the "
                "same features"
            )
        if len({n_images for n_images, _ in shapes}) != 1:
            raise RidgeInputError(f"feature spaces {shapes} have different numbers of rows: give all the same images")
        n_images, widths = shapes[0][0], [width for _, width in shapes]
        if sum(widths) >= n_images:
            doubles = (space.to(torch.float64) for space in old)
            kernels = torch.stack([space @ space.T for space in doubles])
            pairs = zip(new, old, strict=True)
            crossed = [space_new.to(torch.float64) @ space.to(torch.float64).T for space_new, space in pairs]
            return cls(old, new, None, kernels, torch.stack(crossed))
        basis, triangle = torch.linalg.qr(torch.cat([space.to(torch.float64) for space in old], dim=1))
        coordinates = triangle.split(widths, dim=1)  # (R, D_b): X_b = basis @ coordinates
        kernels = torch.stack([part @ part.T for part in coordinates])
        crossed = [space.to(torch.float64) @ part.T for space, part in zip(new, coordinates, strict=True)]
        return cls(old, new, basis, kernels, torch.stack(crossed))

    def fit(
        self, weighting: Values, Y: Values, alphas: npt.ArrayLike, **settings: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Fit ridge with one weighting (B,); return alpha (V,), cv_score (V,) and predictions (m, V) for new images.

        settings : `folds`, `criterion`, `fit_intercept` and `voxels_per_chunk` of `ridge_cv`, which chooses alpha.
            By default no intercept is fitted. With an intercept, the columns of the features must have mean 0.
        """
        weights = self._checked(weighting)
        ridge, left = self._ridge(weights, Y, alphas, settings)
        if left is None:
            return ridge.alpha, ridge.cv_score, ridge.predict(_scaled(self.new_features, weights))
        new_kernel = torch.tensordot(weights, self.new_kernels, dims=1)
        return ridge.alpha, ridge.cv_score, ridge.predict(new_kernel)

    def coefficients(
        self, weighting: Values, Y: Values, alphas: npt.ArrayLike, **settings: Any
    ) -> tuple[RidgeFit, torch.Tensor]:
        """Fit ridge with one weighting as `fit` does; return the fit, and its coefficients (sum of D_b, V)."""
        weights = self._checked(weighting)
        ridge, left = self._ridge(weights, Y, alphas, settings)
        parts = []
        if left is None:
            of_scaled = iter(
                ridge.coefficients().split([x.shape[1] for x, g in zip(self.features, weights, strict=True) if g > 0])
            )
            for space, weight in zip(self.features, weights, strict=True):
                zeros = space.new_zeros(space.shape[1], len(ridge.alpha))
                parts.append(next(of_scaled) * weight.sqrt() if weight > 0 else zeros)
        else:
            duals = left @ ridge.shrunken_targets.to(left)  # (N, V): w_b = gamma_b X_b' dual
            parts = [g * (x.to(left).T @ duals) for x, g in zip(self.features, weights, strict=True)]
        return ridge, torch.cat(parts).to(ridge.response_means.dtype)

    def _ridge(
        self, weights: torch.Tensor, Y: Values, alphas: npt.ArrayLike, settings: dict[str, Any]
    ) -> tuple[RidgeFit, torch.Tensor | None]:
        """Fit ridge to the square root of the weighted kernel; return the fit and the kernel's eigenvectors (N, R).

        If the smallest alpha is too small for a kernel, ridge is fitted to the scaled features, and None replaces the
        eigenvectors.
        """
        settings = {"fit_intercept": False} | settings
        spectrum, vectors = torch.linalg.eigh(torch.tensordot(weights, self.kernels, dims=1))
        if sorted_grid(alphas)[0][0] < SMALLEST_PENALTY * float(spectrum[-1]):
            return ridge_cv(_scaled(self.features, weights), Y, alphas, **settings), None
        kept = spectrum > len(spectrum) * torch.finfo(torch.float64).eps * spectrum[-1]
        kept[-1] = True
        spectrum, vectors = spectrum[kept].clamp(min=0), vectors[:, kept]
        left = vectors if self.basis is None else self.basis @ vectors
        square_root = (left * spectrum.sqrt()).to(self.features[0].dtype)
        decomposition = Decomposition(left, spectrum, vectors)
        return ridge_cv(square_root, Y, alphas, decomposition=decomposition, **settings), left

    def _checked(self, weighting: Values) -> torch.Tensor:
        weights = as_tensor(weighting, "weighting").to(self.kernels)
        if weights.shape != (len(self.kernels),):
            raise RidgeInputError(
                f"weighting {tuple(weights.shape)} does not have a weight for each of {len(self.kernels)} spaces"
            )
        if not ((weights >= 0).all() and abs(float(weights.sum()) - 1) < 1e-6):
            raise RidgeInputError(f"weighting {weights.tolist()} is invalid: weights must be 0 or more, with sum 1")
        return weights


def _scaled(features: Sequence[torch.Tensor], weighting: torch.Tensor) -> torch.Tensor:
    """Concatenate the scaled features [sqrt(gamma_b) X_b], without spaces that have weight 0."""
    pairs = zip(features, weighting, strict=True)
    return torch.cat([space * weight.sqrt().to(space.dtype) for space, weight in pairs if weight > 0], dim=1)
