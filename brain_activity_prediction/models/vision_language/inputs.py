"""Make the inputs of a vision-language model: each image is processed once, and joined to the tokens of each prompt.

A processor replaces the image's placeholder by as many tokens as the image takes. The tokens around them depend on the
prompt, and may state the image's size or tiles. Each different text around an image is processed once, with a blank
image.

Letters: B images, T tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import takewhile
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from brain_activity_prediction.models.chat_template import Marks
from brain_activity_prediction.models.decoding import tokens_within
from brain_activity_prediction.models.thinking import Thinking
from brain_activity_prediction.models.vision_language.groups import IDS, PROBE_SIZE, Group, Groups, Text, joined, kind
from brain_activity_prediction.models.vision_language.prompts import PLACE
from brain_activity_prediction.runtime.errors import InputError

PROBES = ("Describe.", "What does this picture show, and where was it taken?")  # two prompts of different length
# Names of the image token's id in configurations.
IMAGE_TOKEN_IDS = ("image_token_id", "image_token_index", "image_patch_id")
TYPES = "mm_token_type_ids"  # input that is not 0 for tokens of the image
TARGETS = "labels"  # targets of training, which PaliGemma's processor returns as well
MASK = "image_embeds_position_mask"  # input that marks the image's positions, for models without an image token


class Reader:
    """A processor with a template, which converts images and prompts to a model's inputs.

    template  text around a prompt, `...{prompt}...`
    image_ids  token ids that represent the image in the text; empty if it has no tokens there
    """

    def __init__(self, processor, template: str, image_ids: Iterable[int]):
        self.processor, self.template = processor, template
        self.tokenizer = getattr(processor, "tokenizer", None)
        self.image_ids = frozenset(image_ids)
        self.closing_ids: frozenset[int] = frozenset()  # tokens right after the image that are read with it
        self.image_before = 0  # number of positions of the image before the text, without tokens
        self.never_answered: Sequence[int] = ()  # token ids that answers may not contain
        self.shared = False  # whether the image's states are the same for all prompts
        self.marks: Marks | None = None  # marks around the model's thoughts, if known
        self.thinking: Thinking | None = None  # how the thinking before an answer ends, if the model thinks
        self.settings: dict[str, bool] = {}  # arguments of the processor besides its defaults
        self._texts: dict[tuple, Text] = {}
        self._sizes: dict[tuple, tuple[int, int]] = {}  # {token ids around an image: size of a blank image}

    def rendered(self, prompt: str) -> str:
        """Return the whole text of a prompt, with the image's placeholder."""
        return self.template.format(prompt=prompt)

    def encoded(self, prompt: str, image: Image.Image | None = None) -> dict[str, Any]:
        """Return the inputs of a model for one image (by default a grey one) and a prompt."""
        text, image = self.rendered(prompt), image or Image.new("RGB", PROBE_SIZE, "grey")
        # A template may contain the first token. In this case it is not added again, as in `apply_chat_template`.
        settings = self.settings | ({"add_special_tokens": False} if self._begins_itself(text) else {})
        inputs = self.processor(images=[[image]] if self._nested else image, text=text, return_tensors="pt", **settings)
        return {name: value for name, value in inputs.items() if name != TARGETS}

    def _begins_itself(self, text: str) -> bool:
        first = (getattr(self.tokenizer, name, None) for name in ("bos_token", "cls_token"))
        return text.startswith(tuple(token for token in first if token))

    @cached_property
    def _nested(self) -> bool:
        """True if the processor expects a list of images for each text, like processors with a chat template."""
        return bool(getattr(self.processor, "chat_template", None))

    @cached_property
    def aligned(self) -> frozenset[str]:
        """Names of the inputs with a value for each token, found with two prompts of different length."""
        first, second = map(self.encoded, PROBES)
        return frozenset(
            name
            for name, value in first.items()
            if getattr(value, "ndim", 0) >= 2
            and value.shape[:2] == first[IDS].shape[:2]
            and second[name].shape[:2] == second[IDS].shape[:2]
        )

    @cached_property
    def prompted(self) -> frozenset[str]:
        """Names of the other inputs that depend on the prompt."""
        first, second = map(self.encoded, PROBES)
        return frozenset(
            name
            for name, value in first.items()
            if name not in self.aligned and isinstance(value, torch.Tensor) and not torch.equal(value, second[name])
        )

    @cached_property
    def axes(self) -> dict[str, int] | None:
        """The axis along which the processor joins each input of several images.

        None if inputs cannot be joined, for instance because they number patches through all images. Images are then
        read one at a time. `loading` also sets None for a model that mixes the images of a batch.
        """
        image, text = Image.new("RGB", PROBE_SIZE, "grey"), self.rendered(PROBES[0])
        try:
            two = self.processor(
                images=[[image], [image]] if self._nested else [image, image],
                text=[text, text],
                return_tensors="pt",
                **self.settings,
            )
        except (TypeError, ValueError):  # the processor accepts only one image
            return {}
        axes = {}
        for name, value in self.encoded(PROBES[0]).items():
            if name in self.aligned or not isinstance(value, torch.Tensor) or value.ndim != two[name].ndim:
                continue
            axes[name] = next((axis for axis, n in enumerate(two[name].shape) if n == 2 * value.shape[axis]), 0)
            if not torch.equal(joined([value, value], axes[name]), two[name]):
                return None
        return axes

    def places(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return a mask (T,) of the image's tokens."""
        if MASK in inputs:
            return inputs[MASK][0] == 1  # -1 marks the tokens around the image
        ids = inputs[IDS][0]
        return torch.isin(ids, torch.tensor(sorted(self.image_ids), device=ids.device, dtype=ids.dtype))

    def bounds(self, inputs: Mapping[str, Tensor]) -> tuple[int, int]:
        """Return the position of the image's first token, and the position after its last; (0, 0) if it has none.

        Other tokens of the image's type, such as marks around its rows, are included, because they may attend to each
        other. So do
        the tokens right after the image that the model embeds or counts with it.
        """
        mask = self.places(inputs)
        if TYPES in inputs and mask.any():
            mask = mask | (inputs[TYPES][0] != 0)
        places = mask.nonzero().flatten().tolist()
        if not places:
            return 0, 0
        after = inputs[IDS][0, places[-1] + 1 :].tolist()
        return places[0], places[-1] + 1 + sum(1 for _ in takewhile(self.closing_ids.__contains__, after))

    def text(self, prompt: str, size: tuple[int, int] = PROBE_SIZE) -> Text:
        """Return the text of a prompt around an image with this width and height in pixels."""
        if (prompt, size) not in self._texts:
            inputs = self.encoded(prompt, Image.new("RGB", size, "grey"))
            start, stop = self.bounds(inputs)
            prompt_tokens, counted_back = self._prompt_tokens(prompt, inputs, start)
            self._texts[prompt, size] = Text(
                {name: inputs[name][:, :start] for name in self.aligned},
                {name: inputs[name][:, stop:] for name in self.aligned},
                {name: inputs[name] for name in self.prompted},
                prompt_tokens,
                counted_back,
            )
        return self._texts[prompt, size]

    def raw_ids(self, prompt: str, tokenizer=None) -> list[int]:
        """Return the token ids of the whole text, with the placeholder instead of the image.

        tokenizer  None for the processor's own
        """
        return self._tokenised(prompt, tokenizer or self.tokenizer)[IDS]

    def _tokenised(self, prompt: str, tokenizer):
        text = self.rendered(prompt)
        return tokenizer(text, add_special_tokens=not self._begins_itself(text), return_offsets_mapping=True)

    def _prompt_tokens(self, prompt: str, inputs: Mapping[str, Tensor], image_start: int) -> tuple[slice, bool]:
        """Return the positions of the prompt's own tokens, and whether they are counted from the text's end.

        They are counted from the start if the image follows the prompt. They are searched in the processor's result,
        because processors insert the image's tokens and may append an end; the last occurrence is used.
        """
        encoded, start = self._tokenised(prompt, self.tokenizer), len(self.template.split(PLACE)[0].format())
        own = encoded[IDS][tokens_within(encoded["offset_mapping"], start, start + len(prompt))]
        ids, n_own = inputs[IDS][0].tolist(), len(own)
        for first in range(len(ids) - n_own, -1, -1):
            if ids[first : first + n_own] == own:
                back = slice(len(ids) - first, len(ids) - first - n_own)
                return (back, True) if first >= image_start else (slice(first, first + n_own), False)
        raise InputError(
            f"the tokens of {prompt[:40]!r} could not be found in the text that {type(self.processor).__name__} writes"
        )

    def groups(self, images: Sequence[Image.Image]) -> Groups:
        """Process each image once, and group those whose inputs have equal shapes."""
        kinds: dict[tuple, list[tuple[int, dict]]] = {}
        for row, image in enumerate(images):
            inputs = self.encoded(PROBES[0], image.convert("RGB"))
            kinds.setdefault((kind(inputs), None if self.axes is not None else row), []).append((row, inputs))
        return Groups([self._group(members, images[members[0][0]].size) for members in kinds.values()])

    def _group(self, members: list[tuple[int, dict]], size: tuple[int, int]) -> Group:
        rows, inputs = zip(*members, strict=True)
        start, stop = self.bounds(inputs[0])
        images = [name for name in inputs[0] if name not in self.aligned | self.prompted]
        return Group(
            list(rows),
            {name: inputs[0][name][:, start:stop] for name in self.aligned},
            {name: joined([one[name] for one in inputs], (self.axes or {}).get(name, 0)) for name in images},
            self._blank_size(inputs[0], size),
        )

    def _blank_size(self, inputs: Mapping[str, Tensor], size: tuple[int, int]) -> tuple[int, int]:
        """Return the size of a blank image that has the same text around it as this image with PROBES[0]."""
        (start, stop), ids = self.bounds(inputs), tuple(inputs[IDS][0].tolist())
        around = ids[:start], ids[stop:]
        if around not in self._sizes:
            fitting = [blank for blank in (PROBE_SIZE, size) if self.text(PROBES[0], blank).around == around]
            if not fitting:
                pixels = f"{size[0]} x {size[1]} pixels"
                raise InputError(f"the text around a picture of {pixels} depends on more than its size: not supported")
            self._sizes[around] = fitting[0]
        return self._sizes[around]

    def whole(self, text: Text, group: Group) -> dict[str, Any]:
        """Return all inputs for a group of images and a prompt."""
        parts = (text.before, group.block, self._after(text, group))
        return self._rows(parts, group) | dict(group.image) | self._own(text, group)

    def prefix(self, text: Text, group: Group) -> dict[str, Any]:
        """Return the inputs up to the image's last token."""
        return self._rows((text.before, group.block), group) | dict(group.image) | self._own(text, group)

    def question(self, text: Text, group: Group) -> dict[str, Any]:
        """Return the inputs after the image's last token; no attention mask is needed, because nothing is padding."""
        return {
            name: value
            for name, value in self._rows((self._after(text, group),), group).items()
            if name != "attention_mask"
        }

    def _after(self, text: Text, group: Group) -> Mapping[str, Tensor]:
        """Return the inputs after the image; those that state which tiles a token attends to name the image's tiles."""
        seen = {name: value[:, -1:] for name, value in group.block.items() if value.ndim > 2}
        return {name: seen[name].expand_as(value) if name in seen else value for name, value in text.after.items()}

    def _rows(self, parts: Sequence[Mapping[str, Tensor]], group: Group) -> dict[str, Tensor]:
        device = group.block[IDS].device
        joined = {name: torch.cat([part[name].to(device) for part in parts], dim=1) for name in self.aligned}
        return {name: value.expand(len(group.rows), *value.shape[1:]) for name, value in joined.items()}

    def _own(self, text: Text, group: Group) -> dict[str, Tensor]:
        device = group.block[IDS].device
        return {name: value.to(device).expand(len(group.rows), *value.shape[1:]) for name, value in text.own.items()}
