"""Compare a copy of NSD with the published figures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from brain_activity_prediction.check_data import published_nsd as published
from brain_activity_prediction.datasets.nsd.base import NSD
from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.datasets.units import Vertices
from brain_activity_prediction.runtime.wording import count


def compared(dataset: NSD, subject: int, trials: np.ndarray) -> Iterator[str]:
    """Yield a line for each figure of a subject in the chosen space: the value in this copy, and the published one."""
    ids, n = np.unique(trials, return_counts=True)
    shared = np.intersect1d(ids, dataset.test_images(subject)).size
    place, units, space = subject - 1, dataset.units(subject), dataset.space
    n_absent = dataset.n_sessions_planned(subject) - len(dataset.sessions(subject))
    rows: list[tuple] = []
    if space in published.NSDGENERAL and dataset.mask == Layout.mask:
        rows.append((f"{units.nouns} of nsdgeneral", units.n, published.NSDGENERAL[space][place]))
    if isinstance(units, Vertices):
        rows.append(("vertices of lh and rh", _sizes(units), published.VERTICES[space][place]))
    else:
        rows.append(("shape of volumes", units.mask.shape, published.SHAPES[space][place]))
    rows += [
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


def _sizes(units: Vertices) -> tuple[int, ...]:
    return tuple(mask.size for mask in units.masks.values())
