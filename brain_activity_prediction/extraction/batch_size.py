"""Find the batch size of a run: double it while memory holds it and throughput grows; store it in BASE_DIR/logs."""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.extraction.plan import Work
from brain_activity_prediction.extraction.runner import Runner
from brain_activity_prediction.runtime.errors import InputError, is_out_of_memory
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.checked_json import read_json, write_json
from brain_activity_prediction.storage.folders import model_folder

AUTO = "auto"
WORTH_DOUBLING = 1.1  # a larger batch must compute this many times as many images per second
LARGEST_SHARE = 16  # the search tries at most a 16th of the images that are left, to stay short
FEW_LEFT = 8  # smallest batch if the search stopped early because few images are left
MOST_IMAGES = 512
USABLE = 0.9  # share of the free memory that may be used


def with_batch_size(runner: Runner, stimuli: Stimuli, work: Work) -> Work:
    """Return the work with its batch size set; a batch size that the user gave is kept."""
    settings = work.settings
    if settings.batch_size != AUTO:
        return work
    conditions = conditions_of(runner, work)
    size = read_size(settings.output.folder, settings.model_id, conditions)
    if size is None:
        size, complete = search(Trial(runner, stimuli, work), work.n_left())
        if complete:
            remember_size(settings.output.folder, settings.model_id, conditions, size)
        size = size if complete else max(size, FEW_LEFT)
        log.info(f"--batch-size auto: batches of {count(size, 'image')}")
    else:
        log.info(f"--batch-size auto: batches of {count(size, 'image')}, as found by an earlier run on this device")
    return replace(work, settings=replace(settings, batch_size=size))


def conditions_of(runner: Runner, work: Work) -> Conditions:
    """Return the settings of a run that determine its batch size."""
    settings = work.settings
    return Conditions(
        device_name(settings.device),
        settings.dtype,
        settings.checkpoint.quantize,
        sorted(set().union(*work.streams.values())),
        len(work.streams.keys() - {None}),
        settings.max_new_tokens,
    )


@dataclass
class Trial:
    """Measure how long the model takes for batches of the first images that are left, without storing states."""

    runner: Runner
    stimuli: Stimuli
    work: Work

    def __post_init__(self) -> None:
        self.prompts, self.image_ids = next(iter(self.work.lacking().items()))
        self.memory = Memory(self.work.settings.device)

    def seconds(self, n_images: int, clock: Callable[[], float] = time.perf_counter) -> float:
        """Return the seconds that the model takes for a batch, after a first pass that is not timed.

        Raises an error for which `is_out_of_memory` is true if memory does not hold the batch.
        """
        ids = self.image_ids[:n_images].tolist()
        pixels = self.runner.preprocess(self.stimuli.images(ids))
        for _ in range(2):
            start = clock()
            for _, streams, _ in self.runner.encode(pixels, self.prompts):
                for states in streams.values():
                    states.cpu()
            taken = clock() - start
        return taken


def search(trial: Trial, n_left: int) -> tuple[int, bool]:
    """Return the best batch size, and whether the search was complete: not cut short because few images are left."""
    largest = max(1, min(MOST_IMAGES, n_left // LARGEST_SHARE, len(trial.image_ids)))
    best, rate, size = 1, 0.0, 1
    while size <= largest:
        if size > 1 and not trial.memory.holds_double():
            return best, True
        try:
            found = size / trial.seconds(size)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            trial.runner.free_memory()
            if size == 1:
                raise InputError(
                    "memory does not hold one image at a time: try --dtype float16, --quantize 8bit or --device-map "
                    "auto, or a larger GPU"
                ) from error
            return best, True
        trial.memory.measure()
        if found < rate * WORTH_DOUBLING:
            return best, True
        best, rate, size = size, found, 2 * size
    return best, largest == MOST_IMAGES


def device_name(device: str) -> str:
    """Return the name of a GPU, or `cpu` with the number of torch's threads."""
    import torch

    if device == "cpu":
        return f"cpu, {torch.get_num_threads()} threads"
    return torch.cuda.get_device_name(device)


class Memory:
    """The largest memory in use on a device so far, in bytes, as read after each batch."""

    def __init__(self, device: str):
        self.device = device
        self.peaks = [peak(device)]

    def measure(self) -> None:
        """Record the peak after a batch."""
        self.peaks.append(peak(self.device))

    def holds_double(self) -> bool:
        """Return whether memory is likely to hold twice the last batch, if its peak grows twice as much again."""
        growth = self.peaks[-1] - self.peaks[-2] if len(self.peaks) > 1 else 0
        return 2 * growth < USABLE * free(self.device)


def peak(device: str) -> int:
    """Return the peak memory of this process on a device, in bytes."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    import torch

    return torch.cuda.max_memory_allocated(device)


def free(device: str) -> int:
    """Return the bytes of memory on a device that are free even at this process's peak."""
    if device == "cpu":
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import torch

    unused, _ = torch.cuda.mem_get_info(device)
    return unused + torch.cuda.memory_reserved(device) - peak(device)


@dataclass(frozen=True)
class Conditions:
    """The settings that determine how much memory and time an image needs.

    device  name of the GPU, or `cpu` with its number of threads
    n_prompts, n_new_tokens  number of prompts for each image, and the longest answer in tokens
    """

    device: str
    dtype: str
    quantize: str | None
    streams: list[str]
    n_prompts: int
    n_new_tokens: int


@dataclass(frozen=True)
class Remembered:
    """The batch size, in images, that an earlier run found under these conditions."""

    conditions: Conditions
    n_images: int

    def __post_init__(self) -> None:
        if self.n_images < 1:
            raise ValueError(f"field 'n_images' is {self.n_images!r}")


def read_size(base_dir: Path, model_id: str, conditions: Conditions) -> int | None:
    """Return the stored batch size; None if the file is missing, damaged, or was written under other conditions."""
    path = _path(base_dir, model_id, conditions)
    if not path.exists():
        return None
    try:
        known = read_json(path, Remembered, "delete it")
    except InputError as error:
        log.warning(f"the stored batch size cannot be read, so it is measured again: {error}")
        return None
    return known.n_images if known.conditions == conditions else None


def remember_size(base_dir: Path, model_id: str, conditions: Conditions, n_images: int) -> None:
    """Store a batch size; if that fails, the next run measures it again."""
    try:
        write_json(_path(base_dir, model_id, conditions), Remembered(conditions, n_images), indent=1)
    except InputError as error:
        log.info(f"the batch size could not be stored, so the next run measures it again: {error}")


def _path(base_dir: Path, model_id: str, conditions: Conditions) -> Path:
    device = re.sub(r"[^\w.-]+", "_", conditions.device)
    return base_dir / "logs" / "batch_sizes" / model_folder(model_id) / f"{device}.json"
