"""Images and prompts as mPLUG-Owl was trained to see them: the pixels and the token ids of its authors' processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from brain_activity_prediction.extract_image_embeddings.mplug_owl import IMAGE_TOKEN_ID

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMAGE_MARKER = "<image>"


def image_pixels(images: Sequence[Image.Image], side: int) -> Tensor:
    """PIL images of any size to (N, 3, side, side) float32, normalised with CLIP's mean and standard deviation.

    Each is stretched to the square, not cropped, so nothing at the borders is lost.
    """
    squares = [image.resize((side, side), Image.Resampling.BICUBIC).convert("RGB") for image in images]
    values = np.stack([np.asarray(square) for square in squares]).astype(np.float32) / 255
    values = (values - np.float32(OPENAI_CLIP_MEAN)) / np.float32(OPENAI_CLIP_STD)
    return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str, image_tokens: int) -> list[int]:
    """The ids of a text with IMAGE_MARKERs, `image_tokens` times IMAGE_TOKEN_ID for each marker.

    One beginning-of-sequence token comes first, none ends the text. The stretches between the markers are tokenised
    each on its own, so LLaMA's tokenizer puts its word-start mark before each of them.
    """
    ids = [tokenizer.bos_token_id]
    for number, stretch in enumerate(text.split(IMAGE_MARKER)):
        ids += [IMAGE_TOKEN_ID] * image_tokens if number else []
        ids += tokenizer(stretch, add_special_tokens=False)["input_ids"]
    return ids
