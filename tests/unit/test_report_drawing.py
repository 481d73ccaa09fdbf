"""Each figure of a report is what it would be alone, whatever was drawn before it."""

import pandas as pd
import pytest

from brain_activity_prediction.report.plots.score_figures import layer_curves

MODELS = ["llava", "vit"]
REGIONS = {"V1v": 0.4, "hV4": 0.2}


@pytest.fixture
def scores():
    """Curves of two models in two regions, of which the first is of fewer subjects in V1v, and lacks a layer there."""
    curves = {"layer": [0, 1, 2], "layer_position": [0, 0.5, 1], "r_se": 0.02, "chosen": [False, True, False]}
    parts = [
        pd.DataFrame(curves | {"roi": roi, "model_id": model, "r": r + 0.05 * turn}).assign(
            complete=[True, (roi, model) != ("V1v", "llava"), True],
            n_subjects=1 if (roi, model) == ("V1v", "llava") else 2,
        )
        for roi, r in REGIONS.items()
        for turn, model in enumerate(MODELS)
    ]
    return pd.concat(parts, ignore_index=True).assign(stream="language", n_possible=2)


def test_curves_that_are_drawn_one_after_another_are_those_that_are_drawn_alone(scores, tmp_path):
    layer_curves("language", [*REGIONS, "V1v"], scores, MODELS, tmp_path / "in turn")
    for roi in REGIONS:
        layer_curves("language", [roi], scores, MODELS, tmp_path / "alone")
    names = sorted(path.name for path in (tmp_path / "alone").iterdir())
    assert names == [f"layers_language_{roi}.{kind}" for roi in sorted(REGIONS) for kind in ("png", "svg")]
    for name in names:
        assert (tmp_path / "in turn" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
