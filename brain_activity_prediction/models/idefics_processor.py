"""Call IDEFICS' processor like those of other models.

IDEFICS' processor expects text and images in one list, in their order. If it gets them separately, like other
processors, it puts the image before the text although the text already has a placeholder.
"""

import re
from collections.abc import Sequence
from typing import Any

from PIL.Image import Image

PLACEHOLDER = re.compile("(?:<fake_token_around_image>)?<image>(?:<fake_token_around_image>)?")


class TurnsProcessor:
    """A processor for texts that contain a placeholder, and an image for each text."""

    def __init__(self, processor):
        self.processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.processor, name)

    def __call__(self, images: Image | Sequence, text: str | Sequence[str], **settings):
        """Return the inputs of texts and images; raise ValueError if their tokens are not those of the texts.

        images  one image for each text, given directly or in a list
        settings  ignored, because the processor always adds the first token and returns tensors
        """
        texts = [text] if isinstance(text, str) else text
        single = [image[0] if isinstance(image, list) else image for image in as_list(images)]
        turns = [self._turns(*pair) for pair in zip(texts, single, strict=True)]
        # The text already contains the ends of turns.
        inputs = self.processor(text=turns, add_end_of_utterance_token=False, return_tensors="pt")
        for row, one in zip(inputs["input_ids"].tolist(), texts, strict=True):
            whole = self.tokenizer(one, add_special_tokens=not self._begins(one)).input_ids
            if row != whole:
                raise ValueError(
                    "IDEFICS' processor changes the text: it puts <fake_token_around_image> on both sides of <image>, "
                    "and leaves out spaces next to these and at the end"
                )
        return inputs

    def _begins(self, text: str) -> bool:
        return text.startswith(self.tokenizer.bos_token)

    def _turns(self, text: str, image: Image) -> list:
        parts = PLACEHOLDER.split(text.removeprefix(self.tokenizer.bos_token))
        if len(parts) != 2:
            raise ValueError(f"the text has {len(parts) - 1} places for the image (<image>), but needs one")
        before, after = parts
        return [*filter(None, [before]), image, after]


def as_list(images: Image | Sequence) -> Sequence:
    """Return images as a list; a single image becomes a list of one."""
    return images if isinstance(images, (list, tuple)) else [images]
