"""Write one simulated brain in the layout of every supported dataset.

Layouts follow the authors' documentation. pandas itself writes the frames of THINGS.
"""

import csv
import json

import h5py
import nibabel
import numpy as np
import pandas as pd
from PIL import Image

N_IMAGES, N_SESSIONS = 60, 2
VOLUME = (4, 3, 2)
INSIDE = np.ones(VOLUME, dtype=bool)
INSIDE[0, 0, 0] = INSIDE[3, 2, 1] = False  # 22 voxels
AFFINE = np.array([[1.8, 0, 0, -3], [0, 1.8, 0, 5], [0, 0, 1.8, 7], [0, 0, 0, 1.0]])
REGION = np.arange(22) < 9
IMAGES = [f"picture_{number:02d}s.jpg" for number in range(N_IMAGES)]
TEST = IMAGES[::3]
COLOURS = np.random.default_rng(0).integers(0, 256, (N_IMAGES, 3)).astype(np.uint8)


def planted():
    """Return one subject's trials (session from 1, image number) and responses (trials, 22)."""
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((3, 22))
    trials = [
        (session, image)
        for session in range(1, N_SESSIONS + 1)
        for image in rng.permutation(np.repeat(np.arange(N_IMAGES), 2))
    ]
    driven = np.array([(COLOURS[image] - 127.0) / 74 @ weights for _, image in trials])
    noise = rng.standard_normal(driven.shape) * np.linspace(0.5, 3, 22)
    return trials, (driven + noise).astype(np.float32)


def write_image(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.broadcast_to(COLOURS[number], (8, 8, 3)).copy()).save(path, "PNG")


def write_table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([header, *rows])


def volumes(responses):
    """Return responses (trials, 22) as volumes (X, Y, Z, trials), with NaN outside the mask."""
    whole = np.full((*VOLUME, len(responses)), np.nan, np.float32)
    whole[INSIDE] = responses.T
    return whole


