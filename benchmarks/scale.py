"""Measures planner and store at the size of the whole study: all images, prompts and layers, but a width of 4.

    python benchmarks/scale.py write --folder DIR    the states of one model, by 8 processes at once, or --writers N
    python benchmarks/scale.py plan --folder DIR     on them: planning, resuming, one layer, with time and memory
    python benchmarks/scale.py study --folder DIR    a folder without states: planning all six models at their full size
    python benchmarks/scale.py memory                50,000 and 500,000 images: what planning and reading need

The stand-in goes under LLaVA's id, with 25 and 41 layers of width 4 and nine prompts, through the extraction loop as it
is: claims, checks, seals, one file a prompt and batch. Its images are those of the four subjects of NSD's own design,
37,000 of them. "Cold" is after the system was told to forget the files, "warm" is once more.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import torch
from scipy.io import savemat
from store import forget
from usual import peak_gigabytes

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.extraction import loop
from brain_activity_prediction.extraction.plan import plan
from brain_activity_prediction.extraction.runner import Runner
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.runtime.claims import Claims
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder
from brain_activity_prediction.sweep import commands, sweep
from brain_activity_prediction.sweep.planning.models import STUDY
from brain_activity_prediction.sweep.planning.plan import make_plan

MODEL, MODEL_ID = "llava_1.5_13b", "llava-hf/llava-1.5-13b-hf"
LAYERS, WIDTH = {"vision": 25, "language": 41}, 4
SUBJECTS = [1, 2, 5, 7]


def stand_in():
    """A model script whose states are random numbers; no two images and layers have the same."""

    def states(pixels, n_layers, seed):
        generator = torch.Generator().manual_seed(int(pixels.sum()) * 100 + seed)
        return torch.randn(len(pixels), n_layers, WIDTH, generator=generator)

    def encode_prompt(model, processor, pixels, prompt, poolings, max_new_tokens):
        return {"language": states(pixels, LAYERS["language"], len(prompt))}, []

    return SimpleNamespace(
        MODEL_ID=MODEL_ID,
        REVISION=None,
        TEMPLATE="{prompt}",
        IMAGE_STREAMS={"vision": ("mean",)},
        PROMPT_STREAMS={"language": ("mean",)},
        load=lambda checkpoint, device, dtype: (None, None),
        preprocess=lambda processor, images: torch.tensor(np.stack(list(map(np.asarray, images)))),
        encode_images=lambda model, processor, pixels, poolings: (
            {"vision": states(pixels, LAYERS["vision"], 0)},
            pixels,
        ),
        encode_prompt=encode_prompt,
    )


def write_dataset(folder, n_shared, n_unique):
    """Who saw which image, as in NSD, and images of 4 x 4 pixels; subjects see `n_unique` images each alone."""
    n_images = n_shared + 8 * n_unique
    unique = np.arange(n_shared, n_images).reshape(8, n_unique) + 1
    shared_ids = np.arange(n_shared) + 1
    design = {
        "masterordering": np.tile(np.arange(n_shared + n_unique) + 1, 3)[None],
        "subjectim": np.hstack([np.tile(shared_ids, (8, 1)), unique]),
        "sharedix": shared_ids[None],
        "basiccnt": np.ones((3, 3)),
    }
    paths = [folder / "nsd_expdesign.mat", folder / "nsddata_stimuli" / "nsd_stimuli.hdf5"]
    paths[1].parent.mkdir(parents=True)
    savemat(paths[0], {name: values.astype(float) for name, values in design.items()})
    with h5py.File(paths[1], "w") as file:
        file["imgBrick"] = np.random.default_rng(0).integers(0, 256, (n_images, 4, 4, 3), dtype=np.uint8)


def work_of(folder, shard="0/1"):
    """The work of an extraction of a shard of the images with nine prompts."""
    flags = ["-d", str(folder), "-p", "1-9", "-g", "cpu", "--dtype", "bfloat16", "--shard", shard]
    arguments = extraction_command.flags("").parse_args([*flags, "-s", *map(str, SUBJECTS)])
    settings = extraction_command.settings(stand_in(), arguments)
    return plan(stand_in(), settings, read_design(find_nsd(folder).design()).image_ids_of_any(SUBJECTS))


def extract(folder, shard):
    """The extraction loop over a shard of the images; returns how many it computed."""
    work = work_of(folder, shard)
    n_left = work.n_left()
    runner = Runner(stand_in(), work.settings)
    with Stimuli(find_nsd(folder).stimuli()) as stimuli, contextlib.redirect_stderr(io.StringIO()):
        for store in work.stores.values():
            store.claim({"model_id": MODEL_ID})
        loop.run(runner, stimuli, work)
    return n_left


def extract_by(n_writers, folder):
    """Seconds that `n_writers` processes take together, a shard each."""
    import_torchvision()
    fork = multiprocessing.get_context("fork")  # all is imported once, as it would be on machines of their own
    processes = [fork.Process(target=extract, args=(folder, f"{number}/{n_writers}")) for number in range(n_writers)]
    start = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert not any(process.exitcode for process in processes)
    return time.perf_counter() - start


def write(arguments):
    folder = arguments.folder
    write_dataset(folder, *arguments.design)
    seconds = extract_by(arguments.writers, folder)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    files = [path for path in (folder / "image_embeddings").rglob("*") if path.is_file()]
    n_images = sum(arguments.design) + 3 * arguments.design[1]
    print(
        f"write: {n_images} images x 9 prompts and none, {arguments.writers} processes: {seconds:.0f} s, "
        f"{n_images / seconds:.1f} images/s; {len(files)} files, "
        f"{sum(path.stat().st_size for path in files) / 1e9:.2f} GB; "
        f"the largest process takes {most:.0f} MB, libraries and all"
    )


def timed(name, folder, call, *arguments):
    """Prints what a call takes, cold and warm, and how much memory it adds in a process of its own."""
    seconds = []
    for cold in (True, False):
        if cold:
            for states in (folder / "image_embeddings").glob("*/*"):
                forget(states)
        start = time.perf_counter()
        call(folder, *arguments)
        seconds.append(time.perf_counter() - start)
    _, added = peak_gigabytes(_bound, call, folder, *arguments)
    print(f"  {name}: {seconds[0]:.2f} s cold, {seconds[1]:.2f} s warm, {added * 1e3:.0f} MB of memory added")


def _bound(call, *arguments):
    return lambda: call(*arguments)


def plan_sweep(folder, models=(MODEL,)):
    flags = ["plan", "-d", str(folder), "--models", *models, "--shards", "8", "-s", *map(str, SUBJECTS)]
    return make_plan(sweep.read_settings(flags))


def read_layer(folder, image_ids):
    store = EmbeddingStore(embeddings_folder(folder, MODEL_ID, 1))
    return store.read_layer("language", 20, image_ids)


def resume(folder):
    """From the start of a run to its end, where 25 batches of one prompt are missing."""
    states = embeddings_folder(folder, MODEL_ID, 9)
    for path in sorted(states.glob("batch_*"))[:: max(1, len(list(states.glob("batch_*"))) // 25)][:25]:
        path.unlink()
    return extract(folder, "0/1")


def planning(arguments):
    folder = arguments.folder
    print("plan: one model, 9 prompts, on what `write` left")
    timed("a plan of the sweep, nothing left", folder, plan_sweep)
    timed("25 batches of one prompt are missing: found and computed", folder, resume)
    image_ids = read_design(find_nsd(folder).design()).image_ids(1)
    timed(f"one layer of {len(image_ids)} images", folder, read_layer, image_ids)


def study(arguments):
    write_dataset(arguments.folder, *arguments.design)
    for subject in SUBJECTS:  # alignments are planned of subjects with betas, which planning does not open
        path, *_ = find_nsd(arguments.folder).expected("betas", subject, 1)
        path.parent.mkdir(parents=True)
        path.touch()
    n_images = sum(arguments.design) + 3 * arguments.design[1]
    print(f"study: {n_images} images, six models, 9 prompts, four subjects; no states or scores are there yet")
    timed("make_plan", arguments.folder, plan_sweep, STUDY)
    start = time.perf_counter()
    commands.plan(sweep.read_settings(["plan", "-d", str(arguments.folder)]))
    print(f"  sweep.py plan: {time.perf_counter() - start:.2f} s after its imports")


def memory(arguments):
    """Ten streams of 41 layers, or 25, in batches of 64: what grows with the images is the list of them."""
    print("memory: one model, 9 prompts and none, in batches of 64")
    for n_images in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            write_dataset(Path(folder), 1000, (n_images - 1000) // 4)
            print(f"  {n_images} images")
            timed("    a plan of the sweep, all left", Path(folder), plan_sweep)
            timed("    all handed out, and nothing written", Path(folder), hand_out)
            start = time.perf_counter()
            with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
                pool.starmap(write_states, [(Path(folder), prompt) for prompt in (None, *range(1, 10))])
            print(f"    written in {time.perf_counter() - start:.0f} s")
            timed("    a plan of the sweep, nothing left", Path(folder), plan_sweep)
            timed("    one prompt's images recognised", Path(folder), recognise)
            image_ids = read_design(find_nsd(Path(folder)).design()).image_ids_of_any(SUBJECTS)
            spread = image_ids[:: max(n_images // 10_000, 1)]
            timed(f"    one layer of {len(spread)} of them", Path(folder), read_layer, spread)


def write_states(folder, prompt):
    store, stream = EmbeddingStore(embeddings_folder(folder, MODEL_ID, prompt)), "language" if prompt else "vision"
    image_ids = read_design(find_nsd(folder).design()).image_ids_of_any(SUBJECTS)
    states = np.random.default_rng(0).standard_normal((64, LAYERS[stream], WIDTH)).astype(np.float16)
    for first in range(0, len(image_ids), 64):
        ids = image_ids[first : first + 64]
        store.write(ids, {stream: states[: len(ids)]})


def hand_out(folder):
    """What one process remembers of all images when it has gone through them."""
    work = work_of(folder)
    with Claims(work.claims_folder) as claims:
        for batch in work.claimed(claims):
            claims.finished([f"{image_id:05d}" for image_id in batch.image_ids])


def recognise(folder):
    return len(EmbeddingStore(embeddings_folder(folder, MODEL_ID, 1)).image_ids(["language"]))


SECTIONS = {"write": write, "plan": planning, "study": study, "memory": memory}


def main():
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("sections", nargs="+", choices=SECTIONS, metavar="section", help=f"of {', '.join(SECTIONS)}")
    flags.add_argument("--folder", type=Path, help="where to write, by default the system's temporary folder")
    flags.add_argument("--design", type=int, nargs=2, default=(1000, 9000), help="images that all see, and each alone")
    flags.add_argument("--writers", type=int, default=8, help="processes of the write section")
    flags.add_argument("--sizes", type=int, nargs="+", default=[50_000, 500_000], help="images of the memory section")
    arguments = flags.parse_args()
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.sections:
        SECTIONS[name](arguments)


if __name__ == "__main__":
    main()
