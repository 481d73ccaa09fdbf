"""Any text model of transformers by its id, on captions of the images or on the answers of another model.

Stream: `text`, the embeddings and every layer, numbered like `hidden_states` in transformers. They are pooled over a
caption's tokens, special tokens included, and then averaged over the captions of an image. From an encoder-decoder, the
encoder is used; from a model with two towers, the text tower. Of sentence-transformers, only the transformer is used.
"""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.datasets.texts.answers import Answers
from brain_activity_prediction.datasets.texts.captions import Captions
from brain_activity_prediction.extraction.loop import extract
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.storage.folders import embeddings_folder

ANSWERS = "answers:"
# The value of --pooling for each pooling of sentence-transformers, which has a new and an old name.
POOLINGS = {"cls": "cls", "cls_token": "cls", "mean": "mean", "mean_tokens": "mean", "lasttoken": "last"}


def flags() -> argparse.ArgumentParser:
    flags = extraction_command.flags(__doc__, required=True, help="model id, such as google-bert/bert-base-uncased")
    flags.add_argument(
        "--captions",
        required=True,
        metavar="FILE",
        help="CSV file of captions with the columns nsd_id,caption, or answers:MODEL:PROMPT for the answers of a model "
        "whose states were extracted with --response",
    )
    extraction_command.add_sites(flags)
    return flags


def main() -> None:
    extract(*extraction_command.read(flags(), script_of))


def script_of(given):
    from brain_activity_prediction.models.text.model_script import script

    texts = texts_of(given.base_dir, given.captions)
    of_model = SimpleNamespace(MODEL_ID=None, REVISION="main")
    say_modules(extraction_command.checkpoint(of_model, given))
    given.checkpoint = transformer_folder(given.checkpoint)
    sites = extraction_command.selected_sites(given)
    made = script(extraction_command.checkpoint(of_model, given), texts, sites)
    made.SUFFIX = texts.suffix if isinstance(texts, Answers) else ""
    return made


def texts_of(base_dir: Path, named: str) -> Captions | Answers:
    """Return the captions of a file or, for `answers:MODEL:PROMPT`, the answers of a model to a prompt."""
    if not named.startswith(ANSWERS):
        return Captions(Path(named))
    model, _, prompt = named.removeprefix(ANSWERS).rpartition(":")
    if not model or not prompt.isdecimal() or len(prompt) > 6:
        raise InputError(f"--captions {named} does not name a model and the number of a prompt: write answers:MODEL:1")
    model_id = resolved_model_id(base_dir, model)
    return Answers(embeddings_folder(base_dir, model_id, int(prompt)), model_id, int(prompt))


def transformer_folder(folder: Path | None) -> Path | None:
    """Return the folder of the transformer in a folder of sentence-transformers; any other folder as it is."""
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
        place = json.loads((folder / "modules.json").read_bytes())[0]["path"]
        if place and Path(place).name == place and (folder / place / "config.json").is_file():
            return folder / place
    return folder


def own_pooling(settings: dict) -> str:
    """Return the end of a message with the --pooling that a sentence-transformer uses itself; empty if unknown.

    settings  its pooling settings: `pooling_mode`, or names of older versions such as `pooling_mode_cls_token`
    """
    mode = settings.get("pooling_mode")
    chosen = [flag for name, flag in POOLINGS.items() if mode == name or settings.get(f"pooling_mode_{name}") is True]
    return f", as this model does with --pooling {chosen[0]}" if len(chosen) == 1 else ""


def say_modules(checkpoint: Checkpoint) -> None:
    """Report the steps of a sentence-transformers model that this script leaves out."""
    kinds, own = [], ""
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
        path = checkpoint.file("modules.json")
        modules = json.loads(path.read_bytes())[1:] if path else []
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        folder = Path(modules[kinds.index("Pooling")]["path"]).name
        own = own_pooling(checkpoint.settings(f"{folder}/config.json"))
    if kinds:
        log.info(
            f"{checkpoint.source} is a model of sentence-transformers: its {', '.join(kinds)} after the "
            f"transformer are not applied; --pooling selects the tokens{own}"
        )
    with suppress(TypeError, AttributeError):
        prompts = checkpoint.settings("config_sentence_transformers.json").get("prompts")
        if named := [repr(text) for text in prompts.values() if text]:
            log.info(
                f"the model's own prompts are not added to the captions ({', '.join(named[:3])}): if the model should "
                "read one, write it into the captions"
            )


if __name__ == "__main__":
    run_script(main)
