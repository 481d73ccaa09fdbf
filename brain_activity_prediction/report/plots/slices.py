"""Make interactive slices through a brain: nilearn's viewer, adapted to work inside one HTML file.

In nilearn, each map is a page with all libraries and an icon from the network. Here the libraries are stored once for
all maps, and sliders are added, because nilearn's viewer can only be used with a mouse.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from nibabel import Nifti1Image
from nilearn.plotting import view_img

from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder, Words
from brain_activity_prediction.report.plots.flat_maps import ACCURACY, HIGHEST, NUMBERS
from brain_activity_prediction.report.plots.labels import map_note
from brain_activity_prediction.report.voxel_maps import VoxelMap

# Head of the HTML frame that contains a viewer.
FRAME = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Slices</title><style>
html { overflow-y: hidden; }
body { margin: 0; padding: 10px; background: #000; color: #fff; font: 14px/1.4 system-ui, sans-serif; }
.hidden { display: none; } p { margin: 0; }
label { display: grid; grid-template-columns: 9.5em 1fr; gap: 10px; align-items: center; margin-top: 6px; }
input { width: 100%; accent-color: #56b4e9; min-height: 24px; } canvas { display: block; max-width: 100%; }
:focus-visible { outline: 3px solid #e69f00; outline-offset: 2px; } output { display: block; margin-top: 8px; }
@media print { label, :has(> .slider) { display: none !important; } }
</style></head>"""
COLOUR_MAPS = {"layer": NUMBERS, "prompt": NUMBERS, "r": ACCURACY, "R²": ACCURACY}
N_SLICES = 6
BAR = 30  # height of the colour bar in points
LIGHTEST = 4  # value of the background that is drawn black; the shaded cortex is below it and stays light
ALMOST_0 = 1e-3  # replaces 0, which nilearn would treat as outside of the map


@dataclass(frozen=True)
class Slices:
    """A map in the page: the body and the script of its frame; shared libraries are inserted before the script."""

    name: str
    title: str
    unit: str
    whole: bool  # whether values are whole numbers
    body: str
    script: str


def slices(shown: VoxelMap, limits: tuple[float, float]) -> tuple[Slices, list[str]]:
    """Return the viewer of a map, and the JavaScript libraries that all viewers share."""
    values, affine = shown.values, shown.affine
    low, high = limits
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Non-finite values detected")
        warnings.filterwarnings("ignore", "Threshold given was")  # nilearn warns if no voxel is outside
        warnings.filterwarnings("ignore", "Warning: 'partition' will ignore the 'mask'")
        html = view_img(
            Nifti1Image(np.where(np.abs(values) < ALMOST_0, np.float32(ALMOST_0), values), affine),
            bg_img=Nifti1Image(shown.behind, affine),
            cmap=COLOUR_MAPS[shown.unit],
            vmin=low,
            vmax=high,
            symmetric_cmap=False,
            resampling_interpolation="nearest",
            black_bg=True,
            threshold=ALMOST_0 / 10,
            cut_coords=centre(values, affine),
        ).html
    # Remove nilearn's random id, which a frame with a single map does not need.
    html = re.sub(rf"-{re.search(r'3Dviewer-([0-9a-f]+)', html)[1]}\b", "", html)
    *libraries, script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    body = html[html.index("<body>") + len("<body>") : html.index("<script>")].strip()
    return Slices(shown.name, shown.title, shown.unit, shown.whole_numbers, body, script), libraries


def limits_of(maps: Sequence[VoxelMap]) -> list[tuple[float, float]]:
    """Return the ends of each map's colour scale.

    For a map of layers or prompts, they are its lowest and highest number. All maps of scores with the same unit share
    a scale, from 0 to the 99th percentile of the map with the highest scores.
    """
    known = [one.values[np.isfinite(one.values)] for one in maps]
    highest: dict[str, float] = {}
    for one, values in zip(maps, known, strict=True):
        highest[one.unit] = max(highest.get(one.unit, 0.05), float(np.quantile(values, HIGHEST)))
    return [
        (low := float(values.min()), max(float(values.max()), low + 1))
        if one.whole_numbers
        else (0.0, highest[one.unit])
        for one, values in zip(maps, known, strict=True)
    ]


def centre(values: np.ndarray, affine: np.ndarray) -> tuple[float, float, float]:
    """Return the position in mm of the voxel that is nearest to the centre of all voxels with a value."""
    having = np.argwhere(np.isfinite(values))
    middle = having[np.square(having - having.mean(axis=0)).sum(axis=1).argmin()]
    return tuple((affine @ [*middle, 1])[:3].tolist())


def static_slices(shown: VoxelMap, limits: tuple[float, float], figures: FigureFolder) -> Drawn:
    """Draw six horizontal slices from bottom to top, with the brain's left on the left."""
    heights = np.flatnonzero(np.isfinite(shown.values).any(axis=(0, 1)))
    chosen = heights[np.linspace(0, len(heights) - 1, N_SLICES + 2).round().astype(int)[1:-1]]
    rows = np.array_split(np.arange(N_SLICES), 2)
    values, behind = (
        np.vstack([np.hstack([volume[:, ::-1, chosen[slice_]].T for slice_ in row]) for row in rows])
        for volume in (shown.values, shown.behind)
    )
    low, high = limits
    scale = ScalarMappable(Normalize(low, high), COLOUR_MAPS[shown.unit])
    fitted = np.isfinite(values)
    picture = colormaps["Greys"](behind / LIGHTEST, bytes=True)
    picture[..., 3] = np.where(fitted | (behind > 0), 255, 0)
    picture[fitted] = scale.to_rgba(values[fitted], bytes=True)
    with figures.style.applied():
        figure, (panel,) = figures.panels(1, 1, figures.width * len(picture) / len(picture[0]) + BAR)
        panel.imshow(picture, interpolation="nearest")
        panel.set_axis_off()
        bar = figure.colorbar(scale, ax=panel, location="bottom", aspect=40, shrink=0.6, pad=0.02, label=shown.unit)
        bar.outline.set_visible(False)
        text = f"Six horizontal slices of {shown.title}, from {low:g} to {high:.3g}."
        note = "Slices from bottom to top; the brain's left is at the left. Grey: cortex without fitted voxels."
        note = f"{map_note(shown.unit, averaged=False)}{note}"
        inside = np.isfinite(shown.values[..., chosen])
        places = np.argwhere(inside)
        data = pd.DataFrame(places, columns=["i", "j", "slice"]).assign(value=shown.values[..., chosen][inside])
        return figures.save(figure, Words(shown.name, shown.title, text, note), data)
