"""Statistics of a score that is a mean over the outer folds of a nested cross-validation.

Each fold's predictions are made from the other folds' images. Under the null hypothesis, the correlations of two folds
are therefore not independent: each contains products of the responses of both. Permutations of a fold's test images,
with its predictions held fixed, keep the distribution of that fold's correlation, but not its dependence on the others.
For any linear fit and independent images, the dependence at most doubles the variance of the mean: the covariance of
folds j and k is the trace of A_jk A_kj, where A_jk maps the responses of fold k to the predictions of fold j, and the
permutations keep the sums of squares of A_jk and A_kj. Ridge regression comes close to this bound. In simulated noise
(200 to 600 images, 10 to 400 features, five folds), permutations alone called 11 to 12 % of voxels significant at 5 %.
The permuted means are therefore multiplied by the root of 2, which gave 4 to 6 %.

Shapes: B resamples, P permutations, R regions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brain_activity_prediction.inference.region_ceilings import RegionCeilings

DEPENDENCE = 2**0.5


def mean_of_permuted(folds: Sequence[np.ndarray]) -> np.ndarray:
    """Average the permuted scores of folds, (P + 1, ...) each, first observed; the permuted ones are widened."""
    mean = mean_over_folds(folds)
    mean[1:] *= DEPENDENCE
    return mean


def mean_over_folds(folds: Sequence[np.ndarray]) -> np.ndarray:
    """Average the replicates of folds, (B, ...) each, replicate by replicate; a small fold may have fewer."""
    n = min(map(len, folds))
    return np.mean([values[:n] for values in folds], axis=0, dtype=np.float64)


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
