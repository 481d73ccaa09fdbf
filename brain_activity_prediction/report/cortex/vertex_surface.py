"""Transfer maps that are on a surface, because their responses were, to other surfaces.

V is the number of vertices of both hemispheres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.units import Vertices
from brain_activity_prediction.report.cortex.subject_surface import (
    FSAVERAGE,
    FSAVERAGE5,
    N_FSAVERAGE5,
    NATIVE,
    OnSurface,
    SubjectSurface,
    lacking_indices,
    lacking_transforms,
    needs_meshes,
    read_subject_surface,
    space_of,
)
from brain_activity_prediction.report.map_files import read_both_sides
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.folders import Subject
from brain_activity_prediction.surfaces.transforms import (
    HEMISPHERES,
    N_FSAVERAGE,
    fsaverage_file,
    missing_index_files,
    read_indices,
    transforms_folder,
)

# Surfaces that all subjects share, by their number of vertices in a hemisphere
SHARED = {N_FSAVERAGE: FSAVERAGE, N_FSAVERAGE5: FSAVERAGE5}


@dataclass(frozen=True)
class VertexSurface:
    """The transform from the vertices of a subject's maps, the left hemisphere first, to other surfaces.

    space    surface of the maps, one of SPACES
    n_left   number of vertices of the left hemisphere
    nearest  {hemisphere: (163842,)}, the subject's vertex nearest to each vertex of fsaverage; empty if unknown
    """

    space: str
    n_left: int
    nearest: Mapping[str, np.ndarray]

    @property
    def reached(self) -> tuple[str, ...]:
        """Return the spaces to which maps can be transferred, beginning with their own."""
        if self.space == NATIVE:
            return (NATIVE, FSAVERAGE, FSAVERAGE5) if self.nearest else (NATIVE,)
        return (FSAVERAGE, FSAVERAGE5) if self.space == FSAVERAGE else (FSAVERAGE5,)

    def read(self, path: Path) -> np.ndarray:
        """Read a map: (V,) for one array, (V, n) for several."""
        return np.concatenate([*read_both_sides(path).values()])

    def sample(self, _name: str, values: np.ndarray) -> OnSurface:
        """Divide values (V,) or (V, n) by hemisphere."""
        return dict(zip(HEMISPHERES, np.split(values, [self.n_left]), strict=True))

    def on(self, space: str, own: OnSurface) -> OnSurface:
        """Transfer values from the maps' own surface to one of the spaces in `reached`."""
        if space == self.space:
            return own
        n = N_FSAVERAGE5 if space == FSAVERAGE5 else None
        if self.space == NATIVE:
            return {side: values[self.nearest[side][:n]] for side, values in own.items()}
        return {side: values[:n] for side, values in own.items()}


Surface: TypeAlias = SubjectSurface | VertexSurface


def lacking_of_maps(base_dir: Path | None, subject: Subject, path: Path, spaces: Sequence[str] = ()) -> str:
    """Return a message why a subject's maps cannot be transferred to surfaces; empty if they can.

    base_dir  folder of NSD, whose transforms are used; None for other datasets
    path      one of the maps
    spaces    spaces to which they are transferred; empty for the subject's own surface and, for NSD, fsaverage
    """
    if path.exists():
        if base_dir is None:
            return needs_meshes(subject)
        return lacking_transforms(base_dir, subject, spaces or (NATIVE, FSAVERAGE), space_of(path))
    surface, needed = read_vertex_surface(base_dir, subject, path), {*spaces}
    if surface.space == NATIVE and base_dir and not surface.nearest and needed != {NATIVE}:
        return lacking_indices(base_dir, subject)
    if beyond := sorted(needed - {*surface.reached}):
        where = "a surface that is not fsaverage" if surface.space == NATIVE else surface.space
        return f"maps of subject {subject} are on {where}: leave {beyond[0]} out of --space"
    return ""


def surface_of_maps(base_dir: Path | None, subject: Subject, path: Path) -> Surface:
    """Return the transform from a subject's maps to surfaces; `lacking_of_maps` must be empty."""
    if path.exists():
        return read_subject_surface(base_dir, subject, space_of(path))
    return read_vertex_surface(base_dir, subject, path)


def read_vertex_surface(base_dir: Path | None, subject: Subject, path: Path) -> VertexSurface:
    """Return the transform from maps on a surface, one of which has this path (arguments as in `lacking_of_maps`)."""
    left, right = (len(values) for values in read_both_sides(path).values())
    if left == right and left in SHARED:
        return VertexSurface(SHARED[left], left, {})
    return VertexSurface(NATIVE, left, _nearest(base_dir, subject, (left, right)) if base_dir else {})


def _nearest(base_dir: Path, subject: Subject, vertices: Sequence[int]) -> dict[str, np.ndarray]:
    """Read the vertex of an NSD subject nearest to each vertex of fsaverage; empty without the files."""
    folder = transforms_folder(base_dir, subject)
    if missing_index_files(folder):
        return {}
    return {side: read_indices(fsaverage_file(folder, side), n) for side, n in zip(HEMISPHERES, vertices, strict=True)}


def regions_on_vertices(dataset: Dataset | None, subject: Subject) -> dict[str, np.ndarray]:
    """Return the regions of a subject, (V,) on the vertices of both hemispheres.

    There are none without the dataset, or if its responses do not lie on a surface.
    """
    if dataset is None:
        return {}
    try:
        units = dataset.units(subject)
        regions = dataset.regions(subject) if isinstance(units, Vertices) else {}
    except InputError as error:
        log.warning(f"the cortex of subject {subject} has no outlines of regions: {error}")
        return {}
    return {name: _whole(units, members) for name, members in regions.items()}


def _whole(units: Vertices, members: np.ndarray) -> np.ndarray:
    """Convert a mask (n_fitted,) of the fitted vertices to a mask (V,) of all vertices."""
    fitted = np.concatenate([units.masks[side] for side in HEMISPHERES])
    whole = np.zeros(fitted.shape, dtype=bool)
    whole[fitted] = members
    return whole
