"""The interface of a model script.

A model script is a module (or any namespace) with the constants

    MODEL_ID, REVISION   the model on the Hugging Face hub and its pinned commit
    IMAGE_STREAMS        {stream: possible poolings} of the streams that do not depend on a prompt; (None,) for a stream
                         that has one vector for each image and therefore no pooling

and the functions below. A batch has B images, a stream has L layers of width W:

    load(checkpoint, device, dtype) -> model, processor
    preprocess(processor, images) -> pixels            B PIL images to one tensor (B, ...); called in other threads
    encode_images(model, processor, pixels, poolings) -> streams, context                          once per batch
    encode_prompt(model, processor, context, prompt, poolings, max_new_tokens) -> streams, answers    once per prompt

`streams` is `{name: (B, L, W)}`. `context` is anything that `encode_prompt` needs from `encode_images`. `answers` are B
texts or an empty list.

A script whose model reads prompts also has `encode_prompt`, TEMPLATE, PROMPT_STREAMS and three functions that need no
weights:

    prompt_ids(checkpoint, prompt) -> token ids of the whole prompt, template included
    end_ids(checkpoint) -> token ids that end an answer
    contexts(checkpoint, prompt) -> a `decoding.Context` for each text model that reads the prompt

Optional are

    MODEL_TYPE           the `model_type` that config.json must name
    GPU_DTYPE            the number format on a GPU if the user selects none (default: float16)
    SUFFIX               text that is added to the model id in the name under which the states are stored
    ANSWER_SETTINGS      more settings that change this model's answers
    CHECKPOINT_FILES     patterns of the files that `--checkpoint` needs (default: config.json)
    PARTS_ON_HUB         `{subfolder of a checkpoint: (model id, revision)}` of parts in other repositories of the hub
    open_stimuli(dataset) -> a `datasets.dataset.Images` for a model that reads something other than the dataset's
                         pictures; `preprocess` gets the results of its `images`
    own_settings(checkpoint) -> more settings that change this model's hidden states
    former_end_ids(checkpoint) -> token ids that ended an answer in version 1.0.0, if `end_ids` now returns others
    prompt_tokens(model, processor, context, prompt) -> a `PromptTokens` for each text model that reads the prompt,
                         together with the first image of the batch; a test run prints them
    IMPLIED              the values of `own_settings` that version 1.0.0 used and did not record
"""

from __future__ import annotations

from collections.abc import Sequence

from brain_activity_prediction.datasets.dataset import Dataset, Images


def open_stimuli(script, dataset: Dataset) -> Images:
    """Open the stimuli that the model reads: the dataset's pictures, unless the script has its own `open_stimuli`."""
    return script.open_stimuli(dataset) if hasattr(script, "open_stimuli") else dataset.open_images()


def checkpoint_files(script) -> Sequence[str]:
    """Return the patterns of the files that `--checkpoint` needs."""
    return getattr(script, "CHECKPOINT_FILES", ("config.json",))