def save_nifti(values, path, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def own(folder):
    trials, responses = planted()
    for number, name in enumerate(IMAGES):
        write_image(folder / "images" / name, number)
    write_table(folder / "trials.csv", ("subject", "session", "image"), [("a", s, IMAGES[i]) for s, i in trials])
    write_table(folder / "split.csv", ("image", "split"), [(name, "test") for name in TEST])
    np.save(folder / "responses.npy", responses)
    write_table(folder / "regions/areas.csv", ("V1",), [(int(inside),) for inside in REGION])
    return "a"


def things(folder):
    trials, responses = planted()
    for number, name in enumerate(IMAGES):
        write_image(folder / "object_images/picture" / name, number)
    frame = pd.DataFrame(responses.T.astype(np.float64))
    frame.insert(0, "voxel_id", np.arange(22))
    (folder / "betas_csv").mkdir(parents=True)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # column names of mixed types are stored as a pickle
        frame.to_hdf(folder / "betas_csv/sub-01_ResponseData.h5", key="ResponseData", mode="w")
    rows = [
        ("test" if IMAGES[i] in TEST else "train", s, 1 + t % 10, 1, t, IMAGES[i], "picture")
        for t, (s, i) in enumerate(trials)
    ]
    header = ("trial_type", "session", "run", "subject_id", "trial_id", "stimulus", "concept")
    write_table(folder / "betas_csv/sub-01_StimulusMetadata.csv", header, rows)
    header = ("voxel_id", "subject_id", "voxel_x", "voxel_y", "voxel_z", "nc_singletrial", "nc_testset", "prf-size")
    rows = [(v, 1, *place, 20.0, 50.0, 1.5, int(REGION[v]), 0) for v, place in enumerate(np.argwhere(INSIDE))]
    write_table(folder / "betas_csv/sub-01_VoxelMetadata.csv", (*header, "V1", "glasser-\nOP"), rows)
    save_nifti(INSIDE.astype(np.uint8), folder / "brainmasks/sub-01_space-T1w_brainmask.nii.gz")
    return "sub-01"


def laion_fmri(folder):
    """Write the layout in which the authors' package looks for downloaded files (its `_paths`, as of summer 2026)."""
    trials, responses = planted()
    root = folder / "derivatives/glmsingle-tedana/sub-03"
    pack_images(folder / "stimuli")
    sessions = np.array([session for session, _ in trials])
    for session in range(1, N_SESSIONS + 1):
        start = root / f"ses-{session:02d}/func/sub-03_ses-{session:02d}_task-images_"
        betas = volumes(responses[sessions == session])
        save_nifti(betas, start.with_name(start.name + "space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz"))
        shown = [image for own, image in trials if own == session]
        rows = [(session, 1, place, IMAGES[image]) for place, image in enumerate(shown)]
        table = start.with_name(start.name + "desc-SingletrialBetas_trials.tsv")
        write_table(table, ("session", "run", "beta_index", "label"), rows)
    start = "sub-03_task-images_space-T1w_"
    r2 = np.where(INSIDE, 40, 3).astype(np.float32)
    save_nifti(r2, root / f"{start}stat-rsquare_desc-R2mean_statmap.nii.gz")
    ceiling = np.where(INSIDE, 50, 0).astype(np.float32)
    save_nifti(ceiling, root / f"{start}desc-Noiseceiling4rep_statmap.nii.gz")
    labels = np.zeros(VOLUME, np.uint8)
    labels[INSIDE] = REGION
    save_nifti(labels, folder / "derivatives/rois/sub-03/retinotopy/sub-03_space-T1w_res-1pt8_label-V1_mask.nii.gz")
    train = [name for name in IMAGES if name not in TEST]
    split = {
        **{"name": "tau", "pool": "all", "splitter": "x", "params": {}, "n_train": len(train), "n_test": len(TEST)},
        "variants": [{"variant_id": 0, "train_ids": train, "test_ids": TEST}],
    }
    path = folder / "laion_fmri/splits/data/sub-03/tau.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(split))
    return "sub-03"


def pack_images(folder):
    """Write the bytes of picture files to one HDF5 file, and a table of their names in another order."""
    folder.mkdir(parents=True)
    order = np.random.default_rng(2).permutation(N_IMAGES)
    with h5py.File(folder / "task-images_stimuli.h5", "w") as file:
        images = file.create_dataset("images", (N_IMAGES,), dtype=h5py.vlen_dtype(np.uint8))
        for place, number in enumerate(order):
            write_image(folder / "one.png", number)
            images[place] = np.frombuffer((folder / "one.png").read_bytes(), np.uint8)
    (folder / "one.png").unlink()
    header = ("image_name", "dataset", "participant", "unique_or_shared", "n_reps")
    rows = [(IMAGES[number], "LAION", "sub-03", "unique", "4rep") for number in order]
    write_table(folder / "task-images_metadata.csv", header, rows)


def laion_fmri_at_first(folder):
    """Write the layout that the authors' first documentation described."""
    subject = laion_fmri(folder)
    root = folder / "derivatives/glmsingle-tedana/sub-03"
    for path in root.rglob("*_trials.tsv"):
        path.rename(path.with_name(path.name.replace("_desc-", "_space-T1w_desc-")))
    next(root.glob("*R2mean*")).unlink()
    save_nifti(INSIDE.astype(np.uint8), root / "sub-03_task-images_space-T1w_desc-meanR2gt15mask_mask.nii.gz")
    (folder / "derivatives/atlases/sub-03/rois").mkdir(parents=True)
    next(folder.rglob("*label-V1_mask.nii.gz")).rename(folder / "derivatives/atlases/sub-03/rois/V1.nii.gz")
    for path in (folder / "stimuli").iterdir():
        path.unlink()
    for number, name in enumerate(IMAGES):
        write_image(folder / "stimuli/images" / name, number)
    return subject


def bold5000(folder):
    trials, responses = planted()
    for number, name in enumerate(IMAGES):
        stem = name.removesuffix(".jpg")  # extensions in the list may differ from those of the files
        write_image(folder / f"BOLD5000_Stimuli/Scene_Stimuli/Presented_Stimuli/COCO/{stem}.JPEG", number)
    sessions = np.array([session for session, _ in trials])
    for session in range(1, N_SESSIONS + 1):
        name = f"CSI9_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-{session:02d}.nii.gz"
        save_nifti(volumes(responses[sessions == session]), folder / name, np.eye(4))  # not always the right affine
    (folder / "CSI9_imgnames.txt").write_text("\n".join(IMAGES[image] for _, image in trials) + "\n")
    save_nifti(INSIDE.astype(np.uint8), folder / "CSI9_brainmask.nii.gz")
    labels = np.zeros(VOLUME, np.uint8)
    labels[INSIDE] = REGION
    save_nifti(labels, folder / "derivatives/spm/sub-CSI9/sub-CSI9_mask-V1.nii.gz")
    return "CSI9"


TREES = {
    "own": own,
    "things": things,
    "laion_fmri": laion_fmri,
    "laion_fmri, first release": laion_fmri_at_first,
    "bold5000": bold5000,
}
AVERAGED = np.array([f"train-{number + 1:04d}_nsd-{number * 7:05d}.png" for number in range(N_IMAGES)])


def averages():
    """Return the mean over each image's trials, z-scored within sessions, (60, 22)."""
    trials, responses = planted()
    sessions, images = np.array(trials).T
    scaled = np.empty_like(responses)
    for session in np.unique(sessions):
        own = responses[sessions == session]
        scaled[sessions == session] = (own - own.mean(axis=0)) / own.std(axis=0)
    return np.stack([scaled[images == image].mean(axis=0) for image in range(N_IMAGES)])


def algonauts2023(folder):
    """Write the averages on fsaverage as the challenge does: 12 vertices of the left hemisphere, 10 of the right."""
    subject = folder / "subj01"
    for number, name in enumerate(AVERAGED):
        write_image(subject / "training_split/training_images" / name, number)
    write_image(subject / "test_split/test_images/test-0001_nsd-09999.png", 3)
    parts = dict(zip(("lh", "rh"), np.split(averages(), [12], axis=1), strict=True))
    (subject / "training_split/training_fmri").mkdir()
    (subject / "roi_masks").mkdir()
    for side, part in parts.items():
        np.save(subject / f"training_split/training_fmri/{side}_training_fmri.npy", part)
        whole = np.zeros(40, np.int64)
        places = np.sort(np.random.default_rng(ord(side[0])).permutation(40)[: part.shape[1]])
        whole[places] = np.where(np.arange(len(places)) == 2, 2, 1)  # the published masks also contain the value 2
        np.save(subject / f"roi_masks/{side}.all-vertices_fsaverage_space.npy", whole)
        labels = np.where(np.arange(part.shape[1]) < 4, 1, np.where(np.arange(part.shape[1]) < 6, 7, 0))
        np.save(subject / f"roi_masks/{side}.prf-visualrois_challenge_space.npy", labels)
        np.save(subject / "roi_masks/mapping_prf-visualrois.npy", {1: "other", 7: "names"})  # a pickle
    return 1
