"""Slices through a brain: colour scales that a page's maps share."""

import numpy as np

from brain_activity_prediction.report.plots.slices import limits_of
from brain_activity_prediction.report.voxel_maps import VoxelMap


def test_all_scores_of_a_unit_share_a_scale_and_layers_have_their_own():
    def shown(unit, *values):
        return VoxelMap("", "", unit, np.array([*values, np.nan]).reshape(1, 1, -1), np.eye(4), None)

    maps = [shown("r", -0.1, 0.2), shown("layer", 3, 9), shown("r", 0.4, 0.4), shown("R²", 0.01), shown("layer", 5, 5)]
    ends = limits_of(maps)
    assert ends[0] == ends[2] == (0, 0.4)
    assert ends[1] == (3, 9)
    assert ends[3] == (0, 0.05)
    assert ends[4] == (5, 6)
