"""Settings of the tiny models of the families from aria to hyperclovax_vision_v2; see `tiny_vision_language`."""

from family_groups import GLM, GLM_OF_46V, MANY_SIZES, MROPE, QWEN, TILES

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
        "quirk": "the number of image tokens depends only on the picture's size",
        "marker": "exhaustive",
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
    | {"quirk": "tiles by the picture's shape, and the whole picture"},
    "blip-2 with OPT": {
        "quirk": "the prompt is Question: ... Answer:",
        "model_type": "blip-2",
        "chat": False,
        "processor": {"num_query_tokens": 4},
        "image": {"size": {"height": 56, "width": 56}},
        "config": {"num_query_tokens": 4, "vision_config": {"image_size": 56}},
    },
    "chameleon": {
        "quirk": "the image becomes tokens of the language model after the prompt; no `vision`, no `projector`",
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
    | {"quirk": "tiles by the picture's shape, and the whole picture"},
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
    | {"quirk": "the number of patches depends on the picture's size; vision states also enter early language layers"},
    "cosmos3_edge": QWEN
    | {
        "quirk": "the number of patches depends on the picture's size",
        "image": {"size": {"shortest_edge": 64 * 64, "longest_edge": 96 * 96}},
        "config": {"projector_hidden_size": 32, "text_config": {"rope_parameters": MROPE}},
    },
    "deepseek_ocr2": {
        "chat": False,
        "quirk": "`vision` is the tower's second network, with patches, then queries; tiles if the picture is large",
        "marker": "exhaustive",
        "roles": {"image_token": "<image>"},
        "image": {"size": {"height": 768, "width": 768}},
        "config": {
            "text_config": {
                "mlp_layer_types": ["dense", "sparse", "sparse"],
                "num_experts_per_tok": 2,
                "num_key_value_heads": 4,
            },
            "vision_config": {
                "sam_config": {
                    "num_hidden_layers": 2,
                    "output_channels": 16,
                    "downsample_channels": [24, 32],
                    "image_size": 768,
                    "global_attn_indexes": [],
                }
            },
        },
    },
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
    | {"quirk": "two vision networks; `vision` is the one for low resolution", "marker": "slow"},
    "dots3_note": {
        "quirk": "the number of patches depends on the picture's size; sound is ignored",
        "tokens": ["<|img|>", "<|imgpad|>", "<|endofimg|>", "<|video_pad|>", "<|audio_comp_pad|>"],
        "placeholder": "<|img|><|imgpad|><|endofimg|>",
        "image_token": "<|imgpad|>",
        "ids": {"video_token_id": "<|video_pad|>", "audio_token_id": "<|audio_comp_pad|>"},
        "image": QWEN["image"] | {"temporal_patch_size": 1},
        "config": {
            "text_config": {
                "layer_types": ["indexed_attention", "sliding_attention", "indexed_attention"],
                "mlp_layer_types": ["dense", "sparse", "sparse"],
                "per_layer_config": {1: {"num_attention_heads": 2, "num_key_value_heads": 2, "kv_lora_rank": 16}},
                "num_key_value_heads": 4,
                "head_dim": 16,
                "index_head_dim": 16,
                "index_n_heads": 2,
                "shared_experts_intermediate_size": 16,
            },
            "vision_config": {
                "mlp_layer_types": ["dense", "dense", "sparse"],
                "per_layer_config": {2: {"num_local_experts": 2}},
                "adapter_in_dim": 32,
                "adapter_out_dim": 32,
            },
            "audio_config": {
                "adapter_input_size": 32,
                "adapter_out_dim": 32,
                "downsample_hidden_size": 8,
                "conv_output_size": 128,
            },
        },
    },
    "emu3": {
        "quirk": "the image becomes tokens of the language model; no `vision`, no `projector`",
        "sizes": MANY_SIZES,
        "roles": {
            "image_token": "<image>",
            "boi_token": "<|image start|>",
            "eoi_token": "<|image end|>",
            "image_wrapper_token": "<|image token|>",
            "eof_token": "<|extra_201|>",
        },
        "image": {"min_pixels": 32 * 32, "max_pixels": 64 * 64},
        "config": {
            "vocabulary_map": {"<image>": 260, "<|extra_200|>": 299}
            | {f"<|visual token {code:06d}|>": 300 + code for code in range(16)},
            "vq_config": {"codebook_size": 16, "base_channels": 32, "hidden_size": 128},
        },
    },
    "ernie4_5_vl_moe": {
        "quirk": "the number of patches depends on the picture's size",
        "roles": {
            "image_token": "<|IMAGE_PLACEHOLDER|>",
            "image_start_token": "<|IMAGE_START|>",
            "image_end_token": "<|IMAGE_END|>",
            "video_token": "<|VIDEO_PLACEHOLDER|>",
            "video_start_token": "<|VIDEO_START|>",
            "video_end_token": "<|VIDEO_END|>",
        },
        "placeholder": "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
        "ids": {
            "image_start_token_id": "<|IMAGE_START|>",
            "image_end_token_id": "<|IMAGE_END|>",
            "image_token_id": "<|IMAGE_PLACEHOLDER|>",
            "video_token_id": "<|VIDEO_PLACEHOLDER|>",
            "video_start_token_id": "<|VIDEO_START|>",
            "video_end_token_id": "<|VIDEO_END|>",
        },
        "image": QWEN["image"],
        "video": {"draw_on_frames": False},
        "config": {
            "text_config": {
                "moe_intermediate_size": [16, 8],
                "mlp_layer_types": ["dense", "sparse", "sparse"],
                "rope_parameters": MROPE,
            }
        },
    },
    "exaone4_5": QWEN
    | {"config": {"vision_config": {"window_size": 56, "fullatt_block_indexes": [1]}}}
    | {"quirk": "the number of patches depends on the picture's size"},
    "fast_vlm": {
        "quirk": "the tower is a network of timm; `vision` has the maps of its stages",
        "processor_class": "LlavaProcessor",
        "image_class": "CLIPImageProcessorPil",
        "processor": {"patch_size": 64, "vision_feature_select_strategy": "full"},
        "image": {"size": {"shortest_edge": 256}, "crop_size": 256, "do_normalize": False},
        "config": {
            "vision_config": {
                "model_args": {"inference_mode": True, "layers": [1, 1, 1, 1, 1], "embed_dims": [8, 8, 16, 32, 32]},
                "hidden_size": 64,
            }
        },
    },
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
        "marker": "slow",
        "quirk": "the number of patches depends on the picture's size; the image's tokens attend to each other",
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
    "gemma4_unified": {
        "quirk": "pixels enter the language model; no `vision`, no `projector`; image tokens attend to each other",
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
            "vision_config": {"model_type": "gemma4_unified_vision"},
        },
    },
    "git": {
        "quirk": "the text follows the image's patches, which have no tokens",
        "cached": False,
        "chat": False,
        "image": {"size": {"shortest_edge": 64}, "crop_size": 64},
        "config": {"vision_config": {"image_size": 64}},
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
    "granite4_vision": {
        "quirk": "tiles by the picture's shape, and the whole picture; language layers have their own projectors",
        "roles": {"image_token": "<image>"},
        "processor": {
            "patch_size": 14,
            "vision_feature_select_strategy": "default",
            "num_additional_image_tokens": 1,
            "downsample_rate": "1/2",
        },
        "image": {
            "size": {"shortest_edge": 56},
            "crop_size": {"height": 56, "width": 56},
            "image_grid_pinpoints": TILES,
        },
        "config": {
            "image_grid_pinpoints": TILES,
            "image_seq_length": 16,
            "downsample_rate": "1/2",
            "deepstack_layer_map": [[-2, 0], [-1, 1]],
            "spatial_target_layers": [2],
            "vision_config": {"image_size": 56, "patch_size": 14, "hidden_size": 64},
            "qformer_config": {"hidden_size": 64, "encoder_hidden_size": 64},
        },
    },
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
    | {"quirk": "tiles by the picture's shape; vision states also enter early language layers"},
    "hunyuan_vl": {
        "quirk": "images are computed one at a time, because positions depend on the batch",
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
    | {"quirk": "the number of patches depends on the picture's size"},
}
