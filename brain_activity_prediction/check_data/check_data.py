"""Check a dataset, and print one page about it: what was found, and what is wrong.

For NSD, the published figures are shown next to those of this copy. Responses that are read here are stored, so that
align_model.py does not read them again.
"""

import argparse
import sys
from pathlib import Path

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.flag_values import subject_list
from brain_activity_prediction.cli.parser import Help, OneLineParser, add_verbosity
from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.runtime.running import run_script


def flags() -> argparse.ArgumentParser:
    flags = OneLineParser(description=__doc__, formatter_class=Help, allow_abbrev=False)
    flags.add_argument("folder", type=Path, metavar="DIR", help="folder of the dataset")
    dataset_flags.add_dataset(flags)
    shared.add_numbers(
        flags,
        "-s",
        "--subject",
        read=subject_list,
        metavar="S",
        help=f"{dataset_flags.SUBJECTS} (default: all with responses)",
    )
    dataset_flags.add_reading(flags, "--space")
    flags.add_argument("--no-responses", action="store_true", help="skip the responses, which take most of the time")
    add_verbosity(flags)
    return flags


def main() -> None:
    arguments = flags().parse_args()

    from brain_activity_prediction.check_data.page import Page
    from brain_activity_prediction.datasets.find import as_chosen, find_dataset, output_of

    dataset = as_chosen(find_dataset(arguments.folder, arguments.dataset), dataset_flags.reading_from(arguments))
    if arguments.subject:
        dataset.check_subjects(arguments.subject)
    page = Page(dataset, output_of(arguments.folder, arguments.dataset, arguments.output))
    for line in page.lines(arguments.subject, not arguments.no_responses):
        print(one_line(line), flush=True)
    if page.problems:
        print(f"\n{len(page.problems)} wrong:")
        for problem in page.problems:
            print(f"- {one_line(problem)}")
        sys.exit(2)
    print("\nnothing is wrong")


if __name__ == "__main__":
    run_script(main)
