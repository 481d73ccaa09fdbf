"""Average the tables and maps of the outer folds of a nested cross-validation.

Each fold has its own folder of scores. Alpha and layers were chosen on the images of the other folds. Scores are
averaged over folds. Predictions are not joined before scoring, because r of joined predictions is negative for noise.

Letters: F folds, R rows of the table, V voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from brain_activity_prediction.encoding.protocols import AVERAGE, BEST_PER_VOXEL
from brain_activity_prediction.encoding.scores.layer_choice import EACH, TEST, StreamScores
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.tables.region_table import COLUMNS, HOW_MANY, INTEGERS, errors
from brain_activity_prediction.encoding.tables.summary import voxel_maps
from brain_activity_prediction.inference.false_discovery import adjusted
from brain_activity_prediction.inference.outer_folds import MeanCeilings, mean_of_permuted, mean_of_resampled
from brain_activity_prediction.inference.region_ceilings import RegionCeilings, score_columns
from brain_activity_prediction.inference.region_statistics import digest_of_ceiling, usable_ceiling
from brain_activity_prediction.inference.resampling import share_reaching, standard_error

KEY = ["stream", "layer_choice", "roi"]
MEANS = ("r", "r2", "cv_score", "layer_position", "noise_ceiling", "r_normalised", "r2_normalised", "test_repeats_mean")
FEWEST = ("n_voxels_normalised", "n_permutations", "n_train")
SUMS = ("n_test", "n_images_not_permuted")
JOINT_TEST = ("best_layer_p", "best_layer_q", "layers_p")  # maps that cannot be averaged over folds


def mean_table(
    tables: Sequence[pd.DataFrame],
    stores: Sequence[ScoreStore],
    streams: Mapping[str, Sequence[StreamScores]],
    regions: Mapping[str, str],
    min_noise_ceiling: float,
) -> pd.DataFrame:
    """Average the tables of the folds (`region_table.region_table`) row by row.

    Most columns are means over folds; alpha_median is the geometric mean. n_test is the number of test images of all
    folds together, n_train the number of training images of the smallest fold. `layer` is missing if folds chose
    different layers. Errors, intervals and p describe the mean over folds; images are resampled and permuted within
    folds.

    streams  scores of each stream in every fold
    regions  {name: digest of the region's voxels}, see `region_statistics.digests`
    """
    tables = [table[table["stream"].isin(list(streams))].reset_index(drop=True) for table in tables]
    first = tables[0]
    mean = first.copy()
    for name in MEANS:
        mean[name] = np.mean([table[name].to_numpy(float) for table in tables], axis=0)
    mean["alpha_median"] = _geometric_mean([table["alpha_median"].to_numpy(float) for table in tables])
    for name in FEWEST:
        mean[name] = pd.concat([table[name] for table in tables], axis=1).min(axis=1, skipna=False)
    for name in SUMS:
        mean[name] = pd.concat([table[name] for table in tables], axis=1).sum(axis=1, skipna=False)
    alike = np.all([table["layer"].eq(first["layer"]).fillna(False) for table in tables], axis=0)
    mean["layer"] = first["layer"].where(alike)
    ceilings = [store.read_region_ceilings() for store in stores]
    usable = [digest_of_ceiling(usable_ceiling(store.read_noise_ceiling(), min_noise_ceiling)) for store in stores]
    for block in _blocks(first):
        of_stream = streams[first["stream"][block[0]]]
        rows = [_Rows(table.loc[block], scores, regions) for table, scores in zip(tables, of_stream, strict=True)]
        for name, values in _statistics(rows, ceilings, usable).items():
            mean.loc[block, name] = values
    for name, told in HOW_MANY.items():
        mean[name] = mean[name].where(mean[told].notna())
    mean = mean.reindex(columns=COLUMNS).astype(dict.fromkeys(INTEGERS, "Int64"))
    return mean.assign(q=mean.groupby(["layer_choice", *TEST], dropna=False)["p"].transform(adjusted))


def same_rows(tables: Sequence[pd.DataFrame]) -> list[str]:
    """Return the streams whose rows are the same in all folds. In the other streams, some folds lack layers."""

    def rows(table: pd.DataFrame, stream: str) -> list[tuple]:
        of_stream = table[table["stream"] == stream]
        layers = of_stream["layer"].where(of_stream["layer_choice"] == EACH).fillna(-1)
        return [*zip(*(of_stream[name] for name in KEY), layers, strict=True)]

    streams = dict.fromkeys(stream for table in tables for stream in table["stream"])
    return [stream for stream in streams if all(rows(table, stream) == rows(tables[0], stream) for table in tables)]


def mean_maps(streams: Sequence[StreamScores], ceilings: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Average a stream's maps over folds, `{name: (V,) or (V, K)}`; NaN for voxels that lack a score in a fold.

    Alphas are averaged geometrically. The best layer of a voxel is the middle one of the layers that the folds chose.

    ceilings  (V,) noise ceiling of each fold; NaN for voxels without normalised scores
    """
    folds = [voxel_maps(scores, ceiling) for scores, ceiling in zip(streams, ceilings, strict=True)]
    names = [name for name in folds[0] if name not in JOINT_TEST and all(name in maps for maps in folds)]
    return {name: _mean_map(name, [maps[name] for maps in folds]) for name in names}


def _mean_map(name: str, folds: Sequence[np.ndarray]) -> np.ndarray:
    if name == "best_layer":
        return np.where(np.isnan(folds).any(axis=0), np.nan, np.sort(folds, axis=0)[(len(folds) - 1) // 2])
    return _geometric_mean(folds) if name.endswith("_alpha") else np.mean(folds, axis=0, dtype=np.float64)


def _geometric_mean(folds: Sequence[np.ndarray]) -> np.ndarray:
    return np.exp(np.mean(np.log(folds, dtype=np.float64), axis=0))


class _Rows:
    """Rows of one fold's table with the same stream and layer choice: one row for each region."""

    def __init__(self, table: pd.DataFrame, scores: StreamScores, regions: Mapping[str, str]):
        self.table, self.scores = table, scores
        self.regions = {roi: regions[roi] for roi in table["roi"]}
        choice = table["layer_choice"].iloc[0]
        places = {int(layer): place for place, layer in enumerate(scores.layers)}
        of_choice = choice in (BEST_PER_VOXEL, AVERAGE)
        self.which = [choice] * len(table) if of_choice else [places[int(layer)] for layer in table["layer"]]

    def replicates(self, read: Callable[..., np.ndarray | None], *more: str) -> np.ndarray | None:
        """Read the resamples (B, R) or permutations (P + 1, R) of all rows; None if a row has none.

        read  method of `StreamScores` that reads them for one layer
        """
        by_layer = {which: read(self.scores, which, self.regions, *more) for which in set(self.which)}
        if any(values is None for values in by_layer.values()):
            return None
        return np.stack([by_layer[which][:, column] for column, which in enumerate(self.which)], axis=1)

    def explained(self) -> np.ndarray:
        """Return the explained variance (R,) of each row, computed back from r_normalised_all_voxels."""
        score, ceiling = (self.table[name].to_numpy(float) for name in ("r_normalised_all_voxels", "r_ceiling"))
        return np.sign(score) * (score * ceiling) ** 2


def _blocks(table: pd.DataFrame) -> Iterator[np.ndarray]:
    """Yield the row numbers of each stream and layer choice; each layer of EACH has its own group."""
    layers = table["layer"].where(table["layer_choice"] == EACH).fillna(-1)
    yield from table.groupby(["stream", "layer_choice", layers], sort=False).indices.values()


def _statistics(
    folds: Sequence[_Rows], ceilings: Sequence[RegionCeilings], usable: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the columns (R,) of errors, intervals and p, and of scores divided by a region's ceiling."""

    def joined(mean: Callable, read: Callable[..., np.ndarray | None], more: Sequence[Sequence[str]] = ()):
        each = [rows.replicates(read, *own) for rows, own in zip(folds, more or [()] * len(folds), strict=True)]
        return None if any(values is None for values in each) else mean(each)

    normalised = joined(mean_of_resampled, StreamScores.resampled_r, [(digest,) for digest in usable])
    permuted = joined(mean_of_permuted, StreamScores.permuted_r)
    columns = errors(joined(mean_of_resampled, StreamScores.resampled_r))
    columns["r_normalised_se"] = np.nan if normalised is None else standard_error(normalised)
    columns["p"] = np.nan if permuted is None else share_reaching(permuted)
    known = MeanCeilings([ceiling.of(rows.regions) for ceiling, rows in zip(ceilings, folds, strict=True)])
    explained = np.mean([rows.explained() for rows in folds], axis=0)
    return columns | score_columns(explained, joined(mean_of_resampled, StreamScores.resampled_explained), known)
