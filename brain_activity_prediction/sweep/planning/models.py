"""Find the scripts of models by name. A sweep runs only these scripts, and no name can lead out of the package."""

import argparse
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.cli.model_names import extraction_scripts, id_of_script, is_hub_id, script_of_id
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.scripts import ALIGN, EXTRACT_FOLDER, REPORT
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.folders import model_folder

STUDY = (  # the models of the study, in the order in which a sweep runs them
    "vit_huge_patch14_224_in21k",
    "llava_1.5_13b",
    "idefics_9b_instruct",
    "instruct_blip_13b",
    "mplug_owl_llama_7b",
    "openflamingo_9b",
)
UNTRAINED = "-untrained"  # end of the name of a model with untrained weights
NEEDED = ("MODEL_ID", "IMAGE_STREAMS", "load", "encode_images")  # names that the script of one model must define


@dataclass(frozen=True)
class Model:
    """A model of a sweep: its name in the names of units, its extraction script, and the flags for this script."""

    name: str
    script: Path
    flags: tuple[str, ...] = ()

    def load(self):
        """Load the script as a module by its path, because a name with a dot cannot be imported."""
        spec = importlib.util.spec_from_file_location(self.name.replace(".", "_"), self.script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if not hasattr(module, "read_flags") and not all(hasattr(module, name) for name in NEEDED):
            raise _no_model(self.name)
        return module

    def parser(self) -> argparse.ArgumentParser:
        """Return the parser of the script's flags."""
        module = self.load()
        return module.flags() if hasattr(module, "flags") else extraction_command.flags("")

    def read_flags(self, words: Sequence[str]):
        """Return the model script (`extraction.model_script`), and the settings of a command line.

        words  words of the command line
        """
        module = self.load()
        if hasattr(module, "read_flags"):
            return module.read_flags(words)
        return module, extraction_command.settings(module, extraction_command.flags("").parse_args(words))


def find_model(name: str, checkpoints: Path | None = None) -> Model:
    """Return the model that a name of --models means, a script or an id; raise InputError if there is none.

    checkpoints  folder with the weights of each model, in a subfolder named after the model; None for the hub
    """
    if script := extraction_scripts().get(name):
        if id_of_script(script) is None:
            raise InputError(f"{script.name} reads many models: give --models a model's id, such as org/model, instead")
        return Model(name, script)
    if not is_hub_id(name):
        raise _no_model(name)
    script = script_of_id(name, checkpoints and checkpoints / model_folder(name))
    own = id_of_script(script) == name
    return Model(script.stem, script) if own else Model(model_folder(name), script, ("-m", name))


def untrained(model: Model) -> Model:
    """Return the same model with untrained weights."""
    return Model(f"{model.name}{UNTRAINED}", model.script, (*model.flags, "--random-weights", "0"))


def own_script(name: str) -> Path:
    """Return the script of a unit; raise ValueError if the package has no script with this name."""
    path = {ALIGN.stem: ALIGN, REPORT.stem: REPORT}.get(name) or extraction_scripts().get(name)
    if path is None:
        raise ValueError(f"script {name!r} is not a script of this package")
    return path


def _no_model(name: str) -> InputError:
    meant = did_you_mean(name.removesuffix(".py"), extraction_scripts())
    return InputError(
        f"{name} is no model script in {EXTRACT_FOLDER}{meant}: name one without its .py, such as llava_1.5_13b, or "
        "give a model's id, such as Qwen/Qwen2.5-VL-7B-Instruct"
    )
