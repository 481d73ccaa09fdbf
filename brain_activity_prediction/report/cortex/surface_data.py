"""Encode meshes and maps of fsaverage5 for the script of the 3-D page, `page_files/surface.js`.

Numbers are little-endian and in base64. A map stores a bit for each vertex, set if it has a value, and its values.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps

from brain_activity_prediction.report.cortex.cortex_figures import on_fsaverage5
from brain_activity_prediction.report.plots.flat_maps import (
    GYRUS,
    NUMBERS,
    SULCUS,
    ColourScale,
    CortexMap,
    DrawnCortex,
)
from brain_activity_prediction.surfaces.meshes import GAP_MM, fsaverage5_meshes, read_curvature

SURFACES = ("inflated", "pial")
STEPS_PER_MM = 100
LARGEST = 32000  # largest stored number of a map
LARGEST_BYTES = 11_000_000  # largest size of all maps; with library and meshes, the page stays below 15 MB
N_COLOURS = 256
N_REGIONS = 8  # each region is one bit of a byte


def surface_data(figures: Sequence[DrawnCortex]) -> dict[str, Any]:
    """Return the meshes and the figures' maps as JSON values; maps that exceed LARGEST_BYTES are only counted."""
    encoded = [_map(one, figure.scale) | {"figure": figure.title} for figure in figures for one in figure.maps]
    sizes = np.cumsum([len(one["values"]) for one in encoded])
    maps = [one for one, size in zip(encoded, sizes, strict=True) if size <= LARGEST_BYTES]
    regions: list[dict] = []
    for one in maps:
        if one["regions"] not in regions:
            regions.append(one["regions"])
        one["regions"] = regions.index(one["regions"])
    return {
        "surfaces": {kind: _points(kind) for kind in SURFACES},
        "steps_per_mm": STEPS_PER_MM,
        "faces": [_base64(faces.astype("<u2")) for _, faces in fsaverage5_meshes(SURFACES[0]).values()],
        "greys": _base64(np.where(read_curvature() > 0, 255 * SULCUS, 255 * GYRUS).astype(np.uint8)),
        "colours": {name: _colours(name) for name in {one["colours"] for one in maps}},
        "regions": regions,
        "maps": maps,
        "n_left_out": len(encoded) - len(maps),
    }


def _map(one: CortexMap, scale: ColourScale) -> dict[str, Any]:
    """Return a map as JSON values; values that are not whole numbers are rounded to a 32,000th of the largest."""
    values, whole = on_fsaverage5(one.values), scale.colours == NUMBERS
    known = np.isfinite(values)
    step = 1.0 if whole else max(float(np.abs(values[known]).max(initial=0)), 1e-6) / LARGEST
    steps = np.round(values[known] / step).astype("<i2")
    return {
        "title": one.title,
        "unit": scale.unit,
        "scale": scale.text,
        "low": scale.low,
        "high": scale.high,
        "colours": scale.colours,
        "whole": whole,
        "step": step,
        "known": _base64(np.packbits(known, bitorder="little")),
        "values": _base64(steps),
        "regions": _regions(one),
    }


def _regions(one: CortexMap) -> dict[str, Any]:
    """Return the names of regions, and for each vertex a byte with one bit for each region."""
    shown = list(one.regions.items())[:N_REGIONS]
    members = np.zeros(len(on_fsaverage5(one.values)), dtype=np.uint8)
    for bit, (_, inside) in enumerate(shown):
        members |= on_fsaverage5(inside).astype(np.uint8) << bit
    return {"names": [name for name, _ in shown], "members": _base64(members)}


def _points(kind: str) -> list[str]:
    """Return the points of both hemispheres, shifted apart as on the flat maps."""
    shifted = []
    for side, (points, _) in fsaverage5_meshes(kind).items():
        moved = np.array(points, dtype=np.float64)
        moved[:, 0] -= moved[:, 0].max() + GAP_MM / 2 if side == "lh" else moved[:, 0].min() - GAP_MM / 2
        shifted.append(_base64(np.round(STEPS_PER_MM * moved).astype("<i2")))
    return shifted


def _colours(name: str) -> str:
    return _base64(colormaps[name](np.linspace(0, 1, N_COLOURS), bytes=True)[:, :3])


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
