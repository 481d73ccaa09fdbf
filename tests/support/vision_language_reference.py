"""Hidden states and answers of transformers itself: one image at a time, from the start, without a cache.

Letters: B images, L layers, T tokens, W width.
"""

import inspect

import torch

TILES = "aspect_ratio_mask"  # an input of Mllama's


def inputs_of(processor, text, image):
    """Return the inputs that transformers' `apply_chat_template` makes from a rendered text and its image."""
    bos = processor.tokenizer.bos_token
    settings = {"add_special_tokens": False} if bos and text.startswith(bos) else {}
    if type(processor).__name__ == "Cosmos3EdgeProcessor":
        settings["return_mm_token_type_ids"] = True
    images = [[image]] if getattr(processor, "chat_template", None) else image
    inputs = processor(text=text, images=images, return_tensors="pt", **settings)
    inputs.pop("labels", None)  # PaliGemma's, for training
    return inputs.to(torch.float32)  # Llama 4's processor gives bfloat16


def language(model, inputs, places):
    """Return the mean of each layer's states over some positions, (L, W), and the layers' scales, (L, 1)."""
    output = model(**inputs, output_hidden_states=True)
    output = output if "hidden_states" in output else output.language_model_outputs  # InstructBLIP's
    states = torch.stack([layer[0] for layer in output.hidden_states])  # (L, T, W)
    return states[:, places].mean(dim=1), states.abs().amax(dim=(1, 2))[:, None]


def tower(model, inputs):
    """Return the mean of each layer of the vision tower over all tokens, (L, W), from the tower's own `hidden_states`.

    Padding is left out. So is the last state if the tower returns merged patches instead.
    """
    if TILES in inputs:
        return torch.stack([layer.mean(dim=0) for layer in tiles(model, inputs)[0]])
    owner = getattr(model, "model", model)
    if hasattr(getattr(owner, "vision_tower", None), "encoder_layers"):
        return folded(owner.vision_tower, inputs["pixel_values"])
    if network := getattr(getattr(owner, "vision_tower", None), "timm_model", None):
        return timm_tower(network, inputs["pixel_values"].flatten(0, -4))
    vision = getattr(owner, "vision_model", None) or getattr(getattr(model, "git", None), "image_encoder", None)
    features = getattr(owner, "get_image_features", vision)
    if "qformer_input_ids" in inputs:  # the features read the prompt, the tower does not
        features = vision
    taken = inspect.signature(features.forward if features is vision else features).parameters
    taken = {name: inputs[name] for name in inputs if name in taken and name != "attention_mask"}  # of the text
    if features is vision and "pixel_values" in taken and taken["pixel_values"].ndim == 5:  # IDEFICS's images of a text
        taken["pixel_values"] = taken["pixel_values"].flatten(0, 1)
    output = features(**taken, output_hidden_states=True)
    if (local := inputs.get("pixel_values_local")) is not None:  # further tiles, which the tower sees by themselves
        more = model.get_encoder("image")(local, output_hidden_states=True).hidden_states
        views = zip(output.hidden_states, more, strict=True)
        return torch.stack([torch.cat([view.flatten(0, 1) for view in layer]).mean(dim=0) for layer in views])
    if "flattened_patches" in taken:
        layers = encoder_states(vision, taken["flattened_patches"])
    else:
        layers = output.hidden_states or shortened(vision, taken["pixel_values"])
    own = own_patches(model, inputs)
    states = [layer.reshape(-1, layer.shape[-1]) for layer in layers]
    states = [layer for layer in states if layer.shape == states[0].shape]
    return torch.stack([(layer if own is None else layer[own.flatten()]).mean(dim=0) for layer in states])


def own_patches(model, inputs):
    """Return which patches of all tiles belong to the image; None if the processor adds no padding."""
    if "flattened_patches" in inputs:
        return inputs["flattened_patches"].sum(dim=-1) != 0  # as KOSMOS-2.5's own mask
    if "image_position_ids" in inputs:
        return inputs["image_position_ids"][..., 0] >= 0
    if "pixel_mask" in inputs:
        return model.model._create_patch_attention_mask(inputs["pixel_mask"])
    mask = inputs.get("pixel_attention_mask")
    return mask.bool() if mask is not None and inputs["pixel_values"].ndim == 3 else None  # else of pixels or tiles


