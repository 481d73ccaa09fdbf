"""CLIP's text tower on captions of the images: the text baseline of the study.

Stream: `text`, the hidden states from the embeddings to the last layer, before the final norm. They are averaged over a
caption's tokens, including start and end, or taken at its end-of-text token (`last`), and then averaged over the
captions of an image. Captions longer than the tower's context (77 tokens) are cut, but keep their end-of-text token.
Source: Radford et al. 2021, arXiv 2103.00020.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.datasets.captions import Captions
from brain_activity_prediction.extraction.loop import extract
from brain_activity_prediction.models.pooling import choose, layer_points, pooled
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script

if TYPE_CHECKING:
    from torch import Tensor

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
    model_script = script(arguments.model_id, captions)
    extract(model_script, extraction_command.settings(model_script, arguments))


def script(model_id: str, captions: Captions) -> SimpleNamespace:
    """Return the model script of a CLIP, as `extraction.model_script` describes it."""
    return SimpleNamespace(
        MODEL_ID=model_id,
        REVISION="main",
        CHECKPOINT_FILES=("config.json", "tokenizer.json or vocab.json"),
        IMAGE_STREAMS={"text": ("mean", "last")},
        open_stimuli=lambda layout: nullcontext(captions),
        load=partial(load, captions=captions),
        preprocess=preprocess,
        encode_images=encode_images,
    )


def load(checkpoint, device, dtype, *, captions):
    from transformers import AutoModel

    model = checkpoint.model(AutoModel, device, dtype)
    model = getattr(model, "text_model", model)
    if model.config.model_type != "clip_text_model":
        raise InputError(f"{checkpoint.model_id} is no CLIP, but a {model.config.model_type}: give another --model-id")
    tokenizer = checkpoint.tokenizer()
    tokenizer.model_max_length = model.config.max_position_embeddings
    texts = [text for texts in captions.by_image.values() for text in texts]
    n_cut = sum(len(ids) > tokenizer.model_max_length for ids in tokenizer(texts, verbose=False).input_ids)
    if n_cut:
        log.warning(f"{n_cut} of {len(texts)} captions are cut to {tokenizer.model_max_length} tokens")
    return model, tokenizer


def preprocess(tokenizer, captions):
    """Return token ids and mask of all captions, padded to the longest, and each caption's row in the batch of images.

    returns  ids (C, T), mask (C, T) and rows (C,) for C captions of T tokens
    """
    import torch
    from transformers import BatchFeature

    texts = [text for texts in captions for text in texts]
    image = torch.tensor([row for row, texts in enumerate(captions) for _ in texts])
    return BatchFeature({**tokenizer(texts, padding=True, truncation=True, return_tensors="pt"), "image": image})


def encode_images(model, tokenizer, inputs, poolings):
    mask = inputs["attention_mask"]
    last = mask * (mask.flip(1).cumsum(1).flip(1) == 1)
    with pooled(layer_points(model.encoder.layers), choose(poolings, mean=mask, last=last)) as text:
        model(inputs["input_ids"], attention_mask=mask)
    return {name: mean_by_image(states, inputs["image"]) for name, states in text.streams("text").items()}, None


def mean_by_image(states: Tensor, image: Tensor) -> Tensor:
    """Average the states of captions (C, L, W) over the captions of each image: (B, L, W)."""
    counts = image.bincount()
    sums = states.new_zeros(len(counts), *states.shape[1:]).index_add_(0, image, states)
    return sums / counts[:, None, None]


if __name__ == "__main__":
    run_script(main)
