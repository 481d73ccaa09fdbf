"""What the tiny models of the families from aria to hyperclovax_vision_v2 need; see `tiny_vision_language`."""

from family_groups import GLM, GLM_OF_46V, MROPE, QWEN

COHERE = {
    "roles": {
        "image_token": "<|IMG_PATCH|>",
        "boi_token": "<|START_OF_IMG|>",
        "eoi_token": "<|END_OF_IMG|>",
        "img_line_break_token": "<|IMG_LINE_BREAK|>",
    }
}
GEMMA = {
    "boi_token": "<start_of_image>",
    "image_token": "<image_soft_token>",
    "eoi_token": "<end_of_image>",
}
GEMMA_IDS = {"boi_token_index": "<start_of_image>", "eoi_token_index": "<end_of_image>"}
DEEPSEEK = {
    "roles": {"image_token": "<image_placeholder>"},
    "placeholder": "<image_placeholder>",
}

OWN: dict[str, dict] = {
    "aria": {
        "quirk": "the number of image tokens depends on the picture's size alone",
        "slow": True,
        "roles": {"image_token": "<|img|>"},
        "placeholder": "<|img|>",
        "processor": {"size_conversion": {490: 4, 980: 8}},
        "image": {"max_image_size": 490},
        "config": {
            "projector_patch_to_query_dict": {1225: 4, 4900: 8},
            "max_value_projector_patch_to_query_dict": 8,
            "vision_config": {"image_size": 980, "patch_size": 14, "num_hidden_layers": 2, "num_attention_heads": 1},
        },
    },
    "aya_vision": {
        "tokens": [
            "<image>",
            "<|START_OF_IMG|>",
            "<|END_OF_IMG|>",
            "<|IMG_PATCH|>",
            "<|IMG_LINE_BREAK|>",
            *(f"TILE_{number}" for number in range(1, 13)),
            "TILE_GLOBAL",
        ],
        "image_token": "<|IMG_PATCH|>",
        "processor": {"patch_size": 14, "img_size": 56, "downsample_factor": 2},
        "image": {"size": {"height": 56, "width": 56}, "crop_to_patches": True, "max_patches": 6},
        "config": {"vision_config": {"image_size": 56, "num_attention_heads": 4}},
    }
    | {"quirk": "tiles of the picture by its shape, and one of the whole"},
    "chameleon": {
        "quirk": "the image's codes are tokens of the language model, after the prompt: no `vision`, no `projector`",
        "cached": False,
        "chat": False,
        "tokens": ["<image>", "<racm3:break>", "<eoss>"],
        "processor": {"image_seq_length": 16},
        "image": {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}},
        "config": {
            "vocabulary_map": {"<image>": 260}
            | {f"IMGIMG{'AB'[code // 10]}{'ABCDEFGHIJ'[code % 10]}Z": 300 + code for code in range(16)},
            "vq_config": {"num_embeddings": 16, "resolution": 64, "embed_dim": 16, "latent_channels": 16},
        },
    },
    "cohere2_vision": COHERE
    | {
        "placeholder": "<|IMG_PATCH|>",
        "image": {"size": {"height": 64, "width": 64}, "max_patches": 6, "patch_size": 2},
        "config": {"alignment_intermediate_size": 64, "vision_config": {"image_size": 64}},
    }
    | {"quirk": "tiles of the picture by its shape, and one of the whole"},
    "cohere_compass": {
        "tokens": ["<|VISION_START|>", "<|IMAGE_PAD|>", "<|VISION_END|>", "<|VIDEO_PAD|>"],
        "placeholder": "<|VISION_START|><|IMAGE_PAD|><|VISION_END|>",
        "image_token": "<|IMAGE_PAD|>",
        "ids": {
            "vision_start_token_id": "<|VISION_START|>",
            "vision_end_token_id": "<|VISION_END|>",
            "video_token_id": "<|VIDEO_PAD|>",
        },
        "image": QWEN["image"] | {"patch_size": 16},
        "config": {
            "text_config": {"rope_parameters": {"full_attention": MROPE}},
            "vision_config": {"deepstack_visual_indexes": [0, 1, 2]},
        },
    }
    | {"quirk": "packed patches, as many as the picture's size gives; vision states also enter early language layers"},
    "deepseek_vl": DEEPSEEK
    | {
        "processor": {"num_image_tokens": 16},
        "image": {"size": {"height": 64, "width": 64}},
        "config": {"vision_config": {"image_size": 64}},
    }
    | {"quirk": "the picture is padded to a square"},
    "deepseek_vl_hybrid": DEEPSEEK
    | {
        "processor": {"num_image_tokens": 16},
        "image": {"size": {"height": 64, "width": 64}, "high_res_size": {"height": 256, "width": 256}},
        "config": {"vision_config": {"image_size": 64}, "high_res_vision_config": {"image_size": 256}},
    }
    | {"quirk": "two vision networks: `vision` is that for low resolution", "slow": True},
    "exaone4_5": QWEN
    | {"config": {"vision_config": {"window_size": 56, "fullatt_block_indexes": [1]}}}
    | {"quirk": "packed patches, as many as the picture's size gives"},
    "gemma3": {
        "roles": GEMMA,
        "placeholder": "<start_of_image>",
        "image_token": "<image_soft_token>",
        "ids": GEMMA_IDS,
        "processor": {"image_seq_length": 4},
        "image": {"size": {"height": 64, "width": 64}},
        "config": {"mm_tokens_per_image": 4, "vision_config": {"image_size": 64}},
    }
    | {"quirk": "the image's tokens attend to each other, not to the question"},
    "gemma4": {
        "slow": True,
        "quirk": "packed patches, as many as the picture's size gives; the image's tokens attend to each other",
        "roles": {
            "image_token": "<|image|>",
            "boi_token": "<|image>",
            "eoi_token": "<image|>",
            "audio_token": "<|audio|>",
            "boa_token": "<|audio>",
            "eoa_token": "<audio|>",
        },
        "placeholder": "<|image|>",
        "ids": {"boi_token_id": "<|image>", "eoi_token_id": "<image|>"},
        "image": {"max_soft_tokens": 70},
        "config": {
            "text_config": {"per_layer_config": {2: {"head_dim": 16}}},
            "vision_config": {
                "model_type": "gemma4_vision",
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "num_key_value_heads": 4,
                "head_dim": 8,
                "global_head_dim": 8,
            },
        },
    },
    "glm46v": GLM,
    "glm4v": GLM,
    "glm4v_moe": GLM
    | {
        "processor_class": "Glm4vProcessor",
        "image_class": "Glm4vImageProcessorPil",
        "video_class": "Glm4vVideoProcessor",
    },
    "glm_ocr": GLM | GLM_OF_46V,
    "glmga": GLM | GLM_OF_46V,
    "granite_docling": {
        "tokens": [
            "<image>",
            "<fake_token_around_image>",
            "<global-img>",
            *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
        ],
        "image": {"size": {"height": 64, "width": 64}, "max_patches": 6},
        "processor": {"image_seq_len": 1},
        "config": {"vision_config": {"image_size": 64, "deepstack_visual_indexes": [0, 1, 2]}},
    }
    | {"quirk": "tiles of the picture by its shape; vision states also enter early language layers"},
    "hunyuan_vl": {
        "quirk": "its positions count the images of a batch: images are read one at a time",
        "roles": {"image_token": "<image>", "image_start_token": "<img_start>", "image_end_token": "<img_end>"},
        "placeholder": "<img_start><image><img_end>",
        "image": {"size": {"shortest_edge": 64 * 64, "longest_edge": 128 * 128}},
        "config": {
            "text_config": {"head_dim": 8, "rope_parameters": MROPE | {"mrope_section": [1, 1, 1, 1]}},
            "vision_config": {"num_key_value_heads": 4},
        },
    },
    "hyperclovax_vision_v2": QWEN
    | {"config": {"vision_config": {"window_size": 56, "fullatt_block_indexes": [1]}}}
    | {"quirk": "packed patches, as many as the picture's size gives"},
}
