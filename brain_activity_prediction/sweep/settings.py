"""Settings of a sweep, made once from the flags of sweep.py. Fields have the names of the flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from brain_activity_prediction.cli.dataset_flags import STUDIED
from brain_activity_prediction.datasets.find import output_of
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.extraction.settings import ExtractionSettings
from brain_activity_prediction.runtime.scripts import place_flags
from brain_activity_prediction.storage.folders import Output, Subject
from brain_activity_prediction.sweep.planning.models import STUDY


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """Options of the jobs on a cluster. With None, SLURM uses its default."""

    partition: str | None = None
    account: str | None = None
    time: str | None = None
    memory: str | None = None
    gpus_per_job: int
    cpus_per_task: int = 4
    at_once: int | None = None  # maximum number of jobs of an array that run at the same time
    max_restarts: int = 20
    sbatch: Sequence[str] = ()  # further options of sbatch
    job_file: Path | None = None  # None for job.sh


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """Settings of a sweep: the study that it runs, and the devices or jobs that run it.

    command         the command of sweep.py, one of `flags.COMMANDS`
    models          names of scripts, or ids on the hub
    with_untrained  True to run each model also with untrained weights
    subject         all subjects
    prompt_number   all prompts
    gpu_id          numbers of the GPUs, or `["cpu"]`
    workers         number of workers on the CPU
    shards          number of parts of the images, one unit each
    checkpoints     folder with the weights of each model, in a subfolder named after the model; None for the hub
    extract, align  flags to pass on to extractions and alignments, as one text
    """

    command: str
    base_dir: Path
    dataset: str | None = None
    output: Path | None = None
    models: Sequence[str] = STUDY
    with_untrained: bool = False
    subject: Sequence[Subject] = STUDIED
    prompt_number: Sequence[int] = tuple(PROMPTS)
    prompts_file: Path | None = None
    batch_size: int | str = ExtractionSettings.batch_size  # with auto, each extraction finds its own
    gpu_id: Sequence[str]
    workers: int = 1
    shards: int
    checkpoints: Path | None = None
    device_map: str | None = None
    units: bool = False  # list every unit in the plan
    extract: str = ""
    align: str = ""
    jobs: JobSettings

    @property
    def results(self) -> Output:
        """The place of the results."""
        return output_of(self.base_dir, self.dataset, self.output)

    @property
    def results_dir(self) -> Path:
        """The folder of the results, and of the sweep's records."""
        return self.output or self.base_dir

    @property
    def place_flags(self) -> list[str]:
        """The flags that every script needs to find the dataset and the folder of the results."""
        return place_flags(self.base_dir, self.dataset, self.output)

    @property
    def on_cpu(self) -> bool:
        return list(self.gpu_id) == ["cpu"]

    @property
    def devices(self) -> list[str]:
        """The device of each local worker, as a value of -g. Models that use all GPUs have one worker."""
        if self.on_cpu:
            return ["cpu"] * self.workers
        return list(self.gpu_id[:1] if self.device_map else self.gpu_id)

    @property
    def units_per_job(self) -> int:
        """The number of units in a job: one for each of its GPUs; only one if it uses all GPUs or the CPU."""
        return 1 if self.device_map else max(self.jobs.gpus_per_job, 1)

    def recorded(self) -> dict[str, Any]:
        """Return the settings as `sweep.json` records them: a value for each flag."""
        values = asdict(self)
        values |= values.pop("jobs")
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
