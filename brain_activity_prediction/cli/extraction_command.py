"""The command line of the extraction scripts: their flags, and the settings made from these flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.flag_values import batch_size, positive_int, seed, shard
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.extraction.loop import extract
from brain_activity_prediction.extraction.prompt_selection import select_prompts
from brain_activity_prediction.extraction.settings import ExtractionSettings
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.pooling import BLOCK, HEADS, POOLINGS, SITES
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script


def main(script) -> None:
    """Run a model script from the command line."""
    run_script(lambda: extract(script, settings(script, flags(script.__doc__).parse_args())))


def flags(description: str, **model_id) -> argparse.ArgumentParser:
    """Return the parser that all extraction scripts share.

    model_id  keyword arguments of `add_argument` for `--model-id`, such as `required` or `help`, which replace the
        defaults
    """
    flags = shared.parser(description, several_subjects=True)
    other = "another size of the same model, such as ORG/MODEL-7B, stored under its own id (default: the script's)"
    flags.add_argument("-m", "--model-id", **{"metavar": "ID", "help": other} | model_id)
    shared.add_prompts(flags)
    shared.add_device(flags)
    flags.add_argument(
        "-b",
        "--batch-size",
        type=batch_size,
        default=ExtractionSettings.batch_size,
        metavar="N",
        help="number of images in a batch; auto finds the fastest size that fits into memory, and remembers it for the "
        "model and the device",
    )
    flags.add_argument(
        "-t",
        "--test-run",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="compute only the first batch, print its streams and the cost of a whole run, and store no states",
    )
    flags.add_argument(
        "--shard",
        type=shard,
        default=ExtractionSettings.shard,
        metavar="I/N",
        help="process only part I of N equal parts of the images, counted from 0 (default: 0/1)",
    )
    flags.add_argument(
        "--repair",
        action="store_true",
        help="first check all stored files of these prompts, and compute damaged ones again",
    )
    flags.add_argument(
        "--light",
        choices=("corrected", "stored"),
        help="pixels of NSD-synthetic, which are proportional to light: corrected to 255 sqrt(x / 255), as in ordinary "
        "pictures, or as stored (default: corrected)",
    )
    flags.add_argument("--checkpoint", type=Path, metavar="DIR", help="local folder with the model's weights")
    flags.add_argument(
        "--revision", metavar="NAME", help="commit, tag or branch of the model on the hub, instead of the script's own"
    )
    flags.add_argument(
        "--random-weights",
        type=seed,
        metavar="SEED",
        help="use the untrained model, with random initial weights; its states are stored as ORG/MODEL-random-SEED",
    )
    flags.add_argument(
        "--dtype",
        choices=shared.DTYPES,
        default="auto",
        help="number format; auto is float32 on the CPU, and on a GPU float16, or bfloat16 if the weights have it",
    )
    flags.add_argument("--quantize", choices=("8bit", "4bit"), help="quantise the weights with bitsandbytes")
    flags.add_argument(
        "--device-map",
        choices=("auto",),
        help="distribute a large model over all GPUs, then the CPU",
    )
    flags.add_argument(
        "--pooling",
        nargs="+",
        choices=POOLINGS,
        default=list(ExtractionSettings.poolings),
        help="tokens over which each layer is averaged",
    )
    flags.add_argument(
        "--response", action="store_true", help="also generate answers (greedily), and average over their tokens"
    )
    flags.add_argument("--max-new-tokens", type=positive_int, default=64, help="maximum length of an answer in tokens")
    return flags


def add_sites(flags: argparse.ArgumentParser) -> None:
    """Add the flags that select which states of each layer are stored."""
    flags.add_argument(
        "--sites",
        nargs="+",
        choices=SITES,
        default=[BLOCK],
        help="states to store of each layer: the residual stream after the layer (block), and the outputs of its "
        "attention and MLP, which are added to the residual stream",
    )
    flags.add_argument(
        "--heads", action="store_true", help="also store each attention head's output before the output projection"
    )


def selected_sites(arguments: argparse.Namespace) -> list[str]:
    """Return the selected sites in a fixed order."""
    return [*(site for site in SITES if site in arguments.sites), *([HEADS] if arguments.heads else [])]


def check_flags(arguments: argparse.Namespace) -> None:
    """Raise InputError if flags contradict each other."""
    if arguments.repair and arguments.test_run:
        raise InputError("--repair deletes damaged files, and --test-run would not compute them again: leave one out")
    if arguments.revision and arguments.checkpoint:
        raise InputError("--revision selects a version on the hub, --checkpoint a local folder: leave one out")
    if arguments.quantize and arguments.random_weights is not None:
        raise InputError("--quantize needs loaded weights, but --random-weights loads none: leave one out")


def read(
    parser: argparse.ArgumentParser, script_of: Callable[[argparse.Namespace], Any], words: Sequence[str] | None = None
) -> tuple[Any, ExtractionSettings]:
    """Return the model script and the settings that the flags describe, for a script that reads many models.

    script_of  function that makes the model script from the parsed flags
    words      words of a command line; None for the command line of this process
    """
    arguments = parser.parse_args(words)
    check_flags(arguments)
    arguments.model_id = resolved_model_id(dataset_flags.output_from(arguments), arguments.model_id)
    script = script_of(arguments)
    return script, settings(script, arguments)


def checkpoint(script, arguments: argparse.Namespace) -> Checkpoint:
    """Return the weights that the flags of a model script select.

    A model other than the script's own is loaded from the main branch of its repository on the hub.
    """
    model_id = script.MODEL_ID
    if arguments.model_id is not None:
        model_id = resolved_model_id(dataset_flags.output_from(arguments), arguments.model_id)
    return Checkpoint(
        model_id,
        arguments.revision or (script.REVISION if model_id == script.MODEL_ID else "main"),
        arguments.checkpoint,
        arguments.random_weights,
        arguments.quantize,
        arguments.device_map,
        getattr(script, "PARTS_ON_HUB", {}),
    )


def settings(script, arguments: argparse.Namespace) -> ExtractionSettings:
    """Turn the parsed flags of a model script into settings; raise InputError if a flag is wrong."""
    check_flags(arguments)
    dtype = arguments.dtype
    if dtype == "auto":
        dtype = "float32" if arguments.gpu_id == "cpu" else getattr(script, "GPU_DTYPE", "float16")
    return ExtractionSettings(
        base_dir=arguments.base_dir,
        dataset=arguments.dataset,
        output=dataset_flags.output_from(arguments),
        subjects=arguments.subject,
        checkpoint=checkpoint(script, arguments),
        template=getattr(script, "TEMPLATE", None),
        prompts=select_prompts(arguments.prompt_number, arguments.prompts_file),
        prompts_file=arguments.prompts_file,
        poolings=arguments.pooling,
        max_new_tokens=arguments.max_new_tokens if arguments.response else 0,
        dtype=dtype,
        dtype_given=arguments.dtype != "auto",
        device=arguments.gpu_id,
        batch_size=arguments.batch_size,
        shard=arguments.shard,
        repair=arguments.repair,
        test_run=arguments.test_run,
        light=arguments.light,
        suffix=getattr(script, "SUFFIX", ""),
    )
