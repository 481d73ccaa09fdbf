"""OpenFlamingo-9B: CLIP ViT-L/14, a perceiver resampler, and MPT-7B with gated cross-attention to the image.

Streams: `vision`, the 25 hidden states of the CLIP tower; `perceiver`, the 64 latents after each of 6 layers;
`language`, the 33 hidden states of MPT over the image's token and the text; `response`, the hidden states of MPT during
its answer. The first 4 states of `language` precede all cross-attention and are the same for all images. The model
needs the extra [flamingo]; `models/openflamingo/weights.py` lists the files that `--checkpoint` needs. Source: Awadalla
et al. 2023, arXiv 2308.01390.
"""

import sys

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.models import decoding
from brain_activity_prediction.models.openflamingo import network, weights
from brain_activity_prediction.models.pooling import choose, layer_points, pooled
from brain_activity_prediction.runtime.errors import InputError

MODEL_ID = "openflamingo/OpenFlamingo-9B-vitl-mpt7b"
REVISION = "7e36809c73d038829ad5fba9d0cc949b4e180562"
CHECKPOINT_FILES, PARTS_ON_HUB = weights.FILES, weights.PARTS_ON_HUB
# The model was trained on "<image>text<|endofchunk|>". The authors use "<image>Question:... Short answer:".
# "Short" is omitted here, because some prompts ask for details.
TEMPLATE = "<image>Question:{prompt} Answer:"
IMAGE_STREAMS = {"vision": ("mean", "cls"), "perceiver": ("mean",), "language": ("image",)}
PROMPT_STREAMS = {"language": ("mean", "last", "prompt"), "response": ("mean",)}


def load(checkpoint, device, dtype):
    if checkpoint.folder is None and checkpoint.model_id != MODEL_ID:
        parts = ", ".join(CHECKPOINT_FILES)
        raise InputError(
            f"{checkpoint.model_id} does not tell which MPT and CLIP it needs: give --checkpoint DIR with {parts}"
        )
    model, processor = weights.load(checkpoint, dtype)
    return model.to(device), processor


def prompt_ids(checkpoint, prompt):
    weights.check(checkpoint)
    return weights.load_tokenizer(checkpoint)(TEMPLATE.format(prompt=prompt)).input_ids


def contexts(checkpoint, prompt):
    from transformers import MptConfig

    positions = decoding.positions(weights.mpt(checkpoint).load(MptConfig))
    return [decoding.Context(len(prompt_ids(checkpoint, prompt)), positions)]


def end_ids(checkpoint):
    return weights.end_ids(checkpoint)


def former_end_ids(checkpoint):
    """Return the token ids that ended an answer in version 1.0.0, which ignored the ids that MPT's files name."""
    return weights.end_of_chunk_ids(checkpoint)


def preprocess(processor, images):
    import torch

    return torch.stack([processor.transform(image) for image in images])


def encode_images(model, processor, pixels, poolings):
    import torch

    blocks, language = model.vision_encoder.transformer.resblocks, model.lang_encoder
    with (
        pooled(layer_points(blocks), choose(poolings, mean=slice(None), cls=slice(0, 1))) as vision,
        pooled(network.latent_points(model.perceiver), choose(poolings, mean=slice(None))) as perceiver,
    ):
        _, patches = model.vision_encoder(pixels)
        latents = model.perceiver(patches[:, None, None])  # (B, 1 image, 64, W) of (B, 1 image, 1 frame, 256, W)

    decoder = decoding.Decoder(
        run=network.reader(model, latents),
        embed=lambda ids: ids,  # MPT reads token ids; its cross-attention looks for the image token among them
        head=language.lm_head,
        points=layer_points(language.transformer.blocks, language.transformer.norm_f),
        end_ids=decoding.end_ids(language),
        positions=decoding.positions(language.config),
    )
    before, _, _ = decoding.split_template(processor.tokenizer, TEMPLATE, "", model.media_token_id)
    ids = torch.tensor([[*before, model.media_token_id]] * len(pixels), device=pixels.device)
    prefix = decoding.read_prefix(decoder, ids, choose(poolings, mean=slice(None), image=slice(len(before), None)))
    streams = vision.streams("vision") | perceiver.streams("perceiver") | prefix.states.streams("language", ["image"])
    return streams, prefix


def prompt_tokens(model, processor, prefix, prompt):
    split = decoding.split_template(processor.tokenizer, TEMPLATE, prompt, model.media_token_id)
    return decoding.tokens_read(processor.tokenizer, prefix, *split)


def encode_prompt(model, processor, prefix, prompt, poolings, max_new_tokens):
    tokenizer = processor.tokenizer
    _, ids, own = decoding.split_template(tokenizer, TEMPLATE, prompt, model.media_token_id)
    tokens = choose(poolings, mean=slice(None), last=slice(-1, None), prompt=own)
    states, answers = decoding.read_question(prefix, ids, tokens, max_new_tokens)
    streams = states.streams("language", [*PROMPT_STREAMS["language"], "response"])
    return streams, decoding.texts(tokenizer, answers)


if __name__ == "__main__":
    extraction_command.main(sys.modules[__name__])
