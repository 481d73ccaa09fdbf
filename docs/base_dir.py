"""Describe every file that the scripts write, from the files of a tiny run, with shapes and types.

The run is that of the study on a simulated NSD with two tiny models, through the scripts themselves.
"""

import contextlib
import inspect
import io
import json
import re
import runpy
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest import mock

import h5py
import nibabel
import numpy as np
import pandas as pd
from script_pages import scripts, table

from brain_activity_prediction.cross_subject import ceiling, group_statistics
from brain_activity_prediction.datasets.nsd.layout import PATHS
from brain_activity_prediction.demo.cortex import simulate_cortex
from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.models import write_llava, write_vit
from brain_activity_prediction.demo.simulation import REGIONS, Recipe
from brain_activity_prediction.encoding import comparison
from brain_activity_prediction.encoding.scores import score_store
from brain_activity_prediction.encoding.tables import region_table
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.rsa import similarity_table
from brain_activity_prediction.storage.embeddings import embedding_store
from brain_activity_prediction.variance_partitioning import share_store as partition_results
from brain_activity_prediction.variance_partitioning import share_table as partition_summary

RECIPE = Recipe(
    subjects=(1, 2), regions=REGIONS[:2], n_shared=28, n_unique=28, n_sessions=4, image_size=16, cortex=True
)
LLAVA, VIT = "llava-hf/llava-1.5-13b-hf", "google/vit-huge-patch14-224-in21k"
WIDTH = 24  # of both tiny models
LAYERS = 4
BATCH = 8  # what a script takes when not told otherwise
RUNS = (  # script, model folder or model id, more flags
    ("vit_huge_patch14_224_in21k.py", "--checkpoint {base}/vit"),
    ("llava_1.5_13b.py", "--checkpoint {base}/llava -p 1 --response --max-new-tokens 2"),
    ("align_model.py", f"-m {VIT}"),
    ("align_model.py", f"-m {LLAVA} -p 1 --permutations 9"),
    ("compare.py", f"-m {VIT} {LLAVA} -p 1"),
    ("cross_subject_ceiling.py", "-s 1 2"),
    ("across_subjects.py", ""),
    ("compare_representations.py", f"-m {LLAVA} -p 1 --permutations 9"),
    ("partition_variance.py", f"-n first_last --space {LLAVA} 1 language 0 --space {LLAVA} 1 language best"),
    ("report.py", "--roi nsdgeneral"),
)
# What varies in a path, and how it is written here.
PLACES = (
    (r"report/.*figures/.*", "report/figures/NAME.png, .svg, .csv, .txt"),
    (r"report/.*(?=report\.html|surface\.html|scores\.|made_from\.)", "report/"),
    (r"subj\d\d", "subjNN"),
    (r"prompt_\d+", "prompt_N"),
    (r"batch_\d+-\d+_\w+", "batch_FIRST-LAST_DIGEST"),
    (r"layer_\d\d", "layer_LL"),
    (r"sessions\d+-\d+", "sessionsA-B"),
    (rf"({LLAVA.replace('/', '_')}|{VIT.replace('/', '_')})", "ORG_MODEL"),
    (r"comparisons/\w+", "comparisons/NAME"),
    (r"variance_partitioning/\w+", "variance_partitioning/NAME"),
    (r"(?<=variance_partitioning/NAME/)layers(_\d+)+/", ""),  # the same files, of other layers
    (r"weightings/\d+", "weightings/NNN"),
    (r"(?<=/)(model|part)_[A-D+]+_", r"\1_SPACES_"),
    (r"(?<=/weight_)[A-D]", "SPACE"),
    (r"(?<=/)(vision|language|response)(?=_|\.h5)", "STREAM"),
)
ONE_RUN = "alignment/subjNN/prompt_N/ORG_MODEL"  # and .../no_prompt/ORG_MODEL, for streams without a prompt
PARTITIONING = "alignment/subjNN/variance_partitioning/NAME"
MEANING = {  # of a kind of file, in words or in those of the docstring of what writes it
    "image_embeddings/prompt_N/ORG_MODEL/batch_FIRST-LAST_DIGEST.h5": embedding_store,
    "image_embeddings/prompt_N/ORG_MODEL/settings.json": "Settings that change the states; others are refused.",
    "alignment/responses/responses_subjNN_zscored_sessionsA-B.h5": "The responses before scaling: betas, "
    "z-scored within sessions (or `percent`), averaged over repeats. Computed again if an input changes.",
    f"{ONE_RUN}/settings.json": "Settings that change the scores; other settings are refused.",
    f"{ONE_RUN}/scores.parquet": region_table.region_table,
    f"{ONE_RUN}/scores.csv": "The same rows and columns as text.",
    f"{ONE_RUN}/made_from.json": "Written last: a digest of the layers in tables and maps. It tells a sweep that "
    "they are finished.",
    f"{ONE_RUN}/layers.png": "Mean r of each region against layer, one panel for each stream; dots mark chosen layers.",
    f"{ONE_RUN}/noise_ceiling.h5": "The noise ceiling of the averaged test responses, in R² units.",
    f"{ONE_RUN}/voxels/STREAM_layer_LL.h5": score_store,
    f"{ONE_RUN}/best_layers/STREAM.h5": "Each voxel's best layer by `cv_score`, and the statistics of all voxels at "
    "their best layers.",
    f"{ONE_RUN}/maps/noise_ceiling.nii.gz": "the noise ceiling of R²",
    f"{ONE_RUN}/maps/STREAM_best_layer.nii.gz": "the layer with the best `cv_score` of each voxel, from 0",
    f"{ONE_RUN}/maps/STREAM_best_layer_alpha.nii.gz": "alpha at that layer",
    f"{ONE_RUN}/maps/STREAM_best_layer_cv_score.nii.gz": "its cross-validated score on training images",
    f"{ONE_RUN}/maps/STREAM_best_layer_r.nii.gz": "its r on test images",
    f"{ONE_RUN}/maps/STREAM_best_layer_r2.nii.gz": "its R² on test images",
    f"{ONE_RUN}/maps/STREAM_best_layer_p.nii.gz": "p of its r, with `--permutations`",
    f"{ONE_RUN}/maps/STREAM_best_layer_q.nii.gz": "that p adjusted over the voxels (Benjamini and Hochberg)",
    f"{ONE_RUN}/maps/STREAM_best_layer_r_normalised.nii.gz": "r divided by the square root of the noise ceiling",
    f"{ONE_RUN}/maps/STREAM_best_layer_r2_normalised.nii.gz": "R² divided by the noise ceiling",
    f"{ONE_RUN}/maps/STREAM_average_r.nii.gz": "mean r on test images over all layers; written once all are scored",
    f"{ONE_RUN}/maps/STREAM_average_r2.nii.gz": "mean R² on test images over all layers",
    f"{ONE_RUN}/maps/STREAM_average_cv_score.nii.gz": "the mean cross-validated score over all layers",
    f"{ONE_RUN}/maps/STREAM_layers_alpha.nii.gz": "alpha, one volume for each layer in order",
    f"{ONE_RUN}/maps/STREAM_layers_cv_score.nii.gz": "cross-validated scores on training images",
    f"{ONE_RUN}/maps/STREAM_layers_r.nii.gz": "r on test images",
    f"{ONE_RUN}/maps/STREAM_layers_r2.nii.gz": "R² on test images",
    f"{ONE_RUN}/maps/STREAM_layers_p.nii.gz": "p of r, with `--permutations`",
    f"{ONE_RUN}/similarity.parquet": similarity_table.similarity_table,
    f"{ONE_RUN}/similarity.csv": "The same rows and columns as text.",
    "alignment/subjNN/comparisons/NAME.parquet": comparison.differences,
    "alignment/subjNN/comparisons/NAME.csv": "The same rows and columns as text.",
    "alignment/across_subjects/scores.parquet": group_statistics.means,
    "alignment/across_subjects/scores.csv": "The same rows and columns as text.",
    "alignment/across_subjects/differences.parquet": group_statistics.differences,
    "alignment/across_subjects/differences.csv": "The same rows and columns as text.",
    "alignment/across_subjects/cross_subject_ceiling.parquet": ceiling.ceilings,
    "alignment/across_subjects/cross_subject_ceiling.csv": "The same rows and columns as text.",
    "alignment/across_subjects/maps/subjNN_cross_subject_r.nii.gz": "r of its predictions from the other subjects",
    f"{PARTITIONING}/settings.json": "Settings that change the scores; other settings are refused.",
    f"{PARTITIONING}/shares.parquet": partition_summary.share_table,
    f"{PARTITIONING}/shares.csv": "The same rows and columns as text.",
    f"{PARTITIONING}/weightings/NNN.h5": partition_results,
    f"{PARTITIONING}/resampled.h5": "R² of every joint fit on resamples of the test images, with `--bootstrap`.",
    f"{PARTITIONING}/maps/model_SPACES_r2.nii.gz": "R² of the joint fit of these spaces on test images",
    f"{PARTITIONING}/maps/model_SPACES_cv_r2.nii.gz": "the same, cross-validated on training images",
    f"{PARTITIONING}/maps/part_SPACES_r2.nii.gz": "the R² that exactly these spaces predict on test images",
    f"{PARTITIONING}/maps/part_SPACES_cv_r2.nii.gz": "the same, cross-validated on training images. It was used to "
    "choose the fits, so that inference should use R² on test images",
    f"{PARTITIONING}/maps/weight_SPACE.nii.gz": "the space's weight in the joint fit of all spaces, 0 to 1",
    f"{PARTITIONING}/maps/noise_ceiling.nii.gz": "the noise ceiling of R²",
    "report/scores.parquet": "The tables of all alignments in one, with q over all of them; the columns are those of "
    "the table of one alignment.",
    "report/scores.csv": "The same rows and columns as text, with an apostrophe before texts that a spreadsheet would "
    "take for a formula.",
    "report/report.html": "One page with all results, which opens from disk without network.",
    "report/made_from.json": "Written last: a digest of the tables that the report was made from.",
    "report/figures/NAME.png, .svg, .csv, .txt": "The figures of that page, with values and captions.",
    "report/surface.html": "The maps of that page on a 3-D cortex, without network; only if NSD's transforms exist.",
}


