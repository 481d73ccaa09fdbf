"""Measures the extraction: the loop, nine prompts in one pass, and both against the usual way of doing it.

    python benchmarks/extraction.py [loop] [prompts] [usual] [--device cuda] [--rounds 5] [--threads 1]

`loop` sets the extraction loop against the bare forward pass of the same model and batches, `prompts` nine prompts
against one, `usual` one and nine prompts against `output_hidden_states=True` with a pass a prompt. Weights are random
and images noise, which changes no cost. On the CPU the loop runs at the size of ViT-Base, and LLaVA at reduced width
with its real number of tokens; with `--device cuda` both have the real widths (ViT-Huge, LLaVA-1.5-13B) in bfloat16.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from paired import alternate, processor_ratio, ratio
from study import Study
from torch.utils.flop_counter import FlopCounterMode
from untrained import Untrained, llava, published, script, vit, widths
from usual import peak_gigabytes, usual_way

from brain_activity_prediction.models.decoding import split_template

VIT, LLAVA = "vit_huge_patch14_224_in21k", "llava_1.5_13b"
ANSWER_TOKENS = 32


@dataclass(frozen=True)
class Size:
    """What is measured on a device: the models, the dtype, images a batch, and batches a round."""

    device: str
    dtype: str
    batch: int
    n_batches: int
    vit: Callable[[], Untrained]
    llava: Callable[[], Untrained]


SIZES = {
    "cpu": Size("cpu", "float32", 8, 4, vit, partial(llava, widths(64, 256, 4, 2), widths(512, 1376, 8, 8))),
    "cuda": Size(
        "cuda",
        "bfloat16",
        16,
        30,
        partial(published, VIT),
        partial(published, LLAVA),
    ),
}


def loop(size, rounds):
    """The extraction loop, with reading, preprocessing and storing, against the model alone."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(folder, script(VIT), size.vit(), size)
        model, ready = study.runner.model, [study.pixels(ids) for ids in study.batches]

        def forward(batches):
            with torch.inference_mode():
                for pixels in batches:
                    model(pixels)

        ways = {
            "model alone": lambda: forward(ready),
            "preprocessing alone": lambda: [study.pixels(ids) for ids in study.batches],
            "loop": study.extract,
        }
        taken = alternate(ways, rounds)
        taken["model and preprocessing"] = taken["model alone"] + taken["preprocessing alone"]
        print(f"loop: ViT of width {model.config.hidden_size}, {size.n_batches} batches of {size.batch}")
        _print_ratios(taken, "loop", ("model alone", "model and preprocessing"))
        _print_ratios(taken, "preprocessing alone", ("model alone",))
        _print_speed(taken["loop"], lambda: forward(ready), len(study.image_ids), size)


def prompts(size, rounds):
    """Nine prompts in one pass over the images against one prompt, and the price of an answer."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(folder, script(LLAVA), size.llava(), size, "1-9")
        runner, pixels = study.runner, study.pixels(study.batches[0])

        def encode(n_prompts, answer_tokens=0):
            runner.max_new_tokens = answer_tokens
            for _ in runner.encode(pixels, range(1, n_prompts + 1)):
                pass

        ways = {
            "nine prompts": lambda: encode(9),
            "one prompt": lambda: encode(1),
            "one prompt and its answer": lambda: encode(1, ANSWER_TOKENS),
        }
        taken = alternate(ways, rounds)
        before, after = _token_counts(study)
        floor = (before + sum(after)) / (before + after[0])
        width = runner.model.config.text_config.hidden_size
        print(
            f"prompts: LLaVA of width {width}, {size.batch} images; {before} tokens before the question, then {after}"
        )
        print(f"  nine prompts have {floor:.3f} x the tokens of one; an answer has {ANSWER_TOKENS} tokens")
        _print_ratios(taken, "nine prompts", ("one prompt",))
        _print_ratios(taken, "one prompt and its answer", ("one prompt",))
        _print_speed(taken["nine prompts"], lambda: encode(9), size.batch, size)


def usual(size, rounds):
    """The loop against the usual way, for one prompt and for nine: time, and peak memory in processes of their own."""
    size = replace(size, n_batches=2)
    for numbers in ("1", "1-9"):
        with tempfile.TemporaryDirectory() as folder:
            ways = _ways(size, folder, numbers)
            taken = alternate(ways, rounds)
            print(f"usual: LLaVA, prompts {numbers}, {size.n_batches} batches of {size.batch}")
            _print_ratios(taken, "the usual way", ("loop",))
            for name in ways:
                peak, added = peak_gigabytes(_way, size, folder, numbers, name)
                print(f"  {name}: peak memory {peak:.2f} GB, {added:.2f} GB of it beyond the loaded model")


def _ways(size, folder, numbers):
    study = Study(folder, script(LLAVA), size.llava(), size, numbers)
    return {"loop": study.extract, "the usual way": lambda: usual_way(study)}


def _way(size, folder, numbers, name):
    return _ways(size, Path(folder) / name, numbers)[name]


def _token_counts(study):
    """Tokens before the question with the 576 of the image, and tokens from there on, a number a prompt."""
    runner = study.runner
    config, tokenizer = runner.model.config, runner.processor.tokenizer
    n_image = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    parts = [
        split_template(tokenizer, study.script.TEMPLATE, prompt, config.image_token_id)
        for prompt in runner.prompts.values()
    ]
    return len(parts[0][0]) + n_image, [len(after) for _, after, _ in parts]


def _print_ratios(taken, name, bases):
    for base in bases:
        print(f"  {name} / {base}: {ratio(taken, name, base)}, processor time {processor_ratio(taken, name, base)}")


def _print_speed(taken, call, n_images, size):
    """Images a second and, on a GPU, what `call` multiplies in that time as a share of the card's best."""
    seconds = np.median(taken[:, 0])
    print(f"  {n_images / seconds:.2f} images/s")
    if size.device != "cpu":
        print(f"  {100 * flops(call) / seconds / matmul_peak(size):.0f} % of the measured matmul peak")


def flops(call):
    """Floating point operations of the matrix products, convolutions and attention of a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def matmul_peak(size, n_times=20):
    """FLOP/s of one large matrix product, the best of several."""
    n = 8192 if size.device == "cuda" else 1024
    left, right = torch.randn(2, n, n, device=size.device, dtype=getattr(torch, size.dtype))
    best = np.inf
    for _ in range(n_times):
        start = time.perf_counter()
        (left @ right)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best


SECTIONS = {"loop": loop, "prompts": prompts, "usual": usual}


def main():
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; all of them if none")
    flags.add_argument("--device", choices=SIZES, default="cpu")
    flags.add_argument("--rounds", type=int, default=5)
    flags.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU")
    arguments = flags.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    for name in arguments.sections or SECTIONS:
        SECTIONS[name](SIZES[arguments.device], arguments.rounds)


if __name__ == "__main__":
    main()
