"""Find the maps of finished runs: volumes, or pairs of files for both hemispheres."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from brain_activity_prediction.report.map_files import ENDING, OF_SIDE, map_paths
from brain_activity_prediction.report.tables.collecting import Scored, find_scored
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.folders import Output, across_subjects_folder, subject_folder, subject_name

WITHOUT_PLACE = (".dscalar.nii", ".csv")  # endings of maps that have no position, such as those of neurons
OF_EVERY_LAYER = "*_layers_*"  # maps with a volume for each layer, many times larger than the others
CEILING = "noise_ceiling"


@dataclass(frozen=True)
class RunMaps:
    """The maps of one folder, {name: path}; `map_files` defines the path of a map on a surface."""

    subject: int
    folder: Path  # folder that contains maps/
    paths: dict[str, Path]
    run: Scored | None  # None for maps of other analyses


def find_maps(output: Output, protocol: str, selection: Selection, patterns: Sequence[str]) -> list[RunMaps]:
    """Find the selected maps of a protocol, sorted by subject.

    patterns  patterns of file names without ending; empty for all maps except those with a volume for each layer

    Maps of other analyses, such as variance partitioning, are included unless models, prompts or streams are selected.
    """
    runs = [one for one in find_scored(output) if one.protocol == protocol]
    subjects = sorted({one.subject for one in runs})
    if unknown := set(selection.subject) - set(subjects):
        raise InputError(f"subject {min(unknown)} has no scores in {output.folder}; available: {subjects}")
    models = sorted({one.model_id for one in runs})
    for model in set(selection.model) - set(models):
        meant = did_you_mean(model, models)
        raise InputError(f"{model} has no scores in {output.folder}{meant}; available: {', '.join(models)}")
    found = [
        RunMaps(one.subject, one.folder, _paths(one.folder, selection, patterns), one)
        for one in runs
        if selection.takes(one.subject, one.model_id, one.prompt)
    ]
    if not (selection.model or selection.prompt or selection.stream):
        of_runs = {one.folder for one in runs}
        for subject in selection.subject or subjects:
            folders = {path.parent for path in subject_folder(output, subject, protocol).rglob("maps")}
            for folder in sorted(folders - of_runs):
                found.append(RunMaps(subject, folder, _paths(folder, selection, patterns), None))
            across, start = across_subjects_folder(output, protocol), f"{subject_name(subject)}_"
            paths = {name: path for name, path in _paths(across, selection, patterns).items() if name.startswith(start)}
            found.append(RunMaps(subject, across, paths, None))
    written = {name for one in found for name in one.paths}
    lacking = [one for one in selection.stream if not any(name.startswith(f"{one}_") for name in written)]
    lacking += [one for one in patterns if not any(fnmatchcase(name, one) for name in written)]
    if not written and (endings := [one for one in WITHOUT_PLACE if any(_files(runs, one))]):
        raise InputError(
            f"the maps in {output.folder} are {' and '.join(endings)} files, but only volumes ({ENDING}) and maps of "
            f"vertices ({OF_SIDE}) can be written on surfaces"
        )
    if lacking or not written:
        all_names = {path.name.removesuffix(ENDING) for one in runs for path in map_paths(one.folder / "maps", "*")}
        available = ", ".join(sorted(all_names)) or "none"
        what = ", ".join(lacking) or "this selection"
        raise InputError(f"no maps of {what} in {output.folder}; available: {available}")
    return sorted((one for one in found if one.paths), key=lambda one: one.subject)


def _files(runs: Sequence[Scored], ending: str) -> Iterator[Path]:
    """Yield the maps of runs whose names have an ending."""
    return (path for one in runs for path in one.folder.glob(f"maps/*{ending}"))


def _paths(folder: Path, selection: Selection, patterns: Sequence[str]) -> dict[str, Path]:
    names = {path.name.removesuffix(ENDING): path for path in map_paths(folder / "maps", "[!.]*")}
    return {name: path for name, path in names.items() if _takes(name, selection.stream, patterns)}


def _takes(name: str, streams: Sequence[str], patterns: Sequence[str]) -> bool:
    if streams and name != CEILING and not name.startswith(tuple(f"{stream}_" for stream in streams)):
        return False
    return any(fnmatchcase(name, one) for one in patterns) if patterns else not fnmatchcase(name, OF_EVERY_LAYER)
