"""Transfer the voxel maps of a subject to its own cortical surface and to fsaverage.

Letters: N voxels of the cortex, V vertices of a hemisphere, n maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from scipy.sparse import csr_array

from brain_activity_prediction.datasets.dataset import Reading
from brain_activity_prediction.datasets.nsd.nsd import NSDVolumes, find_nsd
from brain_activity_prediction.datasets.nsd.regions import subject_grid
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import Output, Subject
from brain_activity_prediction.storage.grid import PUBLISHED_AXES, Grid, on_grid
from brain_activity_prediction.storage.nifti import open_volumes, read_grid, read_volume_on
from brain_activity_prediction.surfaces.sampling import interpolated, majority, ribbon_weights
from brain_activity_prediction.surfaces.transforms import (
    HEMISPHERES,
    SPACE,
    missing_files,
    missing_index_files,
    read_hemisphere,
    transforms_folder,
)

NATIVE, FSAVERAGE, FSAVERAGE5 = SPACES = ("native", "fsaverage", "fsaverage5")
N_FSAVERAGE5 = 10242  # fsaverage5 is the first vertices of fsaverage
BETWEEN_SPACES_MM = 1.4  # separates NSD's two voxel sizes, 1 and 1.8 mm
OF_NSD = (None, "nsd_synthetic")  # values of `Output.dataset` for which NSD's transforms apply
# Maps of values that must not be averaged: layers, prompts, alphas, p and q.
NEVER_AVERAGED = ("best_layer", "best_prompt", "_alpha", "_p", "_q")
OnSurface = dict[str, np.ndarray]  # by hemisphere, (V,) or (V, n)


@dataclass(frozen=True)
class CorticalVoxels:
    """The N voxels of a subject's cortex, in the order of `volume[mask]`.

    grid  grid of all volumes of the subject
    mask  (X, Y, Z) bool: voxels where nsdgeneral is at least 0, or all voxels for other datasets
    """

    grid: Grid
    mask: np.ndarray

    def read(self, path: Path) -> np.ndarray:
        """Read the cortical voxels of a NIfTI file, (N,) for one volume and (N, n) for several.

        Raises InputError if a voxel outside the cortex has a value, because no vertex would show it.
        """
        with open_volumes(path) as volumes:
            whole = on_grid(np.asarray(volumes.numbers), volumes.grid, self.grid)
        if beyond := np.count_nonzero(np.isfinite(whole).reshape(*self.mask.shape, -1).any(axis=-1) & ~self.mask):
            raise InputError(
                f"{path} has {beyond} voxels with a value outside the cortex (nsdgeneral below 0), which surfaces "
                "cannot show: fit voxels of the cortex (--mask)"
            )
        values = whole[self.mask]
        return values[:, 0] if values.ndim > 1 and values.shape[1] == 1 else values

    def filled(self, fitted: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """Convert masks (n_fitted, n) of the fitted voxels to masks (N, n) of the cortex; `fitted` is (X, Y, Z)."""
        volume = np.zeros((*self.mask.shape, masks.shape[1]), dtype=masks.dtype)
        volume[fitted] = masks
        return volume[self.mask]

    def as_published(self, volume: np.ndarray) -> np.ndarray:
        """Return a volume (X, Y, Z) with the axes of NSD's files, to which the coordinates in its transforms refer."""
        return on_grid(volume, self.grid, self.grid.along(PUBLISHED_AXES))


@dataclass(frozen=True)
class SubjectSurface:
    """The transform from the voxels of a subject's cortex to the vertices of both hemispheres.

    positions  {hemisphere: {depth: (V, 3)}}, in voxels from 0 along the axes of NSD's files; NaN outside the volume
    weights    {hemisphere: (V, N)}, see `ribbon_weights`
    nearest    {hemisphere: (163842,)}, the subject's vertex nearest to each vertex of fsaverage; None without a file
    nsd        NSD with volumes on the grid of the voxels; None for other datasets
    """

    subject: Subject
    voxels: CorticalVoxels
    positions: dict[str, dict[str, np.ndarray]]
    weights: dict[str, csr_array]
    nearest: dict[str, np.ndarray | None]
    nsd: NSDVolumes | None = None

    @property
    def reached(self) -> tuple[str, ...]:
        """Return the spaces to which maps can be transferred."""
        return SPACES if all(values is not None for values in self.nearest.values()) else (NATIVE,)

    def read(self, path: Path) -> np.ndarray:
        """Read a map of the voxels: (N,) for one volume, (N, n) for several."""
        return self.voxels.read(path)

    def averaged(self, values: np.ndarray) -> OnSurface:
        """Interpolate values (N,) or (N, n) at each native vertex."""
        return {side: interpolated(weights, values) for side, weights in self.weights.items()}

    def voted(self, values: np.ndarray) -> OnSurface:
        """Return, for each native vertex, the value with the largest weight among values (N,) or (N, n)."""
        columns = np.reshape(values, (len(values), -1)).T
        on_surface = {
            side: np.stack([majority(weights, column) for column in columns], axis=1)
            for side, weights in self.weights.items()
        }
        return {side: found[:, 0] if values.ndim == 1 else found for side, found in on_surface.items()}

    def sample(self, name: str, values: np.ndarray) -> OnSurface:
        """Transfer a map to the native vertices: `averaged`, or `voted` for maps that must not be averaged."""
        return self.voted(values) if name.endswith(NEVER_AVERAGED) else self.averaged(values)

    def on(self, space: str, native: OnSurface) -> OnSurface:
        """Transfer native values to a space; a vertex of fsaverage gets the value of the nearest native vertex."""
        if space == NATIVE:
            return native
        n = N_FSAVERAGE5 if space == FSAVERAGE5 else None
        return {side: values[self.nearest[side][:n]] for side, values in native.items()}


