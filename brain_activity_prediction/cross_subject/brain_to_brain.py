"""Predict one subject's responses from other subjects' responses to the same images.

A model of everything that brains share would predict about as well. Unlike the ceiling from a voxel's own noise, this
ceiling excludes what is specific to the subject. n images, D voxels of the others, V of the subject.
"""

from __future__ import annotations

import numpy as np
import torch

from brain_activity_prediction.encoding.scaling import scale_with_gaps, varying_features
from brain_activity_prediction.inference.missing_images import score_present
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.scores import pearson_r
from brain_activity_prediction.ridge.solver.cross_validation import held_out_rows


def cross_subject_r(
    others: np.ndarray, own: np.ndarray, alphas: np.ndarray, folds: int, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return Pearson r (V,) of responses `own` (n, V) with predictions from `others` (n, D), and alphas (folds, V).

    Each of `folds` contiguous folds of the images is predicted by ridge on the rest. Alpha is chosen for each voxel by
    cross-validation within the rest, and everything is scaled by the statistics of the rest. r is the mean over the
    folds: r over all folds pooled would be below 0 for noise, since a fold with a high mean is predicted from a rest
    with a low one.

    A response to a missing image is NaN. Own voxels are scored on the images that they have; those of others are at
    their mean in the images that they lack. Voxels without any response are left out of `others` and get NaN in `own`.
    """
    others = others[:, np.isfinite(others).any(axis=0)]
    of_others, of_own = (_with_gaps(part) for part in (others, own))
    by_fold, chosen = [], []
    for held_out in held_out_rows(folds, len(own)):
        fitted = np.delete(np.arange(len(own)), held_out)
        known, unseen = scale_with_gaps(others[fitted], others[held_out].copy(), of_others)
        features = varying_features(known, np.nan_to_num(unseen, copy=False))
        responses, observed = scale_with_gaps(own[fitted], own[held_out].copy(), of_own)
        train, test = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in features)
        fit = ridge_cv(train, torch.from_numpy(responses), alphas, folds=folds, fit_intercept=False)
        by_fold.append(score_present(pearson_r, torch.from_numpy(observed), fit.predict(test).cpu()).numpy())
        chosen.append(fit.alpha.cpu().numpy())
    return np.mean(by_fold, axis=0), np.stack(chosen)


def _with_gaps(responses: np.ndarray) -> np.ndarray:
    """Return the voxels (k,) that lack a response to some images but not to all."""
    there = np.isfinite(responses)
    return np.flatnonzero(there.any(axis=0) & ~there.all(axis=0))
