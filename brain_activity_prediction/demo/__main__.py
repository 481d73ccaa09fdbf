"""Run the whole pipeline on a small simulated NSD: `python -m brain_activity_prediction.demo`.

The demo writes two small models with random weights, and a dataset of two subjects whose voxels follow layers of one of
the models. It runs the study's scripts on this dataset and prints the paths of the results.
"""

import argparse
import os
import runpy
import shutil
import sys
import time
from pathlib import Path

from brain_activity_prediction.cli.parser import Help, OneLineParser, add_verbosity
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.scripts import ALIGN, EXTRACT_FOLDER, PACKAGE, REPORT, SURFACE_MAPS
from brain_activity_prediction.storage.folders import PLANTED

LLAVA, VIT = "simulated/llava-1.5-13b-hf", "simulated/vit-huge-patch14-224-in21k"
CHECKPOINTS = "checkpoints"  # subfolder of the demo; each model has a folder there, named after its script


def flags() -> argparse.ArgumentParser:
    flags = OneLineParser(prog="demo", description=__doc__, formatter_class=Help)
    flags.add_argument(
        "-d",
        "--base-dir",
        type=Path,
        default=Path("demo_data"),
        help="folder to write; an earlier demo in it is replaced",
    )
    flags.add_argument("--layout", choices=("official", "flat"), default="official", help="NSD's layout on disk")
    flags.add_argument("--data-only", action="store_true", help="write the dataset and the models, but run no script")
    add_verbosity(flags)
    return flags


def main() -> None:
    arguments = flags().parse_args()
    # For such small arrays, threads cost more time than they save. NumPy and torch read the variable at import.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    start = time.perf_counter()
    write(arguments.base_dir, arguments.layout)
    if not arguments.data_only:
        from brain_activity_prediction.demo.planted import LAYERS

        run_scripts(arguments.base_dir)
        print(f"\nThat took {time.perf_counter() - start:.0f} s. Voxels were simulated to follow the language stream:")
        early, late = LAYERS["early"], LAYERS["late"]
        print(f"V1, V2 and V3 layer {early}; hV4, OFA, FFA-1, EBA and PPA layer {late}; RSC is noise.")
        page = arguments.base_dir / "report" / "report.html"
        print(f"Open {page} in a browser; its folder also has the table and figures.")


def write(base_dir: Path, layout: str) -> None:
    """Write the models' checkpoints and the dataset; replace an earlier demo, but refuse a folder with other files."""
    import transformers

    from brain_activity_prediction.demo.dataset import DEFAULT_RECIPE, write_dataset
    from brain_activity_prediction.demo.models import write_llava, write_vit
    from brain_activity_prediction.demo.planted import layer_features
    from brain_activity_prediction.models.library_imports import import_torchvision

    if base_dir.exists() and not (base_dir / PLANTED).exists() and any(base_dir.iterdir()):
        raise InputError(f"{base_dir} holds files that are not a demo: choose another --base-dir")
    _empty(base_dir)
    print(f"Writing two small models and a simulated NSD to {base_dir}", flush=True)
    import_torchvision()
    transformers.logging.disable_progress_bar()
    llava, vit = (base_dir / CHECKPOINTS / name for name in ("llava_1.5_13b", "vit_huge_patch14_224_in21k"))
    write_llava(llava)
    write_vit(vit)
    write_dataset(base_dir, lambda pictures: layer_features(pictures, llava), DEFAULT_RECIPE, layout)


def _empty(base_dir: Path) -> None:
    """Delete all files except the mark of a demo, so that a demo that is killed now can be started again."""
    base_dir.mkdir(parents=True, exist_ok=True)
    (base_dir / PLANTED).touch()
    for path in base_dir.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != PLANTED:
            path.unlink()


def run_scripts(base_dir: Path) -> None:
    """Run extraction and alignment of both models, the surface maps and the report, with their command lines."""
    base, device = ["-d", str(base_dir)], ["-g", "cpu"]
    extractions = (("vit_huge_patch14_224_in21k", VIT, "-b", "64"), ("llava_1.5_13b", LLAVA, "-b", "32", "-p", "1"))
    for name, model_id, *more in extractions:
        checkpoint = ["--checkpoint", str(base_dir / CHECKPOINTS / name)]
        run(EXTRACT_FOLDER / f"{name}.py", *base, "-s", "1,2", *device, "-m", model_id, *more, *checkpoint)
    for model_id, *more in ((VIT,), (LLAVA, "-p", "1")):
        for subject in ("1", "2"):
            run(ALIGN, *base, "-s", subject, *device, "-m", model_id, *more, "--permutations", "200")
    run(SURFACE_MAPS, *base, "--space", "fsaverage5")
    run(REPORT, *base)


def run(script: Path, *flags: str) -> None:
    """Run a script in this process, to import libraries only once; if it fails, end the demo with its status."""
    print(f"\n$ python {script.relative_to(PACKAGE.parent)} {' '.join(flags)}", flush=True)
    sys.argv = [str(script), *flags]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise


if __name__ == "__main__":
    run_script(main)
