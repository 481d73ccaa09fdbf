"""The last lines that an extraction prints: the folders of the hidden states, and the commands that align them."""

from __future__ import annotations

import os
import shlex
import sys

from brain_activity_prediction.extraction.plan import Work
from brain_activity_prediction.runtime.scripts import ALIGN
from brain_activity_prediction.storage.folders import Subject


def next_step(work: Work) -> str:
    """Return the folders of the states, and an alignment command for each subject with this run's flags."""
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
