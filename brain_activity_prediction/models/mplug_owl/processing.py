"""Compute the pixels and token ids of mPLUG-Owl in the same way as its authors' processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from brain_activity_prediction.models.decoding import tokens_within
from brain_activity_prediction.models.mplug_owl.network import IMAGE_TOKEN_ID

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMAGE_MARKER = "<image>"


@dataclass(frozen=True)
class MplugOwlProcessor:
    """Turn images into S x S pixels, and prompts into ids, where each image takes `image_tokens` = Q + 1 positions."""

    tokenizer: PreTrainedTokenizerBase
    image_size: int
    image_tokens: int

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """Turn PIL images of any size into (N, 3, S, S) float32, normalised with CLIP's mean and standard deviation.

        Images are stretched to the square, not cropped. Palette images are resized before they become RGB.
        """
        size = (self.image_size, self.image_size)
        squares = [image.resize(size, Image.Resampling.BICUBIC).convert("RGB") for image in images]
        values = np.stack([np.asarray(square) for square in squares]).astype(np.float32) / 255
        values = (values - np.float32(OPENAI_CLIP_MEAN)) / np.float32(OPENAI_CLIP_STD)
        return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()

    def ids(self, text: str) -> list[int]:
        """Return the token ids of a text, with IMAGE_TOKEN_ID at the places of each IMAGE_MARKER.

        The ids begin with the beginning-of-sequence token and have no end token. Each part of the text between markers
        is tokenised separately, so that LLaMA's tokenizer puts its word-start mark before it.
        """
        ids = [self.tokenizer.bos_token_id]
        for number, stretch in enumerate(text.split(IMAGE_MARKER)):
            ids += [IMAGE_TOKEN_ID] * self.image_tokens if number else []
            ids += self.tokenizer(stretch, add_special_tokens=False)["input_ids"]
        return ids

    def split_template(self, template: str, prompt: str) -> tuple[list[int], list[int], slice]:
        """Return the token ids up to the image's end and after it, and the slice of the latter that is the prompt."""
        before, after = template.split(IMAGE_MARKER)
        encoded = self.tokenizer(after.format(prompt=prompt), add_special_tokens=False, return_offsets_mapping=True)
        start = after.index("{prompt}")
        own = tokens_within(encoded["offset_mapping"], start, start + len(prompt))
        return self.ids(before + IMAGE_MARKER), encoded["input_ids"], own
