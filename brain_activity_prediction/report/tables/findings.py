"""Answer each question of a report in one or two sentences, using only its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from brain_activity_prediction.encoding.scores.conditions import NORMALISED
from brain_activity_prediction.report.answers import Answered
from brain_activity_prediction.report.tables.averages import (
    ALL_VOXELS,
    SIGNIFICANT,
    best_by_training,
    chosen_layers,
)
from brain_activity_prediction.report.tables.page_tables import number
from brain_activity_prediction.runtime.wording import are, count

N_ANALYSES = 3  # largest number of variance partitionings that are described


def main_region(scores: pd.DataFrame) -> str:
    """Return the region that the sentences describe: all fitted voxels, or else the region with the best cv_score."""
    whole = [roi for roi in scores["roi"].unique() if roi in ALL_VOXELS]
    return whole[0] if whole else str(scores.groupby("roi")["cv_score"].mean().idxmax())


def over(roi: str) -> str:
    """Return the region of a mean in words: `over all fitted voxels`, or `in V1v`."""
    return "over all fitted voxels" if roi in ALL_VOXELS else f"in {roi}"


def ranked(scores: pd.DataFrame, roi: str) -> pd.DataFrame:
    """Return the complete means of a region, ordered by mean r, highest first."""
    rows = scores[(scores["roi"] == roi) & scores["complete"] & scores["r"].notna()]
    return rows.sort_values("r", ascending=False, kind="stable")


def how_well(scores: pd.DataFrame, errors_over: str) -> str:
    """State the highest mean r, also relative to the noise ceiling. `scores` is from `averages.region_scores`."""
    roi = main_region(scores)
    rows = ranked(scores, roi)
    if rows.empty:
        return ""
    best, place = rows.iloc[0], _capital(over(roi))
    error = "" if pd.isna(best["r_se"]) else f" (SE {number(best['r_se'])} over {errors_over})"
    ceiling = "" if pd.isna(best[NORMALISED]) else f", {number(best[NORMALISED], 2)} of the noise ceiling"
    r = f"{number(best['r'])}{error}{ceiling}"
    if len(rows) == 1:
        return f"{place}, {best['model_id']} predicts held-out responses with a mean r of {r}."
    others = f"The {len(rows)} models range from {number(rows['r'].min())} to {number(best['r'])}."
    return f"{place}, {best['model_id']} predicts held-out responses best: mean r is {r}. {others}"


def where(scores: pd.DataFrame) -> str:
    """State the region that the best model predicts best, and the number of regions that it predicts above chance."""
    best = ranked(scores, main_region(scores))["model_id"].head(1)
    own = scores[scores["model_id"].isin(best) & ~scores["roi"].isin(ALL_VOXELS)]
    own = own[own["r"].notna() & (own["r"] != 0)]  # constant responses are predicted without error
    if own.empty:
        return ""
    top = own[own["n_subjects"] == own["n_subjects"].max()].sort_values("cv_score").iloc[-1]
    text = f"By training scores, {top['model_id']} is best in {top['roi']}; held-out r is {number(top['r'])} there."
    tested = own[own["n_tested"] > 0]
    if len(tested):
        n = int((tested["n_significant"] == tested["n_subjects"]).sum())
        text += f" It is above chance (q < {SIGNIFICANT:g}) in every subject in {n} of {count(len(tested), 'region')}."
    return text


def which_layer(choices: pd.DataFrame, scores: pd.DataFrame) -> str:
    """State the layers chosen on training images for the best model. `choices` is from `averages.layer_choices`."""
    roi = main_region(scores)
    own = choices[(choices["roi"] == roi) & choices["depth"].notna()].set_index("model_id")
    models = [model for model in ranked(scores, roi)["model_id"] if model in own.index]
    if not models:
        return ""
    best = own.loc[models[0]]
    layers = f"layer{'s' if ',' in best['layers'] else ''} {best['layers']} of {best['stream']}"
    depth = f"mean depth {number(best['depth'], 2)}"
    text = f"{_capital(over(roi))}, training images choose {layers} for {models[0]} ({depth})."
    if len(models) > 1:
        low, high = (number(depth, 2) for depth in own.loc[models, "depth"].agg(["min", "max"]))
        n = f"{len(models)} models"
        text += f" All {n} have this depth." if low == high else f" The {n} range from depth {low} to {high}."
    return text


def which_prompt(by_prompt: pd.DataFrame, scores: pd.DataFrame) -> str:
    """State each model's prompts with the highest and lowest mean r. `by_prompt` is from `averages.prompt_scores`."""
    roi, parts = main_region(scores), []
    rows = by_prompt[(by_prompt["roi"] == roi) & by_prompt["complete"] & by_prompt["prompt"].notna()]
    for model, own in rows.dropna(subset="r").groupby("model_id"):
        if len(own) > 1:
            high, low = (own.loc[own["r"].agg(which)] for which in ("idxmax", "idxmin"))
            parts.append(
                f"{model} has {number(high['r'])} under prompt {high['prompt']} "
                f"and {number(low['r'])} under prompt {low['prompt']}"
            )
    if parts:
        return f"Highest and lowest mean r {over(roi)}: {'; '.join(parts)}."
    return f"Scores are of one prompt, {rows['prompt'].iloc[0]}." if rows["prompt"].nunique() == 1 else ""


