"""A BASE_DIR as a study leaves it, with made-up scores: what the report's benchmark and tests read.

Voxels of a region prefer one depth of a network, more or less by model and prompt, up to a noise ceiling of their own.
Everything is written by the code that an alignment writes with.
"""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
from scipy.io import savemat

from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.datasets.nsd.regions import LABELS, read_mask, region_masks
from brain_activity_prediction.datasets.units import write_map
from brain_activity_prediction.demo.pictures import crops
from brain_activity_prediction.encoding.scores.layer_choice import stream_scores
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.tables.region_table import Alignment, region_table
from brain_activity_prediction.encoding.tables.summary import average_maps, best_layer_maps
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.inference.region_statistics import Statistics, digests
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import alignment_folder, embeddings_folder
from brain_activity_prediction.storage.settings_file import record_settings
from brain_activity_prediction.storage.table_files import write_table

AFFINE = np.array([[1.8, 0, 0, -72.9], [0, 1.8, 0, -93.6], [0, 0, 1.8, -74.7], [0, 0, 0, 1]])
N_HCP = 180
# Layers of the six models' streams; True: under every prompt.
MODELS = {
    "google/vit-huge-patch14-224-in21k": {"vision": (33, False)},
    "Salesforce/instructblip-vicuna-13b": {
        **{"vision": (40, False), "qformer": (13, True), "language": (41, True), "response": (41, True)}
    },
    "HuggingFaceM4/idefics-9b-instruct": {
        **{"vision": (33, False), "perceiver": (6, False), "language": (33, True), "response": (33, True)}
    },
    "llava-hf/llava-1.5-13b-hf": {"vision": (25, False), "language": (41, True), "response": (41, True)},
    "MAGAer13/mplug-owl-llama-7b": {
        **{"vision": (25, False), "abstractor": (7, False), "language": (33, True), "response": (33, True)}
    },
    "openflamingo/OpenFlamingo-9B-vitl-mpt7b": {
        **{"vision": (25, False), "perceiver": (6, False), "language": (33, True), "response": (33, True)}
    },
}
FULL_SIZES = {  # NSD's volumes in voxels, and how many of them are fitted
    1: ((81, 104, 83), 15724),
    2: ((82, 106, 84), 14278),
    5: ((79, 97, 78), 13039),
    7: ((78, 95, 81), 12682),
}


@dataclass(frozen=True)
class Study:
    """What was scored. `models` as MODELS, `subjects` as FULL_SIZES; `batch` images a file of hidden states."""

    models: dict = field(default_factory=lambda: MODELS)
    prompts: tuple = tuple(PROMPTS)
    subjects: dict = field(default_factory=lambda: FULL_SIZES)
    roi_files: tuple = (*LABELS, "HCP_MMP1")
    n_shared: int = 1000
    n_unique: int = 9000
    image_size: int = 425
    batch: int = 64
    n_permutations: int = 1000
    n_resamples: int = 1000


SMALL = Study(
    models={
        "google/vit-huge-patch14-224-in21k": {"vision": (4, False)},
        "llava-hf/llava-1.5-13b-hf": {"vision": (3, False), "language": (4, True)},
    },
    prompts=(1, 2),
    subjects={1: ((16, 20, 15), 400), 2: ((15, 19, 16), 360)},
    roi_files=("prf-visualrois", "floc-places", "Kastner2015"),
    n_shared=12,
    n_unique=0,
    image_size=64,
    batch=6,
    n_permutations=99,
    n_resamples=50,
)


