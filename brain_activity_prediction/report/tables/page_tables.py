"""Format the tables of a report's page: headings and cells as text, which the page can sort and save."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

Heading = tuple[str, bool]  # text, and whether the column is numeric


@dataclass(frozen=True)
class PageTable:
    """A table of the page. All cells are text; the first `n_names` cells of a row identify it."""

    title: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[str]]
    n_names: int = 1
    note: str = ""


def words(*names: str) -> list[Heading]:
    return [(name, False) for name in names]


def numbers(*names: str) -> list[Heading]:
    return [(name, True) for name in names]


def models_table(glance: pd.DataFrame) -> PageTable:
    """Return the summary of models, from `averages.at_a_glance`."""
    headings = words("Model") + numbers("r", "SE", "r / ceiling", "Subjects") + words("Stream") + numbers("Prompt")
    headings += words("Best region in training") + numbers("r there, held out")
    rows = [
        (
            *(row.model_id, number(row.r), number(row.r_se), normalised(row), out_of(row.n_subjects, row.n_possible)),
            *(row.stream, number(row.prompt, 0), row.roi or "–", number(row.roi_r)),
        )
        for row in glance.itertuples()
    ]
    note = (
        "Means over all fitted voxels and subjects. The best region has the highest score on training images. "
        "Models that lack subjects come last."
    )
    return PageTable("Models", headings, rows, note=note)


def regions_table(scores: pd.DataFrame, regions: Sequence[str]) -> PageTable:
    """Return the table of the values in the bar figures, from `averages.region_scores`."""
    headings = words("Region", "Model") + numbers("r", "SE", "r / ceiling", "SE of r / ceiling", "ceiling of r")
    headings += numbers("Voxels", "Subjects", "Significant", "Largest q")
    rows = [
        (
            *(row.roi, row.model_id, number(row.r), number(row.r_se), normalised(row)),
            number(row.r_normalised_all_voxels_se),
            number(row.r_ceiling) + having(row.n_ceiling, row.n_subjects),
            *(number(row.n_voxels, 0), out_of(row.n_subjects, row.n_possible)),
            *(str(row.n_significant) if row.n_tested else "–", number(row.q, 4)),
        )
        for row in in_order(scores, regions).itertuples()
    ]
    return PageTable("Regions", headings, rows, 2, "All columns except the number of voxels are means over subjects.")


def chosen_layers_table(choices: pd.DataFrame, regions: Sequence[str]) -> PageTable:
    """Return the table of layers chosen on training images, from `averages.layer_choices`."""
    headings = words("Region", "Model", "Stream") + numbers("Layers", "Mean depth", "Subjects")
    rows = [
        (row.roi, row.model_id, row.stream, row.layers, number(row.depth, 2), str(row.n_subjects))
        for row in in_order(choices, regions).itertuples()
    ]
    return PageTable("Chosen layers", headings, rows, 2)


def prompts_table(by_prompt: pd.DataFrame, regions: Sequence[str]) -> PageTable:
    """Return the table of mean r by prompt, from `averages.prompt_scores`: a row for each model and region."""
    prompted = by_prompt[by_prompt["prompt"].notna()]
    prompts = sorted(prompted["prompt"].unique())
    cells = {
        (row.roi, row.model_id, row.prompt): number(row.r) + having(row.n_subjects, row.n_possible)
        for row in prompted.itertuples()
    }
    pairs = in_order(prompted, regions)[["roi", "model_id"]].drop_duplicates().itertuples(index=False, name=None)
    rows = [(*pair, *(cells.get((*pair, prompt), "–") for prompt in prompts)) for pair in pairs]
    headings = words("Region", "Model") + numbers(*(f"Prompt {prompt}" for prompt in prompts))
    return PageTable("Mean r under each prompt", headings, rows, 2)


def wordings_table(wordings: dict[int, str]) -> PageTable:
    """Return the table of the prompts' texts."""
    rows = [(str(prompt), wording or "not recorded") for prompt, wording in wordings.items()]
    return PageTable("Text of the prompts", words("Prompt", "Text"), rows)


def protocols_table(both: pd.DataFrame, regions: Sequence[str]) -> PageTable:
    """Return the table of both protocols, from `protocol_comparison.compared_protocols`."""
    headings = words("Region", "Model") + numbers("Subjects", "r, standard, best layer", "r, paper, average")
    headings += numbers("paper − standard", "SE")
    rows = [
        (row.roi, row.model_id, str(row.n_subjects), *map(number, (row.standard, row.paper, row.difference, row.se)))
        for row in in_order(both, regions).itertuples()
    ]
    return PageTable("Both protocols", headings, rows, 2)


def shares_table(shares: pd.DataFrame) -> PageTable:
    """Return the table of the parts of all variance partitionings, from `variance.shares_over_subjects`."""
    headings = words("Analysis", "Region", "Part", "Spaces") + numbers("R²", "SE", "R², cross-validated", "Subjects")
    rows = [
        (
            *(row.analysis, row.roi, row.spaces, row.names, number(row.r2), number(row.r2_se), number(row.cv_r2)),
            out_of(row.n_subjects, row.n_possible),
        )
        for row in shares.itertuples()
    ]
    note = "A part is the variance that these spaces, and no others, predict."
    return PageTable("Parts of the variance", headings, rows, 3, note)


def data_table(data_used: pd.DataFrame) -> PageTable:
    """Return the table of each subject's data, from `contents.data_used`."""
    headings = numbers("Subject", "Sessions", "Training images", "Test images", "Trials of a test image")
    headings += numbers("Voxels scored")
    rows = [
        (
            *(str(row.subject), str(row.n_sessions), f"{row.n_train:,}", f"{row.n_test:,}"),
            *(number(row.test_repeats_mean, 2), f"{row.n_voxels:,}"),
        )
        for row in data_used.itertuples()
    ]
    return PageTable("Data behind the scores", headings, rows)


def settings_table(settings: Iterable[tuple[str, Sequence[tuple[str, int]]]]) -> PageTable:
    """Return the table of all values of each setting, from `contents.values_of_settings`."""
    rows = [(name, value, str(n)) for name, values in settings for value, n in values]
    return PageTable("Settings", words("Setting", "Value") + numbers("Tables"), rows)


def in_order(rows: pd.DataFrame, regions: Sequence[str]) -> pd.DataFrame:
    """Return the rows of these regions, in the order of `regions`."""
    places = {roi: place for place, roi in enumerate(regions)}
    return rows[rows["roi"].isin(places)].sort_values("roi", key=lambda names: names.map(places), kind="stable")


def out_of(n: int, of_all: int) -> str:
    """Return `3`, or `3 of 4` if some are missing."""
    return str(n) if n == of_all else f"{n} of {of_all}"


def having(n: int, of_all: int) -> str:
    """Return ` (n = 3)` for a mean that lacks subjects; empty for others."""
    return f" (n = {n})" if n and n != of_all else ""


def normalised(row) -> str:
    """Return r / ceiling of a row, with the number of subjects if it is missing in some."""
    return number(row.r_normalised_all_voxels) + having(row.n_normalised, row.n_subjects)


def number(value: float, digits: int = 3) -> str:
    """Format a number with a true minus sign; a missing number becomes a dash."""
    return "–" if value is None or pd.isna(value) else f"{value:.{digits}f}".replace("-", "−")


def cell(value) -> str:
    """Format a value: numbers with three decimals, a dash for a missing value."""
    if pd.isna(value):
        return "–"
    if not isinstance(value, float) or value.is_integer():
        return str(value).removesuffix(".0")
    return "< 0.001" if 0 < value < 0.0005 else number(value)
