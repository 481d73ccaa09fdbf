"""Rows of scores to the numbers that figures show: the layer chosen on training images, then means over subjects.

Whatever is chosen among (layers, streams, prompts) is chosen for each subject and region by `cv_score`, a score of
training images, and what is then shown of the choice are scores of held-out images.
"""

import numpy as np
import pandas as pd

from brain_activity_prediction.align_image_embeddings.layer_choice import BEST_PER_REGION, EACH

KEY = ["model_id", "prompt", "stream", "subject", "roi"]
ALL_VOXELS = "nsdgeneral"
SIGNIFICANT = 0.05  # q below it, the expected share of false ones among what is marked
SHOWN = ("r", "r_normalised", "noise_ceiling", "n_voxels", "r_se", "q")


def each_layer(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of single layers."""
    return table[table["layer_choice"] == EACH]


def chosen_layers(table: pd.DataFrame) -> pd.DataFrame:
    """The row of the layer that the training images choose, one for each of KEY."""
    return table[table["layer_choice"] == BEST_PER_REGION]


def best_by_training(rows: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """The row with the highest cv_score within each group."""
    rows = rows.dropna(subset="cv_score").reset_index(drop=True)
    return rows.loc[rows.groupby(key, sort=False, dropna=False, observed=True)["cv_score"].idxmax()]


def over_subjects(rows: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Means over subjects of one row a subject within each group of `key`; columns key, SHOWN and those below.

    n_subjects         subjects averaged
    r_se               standard error over subjects; of one subject its own over images, where there is one
    n_tested           subjects with a q
    n_significant      subjects whose q is below SIGNIFICANT
    """
    rows = rows.assign(
        r_se=rows.get("r_se", np.nan),
        tested=rows["q"].notna(),
        significant=rows["q"] < SIGNIFICANT,
    )
    groups = rows.groupby(key, sort=False, dropna=False, observed=True)
    means = groups[["r", "r_normalised", "noise_ceiling", "n_voxels"]].mean()
    n = groups["subject"].nunique()
    means["r_se"] = np.where(n > 1, groups["r"].std() / np.sqrt(n), groups["r_se"].first())
    means["q"] = groups["q"].max()
    means["n_subjects"], means["n_tested"], means["n_significant"] = (
        n,
        groups["tested"].sum(),
        groups["significant"].sum(),
    )
    return means.reset_index()


def region_scores(table: pd.DataFrame) -> pd.DataFrame:
    """A row a model and region: the prompt, stream and layer chosen on training images, averaged over subjects."""
    best = best_by_training(chosen_layers(table), ["model_id", "subject", "roi"])
    return over_subjects(best, ["model_id", "roi"])


def prompt_scores(table: pd.DataFrame) -> pd.DataFrame:
    """A row a model, prompt and region: stream and layer chosen on training images, averaged over subjects."""
    best = best_by_training(chosen_layers(table), ["model_id", "prompt", "subject", "roi"])
    return over_subjects(best, ["model_id", "prompt", "roi"])


def layer_scores(table: pd.DataFrame) -> pd.DataFrame:
    """A row a model, stream, layer and region: r averaged over prompts, then over subjects; `chosen` marks one layer.

    Columns model_id, stream, roi, layer, layer_position, r, r_se (over subjects, missing for one), chosen.
    """
    key = ["model_id", "stream", "roi", "layer", "layer_position"]
    each = each_layer(table)
    of_subject = each.groupby([*key, "subject"], sort=False, observed=True)[["r", "cv_score"]].mean().reset_index()
    groups = of_subject.groupby(key, sort=False, observed=True)
    means = groups[["r", "cv_score"]].mean()
    n = groups["subject"].nunique()
    means["r_se"] = np.where(n > 1, groups["r"].std() / np.sqrt(n), np.nan)
    means = means.reset_index().sort_values("layer")
    best = best_by_training(means, ["model_id", "stream", "roi"])[["model_id", "stream", "roi", "layer"]]
    means = means.merge(best.assign(chosen=True), how="left")
    return means.assign(chosen=means["chosen"].notna())


def at_a_glance(table: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """A row a model, best first: r over all fitted voxels, what most subjects chose for it, and its best region.

    Columns model_id, r, r_se, r_normalised, stream, prompt, roi, roi_r. `scores` as `region_scores` gives them. Empty
    where all voxels together are not among the regions.
    """
    of_all = scores[scores["roi"] == ALL_VOXELS].set_index("model_id")
    chosen = best_by_training(chosen_layers(table[table["roi"] == ALL_VOXELS]), ["model_id", "subject"])
    regions = scores[(scores["roi"] != ALL_VOXELS) & scores["r"].notna()]
    rows = []
    for model, score in of_all.sort_values("r", ascending=False).iterrows():
        own = chosen[chosen["model_id"] == model]
        stream, prompt = own[["stream", "prompt"]].value_counts(dropna=False).index[0]
        row = {"model_id": model, **score[["r", "r_se", "r_normalised"]], "stream": stream, "prompt": prompt}
        best = regions[regions["model_id"] == model].sort_values("r").tail(1)
        rows.append(row | {"roi": "".join(best["roi"]), "roi_r": best["r"].sum() if len(best) else np.nan})
    return pd.DataFrame(rows, columns=["model_id", "r", "r_se", "r_normalised", "stream", "prompt", "roi", "roi_r"])
