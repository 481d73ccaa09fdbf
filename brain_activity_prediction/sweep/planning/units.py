"""Plan a sweep: list its units and the work left in each, which only the files in BASE_DIR decide.

A unit is one command: the extraction of one shard of the images by one model with all prompts, the alignment of one
model's states under one prompt (or none) with one subject, or the report on all of them.
"""

import argparse
import importlib.util
import math
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.cli.model_names import extraction_scripts
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.layout import Layout, find_layout
from brain_activity_prediction.encoding.planning import check_files
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.extraction.plan import Work
from brain_activity_prediction.extraction.plan import plan as work_of
from brain_activity_prediction.inference.region_statistics import StatisticsRequest
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import alignment_folder, prompt_folder, reported_files
from brain_activity_prediction.storage.made_from import noted, state_of
from brain_activity_prediction.sweep.planning.passed_on import naming, passed_on
from brain_activity_prediction.sweep.planning.scripts import ALIGN, EXTRACT, REPORT

NEEDED = ("MODEL_ID", "IMAGE_STREAMS", "load", "encode_images")  # names that a model script must define


@dataclass(frozen=True)
class Unit:
    """One command of a sweep, and the number of its images or layers without results."""

    name: str
    stage: str  # extract, align or report
    model: str  # the name of its script; empty for the report
    n: int
    n_left: int
    command: tuple[str, ...]  # command without the flag for the device
    is_counted: bool = True  # False for an alignment whose states are not extracted: its number of layers is unknown

    @property
    def amount(self) -> int:
        """Return the number of images or layers that a run of this unit must process; 0 if unknown."""
        return self.n_left if self.is_counted else 0

    def on(self, device: str) -> list[str]:
        """Return the command for a device; `device` is a value of -g."""
        return [*self.command, *([] if self.stage == "report" else ["-g", device])]


@dataclass(frozen=True)
class ModelUnits:
    """The units of one model."""

    model: str
    extract: list[Unit]
    align: list[Unit]
    lacking: Mapping[int | None, int]  # {prompt or None: number of images without states}
    values: Mapping[int | None, int | None]  # {prompt or None: number of values per image}; None before the first image
    streams: Sequence[str] = ()  # streams of the model's states


@dataclass(frozen=True)
class Plan:
    models: list[ModelUnits]
    report: Unit

    @property
    def units(self) -> list[Unit]:
        """All units of the model, extractions first."""
        extract, align = ([unit for model in self.models for unit in getattr(model, s)] for s in ("extract", "align"))
        return [*extract, *align, self.report]

    @property
    def left(self) -> list[Unit]:
        return [unit for unit in self.units if unit.n_left]


def make_plan(arguments: argparse.Namespace) -> Plan:
    """Plan all units of the sweep that the flags describe; raise InputError for a wrong flag or dataset."""
    layout = find_layout(arguments.base_dir)
    image_ids = read_design(layout.design()).image_ids_of_any(arguments.subject)
    subjects = list(dict.fromkeys(arguments.subject))
    aligned = [subject for subject in subjects if layout.has_betas(subject)]
    models = [_units_of_model(arguments, model, image_ids, aligned) for model in dict.fromkeys(arguments.models)]
    if aligned:
        _check_alignments(arguments, layout, aligned, models)
    _say_who_is_not_aligned([subject for subject in subjects if subject not in aligned])
    n_left = sum(unit.n_left > 0 for model in models for unit in (*model.extract, *model.align))
    command = (sys.executable, str(REPORT), "-d", str(arguments.base_dir))
    report = Unit("report", "report", "", 1, int(n_left > 0 or _report_is_old(arguments.base_dir)), command)
    return Plan(models, report)


def _say_who_is_not_aligned(subjects: Sequence[int]) -> None:
    """Report the subjects without betas: their images are extracted, but nothing is aligned with them."""
    if subjects:
        of = f"subject {subjects[0]} has" if len(subjects) == 1 else f"subjects {' and '.join(map(str, subjects))} have"
        log.warning(f"{of} no betas: no alignment with them is planned until betas exist")


def _check_alignments(
    arguments: argparse.Namespace, layout: Layout, subjects: Sequence[int], models: Sequence[ModelUnits]
) -> None:
    """Raise InputError if --align names a missing file or stream; report models that are not aligned."""
    more = passed_on(arguments.align, "--align", align_model.flags(), ALIGN.name)
    streams = sorted({stream for model in models for stream in model.streams})
    with naming("--align"):
        for subject in subjects:
            given = ["-d", str(arguments.base_dir), "-s", str(subject), "-m", "any/model"]
            settings = align_model.read_settings([*given, *more])
            check_files(layout, settings)
        for stream in settings.features.streams or ():
            if stream not in streams:
                meant = did_you_mean(stream, streams)
                raise InputError(f"no model of this sweep has a stream {stream}{meant}: there are {', '.join(streams)}")
    for model in models:
        if not model.align:
            there = ", ".join(model.streams)
            log.warning(f"--align leaves nothing to align of {model.model}, which has {there}")


