"""The one extraction loop: which images are left, batch by batch through a model, into the embedding store.

A model script is a module (or any namespace) with `MODEL_ID`, `REVISION`, `IMAGE_STREAMS` and, where prompts change
anything, `TEMPLATE` and `PROMPT_STREAMS`: `{stream: poolings it can have}`; where `--checkpoint` takes another folder
than one with a config.json, `CHECKPOINT_FILES`, the patterns of what it holds; and these functions, B images a batch:

    load(checkpoint, device, dtype) -> model, processor
    preprocess(processor, images) -> pixels            B PIL images to one tensor (B, ...); runs ahead, in threads
    encode_images(model, processor, pixels, poolings) -> streams, context                            once an image
    encode_prompt(model, processor, context, prompt, poolings, max_new_tokens) -> streams, answers   once a prompt

A model that is given something else than NSD's pictures has `open_stimuli(layout)`, too: a context manager with the
`check`, `images` and `settings` of `datasets.nsd.stimuli.Stimuli`; what its `images` gives is what `preprocess` takes.

`MODEL_TYPE` is the kind of model that a folder's config.json must name, where a script says it.
A script that reads prompts also has `prompt_ids(checkpoint, prompt)`, `end_ids(checkpoint)` and
`contexts(checkpoint, prompt)`: see `prompt_settings`.

`streams` is `{name: (B, L, W)}`, `context` whatever `encode_prompt` builds on, `answers` B texts or an empty list.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.flag_values import positive_int, seed, shard
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.layout import find_layout
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.extraction.computing import Computing
from brain_activity_prediction.extraction.next_step import next_step
from brain_activity_prediction.extraction.plan import Work, check_dtype, images_left, plan, settings_of
from brain_activity_prediction.extraction.prompt_settings import of_1_0_0, prompt_settings
from brain_activity_prediction.extraction.runner import Runner
from brain_activity_prediction.extraction.trial import try_out
from brain_activity_prediction.models import pooling
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.runtime import devices
from brain_activity_prediction.runtime.claims import Claims
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.read_ahead import read_ahead
from brain_activity_prediction.runtime.running import fill, progress_seconds, run_script
from brain_activity_prediction.runtime.stopping import until_stopped
from brain_activity_prediction.storage.files import check_room

THREADS_AHEAD = 2  # each prepares one batch while the model is at work on another


def flags(description: str, **model_id) -> argparse.ArgumentParser:
    """The flags that all extraction scripts share; `model_id` are a script's own settings of `--model-id`."""
    flags = shared.parser(description, several_subjects=True)
    other = "another size of the same model, such as ORG/MODEL-7B, stored under its own id (default: the script's)"
    flags.add_argument("-m", "--model-id", **{"metavar": "ID", "help": other} | model_id)
    shared.add_prompts(flags)
    shared.add_device(flags)
    flags.add_argument("-b", "--batch-size", type=positive_int, default=8, help="images a batch")
    flags.add_argument(
        "-t",
        "--test-run",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="the first batch only: prints what it gives and what the whole run would take, writes nothing",
    )
    flags.add_argument(
        "--shard",
        type=shard,
        default=(0, 1),
        metavar="I/N",
        help="the Ith of N equal parts of the images, from 0/N, for N processes at once (default: 0/1)",
    )
    flags.add_argument(
        "--repair",
        action="store_true",
        help="first read every stored file of these prompts, and compute anew what is damaged",
    )
    flags.add_argument("--checkpoint", type=Path, metavar="DIR", help="folder with the model's weights on this disk")
    flags.add_argument(
        "--revision", metavar="NAME", help="commit, tag or branch of the model on the hub, not the script's own"
    )
    flags.add_argument(
        "--random-weights",
        type=seed,
        metavar="SEED",
        help="the untrained model: the weights its class starts from, stored as ORG/MODEL-random-SEED",
    )
    flags.add_argument(
        "--dtype", choices=shared.DTYPES, default="auto", help="auto is float16 on a GPU, float32 on the CPU"
    )
    flags.add_argument("--quantize", choices=("8bit", "4bit"), help="shrink the weights with bitsandbytes")
    flags.add_argument(
        "--device-map", choices=("auto",), help="spread a model larger than a card over all GPUs, then the CPU"
    )
    flags.add_argument(
        "--pooling",
        nargs="+",
        choices=pooling.POOLINGS,
        default=["mean"],
        help="which tokens a layer is averaged over",
    )
    flags.add_argument("--response", action="store_true", help="also let the model answer, greedily")
    flags.add_argument("--max-new-tokens", type=positive_int, default=64, help="longest answer, in tokens")
    return flags


