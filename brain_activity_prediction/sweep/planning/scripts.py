"""Find the package's own scripts by name: a sweep runs no other code, and no name leads out of their folders."""

from pathlib import Path

from brain_activity_prediction.cli.model_names import extraction_scripts

PACKAGE = Path(__file__).resolve().parents[2]
EXTRACT = PACKAGE / "extract_image_embeddings"
ALIGN = PACKAGE / "align_image_embeddings" / "align_model.py"
REPORT = PACKAGE / "report" / "report.py"
STUDY = (  # the models of the study, in the order in which a sweep runs them
    "vit_huge_patch14_224_in21k",
    "llava_1.5_13b",
    "idefics_9b_instruct",
    "instruct_blip_13b",
    "mplug_owl_llama_7b",
    "openflamingo_9b",
)


def own_script(name: str) -> Path:
    """Return the script of a unit; raise ValueError if the package has no script of this name."""
    path = {ALIGN.stem: ALIGN, REPORT.stem: REPORT}.get(name) or extraction_scripts().get(name)
    if path is None:
        raise ValueError(f"script {name!r} is not a script of this package")
    return path
