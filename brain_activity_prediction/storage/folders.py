"""Names of output folders, which contain only settings that change the numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import prompt_name

LONGEST_ID = 96  # longest model id on the Hugging Face hub; a folder's name may have 255 bytes
PROTOCOLS = ("standard", "paper")
FOLDS = "folds"  # subfolder of a folder of scores, with a folder for each outer fold of a nested cross-validation
PLANTED = "planted.json"  # marks a BASE_DIR of simulated data, and records the simulated truth
NSD_IMAGES = ("algonauts2023", "nsd_synthetic")  # have NSD's image ids and share its hidden states
Subject: TypeAlias = "int | str"  # a number for NSD, the dataset's own name for others


@dataclass(frozen=True)
class Output:
    """The place of one dataset's results: a folder, and the dataset's name, which is None for NSD."""

    folder: Path
    dataset: str | None = None

    def part(self, name: str) -> Path:
        """Return `folder/name` for NSD, and `folder/name/dataset` for other datasets.

        Datasets in NSD_IMAGES share NSD's folder of hidden states.
        """
        of_nsd = name == "image_embeddings" and self.dataset in NSD_IMAGES
        return self.folder / name / ("" if of_nsd else self.dataset or "")


Place: TypeAlias = "Output | Path"  # a plain path means the results of NSD in this folder


def part_of(place: Place, name: str) -> Path:
    """Return the folder `name` of a dataset's results, such as `image_embeddings`."""
    return (place if isinstance(place, Output) else Output(place)).part(name)


def stored_id(model_id: str, random_weights: int | None) -> str:
    """Return the id under which a model's states and scores are stored; an untrained model has one for each seed."""
    return model_id if random_weights is None else f"{model_id}-random-{random_weights}"


def model_folder(model_id: str) -> str:
    """Return the folder name of a model id: `org_model` for `org/model`."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", model_id) or len(model_id) > LONGEST_ID:
        raise InputError(f"{model_id!r} is not a model id; ids look like org/model")
    return model_id.replace("/", "_")


def embeddings_folder(place: Place, model_id: str, prompt: int | None) -> Path:
    """Return the folder of a model's hidden states; `prompt` is None for streams that do not depend on a prompt."""
    return part_of(place, "image_embeddings") / prompt_folder(prompt) / model_folder(model_id)


def claims_folder(place: Place, model_id: str, subject: Subject | None = None, protocol: str = PROTOCOLS[0]) -> Path:
    """Return the folder of claims for extracting a model's states or for aligning them with a subject."""
    part = part_of(place, "image_embeddings") if subject is None else subject_folder(place, subject, protocol)
    return part / f"claims_{model_folder(model_id)}"


def alignment_folder(
    place: Place, subject: Subject, model_id: str, prompt: int | None, protocol: str = PROTOCOLS[0]
) -> Path:
    """Return the folder of a model's scores for a subject."""
    return subject_folder(place, subject, protocol) / prompt_folder(prompt) / model_folder(model_id)


def fold_folder(folder: Path, fold: int | None) -> Path:
    """Return the folder of one outer fold's scores within a folder of scores; for None, the latter itself."""
    return folder if fold is None else folder / FOLDS / f"fold_{fold}"


def as_subject(value: object) -> Subject:
    """Return a subject read from a table: an int for a number, otherwise its name."""
    return value if isinstance(value, str) else int(value)  # type: ignore[call-overload]


def subject_name(subject: Subject) -> str:
    """Return the folder name of a subject: `subj01` for a number, otherwise the dataset's own name."""
    return f"subj{subject:02d}" if isinstance(subject, int) else subject


def subject_of(folder_name: str) -> Subject:
    """Return the subject of a folder; the inverse of `subject_name`."""
    match = re.fullmatch("subj([0-9]{2,4})", folder_name)
    return int(match[1]) if match else folder_name


def subject_folder(place: Place, subject: Subject, protocol: str = PROTOCOLS[0]) -> Path:
    """Return the folder of all scores for a subject."""
    return scores_folder(place, protocol) / subject_name(subject)


def scores_folder(place: Place, protocol: str = PROTOCOLS[0]) -> Path:
    """Return the folder of all scores of a protocol."""
    return part_of(place, scores_name(protocol))


def scores_name(protocol: str) -> str:
    """Return the folder name of the scores of a protocol."""
    return "alignment" if protocol == PROTOCOLS[0] else f"alignment_{protocol}"


def reported_files(place: Place) -> list[Path]:
    """Return the score tables and settings, of all protocols, from which a report is made."""
    patterns = ("scores.parquet", "similarity.parquet", "settings.json")
    below = [f"*/*prompt*/*/{name}" for name in patterns]
    below += [
        "*/comparisons/*.parquet",
        "*/variance_partitioning/*/shares.parquet",
        "across_subjects/*.parquet",
    ]
    folders = [scores_folder(place, protocol) for protocol in PROTOCOLS]
    return [path for folder in folders for pattern in below for path in folder.glob(pattern)]


def responses_folder(place: Place) -> Path:
    """Return the folder of prepared responses, which are the same under every protocol."""
    return scores_folder(place) / "responses"


def across_subjects_folder(place: Place, protocol: str = PROTOCOLS[0]) -> Path:
    """Return the folder of results across subjects."""
    return scores_folder(place, protocol) / "across_subjects"


def partitioning_folder(place: Place, subject: Subject, name: str) -> Path:
    """Return the folder of the variance partitioning with this name."""
    return subject_folder(place, subject) / "variance_partitioning" / name


def prompt_folder(prompt: int | None) -> str:
    """Return the folder name of a prompt, such as `prompt_3`; `no_prompt` for None."""
    return prompt_name(prompt).replace(" ", "_")


def is_simulated(results: Path) -> bool:
    """Return whether a folder of scores or of a report belongs to a BASE_DIR of simulated data."""
    names = {"report", *map(scores_name, PROTOCOLS)}
    inmost = next((folder for folder in (results, *results.parents) if folder.name in names), None)
    return inmost is not None and (inmost.parent / PLANTED).is_file()
