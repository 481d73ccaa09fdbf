"""Output folders under BASE_DIR, named only by settings that change the numbers."""

import re
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import prompt_name

LONGEST_ID = 96  # longest model id on the Hugging Face hub; a folder's name may have 255 bytes
PROTOCOLS = ("standard", "paper")
PLANTED = "planted.json"  # marks a BASE_DIR of simulated data, and records the simulated truth


def stored_id(model_id: str, random_weights: int | None) -> str:
    """Return the id under which a model's states and scores are stored; an untrained model has one for each seed."""
    return model_id if random_weights is None else f"{model_id}-random-{random_weights}"


def model_folder(model_id: str) -> str:
    """Return `org/model` as the folder name `org_model`."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", model_id) or len(model_id) > LONGEST_ID:
        raise InputError(f"{model_id!r} is not a model id; ids look like org/model")
    return model_id.replace("/", "_")


def embeddings_folder(base_dir: Path, model_id: str, prompt: int | None) -> Path:
    """Return the folder of a model's hidden states; `prompt` is None for streams without a prompt."""
    return base_dir / "image_embeddings" / prompt_folder(prompt) / model_folder(model_id)


def claims_folder(base_dir: Path, model_id: str, subject: int | None = None, protocol: str = PROTOCOLS[0]) -> Path:
    """Return the folder of claims for extracting a model's states or for aligning them with a subject."""
    part = base_dir / "image_embeddings" if subject is None else subject_folder(base_dir, subject, protocol)
    return part / f"claims_{model_folder(model_id)}"


def alignment_folder(
    base_dir: Path, subject: int, model_id: str, prompt: int | None, protocol: str = PROTOCOLS[0]
) -> Path:
    """Return the folder of a model's scores for a subject."""
    return subject_folder(base_dir, subject, protocol) / prompt_folder(prompt) / model_folder(model_id)


def subject_folder(base_dir: Path, subject: int, protocol: str = PROTOCOLS[0]) -> Path:
    """Return the folder of all scores for a subject."""
    return scores_folder(base_dir, protocol) / f"subj{subject:02d}"


def scores_folder(base_dir: Path, protocol: str = PROTOCOLS[0]) -> Path:
    """Return the folder of all scores; each protocol has its own, because it changes the numbers."""
    return base_dir / ("alignment" if protocol == PROTOCOLS[0] else f"alignment_{protocol}")


def reported_files(base_dir: Path) -> list[Path]:
    """Return the score tables and settings, of all protocols, that a report is made from."""
    patterns = ("scores.parquet", "similarity.parquet", "settings.json")
    below = [f"subj*/*prompt*/*/{name}" for name in patterns]
    below += [
        "subj*/comparisons/*.parquet",
        "subj*/variance_partitioning/*/shares.parquet",
        "across_subjects/*.parquet",
    ]
    folders = [scores_folder(base_dir, protocol) for protocol in PROTOCOLS]
    return [path for folder in folders for pattern in below for path in folder.glob(pattern)]


def responses_folder(base_dir: Path) -> Path:
    """Return the folder of prepared responses, which are the same under every protocol."""
    return scores_folder(base_dir) / "responses"


def across_subjects_folder(base_dir: Path, protocol: str = PROTOCOLS[0]) -> Path:
    """Return the folder of results across subjects."""
    return scores_folder(base_dir, protocol) / "across_subjects"


def partitioning_folder(base_dir: Path, subject: int, name: str) -> Path:
    """Return the folder of the variance partitioning with this name."""
    return subject_folder(base_dir, subject) / "variance_partitioning" / name


def prompt_folder(prompt: int | None) -> str:
    """Return the folder name of a prompt, such as `prompt_3`; `no_prompt` for None."""
    return prompt_name(prompt).replace(" ", "_")


def is_simulated(results: Path) -> bool:
    """Return whether a folder of scores or of a report belongs to a BASE_DIR of simulated data."""
    names = {"report", *(scores_folder(Path(), protocol).name for protocol in PROTOCOLS)}
    inmost = next((folder for folder in (results, *results.parents) if folder.name in names), None)
    return inmost is not None and (inmost.parent / PLANTED).is_file()
