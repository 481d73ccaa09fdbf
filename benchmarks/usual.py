"""The usual way of keeping a model's hidden states, written to be measured against, and what memory a way needs."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas
import torch

BATCHES_A_PICKLE = 100


def usual_way(study):
    """A pass a prompt and batch with `output_hidden_states`, all of it moved to the CPU, averaged there, pickled."""
    model, processor = study.runner.model, study.checkpoint.made_processor  # the library's own, text and images at once
    for number, prompt in study.runner.prompts.items():
        text = study.script.TEMPLATE.format(prompt=prompt)
        kept = {}
        for count, ids in enumerate(study.batches, 1):
            images = study.stimuli.images(ids)
            inputs = processor(text=[text] * len(images), images=images, return_tensors="pt").to(study.runner.device)
            inputs["pixel_values"] = inputs["pixel_values"].to(study.runner.dtype)
            with torch.inference_mode():
                states = model(**inputs, output_hidden_states=True).hidden_states
            means = [layer.cpu().float().mean(dim=1).numpy() for layer in states]
            kept |= {image_id: [layer[row] for layer in means] for row, image_id in enumerate(ids)}
            if count % BATCHES_A_PICKLE == 0 or count == len(study.batches):
                pandas.to_pickle(kept, study.folder / f"prompt_{number}_{count}.pkl")
                kept = {}


def peak_gigabytes(measured, *arguments):
    """Runs `measured(*arguments)`, which returns a function to call, in a process of its own.

    Returns the most memory the process had during the call, and how much of it the call added to what stood before.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, measured, *arguments).result()


def _peak(measured, *arguments):
    return peak_of(measured(*arguments))


def peak_of(call):
    """The same of a call in this process."""
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        peak = torch.cuda.max_memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak so far, that of making the model
        before = _kilobytes("VmRSS") * 1024
        call()
        peak = _kilobytes("VmHWM") * 1024
    return peak / 1e9, (peak - before) / 1e9


def _kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
