"""Write maps to a file that pycortex opens, `cortex.load("subj01.hdf")`.

The file has a dataset `/data/NAME` for each array, with its subject as an attribute. For each map it has a view
`/views/NAME` of eight texts: arrays, description, colour map, lowest and highest value of the colour scale, state,
attributes and transform. See cortex/dataset/views.py in gallantlab/pycortex.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from brain_activity_prediction.storage.files import written_whole

WHOLE = ("best_layer", "best_prompt")  # endings of maps of whole numbers
ACCURACY, NUMBERS = "hot", "viridis"  # names of pycortex's colour maps
HIGHEST = 0.99  # quantile of the values at the end of a colour scale


@dataclass(frozen=True)
class View:
    """A map for pycortex.

    values     volume (Z, Y, X), which are NIfTI's axes in reverse, or vertices (n_vertices,), left hemisphere first;
               NaN is transparent
    subject    name of the subject in pycortex's store
    transform  name of the subject's transform to the volume; None for vertices
    """

    name: str
    values: np.ndarray
    subject: str
    transform: str | None = None


def write_views(path: Path, views: Iterable[View]) -> int:
    """Write views to a .hdf file of pycortex, and return their number; equal arrays are stored once."""
    n = 0
    with written_whole(path) as aside, h5py.File(aside, "w") as file:
        data, texts = file.create_group("data"), file.create_group("views")
        for view in views:
            values = np.ascontiguousarray(view.values, dtype=np.float32)
            name = f"__{hashlib.sha1(values.tobytes(), usedforsecurity=False).hexdigest()[:16]}"
            if name in data and data[name].attrs["subject"] != view.subject:
                name += view.subject
            if name not in data:
                data.create_dataset(name, data=values, compression="gzip", compression_opts=1, shuffle=True)
                data[name].attrs["subject"] = view.subject
            low, high, colours = colour_scale(view.name, values)
            transform = None if view.transform is None else [view.transform]
            entries = [json.dumps([name]), view.name, colours, *map(json.dumps, (low, high, None, {"priority": 1}))]
            texts.create_dataset(view.name, data=[*entries, json.dumps(transform)], dtype=h5py.string_dtype())
            n += 1
    return n


def colour_scale(name: str, values: np.ndarray) -> tuple[float, float, str]:
    """Return the ends of a map's colour scale and its colour map; scales of scores begin at 0."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0, ACCURACY
    if name.endswith(WHOLE):
        return float(known.min()), max(float(known.max()), float(known.min()) + 1), NUMBERS
    return 0.0, max(float(np.quantile(known, HIGHEST)), 1e-3), ACCURACY
