"""A test run: compute one batch, and estimate the cost of the whole run."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING

from brain_activity_prediction.extraction.plan import images_left
from brain_activity_prediction.runtime.wording import prompt_name
from brain_activity_prediction.storage.measured_rate import MeasuredRate, record_rate

if TYPE_CHECKING:
    from torch import Tensor

    from brain_activity_prediction.datasets.dataset import Images
    from brain_activity_prediction.extraction.plan import Work
    from brain_activity_prediction.extraction.runner import Runner


def try_out(runner: Runner, stimuli: Images, work: Work) -> None:
    """Print streams, shapes, statistics, an answer, speed, memory, and the hours and gigabytes of the whole run."""
    batch, n_left = work.batches()[0], work.n_left()
    pixels = runner.preprocess(stimuli.images(batch.image_ids))
    list(runner.encode(pixels, batch.prompts))  # warm-up, so that choosing kernels is not timed
    start = time.perf_counter()
    results = list(runner.encode(runner.preprocess(stimuli.images(batch.image_ids)), batch.prompts))
    streams = [(prompt, name, states.cpu()) for prompt, named, _ in results for name, states in named.items()]
    seconds = (time.perf_counter() - start) / len(batch.image_ids)

    for prompt, named, _ in results:
        if prompt in batch.prompts:
            runner.checked(named, work.streams[prompt], batch.image_ids)
    n_bytes = 0
    for prompt, name, states in streams:
        print(f"{prompt_name(prompt):10} {name:16} {_description(states)}")
        n_bytes += states[0].numel() * runner.stored_as.itemsize if prompt in batch.prompts else 0
    for prompt, _, answers in results:
        for answer in answers[:1]:
            print(f"{prompt_name(prompt):10} answer to image {batch.image_ids[0]}: {answer!r}")
    print(f"{1 / seconds:.2f} images/s in batches of {len(batch.image_ids)}, {_memory(runner.device)}")
    print(f"{images_left(n_left)}: {n_left * seconds / 3600:.2f} h, {n_left * n_bytes / 1e9:.2f} GB")
    settings = work.settings
    prompts = [prompt for prompt in batch.prompts if prompt is not None]
    kind, names = "cpu" if runner.device == "cpu" else "gpu", sorted(set().union(*work.streams.values()))
    record_rate(settings.output.folder, settings.model_id, MeasuredRate(kind, names, prompts, seconds))
    print("no states were written, only this rate for sweep.py plan")


def _description(states: Tensor) -> str:
    images, layers, width = states.shape
    return (
        f"{images} images x {layers} layers x {width}: mean {states.mean():.3g}, SD {states.std():.3g}, "
        f"from {states.min():.3g} to {states.max():.3g}"
    )


def _memory(device: str) -> str:
    import torch

    if device == "cpu":
        return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB of memory at the most"
    return f"{torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB of GPU memory at the most"
