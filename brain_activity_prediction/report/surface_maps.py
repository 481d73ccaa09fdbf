"""Writes the maps of finished runs as surface files, with NSD's own transforms or on given meshes.

Each map becomes .func.gii (GIFTI) and .mgz (FreeSurfer) files of both hemispheres, in the folder surfaces/ next to
maps/, on the subject's own surface and on fsaverage. ROI volumes become .label.gii. With several subjects, the mean, t
and the number of subjects with a significant score are written to across_subjects/, on fsaverage or fsaverage5. Maps of
responses on fsaverage need no transforms. Volumes of other datasets need meshes of the subject (--mesh), and are
written only on these meshes.
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
from brain_activity_prediction.runtime.wording import count, no_such_path
from brain_activity_prediction.storage.folders import (
    Output,
    Subject,
    across_subjects_folder,
    model_folder,
    prompt_folder,
    subject_folder,
)

if TYPE_CHECKING:
    from brain_activity_prediction.report.cortex.vertex_surface import Surface

SPACES = NATIVE, *_ = ("native", "fsaverage", "fsaverage5")


def flags() -> argparse.ArgumentParser:
    flags = parser(__doc__)
    shared.add_protocol(flags)
    shared.add_maps(flags)
    flags.add_argument(
        "--space",
        nargs="+",
        choices=SPACES,
        help="surfaces to write maps on (default: native fsaverage, or the surface of the responses)",
    )
    flags.add_argument(
        "--mesh",
        nargs="+",
        default=[],
        type=Path,
        metavar="FILE",
        help="meshes of one subject in the coordinates (mm) of its volumes, as GIFTI or FreeSurfer files: left and "
        "right, such as midthickness; or left and right pial, then left and right white",
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
    meshes, spaces = arguments.mesh, tuple(arguments.space or ())
    if (meshes or arguments.volume) and len(selection.subject) != 1:
        flag = "--mesh needs the subject of the meshes" if meshes else "--volume needs the subject of the volumes"
        raise InputError(f"{flag}: give one with -s")
    if len(meshes) not in (0, 2, 4):
        raise InputError(
            f"--mesh has {count(len(meshes), 'file')}: give 2 (left and right) or 4 (pial and white of both sides)"
        )
    if meshes and spaces not in ((), (NATIVE,)):
        raise InputError("--mesh writes maps on the meshes: leave out --space")
    target = Target(arguments.base_dir if has_nsd_volumes(output) else None, spaces, tuple(meshes))
    if arguments.volume:
        write_volumes(target, output, selection.subject[0], arguments.volume)
    else:
        write_surfaces(target, output, arguments.protocol, selection, arguments.map)


@dataclass(frozen=True)
class Target:
    """The surfaces to write on: given meshes of one subject, or those to which a subject's maps can be transferred.

    base_dir  folder of NSD, whose transforms are used; None for other datasets
    spaces    chosen spaces; empty for the default
    """

    base_dir: Path | None
    spaces: tuple[str, ...]
    meshes: tuple[Path, ...] = ()

    def lacking(self, subject: Subject, path: Path) -> str:
        """Return a message why a subject's maps, one of which has this path, cannot be written; empty if they can."""
        from brain_activity_prediction.report.cortex.vertex_surface import lacking_of_maps

        if not self.meshes:
            return lacking_of_maps(self.base_dir, subject, path, self.spaces)
        on_surface = f"maps of subject {subject} are on a surface, but --mesh is for volumes: leave it out"
        return "" if path.exists() else on_surface

    def surface(self, subject: Subject, path: Path) -> Surface:
        """Return the transform from the maps of a subject to surfaces."""
        from brain_activity_prediction.report.cortex.mesh_surface import read_mesh_surface
        from brain_activity_prediction.report.cortex.vertex_surface import surface_of_maps

        if self.meshes:
            return read_mesh_surface(subject, path, self.meshes)
        return surface_of_maps(self.base_dir, subject, path)

    def spaces_of(self, surface: Surface) -> tuple[str, ...]:
        """Return the spaces to write: the chosen ones, or by default the maps' own surface and fsaverage."""
        if self.meshes:
            return (NATIVE,)
        return self.spaces or surface.reached[: 2 if NATIVE in surface.reached else 1]


def write_surfaces(
    target: Target, output: Output, protocol: str, selection: Selection, patterns: Sequence[str]
) -> None:
    """Write the selected maps of each subject that has transforms or meshes, and their statistics over subjects.

    Subjects without them are reported. Raises InputError if such subjects were selected, or if no subject has them.
    """
    from brain_activity_prediction.report.cortex.run_maps import find_maps
    from brain_activity_prediction.report.cortex.writing import write_maps, write_over_subjects, write_roi_labels

    found = find_maps(output, protocol, selection, patterns)
    by_subject = {one.subject: [own for own in found if own.subject == one.subject] for one in found}
    paths = {subject: next(iter(own[0].paths.values())) for subject, own in by_subject.items()}
    lacking = {subject: text for subject, path in paths.items() if (text := target.lacking(subject, path))}
    if lacking and (selection.subject or len(lacking) == len(paths)):
        raise InputError("; ".join(lacking.values()))
    for text in lacking.values():
        log.warning(text)
    group: dict[tuple, dict] = defaultdict(dict)  # maps that subjects can share, by (prompt, model) and subject
    for subject in [one for one in paths if one not in lacking]:
        surface, folder = target.surface(subject, paths[subject]), subject_folder(output, subject, protocol)
        spaces = target.spaces_of(surface)
        rois = write_roi_labels(folder, surface, spaces)
        for maps in by_subject[subject]:
            shared = write_maps(maps, surface, spaces)
            if maps.run is not None:
                group[maps.run.prompt, maps.run.model_id][subject] = shared
        n = count(sum(len(maps.paths) for maps in by_subject[subject]), "map")
        labels = f" and {count(len(rois), 'ROI file')}" if rois else ""
        print(f"subject {subject}: {n}{labels} in {folder}/**/surfaces")
    if not patterns:
        log.info("maps with a volume for each layer are left out: --map '*_layers_*' writes them")
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

    for path in paths:
        if not path.is_file():
            raise InputError(f"--volume {no_such_path(path)}")
    if lacking := target.lacking(subject, paths[0]):
        raise InputError(lacking)
    surface, folder = target.surface(subject, paths[0]), subject_folder(output, subject)
    for path in paths:
        how = write_volume(path, folder, surface, target.spaces_of(surface))
        print(f"{path.name}, interpolated {how}: {folder / 'surfaces'}")


if __name__ == "__main__":
    run_script(main)
