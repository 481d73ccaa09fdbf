"""A test run: show the prompts, compute one batch, and estimate the cost of the whole run."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from PIL.Image import Image

from brain_activity_prediction.datasets.dataset import Images
from brain_activity_prediction.extraction.plan import Work, images_left
from brain_activity_prediction.extraction.runner import Runner
from brain_activity_prediction.extraction.settings import ExtractionSettings
from brain_activity_prediction.models.prompt_tokens import WIDTH, filled, token_text
from brain_activity_prediction.models.thinking import Thinking
from brain_activity_prediction.runtime.wording import prompt_name
from brain_activity_prediction.storage.measured_rate import MeasuredRate, record_rate

if TYPE_CHECKING:
    from torch import Tensor


def try_out(runner: Runner, stimuli: Images, work: Work) -> None:
    """Print prompts, statistics of the streams, an answer, speed, memory, and hours and gigabytes of the whole run."""
    batch, n_left = work.batches()[0], work.n_left()
    pixels = runner.preprocess(stimuli.images(batch.image_ids))
    list(runner.encode(pixels, batch.prompts))  # warm-up, so that the selection of GPU kernels is not timed
    start = time.perf_counter()
    results = list(runner.encode(runner.preprocess(stimuli.images(batch.image_ids)), batch.prompts))
    streams = [(prompt, name, states.cpu()) for prompt, named, _ in results for name, states in named.items()]
    seconds = (time.perf_counter() - start) / len(batch.image_ids)

    for prompt, named, _ in results:
        if prompt in batch.prompts:
            runner.checked(named, work.streams[prompt], batch.image_ids)
    prompts = [prompt for prompt in batch.prompts if prompt is not None]
    for line in prompt_report(runner, work.settings, stimuli.images(batch.image_ids[:1])[0], prompts):
        print(line)
    n_bytes = 0
    for prompt, name, states in streams:
        print(f"{prompt_name(prompt):10} {name:16} {_description(states)}")
        n_bytes += states[0].numel() * runner.stored_as.itemsize if prompt in batch.prompts else 0
    for prompt, _, answers in results:
        for answer in answers[:1]:
            said = f"{prompt_name(prompt):10} answer to image {batch.image_ids[0]}: {answer!r}"
            print(*filled([said], WIDTH), sep="\n")
    print(f"{1 / seconds:.2f} images/s in batches of {len(batch.image_ids)}, {_memory(runner.device)}")
    print(f"{images_left(n_left)}: {n_left * seconds / 3600:.2f} h, {n_left * n_bytes / 1e9:.2f} GB")
    settings = work.settings
    kind, names = "cpu" if runner.device == "cpu" else "gpu", sorted(set().union(*work.streams.values()))
    record_rate(settings.output.folder, settings.model_id, MeasuredRate(kind, names, prompts, seconds))
    print("no states were written; the speed was recorded for sweep.py plan")


def _description(states: Tensor) -> str:
    images, layers, width = states.shape
    return (
        f"{images} images x {layers} layers x {width}: mean {states.mean():.3g}, SD {states.std():.3g}, "
        f"from {states.min():.3g} to {states.max():.3g}"
    )


def _memory(device: str) -> str:
    import torch

    if device == "cpu":
        return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB of memory at most"
    return f"{torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB of GPU memory at most"


def prompt_report(runner: Runner, settings: ExtractionSettings, image: Image, prompts: Sequence[int]) -> Iterator[str]:
    """Yield lines of text on the prompts with one image, the models' contexts, and the tokens that end an answer."""
    for prompt, readers in runner.prompt_tokens(image, prompts).items():
        for tokens in readers:
            lines = tokens.lines()
            yield f"prompt {prompt}: {next(lines)}"
            yield from lines
        if readers and not any(tokens.answers for tokens in readers):
            after = "the thinking" if thinking_of(runner) else "the first tokens that the decoder reads"
            yield f"{'':13}response begins after {after}"
    if prompts and hasattr(runner.script, "prompt_ids"):
        yield from context_lines(runner.script, settings, prompts)
        yield from end_lines(runner, settings)
    stored = str(runner.stored_as).removeprefix("torch.")
    quantised = f", weights quantised to {settings.checkpoint.quantize}" if settings.checkpoint.quantize else ""
    yield f"number format: {settings.dtype}{quantised}; states are stored as {stored}"


def context_lines(script, settings: ExtractionSettings, prompts: Sequence[int]) -> Iterator[str]:
    """Yield a line for each text model that reads the prompts, with the number of its positions."""
    contexts = getattr(script, "contexts", lambda checkpoint, prompt: [])
    for context in contexts(settings.checkpoint, settings.prompts[prompts[0]]):
        limit = f"{context.positions:,} positions" if context.positions else "no limit"
        answer = settings.max_new_tokens if context.answers else 0
        parts = {"thinking": context.thinking if answer else 0, "the answer": answer}
        room = " and ".join(f"{number:,} for {part}" for part, number in parts.items() if number)
        yield f"context of the {context.reader}: {limit}{', at most ' if room else ''}{room}"


def end_lines(runner: Runner, settings: ExtractionSettings) -> Iterator[str]:
    """Yield lines on the tokens that end an answer, and on those added to end a thinking that is too long."""
    ends = {"ends of an answer": sorted(runner.script.end_ids(settings.checkpoint))}
    if thinking := thinking_of(runner):
        ends["tokens that end the thinking if it is too long"] = thinking.closing
    tokenizer = getattr(runner.processor, "tokenizer", None)
    for name, ids in ends.items():
        texts = [repr(token_text(tokenizer, token)) for token in ids] if tokenizer else [""] * len(ids)
        words = [f"{token} {text}".rstrip() for token, text in zip(ids, texts, strict=True)]
        yield from filled([f"{name}:", *words], WIDTH)


def thinking_of(runner: Runner) -> Thinking | None:
    """Return how the model's thinking ends; None for a model that does not think before it answers."""
    return getattr(runner.processor, "thinking", None)
