"""Write the results of a variance partitioning: the table of shares by region, and the maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from brain_activity_prediction.encoding.scores.score_files import warn_of_edges
from brain_activity_prediction.encoding.subject_data import SubjectData
from brain_activity_prediction.encoding.tables.region_table import (
    errors,
    normalised_means,
    region_means,
    region_medians,
)
from brain_activity_prediction.ridge.weightings import Combination
from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.storage.folders import Subject
from brain_activity_prediction.storage.table_files import write_table
from brain_activity_prediction.variance_partitioning.feature_spaces import LETTERS, Space
from brain_activity_prediction.variance_partitioning.parts import best_weightings, parts
from brain_activity_prediction.variance_partitioning.region_layers import LayerChoice
from brain_activity_prediction.variance_partitioning.share_store import WeightingScores

COLUMNS = (
    *("analysis", "subject", "roi", "n_voxels", "kind", "spaces", "n_spaces", "names"),
    *("r2", "r2_se", "r2_ci_low", "r2_ci_high", "n_resamples", "cv_r2"),
    *("noise_ceiling", "ncsnr", "min_noise_ceiling", "r2_normalised", "n_voxels_normalised"),
    *("n_train", "n_test", "n_sessions", "test_repeats_mean"),
)
MODEL, PART = "model", "part"
Variances = dict[tuple[str, Combination], dict[str, np.ndarray]]  # {(kind, spaces): {"r2", "cv_r2": (V,)}}


@dataclass(frozen=True)
class Ceilings:
    """Noise ceilings, and the lowest ceiling with which scores are normalised."""

    noise_ceiling: np.ndarray  # (V,) in R2 units
    ncsnr: str  # source of the ceilings, see `ceiling_source`
    lowest: float  # voxels with a lower ceiling have no normalised scores


def variances(scores: WeightingScores, responses: np.ndarray) -> tuple[Variances, np.ndarray]:
    """Return each voxel's R2 for every joint fit and part, and the row (V,) of its best weighting of all spaces.

    responses  (n, V) responses to the training images, whose variance scales cv_r2
    """
    cv_scores, r2 = scores.read_all("cv_score"), scores.read_all("r2")
    variance = np.einsum("nv,nv->v", responses, responses, dtype=np.float64) / len(responses)
    cv_r2 = np.divide(cv_scores, variance, out=np.full(r2.shape, -1.0), where=variance != 0) + 1
    best = best_weightings(scores.weightings, cv_scores)
    found: Variances = {}
    for name, values in (("r2", r2), ("cv_r2", cv_r2)):
        models = {chosen: np.where(row < 0, np.nan, _at(values, row)) for chosen, row in best.items()}
        for kind, of_kind in ((MODEL, models), (PART, parts(models))):
            for chosen, share in of_kind.items():
                found.setdefault((kind, chosen), {})[name] = share
    return found, max(best.items(), key=lambda item: len(item[0]))[1]


def share_table(
    found: Variances,
    spaces: Sequence[Space],
    regions: Mapping[str, np.ndarray],
    ceilings: Ceilings,
    resampled: Mapping[Combination, np.ndarray] | None,
) -> pd.DataFrame:
    """Tabulate shares: one row for each region and share, with the columns COLUMNS except `analysis` and `subject`.

    - `kind`: `model` is the R2 of a joint fit of the spaces; `part` is the variance that all of these spaces can
      predict and no other space can.
    - `spaces`, `n_spaces`, `names`: letters of the spaces, as in A+B, their number, and their streams and layers.
    - `r2`, `cv_r2`: R2 on the test images, and cross-validated R2 on the training images, as means over the `n_voxels`
      voxels of the region with responses. cv_r2 also chooses the fits, so that the part of one space cannot be negative
      even for noise. Use r2 for inference.
    - `r2_se`, `r2_ci_low`, `r2_ci_high`: standard error and 95 % interval of r2 from `n_resamples` resamples of the
      test images; missing without resamples.
    - `noise_ceiling`, `ncsnr`: median over the region, and its source (`ceiling_source`).
    - `r2_normalised`: mean of r2 / noise ceiling over the `n_voxels_normalised` voxels whose ceiling is above 0 and at
      least `min_noise_ceiling`. It can exceed 1.
    - `n_train`, `n_test`, `n_sessions`, `test_repeats_mean`: numbers of training images, test images and sessions, and
      mean number of trials of a test image.
    """
    by_kind = {} if resampled is None else {MODEL: resampled, PART: parts(resampled)}
    blocks = []
    for (kind, chosen), share in found.items():
        members = np.stack(list(regions.values())) & np.isfinite(share["r2"])
        block = {
            "roi": list(regions),
            "n_voxels": members.sum(axis=1),
            "kind": kind,
            "spaces": letters(chosen),
            "n_spaces": len(chosen),
            "names": " + ".join(str(spaces[number]) for number in chosen),
            "noise_ceiling": region_medians(ceilings.noise_ceiling, members),
            "ncsnr": ceilings.ncsnr,
            "min_noise_ceiling": ceilings.lowest,
            "n_resamples": pd.NA if resampled is None else len(resampled[chosen]),
            **{f"r2{name[1:]}": values for name, values in errors(by_kind.get(kind, {}).get(chosen)).items()},
            **region_means(share, members),
            **normalised_means(share, ceilings.noise_ceiling, members, ceilings.lowest),
        }
        blocks.append(pd.DataFrame(block))
    return pd.concat(blocks, ignore_index=True).astype({"n_resamples": "Int64"})


def letters(chosen: Combination) -> str:
    """Turn (0, 2) into "A+C"."""
    return "+".join(LETTERS[number] for number in chosen)


def summarise(
    analyses: Sequence[tuple[LayerChoice, WeightingScores]],
    subject_data: SubjectData,
    regions: Mapping[str, np.ndarray],
    ceilings: Ceilings,
    resampled: Sequence[Mapping[Combination, np.ndarray] | None],
    subject: Subject,
) -> None:
    """Write maps, shares.csv and shares.parquet to the first analysis' folder, and print the parts of each region.

    A region's shares are computed with its own best layers. Maps show the first choice of layers, which was made for
    all fitted voxels together.

    resampled  the `resampled_shares` of each of `analyses`
    """
    folder = analyses[0][1].folder
    warn_of_alphas(analyses)
    blocks = []
    for (choice, scores), drawn in zip(analyses, resampled, strict=True):
        found, weighting = variances(scores, subject_data.train)
        blocks.append(share_table(found, choice.spaces, choice.regions, ceilings, drawn))
        if not blocks[1:]:
            write_maps(folder, found, scores.weightings, weighting, ceilings.noise_ceiling, subject_data)
    table = in_order(pd.concat(blocks), regions)
    of = {"analysis": folder.name, "subject": subject} | subject_data.data_used()
    table = table.assign(**of).reindex(columns=COLUMNS)
    write_table(table, folder, "shares")
    choices = [choice for choice, _ in analyses]
    print("\n".join(names_of_spaces(choices)))
    print(as_text(table, choices))
    print(f"\ntables and maps: {folder}/ shares.csv, shares.parquet, maps/")


def in_order(table: pd.DataFrame, regions: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Sort rows by kind and spaces, in the order of their first rows, and then by region."""
    variance = pd.factorize(table["kind"] + table["spaces"])[0]
    return table.iloc[np.lexsort([pd.Index(regions).get_indexer(table["roi"]), variance])].reset_index(drop=True)


