"""The nine instructions a model can be given with an image, by their number on the command line.

1 to 3 ask for a caption (one sentence, in detail, subject and event), 4 is visual question answering, 5 relations,
6 commonsense reasoning, 7 scene understanding, 8 counting, 9 colours.
"""

import argparse
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import no_such_path
from brain_activity_prediction.storage.files import read_bytes

LARGEST_BYTES = 2**20
SPECIAL_TOKEN = re.compile(r"</?\w+>|<\|\w+\|>")  # such as <image>, </s>, <|endofchunk|>

PROMPTS = {
    1: "Write one sentence that describes this photograph.",
    2: "Describe everything you can see in this photograph, in as much detail as possible.",
    3: "Give this photograph a short caption that names its main subject and what is happening.",
    4: "What is the most important object in this photograph, and where in the picture is it?",
    5: "How are the people, animals and objects in this photograph related to each other in space and in action?",
    6: "What probably happened just before this photograph was taken, and what will probably happen next?",
    7: "What kind of place is this, and what would a person usually do there?",
    8: "How many people, animals and objects are there in this photograph? Count each kind.",
    9: "Which colours are in this photograph, and which thing has which colour?",
}


def chosen_prompts(arguments: argparse.Namespace) -> dict[int, str]:
    """`{number: text}` of the prompts asked for, ascending."""
    known = PROMPTS if arguments.prompts_file is None else read_prompts(arguments.prompts_file)
    numbers = sorted(set(arguments.prompt_number or [1]))
    for number in numbers:
        if number not in known:
            raise InputError(f"there is no prompt {number}; there are {', '.join(map(str, sorted(known)))}")
    return {number: known[number] for number in numbers}


def read_prompts(path: Path) -> dict[int, str]:
    """`{number: text}` from a JSON or YAML file; every JSON file is YAML."""
    if not path.exists():
        raise InputError(f"--prompts-file {no_such_path(path)}")
    try:
        pairs = _pairs(read_bytes(path, LARGEST_BYTES).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read as prompts ({' '.join(str(error).split())}): write a number and its text a line, "
            "like 1: Describe it."
        ) from None
    prompts = {int(number): text for number, text in pairs if re.fullmatch("[0-9]{1,4}", number)}
    if not pairs or len(prompts) < len(pairs) or not all(text.strip() for text in prompts.values()):
        raise InputError(
            f"{path} is not a list of prompts: each line must be a number of its own and its text, like 1: Describe it."
        )
    for number, text in prompts.items():
        if token := SPECIAL_TOKEN.search(text):
            raise InputError(
                f"prompt {number} of {path} holds {token[0]}, which models read as a token of their own: leave it out"
            )
    return prompts


def check_prompts(prompts: Mapping[int, str], tokenizers: Iterable) -> None:
    """Raise InputError for a prompt that holds a tokenizer's special token, or has no tokens at all.

    tokenizers  of transformers; a special token, such as [SEP], is read as itself wherever it stands in a text
    """
    for tokenizer in tokenizers:
        added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        special = {token for token in added | set(tokenizer.all_special_tokens) if token.strip()}
        for number, text in prompts.items():
            if held := [token for token in special if token in text]:
                raise InputError(
                    f"prompt {number} holds {min(held, key=text.index)}, which this model's tokenizer reads as a token "
                    "of its own: leave it out"
                )
            if not tokenizer(text, add_special_tokens=False).input_ids:
                raise InputError(f"prompt {number} has no tokens for this model's tokenizer: write words")


def _pairs(text: str) -> list[tuple[str, str]]:
    """The keys and values of a YAML mapping of scalars, as they are written; ValueError for anything else.

    The file is parsed only: no tag makes an object, and no alias can grow without bound.
    """
    import yaml

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
            raise ValueError(f"the text in line {node.start_mark.line + 1} is none: put it in quotes")
        node.value.encode()  # half of a surrogate pair is no text
    return [(key.value, value.value) for key, value in root.value]
