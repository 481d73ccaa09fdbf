"""What people look at after an alignment: the region table, its picture, and the maps."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
import pandas as pd

from brain_activity_prediction.align_image_embeddings.figures import layer_curves
from brain_activity_prediction.align_image_embeddings.layer_choice import BEST_PER_REGION, StreamScores, stream_scores
from brain_activity_prediction.align_image_embeddings.results import Results
from brain_activity_prediction.align_image_embeddings.tables import region_table, write_table
from brain_activity_prediction.align_image_embeddings.targets import Targets
from brain_activity_prediction.nsd.rois import write_map


def summarise(
    results: Results,
    regions: Mapping[str, np.ndarray],
    targets: Targets,
    of: tuple[str, int | None, int],
    min_noise_ceiling: float,
) -> None:
    """Writes tables, picture and maps beside the scores and prints the best layer of each region.

    `regions` are masks (V,) by name, `of` the model id, prompt and subject.
    """
    table = region_table(results, regions, *of, min_noise_ceiling)
    write_table(table, results.folder)
    layer_curves(table, results.folder / "layers.png")
    ceiling_map = results.folder / "maps" / "noise_ceiling.nii.gz"
    write_map(ceiling_map, results.read_noise_ceiling(), targets.mask, targets.affine)
    for stream in dict.fromkeys(table["stream"]):
        scores = stream_scores(results, stream)
        for name, values in best_layer_maps(scores).items():
            path = results.folder / "maps" / f"{stream}_{name}.nii.gz"
            write_map(path, values, targets.mask, targets.affine)
        warn_of_edges(scores, results.alpha_range())
    print(as_text(table[table["layer_choice"] == BEST_PER_REGION]))
    print(f"\ntables, picture and maps: {results.folder}/ scores.csv, scores.parquet, layers.png, maps/\n")


def best_layer_maps(stream: StreamScores) -> dict[str, np.ndarray]:
    """Per voxel (V,) the layer with the best cross-validated score, and its scores; NaN where responses are NaN."""
    best = stream.at(stream.best_of_voxels())
    maps = {f"best_layer_{name}" if name != "layer" else "best_layer": values for name, values in best.items()}
    if np.isnan(best["p"]).all():
        del maps["best_layer_p"]  # images were not permuted
    return maps


def warn_of_edges(stream: StreamScores, alpha_range: tuple[float, float]) -> None:
    """Says on stderr how many of a stream's choices of alpha lie at an end of the grid."""
    alphas = stream.scores["alpha"][np.isfinite(stream.scores["alpha"])]
    at_smallest, at_largest = (int(np.isclose(alphas, end, rtol=1e-5).sum()) for end in alpha_range)
    if at_smallest or at_largest:
        print(
            f"{stream.stream}: of {alphas.size} alphas (voxels x layers) {at_smallest} are the smallest of the grid "
            f"and {at_largest} the largest, which voxels that nothing predicts take; if others do, widen the grid",
            file=sys.stderr,
        )


def as_text(best: pd.DataFrame) -> str:
    """A table for the terminal of the rows of each region's best layer."""
    lines = [
        f"{'stream':<16} {'region':<14} {'voxels':>6} {'layer':>5} {'r':>7} {'R2':>7} {'CV score':>9} {'r norm.':>7}"
    ]
    for row in best.itertuples():
        scores = f"{row.r:>7.3f} {row.r2:>7.3f} {row.cv_score:>9.3f} {row.r_normalised:>7.3f}"
        lines.append(f"{row.stream:<16} {row.roi:<14} {row.n_voxels:>6} {row.layer:>5} {scores}")
    return "\n".join(lines)
