"""Write the maps and ROI labels of runs as surface files, and statistics of the maps over subjects.

V is the number of vertices of a hemisphere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.nsd.label_volumes import roi_volumes
from brain_activity_prediction.encoding.tables.layer_figure import COLOURS
from brain_activity_prediction.inference.subject_statistics import mean_and_error
from brain_activity_prediction.report.cortex.run_maps import RunMaps
from brain_activity_prediction.report.cortex.subject_surface import NATIVE, NEVER_AVERAGED, OnSurface, SubjectSurface
from brain_activity_prediction.report.cortex.vertex_surface import Surface
from brain_activity_prediction.report.tables.averages import SIGNIFICANT
from brain_activity_prediction.storage.folders import Subject
from brain_activity_prediction.storage.nifti import read_volume_on
from brain_activity_prediction.surfaces.sampling import cubic_over_depths, interpolated, majority, ribbon_weights
from brain_activity_prediction.surfaces.surface_files import write_labels, write_mgz, write_values

FOLDER = "surfaces"
Q = "_best_layer_q"

SpaceAndMap = tuple[str, str]


def write_maps(maps: RunMaps, surface: Surface, spaces: Sequence[str]) -> dict[SpaceAndMap, OnSurface]:
    """Write each map of a folder to surfaces/SPACE/ as .func.gii and .mgz; return the maps for statistics.

    Returned are the maps on spaces that subjects share, except maps that must not be averaged. A map of q is returned
    as `STREAM_significant`: 1 if the vertex, or the voxel with the largest weight at it, is significant.
    """
    shared = {}
    for name, path in maps.paths.items():
        values = surface.read(path)
        own = surface.sample(name, values)
        on_spaces = {space: surface.on(space, own) for space in spaces}
        for space, own in on_spaces.items():
            write_map(maps.folder / FOLDER / space, name, own)
        of_subjects = name
        if name.endswith(Q):
            on_spaces = {space: surface.on(space, surface.sample(name, is_significant(values))) for space in spaces}
            of_subjects = name.removesuffix(Q) + "_significant"
        elif name.endswith(NEVER_AVERAGED) or values.ndim > 1:
            continue
        shared |= {(space, of_subjects): own for space, own in on_spaces.items() if space != NATIVE}
    return shared


def write_map(folder: Path, name: str, values: Mapping[str, np.ndarray]) -> None:
    """Write values (V,) or (V, n) of each hemisphere as `lh.NAME.func.gii`, `lh.NAME.mgz` and so on."""
    for side, own in values.items():
        names = [name] if own.ndim == 1 else [f"{name} {number}" for number in range(own.shape[1])]
        write_values(folder / f"{side}.{name}.func.gii", own, side, names)
        write_mgz(folder / f"{side}.{name}.mgz", own)


def write_volume(path: Path, folder: Path, surface: SubjectSurface, spaces: Sequence[str]) -> str:
    """Write a volume on the subject's functional grid to `folder`/surfaces/SPACE/; return how it was interpolated.

    A volume without NaN is interpolated cubically, as in NSD. A volume with NaN is interpolated over the voxels that
    have a value.
    """
    volume = surface.voxels.as_published(read_volume_on(path, surface.voxels.grid).astype(np.float64))
    finite = np.isfinite(volume)
    if finite.all():
        native = {side: cubic_over_depths(volume, depths.values()) for side, depths in surface.positions.items()}
    else:
        weights = {side: ribbon_weights(depths.values(), finite) for side, depths in surface.positions.items()}
        native = {side: interpolated(own, volume[finite]) for side, own in weights.items()}
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    for space in spaces:
        write_map(folder / FOLDER / space, name, surface.on(space, native))
    return "cubically" if finite.all() else "over the voxels with a value"


def write_roi_labels(folder: Path, surface: Surface, spaces: Sequence[str]) -> list[str]:
    """Write each ROI volume of an NSD subject as .label.gii to `folder`/surfaces/SPACE/; return the ROIs' names."""
    written: list[str] = []
    if not isinstance(surface, SubjectSurface) or surface.nsd is None:
        return written
    for name, labels, names in roi_volumes(surface.nsd, surface.subject, surface.voxels.grid):
        # Voxels outside the cortex (below 0) are ignored. Unlabelled voxels count as label 0.
        whole = np.where(labels < 0, np.nan, labels)[surface.voxels.mask]
        native = {side: np.nan_to_num(majority(weights, whole)) for side, weights in surface.weights.items()}
        colours = {number: (text, rgb(turn)) for turn, (number, text) in enumerate(sorted(names.items()))}
        for space in spaces:
            for side, values in surface.on(space, native).items():
                path = folder / FOLDER / space / f"{side}.{name}.label.gii"
                write_labels(path, values, side, name, colours)
        written.append(name)
    return written


def rgb(turn: int) -> tuple[float, float, float]:
    """Return red, green and blue of the nth label, from 0 to 1; colours repeat in a lighter shade."""
    code = COLOURS[turn % len(COLOURS)]
    shade = 0.6 ** (turn // len(COLOURS) % 3)
    red, green, blue = (int(code[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return 1 - shade * (1 - red), 1 - shade * (1 - green), 1 - shade * (1 - blue)


def over_subjects(maps: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the mean of maps (V,) over subjects, Student's t against 0, and the number of subjects, each (V,).

    At each vertex, only subjects with a value are used. t has n_subjects - 1 degrees of freedom; it is NaN for fewer
    than two subjects.
    """
    values = np.stack(list(maps)).astype(np.float64)
    mean, error = mean_and_error(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > 0, mean / error, np.nan)
    return {"mean": mean, "t": t, "n_subjects": np.isfinite(values).sum(axis=0)}


def write_over_subjects(folder: Path, by_subject: Mapping[Subject, Mapping[SpaceAndMap, OnSurface]]) -> set[str]:
    """Write statistics of the maps that at least two subjects have in a space; return the names of these spaces.

    by_subject  {subject: maps of `write_maps`} of one model and prompt

    The files are MAP_mean, MAP_t and MAP_n_subjects, and STREAM_n_significant for tested streams. They are NaN where no
    subject has a value.
    """
    held = [key for maps in by_subject.values() for key in maps]
    shared = [key for key in dict.fromkeys(held) if held.count(key) > 1]
    for space, name in shared:
        own = [maps[space, name] for maps in by_subject.values() if (space, name) in maps]
        sides = {side: [values[side] for values in own] for side in own[0]}
        target = folder / FOLDER / space
        if name.endswith("_significant"):
            counts = {side: n_significant(values) for side, values in sides.items()}
            write_map(target, f"{name.removesuffix('significant')}n_significant", counts)
            continue
        statistics = {side: over_subjects(values) for side, values in sides.items()}
        for kind in next(iter(statistics.values())):
            write_map(target, f"{name}_{kind}", {side: of[kind] for side, of in statistics.items()})
    return {space for space, _ in shared}


def is_significant(q: np.ndarray) -> np.ndarray:
    """Return 1 where q is significant, 0 where it is not, and NaN where there was no test."""
    return np.where(np.isnan(q), np.nan, q < SIGNIFICANT)


def n_significant(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Count the subjects with a significant score at each vertex, from `is_significant`; NaN without any test."""
    values = np.stack(maps)
    return np.where(np.isfinite(values).any(axis=0), np.nansum(values, axis=0), np.nan)
