"""Read prompts with a vision-language model whose encoder reads image and prompt, and whose decoder writes the answer.

The encoder attends in both directions, so that each prompt must be read together with the image. Letters: B images, T
tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from brain_activity_prediction.models import decoding
from brain_activity_prediction.models.pooling import PooledStates, choose, pooled
from brain_activity_prediction.models.thinking import first_answering
from brain_activity_prediction.models.vision_language.groups import Text
from brain_activity_prediction.models.vision_language.inputs import IDS, Reader
from brain_activity_prediction.models.vision_language.network import ANSWER_IDS
from brain_activity_prediction.models.vision_language.reading import Network, Prefix, cache_of, image_mask


def read_prompt(
    network: Network, reader: Reader, prefix: Prefix, text: Text, poolings: Sequence[str], max_new_tokens: int
) -> tuple[dict[str, PooledStates], list[list[int]]]:
    """Return the states of the encoder and of the decoder, pooled over a prompt, and each row's greedy answer.

    The decoder reads only the tokens that start an answer, so that its poolings are `mean` and, with an answer,
    `response`.
    """
    inputs = reader.whole(text, prefix.group)
    length = inputs[IDS].shape[1]
    tokens: dict[str, Any] = choose(poolings, mean=slice(None), last=slice(-1, None), prompt=text.prompt_tokens(length))
    if "image" in poolings:
        tokens["image"] = image_mask(reader, text, prefix.group, length)
    written = choose(poolings, mean=slice(None))
    if max_new_tokens:
        written["response"] = first_answering(reader.thinking)
    with (
        prefix.features.reused(),
        pooled(network.text_points["encoder"], tokens) as encoder,
        pooled(network.text_points["decoder"], written) as decoder,
    ):
        output = network.forward(inputs)
    if not max_new_tokens:
        return {"encoder": encoder, "decoder": decoder}, []
    decoder, answers = decoding.answer(
        decoding.Decoder(
            run=continued(network, encoder_outputs(output)),
            embed=lambda ids: ids,
            head=lambda logits: logits,
            points=network.text_points["decoder"],
            end_ids=network.end_ids,
            thinking=reader.thinking,
        ),
        cache_of(output),
        decoder,
        output.logits[:, -1],
        max_new_tokens,
    )
    return {"encoder": encoder, "decoder": decoder}, answers


def continued(network: Network, encoded):
    """Return the `run` of a `decoding.Decoder`, which reads more tokens of an answer and returns logits.

    If the public forward pass of a model does not accept the encoder's states, its text model is called instead.
    """
    model = network.model
    if "encoder_outputs" not in inspect.signature(model.forward).parameters:
        model = model.language_model
    return lambda ids, cache: (
        model(encoder_outputs=encoded, **{ANSWER_IDS: ids}, past_key_values=cache, use_cache=True).logits
    )


def encoder_outputs(output):
    """Return the encoder's last states from a forward pass, as an argument of the next pass."""
    from transformers.modeling_outputs import BaseModelOutput

    states = getattr(output, "encoder_last_hidden_state", None)
    if states is None:
        states = output.language_model_outputs.encoder_last_hidden_state
    return BaseModelOutput(last_hidden_state=states)
