"""InstructBLIP-13B: EVA-CLIP ViT-g/14, a Q-Former that also reads the instruction, and Vicuna-13B.

Streams: `vision`, the 40 hidden states of the ViT; `qformer`, the 13 hidden states of the Q-Former over its 32 queries
and the instruction's text; `language`, the 41 hidden states of Vicuna over the 32 image tokens and the text;
`response`, the hidden states of Vicuna during its answer. The first state of the Q-Former precedes all attention and is
the same for all images. The pooling `image` averages over the 32 queries in the Q-Former, and over the 32 image tokens
in Vicuna. Source: Dai et al. 2023, arXiv 2305.06500.
"""

import sys

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.models import decoding
from brain_activity_prediction.models.pooling import choose, layer_points, pooled
from brain_activity_prediction.models.prompt_tokens import PromptTokens

MODEL_ID = "Salesforce/instructblip-vicuna-13b"
REVISION = "main"  # not pinned: the full id of its last commit (cc1362c) is in no public record that was found
MODEL_TYPE = "instructblip"
TEMPLATE = "{prompt}"  # read by the Q-Former and, after the 32 image tokens and <s>, by Vicuna
QFORMER = "qformer_tokenizer"  # subfolder with the Q-Former's tokenizer
IMAGE_STREAMS = {"vision": ("mean", "cls")}
PROMPT_STREAMS = {
    "qformer": ("mean", "image", "prompt"),
    "language": ("mean", "last", "image", "prompt"),
    "response": ("mean",),
}


def load(checkpoint, device, dtype):
    from transformers import BlipImageProcessorPil, InstructBlipForConditionalGeneration

    model = checkpoint.model(InstructBlipForConditionalGeneration, device, dtype)
    decoding.end_with(model.language_model, end_ids(checkpoint))
    # The class is given here, because the settings of the 7B model name a class for videos.
    images = checkpoint.processor(BlipImageProcessorPil)
    return model, decoding.Processor(images, checkpoint.tokenizer(), checkpoint.tokenizer(QFORMER))


def prompt_ids(checkpoint, prompt):
    text = TEMPLATE.format(prompt=prompt)
    return [*checkpoint.tokenizer(QFORMER)(text).input_ids, *checkpoint.tokenizer()(text).input_ids]


def contexts(checkpoint, prompt):
    """Return the contexts of Q-Former and Vicuna; the queries take positions in Vicuna only."""
    from transformers import InstructBlipConfig

    config, text = checkpoint.load(InstructBlipConfig), TEMPLATE.format(prompt=prompt)
    read, asked = (len(checkpoint.tokenizer(part)(text).input_ids) for part in (QFORMER, ""))
    return [
        decoding.Context(read, decoding.positions(config.qformer_config), "Q-Former", answers=False),
        decoding.Context(config.num_query_tokens + asked, decoding.positions(config.get_text_config())),
    ]


def end_ids(checkpoint):
    return checkpoint.end_ids()


def preprocess(processor, images):
    return processor.image_processor(images, return_tensors="pt").pixel_values


def encode_images(model, processor, pixels, poolings):
    tower = model.vision_model
    with pooled(layer_points(tower.encoder.layers), choose(poolings, mean=slice(None), cls=slice(0, 1))) as vision:
        patches = tower(pixels).last_hidden_state  # (B, 257, W)
    return vision.streams("vision"), patches


def prompt_tokens(model, processor, patches, prompt):
    """Return the tokens of Q-Former and Vicuna, each after the 32 queries."""
    queries = [None] * model.query_tokens.shape[1]

    def read(stream, tokenizer, poolings, answers):
        ids, own = decoding.tokenise(tokenizer, TEMPLATE, prompt)
        image = [True] * len(queries) + [False] * len(ids)
        own = decoding.shifted(own, len(queries))
        return PromptTokens(stream, tokenizer, [*queries, *ids], image, own, poolings, answers)

    return [
        read("qformer", processor.reader, PROMPT_STREAMS["qformer"], False),
        read("language", processor.tokenizer, PROMPT_STREAMS["language"], True),
    ]


def encode_prompt(model, processor, patches, prompt, poolings, max_new_tokens):
    import torch

    queries, language = model.query_tokens.expand(len(patches), -1, -1), model.language_model
    n_queries = queries.shape[1]

    def rows(tokenizer):
        """Return the prompt's token ids, once for each image, and the slice of the prompt's text after the queries."""
        ids, own = decoding.tokenise(tokenizer, TEMPLATE, prompt)
        return torch.tensor([ids] * len(patches), device=patches.device), decoding.shifted(own, n_queries)

    ids, own = rows(processor.reader)
    tokens = choose(poolings, mean=slice(None), image=slice(n_queries), prompt=own)
    with pooled(layer_points(model.qformer.encoder.layer), tokens) as qformer:
        read = model.qformer(input_ids=ids, query_embeds=queries, encoder_hidden_states=patches).last_hidden_state
    image = model.language_projection(read[:, :n_queries])

    decoder = decoding.Decoder(
        run=lambda inputs, cache: language.model(inputs_embeds=inputs, past_key_values=cache).last_hidden_state,
        embed=language.model.embed_tokens,
        head=language.lm_head,
        points=layer_points(language.model.layers, language.model.norm),
        end_ids=decoding.end_ids(language),
        positions=decoding.positions(language.config),
    )
    ids, own = rows(processor.tokenizer)
    tokens = choose(poolings, mean=slice(None), last=slice(-1, None), image=slice(n_queries), prompt=own)
    inputs = torch.cat([image, decoder.embed(ids)], dim=1)
    states, answers = decoding.read_prompt(decoder, inputs, tokens, max_new_tokens)
    streams = qformer.streams("qformer") | states.streams("language")
    return streams, decoding.texts(processor.tokenizer, answers)


if __name__ == "__main__":
    extraction_command.main(sys.modules[__name__])