def write(base: Path) -> None:
    """Write a small BASE_DIR as the study does."""
    import transformers

    import_torchvision()
    transformers.logging.disable_progress_bar()
    small = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS - 1, "num_attention_heads": 2, "intermediate_size": 32}
    write_vit(base / "vit", **small)
    write_llava(base / "llava", **small)
    write_dataset(base, _signals, RECIPE)
    by_name = {script.path.name: script for script in scripts()}
    for name, flags in RUNS:
        taken = {flag for action in by_name[name].actions for flag in action.option_strings}
        flags = flags.format(base=base).split()
        common = [word for flag, value in (("-s", "1"), ("-g", "cpu")) if flag in taken for word in (flag, value)]
        run(by_name[name].path, ["-d", str(base), *common, *flags])


def _signals(pictures):
    rng = np.random.default_rng(0)
    return {region.source: rng.standard_normal((len(pictures), 2)) for region in RECIPE.regions}


def run(script: Path, flags: list[str]) -> None:
    """Run a script as `python script flags` does, but in this process, so that torch is imported once."""
    said = io.StringIO()
    with mock.patch.object(sys, "argv", [str(script), *flags]), contextlib.redirect_stdout(said):
        try:
            with contextlib.redirect_stderr(said):
                runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise RuntimeError(
                    f"{script.name} {' '.join(flags)} ended with {end.code}:\n{said.getvalue()}"
                ) from end


