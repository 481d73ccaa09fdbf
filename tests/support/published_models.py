"""The six models as they are published, from `../shared/published`: real vocabulary, special ids and processor.

Sizes in config.json are reduced, and weights are random. Files that were not available are rebuilt from documentation:
- IDEFICS' tokenizer: LLaMA's vocabulary (LLaVA's tokenizer.json without its added tokens) and IDEFICS' three tokens.
- InstructBLIP's tokenizers: LLaMA's vocabulary with the added tokens of its own settings, and BERT's with [DEC].
- mPLUG-Owl's tokenizer: LLaMA's tokenizer.model. MPT-7B's: GPT-NeoX-20b's without the ids from 50277 on.
- The pixel settings of IDEFICS and ViT-Huge, as their model cards and repositories describe them.
"""

import json
import shutil
from pathlib import Path

import pytest

from brain_activity_prediction.demo.models import save_random

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "published"
needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no ../shared/published")

LLAVA = PUBLISHED / "llava-hf__llava-1.5-7b-hf"
BLIP = PUBLISHED / "Salesforce__instructblip-vicuna-13b"
NEOX = PUBLISHED / "EleutherAI__gpt-neox-20b"
BERT = PUBLISHED / "google-bert__bert-base-uncased"
MEAN, SD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}


def write_llava(folder):
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    shutil.copytree(LLAVA, folder)
    config = read(folder / "config.json")
    config["text_config"] |= {**SMALL, "num_key_value_heads": 2}
    config["vision_config"] |= SMALL
    save_as_published(LlavaForConditionalGeneration(LlavaConfig(**config)), folder, config)


def write_instruct_blip(folder):
    from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration

    shutil.copytree(BLIP, folder)
    config, settings = read(folder / "config.json"), read(folder / "tokenizer_config.json")
    config["text_config"] |= {**SMALL, "num_key_value_heads": 2, "head_dim": 8}
    config["vision_config"] |= SMALL
    config["qformer_config"] |= {**SMALL, "encoder_hidden_size": 16}
    save_as_published(InstructBlipForConditionalGeneration(InstructBlipConfig(**config)), folder, config)
    added = {int(number): token["content"] for number, token in settings["added_tokens_decoder"].items()}
    write_json(folder / "tokenizer.json", llama_tokenizer(added, bos="</s>"))
    shutil.copy(LLAVA / "tokenizer.model", folder)
    words = (BERT / "vocab.txt").read_text(encoding="utf-8")
    (folder / "qformer_tokenizer").mkdir()
    (folder / "qformer_tokenizer" / "vocab.txt").write_text(words + "[DEC]\n", encoding="utf-8")
    reader = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "bos_token": "[DEC]", "model_max_length": 512}
    write_json(folder / "qformer_tokenizer" / "tokenizer_config.json", reader)


IDEFICS_TOKENS = {32000: "<fake_token_around_image>", 32001: "<image>", 32002: "<end_of_utterance>"}