def main(script) -> None:
    """Runs a model script from the command line."""
    run_script(lambda: extract(script, flags(script.__doc__).parse_args()))


def check_flags(arguments: argparse.Namespace) -> None:
    """Raises InputError where flags contradict each other."""
    if arguments.repair and arguments.test_run:
        raise InputError("--repair deletes damaged files, and a --test-run writes nothing: leave one out")
    if arguments.revision and arguments.checkpoint:
        raise InputError("--revision is one of the hub's, and --checkpoint a folder: leave one out")
    if arguments.quantize and arguments.random_weights is not None:
        raise InputError("--random-weights are drawn, not loaded, so that --quantize does not apply: leave one out")


def under_id(script, model_id: str | None):
    """The script for another model of its class: the weights come from that id, and the states go under it."""
    if model_id is None or model_id == script.MODEL_ID:
        return script
    if template := getattr(script, "TEMPLATE", None):
        log.info(f"{model_id} is given the template of {script.MODEL_ID}: {template!r}")
    return SimpleNamespace(**vars(script) | {"MODEL_ID": model_id, "REVISION": "main"})


def extract(script, arguments: argparse.Namespace) -> None:
    """Everything from the flags to the last batch; what is wrong is said before the model is loaded."""
    check_flags(arguments)
    script = under_id(script, arguments.model_id and resolved_model_id(arguments.base_dir, arguments.model_id))
    layout = find_layout(arguments.base_dir)
    open_stimuli = getattr(script, "open_stimuli", lambda layout: Stimuli(layout.stimuli()))
    with open_stimuli(layout) as stimuli:
        work = plan(script, arguments, read_design(layout.design()).image_ids_of_any(arguments.subject))
        log.info(f"{work.model_id}, {layout.name} layout of NSD: {work.summary()}")
        left = work.lacking()
        if left:
            stimuli.check(np.concatenate(list(left.values())))
            devices.check_device(arguments.gpu_id)
        if left and not arguments.test_run:
            stored_bytes = 2 if shared.dtype_name(arguments) == "float16" else 4
            check_room(work.folder, work.known_bytes(left, stored_bytes), images_left(work.n_left()))
        checkpoint = Checkpoint(
            script.MODEL_ID,
            arguments.revision or script.REVISION,
            arguments.checkpoint,
            arguments.random_weights,
            arguments.quantize,
            arguments.device_map,
        )
        files, kind = getattr(script, "CHECKPOINT_FILES", ("config.json",)), getattr(script, "MODEL_TYPE", None)
        checkpoint.check(files, kind)
        stores = {} if arguments.test_run else work.stores
        longest_answer = arguments.max_new_tokens if arguments.response else 0
        read = prompt_settings(script, checkpoint, {p: work.prompts.get(p) for p in work.stores}, longest_answer)

        def settings(prompt: int | None) -> dict:
            weights = checkpoint.recorded_weights(stores[prompt].settings() or {})
            return settings_of(script, arguments, weights, stimuli.settings, work.prompts.get(prompt)) | read[prompt]

        for prompt, store in stores.items():
            check_dtype(store, arguments)
            store.check(settings(prompt), of_1_0_0(script, checkpoint, work.prompts.get(prompt), store.settings()))
        if not left:
            work.tidy()
            print(next_step(work, arguments))
            return
        runner = Runner(script, arguments, checkpoint, work.prompts)
        if arguments.test_run:
            try_out(runner, stimuli, work)
            return
        for prompt, store in stores.items():  # anew, since the hub's files may have been fetched only now
            store.claim(settings(prompt))
        run(runner, stimuli, work)
        print(next_step(work, arguments))


def run(runner: Runner, stimuli: Stimuli, work: Work) -> None:
    """All batches, each written as soon as it is computed; other processes may work on the same images."""
    from tqdm import tqdm

    computing = Computing(runner, stimuli, work)
    bar = tqdm(total=computing.n_left, unit="image", dynamic_ncols=True, mininterval=progress_seconds())
    counted: set[int] = set()  # an image comes twice where another process had some of its prompts in hand
    with Claims(work.claims_folder) as claims, bar as progress:
        ready = read_ahead(work.claimed(claims), computing.prepare, THREADS_AHEAD)
        for batch, pixels in until_stopped(ready):
            if batch.image_ids:
                computing.compute(batch, pixels)
                work.finished(claims, batch)
            progress.update(len(set(batch.image_ids) - counted))
            counted.update(batch.image_ids)
        work.check_complete()
        fill(progress)
    work.tidy()