def timm_tower(network, pixels):
    """Return the same for a network of timm: the input of its first block, and its intermediates with prefix tokens."""
    entering = []
    if not hasattr(network, "blocks"):  # stages of maps
        hook = network.stages[0].register_forward_pre_hook(lambda _, given: entering.append(given[0]))
        maps = network.forward_intermediates(pixels, intermediates_only=True)
        hook.remove()
        means = [states.mean(dim=(0, 2, 3)) for states in (*entering, *maps)]
        return torch.nn.utils.rnn.pad_sequence(means, batch_first=True)
    hook = network.blocks[0].register_forward_pre_hook(lambda _, given: entering.append(given[0]))
    layers = network.forward_intermediates(pixels, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True)
    hook.remove()
    states = [*entering, *(torch.cat([prefix, patches], dim=1) for patches, prefix in layers)]
    return torch.stack([layer.mean(dim=(0, 1)) for layer in states])


def encoder_states(vision, patches):
    """Return the states of the encoder of KOSMOS-2.5's tower; the tower itself returns only the last one."""
    outputs = []
    hook = vision.encoder.register_forward_hook(lambda *passed: outputs.append(passed[-1]))
    vision(flattened_patches=patches, output_hidden_states=True)
    hook.remove()
    return outputs[0].hidden_states


def shortened(vision, pixels):
    """Return the last states of a tower with 0, 1, 2, ... layers, because IDEFICS's returns no other states."""
    whole, states = vision.encoder.layers, []
    for count in range(len(whole) + 1):
        vision.encoder.layers = whole[:count]
        states.append(vision(pixel_values=pixels).last_hidden_state)
    return states


def folded(vision, states):
    """Return the same for Inkling's tower, whose layers fold patches into channels. Narrow layers end with zeros."""
    layers = [states]
    for layer in vision.encoder_layers:
        layers.append(layer(layers[-1]))
    means = [layer.flatten(0, -2).double().mean(dim=0).float() for layer in layers]
    return torch.nn.utils.rnn.pad_sequence(means, batch_first=True)


def tiles(model, inputs):
    """Mllama's states of an image's own tiles without padding, (T, W) of each layer, and its projected features.

    The states are those that the encoder of single tiles returns, and its input.
    """
    vision, encoded = model.model.vision_model, []
    hook = vision.transformer.register_forward_hook(
        lambda _, given, output: encoded.extend([given[0], *output.hidden_states])
    )
    output = vision(**{name: inputs[name] for name in ("pixel_values", "aspect_ratio_ids", TILES)})
    hook.remove()
    n_all, n_own = inputs[TILES].shape[-1], int(inputs[TILES].sum())
    layers = [layer.reshape(n_all, -1, layer.shape[-1])[:n_own] for layer in encoded]
    states = output.last_hidden_state[0, 0, :n_own]  # (tiles, patches and class token, W)
    layers = [layer[:, : states.shape[1]].flatten(0, 1) for layer in layers]
    return layers, model.model.multi_modal_projector(states).flatten(0, 1)


def projected(model, inputs):
    """Return the mean of the image features that enter the language model, (1, W); None if no function returns them."""
    if TILES in inputs:
        return tiles(model, inputs)[1].mean(dim=0)[None]
    owner = getattr(model, "model", model)
    if not hasattr(owner, "get_image_features") or "qformer_input_ids" in inputs:
        return None
    taken = inspect.signature(owner.get_image_features).parameters
    output = owner.get_image_features(**{name: inputs[name] for name in inputs if name in taken})
    parts = output.pooler_output
    if parts is None:
        return None
    parts = parts if isinstance(parts, (tuple, list)) else [parts]
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts]).mean(dim=0)[None]


def answer(model, inputs, ends, max_new_tokens):
    """Return the greedy answer of `generate` without penalties: its ids before the end, and its mean states, (L, W)."""
    settings = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "max_new_tokens": max_new_tokens}
    output = model.generate(
        **inputs, **settings, eos_token_id=sorted(ends), output_hidden_states=True, return_dict_in_generate=True
    )
    new = output.sequences[0, -len(output.hidden_states) :].tolist()
    length = next((place for place, token in enumerate(new) if token in ends), len(new))
    steps = [torch.stack([layer[0, -1] for layer in step]) for step in output.hidden_states]
    return new[:length], torch.stack(steps[: length + 1]).mean(dim=0)


def tokens_of(prompt, ids, tokenizer):
    """Return the positions of the shortest run of tokens that is the prompt, ignoring spaces."""
    wanted = "".join(prompt.split())
    for length in range(1, len(ids) + 1):
        for start in range(len(ids) - length, -1, -1):
            if "".join(tokenizer.decode(ids[start : start + length]).split()) == wanted:
                return list(range(start, start + length))
    raise AssertionError(f"{prompt!r} is not in the text")
