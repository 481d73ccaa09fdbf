"""From scores of voxels to a tidy table: one row a stream, layer and region."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from brain_activity_prediction.align_image_embeddings.results import Results
from brain_activity_prediction.files import written_whole

COLUMNS = (
    *("model_id", "prompt", "stream", "layer", "layer_position", "subject", "roi", "n_voxels"),
    *("r", "r2", "cv_score", "alpha_median"),
    *("noise_ceiling", "r_normalised", "r2_normalised", "n_voxels_normalised", "p", "q"),
)


def region_table(
    results: Results,
    regions: Mapping[str, np.ndarray],
    model_id: str,
    prompt: int | None,
    subject: int,
    min_noise_ceiling: float,
) -> pd.DataFrame:
    """Scores of every finished layer in every region; columns COLUMNS.

    `regions` are masks (V,) by name. r, r2 and cv_score are means over a region's voxels, without those whose
    responses are NaN, which n_voxels does not count either; layer_position goes from 0, what enters the first layer,
    to 1, the last layer. `prompt` is missing for streams that no prompt changes. noise_ceiling is the median of
    the region's voxels; the normalised scores are those of `normalised_means`.
    p is that of the mean r, missing where images were not permuted or the region was not among those of that run;
    q is p adjusted over all rows of the table (Benjamini and Hochberg).
    """
    rows, ceiling = [], results.read_noise_ceiling()
    for stream, layer, n_layers in results.layers():
        scores = results.read(stream, layer)
        test = results.read_test(stream, layer)
        valid = np.isfinite(scores["cv_score"])
        for roi, mask in regions.items():
            chosen = mask & valid
            row = {
                "model_id": model_id,
                "prompt": prompt,
                "stream": stream,
                "layer": layer,
                "layer_position": layer / max(n_layers - 1, 1),
                "subject": subject,
                "roi": roi,
                "n_voxels": int(chosen.sum()),
                "p": test.region_p.get(roi, np.nan) if test else np.nan,
            }
            if chosen.any():
                row |= {name: float(scores[name][chosen].mean(dtype=np.float64)) for name in ("r", "r2", "cv_score")}
                row["alpha_median"] = float(np.median(scores["alpha"][chosen]))
            defined = chosen & np.isfinite(ceiling)
            if defined.any():
                row["noise_ceiling"] = float(np.median(ceiling[defined]))
            row |= normalised_means(scores, ceiling, chosen, min_noise_ceiling)
            rows.append(row)
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"prompt": "Int64", "q": float})
    tested = table["p"].notna()
    table.loc[tested, "q"] = false_discovery_control(table.loc[tested, "p"])
    return table


def normalised_means(
    scores: Mapping[str, np.ndarray], ceiling: np.ndarray, chosen: np.ndarray, min_noise_ceiling: float
) -> dict[str, float]:
    """Means over the voxels `chosen` (V,) of r / sqrt(ceiling) and r2 / ceiling, never clipped, and how many entered.

    Voxels whose ceiling is NaN, 0 or below `min_noise_ceiling` are left out: of those no score can be normalised.
    """
    usable = chosen & (ceiling > 0) & (ceiling >= min_noise_ceiling)
    if not usable.any():
        return {"n_voxels_normalised": 0}
    highest_r2 = ceiling[usable].astype(np.float64)
    return {
        "r_normalised": float((scores["r"][usable] / np.sqrt(highest_r2)).mean()),
        "r2_normalised": float((scores["r2"][usable] / highest_r2).mean()),
        "n_voxels_normalised": int(usable.sum()),
    }


def write_table(table: pd.DataFrame, folder: Path) -> None:
    """Writes `scores.csv` and `scores.parquet` with the same rows."""
    with written_whole(folder / "scores.csv") as path:
        table.to_csv(path, index=False)
    with written_whole(folder / "scores.parquet") as path:
        table.to_parquet(path, index=False)


def best_layers(table: pd.DataFrame) -> pd.DataFrame:
    """For each stream and region the row of the layer that cross-validation on the training images scores best."""
    best = table.dropna(subset="cv_score").groupby(["stream", "roi"], sort=False)["cv_score"].idxmax()
    return table.loc[best].reset_index(drop=True)
