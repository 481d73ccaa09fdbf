"""Write tables of scores over several subjects: means, and differences between conditions."""

import pandas as pd

from brain_activity_prediction.cross_subject.ceiling_columns import with_cross_subject_ceiling
from brain_activity_prediction.cross_subject.group_statistics import differences, means
from brain_activity_prediction.cross_subject.selected_scores import (
    GroupSettings,
    check_comparable,
    read_scores,
    select_scores,
    stream_of,
)
from brain_activity_prediction.encoding.scores.conditions import CONDITION
from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.folders import across_subjects_folder
from brain_activity_prediction.storage.table_files import write_table

MOST_PAIRS = 300


def write_group_tables(settings: GroupSettings) -> None:
    """Write tables of means and, for up to MOST_PAIRS pairs of conditions, of differences; print the means."""
    scores = select_scores(read_scores(settings), settings)
    n_conditions = len(scores[list(CONDITION)].drop_duplicates())
    n_pairs = n_conditions * (n_conditions - 1) // 2
    compared = 0 < n_pairs <= MOST_PAIRS
    if compared:
        check_comparable(scores)
    folder = across_subjects_folder(settings.output, settings.protocol)
    scores = with_cross_subject_ceiling(scores, across_subjects_folder(settings.output))
    table = means(scores)
    write_table(table, folder, "scores")
    print(as_text(table[table["layer_choice"] == settings.layer_choice]))
    if n_pairs > MOST_PAIRS:
        log.warning(f"no table of differences, since there are {n_pairs} pairs; select fewer with -m, -p and --stream")
    elif compared:
        write_table(differences(scores[scores["layer_choice"] == settings.layer_choice]), folder, "differences")
    print(f"\ntables: {folder}/ scores.csv, scores.parquet" + (", differences.*" if compared else ""))


def as_text(table: pd.DataFrame) -> str:
    """Format a line for each model, prompt, stream and region."""
    lines = [
        f"{'model, prompt, stream':<56} {'region':<16} {'subjects':>8} {'r':>7} {'SE':>7} {'r/sqrt(NC)':>10} "
        f"{'p (t)':>7} {'p (signs)':>9}"
    ]
    for row in table.itertuples():
        scores = f"{row.r:>7.3f} {row.r_se:>7.3f} {row.r_normalised_all_voxels:>10.3f}"
        scores += f" {row.p_t:>7.4f} {row.p_sign_flip:>9.4f}"
        scores = scores.replace("nan", "  -")
        lines.append(f"{stream_of(row)!s:<56} {row.roi:<16} {row.n_subjects:>8} {scores}")
    return "\n".join(map(one_line, lines))
