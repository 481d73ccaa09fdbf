"""Combines the scores of several subjects: mean, standard error, and tests over subjects.

With four subjects, Student's t has 3 degrees of freedom, and the exact sign-flip test reaches no p below 1/16. The
script reads finished scores and fits no model.
"""

import argparse

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.cli.settings_from_flags import settings_from
from brain_activity_prediction.runtime.running import run_script


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__, several_subjects=True)
    flags.set_defaults(subject=None)  # all subjects that have scores
    shared.add_selection(flags)
    shared.add_protocol(flags)
    shared.add_layer_choice(flags)
    return flags


def main() -> None:
    arguments = flags().parse_args()
    shared.check_base_dir(arguments.base_dir)

    from brain_activity_prediction.cross_subject.group_statistics import write_group_tables
    from brain_activity_prediction.cross_subject.selected_scores import GroupSettings, scored_subjects

    output = dataset_flags.output_from(arguments)
    settings = settings_from(
        GroupSettings,
        arguments,
        subjects=arguments.subject or scored_subjects(output, arguments.protocol),
        with_s=bool(arguments.subject),
        model_ids=[resolved_model_id(output, name) for name in arguments.model_id],
        prompts=arguments.prompt_number,
        streams=arguments.stream,
    )
    write_group_tables(settings)


if __name__ == "__main__":
    run_script(main)
