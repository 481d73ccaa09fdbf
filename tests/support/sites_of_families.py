"""Vision-language types for which --sites or --heads is refused."""

# The values are the layers that the error names.
NO_PARTS = {
    "fast_vlm": "layer 0 (FastVitStage)",  # of the tower
    "gemma4": "layer 0 (Gemma4TextDecoderLayer)",
    "git": "layer 0 (GitLayer)",
    "inkling2": "layer 0 (Inkling2SlidingDecoderLayer)",
    "inkling_mm_model": "layer 0 (InklingVisionEncoderLayer)",  # of the tower
    "muse_spark": "layer 0 (MuseSparkTextDecoderLayer)",
    "nemotron_h_omni": "layer 0 (NemotronHBlock)",  # has either a mixer or an MLP
}
NO_HEADS = (
    "dots3_note",
    "gemma4_unified",
    "lfm2_vl",
    "lfm3_vl",
    "minicpm_ocr",
    "minicpmv4_6",
    "minicpmv4_7",
    "nemotron_h_omni",
    "qwen3_5",
    "qwen3_5_moe",
)
