"""Carry the maps of a report to fsaverage, with the outlines of the subjects' regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.nsd.nsd import NSDVolumes, find_nsd
from brain_activity_prediction.datasets.nsd.regions import read_mask, read_regions
from brain_activity_prediction.datasets.roi_families import family_masks
from brain_activity_prediction.report.cortex.subject_surface import (
    FSAVERAGE,
    FSAVERAGE5,
    SubjectSurface,
    lacking_transforms,
    read_subject_surface,
)
from brain_activity_prediction.report.cortex.writing import over_subjects
from brain_activity_prediction.report.plots.flat_maps import PIXELS, CortexMap
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.storage.folders import Subject
from brain_activity_prediction.surfaces.meshes import curvature_of_fsaverage, flat_fsaverage, has_full_fsaverage
from brain_activity_prediction.surfaces.rasters import Raster, cached_raster
from brain_activity_prediction.surfaces.transforms import HEMISPHERES

OUTLINED = ("V1", "V2", "V3", "hV4", "faces", "bodies", "places", "words")
IN_AT_LEAST = 0.5  # share of a vertex's voxels, or of the subjects, that are in a region


@dataclass(frozen=True)
class Cortices:
    """The subjects of a report that have transforms, and the flat cortex that their maps are drawn on.

    regions  {subject: {region: (V,) bool}} on the vertices of both hemispheres in `space`
    """

    surfaces: dict[int, SubjectSurface]
    space: str
    flat: tuple[Raster, np.ndarray]
    regions: dict[int, dict[str, np.ndarray]]

    def read(self, paths: Mapping[int, Path], kind: str) -> dict[int, np.ndarray]:
        """Read the NIfTI maps that exist, {subject: path}, and carry each to the vertices (V,) of both hemispheres.

        kind  the name of the maps, which tells whether they are averaged
        """
        maps = {}
        for subject, path in paths.items():
            if path.exists():
                surface = self.surfaces[subject]
                maps[subject] = joined(surface, self.space, surface.sample(kind, surface.voxels.read(path)))
        return {subject: values for subject, values in maps.items() if np.isfinite(values).any()}

    def rows(self, maps: Mapping[int, np.ndarray], titles: Mapping[int, str]) -> list[CortexMap]:
        """Return the maps of several subjects as the rows of a figure."""
        return [CortexMap(titles[subject], values, self.regions[subject]) for subject, values in maps.items()]

    def mean(self, maps: Mapping[int, np.ndarray], title: str = "mean") -> CortexMap:
        """Return the mean over subjects; a vertex uses the subjects that have a value there."""
        n = f"{len(maps)} subjects" if len(maps) > 1 else f"subject {next(iter(maps))}"
        values = over_subjects(maps.values())["mean"]
        return CortexMap(f"{title} of {n}", values, self.shared_regions(list(maps)))

    def shared_regions(self, subjects: Sequence[int]) -> dict[str, np.ndarray]:
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


def read_cortices(source: Source, subjects: Sequence[Subject]) -> tuple[Cortices | None, list[str]]:
    """Read the transforms and regions of all subjects that have them, and list what the others lack."""
    if not isinstance(source.dataset, NSDVolumes):
        return None, []
    base_dir = source.dataset.base_dir
    lacking = {subject: text for subject in subjects if (text := lacking_transforms(base_dir, subject))}
    having = [subject for subject in subjects if subject not in lacking]
    if not having:
        return None, [*lacking.values()]
    full = base_dir if has_full_fsaverage(base_dir) else None
    space = FSAVERAGE if full else FSAVERAGE5
    flat = cached_raster(flat_fsaverage(full), PIXELS), curvature_of_fsaverage(full)
    surfaces = {subject: read_subject_surface(base_dir, subject) for subject in having}
    regions = {subject: outlined_regions(base_dir, surface, space) for subject, surface in surfaces.items()}
    return Cortices(surfaces, space, flat, regions), [*lacking.values()]


def outlined_regions(base_dir: Path, surface: SubjectSurface, space: str) -> dict[str, np.ndarray]:
    """Return the regions of OUTLINED on the vertices (V,) of both hemispheres."""
    nsd = find_nsd(base_dir)
    regions, fitted = read_regions(nsd, surface.subject), read_mask(nsd, surface.subject)[0]
    masks = {name: mask for name, mask in (regions | family_masks(regions)).items() if name in OUTLINED}
    if not masks:
        return {}
    on_cortex = surface.voxels.filled(fitted, np.stack([*masks.values()], axis=1).astype(float))
    shares = joined(surface, space, surface.averaged(on_cortex))
    return {name: shares[:, number] >= IN_AT_LEAST for number, name in enumerate(masks)}
