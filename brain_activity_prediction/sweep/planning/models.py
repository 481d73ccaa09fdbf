"""Find the scripts of models by name: a sweep runs no other code, and no name leads out of the package's folders."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.cli.model_names import extraction_scripts
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.scripts import ALIGN, EXTRACT_FOLDER, REPORT
from brain_activity_prediction.runtime.wording import did_you_mean

STUDY = (  # the models of the study, in the order in which a sweep runs them
    "vit_huge_patch14_224_in21k",
    "llava_1.5_13b",
    "idefics_9b_instruct",
    "instruct_blip_13b",
    "mplug_owl_llama_7b",
    "openflamingo_9b",
)
NEEDED = ("MODEL_ID", "IMAGE_STREAMS", "load", "encode_images")  # names that a model script must define


@dataclass(frozen=True)
class Model:
    """A model of a sweep: its name in the names of units, its extraction script, and the flags that it needs there."""

    name: str
    script: Path
    flags: tuple[str, ...] = ()

    def load(self):
        """Load the script as a module; a name with a dot cannot be imported."""
        spec = importlib.util.spec_from_file_location(self.name.replace(".", "_"), self.script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if not all(hasattr(module, name) for name in NEEDED):
            raise _no_model(self.name)
        return module


def find_model(name: str) -> Model:
    """Return the model that --models names; raise InputError if there is none."""
    if script := extraction_scripts().get(name):
        return Model(name, script)
    raise _no_model(name)


def own_script(name: str) -> Path:
    """Return the script of a unit; raise ValueError if the package has no script of this name."""
    path = {ALIGN.stem: ALIGN, REPORT.stem: REPORT}.get(name) or extraction_scripts().get(name)
    if path is None:
        raise ValueError(f"script {name!r} is not a script of this package")
    return path


def _no_model(name: str) -> InputError:
    meant = did_you_mean(name.removesuffix(".py"), extraction_scripts())
    return InputError(
        f"{name} is no model script in {EXTRACT_FOLDER}{meant}: name one without its .py, such as llava_1.5_13b"
    )
