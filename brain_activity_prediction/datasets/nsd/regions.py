"""Read regions of interest as named sets of fitted voxels, and write maps back to NIfTI.

Voxels are ordered as `volume[mask]` of an (X, Y, Z) volume everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.dataset import ALL_UNITS
from brain_activity_prediction.datasets.nsd.label_tables import LABELS, label_names
from brain_activity_prediction.datasets.nsd.layout import FAMILIES, HEMISPHERES, NIFTI, Layout, without_hemisphere
from brain_activity_prediction.datasets.roi_families import family_masks, read_families
from brain_activity_prediction.datasets.units import read_map
from brain_activity_prediction.runtime.errors import InputError, one_line
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.grid import PUBLISHED_AXES, Grid
from brain_activity_prediction.storage.nifti import read_grid, read_volume_on

CORTEX = "cortex"  # value of --mask
ALL_FITTED = "nsdgeneral"  # name of the region of all fitted voxels
MOST_SHOWN = 12  # largest number of regions of an ROI file; a file with more is an atlas, which figures omit by default
LARGEST_LABEL = 10**6
ROUNDING = 1e-3  # largest distance of a label from a whole number
# Atlases use the same names (V1v, MST) as the regions mapped in each subject. Atlas regions are therefore prefixed with
# the file's name.
MAPPED_IN_EACH_SUBJECT = frozenset(LABELS) - {"Kastner2015"}


def subject_grid(layout: Layout, subject: int) -> Grid:
    """Return the grid of all volumes of a subject, from the header of the first betas stored as NIfTI.

    HDF5 betas state no affine. They are assumed to be as NSD publishes them: axes along RAS, on nsdgeneral's grid.
    """
    fitted = read_grid(layout.nsdgeneral(subject))
    for path in layout.betas_files(subject):
        if path.suffix == ".hdf5":
            return fitted.along(PUBLISHED_AXES)
        with suppress(InputError):  # reading this session reports a damaged file
            grid = read_grid(path)
            return grid if grid.has_affine else fitted
    return fitted


def read_mask(layout: Layout, subject: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of the fitted voxels and its affine; by default, those where nsdgeneral is 1.

    The mask is (X, Y, Z) bool. The affine (4, 4) maps voxel indices to millimetres. Both are on the `subject_grid`.
    With `--mask`, the fitted voxels are the union of ROI files, `cortex` (where nsdgeneral is not -1), or the voxels
    above 0 of a NIfTI file.
    """
    grid = subject_grid(layout, subject)
    mask = np.zeros(grid.shape, dtype=bool)
    for name in layout.mask:
        if name.endswith(NIFTI):
            mask |= whole_numbers(Path(name), read_volume_on(Path(name), grid)) > 0
        elif name in (ALL_FITTED, CORTEX):
            labels = whole_numbers(layout.nsdgeneral(subject), read_volume_on(layout.nsdgeneral(subject), grid))
            mask |= labels >= 0 if name == CORTEX else labels == 1
        else:
            layout.check_roi(subject, name)
            for path in layout.roi(subject, name):
                mask |= whole_numbers(path, read_volume_on(path, grid)) > 0
    if not mask.any():
        what = layout.nsdgeneral(subject) if layout.mask == (ALL_FITTED,) else f"--mask {' '.join(layout.mask)}"
        raise InputError(f"{what} marks no voxel" + (" with 1" if layout.mask == (ALL_FITTED,) else ""))
    return mask, grid.affine


