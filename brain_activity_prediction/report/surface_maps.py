"""Writes the voxel maps of finished runs as surface files, by NSD's own transforms.

Each map becomes .func.gii (GIFTI) and .mgz (FreeSurfer) files of both hemispheres, in the folder surfaces/ next to
maps/, on the subject's own surface and on fsaverage. ROI files become .label.gii. With several subjects, the mean, t
and the number of significant subjects on fsaverage are written to across_subjects/.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.report.flags import output_and_selection, parser
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.folders import (
    Output,
    across_subjects_folder,
    model_folder,
    prompt_folder,
    subject_folder,
)

SPACES = ("native", "fsaverage", "fsaverage5")


def flags() -> argparse.ArgumentParser:
    flags = parser(__doc__)
    shared.add_protocol(flags)
    shared.add_maps(flags)
    flags.add_argument(
        "--space", nargs="+", choices=SPACES, default=["native", "fsaverage"], help="surfaces to write maps on"
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
    output, selection = output_and_selection(arguments)
    if arguments.volume:
        if len(selection.subject) != 1:
            raise InputError("--volume needs the subject of the volumes: give one number with -s")
        write_volumes(arguments.base_dir, output, selection.subject[0], arguments.volume, arguments.space)
        return
    write_surfaces(arguments.base_dir, output, arguments.protocol, selection, arguments.map, arguments.space)


def write_surfaces(
    base_dir: Path, output: Output, protocol: str, selection: Selection, patterns: list[str], spaces: list[str]
) -> None:
    """Write the selected maps of each subject that has transforms, and their statistics over subjects.

    Subjects without transforms are reported. Raise InputError if they were selected, or if no subject has transforms.
    """
    from brain_activity_prediction.report.cortex.run_maps import find_maps
    from brain_activity_prediction.report.cortex.subject_surface import lacking_transforms, read_subject_surface
    from brain_activity_prediction.report.cortex.writing import write_maps, write_over_subjects, write_roi_labels

    found = find_maps(output, protocol, selection, patterns)
    subjects = list(dict.fromkeys(one.subject for one in found))
    lacking = {subject: text for subject in subjects if (text := lacking_transforms(base_dir, subject, spaces))}
    if lacking and (selection.subject or len(lacking) == len(subjects)):
        raise InputError("; ".join(lacking.values()))
    for text in lacking.values():
        log.warning(text)
    group: dict[tuple, dict] = defaultdict(dict)  # maps on fsaverage, by (prompt, model) and subject
    for subject in [one for one in subjects if one not in lacking]:
        surface, own = read_subject_surface(base_dir, subject), [one for one in found if one.subject == subject]
        folder = subject_folder(output, subject, protocol)
        rois = write_roi_labels(base_dir, folder, surface, spaces)
        for maps in own:
            on_fsaverage = write_maps(maps, surface, spaces)
            if maps.run is not None:
                group[maps.run.prompt, maps.run.model_id][subject] = on_fsaverage
        n = sum(len(maps.paths) for maps in own)
        print(f"subject {subject}: {count(n, 'map')} and {count(len(rois), 'ROI file')} in {folder}/**/surfaces")
    if not patterns:
        log.info("maps of every layer are left out: --map '*_layers_*' writes them")
    for (prompt, model), by_subject in group.items():
        folder = across_subjects_folder(output, protocol) / prompt_folder(prompt) / model_folder(model)
        write_over_subjects(folder, by_subject)
    if any(len(by_subject) > 1 for by_subject in group.values()):
        print(f"statistics over subjects on fsaverage in {across_subjects_folder(output, protocol)}/**/surfaces")


def write_volumes(base_dir: Path, output: Output, subject: int, paths: list[Path], spaces: list[str]) -> None:
    """Write whole volumes of a subject to its folder of surfaces."""
    from brain_activity_prediction.report.cortex.subject_surface import lacking_transforms, read_subject_surface
    from brain_activity_prediction.report.cortex.writing import write_volume

    if lacking := lacking_transforms(base_dir, subject, spaces):
        raise InputError(lacking)
    surface, folder = read_subject_surface(base_dir, subject), subject_folder(output, subject)
    for path in paths:
        how = write_volume(path, folder, surface, spaces)
        print(f"{path.name}, interpolated {how}: {folder / 'surfaces'}")


if __name__ == "__main__":
    run_script(main)
