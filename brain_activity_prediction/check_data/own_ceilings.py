"""Compare the noise ceilings in a dataset's own file with those computed from repeats."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.own.dataset import OwnDataset
from brain_activity_prediction.datasets.units import Units
from brain_activity_prediction.inference.noise_ceiling import fitting_better
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import Subject


def own_ceilings(dataset: Dataset, subject: Subject, units: Units, computed: np.ndarray) -> Iterator[str]:
    """Yield a line about the ncsnr in a dataset's own file, if there is such a file.

    computed  ncsnr (V,) from repeats, NaN if unknown

    Raises InputError if the file has values of another kind.
    """
    name = f"{dataset.title}'s own file"
    if isinstance(dataset, OwnDataset):
        if (files := dataset.ceilings(subject)) is None:
            return
        name = f"your own {files}"
    elif type(dataset).ncsnr is Dataset.ncsnr:
        return
    else:
        try:
            dataset.check_ncsnr(subject)
        except InputError as error:
            yield f"  ncsnr of {name}: not read ({error})"
            return
    ncsnr = dataset.ncsnr(subject, units)
    yield f"  ncsnr of {name}: {spread(ncsnr)}{_beside(ncsnr, computed)}"
    if other := fitting_better(ncsnr, computed):
        raise InputError(
            f"{name} fits the repeats of subject {subject} better as {other}"
            + (
                ": put ratios into ncsnr/, and ceilings of N trials into ceilings_N/"
                if isinstance(dataset, OwnDataset)
                else ""
            )
        )


def spread(ncsnr: np.ndarray) -> str:
    """Describe ratios (V,) in a few words."""
    known = ncsnr[np.isfinite(ncsnr)]
    if not known.size:
        return "unknown in every unit"
    low, median, high = np.percentile(known, [5, 50, 95])
    unknown = f", unknown in {ncsnr.size - known.size:,} of {ncsnr.size:,} units" if known.size < ncsnr.size else ""
    return f"median {median:.3f}, 5th to 95th percentile {low:.3f} to {high:.3f}{unknown}"


def _beside(ncsnr: np.ndarray, computed: np.ndarray) -> str:
    """Describe how much ratios differ from those of repeats, over the units that have both."""
    both = np.isfinite(ncsnr) & np.isfinite(computed)
    if np.count_nonzero(both) < 3 or np.ptp(ncsnr[both]) == 0 or np.ptp(computed[both]) == 0:
        return ""
    r, apart = np.corrcoef(ncsnr[both], computed[both])[0, 1], np.abs(ncsnr[both] - computed[both])
    return f"; correlation with ours {r:.4f}, largest difference {apart.max():.3f}, median {np.median(apart):.3f}"
