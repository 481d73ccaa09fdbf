"""Helpers for tests of sweeps: arguments of commands, stores, short units, and a simulated SLURM."""

import sys
import time

import numpy as np
from scripts import PACKAGE

from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder
from brain_activity_prediction.sweep import sweep
from brain_activity_prediction.sweep.planning.plan import make_plan
from brain_activity_prediction.sweep.planning.units import ModelUnits, Plan, Unit

VIT, LLAVA = "vit_huge_patch14_224_in21k", "llava_1.5_13b"
VIT_ID, LLAVA_ID = "google/vit-huge-patch14-224-in21k", "llava-hf/llava-1.5-13b-hf"
SWEEP_FOLDER = PACKAGE / "sweep"
# Replacements of SLURM's programs, which record their calls: arrays have two tasks, and at most MOST jobs run.
SUBMITTING = {
    "scontrol": "echo 'MaxArraySize            = 2'",
    "squeue": """n=0
grep ^sbatch "$CALLS" | head -n "${MOST:-99}" | while read -r line; do
  name=${line#*--job-name=}
  echo "$((++n))|0|PENDING|${name%% *}|None"
done""",
    "scancel": "",
    "sbatch": ('n=$(grep -c ^sbatch "$CALLS"); echo $n; if ((n > ${MOST:-99})); then echo "QOS limit" >&2; exit 1; fi'),
}


def planned(base_dir, *flags):
    return make_plan(parsed("plan", base_dir, "-s", 1, 2, "-p", 1, 2, *flags))


def parsed(command, base_dir, *flags):
    return sweep.read_settings([command, "-d", str(base_dir), *map(str, flags)])


def image_ids(base_dir):
    return read_design(find_nsd(base_dir).design()).image_ids_of_any([1, 2]).tolist()


def until(ready, seconds=600):
    """Wait for something that takes seconds on an idle machine. The time limit is for busy machines."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def store(base_dir, model_id, prompt, ids, n_layers=2, **streams):
    states = np.zeros((len(ids), n_layers, 4), dtype=np.float32)
    folder = embeddings_folder(base_dir, model_id, prompt)
    EmbeddingStore(folder).write(ids, dict.fromkeys(streams or ["vision"], states))


def unit(tmp_path, name, code, stage="extract", model="m"):
    """Return a unit whose script is `code`."""
    script = tmp_path / f"{name}.py"
    script.write_text(code)
    return Unit(name, stage, model, 5, 5, (sys.executable, str(script)))


def plan_of(*models, report=None):
    nothing = Unit("report", "report", "", 1, 0, ())
    return Plan(
        [ModelUnits(extract[0].model, "org/model", extract, align, {}, {}) for extract, align in models],
        report or nothing,
    )
