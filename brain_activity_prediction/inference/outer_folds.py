"""Statistics of a score that is a mean over the outer folds of a nested cross-validation.

The predictions for a fold are trained on the images of the other folds. Therefore the correlations of two folds are not
independent: each contains products of the noise of both. Permuting or resampling the test images of a fold, with fixed
predictions, reproduces the distribution of that fold's correlation, but not its dependence on other folds.

In noise, for any linear fit and independent images, this dependence at most doubles the variance of the mean. The
covariance of folds j and k is the trace of A_jk A_kj, where A_jk maps the responses of fold k to the predictions of
fold j, and permutations keep the sums of squares of A_jk and A_kj. Ridge regression comes close to this bound.

Therefore permuted means, and the deviations of resampled means, are multiplied by the square root of 2. In simulated
noise (200 to 600 images, 10 to 400 features, five folds), 4 to 6 % of voxels were significant at 5 %; without this
factor, 11 to 12 %. With signal (300 images, 10 or 100 features, r from 0.06 to 0.55), the SD of r over simulations was
1.08 to 1.48 times the standard error without the factor. The factor is too large if r is limited only by the noise of
the test images, which is the case with many more images than features and a high r.

Shapes: B resamples, P permutations, R regions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brain_activity_prediction.inference.region_ceilings import RegionCeilings

DEPENDENCE = 2**0.5


def mean_of_permuted(folds: Sequence[np.ndarray]) -> np.ndarray:
    """Average the permuted scores of folds, and widen them by the factor above.

    Each fold has (P + 1, ...) scores: the observed one, which is not widened, then one per permutation.
    """
    mean = _mean(folds)
    mean[1:] *= DEPENDENCE
    return mean


def mean_of_resampled(folds: Sequence[np.ndarray]) -> np.ndarray:
    """Average the resampled scores of folds, (B, ...) each, and widen their deviations by the factor above."""
    mean = _mean(folds)
    centre = mean.mean(axis=0)
    return centre + DEPENDENCE * (mean - centre)


def _mean(folds: Sequence[np.ndarray]) -> np.ndarray:
    n = min(map(len, folds))  # a small fold may have fewer possible permutations
    return np.asarray(np.mean([values[:n] for values in folds], axis=0, dtype=np.float64))


@dataclass(frozen=True)
class MeanCeilings:
    """Mean noise ceilings of regions, averaged over folds, with the methods of `RegionCeilings` that scores use."""

    folds: Sequence[RegionCeilings]

    def known(self) -> np.ndarray:
        """Return the mean ceilings (R,); NaN if the ceiling of a fold is unknown."""
        return np.mean([one.known() for one in self.folds], axis=0)

    def standard_error(self) -> np.ndarray:
        """Return the standard error (R,): the mean over folds, because all ceilings come from the same trials."""
        return np.mean([one.standard_error() for one in self.folds], axis=0)

    def resampled(self, n_resamples: int) -> np.ndarray:
        """Return each mean ceiling in every resample, averaged over folds, (B, R)."""
        return np.mean([one.resampled(n_resamples) for one in self.folds], axis=0)
