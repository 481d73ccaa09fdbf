"""How long maps take to fsaverage, at the size of a study: 6 models, 9 prompts, 4 subjects; and one flat figure.

    python benchmarks/surfaces.py [--small]

Subjects have NSD's numbers of vertices and voxels: a folded shell of cortex, fitted in the back. Everything is written
to a temporary folder and read by the product's own code.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import synthetic_scores as synthetic

from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.datasets.nsd.regions import read_mask
from brain_activity_prediction.report.cortex.subject_surface import FSAVERAGE, read_subject_surface
from brain_activity_prediction.report.cortex.writing import over_subjects, write_map
from brain_activity_prediction.report.plots.drawing import FigureFolder
from brain_activity_prediction.report.plots.flat_maps import PIXELS, CortexMap, accuracy_scale, cortex_figure
from brain_activity_prediction.surfaces.meshes import Arrangement
from brain_activity_prediction.surfaces.rasters import rasterise
from brain_activity_prediction.surfaces.transforms import DEPTHS, N_FSAVERAGE, transforms_folder

N_VERTICES = 227_000  # of a hemisphere, in a typical subject
N_MAPS = 6 * 9
SMALL = 500  # vertices with --small


def write_transforms(base_dir, subject, mask, n_vertices):
    """Vertices within half a voxel of random cortex, most of them near no fitted voxel, as in NSD."""
    rng, folder = np.random.default_rng(subject), transforms_folder(base_dir, subject)
    folder.mkdir(parents=True)
    fitted = np.argwhere(mask)
    for side in ("lh", "rh"):
        near = fitted[rng.integers(0, len(fitted), n_vertices // 4)]
        others = rng.integers(0, np.array(mask.shape) - 1, (n_vertices - len(near), 3))
        middle = np.concatenate([near, others]) + rng.uniform(-0.5, 0.5, (n_vertices, 3))
        for number, depth in enumerate(DEPTHS):
            coordinates = (middle + 0.3 * (number - 1) + 1).astype(np.float32).reshape(-1, 1, 1, 3)
            save(folder / f"{side}.func1pt8-to-{depth}.mgz", coordinates)
        indices = rng.integers(1, n_vertices + 1, N_FSAVERAGE).astype(np.float32).reshape(-1, 1, 1)
        save(folder / f"{side}.white-to-fsaverage.mgz", indices)


def save(path, values):
    nibabel.save(nibabel.freesurfer.MGHImage(values, np.eye(4)), path)


def flat_grid(n_vertices):
    """Two flat sheets with about as many vertices as fsaverage, one next to the other."""
    side = int(np.sqrt(n_vertices))
    x, y = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    number = np.arange(side * side).reshape(side, side)
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    both = np.concatenate([points, points + np.array([side + 10, 0])])
    n = 2 * len(points)
    return Arrangement(both, np.zeros(n), np.concatenate([faces, faces + len(points)]), np.arange(n), n)


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--small", action="store_true", help="a few vertices, to try the benchmark")
    small = flags.parse_args().small
    study = synthetic.SMALL if small else synthetic.Study()
    with TemporaryDirectory() as folder:
        base_dir = Path(folder)
        synthetic.write_nsd(Layout("official", base_dir), synthetic.SMALL if small else full_masks())
        layout = Layout("official", base_dir)
        masks = {subject: read_mask(layout, subject)[0] for subject in study.subjects}
        for subject, mask in masks.items():
            write_transforms(base_dir, subject, mask, SMALL if small else N_VERTICES)
        measure(base_dir, masks)
    figure(SMALL if small else N_FSAVERAGE)


def full_masks():
    """NSD's volumes and masks at full size, without its images."""
    small = synthetic.SMALL
    return synthetic.Study(small.models, (1,), synthetic.FULL_SIZES, ("prf-visualrois",), 12, 0, 8, 6)


def measure(base_dir, masks):
    """Time matrices, maps and files; a map of the first subject is written as both kinds of files."""
    started, sums = (time.perf_counter(), time.process_time()), {"matrices": 0.0, "maps": 0.0, "files": 0.0}
    firsts = []
    for subject, mask in masks.items():
        start = time.perf_counter()
        surface = read_subject_surface(base_dir, subject)
        sums["matrices"] += time.perf_counter() - start
        for number in range(N_MAPS):
            volume = np.full(mask.shape, np.nan, np.float32)
            volume[mask] = np.random.default_rng(number).random(np.count_nonzero(mask), np.float32)
            values = volume[surface.voxels.mask]
            start = time.perf_counter()
            on_fsaverage = surface.on(FSAVERAGE, surface.averaged(values))
            sums["maps"] += time.perf_counter() - start
            start = time.perf_counter()
            write_map(base_dir / "written" / f"{subject}", f"map{number}", on_fsaverage)
            sums["files"] += time.perf_counter() - start
        firsts.append(on_fsaverage["lh"])
    over_subjects(firsts)
    n = N_MAPS * len(masks)
    print(f"{n} maps of {len(masks)} subjects to fsaverage: {sums['matrices']:.1f} s for the transforms and matrices,")
    print(f"{sums['maps']:.1f} s for the maps, {sums['files']:.1f} s for {4 * n} files")
    wall, processor = time.perf_counter() - started[0], time.process_time() - started[1]
    print(f"{wall:.1f} s in all, {processor:.1f} s of processor time")


def figure(n_vertices):
    """Time a flat figure of four subjects and their mean on a mesh of fsaverage's size."""
    arrangement = flat_grid(n_vertices)
    start = time.perf_counter()
    raster = rasterise(arrangement, PIXELS)
    print(f"finding the triangles of {arrangement.n_vertices} vertices: {time.perf_counter() - start:.1f} s, once")
    x, y = arrangement.points.T
    values = np.where(x % 200 < 100, np.sin(x / 9) ** 2, np.nan)
    middle = y.max() / 2
    regions = {f"region {turn}": np.hypot(x % (y.max() + 10) - 40 * turn, y - middle) < 15 for turn in range(1, 9)}
    maps = [CortexMap(f"subject {subject}", values, regions) for subject in (1, 2, 5, 7)]
    maps.append(CortexMap("mean", values, regions))
    with TemporaryDirectory() as folder:
        for turn in ("first", "second"):
            start, processor = time.perf_counter(), time.process_time()
            scale = accuracy_scale([values], "r / ceiling", 1)
            cortex_figure("flat", "A figure", maps, scale, (raster, np.sin(y)), FigureFolder(Path(folder)))
            wall, processor = time.perf_counter() - start, time.process_time() - processor
            print(f"{turn} figure of 5 maps: {wall:.2f} s, {processor:.2f} s of processor time")


if __name__ == "__main__":
    main()
