"""Runs the six models at their published sizes, with random weights, through the extraction as the scripts do it.

    python benchmarks/published_sizes.py [model ...] [--device cuda] [--images 64] [--batch 16] [--scale tiny]

A table row a model, each in a process of its own, so that one that fails leaves the others theirs. Images a second
are those of the whole loop, warm, from the file of stimuli to the stored states; the model alone is given nine
prompts, and TFLOP/s and the share of the measured matmul peak are its. Weights are drawn on the device, so that
"made" holds no reading from a disk. One prompt's states and answers are stored, gone through again without a model,
which must find nothing left, and read back, which raises unless all are finite; their layers and widths are beside
the published ones. `--scale tiny` divides widths by 32.
"""

import argparse
import multiprocessing
import signal
import sys
import tempfile
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import transformers
from extraction import ANSWER_TOKENS, SIZES, flops, matmul_peak
from paired import alternate
from study import Study
from untrained import published, script
from usual import peak_of

from brain_activity_prediction.cli.flag_values import positive_int
from brain_activity_prediction.runtime.errors import is_out_of_memory
from brain_activity_prediction.sweep.planning.models import STUDY

NARROW = {"published": 1, "tiny": 32}
PROMPTS = range(1, 10)
# Layers and widths of the streams, by the published configurations; every other stream is the bridge's.
CLIP, LLAMA = (25, 1024), (33, 4096)
STATES = {
    "vit_huge_patch14_224_in21k": {"vision": (33, 1280)},
    "llava_1.5_13b": {"vision": CLIP, "language": (41, 5120)},
    "idefics_9b_instruct": {"vision": (33, 1280), "bridge": (6, 1280), "language": LLAMA},
    "instruct_blip_13b": {"vision": (40, 1408), "bridge": (13, 768), "language": (41, 5120)},
    "mplug_owl_llama_7b": {"vision": CLIP, "bridge": (6, 1024), "language": LLAMA},
    "openflamingo_9b": {"vision": CLIP, "bridge": (6, 1024), "language": (33, 4096)},
}
COLUMNS = (
    "model",
    "weights, 10^9",
    "made, s",
    "1 prompt, images/s",
    "9 prompts",
    "1 and its answer",
    "the model alone, 9 prompts",
    "TFLOP an image",
    "TFLOP/s",
    "of the peak",
    "images a batch: images/s, GB at the most",
    "states",
)


def measure(model, size, narrow, largest, folder):
    """The cells of a model's row."""
    with torch.device(size.device):  # where weights are drawn; on a CPU 9 billion take minutes
        study = Study(folder, script(model), published(model, narrow, folder), size, "1-9")
    study.runner.model.requires_grad_(False)  # the counter of operations watches the gradients of what has any
    language = hasattr(study.script, "PROMPT_STREAMS")
    n_weights = sum(weight.numel() for weight in study.runner.model.parameters())
    pixels = study.pixels(study.batches[0])
    in_batch = flops(lambda: encode(study, pixels)) / size.batch  # also chooses the kernels of what is timed below

    ways = {
        "one": partial(extract, study, PROMPTS[:1]),
        "alone": lambda: [encode(study, pixels) for _ in study.batches],
    }
    if language:
        ways |= {
            "nine": partial(extract, study, PROMPTS),
            "answer": partial(extract, study, PROMPTS[:1], ANSWER_TOKENS),
        }
    taken = alternate(ways, rounds=1)
    speed = {name: len(study.image_ids) / seconds[0, 0] for name, seconds in taken.items()}
    rate = in_batch * speed["alone"]
    return (
        model,
        f"{n_weights / 1e9:.3g}",
        f"{study.loading_seconds:.1f}",
        *(f"{speed[name]:.1f}" if name in speed else "-" for name in ("one", "nine", "answer", "alone")),
        f"{in_batch / 1e12:.3g}",
        f"{rate / 1e12:.3g}",
        f"{100 * rate / matmul_peak(size):.0f} %",
        "; ".join(batches(study, pixels, largest)),
        states(study, model, narrow),
    )


def encode(study, pixels):
    """All that the model computes of a batch under nine prompts, without storing it."""
    study.runner.max_new_tokens = 0
    for _ in study.runner.encode(pixels, PROMPTS if hasattr(study.script, "PROMPT_STREAMS") else []):
        pass


