"""The package's own scripts by name, the only code that a sweep runs: no name leads out of these folders."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
EXTRACT = PACKAGE / "extract_image_embeddings"
ALIGN = PACKAGE / "align_image_embeddings" / "align_model.py"
REPORT = PACKAGE / "report" / "report.py"
IS_RUN = 'if __name__ == "__main__":'


def model_scripts() -> dict[str, Path]:
    """`{name: path}` of the scripts beside those of the six models; a user's own may be among them."""
    return {path.stem: path for path in sorted(EXTRACT.glob("*.py")) if IS_RUN in path.read_text()}


def own_script(name: str) -> Path:
    """The script of a unit; ValueError where the package has none of this name."""
    known = model_scripts() | {path.stem: path for path in (ALIGN, REPORT)}
    if name not in known:
        raise ValueError(f"script {name!r} is none of this package's")
    return known[name]
