"""A small study to attack, and the scripts run on it as a user runs them, each forked from a process that is warm."""

import ctypes
import io
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

# isort: split
from conftest import simple_signals
from forked import warm  # noqa: F401
from scripts import EXTRACT, PACKAGE  # noqa: F401
from two_layers import EmbeddingStore, find_nsd, read_design

from brain_activity_prediction.demo import models
from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.simulation import Recipe
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS

ALIGN = PACKAGE / "align_image_embeddings"
MODELS = ("test/one", "test/two")
VIT = "vit_huge_patch14_224_in21k"
FEW = ["--bootstrap", "20", "--num-alphas", "5", "-g", "cpu"]
STUDY = Recipe(subjects=(1, 2), n_shared=26, n_unique=34, n_sessions=4, image_size=24)
LONGEST_S = 300


class Run:
    """A script in a process group of its own, forked from this one, which has imported everything; or a program."""

    def __init__(self, script, flags, folder):
        self._said, self._start = Path(tempfile.mkstemp(dir=folder)[1]), time.monotonic()
        self._pid = os.fork()
        if self._pid == 0:
            os.setsid()
            signal.alarm(LONGEST_S)
            descriptor = os.open(self._said, os.O_WRONLY)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.argv = [str(script), *map(str, flags)]
            if not sys.argv[0].endswith(".py"):
                os.execvp(sys.argv[0], sys.argv)
            status = 1
            try:
                sys.stdout, sys.stderr = (
                    io.TextIOWrapper(os.fdopen(number, "wb", 0), errors="backslashreplace", write_through=True)
                    for number in (1, 2)
                )
                runpy.run_path(str(script), run_name="__main__")
                status = 0
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            except BaseException:
                traceback.print_exc()
            os._exit(status)

    def kill(self):
        """Kill it and all that it started, as the end of a job does; orphans come to this process meanwhile."""
        os.kill(self._pid, signal.SIGKILL)
        end_processes()

    def wait(self):
        """Status, negative for a signal, what was said, and the seconds it took."""
        _, status, used = os.wait4(self._pid, 0)
        self.n_bytes = 1024 * used.ru_maxrss
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        status = os.waitstatus_to_exitcode(status)
        said = self._said.read_text(errors="replace")
        self._said.unlink()
        return status, said, time.monotonic() - self._start


def adopt_orphans():
    """Make this process the parent of every process whose own parent ends (PR_SET_CHILD_SUBREAPER of Linux)."""
    assert ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0) == 0


def running():
    """Processes that a script left, those in sessions of their own included."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [process] if process.status() != psutil.STATUS_ZOMBIE else []
    return found


def end_processes():
    while left := running():
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()


# -- the small study --------------------------------------------------------------------------------------------------


def build(folder):
    """BASE_DIR with two subjects, states of two models under two prompts, all aligned; weights of a tiny ViT."""
    base = folder / "base"
    write_dataset(base, simple_signals, STUDY, layout="official", betas_format="nii.gz")
    models.write_vit(folder / "weights" / VIT, num_hidden_layers=2)
    write_states(base)
    for subject in (1, 2):
        for model in MODELS:
            flags = ["-d", base, "-s", subject, "-m", model, "-p", "1", "2", *FEW]
            status, said, _ = Run(ALIGN / "align_model.py", flags, folder).wait()
            assert status == 0, said
    return base


def write_states(base):
    ids = np.unique([read_design(find_nsd(base).design()).image_ids(subject) for subject in (1, 2)])
    for number, model in enumerate(MODELS):
        for prompt in (1, 2):
            store = EmbeddingStore(base / f"image_embeddings/prompt_{prompt}" / model.replace("/", "_"))
            store.claim({"model": model, "prompt": PROMPTS[prompt], "template": "{prompt}"})
            states = np.random.default_rng([number, prompt]).standard_normal((len(ids), 3, 8))
            for part in np.array_split(np.arange(len(ids)), 3):
                store.write(ids[part], {"language": states[part].astype(np.float32)})


def tables(base, below):
    """Every table below a folder: `{path: rows}`, without what a run notes of itself."""
    found = {}
    for path in sorted((base / below).rglob("*.csv")):
        found[str(path.relative_to(base))] = pd.read_csv(path, dtype=str).fillna("")
    return found


def differences(found, expected):
    if found.keys() != expected.keys():
        return f"other tables: {sorted(found.keys() ^ expected.keys())[:3]}"
    other = [name for name, table in expected.items() if not table.equals(found[name])]
    return f"other numbers in {other[:3]}" if other else ""


def copied(base, own):
    """An own copy of a folder, in place of what was there."""
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(base, own, symlinks=True)
