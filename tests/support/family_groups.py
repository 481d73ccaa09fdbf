"""Tokens, placeholders and sizes that several families of vision-language models share."""

QWEN = {
    "tokens": ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"],
    "placeholder": "<|vision_start|><|image_pad|><|vision_end|>",
    "image_token": "<|image_pad|>",
    "ids": {
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
        "video_token_id": "<|video_pad|>",
    },
    "image": {"size": {"shortest_edge": 56 * 56, "longest_edge": 84 * 84}},
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
GLM = {
    "tokens": [
        "<|begin_of_image|>",
        "<|image|>",
        "<|end_of_image|>",
        "<|video|>",
        "<|begin_of_video|>",
        "<|end_of_video|>",
    ],
    "roles": {"image_token": "<|image|>", "video_token": "<|video|>"},
    "placeholder": "<|begin_of_image|><|image|><|end_of_image|>",
    "image_token": "<|image|>",
    "ids": {
        "image_start_token_id": "<|begin_of_image|>",
        "image_end_token_id": "<|end_of_image|>",
        "video_start_token_id": "<|begin_of_video|>",
        "video_end_token_id": "<|end_of_video|>",
        "video_token_id": "<|video|>",
    },
    "image": {"size": {"shortest_edge": 112 * 112, "longest_edge": 168 * 168}},
    "config": {
        "text_config": {"head_dim": 16, "rope_parameters": MROPE | {"partial_rotary_factor": 0.5}},
        "vision_config": {"image_size": 168, "hidden_size": 64},  # the merged patches are of another width
    },
    "quirk": "the number of patches depends on the picture's size",
}
GLM_OF_46V = {
    "processor_class": "Glm46VProcessor",
    "image_class": "Glm46VImageProcessorPil",
    "video_class": "Glm46VVideoProcessor",
}
CLIP_PATCHES = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
SMALL_CLIP = {"vision_config": {"image_size": 56}}
MROPE_3 = MROPE | {"mrope_section": [2, 1, 1], "mrope_interleaved": True}
QWEN3 = QWEN | {"image": {"patch_size": 16, "size": {"shortest_edge": 64 * 64, "longest_edge": 96 * 96}}}
HYBRID = ["linear_attention", "full_attention", "linear_attention"]  # as in Qwen3.5 and similar models
QWEN3_5_TEXT = {
    "head_dim": 16,
    "layer_types": HYBRID,
    "rope_parameters": MROPE_3 | {"partial_rotary_factor": 0.5},
}
# With a cache, the recurrence sums in another order. The size of the difference depends on the processor.
RECURRENT = {"response_tolerance": 5e-5}
MANY_SIZES = ((425, 425), (40, 50), (900, 300), (200, 1000))  # width and height
TILES = [[56, 112], [112, 56], [112, 112]]  # grids of 56 x 56 tiles
INTERNVL = {
    "roles": {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    },
    "placeholder": "<IMG_CONTEXT>",
    "image_token": "<IMG_CONTEXT>",
    "processor": {"image_seq_length": 4},
    "image": {"size": {"height": 56, "width": 56}, "max_patches": 4},
    "config": {"image_seq_length": 4, "vision_config": {"image_size": [56, 56]}},
}
PIXTRAL = {
    "tokens": ["[IMG]", "[IMG_BREAK]", "[IMG_END]"],
    "placeholder": "[IMG]",
    "image_token": "[IMG]",
    "processor": {"patch_size": 14, "spatial_merge_size": 2},
    "image": {"patch_size": 14, "size": {"longest_edge": 112}},
}
