"""A checkpoint's configurations, processors and tokenizers: from the hub at a revision, or from a folder on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.models.checkpoints import tokenizer_files
from brain_activity_prediction.models.checkpoints.hub import commit_on_hub
from brain_activity_prediction.runtime.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class CheckpointFiles:
    """What lies beside the weights of `model_id` at `revision`, or of those in `folder` where one is given."""

    model_id: str
    revision: str | None = None
    folder: Path | None = None

    @property
    def source(self) -> Path | str:
        """Where the weights come from: the folder, or the model's id on the hub."""
        return self.folder or self.model_id

    @cached_property
    def of_hub(self) -> dict:
        """What tells a `from_pretrained` which files of the hub to take; raises InputError where it has none."""
        commit, on_disk = commit_on_hub(self.model_id, self.revision)
        return {"revision": commit, "local_files_only": on_disk}

    def load(self, loadable, **settings):
        """What `from_pretrained` of a class of transformers gives; raises InputError in one line."""
        source = self.of_hub if self.folder is None else {"local_files_only": True}
        try:
            # Said to be False, because transformers asks at the terminal where nothing is said.
            return loadable.from_pretrained(self.source, trust_remote_code=False, **source, **settings)
        except InputError:
            raise
        except Exception as error:  # every library below raises its own kinds
            reason = " ".join(str(error).split())[:300]
            if "weights_only" in str(error):  # the library's advice is to unpickle anything
                reason = "its weights are a pickle that holds more than tensors, which is never loaded"
            if "trust_remote_code" in str(error):
                reason = "it is a model with code of its own, which is never run here: choose one of transformers' own"
            raise InputError(
                f"{self.source} could not be loaded as {loadable.__name__}: {reason} "
                "(weights that lie on disk are given with --checkpoint DIR)"
            ) from error

    def file(self, name: str) -> Path | None:
        """Where a file of the checkpoint lies on this disk, fetched from the hub if need be; None if it has none."""
        if self.folder is not None:
            return self.folder / name if (self.folder / name).is_file() else None
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        try:
            return Path(hf_hub_download(self.model_id, name, **self.of_hub))
        except EntryNotFoundError:
            return None

    def end_ids(self, *more: str) -> frozenset[int]:
        """The token ids that end an answer: all that the checkpoint's files name, and the tokens `more`.

        Files disagree: InstructBLIP's settings say 1, while its tokenizer, and the model as it was trained, say 2.
        """
        tokenizer, config = self.tokenizer(needs=more), self.settings("config.json")
        said = [tokenizer.eos_token_id, *map(tokenizer.convert_tokens_to_ids, more)]
        for settings in (self.settings("generation_config.json"), config, config.get("text_config") or {}):
            ids = settings.get("eos_token_id")
            said += ids if isinstance(ids, list) else [ids]
        return frozenset(number for number in said if number is not None)

    def settings(self, name: str) -> dict:
        """One of the checkpoint's JSON files; empty where there is none, or none that can be read."""
        path = self.file(name)
        with suppress(ValueError, TypeError):
            return dict(json.loads(path.read_bytes())) if path else {}
        return {}

    def processor(self, processor_class):
        """The processor or tokenizer saved with the model; images go through PIL, the same on every machine."""
        from transformers import AutoImageProcessor

        if processor_class is AutoImageProcessor:
            return self.load(AutoImageProcessor, backend="pil")
        processor = self.load(processor_class)
        if hasattr(processor, "image_processor"):  # AutoProcessor's own `backend` fails where there is a video part
            processor.image_processor = self.load(AutoImageProcessor, backend="pil")
        return processor

    def tokenizer(self, part: str = "", needs: Iterable[str] = ()) -> PreTrainedTokenizerBase:
        """The tokenizer of the checkpoint, or of its subfolder `part`, with the token ids of its own files.

        Loaded once, and the same object afterwards. `check_tokenizers` compares it with the files. Raises InputError
        where it has not all of the special tokens `needs`.
        """
        if part not in self._tokenizers:
            self._tokenizers[part] = self.read_tokenizer(part)
        vocabulary = self._tokenizers[part].get_added_vocab()
        if missing := [token for token in needs if token not in vocabulary]:
            raise InputError(
                f"the tokenizer of {self.source} has no special token {missing[0]}: it is that of another model, or "
                "its tokenizer.json or added_tokens.json is missing"
            )
        return self._tokenizers[part]

    def read_tokenizer(self, part: str) -> PreTrainedTokenizerBase:
        tokenizer = tokenizer_files.read_tokenizer(partial(self.file_of, part))
        if tokenizer is None:  # of a vocabulary in another format, such as vocab.txt
            from transformers import AutoTokenizer

            tokenizer = self.load(AutoTokenizer, subfolder=part)
        return tokenizer

    def part(self, folder: str, model_id: str, revision: str):
        """A part of the checkpoint in a subfolder, or in a repository of its own; the same object each time."""
        if folder not in self._parts:
            where = self.folder and self.folder / folder
            self._parts[folder] = replace(self, model_id=model_id, revision=revision, folder=where)
        return self._parts[folder]

    @cached_property
    def _tokenizers(self) -> dict:
        return {}

    @cached_property
    def _parts(self) -> dict:
        return {}

    def check_tokenizers(self, texts: Iterable[str]) -> None:
        """Raises InputError where a tokenizer that was loaded gives a text other ids than its own file."""
        for part, tokenizer in self._tokenizers.items():
            tokenizer_files.check_tokenizer(tokenizer, partial(self.file_of, part), texts)
        for checkpoint in self._parts.values():
            checkpoint.check_tokenizers(texts)

    def loaded_tokenizers(self) -> list[PreTrainedTokenizerBase]:
        """The tokenizers that were loaded so far, those of other parts of the model included."""
        parts = [tokenizer for checkpoint in self._parts.values() for tokenizer in checkpoint.loaded_tokenizers()]
        return [*self._tokenizers.values(), *parts]

    def file_of(self, part: str, name: str) -> Path | None:
        """As `file`, of the subfolder `part`."""
        return self.file(f"{part}/{name}" if part else name)
