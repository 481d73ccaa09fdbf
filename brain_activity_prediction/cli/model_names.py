"""One spelling for a model: its id, whichever of its names a user types."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import model_folder
from brain_activity_prediction.storage.settings_file import recorded_settings

SCRIPTS = Path(__file__).resolve().parents[1] / "extract_image_embeddings"
IS_RUN = 'if __name__ == "__main__":'  # in a script, and in no other module of its folder
SETTING = "model_id"
RECORDED_AS = (SETTING, f"embeddings_{SETTING}")  # in the settings of hidden states, and of scores


def resolved_model_id(base_dir: Path, given: str) -> str:
    """Resolve the name of a model to its id.

    given  an id such as org/model, the name of its folder (org_model), or of its script (llava_1.5_13b, or with .py)

    Raises InputError for what is no model's name.
    """
    if "/" in given and not given.endswith(".py"):
        return given
    name = Path(given).name.removesuffix(".py")
    # Looked up in a listing: a word that a user typed may be longer than any file's name can be.
    scripts = extraction_scripts()
    if name in scripts and (model_id := id_of_script(scripts[name])):
        return model_id
    return next(_recorded_ids(base_dir, model_folder(given)), given)


def extraction_scripts() -> dict[str, Path]:
    """List the scripts that extract hidden states, a user's own too: `{name without .py: path}`."""
    return {path.stem: path for path in sorted(SCRIPTS.glob("*.py")) if IS_RUN in path.read_text()}


def id_of_script(path: Path) -> str | None:
    """Return the MODEL_ID that a model script assigns, read without running it; None for a script of many models."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and [getattr(name, "id", None) for name in node.targets] == ["MODEL_ID"]:
            return ast.literal_eval(node.value)
    return None


def _recorded_ids(base_dir: Path, folder: str) -> Iterator[str]:
    """Read the ids recorded in folders of hidden states and of scores with this name."""
    for pattern in (f"image_embeddings/*prompt*/{folder}", f"alignment*/subj*/*prompt*/{folder}"):
        for path in sorted(base_dir.glob(pattern)):
            settings = {}
            with suppress(InputError):  # damage is told where the folder is read
                settings = recorded_settings(path, "") or {}
            yield from (settings[name] for name in RECORDED_AS if isinstance(settings.get(name), str))
