"""Compare a copy of NSD with the published figures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from brain_activity_prediction.check_data import published_nsd as published
from brain_activity_prediction.datasets.nsd.nsd import NSDVolumes
from brain_activity_prediction.runtime.wording import count


def compared(dataset: NSDVolumes, subject: int, trials: np.ndarray) -> Iterator[str]:
    """Yield a line for each figure of a subject: that of this copy, and the published one."""
    ids, n = np.unique(trials, return_counts=True)
    shared = np.intersect1d(ids, dataset.test_images(subject)).size
    place, units = subject - 1, dataset.units(subject)
    n_absent = dataset.n_sessions_planned(subject) - len(dataset.sessions(subject))
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
        of_all = f"with the {count(n_absent, 'session')} without responses here" if n_absent and "seen" in name else ""
        yield f"  {name}: {here}, published {elsewhere}" + ("" if here == elsewhere else f" ({of_all or 'differs'})")
