"""Draw scores against layers."""

import warnings
from pathlib import Path

import pandas as pd

from brain_activity_prediction.datasets.nsd.regions import of_atlases
from brain_activity_prediction.encoding.scores.layer_choice import EACH
from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.storage.files import written_whole
from brain_activity_prediction.storage.folders import is_simulated

# The colours of Okabe and Ito, which readers with any kind of colour vision can distinguish. Brown replaces their
# black, which is invisible on a dark page.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6030")
STYLES = ("-", "--", ":", "-.")
PLAIN_TEXT = {"text.parse_math": False}  # a $ in a name is not the start of a formula
LONGEST_NAME = 34  # in characters, for labels


def shown_name(name: str) -> str:
    """Remove control characters from a name, and the middle of a long name, for a figure."""
    name, half = one_line(name), LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[1 - half :]}"


def layer_curves(table: pd.DataFrame, path: Path) -> None:
    """Plot the mean test r of regions against layers: one panel for each stream, one line for each region.

    Dots mark the chosen layers.

    table  columns as in `tables.region_table`, for one model, prompt and subject
    """
    import matplotlib

    with matplotlib.rc_context(PLAIN_TEXT), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the font may lack the characters of a name
        _layer_curves(table, path)


def _layer_curves(table: pd.DataFrame, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = table[table["layer_choice"] == EACH]
    streams = list(dict.fromkeys(table["stream"]))
    hidden = of_atlases(table["roi"])
    regions = [roi for roi in dict.fromkeys(table["roi"]) if roi not in hidden]
    figure = Figure(figsize=(1.8 + 4.2 * len(streams), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(streams), sharey=True, squeeze=False)[0]
    for panel, stream in zip(panels, streams, strict=True):
        for number, region in enumerate(regions):
            rows = table[(table["stream"] == stream) & (table["roi"] == region)].dropna(subset="cv_score")
            if rows.empty:
                continue
            colour, style = COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]
            label = f"{shown_name(region)} ({rows['n_voxels'].iloc[0]})"
            panel.plot(rows["layer"], rows["r"], style, color=colour, label=label, linewidth=1.5)
            chosen = rows.loc[rows["cv_score"].idxmax()]
            panel.plot(chosen["layer"], chosen["r"], "o", color=colour, markersize=5)
        panel.axhline(0, color="0.6", linewidth=0.8)
        panel.set(title=shown_name(stream), xlabel="layer")
        panel.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("mean r on held-out images")
    first = table.iloc[0]
    prompt = "" if pd.isna(first["prompt"]) else f", prompt {first['prompt']}"
    of = f"{first['model_id']}{prompt}, subject {first['subject']}"
    figure.suptitle(f"Simulated data: {of}" if is_simulated(path) else of, fontsize="medium")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize="small", title="region (voxels)", frameon=False)
    with written_whole(path) as aside:
        figure.savefig(aside, dpi=150)
