"""Run the whole study by one command: every extraction, then every alignment, then the report, here or on a cluster.

`plan` prints what is left; `local` computes it on this machine's GPUs or cores; `slurm` submits it to a cluster and
returns; `status` prints what is done, running, failed and left; `cancel` stops what was started. The files in BASE_DIR
decide what is done, so that these commands can follow each other in any order.
"""

import argparse
import sys
from collections.abc import Sequence

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import near_path
from brain_activity_prediction.sweep import commands
from brain_activity_prediction.sweep import flags as of_sweep
from brain_activity_prediction.sweep.planning.study import PATHS

COMMANDS = {name: getattr(commands, name) for name in of_sweep.COMMANDS}


def flags() -> argparse.ArgumentParser:
    return of_sweep.flags(__doc__)


def read_flags(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the words, or the command line for None, including the files named as @FILE."""
    return flags().parse_args(list(of_sweep.in_files_too(sys.argv[1:] if words is None else words)))


def main() -> None:
    arguments = read_flags()
    for name in ("base_dir", *PATHS):  # status may be run from another folder
        if (path := getattr(arguments, name)) is not None:
            setattr(arguments, name, path.resolve())
    if not (base_dir := arguments.base_dir).is_dir():
        raise InputError(
            f"{base_dir} is no folder{near_path(base_dir)}: -d names the one that holds NSD and the results"
        )
    folder = arguments.checkpoints if arguments.command in ("plan", "local", "slurm") else None
    if folder is not None and not folder.is_dir():
        raise InputError(f"--checkpoints {folder} is no folder{near_path(folder)}")
    job_file = arguments.job_file if arguments.command in ("plan", "slurm") else None
    if job_file is not None and not job_file.is_file():
        raise InputError(f"--job-file {job_file} is no file{near_path(job_file)}")
    COMMANDS[arguments.command](arguments)


if __name__ == "__main__":
    run_script(main)
