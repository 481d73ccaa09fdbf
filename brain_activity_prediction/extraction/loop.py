"""The extraction loop: compute the missing hidden states in batches, and write them to the embedding stores.

`model_script` lists what a model script provides.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import closing

import numpy as np

from brain_activity_prediction.datasets.dataset import Images, Reading
from brain_activity_prediction.datasets.files.image_files import NamedImages
from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.extraction.batch_size import with_batch_size
from brain_activity_prediction.extraction.computing import Computing
from brain_activity_prediction.extraction.model_script import checkpoint_files, open_stimuli
from brain_activity_prediction.extraction.odd_pictures import check_extremes
from brain_activity_prediction.extraction.pictures import check_pictures, copy_states
from brain_activity_prediction.extraction.plan import Work, images_left, plan
from brain_activity_prediction.extraction.recorded_settings import RecordedSettings
from brain_activity_prediction.extraction.runner import Runner
from brain_activity_prediction.extraction.settings import ExtractionSettings
from brain_activity_prediction.extraction.trial import try_out
from brain_activity_prediction.runtime import devices
from brain_activity_prediction.runtime.claims import Claims, remove_left_claims
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.read_ahead import read_ahead
from brain_activity_prediction.runtime.running import fill, progress_seconds
from brain_activity_prediction.runtime.scripts import ALIGN
from brain_activity_prediction.runtime.stopping import until_stopped
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.embeddings.batch_files import ImageId, claim_name
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.files import check_room, remove_left_behind
from brain_activity_prediction.storage.folders import Subject

THREADS_AHEAD = 2  # number of threads, each of which prepares a batch while the model computes another one


def extract(script, settings: ExtractionSettings) -> None:
    """Extract the missing hidden states; report errors in flags and files before the model is loaded."""
    dataset = find_dataset(settings.base_dir, settings.dataset)
    if settings.light:
        dataset = dataset.reading(Reading(light=settings.light))
    dataset.check_subjects(settings.subjects)
    with open_stimuli(script, dataset) as stimuli:
        work = plan(script, settings, dataset.image_ids_of_any(settings.subjects))
        if settings.repair:
            for store in work.stores.values():
                repair(store)
        log.info(f"{settings.model_id}, {dataset.description}: {work.summary()}")
        say_template(script, settings)
        left = work.lacking()
        if left:
            check_inputs(work, left, stimuli)
        settings.checkpoint.check(checkpoint_files(script), getattr(script, "MODEL_TYPE", None))
        recorded = RecordedSettings.read(script, work, stimuli.settings)
        if settings.test_run and left:
            runner = Runner(script, settings)
            check_extremes(runner, stimuli, work)
            try_out(runner, stimuli, with_batch_size(runner, stimuli, work))
            return
        if not settings.test_run:
            recorded.check(work.stores)
            if isinstance(stimuli, NamedImages):
                check_pictures(work, stimuli)
        if left:
            runner = Runner(script, settings)
            recorded.claim(work.stores)
            if isinstance(stimuli, NamedImages):
                own = {prompt: recorded.for_store(prompt, store) for prompt, store in work.stores.items()}
                copy_states(work, stimuli, own)
            if work.lacking():
                check_extremes(runner, stimuli, work)
                run(runner, stimuli, with_batch_size(runner, stimuli, work))
        tidy(work)
        print(next_step(work))


def run(runner: Runner, stimuli: Images, work: Work) -> None:
    """Compute all batches and store each one when it is ready; other processes may work on the same images."""
    from tqdm import tqdm

    computing = Computing(runner, stimuli, work)
    bar = tqdm(total=computing.n_left, unit="image", dynamic_ncols=True, mininterval=progress_seconds())
    counted: set[ImageId] = set()  # an image is in two batches if another process had claimed some of its prompts
    with Claims(work.claims_folder) as claims, bar as progress:
        ready = read_ahead(work.claimed(claims), computing.prepare, THREADS_AHEAD)
        with closing(until_stopped(ready)) as batches:
            for batch, pixels in batches:
                if batch.image_ids:
                    computing.compute(batch, pixels)
                    claims.finished(list(map(claim_name, batch.image_ids)))
                progress.update(len(set(batch.image_ids) - counted))
                counted.update(batch.image_ids)
        work.check_complete()
        fill(progress)


def repair(store: EmbeddingStore) -> None:
    """Delete damaged files, so that their images are computed again, and report their names."""
    damaged = store.repair()
    named = f": {', '.join(damaged[:3])}{', ...' if damaged[3:] else ''}" if damaged else ""
    log.warning(f"{store.folder}: {count(len(damaged), 'damaged file')}{named}")


def say_template(script, settings: ExtractionSettings) -> None:
    """Report the script's template if another model than the script's own is run with it."""
    if settings.template and settings.checkpoint.model_id != script.MODEL_ID:
        log.info(f"{settings.checkpoint.model_id} is run with the template of {script.MODEL_ID}: {settings.template!r}")


def check_inputs(work: Work, left: Mapping[tuple, np.ndarray], stimuli: Images) -> None:
    """Raise InputError if a picture that is still to be computed, the device, or room on the disk is missing."""
    settings = work.settings
    stimuli.check(np.concatenate(list(left.values())))
    devices.check_device(settings.device)
    if not settings.test_run:
        bytes_per_number = 2 if settings.dtype == "float16" else 4
        check_room(work.folder, work.known_bytes(left, bytes_per_number), images_left(sum(map(len, left.values()))))


def tidy(work: Work) -> None:
    """Remove claims and temporary files that killed runs left behind."""
    remove_left_claims(work.claims_folder)
    for store in work.stores.values():
        remove_left_behind(store.folder)


def next_step(work: Work) -> str:
    """Return text for the user: the folders of the states, and the alignment command for each subject."""
    settings = work.settings
    _, n_shards = settings.shard
    folders = [f"states: {store.folder}" for store in work.stores.values()]
    when = "next" if n_shards == 1 else f"next, once all {n_shards} shards are done"
    commands = [f"  {shlex.join(_alignment(work, subject))}" for subject in settings.subjects]
    return "\n".join([*folders, f"{when}:", *commands])


def _alignment(work: Work, subject: Subject) -> list[str]:
    settings = work.settings
    script = ALIGN if os.path.isabs(sys.argv[0]) else os.path.relpath(ALIGN)
    command = [sys.orig_argv[0], str(script), *settings.place_flags, "-s", str(subject), "-m", settings.model_id]
    prompts = [str(prompt) for prompt in work.stores if prompt is not None]
    if prompts:
        command += ["-p", *prompts]
    if prompts and settings.prompts_file:
        command += ["--prompts-file", str(settings.prompts_file)]
    if settings.device != "cuda:0":
        command += ["-g", settings.device.removeprefix("cuda:")]
    return command
