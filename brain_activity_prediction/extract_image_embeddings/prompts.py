"""The nine instructions a model can be given with an image, by their number on the command line.

1 to 3 ask for a caption (one sentence, in detail, subject and event), 4 is visual question answering, 5 relations,
6 commonsense reasoning, 7 scene understanding, 8 counting, 9 colours.
"""

import argparse
from pathlib import Path

from brain_activity_prediction.errors import InputError

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
    numbers = sorted({number for numbers in arguments.prompt_number or [[1]] for number in numbers})
    for number in numbers:
        if number not in known:
            raise InputError(f"there is no prompt {number}; there are {', '.join(map(str, sorted(known)))}")
    return {number: known[number] for number in numbers}


def read_prompts(path: Path) -> dict[int, str]:
    """`{number: text}` from a JSON or YAML file; every JSON file is YAML."""
    import yaml

    try:
        prompts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as prompts: {' '.join(str(error).split())}") from None
    good = isinstance(prompts, dict) and prompts and all(isinstance(text, str) and text for text in prompts.values())
    if not good or not all(str(number).isdecimal() for number in prompts):
        raise InputError(
            f"{path} is not a list of prompts: each line must be a number and its text, like 1: Describe it."
        )
    return {int(number): text for number, text in prompts.items()}
