"""Run the whole study: every extraction, then every alignment, then the report, on this machine or on a cluster.

`plan` prints the work that is left. `local` does this work on the GPUs or cores of this machine, and `slurm` submits it
to a cluster. `status` prints what is done, running, failed and left. `cancel` stops all running work. Finished work is
recognised by its files, so that you can use these commands in any order.
"""

import argparse
import sys
from collections.abc import Sequence

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import near_path
from brain_activity_prediction.sweep import commands
from brain_activity_prediction.sweep import flags as of_sweep
from brain_activity_prediction.sweep.settings import SweepSettings

COMMANDS = {name: getattr(commands, name) for name in of_sweep.COMMANDS}


def flags() -> argparse.ArgumentParser:
    return of_sweep.flags(__doc__)


def read_settings(words: Sequence[str] | None = None) -> SweepSettings:
    """Parse a command line, including files given as @FILE.

    words  words of the command line; None for that of this process
    """
    words = list(of_sweep.in_files_too(sys.argv[1:] if words is None else words))
    return of_sweep.settings_from(flags().parse_args(words))


def main() -> None:
    settings = read_settings()
    check_paths(settings)
    COMMANDS[settings.command](settings)


def check_paths(settings: SweepSettings) -> None:
    """Raise InputError if a folder or file that the command needs does not exist."""
    if not (base_dir := settings.base_dir).is_dir():
        raise InputError(f"-d {base_dir} is not a folder{near_path(base_dir)}: give the folder of the dataset")
    folder = settings.checkpoints if settings.command in ("plan", "local", "slurm") else None
    if folder is not None and not folder.is_dir():
        raise InputError(f"--checkpoints {folder} is not a folder{near_path(folder)}")
    job_file = settings.jobs.job_file if settings.command in ("plan", "slurm") else None
    if job_file is not None and not job_file.is_file():
        raise InputError(f"--job-file {job_file} is not a file{near_path(job_file)}")


if __name__ == "__main__":
    run_script(main)
