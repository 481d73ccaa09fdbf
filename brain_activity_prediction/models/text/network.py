"""Load the text part of a checkpoint, and check with two texts that padding does not change its hidden states.

A checkpoint may hold a text model, the encoder of an encoder-decoder, or the text tower of a model with two towers.

Letters: C captions, L layers, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from brain_activity_prediction.models import decoding
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.checkpoints.loaded_parameters import number_format
from brain_activity_prediction.models.guarded import BELONG_TOGETHER, guarded
from brain_activity_prediction.runtime.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


PADDED_IN_TRAINING = ("siglip", "siglip2")  # read a fixed number of tokens, padding included, without a mask
LOWERED_IN_TRAINING = ("siglip2",)  # were trained on lower case; their published tokenizer.json does not lower texts
PROBES = ("a dog", "a man on a horse looks at two red buses")  # two texts of different length


@dataclass(frozen=True)
class TextReader:
    """A tokenizer with the limits of its model.

    longest  largest number of tokens that the model reads; None without a limit
    padded  whether all texts are padded to `longest` tokens and read together with the padding, as in training
    lowered  whether texts are converted to lower case, as in training
    """

    tokenizer: PreTrainedTokenizerBase
    longest: int | None
    padded: bool
    lowered: bool = False

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text; long texts are cut, but keep the special tokens at their end."""
        return self._tokenised(texts, **({"truncation": True, "max_length": self.longest} if self.longest else {}))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text before it is cut."""
        return [len(ids) for ids in self._tokenised(texts)]

    def _tokenised(self, texts: Sequence[str], **limit) -> list[list[int]]:
        read = [text.lower() if self.lowered else text for text in texts]
        return self.tokenizer(read, verbose=False, **limit).input_ids

    def batch(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return token ids (C, T), padded on the right, and the mask (C, T) of each text's own tokens."""
        rows = self.ids(texts)
        length = self.longest if self.padded and self.longest else max(map(len, rows))
        ids = torch.full((len(rows), length), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        return ids, mask

    @property
    def has_class_token(self) -> bool:
        """True if the tokenizer puts a class token before each text."""
        first = self.tokenizer("a").input_ids[:1]
        return self.tokenizer.cls_token is not None and first == [self.tokenizer.cls_token_id]


def load_network(checkpoint: Checkpoint, device: str, dtype: torch.dtype) -> nn.Module:
    """Load the text part of a checkpoint: a text model, an encoder, or the text tower of a model with two towers."""
    from transformers import AutoModel, AutoModelForTextEncoding
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES as ENCODERS

    config = checkpoint.settings("config.json")
    alone = "Encoder" in ENCODERS.get(config.get("model_type"), "")  # a class for the encoder without its decoder
    model = checkpoint.model(AutoModelForTextEncoding if alone else AutoModel, device, dtype)
    model = getattr(model, "text_model", model)
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    model.config.use_cache = False
    return model


def text_family(model: nn.Module) -> str:
    """Return the model type of a text model; for a text tower, that of the whole model."""
    return model.config.model_type.removesuffix("_text_model")


def hidden_states(model: nn.Module, ids: Tensor, mask: Tensor | None) -> Sequence[Tensor]:
    """Return the embeddings and the states of every layer, each (C, T, W), numbered as in transformers."""
    return model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states


def longest_text(model: nn.Module, settings: Sequence[dict]) -> int | None:
    """Return the number of tokens that a text model reads; None without a limit.

    settings  settings of the tokenizer, whose limit may be smaller than the model's number of positions
    """
    positions = decoding.positions(model.config)
    for name, module in model.named_modules():
        # RoBERTa and related models number positions from padding_idx + 1.
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings") and module.padding_idx is not None:
            positions = module.num_embeddings - module.padding_idx - 1
    named = [one.get(name) for one in settings for name in ("model_max_length", "max_seq_length")]
    limits = [positions, *(limit for limit in named if type(limit) is int and limit > 0)]
    return min((limit for limit in limits if limit), default=None)


def check_network(model: nn.Module, reader: TextReader) -> None:
    """Raise InputError if the model has no states for each token, or if a text's states depend on other texts."""
    kind, weights = type(model).__name__, next(model.parameters())
    # Some classes, such as DeBERTa's, compute a part in float32 whatever the format of the weights.
    remedy = BELONG_TOGETHER if weights.dtype == torch.float32 else f"try --dtype float32, or {BELONG_TOGETHER}"
    ids, mask = (tensor.to(weights.device) for tensor in reader.batch(PROBES))
    with guarded(f"{kind} could not read a text", remedy), torch.inference_mode():
        together = _states(model, reader, ids, mask)
        alone = [_states(model, reader, *(one.to(ids.device) for one in reader.batch([text])))[0] for text in PROBES]
        eps = torch.finfo(number_format(model)).eps
        if all(_close(states, own, eps**0.5) for states, own in zip(together, alone, strict=True)):
            return
        # Rounding may make a model choose other experts, unless its inputs have equal shapes.
        others = _states(model, reader, other_neighbours(reader, ids, mask), mask)
    if not _close(others[0], together[0], eps):
        raise InputError(f"{kind} is not supported: its states of a text depend on other texts in the batch")


def other_neighbours(reader: TextReader, ids: Tensor, mask: Tensor) -> Tensor:
    """Return ids (2, T) in which the first text has another neighbour and, unless it is read, other padding."""
    other = ids[1].flip(0)
    return torch.stack([ids[0] if reader.padded else torch.where(mask[0].bool(), ids[0], other), other])


def _close(states: Tensor, others: Tensor, limit: float) -> bool:
    """Return whether states (L, T, W) of a text differ by no more than a limit, relative to the largest one."""
    return float((states[:, : others.shape[1]] - others).abs().max()) <= limit * float(others.abs().max())


def _states(model: nn.Module, reader: TextReader, ids: Tensor, mask: Tensor) -> list[Tensor]:
    """Return the states of each text's own tokens, (L, T, W) float32."""
    layers = hidden_states(model, ids, None if reader.padded else mask)
    if len({(*layer.shape[:2], layer.shape[-1], layer.ndim) for layer in layers}) != 1 or layers[0].ndim != 3:
        raise InputError(
            f"{type(model).__name__} is not supported: the shapes of its layers are "
            f"{sorted({tuple(layer.shape) for layer in layers})}"
        )
    stacked = torch.stack([layer.float().to(ids.device) for layer in layers], dim=1)
    return [row[:, : int(own.sum())] for row, own in zip(stacked, mask, strict=True)]
