"""Predict one subject's responses from other subjects' responses to the same images.

A perfect model of everything that the subjects' brains share would predict about as well: the predictions' r is a
ceiling for models. Unlike a ceiling from a voxel's own noise, it excludes signals that are specific to the subject.

Letters: n images, D voxels of the other subjects, V voxels of the predicted subject.
"""

from __future__ import annotations

import numpy as np
import torch

from brain_activity_prediction.encoding.scaling import scale_with_gaps, varying_features
from brain_activity_prediction.inference.missing_images import score_present
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.scores import pearson_r
from brain_activity_prediction.ridge.solver.folds import held_out_rows


def cross_subject_r(
    others: np.ndarray, own: np.ndarray, alphas: np.ndarray, folds: int, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return each voxel's Pearson r of a subject's responses with their predictions, and the alphas.

    own      (n, V) responses of the predicted subject
    others   (n, D) responses of the other subjects
    returns  r (V,) and alphas (folds, V)

    Each of `folds` contiguous folds of the images is predicted by ridge regression fitted on the other folds. The other
    folds also give the means and SDs for scaling and, by cross-validation, each voxel's alpha. r is the mean over the
    folds. For noise, r over the pooled folds would be below 0: if the mean of a fold is high, the mean of the other
    folds, from which it is predicted, is low.

    A missing response is NaN. Voxels of `own` are scored on the images that they have. In `others`, the voxel's mean
    replaces a missing response. A voxel without any response is dropped from `others`; in `own` its r is NaN.
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
    """Return the indices (k,) of the voxels that lack a response to some images but not to all."""
    there = np.isfinite(responses)
    return np.flatnonzero(there.any(axis=0) & ~there.all(axis=0))
