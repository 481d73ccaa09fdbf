"""Store hidden states by image id in a folder of batch files, which stays valid if the process is killed.

A folder holds `settings.json` (the settings that change the states) and `batch_*.h5`. A batch file is a sealed HDF5
file (`sealed_hdf5`). It has `image_ids` (n,), which are NSD's numbers or names in UTF-8, and one dataset (n, L, W) for
each stream. The datasets are cut into layers, so that a single layer can be read. The header records the images and
settings, and all data are checked when they are read. The model's answers (`answers`) are stored as UTF-8 bytes. A file
is written atomically. Its name identifies its contents, so that a batch that is written twice is still one file.

Shapes: n images of a file, L layers, W width.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import count, did_you_mean
from brain_activity_prediction.storage.embeddings.batch_files import (
    A_LAYER,
    ANSWERS,
    IDS,
    BatchFile,
    Contents,
    ImageId,
    Streams,
    as_ids,
    batch_name,
    batch_names,
    may_hold,
    read_batch_file,
)
from brain_activity_prediction.storage.embeddings.folder_settings import RECOMPUTE, FolderSettings, repair_folder
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.sealed_hdf5 import read_array, read_piece, write_sealed


class EmbeddingStore:
    """The hidden states of one model, under one prompt or none."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._held = Contents()
        self._settings = FolderSettings(self.folder)

    # -- settings -------------------------------------------------------------------------------------------------

    def settings(self) -> dict | None:
        """Return the settings that produced the stored states; None if there are no states yet."""
        return self._settings.read()

    def check(self, settings: Mapping, implied: Mapping | None = None) -> None:
        """Raise InputError if the folder holds states made with other settings; see `FolderSettings.check`."""
        self._settings.check(settings, implied)

    def claim(self, settings: Mapping) -> None:
        """Set the settings of the batches that this process will write; raise the same error as `check`."""
        self._settings.claim(settings)

    # -- reading --------------------------------------------------------------------------------------------------

    def image_ids(self, streams: Sequence[str]) -> np.ndarray:
        """Return the ids (unique, ascending) of the images that have all of these streams."""
        self._look()
        ids = None
        for stream in streams:
            have = np.unique(self._held.ids_with(stream))
            ids = have if ids is None else np.intersect1d(ids, have, assume_unique=True)
        return np.empty(0, np.int32) if ids is None else ids

    def streams(self) -> dict[str, tuple[int, int]]:
        """Return `{stream: (L, W)}` of all stored streams, sorted by name."""
        self._look()
        shapes: dict[str, Any] = {}
        for name, _, streams in self._held:
            if not streams <= shapes.keys():
                with reading(self.folder / name, RECOMPUTE):
                    held = read_batch_file(self.folder / name).streams
                shapes |= {stream: held[stream].shape[1:] for stream in streams}
        return dict(sorted(shapes.items()))

    def width(self, stream: str, layer: int = 0) -> int:
        """Return the width W of a layer; raise InputError that lists the available layers if it does not exist."""
        streams = self.streams()
        if not streams:
            others = sorted({path.parent.name for path in self.folder.parent.glob("*/batch_*.h5")})
            among = f", or choose from {self.folder.parent}: {', '.join(others)}" if others else ""
            raise InputError(f"{self.folder} holds no hidden states: run an extraction script first{among}")
        if stream not in streams:
            there = ", ".join(f"{name} (layers 0 to {n_layers - 1})" for name, (n_layers, _) in streams.items())
            meant = did_you_mean(stream, streams)
            raise InputError(f"no stream {stream} in {self.folder}{meant}; available: {there}")
        n_layers, width = streams[stream]
        if layer not in range(n_layers):
            raise InputError(f"no layer {layer} of {stream} in {self.folder}; available: layers 0 to {n_layers - 1}")
        return width

    def read_layer(self, stream: str, layer: int, image_ids: Sequence[ImageId] | np.ndarray) -> np.ndarray:
        """Return the hidden states of one layer, (n_images, W) float32, with rows in the order of `image_ids`.

        Raises InputError if the stream or the layer does not exist; the message lists those that exist. Also raises it
        if images have no states, or states that are not finite; the message gives their number and the first.
        """
        width = self.width(stream, layer)
        wanted = as_ids(image_ids)
        if len(np.unique(wanted)) < len(wanted):
            distinct, row_of = np.unique(wanted, return_inverse=True)
            return self.read_layer(stream, layer, distinct)[row_of]
        found = np.zeros(len(wanted), dtype=bool)
        order = np.argsort(wanted)
        states = np.empty((len(wanted), width), dtype=np.float32)
        for name, ids, streams in self._held:
            if stream not in streams or not len(wanted):
                continue
            at = np.searchsorted(wanted, ids, sorter=order)
            rows = order[np.minimum(at, len(wanted) - 1)]
            here = (wanted[rows] == ids) & ~found[rows]
            if here.any():
                with reading(self.folder / name, RECOMPUTE):
                    states[rows[here]] = read_piece(self.folder / name, stream, layer)[:, 0][here]
                found[rows[here]] = True
        self._refuse_missing(stream, wanted[~found], len(wanted))
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(states.sum(axis=1, dtype=np.float64))
        if not finite.all():
            raise InputError(
                f"{stream} is not finite for {(~finite).sum():,} of {count(len(wanted), 'image')} at layer {layer} in "
                f"{self.folder} (first: image {wanted[~finite].min()}): delete that folder and run the extraction again"
            )
        return states

    def check_images(self, stream: str, image_ids: Sequence[ImageId] | np.ndarray) -> None:
        """Raise InputError, with their number and the first one, if images have no states of a stream."""
        needed = np.unique(as_ids(image_ids))
        self._refuse_missing(stream, np.setdiff1d(needed, self.image_ids([stream])), len(needed))

    def read_answers(self, image_ids: Sequence[ImageId] | np.ndarray | None = None) -> dict[ImageId, str]:
        """Return `{image id: the model's answer}` for the images that have an answer, optionally only `image_ids`.

        Files whose names exclude all of `image_ids` are not opened.
        """
        wanted = None if image_ids is None else as_ids(image_ids)
        answers: dict[ImageId, str] = {}
        for name in batch_names(self.folder):
            with reading(self.folder / name, RECOMPUTE):
                if wanted is not None and not may_hold(name, wanted):
                    continue
                file = self._read_file(name)
                if file.has_answers:
                    ids, texts = file.header.image_ids, read_array(self.folder / name, ANSWERS)
                    here = {image: text.decode() for image, text in zip(ids, texts, strict=True)}
                    answers |= {image: here[image] for image in here if wanted is None or image in wanted}
        return answers

    def digests(self) -> dict[ImageId, str]:
        """Return `{image id: digest of its pixels}` for the stored images that have a digest."""
        found: dict[ImageId, str] = {}
        for name in batch_names(self.folder):
            with reading(self.folder / name, RECOMPUTE):
                header = self._read_file(name).header
                found |= dict(zip(header.image_ids, header.digests, strict=False))
        return found

    # -- writing --------------------------------------------------------------------------------------------------

    def write(
        self,
        image_ids: Sequence[ImageId],
        streams: Mapping[str, np.ndarray],
        answers: Sequence[str] | None = None,
        digests: Sequence[str] = (),
    ) -> None:
        """Add a batch of images atomically. Each stream is (n, L, W), one row for each image id.

        answers  text of the model's answer to each image
        digests  digest of each image's pixels

        Raises InputError if another process has begun to write with other settings in the meantime.
        """
        ids = as_ids(image_ids)
        arrays = {IDS: ids if ids.dtype.kind == "i" else np.char.encode(ids, "utf-8"), **streams}
        if answers is not None:
            assert len(answers) == len(ids), "one answer for each image"
            arrays[ANSWERS] = np.array([answer.encode() for answer in answers])
        path = self.folder / batch_name(ids, streams)
        with self._settings.recorded_with(path) as settings:
            header = {"image_ids": ids.tolist(), "settings": settings}
            header |= {"digests": list(digests)} if digests else {}
            write_sealed(path, arrays, about=header, cuts=dict.fromkeys(streams, A_LAYER))

    def repair(self) -> list[str]:
        """Delete damaged files and restore `settings.json` with `repair_folder`; return the names of these files."""
        wrong = repair_folder(self.folder)
        self._held = Contents()
        self._settings.forget()
        return wrong

    # -- files ----------------------------------------------------------------------------------------------------

    def _refuse_missing(self, stream: str, missing: np.ndarray, n_images: int) -> None:
        if len(missing):
            raise InputError(
                f"no {stream} states for {len(missing):,} of {count(n_images, 'image')} in {self.folder} "
                f"(first: image {missing.min()}): run the extraction again, it continues where it stopped"
            )

    def _look(self) -> None:
        """Read the headers of new batch files; the contents of a file never change."""
        self._settings.forget()
        self._held = self._held.of(batch_names(self.folder), self._contents)

    def _read_file(self, name: str) -> BatchFile:
        """Read the header of a batch file; raise ValueError if the file's settings differ from the folder's."""
        file = read_batch_file(self.folder / name)
        self._settings.check_batch(file.header.settings)
        return file

    def _contents(self, name: str) -> tuple[np.ndarray, Streams]:
        with reading(self.folder / name, RECOMPUTE):
            file = self._read_file(name)
            ids = as_ids(file.header.image_ids)
            return ids.astype(np.int32) if ids.dtype.kind == "i" else ids, frozenset(file.streams)
