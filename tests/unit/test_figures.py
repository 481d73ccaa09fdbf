"""The picture of layer curves that an alignment writes."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from brain_activity_prediction.datasets.nsd.regions import MOST_SHOWN
from brain_activity_prediction.encoding.tables.layer_figure import layer_curves
from brain_activity_prediction.storage.folders import PLANTED, alignment_folder


def rows(stream, roi, cv_score):
    of = {"layer_choice": "each", "model_id": "a/b", "prompt": pd.NA, "subject": 1, "n_voxels": 7}
    return pd.DataFrame(
        {**of, "stream": stream, "roi": roi, "layer": [0, 1, 2], "r": [0.1, 0.4, 0.2], "cv_score": cv_score}
    )


def test_a_region_without_scores_and_the_regions_of_an_atlas_have_no_line(tmp_path):
    scored, unscored = rows("vision", "V1v", [1.0, 3.0, 2.0]), rows("vision", "V2v", np.nan)
    layer_curves(scored, tmp_path / "alone.png")
    atlas = [rows("vision", f"HCP:{number}", 1.0) for number in range(MOST_SHOWN + 1)]
    layer_curves(pd.concat([scored, unscored, *atlas]), tmp_path / "beside.png")
    layer_curves(pd.concat([scored, rows("vision", "V2v", 1.0)]), tmp_path / "two.png")
    alone, beside, two = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("alone", "beside", "two"))
    np.testing.assert_array_equal(alone, beside)
    assert alone.shape == two.shape
    assert (alone != two).any()


@pytest.mark.parametrize("simulated", [True, False])
def test_the_title_says_where_data_are_simulated(simulated, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(Figure, "suptitle", lambda self, title, **style: titles.append(title))
    if simulated:
        (tmp_path / PLANTED).touch()
    layer_curves(rows("vision", "V1v", 1.0), alignment_folder(tmp_path, 1, "a/b", None) / "layers.png")
    assert titles == ["Simulated data: a/b, subject 1" if simulated else "a/b, subject 1"]
