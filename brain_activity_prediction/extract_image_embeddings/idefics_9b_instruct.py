"""IDEFICS-9B-instruct: CLIP ViT-H/14, a perceiver resampler, and LLaMA-7B with gated cross-attention to the image.

Streams: `vision`, the 33 hidden states of the CLIP tower; `perceiver`, the 64 latents after each of 6 layers;
`language`, the 33 hidden states of LLaMA over the image's token and the text, the first of which follows the first
cross-attention; `response`, the hidden states of LLaMA during its answer. Source: Laurencon et al. 2023, arXiv
2306.16527.
"""

import sys

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.models import decoding
from brain_activity_prediction.models.pooling import Point, choose, layer_points, pooled

MODEL_ID = "HuggingFaceM4/idefics-9b-instruct"
REVISION = "fb6c1039beaf5443dde54202cbd593d9332dd184"
MODEL_TYPE = "idefics"
END_OF_TURN = "<end_of_utterance>"
NEVER_ANSWERED = ("<image>", "<fake_token_around_image>")  # tokens that answers may not contain, as in the model card
TOKENS = ("<s>", END_OF_TURN, *NEVER_ANSWERED)
TEMPLATE = f"<s>User:<fake_token_around_image><image><fake_token_around_image>{{prompt}}{END_OF_TURN}\nAssistant:"
IMAGE_STREAMS = {"vision": ("mean", "cls"), "perceiver": ("mean",), "language": ("image",)}
PROMPT_STREAMS = {"language": ("mean", "last", "prompt"), "response": ("mean",)}


def load(checkpoint, device, dtype):
    from transformers import AutoImageProcessor, IdeficsForVisionText2Text

    model = checkpoint.model(IdeficsForVisionText2Text, device, dtype)
    decoding.end_with(model, end_ids(checkpoint))
    return model, decoding.Processor(checkpoint.processor(AutoImageProcessor), checkpoint.tokenizer(needs=TOKENS))


def prompt_ids(checkpoint, prompt):
    return checkpoint.tokenizer(needs=TOKENS)(TEMPLATE.format(prompt=prompt), add_special_tokens=False).input_ids


def contexts(checkpoint, prompt):
    from transformers import IdeficsConfig

    positions = decoding.positions(checkpoint.load(IdeficsConfig))
    return [decoding.Context(len(prompt_ids(checkpoint, prompt)), positions)]


def end_ids(checkpoint):
    return checkpoint.end_ids(END_OF_TURN)


def preprocess(processor, images):
    return processor.image_processor(images, return_tensors="pt")


def latent_points(perceiver):
    """Return the points of the network that give the latents after each layer; the last point follows the norm.

    The input of the first layer is left out, because it is the same for all images.
    """
    entering = [Point(attention.latents_layer_norm, "input") for attention, _ in perceiver.blocks]
    return [*entering[1:], Point(perceiver.layer_norm)]


def encode_images(model, processor, pixels, poolings):
    import torch

    network, tokenizer = model.model, processor.tokenizer
    tower, perceiver = network.vision_model, network.perceiver_resampler
    with (
        pooled(layer_points(tower.encoder.layers), choose(poolings, mean=slice(None), cls=slice(0, 1))) as vision,
        pooled(latent_points(perceiver), choose(poolings, mean=slice(None))) as latents,
    ):
        image = perceiver(tower(pixels).last_hidden_state)[:, None]  # (B, 1 image, 64, W)

    before, _, _ = split(processor, "")
    barred = torch.tensor(tokenizer.convert_tokens_to_ids(list(NEVER_ANSWERED)), device=pixels.device)

    def run(inputs, cache):
        seen, (rows, new, _) = cache.get_seq_length(), inputs.shape
        # Tokens before the image token attend to no image.
        attends = torch.arange(seen, seen + new, device=inputs.device) >= len(before)
        return network(
            inputs_embeds=inputs,
            past_key_values=cache,
            perceiver_embeddings=image,
            image_attention_mask=attends[None, :, None].expand(rows, -1, -1),
        ).last_hidden_state

    decoder = decoding.Decoder(
        run=run,
        embed=network.embed_tokens,
        head=lambda hidden: model.lm_head(hidden).index_fill(-1, barred, -torch.inf),
        points=layer_points(network.layers, network.norm),
        end_ids=decoding.end_ids(model),
        positions=decoding.positions(network.config),
    )
    ids = torch.tensor([[*before, image_token_id(processor)]] * len(pixels), device=pixels.device)
    tokens = choose(poolings, mean=slice(None), image=slice(len(before), None))
    prefix = decoding.read_prefix(decoder, network.embed_tokens(ids), tokens)
    streams = vision.streams("vision") | latents.streams("perceiver") | prefix.states.streams("language", ["image"])
    return streams, prefix


def prompt_tokens(model, processor, prefix, prompt):
    return decoding.tokens_read(processor.tokenizer, prefix, *split(processor, prompt))


def encode_prompt(model, processor, prefix, prompt, poolings, max_new_tokens):
    _, ids, own = split(processor, prompt)
    tokens = choose(poolings, mean=slice(None), last=slice(-1, None), prompt=own)
    states, answers = decoding.read_question(prefix, ids, tokens, max_new_tokens)
    streams = states.streams("language", [*PROMPT_STREAMS["language"], "response"])
    return streams, decoding.texts(processor.tokenizer, answers)


def split(processor, prompt):
    """Split the prompt with `decoding.split_template`; <s> is in the template, so the tokenizer does not add it."""
    return decoding.split_template(processor.tokenizer, TEMPLATE, prompt, image_token_id(processor), False)


def image_token_id(processor):
    return processor.tokenizer.convert_tokens_to_ids("<image>")


if __name__ == "__main__":
    extraction_command.main(sys.modules[__name__])
