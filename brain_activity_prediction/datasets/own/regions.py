"""Read the regions of an experiment.

Regions of a subject are in `regions/SUBJECT/`, those of all subjects in `regions/`. They are files of labels on the
grid or the surface of the responses (NAME.nii.gz; lh.NAME and rh.NAME with .label.gii, .gii, .annot or .mgz, or with
.label of one region; NAME.dlabel.nii), or a table NAME.csv with a row for each unit. In a table, the column `region`
names the unit's region. Every other column is a region: 1 for its units, 0 for others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from nibabel.cifti2 import LabelAxis

from brain_activity_prediction.datasets.dataset import ALL_UNITS
from brain_activity_prediction.datasets.files.cifti import open_cifti
from brain_activity_prediction.datasets.files.surfaces.annot import read_annot
from brain_activity_prediction.datasets.files.surfaces.gifti import open_gifti
from brain_activity_prediction.datasets.files.surfaces.label import read_label
from brain_activity_prediction.datasets.files.surfaces.mgh import read_mgh
from brain_activity_prediction.datasets.files.tables import read_table
from brain_activity_prediction.datasets.nsd.label_tables import read_label_table
from brain_activity_prediction.datasets.own.unread import tell_further, tell_unread
from brain_activity_prediction.datasets.units import Grayordinates, Units, Vertices, Voxels
from brain_activity_prediction.runtime.errors import InputError, one_line
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.grid import Grid
from brain_activity_prediction.storage.nifti import read_volume_on

VOLUMES, SURFACES, TABLE = (".nii.gz", ".nii"), (".label.gii", ".gii", ".annot", ".mgz", ".mgh"), ".csv"
CIFTI, LABEL = ".dlabel.nii", ".label"
NO_REGION = ("unknown", "???", "medial_wall")  # names in FreeSurfer's annotations, in lower case
NAMES = (".ctab", ".txt")  # endings of label tables
KINDS = {  # formats of files of regions for each kind of units
    Voxels: "NAME.nii.gz",
    Vertices: "lh.NAME and rh.NAME with .label.gii, .annot, .label or .mgz",
    Grayordinates: "NAME.dlabel.nii",
}
COLUMN = "region"
Labels = tuple[np.ndarray, Mapping[int, str]]  # label numbers (n_units,), and their names


def read_regions(
    base_dir: Path, subject: str, units: Units, names: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Return `{region: (n_units,) bool}`; the first region holds all units.

    names  regions, or names of files of regions without ending; None for all

    Raises InputError for an unknown name, a name in two files, and a file that does not fit the units.
    """
    found = {ALL_UNITS: np.ones(units.n, dtype=bool)}
    file_of: dict[str, str] = {}
    for path, region, members in _all(base_dir, subject, units):
        if region in found:
            raise InputError(f"{path} and {file_of.get(region, 'all units')} both have a region {region!r}: rename one")
        found[region], file_of[region] = members, path.name.removeprefix("lh.").removeprefix("rh.").split(".")[0]
    if names is None:
        return found
    known = {*found, *file_of.values()}
    for name in names:
        if name not in known:
            raise InputError(
                f"subject {subject} has no region {name}{did_you_mean(name, known)}; available: "
                f"{', '.join(sorted(known))}"
            )
    return {
        region: members
        for region, members in found.items()
        if region == ALL_UNITS or region in names or file_of[region] in names
    }


def _all(base_dir: Path, subject: str, units: Units) -> Iterator[tuple[Path, str, np.ndarray]]:
    """Yield the file, name and units (n_units,) bool of each region; warn of files that are not read.

    A subject's own file replaces a file of the same name for all subjects.
    """
    folders = [base_dir / "regions" / name for name in ("", subject, f"sub-{subject}")]
    files = {path.name: path for folder in folders for path in sorted(folder.glob("[!.]*")) if path.is_file()}
    for name, path in files.items():
        if name.endswith(TABLE):
            yield from ((path, region, members) for region, members in _of_table(path, units).items())
        elif name.endswith(CIFTI) and isinstance(units, Grayordinates):
            yield from _named(path, lambda path: _cifti_labels(path, units))
        elif name.endswith(VOLUMES) and not name.endswith(CIFTI) and isinstance(units, Voxels):
            yield from _named(path, lambda path: (_volume_labels(path, units), _label_names(path)))
        elif name.startswith("lh.") and name.endswith(SURFACES) and isinstance(units, Vertices):
            yield from _named(path, lambda path: _surface_labels(path, units))
        elif name.startswith(("lh.", "rh.")) and name.endswith(LABEL) and isinstance(units, Vertices):
            other = files.get({"lh": "rh", "rh": "lh"}[name[:2]] + name[2:])
            if name[0] == "l" or other is None:  # a region of both hemispheres is read once
                yield _of_label(path, other, units)
        elif not name.endswith(NAMES) and f"lh.{name.removeprefix('rh.')}" not in files:
            kinds = "".join(f"{kind}, or " for of, kind in KINDS.items() if isinstance(units, of))
            tell_unread(path, f"regions of {units.n:,} {units.nouns} are {kinds}a table NAME.csv with a row for each")


