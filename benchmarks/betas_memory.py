"""Measure reading and fitting on full-size sessions of subject 1: peak memory and seconds a session.

    python benchmarks/betas_memory.py [--only NAME ...] [--sessions 40] [--fit] [--folder /some/fast/disk]

For each kind of file, writes one session of 750 trials of random betas as NSD publishes it, links it as all others,
and reads them as align_model.py does, in a process of its own: single trials are z-scored and averaged, images are
split and scaled. With --fit, another process then runs align_model.py on one layer of 64 features. Memory is the peak
beyond that of the imports, and its ratio to the averaged responses alone, (images, units) float32.

    1.8 mm       HDF5 in chunks of a voxel, 81 x 104 x 83 voxels, 15,724 of them fitted: 1 GB a session
    in one piece the same without chunks
    nifti        the same gzipped; random betas are the worst case for gzip
    1 mm         HDF5 in chunks of a voxel, 145 x 186 x 148 voxels; 91,700 of them take the room of the 15,724
    fsaverage    .mgh of 2 x 163,842 vertices, all of them fitted (--mask cortex)
"""

import argparse
import gzip
import io
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import h5py
import nibabel
import numpy as np
from scipy.io import savemat

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.datasets.dataset import Reading
from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.datasets.responses import ResponseChoice
from brain_activity_prediction.encoding.subject_data import read_subject_data
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

N_VERTICES = 163_842  # of a hemisphere
N_TRIALS, N_SESSIONS, N_IMAGES, N_SHARED = 30000, 40, 10000, 1000
TRIALS = N_TRIALS // N_SESSIONS
MODEL, WIDTH = "benchmark/model", 64


@dataclass(frozen=True)
class Kind:
    """A kind of file: NSD's space, shape (X, Y, Z), fitted voxels, ending, and whether a chunk is a voxel."""

    space: str
    shape: tuple[int, ...]
    n_fitted: int
    ending: str
    chunked: bool = False

    @property
    def flags(self):
        return ["--space", self.space, *(["--mask", "cortex"] if self.space == "fsaverage" else [])]

    @property
    def reading(self):
        return Reading(space=self.space, mask=("cortex",) if self.space == "fsaverage" else None)


AT_1_8_MM, AT_1_MM = (81, 104, 83), (145, 186, 148)
KINDS = {
    "1.8 mm": Kind("func1pt8mm", AT_1_8_MM, 15_724, ".hdf5", chunked=True),
    "in one piece": Kind("func1pt8mm", AT_1_8_MM, 15_724, ".hdf5"),
    "nifti": Kind("func1pt8mm", AT_1_8_MM, 15_724, ".nii.gz"),
    "1 mm": Kind("func1mm", AT_1_MM, 91_700, ".hdf5", chunked=True),
    "fsaverage": Kind("fsaverage", (N_VERTICES, 1, 1), N_VERTICES, ".mgh"),
}


def write_design(path, rng):
    ids = rng.permutation(np.arange(1, N_SHARED + 8 * (N_IMAGES - N_SHARED) + 1))
    shared, unique = ids[:N_SHARED], ids[N_SHARED:].reshape(8, -1)
    path.parent.mkdir(parents=True)
    arrays = {
        "masterordering": rng.permutation(np.repeat(np.arange(1, N_IMAGES + 1), 3)),
        "subjectim": np.hstack([np.tile(shared, (8, 1)), unique]),
        "sharedix": shared,
        "basiccnt": np.zeros((3, N_SESSIONS)),
    }
    savemat(path, arrays)


def write_mask(path, kind):
    """A shell at the back of the volume."""
    axes = (np.linspace(-1, 1, length) for length in kind.shape)
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    depth = np.abs(np.sqrt((x / 0.8) ** 2 + ((y + 0.35) / 0.55) ** 2 + (z / 0.7) ** 2) - 0.85)
    volume = np.full(kind.shape, -1, dtype=np.int16)
    volume.flat[np.argsort(depth, axis=None)[: kind.n_fitted]] = 1
    path.parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.8, 1.8, 1.8, 1])), path)


