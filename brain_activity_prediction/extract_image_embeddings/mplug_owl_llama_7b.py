"""mPLUG-Owl (version 1): CLIP ViT-L/14 at 224 pixels, an abstractor of 64 queries, and LLaMA-7B.

Streams: `vision`, the 25 hidden states of the CLIP tower; `abstractor`, the queries after each of 6 layers; `language`,
the 33 hidden states of LLaMA over the image's 65 tokens and the text; `response`, the hidden states of LLaMA during its
answer. Source: Ye et al. 2023, arXiv 2304.14178. The network is in models/mplug_owl.
"""

import sys

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.models import decoding
from brain_activity_prediction.models.pooling import Point, choose, layer_points, pooled

MODEL_ID = "MAGAer13/mplug-owl-llama-7b"
REVISION = "057b523159d015b6c32c3b1f0340821d97930e1b"
MODEL_TYPE = "mplug-owl"
# Without tokenizer.model, transformers makes a tokenizer of 3 words.
CHECKPOINT_FILES = ("config.json", "tokenizer.model")
TEMPLATE = (
    "The following is a conversation between a curious human and AI assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.\n"
    "Human: <image>\nHuman: {prompt}\nAI: "
)
IMAGE_STREAMS = {"vision": ("mean", "cls"), "abstractor": ("mean",), "language": ("image",)}
PROMPT_STREAMS = {"language": ("mean", "last", "prompt"), "response": ("mean",)}


def load(checkpoint, device, dtype):
    from brain_activity_prediction.models.mplug_owl.network import MplugOwl
    from brain_activity_prediction.models.mplug_owl.processing import MplugOwlProcessor

    model = checkpoint.model(MplugOwl, device, dtype)
    decoding.end_with(model.language_model, end_ids(checkpoint))
    size, queries = model.config.vision_config.image_size, model.config.num_query_tokens
    return model, MplugOwlProcessor(checkpoint.tokenizer(), image_size=size, image_tokens=queries + 1)


def prompt_ids(checkpoint, prompt):
    from brain_activity_prediction.models.mplug_owl.processing import MplugOwlProcessor

    processor = MplugOwlProcessor(checkpoint.tokenizer(), image_size=0, image_tokens=1)
    return processor.ids(TEMPLATE.format(prompt=prompt))


def contexts(checkpoint, prompt):
    from brain_activity_prediction.models.mplug_owl.network import MplugOwlConfig

    config = checkpoint.load(MplugOwlConfig)
    # The image takes one token more than the abstractor has queries.
    n_tokens = len(prompt_ids(checkpoint, prompt)) + config.num_query_tokens
    return [decoding.Context(n_tokens, decoding.positions(config.text_config))]


def end_ids(checkpoint):
    return checkpoint.end_ids()


def preprocess(processor, images):
    return processor.pixels(images)


def encode_images(model, processor, pixels, poolings):
    import torch

    vision_layers = layer_points(model.vision_model.encoder.layers)
    # The abstractor's input is left out, because its queries are the same for all images.
    abstractor_layers = [Point(layer) for layer in model.abstractor.encoder.layers]
    with (
        pooled(vision_layers, choose(poolings, mean=slice(None), cls=slice(0, 1))) as vision,
        pooled(abstractor_layers, choose(poolings, mean=slice(None))) as abstractor,
    ):
        image = model.encode_images(pixels)  # (B, 65, W)

    language = model.language_model.model
    decoder = decoding.Decoder(
        run=lambda inputs, cache: language(inputs_embeds=inputs, past_key_values=cache).last_hidden_state,
        embed=language.embed_tokens,
        head=model.language_model.lm_head,
        points=layer_points(language.layers, language.norm),
        end_ids=decoding.end_ids(model.language_model),
        positions=decoding.positions(language.config),
    )
    before, _, _ = processor.split_template(TEMPLATE, "")
    inputs = model.embed(torch.tensor([before] * len(image), device=image.device), image)
    tokens = choose(poolings, mean=slice(None), image=slice(-processor.image_tokens, None))
    prefix = decoding.read_prefix(decoder, inputs, tokens)
    streams = vision.streams("vision") | abstractor.streams("abstractor") | prefix.states.streams("language", ["image"])
    return streams, prefix


def prompt_tokens(model, processor, prefix, prompt):
    return decoding.tokens_read(processor.tokenizer, prefix, *processor.split_template(TEMPLATE, prompt))


def encode_prompt(model, processor, prefix, prompt, poolings, max_new_tokens):
    _, ids, own = processor.split_template(TEMPLATE, prompt)
    tokens = choose(poolings, mean=slice(None), last=slice(-1, None), prompt=own)
    states, answers = decoding.read_question(prefix, ids, tokens, max_new_tokens)
    streams = states.streams("language", [*PROMPT_STREAMS["language"], "response"])
    return streams, decoding.texts(processor.tokenizer, answers)


if __name__ == "__main__":
    extraction_command.main(sys.modules[__name__])
