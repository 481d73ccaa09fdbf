"""Settings of an extraction run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.runtime.scripts import place_flags
from brain_activity_prediction.storage.folders import Output, Subject, stored_id


@dataclass(frozen=True, kw_only=True)
class ExtractionSettings:
    """Settings of an extraction run: the hidden states to compute, the model's weights, and the folder to store in.

    `cli.extraction_command.settings` makes it from the flags. `recorded` returns the settings that change the states.

    dataset  name given with --dataset
    subjects  subjects whose images are extracted
    template  text around each prompt; None for a model without prompts
    prompts  {number: text}, ascending
    prompts_file  file from which the prompts were read; None for the study's prompts
    max_new_tokens  longest answer in tokens; 0 for no answers
    dtype  torch dtype of weights and computation; `dtype_given` tells whether the user chose it
    device  torch device, such as cpu or cuda:0
    batch_size  number of images in a batch; `auto` until `extraction.batch_size` has found it
    suffix  text added to the model id in the name of the stored states, if the model does not read pictures
    light  conversion of NSD-synthetic's pixels; None for the dataset's default
    shard  (index from 0, number of shards)
    """

    base_dir: Path
    dataset: str | None = None
    output: Output
    subjects: Sequence[Subject] = (1,)
    checkpoint: Checkpoint
    template: str | None = None
    prompts: Mapping[int, str]
    prompts_file: Path | None = None
    poolings: Sequence[str] = ("mean",)
    max_new_tokens: int = 0
    dtype: str
    dtype_given: bool = False
    device: str
    batch_size: int | str = 8
    shard: tuple[int, int] = (0, 1)
    repair: bool = False
    test_run: bool = False
    light: str | None = None
    suffix: str = ""

    @property
    def model_id(self) -> str:
        """The model id under which the hidden states are stored; an untrained model has one for each seed."""
        return stored_id(self.checkpoint.model_id + self.suffix, self.checkpoint.seed)

    @property
    def place_flags(self) -> list[str]:
        """The flags with which every script finds the dataset and the folder of results."""
        output = self.output.folder if self.output.folder != self.base_dir else None
        return place_flags(self.base_dir, self.dataset, output)

    def recorded(self, prompt: int | None) -> dict:
        """Return settings that `settings.json` records for the states of a prompt.

        `RecordedSettings` adds the weights, the stimuli and the prompt's token ids.
        """
        recorded = {
            "model_id": self.model_id,
            "dtype": self.dtype,
            "quantize": self.checkpoint.quantize,
            "template": self.template,
        }
        if prompt is not None:
            recorded["prompt"] = self.prompts[prompt]
            if self.max_new_tokens:
                recorded["max_new_tokens"] = self.max_new_tokens
        return recorded
