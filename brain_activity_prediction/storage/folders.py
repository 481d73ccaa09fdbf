"""Where under BASE_DIR a run writes: folders are named by what changes the numbers, and by nothing else."""

import re
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError

LONGEST_ID = 96  # on the hub; a folder's name may have 255 bytes
PROTOCOLS = ("standard", "paper")
PLANTED = "planted.json"  # in a BASE_DIR of simulated data: what was planted in it


def stored_id(model_id: str, random_weights: int | None) -> str:
    """The id that a model's states and scores go under: its own, or, untrained, one of its own for each seed."""
    return model_id if random_weights is None else f"{model_id}-random-{random_weights}"


def model_folder(model_id: str) -> str:
    """`org/model` as the folder name `org_model`."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", model_id) or len(model_id) > LONGEST_ID:
        raise InputError(f"{model_id!r} is not a model id; ids look like org/model")
    return model_id.replace("/", "_")


def embeddings_folder(base_dir: Path, model_id: str, prompt: int | None) -> Path:
    """Where the hidden states of a model lie; `prompt` None for the streams that no prompt changes."""
    return base_dir / "image_embeddings" / prompt_folder(prompt) / model_folder(model_id)


def claims_folder(base_dir: Path, model_id: str, subject: int | None = None, protocol: str = PROTOCOLS[0]) -> Path:
    """Where processes that extract a model's states, or align them with a subject, say what they are at work on."""
    part = base_dir / "image_embeddings" if subject is None else subject_folder(base_dir, subject, protocol)
    return part / f"claims_{model_folder(model_id)}"


def alignment_folder(
    base_dir: Path, subject: int, model_id: str, prompt: int | None, protocol: str = PROTOCOLS[0]
) -> Path:
    """Where the scores of a model against a subject lie."""
    return subject_folder(base_dir, subject, protocol) / prompt_folder(prompt) / model_folder(model_id)


def subject_folder(base_dir: Path, subject: int, protocol: str = PROTOCOLS[0]) -> Path:
    """Where all scores against a subject lie."""
    return scores_folder(base_dir, protocol) / f"subj{subject:02d}"


def scores_folder(base_dir: Path, protocol: str = PROTOCOLS[0]) -> Path:
    """Where all scores lie: each protocol has a folder of its own, since it changes the numbers."""
    return base_dir / ("alignment" if protocol == PROTOCOLS[0] else f"alignment_{protocol}")


def reported_files(base_dir: Path) -> list[Path]:
    """The tables and settings that a report is on, of all protocols."""
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
    """Where prepared responses are kept; they are the same under every protocol."""
    return scores_folder(base_dir) / "responses"


def across_subjects_folder(base_dir: Path, protocol: str = PROTOCOLS[0]) -> Path:
    """Where what subjects say together lies."""
    return scores_folder(base_dir, protocol) / "across_subjects"


def partitioning_folder(base_dir: Path, subject: int, name: str) -> Path:
    """Where the variance partitioning of that name lies."""
    return subject_folder(base_dir, subject) / "variance_partitioning" / name


def prompt_folder(prompt: int | None) -> str:
    """A prompt as a folder's name; None is that of the streams that no prompt changes."""
    return "no_prompt" if prompt is None else f"prompt_{prompt}"


def is_simulated(results: Path) -> bool:
    """Whether a file or folder of scores, or of a report on them, belongs to a BASE_DIR of simulated data."""
    names = {"report", *(scores_folder(Path(), protocol).name for protocol in PROTOCOLS)}
    inmost = next((folder for folder in (results, *results.parents) if folder.name in names), None)
    return inmost is not None and (inmost.parent / PLANTED).is_file()
