"""How many of a language model's tokens a picture of NSD's size takes, by type.

Three types have the settings of published files, the others those of their classes. Types whose classes have no
complete settings are left out.
"""

import tiny_vision_language
from PIL import Image
from tiny_vision_language import OWN

# Folders of published files, whose own settings count in place of the default ones.
PUBLISHED = {
    "llava": "llava-hf__llava-1.5-7b-hf",
    "qwen2_5_vl": "Qwen__Qwen2.5-VL-7B-Instruct",
    "smolvlm": "HuggingFaceTB__SmolVLM-256M-Instruct",
}
COUNTS = {
    "aria": 256,
    "aya_vision": 169,
    "cohere2_vision": 256,
    "cohere_compass": 225,
    "cosmos3_edge": 169,
    "deepseek_ocr2": 257,
    "deepseek_vl": 576,
    "deepseek_vl_hybrid": 576,
    "dots3_note": 225,
    "emu3": 4160,
    "ernie4_5_vl_moe": 225,
    "exaone4_5": 225,
    "gemma3": 256,
    "gemma4": 256,
    "gemma4_unified": 256,
    "glm46v": 225,
    "glm4v": 225,
    "glm4v_moe": 225,
    "glm_ocr": 225,
    "glmga": 225,
    "granite_docling": 64,
    "hunyuan_vl": 274,
    "hyperclovax_vision_v2": 225,
    "idefics2": 64,
    "idefics3": 2873,
    "inkling2": 121,
    "inkling_mm_model": 121,
    "internvl": 256,
    "janus": 576,
    "kimi_k25": 256,
    "lfm2_vl": 169,
    "lfm3_vl": 169,
    "lighton_ocr": 225,
    "llama4": 720,
    "llava": 576,
    "minicpm_ocr": 256,
    "minicpmv4_6": 64,
    "minicpmv4_7": 64,
    "minimax_m3_vl": 225,
    "mistral3": 256,
    "mistral_large4": 256,
    "mllama": 1,
    "molmo2": 725,
    "muse_glimmer": 256,
    "muse_spark": 256,
    "nemotron_h_omni": 256,
    "ovis2": 256,
    "paddleocr_vl": 225,
    "qianfan_ocr": 256,
    "qwen2_5_omni_thinker": 225,
    "qwen2_5_vl": 225,
    "qwen2_vl": 225,
    "qwen3_5": 169,
    "qwen3_5_moe": 169,
    "qwen3_omni_moe_thinker": 169,
    "qwen3_vl": 169,
    "qwen3_vl_moe": 169,
    "smolvlm": 1088,
    "step3p7": 169,
    "unlimited_ocr": 273,
    "video_llama_3": 900,
}


def count(name):
    """The image tokens of 425 x 425 pixels for a row, with the default settings of its classes.

    Two processors serve models with patches of several sizes: they take those of the model's default configuration.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    row = OWN[name] | {"image": {}, "processor": {}, "chat": True}
    config = CONFIG_MAPPING[name]()
    processor = tiny_vision_language.processor_of(name, row, config)
    if type(processor.image_processor).__name__.startswith("Qwen2VLImageProcessor"):
        processor.image_processor.patch_size = config.vision_config.patch_size
    if type(processor).__name__ == "PixtralProcessor":
        processor.patch_size, processor.spatial_merge_size = config.vision_config.patch_size, config.spatial_merge_size
    return tokens(processor, tiny_vision_language.image_token_id(processor, row))


def tokens(processor, image_token_id):
    """The tokens with this id among those of 425 x 425 pixels and a prompt."""
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Hi."}]}
    text = processor.apply_chat_template([message], tokenize=False)
    inputs = processor(text=text, images=[[Image.new("RGB", (425, 425))]], return_tensors="pt")
    return int((inputs["input_ids"] == image_token_id).sum())
