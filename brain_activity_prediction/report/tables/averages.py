"""Rows of scores to the numbers that figures show: the layer chosen on training images, then means over subjects.

Whatever is chosen among (layers, streams, prompts) is chosen for each subject and region by `cv_score`, a score of
training images, and what is then shown of the choice are scores of held-out images. A mean over subjects knows of how
many it is, and of how many others are that it stands beside.
"""

import numpy as np
import pandas as pd

from brain_activity_prediction.encoding.protocols import SETS
from brain_activity_prediction.encoding.scores.layer_choice import BEST_PER_REGION, EACH

KEY = ["model_id", "prompt", "stream", "subject", "roi"]
ALL_VOXELS = "nsdgeneral"
SIGNIFICANT = 0.05  # q below it, the expected share of false ones among what is marked
NORMALISED = "r_normalised_all_voxels"
ERRORS = {"r": "r_se", NORMALISED: f"{NORMALISED}_se"}  # columns of standard errors over images
MEANS = ("r", "cv_score", NORMALISED, "noise_ceiling", "r_ceiling", "n_voxels")


def each_layer(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of single layers."""
    return table[table["layer_choice"] == EACH]


def layer_choice(protocol: str) -> str:
    """The `layer_choice` of the rows that speak for a model under a protocol."""
    return SETS[protocol].get("layers", BEST_PER_REGION)


def chosen_layers(table: pd.DataFrame) -> pd.DataFrame:
    """The row that speaks for each of KEY, in a table of any protocols."""
    return table[table["layer_choice"] == table["protocol"].map(layer_choice)]


def best_by_training(rows: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """The row with the highest cv_score within each group."""
    rows = rows.dropna(subset="cv_score").reset_index(drop=True)
    return rows.loc[rows.groupby(key, sort=False, dropna=False, observed=True)["cv_score"].idxmax()]


def over_subjects(rows: pd.DataFrame, key: list[str], compared: list[str]) -> pd.DataFrame:
    """Means over subjects of one row a subject within each group of `key`; columns key, MEANS and those below.

    n_subjects               subjects averaged
    n_normalised, n_ceiling  those of them that r_normalised_all_voxels and r_ceiling are of
    n_possible               subjects in whom the region has any score
    complete                 whether it has all subjects that rows with the same `compared` have: only such are ranked
    r_se, r_normalised_all_voxels_se
                             standard errors over subjects, missing for one; where no mean is of several, over images
    n_tested                 subjects with a q
    n_significant            subjects whose q is below SIGNIFICANT
    """
    rows = rows.assign(**{name: rows.get(name, np.nan) for name in (*MEANS, *ERRORS.values())}).dropna(subset="r")
    rows = rows.assign(
        tested=rows["q"].notna(),
        significant=rows["q"] < SIGNIFICANT,
        n_possible=_subjects(rows, ["roi"]).transform("nunique"),
        n_compared=_subjects(rows, compared).transform("nunique"),
    )
    groups = rows.groupby(key, sort=False, dropna=False, observed=True)
    means, n = groups[list(MEANS)].mean(), groups["subject"].nunique()
    for name, over_images in ERRORS.items():
        of = groups[name]
        means[over_images] = of.std() / np.sqrt(of.count()) if (n > 1).any() else groups[over_images].first()
    means["q"], means["n_subjects"] = groups["q"].max(), n
    means["n_normalised"], means["n_ceiling"] = groups[NORMALISED].count(), groups["r_ceiling"].count()
    means["n_possible"], means["complete"] = groups["n_possible"].first(), n == groups["n_compared"].first()
    means["n_tested"], means["n_significant"] = groups["tested"].sum(), groups["significant"].sum()
    return means.reset_index()


def errors_over(scores: pd.DataFrame) -> str:
    """What the errors of `over_subjects` vary over, all alike: subjects or photographs; empty where there are none."""
    if scores["r_se"].isna().all():
        return ""
    return "subjects" if (scores["n_subjects"] > 1).any() else "photographs"


def region_scores(table: pd.DataFrame) -> pd.DataFrame:
    """A row a model and region: the prompt, stream and layer chosen on training images, averaged over subjects."""
    best = best_by_training(chosen_layers(table), ["model_id", "subject", "roi"])
    return over_subjects(best, ["model_id", "roi"], ["roi"])


def prompt_scores(table: pd.DataFrame) -> pd.DataFrame:
    """A row a model, prompt and region: stream and layer chosen on training images, averaged over subjects.

    `complete` are prompts that have all subjects which any prompt of the model has in the region.
    """
    best = best_by_training(chosen_layers(table), ["model_id", "prompt", "subject", "roi"])
    best = best.assign(prompted=best["prompt"].notna())
    return over_subjects(best, ["model_id", "prompt", "roi"], ["model_id", "prompted", "roi"])


def layer_scores(table: pd.DataFrame) -> pd.DataFrame:
    """A row a model, stream, layer and region: r averaged over prompts, then over subjects; `chosen` marks one layer.

    Columns model_id, stream, roi, layer, layer_position, r, r_se (over subjects, missing for one), n_subjects,
    n_possible, complete, chosen. `complete` are layers with every prompt and subject that the line has, of which one is
    chosen.
    """
    line = ["model_id", "stream", "roi"]
    key = [*line, "layer", "layer_position"]
    each = each_layer(table).dropna(subset="r")
    each = each.assign(n_possible=_subjects(each, ["roi"]).transform("nunique"))
    columns = ["r", "cv_score", "n_possible"]
    of_subject = each.groupby([*key, "subject"], sort=False, observed=True)[columns].mean().reset_index()
    groups = of_subject.groupby(key, sort=False, observed=True)
    means, n = groups[["r", "cv_score"]].mean(), groups["subject"].nunique()
    means["r_se"] = np.where(n > 1, groups["r"].std() / np.sqrt(n), np.nan)
    means["n_subjects"], means["n_possible"] = n, groups["n_possible"].first().astype(int)
    means["n_scores"] = each.groupby(key, sort=False, observed=True).size()
    means = means.reset_index().sort_values("layer")
    of_line = each.drop_duplicates([*line, "subject", "prompt"]).groupby(line, observed=True).size()
    means["complete"] = means["n_scores"].to_numpy() == of_line.loc[pd.MultiIndex.from_frame(means[line])].to_numpy()
    best = best_by_training(means[means["complete"]], line)[[*line, "layer"]]
    means = means.merge(best.assign(chosen=True), how="left")
    return means.assign(chosen=means["chosen"].notna()).drop(columns="n_scores")


def at_a_glance(table: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """A row a model: r over all fitted voxels, what most subjects chose for it, and the region that it fits best.

    Columns model_id, r, r_se, r_normalised_all_voxels, n_subjects, n_normalised, n_possible, stream, prompt, roi,
    roi_r. Best first, models that lack subjects after those that do not. The region is the one with the highest
    cv_score among those with the most subjects, and with responses that vary: those that never do are predicted without
    an error.
    `scores` as `region_scores` gives them. Empty where all voxels together are not among the regions.
    """
    of_all = scores[scores["roi"] == ALL_VOXELS].set_index("model_id")
    chosen = best_by_training(chosen_layers(table[table["roi"] == ALL_VOXELS]), ["model_id", "subject"])
    regions = scores[(scores["roi"] != ALL_VOXELS) & scores["r"].notna() & (scores["r"] != 0)]
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


def _subjects(rows: pd.DataFrame, key: list[str]):
    return rows.groupby(key, sort=False, dropna=False, observed=True)["subject"]
