"""List the results that a BASE_DIR lacks, with the command that makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables.averages import each_layer
from brain_activity_prediction.report.tables.collecting import OF_A_TABLE, Scored
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.runtime.wording import are, count, prompt_name, were
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import (
    Output,
    Subject,
    as_subject,
    embeddings_folder,
    part_of,
    prompt_folder,
)


@dataclass(frozen=True)
class Gap:
    """A missing result: its model, its subject and prompt, and the problem."""

    model_id: str
    where: str  # "subject 5, prompt 4"
    problem: str  # "not extracted"


def gaps(source: Source, scored: Sequence[Scored], table: pd.DataFrame, selection: Selection) -> list[Gap]:
    """List missing extractions and missing or partial alignments of the models that have any results.

    Each model that takes prompts is expected to have all prompts that any model has, in all subjects that have scores
    or responses.
    """
    there = {(one.model_id, one.prompt, one.subject) for one in scored}
    of_model: dict[str, set[int | None]] = {}
    for model, prompt in (*stored_states(source.output, selection), *((one.model_id, one.prompt) for one in scored)):
        of_model.setdefault(model, set()).add(prompt)
    prompts = set().union(*of_model.values()) - {None}
    dataset = source.read_for(scored[0].settings) if scored else source.dataset
    subjects = sorted({one.subject for one in scored} | set(_with_responses(dataset)))
    found = []
    for model in sorted(of_model):
        wanted = of_model[model] | (prompts if of_model[model] - {None} else set())
        for prompt in sorted(wanted, key=lambda prompt: prompt or 0):
            absent = [
                subject
                for subject in subjects
                if (model, prompt, subject) not in there and selection.takes(subject, model, prompt)
            ]
            if absent:
                found += _why(source.output, dataset, (model, prompt), absent)
    return found + list(_unfinished(scored, table, selection))


def _why(
    output: Output, dataset: Dataset | None, states: tuple[str, int | None], subjects: list[Subject]
) -> Iterator[Gap]:
    """Yield, for each subject without scores of a model and prompt, the reason."""
    model, prompt = states
    store = EmbeddingStore(embeddings_folder(output, model, prompt))
    streams = list(store.streams())
    under = "streams without a prompt" if prompt is None else f"prompt {prompt}"
    held = store.image_ids(streams) if streams else np.empty(0)
    for subject in subjects:
        needed = np.empty(0) if dataset is None else dataset.image_ids(subject)
        lacking = np.setdiff1d(needed, held).size
        if not streams or (needed.size and lacking == needed.size):
            problem = "not extracted"
        elif lacking:
            problem = f"{lacking:,} of {needed.size:,} images not extracted"
        else:
            problem = "extracted, but not aligned"
        yield Gap(model, f"subject {subject}, {under}", problem)


def _unfinished(scored: Sequence[Scored], table: pd.DataFrame, selection: Selection) -> Iterator[Gap]:
    """Yield gaps for streams with unscored layers, and for tables older than the voxel scores in their folder."""
    each = each_layer(table)
    key = ["model_id", "prompt", "subject", "stream"]
    layers = each.groupby(key, dropna=False, observed=True)[["layer", "layer_position"]].agg(["nunique", "max"])
    shapes = {
        (model, None if pd.isna(prompt) else int(prompt), as_subject(subject), stream): (
            row[("layer", "nunique")],
            _number_of_layers(row[("layer", "max")], row[("layer_position", "max")]),
        )
        for (model, prompt, subject, stream), row in layers.iterrows()
    }
    for one in scored:
        if not selection.takes(one.subject, one.model_id, one.prompt):
            continue
        where = _where(one)
        names = [path.name.rpartition("_layer_")[0] for path in one.folder.glob("voxels/*.h5")]
        for stream in sorted(set(names)):
            done, n_layers = shapes.get((one.model_id, one.prompt, one.subject, stream), (0, 0))
            n_scored = names.count(stream)
            if n_scored > done and not selection.stream:
                problem = (
                    f"{stream}: {count(n_scored, 'layer')} {are(n_scored)} scored, but {done} in the table: align again"
                )
                yield Gap(one.model_id, where, problem)
            elif done < n_layers:
                yield Gap(one.model_id, where, f"{stream}: {done} of {n_layers} layers aligned")


def left_out(otherwise: Mapping[Scored, str]) -> list[Gap]:
    """Return a gap for each table that `comparable.made_otherwise` excludes from figures."""
    return [
        Gap(one.model_id, _where(one), f"left out, {difference}: align again with the same settings")
        for one, difference in otherwise.items()
    ]


def _where(one: Scored) -> str:
    return f"subject {one.subject}, {prompt_name(one.prompt)}"


def absent_analyses(table: pd.DataFrame) -> list[str]:
    """Return sentences on analyses that have not been run although the scores would allow them."""
    found = _of_an_earlier_version(table)
    if without := unscored_regions(table):
        found.append(f"No score in {', '.join(without)}: no model has an r in it, so no figure shows it.")
    if table["p"].isna().all():
        found.append("No test of significance: run align_model.py with --permutations N.")
    elif untested := int(each_layer(table)["p"].isna().sum()):
        found.append(f"{untested:,} of {len(each_layer(table)):,} rows have no test of significance.")
    if table["noise_ceiling"].isna().all():
        found.append("No noise ceiling: no image was seen twice in these sessions.")
    if table["subject"].nunique() == 1 and ("r_se" not in table or table["r_se"].isna().all()):
        found.append("No error bars: there is only one subject, and no bootstrap over images was run.")
    return found


def unscored_regions(table: pd.DataFrame) -> list[str]:
    """Return the regions without any r, such as those whose responses are constant."""
    scored = table.groupby("roi", sort=False, observed=True)["r"].count()
    return scored.index[scored == 0].tolist()


def _of_an_earlier_version(table: pd.DataFrame) -> list[str]:
    """Return a sentence on tables of version 1.0.0, which lack the counts of sessions and images."""
    by_table = table.assign(n_train=table.get("n_train", np.nan)).groupby(OF_A_TABLE, dropna=False, observed=True)
    counted = by_table["n_train"].count()
    if not (n_old := int((counted == 0).sum())):
        return []
    return [
        f"{n_old:,} of {count(len(counted), 'table')} {were(n_old)} written by version 1.0.0, which did not record "
        "r / ceiling over all voxels, nor sessions, images and repeats: align again with the same flags."
    ]


def held_out(source: Source, scored: Sequence[Scored], table: pd.DataFrame) -> dict[Subject, int]:
    """Return the number of test images of each subject's scores; subjects for which it is unknown are left out.

    Tables of version 1.0.0 did not record it. For them, the dataset's test images in their sessions are counted.
    """
    recorded = table[["subject", "n_test"]].dropna() if "n_test" in table else table.head(0)
    found = {subject: int(rows["n_test"].max()) for subject, rows in recorded.groupby("subject")}
    for one in scored if source.dataset else ():
        if one.subject not in found and one.settings.get("sessions"):
            seen = source.dataset.trial_ids(one.subject, one.settings["sessions"])
            found[one.subject] = len(np.intersect1d(seen, source.dataset.test_images(one.subject)))
    return dict(sorted(found.items()))


def stored_states(output: Output, selection: Selection) -> list[tuple[str, int | None]]:
    """Return the model and prompt (None for states without a prompt) of each folder of hidden states, sorted."""
    found = set()
    for folder in part_of(output, "image_embeddings").glob("*prompt*/*"):
        settings = EmbeddingStore(folder).settings() or {}
        _, _, number = folder.parent.name.partition("prompt_")
        if "model_id" in settings and (number.isdecimal() or folder.parent.name == prompt_folder(None)):
            found.add((settings["model_id"], int(number) if number else None))
    taken = [(model, prompt) for model, prompt in found if selection.takes_states(model, prompt)]
    return sorted(taken, key=lambda state: (state[0], state[1] or 0))


def _with_responses(dataset: Dataset | None) -> Iterator[Subject]:
    return (subject for subject in (dataset.subjects() if dataset else ()) if dataset.has_responses(subject))


def _number_of_layers(last: int, position: float) -> int:
    """Return a stream's number of layers, computed from a layer's number (from 0) and relative position (0 to 1)."""
    return round(last / position) + 1 if position > 0 else 1
