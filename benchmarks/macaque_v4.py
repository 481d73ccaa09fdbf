"""Real neurons: how well the blocks of an ImageNet network predict macaque V4, as a lab's own experiment.

    python benchmarks/macaque_v4.py --real-data FOLDER -d BASE_DIR

FOLDER holds `macaque_v4` (session 190923 of Cowley et al., github.com/cowleygroup/V4_compact_models: 33 neurons, 1200
photographs, responses averaged over 14 repeats) and `efficientnet_lite0` (a checkpoint). The session is written to
BASE_DIR as a lab writes its own experiment. A neuron is a unit of the region V4, and once more, with its responses
shuffled over the images, of the region shuffled. Its response in one repeat, or the average where only that was
published, is one trial, all trials are one session, and a fifth of the images, drawn at random, are tested on.
`macaque_repeats.py` goes on from here.
"""

import argparse
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.storage.folders import Output, alignment_folder, partitioning_folder

PACKAGE = Path(__file__).resolve().parents[1] / "brain_activity_prediction"
MODEL_ID = "timm/tf_efficientnet_lite0.in1k"
STREAM = "vision_grid4"
SUBJECT = "monkey"
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


def write_experiment(base_dir, photographs, responses, seed=0):
    """Write photographs (n, size, size, 3) and responses (n, neurons, repeats) as an experiment of one subject.

    A repeat that any neuron lacks is left out for all.
    """
    rng = np.random.default_rng(seed)
    base_dir, n_images = Path(base_dir), len(photographs)
    names = [f"{number:04d}.png" for number in range(n_images)]
    tested = np.sort(rng.permutation(n_images)[: n_images // TESTED])
    (base_dir / "images").mkdir(parents=True)
    for name, photograph in zip(names, photographs, strict=True):
        Image.fromarray(photograph).save(base_dir / "images" / name)
    images, repeats = np.nonzero(np.isfinite(responses).all(axis=1))
    order = rng.permutation(len(images))  # of the trials
    images, repeats = images[order], repeats[order]
    by_region = np.stack([responses, shuffled(responses, rng)], axis=2)  # (n, neurons, regions, repeats)
    np.save(base_dir / "responses.npy", by_region[images, :, :, repeats].reshape(len(images), -1).astype(np.float32))
    shown = [names[image] for image in images]
    pd.DataFrame({"subject": SUBJECT, "image": shown}).to_csv(base_dir / "trials.csv", index=False)
    split = pd.DataFrame({"image": [names[image] for image in tested], "split": "test"})
    split.to_csv(base_dir / "split.csv", index=False)
    (base_dir / "regions").mkdir()
    region = pd.DataFrame({"region": REGIONS * responses.shape[1]})
    region.to_csv(base_dir / "regions" / "neurons.csv", index=False)


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


def commands(base_dir, checkpoint, blocks=tuple(REFERENCE)):
    """What a user types: extraction, alignment of blocks (layer 0 enters block 0), partitioning."""
    layers = [block + 1 for block in blocks]
    common = ["-d", base_dir, "-s", SUBJECT, "-g", "cpu"]
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


def place(base_dir):
    """The place of the results."""
    return Output(Path(base_dir), "own")


def medians(base_dir):
    """Median held-out r of the neurons and of the shuffled ones, `{block: (V4, shuffled)}`."""
    results = ScoreStore(alignment_folder(place(base_dir), SUBJECT, MODEL_ID, None))
    found = {}
    for stream, layer, _ in results.layers():
        if stream == STREAM:
            r = results.read(stream, layer)["r"].reshape(-1, len(REGIONS))  # units are ordered by neuron
            found[layer - 1] = tuple(np.median(r, axis=0).tolist())
    return found


def shares(base_dir):
    """Mean test R2 over the neurons that each part of the variance has, `{spaces: (V4, shuffled)}`; A is EARLY."""
    table = pd.read_parquet(partitioning_folder(place(base_dir), SUBJECT, PARTITIONING) / "shares.parquet")
    r2 = table[table["kind"] == "part"].pivot(index="spaces", columns="roi", values="r2")
    return {spaces: tuple(row) for spaces, row in r2[list(REGIONS)].iterrows()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real-data", type=Path, required=True, help="folder with macaque_v4, efficientnet_lite0")
    parser.add_argument("-d", "--base-dir", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="of the split; a BASE_DIR for each")
    arguments = parser.parse_args()
    write_experiment(arguments.base_dir, *read_session(arguments.real_data / "macaque_v4"), arguments.seed)
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