def extract(study, prompts, answer_tokens=0):
    ask(study, prompts, answer_tokens)
    study.extract()


def ask(study, prompts, answer_tokens=0):
    """What `-p`, `--response` and `--max-new-tokens` set, for a model that is there already."""
    selected = {number: study.runner.prompts[number] for number in prompts}
    study.settings = replace(study.settings, prompts=selected, max_new_tokens=answer_tokens)
    study.runner.max_new_tokens = answer_tokens


def batches(study, pixels, largest):
    """For batches of twice as many images each, as long as memory holds them: `16: 21.3, 34.1`."""
    while len(pixels) <= largest:
        call = partial(encode, study, pixels)
        try:
            peak, _ = peak_of(call)
            seconds = alternate({"alone": call}, rounds=1)["alone"][0, 0]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            yield f"{len(pixels)}: out of memory"
            break
        yield f"{len(pixels)}: {len(pixels) / seconds:.1f}, {peak:.1f}"
        pixels = pixels.repeat(2, *[1] * (pixels.ndim - 1))
    study.runner.free_memory()


def states(study, model, narrow):
    """Extracts one prompt and its answer, again without a model, and reads all of it back: layers x width of each."""
    with tempfile.TemporaryDirectory(dir=study.folder) as folder:
        ask(study, PROMPTS[:1], ANSWER_TOKENS if hasattr(study.script, "PROMPT_STREAMS") else 0)
        study.extract_into(Path(folder))
        study.runner.model = None  # so that whatever is left to compute fails
        work = study.extract_into(Path(folder))
        found = {}
        for store in work.stores.values():
            for stream, (layers, width) in store.streams().items():
                found[stream] = layers, width
                for layer in range(layers):
                    store.read_layer(stream, layer, study.image_ids)  # raises unless all are there and finite
    return "; ".join(beside_published(model, stream, size, narrow) for stream, size in found.items())


def beside_published(model, stream, size, narrow):
    name = {"response": "language"}.get(stream.split("_")[0], stream.split("_")[0])
    layers, width = STATES[model].get(name) or STATES[model]["bridge"]
    told, expected = f"{stream} {size[0]} x {size[1]}", (layers, width // narrow)
    return told if size == expected else f"{told}, NOT {expected[0]} x {expected[1]}"


def row(model, size, narrow, largest, seconds):
    """As `measure`, in a process that ends itself where it takes too long."""
    signal.alarm(seconds)
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        return measure(model, size, narrow, largest, Path(folder))


def in_own_process(*arguments):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(row, *arguments).result()


def main():
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("models", nargs="*", metavar="model", help=f"of {', '.join(STUDY)}; all of them if none")
    flags.add_argument("--device", choices=SIZES, default="cpu")
    flags.add_argument("--dtype", default=None, help="float16 on a GPU, as the scripts have it, and float32 on the CPU")
    flags.add_argument("--images", type=positive_int, default=64, help="of an extraction; a multiple of --batch")
    flags.add_argument("--batch", type=positive_int, default=16)
    flags.add_argument("--largest", type=positive_int, default=64, help="images of the largest batch that is tried")
    flags.add_argument("--scale", choices=NARROW, default="published")
    flags.add_argument("--seconds", type=positive_int, default=180, help="after which a model is given up")
    arguments = flags.parse_args()
    unknown = [name for name in arguments.models if name not in STUDY]
    if unknown or arguments.images % arguments.batch:
        flags.error(f"unknown: {unknown}" if unknown else "--images is not a multiple of --batch")
    size = replace(
        SIZES[arguments.device],
        dtype=arguments.dtype or {"cuda": "float16", "cpu": "float32"}[arguments.device],
        batch=arguments.batch,
        n_batches=arguments.images // arguments.batch,
    )
    card = torch.cuda.get_device_name() if size.device == "cuda" else "CPU"
    print(f"{card}, {size.dtype}, torch {torch.__version__}, transformers {transformers.__version__}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    failed = False
    for model in arguments.models or STUDY:
        try:
            cells = in_own_process(model, size, NARROW[arguments.scale], arguments.largest, arguments.seconds)
        except Exception as error:
            traceback.print_exc()
            failed, cells = True, (model, f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
        print(f"| {' | '.join(cells)} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
