"""Paths of the scripts of this package, and the flags that they share."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
EXTRACT_FOLDER = PACKAGE / "extract_image_embeddings"
COCO = EXTRACT_FOLDER / "coco_annotations.py"
ALIGN_FOLDER = PACKAGE / "align_image_embeddings"
ALIGN = ALIGN_FOLDER / "align_model.py"
REPORT = PACKAGE / "report" / "report.py"
FIGURES = PACKAGE / "report" / "figures.py"
EXPORT_MAPS = PACKAGE / "report" / "export_maps.py"
SURFACE_MAPS = PACKAGE / "report" / "surface_maps.py"
SWEEP = PACKAGE / "sweep" / "sweep.py"
CHECK_DATA = PACKAGE / "check_data" / "check_data.py"
NEW_DATASET = PACKAGE / "check_data" / "new_dataset.py"
DEMO = PACKAGE / "demo"  # run as a module


def place_flags(base_dir: Path, dataset: str | None, output: Path | None) -> list[str]:
    """Return the flags with which every script finds the dataset and the folder of results."""
    chosen = {"--dataset": dataset, "--output": output}
    return ["-d", str(base_dir), *(word for flag, value in chosen.items() if value for word in (flag, str(value)))]
