"""Plan the alignments of a model: one unit for each subject and prompt, and one for streams without a prompt."""

import csv
import sys
from collections.abc import Mapping, Sequence

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.find import as_chosen, dataset_name
from brain_activity_prediction.encoding.protocols import COMPUTED, ceiling_source, ceiling_state
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.settings import EncodingSettings
from brain_activity_prediction.extraction.plan import Work
from brain_activity_prediction.inference.region_statistics import StatisticsRequest
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.scripts import ALIGN
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.folders import alignment_folder, fold_folder, prompt_folder, subject_name
from brain_activity_prediction.storage.made_from import noted
from brain_activity_prediction.sweep.planning.extractions import prompts_file_flags
from brain_activity_prediction.sweep.planning.passed_on import naming, passed_on
from brain_activity_prediction.sweep.planning.units import ModelUnits, Unit
from brain_activity_prediction.sweep.settings import SweepSettings

Shapes = Mapping[str, tuple[int, int]]  # {stream: (layers, width)} of all streams with states under any prompt


def alignment_flags(settings: SweepSettings) -> list[str]:
    """Return the flags that all alignments share; raise InputError if --align has a wrong one."""
    more = passed_on(settings.align, "--align", align_model.flags(), ALIGN.name)
    return [*prompts_file_flags(settings), *more]


def alignment_units(
    model: str, work: Work, shapes: Shapes, subjects: Sequence[int], shared_flags: Sequence[str], dataset: Dataset
) -> list[Unit]:
    """Plan the alignments of all subjects under all prompts. If the flags select no work, there is no unit."""
    units = []
    for subject in subjects:
        for prompt in work.streams:
            number = min(work.settings.prompts) if prompt is None else prompt  # states may lack prompt 1, the default
            flags = [*work.settings.place_flags, "-s", str(subject), "-m", work.settings.model_id]
            units.append(_unit([*flags, "-p", str(number), *shared_flags], model, work, shapes, prompt, dataset))
    return [unit for unit in units if unit]


def _unit(
    flags: list[str], model: str, work: Work, shapes: Shapes, prompt: int | None, dataset: Dataset
) -> Unit | None:
    """Plan the alignment of the streams under a prompt; return None if the flags select no work.

    The command names its streams, so that streams without a prompt are fitted by only one unit.
    """
    with naming("--align"):
        settings = align_model.read_settings(flags)
    features = settings.features
    streams = [stream for stream in work.streams[prompt] if features.streams is None or stream in features.streams]
    is_counted = shapes.keys() >= set(streams)
    layers = []
    for stream in streams:
        numbers = range(shapes[stream][0]) if stream in shapes else features.numbers or [0]
        layers += [(stream, n) for n in numbers if features.numbers is None or n in features.numbers]
    if not layers:
        return None
    folder = alignment_folder(settings.output, settings.subject, work.settings.model_id, prompt, settings.protocol)
    scores = ScoreStore(folder)
    requested = StatisticsRequest({}, settings.permutations, settings.permutation_block, settings.bootstrap)
    folds = [ScoreStore(fold_folder(folder, split.fold)) for split in settings.split.folds()] or [scores]
    n_left = sum(not all(fold.has(*layer, requested, claimed=False) for fold in folds) for layer in layers)
    ceilings = ceiling_state(dataset, settings.subject, settings.ncsnr)
    if _table_is_old(scores, ceilings) or _has_other_ceilings(scores, settings) or not is_counted:
        n_left = max(n_left, 1)
    name = f"align_{model}_{prompt_folder(prompt)}_{subject_name(settings.subject)}"
    command = (sys.executable, str(ALIGN), *flags, "--stream", *streams)
    return Unit(name, "align", model, len(layers), n_left, command, is_counted)


def _table_is_old(scores: ScoreStore, ceilings: str) -> bool:
    """Return whether a folder of scores has no table, or one made from other layers or files of noise ceilings.

    Tables of version 1.0.0 do not record their layers. They count as old if a layer is newer than the table.
    """
    table, known = scores.folder / "scores.csv", noted(scores.folder)
    if not table.exists():
        return True
    if known is not None:
        return known != scores.state() + ceilings
    layers = scores.folder.glob("voxels/*.h5")
    return table.stat().st_mtime < max((path.stat().st_mtime for path in layers), default=0)


def _has_other_ceilings(scores: ScoreStore, settings: EncodingSettings) -> bool:
    """Return whether a folder's table has noise ceilings from another source, or with another limit, than requested."""
    table = scores.folder / "scores.csv"
    if not table.is_file():
        return False
    with table.open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file), {})
    source = ceiling_source(dataset_name(settings.base_dir, settings.dataset), settings.ncsnr)
    requested = {"ncsnr": source, "min_noise_ceiling": str(float(settings.min_noise_ceiling))}
    return any(row.get(name, value) != value for name, value in requested.items())


def check_files(dataset: Dataset, settings: EncodingSettings) -> None:
    """Raise InputError if a file that the settings name is missing: a session, an ROI file or the published ncsnr."""
    if settings.sessions:
        dataset.response_files(settings.subject, settings.sessions)
    for name in settings.rois or ():
        dataset.check_region(settings.subject, name)
    if settings.ncsnr != COMPUTED:
        dataset.check_ncsnr(settings.subject)


def check_alignments(
    settings: SweepSettings, dataset: Dataset, subjects: Sequence[int], models: Sequence[ModelUnits]
) -> None:
    """Raise InputError if --align names a missing file or stream; warn of models that will not be aligned."""
    streams = sorted({stream for model in models for stream in model.streams})
    with naming("--align"):
        for subject in subjects:
            flags = [*settings.place_flags, "-s", str(subject), "-p", str(settings.prompt_number[0])]
            alignment = align_model.read_settings([*flags, "-m", "any/model", *alignment_flags(settings)])
            check_files(as_chosen(dataset, alignment.reading), alignment)
        for stream in alignment.features.streams or ():
            if stream not in streams:
                meant = did_you_mean(stream, streams)
                raise InputError(
                    f"no model of this sweep has a stream {stream}{meant}; available: {', '.join(streams)}"
                )
    for model in models:
        if not model.align:
            there = ", ".join(model.streams)
            log.warning(f"{model.model} is not aligned: --align selects none of its streams and layers ({there})")
