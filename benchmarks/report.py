"""How long the report of a whole study takes, and how much memory: six models, nine prompts, four subjects, full size.

    python benchmarks/report.py -d FOLDER [--both] [--small]

Writes made-up scores of that size to FOLDER, unless they are there, with --both under both protocols, then runs the
script's command lines. Tables, maps, masks, stimuli and answers are as an alignment leaves them; files of voxels, which
the report only counts, are empty.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import synthetic_scores as synthetic
from tqdm import tqdm

from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.datasets.nsd.regions import read_mask, region_masks
from brain_activity_prediction.datasets.units import write_map
from brain_activity_prediction.encoding.tables.region_table import COLUMNS
from brain_activity_prediction.storage.folders import PROTOCOLS, alignment_folder, scores_folder
from brain_activity_prediction.storage.settings_file import record_settings

SCRIPT = Path(synthetic.__file__).resolve().parents[1] / "brain_activity_prediction" / "report" / "report.py"
REGION_TABLE = ("--table-only", "--roi", "V1v")


def write_study(base_dir, study):
    """What a study has beside scores: NSD, and the models' answers."""
    shared = synthetic.write_nsd(Layout("official", base_dir), study)
    for model, prompt in tqdm(runs_of(study), desc="answers"):
        synthetic.write_states(base_dir, model, prompt, shared, study)


def write_alignments(base_dir, study, protocol):
    """What the report reads of a protocol's scores: a table a model, prompt and subject, and the maps that it shows."""
    layout = Layout("official", base_dir)
    for subject in study.subjects:
        mask, affine = read_mask(layout, subject)
        regions = list(region_masks(layout, subject, mask))
        for model, prompt in tqdm(runs_of(study), desc=f"{protocol}, subject {subject}"):
            folder = alignment_folder(base_dir, subject, model, prompt, protocol)
            write_run(folder, study, (model, prompt, subject), regions, protocol)
            if protocol == PROTOCOLS[0]:
                write_maps(folder, study, (model, prompt, subject), mask, affine)


def runs_of(study):
    """(model, prompt) of every alignment, prompt None for the streams without a prompt."""
    runs = [(model, prompt) for model in study.models for prompt in (None, *study.prompts)]
    return [(model, prompt) for model, prompt in runs if streams_of(study, model, prompt)]


def streams_of(study, model, prompt):
    """`{stream: layers}` of what a model has under a prompt, or under none."""
    return {name: n for name, (n, prompted) in study.models[model].items() if prompted == (prompt is not None)}


