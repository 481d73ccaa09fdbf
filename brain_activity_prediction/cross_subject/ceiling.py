"""Predict each subject's responses from other subjects' responses: a ceiling that needs no repeats and no model.

A model of all signals that the subjects' brains share would predict about as well. A ceiling from a voxel's own noise
also includes signals that only this subject has.

Letters: n images, D voxels of the other subjects, V voxels of the predicted subject.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.responses import ResponseChoice, Responses, prepare_responses
from brain_activity_prediction.encoding.protocols import FOLDS, STANDARD
from brain_activity_prediction.encoding.scaling import scale_with_gaps, varying_features
from brain_activity_prediction.encoding.scores.score_files import warn_of_edges
from brain_activity_prediction.encoding.settings import AlphaGrid
from brain_activity_prediction.inference.missing_images import score_present
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.scores import pearson_r
from brain_activity_prediction.ridge.solver.folds import held_out_rows
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count, were
from brain_activity_prediction.storage.folders import (
    Output,
    Subject,
    across_subjects_folder,
    responses_folder,
    subject_name,
)
from brain_activity_prediction.storage.table_files import write_table

MADE_WITH = ("sessions", "zscore_sessions", "min_log_10_alpha", "max_log_10_alpha", "num_alphas")
COLUMNS = ("protocol", "subject", "predicted_from", "n_images", "roi", "n_voxels", "cross_subject_r", *MADE_WITH)
NAME = "cross_subject_ceiling"


@dataclass(frozen=True, kw_only=True)
class CeilingSettings:
    """Settings of the cross-subject ceiling, made once from the flags of cross_subject_ceiling.py."""

    output: Output
    subjects: Sequence[Subject]  # two or more, ascending
    device: str  # a torch device name
    alphas: AlphaGrid
    sessions: Sequence[int] | None = None  # None for all
    zscore_sessions: bool = True
    rois: Sequence[str] | None = None  # names of ROI files, None for all
    together: bool = True  # True to predict from all other subjects in one fit, False for a separate fit for each


def write_ceilings(settings: CeilingSettings, dataset: Dataset) -> None:
    """Write the table of ceilings and a map for each subject, and print the table."""
    folder, cache = across_subjects_folder(settings.output), responses_folder(settings.output)
    regions = {subject: dataset.regions(subject, settings.rois) for subject in settings.subjects}
    responses = {
        subject: prepare_responses(dataset, subject, ResponseChoice(settings.sessions, settings.zscore_sessions), cache)
        for subject in settings.subjects
    }
    image_ids = images_of_all(list(responses.values()))
    subjects = " ".join(map(str, settings.subjects))
    log.info(f"{count(len(image_ids), 'image')} {were(len(image_ids))} seen by subjects {subjects}")
    r = ceiling_of_voxels(settings, responses, image_ids)
    for subject, own in responses.items():
        own.units.write_map(folder / "maps" / f"{subject_name(subject)}_cross_subject_r", r[subject])
    sessions = {subject: own.sessions for subject, own in responses.items()}
    table = ceilings(settings, r, regions, sessions, len(image_ids))
    write_table(table, folder, NAME)
    shown = table.drop(columns=["protocol", "predicted_from", *MADE_WITH])
    print(shown.to_string(index=False, float_format="{:.3f}".format))
    print(f"\ntables and maps: {folder}/ {NAME}.csv, {NAME}.parquet, maps/")


def ceiling_of_voxels(
    settings: CeilingSettings, responses: Mapping[Subject, Responses], image_ids: np.ndarray
) -> dict[Subject, np.ndarray]:
    """Return, for each subject, r (V,) between responses and predictions, averaged over the fits."""
    betas = {subject: own.betas[np.searchsorted(own.image_ids, image_ids)] for subject, own in responses.items()}
    alphas = settings.alphas.values()
    r = {}
    for subject in settings.subjects:
        others = [other for other in settings.subjects if other != subject]
        fits = [
            cross_subject_r(
                np.concatenate([betas[other] for other in source], axis=1),
                betas[subject],
                alphas,
                FOLDS,
                settings.device,
            )
            for source in ([others] if settings.together else [[other] for other in others])
        ]
        of_fits, chosen = (np.stack(parts) for parts in zip(*fits, strict=True))
        warn_of_edges(f"subject {subject}", "voxels x folds", chosen, (alphas[0], alphas[-1]))
        r[subject] = of_fits.mean(axis=0)
    return r


def ceilings(
    settings: CeilingSettings,
    r: Mapping[Subject, np.ndarray],
    regions: Mapping[Subject, Mapping[str, np.ndarray]],
    sessions: Mapping[Subject, Sequence[int]],
    n_images: int,
) -> pd.DataFrame:
    """Tabulate the mean r of each region: one row for each subject and region, with the columns COLUMNS.

    - `predicted_from`: the other subjects; begins with `each of` if each of them had a separate fit.
    - `cross_subject_r`: mean r over the `n_voxels` voxels of the region with responses to the `n_images` images that
      all subjects saw.
    - `sessions`: sessions of the predicted subject.
    """
    rows = []
    for subject, of_voxels in r.items():
        others = " ".join(str(other) for other in settings.subjects if other != subject)
        for roi, members in regions[subject].items():
            valid = members & np.isfinite(of_voxels)
            rows.append(
                {
                    "subject": subject,
                    "predicted_from": others if settings.together else f"each of {others}",
                    "roi": roi,
                    "n_voxels": int(valid.sum()),
                    "cross_subject_r": of_voxels[valid].mean() if valid.any() else np.nan,
                    "sessions": " ".join(map(str, sessions[subject])),
                }
            )
    made_with = {"zscore_sessions": settings.zscore_sessions, **asdict(settings.alphas)}
    table = pd.DataFrame(rows).assign(protocol=STANDARD, n_images=n_images, **made_with)
    return table.reindex(columns=COLUMNS)


def images_of_all(responses: Sequence[Responses]) -> np.ndarray:
    """Return the ascending ids of the images that all subjects saw; raise InputError if there are too few."""
    ids = responses[0].image_ids
    for other in responses[1:]:
        ids = np.intersect1d(ids, other.image_ids)
    if len(ids) < FOLDS**2:
        raise InputError(
            f"only {count(len(ids), 'image')} {were(len(ids))} seen by all of these subjects in these sessions: "
            "add sessions"
        )
    return ids


def cross_subject_r(
    others: np.ndarray, own: np.ndarray, alphas: np.ndarray, folds: int, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return Pearson's r (V,) between a subject's responses and their predictions, and the alphas (folds, V).

    own     (n, V) responses of the predicted subject
    others  (n, D) responses of the other subjects

    Each of `folds` contiguous folds of the images is predicted by ridge regression that is fitted to the other folds.
    The other folds also determine the mean and SD for scaling and, by cross-validation, each voxel's alpha. r is
    averaged over folds. The predictions of all folds are not joined, because r of joined predictions is negative for
    noise: if the mean of a fold is high, the mean of its training images is low.

    NaN marks a missing response. Voxels of `own` are scored without their missing responses. In `others`, a missing
    response is replaced by the voxel's mean. A voxel without any response is dropped from `others`, and its r in `own`
    is NaN.
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
