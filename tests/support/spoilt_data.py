"""Changes that damage a base directory. Each function returns a change, which is called with the directory."""

import gzip
import os
import shutil

import h5py
import nibabel
import numpy as np
from scipy.io import loadmat, savemat

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore


def file_of(base, kind, *fields):
    """Return one of NSD's files, for an ROI the first."""
    path = getattr(find_nsd(base), kind)(*fields)
    return path[0] if isinstance(path, list) else path


def over(kind, content, *fields):
    """Overwrite one of NSD's files with bytes; a number cuts the file to this many bytes, None deletes it."""

    def change(base):
        path = file_of(base, kind, *fields)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)

    return change


def stimuli(name="imgBrick", **dataset):
    def change(base):
        with h5py.File(find_nsd(base).stimuli(), "w") as file:
            file.create_dataset(name, **{"shape": (500, 24, 24, 3), "dtype": "uint8"} | dataset)

    return change


def design(**variables):
    """Change variables of the design file; None removes a variable."""

    def change(base):
        path = find_nsd(base).design()
        known = {name: values for name, values in loadmat(path).items() if not name.startswith("__")}
        known |= {name: values(known[name]) for name, values in variables.items() if values}
        savemat(path, {name: values for name, values in known.items() if variables.get(name, 1) is not None})

    return change


def volume(kind, make, *fields):
    """Replace the values of a NIfTI file by `make(values)`."""

    def change(base):
        path = file_of(base, kind, *fields)
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(make(np.asarray(image.dataobj)), image.affine), path)

    return change


def moved(kind, mm, *fields):
    """Move the voxels of a NIfTI file by these mm along X, Y and Z."""

    def change(base):
        path = file_of(base, kind, *fields)
        image = nibabel.load(path)
        nibabel.save(
            image.__class__(np.asarray(image.dataobj), nibabel.affines.from_matvec(np.eye(3), mm) @ image.affine), path
        )

    return change


def beside(name, content):
    """Write a file, or a folder for None, next to the base directory."""

    def change(base):
        path = base.parent / name
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def loop(path):
    def change(base):
        (base / path).unlink(missing_ok=True)
        os.symlink(base / path, base / path)

    return change


def read_only(folder):
    """Empty a folder of results and make it read-only."""

    def change(base):
        shutil.rmtree(base / folder, ignore_errors=True)
        (base / folder).mkdir(0o555)

    return change


def file_for(folder):
    def change(base):
        shutil.rmtree(base / folder)
        (base / folder).write_text("")

    return change


def store_of(base, part="no_prompt", model="test_two-layers"):
    return EmbeddingStore(base / "image_embeddings" / part / model)


def states(settings=None, keep=slice(None), part="no_prompt", model="test_two-layers", stream="vision"):
    """Write states of the two-layer model for some or all images, with other settings."""

    def change(base):
        ids = store_of(base).image_ids(["vision"])
        store = store_of(base, part, model)
        for path in store.folder.glob("*"):
            path.unlink()
        store.claim(settings or {"template": None})
        store.write(ids[keep], {stream: np.random.default_rng(0).random((len(ids[keep]), 2, 5), dtype=np.float32)})

    return change


def without(folder):
    """Delete a folder of results."""
    return lambda base: shutil.rmtree(base / folder)


def model_files(*names, page=None):
    """Write invalid files of a model to {here}/model: `page` is a web page, the others contain {}."""

    def change(base):
        for name in names:
            path = base.parent / "model" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"<!DOCTYPE html><html>Not found</html>" if name == page else b"{}")

    return change


def spoilt(pattern):
    """Overwrite a file with a web page."""
    return lambda base: min(base.glob(pattern)).write_bytes(b"<!DOCTYPE html><html>Not found</html>")


def damaged(pattern):
    def change(base):
        path = min(base.glob(pattern))
        path.write_bytes(path.read_bytes()[:-20] + bytes(20))

    return change


def bomb(path):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((2000, 2000, 1000))
    header["vox_offset"] = 352
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4 + 10**6), 9))
