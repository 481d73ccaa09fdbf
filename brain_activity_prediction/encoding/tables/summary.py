"""Write the results of an alignment: the table of regions, its figure, and the maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from brain_activity_prediction.datasets.units import Units
from brain_activity_prediction.encoding.analysis import Analysis
from brain_activity_prediction.encoding.evaluation import score_best_layers
from brain_activity_prediction.encoding.scores.layer_choice import StreamScores, stream_scores
from brain_activity_prediction.encoding.scores.score_files import warn_of_edges
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.settings import EncodingSettings
from brain_activity_prediction.encoding.subject_data import SubjectData
from brain_activity_prediction.encoding.tables.layer_figure import layer_curves
from brain_activity_prediction.encoding.tables.region_table import MEANS, Alignment, region_table
from brain_activity_prediction.inference.false_discovery import adjusted
from brain_activity_prediction.inference.region_statistics import usable_ceiling
from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import prompt_name
from brain_activity_prediction.storage.files import remove_left_behind
from brain_activity_prediction.storage.made_from import write_note
from brain_activity_prediction.storage.table_files import write_table

# Maps that exist only with permutations, or only if all layers are finished.
NOT_ALWAYS = {"best_layer_p", "best_layer_q", "layers_p", "average_r", "average_r2", "average_cv_score"}


def write_tables(analysis: Analysis, observed: torch.Tensor, settings: EncodingSettings) -> None:
    """Write the table, figure and maps of each prompt, from all layers that this or another process has finished."""
    lowest = settings.min_noise_ceiling
    log_low_ceilings(analysis.ceiling, lowest)
    for prompt, store in analysis.stores.items():
        remove_left_behind(store.folder)
        tabulated = None
        # Another process may finish layers while this one writes; the tables must include these layers, too.
        while tabulated != store.layers():
            tabulated = store.layers()
            for stream in store.streams():
                score_best_layers(store, stream, observed, analysis.statistics)
            made_from = store.state()
            alignment = Alignment(settings.features.model_id, prompt, settings.subject)
            summarise(store, alignment, analysis.regions, analysis.subject_data, lowest, settings.layer_choice)
        write_note(store.folder, made_from + analysis.ceiling_state)


def summarise(
    store: ScoreStore,
    alignment: Alignment,
    regions: Mapping[str, np.ndarray],
    subject_data: SubjectData,
    min_noise_ceiling: float,
    layer_choice: str,
) -> None:
    """Write maps, figure and then tables into the scores' folder, and print the rows of one choice of layers.

    regions       masks (V,) by name
    layer_choice  one of `protocols.LAYER_CHOICES`
    """
    table = region_table(store, regions, alignment, min_noise_ceiling)
    ceiling = store.read_noise_ceiling()
    units = subject_data.units
    units.write_map(store.folder / "maps" / "noise_ceiling", ceiling)
    for stream in dict.fromkeys(table["stream"]):
        scores = stream_scores(store, stream)
        write_maps(store.folder, stream, voxel_maps(scores, usable_ceiling(ceiling, min_noise_ceiling)), units)
        warn_of_edges(stream, "voxels x layers", scores.scores["alpha"], store.alpha_range())
    log_older_scores(table)
    write_and_show(table, store.folder, alignment, layer_choice)


def write_maps(folder: Path, stream: str, maps: Mapping[str, np.ndarray], units: Units) -> None:
    """Write a stream's maps into the scores' folder, and remove maps that an earlier run left."""
    for name, values in maps.items():
        units.write_map(folder / "maps" / f"{stream}_{name}", values)
    for name in NOT_ALWAYS - maps.keys():
        units.remove_map(folder / "maps" / f"{stream}_{name}")


def write_and_show(table: pd.DataFrame, folder: Path, alignment: Alignment, layer_choice: str) -> None:
    """Write the figure and the table into the scores' folder, and print the rows of one choice of layers."""
    layer_curves(table, folder / "layers.png")
    write_table(table, folder, "scores")
    shown = table[table["layer_choice"] == layer_choice]
    if shown.empty:
        log.info("no average over layers yet: all layers of a stream must be scored first")
    of = f"{alignment.model_id}, {prompt_name(alignment.prompt)}, subject {alignment.subject}"
    print(f"\n{of}, layers: {layer_choice}\n{as_text(shown)}")
    print(f"\ntables, picture and maps: {folder}/ scores.csv, scores.parquet, layers.png, maps/")