def space_of(path: Path) -> str:
    """Return NSD's space of a volume, func1mm or func1pt8mm, judged by the size of its voxels."""
    return "func1mm" if voxel_sizes(read_grid(path).affine).max() < BETWEEN_SPACES_MM else SPACE


def has_nsd_volumes(output: Output) -> bool:
    """Return whether NSD's transforms apply to the volumes of these results."""
    return output.dataset in OF_NSD


def needs_meshes(subject: Subject) -> str:
    """Return the message that a subject of another dataset than NSD needs meshes."""
    return (
        f"subject {subject} is not of NSD and has no transforms to surfaces, so its maps stay volumes: give its "
        "meshes with bap surface --mesh"
    )


def lacking_transforms(
    base_dir: Path, subject: Subject, spaces: Sequence[str] = (FSAVERAGE,), volumes: str = SPACE
) -> str:
    """Return a message that lists the transforms that a subject lacks; empty if it has all.

    spaces   spaces to which maps are transferred
    volumes  NSD's space of the volumes
    """
    folder = transforms_folder(base_dir, subject)
    lacking = missing_files(folder, any(space != NATIVE for space in spaces), volumes)
    if not lacking:
        return ""
    names = ", ".join(path.name for path in lacking)
    return f"subject {subject} has no transforms to surfaces, so its maps stay volumes: fetch {names} into {folder}"


def lacking_indices(base_dir: Path, subject: Subject) -> str:
    """Return a message that lists the files of indices to fsaverage that a subject lacks."""
    folder = transforms_folder(base_dir, subject)
    names = ", ".join(path.name for path in missing_index_files(folder))
    return (
        f"subject {subject} has no transform to fsaverage, so its maps stay on its own surface: fetch {names} into "
        f"{folder}"
    )


def read_voxels(nsd: NSDVolumes, subject: int) -> CorticalVoxels:
    """Read the voxels of a subject's cortex from nsdgeneral."""
    grid = subject_grid(nsd, subject)
    return CorticalVoxels(grid, read_volume_on(nsd.nsdgeneral(subject), grid) >= 0)


def all_voxels(path: Path) -> CorticalVoxels:
    """Return all voxels of a volume, for subjects of other datasets than NSD."""
    grid = read_grid(path)
    return CorticalVoxels(grid, np.ones(grid.shape, dtype=bool))


def nsd_in(base_dir: Path, volumes: str = SPACE) -> NSDVolumes:
    """Return NSD with the volumes of one of its spaces."""
    nsd = find_nsd(base_dir)
    return nsd if volumes == SPACE else nsd.reading(Reading(space=volumes))


def read_subject_surface(base_dir: Path, subject: int, volumes: str = SPACE) -> SubjectSurface:
    """Read a subject's cortical voxels in one of NSD's spaces, and NSD's transforms."""
    nsd = nsd_in(base_dir, volumes)
    voxels = read_voxels(nsd, subject)
    folder, shape = transforms_folder(base_dir, subject), voxels.as_published(voxels.mask).shape
    hemispheres = {side: read_hemisphere(folder, side, shape, volumes) for side in HEMISPHERES}
    positions = {side: one.coordinates for side, one in hemispheres.items()}
    nearest = {side: one.nearest for side, one in hemispheres.items()}
    return SubjectSurface(subject, voxels, positions, weights_at(voxels, positions), nearest, nsd)


def weights_at(voxels: CorticalVoxels, positions: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, csr_array]:
    """Return the `ribbon_weights` of the cortical voxels at each hemisphere's vertices."""
    numbers = np.full(voxels.mask.shape, -1)
    numbers[voxels.mask] = np.arange(np.count_nonzero(voxels.mask))
    numbers = voxels.as_published(numbers)
    column_of_voxel = np.argsort(numbers[numbers >= 0])
    return {
        side: ribbon_weights(depths.values(), numbers >= 0)[:, column_of_voxel] for side, depths in positions.items()
    }