def _named(path: Path, read: Callable[[Path], Labels]) -> Iterator[tuple[Path, str, np.ndarray]]:
    labels, names = read(path)
    stem = path.name.removeprefix("lh.").split(".")[0]
    numbers = np.unique(labels[labels > 0]).tolist()
    members: dict[str, np.ndarray] = {}
    for number in numbers:
        label = names.get(number, stem if numbers == [1] else f"{stem}:{number}")
        members[label] = members.get(label, False) | (labels == number)
    yield from ((path, one_line(label), inside) for label, inside in members.items())


def _volume_labels(path: Path, units: Voxels) -> np.ndarray:
    grid = Grid(Path("the grid of the responses"), units.mask.shape, units.affine)
    return _whole_numbers(path, read_volume_on(path, grid)[units.mask])


def _surface_labels(left: Path, units: Vertices) -> Labels:
    """Read the labels of both hemispheres, and their names from the files or from a label table next to them.

    If the hemispheres give one number different names, the labels of the right hemisphere get new numbers.
    """
    labels, names = [], dict[int, str]()
    for side, mask in units.masks.items():
        path = left.with_name(side + left.name.removeprefix("lh"))
        if not path.is_file():
            raise InputError(f"{left} exists without {path.name}: regions need the files of both hemispheres")
        with reading(path):
            values, own = _vertex_labels(path)
        if values.shape != mask.shape:
            raise InputError(f"{path} has {values.size} vertices, but the responses have {mask.size}")
        others = any(names.get(number, name) != name for number, name in own.items())
        shift = max(names) if others else 0
        names |= {number + shift: name for number, name in own.items()}
        numbers = _whole_numbers(path, values[mask])
        labels.append(np.where(numbers > 0, numbers + shift, 0))
    return np.concatenate(labels), names or _label_names(left)


def _vertex_labels(path: Path) -> Labels:
    """Read the label of each vertex (n_vertices,), above 0 in regions, and the names that the file gives to labels."""
    if path.name.endswith(".gii"):
        image = open_gifti(path)
        tell_further(path, len(image.darrays))
        return image.darrays[0].data, {one.key: one.label for one in image.labeltable.labels if one.key > 0}
    if path.name.endswith(".annot"):
        numbers, names = read_annot(path)
        outside = [number for number, name in names.items() if name.lower() in NO_REGION]
        return np.where(np.isin(numbers, outside), 0, numbers), names
    return read_mgh(path), {}


def _of_label(path: Path, other: Path | None, units: Vertices) -> tuple[Path, str, np.ndarray]:
    """Read a region of the hemisphere of a file, or of both; one of a single hemisphere keeps its prefix."""
    files = {one.name[:2]: one for one in (path, other) if one}
    parts = [
        read_label(files[side], mask.size)[mask] if side in files else np.zeros(np.count_nonzero(mask), dtype=bool)
        for side, mask in units.masks.items()
    ]
    name = path.name.removesuffix(LABEL)
    return path, one_line(name[3:] if other else name), np.concatenate(parts)


def _cifti_labels(path: Path, units: Grayordinates) -> Labels:
    """Read the first map of labels of a CIFTI file, with its names."""
    with reading(path):
        image, (names, axis) = open_cifti(path)
        if not isinstance(names, LabelAxis):
            raise ValueError("its first axis holds no labels")
        labels = np.asarray(image.dataobj[0])
    tell_further(path, len(names))
    if axis != units.axis:
        raise InputError(f"{path} has {len(axis):,} {units.nouns} that are not the {units.n:,} of the responses")
    return _whole_numbers(path, labels), {key: name for key, (name, _) in names.label[0].items() if key > 0}


def _label_names(path: Path) -> dict[int, str]:
    """Return the names of a label table next to a file: NAME.ctab or NAME.txt, rows of `number name`."""
    stem = path.name.removeprefix("lh.").split(".")[0]
    tables = [path.with_name(stem + ending) for ending in NAMES]
    table = next((one for one in tables if one.is_file()), None)
    return {} if table is None else read_label_table(table)


def _whole_numbers(path: Path, values: np.ndarray) -> np.ndarray:
    values = np.where(np.isfinite(values), values, 0)
    if (np.abs(values - np.rint(values)) > 1e-3).any():
        raise InputError(f"{path} holds values that are not whole numbers, so it is not a file of regions")
    return np.rint(values).astype(int)


def _of_table(path: Path, units: Units) -> dict[str, np.ndarray]:
    header, rows = read_table(path)
    if len(rows) != units.n:
        raise InputError(f"{path} has {len(rows)} rows, but the responses have {units.n} units")
    found: dict[str, np.ndarray] = {}
    for place, column in enumerate(header):
        if column == "unit":
            continue
        cells = np.array([row[place].strip() if place < len(row) else "" for _, row in rows])
        if column == COLUMN:
            found |= {name: cells == name for name in dict.fromkeys(cells.tolist()) if name}
        elif set(cells.tolist()) <= {"0", "1", ""}:
            found[column] = cells == "1"
        else:
            line = rows[int(np.flatnonzero(~np.isin(cells, ["0", "1", ""]))[0])][0]
            raise InputError(f"{path}, line {line}, column {column}: a column of a region may hold only 0 and 1")
    return found
