"""Real neurons: how well the blocks of an ImageNet network predict macaque V4, by the commands of a study on NSD.

    python benchmarks/macaque_v4.py --real-data FOLDER -d BASE_DIR

FOLDER holds `macaque_v4` (session 190923 of Cowley et al., github.com/cowleygroup/V4_compact_models: 33 neurons, 1200
photographs, responses averaged over 14 repeats) and `efficientnet_lite0` (a checkpoint). The session is written to
BASE_DIR in NSD's formats. A neuron is a voxel of the region macaque:V4, and once more, with its responses shuffled over
the images, of macaque:shuffled. Its response in one repeat, or the average where only that was published, is one trial,
all trials are one session, and a fifth of the images, drawn at random, take the place of the shared ones, which are
tested on. `macaque_repeats.py` goes on from here.
"""

import argparse
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
from PIL import Image
from scipy.io import savemat

from brain_activity_prediction.datasets.nsd.betas import INTEGERS_PER_PERCENT
from brain_activity_prediction.datasets.nsd.design import N_SUBJECTS
from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.storage.folders import alignment_folder, partitioning_folder

PACKAGE = Path(__file__).resolve().parents[1] / "brain_activity_prediction"
MODEL_ID = "timm/tf_efficientnet_lite0.in1k"
STREAM = "vision_grid4"
REGIONS = ("V4", "shuffled")
EARLY, LATE = 2, 10  # the blocks whose variance is partitioned
PARTITIONING = "early_late"
ALPHAS = ("--max-log-10-alpha", 6)
TESTED = 5  # one image in so many
# Medians over the neurons that a plain reference gave (scikit-learn's RidgeCV, one 80/20 split), by block from 0.
REFERENCE = {2: 0.437, 4: 0.517, 7: 0.574, 10: 0.570, 13: 0.571, 15: 0.514}


