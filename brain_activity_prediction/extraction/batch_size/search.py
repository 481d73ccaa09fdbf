"""Find the batch size of a run: double it until memory or throughput says stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.extraction.batch_size.memory import Memory, device_name
from brain_activity_prediction.extraction.batch_size.remembered import Conditions, read_size, remember_size
from brain_activity_prediction.extraction.plan import Work
from brain_activity_prediction.extraction.runner import Runner
from brain_activity_prediction.runtime.errors import InputError, is_out_of_memory
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count

AUTO = "auto"
WORTH_DOUBLING = 1.1  # a larger batch must compute this many times as many images per second
LARGEST_SHARE = 16  # the search stops at this part of the images that are left, so that it stays short
FEW_LEFT = 8  # the least batch if so few images are left that the search stops early
MOST_IMAGES = 512


def with_batch_size(runner: Runner, stimuli: Stimuli, work: Work) -> Work:
    """Return the work with a number of images in a batch; a number that the user gave is kept."""
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
        log.info(f"--batch-size auto: batches of {count(size, 'image')}, as found before on this device")
    return replace(work, settings=replace(settings, batch_size=size))


def conditions_of(runner: Runner, work: Work) -> Conditions:
    """Return the conditions under which a batch size holds."""
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
    """Computes the first images that are left, and stores nothing."""

    runner: Runner
    stimuli: Stimuli
    work: Work

    def __post_init__(self) -> None:
        self.prompts, self.image_ids = next(iter(self.work.lacking().items()))
        self.memory = Memory(self.work.settings.device)

    def seconds(self, n_images: int, clock: Callable[[], float] = time.perf_counter) -> float:
        """Return the seconds that the model takes for a batch, after a first pass that is not timed.

        Raise an error that `is_out_of_memory` knows if memory does not hold the batch.
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
    """Return the batch size, and whether memory or throughput set it rather than the number of images left."""
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