def write_base_dir(base_dir, study, progress=lambda done: None):
    """Writes NSD's design, masks and test images, the models' answers, and all scores with tables and maps."""
    layout = Layout("official", Path(base_dir))
    shared = write_nsd(layout, study)
    for model_id, streams in study.models.items():
        for prompt in (None, *study.prompts):
            if any(takes_prompts == (prompt is not None) for _, takes_prompts in streams.values()):
                write_states(layout.base_dir, model_id, prompt, shared, study)
    for subject in study.subjects:
        mask, affine = read_mask(layout, subject)
        regions = region_masks(layout, subject, mask)
        for number, (model_id, streams) in enumerate(study.models.items()):
            for prompt in (None, *study.prompts):
                shown = {name: n for name, (n, prompted) in streams.items() if prompted == (prompt is not None)}
                if shown:
                    rng = np.random.default_rng([subject, number, prompt or 0])
                    results = ScoreStore(alignment_folder(layout.base_dir, subject, model_id, prompt))
                    write_scores(results, shown, regions, study, number, rng)
                    write_summary(results, regions, (model_id, prompt, subject), mask, affine)
                    progress(results.folder)


def write_nsd(layout, study):
    """Design, stimuli of which only the shared images hold pixels, masks; returns the shared images' ids."""
    n_images = study.n_shared + study.n_unique
    ids = np.arange(1, study.n_shared + 8 * study.n_unique + 1)
    shared = ids[: study.n_shared]
    unique = ids[study.n_shared :].reshape(8, study.n_unique)
    variables = {
        "masterordering": np.tile(np.arange(1, n_images + 1), 3)[None],
        "subjectim": np.hstack([np.tile(shared, (8, 1)), unique]),
        "sharedix": shared[None],
        "basiccnt": np.zeros((3, 3)),
    }
    savemat(new(layout, "design"), {name: values.astype(float) for name, values in variables.items()})
    shape = (len(ids), study.image_size, study.image_size, 3)
    with h5py.File(new(layout, "stimuli"), "w") as file:
        brick = file.create_dataset("imgBrick", shape, np.uint8, chunks=(1, *shape[1:]))
        for row, picture in enumerate(crops(min(16, study.n_shared), study.image_size, np.random.default_rng(0))):
            brick[row] = picture
    for subject, (volume, n_voxels) in study.subjects.items():
        write_masks(layout, subject, volume, n_voxels, study.roi_files)
    return shared


