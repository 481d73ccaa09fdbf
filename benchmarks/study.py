"""One model over one file of stimuli, as the extraction scripts run it, for as often as a benchmark needs."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.extraction import loop
from brain_activity_prediction.extraction.plan import plan
from brain_activity_prediction.extraction.runner import Runner

STIMULUS_PIXELS = 425  # as in NSD


class Study:
    """A model script with a model to run, `n_batches` batches of images, and the prompts as `-p` takes them."""

    def __init__(self, folder, script, untrained, size, prompts="1"):
        self.folder, self.script, self.checkpoint = Path(folder), script, untrained
        device = ["-g", "cpu" if size.device == "cpu" else "0", "--dtype", size.dtype]
        flags = ["-d", str(folder), "-p", prompts, "-b", str(size.batch), *device]
        settings = extraction_command.settings(script, extraction_command.flags("").parse_args(flags))
        self.settings = replace(settings, checkpoint=untrained)
        self.image_ids = range(1, size.batch * size.n_batches + 1)
        self.stimuli = Stimuli(self._written_stimuli())
        work = plan(script, self.settings, self.image_ids)
        self.batches = [batch.image_ids for batch in work.batches()]
        start = time.perf_counter()
        self.runner = Runner(script, self.settings)
        self.loading_seconds = time.perf_counter() - start

    def pixels(self, image_ids):
        """A batch as the model takes it."""
        pixels = self.runner.preprocess(self.stimuli.images(image_ids))
        return pixels.to(self.runner.device, self.runner.dtype)

    def extract(self):
        """The whole extraction, from the plan to the last file, into a folder that is removed again."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            self.extract_into(Path(folder))

    def extract_into(self, folder):
        """What of it is left in `folder`, which it stays in; returns the plan that it followed."""
        work = plan(self.script, replace(self.settings, base_dir=folder), self.image_ids)
        loop.run(self.runner, self.stimuli, work)
        return work

    def _written_stimuli(self):
        self.folder.mkdir(exist_ok=True)
        path = self.folder / "nsd_stimuli.hdf5"
        shape = (len(self.image_ids), STIMULUS_PIXELS, STIMULUS_PIXELS, 3)
        with h5py.File(path, "w") as file:
            file["imgBrick"] = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        return path
