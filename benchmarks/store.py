"""Measures the embedding store: bytes on disk, the images that are done, one layer of all of them.

    python benchmarks/store.py [--images 10000] [--layers 12] [--width 5120] [--batch-sizes 8 1] [--folder DIR]

Random float16 states, the worst case for size. Recognising images reads no states, so there the layers are narrow.
"Cold" is after the system was told to forget the files, "warm" is read once more.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas

from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

STREAM = "language"


def write_store(folder, n_images, batch_size, layers, width):
    """A store as an extraction leaves it; every batch holds the same states under ids of its own."""
    store = EmbeddingStore(folder)
    states = np.random.default_rng(0).standard_normal((batch_size, layers, width)).astype(np.float16)
    for first in range(1, n_images + 1, batch_size):
        store.write(range(first, min(first + batch_size, n_images + 1)), {STREAM: states[: n_images + 1 - first]})
    return store


def seconds(folder, read):
    """`cold`, `warm`: what `read` takes on a store that is opened anew, and of it the processor."""
    taken = []
    for is_cold in (True, False):
        if is_cold:
            forget(folder)
        start, processor = time.perf_counter(), time.process_time()
        read(EmbeddingStore(folder))
        taken.append((time.perf_counter() - start, time.process_time() - processor))
    (cold, cold_processor), (warm, warm_processor) = taken
    return f"{cold:.2f} s cold, {warm:.2f} s warm (of the processor {cold_processor:.2f} and {warm_processor:.2f} s)"


def forget(folder):
    """Asks the system to drop its copies of the files from memory."""
    for path in Path(folder).iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def bytes_a_layer(folder, n_images, layers, width):
    """Bytes an image and layer takes in the store and, float32, in pickles of a hundred batches of 8."""
    stored = sum(path.stat().st_size for path in folder.iterdir())
    pickled, n_pickled = folder / "usual.pkl", min(800, n_images)
    states = {image_id: list(np.zeros((layers, width), dtype=np.float32)) for image_id in range(n_pickled)}
    pandas.to_pickle(states, pickled)
    usual = pickled.stat().st_size
    pickled.unlink()
    return stored / n_images / layers, usual / n_pickled / layers


def main():
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--images", type=int, default=10_000)
    flags.add_argument("--layers", type=int, default=12)
    flags.add_argument("--width", type=int, default=5120)
    flags.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 1])
    flags.add_argument("--folder", help="where to write, by default the system's temporary folder")
    arguments = flags.parse_args()
    size = arguments.layers, arguments.width
    print(f"{arguments.images} images, {size[0]} layers of width {size[1]}")
    for batch_size in arguments.batch_sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            write_store(folder, arguments.images, batch_size, layers=41, width=4)
            recognised = seconds(folder, lambda store: store.image_ids([STREAM]))
            print(f"  recognised in batches of {batch_size}: {recognised}")
    batch_size = arguments.batch_sizes[0]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        start = time.perf_counter()
        write_store(folder, arguments.images, batch_size, *size)
        print(f"  written in batches of {batch_size}: {time.perf_counter() - start:.1f} s")
        ids = np.random.default_rng(0).permutation(arguments.images) + 1
        middle = size[0] // 2
        print(f"  one layer read: {seconds(folder, lambda store: store.read_layer(STREAM, middle, ids))}")
        ours, usual = bytes_a_layer(Path(folder), arguments.images, *size)
        print(f"  bytes an image and layer: {ours:.0f}, in float32 pickles {usual:.0f}, {usual / ours:.2f} x")


if __name__ == "__main__":
    main()