def write_idefics(folder):
    from transformers import IdeficsConfig, IdeficsForVisionText2Text

    folder.mkdir(parents=True)
    config = {
        "architectures": ["IdeficsForVisionText2Text"],
        "model_type": "idefics",
        **SMALL,
        "vocab_size": 32000,
        "additional_vocab_size": len(IDEFICS_TOKENS),
        "cross_layer_interval": 1,
        "alpha_type": "vector",
        "alphas_initializer_range": 0.1,
        "alpha_initializer": "random",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "qk_layer_norms": True,
        "use_resampler": True,
        "vision_config": {
            "embed_dim": 16,
            "image_size": 224,
            "intermediate_size": 24,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "patch_size": 14,
        },
        "perceiver_config": {
            "qk_layer_norms_perceiver": True,
            "resampler_depth": 2,
            "resampler_head_dim": 8,
            "resampler_n_heads": 2,
            "resampler_n_latents": 64,
            "use_resampler": True,
        },
    }
    save_as_published(IdeficsForVisionText2Text(IdeficsConfig(**config)), folder, config)
    write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    write_json(folder / "tokenizer.json", llama_tokenizer(IDEFICS_TOKENS, bos="<s>"))
    shutil.copy(LLAVA / "tokenizer.model", folder)
    tokens = [
        {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
        for token in IDEFICS_TOKENS.values()
    ]
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>", "unk_token": "<unk>"}
    write_json(folder / "special_tokens_map.json", {"additional_special_tokens": tokens, **roles})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", "legacy": False, **roles})
    write_json(folder / "added_tokens.json", {token: number for number, token in IDEFICS_TOKENS.items()})
    pixels = {"image_mean": MEAN, "image_num_channels": 3, "image_size": 224, "image_std": SD}
    processor = {"image_processor_type": "IdeficsImageProcessor", "processor_class": "IdeficsProcessor"}
    write_json(folder / "preprocessor_config.json", pixels | processor)


def write_vit(folder):
    from transformers import ViTConfig, ViTModel

    folder.mkdir(parents=True)
    config = {"architectures": ["ViTModel"], "model_type": "vit", **SMALL, "image_size": 224, "patch_size": 14}
    save_as_published(ViTModel(ViTConfig(**config)), folder, config)
    halves = [0.5, 0.5, 0.5]
    pixels = {"do_normalize": True, "do_resize": True, "image_mean": halves, "image_std": halves}
    write_json(folder / "preprocessor_config.json", {**pixels, "resample": 2, "size": 224})


def write_mplug_owl(folder):
    from tiny_mplug_owl import random_model, tiny_config

    folder.mkdir(parents=True)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = tiny_config(
        vision={**sizes, "image_size": 224, "patch_size": 14},
        abstractor=sizes,
        text={**sizes, "vocab_size": 32000, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6},
        queries=64,
    )
    random_model(config).save_pretrained(folder)
    shutil.copy(LLAVA / "tokenizer.model", folder)
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>", "unk_token": "<unk>"}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": False} | roles)


def write_openflamingo(folder):
    import tiny_openflamingo

    geometry = {
        **tiny_openflamingo.GEOMETRY,
        "vision": {**tiny_openflamingo.GEOMETRY["vision"], "image_size": 224},
        "vocab_size_total": 50280,
    }
    tiny_openflamingo.write_checkpoint(folder, geometry, tiny_openflamingo.random_tensors(geometry))
    content = read(NEOX / "tokenizer.json")
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < 50277]
    part = folder / "mpt-7b"
    for path in part.glob("*token*"):
        path.unlink()
    write_json(part / "tokenizer.json", content)
    end = "<|endoftext|>"
    roles = {"bos_token": end, "eos_token": end, "unk_token": end, "add_prefix_space": False}
    write_json(
        part / "tokenizer_config.json", {"tokenizer_class": "GPTNeoXTokenizer", "model_max_length": 2048} | roles
    )
    write_json(part / "special_tokens_map.json", {"bos_token": {"content": end}, "eos_token": end, "unk_token": end})
    write_json(part / "generation_config.json", {"eos_token_id": 0, "use_cache": False})


def llama_tokenizer(added, bos):
    """Return LLaMA's tokenizer.json with the given added tokens, `{id: text}`, and its first token."""
    content = read(LLAVA / "tokenizer.json")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    own = [token for token in content["added_tokens"] if token["id"] < 32000]
    new = [{"id": number, "content": text, **flags} for number, text in added.items() if number >= 32000]
    content["added_tokens"] = own + new
    number = {"<s>": 1, "</s>": 2}[bos]
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {bos: {"id": bos, "ids": [number], "tokens": [bos]}},
    }
    return content


def save_as_published(model, folder, config):
    """Save random weights with the published configuration, in which only sizes are reduced."""
    kept = {path: path.read_bytes() for path in folder.glob("generation_config.json")}
    save_random(model, folder, seed=0, wide_gain=1.5)
    (folder / "generation_config.json").unlink(missing_ok=True)
    for path, content in kept.items():
        path.write_bytes(content)
    write_json(folder / "config.json", config)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


WRITE = {
    "llava_1.5_13b.py": write_llava,
    "instruct_blip_13b.py": write_instruct_blip,
    "idefics_9b_instruct.py": write_idefics,
    "mplug_owl_llama_7b.py": write_mplug_owl,
    "openflamingo_9b.py": write_openflamingo,
    "vit_huge_patch14_224_in21k.py": write_vit,
}
