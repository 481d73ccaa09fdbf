"""Compares a model's layers with regions of the brain without a fit: RSA and centred kernel alignment.

Both ask whether a layer and a region find the same images alike, on the images that all subjects saw. States and
responses are z-scored over these images.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from brain_activity_prediction import arguments as shared
from brain_activity_prediction.align_image_embeddings.false_discovery import adjusted
from brain_activity_prediction.align_image_embeddings.layers import Layer, by_stream, check_complete, open_layers
from brain_activity_prediction.align_image_embeddings.table_files import write_table
from brain_activity_prediction.embedding_store import EmbeddingStore
from brain_activity_prediction.errors import InputError
from brain_activity_prediction.folders import alignment_folder
from brain_activity_prediction.nsd.layout import Layout, find_layout
from brain_activity_prediction.read_ahead import read_ahead
from brain_activity_prediction.running import progress_seconds, run_script
from brain_activity_prediction.settings_file import fingerprint

if TYPE_CHECKING:
    import pandas as pd
    import torch

COLUMNS = (
    *("model_id", "prompt", "stream", "layer", "layer_position", "subject", "roi", "n_voxels", "n_images"),
    *("rsa", "rsa_ceiling", "rsa_p", "rsa_q", "cka", "cka_ceiling", "cka_p", "cka_q", "settings"),
)


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__)
    shared.add_prompts(flags)
    shared.add_device(flags)
    shared.add_layers(flags)
    shared.add_responses(flags)
    shared.add_permutations(flags)
    flags.add_argument(
        "--ceiling-subjects",
        type=int,
        nargs="+",
        choices=shared.SUBJECTS,
        default=[],
        metavar="N",
        help="noise ceilings from these subjects' responses to the same images",
    )
    return flags


def main() -> None:
    arguments = flags().parse_args()
    layout = find_layout(arguments.base_dir)
    subjects = (arguments.subject, *arguments.ceiling_subjects)
    for subject in subjects:
        layout.sessions(subject)
    if arguments.subject in arguments.ceiling_subjects:
        raise InputError(f"--ceiling-subjects {arguments.subject}: a ceiling comes from other subjects than --subject")
    shared.check_device(arguments.gpu_id)
    layers = open_layers(arguments)

    from brain_activity_prediction.nsd.rois import read_regions

    regions = {subject: read_regions(layout, subject, arguments.roi) for subject in subjects}
    brain = Brain.of(arguments.subject, layout, regions[arguments.subject], arguments)
    for (_, stream), own in by_stream(layers).items():
        check_complete(own[0].store, stream, brain.test_ids)
    others = [Brain.of(subject, layout, regions[subject], arguments) for subject in arguments.ceiling_subjects]
    for other, subject in zip(others, arguments.ceiling_subjects, strict=True):
        if not np.array_equal(other.test_ids, brain.test_ids):
            raise InputError(
                f"subject {subject} saw other shared images than subject {arguments.subject}: give --sessions"
            )
    print(f"{arguments.model_id}: {len(layers)} layers, {len(brain.n_voxels)} regions", file=sys.stderr, flush=True)
    table = compare(layers, brain, others, arguments)
    for prompt, store in {layer.prompt: layer.store for layer in layers}.items():
        settings = fingerprint(settings_of(arguments, brain, store))
        folder = alignment_folder(arguments.base_dir, arguments.subject, arguments.model_id, prompt)
        write(table[table["prompt"].isna() if prompt is None else table["prompt"] == prompt], settings, folder)


@dataclass(frozen=True)
class Brain:
    """The geometries of one subject's regions, on the images that all subjects saw."""

    test_ids: np.ndarray
    sessions: tuple[int, ...]
    digest: str  # of the responses
    n_voxels: dict[str, int]  # by region, without voxels that hold NaN
    geometries: dict[str, torch.Tensor]  # {measure: (R, n, n)}

    @classmethod
    def of(cls, subject: int, layout: Layout, regions: dict[str, np.ndarray], arguments: argparse.Namespace) -> Brain:
        from brain_activity_prediction.align_image_embeddings.representational_similarity import geometries
        from brain_activity_prediction.align_image_embeddings.targets import targets_asked_for

        targets = targets_asked_for(arguments, layout, subject)
        valid = np.isfinite(targets.test).all(axis=0)
        members = {roi: mask & valid for roi, mask in regions.items()}
        found = geometries(zscored(targets.test[:, mask], arguments.gpu_id) for mask in members.values())
        n_voxels = {roi: int(mask.sum()) for roi, mask in members.items()}
        return cls(targets.test_ids, targets.sessions, targets.digest, n_voxels, found)

    def like(self, other: Brain) -> dict[str, torch.Tensor]:
        """The geometries of another brain's regions in this one, NaN where it has no such region."""
        import torch

        mine = list(self.n_voxels)
        found = {}
        for measure, own in self.geometries.items():
            lacking = torch.full_like(own[0], torch.nan)
            found[measure] = torch.stack([own[mine.index(r)] if r in mine else lacking for r in other.n_voxels])
        return found


