"""Tidy table of similarities between a model's layers and a brain's regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from brain_activity_prediction.encoding.layers import Layer, by_stream
from brain_activity_prediction.inference.false_discovery import adjusted
from brain_activity_prediction.inference.permutations import n_different
from brain_activity_prediction.rsa.brain_geometry import Brain, zscored
from brain_activity_prediction.rsa.similarity import geometries, permutation_p, similarity, similarity_to_mean
from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.runtime.read_ahead import read_ahead
from brain_activity_prediction.runtime.running import progress_seconds
from brain_activity_prediction.storage.table_files import write_table

COLUMNS = (
    *("model_id", "prompt", "stream", "layer", "layer_position", "subject", "roi", "n_voxels"),
    *("n_images", "n_sessions", "test_repeats_mean"),
    *("rsa", "rsa_ceiling", "rsa_p", "rsa_q", "cka", "cka_ceiling", "cka_p", "cka_q", "n_permutations", "settings"),
)


def similarity_table(
    layers: Sequence[Layer], brain: Brain, others: Sequence[Brain], device: str, n_permutations: int
) -> pd.DataFrame:
    """Tabulate similarities: one row for each layer and region, with the columns COLUMNS.

    - `layer_position`: relative depth of the layer, from 0 (input of the first layer) to 1 (last layer).
    - `n_voxels`: number of the region's voxels without NaN. All similarities are NaN for a region without voxels, and
      `rsa` is NaN for a region with one voxel.
    - `rsa_ceiling`, `cka_ceiling`: similarity of the region to the mean of the same region in the other subjects;
      missing if no other subjects were named.
    - `rsa_p`, `cka_p`, `n_permutations`: missing without a permutation test. `rsa_q` and `cka_q` are p adjusted over
      the table (Benjamini and Hochberg).
    - `n_images`, `n_sessions`, `test_repeats_mean`: number of compared images, which all subjects saw, number of the
      subject's sessions, and mean number of trials of an image.

    The caller adds `model_id`, `subject` and `settings`. All layers of a stream are in memory at the same time.
    """

    def states(layer: Layer) -> np.ndarray:
        return layer.store.read_layer(layer.stream, layer.number, brain.test_ids)

    of_regions = pd.DataFrame({"roi": list(brain.n_voxels), "n_voxels": list(brain.n_voxels.values())})
    alike = [other.like(brain) for other in others]
    for measure, own in brain.geometries.items():
        ceiling = (
            similarity_to_mean(own, [found[measure] for found in alike], measure).cpu().numpy() if alike else np.nan
        )
        of_regions[f"{measure}_ceiling"] = ceiling
    tables = []
    with tqdm(total=len(layers), unit="layer", mininterval=progress_seconds()) as progress:
        for own in by_stream(layers).values():
            of_layers = geometries(zscored(read, device) for _, read in read_ahead(own, states))
            pairs = pair_table(own, of_layers, brain.geometries, n_permutations)
            repeated = pd.concat([of_regions] * len(own), ignore_index=True)
            tables.append(pd.concat([pairs, repeated], axis=1))
            progress.update(len(own))
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(
        n_images=len(brain.test_ids),
        n_sessions=len(brain.sessions),
        test_repeats_mean=brain.repeats_mean,
        n_permutations=n_different(len(brain.test_ids), n_permutations) or pd.NA,
    )
    return table.astype({"prompt": "Int64", "n_permutations": "Int64"})


def pair_table(
    layers: Sequence[Layer],
    of_layers: Mapping[str, torch.Tensor],
    of_regions: Mapping[str, torch.Tensor],
    n_permutations: int,
) -> pd.DataFrame:
    """Build a table with one row for each layer and region: all regions of the first layer, then of the second."""
    n_regions = len(next(iter(of_regions.values())))
    rows = [
        {"prompt": layer.prompt, "stream": layer.stream, "layer": layer.number, "layer_position": layer.position}
        for layer in layers
        for _ in range(n_regions)
    ]
    columns = {}
    for measure, geometry in of_layers.items():
        pair = geometry, of_regions[measure]
        columns[measure] = similarity(*pair).flatten().cpu().numpy()
        p = permutation_p(*pair, n_permutations).flatten().cpu().numpy() if n_permutations else np.nan
        columns[f"{measure}_p"] = p
    return pd.DataFrame(rows).assign(**columns)


def write(table: pd.DataFrame, settings: str, folder: Path) -> None:
    """Write similarity.csv and similarity.parquet of one model and prompt, and print the most similar layers.

    q is p adjusted over all layers and regions of the table (Benjamini and Hochberg).
    """
    table = table.assign(settings=settings).reindex(columns=COLUMNS).reset_index(drop=True)
    for measure in ("rsa", "cka"):
        table[f"{measure}_q"] = adjusted(table[f"{measure}_p"])
    write_table(table, folder, "similarity")
    print(f"\n{as_text(table)}")
    print(f"\ntables: {folder}/ similarity.csv, similarity.parquet")


def as_text(table: pd.DataFrame) -> str:
    """Format the most similar layer by each measure, in a line for each stream and region."""
    lines = [f"{'stream':<16} {'region':<16} {'voxels':>6} {'RSA':>7} {'layer':>5} {'CKA':>7} {'layer':>5}"]
    for (stream, roi), rows in table.dropna(subset=["rsa", "cka"]).groupby(["stream", "roi"], sort=False):
        rsa, cka = (rows.loc[rows[measure].idxmax()] for measure in ("rsa", "cka"))
        pair = f"{rsa['rsa']:>7.3f} {rsa['layer']:>5} {cka['cka']:>7.3f} {cka['layer']:>5}"
        lines.append(f"{stream:<16} {roi:<16} {rsa['n_voxels']:>6} {pair}")
    return "\n".join(map(one_line, lines))