def kinds(base: Path) -> dict[str, Path]:
    """Return an example of each kind of file below `base`, by its name here; one folder represents similar ones."""
    found: dict[str, Path] = {}
    for folder in ("image_embeddings", "alignment", "report"):
        for path in sorted((base / folder).rglob("*")):
            if path.is_file():
                found.setdefault(kind_of(path.relative_to(base).as_posix()), path)
    alike = {kind for kind in found if kind.replace("/no_prompt/", "/prompt_N/") in found.keys() - {kind}}
    return {kind: path for kind, path in found.items() if kind not in alike}


def sections(base: Path) -> Iterator[str]:
    """Yield a section for each kind of file, and one for all maps of a folder, in the order of MEANING.

    Raise ValueError if a kind of file has no meaning, or if none has a meaning's name.
    """
    order, written = [*MEANING], kinds(base)
    if different := written.keys() ^ MEANING.keys():
        raise ValueError(f"written or described, not both: {', '.join(sorted(different))}")
    found = sorted(written.items(), key=lambda kind: order.index(kind[0]))
    maps = {kind: path for kind, path in found if kind.endswith(".nii.gz")}
    for kind, path in found:
        if kind not in maps:
            yield f"## `{kind}`\n\n{meaning(kind)}\n\n{contents(path)}"
    for folder in dict.fromkeys(str(Path(kind).parent) for kind in maps):
        inside = [kind for kind in maps if str(Path(kind).parent) == folder]
        rows = table(("file", "value of a voxel"), [(f"`{Path(kind).name}`", meaning(kind)) for kind in inside])
        yield f"## `{folder}/`\n\nNIfTI volumes, {contents(maps[inside[0]])}\n\n{rows}"


