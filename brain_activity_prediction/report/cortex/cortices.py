"""Carry the maps of a report to fsaverage, with the outlines of the subjects' regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from brain_activity_prediction.datasets.nsd.nsd import NSDVolumes
from brain_activity_prediction.datasets.nsd.regions import read_mask, read_regions
from brain_activity_prediction.datasets.roi_families import family_masks
from brain_activity_prediction.report.cortex.subject_surface import (
    FSAVERAGE,
    FSAVERAGE5,
    N_FSAVERAGE5,
    NATIVE,
    SubjectSurface,
    lacking_transforms,
    read_subject_surface,
    space_of,
)
from brain_activity_prediction.report.cortex.vertex_maps import joined_at, regions_on_vertices, vertices_of_maps
from brain_activity_prediction.report.cortex.writing import over_subjects
from brain_activity_prediction.report.map_files import map_paths, read_sides
from brain_activity_prediction.report.plots.flat_maps import PIXELS, CortexMap
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables.collecting import Scored
from brain_activity_prediction.storage.folders import Subject, subject_name
from brain_activity_prediction.surfaces.meshes import flat_surface, has_flat_surface, read_curvature
from brain_activity_prediction.surfaces.rasters import Raster, cached_raster
from brain_activity_prediction.surfaces.transforms import HEMISPHERES, N_FSAVERAGE, SPACE

OUTLINED = ("V1", "V2", "V3", "hV4", "faces", "bodies", "places", "words")
IN_AT_LEAST = 0.5  # share of a vertex's voxels, or of the subjects, that are in a region


class Carrier(Protocol):
    """Carries the maps of one subject to the vertices (V,) of both hemispheres, the left one first."""

    def read(self, path: Path, kind: str) -> np.ndarray | None:
        """Read the map of a path and carry it; None if it does not exist. `kind` tells whether it is averaged."""


@dataclass(frozen=True)
class OfVolumes:
    """The maps of a subject with transforms."""

    surface: SubjectSurface
    space: str

    def read(self, path: Path, kind: str) -> np.ndarray | None:
        if not path.exists():
            return None
        return joined(self.surface, self.space, self.surface.sample(kind, self.surface.voxels.read(path)))


@dataclass(frozen=True)
class OfFsaverage:
    """The maps of a subject whose responses lie on fsaverage, at its first `n_vertices`."""

    n_vertices: int

    def read(self, path: Path, _kind: str) -> np.ndarray | None:
        values = read_sides(path)
        return None if values is None else joined_at(values, self.n_vertices)


@dataclass(frozen=True)
class NativeCortex:
    """The flat cortex of one subject: raster, curvature (V,), and regions (V,) bool on its own vertices."""

    carrier: OfVolumes
    flat: tuple[Raster, np.ndarray]
    regions: dict[str, np.ndarray]


@dataclass(frozen=True)
class Cortices:
    """The subjects of a report whose maps reach fsaverage, and the flat cortex that their maps are drawn on.

    regions  {subject: {region: (V,) bool}} on the vertices of both hemispheres
    native   the flat cortex of each subject that has NSD's own flat patches
    """

    carriers: dict[Subject, Carrier]
    flat: tuple[Raster, np.ndarray]
    regions: dict[Subject, dict[str, np.ndarray]]
    native: dict[Subject, NativeCortex] = field(default_factory=dict)

    @property
    def subjects(self) -> list[Subject]:
        return list(self.carriers)

    def read(self, paths: Mapping[Subject, Path], kind: str) -> dict[Subject, np.ndarray]:
        """Read the maps that exist, {subject: path}, and carry each to the vertices (V,) of both hemispheres.

        kind  the name of the maps, which tells whether they are averaged
        """
        maps = {subject: self.carriers[subject].read(path, kind) for subject, path in paths.items()}
        return {subject: one for subject, one in maps.items() if one is not None and np.isfinite(one).any()}

    def rows(self, maps: Mapping[Subject, np.ndarray], titles: Mapping[Subject, str]) -> list[CortexMap]:
        """Return the maps of several subjects as the rows of a figure."""
        return [CortexMap(titles[subject], values, self.regions[subject]) for subject, values in maps.items()]

    def mean(self, maps: Mapping[Subject, np.ndarray], title: str = "mean") -> CortexMap:
        """Return the mean over subjects; a vertex uses the subjects that have a value there."""
        n = f"{len(maps)} subjects" if len(maps) > 1 else f"subject {next(iter(maps))}"
        values = over_subjects(maps.values())["mean"]
        return CortexMap(f"{title} of {n}", values, self.shared_regions(list(maps)))

    def shared_regions(self, subjects: Sequence[Subject]) -> dict[str, np.ndarray]:
        """Return the regions of at least half of the subjects at each vertex."""
        names = dict.fromkeys(name for subject in subjects for name in self.regions[subject])
        empty = np.zeros_like(self.flat[1], dtype=bool)
        return {
            name: np.mean([self.regions[subject].get(name, empty) for subject in subjects], axis=0) >= IN_AT_LEAST
            for name in names
        }


def joined(surface: SubjectSurface, space: str, native: Mapping[str, np.ndarray]) -> np.ndarray:
    """Carry native values to a space and join both hemispheres, the left one first."""
    on_space = surface.on(space, native)
    return np.concatenate([on_space[side] for side in HEMISPHERES])


def read_cortices(source: Source, scored: Sequence[Scored]) -> tuple[Cortices | None, list[str]]:
    """Read what carries the maps of each subject to fsaverage, and list the transforms that other subjects lack.

    Maps on fsaverage need none. Those of NSD's volumes need NSD's transforms; volumes of other datasets stay volumes.
    """
    folders = {one.subject: one.folder / "maps" for one in scored}
    vertices = {subject: n for subject in sorted(folders) if (n := vertices_of_maps(folders[subject]))}
    if vertices:
        return _of_fsaverage(source, vertices), []
    if not isinstance(source.dataset, NSDVolumes):
        return None, []
    base_dir = source.dataset.base_dir
    spaces = {subject: _space_of_maps(folders[subject]) for subject in sorted(folders)}
    lacking = {
        subject: text
        for subject, space in spaces.items()
        if (text := lacking_transforms(base_dir, subject, volumes=space))
    }
    if len(lacking) == len(spaces):
        return None, [*lacking.values()]
    full = base_dir if has_flat_surface(base_dir) else None
    on = FSAVERAGE if full else FSAVERAGE5
    surfaces = {
        subject: read_subject_surface(base_dir, subject, space)
        for subject, space in spaces.items()
        if subject not in lacking
    }
    regions = {subject: outlined_regions(surface, on) for subject, surface in surfaces.items()}
    carriers = {subject: OfVolumes(surface, on) for subject, surface in surfaces.items()}
    native = {}
    for subject, surface in surfaces.items():
        if has_flat_surface(base_dir, name := subject_name(subject)):
            own_regions = outlined_regions(surface, NATIVE)
            native[subject] = NativeCortex(OfVolumes(surface, NATIVE), _flat(base_dir, name), own_regions)
    return Cortices(carriers, _flat(full), regions, native), [*lacking.values()]


def _space_of_maps(folder: Path) -> str:
    """Return NSD's space of a folder's maps; the default without maps."""
    volume = next((path for path in map_paths(folder, "*") if path.exists()), None)
    return SPACE if volume is None else space_of(volume)


def _of_fsaverage(source: Source, vertices: Mapping[Subject, int]) -> Cortices:
    """Return subjects with maps on fsaverage; they are drawn on fsaverage5 unless the flat fsaverage is at hand."""
    base_dir = source.dataset.base_dir if source.dataset else None
    whole = base_dir is not None and has_flat_surface(base_dir) and set(vertices.values()) == {N_FSAVERAGE}
    n, regions = N_FSAVERAGE if whole else N_FSAVERAGE5, {}
    for subject in vertices:
        own = regions_on_vertices(source.dataset, subject)
        masks = {name: joined_at(sides, n) for name, sides in own.items()}
        regions[subject] = {name: mask for name, mask in (masks | family_masks(masks)).items() if name in OUTLINED}
    return Cortices({subject: OfFsaverage(n) for subject in vertices}, _flat(base_dir if whole else None), regions)


def _flat(base_dir: Path | None, name: str = FSAVERAGE) -> tuple[Raster, np.ndarray]:
    return cached_raster(flat_surface(base_dir, name), PIXELS), read_curvature(base_dir, name)


def outlined_regions(surface: SubjectSurface, space: str) -> dict[str, np.ndarray]:
    """Return the regions of OUTLINED on the vertices (V,) of both hemispheres."""
    regions, fitted = read_regions(surface.nsd, surface.subject), read_mask(surface.nsd, surface.subject)[0]
    masks = {name: mask for name, mask in (regions | family_masks(regions)).items() if name in OUTLINED}
    if not masks:
        return {}
    on_cortex = surface.voxels.filled(fitted, np.stack([*masks.values()], axis=1).astype(float))
    shares = joined(surface, space, surface.averaged(on_cortex))
    return {name: shares[:, number] >= IN_AT_LEAST for number, name in enumerate(masks)}
