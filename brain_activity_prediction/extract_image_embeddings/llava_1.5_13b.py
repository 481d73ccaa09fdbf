"""LLaVA-1.5-13B: CLIP ViT-L/14 at 336 pixels, a two-layer projector, and Vicuna-13B.

Streams: `vision`, the 25 hidden states of the CLIP tower; `language`, the 41 hidden states of Vicuna over the 576 image
tokens and the text; `response`, the hidden states of Vicuna during its answer. Source: Liu et al. 2023, arXiv
2310.03744.
"""

import sys

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.models import decoding
from brain_activity_prediction.models.pooling import choose, layer_points, pooled

MODEL_ID = "llava-hf/llava-1.5-13b-hf"
REVISION = "5dda2880bda009266dda7c4baff660b95ca64540"
MODEL_TYPE = "llava"
IMAGE = "<image>"
TEMPLATE = "USER: <image>\n{prompt} ASSISTANT:"
IMAGE_STREAMS = {"vision": ("mean", "cls"), "language": ("image",)}
PROMPT_STREAMS = {"language": ("mean", "last", "prompt"), "response": ("mean",)}


def load(checkpoint, device, dtype):
    from transformers import AutoImageProcessor, LlavaForConditionalGeneration

    model = checkpoint.model(LlavaForConditionalGeneration, device, dtype)
    decoding.end_with(model, end_ids(checkpoint))
    return model, decoding.Processor(checkpoint.processor(AutoImageProcessor), checkpoint.tokenizer(needs=[IMAGE]))


def prompt_ids(checkpoint, prompt):
    return checkpoint.tokenizer(needs=[IMAGE])(TEMPLATE.format(prompt=prompt)).input_ids


def contexts(checkpoint, prompt):
    """Return Vicuna's context; the tower's patch tokens, and its class token if kept, replace the image token."""
    from transformers import LlavaConfig

    config = checkpoint.load(LlavaConfig)
    vision = config.vision_config
    has_class_token = vision.model_type == "clip_vision_model"
    places = (vision.image_size // vision.patch_size) ** 2 + has_class_token
    places -= config.vision_feature_select_strategy == "default"
    n_tokens = len(prompt_ids(checkpoint, prompt)) - 1 + places
    return [decoding.Context(n_tokens, decoding.positions(config.get_text_config()))]


def end_ids(checkpoint):
    return checkpoint.end_ids()


def preprocess(processor, images):
    return processor.image_processor(images, return_tensors="pt").pixel_values


def encode_images(model, processor, pixels, poolings):
    import torch

    tower, language = model.model.vision_tower, model.model.language_model
    with pooled(layer_points(tower.encoder.layers), choose(poolings, mean=slice(None), cls=slice(0, 1))) as vision:
        image = torch.stack(model.get_image_features(pixels).pooler_output)  # (B, 576, W)

    decoder = decoding.Decoder(
        run=lambda inputs, cache: language(inputs_embeds=inputs, past_key_values=cache).last_hidden_state,
        embed=language.embed_tokens,
        head=model.lm_head,
        points=layer_points(language.layers, language.norm),
        end_ids=decoding.end_ids(model),
        positions=decoding.positions(language.config),
    )
    before, _, _ = split(processor, "")
    text = language.embed_tokens(torch.tensor([before] * len(image), device=image.device))
    tokens = choose(poolings, mean=slice(None), image=slice(len(before), None))
    prefix = decoding.read_prefix(decoder, torch.cat([text, image], dim=1), tokens)
    return {**vision.streams("vision"), **prefix.states.streams("language", ["image"])}, prefix


def prompt_tokens(model, processor, prefix, prompt):
    return decoding.tokens_read(processor.tokenizer, prefix, *split(processor, prompt))


def encode_prompt(model, processor, prefix, prompt, poolings, max_new_tokens):
    _, ids, own = split(processor, prompt)
    tokens = choose(poolings, mean=slice(None), last=slice(-1, None), prompt=own)
    states, answers = decoding.read_question(prefix, ids, tokens, max_new_tokens)
    streams = states.streams("language", [*PROMPT_STREAMS["language"], "response"])
    return streams, decoding.texts(processor.tokenizer, answers)


def split(processor, prompt):
    """Return the token ids before and after the image, and the slice of the latter that is the prompt's text."""
    tokenizer = processor.tokenizer
    return decoding.split_template(tokenizer, TEMPLATE, prompt, tokenizer.convert_tokens_to_ids(IMAGE))


if __name__ == "__main__":
    extraction_command.main(sys.modules[__name__])
