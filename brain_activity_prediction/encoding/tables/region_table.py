"""Tidy table of scores: one row for each stream, choice of layers and region.

Letters: R regions, V voxels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from brain_activity_prediction.encoding.protocols import AVERAGE, BEST_PER_REGION, BEST_PER_VOXEL, STANDARD
from brain_activity_prediction.encoding.scores.layer_choice import EACH, TEST, StreamScores, stream_scores
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.inference.false_discovery import adjusted
from brain_activity_prediction.inference.region_ceilings import RegionCeilings, score_columns
from brain_activity_prediction.inference.region_statistics import digest_of_ceiling, digests, usable_ceiling
from brain_activity_prediction.inference.resampling import explained_variance, interval, standard_error
from brain_activity_prediction.storage.folders import Subject

OVER_ALL_VOXELS = tuple(f"r_normalised_all_voxels{end}" for end in ("", "_se", "_ci_low", "_ci_high"))
COLUMNS = (
    *("protocol", "model_id", "prompt", "stream", "layer_choice", "layer", "layer_position", "subject", "roi"),
    *("n_voxels", "r", "r_se", "r_ci_low", "r_ci_high", "n_resamples", "r2", "cv_score", "alpha_median"),
    *("noise_ceiling", "r_ceiling", "r_ceiling_se", "ncsnr", "min_noise_ceiling"),
    *("r_normalised", "r_normalised_se", "r2_normalised", "n_voxels_normalised", *OVER_ALL_VOXELS),
    *("p", "q", "n_permutations", "permutation_block", "n_images_not_permuted"),
    *("n_train", "n_test", "n_sessions", "test_repeats_mean", "settings"),
)
MEANS = ("r", "r2", "cv_score")
HOW_MANY = {"n_resamples": "r_ci_low", **dict.fromkeys(TEST, "p")}  # a key is missing in rows that lack its value
INTEGERS = ("prompt", "layer", "n_train", "n_test", "n_sessions", *HOW_MANY)  # integers or missing
NUMBERS = (
    *("layer_position", "r", "r_se", "r_ci_low", "r_ci_high", "r2", "cv_score", "alpha_median"),
    *("noise_ceiling", "r_ceiling", "r_ceiling_se", "min_noise_ceiling"),
    *("r_normalised", "r_normalised_se", "r2_normalised", *OVER_ALL_VOXELS, "p", "q", "test_repeats_mean"),
)


@dataclass(frozen=True)
class Alignment:
    """A model, a prompt (None for streams that do not depend on it), and the subject whose responses are predicted."""

    model_id: str
    prompt: int | None
    subject: Subject


def region_table(
    store: ScoreStore, regions: Mapping[str, np.ndarray], alignment: Alignment, min_noise_ceiling: float
) -> pd.DataFrame:
    """Tabulate scores: a row for each stream, region and choice of layers, with the columns COLUMNS.

    regions  masks (V,) by name

    - `layer_choice`: `each` is one layer, `best_per_region` the layer with the region's best cv_score, `best_per_voxel`
      the layer with the best cv_score of each voxel, and `average` the mean over all layers, once all are finished.
    - `layer`, `layer_position`: number of the layer, and its relative depth from 0 (input of the first layer) to 1
      (last layer). `layer` is missing for averages and if voxels have different layers; `layer_position` is then the
      voxels' mean.
    - `prompt`: number of the prompt; missing for streams that do not depend on a prompt.
    - `r`, `r2`, `cv_score`: means over the `n_voxels` voxels of the region with responses.
    - `noise_ceiling`, `ncsnr`: median ceiling of these voxels, and its source (`ceiling_source`).
    - `r_normalised`, `r2_normalised`: means over the `n_voxels_normalised` voxels whose ceiling is at least
      `min_noise_ceiling`.
    - `r_normalised_all_voxels`: score for the comparison of regions (`region_ceilings`), the square root of explained
      variance divided by the ceiling, both averaged over all voxels. Its standard error and interval include the error
      of the ceiling.
    - `r_ceiling`: square root of this mean ceiling, which is always computed from the betas. This and the previous
      score are missing if the ceiling is below two of its standard errors.
    - `r_se`, `r_ci_low`, `r_ci_high`: standard error and 95 % interval of r, from `n_resamples` resamples of the test
      images (`bootstrap`).
    - `r_normalised_se`: standard error of r_normalised, without the error of the ceiling. It is missing if the layers
      were scored with another ceiling or min_noise_ceiling.
    - `p`, `q`: p of the mean r, from `n_permutations` permutations of blocks of `permutation_block` test images. The
      `n_images_not_permuted` images after the last whole block are not used. q is p adjusted over the rows with the
      same layer_choice and test (Benjamini and Hochberg).
    - `n_train`, `n_test`, `n_sessions`, `test_repeats_mean`: numbers of training images, test images and sessions, and
      mean number of trials of a test image.
    - `settings`: fingerprint of the settings that change the scores.

    Errors, intervals, p and q are missing if the run did not compute them for this region.
    """
    ceiling, ceilings = store.read_noise_ceiling(), store.read_region_ceilings()
    parts = []
    for stream in store.streams():
        part = pd.concat(_blocks(stream_scores(store, stream), regions, ceiling, ceilings, min_noise_ceiling))
        parts.append(pd.concat([part, best_of_regions(part)]))
    table = pd.concat(parts).assign(
        protocol=store.settings().get("protocol", STANDARD),
        **asdict(alignment),
        ncsnr=store.ncsnr_from(),
        settings=store.fingerprint(),
        **store.data_used(),
    )
    table = table.reindex(columns=COLUMNS)
    for name, told in HOW_MANY.items():
        table[name] = table[name].where(table[told].notna())
    table = table.astype(dict.fromkeys(INTEGERS, "Int64") | dict.fromkeys(NUMBERS, float)).reset_index(drop=True)
    return table.assign(q=table.groupby(["layer_choice", *TEST], dropna=False)["p"].transform(adjusted))


def _blocks(
    stream: StreamScores,
    regions: Mapping[str, np.ndarray],
    ceiling: np.ndarray,
    ceilings: RegionCeilings | None,
    min_noise_ceiling: float,
) -> Iterator[pd.DataFrame]:
    """Yield tables of R rows: one for each layer of a stream, one for voxels at their best layers, one for averages."""
    known, by = digests(regions), digest_of_ceiling(usable_ceiling(ceiling, min_noise_ceiling))
    members = np.stack(list(regions.values())) & np.isfinite(stream.scores["cv_score"]).all(axis=0)
    of_regions = ceilings.of(known) if ceilings is not None else None

    def over_all_voxels(explained: np.ndarray, which: int | str) -> dict[str, np.ndarray]:
        if of_regions is None:
            return {}
        counted = members & np.isfinite(of_regions.voxels)
        mean = region_means({"explained": explained}, counted)["explained"]
        return score_columns(mean, stream.resampled_explained(which, known), of_regions)

    def rows(scores: Mapping[str, np.ndarray], which: int | str, **of) -> pd.DataFrame:
        normalised = stream.resampled_r(which, known, by)
        return pd.DataFrame(
            {
                **{"stream": stream.stream, "roi": list(regions), "n_voxels": members.sum(axis=1)},
                **region_means({name: scores[name] for name in MEANS}, members),
                **normalised_means(scores, ceiling, members, min_noise_ceiling),
                "alpha_median": region_medians(scores["alpha"], members),
                "noise_ceiling": region_medians(ceiling, members),
                **over_all_voxels(scores["explained"], which),
                "min_noise_ceiling": min_noise_ceiling,
                **errors(stream.resampled_r(which, known)),
                "r_normalised_se": np.nan if normalised is None else standard_error(normalised),
                "p": stream.region_p(which, known),
                **stream.how_many(which),
                **of,
            }
        )

    n_images = np.inf if ceilings is None else ceilings.n_images
    explained = explained_variance(stream.scores["r"].astype(np.float64), n_images)
    for k, layer in enumerate(stream.layers):
        scores = {name: values[k] for name, values in stream.scores.items()} | {"explained": explained[k]}
        yield rows(scores, k, layer_choice=EACH, layer=layer, layer_position=stream.position(layer))
    best = stream.at(stream.best_of_voxels())
    best["explained"] = explained_variance(best["r"], n_images)
    position = stream.position(region_means({"layer": best["layer"]}, members)["layer"])
    yield rows(best, BEST_PER_VOXEL, layer_choice=BEST_PER_VOXEL, layer_position=position)
    if stream.complete:
        yield rows(stream.mean() | {"explained": explained.mean(axis=0)}, AVERAGE, layer_choice=AVERAGE)


def best_of_regions(table: pd.DataFrame) -> pd.DataFrame:
    """Select each region's row with the best cv_score (the first if equal), and label it BEST_PER_REGION.

    A region without a score has no row.

    table  with the columns layer_choice, roi and cv_score
    """
    layers = table.reset_index(drop=True)
    layers = layers[layers["layer_choice"] == EACH].dropna(subset="cv_score")
    best = layers.loc[layers.groupby("roi", sort=False)["cv_score"].idxmax()]
    return best.assign(layer_choice=BEST_PER_REGION)


def region_means(values: Mapping[str, np.ndarray], members: np.ndarray) -> dict[str, np.ndarray]:
    """Average values (V,) over the voxels of each region; return them as (R,), NaN for regions without voxels."""
    counted = members.any(axis=0)
    columns = np.stack([np.where(counted, column, 0) for column in values.values()], axis=1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        means = (members.astype(np.float64) @ columns) / members.sum(axis=1, keepdims=True)
    return dict(zip(values, means.T, strict=True))


def errors(resampled: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the standard error and 95 % interval (R,) of r, from its resamples (B, R); empty without resamples."""
    if resampled is None:
        return {}
    low, high = interval(resampled)
    return {"r_se": standard_error(resampled), "r_ci_low": low, "r_ci_high": high}


def region_medians(values: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return the median (R,) of the finite values (V,) over the voxels of each region; NaN if there are none."""
    members = members & np.isfinite(values)
    return np.array([np.median(values[own]) if own.any() else np.nan for own in members], dtype=np.float64)


def normalised_means(
    scores: Mapping[str, np.ndarray], ceiling: np.ndarray, members: np.ndarray, min_noise_ceiling: float
) -> dict[str, np.ndarray]:
    """Average r / sqrt(ceiling) and r2 / ceiling over the voxels of each region, and count these voxels.

    Voxels whose ceiling is NaN, 0 or below `min_noise_ceiling` are left out. Ratios may exceed 1.

    scores  r or r2 (V,), or both, by name
    """
    ceiling = usable_ceiling(ceiling, min_noise_ceiling)
    members = members & np.isfinite(ceiling)
    highest_r2 = np.where(members.any(axis=0), ceiling, 1).astype(np.float64)
    highest = {"r": np.sqrt(highest_r2), "r2": highest_r2}
    normalised = {f"{name}_normalised": scores[name] / highest[name] for name in highest if name in scores}
    return region_means(normalised, members) | {"n_voxels_normalised": members.sum(axis=1)}
