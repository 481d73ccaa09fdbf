"""Statistics of a score that is a mean over the outer folds of a nested cross-validation.

Each fold's predictions are made from the other folds' images. The correlations of two folds are therefore not
independent: each contains products of the noise of both. Permutations and resamples of a fold's test images, with its
predictions held fixed, keep the distribution of that fold's correlation, but not its dependence on the others. In
noise, for any linear fit and independent images, this dependence at most doubles the variance of the mean: the
covariance of folds j and k is the trace of A_jk A_kj, where A_jk maps the responses of fold k to the predictions of
fold j, and permutations keep the sums of squares of A_jk and A_kj. Ridge regression comes close to this bound.

The permuted means, and the deviations of resampled means, are therefore multiplied by the root of 2. In simulated noise
(200 to 600 images, 10 to 400 features, five folds), 11 to 12 % of voxels were significant at 5 % without this factor,
and 4 to 6 % with it. With signal (300 images, 10 or 100 features, r from 0.06 to 0.55), the SD of r over simulations
was 1.08 to 1.48 times the standard error without the factor. The factor is too large where r is limited by the noise of
the test images alone: with many more images than features, and high r.

Shapes: B resamples, P permutations, R regions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brain_activity_prediction.inference.region_ceilings import RegionCeilings

DEPENDENCE = 2**0.5


def mean_of_permuted(folds: Sequence[np.ndarray]) -> np.ndarray:
    """Average the permuted scores of folds, (P + 1, ...) each, first observed; the permuted ones are widened."""
    mean = _mean(folds)
    mean[1:] *= DEPENDENCE
    return mean


def mean_of_resampled(folds: Sequence[np.ndarray]) -> np.ndarray:
    """Average the resampled scores of folds, (B, ...) each; their deviations from the average are widened."""
    mean = _mean(folds)
    centre = mean.mean(axis=0)
    return centre + DEPENDENCE * (mean - centre)


def _mean(folds: Sequence[np.ndarray]) -> np.ndarray:
    n = min(map(len, folds))  # a small fold may have fewer permutations
    return np.asarray(np.mean([values[:n] for values in folds], axis=0, dtype=np.float64))


@dataclass(frozen=True)
class MeanCeilings:
    """Mean noise ceilings of regions, averaged over folds, with the methods of `RegionCeilings` that scores need."""

    folds: Sequence[RegionCeilings]

    def known(self) -> np.ndarray:
        """Return the mean ceilings (R,); NaN where the ceiling of a fold is not known."""
        return np.mean([one.known() for one in self.folds], axis=0)

    def standard_error(self) -> np.ndarray:
        """Return the mean standard error (R,): the ceilings of all folds come from the same trials."""
        return np.mean([one.standard_error() for one in self.folds], axis=0)

    def resampled(self, n_resamples: int) -> np.ndarray:
        """Return the mean over folds of each mean ceiling in every resample, (B, R)."""
        return np.mean([one.resampled(n_resamples) for one in self.folds], axis=0)
