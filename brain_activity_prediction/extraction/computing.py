"""Compute a batch and store its hidden states; a batch that exceeds the memory is computed in smaller batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from brain_activity_prediction.datasets.dataset import Images
from brain_activity_prediction.datasets.files.image_files import NamedImages
from brain_activity_prediction.extraction.odd_pictures import named
from brain_activity_prediction.extraction.plan import Batch, Work, images_left
from brain_activity_prediction.extraction.runner import Runner
from brain_activity_prediction.runtime.errors import DiskFull, InputError, is_out_of_memory
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.files import check_room, readable

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    Result = tuple[int | None, dict[str, np.ndarray], list[str] | None]  # prompt, its streams, its answers


class Computing:
    """The state of a run between batches: the largest batch that fits into memory, and an image's bytes on disk."""

    def __init__(self, runner: Runner, stimuli: Images, work: Work):
        self.runner, self.stimuli, self.work = runner, stimuli, work
        self.largest = work.settings.batch_size
        self.n_left = work.n_left()
        self.bytes_an_image: float | None = None

    def prepare(self, batch: Batch) -> Tensor | None:
        """Preprocess a batch; return None if it is empty or will be computed in smaller batches."""
        if 0 < len(batch.image_ids) <= self.largest:
            with named(self.stimuli, batch.image_ids, lambda image: self.runner.preprocess([image])):
                return self.runner.preprocess(self.stimuli.images(batch.image_ids))
        return None

    def compute(self, batch: Batch, pixels: Tensor | None) -> None:
        """Compute a batch, and write the states of each prompt as soon as they are computed.

        If memory runs out, the batch size is halved for the rest of the run. Raises InputError if memory does not hold
        a single image, or if the disk is full.
        """
        n_images, size = len(batch.image_ids), self.largest
        if n_images > size:
            for start in range(0, n_images, size):
                part = Batch(batch.image_ids[start : start + size], batch.prompts)
                self.compute(part, self.prepare(part))
            return
        lacking = self._written(batch, self.prepare(batch) if pixels is None else pixels)
        if not lacking:
            self.n_left -= n_images
            return
        del pixels
        self.runner.free_memory()
        if n_images == 1:
            raise InputError(
                f"memory does not hold one image at a time (image {batch.image_ids[0]}): try --dtype float16, "
                "--quantize 8bit or --device-map auto, or a larger GPU"
            )
        self.largest = (n_images + 1) // 2
        log.info(f"memory does not hold {n_images} images at a time, so batches now have {self.largest}")
        self.compute(Batch(batch.image_ids, lacking), None)

    def _written(self, batch: Batch, pixels: Tensor) -> tuple[int | None, ...]:
        """Compute and write a batch; return the prompts that were not computed because memory ran out.

        Each prompt is written while the next one is computed.
        """
        lacking, stimuli = list(batch.prompts), self.stimuli
        digests = stimuli.digests(batch.image_ids) if isinstance(stimuli, NamedImages) else ()

        def write(prompt: int | None, states: dict[str, np.ndarray], answers: list[str] | None) -> None:
            self.work.stores[prompt].write(batch.image_ids, states, answers, digests)
            lacking.remove(prompt)

        try:
            with ThreadPoolExecutor(1) as writer:
                pending = None
                for result in self._room_for(batch, self._states(batch, pixels)):
                    if pending:
                        pending.result()
                    pending = writer.submit(write, *result)
                if pending:
                    pending.result()
        except DiskFull as error:
            needed = readable(self.n_left * self.bytes_an_image)
            raise DiskFull(f"{error}; {needed} are needed for {images_left(self.n_left)}") from error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        return tuple(lacking)

    def _states(self, batch: Batch, pixels: Tensor) -> Iterator[Result]:
        """Yield the checked hidden states of each prompt that the batch lacks."""
        for prompt, streams, answers in self._encoded(batch, pixels):
            if prompt in batch.prompts:
                states = self.runner.checked(streams, self.work.streams[prompt], batch.image_ids)
                yield prompt, states, answers or None

    def _encoded(self, batch: Batch, pixels: Tensor) -> Iterator[tuple[int | None, dict[str, Tensor], list[str]]]:
        """Yield the hidden states of each prompt; raise InputError, naming it, for a picture that is not read."""

        def alone(image: Image) -> None:
            list(self.runner.encode(self.runner.preprocess([image]), batch.prompts))

        with named(self.stimuli, batch.image_ids, alone):
            yield from self.runner.encode(pixels, batch.prompts)

    def _room_for(self, batch: Batch, results: Iterable[Result]) -> Iterable[Result]:
        """Return the results of a batch; raise DiskFull if the disk has no room for the rest of the run.

        The first batch is computed completely before it is written, because the size of all others follows from it.
        """
        if self.bytes_an_image is None:
            results = list(results)
            n_bytes = sum(array.nbytes for _, states, _ in results for array in states.values())
            self.bytes_an_image = n_bytes / len(batch.image_ids)
            check_room(self.work.folder, self.n_left * self.bytes_an_image, images_left(self.n_left))
        return results
