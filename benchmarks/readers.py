"""Time the readers of betas beside a plain read of the same file, by turns in one run, with a warm and a cold cache.

    python benchmarks/readers.py [--turns 5] [--trials 190] [--folder /some/disk] [--only mgh] [--voxels 211339]

Warm: files are in the page cache. Cold: before each read the system was asked to forget the file's pages; a disk may
still hold them. Requests are the system calls of one warm read that read from a file.

Files have NSD's shapes; gzipped and surface files have fewer trials, because their time is in proportion to the trials.
The plain reads are `gzip -dc`, the bytes of an .mgh file, and a contiguous copy of the same HDF5 dataset. Of HDF5 at 1
mm and on native surfaces it reports microseconds a chunk; a chunk holds all 750 trials of a voxel or vertex.
"""

import argparse
import gzip
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import h5py
import nibabel
import numpy as np

from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.datasets.nsd.betas import read_session
from brain_activity_prediction.datasets.nsd.surface import _fill
from brain_activity_prediction.datasets.responses import ResponseChoice
from brain_activity_prediction.encoding.subject_data import read_subject_data

SHAPE, N_FITTED = (81, 104, 83), 15_724
SHAPE_1MM, N_FITTED_1MM = (145, 186, 40), 90_000  # a slab of a quarter of the volume
N_VERTICES, N_FITTED_VERTICES = 163_842, 19_000
N_NATIVE, N_FITTED_NATIVE = 227_021, 27_000
TRIALS = 750
N_THINGS = 211_339


def shell(shape, n):
    """A mask of n voxels in a folded sheet at the back of a volume."""
    axes = (np.linspace(-1, 1, length) for length in shape)
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    depth = np.abs(np.sqrt((x / 0.8) ** 2 + ((y + 0.35) / 0.55) ** 2 + (z / 0.7) ** 2) - 0.85)
    mask = np.zeros(shape, dtype=bool)
    mask.flat[np.argsort(depth, axis=None)[:n]] = True
    return mask


def betas(rng, *shape):
    """Percent signal change times 300: noise of 1.5 %, as gzip finds it in NSD's files."""
    return np.rint(rng.standard_normal(shape, np.float32) * 450).astype(np.int16)


def write_nifti(path, shape, trials, rng):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((*shape, trials))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(trials):
            file.write(betas(rng, *shape).tobytes())


def write_chunks(path, shape, rng):
    """Write an HDF5 file of betas (750, *shape), with all trials of a place in a chunk."""
    block = betas(rng, 1000, TRIALS)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("betas", (TRIALS, *shape), np.int16, chunks=(TRIALS, *(1,) * len(shape)))
        for number, place in enumerate(np.ndindex(*shape)):
            data.id.write_direct_chunk((0, *place), block[number % 1000].tobytes())


def by_turns(turns, files, **reads):
    """Run each function in turn, and return the median seconds of each; the first turn warms up and does not count.

    `NAME cold` are the seconds with a cold cache, `processor` is the median processor time of `ours`, `requests` its
    number of reads.
    """
    seconds = {}
    for cold in (False, True):
        for _ in range(turns + 1):
            for name, read in reads.items():
                if cold:
                    for path in files:
                        forget(path)
                started, worked, asked = time.perf_counter(), time.process_time(), requests()
                read()
                measured = {name: time.perf_counter() - started}
                if name == "ours":
                    measured |= {"processor": time.process_time() - worked, "requests": requests() - asked}
                for what, value in measured.items():
                    seconds.setdefault(f"{what} cold" if cold else what, []).append(value)
    return {what: statistics.median(values[1:]) for what, values in seconds.items()}


def forget(path):
    """Ask the system to drop a file's pages from its cache."""
    with open(path, "rb") as file:
        os.fdatasync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def requests():
    """Return the number of system calls of this process that read."""
    return int(re.search(r"syscr: (\d+)", Path("/proc/self/io").read_text())[1])


def nifti(folder, turns, trials):
    path, mask = folder / "betas.nii.gz", shell(SHAPE, N_FITTED)
    write_nifti(path, SHAPE, trials, np.random.default_rng(0))
    found = by_turns(
        turns,
        [path],
        ours=lambda: read_session(path, mask, trials),
        plain=lambda: subprocess.run(["gzip", "-dc", path], stdout=subprocess.DEVNULL, check=True),
    )
    print(f".nii.gz, {trials} trials: {ratio(found)} of gzip -dc")


def mgh(folder, turns, trials):
    path, rng = folder / "lh.betas.mgh", np.random.default_rng(1)
    values = rng.standard_normal((N_VERTICES, 1, 1, trials), np.float32)
    nibabel.save(nibabel.MGHImage(values, np.eye(4)), path)
    mask = np.zeros(N_VERTICES, bool)
    mask[rng.permutation(N_VERTICES)[:N_FITTED_VERTICES]] = True
    responses = np.empty((trials, N_FITTED_VERTICES), np.float32)
    found = by_turns(
        turns, [path], ours=lambda: _fill(responses, path, mask), plain=lambda: np.fromfile(path, np.uint8)
    )
    print(f".mgh, {trials} trials: {ratio(found)} of reading its bytes")


