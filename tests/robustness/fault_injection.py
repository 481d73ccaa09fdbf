"""Kills extractions, preparations of betas and alignments everywhere, and sees that nothing is lost.

    python tests/robustness/fault_injection.py --kills 300 --steps 300 --pairs 60

Each trial is a real run in a process of its own, ended by SIGKILL: at a random instant, alone or while another process
does the same, or before, within or after the Nth call that changes a file. After the run that follows, all has to be as
if nothing had happened: the same arrays, no temporary file, no claims, and at most the batch in hand computed twice.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

# isort: split
import numpy as np
from killed_process import Process
from scripts import load_script

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.responses import prepare_responses
from brain_activity_prediction.demo import models
from brain_activity_prediction.encoding import subject_data  # noqa: F401, imported ahead
from brain_activity_prediction.encoding.scores.score_store import QUANTITIES, ScoreStore
from brain_activity_prediction.encoding.tables import summary  # noqa: F401, imported ahead
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.storage import sealed_hdf5
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

BATCH = 4
LLAVA = "llava_1.5_13b.py"


# -- what is run, what it leaves, and what is thrown away before the next trial ---------------------------------------


def extract(base_dir):
    flags = ["-d", str(base_dir), "-g", "cpu", "-b", str(BATCH), "-p", "1", "2"]
    sys.argv = [LLAVA, *flags, "--checkpoint", str(base_dir.parent / "llava")]
    extraction_command.main(load_script(LLAVA))


def prepare_betas(base_dir):
    prepare_responses(find_nsd(base_dir), 1, cache_dir=base_dir / "alignment" / "responses")


def align(base_dir):
    flags = ["-d", str(base_dir), "-g", "cpu", "-m", "test/layers", "--num-alphas", "5", "--permutations", "9"]
    sys.argv = ["align_model.py", *flags]
    align_model.run_script(align_model.main)


def states(base_dir):
    """All that an extraction stored: `{folder, stream, layer: array}`."""
    found = {}
    for folder in sorted(base_dir.glob("image_embeddings/*/llava*")):
        store = EmbeddingStore(folder)
        for stream, (n_layers, _) in store.streams().items():
            ids = store.image_ids([stream])
            found[folder.parent.name, stream, "ids"] = ids
            for layer in range(n_layers):
                found[folder.parent.name, stream, layer] = store.read_layer(stream, layer, ids)
    return found


def responses(base_dir):
    (path,) = (base_dir / "alignment" / "responses").iterdir()
    return {name: sealed_hdf5.read_array(path, name) for name in sealed_hdf5.read_seal(path).datasets}


def scores(base_dir):
    folder = base_dir / "alignment" / "subj01" / "no_prompt" / "test_layers"
    found = {path.name: np.frombuffer(path.read_bytes(), np.uint8) for path in [*folder.glob("scores*.csv")]}
    for _, layer, _ in ScoreStore(folder).layers():
        found |= {(layer, name): ScoreStore(folder).read("vision", layer)[name] for name in QUANTITIES}
    return found


PROGRAMS = {
    "extraction": (extract, states, "image_embeddings"),
    "betas": (prepare_betas, responses, "alignment"),
    "alignment": (align, scores, "alignment"),
}


class Trials:
    """Trials of one program in a folder of its own."""

    def __init__(self, name, base_dir):
        self.name, self.base_dir = name, base_dir
        self.program, self.result, self.written = PROGRAMS[name]
        self.n_killed = self.n_survived = self.most_lost = self.images_lost = 0
        self.whole = Process(self.program, base_dir).wait()
        assert self.whole.status == 0, self.whole.said
        self.expected = self.result(base_dir)
        shutil.rmtree(base_dir / self.written)
        self.seconds = Process(self.program, base_dir).wait().seconds  # the first run is the slowest

    def at_step(self, last_step):
        """A kill at a call that changes a file."""
        shutil.rmtree(self.base_dir / self.written)
        killed = Process(self.program, self.base_dir, last_step).wait()
        self._judge(f"killed at step {last_step}", killed)

    def after(self, seconds):
        """A kill at an instant."""
        shutil.rmtree(self.base_dir / self.written)
        killed = Process(self.program, self.base_dir)
        time.sleep(seconds)
        killed.kill()
        killed.wait()
        self._judge(f"killed after {seconds:.3f} s", killed)

    def beside_another(self, seconds):
        """A kill at an instant, while another process does the same and then ends the work alone."""
        shutil.rmtree(self.base_dir / self.written)
        killed, other = (Process(self.program, self.base_dir) for _ in range(2))
        time.sleep(seconds)
        killed.kill()
        killed.wait()
        other.wait()
        killed.images += other.images
        assert other.status == 0, other.said
        self._judge(f"killed beside another after {seconds:.3f} s", killed)

    def _judge(self, what, killed):
        """Counts a trial, after the run that follows; a kill that came too late counts for nothing."""
        again = Process(self.program, self.base_dir).wait()
        if killed.status == 0:
            return
        assert killed.status == -signal.SIGKILL, killed.said
        self.n_killed += 1
        if problem := self._problem(killed, again):
            print(f"{self.name} {what}: {problem}\n{again.said}", flush=True)
        else:
            self.n_survived += 1

    def _problem(self, killed, again):
        if again.status:
            return f"the next run ended with {again.status}"
        left = [str(path) for path in self.base_dir.rglob("*") if "~" in path.name or "claims" in path.name]
        if left:
            return f"left behind: {left}"
        lost = killed.images + again.images - self.whole.images
        self.most_lost, self.images_lost = max(self.most_lost, lost), self.images_lost + lost
        if lost > BATCH:
            return f"{lost} images were computed twice"
        found = self.result(self.base_dir)
        if found.keys() != self.expected.keys():
            return f"not the same: {found.keys() ^ self.expected.keys()}"
        other = [name for name, array in self.expected.items() if not np.array_equal(found[name], array)]
        return f"other numbers: {other}" if other else None

    def summary(self):
        lost = f", {self.images_lost} images computed twice, {self.most_lost} at the most" if self.whole.images else ""
        steps = f"{self.whole.steps} steps, {self.seconds:.2f} s uninterrupted"
        return f"{self.name} ({steps}): {self.n_survived} of {self.n_killed} kills survived{lost}"


def write_inputs(folder):
    """A BASE_DIR each, and the model's weights beside them."""
    from conftest import TINY, simple_signals

    from brain_activity_prediction.demo.dataset import write_dataset

    import_torchvision()
    models.write_llava(folder / "llava", num_hidden_layers=2)
    write_dataset(folder / "extraction", simple_signals, TINY, layout="official", betas_format="nii.gz")
    shutil.copytree(folder / "extraction", folder / "betas")
    shutil.copytree(folder / "extraction", folder / "alignment")
    store = EmbeddingStore(folder / "alignment" / "image_embeddings" / "no_prompt" / "test_layers")
    store.claim({"template": None})
    ids = np.unique(read_design(find_nsd(folder / "alignment").design()).image_ids(1))
    store.write(ids, {"vision": np.random.default_rng(0).standard_normal((len(ids), 4, 6)).astype(np.float32)})


