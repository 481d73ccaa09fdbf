"""Measure the betas reader on full-size sessions of subject 1: peak memory and seconds a session.

    python benchmarks/betas_memory.py [--sessions 40] [--folder /some/fast/disk]

For each format, writes one session of random int16 betas (81 x 104 x 83 voxels, 15724 of them fitted, 750
trials; about 1 GB), links it as all the others, reads them through `prepare_responses` in a process of its
own, and removes them. Random betas are the worst case for gzip. HDF5 is written in chunks of one voxel, as NSD
publishes it, and in one piece, for comparison.
"""

import argparse
import gzip
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import nibabel
import numpy as np
from scipy.io import savemat

from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.responses import prepare_responses

SHAPE = (81, 104, 83)
N_FITTED = 15724
N_TRIALS, N_SESSIONS, N_IMAGES, N_SHARED = 30000, 40, 10000, 1000
FORMATS = {"HDF5 in chunks of a voxel": ".hdf5", "HDF5 in one piece": ".hdf5", "NIfTI": ".nii.gz"}


def write_design_and_mask(layout, rng):
    design, mask = layout.expected("design")[0], layout.expected("nsdgeneral", subject=1)[0]
    ids = rng.permutation(np.arange(1, N_SHARED + 8 * (N_IMAGES - N_SHARED) + 1))
    shared, unique = ids[:N_SHARED], ids[N_SHARED:].reshape(8, -1)
    savemat(
        design,
        {
            "masterordering": rng.permutation(np.repeat(np.arange(1, N_IMAGES + 1), 3)),
            "subjectim": np.hstack([np.tile(shared, (8, 1)), unique]),
            "sharedix": shared,
            "basiccnt": np.zeros((3, N_SESSIONS)),
        },
    )
    axes = (np.linspace(-1, 1, length) for length in SHAPE)
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    depth = np.abs(np.sqrt((x / 0.8) ** 2 + ((y + 0.35) / 0.55) ** 2 + (z / 0.7) ** 2) - 0.85)  # a shell at the back
    volume = np.full(SHAPE, -1, dtype=np.int16)
    volume.flat[np.argsort(depth, axis=None)[:N_FITTED]] = 1
    mask.parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.8, 1.8, 1.8, 1])), mask)


def write_session(path, name, rng):
    """Voxel by voxel or volume by volume, so that the writer is not what needs the memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n_trials = N_TRIALS // N_SESSIONS
    if name == "HDF5 in one piece":
        with h5py.File(path, "w") as file:
            betas = file.create_dataset("betas", (n_trials, *SHAPE[::-1]), dtype=np.int16)
            for trial in range(n_trials):
                betas[trial] = rng.integers(-1500, 1500, SHAPE[::-1], dtype=np.int16)
    elif path.suffix == ".hdf5":
        chunk = (n_trials, 1, 1, 1)  # all trials of a voxel, as NSD publishes its betas
        with h5py.File(path, "w") as file:
            betas = file.create_dataset("betas", (n_trials, *SHAPE[::-1]), dtype=np.int16, chunks=chunk)
            for place in np.ndindex(SHAPE[::-1]):
                betas.id.write_direct_chunk((0, *place), rng.integers(-1500, 1500, n_trials, dtype=np.int16).tobytes())
    else:
        header = nibabel.Nifti1Header()
        header.set_data_dtype(np.int16)
        header.set_data_shape((*SHAPE, n_trials))
        header["vox_offset"] = 352  # the header's 348 bytes and 4 that say: no extensions
        header["magic"] = b"n+1"
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(header.binaryblock + bytes(4))
            for _ in range(n_trials):
                file.write(rng.integers(-1500, 1500, SHAPE, dtype=np.int16).tobytes(order="F"))


def read(folder):
    """Runs in a process of its own: peak memory is a process's, not a call's."""
    layout = find_nsd(folder)
    started = time.perf_counter()
    responses = prepare_responses(layout, 1)
    seconds = (time.perf_counter() - started) / len(responses.sessions)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    n_images, n_voxels = responses.betas.shape
    print(
        f"{len(responses.sessions)} sessions, {n_images} images x {n_voxels} voxels: "
        f"peak {peak_gb:.2f} GB, {seconds:.2f} s a session"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=N_SESSIONS)
    parser.add_argument("--folder", help="where to write, by default the system's temporary folder")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        return read(arguments.read)
    for name, ending in FORMATS.items():
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            layout, rng = Layout("flat", Path(folder)), np.random.default_rng(0)
            write_design_and_mask(layout, rng)
            first, *others = (
                next(p for p in layout.expected("betas", 1, session) if p.name.endswith(ending))
                for session in range(1, arguments.sessions + 1)
            )
            write_session(first, name, rng)
            for other in others:
                other.symlink_to(first)
            print(f"{name}: ", end="", flush=True)
            subprocess.run([sys.executable, __file__, "--read", folder], check=True)


if __name__ == "__main__":
    main()