def meaning(kind: str) -> str:
    said = MEANING[kind]
    return said if isinstance(said, str) else inspect.cleandoc(said.__doc__)


def kind_of(path: str) -> str:
    for pattern, name in PLACES:
        path = re.sub(pattern, name, path)
    return path


def contents(path: Path) -> str:
    if path.suffix == ".h5":
        with h5py.File(path, "r") as file:
            return _hdf5(file)
    if path.suffix == ".json":
        settings = json.loads(path.read_text()).items()
        return table(("setting", "for example"), [(f"`{name}`", f"`{json.dumps(value)}`") for name, value in settings])
    if path.suffix == ".parquet":
        columns = pd.read_parquet(path).dtypes.items()
        return table(("column", "type"), [(f"`{name}`", str(kind)) for name, kind in columns])
    if path.name.endswith(".nii.gz"):
        return f"(X, Y, Z) {nibabel.load(path).get_data_dtype()}, with the affine of the subject's betas."
    return ""


def _hdf5(file: h5py.File) -> str:
    rows = []
    for name, dataset in file.items():
        of_text = dataset.dtype.kind in "SO"
        rows.append((f"`{name}`", shape_of(dataset.shape), "UTF-8 text" if of_text else str(dataset.dtype)))
    return table(("dataset", "shape", "type"), rows)


def shape_of(shape: tuple[int, ...]) -> str:
    """Return a shape with the page's letters for the numbers of the tiny run."""
    letters = dict.fromkeys((BATCH, RECIPE.n_shared, RECIPE.n_shared + RECIPE.n_unique), "n")
    letters |= dict.fromkeys(_fitted_voxels(), "V") | {
        LAYERS: "L",
        WIDTH: "W",
        len(RECIPE.regions) + 1: "R",
    }  # and nsdgeneral
    return f"({', '.join(letters.get(length, str(length)) for length in shape)})"


@cache
def _fitted_voxels() -> list[int]:
    """Return the number of fitted voxels of each subject."""
    cortices = [simulate_cortex(RECIPE.regions, RECIPE.rng(4, subject)) for subject in RECIPE.subjects]
    return [int((cortex.nsdgeneral == 1).sum()) for cortex in cortices]


def nsd_files() -> str:
    """Return a table of the paths of NSD's files in either layout."""
    rows = [
        (kind, layout, "<br>".join(f"`{path}`" for path in paths))
        for kind in PATHS["official"]
        for layout, paths in ((layout, PATHS[layout][kind]) for layout in PATHS if kind in PATHS[layout])
    ]
    return table(("file", "layout", "path"), rows)
