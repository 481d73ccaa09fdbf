"""Plan a sweep: list its units and the work that is left in each. Only the files of results decide what is left."""

import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.scripts import REPORT
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import Output, part_of, reported_files
from brain_activity_prediction.storage.made_from import noted, state_of
from brain_activity_prediction.sweep.planning.alignments import alignment_flags, alignment_units, check_alignments
from brain_activity_prediction.sweep.planning.extractions import extraction_flags, extraction_units, planned_work
from brain_activity_prediction.sweep.planning.models import Model, find_model, untrained
from brain_activity_prediction.sweep.planning.units import ModelUnits, Plan, Unit
from brain_activity_prediction.sweep.settings import SweepSettings


def make_plan(settings: SweepSettings) -> Plan:
    """Plan all units of a sweep; raise InputError for a wrong flag or dataset."""
    dataset = find_dataset(settings.base_dir, settings.dataset)
    dataset.check_subjects(settings.subject)
    image_ids = dataset.image_ids_of_any(settings.subject)
    subjects = list(dict.fromkeys(settings.subject))
    aligned = [subject for subject in subjects if dataset.has_responses(subject)]
    models = [find_model(name, settings.checkpoints) for name in dict.fromkeys(settings.models)]
    if settings.with_untrained:
        models = [twin for model in models for twin in (model, untrained(model))]
    models = [_units_of_model(settings, model, image_ids, aligned, dataset) for model in models]
    if aligned:
        check_alignments(settings, dataset, aligned, models)
    _say_who_is_not_aligned([subject for subject in subjects if subject not in aligned])
    n_left = sum(unit.n_left > 0 for model in models for unit in (*model.extract, *model.align))
    command = (sys.executable, str(REPORT), *settings.place_flags)
    report = Unit("report", "report", "", 1, int(n_left > 0 or _report_is_old(settings.results)), command)
    return Plan(models, report)


def _units_of_model(
    settings: SweepSettings, model: Model, image_ids: Sequence[int], aligned: Sequence[int], dataset: Dataset
) -> ModelUnits:
    flags = extraction_flags(settings, model)
    work = planned_work(model, flags, image_ids)
    shapes: dict[str, tuple[int, int]] = {}  # {stream: (layers, width)} of all streams with states under any prompt
    with ThreadPoolExecutor(len(work.stores)) as pool:  # reads files from disk faster in parallel
        for stored in pool.map(EmbeddingStore.streams, work.stores.values()):
            shapes |= stored
    kinds = work.lacking()
    values = {
        prompt: sum(math.prod(shapes[stream]) for stream in streams) if shapes.keys() >= set(streams) else None
        for prompt, streams in work.streams.items()
    }
    return ModelUnits(
        model=model.name,
        model_id=work.settings.model_id,
        extract=extraction_units(model, flags, work.image_ids, kinds.values(), settings.shards),
        align=alignment_units(model.name, work, shapes, aligned, alignment_flags(settings), dataset),
        lacking={prompt: sum(len(ids) for lacked, ids in kinds.items() if prompt in lacked) for prompt in work.streams},
        values=values,
        streams=tuple(dict.fromkeys(stream for names in work.streams.values() for stream in names)),
    )


def _say_who_is_not_aligned(subjects: Sequence[int]) -> None:
    """Warn of subjects without betas. Their images are extracted, but nothing is aligned with them."""
    if subjects:
        of = f"subject {subjects[0]} has" if len(subjects) == 1 else f"subjects {' and '.join(map(str, subjects))} have"
        log.warning(f"{of} no betas: alignments are planned once betas exist")


def _report_is_old(results: Output) -> bool:
    """Return whether there is no complete report, or only one that was made from other tables."""
    page = part_of(results, "report") / "report.html"
    return not page.exists() or noted(page.parent) != state_of(results.folder, reported_files(results))