def write_maps(folder, found: Variances, weightings, weighting, ceiling, subject_data: SubjectData) -> None:
    """Write maps of each share, of each space's weight in the joint fit of all spaces, and of the noise ceiling.

    weightings  (G, B) candidate weights
    weighting   (V,) row of each voxel's best weighting of all spaces, -1 without a score
    ceiling     (V,) noise ceiling
    """
    maps = {f"{kind}_{letters(of)}_{name}": share[name] for (kind, of), share in found.items() for name in share}
    maps |= {
        f"weight_{LETTERS[number]}": np.where(weighting < 0, np.nan, weights[weighting])
        for number, weights in enumerate(weightings.T)
    }
    maps["noise_ceiling"] = ceiling
    for name, values in maps.items():
        subject_data.units.write_map(Path(folder) / "maps" / name, values)


def warn_of_alphas(analyses: Sequence[tuple[LayerChoice, WeightingScores]]) -> None:
    """Warn, for each joint fit, if alphas of voxels in its regions are at an end of the grid.

    The grid limits the alpha that all spaces of a weighting share. The penalty of a single space is this alpha divided
    by the space's weight, and may be outside the grid. A voxel counts once for each choice of layers of its regions.
    """
    chosen_alphas: dict[Combination, list[np.ndarray]] = {}
    for choice, scores in analyses:
        inside, alphas = np.any(list(choice.regions.values()), axis=0), scores.read_all("alpha")
        for chosen, row in best_weightings(scores.weightings, scores.read_all("cv_score")).items():
            chosen_alphas.setdefault(chosen, []).append(_at(alphas, row)[inside])
    for chosen, alphas in chosen_alphas.items():
        warn_of_edges(letters(chosen), "voxels", np.concatenate(alphas), analyses[0][1].alpha_range())


def names_of_spaces(choices: Sequence[LayerChoice]) -> list[str]:
    """Return a line such as `A = MODEL STREAM layer 3` for each space, with all layers if regions differ."""
    lines = []
    for letter, *spaces in zip(LETTERS, *(choice.spaces for choice in choices), strict=False):
        layers, name = sorted({space.layer for space in spaces}), str(spaces[0])
        if len(layers) > 1:
            numbers = ", ".join(map(str, layers))
            name = f"{spaces[0].of_stream} layers {numbers}, the best of each region on training images"
        lines.append(f"{letter} = {name}")
    return lines


def as_text(table: pd.DataFrame, choices: Sequence[LayerChoice] = ()) -> str:
    """Format the mean test R2 of each part: a line for each region, with its layers if regions have different ones."""
    shares = table[table["kind"] == PART].pivot(index="roi", columns="spaces", values="r2")
    shares = shares.loc[table["roi"].unique(), table["spaces"].unique()]
    layers = {roi: f"  {choice.layers}" for choice in choices for roi in choice.regions} if len(choices) > 1 else {}
    head = [f"{name:>9}" for name in (*shares.columns, "in all")]
    lines = [f"{'R2 predicted only by':<21}" + "".join(head) + ("  layers" if layers else "")]
    for roi, row in shares.iterrows():
        lines.append(f"{roi:<21}" + "".join(f"{value:>9.3f}" for value in [*row, row.sum()]) + layers.get(roi, ""))
    return "\n".join(map(one_line, lines))


def _at(values: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Select each voxel's value from its row (V,) of values (G, V). For row -1 the value is arbitrary."""
    return np.take_along_axis(values, np.maximum(row, 0)[None], axis=0)[0]
