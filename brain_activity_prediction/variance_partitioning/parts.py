"""Split the variance that feature spaces predict into unique and shared parts.

R2(S) is the variance that a joint fit of a set S of spaces predicts. The part of a set T is the variance that each
space in T can predict and no other space can. Parts follow from R2 by inclusion and exclusion (de Heer et al. 2017;
Lescroart & Gallant 2019). The variance lost without the spaces S is R2(all) - R2(all but S); it is the sum of the parts
of all subsets T of S. For two spaces

    unique A = R2(AB) - R2(B)    unique B = R2(AB) - R2(A)    shared = R2(A) + R2(B) - R2(AB).

A part is a difference of estimates. It can be negative because of noise, or because features predict only together. The
cross-validated part of a single space cannot be negative: a joint fit may leave the space out (`best_weightings`), and
the cross-validated score both chooses the fit and gives the part. A space of noise therefore has a small positive part.
Cross-validated parts only describe the fits. Whether a space predicts anything is shown by the R2 of the test images,
which are not used to choose fits.

Letters: B spaces, numbered from 0, G weightings, V voxels. A combination of spaces is an ascending tuple of numbers.
"""

import itertools
from collections.abc import Mapping

import numpy as np

from brain_activity_prediction.ridge.weightings import Combination, combinations


def best_weightings(weightings: np.ndarray, cv_scores: np.ndarray) -> dict[Combination, np.ndarray]:
    """Return, for each combination of spaces, the row (V,) of each voxel's best weighting; -1 without a score.

    Weightings that leave out some of the combination's spaces are also candidates. A further space can therefore never
    lower the cross-validated score of a joint fit, which biases unique parts upward. Of equal weightings, the first is
    best.

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
    """Return each part `{T: (V,)}`, the variance that exactly the spaces T predict, from R2(S) of all combinations.

    The parts sum to the R2 of all spaces together. By Moebius inversion of the sum in the module's docstring, the part
    of T is the sum over S within T of R2(all) - R2(all but S), with a minus where T has an odd number of spaces more
    than S.
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