def which_model(table: pd.DataFrame, scores: pd.DataFrame) -> str:
    """State the paired difference between the best two models, and in how many regions the best leads."""
    roi = main_region(scores)
    models = ranked(scores, roi)["model_id"].tolist()
    if len(models) < 2:
        return ""
    first, second = models[:2]
    best = best_by_training(chosen_layers(table[table["roi"] == roi]), ["model_id", "subject"])
    r = best.set_index(["subject", "model_id"])["r"].unstack()
    lead = (r[first] - r[second]).dropna()
    error = f"SE {number(lead.sem())}, paired over {count(len(lead), 'subject')}" if len(lead) > 1 else "one subject"
    text = f"{_capital(over(roi))}, {first} leads {second}, the next, by {number(lead.mean())} ({error})."
    parts = scores[~scores["roi"].isin(ALL_VOXELS)]
    leaders = [rows["model_id"].iloc[0] for name in parts["roi"].unique() if len(rows := ranked(parts, name)) > 1]
    if leaders:
        text += f" It has the highest mean r in {leaders.count(first)} of {count(len(leaders), 'region')}."
    return text


def what_is_shared(shares: pd.DataFrame) -> str:
    """State the parts of each variance partitioning in one region. `shares` is from `shares_over_subjects`."""
    texts = []
    for analysis, rows in list(shares.groupby("analysis", sort=False))[:N_ANALYSES]:
        names = rows["roi"].unique()
        roi = next((name for name in names if name in ALL_VOXELS), names[0])
        own = rows[rows["roi"] == roi]
        parts = [
            f"{'shared by ' if '+' in part else ''}{part}{'' if '+' in part else ' alone'} {number(r2)}"
            for part, r2 in zip(own["spaces"], own["r2"], strict=True)
        ]
        total = number(own["r2"].sum())
        spaces = f"the feature spaces of {analysis} predict R² = {total} together"
        texts.append(f"{_capital(over(roi))}, {spaces}: {', '.join(parts)}.")
    return " ".join(texts)


def what_answers(answers: Sequence[Answered]) -> str:
    """State the number of answers, models and images that the page shows."""
    given = [answer for one in answers for answer in one.answers]
    n_models = len({model for model, _, _ in given})
    shown = f"The page shows {count(len(given), 'answer')} of {count(n_models, 'model')}"
    return f"{shown} to {count(len(answers), 'test image')}." if given else ""


def can_it_be_trusted(table: pd.DataFrame, held_out: Mapping, n_missing: int) -> str:
    """State the number of significant tests, the noise ceiling, the number of test images and of missing results."""
    rows = chosen_layers(table)
    tested = rows["q"].dropna()
    if len(tested):
        n = int((tested < SIGNIFICANT).sum())
        texts = [f"r is above chance (q < {SIGNIFICANT:g}) in {n:,} of {count(len(tested), 'tested score')}."]
    else:
        texts = ["No score was tested for significance."]
    whole = rows[rows["roi"].isin(ALL_VOXELS)].drop_duplicates("subject")
    ceilings = whole["r_ceiling"].dropna() if "r_ceiling" in whole else whole["r"].head(0)
    if len(ceilings):
        texts.append(f"The noise ceiling of r over all fitted voxels is {number(ceilings.mean(), 2)}.")
    if held_out:
        low, high = min(held_out.values()), max(held_out.values())
        texts.append(f"Scores are from {low:,}{'' if low == high else f' to {high:,}'} held-out images.")
    if n_missing:
        texts.append(f"{count(n_missing, 'item')} {are(n_missing)} missing.")
    return " ".join(texts)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
