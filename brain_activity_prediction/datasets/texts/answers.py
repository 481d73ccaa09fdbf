"""Read a model's answers about NSD's images, which a text model takes as input instead of captions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

DECISIVE = ("model_id", "weights", "dtype", "quantize", "template", "prompt", "max_new_tokens")
LATER = ("max_thinking_tokens",)  # settings added later: omitted if not recorded, so that older digests stay valid


class Answers:
    """The answers of a model to one prompt, one for each image, stored by an extraction with `--response`.

    Text models use it in place of `datasets.nsd.stimuli.Stimuli`. Raises InputError if there are no answers.
    """

    def __init__(self, folder: Path, model_id: str, prompt: int):
        self.folder, self.model_id, self.prompt = folder, model_id, prompt
        store = EmbeddingStore(folder)
        self.by_image = {image_id: [text] for image_id, text in store.read_answers().items()}
        if not self.by_image:
            raise InputError(f"{folder} holds no answers: {self._remedy}")
        self._made_with = store.settings() or {}

    @property
    def settings(self) -> dict:
        """Return the settings that change the hidden states: the model and prompt, and a digest of their settings."""
        values = {name: self._made_with.get(name) for name in DECISIVE}
        values |= {name: self._made_with[name] for name in LATER if name in self._made_with}
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
        return {"captions": f"answers of {self.model_id} to prompt {self.prompt}, {digest}"}

    @property
    def suffix(self) -> str:
        """Return the text that is added to a text model's id to name its hidden states on these answers."""
        return f"-on-{self.model_id.rpartition('/')[2]}-prompt-{self.prompt}"

    def check(self, ids: Sequence[int]) -> None:
        """Raise InputError if any of these images has no answer."""
        missing = np.setdiff1d(ids, list(self.by_image))
        if missing.size:
            raise InputError(
                f"no answer for {missing.size:,} of {count(len(ids), 'image')} in {self.folder} "
                f"(first: image {missing[0]}): {self._remedy}"
            )

    def images(self, ids: Sequence[int]) -> list[list[str]]:
        """Return the answer to each image, in the order of the ids."""
        return [self.by_image[image_id] for image_id in ids]

    @property
    def _remedy(self) -> str:
        return f"run the extraction of {self.model_id} with -p {self.prompt} --response"
