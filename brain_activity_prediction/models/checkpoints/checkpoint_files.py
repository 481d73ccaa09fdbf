"""The configurations, processors and tokenizers of a checkpoint, from the hub at a revision or from a folder."""

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
from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.runtime.errors import InputError, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class CheckpointFiles:
    """A checkpoint's files except weights: those in `folder` if given, otherwise those of `model_id` at `revision`."""

    model_id: str
    revision: str | None = None
    folder: Path | None = None

    @property
    def source(self) -> Path | str:
        """The folder of the checkpoint, or the model's id on the hub."""
        return self.folder or self.model_id

    @cached_property
    def hub_source(self) -> dict:
        """The arguments of `from_pretrained` that select the hub's files; raises InputError if there are no files."""
        commit, on_disk = commit_on_hub(self.model_id, self.revision)
        return {"revision": commit, "local_files_only": on_disk}

    def load(self, loadable, **settings):
        """Load a class of transformers by its `from_pretrained`; raise InputError if this fails."""
        source = self.hub_source if self.folder is None else {"local_files_only": True}
        try:
            # Set to False, because the default would make transformers ask the user at the terminal.
            return loadable.from_pretrained(self.source, trust_remote_code=False, **source, **settings)
        except InputError:
            raise
        except Exception as error:  # each library raises its own exceptions
            reason = " ".join(str(error).split())[:300]
            if "weights_only" in str(error):  # replaces torch's advice, which is to unpickle the file
                reason = "its weights are a pickle with more than tensors, which may run code and is never loaded"
            if "trust_remote_code" in str(error):
                reason = "it is a model with code of its own, which is never run here: choose a model of transformers"
            raise InputError(
                f"{self.source} could not be loaded as {loadable.__name__}: {reason} "
                "(give weights on disk with --checkpoint DIR)"
            ) from error

    def file(self, name: str) -> Path | None:
        """Return the path of a file of the checkpoint, fetched from the hub if necessary; None if it does not exist."""
        if self.folder is not None:
            return self.folder / name if (self.folder / name).is_file() else None
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        source = self.hub_source
        try:
            return Path(hf_hub_download(self.model_id, name, **source))
        except Exception as error:  # the hub and the network raise many kinds of exceptions
            not_fetched = isinstance(error, LocalEntryNotFoundError) and not source["local_files_only"]
            if isinstance(error, EntryNotFoundError) and not not_fetched:
                return None
            reason = one_line(" ".join(str(error).split()))[:200]
            raise InputError(
                f"{name} of {self.model_id} could not be fetched from the hub ({reason}): repeat the command"
            ) from error

    def end_ids(self, *more: str) -> frozenset[int]:
        """Return the token ids that end an answer: all that the checkpoint's files name, and those of `more` tokens.

        Files may disagree: InstructBLIP's settings name 1, but its tokenizer names 2, which was used in training.
        """
        tokenizer, config = self.tokenizer(needs=more), self.settings("config.json")
        said = [tokenizer.eos_token_id, *map(tokenizer.convert_tokens_to_ids, more)]
        for settings in (self.settings("generation_config.json"), config, config.get("text_config") or {}):
            ids = settings.get("eos_token_id")
            said += ids if isinstance(ids, list) else [ids]
        return frozenset(number for number in said if number is not None)

    def settings(self, name: str) -> dict:
        """Read one of the checkpoint's JSON files; return {} if it does not exist or cannot be read."""
        path = self.file(name)
        with suppress(ValueError, TypeError):
            return dict(json.loads(path.read_bytes())) if path else {}
        return {}

    def processor(self, processor_class):
        """Load the processor saved with the model, with PIL, which gives the same pixels on all machines."""
        from transformers import AutoImageProcessor

        if processor_class is AutoImageProcessor:
            return self.load(AutoImageProcessor, backend="pil")
        processor = self.load(processor_class)
        if hasattr(processor, "image_processor"):  # AutoProcessor's own `backend` fails if there is a video part
            processor.image_processor = self.load(AutoImageProcessor, backend="pil")
        return processor

    def tokenizer(self, part: str = "", needs: Iterable[str] = ()) -> PreTrainedTokenizerBase:
        """Return the tokenizer of the checkpoint, or of its subfolder `part`, with the token ids of its own files.

        The tokenizer is loaded only once. Raises InputError if it lacks one of the special tokens in `needs`.
        """
        if part not in self._tokenizers:
            with guarded(f"the tokenizer of {self.source} could not be read", "copy its JSON files again"):
                self._tokenizers[part] = self.read_tokenizer(part)
        vocabulary = self._tokenizers[part].get_added_vocab()
        if missing := [token for token in needs if token not in vocabulary]:
            raise InputError(
                f"the tokenizer of {self.source} has no special token {missing[0]}: it belongs to another model, or "
                "its tokenizer.json or added_tokens.json is missing"
            )
        return self._tokenizers[part]

    def read_tokenizer(self, part: str) -> PreTrainedTokenizerBase:
        """Read the tokenizer from a subfolder of the checkpoint; "" is the checkpoint's own folder."""
        tokenizer = tokenizer_files.read_tokenizer(partial(self.part_file, part))
        if tokenizer is None:  # the file has another format, such as vocab.txt
            from transformers import AutoTokenizer

            tokenizer = self.load(AutoTokenizer, subfolder=part)
        return tokenizer

    def part(self, folder: str, model_id: str, revision: str):
        """Return a part of the checkpoint (a subfolder or another repository); the same object for each call."""
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
        """Raise InputError if a loaded tokenizer gives a text token ids that differ from those of its file."""
        for part, tokenizer in self._tokenizers.items():
            tokenizer_files.check_tokenizer(tokenizer, partial(self.part_file, part), texts)
        for checkpoint in self._parts.values():
            checkpoint.check_tokenizers(texts)

    def loaded_tokenizers(self) -> list[PreTrainedTokenizerBase]:
        """Return the tokenizers that were loaded so far, including those of the checkpoint's parts."""
        parts = [tokenizer for checkpoint in self._parts.values() for tokenizer in checkpoint.loaded_tokenizers()]
        return [*self._tokenizers.values(), *parts]

    def part_file(self, part: str, name: str) -> Path | None:
        """Return the path of a file in the subfolder `part`, as `file` does."""
        return self.file(f"{part}/{name}" if part else name)
