"""The flags of `sweep.py`, on the command line and in files, and the settings made from them."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.flag_values import (
    batch_size,
    gpu_ids,
    non_negative_int,
    positive_int,
    subject_list,
    time_limit,
    worker_count,
)
from brain_activity_prediction.cli.parser import Help, OneLineParser, add_verbosity
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import read_bytes
from brain_activity_prediction.sweep.settings import JobSettings, SweepSettings

COMMANDS = ("plan", "local", "slurm", "status", "cancel")
PATHS = ("base_dir", "output", "prompts_file", "checkpoints", "job_file")
SHARDS_ON_SLURM = 8
LARGEST_FILE_BYTES = 2**20


def flags(description: str = "") -> argparse.ArgumentParser:
    """Return the parser of `sweep.py`."""
    parser = OneLineParser(
        prog="sweep.py",
        description=description,
        formatter_class=Help,
        allow_abbrev=False,
        epilog="@FILE is replaced by the flags in that file, for example the flags of a cluster.",
    )
    parser.add_argument("command", choices=COMMANDS, help="command to run; status and cancel need only -d")
    parser.add_argument(
        "-d", "--base-dir", type=Path, required=True, help="folder of the dataset, and of the results by default"
    )
    dataset_flags.add_dataset(parser)
    add_verbosity(parser)
    _add_study(parser.add_argument_group("the study"))
    _add_cluster(parser.add_argument_group("a cluster"))
    return parser


def settings_from(arguments: argparse.Namespace) -> SweepSettings:
    """Make settings from the parsed flags: with absolute paths, and with defaults that depend on other flags."""
    values = dict(vars(arguments))
    for name in PATHS:  # absolute, because status may be run from another folder
        values[name] = values[name] and values[name].resolve()
    values["gpu_id"] = values["gpu_id"] or ["0"]
    if values["gpus_per_job"] is None:
        values["gpus_per_job"] = int(values["gpu_id"] != ["cpu"])
    jobs = JobSettings(**{field.name: values.pop(field.name) for field in fields(JobSettings)})
    study = SweepSettings(**values, jobs=jobs)
    n_shards = SHARDS_ON_SLURM if study.command == "slurm" else len(study.devices)
    return study if study.shards else replace(study, shards=n_shards)


def in_files_too(words: Sequence[str]) -> Iterator[str]:
    """Yield the words, with each @FILE replaced by the words in that file; # begins a comment."""
    for word in words:
        if word.startswith("@"):
            yield from _words_of(Path(word[1:]))
        else:
            yield word


def _words_of(path: Path) -> list[str]:
    try:
        lines = read_bytes(path, LARGEST_FILE_BYTES).decode().splitlines()
        return [word for line in lines for word in shlex.split(line, comments=True)]
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read flags from {path} ({error}): write them as on the command line") from None


def _add_study(flags) -> None:
    flags.add_argument(
        "--models",
        nargs="+",
        default=list(SweepSettings.models),
        metavar="MODEL",
        help="model scripts, without .py, or ids on the hub, such as Qwen/Qwen2.5-VL-7B-Instruct",
    )
    flags.add_argument(
        "--with-untrained", action="store_true", help="also run each model with untrained weights (seed 0)"
    )
    shared.add_numbers(
        flags,
        "-s",
        "--subject",
        read=subject_list,
        default=list(SweepSettings.subject),
        metavar="S",
        help=dataset_flags.SUBJECTS,
    )
    shared.add_prompt_numbers(
        flags, "prompts: 3, or 1,2,3, or 1-9 (default: 1-9)", default=list(SweepSettings.prompt_number)
    )
    shared.add_prompts_file(flags)
    flags.add_argument(
        "-b",
        "--batch-size",
        type=batch_size,
        default=SweepSettings.batch_size,
        metavar="N",
        help="number of images in a batch, or auto for the fastest size that fits into memory",
    )
    flags.add_argument(
        "-g",
        "--gpu-id",
        type=gpu_ids,
        metavar="IDS",
        help="GPUs with one worker each, such as 0,1,2, or cpu (default: 0; on a cluster, the job's GPUs)",
    )
    flags.add_argument(
        "--workers",
        type=worker_count,
        default=SweepSettings.workers,
        metavar="N",
        help="number of parallel workers with -g cpu",
    )
    flags.add_argument(
        "--shards",
        type=positive_int,
        help="number of parts of the images, one unit each (default: number of workers; on a cluster, 8)",
    )
    flags.add_argument(
        "--checkpoints",
        type=Path,
        metavar="DIR",
        help="folder with the weights of each model, in a subfolder named after its script",
    )
    flags.add_argument(
        "--device-map", choices=("auto",), help="distribute a model over all GPUs of its job, or of this machine"
    )
    flags.add_argument("--units", action="store_true", help="let plan also list every unit with its command")
    flags.add_argument(
        "--extract", default="", metavar="FLAGS", help="flags to pass on to extractions: --extract='--response'"
    )
    flags.add_argument(
        "--align", default="", metavar="FLAGS", help="flags to pass on to alignments: --align='--permutations 99'"
    )


def _add_cluster(flags) -> None:
    flags.add_argument("--partition", metavar="NAME", help="partition in which jobs run")
    flags.add_argument("--account", metavar="NAME", help="account to which jobs are charged")
    flags.add_argument(
        "--time",
        type=time_limit,
        metavar="LIMIT",
        help="time limit of a job, such as 24:00:00; unfinished jobs are requeued",
    )
    flags.add_argument("--memory", metavar="SIZE", help="memory of a job, such as 64G")
    flags.add_argument(
        "--gpus-per-job",
        type=non_negative_int,
        metavar="N",
        help="number of GPUs of a job, with one unit on each (default: 1; with -g cpu, 0)",
    )
    flags.add_argument(
        "--cpus-per-task",
        type=positive_int,
        default=JobSettings.cpus_per_task,
        metavar="N",
        help="number of CPU cores of a unit",
    )
    flags.add_argument(
        "--at-once", type=positive_int, metavar="N", help="largest number of jobs of an array that run at once"
    )
    flags.add_argument(
        "--max-restarts",
        type=non_negative_int,
        default=JobSettings.max_restarts,
        metavar="N",
        help="maximum restarts of a job",
    )
    flags.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="OPTION",
        help="any other option of sbatch: --sbatch=--qos=long",
    )
    flags.add_argument("--job-file", type=Path, metavar="FILE", help="batch file to submit instead of job.sh")
