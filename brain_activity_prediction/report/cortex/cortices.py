"""Transfer the maps of a report, and the outlines of the subjects' regions, to fsaverage.

V is the number of vertices of both hemispheres, the left hemisphere first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.nsd.base import NSD
from brain_activity_prediction.datasets.nsd.regions import read_mask, read_regions
from brain_activity_prediction.datasets.roi_families import family_masks
from brain_activity_prediction.report.cortex.subject_surface import (
    FSAVERAGE,
    FSAVERAGE5,
    NATIVE,
)
from brain_activity_prediction.report.cortex.vertex_surface import (
    Surface,
    VertexSurface,
    lacking_of_maps,
    regions_on_vertices,
    surface_of_maps,
)
from brain_activity_prediction.report.cortex.writing import over_subjects
from brain_activity_prediction.report.map_files import is_written, map_paths
from brain_activity_prediction.report.plots.flat_maps import PIXELS, CortexMap
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables.collecting import Scored
from brain_activity_prediction.storage.folders import Subject, subject_name
from brain_activity_prediction.surfaces.meshes import flat_surface, has_flat_surface, read_curvature
from brain_activity_prediction.surfaces.rasters import Raster, cached_raster
from brain_activity_prediction.surfaces.transforms import HEMISPHERES

OUTLINED = ("V1", "V2", "V3", "hV4", "faces", "bodies", "places", "words")
IN_AT_LEAST = 0.5  # smallest share of a vertex's voxels, or of the subjects, that are in a region or have a value


@dataclass(frozen=True)
class Carrier:
    """Transfers the maps of one subject, which are volumes or on a surface, to a space."""

    surface: Surface
    space: str

    def read(self, path: Path, kind: str) -> np.ndarray | None:
        """Read a map and transfer it to the vertices (V,) of the space; None if the map does not exist.

        kind  name of the map, which decides whether its values may be averaged
        """
        if not is_written(path):
            return None
        return joined(self.surface, self.space, self.surface.sample(kind, self.surface.read(path)))


@dataclass(frozen=True)
class NativeCortex:
    """The flat cortex of one subject: raster, curvature (V,), and regions (V,) bool on its own vertices."""

    carrier: Carrier
    flat: tuple[Raster, np.ndarray]
    regions: dict[str, np.ndarray]


@dataclass(frozen=True)
class Cortices:
    """The subjects of a report whose maps can be transferred to fsaverage, and the flat cortex for their maps.

    regions  {subject: {region: (V,) bool}}
    native   flat cortex of each subject that has NSD's own flat patches
    """

    carriers: dict[Subject, Carrier]
    flat: tuple[Raster, np.ndarray]
    regions: dict[Subject, dict[str, np.ndarray]]
    native: dict[Subject, NativeCortex] = field(default_factory=dict)

    @property
    def subjects(self) -> list[Subject]:
        return list(self.carriers)

    def read(self, paths: Mapping[Subject, Path], kind: str) -> dict[Subject, np.ndarray]:
        """Read the maps that exist, {subject: path}, and transfer each to the vertices (V,).

        kind  name of the maps, which decides whether their values may be averaged
        """
        maps = {subject: self.carriers[subject].read(path, kind) for subject, path in paths.items()}
        return {subject: one for subject, one in maps.items() if one is not None and np.isfinite(one).any()}

    def rows(self, maps: Mapping[Subject, np.ndarray], titles: Mapping[Subject, str]) -> list[CortexMap]:
        """Return the maps of several subjects as the rows of a figure."""
        return [CortexMap(titles[subject], values, self.regions[subject]) for subject, values in maps.items()]

    def mean(self, maps: Mapping[Subject, np.ndarray], title: str = "mean") -> CortexMap:
        """Return the mean at each vertex over the subjects with a value there; NaN where less than half have one."""
        n = f"{len(maps)} subjects" if len(maps) > 1 else f"subject {next(iter(maps))}"
        statistics = over_subjects(maps.values())
        values = np.where(statistics["n_subjects"] >= IN_AT_LEAST * len(maps), statistics["mean"], np.nan)
        return CortexMap(f"{title} of {n}", values, self.shared_regions(list(maps)), is_mean=True)

    def shared_regions(self, subjects: Sequence[Subject]) -> dict[str, np.ndarray]:
        """Return the regions that at least half of the subjects have at a vertex, {region: (V,) bool}."""
        names = dict.fromkeys(name for subject in subjects for name in self.regions[subject])
        empty = np.zeros_like(self.flat[1], dtype=bool)
        return {
            name: np.mean([self.regions[subject].get(name, empty) for subject in subjects], axis=0) >= IN_AT_LEAST
            for name in names
        }


def joined(surface: Surface, space: str, native: Mapping[str, np.ndarray]) -> np.ndarray:
    """Transfer native values to a space and join both hemispheres, the left one first."""
    on_space = surface.on(space, native)
    return np.concatenate([on_space[side] for side in HEMISPHERES])


def read_cortices(source: Source, scored: Sequence[Scored]) -> tuple[Cortices | None, list[str]]:
    """Read the transforms of each subject's maps to fsaverage, and list the files that other subjects lack.

    Maps on fsaverage need no transforms. Maps of NSD's volumes and of its subjects' own surfaces need NSD's transforms.
    Volumes of other datasets are not drawn on the cortex. The maps are drawn on the full fsaverage if the folder has
    its flat patches and all maps can be transferred to it, otherwise on fsaverage5.
    """
    folders = {one.subject: one.folder / "maps" for one in scored}
    surfaces: dict[Subject, Surface] = {}
    lacking: list[str] = []
    for subject in sorted(folders):
        surface, text = _surface_of(source, subject, folders[subject])
        if surface is not None:
            surfaces[subject] = surface
        lacking += [text] if text else []
    if not surfaces:
        return None, lacking
    base_dir = source.dataset.base_dir if source.dataset else None
    is_whole = (
        base_dir is not None
        and has_flat_surface(base_dir)
        and all(FSAVERAGE in one.reached for one in surfaces.values())
    )
    on = FSAVERAGE if is_whole else FSAVERAGE5
    settings = {one.subject: one.settings for one in scored}
    regions, native = {}, {}
    for subject, surface in surfaces.items():
        own = _regions_of(source, subject, surface, settings[subject])
        regions[subject] = _outlined(surface, own, on)
        name = subject_name(subject)
        if base_dir and NATIVE in surface.reached and has_flat_surface(base_dir, name):
            flat = _flat(base_dir, name)
            native[subject] = NativeCortex(Carrier(surface, NATIVE), flat, _outlined(surface, own, NATIVE))
    carriers = {subject: Carrier(surface, on) for subject, surface in surfaces.items()}
    return Cortices(carriers, _flat(base_dir if is_whole else None), regions, native), lacking


def _surface_of(source: Source, subject: Subject, folder: Path) -> tuple[Surface | None, str]:
    """Return the `Surface` for the maps in a folder, or None and a message about the files that it lacks."""
    base_dir = source.dataset.base_dir if isinstance(source.dataset, NSD) else None
    path = next((path for path in map_paths(folder, "*") if is_written(path)), None)
    if path is None:
        return None, ""
    if lacking := lacking_of_maps(base_dir, subject, path, (FSAVERAGE5,)):
        return None, lacking if base_dir else ""
    return surface_of_maps(base_dir, subject, path), ""


def _flat(base_dir: Path | None, name: str = FSAVERAGE) -> tuple[Raster, np.ndarray]:
    return cached_raster(flat_surface(base_dir, name), PIXELS), read_curvature(base_dir, name)


def _regions_of(source: Source, subject: Subject, surface: Surface, settings: Mapping) -> dict[str, np.ndarray]:
    """Return masks of the regions in OUTLINED, in the order of the values that `surface.read` returns."""
    if isinstance(surface, VertexSurface):
        return _of_interest(regions_on_vertices(source.read_for(settings), subject))
    fitted = read_mask(surface.nsd, subject)[0]
    masks = _of_interest(read_regions(surface.nsd, subject))
    return {name: surface.voxels.filled(fitted, mask[:, None])[:, 0] for name, mask in masks.items()}


def _of_interest(regions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    masks = regions | family_masks(regions)
    return {name: masks[name] for name in OUTLINED if name in masks}


def _outlined(surface: Surface, masks: Mapping[str, np.ndarray], space: str) -> dict[str, np.ndarray]:
    """Return masks as regions (V,) on the vertices of a space."""
    if not masks:
        return {}
    shares = joined(surface, space, surface.sample("", np.stack([*masks.values()], axis=1).astype(float)))
    return {name: shares[:, number] >= IN_AT_LEAST for number, name in enumerate(masks)}
