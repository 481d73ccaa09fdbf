"""Real neurons with their repeats: noise ceilings, significance, shared variance and the report, by the command line.

    python benchmarks/macaque_repeats.py --real-data FOLDER -d BASE_DIR

FOLDER is that of `macaque_v4.py`, and so is what is written: a session, 210325 unless another is named (50 neurons, 640
photographs, 6 to 10 repeats, each a trial; any number of each will do), to BASE_DIR as a lab's own experiment, each
neuron once as it is and once with its images shuffled. Ceilings are compared with the split-half reliability of the raw
repeats, which is computed here and by nothing of the package.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from macaque_v4 import ALPHAS, MODEL_ID, PACKAGE, REGIONS, STREAM, SUBJECT, place, read_session, write_experiment

from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.settings import EncodingSettings
from brain_activity_prediction.storage.folders import alignment_folder, partitioning_folder

EARLY, MIDDLE, LATE = 3, 11, 16  # layers: what leaves blocks 2, 10 and 15
ANALYSIS = "early_late"
N_PERMUTATIONS = 2000


def commands(base_dir, checkpoint):
    """What a user types: extraction, alignment with a test, partitioning of an early and a late block, the report."""
    common = ["-d", base_dir, "-s", SUBJECT, "-g", "cpu"]
    spaces = [word for layer in (EARLY, LATE) for word in ("--space", MODEL_ID, "none", STREAM, layer)]
    layers = ["-l", EARLY, MIDDLE, LATE, "--stream", STREAM, "--permutations", N_PERMUTATIONS]
    extract = ["--model-id", MODEL_ID, "--checkpoint", checkpoint, "--grid", 4, "-b", 4]
    for script, *flags in (
        ("extract_image_embeddings/vision_model.py", *common, *extract),
        ("align_image_embeddings/align_model.py", *common, "-m", MODEL_ID, *ALPHAS, *layers),
        ("align_image_embeddings/partition_variance.py", *common, *ALPHAS, "-n", ANALYSIS, *spaces),
        ("report/report.py", "-d", base_dir),
    ):
        yield [sys.executable, str(PACKAGE / script), *map(str, flags)]


def split_half_reliability(responses, n_splits=200, seed=0):
    """Reliability of each neuron's average over its repeats, (neurons,): Spearman-Brown of halves drawn at random.

    `responses` (n, neurons, repeats), NaN where there was no repeat. A neuron's two halves are correlated over the
    images with two repeats or more, and the correlation is averaged over the splits; NaN for one that never varied.
    """
    rng = np.random.default_rng(seed)
    recorded = np.isfinite(responses).all(axis=1)  # (n, repeats)
    enough = recorded.sum(axis=1) > 1
    recorded, counts = recorded[enough], np.nan_to_num(responses[enough])
    found = []
    for _ in range(n_splits):
        place = np.argsort(np.argsort(np.where(recorded, rng.random(recorded.shape), np.inf), axis=1), axis=1)
        n = recorded.sum(axis=1, keepdims=True)
        parts = place < n // 2, (place >= n // 2) & (place < n)
        halves = [np.einsum("nvr,nr->nv", counts, part) / part.sum(axis=1, keepdims=True) for part in parts]
        with np.errstate(invalid="ignore"):
            one, other = ((half - half.mean(axis=0)) / half.std(axis=0) for half in halves)
        found.append((one * other).mean(axis=0))
    r = np.mean(found, axis=0)
    return 2 * r / (1 + r)


def ceilings(base_dir):
    """Noise ceilings (neurons,) of the test images' averages, in R2 units, as the alignment gave them."""
    folder = alignment_folder(place(base_dir), SUBJECT, MODEL_ID, None)
    return ScoreStore(folder).read_noise_ceiling().reshape(-1, len(REGIONS))[:, 0]  # units are ordered by neuron


def normalised(base_dir, layer=MIDDLE):
    """Held-out r of each neuron at one layer over the root of its ceiling, (neurons,); NaN without a ceiling."""
    r = ScoreStore(alignment_folder(place(base_dir), SUBJECT, MODEL_ID, None)).read(STREAM, layer)["r"]
    ceiling = ceilings(base_dir)
    return r.reshape(-1, len(REGIONS))[:, 0] / np.sqrt(np.where(ceiling > 0, ceiling, np.nan))


def read_tables(base_dir):
    """The report's scores of each region's best layer, by region, and the parts of variance, by region and part."""
    scores = pd.read_parquet(Path(base_dir) / "report" / "own" / "scores.parquet")
    best = scores[scores["layer_choice"] == "best_per_region"].set_index("roi")
    shares = pd.read_parquet(partitioning_folder(place(base_dir), SUBJECT, ANALYSIS) / "shares.parquet")
    return best, shares[shares["kind"] == "part"].set_index(["roi", "spaces"])["r2"]


def significant_neurons(base_dir, layer=MIDDLE):
    """Share of the neurons and of the shuffled ones with p below 0.05 at one layer."""
    statistics = ScoreStore(alignment_folder(place(base_dir), SUBJECT, MODEL_ID, None)).read_statistics(STREAM, layer)
    return (statistics.p.reshape(-1, len(REGIONS)) < 0.05).mean(axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real-data", type=Path, required=True, help="folder with macaque_v4, efficientnet_lite0")
    parser.add_argument("-d", "--base-dir", type=Path, required=True, help="folder to write to")
    parser.add_argument("--session", default="210325", help="of the recordings in macaque_v4")
    arguments = parser.parse_args()
    photographs, responses = read_session(arguments.real_data / "macaque_v4", arguments.session)
    write_experiment(arguments.base_dir, photographs, responses)
    for command in commands(arguments.base_dir, arguments.real_data / "efficientnet_lite0"):
        subprocess.run(command, check=True, stdout=sys.stderr)
    if responses.shape[2] > 1:
        ceiling, reliability = ceilings(arguments.base_dir), split_half_reliability(responses)
        alive = np.isfinite(ceiling) & np.isfinite(reliability)
        print(f"{len(alive)} neurons, {(~alive).sum()} of which never varied and are left out here")
        ceiling, reliability = ceiling[alive], reliability[alive]
        print(
            f"ceiling, median: {np.median(ceiling):.3f}; split-half reliability, median: {np.median(reliability):.3f}"
        )
        difference = ceiling - reliability
        print(f"difference a neuron: mean {difference.mean():+.4f}, SD {difference.std():.4f}")
        print(f"correlation over neurons: {np.corrcoef(ceiling, reliability)[0, 1]:.4f}")
        highest = np.nanmax(
            normalised(arguments.base_dir)[alive & (ceilings(arguments.base_dir) >= EncodingSettings.min_noise_ceiling)]
        )
        print(f"highest normalised r of a neuron at layer {MIDDLE}: {highest:.3f}")
    best, shares = read_tables(arguments.base_dir)
    print(best.loc[list(REGIONS), ["layer", "r", "r_se", "r_normalised_all_voxels", "p", "q"]])
    print("neurons with p < 0.05:", dict(zip(REGIONS, significant_neurons(arguments.base_dir).tolist(), strict=True)))
    print(shares.unstack())


if __name__ == "__main__":
    main()
