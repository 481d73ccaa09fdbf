"""Write a small simulated NSD in NSD's own file formats; its voxels follow features that the caller provides."""

import json
from pathlib import Path

import h5py
import nibabel
import numpy as np
from scipy.io import savemat

from brain_activity_prediction.datasets.nsd.betas import INTEGERS_PER_PERCENT
from brain_activity_prediction.datasets.nsd.design import read_design, stimulus_rows
from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.datasets.nsd.regions import LABELS
from brain_activity_prediction.demo.cortex import VOXEL_MM, simulate_cortex
from brain_activity_prediction.demo.cortex_files import write_surfaces
from brain_activity_prediction.demo.pictures import crops
from brain_activity_prediction.demo.simulation import (
    CORTICAL_REGIONS,
    Recipe,
    noise_ceiling_r,
    simulate_anatomy,
    simulate_design,
    simulate_session,
    simulate_signals,
)
from brain_activity_prediction.storage.folders import PLANTED

AFFINE = np.array([[VOXEL_MM, 0, 0, -6.3], [0, VOXEL_MM, 0, -52.2], [0, 0, VOXEL_MM, -11.7], [0, 0, 0, 1]])
DEFAULT_RECIPE = Recipe(subjects=(1, 2), regions=CORTICAL_REGIONS, n_unique=250, cortex=True)


def write_dataset(base_dir, signals, recipe=DEFAULT_RECIPE, layout="official", betas_format="nii.gz"):
    """Write images, design, betas, ROI masks, noise ceilings and surfaces, and return the simulated truth.

    signals       function from the pictures that the recipe's subjects see, (n, size, size, 3) uint8 by ascending
                  NSD id, to {source: (n, k)} for the sources of the recipe's regions; columns must be uncorrelated
                  and have SD 1
    layout        "official" or "flat"
    betas_format  "nii.gz" or "hdf5"

    The truth is also written to BASE_DIR/planted.json. It has `source`, `snr`, `n_voxels` and `noise_ceiling_r` of each
    region. The latter is the correlation of a perfect prediction with the average of three repeats.
    """
    layout = Layout(layout, Path(base_dir))
    variables, n_stimuli = simulate_design(recipe)
    savemat(_new(layout, "design"), {name: values.astype(float) for name, values in variables.items()})
    _write_pictures(_new(layout, "stimuli"), crops(n_stimuli, recipe.image_size, recipe.rng(1)), n_stimuli)

    design = read_design(layout.design())
    seen = np.unique([design.image_ids(subject) for subject in recipe.subjects])
    with h5py.File(layout.stimuli(), "r") as file:
        features = signals(file["imgBrick"][stimulus_rows(seen)])
    for subject in recipe.subjects:
        images = np.searchsorted(seen, design.image_ids(subject))
        _write_subject(layout, subject, recipe, {name: f[images] for name, f in features.items()}, betas_format)
    planted = {
        region.label: {
            "source": region.source,
            "snr": region.snr,
            "n_voxels": region.n_voxels,
            "noise_ceiling_r": noise_ceiling_r(region.snr),
        }
        for region in recipe.regions
    }
    (layout.base_dir / PLANTED).write_text(json.dumps(planted, indent=2) + "\n")
    return planted


def _write_subject(layout, subject, recipe, features, betas_format):
    """Write the files of one subject; `features` are the features of its images, in the order of subjectim."""
    design = read_design(layout.design())
    if recipe.cortex:
        cortex = simulate_cortex(recipe.regions, recipe.rng(4, subject))
        nsdgeneral, region_of_voxel = cortex.nsdgeneral, cortex.region_of_voxel
        write_surfaces(layout.base_dir, subject, cortex)
    else:
        nsdgeneral, region_of_voxel = simulate_anatomy(recipe.regions)
    _write_volume(_new(layout, "nsdgeneral", subject=subject), nsdgeneral)
    _write_rois(layout, subject, recipe.regions, nsdgeneral, region_of_voxel)

    brain = nsdgeneral >= 0
    signals = simulate_signals(recipe.regions, region_of_voxel[brain], features, recipe.rng(2, subject))
    ncsnr = np.full(brain.shape, np.nan, dtype=np.float32)
    ncsnr[brain] = signals.std(axis=0)
    _write_volume(_new(layout, "ncsnr", subject=subject), ncsnr)

    row_of_id = {image_id: row for row, image_id in enumerate(design.image_ids(subject))}
    for session in range(1, design.n_sessions + 1):
        shown = [row_of_id[image_id] for image_id in design.trial_ids(subject, [session])]
        percent = simulate_session(signals[shown], recipe.rng(3, subject, session))
        betas = np.zeros((*brain.shape, len(shown)), dtype=np.int16)
        betas[brain] = np.round(percent.T * INTEGERS_PER_PERCENT)
        _write_betas(layout, subject, session, betas, betas_format)


def _write_rois(layout, subject, regions, nsdgeneral, region_of_voxel):
    for roi_file in dict.fromkeys(region.roi_file for region in regions):
        names = LABELS[roi_file]
        labels = np.where(nsdgeneral < 0, -1, 0)
        for index, region in enumerate(regions):
            if region.roi_file == roi_file:
                labels[region_of_voxel == index] = names.index(region.label) + 1
        _write_volume(_new(layout, "roi", subject=subject, name=roi_file), labels)
        if layout.layout == "official":
            rows = enumerate(("Unknown", *names))
            table = _new(layout, "label table", subject=subject, name=roi_file)
            table.write_text("".join(f"{number} {name}\n" for number, name in rows))


def _write_pictures(path, pictures, n_pictures):
    with h5py.File(path, "w") as file:
        for row, picture in enumerate(pictures):
            if row == 0:
                brick = file.create_dataset("imgBrick", shape=(n_pictures, *picture.shape), dtype=np.uint8)
            brick[row] = picture


def _write_betas(layout, subject, session, betas, betas_format):
    """Write one session of betas (X, Y, Z, n_trials) int16."""
    path = next(p for p in layout.expected("betas", subject, session) if p.name.endswith(betas_format))
    path.parent.mkdir(parents=True, exist_ok=True)
    if betas_format == "hdf5":
        with h5py.File(path, "w") as file:
            # NSD's published files have these chunks.
            file.create_dataset("betas", data=betas.T, chunks=(betas.shape[-1], 1, 1, 1))
    else:
        nibabel.save(nibabel.Nifti1Image(betas, AFFINE), path)


def _write_volume(path, volume):
    dtype = np.float32 if volume.dtype.kind == "f" else np.int16
    nibabel.save(nibabel.Nifti1Image(volume.astype(dtype), AFFINE), path)


def _new(layout, kind, **fields):
    """Return the path of a new file, and create its folder."""
    path = layout.expected(kind, **fields)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