def main():
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--kills", type=int, default=300, help="kills at random instants, of all programs together")
    flags.add_argument("--steps", type=int, default=300, help="kills at calls that change a file, at most")
    flags.add_argument("--pairs", type=int, default=60, help="kills of one of two processes at once")
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--folder", help="where to write, by default the system's temporary folder")
    arguments = flags.parse_args()
    rng = np.random.default_rng(arguments.seed)
    n_killed = n_survived = 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        folder = Path(folder)
        write_inputs(folder)
        for name in PROGRAMS:
            trials = Trials(name, folder / name)
            at = np.linspace(1, trials.whole.steps, min(arguments.steps // len(PROGRAMS), trials.whole.steps))
            for last_step in np.unique(at.astype(int)):
                trials.at_step(int(last_step))
            for _ in range(arguments.kills // len(PROGRAMS)):
                trials.after(rng.uniform(0, trials.seconds))
            for _ in range(arguments.pairs // len(PROGRAMS)):
                trials.beside_another(rng.uniform(0, trials.seconds))
            print(trials.summary(), flush=True)
            n_killed, n_survived = n_killed + trials.n_killed, n_survived + trials.n_survived
    print(f"{n_survived} of {n_killed} kills survived")
    sys.exit(n_survived != n_killed)


if __name__ == "__main__":
    main()
