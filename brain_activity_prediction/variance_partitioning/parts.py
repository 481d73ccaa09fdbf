"""Split the variance that feature spaces predict into unique and shared parts.

R2(S) is the variance that a joint fit of a set S of spaces predicts. The part of a set T is the variance that every
space in T can predict and no space outside T can predict. Parts are computed from R2 by inclusion and exclusion (de
Heer et al. 2017; Lescroart & Gallant 2019). For two spaces

    unique A = R2(AB) - R2(B)    unique B = R2(AB) - R2(A)    shared = R2(A) + R2(B) - R2(AB).

In general, the variance that is lost without the spaces S, R2(all) - R2(all but S), is the sum of the parts of all
subsets T of S.

A part is a difference of estimates. It can be negative because of noise, or because features predict only together. In
cross-validated R2, the part of a single space cannot be negative, because the same score also chooses the fit, and a
fit can leave the space out (`best_weightings`). Therefore even a space of noise has a small positive part.
Cross-validated parts only describe the fits. To test whether a space predicts anything, use R2 on the test images,
which are not used to choose fits.

Letters: B spaces, numbered from 0, G weightings, V voxels. A combination of spaces is an ascending tuple of numbers.
"""

import itertools
from collections.abc import Mapping

import numpy as np

from brain_activity_prediction.ridge.weightings import Combination, combinations


def best_weightings(weightings: np.ndarray, cv_scores: np.ndarray) -> dict[Combination, np.ndarray]:
    """Return, for each combination of spaces, the row (V,) of each voxel's best weighting; -1 without a score.

    Weightings that leave out some spaces of the combination are also candidates. Therefore a larger combination never
    has a lower cross-validated score, which biases unique parts upwards. If weightings are equal, the first is chosen.

    weightings  (G, B), 0 for a space that is left out
    cv_scores   (G, V)
    """
    valid = np.isfinite(cv_scores).all(axis=0)
    best = {}
    for chosen in combinations(weightings.shape[1]):
        others = np.setdiff1d(np.arange(weightings.shape[1]), chosen)
        rows = np.flatnonzero((weightings[:, others] == 0).all(axis=1))
        best[chosen] = np.where(valid, rows[cv_scores[rows].argmax(axis=0)], -1)
    return best


def parts(r2: Mapping[Combination, np.ndarray]) -> dict[Combination, np.ndarray]:
    """Return each part `{T: (V,)}` from R2(S) of all combinations S of spaces.

    The part of T is a sum over all subsets S of T (Moebius inversion of the last sum in the module's docstring). Each
    term is R2(all) - R2(all but S), with a minus if the numbers of spaces in T and S differ by an odd number. All parts
    together sum to the R2 of all spaces.
    """
    everything = max(r2, key=len)

    def lost_without(left_out: Combination) -> np.ndarray:
        rest = tuple(space for space in everything if space not in left_out)
        return r2[everything] - r2[rest] if rest else r2[everything]

    return {
        chosen: sum(
            (-1) ** (len(chosen) - size) * lost_without(within)
            for size in range(1, len(chosen) + 1)
            for within in itertools.combinations(chosen, size)
        )
        for chosen in r2
    }
