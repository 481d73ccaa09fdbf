"""Flags that several scripts share, each declared once."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli.flag_values import (
    bootstrap_count,
    gpu_id,
    log_10_alpha,
    num_alphas,
    number_list,
    one_subject,
    permutation_count,
    positive_number_list,
    share,
    subject_list,
)
from brain_activity_prediction.cli.parser import Help, Numbers, OneLineParser, add_verbosity
from brain_activity_prediction.encoding.protocols import LAYER_CHOICES, NCSNR
from brain_activity_prediction.encoding.settings import AlphaGrid, EncodingSettings
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import no_such_path
from brain_activity_prediction.storage.folders import PROTOCOLS

DTYPES = ("auto", "float32", "float16", "bfloat16")


def parser(description: str, several_subjects: bool = False) -> argparse.ArgumentParser:
    """Return a parser with the flags that every script has: the data folder and the subject.

    several_subjects  True if -s accepts several subjects
    """
    flags = OneLineParser(description=description, formatter_class=Help, allow_abbrev=False)
    flags.add_argument(
        "-d",
        "--base-dir",
        type=Path,
        required=True,
        help="folder of the dataset, and of the results without --output",
    )
    dataset_flags.add_dataset(flags)
    if several_subjects:
        add_numbers(flags, "-s", "--subject", read=subject_list, default=[1], metavar="S", help=dataset_flags.SUBJECTS)
    else:
        flags.add_argument("-s", "--subject", type=one_subject, default=1, metavar="S", help=dataset_flags.SUBJECTS)
    add_verbosity(flags)
    return flags


def add_device(flags: argparse.ArgumentParser) -> None:
    """Add the flag for the device. Its value is a name for torch; `check_device` verifies that the device exists."""
    flags.add_argument(
        "-g", "--gpu-id", type=gpu_id, default="0", metavar="ID", help="number of the GPU to use, or cpu"
    )


def add_numbers(flags: argparse.ArgumentParser, *names: str, read=number_list, **settings) -> None:
    """Add a flag that takes one or more numbers, in any form that `Numbers` reads."""
    flags.add_argument(*names, nargs="+", type=read, action=Numbers, **settings)


def add_prompt_numbers(flags: argparse.ArgumentParser, meaning: str, **settings) -> None:
    add_numbers(flags, "-p", "--prompt-number", metavar="N", help=meaning, **settings)


def add_prompts(flags: argparse.ArgumentParser) -> None:
    """Add the flags that select prompts and their texts; `select_prompts` reads them."""
    add_prompt_numbers(flags, "one or more prompts: 3, or 1,2,3, or 1-9 (default: 1)")
    add_prompts_file(flags)


def add_prompts_file(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--prompts-file",
        type=Path,
        metavar="FILE",
        help="JSON or YAML file with other prompts (number: text) instead of the nine",
    )


def add_alphas(flags: argparse.ArgumentParser, default: AlphaGrid = EncodingSettings.alphas) -> None:
    """Add the flags of an `AlphaGrid`."""
    flags.add_argument(
        "--min-log-10-alpha", type=log_10_alpha, metavar="X", help="exponent of the smallest alpha, 10^X"
    )
    flags.add_argument("--max-log-10-alpha", type=log_10_alpha, metavar="X", help="exponent of the largest alpha, 10^X")
    flags.add_argument("--num-alphas", type=num_alphas, metavar="N", help="number of alphas in the grid")
    flags.set_defaults(**asdict(default))


def add_layers(flags: argparse.ArgumentParser) -> None:
    """Add the flags that select a model and its layers."""
    flags.add_argument("-m", "--model-id", required=True, help="model id, such as llava-hf/llava-1.5-13b-hf")
    add_numbers(
        flags,
        "-l",
        "--layer-number",
        metavar="N",
        help="fit only these layers, from 0: 3, or 1,2,3, or 1-9 (default: all)",
    )
    flags.add_argument("--stream", nargs="+", metavar="NAME", help="use only these streams (default: all)")


def add_selection(flags: argparse.ArgumentParser) -> None:
    """Add the flags that select from finished scores: models, prompts and streams."""
    flags.add_argument(
        "-m", "--model-id", nargs="+", default=[], metavar="ID", help="use only these models (default: all)"
    )
    add_prompt_numbers(flags, "use only these prompts: 3, or 1,2,3, or 1-9 (default: all)", default=[])
    flags.add_argument("--stream", nargs="+", default=[], metavar="NAME", help="use only these streams (default: all)")


def add_maps(flags: argparse.ArgumentParser) -> None:
    """Add the flag that selects voxel maps."""
    flags.add_argument(
        "--map",
        nargs="+",
        default=[],
        metavar="NAME",
        help="use only these maps, names or patterns such as '*_best_layer_r' (default: all but *_layers_*)",
    )


def add_responses(flags: argparse.ArgumentParser, space: str = "--space") -> None:
    """Add the flags that select responses and voxels.

    space  short name of `--response-space`; empty if the script has another flag with this name
    """
    add_numbers(
        flags,
        "--sessions",
        read=positive_number_list,
        metavar="N",
        help="use only these sessions: 3, or 1,2,3, or 1-37 (default: all)",
    )
    flags.add_argument(
        "--roi",
        nargs="+",
        metavar="FILE",
        help="use only these ROI files, such as prf-visualrois or lh.prf-visualrois; families adds unions such as V1 "
        "(default: all files)",
    )
    dataset_flags.add_reading(flags, *filter(None, [space]))
    flags.add_argument(
        "--zscore-sessions",
        action=argparse.BooleanOptionalAction,
        default=EncodingSettings.zscore_sessions,
        help="z-score betas within each session before averaging repeats",
    )


def add_ceilings(flags: argparse.ArgumentParser) -> None:
    """Add the flags for noise ceilings and normalised scores."""
    flags.add_argument(
        "--ncsnr",
        choices=NCSNR,
        default=EncodingSettings.ncsnr,
        help="source of the noise ceilings: computed from repeats, or the dataset's own file (own, or nsd)",
    )
    flags.add_argument(
        "--min-noise-ceiling",
        type=share,
        default=EncodingSettings.min_noise_ceiling,
        metavar="NC",
        help="leave out voxels with a lower noise ceiling (R2) from normalised scores",
    )


def add_bootstrap(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--bootstrap",
        type=bootstrap_count,
        default=EncodingSettings.bootstrap,
        metavar="N",
        help="number of resamples of the test images for standard errors and intervals; 0 skips them",
    )


def add_permutations(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--permutations",
        type=permutation_count,
        default=EncodingSettings.permutations,
        metavar="N",
        help="number of permutations of the test images for significance tests; 0 skips them",
    )


def add_protocol(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default=EncodingSettings.protocol,
        help="scoring protocol: this project's (standard) or the study's (paper)",
    )


def add_layer_choice(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--layers",
        choices=LAYER_CHOICES,
        default=EncodingSettings.layer_choice,
        help="layer to report for a stream: the best layer of each region or voxel, chosen on training images, or the "
        "average of all layers",
    )


def check_base_dir(base_dir: Path) -> None:
    """Raise InputError if --base-dir is not a folder."""
    if not base_dir.is_dir():
        raise InputError(f"--base-dir {no_such_path(base_dir)}")
