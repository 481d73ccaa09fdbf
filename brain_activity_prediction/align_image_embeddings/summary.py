"""What people look at after an alignment: the region table, its picture, and the maps."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
import pandas as pd

from brain_activity_prediction.align_image_embeddings.figures import layer_curves
from brain_activity_prediction.align_image_embeddings.results import Results
from brain_activity_prediction.align_image_embeddings.tables import best_layers, region_table, write_table
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
        scores = best_layer_of_voxels(results, stream)
        for name, values in scores.items():
            if name == "best_layer_p" and np.isnan(values).all():
                continue  # images were not permuted
            path = results.folder / "maps" / f"{stream}_{name}.nii.gz"
            write_map(path, values, targets.mask, targets.affine)
        warn_of_edges(results, stream)
    print(as_text(best_layers(table)))
    print(f"\ntables, picture and maps: {results.folder}/ scores.csv, scores.parquet, layers.png, maps/\n")


def best_layer_of_voxels(results: Results, stream: str) -> dict[str, np.ndarray]:
    """Per voxel (V,) the layer with the best cross-validated score, and its scores; NaN where responses are NaN."""
    best: dict[str, np.ndarray] = {}
    for name, layer, _ in results.layers():
        if name == stream:
            test = results.read_test(stream, layer)
            p = test.p if test else np.float32(np.nan)
            scores = {"layer": np.float32(layer), "p": p, **results.read(stream, layer)}
            if not best:
                best = {quantity: np.full(scores["r"].shape, np.nan, np.float32) for quantity in scores}
            better = ~(scores["cv_score"] <= best["cv_score"]) & np.isfinite(scores["cv_score"])
            for quantity, values in scores.items():
                best[quantity] = np.where(better, values, best[quantity])
    return {f"best_layer_{name}" if name != "layer" else "best_layer": values for name, values in best.items()}


def warn_of_edges(results: Results, stream: str) -> None:
    """Says on stderr how many of a stream's choices of alpha lie at an end of the grid."""
    layers = [layer for name, layer, _ in results.layers() if name == stream]
    alphas = np.concatenate([results.read(stream, layer)["alpha"] for layer in layers])
    alphas = alphas[np.isfinite(alphas)]
    smallest, largest = results.alpha_range()
    at_smallest, at_largest = (int(np.isclose(alphas, end, rtol=1e-5).sum()) for end in (smallest, largest))
    if at_smallest or at_largest:
        print(
            f"{stream}: of {alphas.size} alphas (voxels x layers) {at_smallest} are the smallest of the grid and "
            f"{at_largest} the largest, which voxels that nothing predicts take; if others do, widen the grid",
            file=sys.stderr,
        )


def as_text(best: pd.DataFrame) -> str:
    """A table for the terminal of the rows of `tables.best_layers`."""
    lines = [f"{'stream':<16} {'region':<14} {'voxels':>6} {'layer':>5} {'r':>7} {'R2':>7} {'CV score':>9}"]
    for row in best.itertuples():
        scores = f"{row.r:>7.3f} {row.r2:>7.3f} {row.cv_score:>9.3f}"
        lines.append(f"{row.stream:<16} {row.roi:<14} {row.n_voxels:>6} {row.layer:>5} {scores}")
    return "\n".join(lines)
