"""Settings of the tiny models of the families from mistral3 to vipllava; see `tiny_vision_language`."""

from family_groups import (
    CLIP_PATCHES,
    INTERNVL,
    MANY_SIZES,
    MROPE,
    MROPE_3,
    PIXTRAL,
    QWEN,
    QWEN3,
    QWEN3_5_TEXT,
    RECURRENT,
    SMALL_CLIP,
)

ROPE = {"rope_type": "default", "rope_theta": 10000.0}
SMALL_IMAGE = {"vision_config": {"image_size": 56, "patch_size": 14}}
THINKER = {
    "quirk": "a text that ends with the image has no positions; sound is ignored",
    "cached": False,
    "tokens": [],
    "roles": {
        "image_token": "<|IMAGE|>",
        "audio_token": "<|AUDIO|>",
        "video_token": "<|VIDEO|>",
        "vision_bos_token": "<|vision_bos|>",
        "vision_eos_token": "<|vision_eos|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
    },
    "placeholder": "<|vision_bos|><|IMAGE|><|vision_eos|>",
    "image_token": "<|IMAGE|>",
    "ids": {
        "video_token_index": "<|VIDEO|>",
        "audio_token_index": "<|AUDIO|>",
        "vision_start_token_id": "<|vision_bos|>",
        "vision_end_token_id": "<|vision_eos|>",
        "audio_start_token_id": "<|audio_bos|>",
        "audio_end_token_id": "<|audio_eos|>",
    },
    "image_class": "Qwen2VLImageProcessorPil",
    "video_class": "Qwen2VLVideoProcessor",
    "sound_class": "WhisperFeatureExtractor",
}

