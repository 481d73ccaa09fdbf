"""Tiny random text models of many families, with tokenizers of single letters in the style of each family."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from brain_activity_prediction.models.library_imports import import_torchvision

SIZE = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
LIMIT = 40  # tokens
# Each kind of tokenizer: its special tokens in the order of their ids, the tokens around a text, and their roles.
TOKENIZERS = {
    "bert": (["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "[CLS] $A [SEP]", {"cls_token": "[CLS]", "sep_token": "[SEP]"}),
    "roberta": (["<s>", "<pad>", "</s>", "<unk>"], "<s> $A </s>", {"cls_token": "<s>", "eos_token": "</s>"}),
    "t5": (["<pad>", "</s>", "<unk>"], "$A </s>", {"eos_token": "</s>"}),
    "llama": (["<unk>", "<s>", "</s>"], "<s> $A", {"bos_token": "<s>", "eos_token": "</s>"}),
    "gpt": (["<|endoftext|>"], "$A", {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}),
}
FAMILIES = {  # name: the configuration's class, its values, and its tokenizer
    "bert": ("BertConfig", SIZE, "bert"),
    "electra": ("ElectraConfig", SIZE | {"embedding_size": 8}, "bert"),
    "albert": ("AlbertConfig", SIZE | {"embedding_size": 8}, "bert"),
    "distilbert": ("DistilBertConfig", {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24}, "bert"),
    "modernbert": ("ModernBertConfig", SIZE | {"pad_token_id": 0}, "bert"),
    "roberta": ("RobertaConfig", SIZE | {"pad_token_id": 1}, "roberta"),
    "xlm_roberta": ("XLMRobertaConfig", SIZE | {"pad_token_id": 1}, "roberta"),
    "mpnet": ("MPNetConfig", SIZE | {"pad_token_id": 1}, "roberta"),
    "gpt2": ("GPT2Config", {"n_embd": 16, "n_layer": 3, "n_head": 2}, "gpt"),
    "opt": ("OPTConfig", {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "ffn_dim": 24}, "llama"),
    "llama": ("LlamaConfig", SIZE | {"num_key_value_heads": 1}, "llama"),
    "mistral": ("MistralConfig", SIZE | {"num_key_value_heads": 1}, "llama"),
    "gemma2": ("Gemma2Config", SIZE | {"num_key_value_heads": 1, "head_dim": 8}, "llama"),
    "qwen2": ("Qwen2Config", SIZE | {"num_key_value_heads": 1}, "gpt"),
    "qwen3": ("Qwen3Config", SIZE | {"num_key_value_heads": 1, "head_dim": 8}, "gpt"),
    "t5": ("T5Config", {"d_model": 16, "num_layers": 3, "num_heads": 2, "d_kv": 8, "d_ff": 24}, "t5"),
    "bart": (
        "BartConfig",
        {"d_model": 16, "encoder_layers": 3, "decoder_layers": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
        | {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "pad_token_id": 1},
        "roberta",
    ),
}


def write_text_model(name, folder, padding_side="right", longest=LIMIT):
    """Write a family's checkpoint; return the folder."""
    import_torchvision()
    import transformers as hf

    config_class, values, tokenizer = FAMILIES[name]
    backend, n_words = letters(tokenizer)
    specials, _, roles = TOKENIZERS[tokenizer]
    pads = {token: token for token in specials if "pad" in token.lower()}
    roles = roles | ({"pad_token": next(iter(pads))} if pads else {})
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=backend, padding_side=padding_side, **roles)
    fast.model_max_length = longest
    fast.save_pretrained(folder)
    n_positions = longest + (2 if name in ("roberta", "xlm_roberta", "mpnet") else 0)
    values = {"vocab_size": n_words, "max_position_embeddings": n_positions} | values
    if name == "t5":
        del values["max_position_embeddings"]
    config = getattr(hf, config_class)(**values)
    torch.manual_seed(0)
    save(hf.AutoModel.from_config(config), folder)
    return folder


def letters(kind):
    """Return a tokenizer with a token for each letter and the special tokens of its kind, and its number of tokens."""
    specials, around, _ = TOKENIZERS[kind]
    vocabulary = {word: number for number, word in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(specials)
    ids = [(token, vocabulary[token]) for token in specials]
    backend.post_processor = processors.TemplateProcessing(single=around, special_tokens=ids)
    return backend, len(vocabulary)


def save(model, folder):
    """Save a model after every parameter was changed at random, so that none is zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
