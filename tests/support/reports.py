"""Run the report script, read the text of its page, and make rows of scores for its tables."""

import re
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pandas as pd
from scripts import PACKAGE, run_here

FIGURES = "brain_activity_prediction.report.plots.drawing.FigureFolder"
LLAVA, VIT = "llava-hf/llava-1.5-13b-hf", "google/vit-huge-patch14-224-in21k"


def report(base_dir, *flags, drawn=False):
    """Run the script in this process and return its output. Figures are empty files, or small pictures with `drawn`."""
    with (
        patch("brain_activity_prediction.report.plots.drawing.PNG_DPI", 10),
        patch("brain_activity_prediction.runtime.background.ALONE", 1000),
        nullcontext() if drawn else patch(f"{FIGURES}.write_files", write_nothing),
    ):
        return run_here(PACKAGE / "report" / "report.py", "-d", base_dir, *flags)


def write_nothing(figures, _figure, words, *_):
    """Replace `FigureFolder.write_files`, which takes most of the time of a report."""
    figures.path.mkdir(parents=True, exist_ok=True)
    (figures.path / f"{words.name}.svg").write_text("<svg></svg>")


def page_text(done):
    """Return the text of a page in one line, without its figures."""
    assert done.returncode == 0, done.stderr
    html = Path(done.stdout.strip()).read_text()
    return " ".join(re.sub(r"<svg.*?</svg>|<[^>]*>", " ", html, flags=re.DOTALL).split())


def chosen_rows(**columns):
    """Return rows of chosen layers, with defaults for missing columns."""
    rest = {
        "prompt": 3,
        "cv_score": 0.1,
        "r_normalised_all_voxels": 0.2,
        "n_voxels": 40,
        "q": 0.01,
        "stream": "language",
    }
    return pd.DataFrame(rest | {"protocol": "standard", "layer_choice": "best_per_region"} | columns)


def of_one_and_of_four(name, values):
    """Return rows of a condition in subjects 1, 2, 5 and 7, and of one with a higher mean only in subject 1."""
    rows = {name: [*[values[0]] * 4, values[1]], "subject": [1, 2, 5, 7, 1], "r": [0.5, 0.3, 0.3, 0.3, 0.45]}
    return {"model_id": LLAVA, "roi": "nsdgeneral", "r_se": 0.07, "r_ceiling": 0.8} | rows
