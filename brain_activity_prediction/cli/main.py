"""The installed command `bap`, which runs all scripts from any folder.

    bap extract MODEL [flags]    bap align [flags]    bap report [flags]    ...

`bap COMMAND` runs the script of that command with the given flags. Messages and exit status are those of the script.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import brain_activity_prediction
from brain_activity_prediction.cli.model_names import extraction_scripts, id_of_script, is_hub_id, script_of_id
from brain_activity_prediction.runtime.errors import InputError, one_line
from brain_activity_prediction.runtime.scripts import (
    ALIGN,
    ALIGN_FOLDER,
    CHECK_DATA,
    COCO,
    DEMO,
    EXPORT_MAPS,
    FIGURES,
    NEW_DATASET,
    PACKAGE,
    REPORT,
    SURFACE_MAPS,
    SWEEP,
)
from brain_activity_prediction.runtime.wording import near_names

EXTRACT = "extract"
SCRIPTS = {
    "align": (ALIGN, "predict voxels from hidden states and score the predictions, by region"),
    "compare": (ALIGN_FOLDER / "compare.py", "test the difference between two models, prompts or streams"),
    "partition": (ALIGN_FOLDER / "partition_variance.py", "split explained variance into unique and shared parts"),
    "across-subjects": (ALIGN_FOLDER / "across_subjects.py", "average scores over subjects, and test them"),
    "cross-subject-ceiling": (ALIGN_FOLDER / "cross_subject_ceiling.py", "predict a brain from other subjects' brains"),
    "similarity": (ALIGN_FOLDER / "compare_representations.py", "compare geometries of models and brains (RSA, CKA)"),
    "challenge": (ALIGN_FOLDER / "predict_challenge.py", "predict the images of the Algonauts 2023 challenge"),
    "coco": (COCO, "make captions and object labels of NSD's images from COCO's annotation files"),
    "check-data": (CHECK_DATA, "check a dataset, and print one page about it"),
    "new-dataset": (NEW_DATASET, "write a template for data of your own experiment"),
    "report": (REPORT, "write tables, figures and a page over all scores"),
    "figures": (FIGURES, "write figures for print: PDF, SVG, PNG and their values"),
    "surface": (SURFACE_MAPS, "project maps to cortical surfaces: the subject's own and fsaverage"),
    "export": (EXPORT_MAPS, "write maps for another program: bap export pycortex"),
    "sweep": (SWEEP, "run the whole study, here or on a cluster"),
    "demo": (DEMO, "run the whole pipeline on a small simulated dataset"),
}


def main() -> NoReturn:
    """Run the command that the command line names."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        sys.exit(0 if words else 2)
    command, *flags = words
    if command == "--version":
        print(f"bap {brain_activity_prediction.__version__}")
        sys.exit(0)
    if command == EXTRACT:
        _become(*_extraction(flags))
    if command not in SCRIPTS:
        known = (EXTRACT, *SCRIPTS)
        _refuse(f"there is no command {command}", near_names(command, known), known)
    _become(SCRIPTS[command][0], flags)


def usage() -> str:
    """Return the help text: each command with a description, and the models whose hidden states can be extracted."""
    about = {EXTRACT + " MODEL": "write the hidden states of a model, by script or id, for all images of a subject"}
    about |= {name: does for name, (_, does) in SCRIPTS.items()}
    width = max(map(len, about))
    lines = ["usage: bap COMMAND [flags]", "", "commands (bap COMMAND --help lists the flags):"]
    lines += [f"  {name:{width}}  {does}" for name, does in about.items()]
    lines += ["", "models:", *(f"  {name}" for name in extraction_scripts())]
    return "\n".join([*lines, "", "bap --version prints the version."])


def _extraction(flags: list[str]) -> tuple[Path, list[str]]:
    """Return the extraction script that the first word names, by its name or by a model id, and the flags for it."""
    scripts = extraction_scripts()
    if not flags or flags[0] in ("-h", "--help"):
        print("usage: bap extract MODEL [flags]; bap extract MODEL --help lists the flags\n\nmodels:")
        print("\n".join(f"  {name}" for name in scripts))
        sys.exit(0 if flags else 2)
    name = flags[0].removesuffix(".py")
    by_id = {model_id: script for script in scripts.values() if (model_id := id_of_script(script))}
    if name not in scripts | by_id and is_hub_id(name):
        try:
            return script_of_id(name, _value_of("--checkpoint", flags)), ["-m", name, *flags[1:]]
        except InputError as error:
            if near := near_names(name, scripts) or near_names(name, by_id):
                _refuse(f"there is no model {name}", near, scripts)
            print(one_line(f"bap: {error}"), file=sys.stderr)
            sys.exit(2)
    if name not in scripts | by_id:
        _refuse(f"there is no model {name}", near_names(name, scripts) or near_names(name, by_id), scripts)
    return (scripts | by_id)[name], flags[1:]


def _value_of(flag: str, words: list[str]) -> Path | None:
    """Return the value of a flag, written as `--flag value` or `--flag=value`."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == flag:
            return Path(following)
        if word.startswith(f"{flag}="):
            return Path(word.partition("=")[2])
    return None


def _refuse(what: str, near: list[str], known: Iterable[str]) -> NoReturn:
    """Exit with status 2 and one line that suggests similar names, or lists all known names if none is similar."""
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(known)}"
    print(one_line(f"bap: {what}: {hint}"), file=sys.stderr)
    sys.exit(2)


def _become(script: Path, flags: list[str]) -> NoReturn:
    """Replace this process by a Python process that runs the script, so that signals reach the script."""
    run = ["-m", f"{PACKAGE.name}.{script.name}"] if script.is_dir() else [str(script)]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *run, *flags])


if __name__ == "__main__":
    main()
