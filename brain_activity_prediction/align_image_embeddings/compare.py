"""Tests in every region of a subject whether one model, prompt or stream predicts responses better than another.

Every pair is compared on the same resamples of the test images (paired bootstrap). The script reads finished scores and
fits nothing.
"""

import argparse

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.flag_values import analysis_name
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.cli.settings_from_flags import settings_from
from brain_activity_prediction.extraction.prompt_selection import select_prompts
from brain_activity_prediction.runtime.running import run_script


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__)
    flags.add_argument("-m", "--model-id", nargs="+", required=True, metavar="ID", help="one or more models")
    shared.add_prompts(flags)
    flags.add_argument("--stream", nargs="+", metavar="NAME", help="use only these streams (default: all)")
    shared.add_protocol(flags)
    shared.add_layer_choice(flags)
    flags.add_argument("-n", "--name", type=analysis_name, default="comparison", help="name of the table files")
    return flags


def main() -> None:
    arguments = flags().parse_args()
    shared.check_base_dir(arguments.base_dir)

    from brain_activity_prediction.encoding.comparison import compare
    from brain_activity_prediction.encoding.scores.conditions import ComparisonSettings

    settings = settings_from(
        ComparisonSettings,
        arguments,
        model_ids=[resolved_model_id(dataset_flags.output_from(arguments), name) for name in arguments.model_id],
        prompts=list(select_prompts(arguments.prompt_number, arguments.prompts_file)),
        with_p=bool(arguments.prompt_number),
        streams=arguments.stream or (),
    )
    compare(settings)


if __name__ == "__main__":
    run_script(main)
