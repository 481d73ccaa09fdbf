"""Warn where alphas were chosen at an end of the grid: a wider grid might give higher scores."""

import numpy as np

from brain_activity_prediction.runtime.messages import log


def warn_of_edges(fit: str, counted: str, alphas: np.ndarray, ends: tuple[float, float]) -> None:
    """Warn if alphas, in an array of any shape, are at an end of their grid; NaN are ignored.

    fit      name of the fit, for the message
    counted  axes of the array, for the message
    """
    alphas = alphas[np.isfinite(alphas)]
    at_smallest, at_largest = (int(np.isclose(alphas, end, rtol=1e-5).sum()) for end in ends)
    if at_smallest or at_largest:
        log.warning(
            f"{fit}: of {alphas.size} alphas ({counted}) {at_smallest} are the smallest of the grid "
            f"and {at_largest} the largest, as expected for voxels that nothing predicts; "
            "if other voxels have them, widen the grid"
        )
