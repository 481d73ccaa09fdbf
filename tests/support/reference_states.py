"""Hidden states and answers of transformers for an image and a prompt, with which the scripts' streams are compared.

Every prompt is computed from the start in one forward pass without a cache, and all hidden states are kept.

Letters: B images, L layers, T tokens, W width.
"""

from dataclasses import dataclass, field

import torch

IMAGE = "<image>"


@dataclass
class Reference:
    """Hidden states (B, L, T, W) by stream, and the token positions of each pooling of a stream.

    `inputs` are the inputs of `model.generate`, and `settings` its other arguments on the model card.
    """

    states: dict
    tokens: dict
    inputs: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)

    def pooled(self):
        """Return `{stream: (B, L, W)}`, and the scale of each layer's states, (L, 1), with the same keys."""
        means, scales = {}, {}
        for stream, poolings in self.tokens.items():
            for pooling, positions in poolings.items():
                name = stream if pooling == "mean" else f"{stream}_{pooling}"
                means[name] = self.states[stream][:, :, positions].mean(dim=2)
                scales[name] = self.states[stream].abs().amax(dim=(0, 2, 3))[:, None]
        return means, scales


def processor(folder):
    """Return transformers' own processor of a saved model; for IDEFICS, its tokenizer is `tokenizer.json` itself."""
    from transformers import AutoImageProcessor, AutoProcessor, IdeficsProcessor, PreTrainedTokenizerFast

    images = AutoImageProcessor.from_pretrained(folder, backend="pil")
    if type(images).__name__.startswith("ViT"):
        return images
    if type(images).__name__.startswith("Idefics"):
        return IdeficsProcessor(images, PreTrainedTokenizerFast.from_pretrained(folder))
    return AutoProcessor.from_pretrained(folder, backend="pil")


ALL, FIRST, LAST = slice(None), [0], [-1]
TOWER = {"mean": ALL, "cls": FIRST}


def vit(model, processor, images, prompt):
    pixels = processor(images, return_tensors="pt").pixel_values
    return Reference({"vision": stacked(model(pixels, output_hidden_states=True).hidden_states)}, {"vision": TOWER})


def llava(model, processor, images, prompt):
    text = [f"USER: <image>\n{prompt} ASSISTANT:"] * len(images)
    inputs = processor(text=text, images=images, return_tensors="pt")
    ids = inputs.input_ids[0]
    features = model.get_image_features(inputs.pixel_values, output_hidden_states=True)
    states = {
        "vision": stacked(features.hidden_states),
        "language": stacked(model(**inputs, output_hidden_states=True).hidden_states),
    }
    language = {"mean": ALL, "last": LAST, "image": ids == model.config.image_token_id}
    language["prompt"] = tokens_of(prompt, ids, processor.tokenizer)
    return Reference(states, {"vision": TOWER, "language": language}, inputs)


def instruct_blip(model, processor, images, prompt):
    inputs = processor(images=images, text=[prompt] * len(images), return_tensors="pt")
    read = {name: inputs[name] for name in ("pixel_values", "qformer_input_ids", "qformer_attention_mask")}
    features = model.get_image_features(**read, output_hidden_states=True)
    language = model(**inputs, output_hidden_states=True).language_model_outputs
    states = {
        "vision": stacked(features.vision_outputs.hidden_states),
        "qformer": stacked(features.qformer_outputs.hidden_states),
        "language": stacked(language.hidden_states),
    }
    n_queries, ids = processor.num_query_tokens, inputs.input_ids[0]
    asked = tokens_of(prompt, inputs.qformer_input_ids[0], processor.qformer_tokenizer)
    tokens = {
        "vision": TOWER,
        "qformer": {"mean": ALL, "image": slice(n_queries), "prompt": [n_queries + token for token in asked]},
        "language": {
            "mean": ALL,
            "last": LAST,
            "image": ids == model.config.image_token_id,
            "prompt": tokens_of(prompt, ids, processor.tokenizer),
        },
    }
    return Reference(states, tokens, inputs)


