"""Tiny random models of every class that `AutoModelForImageTextToText` knows, in folders for `--checkpoint`.

Each is the real class with its real processor and its default configuration, in which only sizes are reduced. The
tokenizer has single bytes and the special tokens of the family. `OWN` has the other settings of each family.
"""

import inspect

import families_a_to_h
import families_i_to_m
import families_m_to_z
import torch

from brain_activity_prediction.demo.models import save_random
from brain_activity_prediction.models.library_imports import import_torchvision

import_torchvision()

SIZES = {  # names of sizes in configurations, and their tiny values
    32: "hidden_size d_model embed_dim projection_dim out_hidden_size encoder_hidden_size text_hidden_size "
    "word_embed_proj_dim projector_input_dim projector_output_dim vision_output_dim base_channels",
    48: "intermediate_size ffn_dim encoder_ffn_dim decoder_ffn_dim d_ff mlp_dim intermediate_size_mlp "
    "projection_hidden_dim",
    3: "num_hidden_layers num_layers encoder_layers decoder_layers layers depth n_layer n_layers num_decoder_layers",
    4: "num_attention_heads n_head num_heads encoder_attention_heads decoder_attention_heads attention_heads "
    "num_experts num_local_experts n_routed_experts moe_num_experts swa_num_attention_heads linear_num_value_heads",
    2: "num_key_value_heads num_experts_per_tok moe_topk moe_k resampler_depth resampler_n_heads "
    "swa_num_key_value_heads linear_num_key_heads",
    8: "head_dim qk_nope_head_dim qk_rope_head_dim v_head_dim hidden_size_per_layer_input resampler_head_dim "
    "swa_head_dim linear_key_head_dim linear_value_head_dim",
    16: "moe_intermediate_size kv_lora_rank q_lora_rank shared_expert_intermediate_size",
    1: "n_group topk_group first_k_dense_replace num_kv_shared_layers",
    512: "vocab_size vocab_size_per_layer_input",
}
TINY = {name: size for size, names in SIZES.items() for name in names.split()}
ROLES = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "sep_token_id": 2}
DERIVED = (
    "layer_types",
    "mlp_layer_types",
    "per_layer_config",
)  # lists with a value per layer, made by the classes
IMAGE = "<image>"
OWN = families_a_to_h.OWN | families_i_to_m.OWN | families_m_to_z.OWN


def default_config(model_type, own):
    """Return the default configuration of a type with tiny sizes; `own` has other values, by part."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    known = CONFIG_MAPPING[model_type]
    values = shrunk(known().to_dict(), own)
    return known(
        **{name: value for name, value in values.items() if name not in ("model_type", "transformers_version")}
    )


def shrunk(values, own):
    tiny = {}
    for name, value in values.items():
        if is_part(name, value):
            tiny[name] = shrunk(value, own.get(name, {}))
        elif name in TINY and isinstance(value, int):
            tiny[name] = min(value, TINY[name])
        elif name in ROLES and value is not None:
            tiny[name] = ROLES[name]
        elif name not in DERIVED:
            tiny[name] = value
    return tiny | {name: value for name, value in own.items() if not is_part(name, values.get(name))}


def is_part(name, value):
    """Return whether a value of a configuration is the configuration of a part."""
    return isinstance(value, dict) and name not in DERIVED and (name.endswith("config") or "model_type" in value)


def byte_tokenizer(special, roles):
    """Return a tokenizer of bytes and special tokens; `roles` are `{attribute: token}`, such as `image_token`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}
    for character in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[character] = len(vocabulary)
    backend = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<pad>", "<s>", "</s>", "<unk>", *special])
    ends = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, extra_special_tokens=roles, **ends)


def template(placeholder):
    return (
        "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + placeholder + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n"
        "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )


def processor_of(model_type, own, config):
    """Return the real processor of a family, with its default image processor and the byte tokenizer."""
    import transformers
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES as SOUNDS
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES as IMAGES
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES as PROCESSORS
    from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES as VIDEOS

    kind = getattr(transformers, own.get("processor_class") or PROCESSORS[model_type])
    special = [*dict.fromkeys([*own.get("tokens", [IMAGE]), *own.get("roles", {}).values()])]
    tokenizer = byte_tokenizer(special, own.get("roles", {}))

    def chosen(name, known):
        """Return the class that `own` names, or the class of transformers for the type."""
        backends = own.get(name) or known[model_type]
        return getattr(transformers, backends if isinstance(backends, str) else next(iter(backends.values())))

    parts = {
        "image_processor": lambda: chosen("image_class", IMAGES)(**own.get("image", {})),
        "tokenizer": lambda: tokenizer,
        "video_processor": lambda: chosen("video_class", VIDEOS)(**own.get("video", {})),
        "feature_extractor": lambda: chosen("sound_class", SOUNDS)(),
        "qformer_tokenizer": lambda: byte_tokenizer([], {}),
        "chat_template": lambda: template(own.get("placeholder", IMAGE)) if own.get("chat", True) else None,
    }
    taken = inspect.signature(kind.__init__).parameters
    given = {name: make() for name, make in parts.items() if name in taken}
    return kind(**given, **own.get("processor", {}))


def image_token_id(processor, own):
    token = own.get("image_token") or getattr(processor, "image_token", IMAGE)
    return processor.tokenizer.convert_tokens_to_ids(str(token))


def write(model_type, folder, own=None):
    """Write a tiny model of a type with its processor into a folder; `own` is its row, by default that of `OWN`."""
    from transformers import AutoModelForImageTextToText

    own = OWN.get(model_type, {}) if own is None else own
    model_type = own.get("model_type", model_type)
    config = default_config(model_type, own.get("config", {}))
    processor = processor_of(model_type, own, config)
    ids = {name: processor.tokenizer.convert_tokens_to_ids(token) for name, token in own.get("ids", {}).items()}
    for name in ("image_token_id", "image_token_index"):
        if hasattr(config, name) and name not in ids:
            ids[name] = image_token_id(processor, own)
    for part in (config, getattr(config, "encoder", None)):
        for name, number in ids.items():
            if hasattr(part, name):
                setattr(part, name, number)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    model.generation_config.update(**own.get("generation", {}))
    save_random(model, folder, seed=0, wide_gain=1.5)
    processor.save_pretrained(folder)
    return model
