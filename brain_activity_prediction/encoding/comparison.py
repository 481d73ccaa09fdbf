"""Compare models, prompts and streams of one subject, region by region, on the same resamples of the test images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from brain_activity_prediction.encoding.layers import Stream
from brain_activity_prediction.encoding.scores.conditions import (
    CONDITION,
    ComparisonSettings,
    Condition,
    read_conditions,
)
from brain_activity_prediction.inference.false_discovery import adjusted
from brain_activity_prediction.inference.resampling import interval, standard_error, two_sided_p
from brain_activity_prediction.runtime.errors import InputError, one_line
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.folders import subject_folder
from brain_activity_prediction.storage.table_files import write_table

COLUMNS = (
    *("protocol", "subject", "layer_choice", "roi", "n_voxels"),
    *(f"{name}_{side}" for side in "ab" for name in CONDITION),
    *("r_a", "r_b", "difference", "se", "ci_low", "ci_high", "p", "q", "n_resamples"),
    *(f"r_normalised_all_voxels_{side}" for side in "ab"),
    *(f"difference_normalised{end}" for end in ("", "_se", "_ci_low", "_ci_high")),
)


def compare(settings: ComparisonSettings) -> None:
    """Write the table of differences between all pairs of conditions, and print it."""
    conditions = read_conditions(settings)
    if len(conditions) < 2:
        raise InputError(f"only {conditions[0]} is selected: name two or more models, prompts or streams")
    log_regions_left_out(conditions)
    table = differences(conditions, settings)
    folder = subject_folder(settings.output, settings.subject, settings.protocol) / "comparisons"
    write_table(table, folder, settings.name)
    print(as_text(table))
    print(f"\ntables: {folder}/ {settings.name}.csv, {settings.name}.parquet")


def log_regions_left_out(conditions: Sequence[Condition]) -> None:
    """Warn of regions whose voxels differ within a pair of conditions; raise InputError if a pair shares no region."""
    left_out: dict[str, None] = {}
    for a, b in combinations(conditions, 2):
        common = dict(a.regions.items() & b.regions.items())
        if not common:
            raise InputError(f"{a} and {b} have no region with the same voxels: align both with the same --roi")
        left_out |= dict.fromkeys(name for name in (*a.regions, *b.regions) if name not in common)
    if left_out:
        log.warning(
            "some pairs are not compared in these regions, because only one side of the pair has the region, or its "
            f"voxels differ: {', '.join(left_out)}"
        )


def differences(conditions: Sequence[Condition], settings: ComparisonSettings) -> pd.DataFrame:
    """Compare conditions, such as two models, in every region that both have.

    Returns one row for each pair and region, with the columns COLUMNS. `difference` is r_a - r_b. Its standard error,
    95 % interval and two-sided p come from a bootstrap over test images, with the same resamples for both conditions. q
    is p adjusted over the rows with the same number of resamples (Benjamini and Hochberg). To compare regions, use
    difference_normalised, the difference of r_normalised_all_voxels.
    """
    parts = []
    for a, b in combinations(conditions, 2):
        shared_regions = dict(a.regions.items() & b.regions.items())
        regions = [name for name in a.regions if name in shared_regions]
        of_a, of_b = ([list(condition.regions).index(name) for name in regions] for condition in (a, b))
        r_a, r_b = a.r[of_a], b.r[of_b]
        normal_a, normal_b = a.r_normalised[of_a], b.r_normalised[of_b]
        n_resamples = min(len(a.resampled), len(b.resampled))
        resampled = a.resampled[:n_resamples, of_a] - b.resampled[:n_resamples, of_b]
        low, high = interval(resampled)
        moved = a.normalised_resampled[:n_resamples, of_a] - b.normalised_resampled[:n_resamples, of_b]
        moved_low, moved_high = interval(moved)
        parts.append(
            pd.DataFrame(
                {
                    **{f"{name}_a": getattr(a, name) for name in CONDITION},
                    **{f"{name}_b": getattr(b, name) for name in CONDITION},
                    **{"roi": regions, "n_voxels": a.n_voxels[of_a], "r_a": r_a, "r_b": r_b, "difference": r_a - r_b},
                    **{"se": standard_error(resampled), "ci_low": low, "ci_high": high, "p": two_sided_p(resampled)},
                    "n_resamples": n_resamples,
                    **{"r_normalised_all_voxels_a": normal_a, "r_normalised_all_voxels_b": normal_b},
                    **{"difference_normalised": normal_a - normal_b, "difference_normalised_se": standard_error(moved)},
                    **{"difference_normalised_ci_low": moved_low, "difference_normalised_ci_high": moved_high},
                }
            ).astype({"prompt_a": "Int64", "prompt_b": "Int64"})
        )
    table = pd.concat(parts, ignore_index=True).assign(
        protocol=settings.protocol, subject=settings.subject, layer_choice=settings.layer_choice
    )
    return table.assign(q=table.groupby("n_resamples")["p"].transform(adjusted)).reindex(columns=COLUMNS)


def as_text(table: pd.DataFrame) -> str:
    """Format the table for the terminal: a block for each pair, with a line for each region."""
    lines = []
    for _, rows in table.groupby([f"{name}_{side}" for side in "ab" for name in CONDITION], sort=False, dropna=False):
        lines.append(f"{_label(rows, 'a')}  -  {_label(rows, 'b')}")
        lines.append(f"  {'region':<16} {'r':>7} {'r':>7} {'difference':>10} {'95 % interval':>17} {'p':>6} {'q':>6}")
        for row in rows.itertuples():
            ends = f"{row.ci_low:+.3f} to {row.ci_high:+.3f}"
            scores = f"{row.r_a:>7.3f} {row.r_b:>7.3f} {row.difference:>+10.3f} {ends:>17} {row.p:>6.3f} {row.q:>6.3f}"
            lines.append(f"  {row.roi:<16} {scores}")
    return "\n".join(map(one_line, lines))


def _label(rows: pd.DataFrame, side: str) -> str:
    model_id, prompt, stream = (rows[f"{name}_{side}"].iloc[0] for name in CONDITION)
    return str(Stream(model_id, None if pd.isna(prompt) else prompt, stream))
