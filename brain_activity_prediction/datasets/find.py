"""Recognise the dataset in a folder by the files that only it has."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.datasets.nsd.layout import NIFTI
from brain_activity_prediction.datasets.unrecognised import advice
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import no_such_path
from brain_activity_prediction.storage.folders import Output

if TYPE_CHECKING:
    from brain_activity_prediction.datasets.dataset import Dataset, Reading

PACKAGE = "brain_activity_prediction.datasets"
NSD = "nsd"
# For each dataset: the function (module, name) that opens it, and patterns of its files. At least one has to match.
DATASETS = {
    NSD: ((f"{PACKAGE}.nsd.nsd", "find_nsd"), ("nsddata/experiments/nsd/nsd_expdesign.mat", "nsd_expdesign.mat")),
    # Not recognised by files, because they are in NSD's folders; chosen with --dataset.
    "nsd_synthetic": ((f"{PACKAGE}.nsd_synthetic.dataset", "find_nsd_synthetic"), ()),
    "things": ((f"{PACKAGE}.public.things", "find_things"), ("betas_csv/sub-*_StimulusMetadata.csv",)),
    "laion_fmri": (
        (f"{PACKAGE}.public.laion_fmri", "find_laion"),
        ("derivatives/glmsingle-tedana/sub-*/ses-*", "derivatives/glmsingle/sub-*/ses-*"),
    ),
    "algonauts2023": ((f"{PACKAGE}.public.algonauts2023", "find_algonauts"), ("subj0[1-8]/training_split",)),
    "bold5000": ((f"{PACKAGE}.public.bold5000", "find_bold5000"), ("CSI[0-9]_imgnames.txt",)),
    "own": ((f"{PACKAGE}.own.dataset", "find_own"), ("trials.csv", "trials.tsv")),
}


def recognised(base_dir: Path) -> list[str]:
    """Return the names of the datasets whose files are in a folder."""
    return [name for name, (_, patterns) in DATASETS.items() if any(any(base_dir.glob(one)) for one in patterns)]


def dataset_name(base_dir: Path, given: str | None = None) -> str:
    """Return the name of the dataset in a folder: the given one, or the one that is recognised; otherwise NSD.

    Raises InputError if the folder has files of several datasets and no name is given.
    """
    found = recognised(base_dir)
    if given is None and len(found) > 1:
        raise InputError(f"{base_dir} has files of several datasets: choose one with --dataset: {', '.join(found)}")
    return given or (found[0] if found else NSD)


def find_dataset(base_dir: Path, given: str | None = None) -> Dataset:
    """Return the dataset in a folder; raise InputError if none is recognised, or if the given one is missing."""
    if not base_dir.is_dir():
        raise InputError(f"the base directory {no_such_path(base_dir)}")
    name = dataset_name(base_dir, given)
    if given is None and not recognised(base_dir):
        files = {one: patterns[0] for one, (_, patterns) in DATASETS.items() if patterns}
        raise InputError(f"no dataset is recognised in {base_dir}, {advice(base_dir, recognised, files)}")
    (module, function), _ = DATASETS[name]
    return getattr(import_module(module), function)(base_dir)


def as_chosen(dataset: Dataset, chosen: Reading) -> Dataset:
    """Return a dataset as the user chose to read it.

    A NIfTI file can be the mask of every dataset whose units are voxels. Raises InputError for a choice that the
    dataset does not offer.
    """
    path = chosen.mask[0] if chosen.mask else ""
    if dataset.has_named_masks or not path.endswith(NIFTI):
        return dataset.reading(chosen)
    masked = import_module(f"{PACKAGE}.masked").MaskedDataset
    return masked(dataset.reading(replace(chosen, mask=None)), Path(path))


def dataset_if_any(base_dir: Path, given: str | None = None) -> Dataset | None:
    """Return the dataset in a folder, or None if the folder contains only results."""
    try:
        return find_dataset(base_dir, given)
    except InputError:
        return None


def output_of(base_dir: Path, given: str | None = None, folder: Path | None = None) -> Output:
    """Return the output of the dataset in `base_dir`, which is stored in `folder`, by default `base_dir`."""
    name = dataset_name(base_dir, given)
    return Output(folder or base_dir, None if name == NSD else name)
