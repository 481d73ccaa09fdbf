"""Measure an alignment at full size through the command line: peak memory and seconds a layer.

    python benchmarks/alignment.py [--layers 2] [--gpu-id cpu] [--folder /some/fast/disk]

Subject 1 at full size: 9000 training and 1000 test images, 15724 voxels, hidden states of LLaVA-13B's width (5120) in
float16, 60 alphas, 5 folds. Betas are random numbers, 40 links to one session; states are random, with a spectrum
that falls as those of a language model do. About 3 GB of disk for two layers, removed afterwards.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from betas_memory import N_IMAGES, N_SESSIONS, N_SHARED, write_design_and_mask, write_session

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

MODEL_ID, WIDTH, IMAGES_PER_FILE = "benchmark/wide", 5120, 500


def write_base_dir(folder, n_layers, rng):
    layout = Layout("flat", folder)
    write_design_and_mask(layout, rng)
    first, *others = (layout.expected("betas", 1, session)[0] for session in range(1, N_SESSIONS + 1))
    write_session(first, rng)
    for other in others:
        other.symlink_to(first)
    ids = np.sort(read_design(layout.design()).image_ids(1))
    store = EmbeddingStore(embeddings_folder(folder, MODEL_ID, None))
    store.claim({"template": None})
    scales = (1 + np.arange(WIDTH)) ** -0.5
    mixing = rng.standard_normal((WIDTH, WIDTH), dtype=np.float32) / WIDTH**0.5
    for part in np.split(ids, range(IMAGES_PER_FILE, N_IMAGES, IMAGES_PER_FILE)):
        latent = rng.standard_normal((len(part) * n_layers, WIDTH), dtype=np.float32) * scales.astype(np.float32)
        states = (latent @ mixing).reshape(len(part), n_layers, WIDTH)
        store.write(part, {"language": states.astype(np.float16)})


def align(folder, gpu_id):
    """Seconds of the whole command and its peak memory in GB, for the layers that have no scores yet."""
    command = [sys.executable, align_model.__file__, "-d", folder, "-s", "1", "-m", MODEL_ID, "-g", gpu_id]
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, said
    return time.perf_counter() - started, used.ru_maxrss * 1024 / 1e9, said


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--gpu-id", default="cpu")
    parser.add_argument("--folder", help="where to write, by default the system's temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        write_base_dir(Path(folder), arguments.layers, np.random.default_rng(0))
        seconds, peak_gb, said = align(folder, arguments.gpu_id)
    rate = re.findall(r"([\d.]+)s/layer", said)[-1:]
    print(
        f"{N_IMAGES - N_SHARED} + {N_SHARED} images x {WIDTH} features, {arguments.layers} layers, {arguments.gpu_id}: "
        f"{seconds:.0f} s in all, {rate[0] if rate else '?'} s a layer, peak {peak_gb:.2f} GB of memory"
    )


if __name__ == "__main__":
    main()