def idefics(model, processor, images, prompt):
    # The prompt format and generation settings on the model card of idefics-9b-instruct.
    turns = [["User:", image, f"{prompt}<end_of_utterance>", "\nAssistant:"] for image in images]
    inputs = processor(text=turns, add_end_of_utterance_token=False, return_tensors="pt")
    tokenizer = processor.tokenizer
    ids = inputs.input_ids[0]
    vision, latents = idefics_towers(model.model, inputs.pixel_values[:, 0])
    states = {
        "vision": vision,
        "perceiver": latents,
        "language": stacked(model(**inputs, output_hidden_states=True).hidden_states),
    }
    language = {"mean": ALL, "last": LAST, "image": ids == processor.image_token_id}
    language["prompt"] = tokens_of(prompt, ids, tokenizer)
    settings = {
        "eos_token_id": [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end_of_utterance>")],
        "bad_words_ids": [[tokenizer.convert_tokens_to_ids(name)] for name in (IMAGE, "<fake_token_around_image>")],
    }
    return Reference(states, {"vision": TOWER, "perceiver": {"mean": ALL}, "language": language}, inputs, settings)


def idefics_towers(network, pixels):
    """Compute the tower and the perceiver step by step, because neither returns its hidden states."""
    tower, perceiver = network.vision_model, network.perceiver_resampler
    states = [tower.pre_layrnorm(tower.embeddings(pixels))]
    for layer in tower.encoder.layers:
        states.append(layer(states[-1], attention_mask=None))
    latents = [perceiver.latents.expand(len(pixels), -1, -1)]
    for attention, mlp in perceiver.blocks:
        attended = attention(states[-1], latents[-1]) + latents[-1]
        latents.append(mlp(attended) + attended)
    torch.testing.assert_close(states[-1], tower(pixels).last_hidden_state)
    return stacked(states), stacked([*latents[1:-1], perceiver(states[-1])])


def generated(model, reference, max_new_tokens):
    """Return each row's greedy answer by `model.generate`: its ids without the end, and their mean states (B, L, W)."""
    settings = {"output_hidden_states": True, "return_dict_in_generate": True, "do_sample": False}
    settings |= reference.settings
    output = model.generate(**reference.inputs, **settings, max_new_tokens=max_new_tokens)
    new = output.sequences[:, -len(output.hidden_states) :].tolist()
    steps = torch.stack([stacked(step)[:, :, -1] for step in output.hidden_states], dim=2)  # (B, L, T, W)
    ends = reference.settings.get("eos_token_id") or end_ids(model)
    lengths = [next((step for step, token in enumerate(row) if token in ends), len(row)) for row in new]
    # The prediction of the end token is included, padding after it is not.
    means = [steps[row, :, : length + 1].mean(dim=1) for row, length in enumerate(lengths)]
    return [row[:length] for row, length in zip(new, lengths, strict=True)], torch.stack(means)


def speaker(model):
    """Return the part of a model whose generation settings `generate` uses."""
    return model.language_model if hasattr(model, "qformer") else model


def end_ids(model):
    ends = speaker(model).generation_config.eos_token_id
    return ends if isinstance(ends, list) else [ends]


def tokens_of(prompt, ids, tokenizer):
    """Return the positions of the shortest run of tokens that is the prompt, ignoring case and spaces."""
    wanted = bare(prompt)
    for length in range(1, len(ids) + 1):
        for start in range(len(ids) - length + 1):
            if bare(tokenizer.decode(ids[start : start + length])) == wanted:
                return list(range(start, start + length))
    raise AssertionError(f"{prompt!r} is not in {tokenizer.decode(ids)!r}")


def bare(text):
    return "".join(text.lower().split())


def stacked(hidden_states):
    """Stack L tensors (B, T, W) to one, (B, L, T, W)."""
    return torch.stack(list(hidden_states), dim=1)
