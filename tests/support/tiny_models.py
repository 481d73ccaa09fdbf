"""Tiny models of transformers' own classes, without zero parameters, in folders for `--checkpoint`.

The tokenizers of IDEFICS (like LLaMA's) and InstructBLIP (like BERT's) are trained here on the nine prompts. The
special tokens, their order and their use are those of the published checkpoints.
"""

from pathlib import Path

from brain_activity_prediction.demo.models import IMAGE_SIZE, save_random, write_llava, write_vit
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.models.library_imports import import_torchvision

import_torchvision()

# With larger weights, rounding of float32 would grow from layer to layer beyond 1e-6 of a layer's scale.
WIDE_GAIN = 1.5
LANGUAGE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
VISION = {"num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48, "image_size": IMAGE_SIZE}
SENTENCES = [*PROMPTS.values(), "User: Assistant:", "abcdefghijklmnopqrstuvwxyz.,?!'"]


def write_idefics(folder: Path) -> None:
    """Write an IDEFICS with gated cross-attention before every second of 4 layers, and with open gates."""
    from transformers import IdeficsConfig, IdeficsForVisionText2Text, IdeficsImageProcessorPil, IdeficsProcessor

    added = ("<fake_token_around_image>", "<image>", "<end_of_utterance>")
    tokenizer = llama_tokenizer(bos="<s>", pad="<unk>", added=added)
    config = IdeficsConfig(
        **LANGUAGE,
        vocab_size=len(tokenizer) - len(added),
        additional_vocab_size=len(added),
        cross_layer_interval=2,
        alpha_type="vector",
        qk_layer_norms=True,
        use_resampler=True,
        vision_config={"embed_dim": 24, "patch_size": 8, **VISION},
        perceiver_config={
            "use_resampler": True,
            "resampler_depth": 3,
            "resampler_n_heads": 2,
            "resampler_head_dim": 8,
            "resampler_n_latents": 5,
            "qk_layer_norms_perceiver": True,
        },
    )
    save_random(IdeficsForVisionText2Text(config), folder, 0, WIDE_GAIN)
    IdeficsProcessor(IdeficsImageProcessorPil(image_size=IMAGE_SIZE), tokenizer).save_pretrained(folder)


def write_instruct_blip(folder: Path) -> None:
    """Write an InstructBLIP with 6 queries, and cross-attention in every second of the Q-Former's 4 layers."""
    from transformers import (
        BlipImageProcessorPil,
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        InstructBlipProcessor,
        LlamaConfig,
    )

    tokenizer = llama_tokenizer(bos="</s>", pad="[PAD]", added=("[PAD]", "<image>"))
    reader = bert_tokenizer()
    config = InstructBlipConfig(
        vision_config={"hidden_size": 24, "patch_size": 8, **VISION},
        qformer_config={
            "vocab_size": len(reader),
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
        },
        text_config=LlamaConfig(**LANGUAGE, vocab_size=len(tokenizer)).to_dict(),
        num_query_tokens=6,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    save_random(InstructBlipForConditionalGeneration(config), folder, 0, WIDE_GAIN)
    images = BlipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    InstructBlipProcessor(images, tokenizer, reader, num_query_tokens=6).save_pretrained(folder)


def llama_tokenizer(bos: str, pad: str, added: tuple[str, ...]):
    """Return a tokenizer like LLaMA's: a text begins with `bos`, a blank precedes each part between special tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # so that no piece spans two words
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=["\n"], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    tokenizer.add_special_tokens(list(added))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token="</s>", pad_token=pad, unk_token="<unk>"
    )


def bert_tokenizer():
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    special = [*names.values(), "[DEC]"]
    tokenizer.train_from_iterator(
        SENTENCES, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="[DEC]", **names)


MODELS = {
    "vit": ("vit_huge_patch14_224_in21k.py", lambda folder: write_vit(folder, wide_gain=WIDE_GAIN)),
    "llava": ("llava_1.5_13b.py", lambda folder: write_llava(folder, wide_gain=WIDE_GAIN)),
    "instruct_blip": ("instruct_blip_13b.py", write_instruct_blip),
    "idefics": ("idefics_9b_instruct.py", write_idefics),
}
