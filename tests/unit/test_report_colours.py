"""Colours that any reader can tell apart, by day and by night."""

from itertools import combinations

import numpy as np
import pytest

from brain_activity_prediction.encoding.tables.layer_figure import COLOURS

SEEN_BY = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


XYZ_OF_RGB = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]


WHITE = [0.95047, 1, 1.08883]


def linear_rgb(colours):
    rgb = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in colours])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def cielab(rgb):
    xyz = rgb @ np.transpose(XYZ_OF_RGB) / WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize(("who", "least"), [("all cones", 26), *((who, 16) for who in list(SEEN_BY)[1:])])
def test_any_two_colours_are_far_apart_whatever_cones_the_reader_has(who, least):
    """By distance in CIELAB, where 2.3 is just noticed."""
    seen = cielab(np.clip(linear_rgb(COLOURS) @ np.transpose(SEEN_BY[who]), 0, 1))
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > least


def test_every_colour_stands_out_from_the_dark_page():
    """By the contrast that WCAG asks for of graphics, 3."""
    colours, panel = (linear_rgb(of) @ XYZ_OF_RGB[1] for of in (COLOURS, ["#1b1d22"]))
    assert ((colours + 0.05) / (panel + 0.05)).min() > 3
