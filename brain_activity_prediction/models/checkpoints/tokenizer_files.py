"""Read tokenizers exactly as a checkpoint's files define them.

transformers rebuilds some tokenizers, such as LLaMA's, by its own rules. It ignores the normaliser of `tokenizer.json`,
and orders the merges of `tokenizer.model` by id instead of by score. Both change the token ids from those of training.
Here `tokenizer.json` is read unchanged, and `tokenizer.model` is converted so that each piece of text between two
special tokens gets the ids of sentencepiece.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.runtime.errors import InputError

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
WORD_START = "▁"  # sentencepiece's character for a space

FindFile = Callable[[str], Path | None]  # returns the path of a checkpoint's file by name; None if it does not exist


def read_tokenizer(find_file: FindFile) -> PreTrainedTokenizerFast | None:
    """Read `tokenizer.json` or, without one, `tokenizer.model`; None if the checkpoint has neither."""
    from transformers import PreTrainedTokenizerFast

    roles, added = special_tokens(find_file)
    if path := find_file("tokenizer.json"):
        backend = _backend(path)
    elif path := find_file("tokenizer.model"):
        pieces = sentencepiece_model(path)
        roles = _own_roles(pieces) | roles
        backend = from_sentencepiece(pieces, roles.get("bos_token"))
    else:
        return None
    _add(backend, added, path)
    # If the vocabulary lacked the token of a role, transformers would add the token with a new id.
    known = {role: token for role, token in roles.items() if backend.token_to_id(token) is not None}
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **known)


def special_tokens(find_file: FindFile) -> tuple[dict[str, str], dict[int, dict]]:
    """Return `{role: token}` and `{id: added token}` from a checkpoint's tokenizer settings; newer formats win."""
    added: dict[int, dict] = {}
    roles: dict[str, str] = {}
    for token, number in _json(find_file("added_tokens.json")).items():
        added[number] = {"content": token}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        settings = _json(find_file(name))
        roles |= {role: _text(settings[role]) for role in ROLES if settings.get(role)}
        added |= {int(number): token for number, token in settings.get("added_tokens_decoder", {}).items()}
    return roles, added


def sentencepiece_model(path: Path) -> SentencePieceProcessor:
    """Load a sentencepiece model; raise InputError if the file is not one."""
    from sentencepiece import SentencePieceProcessor

    with guarded(f"{path} is not a sentencepiece model", "copy the checkpoint again"):
        return SentencePieceProcessor(model_file=str(path))


def from_sentencepiece(pieces: SentencePieceProcessor, first: str | None) -> Tokenizer:
    """Convert a sentencepiece model to a byte-pair tokenizer with the same ids, which also returns token offsets.

    first  special token that is put before each text; None for none
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

    vocabulary = {pieces.id_to_piece(number): number for number in range(pieces.vocab_size())}
    unknown = pieces.id_to_piece(pieces.unk_id())
    backend = Tokenizer(
        models.BPE(vocabulary, _merges(pieces, vocabulary), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(WORD_START), normalizers.Replace(" ", WORD_START)])
    backend.decoder = decoders.Sequence(
        [decoders.Replace(WORD_START, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    control = [piece for piece, number in vocabulary.items() if pieces.is_control(number) or pieces.is_unknown(number)]
    backend.add_special_tokens([AddedToken(piece, normalized=False) for piece in control])
    if first is not None:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, backend.token_to_id(first))]
        )
    return backend


def _own_roles(pieces: SentencePieceProcessor) -> dict[str, str]:
    ids = {"bos_token": pieces.bos_id(), "eos_token": pieces.eos_id(), "unk_token": pieces.unk_id()}
    return {role: pieces.id_to_piece(number) for role, number in ids.items() if number >= 0}


def _add(backend: Tokenizer, added: dict[int, dict], path: Path) -> None:
    """Add the tokens that `tokenizer.json` lacks; raise InputError if a token's id is not that in the settings."""
    from tokenizers import AddedToken

    for number, token in sorted(added.items()):
        if backend.token_to_id(token["content"]) is None:
            flags = {name: token.get(name, False) for name in ("lstrip", "rstrip", "single_word", "normalized")}
            backend.add_special_tokens([AddedToken(token["content"], **flags)])
        if backend.token_to_id(token["content"]) != number:
            raise InputError(
                f"{token['content']} has the id {backend.token_to_id(token['content'])} in {path}, but {number} in "
                "the tokenizer's settings: these files belong to different models; fetch the checkpoint again"
            )


def _backend(path: Path) -> Tokenizer:
    """Read `tokenizer.json` with the library `tokenizers`, which defines its format."""
    from tokenizers import Tokenizer

    with guarded(f"{path} is not a tokenizer", "fetch it again"):
        return Tokenizer.from_file(str(path))


def _merges(pieces: SentencePieceProcessor, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Return the pairs of pieces that merge into a piece, in sentencepiece's order: by score, best first."""
    by_score = sorted(vocabulary, key=lambda piece: -pieces.get_score(vocabulary[piece]))
    return [
        (piece[:cut], piece[cut:])
        for piece in by_score
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]


def check_tokenizer(tokenizer: PreTrainedTokenizerFast, find_file: FindFile, texts: Iterable[str]) -> None:
    """Raise InputError if the tokenizer gives a text token ids that differ from those of the checkpoint's file."""
    if path := find_file("tokenizer.json"):
        own = _own_ids(path, tokenizer)
    elif path := find_file("tokenizer.model"):
        own = _stretches(path, tokenizer)
    else:
        return
    for text in texts:
        if tokenizer(text, add_special_tokens=False).input_ids != own(text):
            raise InputError(
                f"the loaded tokenizer gives {text[:80]!r} other token ids than {path}, so the model would read "
                "another text: fetch the checkpoint's tokenizer.json again, or install the versions in constraints.txt"
            )


def _own_ids(path: Path, tokenizer: PreTrainedTokenizerFast) -> Callable[[str], list[int]]:
    """Return a function that tokenises with `tokenizer.json`, extended by the tokens added to the loaded tokenizer."""
    own = _backend(path)
    own.no_truncation()
    own.no_padding()
    new = [token for token in tokenizer.get_added_vocab() if own.token_to_id(token) is None]
    own.add_special_tokens(sorted(new, key=tokenizer.convert_tokens_to_ids))
    return lambda text: own.encode(text, add_special_tokens=False).ids


def _stretches(path: Path, tokenizer: PreTrainedTokenizerFast) -> Callable[[str], list[int]]:
    """Return a function that tokenises with sentencepiece; text between two special tokens is tokenised separately."""
    pieces, special = sentencepiece_model(path), tokenizer.get_added_vocab()
    cut = re.compile(f"({'|'.join(map(re.escape, sorted(special, key=len, reverse=True)))})")

    def ids(text: str) -> list[int]:
        stretches = filter(None, cut.split(text))
        return [
            number for part in stretches for number in ([special[part]] if part in special else pieces.encode(part))
        ]

    return ids


def _json(path: Path | None) -> dict:
    if path is None:
        return {}
    with guarded(f"{path} is not a JSON object", "copy the checkpoint again"):
        return dict(json.loads(path.read_bytes()))


def _text(token: str | dict) -> str:
    """Return the text of a token that a file stores as text or as a dictionary with flags."""
    return token["content"] if isinstance(token, dict) else token
