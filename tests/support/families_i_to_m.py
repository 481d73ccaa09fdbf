"""Settings of the tiny models of the families from idefics to minimax_m3_vl; see `tiny_vision_language`."""

from family_groups import CLIP_PATCHES, INTERNVL, MANY_SIZES, PIXTRAL, QWEN3, QWEN3_5_TEXT, RECURRENT, SMALL_CLIP, TILES

SMALL_IMAGE = {"vision_config": {"image_size": 56, "patch_size": 14}}
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
MINICPM_CANVAS = MINICPM["ids"] | {  # tokens of the canvas by which version 4.7 counts positions
    "image_start_id": "<image>",
    "image_end_id": "</image>",
    "slice_start_id": "<slice>",
    "slice_end_id": "</slice>",
    "newline_id": "\N{LATIN CAPITAL LETTER C WITH DOT ABOVE}",  # as byte-level tokenizers write a line end
}

OWN: dict[str, dict] = {
    "idefics": {
        "quirk": "needs --template; the image is seen only by cross-attention layers",
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
    "inkling2": {
        "quirk": "the number of patches depends on the picture's size",
        "roles": {"image_token": "<|unused_200054|>"},
        "placeholder": "<|unused_200054|>",
        "image": {"size": {"height": 80, "width": 80}},
        "config": {
            "text_config": {
                "layer_types": ["hybrid_sliding", "hybrid_sliding", "hybrid"],
                "unpadded_vocab_size": 500,
                "rel_extent": 64,
                "n_layers_per_attn_res_block": 2,
            },
            "vision_config": {"patch_size": 40},
        },
    },
    "inkling_mm_model": {
        "quirk": "patches of 40 x 40 pixels; narrow layers of `vision` are padded with zeros; sound is ignored",
        "roles": {"image_token": "<|unused_200054|>", "audio_token": "<|unused_200053|>"},
        "tokens": ["<|content_image|>", "<|content_audio_input|>"],
        "placeholder": "<|content_image|><|unused_200054|>",
        "ids": {
            "image_bos_token_id": "<|content_image|>",
            "audio_bos_token_id": "<|content_audio_input|>",
            "audio_token_id": "<|unused_200053|>",
        },
        "sound_class": "InklingFeatureExtractor",
        "image": {"rescale_image_frac": 0.1},
        "config": {"text_config": {"layer_types": ["hybrid_sliding", "hybrid_sliding", "hybrid"], "rel_extent": 64}},
    },
    "instructblip": {
        "quirk": "the queries of the Q-Former also depend on the prompt",
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
        "processor_class": "Kosmos2Processor",
        "chat": False,
        "tokens": ["<image>", "</image>", "<grounding>"],
        "processor": {"num_patch_index_tokens": 16},
        "image": {"size": {"shortest_edge": 56}, "crop_size": 56},
        "config": {"vision_config": {"image_size": 56}},
    },
    "kosmos-2.5": {
        "quirk": "needs --template; each picture has 4,096 patches",
        "marker": "exhaustive",
        "chat": False,
        "template": "<md>USER: {prompt} ASSISTANT:",
        "processor_class": "Kosmos2_5Processor",
        "roles": {"boi_token": "<image>", "eoi_token": "</image>", "image_token": "<s>"},
        "processor": {"num_image_tokens": 8},
        "config": {"latent_query_num": 8, "vision_config": {"num_hidden_layers": 1, "num_attention_heads": 1}},
    },
    "lfm2_vl": {
        "sizes": MANY_SIZES,  # the text names the tiles
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
        "sizes": MANY_SIZES,  # the text names the tiles
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
    "minicpm_ocr": MINICPM | {"marker": "slow"},
    "minicpmv4_6": MINICPM | RECURRENT | {"marker": "slow"},
    "minicpmv4_7": MINICPM | RECURRENT | {"marker": "slow", "ids": MINICPM_CANVAS, "placeholder": "<|image_pad|>\n"},
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
}
