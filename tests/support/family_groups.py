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
}
CLIP_PATCHES = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
SMALL_CLIP = {"vision_config": {"image_size": 56}}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