def write_session(path, kind, rng):
    """Write voxel by voxel or volume by volume, so that the writer is not what needs the memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = kind.shape[::-1]
    if kind.ending == ".mgh":
        header = nibabel.MGHImage(np.zeros((*kind.shape, 1), np.float32), np.eye(4)).header.copy()
        header["dims"] = (*kind.shape, TRIALS)
        with open(path, "wb") as file:
            header.writehdr_to(file)
            file.seek(header.get_data_offset())
            for _ in range(TRIALS):
                rng.standard_normal(N_VERTICES, np.float32).astype(">f4").tofile(file)
            header.writeftr_to(file)
    elif kind.chunked:
        voxels = rng.integers(-1500, 1500, (1000, TRIALS), np.int16)
        with h5py.File(path, "w") as file:
            betas = file.create_dataset("betas", (TRIALS, *axes), np.int16, chunks=(TRIALS, 1, 1, 1))
            for number, place in enumerate(np.ndindex(axes)):
                betas.id.write_direct_chunk((0, *place), voxels[number % 1000].tobytes())
    elif kind.ending == ".hdf5":
        with h5py.File(path, "w") as file:
            betas = file.create_dataset("betas", (TRIALS, *axes), np.int16)
            for trial in range(TRIALS):
                betas[trial] = rng.integers(-1500, 1500, axes, np.int16)
    else:
        header = nibabel.Nifti1Header()
        header.set_data_dtype(np.int16)
        header.set_data_shape((*kind.shape, TRIALS))
        header["vox_offset"], header["magic"] = 352, b"n+1"
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(header.binaryblock + bytes(4))
            for _ in range(TRIALS):
                file.write(rng.integers(-1500, 1500, kind.shape, np.int16).tobytes(order="F"))


def write_dataset(folder, kind, n_sessions):
    layout, rng = Layout("official", folder, kind.space), np.random.default_rng(0)
    write_design(layout.expected("design")[0], rng)
    surface = kind.space == "fsaverage"
    if not surface:
        write_mask(layout.expected("nsdgeneral", subject=1)[0], kind)
    for side in ("lh", "rh") if surface else (None,):
        first, *others = (
            next(
                path
                for path in layout.expected("surface betas" if surface else "betas", 1, session, side=side)
                if path.name.endswith(kind.ending)
            )
            for session in range(1, n_sessions + 1)
        )
        write_session(first, kind, rng)
        for other in others:
            other.symlink_to(first)


def read(folder, kind):
    usage = Usage()
    data = read_subject_data(find_dataset(folder).reading(kind.reading), 1, ResponseChoice(), folder / "responses")
    n_images, n_sessions = len(data.train) + len(data.test), len(data.sessions)
    used = usage.since(n_images * data.units.n, n_sessions)
    print(f"{n_sessions} sessions, {n_images} images x {data.units.n} units: {used} a session")


def fit(folder, kind):
    """Fit and score one layer of random features as align_model.py does, from the prepared responses."""
    dataset = find_dataset(folder).reading(kind.reading)
    ids = dataset.image_ids(1)
    store = EmbeddingStore(folder / "image_embeddings/no_prompt" / MODEL.replace("/", "_"))
    store.claim({"template": None})
    store.write(ids, {"vision": np.random.default_rng(1).standard_normal((len(ids), 1, WIDTH), np.float32)})
    sys.argv = ["align_model.py", "-d", str(folder), "-g", "cpu", "-m", MODEL, "-q", *kind.flags]
    usage = Usage()
    with redirect_stdout(io.StringIO()):
        align_model.main()
    print(f"  one layer: {usage.since(len(ids) * dataset.units(1).n)}")


class Usage:
    """Time and memory that this process uses from now on."""

    def __init__(self):
        self.started, self.worked, self.peak = time.perf_counter(), time.process_time(), peak_gb()

    def since(self, n_responses, times=1):
        """Describe the peak memory in units of float32 responses, and the seconds of one of several times."""
        peak, size = peak_gb() - self.peak, n_responses * 4 / 1e9
        seconds, processor = time.perf_counter() - self.started, time.process_time() - self.worked
        memory = f"peak {peak:.2f} GB, {peak / size:.2f} of {size:.2f} GB"
        return f"{memory}; {seconds / times:.2f} s, {processor / times:.2f} of processor time"


def peak_gb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


STEPS = {"read": read, "fit": fit}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=KINDS, nargs="+", default=list(KINDS), metavar="NAME")
    parser.add_argument("--sessions", type=int, default=N_SESSIONS)
    parser.add_argument("--fit", action="store_true", help="also fit a layer")
    parser.add_argument("--folder", help="where to write, by default the system's temporary folder")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)  # memory is a process's, not a call's
    arguments = parser.parse_args()
    if arguments.step:
        step, folder = arguments.step
        return STEPS[step](Path(folder), KINDS[arguments.only[0]])
    for name in arguments.only:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            write_dataset(Path(folder), KINDS[name], arguments.sessions)
            print(f"{name}: ", end="", flush=True)
            for step in STEPS if arguments.fit else ["read"]:
                subprocess.run([sys.executable, __file__, "--only", name, "--step", step, folder], check=True)


if __name__ == "__main__":
    main()
