"""The package's own scripts by name, the only code that a sweep runs: no name leads out of these folders."""

import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
EXTRACT = PACKAGE / "extract_image_embeddings"
ALIGN = PACKAGE / "align_image_embeddings" / "align_model.py"
REPORT = PACKAGE / "report" / "report.py"
IS_RUN = 'if __name__ == "__main__":'


NAME = re.compile(r"\w[\w.+-]{0,99}")


def model_script(name: str) -> Path | None:
    """The script of this name beside those of the six models, a user's own too; None where there is none."""
    path = EXTRACT / f"{name}.py"
    return path if NAME.fullmatch(name) and path.is_file() and IS_RUN in path.read_text() else None


def model_scripts() -> list[str]:
    """Names of all scripts of models."""
    return [path.stem for path in sorted(EXTRACT.glob("*.py")) if model_script(path.stem)]


def own_script(name: str) -> Path:
    """The script of a unit; ValueError where the package has none of this name."""
    path = {ALIGN.stem: ALIGN, REPORT.stem: REPORT}.get(name) or model_script(name)
    if path is None:
        raise ValueError(f"script {name!r} is none of this package's")
    return path
