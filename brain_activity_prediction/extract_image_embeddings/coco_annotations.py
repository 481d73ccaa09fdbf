"""Captions and object labels of NSD's images, from COCO's annotation files.

`captions` writes a CSV file for `text_model.py --captions`. `objects` stores the labels, as zeros and ones, like the
hidden states of a model named coco/objects (stream `objects`, one layer, one column for each of COCO's categories). A
label counts if at least a quarter of an object's box is in the part of the picture that NSD shows.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Mapping
from pathlib import Path

from brain_activity_prediction.cli.parser import Help, OneLineParser, add_verbosity
from brain_activity_prediction.datasets.nsd.stimulus_table import (
    Stimulus,
    find_stimulus_table,
    read_stimulus_table,
)
from brain_activity_prediction.datasets.texts import coco
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.files import written_whole
from brain_activity_prediction.storage.folders import embeddings_folder

N_CAPTIONS = 5  # COCO has five captions of almost every picture, and six or seven of some
MODEL_ID_OF_OBJECTS, STREAM = "coco/objects", "objects"
N_IMAGES_IN_FILE = 10_000


def flags() -> argparse.ArgumentParser:
    flags = OneLineParser(description=__doc__, formatter_class=Help, allow_abbrev=False)
    flags.add_argument("-d", "--base-dir", type=Path, required=True, help="folder that holds NSD and the results")
    add_verbosity(flags)
    flags.add_argument("kind", choices=("captions", "objects"), help="table or feature space to make")
    flags.add_argument(
        "--annotations",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with COCO's captions_train2017.json, captions_val2017.json or instances_*.json",
    )
    flags.add_argument(
        "--stimulus-table", type=Path, metavar="FILE", help="nsd_stim_info_merged.csv (default: NSD's own in BASE_DIR)"
    )
    flags.add_argument("--first", action="store_true", help="write only the first caption of each image")
    flags.add_argument("--output", type=Path, metavar="FILE", help="file of captions (default: BASE_DIR/captions.csv)")
    return flags


def main() -> None:
    arguments = flags().parse_args()
    stimuli = read_stimulus_table(find_stimulus_table(arguments.base_dir, arguments.stimulus_table))
    if arguments.kind == "captions":
        n_captions = 1 if arguments.first else N_CAPTIONS
        write_captions(
            arguments.output or arguments.base_dir / "captions.csv", arguments.annotations, stimuli, n_captions
        )
    else:
        store_objects(arguments.base_dir, arguments.annotations, stimuli)


def write_captions(path: Path, annotations: Path, stimuli: Mapping[int, Stimulus], n_captions: int) -> None:
    """Write the first `n_captions` captions of each image, and report images that have fewer."""
    captions = coco.read_captions(coco.annotation_files(annotations, "captions", stimuli), stimuli)
    fewer = sum(len(own) < n_captions for own in captions.values())
    if fewer:
        log.warning(f"{fewer:,} of {len(captions):,} images have fewer than {n_captions} captions")
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(("nsd_id", "caption"))
    rows.writerows((image, caption) for image, own in captions.items() for caption in own[:n_captions])
    with written_whole(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
    print(f"captions of {len(captions):,} images: {path}")


def store_objects(base_dir: Path, annotations: Path, stimuli: Mapping[int, Stimulus]) -> None:
    """Store the object labels of all images as a feature space."""
    objects = coco.read_objects(coco.annotation_files(annotations, "instances", stimuli), stimuli)
    store = EmbeddingStore(embeddings_folder(base_dir, MODEL_ID_OF_OBJECTS, None))
    store.claim(
        {
            "model_id": MODEL_ID_OF_OBJECTS,
            "dtype": "float16",
            "least_share": coco.LEAST_SHARE,
            "categories": objects.categories,
        }
    )
    for start in range(0, len(objects.image_ids), N_IMAGES_IN_FILE):
        part = slice(start, start + N_IMAGES_IN_FILE)
        store.write(objects.image_ids[part], {STREAM: objects.labels[part, None].astype("float16")})
    n_images, n_categories = objects.labels.shape
    print(f"labels of {n_images:,} images in {n_categories} categories: {store.folder}")
    print(f"next: align_model.py -d {base_dir} -s 1 -m {MODEL_ID_OF_OBJECTS}")


if __name__ == "__main__":
    run_script(main)
