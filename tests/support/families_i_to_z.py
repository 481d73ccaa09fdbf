"""What the tiny models of the families from idefics to vision-encoder-decoder need; see `tiny_vision_language`."""

from family_groups import CLIP_PATCHES, MROPE, QWEN, SMALL_CLIP

QWEN3 = QWEN | {"image": {"patch_size": 16, "size": {"shortest_edge": 64 * 64, "longest_edge": 96 * 96}}}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
MROPE_3 = MROPE | {"mrope_section": [2, 1, 1], "mrope_interleaved": True}
HYBRID = ["linear_attention", "full_attention", "linear_attention"]  # as Qwen3.5 and its kin mix them
QWEN3_5_TEXT = {
    "head_dim": 16,
    "layer_types": HYBRID,
    "rope_parameters": MROPE_3 | {"partial_rotary_factor": 0.5},
}
SMALL_IMAGE = {"vision_config": {"image_size": 56, "patch_size": 14}}
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
MINICPM = {
    "roles": {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "image_start_token": "<image>",
        "image_end_token": "</image>",
        "slice_start_token": "<slice>",
        "slice_end_token": "</slice>",
        "image_id_start_token": "<image_id>",
        "image_id_end_token": "</image_id>",
    },
    "placeholder": "<|image_pad|>",
    "image_token": "<|image_pad|>",
    "ids": {"video_token_id": "<|video_pad|>"},
    "image": {"scale_resolution": 112, "max_slice_nums": 4},
    "config": {
        "patch_size": 14,
        "insert_layer_id": 1,
        "vision_config": {"patch_size": 14, "image_size": 112, "insert_layer_id": 1},
        "text_config": QWEN3_5_TEXT,
    },
}
THINKER = {
    "quirk": "packed patches, as many as the picture's size gives; sound is not read",
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
    "idefics": {
        "quirk": "needs --template; its layers of cross-attention see the image",
        "chat": False,
        "tokens": ["<fake_token_around_image>", "<image>", "<end_of_utterance>"],
        "template": "<s>User:<fake_token_around_image><image><fake_token_around_image>{prompt}<end_of_utterance>"
        "\nAssistant:",
        "image": {"image_size": 56},
        "config": {"use_resampler": True, "vision_config": {"image_size": 56, "patch_size": 14}},
    },
    "idefics2": {},
    "idefics3": {
        "tokens": ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"],
        "processor": {"image_seq_len": 4},
        "image": {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}},
        "config": SMALL_IMAGE | {"text_config": {"pad_token_id": 0}},
    },
    "instructblip": {
        "cached": False,
        "chat": False,
        "processor": {"num_query_tokens": 4},
        "image": {"size": {"height": 56, "width": 56}},
        "config": {
            "num_query_tokens": 4,
            "vision_config": {"image_size": 56},
            "qformer_config": {"encoder_hidden_size": 32},
        },
    },
    "internvl": INTERNVL,
    "janus": {
        "roles": {
            "image_token": "<image_placeholder>",
            "boi_token": "<begin_of_image>",
            "eoi_token": "<end_of_image>",
        },
        "placeholder": "<image_placeholder>",
        "processor": {"num_image_tokens": 16},
        "image": {"size": {"height": 64, "width": 64}},
        "config": {
            "vision_config": {"image_size": 64, "num_image_tokens": 16},
            "vq_config": {
                "num_embeddings": 64,
                "channel_multiplier": [1, 1],
                "latent_channels": 32,
                "image_token_embed_dim": 32,
            },
        },
    },
    "kimi_k25": {
        "tokens": ["<|media_pad|>", "<|kimi_k25_video_placeholder|>"],
        "placeholder": "<|media_pad|>",
        "image_token": "<|media_pad|>",
        "image": {"max_patches": 36, "size": {"max_height": 84, "max_width": 84}},
        "config": {"projection_hidden_size": 32, "text_config": {"num_key_value_heads": 4}},
    },
    "kosmos-2": {
        "cached": False,
        "processor_class": "Kosmos2Processor",
        "chat": False,
        "tokens": ["<image>", "</image>", "<grounding>"],
        "processor": {"num_patch_index_tokens": 16},
        "image": {"size": {"shortest_edge": 56}, "crop_size": 56},
        "config": {"vision_config": {"image_size": 56}},
    },
    "lfm2_vl": {
        "cached": False,
        "tokens": ["<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>"],
        "image": {
            "tile_size": 64,
            "max_tiles": 4,
            "min_image_tokens": 4,
            "max_image_tokens": 9,
            "max_num_patches": 36,
        },
        "config": {"text_config": {"layer_types": ["conv", "full_attention", "conv"]}},
    },
    "lfm3_vl": QWEN3
    | {
        "cached": False,
        "config": {
            "projector_hidden_size": 32,
            "vision_config": {"layer_types": ["conv", "full_attention", "conv"]},
            "text_config": {"layer_types": ["conv", "full_attention", "sliding_attention"]},
        },
    },
    "lighton_ocr": PIXTRAL
    | {
        "tokens": [],
        "roles": {
            "image_token": "<|image_pad|>",
            "image_break_token": "<|vision_pad|>",
            "image_end_token": "<|vision_end|>",
        },
        "placeholder": "<|image_pad|>",
        "image_token": "<|image_pad|>",
    },
    "llama4": {
        "tokens": [
            "<|image|>",
            "<|image_start|>",
            "<|image_end|>",
            "<|patch|>",
            "<|tile_x_separator|>",
            "<|tile_y_separator|>",
        ],
        "placeholder": "<|image|>",
        "image_token": "<|patch|>",
        "image": {"size": {"height": 56, "width": 56}, "max_patches": 4},
        "config": {
            "vision_config": {"image_size": 56, "intermediate_size": 128},
            "text_config": {
                "layer_types": ["chunked_attention", "chunked_attention", "full_attention"],
                "no_rope_layers": [1, 1, 0],
                "moe_layers": [1],
                "num_experts_per_tok": 1,
            },
        },
    },
    "llava": {
        "processor": CLIP_PATCHES,
        "image": {"size": {"shortest_edge": 56}, "crop_size": 56},
        "config": SMALL_CLIP,
    },
    "llava_next": {
        "processor": CLIP_PATCHES,
        "image": {"size": {"shortest_edge": 56}, "crop_size": 56, "image_grid_pinpoints": TILES},
        "config": SMALL_CLIP | {"image_grid_pinpoints": TILES},
    },
    "llava_next_video": {
        "tokens": ["<image>", "<video>"],
        "processor": CLIP_PATCHES,
        "image": {"size": {"shortest_edge": 56}, "crop_size": 56, "image_grid_pinpoints": TILES},
        "ids": {"video_token_index": "<video>"},
        "config": SMALL_CLIP | {"image_grid_pinpoints": TILES},
    },
    "llava_onevision": {
        "tokens": ["<image>", "<video>"],
        "processor": {"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
        "image": {"size": {"height": 56, "width": 56}, "image_grid_pinpoints": TILES},
        "ids": {"video_token_index": "<video>"},
        "config": SMALL_IMAGE | {"image_grid_pinpoints": TILES},
    },
    "minicpm_ocr": MINICPM | {"slow": True, "cached": False},
    "minicpmv4_6": MINICPM | {"slow": True, "cached": False},
    "minicpmv4_7": MINICPM | {"slow": True, "cached": False},
    "minimax_m3_vl": {
        "tokens": ["]<]image[>[", "]<]video[>[", "]<]start of image[>[", "]<]end of image[>["],
        "placeholder": "]<]image[>[",
        "image_token": "]<]image[>[",
        "image": {"size": {"shortest_edge": 56 * 56, "longest_edge": 84 * 84}},
        "config": {
            "projector_hidden_size": 32,
            "merged_hidden_size": 128,
            "text_config": {
                "rotary_dim": 4,
                "dense_intermediate_size": 48,
                "shared_intermediate_size": 16,
                "index_head_dim": 8,
            },
        },
    },
    "mistral3": PIXTRAL,
    "mllama": {
        "quirk": "tiles of the picture by its shape; `vision` has the layers that see single tiles",
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
    "nemotron_h_omni": {
        "slow": True,
        "cached": False,
        "tokens": ["<image>", "<video>", "<so_embedding>", "<img>", "</img>", "<so_start>", "<so_end>"],
        "sound_class": "ParakeetFeatureExtractor",
        "image": {"min_num_patches": 16, "max_num_patches": 36},
        "ids": {"image_token_id": "<image>", "video_token_id": "<video>", "audio_token_id": "<so_embedding>"},
        "config": {"vision_hidden_size": 32, "projector_hidden_size": 32},
    },
    "ovis2": {
        "cached": False,
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
        "quirk": "tiles of the picture by its shape, and one of the whole; the tower is a network of timm",
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
    "qwen3_5": QWEN3 | {"cached": False, "config": {"text_config": QWEN3_5_TEXT}},
    "qwen3_5_moe": QWEN3 | {"cached": False, "config": {"text_config": QWEN3_5_TEXT}},
    "qwen3_omni_moe_thinker": THINKER
    | {
        "processor_class": "Qwen3OmniMoeProcessor",
        "image": QWEN3["image"],
        "config": {
            "vision_start_token_id": 263,
            "vision_config": {"deepstack_visual_indexes": [0, 1]},
            "text_config": {"rope_parameters": MROPE_3},
        },
        "slow": True,
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
