"""Writes the voxel maps of finished runs as surface files, by NSD's own transforms or onto given meshes.

Each map becomes .func.gii (GIFTI) and .mgz (FreeSurfer) files of both hemispheres, in the folder surfaces/ next to
maps/, on the subject's own surface and on fsaverage. ROI files become .label.gii. With several subjects, the mean, t
and the number of significant subjects on fsaverage or fsaverage5 are written to across_subjects/. Volumes of other
datasets need meshes of the subject (--mesh), and stay on them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.report.flags import output_and_selection, parser
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.folders import (
    Output,
    Subject,
    across_subjects_folder,
    model_folder,
    prompt_folder,
    subject_folder,
)

if TYPE_CHECKING:
    from brain_activity_prediction.report.cortex.subject_surface import SubjectSurface

SPACES = NATIVE, *_ = ("native", "fsaverage", "fsaverage5")


def flags() -> argparse.ArgumentParser:
    flags = parser(__doc__)
    shared.add_protocol(flags)
    shared.add_maps(flags)
    flags.add_argument(
        "--space", nargs="+", choices=SPACES, help="surfaces to write maps on (default: native fsaverage)"
    )
    flags.add_argument(
        "--mesh",
        nargs="+",
        default=[],
        type=Path,
        metavar="FILE",
        help="meshes of one subject in the millimetres of its volumes, GIFTI or FreeSurfer: left and right, such as "
        "midthickness; or left and right pial, then left and right white",
    )
    flags.add_argument(
        "--volume",
        nargs="+",
        default=[],
        type=Path,
        metavar="FILE",
        help="write these NIfTI volumes of one subject, such as NSD's ncsnr, instead of the maps of runs",
    )
    return flags


def main() -> None:
    arguments = flags().parse_args()
    from brain_activity_prediction.report.cortex.subject_surface import has_nsd_volumes

    output, selection = output_and_selection(arguments)
    meshes, spaces = arguments.mesh, arguments.space or [NATIVE, *["fsaverage"] * (not arguments.mesh)]
    if (meshes or arguments.volume) and len(selection.subject) != 1:
        flag = "--mesh needs the subject of the meshes" if meshes else "--volume needs the subject of the volumes"
        raise InputError(f"{flag}: give one with -s")
    if len(meshes) not in (0, 2, 4):
        raise InputError(
            f"--mesh has {count(len(meshes), 'file')}: give 2, left and right, or 4, pial and white of both"
        )
    if meshes and spaces != [NATIVE]:
        raise InputError("--mesh writes maps on the meshes: leave out --space")
    target = Target(arguments.base_dir, tuple(spaces), tuple(meshes), has_nsd_volumes(output))
    if arguments.volume:
        write_volumes(target, output, selection.subject[0], arguments.volume)
    else:
        write_surfaces(target, output, arguments.protocol, selection, arguments.map)


@dataclass(frozen=True)
class Target:
    """The surfaces to write on: given meshes of one subject, or those of NSD's transforms in a BASE_DIR."""

    base_dir: Path
    spaces: tuple[str, ...]
    meshes: tuple[Path, ...] = ()
    of_nsd: bool = True

    def lacking(self, subject: Subject, volume: Path) -> str:
        """Return a message that lists the transforms that the volumes of a subject lack; empty if none."""
        from brain_activity_prediction.report.cortex.subject_surface import lacking_transforms, needs_meshes, space_of

        if not self.of_nsd and not self.meshes:
            return needs_meshes(subject)
        return "" if self.meshes else lacking_transforms(self.base_dir, subject, self.spaces, space_of(volume))

    def surface(self, subject: Subject, volume: Path) -> SubjectSurface:
        """Read the surfaces of a subject for volumes on the grid of `volume`."""
        from brain_activity_prediction.report.cortex.mesh_surface import read_mesh_surface
        from brain_activity_prediction.report.cortex.subject_surface import read_subject_surface, space_of

        if self.meshes:
            return read_mesh_surface(subject, volume, self.meshes)
        return read_subject_surface(self.base_dir, subject, space_of(volume))


def write_surfaces(
    target: Target, output: Output, protocol: str, selection: Selection, patterns: Sequence[str]
) -> None:
    """Write the selected maps of each subject that has transforms or meshes, and their statistics over subjects.

    Subjects without transforms are reported. Raise InputError if they were selected, or if no subject has transforms.
    """
    from brain_activity_prediction.report.cortex.run_maps import find_maps
    from brain_activity_prediction.report.cortex.writing import write_maps, write_over_subjects, write_roi_labels

    found = find_maps(output, protocol, selection, patterns)
    by_subject = {one.subject: [own for own in found if own.subject == one.subject] for one in found}
    volumes = {subject: next(iter(own[0].paths.values())) for subject, own in by_subject.items()}
    lacking = {subject: text for subject, path in volumes.items() if (text := target.lacking(subject, path))}
    if lacking and (selection.subject or len(lacking) == len(volumes)):
        raise InputError("; ".join(lacking.values()))
    for text in lacking.values():
        log.warning(text)
    group: dict[tuple, dict] = defaultdict(dict)  # maps that subjects can share, by (prompt, model) and subject
    for subject in [one for one in volumes if one not in lacking]:
        surface, folder = target.surface(subject, volumes[subject]), subject_folder(output, subject, protocol)
        rois = write_roi_labels(folder, surface, target.spaces)
        for maps in by_subject[subject]:
            shared = write_maps(maps, surface, target.spaces)
            if maps.run is not None:
                group[maps.run.prompt, maps.run.model_id][subject] = shared
        n = count(sum(len(maps.paths) for maps in by_subject[subject]), "map")
        print(f"subject {subject}: {n} and {count(len(rois), 'ROI file')} in {folder}/**/surfaces")
    if not patterns:
        log.info("maps of every layer are left out: --map '*_layers_*' writes them")
    with_statistics: set[str] = set()
    for (prompt, model), of_subjects in group.items():
        folder = across_subjects_folder(output, protocol) / prompt_folder(prompt) / model_folder(model)
        with_statistics |= write_over_subjects(folder, of_subjects)
    if with_statistics:
        spaces = ", ".join(sorted(with_statistics))
        print(f"statistics over subjects on {spaces} in {across_subjects_folder(output, protocol)}/**/surfaces")


def write_volumes(target: Target, output: Output, subject: Subject, paths: Sequence[Path]) -> None:
    """Write whole volumes of a subject to its folder of surfaces."""
    from brain_activity_prediction.report.cortex.writing import write_volume

    if lacking := target.lacking(subject, paths[0]):
        raise InputError(lacking)
    surface, folder = target.surface(subject, paths[0]), subject_folder(output, subject)
    for path in paths:
        how = write_volume(path, folder, surface, target.spaces)
        print(f"{path.name}, interpolated {how}: {folder / 'surfaces'}")


if __name__ == "__main__":
    run_script(main)
