"""Exports the voxel maps of finished runs for another program.

For pycortex, each subject becomes one file, BASE_DIR/report/pycortex/subjNN.hdf, which `cortex.load` opens. It has each
map as a volume and, if NSD's transforms exist, on the vertices of the subject's own surface and of fsaverage. Maps of
responses on a surface are exported only as vertices. pycortex draws the maps on the surfaces in its own store.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
import numpy as np

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.report.flags import output_and_selection, parser
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import count, prompt_name
from brain_activity_prediction.storage.folders import part_of, subject_name

if TYPE_CHECKING:
    from brain_activity_prediction.report.cortex.pycortex_file import View
    from brain_activity_prediction.report.cortex.run_maps import RunMaps

FORMATS = ("pycortex",)


def flags() -> argparse.ArgumentParser:
    flags = parser(__doc__)
    flags.add_argument("format", choices=FORMATS, help="program for which files are written")
    shared.add_protocol(flags)
    shared.add_maps(flags)
    flags.add_argument(
        "--transform",
        default="full",
        metavar="NAME",
        help="name of the transform to 1.8 mm volumes in pycortex's store (default: full)",
    )
    return flags


def main() -> None:
    arguments = flags().parse_args()
    output, selection = output_and_selection(arguments)
    from brain_activity_prediction.report.cortex.pycortex_file import write_views
    from brain_activity_prediction.report.cortex.run_maps import find_maps
    from brain_activity_prediction.report.cortex.subject_surface import has_nsd_volumes

    base_dir = arguments.base_dir if has_nsd_volumes(output) else None
    found = find_maps(output, arguments.protocol, selection, arguments.map)
    for subject in dict.fromkeys(one.subject for one in found):
        own = [one for one in found if one.subject == subject]
        path = part_of(output, "report") / "pycortex" / f"{subject_name(subject)}.hdf"
        n = write_views(path, _views(base_dir, own, arguments.transform))
        print(f"{path}: {count(n, 'view')} of {count(sum(len(one.paths) for one in own), 'map')}")


def _views(base_dir: Path | None, maps: Sequence[RunMaps], transform: str) -> Iterator[View]:
    """Yield each map of one subject as a volume, if it is one, and on each surface to which it can be transferred.

    base_dir  folder of NSD, whose transforms are used; None for other datasets
    """
    from brain_activity_prediction.report.cortex.pycortex_file import View
    from brain_activity_prediction.report.cortex.subject_surface import (
        FSAVERAGE,
        NATIVE,
        all_voxels,
        nsd_in,
        read_voxels,
        space_of,
    )
    from brain_activity_prediction.report.cortex.vertex_surface import lacking_of_maps, surface_of_maps

    subject, first = maps[0].subject, next(iter(maps[0].paths.values()))
    store, is_volume = subject_name(subject), first.exists()
    if lacking := lacking_of_maps(base_dir, subject, first):
        log.warning(lacking)
    voxels = None
    if is_volume:
        voxels = read_voxels(nsd_in(base_dir, space_of(first)), subject) if base_dir else all_voxels(first)
    surface = None if lacking and is_volume else surface_of_maps(base_dir, subject, first)
    stores = {NATIVE: store, FSAVERAGE: FSAVERAGE}
    spaces = [space for space in stores if surface and space in surface.reached]
    if not (is_volume or spaces):
        raise InputError(f"maps of subject {subject} are on fsaverage5, but pycortex's store has only fsaverage")
    for one in maps:
        run = one.folder.name if one.run is None else f"{one.folder.name}, {prompt_name(one.run.prompt)}"
        for name, path in one.paths.items():
            values = (voxels or surface).read(path)
            if values.ndim > 1:
                log.warning(f"{path} has a volume for each layer and is left out")
                continue
            if voxels:
                volume = np.full(voxels.mask.shape, np.nan, dtype=np.float32)
                volume[voxels.mask] = values
                yield View(f"{run}, {name}", voxels.as_published(volume).T, store, transform)
            for space in spaces:
                both = np.concatenate([*surface.on(space, surface.sample(name, values)).values()])
                yield View(f"{run}, {name}, {space}", both, stores[space])


if __name__ == "__main__":
    run_script(main)
