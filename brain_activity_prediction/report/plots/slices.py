"""Interactive slices through a brain: nilearn's viewer, adapted to work inside one file.

nilearn's page of a map includes its libraries and an icon from the network. Here the libraries are stored once, each
map stores only its own data, and sliders are added, because the viewer itself only reacts to the mouse.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from nibabel import Nifti1Image
from nilearn.plotting import view_img

from brain_activity_prediction.report.plots.drawing import WIDTH, Drawn, blank, draw
from brain_activity_prediction.report.plots.voxel_maps import VoxelMap

# The head of a frame, before the map's own body.
FRAME = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Slices</title><style>
html { overflow-y: hidden; }
body { margin: 0; padding: 10px; background: #000; color: #fff; font: 14px/1.4 system-ui, sans-serif; }
.hidden { display: none; } p { margin: 0; }
label { display: grid; grid-template-columns: 9.5em 1fr; gap: 10px; align-items: center; margin-top: 6px; }
input { width: 100%; accent-color: #56b4e9; min-height: 24px; } canvas { display: block; max-width: 100%; }
:focus-visible { outline: 3px solid #e69f00; outline-offset: 2px; } output { display: block; margin-top: 8px; }
</style></head>"""
COLOUR_MAPS = {"layer": "viridis", "prompt": "viridis", "r": "cividis", "R²": "cividis"}
N_SLICES = 6
LIGHTEST = 4  # the grey that would be black: shaded cortex stays light
ALMOST_0 = 1e-3  # what stands for 0, which nilearn takes for "outside"


@dataclass(frozen=True)
class Slices:
    """A map as stored in the page: the content of its frame, with the libraries before `scripts`."""

    name: str
    title: str
    unit: str
    whole: bool  # whether values are whole numbers
    body: str
    script: str


def slices(shown: VoxelMap) -> tuple[Slices, list[str]]:
    """Return the viewer of a map, and the libraries that all viewers share, as text of scripts."""
    values, affine = shown.values, shown.affine
    low, high = limits(shown)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Non-finite values detected")
        warnings.filterwarnings("ignore", "Threshold given was")  # where no voxel is outside
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
    html = re.sub(rf"-{re.search(r'3Dviewer-([0-9a-f]+)', html)[1]}\b", "", html)  # a random number: a frame is one map
    *libraries, script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    body = html[html.index("<body>") + len("<body>") : html.index("<script>")].strip()
    return Slices(shown.name, shown.title, shown.unit, shown.whole_numbers, body, script), libraries


def limits(shown: VoxelMap) -> tuple[float, float]:
    """Return the ends of the colour scale: those of the values, for scores 0 and nearly the highest."""
    values = shown.values[np.isfinite(shown.values)]
    if shown.whole_numbers:
        low, high = float(values.min()), float(values.max())
        return low, max(high, low + 1)
    return 0.0, max(float(np.quantile(values, 0.99)), 0.05)


def centre(values: np.ndarray, affine: np.ndarray) -> tuple[float, float, float]:
    """Return the position in millimetres of the voxel with a value nearest the centre of all such voxels."""
    having = np.argwhere(np.isfinite(values))
    middle = having[np.square(having - having.mean(axis=0)).sum(axis=1).argmin()]
    return tuple((affine @ [*middle, 1])[:3].tolist())


def static_slices(shown: VoxelMap, folder: Path) -> Drawn:
    """Draw six horizontal slices from bottom to top, left is left, saved as PNG and SVG."""
    heights = np.flatnonzero(np.isfinite(shown.values).any(axis=(0, 1)))
    chosen = heights[np.linspace(0, len(heights) - 1, N_SLICES + 2).round().astype(int)[1:-1]]
    rows = np.array_split(np.arange(N_SLICES), 2)
    values, behind = (
        np.vstack([np.hstack([volume[:, ::-1, chosen[slice_]].T for slice_ in row]) for row in rows])
        for volume in (shown.values, shown.behind)
    )
    low, high = limits(shown)
    scale = ScalarMappable(Normalize(low, high), COLOUR_MAPS[shown.unit])
    fitted = np.isfinite(values)
    picture = colormaps["Greys"](behind / LIGHTEST, bytes=True)
    picture[..., 3] = np.where(fitted | (behind > 0), 255, 0)
    picture[fitted] = scale.to_rgba(values[fitted], bytes=True)

    def paint(panel: Axes) -> None:
        panel.imshow(picture, interpolation="nearest")
        panel.set_axis_off()
        bar = panel.figure.colorbar(scale, ax=panel, orientation="horizontal", shrink=0.6, pad=0.03, label=shown.unit)
        bar.outline.set_visible(False)

    height = WIDTH * len(picture) / len(picture[0]) + 90
    text = f"Six horizontal slices of {shown.title}, from {low:g} to {high:.3g}."
    return draw(shown.name, shown.title, text, blank(height, 10, 6), paint, folder)