def settings_of(arguments: argparse.Namespace, brain: Brain, store: EmbeddingStore) -> dict:
    """What changes the numbers."""
    return {
        "sessions": brain.sessions,
        "zscore_sessions": arguments.zscore_sessions,
        "permutations": arguments.permutations,
        "ceiling_subjects": arguments.ceiling_subjects,
        "responses": brain.digest,
        "embeddings": store.settings() or {},
    }


def compare(
    layers: Sequence[Layer], brain: Brain, others: Sequence[Brain], arguments: argparse.Namespace
) -> pd.DataFrame:
    """One row a layer and region, columns COLUMNS but `settings`; a stream's layers are in memory together.

    Voxels with NaN are left out. A region without any, and of one voxel for rsa, has NaN. The ceilings of rsa and cka
    are a region's similarity to the mean of the same region in other subjects, missing where none were named.
    """
    import pandas as pd
    from tqdm import tqdm

    from brain_activity_prediction.align_image_embeddings.representational_similarity import (
        geometries,
        similarity_to_mean,
    )

    def states(layer: Layer) -> np.ndarray:
        return layer.store.read_layer(layer.stream, layer.number, brain.test_ids)

    of_regions = pd.DataFrame({"roi": list(brain.n_voxels), "n_voxels": list(brain.n_voxels.values())})
    alike = [other.like(brain) for other in others]
    for measure, own in brain.geometries.items():
        ceiling = similarity_to_mean(own, [found[measure] for found in alike]).cpu().numpy() if alike else np.nan
        of_regions[f"{measure}_ceiling"] = ceiling
    tables = []
    with tqdm(total=len(layers), unit="layer", mininterval=progress_seconds()) as progress:
        for own in by_stream(layers).values():
            of_layers = geometries(zscored(read, arguments.gpu_id) for _, read in read_ahead(own, states))
            pairs = pair_table(own, of_layers, brain.geometries, arguments.permutations)
            repeated = pd.concat([of_regions] * len(own), ignore_index=True)
            tables.append(pd.concat([pairs, repeated], axis=1))
            progress.update(len(own))
    table = pd.concat(tables, ignore_index=True)
    of = {"model_id": arguments.model_id, "subject": arguments.subject, "n_images": len(brain.test_ids)}
    return table.assign(**of).astype({"prompt": "Int64"})


def zscored(patterns: np.ndarray, device: str) -> torch.Tensor:
    """Patterns (n, k) with each column at mean 0 and SD 1 over the images, on the device."""
    import torch

    from brain_activity_prediction.align_image_embeddings.targets import standardise

    return torch.from_numpy(standardise(patterns, patterns[:0])[0]).to(device)


def pair_table(
    layers: Sequence[Layer],
    of_layers: Mapping[str, torch.Tensor],
    of_regions: Mapping[str, torch.Tensor],
    n_permutations: int,
) -> pd.DataFrame:
    """A row for each pair of a layer and a region, all regions of the first layer first."""
    import pandas as pd

    from brain_activity_prediction.align_image_embeddings.representational_similarity import permutation_p, similarity

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
    """Writes similarity.csv and similarity.parquet of one model and prompt, and prints the most similar layers.

    q is p adjusted over all layers and regions of the table (Benjamini and Hochberg).
    """
    table = table.assign(settings=settings).reindex(columns=COLUMNS).reset_index(drop=True)
    for measure in ("rsa", "cka"):
        table[f"{measure}_q"] = adjusted(table[f"{measure}_p"])
    write_table(table, folder, "similarity")
    print(as_text(table))
    print(f"\ntables: {folder}/ similarity.csv, similarity.parquet\n")


def as_text(table: pd.DataFrame) -> str:
    """Each measure of each stream's most similar layer, a line a stream and region."""
    lines = [f"{'stream':<16} {'region':<14} {'voxels':>6} {'RSA':>7} {'layer':>5} {'CKA':>7} {'layer':>5}"]
    for (stream, roi), rows in table.dropna(subset=["rsa", "cka"]).groupby(["stream", "roi"], sort=False):
        rsa, cka = (rows.loc[rows[measure].idxmax()] for measure in ("rsa", "cka"))
        pair = f"{rsa['rsa']:>7.3f} {rsa['layer']:>5} {cka['cka']:>7.3f} {cka['layer']:>5}"
        lines.append(f"{stream:<16} {roi:<14} {rsa['n_voxels']:>6} {pair}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
