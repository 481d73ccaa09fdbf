"""Bootstrap of variance shares: the R2 of every joint fit on resamples of the test images.

Predictions of all weightings would be too large to store. Instead, each voxel is fitted again with its best weighting
of each combination of spaces, which takes a tenth to a third of the time of the first fits. The result is stored as
`resampled.h5` in the folder of the weightings.

Letters: n test images, V voxels, R regions, B resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from brain_activity_prediction.encoding.scores.score_files import SETTINGS
from brain_activity_prediction.inference.bootstrap import resampled_r2, resamples
from brain_activity_prediction.inference.region_statistics import digests
from brain_activity_prediction.ridge.weightings import Combination
from brain_activity_prediction.runtime.errors import Damaged
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.sealed_hdf5 import read_array, read_seal
from brain_activity_prediction.variance_partitioning.feature_spaces import LETTERS
from brain_activity_prediction.variance_partitioning.parts import best_weightings
from brain_activity_prediction.variance_partitioning.share_store import WeightingScores

Refit = Callable[[int, np.ndarray], "torch.Tensor"]  # (weighting's number, voxels (v,)) -> predictions (n, v)


def resampled_shares(
    scores: WeightingScores,
    responses: np.ndarray,
    regions: Mapping[str, np.ndarray],
    n_resamples: int,
    refit: Refit,
) -> dict[Combination, np.ndarray]:
    """Return the mean R2 of each region in each resample, for the joint fit of each combination: `{spaces: (B, R)}`.

    Voxels without a score are left out of the means. If a file already holds the result for these regions, resamples
    and settings, it is read instead.

    responses  (n, V) of the test images
    refit      returns a weighting's predictions of the test images for some voxels
    """
    best = best_weightings(scores.weightings, scores.read_all("cv_score"))
    path = scores.folder / "resampled.h5"
    about = {"regions": digests(regions), "n_resamples": n_resamples}
    names = {chosen: "".join(LETTERS[space] for space in chosen) for chosen in best}
    try:
        with reading(path, "it is made again"):
            if read_seal(path).about == {**about, SETTINGS: scores.settings()}:
                read_seal(path).check_axes(dict.fromkeys(names.values(), "BR"), {"B": n_resamples, "R": len(regions)})
                return {chosen: read_array(path, name) for chosen, name in names.items()}
    except Damaged as error:
        if path.exists():
            log.warning(error)
    found = _resampled(best, responses, np.stack(list(regions.values())), n_resamples, refit)
    scores.write_voxels(path, {name: found[chosen] for chosen, name in names.items()}, about)
    return found


def _resampled(best, responses, members, n_resamples, refit) -> dict[Combination, np.ndarray]:
    shares = torch.from_numpy(resamples(len(responses), n_resamples)) / len(responses)
    sums = {chosen: np.zeros((n_resamples, len(members))) for chosen in best}
    for number in np.unique(np.concatenate(list(best.values()))):
        voxels = np.flatnonzero((np.stack(list(best.values())) == number).any(axis=0) & members.any(axis=0))
        if number < 0 or not len(voxels):  # voxels without a score, or a weighting that no voxel of the regions chose
            continue
        r2 = resampled_r2(torch.from_numpy(responses[:, voxels]), refit(int(number), voxels).cpu(), shares).numpy()
        for chosen, row in best.items():
            own = row[voxels] == number
            sums[chosen] += r2[:, own] @ members[:, voxels[own]].T
    counted = (members & (next(iter(best.values())) >= 0)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return {chosen: (total / counted).astype(np.float32) for chosen, total in sums.items()}
