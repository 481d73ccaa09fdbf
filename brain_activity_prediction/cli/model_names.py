"""Find the id and the script of a model from the name that a user types."""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.scripts import COCO, EXTRACT_FOLDER
from brain_activity_prediction.storage.folders import PROTOCOLS, Place, model_folder, part_of, scores_folder
from brain_activity_prediction.storage.settings_file import recorded_settings

IS_RUN = 'if __name__ == "__main__":'  # in the scripts of the folder, but not in its other modules
VISION_LANGUAGE, VISION = EXTRACT_FOLDER / "vision_language_model.py", EXTRACT_FOLDER / "vision_model.py"
TEXT = EXTRACT_FOLDER / "clip_text.py"  # reads captions with a model that another script reads, too
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
IMAGES = re.compile("vision_config|image_size|patch_size|num_channels|pretrained_cfg")  # keys of configurations
SETTING = "model_id"
RECORDED_AS = (SETTING, f"embeddings_{SETTING}")  # in settings.json of hidden states, and of scores


def resolved_model_id(place: Place, given: str) -> str:
    """Return the id of the model that a name means.

    given  an id (org/model), the name of a model's folder (org_model), or of its script (llava_1.5_13b, or with .py)

    Raises InputError if the text cannot name a model.
    """
    if "/" in given and not given.endswith(".py"):
        return given
    name = Path(given).name.removesuffix(".py")
    # The word is compared with a list of files, because it may be too long for a file name.
    scripts = extraction_scripts()
    if name in scripts and (model_id := id_of_script(scripts[name])):
        return model_id
    return next(_recorded_ids(place, model_folder(given)), given)


def extraction_scripts() -> dict[str, Path]:
    """Return all extraction scripts, including a user's own: `{name without .py: path}`."""
    paths = set(EXTRACT_FOLDER.glob("*.py")) - {COCO}
    return {path.stem: path for path in sorted(paths) if IS_RUN in path.read_text()}


def is_hub_id(text: str) -> bool:
    """Return whether a text has the form of an id on the Hugging Face hub, such as org/model."""
    return HUB_ID.fullmatch(text) is not None


def script_of_id(model_id: str, folder: Path | None = None) -> Path:
    """Return the script for a model: its own script, or the one for all vision-language models or vision networks.

    folder  local checkpoint; None for the hub

    Raises InputError if the model is not found, or if its only input is text.
    """
    for script in extraction_scripts().values():
        if id_of_script(script) == model_id and script.stem != TEXT.stem:
            return script
    from brain_activity_prediction.models.checkpoints.checkpoint_files import CheckpointFiles

    config = CheckpointFiles(model_id, "main", folder).settings("config.json")
    if "architecture" in config and "pretrained_cfg" in config:  # as timm publishes networks
        return VISION
    if not config.get("model_type"):
        raise InputError(f"{folder or model_id} has no config.json with a model_type: give a model of transformers")
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    if config["model_type"] in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return VISION_LANGUAGE
    if not any(IMAGES.search(key) for key in config):
        raise InputError(f"{model_id} is a {config['model_type']}, a model of text only: run text_model.py with it")
    return VISION


def id_of_script(path: Path) -> str | None:
    """Read the MODEL_ID in a model script, without running the script; None for a script that reads many models."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and [getattr(name, "id", None) for name in node.targets] == ["MODEL_ID"]:
            return ast.literal_eval(node.value)
    return None


def _recorded_ids(place: Place, folder: str) -> Iterator[str]:
    """Read the model ids that are recorded in all folders of hidden states and scores with this name."""
    scores = [scores_folder(place, protocol) for protocol in PROTOCOLS]
    states = part_of(place, "image_embeddings").glob(f"*prompt*/{folder}")
    for found in (states, *(part.glob(f"*/*prompt*/{folder}") for part in scores)):
        for path in sorted(found):
            settings = {}
            with suppress(InputError):  # The code that reads the hidden states or scores reports damage.
                settings = recorded_settings(path, "") or {}
            yield from (settings[name] for name in RECORDED_AS if isinstance(settings.get(name), str))
