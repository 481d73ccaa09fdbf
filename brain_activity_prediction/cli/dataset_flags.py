"""Flags that select a dataset, its responses, and its training and test images."""

import argparse
from pathlib import Path

from brain_activity_prediction.cli.flag_values import fold_count, positive_int, subject_list
from brain_activity_prediction.cli.parser import Numbers
from brain_activity_prediction.datasets.dataset import Dataset, Reading
from brain_activity_prediction.datasets.find import DATASETS, find_dataset, output_of
from brain_activity_prediction.datasets.nsd.layout import NIFTI, SURFACES, VERSIONS, VOLUMES
from brain_activity_prediction.datasets.splits import SplitChoice
from brain_activity_prediction.encoding.settings import FittingSettings
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import no_such_path
from brain_activity_prediction.storage.folders import Output

STUDIED = (1, 2, 5, 7)  # NSD's subjects with all sessions, those of the study
SUBJECTS = "subject of the dataset: 1 to 8 for NSD, a name such as sub-03 for others"


def add_dataset(flags: argparse.ArgumentParser) -> None:
    """Add the flags that select a dataset and the folder of its results; `output_from` and `dataset_from` read them."""
    add_dataset_name(flags)
    flags.add_argument("--output", type=Path, metavar="DIR", help="folder of the results (default: the dataset's)")


def add_dataset_name(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--dataset", choices=DATASETS, help="dataset to use, if the folder has files of several (default: recognised)"
    )


def output_from(arguments: argparse.Namespace) -> Output:
    """Return the folder of the results that the flags of `add_dataset` select."""
    return output_of(arguments.base_dir, arguments.dataset, arguments.output)


def dataset_from(arguments: argparse.Namespace) -> Dataset:
    """Return the dataset that the flags of `add_dataset` select; raise InputError if a subject is not in it."""
    dataset = find_dataset(arguments.base_dir, arguments.dataset)
    subjects = arguments.subject
    dataset.check_subjects(subjects if isinstance(subjects, list) else [subjects])
    return dataset


def add_split(flags: argparse.ArgumentParser) -> None:
    """Add the flags that select training and test images; `split_from` reads them."""
    flags.add_argument(
        "--split", metavar="NAME", help="another split that the dataset publishes (default: its standard split)"
    )
    flags.add_argument(
        "--test-images", type=Path, metavar="FILE", help="images to test on, one id in each line; train on all others"
    )
    flags.add_argument("--exclude-images", type=Path, metavar="FILE", help="images to leave out, one id in each line")
    flags.add_argument(
        "--min-repeats", type=positive_int, default=1, metavar="N", help="test only images with this many trials"
    )
    flags.add_argument(
        "--in-subjects",
        nargs="+",
        type=subject_list,
        action=Numbers,
        metavar="S",
        help="subjects in which an image needs --min-repeats trials, or all (default: the analysed subject)",
    )


def add_cv_test(flags: argparse.ArgumentParser) -> None:
    """Add the flag of a nested cross-validation, which `split_from` reads."""
    flags.add_argument(
        "--cv-test",
        type=fold_count,
        default=0,
        metavar="K",
        help="use nested cross-validation with K outer folds, for datasets without held-out test images; 0 does not",
    )


def split_from(arguments: argparse.Namespace) -> SplitChoice:
    """Return the split that the flags of `add_split` select; raise InputError if they contradict each other."""
    if arguments.split and arguments.test_images:
        raise InputError("--split and --test-images both choose the test images: leave one out")
    cv_test = getattr(arguments, "cv_test", 0)
    for flag, given in (("--split", arguments.split), ("--test-images", arguments.test_images)):
        if cv_test and given:
            raise InputError(f"--cv-test uses every image as a test image, {flag} only some: leave one of them out")
    subjects = arguments.in_subjects
    return SplitChoice(
        arguments.split,
        arguments.test_images,
        arguments.exclude_images,
        arguments.min_repeats,
        None if subjects is None else () if subjects == ["all"] else tuple(subjects),
        cv_test,
    )


def add_trials(flags: argparse.ArgumentParser) -> None:
    """Add the flag that selects the responses to train on."""
    flags.add_argument(
        "--trials",
        choices=("average", "single"),
        default=FittingSettings.trials,
        help="training responses: the average over each image's trials, or single trials, with all trials of an image "
        "in one fold; test responses are always averages",
    )


def add_reading(flags: argparse.ArgumentParser, *names_of_space: str) -> None:
    """Add the flags that select the version, space and voxels of responses; `reading_from` reads them."""
    flags.add_argument("--betas", choices=VERSIONS, help="version of NSD's betas (default: b3)")
    flags.add_argument(
        *("--response-space", *names_of_space),
        choices=(*VOLUMES, *SURFACES),
        help=f"space of NSD's betas (default: {VOLUMES[0]})",
    )
    flags.add_argument(
        "--mask",
        nargs="+",
        type=_mask_part,
        metavar="NAME",
        help="voxels to fit: one NIfTI file, or for NSD names of ROI files or cortex (default: nsdgeneral)",
    )


def _mask_part(text: str) -> Path | str:
    """Convert a value of --mask: the name of a NIfTI file becomes a path, the name of an ROI file stays text."""
    return Path(text) if text.endswith(NIFTI) else text


def reading_from(arguments: argparse.Namespace) -> Reading:
    """Return the version, space and voxels of responses that the flags of `add_reading` select."""
    mask = arguments.mask
    for path in (part for part in mask or () if isinstance(part, Path)):
        if len(mask) > 1:
            raise InputError("--mask takes either one NIfTI file or names of ROI files: leave out the others")
        if not path.is_file():
            raise InputError(f"--mask {no_such_path(path)}")
    return Reading(arguments.betas, arguments.response_space, tuple(map(str, mask)) if mask else None)