def voxel_maps(stream: StreamScores, ceiling: np.ndarray) -> dict[str, np.ndarray]:
    """Return every map of a stream by name."""
    return best_layer_maps(stream, ceiling) | average_maps(stream) | layer_maps(stream)


def best_layer_maps(stream: StreamScores, ceiling: np.ndarray) -> dict[str, np.ndarray]:
    """Map each voxel's best layer by cross-validated score, and its scores at this layer; NaN without responses.

    r_normalised is r / sqrt(ceiling), and r2_normalised is r2 / ceiling. Both are NaN if the ceiling is NaN. p, and q,
    which is p adjusted over the voxels (Benjamini and Hochberg), are included if all voxels had the same permutation
    test.
    """
    best = stream.at(stream.best_of_voxels())
    maps = {f"best_layer_{name}" if name != "layer" else "best_layer": values for name, values in best.items()}
    maps["best_layer_r_normalised"] = best["r"] / np.sqrt(ceiling)
    maps["best_layer_r2_normalised"] = best["r2"] / ceiling
    del maps["best_layer_p"]  # layers may have had different tests, but q needs one test for all voxels
    tested = stream.best_statistics
    if tested is not None and tested.p is not None:
        maps |= {"best_layer_p": tested.p, "best_layer_q": adjusted(tested.p)}
    return maps


def average_maps(stream: StreamScores) -> dict[str, np.ndarray]:
    """Map each voxel's r, r2 and cv_score, averaged over layers; empty if a layer of the stream is not finished."""
    means = stream.mean() if stream.complete else {}
    return {f"average_{name}": means[name] for name in MEANS if name in means}


def layer_maps(stream: StreamScores) -> dict[str, np.ndarray]:
    """Map every score of V voxels in K finished layers, as (V, K); also p, if each layer had a permutation test."""
    maps, p = {f"layers_{name}": values.T for name, values in stream.scores.items()}, stream.p()
    return maps | ({"layers_p": p.T} if np.isfinite(p).any(axis=1).all() else {})


def log_older_scores(table: pd.DataFrame) -> None:
    """Warn of streams whose resamples an older version wrote, without the explained variance of regions."""
    lacking = table["r_se"].notna() & table["r_normalised_all_voxels"].notna()
    lacking &= table["r_normalised_all_voxels_se"].isna()
    if lacking.any():
        streams = ", ".join(table.loc[lacking, "stream"].unique())
        log.warning(
            f"{streams}: no standard error of r_normalised_all_voxels, because an earlier version computed the scores. "
            "Use --redo to fit them again"
        )


def log_low_ceilings(ceiling: np.ndarray, lowest: float) -> None:
    """Warn of voxels (V,) whose ceiling is too low for normalised scores."""
    known = int(np.isfinite(ceiling).sum())
    if low := known - int(np.isfinite(usable_ceiling(ceiling, lowest)).sum()):
        log.warning(
            f"{low} of {known} voxels have no normalised scores, because their noise ceiling is below {lowest:g} "
            "(--min-noise-ceiling)"
        )


def as_text(rows: pd.DataFrame) -> str:
    """Format rows for the terminal: a line for each stream and region, raw and normalised scores."""
    numbers = {"r": "r", "r_se": "SE", "r_normalised_all_voxels": "r/sqrt(NC)", "r2": "R2", "r2_normalised": "R2/NC"}
    numbers |= {"cv_score": "CV score"} | ({"q": "q"} if rows["q"].notna().any() else {})
    widths = {name: max(7, len(title)) for name, title in numbers.items()}
    titles = " ".join(f"{title:>{widths[name]}}" for name, title in numbers.items())
    lines = [f"{'stream':<16} {'region':<16} {'voxels':>6} {'layer':>5} {titles}"]
    for row in rows.to_dict("records"):
        layer = "-" if pd.isna(row["layer"]) else row["layer"]
        cells = ("-" if np.isnan(row[name]) else f"{row[name]:.3f}" for name in numbers)
        scores = " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths.values(), strict=True))
        lines.append(f"{row['stream']:<16} {row['roi']:<16} {row['n_voxels']:>6} {layer:>5} {scores}")
    return "\n".join(map(one_line, lines))
