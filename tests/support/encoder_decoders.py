"""Settings of the tiny encoder-decoders with images that differ from the defaults; see `tiny_vision_language`."""

T5 = {"model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4, "vocab_size": 512}
STAGES = {"embed_dim": [8, 8, 16, 16], "num_heads": [1, 1, 2, 2], "num_groups": [1, 1, 2, 2], "depths": [1, 1, 1, 1]}
ROWS = {
    "florence2": {
        "quirk": "encoder-decoder; image features are maps; prompts are questions, not task words such as <CAPTION>",
        "chat": False,
        "roles": {"image_token": "<image>"},
        "generation": {"forced_bos_token_id": 5},
        "config": {
            "vision_config": {**STAGES, "window_size": 4},
            "text_config": {"max_position_embeddings": 512},
        },
        "image": {"image_seq_length": 10, "size": {"height": 96, "width": 96}, "do_center_crop": False},
    },
    "blip-2": {
        "quirk": "with T5: encoder-decoder; the prompt is Question: ... Answer:",
        "chat": False,
        "config": {
            "text_config": {**T5, "decoder_start_token_id": 0, "is_encoder_decoder": True},
            "vision_config": {"image_size": 56},
            "num_query_tokens": 5,
        },
        "image": {"size": {"height": 56, "width": 56}},
        "processor": {"num_query_tokens": 5},
    },
    "t5gemma2": {
        "chat": False,
        "quirk": "encoder-decoder; the vision tower is part of the encoder",
        "roles": {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"},
        "placeholder": "<start_of_image>",
        "image_token": "<image_soft_token>",
        "config": {"encoder": {"mm_tokens_per_image": 4, "vision_config": {"image_size": 56, "patch_size": 14}}},
        "processor": {"image_seq_length": 4},
        "image": {"size": {"height": 56, "width": 56}},
    },
}
