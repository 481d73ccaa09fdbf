"""Any vision-language model of transformers, given by its id, with its own chat template.

Streams: `vision`, every layer of the vision tower; `projector`, the image features that enter the language model;
`language`, the embeddings and every layer of the language model, the last one after its final norm; `response`, the
same layers during the answer. Encoder-decoders have `encoder` and `decoder` instead of `language`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.cli.flag_values import positive_int
from brain_activity_prediction.extraction.loop import extract
from brain_activity_prediction.extraction.settings import ExtractionSettings
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script

MAX_THINKING_TOKENS = 1024


def flags() -> argparse.ArgumentParser:
    flags = extraction_command.flags(__doc__, required=True, help="model id, such as Qwen/Qwen2.5-VL-7B-Instruct")
    flags.add_argument(
        "--template",
        type=Path,
        metavar="FILE",
        help="text with {prompt} and the image's placeholder, or a chat template in Jinja, instead of the model's own",
    )
    flags.add_argument("--system", metavar="TEXT", help="system message, for chat templates that have one")
    flags.add_argument(
        "--thinking",
        choices=("off", "on"),
        default="off",
        help="let a model with a thinking mode think before it answers; `response` begins after the thinking "
        "(default: off)",
    )
    flags.add_argument(
        "--max-thinking-tokens",
        type=positive_int,
        metavar="N",
        help="maximum length of the thinking in tokens; a longer one is cut off and the answer begins (default: 1024)",
    )
    extraction_command.add_sites(flags)
    return flags


def main() -> None:
    extract(*read_flags())


def read_flags(words: Sequence[str] | None = None) -> tuple[SimpleNamespace, ExtractionSettings]:
    """Return the model script and the settings that the flags describe; `words` are None for the command line."""
    return extraction_command.read(flags(), script_of, words)


def script_of(given):
    from brain_activity_prediction.models.vision_language import model_script
    from brain_activity_prediction.models.vision_language.prompts import read_template

    checkpoint = extraction_command.checkpoint(SimpleNamespace(MODEL_ID=None, REVISION="main"), given)
    template = read_template(given.template) if given.template else None
    sites = extraction_command.selected_sites(given)
    return model_script.script(checkpoint, template, given.system, longest_thinking(given), sites)


def longest_thinking(given) -> int:
    """Return the maximum length of the thinking in tokens; 0 without thinking."""
    if given.thinking == "on":
        return given.max_thinking_tokens or MAX_THINKING_TOKENS
    if given.max_thinking_tokens:
        raise InputError("--max-thinking-tokens has an effect only with --thinking on: add this flag, or leave it out")
    return 0


if __name__ == "__main__":
    run_script(main)
