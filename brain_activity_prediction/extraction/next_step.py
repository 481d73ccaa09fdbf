"""What an extraction says when all is stored: where the states are, and the commands that align them."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from brain_activity_prediction.extraction.plan import Work

ALIGN = Path(__file__).resolve().parents[1] / "align_image_embeddings" / "align_model.py"


def next_step(work: Work, arguments: argparse.Namespace) -> str:
    """The folders of the states, and an alignment command for each subject with the flags that this run was given."""
    _, n_shards = arguments.shard
    folders = [f"states: {store.folder}" for store in work.stores.values()]
    when = "next" if n_shards == 1 else f"next, once all {n_shards} shards are done"
    commands = [f"  {shlex.join(_alignment(work, arguments, subject))}" for subject in arguments.subject]
    return "\n".join([*folders, f"{when}:", *commands])


def _alignment(work: Work, arguments: argparse.Namespace, subject: int) -> list[str]:
    script = ALIGN if os.path.isabs(sys.argv[0]) else os.path.relpath(ALIGN)
    command = [sys.orig_argv[0], str(script), "-d", str(arguments.base_dir), "-s", str(subject), "-m", work.model_id]
    prompts = [str(prompt) for prompt in work.stores if prompt is not None]
    if prompts:
        command += ["-p", *prompts]
    if prompts and arguments.prompts_file:
        command += ["--prompts-file", str(arguments.prompts_file)]
    if arguments.gpu_id != "cuda:0":
        command += ["-g", arguments.gpu_id.removeprefix("cuda:")]
    return command
