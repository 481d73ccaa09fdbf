"""Which part of a voxel's variance several feature spaces predict alone, and which part they share.

With R2(S) the variance that a joint fit of the spaces S predicts, the part that exactly the spaces T predict, and no
others, follows by inclusion and exclusion (de Heer et al. 2017; Lescroart & Gallant 2019): what is lost when the spaces
S are left out, R2(all) - R2(all but S), is the sum of the parts of all T within S. For two spaces

    unique A = R2(AB) - R2(B)    unique B = R2(AB) - R2(A)    shared = R2(A) + R2(B) - R2(AB).

A part is a difference of estimates: noise, and features that help each other only together, can make it negative.
Cross-validated, the part of a single space cannot be: a joint fit may leave the space out (`best_weightings`) and is
chosen by the very score that is compared, so that a space of noise has a little. Such parts describe the fits; whether
a space predicts anything is for the R2 of test images to say, which choose nothing.

B spaces, numbered from 0; a combination of them is an ascending tuple; G weightings, V voxels.
"""

import itertools
from collections.abc import Mapping

import numpy as np

from brain_activity_prediction.ridge.weightings import Combination, combinations


def best_weightings(weightings: np.ndarray, cv_scores: np.ndarray) -> dict[Combination, np.ndarray]:
    """`{combination: (V,)}`, the row of each voxel's best weighting of those spaces; -1 for a voxel without a score.

    A weighting that leaves some of a combination's spaces out is one of its weightings too, so that no space can make
    the cross-validated score of a joint fit worse, which biases what is left over upward. The first of equals is taken.

    weightings  (G, B), 0 where a space is left out
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
    """`{T: (V,)}`, the variance that exactly the spaces T predict, from R2(S) (V,) of every combination.

    They sum to the R2 of all spaces together. By Moebius inversion of the sum in the module's docstring, the part of T
    is the sum over S within T of R2(all) - R2(all but S), with a minus where T has an odd number of spaces more than S.
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
