"""Select the prompts of a run by number, read them from a file, and check them with a model's tokenizer."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import no_such_path
from brain_activity_prediction.storage.files import read_bytes

LARGEST_BYTES = 2**20
SPECIAL_TOKEN = re.compile(r"</?\w+>|<\|\w+\|>")  # such as <image>, </s>, <|endofchunk|>


def select_prompts(numbers: Sequence[int] | None, prompts_file: Path | None) -> dict[int, str]:
    """Return `{number: text}` of the selected prompts, ascending; prompt 1 if no numbers are given."""
    known = PROMPTS if prompts_file is None else read_prompts(prompts_file)
    selected = sorted(set(numbers or [1]))
    for number in selected:
        if number not in known:
            raise InputError(f"there is no prompt {number}; available: {', '.join(map(str, sorted(known)))}")
    return {number: known[number] for number in selected}


def read_prompts(path: Path) -> dict[int, str]:
    """Read `{number: text}` from a JSON or YAML file; every JSON file is also YAML.

    Spaces and line ends around a text are left out: some chat templates remove them, others do not, and YAML's blocks
    end with one.
    """
    if not path.exists():
        raise InputError(f"--prompts-file {no_such_path(path)}")
    try:
        pairs = _pairs(read_bytes(path, LARGEST_BYTES).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read as prompts ({' '.join(str(error).split())}): write a number and its text in each "
            "line, like 1: Describe it."
        ) from None
    prompts = {int(number): text.strip() for number, text in pairs if re.fullmatch("[0-9]{1,4}", number)}
    if not pairs or len(prompts) < len(pairs) or not all(prompts.values()):
        raise InputError(
            f"{path} is not a list of prompts: each line must be a different number and its text, like 1: Describe it."
        )
    for number, text in prompts.items():
        if token := SPECIAL_TOKEN.search(text):
            raise InputError(
                f"prompt {number} of {path} contains {token[0]}, which models read as a special token: remove it"
            )
    return prompts


def check_prompts(prompts: Mapping[int, str], tokenizers: Iterable) -> None:
    """Raise InputError if a prompt contains a special token of a tokenizer, such as [SEP], or has no tokens."""
    for tokenizer in tokenizers:
        added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        special = {token for token in added | set(tokenizer.all_special_tokens) if token.strip()}
        for number, text in prompts.items():
            if contained := [token for token in special if token in text]:
                raise InputError(
                    f"prompt {number} contains {min(contained, key=text.index)}, which this model's tokenizer reads as "
                    "a special token: remove it"
                )
            if not tokenizer(text, add_special_tokens=False).input_ids:
                raise InputError(f"prompt {number} has no tokens for this model's tokenizer: write words")


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return the keys and values of a YAML mapping of plain texts, as written; raise ValueError for other YAML.

    The file is parsed without constructing objects, so that tags run no code and aliases cannot expand without limit.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("not a list of numbers and texts")
    for node in (node for pair in root.value for node in pair):
        if not isinstance(node, yaml.ScalarNode):
            raise ValueError(f"line {node.start_mark.line + 1} is not one text")
    for _, node in root.value:
        if node.tag != "tag:yaml.org,2002:str":
            raise ValueError(f"the value in line {node.start_mark.line + 1} is not text: put it in quotes")
        node.value.encode()  # raises ValueError for a lone surrogate, which is not valid text
    return [(key.value, value.value) for key, value in root.value]
