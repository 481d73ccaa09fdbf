"""Tabulate scores of single classes of test images, next to the scores on the test images of the training dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.find import NSD
from brain_activity_prediction.encoding.analysis import Analysis
from brain_activity_prediction.encoding.evaluation import best_predictions
from brain_activity_prediction.encoding.protocols import BEST_PER_VOXEL
from brain_activity_prediction.encoding.scores.layer_choice import stream_scores
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.settings import EncodingSettings
from brain_activity_prediction.encoding.tables.region_table import Alignment, region_means
from brain_activity_prediction.inference.missing_images import score_present
from brain_activity_prediction.ridge.scores import pearson_r
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.folders import Output, alignment_folder
from brain_activity_prediction.storage.table_files import read_score_table, write_table

ALL_IMAGES = "all images"
COLUMNS = ("kind", "image_class", "n_images", "roi", "n_voxels", "r")


@dataclass(frozen=True)
class TestImages:
    """The test images of an analysis.

    ids       (n,)
    observed  (n, V) responses
    classes   `{kind: {class: ids}}`, see `Dataset.image_classes`
    """

    ids: np.ndarray
    observed: torch.Tensor
    classes: Mapping[str, Mapping[str, np.ndarray]]


def write_class_tables(
    analysis: Analysis, observed: torch.Tensor, settings: EncodingSettings, dataset: Dataset
) -> None:
    """Write the scores of single classes of test images, if the dataset has classes."""
    classes = dataset.image_classes(settings.subject)
    if not classes:
        return
    images, model_id = TestImages(analysis.subject_data.test_ids, observed, classes), settings.features.model_id
    place = Output(settings.output.folder, None if dataset.trained_on == NSD else dataset.trained_on)
    for prompt, store in analysis.stores.items():
        other = alignment_folder(place, settings.subject, model_id, prompt, settings.protocol)
        write_class_table(store, images, analysis.regions, Alignment(model_id, prompt, settings.subject), other)


def write_class_table(
    store: ScoreStore, images: TestImages, regions: Mapping[str, np.ndarray], alignment: Alignment, trained_on: Path
) -> None:
    """Write `classes.csv`: r over all test images and over each class, by stream and region.

    r is computed for each voxel at its best layer, over the images of the class, and averaged over the voxels of the
    region. Rows of all images also have `r_trained_on`, the region's r on the test images of the dataset that the model
    is trained on.

    trained_on  folder with the scores of that dataset; the column is empty if it has no scores of the same number of
        voxels
    """
    tables = []
    for stream in store.streams():
        best = stream_scores(store, stream).best_layers()
        predicted = best_predictions(store, stream, best)
        if predicted is None:
            log.warning(
                f"no scores of classes of {stream}, because predictions are missing: align again with --bootstrap"
            )
            continue
        rows = _rows(images, torch.from_numpy(predicted).to(images.observed.device), regions, best >= 0)
        tables.append(pd.DataFrame(rows, columns=COLUMNS).assign(stream=stream))
    if tables:
        table = pd.concat(tables, ignore_index=True).assign(
            model_id=alignment.model_id, prompt=alignment.prompt, subject=alignment.subject
        )
        table["prompt"] = table["prompt"].astype("Int64")
        write_table(_with_other(table, trained_on), store.folder, "classes")
        print(f"scores of classes of images: {store.folder}/ classes.csv, classes.parquet")


def _rows(
    images: TestImages, predicted: torch.Tensor, regions: Mapping[str, np.ndarray], scored: np.ndarray
) -> Iterator[tuple]:
    """Yield rows for all images, then for the classes of each kind, with the columns COLUMNS.

    scored  (V,) True for voxels with a best layer
    """
    classes = [(ALL_IMAGES, ALL_IMAGES, images.ids)]
    classes += [(kind, name, ids) for kind, of_kind in images.classes.items() for name, ids in of_kind.items()]
    for kind, name, ids in classes:
        rows = np.flatnonzero(np.isin(images.ids, ids))
        r = score_present(pearson_r, images.observed[rows], predicted[rows]).cpu().numpy()
        members = np.stack(list(regions.values())) & scored & np.isfinite(r)
        means = region_means({"r": r}, members)["r"]
        yield from zip(
            *([value] * len(regions) for value in (kind, name, len(rows))),
            *(regions, members.sum(axis=1).tolist(), means.tolist()),
            strict=True,
        )


def _with_other(table: pd.DataFrame, trained_on: Path) -> pd.DataFrame:
    """Add `r_trained_on` to the rows of all images, if the other scores have the same stream, region and voxels."""
    path = trained_on / "scores.parquet"
    if not path.is_file():
        return table.assign(r_trained_on=np.nan)
    other = read_score_table(path, "delete its folder and align again")
    other = other[other["layer_choice"] == BEST_PER_VOXEL]
    keys = ["stream", "roi", "n_voxels"]
    merged = table.merge(other[[*keys, "r"]].rename(columns={"r": "r_trained_on"}), on=keys, how="left")
    merged.loc[merged["kind"] != ALL_IMAGES, "r_trained_on"] = np.nan
    return merged
