"""A small experiment of a lab: pictures, trials, and responses to mean colours, in any supported kind of file."""

import csv

import h5py
import nibabel
import numpy as np
from PIL import Image

N_IMAGES, N_REPEATS, N_UNITS = 60, 2, 24
VOLUME = (4, 3, 2)  # N_UNITS voxels
AFFINE = np.diag([2.0, 2, 2, 1]) + np.array([[0, 0, 0, -4]] * 3 + [[0] * 4])
KINDS = ("responses.npy", "npy", "h5", "glmsingle", "matlab", "nii.gz", "mgz", "gii", "dscalar")
KINDS += ("glmsingle list", "matlab list")  # responses of a mask's voxels as a list, as GLMsingle reads and writes them
SUBJECTS = ("sub-01", "sub-02")


def image_names():
    return [f"class {number % 3}/picture_{number:02d}.png" for number in range(N_IMAGES)]


def write_experiment(folder, kind="npy", sessions=2):
    """Write an experiment of two subjects with responses in one kind of file; return the responses (trials, units)."""
    rng = np.random.default_rng(4)
    colours = rng.integers(0, 256, (N_IMAGES, 3))
    for name, colour in zip(image_names(), colours, strict=True):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.broadcast_to(colour.astype(np.uint8), (8, 8, 3)).copy()).save(path)
    weights, rows, responses = rng.standard_normal((3, N_UNITS)), [], []
    for subject in SUBJECTS:
        for session in range(1, sessions + 1):
            for image in rng.permutation(np.repeat(np.arange(N_IMAGES), N_REPEATS)):
                rows.append((subject, f"ses-{session:02d}", image_names()[image]))
                driven = (colours[image] - 127) / 74 @ weights
                responses.append(driven + rng.standard_normal(N_UNITS) * np.linspace(0.5, 3, N_UNITS))
    with open(folder / "trials.csv", "w", newline="") as file:
        csv.writer(file).writerows([("subject", "session", "image"), *rows])
    with open(folder / "split.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "split"), *((name, "test") for name in image_names()[::3])])
    responses = np.array(responses, dtype=np.float32)
    if kind == "responses.npy":
        np.save(folder / "responses.npy", responses)
        return responses
    (folder / "responses").mkdir()
    of_subject = np.array([row[0] for row in rows])
    of_session = np.array([row[1] for row in rows])
    for subject in SUBJECTS:
        if kind == "h5":  # one file of all sessions
            with h5py.File(folder / "responses" / f"{subject}.h5", "w") as file:
                file["responses"] = responses[of_subject == subject]
            continue
        for session in sorted(set(of_session)):
            part = responses[(of_subject == subject) & (of_session == session)]
            write_session(folder, subject, session, part, kind)
    return responses


def write_session(folder, subject, session, responses, kind):
    stem = folder / "responses" / f"{subject}_{session}"
    volumes = np.moveaxis(responses.reshape(-1, *VOLUME), 0, -1)  # (X, Y, Z, trials)
    mask = nibabel.Nifti1Image(np.ones(VOLUME, np.uint8), AFFINE)
    if kind.startswith(("glmsingle", "matlab", "nii.gz")):
        (folder / "masks").mkdir(exist_ok=True)
        nibabel.save(mask, folder / "masks" / f"{subject}.nii.gz")
    if kind == "npy":
        np.save(f"{stem}.npy", responses)
    elif kind == "glmsingle":
        with h5py.File(f"{stem}.hdf5", "w") as file:
            file["betasmd"], file["R2"] = volumes, np.zeros(VOLUME)
    elif kind == "glmsingle list":
        with h5py.File(f"{stem}.hdf5", "w") as file:
            file["betasmd"] = volumes.reshape(-1, 1, 1, len(responses))
    elif kind == "matlab list":  # MATLAB's data(mask) lists along the first axis first
        with h5py.File(f"{stem}.mat", "w", userblock_size=512) as file:
            file["modelmd"] = np.stack([volume.ravel(order="F") for volume in np.moveaxis(volumes, -1, 0)])[
                :, None, None
            ]
    elif kind == "matlab":
        with h5py.File(f"{stem}.mat", "w", userblock_size=512) as file:
            file["modelmd"] = volumes.T
    elif kind == "nii.gz":
        nibabel.save(nibabel.Nifti1Image(volumes, AFFINE), f"{stem}.nii.gz")
    elif kind in ("mgz", "gii"):
        for side, part in zip(("lh", "rh"), np.split(responses, [10], axis=1), strict=True):
            path = stem.with_name(f"{side}.{stem.name}.{'func.gii' if kind == 'gii' else 'mgz'}")
            if kind == "mgz":
                nibabel.save(nibabel.MGHImage(part.T[:, None, None], np.eye(4)), path)
            else:
                arrays = [nibabel.gifti.GiftiDataArray(trial, datatype="NIFTI_TYPE_FLOAT32") for trial in part]
                nibabel.save(nibabel.GiftiImage(darrays=arrays), path)
    elif kind == "dscalar":
        vertices = nibabel.cifti2.BrainModelAxis.from_mask(np.ones(N_UNITS, bool), name="CORTEX_LEFT")
        trials = nibabel.cifti2.ScalarAxis([str(number) for number in range(len(responses))])
        nibabel.save(nibabel.Cifti2Image(responses, (trials, vertices)), f"{stem}.dscalar.nii")
