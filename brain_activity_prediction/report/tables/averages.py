"""Reduce score tables to the numbers of figures: choose layers on training images, then average over subjects.

Layer, stream and prompt are chosen for each subject and region by `cv_score`, which is computed on training images. The
displayed scores are those of held-out images. Each mean over subjects is given with its number of subjects.
"""

import numpy as np
import pandas as pd

from brain_activity_prediction.encoding.protocols import BEST_PER_REGION, SETS
from brain_activity_prediction.encoding.scores.conditions import NORMALISED
from brain_activity_prediction.encoding.scores.layer_choice import EACH

KEY = ["model_id", "prompt", "stream", "subject", "roi"]
ALL_VOXELS = ("nsdgeneral", "all")  # names of the region of all fitted voxels, in NSD and in other datasets
SIGNIFICANT = 0.05  # results with a lower q are significant; at most this share of them is expected to be false
ERRORS = {"r": "r_se", NORMALISED: f"{NORMALISED}_se"}  # columns of standard errors over images
MEANS = ("r", "cv_score", NORMALISED, "noise_ceiling", "r_ceiling", "n_voxels")


def each_layer(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with scores of single layers."""
    return table[table["layer_choice"] == EACH]


def layer_choice(protocol: str) -> str:
    """Return the `layer_choice` of the rows that represent a model under a protocol."""
    return SETS[protocol].get("layers", BEST_PER_REGION)


def chosen_layers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the layers that each protocol chooses: one row for each combination of KEY."""
    return table[table["layer_choice"] == table["protocol"].map(layer_choice)]


def best_by_training(rows: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Return the row with the highest cv_score in each group of `key`."""
    rows = rows.dropna(subset="cv_score").reset_index(drop=True)
    return rows.loc[rows.groupby(key, sort=False, dropna=False, observed=True)["cv_score"].idxmax()]


def over_subjects(rows: pd.DataFrame, key: list[str], compared: list[str]) -> pd.DataFrame:
    """Average over subjects in each group of `key`, in which each subject has one row.

    compared  columns that define the rows among which means are compared

    Columns key, MEANS and these:

    n_subjects               number of subjects in the mean
    n_normalised, n_ceiling  number of these subjects with r_normalised_all_voxels, and with r_ceiling
    n_possible               number of subjects in which the region has any score
    complete                 whether the mean has all subjects of the rows with the same `compared`; only complete means
                             are ranked
    r_se, r_normalised_all_voxels_se
                             standard errors over subjects, missing for one; over images if no mean has several subjects
    n_tested                 number of subjects with a q
    n_significant            number of subjects whose q is below SIGNIFICANT
    stream                   stream of all subjects; empty if it differs between them
    of_subjects              (subject, r, r_normalised_all_voxels) of each subject
    """
    rows = rows.assign(**{name: rows.get(name, np.nan) for name in (*MEANS, *ERRORS.values())}).dropna(subset="r")
    rows = rows.assign(
        tested=rows["q"].notna(),
        significant=rows["q"] < SIGNIFICANT,
        n_possible=_subjects(rows, ["roi"]).transform("nunique"),
        n_compared=_subjects(rows, compared).transform("nunique"),
        stream=rows.get("stream", ""),
        of_subjects=[*zip(rows["subject"], rows["r"], rows[NORMALISED], strict=True)],
    )
    groups = rows.groupby(key, sort=False, dropna=False, observed=True)
    means, n = groups[list(MEANS)].mean(), groups["subject"].nunique()
    for name, over_images in ERRORS.items():
        values = groups[name]
        means[over_images] = values.std() / np.sqrt(values.count()) if (n > 1).any() else groups[over_images].first()
    means["q"], means["n_subjects"] = groups["q"].max(), n
    means["n_normalised"], means["n_ceiling"] = groups[NORMALISED].count(), groups["r_ceiling"].count()
    means["n_possible"], means["complete"] = groups["n_possible"].first(), n == groups["n_compared"].first()
    means["n_tested"], means["n_significant"] = groups["tested"].sum(), groups["significant"].sum()
    means["stream"] = groups["stream"].first().where(groups["stream"].nunique() == 1, "")
    means["of_subjects"] = groups["of_subjects"].agg(tuple)
    return means.reset_index()


def errors_over(scores: pd.DataFrame) -> str:
    """Return what the standard errors of `over_subjects` are computed over: subjects, images, or empty for none."""
    if scores["r_se"].isna().all():
        return ""
    return "subjects" if (scores["n_subjects"] > 1).any() else "images"


def region_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model and region, with the chosen prompt, stream and layer, averaged over subjects."""
    best = best_by_training(chosen_layers(table), ["model_id", "subject", "roi"])
    return over_subjects(best, ["model_id", "roi"], ["roi"])


def prompt_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model, prompt and region, with the chosen stream and layer, averaged over subjects.

    `complete` is True for prompts that have all subjects which any prompt of the model has in the region.
    """
    best = best_by_training(chosen_layers(table), ["model_id", "prompt", "subject", "roi"])
    best = best.assign(prompted=best["prompt"].notna())
    return over_subjects(best, ["model_id", "prompt", "roi"], ["model_id", "prompted", "roi"])


def layer_choices(table: pd.DataFrame) -> pd.DataFrame:
    """Return the layers that were chosen on training images: a row for each model and region.

    Columns model_id, roi, stream, layers, depth, n_subjects. `stream` and `layers` list the choices of all subjects;
    `depth` is the mean of `layer_position` over subjects. The table is empty if layers are averaged.
    """
    best = best_by_training(chosen_layers(table), ["model_id", "subject", "roi"]).dropna(subset="layer")
    groups = best.groupby(["model_id", "roi"], sort=False, observed=True)
    found = {
        "stream": groups["stream"].agg(_listed),
        "layers": groups["layer"].agg(_listed),
        "depth": groups["layer_position"].mean(),
        "n_subjects": groups["subject"].nunique(),
    }
    return pd.DataFrame(found).reset_index()


def layer_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model, stream, layer and region: r averaged over prompts, then over subjects.

    Columns model_id, stream, roi, layer, layer_position, r, r_se (over subjects, missing for one), r_ceiling (missing
    unless every subject has it), n_subjects, n_possible, complete, chosen. A line is a model, stream and region.
    `complete` is True for layers that have all prompts and subjects of their line. `chosen` is True for the complete
    layer with the highest cv_score.
    """
    line = ["model_id", "stream", "roi"]
    key = [*line, "layer", "layer_position"]
    each = each_layer(table).dropna(subset="r")
    each = each.assign(
        n_possible=_subjects(each, ["roi"]).transform("nunique"), r_ceiling=each.get("r_ceiling", np.nan)
    )
    columns = ["r", "cv_score", "n_possible", "r_ceiling"]
    of_subject = each.groupby([*key, "subject"], sort=False, observed=True)[columns].mean().reset_index()
    groups = of_subject.groupby(key, sort=False, observed=True)
    means, n = groups[["r", "cv_score"]].mean(), groups["subject"].nunique()
    means["r_se"] = np.where(n > 1, groups["r"].std() / np.sqrt(n), np.nan)
    means["n_subjects"], means["n_possible"] = n, groups["n_possible"].first().astype(int)
    means["r_ceiling"] = groups["r_ceiling"].mean().where(groups["r_ceiling"].count() == n)
    means["n_scores"] = each.groupby(key, sort=False, observed=True).size()
    means = means.reset_index().sort_values("layer")
    of_line = each.drop_duplicates([*line, "subject", "prompt"]).groupby(line, observed=True).size()
    means["complete"] = means["n_scores"].to_numpy() == of_line.loc[pd.MultiIndex.from_frame(means[line])].to_numpy()
    best = best_by_training(means[means["complete"]], line)[[*line, "layer"]]
    means = means.merge(best.assign(chosen=True), how="left")
    return means.assign(chosen=means["chosen"].notna()).drop(columns="n_scores")


def at_a_glance(table: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model: r over all fitted voxels, the most frequent stream and prompt, and its best region.

    scores  result of `region_scores`

    Columns model_id, r, r_se, r_normalised_all_voxels, n_subjects, n_normalised, n_possible, stream, prompt, roi,
    roi_r. The best model comes first, and models that lack subjects come last. The best region has the highest cv_score
    among those with the most subjects. Regions with constant responses are left out, because they are predicted without
    error. The table is empty if there is no region of all voxels.
    """
    of_all = scores[scores["roi"].isin(ALL_VOXELS)].set_index("model_id")
    chosen = best_by_training(chosen_layers(table[table["roi"].isin(ALL_VOXELS)]), ["model_id", "subject"])
    regions = scores[~scores["roi"].isin(ALL_VOXELS) & scores["r"].notna() & (scores["r"] != 0)]
    copied = ["r", "r_se", NORMALISED, "n_subjects", "n_normalised", "n_possible"]
    rows = []
    for model, score in of_all.sort_values(["complete", "r"], ascending=False).iterrows():
        own = chosen[chosen["model_id"] == model]
        stream, prompt = own[["stream", "prompt"]].value_counts(dropna=False).index[0]
        row = {"model_id": model, **score[copied], "stream": stream, "prompt": prompt}
        best = regions[regions["model_id"] == model]
        best = best[best["n_subjects"] == best["n_subjects"].max()].sort_values("cv_score").tail(1)
        rows.append(row | {"roi": "".join(best["roi"]), "roi_r": best["r"].sum() if len(best) else np.nan})
    return pd.DataFrame(rows, columns=["model_id", *copied, "stream", "prompt", "roi", "roi_r"])


def _listed(values: pd.Series) -> str:
    return ", ".join(map(str, sorted(values.unique())))


def _subjects(rows: pd.DataFrame, key: list[str]):
    return rows.groupby(key, sort=False, dropna=False, observed=True)["subject"]