OWN: dict[str, dict] = {
    "mistral3": PIXTRAL,
    "mistral_large4": PIXTRAL
    | {
        "quirk": "the number of patches depends on the picture's size",
        "config": {
            "text_config": {
                "no_rope_layers": [1, 1, 0],
                "kv_source_layers": [0, 1, 2],
                "indexer_types": ["full", "full", "full"],
                "index_head_dim": 16,
                "index_n_heads": 2,
                "num_key_value_heads": 4,
                "rope_parameters": ROPE,
            }
        },
    },
    "mllama": {
        "sizes": ((425, 425), (50, 50), (300, 500)),  # of four tiles and of one
        "quirk": "tiles by the picture's shape; `vision` has the layers that process each tile alone",
        "tokens": ["<|image|>"],
        "placeholder": "<|image|>",
        "image_token": "<|image|>",
        "image": {"size": {"height": 56, "width": 56}},
        "config": {
            "vision_config": {
                "image_size": 56,
                "vision_output_dim": 96,
                "num_global_layers": 2,
                "intermediate_layers_indices": [0, 2],
            },
            "text_config": {"cross_attention_layers": [1]},
        },
    },
    "molmo2": {
        "tokens": [
            "<|image|>",
            "<|video|>",
            "<im_start>",
            "<im_end>",
            "<im_patch>",
            "<im_col>",
            "<low_res_im_start>",
            "<im_low>",
            "<frame_start>",
            "<frame_end>",
        ],
        "placeholder": "<|image|>",
        "image_token": "<im_patch>",
        "ids": {
            "image_patch_id": "<im_patch>",
            "image_start_token_id": "<im_start>",
            "image_end_token_id": "<im_end>",
            "low_res_image_start_token_id": "<low_res_im_start>",
            "frame_start_token_id": "<frame_start>",
            "frame_end_token_id": "<frame_end>",
        },
        "image": {"size": {"height": 56, "width": 56}, "overlap_margins": [1, 1], "max_crops": 4},
        "config": {
            "vision_config": {"image_size": [56, 56], "num_position_embeddings": 16, "num_key_value_heads": 4},
            "adapter_config": {"vision_feature_layer": [2, 1], "num_key_value_heads": 4},
            "text_config": {"rope_scaling_layers": None},
        },
    },
    "muse_glimmer": {
        "tokens": [
            "<|patch|>",
            "<|image_start|>",
            "<|image_end|>",
            "<|video|>",
            "<|vid_start|>",
            "<|vid_end|>",
            "<|vid_frame_separator|>",
        ],
        "placeholder": "<|patch|>",
        "image_token": "<|patch|>",
        "ids": {"video_token_id": "<|video|>"},
        "image": {"max_image_tokens": 9},
        "config": {
            "out_hidden_size": 128,
            "projector_hidden_size": 32,
            "vision_config": {"layer_types": ["window_attention", "full_attention", "window_attention"]},
            "text_config": {
                "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
                "layer_rope_theta": [10000.0, 10000.0, 0],
            },
        },
    },
    "muse_spark": {
        "quirk": "the number of patches depends on the picture's size; sound is ignored",
        "tokens": [
            "<|patch|>",
            "<|image_start|>",
            "<|image_end|>",
            "<|video|>",
            "<|vid_start|>",
            "<|vid_end|>",
            "<|vid_frame_separator|>",
            "<|audio|>",
            "<|soft_audio_start|>",
            "<|soft_audio_end|>",
        ],
        "placeholder": "<|patch|>",
        "image_token": "<|patch|>",
        "ids": {"video_token_id": "<|video|>", "audio_token_id": "<|audio|>"},
        "image": {"max_image_tokens": 9},
        "video_class": "MuseGlimmerVideoProcessor",
        "sound_class": "MuseSparkFeatureExtractor",
        "config": {
            "out_hidden_size": 128,
            "projector_hidden_size": 32,
            "vision_config": {"layer_types": ["window_attention", "full_attention", "window_attention"]},
            "audio_config": {
                "hidden_sizes": [8, 8, 16, 16],
                "depths": [1, 1, 1, 1],
                "out_hidden_size": 32,
                "num_hidden_layers": 4,
            },
            "text_config": {
                "moe_hidden_size": 16,
                "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
                "layer_rope_theta": [10000.0, 10000.0, 0],
            },
        },
    },
    "nemotron_h_omni": {
        "marker": "exhaustive",
        "tokens": ["<image>", "<video>", "<so_embedding>", "<img>", "</img>", "<so_start>", "<so_end>"],
        "sound_class": "ParakeetFeatureExtractor",
        "image": {"min_num_patches": 16, "max_num_patches": 36},
        "ids": {"image_token_id": "<image>", "video_token_id": "<video>", "audio_token_id": "<so_embedding>"},
        "config": {"vision_hidden_size": 32, "projector_hidden_size": 32},
    },
    "ovis2": {
        "tokens": ["<image>", "<IMG_ATOM>", "<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"],
        "processor": {"image_seq_length": 16},
        "image": {"size": {"height": 56, "width": 56}},
        "image_token": "<IMG_ATOM>",
        "ids": {"visual_indicator_token_ids": ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]},
        "config": {"vision_config": {"image_size": 56}},
    },
    "paddleocr_vl": {
        "roles": {"image_token": "<|IMAGE_PLACEHOLDER|>"},
        "tokens": ["<|IMAGE_START|>", "<|IMAGE_END|>"],
        "placeholder": "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
        "ids": {"vision_start_token_id": "<|IMAGE_START|>", "vision_end_token_id": "<|IMAGE_END|>"},
        "image": {"size": {"shortest_edge": 56 * 56, "longest_edge": 84 * 84}},
        "config": {"text_config": {"rope_parameters": MROPE}},
    },
    "paligemma": {
        "cached": False,
        "chat": False,
        "image": {"size": {"height": 56, "width": 56}, "image_seq_length": 16},
        "config": {"vision_config": {"image_size": 56}, "text_config": {"num_image_tokens": 16}},
    },
    "perception_lm": {
        "quirk": "tiles by the picture's shape, and the whole picture; the tower is a network of timm",
        "roles": {"image_token": "<|image|>", "video_token": "<|video|>"},
        "placeholder": "<|image|>",
        "processor": {"patch_size": 14},
        "image": {"tile_size": 56},
        "config": {
            "projector_pooling_ratio": 2,
            "vision_config": {
                "architecture": "vit_pe_core_tiny_patch16_384",
                "model_args": {
                    "embed_dim": 32,
                    "depth": 3,
                    "num_heads": 4,
                    "patch_size": 14,
                    "img_size": [56, 56],
                    "global_pool": "",
                },
            },
        },
    },
    "qianfan_ocr": INTERNVL | {"tokens": ["<image>"], "placeholder": "<image>"},
    "qwen2_5_omni_thinker": THINKER
    | {
        "processor_class": "Qwen2_5OmniProcessor",
        "image": QWEN["image"],
        "config": {
            "vision_start_token_id": 263,  # of published files; the configuration has no such value by default
            "vision_config": {"window_size": 56, "fullatt_block_indexes": [1]},
            "text_config": {"rope_parameters": MROPE},
        },
    },
    "qwen2_5_vl": QWEN
    | {
        "config": {
            "vision_config": {"window_size": 56, "fullatt_block_indexes": [1]},
            "text_config": {"rope_parameters": MROPE},
        }
    },
    "qwen2_vl": QWEN | {"config": {"text_config": {"rope_parameters": MROPE}}},
    "qwen3_5": QWEN3 | RECURRENT | {"config": {"text_config": QWEN3_5_TEXT}},
    "qwen3_5_moe": QWEN3 | RECURRENT | {"config": {"text_config": QWEN3_5_TEXT}},
    "qwen3_omni_moe_thinker": THINKER
    | {
        "processor_class": "Qwen3OmniMoeProcessor",
        "image": QWEN3["image"],
        "config": {
            "vision_start_token_id": 263,
            "vision_config": {"deepstack_visual_indexes": [0, 1]},
            "text_config": {"rope_parameters": MROPE_3},
        },
        "marker": "slow",
    },
    "qwen3_vl": QWEN3
    | {
        "config": {
            "vision_config": {"deepstack_visual_indexes": [0, 1]},
            "text_config": {"rope_parameters": MROPE_3},
        }
    },
    "qwen3_vl_moe": QWEN3
    | {
        "image_class": "Qwen2VLImageProcessorPil",
        "config": {
            "vision_config": {"deepstack_visual_indexes": [0, 1]},
            "text_config": {"rope_parameters": MROPE_3},
        },
    },
    "smolvlm": {
        "tokens": ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "<video>"],
        "processor": {"image_seq_len": 4},
        "image": {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}},
        "config": SMALL_IMAGE | {"text_config": {"pad_token_id": 0}},
    },
    "step3p7": {
        "sizes": MANY_SIZES,  # the text names the tiles
        "quirk": "the whole picture, and tiles if it is large; `vision` has the tokens of both",
        "tokens": ["<im_patch>", "<patch_start>", "<patch_end>", "<patch_newline>", "<im_start>", "<im_end>"],
        "placeholder": "<im_patch>",
        "image_token": "<im_patch>",
        "image": {"size": {"height": 112, "width": 112}, "patch_size": 56},
        "config": {
            "vision_config": {"image_size": 112, "max_position_embeddings": 64, "mlp_ratio": 2.0},
            "text_config": {
                "share_expert_dim": 16,
                "layer_types": ["full_attention"] * 3,
                "mlp_layer_types": ["dense", "sparse", "sparse"],
                "num_sliding_attention_heads": 4,
                "sliding_window": 64,
            },
        },
    },
    "unlimited_ocr": {
        "chat": False,
        "cached": False,
        "quirk": "`vision` is the second network of the tower; its attention window begins after the first pass",
        "roles": {"image_token": "<image>"},
        "image": {"size": {"height": 256, "width": 256}, "tile_size": 128, "max_patches": 4},
        "config": {
            "text_config": {
                "mlp_layer_types": ["dense", "sparse", "sparse"],
                "layer_types": ["reference_sliding_attention"] * 3,
                "num_key_value_heads": 4,
            },
            "vision_config": {
                "sam_config": {
                    "num_hidden_layers": 2,
                    "output_channels": 16,
                    "downsample_channels": [24, 32],
                    "image_size": 256,
                    "window_size": 4,
                    "global_attn_indexes": [],
                },
                "encoder_config": {"image_size": 64},
            },
        },
    },
    "video_llama_3": {
        "tokens": ["<|image_pad|>", "<|video_pad|>"],
        "placeholder": "<|image_pad|>",
        "image_token": "<|image_pad|>",
        "ids": {"video_token_id": "<|video_pad|>"},
        "image": {"size": {"shortest_edge": 56 * 56, "longest_edge": 84 * 84}},
        "config": {"vision_config": {"patch_size": 14}},
    },
    "vipllava": {
        "processor": CLIP_PATCHES,
        "image": {"size": {"shortest_edge": 56}, "crop_size": 56},
        "config": SMALL_CLIP | {"vision_feature_layers": [-2, 1, 2]},
    },
}
