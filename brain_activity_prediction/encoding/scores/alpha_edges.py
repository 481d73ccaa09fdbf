"""Says where alphas were chosen at an end of the grid: with a wider one, scores might be higher."""

import numpy as np

from brain_activity_prediction.runtime.messages import log


def warn_of_edges(of: str, counted: str, alphas: np.ndarray, ends: tuple[float, float]) -> None:
    """Says on stderr how many alphas, in an array of any shape, lie at the ends of their grid; NaN are left out.

    `of` says whose they are, `counted` what the axes of the array are.
    """
    alphas = alphas[np.isfinite(alphas)]
    at_smallest, at_largest = (int(np.isclose(alphas, end, rtol=1e-5).sum()) for end in ends)
    if at_smallest or at_largest:
        log.warning(
            f"{of}: of {alphas.size} alphas ({counted}) {at_smallest} are the smallest of the grid "
            f"and {at_largest} the largest, which voxels that nothing predicts take; if others do, widen the grid"
        )
