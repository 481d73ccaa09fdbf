"""Facts about families of vision-language models, by `model_type`, that the classes of transformers do not state."""

from dataclasses import dataclass

from brain_activity_prediction.runtime.errors import InputError

NO_PROMPT = "it does not answer questions about an image"
SEVERAL_STATES = "its layers pass on several states of each token"
REFUSED = {  # model types of AutoModelForImageTextToText that are not supported, with the reason
    "cosmos3_omni": "transformers has no processor for it",
    "blip": "it completes captions: its forward pass returns no states of the text (vision_model.py reads its tower)",
    "diffusion_gemma": "it writes an answer by diffusion, not token by token",
    "fuyu": "its image processor in transformers fails with PIL, which gives the same pixels on all machines",
    "gemma3n": SEVERAL_STATES,
    "glm5_next": SEVERAL_STATES,
    "qwen4_exp": SEVERAL_STATES,
    "evolla": "it reads proteins, not images",
    "pi0": "it returns movements of a robot, not text",
    "pix2struct": "it reads questions that are drawn into the image",
    "mistral4": "its class in transformers is a text model without images",
    "shieldgemma2": "it returns probabilities that rules are broken, not text",
    "udop": "it reads pages with the boxes of their words",
    "instructblipvideo": "it reads videos",
    "video_llava": "it reads videos",
    "pp_formulanet": NO_PROMPT,
    "got_ocr2": NO_PROMPT,
    "pp_chart2table": NO_PROMPT,
    "vision-encoder-decoder": NO_PROMPT,
}
# The image's positions attend to the question. Their states therefore depend on the prompt.
IMAGE_ATTENDS_TO_PROMPT = frozenset(("paligemma", "florence2", "t5gemma2", "instructblip"))
# The models cannot number the positions of a text that ends with the image, so the image is read with each prompt.
READ_WITH_PROMPT = frozenset(("git", "qwen2_5_omni_thinker", "qwen3_omni_moe_thinker"))
# Settings with the ids of tokens right after the image that are read with it: Ovis2 embeds them by its table of visual
# words, and MiniCPM-V 4.7 counts positions on a canvas that ends with them.
CLOSING_IDS = {
    "ovis2": ("visual_indicator_token_ids",),
    "minicpmv4_7": ("image_end_id", "slice_end_id", "newline_id"),
}
# All tokens of the first pass are kept, and a window of attention counts those of further passes.
WINDOW_AFTER_FIRST_PASS = frozenset(("unlimited_ocr",))
PROJECTED_BY_LAYER = frozenset(("granite4_vision",))  # several language layers have separate image features
PROMPTED_PROJECTOR = frozenset(("instructblip",))  # the projector also reads the prompt
NO_TOWER = frozenset(("chameleon", "emu3", "gemma4_unified"))  # pixels or their codes enter the language model
CHANNELS_FIRST = frozenset(("fast_vlm", "florence2"))  # the tower's maps are (B, channels, rows, columns)
NEEDS_IMAGE = frozenset(("kosmos-2",))  # the forward pass refuses more tokens without an image
ANSWERS_WITHOUT_IMAGE = frozenset(("kosmos-2.5",))  # the text model reads an answer's tokens alone
MAKES_NO_CACHE = frozenset(("granite4_vision",))  # the forward pass fills a cache only if it is given one
TYPED = frozenset(("cosmos3_edge",))  # the forward pass needs the tokens' types, which the processor may leave out
# The text follows the image, which has positions in the language model but no tokens in the text.
IMAGE_BEFORE_TEXT = frozenset(("git",))
ATTENDS_ANEW = frozenset(("idefics",))  # each forward pass over more tokens needs the image's features again
MORE_ENDS = {"idefics": ("<end_of_utterance>",)}  # tokens that end an answer but are named in no file
# Tokens that answers may not contain, as on the model card.
NEVER_ANSWERED = {"idefics": ("<image>", "<fake_token_around_image>")}
BY_TURNS = frozenset(("idefics",))  # the processor expects text and image in one list
# Templates from model cards and from examples of transformers, for families without a chat template. PaliGemma's
# processor adds the end of the line. GIT's answer follows the question without the [SEP] that would end a text.
CARD_TEMPLATES = {
    "blip-2": "Question: {prompt} Answer:",
    "chameleon": "{prompt}<image>",
    "deepseek_ocr2": "<image>\n{prompt}",
    "florence2": "{prompt}",
    "git": "[CLS]{prompt}",
    "instructblip": "{prompt}",
    "kosmos-2": "<grounding> Question: {prompt} Answer:",
    "paligemma": "<image>{prompt}",
    "t5gemma2": "<start_of_image> {prompt}",
    "unlimited_ocr": "<image>{prompt}",
}


@dataclass(frozen=True)
class Family:
    """Facts about a model type that determine its streams, known before any weight is loaded.

    tower  whether a vision network computes the image before the language model
    projector  whether a single projector maps the tower's states to the language model's width
    shared  whether the image's states in the language model are the same for all prompts
    prompted_projector  whether the projector reads the prompt
    encoder_decoder  whether an encoder reads the prompt and a decoder writes the answer
    image_before_text  whether the image takes positions before the text without having tokens
    """

    model_type: str
    tower: bool
    projector: bool
    shared: bool
    prompted_projector: bool
    encoder_decoder: bool
    image_before_text: bool

    @property
    def text_streams(self) -> tuple[str, ...]:
        """The streams of the text model, in the order in which it computes them."""
        return ("encoder", "decoder") if self.encoder_decoder else ("language",)


def family(config: dict, source) -> Family:
    """Return the family of a checkpoint from its config.json; raise InputError if it is not supported.

    config  content of config.json
    source  name of the checkpoint in messages
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN

    model_type = config.get("model_type")
    if model_type not in KNOWN and config.get("auto_map"):
        raise InputError(
            f"{source} is a {model_type} with code of its own, which is never run here: use a copy of the model that "
            "transformers reads without this code; ids of such copies often end in -hf"
        )
    if model_type not in KNOWN:
        raise InputError(
            f"{source} is a {model_type or 'model without model_type'}, which transformers does not know as a "
            "vision-language model: use vision_model.py for a vision network, text_model.py for a text model"
        )
    if model_type in REFUSED:
        raise InputError(f"{source} is a {model_type}, which is not supported because {REFUSED[model_type]}")
    text = config.get("text_config") or {}
    encoder_decoder = bool(config.get("is_encoder_decoder") or text.get("is_encoder_decoder"))
    encoder_decoder = encoder_decoder or text.get("model_type") in ("t5", "bart", "florence2")
    return Family(
        model_type=model_type,
        tower=model_type not in NO_TOWER,
        projector=model_type not in NO_TOWER | PROJECTED_BY_LAYER,
        shared=not encoder_decoder and model_type not in IMAGE_ATTENDS_TO_PROMPT | READ_WITH_PROMPT,
        prompted_projector=model_type in PROMPTED_PROJECTOR,
        encoder_decoder=encoder_decoder,
        image_before_text=model_type in IMAGE_BEFORE_TEXT,
    )
