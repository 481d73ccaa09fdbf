"""Exports the voxel maps of finished runs for another program.

For pycortex, each subject becomes one file, BASE_DIR/report/pycortex/subjNN.hdf, which `cortex.load` opens. It has each
map as a volume and, if NSD's transforms exist, as vertices of the subject's own surface and of fsaverage. pycortex
draws them on the surfaces of its own store.
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
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import count, prompt_name
from brain_activity_prediction.storage.folders import part_of, subject_name

if TYPE_CHECKING:
    from brain_activity_prediction.report.cortex.pycortex_file import View
    from brain_activity_prediction.report.cortex.run_maps import VoxelMaps

FORMATS = ("pycortex",)


def flags() -> argparse.ArgumentParser:
    flags = parser(__doc__)
    flags.add_argument("format", choices=FORMATS, help="program to write files for")
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


def _views(base_dir: Path | None, maps: Sequence[VoxelMaps], transform: str) -> Iterator[View]:
    """Yield each map of one subject as a volume, and as vertices if NSD's transforms exist in its `base_dir`."""
    from brain_activity_prediction.report.cortex.pycortex_file import View
    from brain_activity_prediction.report.cortex.subject_surface import (
        FSAVERAGE,
        NATIVE,
        all_voxels,
        lacking_transforms,
        needs_meshes,
        nsd_in,
        read_subject_surface,
        read_voxels,
        space_of,
    )

    subject = maps[0].subject
    store, first = subject_name(subject), next(iter(maps[0].paths.values()))
    space = space_of(first)
    lacking = lacking_transforms(base_dir, subject, volumes=space) if base_dir else needs_meshes(subject)
    if lacking:
        log.warning(lacking)
    voxels = read_voxels(nsd_in(base_dir, space), subject) if base_dir else all_voxels(first)
    surface = None if lacking else read_subject_surface(base_dir, subject, space)
    for one in maps:
        run = one.folder.name if one.run is None else f"{one.folder.name}, {prompt_name(one.run.prompt)}"
        for name, path in one.paths.items():
            values = voxels.read(path)
            if values.ndim > 1:
                log.warning(f"{path} has a volume for each layer and is left out")
                continue
            volume = np.full(voxels.mask.shape, np.nan, dtype=np.float32)
            volume[voxels.mask] = values
            yield View(f"{run}, {name}", voxels.as_published(volume).T, store, transform)
            if surface is not None:
                native = surface.sample(name, values)
                for space, of_store in ((NATIVE, store), (FSAVERAGE, FSAVERAGE)):
                    both = np.concatenate([*surface.on(space, native).values()])
                    yield View(f"{run}, {name}, {space}", both, of_store)


if __name__ == "__main__":
    run_script(main)