def read_session(folder, session="190923"):
    """Photographs (n, 112, 112, 3) uint8 and spike counts (n, neurons, repeats), NaN where there was no repeat.

    A session of which only averages are there has one repeat.
    """
    with zipfile.ZipFile(folder / f"images_{session}.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        photographs = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names]
    raw = folder / f"responses_raw_{session}.npy"
    counts = np.load(raw) if raw.exists() else np.load(folder / f"responses_{session}.npy")[..., None]
    return np.stack(photographs), counts.transpose(1, 0, 2)


def write_nsd(base_dir, photographs, responses, seed=0):
    """Write photographs (n, size, size, 3) and responses (n, neurons, repeats) as NSD's subject 1, official layout.

    A repeat that any neuron lacks is left out for all.
    """
    rng = np.random.default_rng(seed)
    layout, n_images = Layout("official", Path(base_dir)), len(photographs)
    shared = np.sort(rng.permutation(n_images)[: n_images // TESTED]) + 1
    image_ids = np.concatenate([shared, np.setdiff1d(np.arange(1, n_images + 1), shared)])
    recorded = np.isfinite(responses).all(axis=1)[image_ids - 1]  # (n, repeats), in the order of image_ids
    positions, repeats = np.nonzero(recorded)
    order = rng.permutation(len(positions))  # of the trials
    positions, repeats = positions[order], repeats[order]
    variables = {
        "masterordering": positions[None] + 1,
        "subjectim": np.tile(image_ids, (N_SUBJECTS, 1)),
        "sharedix": shared[None],
        "basiccnt": np.array([[n_images], [0], [0]]),  # of which only the number of sessions is read
    }
    savemat(new(layout, "design"), {name: values.astype(float) for name, values in variables.items()})
    with h5py.File(new(layout, "stimuli"), "w") as file:
        file["imgBrick"] = photographs

    by_region = np.stack([responses, shuffled(responses, rng)], axis=2)  # (n, neurons, regions, repeats)
    with h5py.File(new(layout, "betas", subject=1, session=1), "w") as file:
        trials = by_region[image_ids[positions] - 1, :, :, repeats, None]  # (trials, X, Y, Z)
        file["betas"] = np.round(trials * INTEGERS_PER_PERCENT).astype(np.int16).transpose(0, 3, 2, 1)
    region = np.broadcast_to(np.arange(1, len(REGIONS) + 1)[:, None], (*by_region.shape[1:3], 1))
    for path, volume in (
        (new(layout, "nsdgeneral", subject=1), np.ones_like(region)),
        (new(layout, "roi", subject=1, name="macaque"), region),
    ):
        nibabel.save(nibabel.Nifti1Image(volume.astype(np.int16), np.eye(4)), path)
    table = "".join(f"{number} {name}\n" for number, name in enumerate(REGIONS, start=1))
    new(layout, "label table", subject=1, name="macaque").write_text(table)


def shuffled(responses, rng):
    """Each neuron's images in an order of its own; repeats stay together, among images with as many."""
    recorded = np.isfinite(responses).all(axis=1)
    places = np.argsort(~recorded, axis=1, kind="stable")[:, None]  # of an image's repeats, those recorded first
    first = np.take_along_axis(responses, places, axis=2)
    mixed = np.empty_like(responses)
    for n in np.unique(recorded.sum(axis=1)):
        rows = np.flatnonzero(recorded.sum(axis=1) == n)
        order = rng.permuted(np.tile(rows[:, None], responses.shape[1]), axis=0)
        mixed[rows] = first[order, np.arange(responses.shape[1])]
    np.put_along_axis(first, places, mixed, axis=2)
    return first


def new(layout, kind, **fields):
    """The path of a file to be written, its folder made."""
    path = layout.expected(kind, **fields)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def commands(base_dir, checkpoint):
    """What a user types: extraction, alignment of the blocks of REFERENCE (layer 0 enters block 0), partitioning."""
    layers = [block + 1 for block in REFERENCE]
    common = ["-d", base_dir, "-s", 1, "-g", "cpu"]
    extract = ["vision_model.py", *common, "-m", MODEL_ID, "--checkpoint", checkpoint, "--grid", 4, "-b", 4]
    align = ["align_model.py", *common, "-m", MODEL_ID, *ALPHAS, "-l", *layers]
    spaces = [word for block in (EARLY, LATE) for word in ("--space", MODEL_ID, "none", STREAM, block + 1)]
    partition = ["partition_variance.py", *common, *ALPHAS, "-n", PARTITIONING, *spaces]
    for folder, command in (
        ("extract_image_embeddings", extract),
        ("align_image_embeddings", align),
        ("align_image_embeddings", partition),
    ):
        yield [sys.executable, str(PACKAGE / folder / command[0]), *map(str, command[1:])]


def medians(base_dir):
    """Median held-out r of the neurons and of the shuffled ones, `{block: (V4, shuffled)}`."""
    results = ScoreStore(alignment_folder(Path(base_dir), 1, MODEL_ID, None))
    found = {}
    for stream, layer, _ in results.layers():
        if stream == STREAM:
            r = results.read(stream, layer)["r"].reshape(-1, len(REGIONS))  # voxels are ordered as volume[mask]
            found[layer - 1] = tuple(np.median(r, axis=0).tolist())
    return found


def shares(base_dir):
    """Mean test R2 over the neurons that each part of the variance has, `{spaces: (V4, shuffled)}`; A is EARLY."""
    table = pd.read_parquet(partitioning_folder(Path(base_dir), 1, PARTITIONING) / "shares.parquet")
    r2 = table[table["kind"] == "part"].pivot(index="spaces", columns="roi", values="r2")
    return {spaces: tuple(row) for spaces, row in r2[[f"macaque:{region}" for region in REGIONS]].iterrows()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real-data", type=Path, required=True, help="folder with macaque_v4, efficientnet_lite0")
    parser.add_argument("-d", "--base-dir", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="of the split; a BASE_DIR for each")
    arguments = parser.parse_args()
    write_nsd(arguments.base_dir, *read_session(arguments.real_data / "macaque_v4"), arguments.seed)
    for command in commands(arguments.base_dir, arguments.real_data / "efficientnet_lite0"):
        subprocess.run(command, check=True, stdout=sys.stderr)
    print("| block | median r | plain reference | shuffled images |\n| ---: | ---: | ---: | ---: |")
    for block, (neurons, shuffled) in medians(arguments.base_dir).items():
        print(f"| {block} | {neurons:.3f} | {REFERENCE[block]:.3f} | {shuffled:+.3f} |")
    print(f"\nA = block {EARLY}, B = block {LATE}\n")
    print("| predicted only by | mean R2 | shuffled images |\n| --- | ---: | ---: |")
    for spaces, (neurons, shuffled) in shares(arguments.base_dir).items():
        print(f"| {spaces} | {neurons:+.3f} | {shuffled:+.3f} |")


if __name__ == "__main__":
    main()
