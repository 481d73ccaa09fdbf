"""Write NSD-synthetic in its published layout to a simulated NSD, with responses by the same rule as NSD's.

Written from the facts of the release: 284 images, 744 trials; 236 images have 2 trials, 32 have 4, 8 have 8 and 8
have 10. Pixels are proportional to light, so that a network should get their square roots.
"""

import csv

import h5py
import nibabel
import numpy as np
from scipy.io import savemat

N_IMAGES, N_COMMON, HEIGHT, WIDTH = 284, 220, 6, 10
REPEATS = np.repeat([2, 4, 8, 10], [236, 32, 8, 8])
NAMES = [f"class {number // 40}" for number in range(N_IMAGES)]  # 8 classes
SUBCLASSES = [f"subclass {number // 4}" for number in range(N_IMAGES)]  # 71, of four images each
BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/nsdsyntheticbetas_fithrf_GLMdenoise_RR"


def light(subject=1):
    """Return the pixels (284, 6, 10, 3) of a subject, with one colour in the central square and another outside."""
    rng = np.random.default_rng(5)
    common = rng.integers(0, 256, (N_COMMON, 1, 1, 3))
    own = np.random.default_rng(50 + subject).integers(0, 256, (N_IMAGES - N_COMMON, 1, 1, 3))
    pixels = np.broadcast_to(np.concatenate([common, own]), (N_IMAGES, HEIGHT, WIDTH, 3)).astype(np.uint8)
    pixels[:, :, :2], pixels[:, :, 8:] = 7, 7  # outside the central square
    return pixels


def seen(subject=1):
    """Return the colours (284, 3) that a network should get: square roots of light, rounded down."""
    return np.floor(np.sqrt(light(subject)[:, 0, 5] / 255) * 255)


def ordering():
    return np.random.default_rng(6).permutation(np.repeat(np.arange(1, N_IMAGES + 1), REPEATS))


def write_session(base, mask, rule):
    """Write subject 1's session; `rule` turns colours (n, 3) into percent signal change (n, voxels of the mask)."""
    stimuli, experiment = base / "nsddata_stimuli/stimuli/nsdsynthetic", base / "nsddata/experiments/nsdsynthetic"
    for folder in (stimuli, experiment, base / BETAS):
        folder.mkdir(parents=True)
    savemat(experiment / "nsdsynthetic_expdesign.mat", {"masterordering": ordering()[None].astype(np.uint16)})
    with open(experiment / "nsdsyntheticimageinformation.csv", "w", newline="") as file:
        rows = [(f"image{n + 1}", n + 1, SUBCLASSES[n], n // 4 + 1, NAMES[n], n // 40 + 1) for n in range(N_IMAGES)]
        header = "Image", "Image number", "Image subclass", "Image subclass number", "Image class", "Image class number"
        csv.writer(file).writerows([header, *rows])
    with h5py.File(stimuli / "nsdsynthetic_stimuli.hdf5", "w") as file:
        file["imgBrick"] = light()[:N_COMMON]
    with h5py.File(stimuli / "nsdsynthetic_colorstimuli_subj01.hdf5", "w") as file:
        file["imgBrick"] = light()[N_COMMON:]
    betas = np.zeros((*mask.shape, 744), np.int16)
    noise = np.random.default_rng(7).standard_normal((744, np.count_nonzero(mask)))
    betas[mask] = np.rint(300 * (rule(seen()[ordering() - 1]) + noise)).T
    affine = nibabel.load(next(base.glob("nsddata/ppdata/subj01/func1pt8mm/roi/nsdgeneral.nii.gz"))).affine
    nibabel.save(nibabel.Nifti1Image(betas, affine), base / BETAS / "betas_nsdsynthetic.nii.gz")