def region_masks(
    layout: Layout, subject: int, fitted_mask: np.ndarray, names: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Return the fitted voxels of each region: {region: (n_fitted_voxels,) bool}.

    `names` are ROI files ("prf-visualrois", "lh.prf-visualrois"). The default is all files that exist whole, or for
    both hemispheres, and whose labels have names in the subject's label table or in LABELS. The first region is
    ALL_FITTED. Labels with the same name form one region. Regions of atlases and of single hemispheres are prefixed
    with the file's name ("Kastner2015:V1v"), as are regions whose name occurs in another file too. Labels without a
    fitted voxel are left out. A message reports which of `names` have no region at all, and which files are left out.

    Raises InputError for a missing file, a label number without a name, a volume on another grid than `fitted_mask` (X,
    Y, Z), which is on the `subject_grid`, and if none of `names` has a region.
    """
    grid = subject_grid(layout, subject)

    def read_labels(name: str) -> np.ndarray:
        # Labels are -1 outside the cortex, 0 if unlabelled, from 1 in regions: the maximum joins two hemispheres.
        return np.max([_read_labels(path, fitted_mask, grid) for path in layout.roi(subject, name)], axis=0)

    return named_regions(layout, subject, int(np.count_nonzero(fitted_mask)), read_labels, names)


def named_regions(
    layout: Layout,
    subject: int,
    n_fitted: int,
    read_labels: Callable[[str], np.ndarray],
    names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Return regions as `region_masks` does, from a function that reads the labels (n_fitted,) of an ROI file."""
    whole = ALL_FITTED if layout.mask == (ALL_FITTED,) else ALL_UNITS
    regions = {whole: np.ones(n_fitted, dtype=bool)}
    files = _default_files(layout, subject) if names is None else _chosen_files(layout, subject, names)
    repeated = _repeated_names(layout, subject)
    file_of: dict[str, Path] = {}
    empty: list[str] = []
    for name in files:
        label_names_of_file = label_names(layout, subject, name)
        if not label_names_of_file:
            table = layout.expected("label table", subject, name=name)[0]
            empty.append(f"no label of ROI {name} has a name: write its label table, {table}")
            continue
        own = _by_name(layout, subject, name, read_labels(name), label_names_of_file)
        if not own:
            empty.append(f"no label of ROI {name} lies in the fitted voxels of {' '.join(layout.mask)}")
        for label, members in own.items():
            plain = name in MAPPED_IN_EACH_SUBJECT and label not in repeated and ":" not in label
            region = label if plain else f"{name}:{label}"
            if region in file_of:
                path = layout.roi(subject, name)[0]
                raise InputError(f"{path} and {file_of[region]} both have a region {region!r}: rename one of them")
            regions[region], file_of[region] = members, layout.roi(subject, name)[0]
    if names is None:
        return regions
    if empty and not file_of and whole not in names:
        raise InputError(f"subject {subject}: {'; '.join(empty)}")
    for reason in empty:
        log.warning(one_line(f"subject {subject}: {reason}"))
    return regions


def _by_name(
    layout: Layout, subject: int, name: str, labels: np.ndarray, names_of_labels: Mapping[int, str]
) -> dict[str, np.ndarray]:
    """Return `{label name: (n_voxels,) bool}` for the labels that occur in any voxel; `labels` is (n_voxels,)."""
    found: dict[str, np.ndarray] = {}
    for number in np.unique(labels[labels > 0]):
        if number not in names_of_labels:
            table = layout.expected("label table", subject, name=name)[0]
            raise InputError(
                f"label {number} of ROI {name}, subject {subject}, has no name: add one to its label table, {table}"
            )
        label = names_of_labels[number]
        found[label] = found.get(label, False) | (labels == number)
    return found


def _default_files(layout: Layout, subject: int) -> list[str]:
    """Return the ROI files whose labels have names, in NSD's order; report files that lack the other hemisphere."""
    names = [name for name in layout.roi_names(subject) if label_names(layout, subject, name)]
    for name in names:
        if half := layout.lone_half(subject, name):
            log.warning(one_line(f"subject {subject}: {name} is left out: {_missing_half(layout, subject, half)}"))
    whole = [name for name in names if not layout.lone_half(subject, name)]
    return sorted(whole, key=lambda name: list(LABELS).index(name) if name in LABELS else len(LABELS))


def _chosen_files(layout: Layout, subject: int, names: Iterable[str]) -> list[str]:
    """Return the ROI files with these names; if only one hemisphere has a file, use it and report this."""
    files = []
    for name in dict.fromkeys(names):
        layout.check_roi(subject, name)
        half = layout.lone_half(subject, name)
        if half:
            why = _missing_half(layout, subject, half)
            log.warning(one_line(f"subject {subject}: of {name} only {half} is read: {why}"))
        files.append(half or name)
    return [name for name in dict.fromkeys(files) if name != ALL_FITTED]


def _missing_half(layout: Layout, subject: int, half: str) -> str:
    """Name the missing file of the other hemisphere."""
    (other,) = {side + without_hemisphere(half) for side in HEMISPHERES} - {half}
    return f"{layout.roi(subject, half)[0].name} exists without {layout.expected('roi', subject, name=other)[0].name}"


def _repeated_names(layout: Layout, subject: int) -> set[str]:
    """Return the label names that occur in several individually mapped ROI files, whichever files are requested."""
    count = Counter({ALL_FITTED: 2})
    for name in MAPPED_IN_EACH_SUBJECT.intersection(layout.roi_names(subject)):
        with suppress(InputError):  # reading this ROI reports a damaged table
            count.update({label for number, label in label_names(layout, subject, name).items() if number > 0})
    return {label for label, n_files in count.items() if n_files > 1}


def read_regions(layout: Layout, subject: int, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return the regions of a subject's fitted voxels as `region_masks` does, without reading betas.

    If `names` has "families", "lh.families" or "rh.families", the result also has the unions of `roi_families`, of both
    hemispheres or of one.
    """
    mask, wanted = read_mask(layout, subject)[0], dict.fromkeys(names or ())
    families = [name for name in wanted if without_hemisphere(name) == FAMILIES]
    files = None if names is None else [name for name in wanted if name not in families]
    regions = region_masks(layout, subject, mask, files)
    for name in families:
        found = _families(layout, subject, mask, name.removesuffix(FAMILIES))
        if not found:
            raise InputError(f"subject {subject}: no region of {name} has a fitted voxel in an ROI file")
        regions |= found
    return regions


def _families(layout: Layout, subject: int, mask: np.ndarray, side: str) -> dict[str, np.ndarray]:
    """Return the families that have a fitted voxel, by name; `side` is "lh.", "rh.", or empty for both."""
    files = [side + name for name in layout.roi_names(subject)]
    there = [name for name in files if name in layout.roi_files(subject)] if side else None
    own, known = region_masks(layout, subject, mask, there), _known_regions(layout, subject)
    if side:
        plain = {f"{name}:{label}": region for region, (name, label) in known.items()}
        own = {plain.get(name.removeprefix(side), name): members for name, members in own.items()}
    unions = family_masks(own, read_families(layout.base_dir, known))
    return {f"{side}{FAMILIES}:{name}" if side else name: mask for name, mask in unions.items() if mask.any()}


def _known_regions(layout: Layout, subject: int) -> dict[str, tuple[str, str]]:
    """Return `{region: (ROI file, label)}` of all labels of the subject's ROI files."""
    repeated, known = _repeated_names(layout, subject), {}
    for name in layout.roi_names(subject):
        for number, label in label_names(layout, subject, name).items():
            if number > 0:
                plain = name in MAPPED_IN_EACH_SUBJECT and label not in repeated and ":" not in label
                known[label if plain else f"{name}:{label}"] = name, label
    return known


def of_atlases(regions: Iterable[str]) -> set[str]:
    """Return the regions, such as HCP_MMP1:V1, of atlases: ROI files with more than MOST_SHOWN regions."""
    file_of = {name: name.partition(":")[0] for name in regions if ":" in name}
    sizes = Counter(file_of.values())
    return {name for name, file in file_of.items() if sizes[file] > MOST_SHOWN}


def _read_labels(path: Path, mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Read the label numbers, (n_voxels,) int, of an ROI file in the mask's voxels."""
    return whole_numbers(path, read_map(path, mask, grid))


def whole_numbers(path: Path, labels: np.ndarray) -> np.ndarray:
    """Round labels to int within ROUNDING; NaN, the background of some programs, becomes 0."""
    labels = np.where(np.isnan(labels), 0, labels)
    if not (np.abs(labels) < LARGEST_LABEL).all() or (np.abs(labels - np.rint(labels)) > ROUNDING).any():
        raise InputError(f"{path} holds values that are not whole numbers, so it is not an ROI file: fetch it again")
    return np.rint(labels).astype(int)
