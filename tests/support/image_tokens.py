"""Number of image tokens of a picture of NSD's size, for each model type.

Three types have the settings of published files, the others the defaults of their classes. `PAPERS` has values from
papers for settings without a default. Types with unknown settings are left out.
"""

import tiny_vision_language
from PIL import Image
from tiny_vision_language import OWN

from brain_activity_prediction.models.vision_language.families import CARD_TEMPLATES
from brain_activity_prediction.models.vision_language.inputs import MASK

# Folders of published files, whose settings are used instead of the defaults.
PUBLISHED = {
    "llava": "llava-hf__llava-1.5-7b-hf",
    "qwen2_5_vl": "Qwen__Qwen2.5-VL-7B-Instruct",
    "smolvlm": "HuggingFaceTB__SmolVLM-256M-Instruct",
}
CLIP_336 = {
    "image": {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}},
    "processor": {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
}
PAPERS = {  # settings without a default in the class, from the papers of these models
    "blip-2 with OPT": {"processor": {"num_query_tokens": 32}},
    "fast_vlm": {
        "processor": {"patch_size": 64, "vision_feature_select_strategy": "full"},
        "image": {"size": {"shortest_edge": 1024}, "crop_size": {"height": 1024, "width": 1024}},
    },
    "instructblip": {"processor": {"num_query_tokens": 32}},
    "llava_next": CLIP_336,
    "llava_next_video": CLIP_336,
    "llava_onevision": {"processor": {"num_image_tokens": 729, "vision_feature_select_strategy": "full"}},
    "paligemma": {"image": {"size": {"height": 224, "width": 224}, "image_seq_length": 256}},
    "vipllava": CLIP_336,
}
COUNTS = {
    "aria": 256,
    "aya_vision": 169,
    "blip-2 with OPT": 32,
    "chameleon": 1024,
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
    "fast_vlm": 256,
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
    "instructblip": 32,
    "internvl": 256,
    "janus": 576,
    "kimi_k25": 256,
    "kosmos-2": 64,
    "kosmos-2.5": 2048,
    "lfm2_vl": 169,
    "lfm3_vl": 169,
    "lighton_ocr": 225,
    "llama4": 720,
    "llava": 576,
    "llava_next": 2928,
    "llava_next_video": 2928,
    "llava_onevision": 3699,
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
    "paligemma": 256,
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
    "vipllava": 576,
}


def count(name):
    """Return the number of image tokens of 425 x 425 pixels, with the default settings of a row's classes.

    Two processors support several patch sizes. They use that of the model's default configuration.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    row = OWN[name] | {"image": {}, "processor": {}} | PAPERS.get(name, {})
    model_type = row.get("model_type", name)
    config = CONFIG_MAPPING[model_type]()
    processor = tiny_vision_language.processor_of(model_type, row, config)
    if type(processor.image_processor).__name__.startswith("Qwen2VLImageProcessor"):
        processor.image_processor.patch_size = config.vision_config.patch_size
    if type(processor).__name__ == "PixtralProcessor":
        processor.patch_size, processor.spatial_merge_size = config.vision_config.patch_size, config.spatial_merge_size
    text = None if row.get("chat", True) else CARD_TEMPLATES.get(model_type, "{prompt}").format(prompt="Hi.")
    return tokens(processor, tiny_vision_language.image_token_id(processor, row), text)


def tokens(processor, image_token_id, text=None):
    """Count the tokens with this id, or in the image's mask, for a picture of 425 x 425 pixels and a prompt.

    text  the prompt with the image's placeholder, for processors without a chat template
    """
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Hi."}]}
    text = text or processor.apply_chat_template([message], tokenize=False)
    inputs = processor(text=text, images=[[Image.new("RGB", (425, 425))]], return_tensors="pt")
    mask = inputs[MASK] == 1 if MASK in inputs else inputs["input_ids"] == image_token_id
    return int(mask.sum())
