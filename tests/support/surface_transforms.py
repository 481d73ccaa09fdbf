"""Write transforms in the format of NSD's files, from their description, without the code that reads them."""

import gzip
import struct

import numpy as np

N_FSAVERAGE = 163842
MISSING = 9999


def write_mgz(path, values):
    """Write an MGH file: version 1, big-endian float32, with axes (width, height, depth, frames) in Fortran order."""
    values = np.asarray(values, dtype=">f4")
    shape = [*values.shape, 1, 1, 1][:4]
    header = struct.pack(">7ih", 1, *shape, 3, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.ljust(284, b"\0") + values.tobytes(order="F"))


def write_transforms(folder, hemisphere, coordinates, nearest):
    """Write transforms from `coordinates` {depth: (V, 3)} and `nearest` (163842,), both 1-based."""
    for depth, positions in coordinates.items():
        write_mgz(folder / f"{hemisphere}.func1pt8-to-{depth}.mgz", np.reshape(positions, (-1, 1, 1, 3)))
    write_mgz(folder / f"{hemisphere}.white-to-fsaverage.mgz", np.reshape(nearest, (-1, 1, 1)))


def sphere(n_vertices, centre, radius):
    """Return points (V, 3) that are spread evenly over a sphere."""
    turn = np.arange(n_vertices) * np.pi * (3 - np.sqrt(5))
    z = np.linspace(1, -1, n_vertices)
    around = np.sqrt(1 - z**2)
    return np.asarray(centre) + radius * np.stack([around * np.cos(turn), around * np.sin(turn), z], axis=1)


def write_transforms_of_voxels(base_dir, subject, mask, shift=0):
    """Write transforms with vertices at the centres of the fitted voxels, moved by `shift` voxels along x.

    The left hemisphere has the first half of the voxels in the order of `volume[mask]`, the right one the others, each
    at all depths. Returns `{hemisphere: nearest}`, from 0.
    """
    voxels, folder = (
        np.argwhere(mask) + 1 + np.array([shift, 0, 0]),
        base_dir / f"nsddata/ppdata/subj{subject:02d}/transforms",
    )
    nearest = {}
    for side, own in zip(("lh", "rh"), np.array_split(voxels, 2), strict=True):
        nearest[side] = np.arange(N_FSAVERAGE) % len(own)
        depths = dict.fromkeys(("layerB1", "layerB2", "layerB3"), own)
        write_transforms(folder, side, depths, nearest[side] + 1)
    return nearest
