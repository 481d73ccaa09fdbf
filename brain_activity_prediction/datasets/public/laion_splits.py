"""Read the splits of LAION-fMRI that its authors publish, from their package or from a copy in the dataset's folder.

A split divides a pool of images: those that all subjects saw (`shared`), or all images of one subject. It is a JSON
file, laion_fmri/splits/data/POOL/NAME.json. NAME is `tau`, `random_0` to `random_4`, `cluster_k5_0` to `cluster_k5_4`
or `ood`. `ood:TYPE` tests on one type of out-of-distribution images. `shared/NAME` selects the pool of all subjects
instead of the subject's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.checked_json import checked
from brain_activity_prediction.storage.files import read_bytes, reading

FLAT_FOLDER = "laion_fmri_splits"  # POOL_NAME.json
FOLDERS = ("splits", "laion_fmri/splits/data", "splits/data")  # POOL/NAME.json
OWN, OOD, SHARED = "tau", "ood", "shared"
LARGEST_BYTES = 2**26


@dataclass(frozen=True)
class Variant:
    """One division into training and test images in a split file; ids are the images' labels."""

    variant_id: int
    train_ids: list[str]
    test_ids: list[str]


def names(base_dir: Path) -> list[str]:
    """Return the names of all splits in the folder and in the package, with `shared/NAME` last."""
    files = [tuple(path.stem.split("_", 1)) for path in (base_dir / FLAT_FOLDER).glob("*_*.json")]
    files += [(path.parent.name, path.stem) for folder in _folders(base_dir) for path in folder.glob("*/*.json")]
    found = sorted({name for _, name in files})
    if OOD in found:
        found += [f"{OOD}:{name}" for name in _ood_types(base_dir, sorted({pool for pool, name in files}))]
    return found + sorted({f"{SHARED}/{name}" for pool, name in files if pool == SHARED})


def read(base_dir: Path, name: str, subject: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the training and the test images of a split, from the subject's pool or else from that of all subjects."""
    of_shared, base = name.startswith(f"{SHARED}/"), name.removeprefix(f"{SHARED}/")
    base, _, ood_type = base.partition(":")
    files = _files(base_dir, base, (SHARED,) if of_shared else (subject, SHARED))
    if not files:
        expected = base_dir / FOLDERS[1] / (SHARED if of_shared else subject) / f"{base}.json"
        raise InputError(f"LAION-fMRI has no split {name} for subject {subject}: expected {expected}")
    part = _variant(files[0])
    train, test = (np.unique(np.array(ids, dtype=str)) for ids in (part.train_ids, part.test_ids))
    if ood_type:
        test = np.array([label for label in test if f"_OOD_{ood_type}_" in label])
    return train, test


def own_files(base_dir: Path, subject: str) -> list[Path]:
    """Return the file of the default split, in a list; an empty list if there is none."""
    return _files(base_dir, OWN, (subject, SHARED))[:1]


def _files(base_dir: Path, name: str, pools: Sequence[str]) -> list[Path]:
    """Return the existing files of a split, ordered by pool; the dataset's folder comes before the package."""
    files = []
    for pool in pools:
        files.append(base_dir / FLAT_FOLDER / f"{pool}_{name}.json")
        files += [folder / pool / f"{name}.json" for folder in _folders(base_dir)]
    return [path for path in files if path.is_file()]


@cache
def _folders(base_dir: Path) -> list[Path]:
    package = find_spec("laion_fmri")  # finds the package without importing it
    installed = [Path(place) / "splits/data" for place in (package and package.submodule_search_locations) or ()]
    return [base_dir / folder for folder in FOLDERS] + installed


def _ood_types(base_dir: Path, pools: Sequence[str]) -> list[str]:
    """Return the types of out-of-distribution images, which are the same in all pools."""
    files = _files(base_dir, OOD, pools)
    with reading(files[0]):
        params = json.loads(read_bytes(files[0], LARGEST_BYTES)).get("params", {})
        return [str(name) for name in params.get("ood_types", [])]


def _variant(path: Path) -> Variant:
    """Read the first variant of a split file."""
    with reading(path):
        content = json.loads(read_bytes(path, LARGEST_BYTES))
        variants = content.get("variants") if isinstance(content, dict) else None
        if not isinstance(variants, list) or not variants:
            raise ValueError("it has no variants")
        return checked({name: variants[0].get(name) for name in ("variant_id", "train_ids", "test_ids")}, Variant)
