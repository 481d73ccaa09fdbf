"""CLIP's text tower on captions of the images: the text baseline of the study.

Stream: `text`, the hidden states from the embeddings to the last layer, before the final norm. They are averaged over a
caption's tokens, including start and end, or taken at its end-of-text token (`last`). Then they are averaged over the
captions of an image. Captions longer than the tower's context (77 tokens) are cut, but keep their end-of-text token.
`text_model.py` reads any text model, and can continue hidden states that this script began.
Source: Radford et al. 2021, arXiv 2103.00020.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.datasets.texts.captions import Captions
from brain_activity_prediction.extraction.loop import extract
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script

MODEL_ID = "openai/clip-vit-large-patch14"


def flags() -> argparse.ArgumentParser:
    flags = extraction_command.flags(__doc__, default=MODEL_ID, help="model id of a CLIP in transformers")
    flags.add_argument(
        "--captions", type=Path, required=True, metavar="FILE", help="CSV file of captions: nsd_id,caption"
    )
    return flags


def main() -> None:
    arguments = flags().parse_args()
    arguments.model_id = resolved_model_id(arguments.base_dir, arguments.model_id)
    captions = Captions(arguments.captions)
    clip = script(arguments.model_id, captions)
    extract(clip, extraction_command.settings(clip, arguments))


def script(model_id: str, captions: Captions) -> SimpleNamespace:
    """Return the model script of a CLIP, as `extraction.model_script` describes it."""
    from brain_activity_prediction.models.text import model_script

    return SimpleNamespace(
        MODEL_ID=model_id,
        REVISION="main",
        CHECKPOINT_FILES=("config.json", "tokenizer.json or vocab.json"),
        IMAGE_STREAMS={"text": ("mean", "last")},
        open_stimuli=lambda layout: nullcontext(captions),
        load=partial(load, captions=captions),
        preprocess=model_script.preprocess,
        encode_images=model_script.encode_images,
    )


def load(checkpoint, device, dtype, *, captions):
    from transformers import CONFIG_MAPPING

    from brain_activity_prediction.models.text import model_script

    kind = checkpoint.settings("config.json").get("model_type")
    if kind in CONFIG_MAPPING and kind not in ("clip", "clip_text_model"):
        raise InputError(f"{checkpoint.model_id} is not a CLIP but a {kind}: use text_model.py or another --model-id")
    return model_script.load(checkpoint, device, dtype, texts=captions)


if __name__ == "__main__":
    run_script(main)