def write_run(folder, study, of, regions, protocol):
    """scores.parquet with every row that a region table has, settings.json, and a file a layer."""
    model, prompt, subject = of
    rng = np.random.default_rng([subject, prompt or 0, len(model)])
    parts = []
    for stream, n_layers in streams_of(study, model, prompt).items():
        kinds = [("each", layer, layer / (n_layers - 1)) for layer in range(n_layers)]
        kinds += [("best_per_region", n_layers // 2, 0.5), ("best_per_voxel", None, 0.5), ("average", None, np.nan)]
        choices, layers, positions = (np.repeat(values, len(regions)) for values in zip(*kinds, strict=True))
        part = pd.DataFrame({"layer_choice": choices, "layer": layers, "layer_position": positions.astype(float)})
        parts.append(part.assign(stream=stream, roi=np.tile(regions, len(kinds))))
        for layer in range(n_layers):
            path = folder / "voxels" / f"{stream}_layer_{layer:02d}.h5"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    table = pd.concat(parts, ignore_index=True)
    preferred = np.linspace(0.2, 0.8, len(regions))[pd.Categorical(table["roi"], regions).codes]
    r = 0.3 * np.exp(-np.square(table["layer_position"].fillna(0.5) - preferred) / 0.15)
    r += 0.01 * rng.standard_normal(len(table))
    columns = {
        "r": r,
        "r2": r**2,
        "cv_score": r**2 - 1,
        "r_normalised": r / 0.6,
        "r_normalised_all_voxels": r / 0.6,
        "r2_normalised": r**2 / 0.36,
    }
    columns |= {"r_se": 0.01, "r_ci_low": r - 0.02, "r_ci_high": r + 0.02, "alpha_median": rng.random(len(table))}
    columns |= {"p": np.where(r > 0.1, 0.001, rng.random(len(table))), "q": np.nan, "r_normalised_se": 0.015}
    columns |= {"n_resamples": 1000, "n_permutations": 1000, "permutation_block": 1}
    columns |= {"noise_ceiling": 0.36, "r_ceiling": 0.6, "ncsnr": "computed", "min_noise_ceiling": 0.1}
    columns |= {"r_ceiling_se": 0.01, "n_images_not_permuted": 0, "r_normalised_all_voxels_se": 0.015}
    columns |= {f"r_normalised_all_voxels_ci_{end}": r / 0.6 + by for end, by in (("low", -0.03), ("high", 0.03))}
    columns |= {"n_train": 9000, "n_test": 1000, "n_sessions": 40, "test_repeats_mean": 3.0}
    columns |= {"n_voxels": 400, "n_voxels_normalised": 390, "settings": "0123abcd", "protocol": protocol}
    columns |= {"model_id": model, "prompt": prompt, "subject": subject}
    table = table.assign(**columns)[list(COLUMNS)].astype({"prompt": "Int64", "layer": "Int64"})
    table.to_parquet(folder / "scores.parquet", index=False)
    of_states = {} if prompt is None else {"embeddings_prompt": f"prompt {prompt}"}
    record_settings(folder, {"folds": 5, "model": model, "responses": f"subject {subject}"} | of_states)


def write_maps(folder, study, of, mask, affine):
    """The maps that the report shows of each stream, a preferred layer that goes through the brain."""
    model, prompt, subject = of
    rng, n_voxels = np.random.default_rng([subject, prompt or 0, len(model), 1]), np.count_nonzero(mask)
    write_map(folder / "maps" / "noise_ceiling.nii.gz", rng.uniform(0.05, 0.7, n_voxels), mask, affine)
    for stream, n_layers in streams_of(study, model, prompt).items():
        layer = np.clip(np.linspace(0, 1, n_voxels) * n_layers + rng.normal(0, 2, n_voxels), 0, n_layers - 1)
        r = rng.uniform(0, 0.6, n_voxels)
        for name, values in {"": layer.round(), "_r": r, "_cv_score": r**2 - 1}.items():
            write_map(folder / "maps" / f"{stream}_best_layer{name}.nii.gz", values, mask, affine)


def measured(*command):
    """Runs a command; seconds it took, seconds of processor time, and the peak of its memory in gigabytes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, processor, after.ru_maxrss / 2**20  # kilobytes on Linux; the highest of any child so far


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", "--base-dir", type=Path, required=True, help="folder to write to")
    parser.add_argument("--both", action="store_true", help="scores under both protocols")
    parser.add_argument("--small", action="store_true", help="a toy study, to try the benchmark itself")
    arguments = parser.parse_args()
    study = synthetic.SMALL if arguments.small else synthetic.Study()
    if not scores_folder(arguments.base_dir).exists():
        write_study(arguments.base_dir, study)
    for protocol in PROTOCOLS if arguments.both else PROTOCOLS[:1]:
        if not scores_folder(arguments.base_dir, protocol).exists():
            write_alignments(arguments.base_dir, study, protocol)
    for what, flags in (("region table", REGION_TABLE), ("report", ())):
        took, processor, peak = measured(SCRIPT, "-d", arguments.base_dir, *flags)
        print(f"{what}: {took:.1f} s, {processor:.1f} s of processor time, peak {peak:.2f} GB")
    size = (arguments.base_dir / "report" / "report.html").stat().st_size / 1e6
    rows = sum(len(pd.read_parquet(path, columns=["r"])) for path in arguments.base_dir.glob("report/scores.parquet"))
    print(f"{rows:,} rows, report.html {size:.1f} MB")


if __name__ == "__main__":
    main()
