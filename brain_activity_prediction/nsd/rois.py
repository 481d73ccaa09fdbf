"""Regions of interest: masks and label volumes in, named sets of fitted voxels out; and maps back to NIfTI.

Voxels are ordered as `volume[mask]` of an (X, Y, Z) volume everywhere.
"""

from collections import Counter
from collections.abc import Iterable

import nibabel
import numpy as np

from brain_activity_prediction.errors import InputError
from brain_activity_prediction.files import read_bytes, reading, written_whole
from brain_activity_prediction.nsd.volumes import read_volume

# Names of the labels 1, 2, ... of NSD's ROI files, for folders without the label tables (NSD data manual).
LABELS = {
    "prf-visualrois": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"),
    "prf-eccrois": ("ecc0.5", "ecc1", "ecc2", "ecc4", "ecc4+"),
    "floc-faces": ("OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"),
    "floc-bodies": ("EBA", "FBA-1", "FBA-2", "mTL-bodies"),
    "floc-places": ("OPA", "PPA", "RSC"),
    "floc-words": ("OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"),
    "streams": ("early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal"),
    "Kastner2015": (
        *("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4", "VO1", "VO2", "PHC1", "PHC2", "MST", "hMT"),
        *("LO2", "LO1", "V3b", "V3a", "IPS0", "IPS1", "IPS2", "IPS3", "IPS4", "IPS5", "SPL1", "FEF"),
    ),
}
MOST_SHOWN = 12  # regions of a file that names of regions carry: more are an atlas, too many to look at
LARGEST_LABEL = 10**6
LARGEST_TABLE_BYTES = 2**20
SCANNER = 1  # NIfTI's code for scanner-based coordinates
# Atlases share names with the regions mapped in each subject (V1v, MST): theirs carry the file's name.
MAPPED_IN_EACH_SUBJECT = frozenset(LABELS) - {"Kastner2015"}


def read_mask(layout, subject):
    """The fitted voxels, nsdgeneral == 1, (X, Y, Z) bool, and the affine (4, 4), indices to millimetres."""
    path = layout.nsdgeneral(subject)
    volume, affine = read_volume(path)
    mask = volume == 1
    if not mask.any():
        raise InputError(f"{path} marks no voxel with 1")
    return mask, affine


def region_masks(layout, subject, fitted_mask, names=None):
    """Which fitted voxels belong to which region: {region: (n_fitted_voxels,) bool}.

    `names` are ROI files ("prf-visualrois"); by default all that are there and whose labels have names, in
    the subject's label table or in LABELS. The first region is "nsdgeneral", all fitted voxels. Labels of
    atlases are called "Kastner2015:V1v". Labels without a fitted voxel are left out.

    InputError for a missing file, a label number without a name, and a volume of another shape than
    `fitted_mask` (X, Y, Z).
    """
    known = layout.roi_names(subject)
    for name in names or ():
        if name not in known:
            raise InputError(f"subject {subject} has no ROI file {name}.nii.gz: there are {', '.join(known) or 'none'}")
    if names is None:
        names = [name for name in known if _label_names(layout, subject, name)]
        names.sort(key=lambda name: list(LABELS).index(name) if name in LABELS else len(LABELS))
    regions = {"nsdgeneral": np.ones(np.count_nonzero(fitted_mask), dtype=bool)}
    for name in names:
        # -1 outside the cortex, 0 unlabelled, regions from 1: the larger label joins two hemispheres' files.
        halves = [_read_labels(path, fitted_mask) for path in layout.roi(subject, name)]
        labels = np.max(halves, axis=0)
        label_names = _label_names(layout, subject, name)
        prefix = "" if name in MAPPED_IN_EACH_SUBJECT else f"{name}:"
        for number in np.unique(labels[labels > 0]):
            if number not in label_names:
                table = layout.expected("label table", subject, name=name)[0]
                raise InputError(
                    f"label {number} of ROI {name}, subject {subject}, has no name: add one to its label table, {table}"
                )
            regions[prefix + label_names[number]] = labels == number
    return regions


def read_regions(layout, subject, names=None):
    """The regions of a subject's fitted voxels, as `region_masks` gives them; no betas are read."""
    return region_masks(layout, subject, read_mask(layout, subject)[0], names)


def of_atlases(regions: Iterable[str]) -> set[str]:
    """Those of the regions that are of an ROI file with more than MOST_SHOWN of them: "HCP_MMP1:V1"."""
    file_of = {name: name.partition(":")[0] for name in regions if ":" in name}
    sizes = Counter(file_of.values())
    return {name for name, file in file_of.items() if sizes[file] > MOST_SHOWN}


def write_map(path, values, mask, affine):
    """Write a value per fitted voxel (n_voxels,) as a float32 NIfTI volume, NaN outside the mask.

    Values (n_voxels, n) become n volumes. Both transforms of the header are the affine, in millimetres and marked as
    the scanner's space, the one that the subject's own files are in: viewers differ in which of the two they take.
    """
    volume = np.full((*mask.shape, *np.shape(values)[1:]), np.nan, dtype=np.float32)
    volume[mask] = values
    image = nibabel.Nifti1Image(volume, affine)
    image.set_sform(affine, SCANNER)
    image.set_qform(affine, SCANNER)
    image.header.set_xyzt_units("mm")
    with written_whole(path) as aside:
        nibabel.save(image, aside)


def read_map(path, mask):
    """The values (n_voxels,) of an (X, Y, Z) NIfTI volume in the mask's voxels, as `write_map` takes them."""
    volume, _ = read_volume(path)
    if volume.shape != mask.shape:
        raise InputError(
            f"{path} has shape {volume.shape}, but the mask of fitted voxels has {mask.shape}: one of them is another "
            "subject's, or not of 1.8 mm; fetch it again"
        )
    return volume[mask]


def _read_labels(path, mask):
    """The label numbers (n_voxels,) of an ROI file in the mask's voxels, int."""
    labels = read_map(path, mask)
    if not (np.abs(labels) < LARGEST_LABEL).all() or (labels % 1).any():  # NaN is not smaller either
        raise InputError(f"{path} holds other things than whole numbers, so that it is no ROI file: fetch it again")
    return labels.astype(int)


def _label_names(layout, subject, name):
    """{label number: region name} from the label table, else from LABELS; empty when in neither."""
    table = layout.label_table(subject, name)
    if table is None:
        return dict(enumerate(LABELS.get(name, ()), start=1))
    with reading(table):
        text = read_bytes(table, LARGEST_TABLE_BYTES).decode()
    try:
        # FreeSurfer's colour table: "number name R G B A" a line; NSD's own tables leave the colours out.
        rows = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
        return {int(row[0]): row[1] for row in rows}
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{table} is not a label table: a line is not 'number name'; fetch it again, or delete it"
        ) from error