def _units_of_model(
    arguments: argparse.Namespace, model: str, image_ids: Sequence[int], aligned: Sequence[int]
) -> ModelUnits:
    script = load_script(model)
    more = passed_on(arguments.extract, "--extract", extraction_command.flags(""), f"{model}.py")
    if arguments.checkpoints:
        more += ["--checkpoint", str(arguments.checkpoints / model)]
    if arguments.device_map:
        more += ["--device-map", arguments.device_map]
    given = [
        "-d",
        str(arguments.base_dir),
        "-s",
        *map(str, arguments.subject),
        "-p",
        *map(str, arguments.prompt_number),
    ]
    flags = [*given, *_prompts_file(arguments), "-b", str(arguments.batch_size), *more]
    parser = extraction_command.flags("")
    parser.prog = "in the flags of a unit"
    parsed = parser.parse_args(flags)
    with naming("--extract"):
        extraction_command.check_flags(parsed)
    work = work_of(script, extraction_command.settings(script, parsed), image_ids)
    shapes: dict[str, tuple[int, int]] = {}  # {stream: (L, W)} of all streams with states under any prompt
    with ThreadPoolExecutor(len(work.stores)) as pool:  # reads files from disk faster in parallel
        for stored in pool.map(EmbeddingStore.streams, work.stores.values()):
            shapes |= stored
    kinds = work.lacking()
    ordered, n_shards = np.sort(image_ids), arguments.shards
    is_left = np.isin(ordered, np.concatenate([*kinds.values(), np.empty(0, int)]))
    extract = []
    for shard in range(min(n_shards, len(ordered))):
        left = is_left[shard::n_shards]
        command = (sys.executable, str(EXTRACT / f"{model}.py"), *flags, "--shard", f"{shard}/{n_shards}")
        name = shard_name(model, shard + 1, n_shards)
        extract.append(Unit(name, "extract", model, len(left), int(left.sum()), command))
    lacking = {prompt: sum(len(ids) for lacked, ids in kinds.items() if prompt in lacked) for prompt in work.streams}
    align = _alignments(arguments, model, work, shapes, aligned)
    values = {
        prompt: sum(math.prod(shapes[stream]) for stream in streams) if shapes.keys() >= set(streams) else None
        for prompt, streams in work.streams.items()
    }
    streams = tuple(dict.fromkeys(stream for names in work.streams.values() for stream in names))
    return ModelUnits(model, extract, align, lacking, values, streams)


def shard_name(model: str, number: int | str, n_shards: int | str) -> str:
    """Return the name of an extraction; regular expressions as arguments give one that matches names."""
    return f"extract_{model}_{number}_of_{n_shards}"


def _alignments(
    arguments: argparse.Namespace,
    model: str,
    work: Work,
    shapes: Mapping[str, tuple[int, int]],
    subjects: Sequence[int],
) -> list[Unit]:
    """Plan the alignments of all subjects under all prompts, without alignments for which the flags select no work."""
    more = passed_on(arguments.align, "--align", align_model.flags(), ALIGN.name)
    units = []
    for subject in subjects:
        for prompt in work.streams:
            number = min(work.settings.prompts) if prompt is None else prompt  # states may lack prompt 1, the default
            given = ["-d", str(arguments.base_dir), "-s", str(subject), "-m", work.settings.model_id, "-p", str(number)]
            units.append(_alignment([*given, *_prompts_file(arguments), *more], model, work, shapes, prompt))
    return [unit for unit in units if unit]


def _alignment(
    flags: list[str], model: str, work: Work, shapes: Mapping[str, tuple[int, int]], prompt: int | None
) -> Unit | None:
    """Plan the alignment of the streams under a prompt by the flags; None if the flags select no work.

    The command names its streams, so that only one unit fits the streams without a prompt.
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
    folder = alignment_folder(settings.base_dir, settings.subject, work.settings.model_id, prompt, settings.protocol)
    results = ScoreStore(folder)
    requested = StatisticsRequest({}, settings.permutations, settings.permutation_block, settings.bootstrap)
    n_left = len(results.missing(layers, requested))
    if _table_is_old(results) or not is_counted:
        n_left = max(n_left, 1)
    name = f"align_{model}_{prompt_folder(prompt)}_subj{settings.subject:02d}"
    command = (sys.executable, str(ALIGN), *flags, "--stream", *streams)
    return Unit(name, "align", model, len(layers), n_left, command, is_counted)


def _prompts_file(arguments: argparse.Namespace) -> list[str]:
    return ["--prompts-file", str(arguments.prompts_file)] if arguments.prompts_file else []


def _table_is_old(results: ScoreStore) -> bool:
    """Return whether a folder of scores has no table, or a table made from other layers.

    Tables of version 1.0.0 have no record of their layers: they must not be older than any layer.
    """
    table, known = results.folder / "scores.csv", noted(results.folder)
    if not table.exists():
        return True
    if known is not None:
        return known != results.state()
    layers = results.folder.glob("voxels/*.h5")
    return table.stat().st_mtime < max((path.stat().st_mtime for path in layers), default=0)


def _report_is_old(base_dir: Path) -> bool:
    """Return whether no complete report exists, or only a report made from other tables."""
    page = base_dir / "report" / "report.html"
    return not page.exists() or noted(page.parent) != state_of(base_dir, reported_files(base_dir))


def load_script(model: str):
    """Load a model script of this package as a module; a name with a dot cannot be imported."""
    if path := extraction_scripts().get(model):
        spec = importlib.util.spec_from_file_location(model.replace(".", "_"), path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if all(hasattr(module, name) for name in NEEDED):
            return module
    meant = did_you_mean(model.removesuffix(".py"), extraction_scripts())
    raise InputError(f"{model} is no model script in {EXTRACT}{meant}: name one without its .py, such as llava_1.5_13b")