def hdf5(folder, turns, trials):
    path, copy, mask = folder / "betas.hdf5", folder / "contiguous.hdf5", shell(SHAPE, N_FITTED)
    write_chunks(path, SHAPE[::-1], np.random.default_rng(2))
    with h5py.File(path) as file, h5py.File(copy, "w") as other:
        whole = other.create_dataset("betas", (TRIALS, *SHAPE[::-1]), np.int16)
        for plane in range(0, SHAPE[2], 8):
            whole[:, plane : plane + 8] = file["betas"][:, plane : plane + 8]

    def contiguous():
        with h5py.File(copy) as file:
            return file["betas"][:]

    found = by_turns(turns, [path, copy], ours=lambda: read_session(path, mask, TRIALS), plain=contiguous)
    print(f"HDF5 at 1.8 mm: {ratio(found)} of reading a contiguous copy")


def chunks(folder, turns, trials):
    path, mask = folder / "betas_1mm.hdf5", shell(SHAPE_1MM, N_FITTED_1MM)
    write_chunks(path, SHAPE_1MM[::-1], np.random.default_rng(3))
    found = by_turns(turns, [path], ours=lambda: read_session(path, mask, TRIALS))
    print(f"HDF5 at 1 mm: {a_chunk(found, N_FITTED_1MM)}")
    path.unlink()
    native, vertices = folder / "lh.betas.hdf5", np.zeros(N_NATIVE, bool)
    vertices[: 2 * N_FITTED_NATIVE : 2] = True
    write_chunks(native, (N_NATIVE,), np.random.default_rng(4))
    responses = np.empty((TRIALS, N_FITTED_NATIVE), np.float32)
    found = by_turns(turns, [native], ours=lambda: _fill(responses, native, vertices))
    print(f"HDF5 on a native surface: {a_chunk(found, N_FITTED_NATIVE)}")


def things(folder, turns, trials, n_voxels=N_THINGS // 8):
    """Write the table form of THINGS-fMRI, and read it twice, each in its own process."""
    tables = folder / "betas_csv"
    tables.mkdir()
    rng = np.random.default_rng(5)
    images = [f"picture_{number:04d}s.jpg" for number in range(8740)]
    of_sessions = [
        rng.permutation([*images[100 + 720 * session : 820 + 720 * session], *images[:100]]) for session in range(12)
    ]
    lines = ["trial_type,session,run,subject_id,trial_id,stimulus,concept"]
    for trial, name in enumerate(np.concatenate(of_sessions)):
        kind = "test" if name < "picture_0100s.jpg" else "train"
        lines.append(f"{kind},{trial // 820 + 1},1,1,{trial},{name},picture")
    (tables / "sub-01_StimulusMetadata.csv").write_text("\n".join(lines) + "\n")
    rows = "".join(f"{voxel},{voxel},0,0,20\n" for voxel in range(n_voxels))
    (tables / "sub-01_VoxelMetadata.csv").write_text("voxel_id,voxel_x,voxel_y,voxel_z,nc_singletrial\n" + rows)
    with h5py.File(tables / "sub-01_ResponseData.h5", "w") as file:
        block = file.create_dataset("ResponseData/block0_values", (n_voxels, 9840), np.float64)
        thousand = rng.standard_normal((1000, 9840))
        for voxel in range(0, n_voxels, 1000):
            block[voxel : voxel + 1000] = thousand[: n_voxels - voxel]
    size = 8740 * n_voxels * 4 / 1e9
    for what in ("first read", "from the prepared responses"):
        said = subprocess.run(
            [sys.executable, __file__, "--read-things", folder], check=True, capture_output=True, text=True
        )
        added, seconds, processor = map(float, said.stdout.split())
        print(f"THINGS, {what}: {added:.2f} GB for responses of {size:.2f} GB, {added / size:.2f}", end="; ")
        print(f"{seconds:.0f} s, {processor:.0f} of processor time", flush=True)


def read_things(folder):
    """Read and scale the responses; print the peak memory in GB beyond that before, seconds and processor time."""
    before, started, worked = peak_gb(), time.perf_counter(), time.process_time()
    read_subject_data(find_dataset(folder), "sub-01", ResponseChoice(), folder / "cache")
    print(peak_gb() - before, time.perf_counter() - started, time.process_time() - worked)


def peak_gb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def a_chunk(found, n):
    warm, cold, processor = (found[what] / n * 1e6 for what in ("ours", "ours cold", "processor"))
    said = f"{warm:.0f} us a chunk, {processor:.0f} of processor time, {cold:.0f} cold"
    return f"{said}; {found['requests']:,.0f} requests for {n:,} chunks"


def ratio(found):
    warm, cold = (
        f"{found['ours' + end]:.2f} s, {found['ours' + end] / found['plain' + end]:.2f}" for end in ("", " cold")
    )
    return f"{warm}, cold {cold}"


KINDS = {"nifti": nifti, "mgh": mgh, "hdf5": hdf5, "chunks": chunks, "things": things}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--trials", type=int, default=190)
    parser.add_argument("--folder", help="where to write, by default the system's temporary folder")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--voxels", type=int, default=N_THINGS // 8, help=f"of THINGS, {N_THINGS} at full size")
    parser.add_argument("--read-things", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read_things:
        return read_things(arguments.read_things)
    kinds = KINDS | {"things": partial(things, n_voxels=arguments.voxels)}
    for name, measure in kinds.items():
        if arguments.only in (None, name):
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                measure(Path(folder), arguments.turns, arguments.trials)


if __name__ == "__main__":
    main()
