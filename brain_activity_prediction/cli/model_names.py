"""Resolve any name that a user types for a model to the model's id."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.scripts import EXTRACT_FOLDER
from brain_activity_prediction.storage.folders import model_folder
from brain_activity_prediction.storage.settings_file import recorded_settings

IS_RUN = 'if __name__ == "__main__":'  # found in the scripts of the folder, not in its other modules
SETTING = "model_id"
RECORDED_AS = (SETTING, f"embeddings_{SETTING}")  # in settings.json of hidden states, and of scores


def resolved_model_id(base_dir: Path, given: str) -> str:
    """Resolve the name of a model to its id.

    given  an id such as org/model, the name of its folder (org_model), or of its script (llava_1.5_13b, or with .py)

    Raises InputError if the text cannot name a model.
    """
    if "/" in given and not given.endswith(".py"):
        return given
    name = Path(given).name.removesuffix(".py")
    # Compared with a listing, because the typed word may be too long for a file name.
    scripts = extraction_scripts()
    if name in scripts and (model_id := id_of_script(scripts[name])):
        return model_id
    return next(_recorded_ids(base_dir, model_folder(given)), given)


def extraction_scripts() -> dict[str, Path]:
    """Return all extraction scripts, including a user's own: `{name without .py: path}`."""
    return {path.stem: path for path in sorted(EXTRACT_FOLDER.glob("*.py")) if IS_RUN in path.read_text()}


def id_of_script(path: Path) -> str | None:
    """Read the MODEL_ID that a model script assigns, without running the script; None for a script of many models."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and [getattr(name, "id", None) for name in node.targets] == ["MODEL_ID"]:
            return ast.literal_eval(node.value)
    return None


def _recorded_ids(base_dir: Path, folder: str) -> Iterator[str]:
    """Read the model ids recorded in all folders of hidden states and scores that have this name."""
    for pattern in (f"image_embeddings/*prompt*/{folder}", f"alignment*/subj*/*prompt*/{folder}"):
        for path in sorted(base_dir.glob(pattern)):
            settings = {}
            with suppress(InputError):  # The code that reads the hidden states or scores reports damage.
                settings = recorded_settings(path, "") or {}
            yield from (settings[name] for name in RECORDED_AS if isinstance(settings.get(name), str))
