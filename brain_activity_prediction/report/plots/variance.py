"""Draw the unique and shared variance of feature spaces in each region."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from brain_activity_prediction.encoding.tables.layer_figure import shown_name
from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder, Words
from brain_activity_prediction.report.plots.labels import slug
from brain_activity_prediction.report.plots.region_bars import AXIS, BAR, DOT, GAP, draw_subjects, error_bars
from brain_activity_prediction.report.plots.style import INK
from brain_activity_prediction.report.tables.other_analyses import selected
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.storage.folders import Output, scores_folder
from brain_activity_prediction.storage.table_files import read_table
from brain_activity_prediction.variance_partitioning.share_table import PART

TABLE = "*/variance_partitioning/*/shares.parquet"
SUBJECTS_DIFFER = "; or "  # separates the names of a feature space whose layer differs between subjects
HATCHES = ("", "////", "....")  # hatches of parts whose colour repeats; four spaces have 15 parts
OF_A_LAYER = r" layer \w+$"  # end of a feature space's name


def read_shares(output: Output, selection: Selection) -> pd.DataFrame:
    """Read the variance parts of every analysis, subject and region; empty without analyses."""
    tables = []
    for path in sorted(scores_folder(output).glob(TABLE)):
        tables.append(read_table(path, "delete it and run partition_variance.py again"))
    if not tables:
        return pd.DataFrame(columns=["analysis", "subject", "roi", "kind", "spaces", "names", "r2", "cv_r2"])
    table = pd.concat(tables, ignore_index=True)
    return selected(table[table["kind"] == PART], selection)


def shares_over_subjects(shares: pd.DataFrame) -> pd.DataFrame:
    """Average variance parts over subjects; return one row for each analysis, region and part.

    Columns analysis, roi, spaces and these:

    r2, cv_r2    means over subjects
    r2_se        standard error of r2 over subjects, missing for one; over images if the analysis has one subject
    n_subjects   number of subjects in the mean
    n_possible   number of subjects in the analysis
    names        names of the spaces; if a region's best layer differs between subjects, all layers are named
    of_subjects  (subject, r2) of each subject

    If analyses of different subjects have the same name but different models, prompts or streams, they are not
    averaged but listed separately.
    """
    shares = _kept_apart(shares.assign(r2_se=shares.get("r2_se", np.nan)))
    shares["n_possible"] = shares.groupby("analysis")["subject"].transform("nunique")
    groups = shares.groupby(["analysis", "roi", "spaces"], sort=False)
    means, n = groups[["r2", "cv_r2", "n_possible"]].mean(), groups["subject"].nunique()
    means = means.astype({"n_possible": int})
    over_images = groups["r2_se"].first().where(means["n_possible"] == 1)
    means["r2_se"] = (groups["r2"].std() / np.sqrt(n)).where(n > 1, over_images)
    means["n_subjects"] = n
    means["names"] = groups["names"].agg(lambda names: SUBJECTS_DIFFER.join(dict.fromkeys(names)))
    subjects, values = groups["subject"].agg(tuple), groups["r2"].agg(tuple)
    means["of_subjects"] = [tuple(zip(*one, strict=True)) for one in zip(subjects, values, strict=True)]
    return means.reset_index()


def _kept_apart(shares: pd.DataFrame) -> pd.DataFrame:
    """Add the subjects to an analysis's name, in brackets, if a letter means different streams for other subjects."""
    alone = shares[~shares["spaces"].str.contains("+", regex=False)]
    names = alone["names"].str.replace(OF_A_LAYER, "", regex=True)
    letters = (alone["spaces"] + " " + names).groupby([alone["analysis"], alone["subject"]])
    taken = letters.agg(lambda parts: "; ".join(sorted(set(parts))))
    renamed = {}
    for analysis, of_subjects in taken.groupby(level=0):
        if of_subjects.nunique() > 1:
            for same in of_subjects.groupby(of_subjects).groups.values():
                subjects = [subject for _, subject in same]
                title = f"{analysis} (subject{'s' if len(subjects) > 1 else ''} {', '.join(map(str, subjects))})"
                renamed |= dict.fromkeys(same, title)
    pairs = zip(shares["analysis"], shares["subject"], strict=True)
    return shares.assign(analysis=[renamed.get((name, subject), name) for name, subject in pairs])