def write_masks(layout, subject, shape, n_voxels, roi_files):
    """An ellipsoid of cortex, fitted in the back; ROI files that each divide half of the fitted voxels."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij"))
    radius = np.square(grid).sum(axis=0)
    shell = (radius < 0.8) & (radius > 0.35)
    back = np.flatnonzero(shell)[np.argsort(grid[1][shell], kind="stable")][:n_voxels]
    fitted = np.where(shell, 0, -1).ravel()
    fitted[back] = 1
    save(new(layout, "nsdgeneral", subject=subject), fitted.reshape(shape))
    hcp = tuple(f"area{number}" for number in range(1, N_HCP + 1))
    for turn, name in enumerate(roi_files):
        labels, volume = LABELS.get(name, hcp), np.where(shell, 0, -1).ravel()
        half = np.roll(back, -turn * n_voxels // len(roi_files))[: n_voxels // 2]
        volume[half] = np.arange(half.size) * len(labels) // half.size + 1
        save(new(layout, "roi", subject=subject, name=name), volume.reshape(shape))
        rows = enumerate(("Unknown", *labels))
        new(layout, "label table", subject=subject, name=name).write_text(
            "".join(f"{k} {label}\n" for k, label in rows)
        )


def write_states(base_dir, model_id, prompt, image_ids, study):
    """Batches of the shared images with one number as their state, and with answers where there is a prompt."""
    store = EmbeddingStore(embeddings_folder(base_dir, model_id, prompt))
    settings = {"model_id": model_id, "template": "USER: <image>\n{prompt} ASSISTANT:", "dtype": "float16"}
    store.claim(settings | ({} if prompt is None else {"prompt": PROMPTS[prompt]}))
    for ids in np.array_split(image_ids, max(len(image_ids) // study.batch, 1)):
        answers = [f"Prompt {prompt}, image {image}: a photograph in daylight <of> things & people." for image in ids]
        states = {"vision" if prompt is None else "language": np.zeros((len(ids), 1, 1), np.float16)}
        store.write(ids, states, None if prompt is None else answers)


def write_scores(results, streams, regions, study, model, rng):
    """Voxel files of every layer, whose scores peak at the depth that the voxel's region prefers."""
    n_voxels = len(regions["nsdgeneral"])
    depth = np.linspace(0.15, 0.85, n_voxels).astype(np.float32)
    ceiling = rng.uniform(0.05, 0.7, n_voxels).astype(np.float32)
    strength = np.float32(0.75 - 0.06 * model + 0.05 * rng.random())
    settings = {"model": results.folder.name, "min_log_10_alpha": 1, "max_log_10_alpha": 4, "num_alphas": 60}
    record_settings(results.folder, settings | {"folds": 5, "zscore_sessions": True})
    used = {"n_train": study.n_unique, "n_test": study.n_shared, "n_sessions": 3, "test_repeats_mean": 3.0}
    results.write_noise_ceiling(ceiling, "computed", data_used=used)
    members, own = list(regions.values()), digests(regions)
    signal = np.sqrt(ceiling) * (np.arange(n_voxels) % 10 != 0)  # every tenth voxel follows nothing
    for stream, n_layers in streams.items():
        for layer in range(n_layers):
            tuning = np.exp(-np.square(layer / max(n_layers - 1, 1) - depth) / 0.15)
            r = strength * signal * tuning + 0.03 * rng.standard_normal(n_voxels, np.float32)
            p = np.where(r > 0.1, 1 / (study.n_permutations + 1), rng.random(n_voxels))
            region_p, region_r = (np.array([values[mask].mean() for mask in members]) for values in (p, r))
            resampled = region_r + 0.01 * rng.standard_normal((study.n_resamples, len(region_r)))
            arrays = {"p": p, "region_p": region_p, "region_r": resampled.astype(np.float32)}
            statistics = Statistics(own, study.n_permutations, 1, **arrays)
            scores = {"alpha": np.full(n_voxels, 100), "cv_score": r**2 - 1, "r": r, "r2": r * np.abs(r)}
            results.write(stream, layer, n_layers, scores, statistics)


def write_summary(results, regions, of, mask, affine):
    """The tables and maps of an alignment, without its picture."""
    table = region_table(results, regions, Alignment(*of), 0.0)
    write_table(table, results.folder, "scores")
    write_map(results.folder / "maps" / "noise_ceiling.nii.gz", results.read_noise_ceiling(), mask, affine)
    for stream in dict.fromkeys(table["stream"]):
        scores = stream_scores(results, stream)
        maps = best_layer_maps(scores, results.read_noise_ceiling()) | average_maps(scores)
        for name, values in maps.items():
            write_map(results.folder / "maps" / f"{stream}_{name}.nii.gz", values, mask, affine)


def save(path, volume):
    nibabel.save(nibabel.Nifti1Image(volume.astype(np.int16), AFFINE), path)


def new(layout, kind, **fields):
    """The path of a file to be written, its folder made."""
    path = layout.expected(kind, **fields)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_shares(base_dir, analysis, parts, rois, subjects):
    """The table of a variance partitioning; `parts` are (spaces, how many, R2)."""
    for subject in subjects:
        rows = [
            {"analysis": analysis, "subject": subject, "roi": roi, "n_voxels": 40, "kind": "part", "spaces": spaces}
            | {"n_spaces": n, "names": spaces, "r2": r2 + 0.01 * subject, "cv_r2": r2, "noise_ceiling": 0.5}
            for roi in rois
            for spaces, n, r2 in parts
        ]
        folder = Path(base_dir) / "alignment" / f"subj{subject:02d}" / "variance_partitioning" / analysis
        folder.mkdir(parents=True)
        pd.DataFrame(rows).to_parquet(folder / "shares.parquet")
