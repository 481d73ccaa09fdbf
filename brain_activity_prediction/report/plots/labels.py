"""Make names and notes for figures: of regions and their families, models, prompts and files."""

import hashlib
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from brain_activity_prediction.datasets.nsd.regions import LABELS
from brain_activity_prediction.datasets.roi_families import FAMILIES as ROI_FAMILIES
from brain_activity_prediction.encoding.tables.layer_figure import shown_name
from brain_activity_prediction.extract_image_embeddings.prompts import NAMES, PROMPTS
from brain_activity_prediction.report.tables.averages import ALL_VOXELS

FAMILIES = {
    "prf-visualrois": "Retinotopic areas",
    "floc-faces": "Faces",
    "floc-bodies": "Bodies",
    "floc-places": "Places",
    "floc-words": "Words",
    "streams": "Streams of visual cortex",
    "prf-eccrois": "Eccentricity",
}
DIFFERENCE_OF = "difference of "  # begins the unit of a difference
MEANINGS = {  # explanation of each unit of a map
    "layer": "Layer with the highest score on training images.",
    "prompt": "Prompt with the highest score on training images.",
    "r": "r: correlation on held-out images.",
    "r / ceiling": "r / ceiling: correlation on held-out images divided by its noise ceiling, if this is high enough.",
    "subjects with q < 0.05": "q: permutation test of r in each voxel, adjusted over all voxels of the subject (FDR).",
    "t": "t: mean over subjects, divided by its standard error, where all subjects have a value.",
    "R²": "R²: share of the variance of responses to held-out images.",
}
LONGEST_SLUG_BYTES = 60
LONGEST_PROMPT = 24  # in characters


def families(regions: Sequence[str]) -> dict[str, list[str]]:
    """Group regions by their ROI file, in NSD's order; the region of all voxels and other regions come last."""
    found = {title: [roi for roi in LABELS[name] if roi in regions] for name, title in FAMILIES.items()}
    found["Families of regions"] = [roi for roi in ROI_FAMILIES if roi in regions]
    known = {roi for members in found.values() for roi in members}
    found["All fitted voxels"] = [roi for roi in regions if roi in ALL_VOXELS]
    found["Other regions"] = [roi for roi in regions if roi not in known | set(ALL_VOXELS)]
    return {title: members for title, members in found.items() if members}


def region_labels(regions: Sequence[str], scores: pd.DataFrame) -> list[str]:
    """Return the labels of regions: the name and, if a region has fewer subjects than others, their number."""
    n = scores.groupby("roi")["n_possible"].max()
    names = {roi: shown_name(roi) for roi in regions}
    return [f"{names[roi]} (n = {n[roi]})" if roi in n and n[roi] < n.max() else names[roi] for roi in regions]


def short_models(models: Sequence[str]) -> dict[str, str]:
    """Return each model's id without its organisation, or the whole id if two models would have the same name."""
    short = {model: shown_name(model.rpartition("/")[2]) for model in models}
    shared = {name for name in short.values() if list(short.values()).count(name) > 1}
    return {model: shown_name(model) if name in shared else name for model, name in short.items()}


def prompt_labels(prompts: Mapping[int, str]) -> dict[int, str]:
    """Return a name for each prompt: its task if it is one of this project's prompts, else the start of its text.

    prompts  {number: text}; the text is empty if it was not recorded
    """
    return {number: _prompt_label(number, text) for number, text in prompts.items()}


def _prompt_label(number: int, text: str) -> str:
    if text == PROMPTS.get(number):
        return NAMES[number]
    if not text:
        return f"prompt {number}"
    return shown_name(text if len(text) <= LONGEST_PROMPT else f"{text[: LONGEST_PROMPT - 1]}…")


def highest(scores: pd.DataFrame, description: str) -> str:
    """Return a sentence on the highest r, among the complete scores with the most subjects."""
    ranked = scores[scores["complete"] & (scores["n_subjects"] == scores["n_subjects"].max())]
    if ranked["r"].isna().all():
        return "They are from different subjects, so they are not ranked."
    best = ranked.loc[ranked["r"].idxmax()]
    return f"The highest is {best['r']:.2f}, {description.format(**best)}."


def subjects_note(scores: pd.DataFrame) -> str:
    """Return a sentence on the number of subjects n, which is the largest one if n differs within the figure."""
    n = int(scores["n_subjects"].max())
    rest = " unless another n is given" if (scores["n_subjects"] < n).any() else ""
    return f"n = {n} subject{'s' * (n > 1)}{rest}."


def map_note(unit: str, averaged: bool) -> str:
    """Return what the values of a map mean, ending in a space; `averaged` for means over subjects."""
    means = averaged and "Means: over the subjects with a value there, at least half of all."
    parts = [MEANINGS.get(unit.removeprefix(DIFFERENCE_OF)), means]
    return "".join(f"{part} " for part in parts if part)


def slug(text: str) -> str:
    """Convert a text to a file name of letters, digits, - and _; if this could be ambiguous, add a digest."""
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)
    if len(name.encode()) <= LONGEST_SLUG_BYTES and not re.search(r"[^\w /.:-]", text):
        return name
    return (
        f"{name.encode()[:LONGEST_SLUG_BYTES].decode(errors='ignore')}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    )