def errors_of(analysis: str, means: pd.DataFrame) -> str:
    """Return a sentence on the number of subjects of an analysis and the meaning of its error bars."""
    rows = means[means["analysis"] == analysis]
    n = rows["n_possible"].iloc[0]
    averaged = f"Mean of {n} subjects" if n > 1 else "One subject"
    if rows["r2_se"].isna().all():
        return f"{averaged}, without error bars."
    return f"{averaged}; error bars are ± 1 SE over {'subjects' if n > 1 else 'images'}."


def spaces_of(analysis: str, means: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (letter, name) of each feature space of an analysis; a name lists the layers of all regions."""
    rows = means[(means["analysis"] == analysis) & ~means["spaces"].str.contains("+", regex=False)]
    spaces = []
    for letter, names in rows.groupby("spaces", sort=False)["names"]:
        if names.nunique() == 1:
            spaces.append((letter, names.iloc[0]))
            continue
        each = dict.fromkeys(name for of_region in names for name in of_region.split(SUBJECTS_DIFFER))
        layers = sorted({int(name.rsplit(maxsplit=1)[1]) for name in each})
        stream = re.sub(OF_A_LAYER, "", next(iter(each)))
        spaces.append((letter, f"{stream} layers {', '.join(map(str, layers))}, the best of each region"))
    return spaces


def variance_bars(analysis: str, means: pd.DataFrame, regions: Sequence[str], figures: FigureFolder) -> Drawn:
    """Draw a bar for each region and each unique or shared part; noise can make a part negative."""
    rows = means[means["analysis"] == analysis]
    parts = list(dict.fromkeys(rows["spaces"]))
    regions = [roi for roi in regions if roi in set(rows["roi"])]
    n, of_all = rows.groupby("roi")["n_subjects"].max(), rows["n_possible"].iloc[0]
    labels = [shown_name(roi) + ("" if n[roi] == of_all else f" (n = {n[roi]})") for roi in regions]
    step = len(parts) * BAR + GAP
    row_of = {roi: row for row, roi in enumerate(regions)}
    with figures.style.applied():
        figure, (panel,) = figures.panels(1, 1, AXIS + len(regions) * step)
        legend = {}
        for number, part in enumerate(parts):
            look = {"color": figures.look(number)[0], "hatch": HATCHES[number // len(figures.style.colours)]}
            bars = rows[(rows["spaces"] == part) & rows["roi"].isin(regions)]
            y = bars["roi"].map(row_of).to_numpy() * step + number * BAR
            panel.barh(y, bars["r2"], BAR * 0.86, **look, **error_bars("xerr", bars["r2_se"].to_numpy(float)))
            if of_all > 1:
                draw_subjects(panel, y, [[r2 for _, r2 in own] for own in bars["of_subjects"]])
            label = f"{part} alone" if "+" not in part else f"shared by {part}"
            legend[label] = Patch(facecolor=look["color"], hatch=look["hatch"])
        if of_all > 1:
            legend["subject"] = Line2D([], [], **DOT)
        panel.set_yticks([row * step + (len(parts) - 1) * BAR / 2 for row in range(len(regions))], labels)
        panel.set_ylim(len(regions) * step - BAR / 2 - GAP / 2, -BAR / 2 - GAP)
        panel.tick_params(axis="y", length=0)
        panel.axvline(0, color=INK, linewidth=0.6)
        panel.spines["left"].set_visible(False)
        panel.grid(axis="x")
        panel.set_xlabel("R² on held-out images")
        text = f"Bars of the variance that the feature spaces of {analysis} predict alone and share in "
        text += f"{len(regions)} regions."
        spaces = "; ".join(f"{letter}: {name}" for letter, name in spaces_of(analysis, means))
        note = f"{spaces}. {errors_of(analysis, means)} Parts below 0: noise, or spaces that predict only together."
        words = Words(f"variance_{slug(analysis)}", f"Unique and shared variance: {analysis}", text, note)
        return figures.save(figure, words, _values(rows[rows["roi"].isin(regions)]), legend)


def _values(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the values of a figure as a table, with a row for each mean and each subject."""
    means = rows.drop(columns=["analysis", "of_subjects"]).assign(subject="mean")
    subjects = [
        {"roi": row.roi, "spaces": row.spaces, "subject": str(subject), "r2": r2}
        for row in rows.itertuples()
        for subject, r2 in row.of_subjects
    ]
    return pd.concat([means, pd.DataFrame(subjects)], ignore_index=True)
