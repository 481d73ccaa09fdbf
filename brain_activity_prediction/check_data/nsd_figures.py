"""Compare a copy of NSD with the published figures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from brain_activity_prediction.check_data import published_nsd as published
from brain_activity_prediction.datasets.nsd.nsd import NSDVolumes
from brain_activity_prediction.datasets.units import Voxels
from brain_activity_prediction.runtime.errors import InputError


def compared(dataset: NSDVolumes, subject: int, trials: np.ndarray) -> Iterator[str]:
    """Yield a line for each figure of a subject: that of this copy, and the published one."""
    ids, n = np.unique(trials, return_counts=True)
    shared = np.intersect1d(ids, dataset.test_images(subject)).size
    place, units = subject - 1, dataset.units(subject)
    rows = [
        ("voxels of nsdgeneral", units.n, published.NSDGENERAL[place]),
        ("shape of volumes", units.mask.shape, published.SHAPES[place]),
        ("images seen", ids.size, published.IMAGES[place]),
        ("images seen three times", int((n == 3).sum()), published.IMAGES_THREE_TIMES[place]),
        ("shared images seen", shared, published.SHARED[place]),
    ]
    if subject in published.FIRST_IMAGES:
        first = published.FIRST_IMAGES[subject]
        rows.append(("first images", tuple(trials[: len(first)].tolist()), first))
    for name, here, elsewhere in rows:
        yield f"  {name}: {here}, published {elsewhere}{'' if here == elsewhere else ' (differs)'}"


def ncsnr_beside_published(dataset: NSDVolumes, subject: int, units: Voxels, computed: np.ndarray) -> Iterator[str]:
    """Yield a line that compares computed ncsnr (V,) with NSD's own file, which uses images of three trials alone."""
    try:
        own = dataset.ncsnr(subject, units)
    except InputError:
        yield "  ncsnr of NSD's own file: the file is not here"
        return
    both = np.isfinite(own) & np.isfinite(computed)
    r = np.corrcoef(own[both], computed[both])[0, 1] if both.sum() > 2 else np.nan
    apart = np.abs(own[both] - computed[both])
    largest = f"{apart.max():.3f}" if apart.size else "-"
    yield (
        f"  ncsnr of NSD's own file: median {np.nanmedian(own):.3f}; correlation with ours {r:.4f}, "
        f"largest difference {largest}"
    )
