"""Predicts each subject's responses to the shared images from the other subjects' responses, by the same ridge.

A ceiling that needs no repeats and no model, only the betas of two or more subjects: what other brains predict of a
brain, all of them together or, with --predict-from each, one at a time, which is lower. A publication that compares
with this ceiling should say which of the two it is. It is no upper bound: the ridge learns from four fifths of the
images that all subjects saw, some 800, where a model's learns from some 9,000, and r is the mean over the folds, so
that a model's r may lie above it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
import numpy as np

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.datasets.nsd.layout import Layout, find_layout
from brain_activity_prediction.encoding.protocols import FOLDS
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import count, were
from brain_activity_prediction.storage.folders import PROTOCOLS, across_subjects_folder, responses_folder
from brain_activity_prediction.storage.table_files import write_table

if TYPE_CHECKING:
    import pandas as pd

    from brain_activity_prediction.datasets.nsd.responses import Responses

SOURCES = ("together", "each")
MADE_WITH = ("sessions", "zscore_sessions", "min_log_10_alpha", "max_log_10_alpha", "num_alphas")
COLUMNS = ("protocol", "subject", "predicted_from", "n_images", "roi", "n_voxels", "cross_subject_r", *MADE_WITH)
NAME = "cross_subject_ceiling"
LARGEST_LOG_10_ALPHA = 7  # features are voxels of all other subjects, ten times a model's: alpha grows with them


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__, several_subjects=True)
    flags.set_defaults(subject=list(shared.SUBJECTS))
    shared.add_device(flags)
    shared.add_alphas(flags)
    flags.set_defaults(max_log_10_alpha=LARGEST_LOG_10_ALPHA)
    shared.add_responses(flags)
    flags.add_argument(
        "--predict-from",
        choices=SOURCES,
        default=SOURCES[0],
        help="all other subjects in one fit, or each in a fit of its own, whose r are averaged",
    )
    return flags


def main() -> None:
    arguments = flags().parse_args()
    shared.check_alphas(arguments)
    subjects = sorted(set(arguments.subject))
    if len(subjects) < 2:
        raise InputError("one subject's brain has no other to be predicted from: name two or more with -s")
    layout = find_layout(arguments.base_dir)
    for subject in subjects:
        layout.sessions(subject)
    shared.check_device(arguments.gpu_id)
    table = ceilings(layout, subjects, arguments)
    folder = across_subjects_folder(arguments.base_dir)
    write_table(table, folder, NAME)
    print(
        table.drop(columns=["protocol", "predicted_from", *MADE_WITH]).to_string(
            index=False, float_format="{:.3f}".format
        )
    )
    print(f"\ntables and maps: {folder}/ {NAME}.csv, {NAME}.parquet, maps/")


def ceilings(layout: Layout, subjects: list[int], arguments: argparse.Namespace) -> pd.DataFrame:
    """Mean r of each region of each subject, columns COLUMNS; and a map a subject.

    `predicted_from` are the other subjects, together or `each of` them by itself; `sessions` are the subject's own.
    """
    import pandas as pd

    from brain_activity_prediction.cross_subject.brain_to_brain import cross_subject_r
    from brain_activity_prediction.datasets.nsd.regions import read_regions, write_map
    from brain_activity_prediction.datasets.nsd.responses import prepare_responses
    from brain_activity_prediction.encoding.scores.alpha_edges import warn_of_edges

    regions = {subject: read_regions(layout, subject, arguments.roi) for subject in subjects}
    cache = responses_folder(arguments.base_dir)
    responses = {
        subject: prepare_responses(layout, subject, arguments.sessions, arguments.zscore_sessions, cache)
        for subject in subjects
    }
    ids = images_of_all(list(responses.values()))
    betas = {subject: r.betas[np.searchsorted(r.image_ids, ids)] for subject, r in responses.items()}
    log.info(f"{count(len(ids), 'image')} {were(len(ids))} seen by subjects {' '.join(map(str, subjects))}")
    alphas = shared.alphas(arguments)
    rows = []
    for subject in subjects:
        others = [other for other in subjects if other != subject]
        together = arguments.predict_from == SOURCES[0]
        sources = [others] if together else [[other] for other in others]
        by_source = [
            cross_subject_r(
                np.concatenate([betas[other] for other in source], axis=1),
                *(betas[subject], alphas, FOLDS, arguments.gpu_id),
            )
            for source in sources
        ]
        r, chosen = (np.stack(parts) for parts in zip(*by_source, strict=True))
        r = r.mean(axis=0)
        warn_of_edges(f"subject {subject}", "voxels x folds", chosen, (alphas[0], alphas[-1]))
        named = ("" if together else "each of ") + " ".join(map(str, others))
        mask, affine = responses[subject].mask, responses[subject].affine
        folder = across_subjects_folder(arguments.base_dir) / "maps"
        write_map(folder / f"subj{subject:02d}_cross_subject_r.nii.gz", r, mask, affine)
        for roi, members in regions[subject].items():
            valid = members & np.isfinite(r)
            of = (subject, named, len(ids), roi, int(valid.sum()))
            sessions = " ".join(map(str, responses[subject].sessions))
            rows.append((PROTOCOLS[0], *of, r[valid].mean() if valid.any() else np.nan, sessions))
    made_with = {name: getattr(arguments, name) for name in MADE_WITH[1:]}
    return pd.DataFrame(rows, columns=COLUMNS[: -len(made_with)]).assign(**made_with)


def images_of_all(responses: list[Responses]) -> np.ndarray:
    """Ids, ascending, of the images that all subjects have responses to; an InputError where they are too few."""
    ids = responses[0].image_ids
    for other in responses[1:]:
        ids = np.intersect1d(ids, other.image_ids)
    if len(ids) < FOLDS**2:
        raise InputError(
            f"only {count(len(ids), 'image')} {were(len(ids))} seen by all of these subjects in these sessions: "
            "add sessions"
        )
    return ids


if __name__ == "__main__":
    run_script(main)
